//! The storage-type rules: what MXNet infers for each operator and combination of storage types.

use serde_json::Value;
use sparsetape::{DType, Fallback, Stype, Tape, Tensor, Var};

use crate::arrays::{sizes, stype};
use crate::operator_cases::compare_stypes;
use crate::operators::{Params, apply};
use crate::report::{Needed, Outcome};

/// What the operator gives for ones in these storage types.
pub fn inferred(entry: &Value) -> Option<sparsetape::Result<Stype>> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let list = |name: &str| entry[name].as_array().expect("operands");
    let operands = list("input_shapes").iter().zip(list("input_stypes"));
    let ones = |(shape, kind): (&Value, &Value)| {
        let ones = Tensor::full(sizes(shape), 1.0f64)?.cast(DType::F32);
        Ok(tape.constant(ones.cast_storage(stype(kind))?))
    };
    let x: Vec<Var> = match operands.map(ones).collect::<sparsetape::Result<_>>() {
        Ok(x) => x,
        Err(e) => return Some(Err(e)),
    };
    let params = Params(&entry["params"]);
    let y = apply(entry["op"].as_str().expect("an operator"), params, &x)?;
    Some(params.asked_stype().map_or(y, |asked| y.cast_storage(asked)).stype())
}

pub fn replay(entry: &Value) -> Outcome {
    let got = inferred(entry).ok_or("no such operator")?;
    if !entry["symbol"]["error"].is_null() {
        return Ok(got.ok().map(|_| "accepted"));
    }
    let got = got.map_err(|e| e.to_string())?;
    let ins: Vec<Stype> =
        entry["input_stypes"].as_array().expect("operands").iter().map(stype).collect();
    let mut needed = Needed::default();
    let want = stype(&entry["symbol"]["output_stypes"][0]);
    compare_stypes(entry["op"].as_str().unwrap_or(""), &ins, got, want, &mut needed)?;
    Ok(needed.first())
}
