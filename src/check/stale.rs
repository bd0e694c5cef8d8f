//! No operator sees rows of a parameter that are behind: bound in an operand's place, it gives the bits of
//! its settled values, on the tape and frozen, forward and backward.

use super::forward::result;
use super::frozen::{bound, frozen, name, run, same, trained_with, value};
use super::trial::{Trial, fault};
use crate::error::{Error, ErrorKind, Result};
use crate::optim::{Sgd, Update};
use crate::tape::{Fallback, Gradients, Parameter, Params, Tape, Var};
use crate::tensor::{Stype, Tensor};

pub(super) fn check(trial: &Trial) -> Result<()> {
    let floats: Vec<usize> =
        (0..trial.inputs.len()).filter(|&i| trial.inputs[i].dtype().is_float()).collect();
    for &i in floats.iter().filter(|&&i| trial.inputs[i].stype() != Stype::Csr) {
        let mut settled = trial.inputs.clone();
        settled[i] = behind(i, &trial.inputs[i])?.0.snapshot()?;
        let Ok(y) = result(trial, &settled) else { continue };
        predicts(trial, i, &settled, &y)?;
        if y.dtype().is_float() {
            trains(trial, i, &settled, &floats)?;
        }
    }
    Ok(())
}

/// A parameter with rows that have several steps to make, of a row-sparse operand stored in reverse order; and
/// the optimizer.
fn behind(i: usize, x: &Tensor) -> Result<(Parameter, Sgd)> {
    let mut sgd = Sgd::new(0.01).momentum(0.5).weight_decay(0.02).update(Update::Exact);
    let parameter = match x.stype() {
        Stype::RowSparse => {
            let parameter = Parameter::new(name(i), x.zeros_like())?;
            parameter.retain_rows(|_| false)?;
            let own = Parameter::new("x", x.clone())?;
            for &id in x.rows().unwrap_or_default().iter().rev() {
                parameter.set_rows(&own.rows(&[id])?)?;
            }
            parameter
        }
        _ => Parameter::new(name(i), x.clone())?,
    };
    let params = Params::new([&parameter])?;
    let mut gradients = Gradients::default();
    gradients.set(&parameter, x.clone());
    sgd.step(&params, &gradients)?;
    for _ in 0..3 {
        sgd.step(&params, &Gradients::default())?;
    }
    Ok((parameter, sgd))
}

fn predicts(trial: &Trial, i: usize, settled: &[Tensor], y: &Tensor) -> Result<()> {
    let (parameter, _sgd) = behind(i, &trial.inputs[i])?;
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let leaf = |(j, x): (usize, &Tensor)| match i == j {
        true => tape.parameter(&parameter),
        false => tape.constant(x.clone()),
    };
    let leaves: Vec<Var<'_>> = settled.iter().enumerate().map(leaf).collect();
    let own = value(Var::apply(trial.handle(), &leaves))?;
    if !own.same_bits(y) {
        return fault(format!("of parameter {i}, behind, the result is {own}, settled {y}"));
    }
    let (parameter, _sgd) = behind(i, &trial.inputs[i])?;
    let mut executor = bound(&frozen(trial, &[])?, settled, &[])?;
    executor.set(&name(i), &parameter)?;
    executor.forward(false)?;
    match executor.output(0) {
        Err(error) if is_view(&error) => Ok(()),
        output => same("the result of a parameter that is behind", output?, y),
    }
}

/// Whether a result is the parameter itself, of which nothing was read.
fn is_view(error: &Error) -> bool {
    error.kind() == ErrorKind::State
}

fn trains(trial: &Trial, i: usize, settled: &[Tensor], floats: &[usize]) -> Result<()> {
    let missing = |e: &Error| e.kind() == ErrorKind::NotDifferentiable;
    let wanted = match trained_with(trial, settled, floats, None) {
        Err(error) if missing(&error) => return Ok(()),
        wanted => wanted?,
    };
    let (parameter, _sgd) = behind(i, &trial.inputs[i])?;
    let own = trained_with(trial, settled, floats, Some((i, &parameter)))?;
    let all = own.gradients.iter().zip(&wanted.gradients);
    let results = all.map(|((_, own), (_, wanted))| (own, wanted)).chain([(&own.y, &wanted.y)]);
    for (own, wanted) in results {
        if !own.same_bits(wanted) {
            return fault(format!("of parameter {i}, behind, there is {own}, settled {wanted}"));
        }
    }
    let (parameter, _sgd) = behind(i, &trial.inputs[i])?;
    let mut executor = bound(&frozen(trial, &[])?, settled, floats)?;
    executor.set(&name(i), &parameter)?;
    match run(&mut executor, &wanted) {
        Err(error) if is_view(&error) => Ok(()),
        ran => ran,
    }
}
