//! What training found is applied to later files.

use sparsetape::data::{IdBase, Libsvm, Schema, Wider};

use super::Scratch;

#[test]
fn saved_and_loaded() {
    let scratch = Scratch::new();
    for (base, features) in [(IdBase::Zero, 0), (IdBase::One, 17), (IdBase::Zero, 1 << 32)] {
        let schema = Schema::new(base, features).unwrap();
        schema.save(scratch.path("schema.json")).unwrap();
        assert_eq!(Schema::load(scratch.path("schema.json")).unwrap(), schema);
    }
    assert!(Schema::new(IdBase::One, (1 << 32) + 1).is_err());
    assert!(Schema::load(scratch.path("none")).unwrap_err().to_string().contains("none"));
}

#[test]
fn hostile() {
    let scratch = Scratch::new();
    for (json, fault) in [
        (r#"{"version":2,"base":"one","features":3}"#, "version 2, not 1"),
        (r#"{"version":1,"base":"two","features":3}"#, "unknown variant `two`"),
        (r#"{"version":1,"base":"one","features":4294967297}"#, "at most 4294967296"),
        (r#"{"version":1,"base":"one"}"#, "missing field `features`"),
        (r#"{"version":1,"base":"one","features":3,"x":0}"#, "unknown field `x`"),
        ("", "EOF"),
    ] {
        let path = scratch.file("schema.json", json);
        let error = Schema::load(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: not a schema: ", path.display())), "{error}");
        assert!(error.contains(fault), "{error}");
    }
}

#[test]
fn a_wider_file() {
    let schema = Libsvm::new().read_from("1 1:1 3:1\n".as_bytes()).unwrap().schema;
    assert_eq!(schema, Schema::new(IdBase::One, 3).unwrap());
    let reader = Libsvm::new().schema(schema);
    let wider = "1 2:1 3:1 4:1\n0 9:1 9000:1\n0 4:5\n";
    assert!(reader.read_from(wider.as_bytes()).is_err());
    let data = reader.wider(Wider::Drop).read_from(wider.as_bytes()).unwrap();
    assert_eq!(data.features.shape()[..], [3, 3]);
    assert_eq!(data.features.indices().unwrap(), [1, 2]);
    assert_eq!((data.dropped.entries, data.dropped.columns), (4, 3));
    assert_eq!(data.schema, schema);
}

#[test]
fn unknown_ids_in_a_bucket() {
    let schema = Schema::new(IdBase::One, 3).unwrap();
    let reader = |bucket| Libsvm::new().schema(schema).wider(Wider::Bucket(bucket));
    let rows = "1 2:1 3:1 4:1\n0 9:1 9000:2 1:5\n0 1:5\n1 2:3 7:4\n";
    let data = reader(1).read_from(rows.as_bytes()).unwrap();
    assert_eq!(data.features.indptr().unwrap(), [0, 2, 4, 5, 6]);
    assert_eq!(data.features.indices().unwrap(), [1, 2, 0, 1, 0, 1]);
    assert_eq!(data.features.values::<f32>().unwrap(), [2.0, 1.0, 5.0, 3.0, 5.0, 7.0]);
    assert_eq!((data.dropped.entries, data.dropped.columns), (4, 4));
    assert!(reader(3).read_from(rows.as_bytes()).is_err());
}
