//! Directories of checkpoints.

use std::fs;

use sparsetape::optim::Sgd;
use sparsetape::train::{Checkpoint, Checkpoints};
use sparsetape::{ErrorKind, Parameter, Params, Tensor};

use super::Scratch;

fn params() -> Params {
    Params::new([&Parameter::new("w", Tensor::full([3], 1.0f32).unwrap()).unwrap()]).unwrap()
}

fn at(step: u64) -> Checkpoint {
    Checkpoint { step, ..Checkpoint::default() }
}

#[test]
fn the_last_few_are_kept_at_an_interval() {
    let (scratch, params, sgd) = (Scratch::new(), params(), Sgd::new(0.1));
    let mut checkpoints = Checkpoints::new(scratch.path("deep/run")).every(3).keep(2);
    assert_eq!(checkpoints.latest().unwrap(), None);
    let saved: Vec<u64> = (1..=11)
        .filter(|&step| checkpoints.save_if_due(&at(step), &params, &sgd).unwrap())
        .collect();
    assert_eq!(saved, [3, 6, 9]);
    let names = |scratch: &Scratch| {
        let entries = fs::read_dir(scratch.path("deep/run")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let kept = ["checkpoint-000000000006.safetensors", "checkpoint-000000000009.safetensors"];
    assert_eq!(names(&scratch), kept);
    assert_eq!(checkpoints.latest().unwrap(), Some(scratch.path("deep/run").join(kept[1])));
    // The same step again, and the newest stays whatever is kept.
    checkpoints.keep(0).save(&at(9), &params, &sgd).unwrap();
    assert_eq!(names(&scratch), kept[1..]);

    // After a restart the interval goes on from the checkpoint.
    let mut again = Checkpoints::new(scratch.path("deep/run")).every(3);
    let run = again.resume(&params, &mut Sgd::new(0.1)).unwrap().unwrap();
    assert_eq!(run.step, 9);
    assert!(!again.save_if_due(&at(11), &params, &sgd).unwrap());
    assert!(again.save_if_due(&at(12), &params, &sgd).unwrap());
    assert!(!again.every(0).save_if_due(&at(1000), &params, &sgd).unwrap());
}

#[test]
fn damaged_and_unfinished_files_are_left_out() {
    let (scratch, params, mut sgd) = (Scratch::new(), params(), Sgd::new(0.1));
    let mut checkpoints = Checkpoints::new(scratch.path("."));
    let good = checkpoints.save(&at(5), &params, &sgd).unwrap();
    let bytes = fs::read(&good).unwrap();
    for (name, bytes) in [
        ("checkpoint-000000000007.safetensors", &bytes[..bytes.len() - 1]),
        ("checkpoint-000000000008.safetensors", &[]),
        ("checkpoint-000000000009.safetensors", b"nonsense"),
        ("checkpoint-000000000010.safetensors.77-0.unfinished", &bytes[..40]),
        // Not by this crate: left alone.
        ("checkpoint-11.safetensors", b"mine"),
        ("notes.txt", b"mine"),
    ] {
        fs::write(scratch.path(name), bytes).unwrap();
    }
    fs::create_dir(scratch.path("checkpoint-000000000012.safetensors")).unwrap();
    assert_eq!(checkpoints.latest().unwrap().unwrap().file_name(), good.file_name());
    assert_eq!(checkpoints.resume(&params, &mut sgd).unwrap(), Some(at(5)));
    // The run passes them: what is left of a killed writer goes, damaged files as they get old.
    checkpoints.save(&at(6), &params, &sgd).unwrap();
    assert!(!scratch.names().iter().any(|name| name.ends_with(".unfinished")));
    let mut checkpoints = checkpoints.keep(1);
    for step in [7, 8, 9, 10] {
        checkpoints.save(&at(step), &params, &sgd).unwrap();
    }
    let names = [
        "checkpoint-000000000010.safetensors",
        "checkpoint-000000000012.safetensors",
        "checkpoint-11.safetensors",
        "notes.txt",
    ];
    assert_eq!(scratch.names(), names);
}

#[test]
fn a_directory_in_which_nothing_loads_is_an_error_not_a_new_beginning() {
    let (scratch, params, mut sgd) = (Scratch::new(), params(), Sgd::new(0.1));
    let mut checkpoints = Checkpoints::new(scratch.path("."));
    for step in [3, 4] {
        fs::write(scratch.path(&format!("checkpoint-{step:012}.safetensors")), "x").unwrap();
    }
    let error = checkpoints.latest().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse);
    assert!(error.to_string().contains("checkpoint-000000000004"), "{error}");
    assert!(checkpoints.resume(&params, &mut sgd).is_err());
}

#[test]
fn another_run_s_directory_is_refused() {
    let (scratch, own, mut sgd) = (Scratch::new(), params(), Sgd::new(0.1));
    let mut checkpoints = Checkpoints::new(scratch.path("."));
    checkpoints.save(&at(50), &own, &sgd).unwrap();
    let error = checkpoints.save(&at(10), &own, &sgd).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("step 50, past 10"), "{error}");
    // What does not fit the program is no damage to be passed over.
    let other = Parameter::new("v", Tensor::scalar(1.0f32)).unwrap();
    let error = checkpoints.resume(&Params::new([&other]).unwrap(), &mut sgd).unwrap_err();
    assert!(error.message().contains("lacks the parameters \"v\""), "{error}");
}
