//! What was recorded eagerly, frozen and bound gives the same bits: outputs and gradients, run after
//! run in the same memory, and at other batch sizes.

use super::forward::result;
use super::places::{replaced, weight, weights};
use super::trial::{Trial, fault};
use crate::error::{ErrorKind, Result};
use crate::graph::{Bind, Executor, Graph, Input};
use crate::tape::{Fallback, GradReq, Parameter, Tape, Var};
use crate::tensor::Tensor;

const OUTPUT: &str = "y_output";
const SEED: u64 = 5;
const STEP: u64 = 9;

/// The samples' own shapes.
pub(super) fn check(trial: &Trial, y: &Tensor) -> Result<()> {
    let graph = frozen(trial, &[])?;
    let own = &trial.inputs;
    let others: Vec<Tensor> = own.iter().map(other).collect();
    predicts(trial, &mut bound(&graph, own, &[])?, own, y)?;
    trains(trial, &graph, [own, &others])
}

/// Frozen at the sample's batch size, run at that of `inputs` too, which gives `y`.
pub(super) fn check_batch(
    trial: &Trial,
    batch: &[usize],
    inputs: &[Tensor],
    y: &Tensor,
) -> Result<()> {
    let graph = frozen(trial, batch)?;
    let mut executor = bound(&graph, &trial.inputs, &[])?;
    executor.forward(false)?;
    let names: Vec<String> = (0..inputs.len()).map(name).collect();
    let shapes = names.iter().zip(inputs).map(|(name, x)| (&name[..], &x.shape()[..]));
    executor.reshape(&shapes.collect::<Vec<_>>())?;
    predicts(trial, &mut executor, inputs, y)?;
    trains(trial, &graph, [inputs, &trial.inputs])
}

/// Operands as variables of the batch axes named, the result as the output.
pub(super) fn frozen(trial: &Trial, batch: &[usize]) -> Result<Graph> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let leaves: Vec<Var<'_>> = trial.inputs.iter().map(|x| tape.constant(x.clone())).collect();
    let y = Var::apply(trial.handle(), &leaves).named("y");
    let axis = |i: usize| batch.contains(&i).then_some(0);
    let inputs = leaves.iter().enumerate();
    tape.freeze(inputs.map(|(i, &x)| Input::new(name(i), x).batch_axis(axis(i))), [y])
}

pub(super) fn name(i: usize) -> String {
    format!("x{i}")
}

/// An executor on these inputs, for the gradients of some; the head of the result has its own
/// storage type.
pub(super) fn bound(graph: &Graph, inputs: &[Tensor], wanted: &[usize]) -> Result<Executor> {
    let mut bind = Bind::new().fallback(Fallback::Deny);
    for (i, x) in inputs.iter().enumerate() {
        bind = bind.tensor(name(i), x.clone());
    }
    for &i in wanted {
        bind = bind.grad_req(name(i), GradReq::Write);
    }
    graph.bind(bind.head_stype(OUTPUT, graph.output_stypes()[0]))
}

/// Other values at the same places, integers but for those.
fn other(x: &Tensor) -> Tensor {
    if x.dtype().is_float() { replaced(x, |place, _| weight(SEED, place)) } else { x.clone() }
}

fn set(executor: &mut Executor, inputs: &[Tensor]) -> Result<()> {
    inputs.iter().enumerate().try_for_each(|(i, x)| executor.set(&name(i), x))
}

pub(super) fn same(what: &str, got: &Tensor, wanted: &Tensor) -> Result<()> {
    match got.same_bits(wanted) {
        true => Ok(()),
        false => fault(format!("frozen, {what} is {got}, on the tape {wanted}")),
    }
}

/// The prediction is that of the tape, three times over, with another one in between.
fn predicts(trial: &Trial, executor: &mut Executor, inputs: &[Tensor], y: &Tensor) -> Result<()> {
    let others: Vec<Tensor> = inputs.iter().map(other).collect();
    for _ in 0..2 {
        set(executor, inputs)?;
        executor.forward(false)?;
        same("the result", executor.output(0)?, y)?;
        let held = executor.output(0)?.clone();
        set(executor, &others)?;
        match (executor.forward(false), result(trial, &others)) {
            (Ok(()), Ok(wanted)) => same("another result", executor.output(0)?, &wanted)?,
            (Err(a), Err(b)) if a.kind() == b.kind() => {}
            (frozen, eager) => {
                return fault(format!("frozen it ends as {frozen:?}, on the tape as {eager:?}"));
            }
        }
        same("a result that is held", &held, y)?;
    }
    Ok(())
}

