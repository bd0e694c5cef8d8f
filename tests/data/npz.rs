//! Archives of numpy, matrices of scipy: theirs are read, ours are read by them.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use sparsetape::data::{Dataset, Npz, NpzWriter, read_npy, write_npy};
use sparsetape::{DType, ErrorKind, Stype, Tensor};
use zip::write::SimpleFileOptions;

use super::npy::{fixture, floats, formula, header, npy};
use super::{Scratch, change, parts};

/// What `matrix(7, 10, dtype)` in the script that made the files gives, before its cast.
pub(crate) fn matrix() -> Tensor {
    let row = |r: usize| (0..r % 4).map(move |k| ((2 * r + 3 * k) % 10, r as f64 + k as f64 / 8.0));
    Tensor::from_rows(10, &(0..7).map(|r| row(r).collect::<Vec<_>>()).collect::<Vec<_>>()).unwrap()
}

#[track_caller]
fn assert_reads(name: &str, expected: &Tensor) {
    let path = fixture(&format!("{name}.npz"));
    let x = Npz::open(&path).unwrap().csr().unwrap();
    assert_eq!(parts(&x), parts(expected), "{name}");
    let bytes = Cursor::new(std::fs::read(path).unwrap());
    assert_eq!(parts(&Npz::from_reader(bytes).unwrap().csr().unwrap()), parts(expected), "{name}");
}

#[test]
fn matrices_of_scipy() {
    let (x, single) = (matrix(), matrix().cast(DType::F32));
    for kind in ["matrix", "array"] {
        for ids in ["i4", "i8"] {
            for packed in ["compressed", "stored"] {
                assert_reads(&format!("csr_{kind}_{ids}_{packed}"), &single);
            }
        }
        assert_reads(&format!("csc_{kind}"), &single);
        assert_reads(&format!("coo_{kind}"), &single);
    }
    assert_reads("coo_coords", &single);
    assert_reads("csr_text_big_endian", &single);
    assert_reads("csr_float64", &x);
    for integers in ["csr_int32", "csr_int64", "csr_uint8"] {
        assert_reads(integers, &x.cast(DType::I64));
    }
    let ones = vec![1i64; x.nnz()];
    let (indptr, indices) = (x.indptr().unwrap(), x.indices().unwrap());
    assert_reads(
        "csr_bool",
        &Tensor::csr([7, 10], indptr.to_vec(), indices.to_vec(), ones).unwrap(),
    );
}

#[test]
fn matrices_of_unusual_shapes() {
    let empty = |rows, cols| Tensor::zeros(Stype::Csr, [rows, cols], DType::F32).unwrap();
    assert_reads("no_entries", &empty(4, 3));
    assert_reads("no_rows", &empty(0, 3));
    assert_reads("no_columns", &empty(3, 0));
    let wide = Tensor::csr([1, 1 << 32], vec![0, 1], vec![u32::MAX], vec![1.0f32]).unwrap();
    assert_reads("wide", &wide);
    // Columns 3, 1, 3, 1 of values 1, 2, 4, 8; twice column 0 of 16 and 32.
    let sums = Tensor::csr([3, 4], vec![0, 2, 3, 3], vec![1, 3, 0], vec![10.0f32, 5.0, 48.0]);
    assert_reads("unsorted", sums.as_ref().unwrap());
    assert_reads("coo_repeated", &sums.unwrap());
}

#[test]
fn matrices_that_are_not_read() {
    let error = |name: &str| {
        let path = fixture(&format!("{name}.npz"));
        let error = Npz::open(&path).unwrap().csr().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parse);
        let prefix = format!("{}: ", path.display());
        error.to_string().strip_prefix(&prefix).unwrap().to_owned()
    };
    let format =
        |f| format!("a matrix of format \"{f}\"; csr, csc and coo are read: save x.tocsr()");
    assert_eq!(error("bsr_matrix"), format("bsr"));
    assert_eq!(error("dia_matrix"), format("dia"));
    let axes = "array \"shape\": a shape of shape (3,); matrices have two axes";
    assert_eq!(error("coo_3d"), axes);
    let wide =
        "array \"shape\": 4294967297 columns, but sparse ids are 32-bit: at most 4294967296 (2^32)";
    assert_eq!(error("too_wide"), wide);
    let other = "not a file of scipy.sparse.save_npz; its 2 arrays are [\"w\", \"b\"]";
    assert_eq!(error("stored"), other);
}

