//! Inference from what is left when something is hidden, and recordings without values.

use super::places::weights;
use super::trial::{Trial, fault};
use crate::error::{ErrorKind, Result};
use crate::tape::infer::refine;
use crate::tape::{
    DTypes, Fallback, PartialShape, PartialType, Recorded, Tape, Var, Variable, variable,
};
use crate::tensor::{Tensor, Type};

/// Operators that give a label of unknown rank a shape by convention: it may have others.
const LABELS: [&str; 2] = ["regression_output", "softmax_output"];

pub(super) fn check(trial: &Trial, y: &Tensor) -> Result<()> {
    hidden(trial, y)?;
    odd(trial, y);
    let full = types(&trial.inputs);
    let mut batch = full.clone();
    batch.iter_mut().for_each(|ty| ty.shape = without_sizes(&ty.shape, |axis| axis == 0));
    let eager = Tape::new();
    let leaves = trial.inputs.iter().map(|x| eager.variable(x.clone())).collect();
    let eager = recorded(trial, &eager, leaves, |tape| tape.constant(weights(1, y)))?;
    for (types, what) in [(full, "all types known"), (batch, "unknown first axes")] {
        let tape = Tape::symbolic();
        let named = |(i, ty): (usize, &PartialType)| tape.symbol(symbol(format!("x{i}"), ty));
        let leaves = types.iter().enumerate().map(named).collect();
        let head = symbol("dy".into(), &y.ty().into());
        let symbolic = recorded(trial, &tape, leaves, |tape| tape.symbol(head))?;
        same_nodes(&eager, &symbolic, what)?;
    }
    Ok(())
}

fn symbol(name: String, ty: &PartialType) -> Variable {
    let symbol = variable(name).stype(ty.stype).shape(ty.shape.clone());
    ty.dtypes.known().map_or(symbol.clone(), |dtype| symbol.dtype(dtype))
}

/// What the operator records, forward and backward, as far as there are derivatives.
fn recorded<'t>(
    trial: &Trial,
    tape: &'t Tape,
    leaves: Vec<Var<'t>>,
    head: impl FnOnce(&'t Tape) -> Var<'t>,
) -> Result<Vec<Recorded>> {
    tape.set_fallback(Fallback::Deny);
    let y = Var::apply(trial.handle(), &leaves).ok()?;
    let float = |x: &Var<'_>| x.partial_type().is_ok_and(|ty| ty.dtypes.may_be_float());
    let floats: Vec<Var<'_>> = leaves.into_iter().filter(float).collect();
    if !floats.is_empty() && float(&y) {
        let (dy, forward) = (head(tape).ok()?, tape.nodes());
        match tape.grad_with(y, dy, &floats) {
            Err(error) if error.kind() == ErrorKind::NotDifferentiable => return Ok(forward),
            gradients => _ = gradients?,
        }
    }
    // Infers all types.
    y.inferred_type()?;
    Ok(tape.nodes())
}

/// The same operators on the same operands, with the same storage types, in types that agree.
fn same_nodes(eager: &[Recorded], symbolic: &[Recorded], what: &str) -> Result<()> {
    let text = |node: &Recorded| {
        let label = node.op.as_ref().map_or("a leaf".into(), |op| op.label());
        format!("{label}{:?}: {}", node.ins, node.ty)
    };
    for (eager, symbolic) in eager.iter().zip(symbolic) {
        let (a, b) = (&eager.op, &symbolic.op);
        let same = a.as_ref().map(|op| op.label()) == b.as_ref().map(|op| op.label())
            && eager.ins == symbolic.ins
            && eager.ty.stype == symbolic.ty.stype
            && eager.ty.clone().unify(&mut symbolic.ty.clone()).is_ok();
        if !same {
            let (eager, symbolic) = (text(eager), text(symbolic));
            return fault(format!("with {what}, {symbolic} is recorded, not {eager}"));
        }
    }
    match eager.len() == symbolic.len() {
        true => Ok(()),
        false => fault(format!("with {what}, {} values are recorded", symbolic.len())),
    }
}

