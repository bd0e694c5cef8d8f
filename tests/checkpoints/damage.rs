//! Files that nobody should trust: errors that say what is wrong, within bounds of memory; and nothing has
//! changed.

use serde_json::{Value, json};
use sparsetape::optim::{Schedule, Update};
use sparsetape::train::Checkpoint;
use sparsetape::{DType, Error, ErrorKind};

use super::counting::bytes_taken;
use super::program::{How, MAKERS, Program, Setup, begin};

fn setup(optimizer: usize) -> Setup {
    Setup {
        optimizer: MAKERS[optimizer].1,
        schedule: Schedule::constant(0.1),
        update: Update::Exact,
        dtype: DType::F64,
        how: How::Eager,
    }
}

/// A file with everything in it: rows behind, out of order, histories.
fn file(optimizer: usize) -> Vec<u8> {
    let (mut program, mut run) = (Program::new(&setup(optimizer)), begin());
    program.train(&mut run, 10, |_, _| {});
    program.bytes(&run)
}

/// Resumes from bytes that may be anything, and goes on.
fn resume(bytes: &[u8], program: &mut Program) -> Result<Checkpoint, Error> {
    let mut result = None;
    let taken = bytes_taken(|| {
        let optimizer = &mut *program.optimizer;
        result = Some(Checkpoint::resume_from_bytes(bytes, &program.params, optimizer));
    });
    let bound = 64 * bytes.len() + (64 << 10);
    assert!(taken <= bound, "{taken} bytes taken for a file of {}", bytes.len());
    let result = result.unwrap();
    match &result {
        Ok(run) => {
            // Whatever was read is a state that training goes on from, be it to infinity.
            let mut run = Checkpoint { batch: run.batch.min(3), ..begin() };
            program.train(&mut run, 2, |_, _| {});
        }
        Err(e) => assert!(matches!(e.kind(), ErrorKind::Parse | ErrorKind::State), "{e}"),
    }
    result
}

#[test]
fn every_truncation_is_an_error() {
    let (bytes, mut program) = (file(1), Program::new(&setup(1)));
    for len in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        let error = resume(&bytes[..len], &mut program).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parse, "cut at {len}: {error}");
        assert!(error.to_string().starts_with("<bytes>: "), "{error}");
    }
    assert!(program.params.iter().all(|p| p.updates() == 0));
    resume(&bytes, &mut program).unwrap();
}

#[test]
fn flipped_bits_are_errors_or_valid_checkpoints() {
    let mut bytes = file(1);
    let (mut program, mut refused) = (Program::new(&setup(1)), 0);
    // Many bytes of the header, some of the data.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let data = (header..bytes.len()).step_by(41);
    for (i, at) in (0..header).step_by(5).chain(data).enumerate() {
        let bit = 1 << (i * 5 % 8);
        bytes[at] ^= bit;
        match resume(&bytes, &mut program) {
            Ok(_) => program = Program::new(&setup(1)),
            Err(_) => refused += 1,
        }
        bytes[at] ^= bit;
    }
    assert!(refused > header / 5 / 2, "only {refused} of {header}");
}

/// The file with its section changed.
fn with_section(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    let entry = &mut header["__metadata__"]["sparsetape"];
    let mut index: Value = serde_json::from_str(entry.as_str().unwrap()).unwrap();
    change(&mut index["sections"]["checkpoint"]);
    *entry = index.to_string().into();
    let mut text = header.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(64) + 56, b' ');
    [&(text.len() as u64).to_le_bytes()[..], &text, &bytes[8 + size..]].concat()
}