#[test]
fn arrays_of_numpy() {
    for name in ["stored.npz", "compressed.npz"] {
        let mut file = Npz::open(fixture(name)).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["w", "b"]);
        let b = file.get("b").unwrap();
        assert_eq!(parts(&b), parts(&formula(&[5], |i| 3 * i - 4)));
        assert_eq!(parts(&file.get("w").unwrap()), parts(&floats(&[2, 3], DType::F32)));
        let error = file.get("x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Value);
        let message = "has no array \"x\"; its 2 arrays are [\"w\", \"b\"]";
        assert!(error.message().ends_with(message), "{error}");
    }
    let error = Npz::open(fixture("f4.npy")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse);
    assert!(error.to_string().contains("f4.npy: it is damaged: "), "{error}");
    assert_eq!(Npz::open("no/such/file.npz").unwrap_err().kind(), ErrorKind::Io);
}

/// An archive of these arrays.
fn npz(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn integers(numbers: &[i64]) -> Vec<u8> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    npy(&header("<i8", &format!("({},)", numbers.len())), &bytes)
}

fn format(name: &str) -> Vec<u8> {
    npy(&header(&format!("|S{}", name.len()), "()"), name.as_bytes())
}

fn csr(bytes: Vec<u8>) -> Result<Tensor, sparsetape::Error> {
    Npz::from_reader(Cursor::new(bytes)).and_then(|mut file| file.csr())
}

#[track_caller]
fn refuses(members: &[(&str, Vec<u8>)], message: &str) {
    let error = csr(npz(members)).unwrap_err();
    assert_eq!(error.to_string(), format!("<reader>: {message}"));
    assert_eq!(error.kind(), ErrorKind::Parse);
}

#[test]
fn matrices_that_do_not_fit_together() {
    let base = |replaced: &'static str, with: Vec<u8>| {
        let mut members = vec![
            ("format", format("csr")),
            ("shape", integers(&[2, 3])),
            ("indptr", integers(&[0, 1, 2])),
            ("indices", integers(&[2, 0])),
            ("data", integers(&[5, 6])),
        ];
        members.retain(|(name, _)| *name != replaced);
        members.push((replaced, with));
        members.retain(|(_, bytes)| !bytes.is_empty());
        members
    };
    assert_eq!(csr(npz(&base("other", integers(&[])))).unwrap().nnz(), 2);
    let refuses = |replaced, with, message: &str| refuses(&base(replaced, with), message);
    refuses("shape", integers(&[-1, 3]), "array \"shape\": element 0 is -1");
    refuses(
        "shape",
        integers(&[2]),
        "array \"shape\": a shape of shape (1,); matrices have two axes",
    );
    refuses(
        "indptr",
        integers(&[0, 2]),
        "array \"indptr\": of shape (2,), but 3 pointers are needed",
    );
    refuses("indptr", integers(&[0, -1, 2]), "array \"indptr\": element 1 is -1");
    refuses("indptr", integers(&[1, 1, 2]), "array \"indptr\": element 0 is 1, not 0");
    refuses(
        "indptr",
        integers(&[0, 3, 2]),
        "array \"indptr\": element 2 is 2, less than element 1, 3",
    );
    refuses("indptr", integers(&[0, 1, 3]), "indptr ends at 3, but there are 2 entries");
    refuses(
        "indices",
        integers(&[2, 3]),
        "array \"indices\": element 1 is 3, but there are 3 columns",
    );
    refuses(
        "indices",
        integers(&[-1, 2]),
        "array \"indices\": element 0 is -1, but there are 3 columns",
    );
    refuses("indices", integers(&[2]), "1 ids of columns, but 2 values");
    let float = npy(&header("<f4", "(2,)"), &[0; 8]);
    refuses("indices", float, "array \"indices\": elements of type \"f4\", not integers");
    let square = npy(&header("<f4", "(2, 1)"), &[0; 8]);
    refuses("data", square, "array \"data\": of shape (2, 1), where one axis is needed");
    refuses("format", integers(&[1]), "array \"format\": not a text: <i8 of shape (1,)");
    let short = npy(&header("<i8", "(2,)"), &[0; 15]);
    refuses("data", short, "array \"data\": shape (2,) takes 16 bytes, 15 are there");
    let long = npy(&header("<i8", "(2,)"), &[0; 17]);
    refuses("data", long, "array \"data\": bytes follow its last element");
    let missing = csr(npz(&base("indices", Vec::new()))).unwrap_err();
    assert!(missing.to_string().starts_with("<reader>: array \"indices\": "), "{missing}");

    let twice = [
        ("format", format("csr")),
        ("shape", integers(&[1, 3])),
        ("indptr", integers(&[0, 2])),
        ("indices", integers(&[1, 1])),
        ("data", integers(&[i64::MAX, 1])),
    ];
    self::refuses(&twice, "the sum of the entries at (0, 1) is too large for i64");
}

