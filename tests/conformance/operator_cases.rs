//! Cases of one operator: values, storage types, patterns, gradients, errors.

use serde_json::Value;
use sparsetape::{Fallback, GradReq, Gradients, Parameter, Stype, Tape, Tensor, Var};

use crate::arrays::{Tolerance, dense, differs, operand, result, stored, stype};
use crate::operators::{Params, apply};
use crate::report::{Needed, Outcome};

/// MXNet's value of a result or gradient, and what is said about it.
pub struct Wanted<'a> {
    pub array: &'a Value,
    /// The right value, where MXNet's is wrong or missing.
    pub mathematical: &'a Value,
    /// Whether it was computed with a constant of single precision.
    pub single: bool,
}

impl<'a> Wanted<'a> {
    /// Number `i` of `outputs` or `grads`.
    pub fn of(case: &'a Value, list: &str, i: usize) -> Self {
        let name = format!("{list}[{i}]");
        let deviations = case["deviation"].as_array().into_iter().flatten();
        let own = deviations.filter_map(Value::as_str).filter(|text| text.starts_with(&name));
        let reference = if list == "grads" { "math_grads" } else { "math_outputs" };
        Wanted {
            array: &case[list][i],
            mathematical: &case[reference][i],
            single: own.into_iter().any(|text| text.contains("float32 precision")),
        }
    }

    pub fn values(&self) -> Vec<f64> {
        dense(&result(if self.mathematical.is_object() { self.mathematical } else { self.array }))
    }

    fn tolerance(&self, got: &Tensor) -> Tolerance {
        Tolerance::of(got.dtype(), self.single)
    }
}

/// Compares storage types: a denser one needs a reason.
pub fn compare_stypes(
    op: &str,
    ins: &[Stype],
    got: Stype,
    want: Stype,
    needed: &mut Needed,
) -> Result<(), String> {
    match (got, want) {
        _ if got == want => {}
        (Stype::Default, _) => match denser(op, ins) {
            Some(rule) => needed.rule(rule),
            None => return Err(format!("the result is {got}, MXNet's {want}")),
        },
        _ => needed.rule("sparser"),
    }
    Ok(())
}

/// The rule for a result that is dense where MXNet's is sparse.
fn denser(op: &str, ins: &[Stype]) -> Option<&'static str> {
    match (op, ins) {
        ("dot", [Stype::Default, Stype::Csr]) => Some("dense"),
        _ => None,
    }
}

pub fn compare_result(
    op: &str,
    inputs: &[Tensor],
    got: &Tensor,
    wanted: &Wanted,
    needed: &mut Needed,
) -> Result<(), String> {
    let (want, values) = (result(wanted.array), wanted.values());
    let ins: Vec<Stype> = inputs.iter().map(Tensor::stype).collect();
    match wanted.mathematical.is_object() {
        true => needed.rule("mathematical"),
        false => compare_stypes(op, &ins, got.stype(), want.stype(), needed)?,
    }
    let tolerance = wanted.tolerance(got);
    if let Some(why) = differs(got, &values, None, tolerance) {
        // At entries that are absent here MXNet computes, say, 0/0 or 0·∞; or it puts ones.
        let sparse_ones = op == "ones_like" && got.stype() != Stype::Default;
        let counts = |(held, x): (bool, &f64)| held || (x.is_finite() && !sparse_ones);
        let mask: Vec<bool> = stored(got).into_iter().zip(&values).map(counts).collect();
        if differs(got, &values, Some(&mask), tolerance).is_some() {
            return Err(format!("result: {why}"));
        }
        needed.override_with(if sparse_ones { "ones" } else { "ignored" });
    }
    if got.stype() == want.stype() && stored(got) != stored(&want) {
        needed.rule("zeros");
    }
    Ok(())
}

