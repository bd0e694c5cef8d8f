//! Arrays of numpy: what numpy wrote is read, what is written is what numpy writes.

use std::path::PathBuf;

use proptest::prelude::*;
use sparsetape::data::{read_npy, read_npy_from, write_npy, write_npy_to};
use sparsetape::{DType, Element, ErrorKind, Stype, Tensor};

use super::{Dribble, Failing, Scratch, change, parts};

pub(crate) fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", "numpy", name].iter().collect()
}

/// A `.npy` file with this header and these bytes of elements.
pub(crate) fn npy(header: &str, elements: &[u8]) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), elements].concat()
}

/// A header that is right.
pub(crate) fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n")
}

/// What `dense` in the script that made the files gives.
pub(crate) fn formula<T: Element>(shape: &[usize], f: impl Fn(i64) -> T) -> Tensor {
    let values: Vec<T> = (0..shape.iter().product::<usize>() as i64).map(f).collect();
    Tensor::dense(shape, values).unwrap()
}

pub(crate) fn floats(shape: &[usize], dtype: DType) -> Tensor {
    formula(shape, |i| (3 * i - 4) as f64 / 8.0).cast(dtype)
}

#[track_caller]
fn assert_reads(name: &str, expected: Tensor) {
    assert_eq!(parts(&read_npy(fixture(name)).unwrap()), parts(&expected), "{name}");
    let bytes = std::fs::read(fixture(name)).unwrap();
    assert_eq!(parts(&read_npy_from(Dribble(&bytes, 7)).unwrap()), parts(&expected), "{name}");
}

#[test]
fn files_of_numpy() {
    let shape = [2, 3];
    for order in ["", "big_"] {
        let reads = |kind: &str, x| assert_reads(&format!("{order}{kind}.npy"), x);
        reads("f4", floats(&shape, DType::F32));
        reads("f8", floats(&shape, DType::F64));
        for kind in ["i2", "i4", "i8"] {
            reads(kind, formula(&shape, |i| 3 * i - 4));
        }
        for kind in ["u2", "u4", "u8"] {
            reads(kind, formula(&shape, |i| 3 * i));
        }
    }
    assert_reads("i1.npy", formula(&shape, |i| 3 * i - 4));
    assert_reads("u1.npy", formula(&shape, |i| 3 * i));
    assert_reads("b1.npy", formula(&shape, |i| i % 2));
    for name in ["fortran.npy", "version_2.npy", "version_3.npy"] {
        assert_reads(name, floats(&shape, DType::F32));
    }
    assert_reads("fortran_3d.npy", formula(&[2, 3, 4], |i| 3 * i - 4));
    assert_reads("scalar.npy", floats(&[], DType::F64));
    assert_reads("vector.npy", floats(&[5], DType::F32));
    assert_reads("empty.npy", floats(&[0], DType::F32));
    assert_reads("no_columns.npy", floats(&[3, 0], DType::F64));
}

#[test]
fn written_as_numpy_writes() {
    let scratch = Scratch::new();
    for name in ["f4", "f8", "i8", "scalar", "vector", "empty", "no_columns"] {
        let name = format!("{name}.npy");
        let expected = std::fs::read(fixture(&name)).unwrap();
        let x = read_npy(fixture(&name)).unwrap();
        let mut bytes = Vec::new();
        write_npy_to(&mut bytes, &x).unwrap();
        assert_eq!(bytes, expected, "{name}");
        write_npy(scratch.path(&name), &x).unwrap();
        assert_eq!(std::fs::read(scratch.path(&name)).unwrap(), expected, "{name}");
    }
    // Of 64 axes, the most that numpy has, the header is long, and still of version 1.
    let many = Tensor::dense([vec![1; 62], vec![2, 3]].concat(), (0..6i64).collect::<Vec<_>>());
    let many = many.unwrap();
    let mut bytes = Vec::new();
    write_npy_to(&mut bytes, &many).unwrap();
    assert_eq!(bytes.len() % 64, 6 * 8);
    assert_eq!(bytes[6], 1);
    assert_eq!(parts(&read_npy_from(&bytes[..]).unwrap()), parts(&many));
    let too_many = Tensor::dense(vec![1; 65], vec![7i64]).unwrap();
    let error = write_npy_to(&mut bytes, &too_many).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Shape, "an array has at most 64 axes, got 65")
    );
    let sparse = Tensor::zeros(Stype::Csr, [2, 3], DType::F32).unwrap();
    let error = write_npy(scratch.path("x.npy"), &sparse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stype);
    assert!(error.to_string().starts_with("write_npy: an array is dense, got csr f32 (2, 3)"));
    assert!(!scratch.path("x.npy").exists());
    assert_eq!(
        write_npy("no/such/dir.npy", &Tensor::scalar(1i64)).unwrap_err().kind(),
        ErrorKind::Io
    );
}

