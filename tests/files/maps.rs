//! A mapped file holds what a loaded one does, in place.

use sparsetape::{Archive, Tensor};

use super::counting::bytes_taken;
use super::{Scratch, assert_same, small};

#[test]
fn a_mapped_file_has_the_same_bits() {
    let scratch = Scratch::new();
    let path = scratch.path("small.safetensors");
    small().save(&path).unwrap();
    // SAFETY: nobody changes the file.
    let mapped = unsafe { Archive::map(&path).unwrap() };
    assert_same(&mapped, &Archive::load(&path).unwrap());
    // The map lives as long as a tensor of it, whatever happens to the file's name.
    let rows = mapped.get("rows").unwrap().clone();
    drop(mapped);
    std::fs::remove_file(&path).unwrap();
    assert!(rows.same_bits(small().get("rows").unwrap()));
}

#[test]
fn mapping_copies_nothing() {
    let scratch = Scratch::new();
    let path = scratch.path("large.safetensors");
    let n = 100_000;
    let (indptr, ids) = ((0..=n).collect::<Vec<_>>(), (0..n as u32).collect::<Vec<_>>());
    let archive = Archive::new([
        ("odd", Tensor::dense([3], vec![1.0f32; 3]).unwrap()),
        ("csr", Tensor::csr([n, n], indptr, ids.clone(), vec![1.0f32; n]).unwrap()),
        ("rows", Tensor::row_sparse([n, 2], ids, vec![1.0f64; 2 * n]).unwrap()),
        ("dense", Tensor::dense([n], vec![7i64; n]).unwrap()),
    ]);
    let archive = archive.unwrap();
    archive.save(&path).unwrap();
    let mut mapped = None;
    // SAFETY: nobody changes the file.
    let taken = bytes_taken(|| mapped = Some(unsafe { Archive::map(&path).unwrap() }));
    assert!(taken < 20_000, "{taken} bytes taken");
    assert_same(&mapped.unwrap(), &archive);
}

#[test]
fn misaligned_tensors_of_other_tools_are_copied() {
    use safetensors::tensor::{Dtype, TensorView};
    let floats: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let x = TensorView::new(Dtype::F64, vec![2], &floats).unwrap();
    let bytes = safetensors::serialize([("x", x)], None).unwrap();
    // Padding of the header moves the data by one byte.
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let longer = (len as u64 + 1).to_le_bytes();
    let moved = [&longer[..], &bytes[8..8 + len], b" ", &bytes[8 + len..]].concat();
    let scratch = Scratch::new();
    let path = scratch.file("moved.safetensors", &moved);
    // SAFETY: nobody changes the file.
    let archive = unsafe { Archive::map(&path).unwrap() };
    assert_eq!(archive.get("x").unwrap().values::<f64>().unwrap(), [1.5, -2.0]);
}
