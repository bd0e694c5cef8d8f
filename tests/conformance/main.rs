//! Replays reference vectors computed by MXNet 1.9.1: values, storage types, patterns, gradients,
//! errors, updates, training runs.
//!
//! Each case is *equal*, *explained* by one of the rules in [`report`] (a difference that is wanted,
//! with its reason), or *unexplained*, which fails. A directory named by `SPARSETAPE_VECTORS`, with
//! files of the same names, is replayed too.

mod array_cases;
mod arrays;
mod graphs;
#[cfg(feature = "data")]
mod libsvm_cases;
mod operator_cases;
mod operators;
mod report;
mod storage_rules;
mod updates;

use std::path::{Path, PathBuf};

use serde_json::Value;

use report::{Outcome, Tally};

/// Replays a case.
type Replay = fn(&Value) -> Outcome;

/// Files, and how their cases are replayed.
const FILES: &[(&str, Replay)] = &[
    ("unary.json", operator_cases::replay),
    ("scalar.json", operator_cases::replay),
    ("reduce.json", operator_cases::replay),
    ("elemwise.json", operator_cases::replay),
    ("broadcast.json", operator_cases::replay),
    ("dot.json", operator_cases::replay),
    ("nary.json", operator_cases::replay),
    ("shape.json", operator_cases::replay),
    ("layers.json", operator_cases::replay),
    ("extra.json", operator_cases::replay),
    ("accumulate.json", operator_cases::replay_twice),
    ("graphs.json", graphs::replay),
    ("ndarray.json", array_cases::replay),
    ("optimizer.json", updates::replay),
    ("stypes.json", storage_rules::replay),
    #[cfg(feature = "data")]
    ("libsvm.json", libsvm_cases::replay),
];

/// The cases of a file; none if it is not there.
fn cases(file: &Path) -> Vec<Value> {
    let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
    match serde_json::from_str(&text).expect("JSON") {
        Value::Array(cases) => cases,
        Value::Object(mut rules) => {
            // Optimizers have cases of their own, in `optimizer.json`.
            let mut entries = rules["entries"].take();
            let entries = std::mem::take(entries.as_array_mut().expect("entries"));
            entries.into_iter().filter(|entry| entry["note"] != "optimizer").collect()
        }
        other => panic!("neither cases nor rules: {other}"),
    }
}

fn replay_directory(directory: &Path, total: &mut Tally) {
    println!("{}", directory.display());
    for &(name, replay) in FILES {
        let mut tally = Tally::default();
        for case in cases(&directory.join(name)) {
            tally.replay(&case, replay);
        }
        tally.close(name, total);
    }
    let mut tally = Tally::default();
    for run in cases(&directory.join("training.json")) {
        tally.replay(&run, |run| updates::train(run, directory));
    }
    tally.close("training.json", total);
}

#[test]
fn reference_vectors() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let further = std::env::var_os("SPARSETAPE_VECTORS").map(PathBuf::from);
    let mut total = Tally::default();
    // A panic is a difference like any other, and is listed with its case.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    for directory in std::iter::once(own).chain(further) {
        replay_directory(&directory, &mut total);
    }
    std::panic::set_hook(hook);
    total.finish();
}

#[test]
fn storage_tables_show_what_mxnet_does() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/stypes.json");
    storage_rules::check_column(&cases(&own));
}
