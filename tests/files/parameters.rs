//! Parameters and files.

use sparsetape::{Archive, ErrorKind, Parameter, Params, Tensor};

use super::Scratch;

/// Written by the first version.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/version_1.safetensors");

#[test]
fn files_of_version_1_load() {
    let (params, notes) = Params::load(VERSION_1).unwrap();
    assert_eq!(notes["classes"], "2 é");
    assert_eq!(notes.len(), 1);
    let expected = [
        ("bias", Tensor::dense([2], vec![0.5f64, -0.0]).unwrap()),
        (
            "weight",
            Tensor::row_sparse([9, 2], vec![2, 8], vec![1.0f32, f32::INFINITY, -0.0, 4.0]).unwrap(),
        ),
        ("scale", Tensor::scalar(0.25f32)),
    ];
    assert_eq!(params.len(), expected.len());
    for (parameter, (name, value)) in params.iter().zip(&expected) {
        assert_eq!(parameter.name(), *name);
        assert!(parameter.snapshot().unwrap().same_bits(value), "{name}");
    }
    assert_eq!(Archive::read_notes(VERSION_1).unwrap(), notes);
}

#[test]
fn parameters_become_tensors_and_back() {
    let scratch = Scratch::new();
    let path = scratch.path("model.safetensors");
    let w = Tensor::row_sparse([1 << 32, 1], vec![3, u32::MAX], vec![1.0f32, 2.0]).unwrap();
    let w = Parameter::new("w", w).unwrap();
    let b = Parameter::new("b", Tensor::scalar(1.0f64)).unwrap();
    let params = Params::new([&w, &b]).unwrap();
    params.save(&path, &[("a".to_owned(), "b".to_owned())].into()).unwrap();
    // What `save` writes is the archive of snapshots, and its notes.
    let mut archive = params.to_archive().unwrap();
    archive.notes.insert("a".into(), "b".into());
    assert_eq!(std::fs::read(&path).unwrap(), archive.to_bytes().unwrap());
    let twin = Params::from_archive(archive).unwrap();
    for (a, b) in params.iter().zip(&twin) {
        assert_eq!(a.name(), b.name());
        assert!(a.snapshot().unwrap().same_bits(&b.snapshot().unwrap()));
    }
}

#[test]
fn tensors_that_cannot_be_parameters_are_named() {
    let scratch = Scratch::new();
    let path = scratch.path("ids.safetensors");
    Archive::new([("ids", Tensor::scalar(1i64))]).unwrap().save(&path).unwrap();
    let error = Params::load(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse);
    assert!(error.to_string().contains("ids.safetensors: parameter \"ids\""), "{error}");
    let error = Params::from_archive(Archive::load(&path).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DType);
}

#[test]
fn names_that_would_collide_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("model.safetensors");
    let w = Tensor::row_sparse([9], vec![3], vec![1.0f32]).unwrap();
    let w = Parameter::new("w", w).unwrap();
    let rows = Parameter::new("w.rows", Tensor::scalar(1.0f32)).unwrap();
    let error = Params::new([&w, &rows]).unwrap().save(&path, &[].into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains("\"w.rows\""), "{error}");
    assert!(error.location().unwrap().file().ends_with("parameters.rs"), "{error}");
    assert!(scratch.names().is_empty());
}