/// What a file states takes no memory unless it is there.
#[test]
fn claims() {
    let coo = |rows: i64| {
        let ids = || integers(&[0]);
        npz(&[
            ("format", format("coo")),
            ("shape", integers(&[rows, 1])),
            ("row", ids()),
            ("col", ids()),
            ("data", ids()),
        ])
    };
    let error = csr(coo(1 << 32)).unwrap_err().to_string();
    assert_eq!(error, "<reader>: 4294967296 rows for 1 entries; save x.tocsr()");
    assert_eq!(csr(coo(1000)).unwrap().shape()[..], [1000, 1]);
    let huge = npy(&header("<f8", "(1000000000000,)"), &[0; 1 << 20]);
    let mut file = Npz::from_reader(Cursor::new(npz(&[("x", huge)]))).unwrap();
    let error = file.get("x").unwrap_err().to_string();
    let expected = "<reader>: array \"x\": shape (1000000000000,) takes 8000000000000 bytes, 1048576 are there";
    assert_eq!(error, expected);
}

fn feed(bytes: &[u8]) {
    let check = |error: sparsetape::Error| {
        assert_eq!(error.kind(), ErrorKind::Parse, "{error:?}");
        assert!(error.message().starts_with("<reader>"), "{error}");
    };
    let mut file = match Npz::from_reader(Cursor::new(bytes)) {
        Ok(file) => file,
        Err(error) => return check(error),
    };
    let names: Vec<String> = file.names().map(str::to_owned).collect();
    names.iter().filter_map(|name| file.get(name).err()).for_each(check);
    let _ = file.csr().map_err(check);
}

