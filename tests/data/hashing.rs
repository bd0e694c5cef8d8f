//! Hashed names: as scikit-learn has them, and the same in files and in memory.

use proptest::prelude::*;
use serde::Deserialize;
use sparsetape::data::{Chunk, FeatureHasher, IdBase, Libsvm, Repeated, Schema};
use sparsetape::{DType, ErrorKind, Tensor};

use super::{Scratch, parts};

#[derive(Deserialize)]
struct Vectors {
    rows: Vec<Vec<(String, f32)>>,
    cases: Vec<Case>,
}

/// What scikit-learn's hasher gives for the rows.
#[derive(Deserialize)]
struct Case {
    bits: u32,
    alternate_sign: bool,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../fixtures/hashing.json")).unwrap()
}

fn libsvm(rows: &[Vec<(String, f32)>]) -> String {
    let line = |row: &Vec<(String, f32)>| {
        let entries = row.iter().map(|(name, x)| format!(" {name}:{x}"));
        format!("1{}\n", entries.collect::<String>())
    };
    rows.iter().map(line).collect()
}

#[test]
fn as_scikit_learn() {
    let Vectors { rows, cases } = vectors();
    assert!(cases.len() >= 10);
    for case in cases {
        let hasher = FeatureHasher::new(case.bits).unwrap().alternate_sign(case.alternate_sign);
        let shape = [rows.len(), 1 << case.bits];
        let expected = Tensor::csr(shape, case.indptr, case.indices, case.values).unwrap();
        let x = hasher.transform(&rows).unwrap();
        assert_eq!(parts(&x), parts(&expected), "{hasher:?}");
    }
}

#[test]
fn every_way_of_reading() {
    let rows: Vec<Vec<(String, f32)>> = vectors()
        .rows
        .into_iter()
        .map(|row| row.into_iter().filter(|(name, _)| !name.is_empty()).collect())
        .collect();
    let scratch = Scratch::new();
    let path = scratch.file("hashed.svm", libsvm(&rows));
    for bits in [0, 3, 20, 31] {
        let hasher = FeatureHasher::new(bits).unwrap();
        let expected = hasher.transform(&rows).unwrap();
        let reader = Libsvm::new().hashed(hasher);
        let data = reader.read(&path).unwrap();
        assert_eq!(parts(&data.features), parts(&expected));
        let schema = Schema::new(IdBase::Zero, 1 << bits).unwrap();
        assert_eq!(data.schema, schema);
        assert_eq!(reader.find_schema(&[&path]).unwrap(), schema);
        let chunks = reader.stream(&[&path], Chunk::Rows(1)).unwrap();
        for (row, chunk) in chunks.enumerate() {
            let expected = expected.rows_window(row, row + 1).unwrap();
            assert_eq!(parts(&chunk.unwrap().features), parts(&expected));
        }
        // Stating what is so anyway, as a saved schema does, is fine.
        assert_eq!(reader.clone().schema(schema).read(&path).unwrap().schema, schema);
    }
}

