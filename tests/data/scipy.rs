//! What is written, loaded by numpy and scipy.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use sparsetape::data::{NpzWriter, write_npy};
use sparsetape::{DType, Stype, Tensor};

use super::Scratch;
use super::npy::floats;
use super::npz::matrix;

/// scipy loads what is written: run with a Python that has it, `SPARSETAPE_PYTHON` or `python3`.
#[test]
fn scipy_loads_what_is_written() {
    let named = std::env::var_os("SPARSETAPE_PYTHON");
    let python = named.clone().unwrap_or(OsString::from("python3"));
    let run = |arguments: &[&OsStr]| std::process::Command::new(&python).args(arguments).output();
    let found =
        run(&["-c".as_ref(), "import scipy".as_ref()]).is_ok_and(|out| out.status.success());
    if !found {
        assert!(named.is_none(), "SPARSETAPE_PYTHON has no scipy");
        // Not captured, as what `println!` writes is.
        writeln!(std::io::stderr(), "no Python with scipy: not checked").unwrap();
        return;
    }
    let scratch = Scratch::new();
    write_all(&scratch);
    let script = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", "check.py"];
    let script: PathBuf = script.iter().collect();
    let out = run(&[script.as_ref(), scratch.path("").as_ref()]).unwrap();
    let (told, complaint) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}{complaint}");
    write!(std::io::stderr(), "{told}").unwrap();
}

/// Files of every kind, and `expected.json` with what is in them.
fn write_all(scratch: &Scratch) {
    let mut expected = serde_json::Map::new();
    let numbers = |x: &Tensor| x.cast(DType::F64).values::<f64>().unwrap().to_vec();
    let kind = |x: &Tensor| match x.dtype() {
        DType::F32 => "float32",
        DType::F64 => "float64",
        DType::I64 => "int64",
    };
    let dtypes = [DType::F32, DType::F64, DType::I64];
    for (n, (shape, dtype)) in [vec![], vec![5], vec![2, 3], vec![0, 3], vec![2, 3, 4]]
        .iter()
        .flat_map(|shape| dtypes.map(|dtype| (shape, dtype)))
        .enumerate()
    {
        let x = floats(shape, DType::F64).cast(dtype);
        let content = json!({"w": {"dtype": kind(&x), "shape": shape, "values": numbers(&x)}});
        write_npy(scratch.path(&format!("{n}.npy")), &x).unwrap();
        NpzWriter::new().save(scratch.path(&format!("{n}.npz")), [("w", &x)]).unwrap();
        let stored = NpzWriter::new().stored();
        stored.save(scratch.path(&format!("{n}_stored.npz")), [("w", &x)]).unwrap();
        for file in [format!("{n}.npy"), format!("{n}.npz"), format!("{n}_stored.npz")] {
            expected.insert(file, json!({"arrays": content}));
        }
    }
    let wide = Tensor::csr([1, 1 << 32], vec![0, 1], vec![u32::MAX], vec![1.0f32]).unwrap();
    let narrow =
        Tensor::csr([1, i32::MAX as usize], vec![0, 1], vec![i32::MAX as u32 - 1], vec![1i64]);
    let empty = Tensor::zeros(Stype::Csr, [0, 3], DType::F32).unwrap();
    let window = matrix().rows_window(2, 6).unwrap();
    let matrices = [matrix(), matrix().cast(DType::F32), wide, narrow.unwrap(), empty, window];
    for (n, x) in matrices.iter().enumerate() {
        let indptr = x.indptr().unwrap();
        let content = json!({
            "dtype": kind(x),
            "ids": if x.shape()[1] > i32::MAX as usize { "int64" } else { "int32" },
            "shape": &x.shape()[..],
            "indptr": indptr.iter().map(|p| p - indptr[0]).collect::<Vec<_>>(),
            "indices": x.indices().unwrap(),
            "values": numbers(x),
        });
        NpzWriter::new().save_csr(scratch.path(&format!("csr_{n}.npz")), x).unwrap();
        NpzWriter::new()
            .stored()
            .save_csr(scratch.path(&format!("csr_{n}_stored.npz")), x)
            .unwrap();
        for file in [format!("csr_{n}.npz"), format!("csr_{n}_stored.npz")] {
            expected.insert(file, json!({"matrix": content}));
        }
    }
    scratch.file("expected.json", serde_json::Value::from(expected).to_string());
}