proptest! {
    #[test]
    fn changed_files(
        name in prop::sample::select(vec!["csr_matrix_i4_stored", "csr_array_i8_compressed", "csc_matrix", "coo_array"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = std::fs::read(fixture(&format!("{name}.npz"))).unwrap();
        change(&mut bytes, &changes);
        feed(&bytes);
        feed(&bytes[..cut.index(bytes.len())]);
    }

    /// Whole archives of arrays that need not fit together.
    #[test]
    fn any_numbers(
        kind in prop::sample::select(vec!["csr", "csc", "coo"]),
        shape in prop::collection::vec(-1i64..6, 1..4),
        indptr in prop::collection::vec(-1i64..6, 0..7),
        ids in prop::collection::vec(-1i64..6, 0..6),
        other in prop::collection::vec(-1i64..6, 0..6),
    ) {
        feed(&npz(&[
            ("format", format(kind)),
            ("shape", integers(&shape)),
            ("indptr", integers(&indptr)),
            ("indices", integers(&ids)),
            ("row", integers(&ids)),
            ("col", integers(&other)),
            ("data", integers(&ids)),
        ]));
    }

    /// Unsorted and repeated entries, in every format.
    #[test]
    fn any_order(
        rows in 1usize..5, cols in 1usize..5,
        entries in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<i32>()), 0..20),
    ) {
        let mut triplets: Vec<(usize, usize, i64)> =
            entries.iter().map(|(r, c, x)| (r.index(rows), c.index(cols), i64::from(*x))).collect();
        let expected = Tensor::from_triplets([rows, cols], &triplets).unwrap();
        let column = |f: fn(&(usize, usize, i64)) -> i64, t: &[_]| integers(&t.iter().map(f).collect::<Vec<_>>());
        let ends = |n: usize, f: fn(&(usize, usize, i64)) -> usize, t: &[(usize, usize, i64)]| {
            integers(&(0..=n).map(|i| t.iter().filter(|e| f(e) < i).count() as i64).collect::<Vec<_>>())
        };
        let shape = || ("shape", integers(&[rows as i64, cols as i64]));
        let coo = npz(&[("format", format("coo")), shape(), ("data", column(|e| e.2, &triplets)),
            ("row", column(|e| e.0 as i64, &triplets)), ("col", column(|e| e.1 as i64, &triplets))]);
        prop_assert_eq!(parts(&csr(coo).unwrap()), parts(&expected));
        triplets.sort_by_key(|e| e.0);
        let rows_first = npz(&[("format", format("csr")), shape(), ("data", column(|e| e.2, &triplets)),
            ("indices", column(|e| e.1 as i64, &triplets)), ("indptr", ends(rows, |e| e.0, &triplets))]);
        prop_assert_eq!(parts(&csr(rows_first).unwrap()), parts(&expected));
        triplets.sort_by_key(|e| e.1);
        let columns_first = npz(&[("format", format("csc")), shape(), ("data", column(|e| e.2, &triplets)),
            ("indices", column(|e| e.0 as i64, &triplets)), ("indptr", ends(cols, |e| e.1, &triplets))]);
        prop_assert_eq!(parts(&csr(columns_first).unwrap()), parts(&expected));
    }

    #[test]
    fn identity(rows in prop::collection::vec(prop::collection::btree_map(0usize..9, any::<f32>(), 0..5), 0..6), at in any::<prop::sample::Index>(), stored: bool) {
        let rows: Vec<Vec<(usize, f32)>> = rows.into_iter().map(|r| r.into_iter().collect()).collect();
        let whole = Tensor::from_rows(9, &rows).unwrap();
        // A window, whose pointers do not start at 0.
        let x = whole.rows_window(at.index(rows.len() + 1), rows.len()).unwrap();
        let writer = if stored { NpzWriter::new().stored() } else { NpzWriter::new() };
        let write = || {
            let mut bytes = Cursor::new(Vec::new());
            writer.write_csr(&mut bytes, &x).unwrap();
            bytes.into_inner()
        };
        prop_assert_eq!(write(), write());
        prop_assert_eq!(parts(&csr(write()).unwrap()), parts(&x));
    }
}

#[test]
fn writers_refuse() {
    let (csr, dense) = (matrix(), Tensor::scalar(1i64));
    let mut bytes = Cursor::new(Vec::new());
    let kind = |result: Result<(), sparsetape::Error>| result.unwrap_err().kind();
    let writer = NpzWriter::new();
    assert_eq!(kind(writer.write_csr(&mut bytes, &dense)), ErrorKind::Stype);
    assert_eq!(kind(writer.write(&mut bytes, [("x", &csr)])), ErrorKind::Stype);
    assert_eq!(kind(writer.write(&mut bytes, [("x", &dense), ("x", &dense)])), ErrorKind::State);
    assert!(bytes.into_inner().is_empty());
    assert_eq!(kind(writer.save_csr("no/such/x.npz", &csr)), ErrorKind::Io);
}

#[test]
fn a_data_set() {
    let scratch = Scratch::new();
    let x = matrix().cast(DType::F32);
    NpzWriter::new().save_csr(scratch.path("X.npz"), &x).unwrap();
    write_npy(scratch.path("y.npy"), &floats(&[7], DType::F32)).unwrap();
    let features = Npz::open(scratch.path("X.npz")).unwrap().csr().unwrap();
    let data = Dataset::new(features, read_npy(scratch.path("y.npy")).unwrap()).unwrap();
    assert_eq!((data.rows(), data.schema.features()), (7, 10));
}