/// The file with a number of one of its tensors changed.
fn with_number(bytes: &[u8], name: &str, i: usize, number: u32) -> Vec<u8> {
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    let start = header[name]["data_offsets"][0].as_u64().expect(name) as usize;
    let mut bytes = bytes.to_vec();
    bytes[8 + size + start + 4 * i..][..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

#[test]
fn later_versions_and_false_claims_are_errors_that_say_so() {
    let (bytes, mut program) = (file(1), Program::new(&setup(1)));
    assert!(resume(&with_section(&bytes, |_| {}), &mut program).is_ok());
    let mut refused = |change: &dyn Fn(&mut Value), why: &str| {
        let error = resume(&with_section(&bytes, change), &mut program).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parse, "{error}");
        assert!(error.to_string().contains(why), "{error} does not say {why:?}");
    };
    refused(&|s| s["version"] = json!(2), "version 2; this build reads versions up to 1");
    refused(&|s| *s = json!({"version": 3, "other": []}), "version 3; this build");
    refused(&|s| s["parameters"] = json!(7), "\"checkpoint\" is damaged");
    refused(&|s| s["parameters"][2]["shape"] = json!([1u64 << 40, 1u64 << 40]), "\"table\"");
    refused(&|s| s["parameters"][0]["shape"] = json!([u64::MAX, u64::MAX]), "\"wide\"");
    refused(&|s| s["parameters"][0]["stype"] = json!("csr"), "not csr f64");
    refused(&|s| s["parameters"][2]["dtype"] = json!("i64"), "not default i64");
    let tracked = json!({"since": 0, "touched_all": 0, "moved_all": 0});
    refused(&|s| s["parameters"][2]["changes"] = tracked.clone(), "no tensor \"table/touched\"");
    refused(&|s| s["parameters"].as_array_mut().unwrap().truncate(6), "belongs to nothing");
    let missed = |s: &mut Value, field: &str, to: Value| {
        s["parameters"][2]["states"][0]["missed"][field] = to;
    };
    refused(&|s| missed(s, "steps", json!(u32::MAX)), "are not those of 4294967295");
    refused(&|s| missed(s, "steps", json!(3)), "table/state.at");
    refused(&|s| missed(s, "columns", json!(u64::MAX)), "no tensor \"table/state.missed.9\"");
    refused(&|s| missed(s, "columns", json!(3)), "are not those of 10 linear steps");
    refused(&|s| missed(s, "kind", json!("cubic")), "10 cubic steps");
    let width = |s: &mut Value, to: u64| {
        s["parameters"][2]["states"][0]["columns"][0]["width"] = json!(to);
    };
    refused(&|s| width(s, u64::MAX), "table/state.momentum");
    refused(&|s| s["optimizer"]["tensors"] = json!(["m"]), "no tensor \"optimizer/0\"");
    let rows = with_number(&bytes, "wide/rows", 1, u32::MAX);
    let error = resume(&rows, &mut program).unwrap_err();
    assert!(
        error.to_string().contains("wide/rows[1] = 4294967295, but there are 60 rows"),
        "{error}"
    );
    let twice = with_number(&with_number(&bytes, "embedding/rows", 0, 7), "embedding/rows", 3, 7);
    let error = resume(&twice, &mut program).unwrap_err();
    assert!(error.to_string().contains("embedding/rows names a row twice"), "{error}");
    let ahead = with_number(&bytes, "table/state.at", 5, 11);
    let error = resume(&ahead, &mut program).unwrap_err();
    assert!(error.to_string().contains("table/state.at[5] = 11"), "{error}");
}

/// Unknown fields come from later builds that did not need a new version.
#[test]
fn unknown_fields_are_ignored() {
    let later = with_section(&file(0), |s| {
        s["later"] = json!([1]);
        s["checkpoint"]["later"] = json!({"a": 1});
        s["parameters"][0]["later"] = json!(null);
    });
    resume(&later, &mut Program::new(&setup(0))).unwrap();
}

/// Files of version 1 go on loading.
#[test]
fn files_of_version_1_load() {
    const PATH: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/checkpoints/version_1.safetensors");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PATH, file(1)).unwrap();
    }
    let mut program = Program::new(&setup(1));
    let run = resume(&std::fs::read(PATH).unwrap(), &mut program).unwrap();
    assert_eq!((run.epoch, run.batch, run.step, run.shuffle_seed), (1, 3, 10, 42));
    assert_eq!(run.notes["who"], "é\n\"");
}
