//! Gradients of one run, and what the backward rule records.

use super::gradcheck::{Function, GradCheck, Of, Pass};
use super::heads;
use super::places::{Entries, weights};
use super::report::Report;
use super::subject::Stated;
use super::trial::{Checked, Trial, fault};
use crate::error::{ErrorKind, Result};
use crate::tape::structural::{Project, ZerosLike};
use crate::tape::{Cotangent, Fallback, Op, Recorded, Tape, Var};
use crate::tensor::{DType, Tensor};

pub(super) fn check(trial: &Trial, y: &Tensor, checked: &mut Checked) -> Result<()> {
    let floats = trial.inputs.iter().any(|x| x.dtype().is_float());
    if !floats || !y.dtype().is_float() {
        return Ok(());
    }
    answers(trial)?;
    lines(trial)?;
    match trial.dtype {
        DType::F64 => {
            existing(heads::check(trial, y))?;
            differences(trial, checked)
        }
        _ => precision(trial),
    }
}

fn settings(order: usize) -> GradCheck {
    GradCheck::new().order(order).sample(12, 7).fallback(Fallback::Deny)
}

/// Lets the compiler see that a closure takes variables of any tape.
fn function<F: for<'t> Fn(&'t Tape, &[Var<'t>]) -> Var<'t>>(f: F) -> F {
    f
}

fn constants<'t>(tape: &'t Tape, inputs: &[Tensor]) -> Vec<Var<'t>> {
    inputs.iter().map(|x| tape.constant(x.clone())).collect()
}

/// `None` where a backward rule says that there is no derivative.
fn existing<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotDifferentiable => Ok(None),
        result => result.map(Some),
    }
}

/// Against finite differences; a rule that differentiates something else, on purpose, against those
/// of what it states.
fn differences(trial: &Trial, checked: &mut Checked) -> Result<()> {
    let inputs = &trial.inputs;
    let op = function(|_, x| Var::apply(trial.handle(), x));
    match trial.op.stated() {
        Stated::Own => both_orders(trial, checked, &op, Of::Function),
        Stated::Loss => {
            both_orders(trial, checked, &function(|_, x| trial.op.function(x, &[])), Of::Loss)
        }
        Stated::Nothing => settings(1).pass(inputs, &op).map(|_| ()),
        Stated::Function => {
            let stated = function(|tape, x| trial.op.function(x, &constants(tape, inputs)));
            count(&settings(1).compare(inputs, &op, (&stated, Of::Function))?, checked)
        }
    }
}

/// Orders 1 and 2: of all operands together or, where some derivative does not exist, of each
/// operand, and each order, that there is.
fn both_orders(trial: &Trial, checked: &mut Checked, stated: Function, of: Of) -> Result<()> {
    let op = function(|_, x| Var::apply(trial.handle(), x));
    if let Some(report) = existing(settings(2).compare(&trial.inputs, &op, (stated, of)))? {
        return count(&report, checked);
    }
    checked.not_differentiable += 1;
    for (i, x) in trial.inputs.iter().enumerate().filter(|(_, x)| x.dtype().is_float()) {
        let op =
            function(|tape, x| Var::apply(trial.handle(), &one_free(tape, &trial.inputs, i, x[0])));
        let stated = function(|tape, x| stated(tape, &one_free(tape, &trial.inputs, i, x[0])));
        for order in [1, 2] {
            let input = std::slice::from_ref(x);
            let report = existing(settings(order).compare(input, &op, (&stated, of)))?;
            let Some(report) = report else { break };
            count(&report, checked)?;
        }
    }
    Ok(())
}

/// The inputs as constants, but for one.
fn one_free<'t>(tape: &'t Tape, inputs: &[Tensor], i: usize, free: Var<'t>) -> Vec<Var<'t>> {
    let mut operands = constants(tape, inputs);
    operands[i] = free;
    operands
}

fn count(report: &Report, checked: &mut Checked) -> Result<()> {
    checked.gradients += report.compared;
    checked.kinks += report.kinks.len();
    report.fault().map_or(Ok(()), fault)
}

/// Gradients in `f32` against those in `f64`.
fn precision(trial: &Trial) -> Result<()> {
    let op = function(|_, x| Var::apply(trial.handle(), x));
    let wide: Vec<Tensor> = trial.inputs.iter().map(widened).collect();
    for order in [1, 2] {
        let Some(narrow) = existing(settings(order).pass(&trial.inputs, &op))? else { break };
        let wide = settings(order).pass(&wide, &op)?;
        let all = |pass: Pass| if order == 1 { pass.first } else { pass.second };
        for (input, (narrow, wide)) in all(narrow).iter().zip(&all(wide)).enumerate() {
            same_gradient(input, narrow, wide)?;
        }
    }
    Ok(())
}

fn widened(x: &Tensor) -> Tensor {
    if x.dtype().is_float() { x.cast(DType::F64) } else { x.clone() }
}