#[test]
fn names_and_values() {
    let hasher = FeatureHasher::new(20).unwrap();
    let read = |text: &str| {
        Libsvm::new().hashed(hasher).label_columns(2).dtype(DType::F64).read_from(text.as_bytes())
    };
    let data = read("1,0 qid:3 a:b:1e-3 http://x/?q=1,2:nan\t-:inf qid:5 # c:1\n").unwrap();
    let row = [("a:b", 1e-3), ("http://x/?q=1,2", f64::NAN), ("-", f64::INFINITY), ("qid", 5.0)];
    assert_eq!(parts(&data.features), parts(&hasher.transform(&[row]).unwrap()));
    assert_eq!(data.qids.unwrap().values::<i64>().unwrap(), [3]);
    assert_eq!(data.labels.values::<f64>().unwrap(), [1.0, 0.0]);
    // `7` and `07` are two names; explicit zeros stay.
    let data = read("1 0 7:1 07:0 7:2\n").unwrap();
    assert_eq!(data.features, hasher.transform(&[[("7", 3.0f64), ("07", 0.0)]]).unwrap());
    assert_eq!(data.features.nnz(), 2);
    let message = |text: &str| read(text).unwrap_err().to_string();
    assert_eq!(message("1 0 a:1 b\n"), r#"<reader>:1:9: "b" is not a `name:value` entry"#);
    assert_eq!(message("1 0 a:1 :2\n"), r#"<reader>:1:9: no feature name before ":2""#);
    let value = |text: &str, at, value: &str| {
        let expected =
            format!(r#"<reader>:1:{at}: value "{value}" of feature "a:b" is not a number"#);
        assert_eq!(message(text), expected);
    };
    value("1 0 a:b:\n", 9, "");
    value("1 0 a:b:x\n", 9, "x");
    value("1 0 x:1 a:b:1,2 c:1\n", 13, "1,2");
    assert_eq!(message("1 a:1\n"), r#"<reader>:1:3: label 2 of 2 is missing: got "a:1""#);
}

#[test]
fn options() {
    assert_eq!(FeatureHasher::new(32).unwrap_err().kind(), ErrorKind::Value);
    let hasher = FeatureHasher::new(4).unwrap();
    assert_eq!(hasher.features(), 16);
    let reader = Libsvm::new().hashed(hasher).repeated(Repeated::Refuse);
    assert!(reader.read_from("1 a:1 a:1\n".as_bytes()).is_ok());
    for reader in [reader.clone().base(IdBase::One), reader.features(5)] {
        let error = reader.read_from("1 a:1\n".as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.message().starts_with("ids are hashed to 16 columns, counted from 0, but "));
        assert!(error.location().is_some());
        assert_eq!(reader.find_schema(&["x"]).unwrap_err().kind(), ErrorKind::State);
        let error = reader.stream_from(&b""[..], Chunk::Rows(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
    }
}

#[test]
fn labels_in_a_file_of_entries_are_not_hashed() {
    let scratch = Scratch::new();
    let labels = scratch.file("labels", "2:1 0:1\n1:1\n");
    let reader = Libsvm::new().hashed(FeatureHasher::new(4).unwrap()).label_entries(labels, 3);
    let data = reader.read_from("a:1\nb:1\n".as_bytes()).unwrap();
    assert_eq!(data.labels.indices().unwrap(), [0, 2, 1]);
}

proptest! {
    #[test]
    fn files_as_memory(
        rows in prop::collection::vec(prop::collection::vec(("[!\"$-~é日]{1,12}", -9i8..9), 0..6), 0..6),
        bits in 0u32..8,
    ) {
        let rows: Vec<Vec<(String, f32)>> = rows
            .into_iter()
            .map(|row| row.into_iter().map(|(name, x)| (name, f32::from(x))).collect())
            .filter(|row: &Vec<(String, f32)>| row.iter().all(|(name, _)| !name.starts_with("qid")))
            .collect();
        let hasher = FeatureHasher::new(bits).unwrap();
        let data = Libsvm::new().hashed(hasher).read_from(libsvm(&rows).as_bytes()).unwrap();
        prop_assert_eq!(parts(&data.features), parts(&hasher.transform(&rows).unwrap()));
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"1: \n#a.".to_vec())], 0..80)) {
        let reader = Libsvm::new().hashed(FeatureHasher::new(5).unwrap());
        match reader.read_from(&bytes[..]) {
            Ok(data) => {
                let (indptr, ids) = (data.features.indptr().unwrap(), data.features.indices().unwrap());
                let values = data.features.values::<f32>().unwrap();
                Tensor::csr([data.rows(), 32], indptr.to_vec(), ids.to_vec(), values.to_vec()).unwrap();
            }
            Err(error) => prop_assert!(matches!(error.kind(), ErrorKind::Parse | ErrorKind::Io)),
        }
    }
}
