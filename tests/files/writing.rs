//! The file as others see it.

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use sparsetape::{Archive, ErrorKind, Tensor};

use super::{Scratch, small};

#[test]
fn the_same_content_gives_the_same_bytes() {
    let bytes = small().to_bytes().unwrap();
    assert_eq!(bytes, small().to_bytes().unwrap());
    assert_eq!(bytes, Archive::from_bytes(&bytes).unwrap().to_bytes().unwrap());
}

#[test]
fn any_reader_of_the_format_finds_the_parts() {
    let bytes = small().to_bytes().unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let part = |name: &str| {
        let part = read.tensor(name).unwrap();
        (part.dtype(), part.shape().to_vec(), part.data().to_vec())
    };
    let indptr: Vec<u8> = [0i64, 2, 2, 3].iter().flat_map(|p| p.to_le_bytes()).collect();
    assert_eq!(part("csr.indptr"), (Dtype::I64, vec![4], indptr));
    let ids: Vec<u8> = [1, u32::MAX, 7].iter().flat_map(|p| p.to_le_bytes()).collect();
    assert_eq!(part("csr.indices"), (Dtype::U32, vec![3], ids));
    assert_eq!(part("csr.data").0, Dtype::F32);
    assert_eq!(part("rows.values").1, [2, 2]);
    assert_eq!(part("scale"), (Dtype::F64, vec![], 0.25f64.to_le_bytes().to_vec()));
    assert_eq!(read.len(), 9);
}

#[test]
fn data_is_aligned() {
    let archive = Archive::new([
        ("a", Tensor::dense([3], vec![1.0f32; 3]).unwrap()),
        ("b", Tensor::dense([3], vec![1.0f64; 3]).unwrap()),
        ("c", Tensor::row_sparse([9], vec![2], vec![1i64]).unwrap()),
    ]);
    let bytes = archive.unwrap().to_bytes().unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert_eq!(header % 64, 0);
    let read = SafeTensors::deserialize(&bytes).unwrap();
    for (name, part) in read.iter() {
        let at = part.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(at % (part.dtype().bitsize() / 8), 0, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn files_have_the_usual_mode() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.path("saved");
    small().save(&path).unwrap();
    let usual = scratch.file("usual", b"");
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(path), mode(usual));
}

#[test]
fn a_failed_save_leaves_what_was_there() {
    let scratch = Scratch::new();
    let path = scratch.file("model", b"old");
    let clash = Archive::new([
        ("x", Tensor::csr([1, 1], vec![0, 0], vec![], Vec::<f32>::new()).unwrap()),
        ("x.indptr", Tensor::scalar(1i64)),
    ]);
    let error = clash.unwrap().save(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains("two tensors would be named \"x.indptr\""), "{error}");
    assert!(error.location().unwrap().file().ends_with("writing.rs"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    // A directory cannot be replaced by a file.
    std::fs::create_dir(scratch.path("taken")).unwrap();
    let error = small().save(scratch.path("taken")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("taken"), "{error}");
    let mut names = scratch.names();
    names.sort();
    assert_eq!(names, ["model", "taken"]);
}

#[test]
fn the_name_of_the_string_map_is_refused() {
    let archive = Archive::new([("__metadata__", Tensor::scalar(1i64))]).unwrap();
    let error = archive.to_bytes().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains("rename the tensor"), "{error}");
}
