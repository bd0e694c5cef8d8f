//! Arrays of the vectors as tensors, and their comparison.

use serde_json::Value;
use sparsetape::{DType, Error, ErrorKind, Result, Stype, Tensor};

pub fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("nan") => f64::NAN,
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        _ => value.as_f64().expect("a number"),
    }
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(number).collect()
}

pub fn sizes(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|x| x as usize).collect()
}

pub fn stype(name: &Value) -> Stype {
    match name.as_str() {
        Some("default") => Stype::Default,
        Some("csr") => Stype::Csr,
        Some("row_sparse") => Stype::RowSparse,
        _ => panic!("no storage type: {name}"),
    }
}

fn dtype(name: &Value) -> DType {
    match name.as_str() {
        Some("float32") => DType::F32,
        Some("float64") => DType::F64,
        Some(_) => DType::I64,
        None => panic!("no element type: {name}"),
    }
}

/// An id; a negative one is out of any range.
fn id(x: f64) -> Result<u32> {
    let wrong = || Error::new(ErrorKind::Index, format!("{x} is not an id"));
    if x >= 0.0 { Ok(x as u32) } else { Err(wrong()) }
}

/// An operand, exactly as it stands there: what is malformed is refused.
pub fn operand(array: &Value) -> Result<Tensor> {
    let (shape, data) = (sizes(&array["shape"]), numbers(&array["data"]));
    let ids = |name: &str| numbers(&array[name]).into_iter().map(id).collect::<Result<Vec<u32>>>();
    let exact = match stype(&array["stype"]) {
        Stype::Default => Tensor::dense(shape, data),
        Stype::Csr => {
            let indptr = ids("indptr")?.into_iter().map(|p| p as usize).collect::<Vec<usize>>();
            Tensor::csr([shape[0], shape[1]], indptr, ids("indices")?, data)
        }
        Stype::RowSparse => Tensor::row_sparse(shape, ids("indices")?, data),
    };
    Ok(exact?.cast(dtype(&array["dtype"])))
}

/// A result. MXNet does not always sort columns and rows, and may repeat rows that are retained.
pub fn result(array: &Value) -> Tensor {
    let sorted = match stype(&array["stype"]) {
        Stype::Default => return operand(array).expect("a valid array"),
        Stype::Csr => sorted_csr(array),
        Stype::RowSparse => sorted_rows(array),
    };
    sorted.expect("a valid array").cast(dtype(&array["dtype"]))
}

fn sorted_csr(array: &Value) -> Result<Tensor> {
    let (indptr, indices) = (sizes(&array["indptr"]), sizes(&array["indices"]));
    let (shape, data) = (sizes(&array["shape"]), numbers(&array["data"]));
    let row = |i: usize| (indptr[i]..indptr[i + 1]).map(|e| (indices[e], data[e])).collect();
    let rows: Vec<Vec<(usize, f64)>> = (0..shape[0]).map(row).collect();
    Tensor::from_rows(shape[1], &rows)
}

fn sorted_rows(array: &Value) -> Result<Tensor> {
    let (shape, data) = (sizes(&array["shape"]), numbers(&array["data"]));
    let k: usize = shape[1..].iter().product();
    let mut rows: Vec<(usize, usize)> =
        sizes(&array["indices"]).into_iter().enumerate().map(|(at, row)| (row, at)).collect();
    rows.sort_unstable();
    rows.dedup_by_key(|(row, _)| *row);
    let values: Vec<f64> = rows.iter().flat_map(|(_, at)| &data[at * k..][..k]).copied().collect();
    let ids: Vec<u32> = rows.into_iter().map(|(row, _)| row as u32).collect();
    Tensor::row_sparse(shape, ids, values)
}

pub fn dense(x: &Tensor) -> Vec<f64> {
    let dense = x.cast_storage(Stype::Default).expect("dense").cast(DType::F64);
    dense.values::<f64>().expect("f64").to_vec()
}

/// Which elements of the dense tensor are stored.
pub fn stored(x: &Tensor) -> Vec<bool> {
    if x.stype() == Stype::Default {
        return vec![true; x.shape().size()];
    }
    let ones = x.cast(DType::F64).ones_like().expect("ones");
    dense(&ones).into_iter().map(|one| one == 1.0).collect()
}

/// Relative and absolute tolerances, as the vectors suggest them.
#[derive(Clone, Copy)]
pub struct Tolerance(f64, f64);

impl Tolerance {
    /// `single`: MXNet computed with a constant of single precision.
    pub fn of(dtype: DType, single: bool) -> Self {
        match dtype {
            DType::F32 => Tolerance(2e-4, 2e-5),
            _ if single => Tolerance(3e-7, 1e-12),
            _ => Tolerance(1e-9, 1e-12),
        }
    }

    pub fn agree(self, got: f64, want: f64) -> bool {
        got == want
            || (got.is_nan() && want.is_nan())
            || (got - want).abs() <= self.1 + self.0 * want.abs()
    }
}

/// The first element of `got` that is not `want`, among those in `mask`.
pub fn differs(
    got: &Tensor,
    want: &[f64],
    mask: Option<&[bool]>,
    tolerance: Tolerance,
) -> Option<String> {
    let got = dense(got);
    if got.len() != want.len() {
        return Some(format!("it has {} elements, not {}", got.len(), want.len()));
    }
    let wrong = |&i: &usize| mask.is_none_or(|mask| mask[i]) && !tolerance.agree(got[i], want[i]);
    let first = (0..want.len()).find(wrong)?;
    Some(format!("element {first} is {}, not {}", got[first], want[first]))
}