#[track_caller]
fn refuses(bytes: &[u8], message: &str) {
    let error = read_npy_from(bytes).unwrap_err();
    assert_eq!(error.to_string(), format!("<reader>: {message}"));
    assert_eq!(error.kind(), ErrorKind::Parse);
}

#[test]
fn refusals() {
    let f4 = |shape: &str, bytes: &[u8]| npy(&header("<f4", shape), bytes);
    refuses(b"", "it ends too early");
    refuses(b"PK\x03\x04....", "not a .npy array: it begins with \"PK\\x03\\x04..\"");
    refuses(b"\x93NUMPY\x04\x00", "format 4.0 of .npy; 1.0, 2.0 and 3.0 are read");
    refuses(b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF", "a header of 4294967295 bytes, of at most 65536");
    refuses(&f4("(2, 3)", &[0; 23]), "shape (2, 3) takes 24 bytes, 23 are there");
    refuses(
        &f4("(1000000000, 1000000)", &[0; 3]),
        "shape (1000000000, 1000000) takes 4000000000000000 bytes, 3 are there",
    );
    let overflow = "shape (4294967296, 4294967296, 2) has more elements than memory has addresses";
    refuses(&f4("(4294967296, 4294967296, 2)", &[]), overflow);
    let types =
        |kind| format!("elements of type \"{kind}\"; f4, f8, integers and booleans are read");
    refuses(&npy(&header("<c8", "()"), &[0; 8]), &types("c8"));
    refuses(&npy(&header("|O", "()"), &[0; 8]), &types("O"));
    refuses(&npy(&header("<i3", "()"), &[0; 8]), "elements of type \"i3\", not integers");
    refuses(&npy(&header(&"f".repeat(21), "()"), &[]), "an element type of 21 characters");
    refuses(&npy(&header("\u{e9}4", "()"), &[0; 8]), &types("\u{e9}4"));
    let descr = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (), }";
    let records = "records with named fields are not read: save each field as an array";
    refuses(&npy(descr, &[0; 8]), records);
    for (at, text) in [
        (0, ""),
        (1, "{"),
        (9, "{'descr' '<f4'}"),
        (25, "{'descr': '<f4', 'other': 1}"),
        (35, "{'descr': '<f4', 'fortran_order': 1}"),
        (27, "{'descr': '<f4', 'shape': (-1,)}"),
        (47, "{'descr': '<f4', 'shape': (99999999999999999999,)}"),
        (32, "{'descr': '<f4', 'shape': (1,) }"),
        (56, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x"),
    ] {
        let message = format!("byte {at} of its header is damaged: {text:?}");
        refuses(&npy(text, &[0; 4]), &message);
    }

    let scratch = Scratch::new();
    let path = scratch.file("x.npy", f4("(1,)", &[0; 5]));
    let error = read_npy(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: bytes follow its last element", path.display()));
    let error = read_npy("no/such/file.npy").unwrap_err();
    assert!(error.to_string().starts_with("no/such/file.npy: "));
    assert_eq!(error.kind(), ErrorKind::Io);
    for (name, message) in [
        ("half.npy", types("f2")),
        ("complex.npy", types("c8")),
        ("text.npy", types("U2")),
        ("records.npy", records.to_owned()),
        ("too_large.npy", "element 1 is 2^63 or more, too large for i64".to_owned()),
    ] {
        let error = read_npy(fixture(name)).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {message}", fixture(name).display()));
    }
}

#[test]
fn a_reader_that_fails() {
    let bytes = npy(&header("<f4", "(2, 3)"), &[0; 8]);
    for start in [0, 20, bytes.len()] {
        let reader = std::io::Read::chain(&bytes[..start], Failing);
        let error = read_npy_from(reader).unwrap_err();
        assert_eq!(error.to_string(), "<reader>: cannot read it: cable pulled");
        assert_eq!(error.kind(), ErrorKind::Io);
    }
}

#[test]
fn fortran_order_of_many_axes() {
    let text = header("<i8", &format!("({}2, 3)", "1, ".repeat(62))).replace("False", "True");
    let elements: Vec<u8> = (0..6i64).flat_map(i64::to_le_bytes).collect();
    let x = read_npy_from(&npy(&text, &elements)[..]).unwrap();
    assert_eq!(x.values::<i64>().unwrap(), [0, 2, 4, 1, 3, 5]);
    let text = header("<i8", &format!("({}2, 3)", "1, ".repeat(63)));
    let error = read_npy_from(&npy(&text, &elements)[..]).unwrap_err();
    assert!(error.message().starts_with("<reader>"), "{error}");
    let text = header("<i8", "(0, 3)").replace("False", "True");
    assert_eq!(read_npy_from(&npy(&text, &[])[..]).unwrap().shape()[..], [0, 3]);
}

/// Headers of Python's other notations.
#[test]
fn other_notations() {
    for text in [
        "{\"shape\": (2L, 1L), \"fortran_order\": False, \"descr\": \"<i8\"}",
        " { 'shape' : ( 2,1 ) ,'fortran_order':False,\n'descr':'=i8'} ",
        "{'descr': 'i8', 'shape': (2, 1,), 'fortran_order': True,}",
    ] {
        let elements: Vec<u8> = [5i64, -6].into_iter().flat_map(i64::to_ne_bytes).collect();
        let x = read_npy_from(&npy(text, &elements)[..]).unwrap();
        assert_eq!(x.shape()[..], [2, 1], "{text}");
        assert_eq!(x.values::<i64>().unwrap(), [5, -6], "{text}");
    }
}

fn feed(bytes: &[u8]) {
    match read_npy_from(bytes) {
        Ok(x) => assert!(x.bytes() <= 8 * bytes.len()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Parse, "{error}");
            assert!(error.message().starts_with("<reader>"), "{error}");
            assert!(error.to_string().len() < 1000, "{error}");
        }
    }
}

proptest! {
    #[test]
    fn identity(shape in prop::collection::vec(0usize..5, 0..5), seed: u64) {
        let bits = |i: i64| (seed ^ i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let tensors = [
            formula(&shape, |i| f32::from_bits(bits(i) as u32)),
            formula(&shape, |i| f64::from_bits(bits(i))),
            formula(&shape, |i| bits(i) as i64),
        ];
        let mut bytes = Vec::new();
        tensors.iter().for_each(|x| write_npy_to(&mut bytes, x).unwrap());
        let mut reader = &bytes[..];
        for x in &tensors {
            prop_assert_eq!(parts(&read_npy_from(&mut reader).unwrap()), parts(x));
        }
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn changed_files(
        name in prop::sample::select(vec!["f4", "big_i2", "fortran_3d", "u8", "b1", "version_3"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = std::fs::read(fixture(&format!("{name}.npy"))).unwrap();
        change(&mut bytes, &changes);
        feed(&bytes);
        feed(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn likely_headers(text in "\\{?('(descr|fortran_order|shape)': ('[<>|=]?[fiub][1248]'|True|False|\\([0-9, L]{0,9}\\)|[ -~]{0,4}),? ?){0,4}\\}? ?") {
        feed(&npy(&text, &[1; 64]));
    }
}