fn same_gradient(input: usize, narrow: &Entries, wide: &Entries) -> Result<()> {
    let at = |entries: &Entries, place| entries.get(place).copied().unwrap_or(0.0);
    for place in wide.keys().chain(narrow.keys()) {
        let (x, y) = (at(wide, place), at(narrow, place));
        let close = (x - y).abs() <= 5e-4 * x.abs().max(1.0);
        if x.is_finite() && !close {
            return fault(format!(
                "the gradient of operand {input} at {place:?} is {y:?} in f32, {x:?} in f64"
            ));
        }
    }
    Ok(())
}

/// The rule answers for every wanted operand and computes nothing for the others.
fn answers(trial: &Trial) -> Result<()> {
    let floats: Vec<bool> = trial.inputs.iter().map(|x| x.dtype().is_float()).collect();
    let all = recorded_for(trial, &floats)?;
    if recorded_for(trial, &vec![false; floats.len()])? > 0 {
        return fault("the backward rule computes cotangents that nobody wants");
    }
    for i in (0..floats.len()).filter(|&i| floats[i]) {
        let mut want = vec![false; floats.len()];
        want[i] = true;
        let one = recorded_for(trial, &want)?;
        if one > all {
            return fault(format!("for operand {i} alone {one} nodes are recorded, {all} for all"));
        }
    }
    Ok(())
}

/// How many nodes the rule records for the wanted operands.
fn recorded_for(trial: &Trial, want: &[bool]) -> Result<usize> {
    let tape = tape();
    let leaves: Vec<Var<'_>> = trial.inputs.iter().map(|x| tape.variable(x.clone())).collect();
    let y = Var::apply(trial.handle(), &leaves);
    let dy = tape.constant(weights(1, &y.value()?));
    let before = tape.len();
    for (i, answer) in tape.answers(y, dy, want)?.into_iter().enumerate() {
        match answer {
            None if want[i] => {
                return fault(format!("the backward rule gives no answer for operand {i}"));
            }
            Some(Cotangent::Var(_)) if !want[i] => {
                return fault(format!("operand {i} is not wanted, but gets a cotangent"));
            }
            Some(Cotangent::Var(dx)) => {
                dx.ok()?;
            }
            _ => {}
        }
    }
    Ok(tape.len() - before)
}

/// What the rule records carries the line of the forward operation.
fn lines(trial: &Trial) -> Result<()> {
    let tape = tape();
    let leaves: Vec<Var<'_>> = trial.inputs.iter().map(|x| tape.variable(x.clone())).collect();
    let y = Var::apply(trial.handle(), &leaves);
    let dy = tape.constant(weights(1, &y.value()?));
    let (at, before) = (y.location()?, tape.len());
    let floats: Vec<Var<'_>> =
        leaves.iter().copied().filter(|x| x.dtype().is_ok_and(DType::is_float)).collect();
    if existing(tape.grad_with(y, dy, &floats))?.is_none() {
        return Ok(());
    }
    // Zeros of inputs without influence, and the head in its space, belong to the call itself.
    let head = before as u32 - 1;
    let ours = |node: &&Recorded| {
        let is = |name| node.op.as_ref().is_some_and(|op| op.name() == name);
        let of_call = is(ZerosLike::NAME) || (is(Project::NAME) && node.ins[0] == head);
        !of_call
    };
    let nodes = tape.nodes();
    let mut elsewhere = nodes[before..].iter().filter(|node| node.at != at);
    match elsewhere.find(ours).and_then(|node| node.op.as_ref()) {
        Some(op) => fault(format!("{} of the backward rule has not the forward line", op.label())),
        None => Ok(()),
    }
}

fn tape() -> Tape {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    tape
}

/// Forward and backward record the same operators for other shapes.
pub(super) fn same_recording(trial: &Trial, inputs: &[Tensor]) -> Result<()> {
    let op = function(|_, x| Var::apply(trial.handle(), x));
    let op: Function = &op;
    let pass = |inputs: &[Tensor]| existing(settings(2).pass(inputs, op));
    if !result_has_gradient(trial) {
        return Ok(());
    }
    let (Some(here), Some(there)) = (pass(&trial.inputs)?, pass(inputs)?) else { return Ok(()) };
    let differ = here.recording.iter().zip(&there.recording).find(|(a, b)| a != b);
    if let Some((a, b)) = differ {
        return fault(format!("another batch size records other operators: {a} became {b}"));
    }
    let (a, b) = (here.recording.len(), there.recording.len());
    if a == b { Ok(()) } else { fault(format!("another batch size records {b} values, not {a}")) }
}

fn result_has_gradient(trial: &Trial) -> bool {
    let dtypes: Vec<DType> = trial.inputs.iter().map(Tensor::dtype).collect();
    let floats = dtypes.iter().any(|d| d.is_float());
    floats && trial.op.dtype(&dtypes).is_ok_and(DType::is_float)
}