/// Results and gradients in training mode are those of the tape, for all operands that have one
/// together or, where some derivative does not exist, for each alone.
fn trains(trial: &Trial, graph: &Graph, values: [&[Tensor]; 2]) -> Result<()> {
    let floats: Vec<usize> =
        (0..values[0].len()).filter(|&i| values[0][i].dtype().is_float()).collect();
    if floats.is_empty() || !result(trial, values[0])?.dtype().is_float() {
        return Ok(());
    }
    if !trains_wanted(trial, graph, values, &floats)? && floats.len() > 1 {
        for i in floats {
            trains_wanted(trial, graph, values, &[i])?;
        }
    }
    Ok(())
}

/// Whether there are these derivatives, which the tape and the graph agree upon.
fn trains_wanted(
    trial: &Trial,
    graph: &Graph,
    values: [&[Tensor]; 2],
    wanted: &[usize],
) -> Result<bool> {
    let missing = |e: &crate::Error| e.kind() == ErrorKind::NotDifferentiable;
    let first = match trained(trial, values[0], wanted) {
        Err(error) if missing(&error) => {
            return match bound(graph, values[0], wanted) {
                Err(error) if missing(&error) => Ok(false),
                other => fault(format!("the tape has no derivative, frozen there is {other:?}")),
            };
        }
        first => first?,
    };
    let mut executor = bound(graph, values[0], wanted)?;
    if values[0].iter().zip(values[1]).all(|(a, b)| a.shape() == b.shape()) {
        step(&mut executor, values[0], &first)?;
        if let Ok(second) = trained(trial, values[1], wanted) {
            step(&mut executor, values[1], &second)?;
        }
    }
    step(&mut executor, values[0], &first)?;
    Ok(true)
}

/// A step on the tape: result, head, gradients.
pub(super) struct Trained {
    pub y: Tensor,
    head: Tensor,
    pub gradients: Vec<(usize, Tensor)>,
}

fn trained(trial: &Trial, inputs: &[Tensor], wanted: &[usize]) -> Result<Trained> {
    trained_with(trial, inputs, wanted, None)
}

/// With a parameter in the place of one of the operands.
pub(super) fn trained_with(
    trial: &Trial,
    inputs: &[Tensor],
    wanted: &[usize],
    parameter: Option<(usize, &Parameter)>,
) -> Result<Trained> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    tape.train(SEED, STEP);
    let leaf = |(i, x): (usize, &Tensor)| match parameter {
        Some((own, parameter)) if own == i => tape.parameter(parameter),
        _ if wanted.contains(&i) => tape.variable(x.clone()),
        _ => tape.constant(x.clone()),
    };
    let leaves: Vec<Var<'_>> = inputs.iter().enumerate().map(leaf).collect();
    let result = Var::apply(trial.handle(), &leaves);
    let y = value(result)?;
    let head = weights(1, &y);
    let found = result.backward_with(&head)?;
    let gradient = |&i: &usize| {
        let dx = match parameter {
            Some((own, parameter)) if own == i => found.of(parameter).cloned(),
            _ => found.wrt(leaves[i]).cloned(),
        };
        (i, dx.unwrap_or_else(|| inputs[i].zeros_like()))
    };
    Ok(Trained { gradients: wanted.iter().map(gradient).collect(), y, head })
}

/// The value, also of what is a view of a parameter.
pub(super) fn value(result: Var<'_>) -> Result<Tensor> {
    match result.value() {
        Err(error) if error.kind() == ErrorKind::State => (result * 1.0).value(),
        value => value,
    }
}

/// A step of the executor, compared.
fn step(executor: &mut Executor, inputs: &[Tensor], wanted: &Trained) -> Result<()> {
    set(executor, inputs)?;
    run(executor, wanted)
}

/// A step with what is bound, compared.
pub(super) fn run(executor: &mut Executor, wanted: &Trained) -> Result<()> {
    executor.set_seed(SEED, STEP);
    executor.forward(true)?;
    same("the result in training", executor.output(0)?, &wanted.y)?;
    executor.backward_with(&[(OUTPUT, &wanted.head)])?;
    for (i, wanted) in &wanted.gradients {
        let Some(dx) = executor.grad(&name(*i)) else {
            return fault(format!("frozen, operand {i} has no gradient"));
        };
        same(&format!("the gradient of operand {i}"), dx, wanted)?;
    }
    Ok(())
}