pub fn compare_gradient(
    input: &Tensor,
    got: Option<&Tensor>,
    wanted: &Wanted,
    needed: &mut Needed,
) -> Result<(), String> {
    let values = wanted.values();
    let Some(got) = got else {
        return match values.iter().all(|g| *g == 0.0) {
            true => Ok(()),
            false => Err("there is none".to_owned()),
        };
    };
    if wanted.mathematical.is_object() {
        needed.rule("mathematical");
    }
    let want = if wanted.array.is_object() { stype(&wanted.array["stype"]) } else { got.stype() };
    match got.stype() {
        own if own == want => {}
        Stype::Default => return Err(format!("it is {}, MXNet's {want}", got.stype())),
        _ => needed.rule("sparser"),
    }
    let tolerance = wanted.tolerance(got);
    let Some(why) = differs(got, &values, None, tolerance) else { return Ok(()) };
    // 0/0 where the cotangent has no entry, so that nothing is computed.
    let annihilated = |(got, want): (f64, &f64)| got == 0.0 && want.is_nan();
    let defined: Vec<bool> = dense(got).into_iter().zip(&values).map(|p| !annihilated(p)).collect();
    if differs(got, &values, Some(&defined), tolerance).is_none() {
        needed.rule("ignored");
        return Ok(());
    }
    let mut mask = stored(input);
    if input.stype() == Stype::RowSparse && got.stype() == Stype::RowSparse {
        mask.iter_mut().zip(stored(got)).for_each(|(m, o)| *m |= o);
    }
    mask.iter_mut().zip(defined).for_each(|(m, d)| *m &= d);
    if input.stype() == Stype::Default || differs(got, &values, Some(&mask), tolerance).is_some() {
        return Err(why);
    }
    needed.rule("pattern");
    Ok(())
}

/// The head cotangent: ones where none is given. A single number has no axes here.
pub fn head(given: &Value, y: Var) -> sparsetape::Result<Tensor> {
    let (ty, ones) = (y.ty()?, || y.value()?.cast_storage(Stype::Default)?.ones_like());
    let head = if given.is_object() { result(given) } else { ones()? };
    let same = head.shape() == &ty.shape;
    if same {
        Ok(head)
    } else {
        head.reshape(&ty.shape.iter().map(|&n| n as isize).collect::<Vec<_>>())
    }
}

/// How an input enters: with a gradient if one is compared.
fn leaf<'t>(tape: &'t Tape, case: &Value, i: usize, x: &Tensor) -> Var<'t> {
    let refused = !case["backward_error"].is_null();
    let wanted = refused || case["grads"][i].is_object() || case["math_grads"][i].is_object();
    if !wanted || !x.dtype().is_float() {
        return tape.constant(x.clone());
    }
    let leaf = tape.variable(x.clone());
    match case["grad_request"][i].as_str() {
        Some(_) => leaf.with_grad_stype(stype(&case["grad_request"][i])),
        None => leaf,
    }
}

pub fn replay(case: &Value) -> Outcome {
    let text = |e: sparsetape::Error| e.to_string();
    let (op, params) = (case["op"].as_str().expect("an operator"), Params(&case["params"]));
    let inputs = case["inputs"].as_array().expect("inputs").iter().map(operand);
    let inputs: Vec<Tensor> = inputs.collect::<sparsetape::Result<_>>().map_err(text)?;
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let x: Vec<Var> = inputs.iter().enumerate().map(|(i, x)| leaf(&tape, case, i, x)).collect();
    let y = apply(op, params, &x).ok_or("no such operator")?;
    if !case["error"].is_null() {
        return Ok(y.value().ok().map(|_| "accepted"));
    }
    let mut needed = Needed::default();
    // Gradients start before the cast, since the cotangent of a cast result lives on what that
    // stores, and MXNet's on all elements.
    let cast = params.asked_stype().map_or(y, |asked| y.cast_storage(asked));
    let got = cast.value().map_err(text)?;
    compare_result(op, &inputs, &got, &Wanted::of(case, "outputs", 0), &mut needed)?;
    let refused = !case["backward_error"].is_null();
    if refused || case["grads"].is_array() {
        let gradients = head(&case["head_grads"][0], y).and_then(|head| y.backward_with(&head));
        let gradients = match gradients {
            Ok(gradients) => gradients,
            Err(_) if refused => return Ok(needed.first()),
            Err(e) => return Err(format!("backward: {e}")),
        };
        if refused {
            needed.rule("accepted");
        }
        for i in 0..inputs.len() {
            let wanted = Wanted::of(case, "grads", i);
            if wanted.array.is_object() || wanted.mathematical.is_object() {
                // Through a cast, a gradient lives on what the cast value stores.
                let cast = op == "cast_storage" && inputs[i].stype() == Stype::Default;
                let space = if cast { &got } else { &inputs[i] };
                compare_gradient(space, gradients.wrt(x[i]), &wanted, &mut needed)
                    .map_err(|why| format!("gradient {i}: {why}"))?;
            }
        }
    }
    Ok(needed.first())
}

