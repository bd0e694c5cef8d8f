//! Arrays: construction, checks, conversion, slices, infix arithmetic.

use serde_json::Value;
use sparsetape::{DType, Fallback, Result, Stype, Tape, Tensor, Var};

use crate::arrays::{number, operand, sizes, stype};
use crate::operator_cases::{Wanted, compare_result};
use crate::report::{Needed, Outcome};

pub fn replay(case: &Value) -> Outcome {
    let (op, refused) = (case["op"].as_str().expect("an operation"), !case["error"].is_null());
    let inputs = case["inputs"].as_array().expect("inputs").iter().map(operand);
    let inputs: Vec<Tensor> = match inputs.collect::<Result<_>>() {
        Ok(inputs) => inputs,
        // Malformed arrays: MXNet refuses them only where a full check is asked for.
        Err(_) if refused => return Ok(None),
        Err(_) if case["params"]["what"] != "valid" => return Ok(Some("checked")),
        Err(e) => return Err(e.to_string()),
    };
    if op == "check_format" {
        return if refused { Err("the array is taken".to_owned()) } else { Ok(None) };
    }
    let got = match compute(op, &case["params"], &inputs) {
        Ok(_) if refused => return Ok(Some("accepted")),
        Err(_) if refused => return Ok(None),
        Ok(got) => got,
        Err(e) => return Err(e.to_string()),
    };
    let mut needed = Needed::default();
    compare_result(op, &inputs, &got, &Wanted::of(case, "outputs", 0), &mut needed)?;
    Ok(needed.first())
}

fn compute(op: &str, params: &Value, x: &[Tensor]) -> Result<Tensor> {
    let rows = |start, end| x[0].rows_window(start, end);
    match op {
        "zeros" => Tensor::zeros(stype(&params["stype"]), sizes(&params["shape"]), DType::F32),
        "tostype" | "copyto" => x[0].cast_storage(stype(&params["stype"])),
        "copy" => Ok(x[0].clone()),
        "asnumpy" => x[0].cast_storage(Stype::Default),
        "astype" if params["dtype"] == "float64" => Ok(x[0].cast(DType::F64)),
        "astype" => Ok(x[0].cast(DType::F32)),
        "setitem_full" => x[1].cast_storage(x[0].stype()),
        "setitem_scalar" => filled(&x[0], number(&params["value"])),
        "csr_getitem_slice" | "rsp_getitem_slice" => {
            let (start, end) = range(&params["slice"], x[0].shape()[0]);
            rows(start, end)
        }
        "csr_getitem_int" => {
            let at = wrapped(params["index"].as_i64().unwrap_or(0), x[0].shape()[0]);
            rows(at, at + 1)
        }
        // Rows and columns at once, which MXNet does not offer.
        "csr_getitem_tuple" => {
            let (start, end) = range(&params["index"][0], x[0].shape()[0]);
            rows(start, end)
        }
        _ => infix(op, params, x),
    }
}

fn filled(like: &Tensor, value: f64) -> Result<Tensor> {
    let full = Tensor::full(like.shape().clone(), value)?.cast(like.dtype());
    full.cast_storage(like.stype())
}

fn wrapped(at: i64, len: usize) -> usize {
    usize::try_from(if at < 0 { at + len as i64 } else { at }).unwrap_or(0)
}

/// `[start, end, step]` as Python has them.
fn range(slice: &Value, len: usize) -> (usize, usize) {
    let bound = |i: usize, none: usize| slice[i].as_i64().map_or(none, |at| wrapped(at, len));
    (bound(0, 0), bound(1, len))
}

/// `py_add`, `py_add_scalar`, `py_radd_scalar`, `py_add_broadcast` and so on, on a tape.
fn infix(op: &str, params: &Value, operands: &[Tensor]) -> Result<Tensor> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let x: Vec<Var> = operands.iter().map(|x| tape.variable(x.clone())).collect();
    let scalar = params["scalar"].as_f64().unwrap_or(0.0);
    let y = match op.trim_end_matches("_broadcast") {
        "py_add" => x[0] + x[1],
        "py_sub" => x[0] - x[1],
        "py_mul" => x[0] * x[1],
        "py_div" => x[0] / x[1],
        "py_add_scalar" => x[0] + scalar,
        "py_sub_scalar" => x[0] - scalar,
        "py_mul_scalar" => x[0] * scalar,
        "py_div_scalar" => x[0] / scalar,
        "py_radd_scalar" => scalar + x[0],
        "py_rsub_scalar" => scalar - x[0],
        "py_rmul_scalar" => scalar * x[0],
        "py_rdiv_scalar" => scalar / x[0],
        "py_pow_scalar" => x[0].power_scalar(scalar),
        "py_neg" => -x[0],
        other => panic!("no such operation: {other}"),
    };
    y.value()
}
