//! What other tools wrote, and notes.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use sparsetape::{Archive, DType, Params, Stype, Tensor};

use super::{Scratch, assert_same, small};

fn foreign(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let x = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let strings = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize([("x", x)], Some(strings)).unwrap()
}

#[test]
fn every_storage_type_comes_back() {
    let scratch = Scratch::new();
    let path = scratch.path("small.safetensors");
    small().save(&path).unwrap();
    assert_same(&Archive::load(&path).unwrap(), &small());
    assert_same(&Archive::from_bytes(&std::fs::read(&path).unwrap()).unwrap(), &small());
}

#[test]
fn files_of_other_tools_load_as_dense_tensors() {
    let bytes: Vec<u8> = [1.5f32, -0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let archive = Archive::from_bytes(&foreign(Dtype::F32, &[2, 1], &bytes)).unwrap();
    let expected = Tensor::dense([2, 1], vec![1.5f32, -0.0]).unwrap();
    assert!(archive.get("x").unwrap().same_bits(&expected));
    assert_eq!(archive.notes["format"], "pt");
    let params = Params::from_archive(archive).unwrap();
    assert_eq!(params.get("x").unwrap().shape()[..], [2, 1]);
}

#[test]
fn integers_of_all_widths_become_i64() {
    let cases: [(Dtype, Vec<u8>, i64); 9] = [
        (Dtype::BOOL, vec![1], 1),
        (Dtype::U8, vec![200], 200),
        (Dtype::I8, (-3i8).to_le_bytes().into(), -3),
        (Dtype::U16, u16::MAX.to_le_bytes().into(), 65535),
        (Dtype::I16, i16::MIN.to_le_bytes().into(), -32768),
        (Dtype::U32, u32::MAX.to_le_bytes().into(), 4294967295),
        (Dtype::I32, i32::MIN.to_le_bytes().into(), -2147483648),
        (Dtype::U64, (1u64 << 62).to_le_bytes().into(), 1 << 62),
        (Dtype::I64, i64::MIN.to_le_bytes().into(), i64::MIN),
    ];
    for (dtype, bytes, expected) in cases {
        let archive = Archive::from_bytes(&foreign(dtype, &[], &bytes)).unwrap();
        let x = archive.get("x").unwrap();
        assert_eq!((x.dtype(), x.item::<i64>().unwrap()), (DType::I64, expected), "{dtype}");
    }
}

#[test]
fn sparse_parts_without_the_index_stay_dense() {
    let bytes = small().to_bytes().unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let bare = safetensors::serialize(read.tensors(), None).unwrap();
    let archive = Archive::from_bytes(&bare).unwrap();
    assert!(archive.iter().all(|(_, x)| x.stype() == Stype::Default));
    assert_eq!(archive.get("csr.indptr").unwrap().values::<i64>().unwrap(), [0, 2, 2, 3]);
    assert_eq!(archive.get("rows.rows").unwrap().values::<i64>().unwrap(), [0, 8]);
    assert!(archive.notes.is_empty());
}

#[test]
fn tensors_beside_the_index_are_dense_and_come_last() {
    let bytes = small().to_bytes().unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = read.tensors();
    let more = 5u16.to_le_bytes();
    tensors.push(("more".to_owned(), TensorView::new(Dtype::U16, vec![1], &more).unwrap()));
    let bytes = safetensors::serialize(tensors, header.metadata().clone()).unwrap();
    let archive = Archive::from_bytes(&bytes).unwrap();
    assert_eq!(archive.len(), small().len() + 1);
    let (name, last) = archive.iter().last().unwrap();
    assert_eq!((name, last.item::<i64>().unwrap()), ("more", 5));
    assert_eq!(archive.get("csr").unwrap().stype(), Stype::Csr);
}

#[test]
fn notes_are_read_without_the_data() {
    let scratch = Scratch::new();
    let bytes = small().to_bytes().unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let path = scratch.file("header.safetensors", &bytes[..header]);
    assert_eq!(Archive::read_notes(&path).unwrap(), small().notes);
    assert!(Archive::load(&path).is_err());
    let path = scratch.file("shorter.safetensors", &bytes[..header - 1]);
    assert!(Archive::read_notes(&path).is_err());
}