/// Forward and backward twice; gradients add up: in parameters, and for a csr matrix, which is no
/// parameter, as two uses of one leaf.
pub fn replay_twice(case: &Value) -> Outcome {
    let text = |e: sparsetape::Error| e.to_string();
    let (op, params) = (case["op"].as_str().expect("an operator"), Params(&case["params"]));
    let inputs = case["inputs"].as_array().expect("inputs").iter().map(operand);
    let inputs: Vec<Tensor> = inputs.collect::<sparsetape::Result<_>>().map_err(text)?;
    let mut needed = Needed::default();
    let parameter = |(i, x): (usize, &Tensor)| {
        let parameter = Parameter::new(i.to_string(), x.clone()).ok()?;
        parameter.set_grad_req(GradReq::Add);
        if case["grad_request"][i].is_string() {
            parameter.set_grad_stype(Some(stype(&case["grad_request"][i])));
        }
        Some(parameter)
    };
    let parameters: Vec<Option<Parameter>> = inputs.iter().enumerate().map(parameter).collect();
    let mut gradients = Gradients::default();
    let mut sums: Vec<Option<Tensor>> = vec![None; inputs.len()];
    for _ in 0..2 {
        let tape = Tape::new();
        tape.set_fallback(Fallback::Allow);
        let wanted = |i: usize| !case["grad_request"][i].is_null();
        let leaf = |(i, x): (usize, &Tensor)| match &parameters[i] {
            Some(parameter) if wanted(i) => tape.parameter(parameter),
            _ => leaf(&tape, case, i, x),
        };
        let x: Vec<Var> = inputs.iter().enumerate().map(leaf).collect();
        let y = apply(op, params, &x).ok_or("no such operator")?;
        let got = y.value().map_err(text)?;
        compare_result(op, &inputs, &got, &Wanted::of(case, "outputs", 0), &mut needed)?;
        let head = head(&case["head_grads"][0], y).map_err(text)?;
        (y * tape.constant(head)).sum().backward_into(&mut gradients).map_err(text)?;
        for (x, sum) in x.iter().zip(&mut sums) {
            let Some(new) = gradients.wrt(*x) else { continue };
            *sum = Some(match sum.take() {
                None => new.clone(),
                Some(sum) => sum.add(new).map_err(text)?,
            });
        }
    }
    if !case["backward_error"].is_null() {
        needed.rule("accepted");
    }
    for (i, input) in inputs.iter().enumerate() {
        let wanted = Wanted::of(case, "grads", i);
        if wanted.array.is_object() || wanted.mathematical.is_object() {
            let got = parameters[i].as_ref().and_then(|p| gradients.of(p)).or(sums[i].as_ref());
            compare_gradient(input, got, &wanted, &mut needed)
                .map_err(|why| format!("gradient {i}: {why}"))?;
        }
    }
    Ok(needed.first())
}