/// The types with sizes, ranks or element types left out of operands or of the result: the inference
/// neither contradicts the true ones nor claims others.
fn hidden(trial: &Trial, y: &Tensor) -> Result<()> {
    let (ins, out) = (types(&trial.inputs), PartialType::from(y.ty()));
    let nothing = PartialShape::unknown();
    let any = |ty: &PartialType| PartialType { dtypes: DTypes::ANY, ..ty.clone() };
    let shapeless = |ty: &PartialType| PartialType { shape: nothing.clone(), ..ty.clone() };
    let all: Vec<PartialType> = ins.iter().map(|ty| shapeless(&any(ty))).collect();
    agrees(trial, y, all.clone(), shapeless(&any(&out)))?;
    agrees(trial, y, all, out.clone())?;
    for (i, own) in ins.iter().enumerate() {
        let rank = own.shape.rank().unwrap_or(0);
        let axes = (0..rank).map(|axis| without_sizes(&own.shape, |hidden| hidden == axis));
        let ranked = without_sizes(&own.shape, |_| true);
        for shape in axes.chain([nothing.clone(), ranked]) {
            let mut some = ins.clone();
            some[i] = PartialType { shape, ..any(own) };
            agrees(trial, y, some.clone(), shapeless(&any(&out)))?;
            agrees(trial, y, some.clone(), out.clone())?;
            let first = without_sizes(&out.shape, |axis| axis == 0);
            agrees(trial, y, some, PartialType { shape: first, ..out.clone() })?;
        }
    }
    let mut all = ins;
    all.iter_mut().for_each(|ty| ty.shape = without_sizes(&ty.shape, |axis| axis == 0));
    agrees(trial, y, all, shapeless(&out))
}

/// Shapes that do not fit, of operands and of the result, are refused or not, without a panic.
fn odd(trial: &Trial, y: &Tensor) {
    let huge = Some(usize::MAX - 1);
    let shapes: [PartialShape; 9] = [
        PartialShape::unknown(),
        [None; 0].into(),
        [0].into(),
        [None; 1].into(),
        [None; 2].into(),
        [None, Some(1), None].into(),
        [huge, huge, huge].into(),
        [None, Some(0), None, huge, None].into(),
        y.shape().into(),
    ];
    let known: Vec<PartialShape> = trial.inputs.iter().map(|x| x.shape().into()).collect();
    let pairs = || shapes.iter().flat_map(|own| shapes.iter().map(move |out| (own, out)));
    for (own, out) in pairs() {
        // Refused or taken: what matters is that there is an answer.
        let _ = trial.op.refine(&mut vec![own.clone(); known.len()], &mut out.clone());
        for i in 0..known.len() {
            let mut ins = known.clone();
            ins[i] = own.clone();
            let _ = trial.op.refine(&mut ins, &mut out.clone());
        }
    }
}

fn types(inputs: &[Tensor]) -> Vec<PartialType> {
    inputs.iter().map(|x| PartialType::from(x.ty())).collect()
}

fn without_sizes(shape: &PartialShape, hidden: impl Fn(usize) -> bool) -> PartialShape {
    let Some(rank) = shape.rank() else { return PartialShape::unknown() };
    (0..rank).map(|axis| shape.dim(axis).filter(|_| !hidden(axis))).collect()
}

/// Refines until nothing more follows; what comes out must leave the true types possible.
fn agrees(
    trial: &Trial,
    y: &Tensor,
    mut ins: Vec<PartialType>,
    mut out: PartialType,
) -> Result<()> {
    let given = format!("{} -> {out}", list(&ins));
    let ranked: Vec<Option<usize>> = ins.iter().map(|ty| ty.shape.rank()).collect();
    let op = trial.handle();
    let mut before = None;
    while before.as_ref() != Some(&(ins.clone(), out.clone())) {
        before = Some((ins.clone(), out.clone()));
        if let Err(error) = refine(&*op, &mut ins, &mut out) {
            return fault(format!("inference from {given}: {error}"));
        }
    }
    let truth = |ty: &PartialType, own: Type| ty.clone().unify(&mut own.into()).is_ok();
    let by_convention = |i: usize| i == 1 && ranked[i].is_none() && LABELS.contains(&op.name());
    let wrong =
        |(i, ty): (usize, &PartialType)| !truth(ty, trial.inputs[i].ty()) && !by_convention(i);
    if !truth(&out, y.ty()) || ins.iter().enumerate().any(wrong) {
        return fault(format!("inference from {given} claims {} -> {out}", list(&ins)));
    }
    Ok(())
}

fn list(types: &[PartialType]) -> String {
    types.iter().map(PartialType::to_string).collect::<Vec<_>>().join(", ")
}
