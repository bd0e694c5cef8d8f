//! The storage-type rules: what MXNet infers for each operator and combination of storage types.

use std::path::Path;

use serde_json::{Value, json};
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

/// Operators and fields of this crate, and the operator, parameters and note of MXNet's that they
/// are; others have the same name and no parameters.
const NAMES: &[(&str, &str, &str, &str, &str)] = &[
    ("neg", "{}", "negative", "{}", ""),
    ("round_ste", "{}", "_contrib_round_ste", "{}", ""),
    ("sign_ste", "{}", "_contrib_sign_ste", "{}", ""),
    ("identity", "{}", "_copy", "{}", ""),
    ("clip", r#"{"scalars":[-1.0,1.1]}"#, "clip", r#"{"a_min":-1.0,"a_max":1.0}"#, ""),
    ("clip", r#"{"scalars":[0.0,"inf"]}"#, "clip", r#"{"a_min":0.0,"a_max":1.0}"#, ""),
    ("clip", r#"{"scalars":[0.5,1.5]}"#, "clip", r#"{"a_min":0.5,"a_max":1.0}"#, ""),
    ("add_scalar", r#"{"scalars":[0.0]}"#, "_plus_scalar", r#"{"scalar":0.0}"#, ""),
    ("add_scalar", "{}", "_plus_scalar", r#"{"scalar":1.0}"#, ""),
    ("sub_scalar", r#"{"scalars":[0.0]}"#, "_minus_scalar", r#"{"scalar":0.0}"#, ""),
    ("sub_scalar", "{}", "_minus_scalar", r#"{"scalar":1.0}"#, ""),
    ("rsub_scalar", "{}", "_rminus_scalar", r#"{"scalar":1.0}"#, ""),
    ("mul_scalar", "{}", "_mul_scalar", r#"{"scalar":2.0}"#, ""),
    ("div_scalar", "{}", "_div_scalar", r#"{"scalar":2.0}"#, ""),
    ("rdiv_scalar", "{}", "_rdiv_scalar", r#"{"scalar":2.0}"#, ""),
    ("power_scalar", r#"{"scalars":[0.0]}"#, "", "{}", ""),
    ("power_scalar", "{}", "_power_scalar", r#"{"scalar":2.0}"#, ""),
    ("rpower_scalar", "{}", "_rpower_scalar", r#"{"scalar":2.0}"#, ""),
    ("maximum_scalar", r#"{"scalars":[0.0]}"#, "_maximum_scalar", r#"{"scalar":0.0}"#, ""),
    ("maximum_scalar", "{}", "_maximum_scalar", r#"{"scalar":1.0}"#, ""),
    ("minimum_scalar", "{}", "_minimum_scalar", r#"{"scalar":1.0}"#, ""),
    ("modulo_scalar", "{}", "_mod_scalar", r#"{"scalar":2.0}"#, ""),
    ("equal_scalar", r#"{"scalars":[0.0]}"#, "", "{}", ""),
    ("equal_scalar", "{}", "_equal_scalar", r#"{"scalar":1.0}"#, ""),
    ("add", r#"{"broadcast":[]}"#, "elemwise_add", "{}", ""),
    ("add", r#"{"broadcast":[1]}"#, "broadcast_add", "{}", "rhs row"),
    ("add", r#"{"broadcast":[0]}"#, "broadcast_add", "{}", "lhs row"),
    ("sub", r#"{"broadcast":[]}"#, "elemwise_sub", "{}", ""),
    ("sub", r#"{"broadcast":[1]}"#, "broadcast_sub", "{}", "rhs row"),
    ("sub", r#"{"broadcast":[0]}"#, "broadcast_sub", "{}", "lhs row"),
    ("mul", r#"{"broadcast":[]}"#, "elemwise_mul", "{}", ""),
    ("mul", r#"{"broadcast":[1]}"#, "broadcast_mul", "{}", "rhs row"),
    ("mul", r#"{"broadcast":[0]}"#, "broadcast_mul", "{}", "lhs row"),
    ("div", r#"{"broadcast":[]}"#, "elemwise_div", "{}", ""),
    ("div", r#"{"broadcast":[1]}"#, "broadcast_div", "{}", "rhs row"),
    ("div", r#"{"broadcast":[0]}"#, "broadcast_div", "{}", "lhs row"),
    ("maximum", r#"{"broadcast":[]}"#, "_maximum", "{}", ""),
    ("minimum", r#"{"broadcast":[]}"#, "_minimum", "{}", ""),
    ("hypot", r#"{"broadcast":[]}"#, "_hypot", "{}", ""),
    ("power", r#"{"broadcast":[]}"#, "_power", "{}", ""),
    ("equal", r#"{"broadcast":[]}"#, "_equal", "{}", ""),
    ("select", r#"{"broadcast":[]}"#, "where", "{}", ""),
    ("cast_storage", r#"{"stype":"default"}"#, "cast_storage", r#"{"stype":"default"}"#, ""),
    ("cast_storage", r#"{"stype":"csr"}"#, "cast_storage", r#"{"stype":"csr"}"#, ""),
    ("cast_storage", r#"{"stype":"row_sparse"}"#, "cast_storage", r#"{"stype":"row_sparse"}"#, ""),
    (
        "dot",
        r#"{"dense":false,"transpose_a":false,"transpose_b":false}"#,
        "dot",
        r#"{"transpose_a":false,"transpose_b":false}"#,
        "",
    ),
    (
        "dot",
        r#"{"dense":false,"transpose_a":false,"transpose_b":true}"#,
        "dot",
        r#"{"transpose_a":false,"transpose_b":true}"#,
        "",
    ),
    (
        "dot",
        r#"{"dense":false,"transpose_a":true,"transpose_b":false}"#,
        "dot",
        r#"{"transpose_a":true,"transpose_b":false}"#,
        "",
    ),
    (
        "dot",
        r#"{"dense":false,"transpose_a":true,"transpose_b":true}"#,
        "dot",
        r#"{"transpose_a":true,"transpose_b":true}"#,
        "",
    ),
    (
        "dot",
        r#"{"dense":true}"#,
        "dot",
        r#"{"transpose_a":true,"transpose_b":false,"forward_stype":"default"}"#,
        "",
    ),
    ("sum", r#"{"axes":"all"}"#, "sum", r#"{"keepdims":false}"#, ""),
    ("sum", r#"{"axes":{"list":[1]}}"#, "sum", r#"{"keepdims":false,"axis":1}"#, ""),
    ("mean", r#"{"axes":"all"}"#, "mean", r#"{"keepdims":false}"#, ""),
    ("mean", r#"{"axes":{"list":[1]}}"#, "mean", r#"{"keepdims":false,"axis":1}"#, ""),
    ("norm", r#"{"axes":"all"}"#, "norm", r#"{"ord":2,"keepdims":false}"#, ""),
    ("norm", r#"{"axes":{"list":[1]}}"#, "norm", r#"{"ord":2,"keepdims":false,"axis":1}"#, ""),
    ("slice", "{}", "slice", r#"{"begin":[1],"end":[3]}"#, ""),
    ("slice_axis", "{}", "slice_axis", r#"{"axis":0,"begin":1,"end":3}"#, ""),
    ("reshape", "{}", "reshape", r#"{"shape":[2,6]}"#, ""),
    ("concat", r#"{"axis":0}"#, "concat", r#"{"dim":0}"#, ""),
    ("concat", r#"{"axis":1}"#, "concat", r#"{"dim":1}"#, ""),
    ("take", "{}", "Embedding", r#"{"input_dim":6,"output_dim":2,"sparse_grad":true}"#, ""),
    ("linear_regression_output", "{}", "LinearRegressionOutput", "{}", ""),
    ("logistic_regression_output", "{}", "LogisticRegressionOutput", "{}", ""),
    ("mae_regression_output", "{}", "MAERegressionOutput", "{}", ""),
    ("softmax_output", "{}", "SoftmaxOutput", "{}", ""),
];

/// What MXNet does with the operators of this crate: the column of the printed storage tables.
/// `UPDATE_GOLDEN=1` writes the file anew.
pub fn check_column(entries: &[Value]) {
    let listed = NAMES.iter().map(|&(own, fields, op, params, note)| {
        let [fields, params] =
            [fields, params].map(|text| serde_json::from_str(text).expect("JSON"));
        column(own, &fields, answers(entries, op, &params, note))
    });
    let same = entries.iter().filter(|e| e["params"] == json!({}) && e["note"].is_null());
    let mut names: Vec<&str> = same.filter_map(|e| e["op"].as_str()).collect();
    names.dedup();
    let unlisted = names.into_iter().filter(|name| NAMES.iter().all(|(own, ..)| own != name));
    let unlisted =
        unlisted.map(|name| column(name, &json!({}), answers(entries, name, &json!({}), "")));
    let lines: Vec<String> = listed.chain(unlisted).map(|line| line.to_string()).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mxnet_stypes.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == golden, "tests/golden/mxnet_stypes.json is out of date");
}

fn column(operator: &str, fields: &Value, rows: Value) -> Value {
    json!({"operator": operator, "fields": fields, "rows": rows})
}

/// By operands, what MXNet's operator gives.
fn answers(entries: &[Value], op: &str, params: &Value, note: &str) -> Value {
    let own = |e: &&Value| {
        e["op"] == op && e["params"] == *params && e["note"].as_str().unwrap_or("") == note
    };
    let row = |e: &Value| {
        let mut ins: Vec<&str> = e["input_stypes"]
            .as_array()
            .expect("operands")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        // Ids come first in MXNet.
        if op == "Embedding" {
            ins.reverse();
        }
        (ins.join(", "), Value::from(answer(&e["symbol"])))
    };
    entries.iter().filter(own).map(row).collect()
}

fn answer(symbol: &Value) -> String {
    match (symbol["output_stypes"][0].as_str(), symbol["fallback"].as_bool()) {
        (Some(stype), Some(true)) => format!("{stype} (falls back)"),
        (Some(stype), _) => stype.to_owned(),
        (None, _) => "error".to_owned(),
    }
}
