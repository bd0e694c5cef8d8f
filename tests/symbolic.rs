//! Symbolic recordings: types without values.

use sparsetape::{DType, ErrorKind, Fallback, Stype, Tape, Tensor, variable};

#[test]
fn facts_flow_both_ways() {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr).shape([Some(32), Some(1000)]));
    let weight = tape.symbol(variable("weight").stype(Stype::RowSparse).shape([None, Some(2)]));
    let bias = tape.symbol(variable("bias").shape([2]).dtype(DType::F64));
    let out = data.dot(weight) + bias;
    let label = tape.symbol(variable("label").shape([32, 2]));
    let loss = (out - label).square().sum();
    assert_eq!(loss.ty().unwrap().to_string(), "default f64 ()");
    assert_eq!(data.dtype().unwrap(), DType::F64);
}

#[test]
fn an_unknown_shape_names_the_variable() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").shape([None, Some(3)]));
    let error = x.exp().shape().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert!(error.to_string().contains("\"x\" is default ? (?, 3)"), "{error}");
}

#[test]
fn contradictions_are_found_where_they_are_recorded() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").shape([2, 3]));
    let y = tape.symbol(variable("y").shape([4, 5]));
    let error = x.dot(y).ok().unwrap_err();
    assert_eq!((error.kind(), error.operator_name()), (ErrorKind::Shape, Some("dot")));
    tape.set_fallback(Fallback::Deny);
    let s = tape.symbol(variable("s").stype(Stype::Csr));
    assert_eq!(s.exp().ok().unwrap_err().kind(), ErrorKind::Fallback);
    let f = tape.symbol(variable("f").dtype(DType::F32));
    let d = tape.symbol(variable("d").dtype(DType::F64));
    assert_eq!((f * d).ok().unwrap_err().kind(), ErrorKind::DType);
}

#[test]
fn gradients_are_recorded_too() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([4, 9]));
    let w = tape.symbol(variable("w").shape([9, 1]));
    let loss = x.dot(w).square().mean();
    let dw = tape.grad(loss, &[w]).unwrap()[0];
    assert_eq!(dw.partial_type().unwrap().to_string(), "row_sparse ? (9, 1)");
    assert!(loss.item::<f32>().is_err());
    let c = tape.constant(Tensor::scalar(2.0f64));
    assert_eq!((loss * c).dtype().unwrap(), DType::F64);
}
