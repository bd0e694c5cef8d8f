//! Bad samples get the error that they state.

use super::subject::AnySample;
use super::trial::fault;
use crate::error::{Error, Result};
use crate::tape::{Tape, Var, evaluate};
use crate::tensor::Tensor;

pub(super) fn check(sample: &AnySample) -> Result<()> {
    let operands: Vec<&Tensor> = sample.inputs.iter().collect();
    stated(sample, evaluate(sample.op.handle(), &operands))?;
    let tape = Tape::new();
    let leaves: Vec<Var<'_>> = sample.inputs.iter().map(|x| tape.variable(x.clone())).collect();
    stated(sample, Var::apply(sample.op.handle(), &leaves).value())
}

/// Whether this is the stated error, by this operator, at a line of this file: the caller's.
fn stated(sample: &AnySample, result: Result<Tensor>) -> Result<()> {
    let Some((kind, part)) = sample.error else { return Ok(()) };
    let error: Error = match result {
        Ok(y) => return fault(format!("gives {}, should be refused: {kind:?} {part:?}", y.ty())),
        Err(error) => error,
    };
    let label = sample.op.label();
    let caller = error.location().is_some_and(|at| at.file() == file!());
    match () {
        _ if error.kind() != kind => fault(format!("{:?}, not {kind:?}: {error}", error.kind())),
        _ if !error.message().contains(part) => {
            fault(format!("the message does not say {part:?}: {error}"))
        }
        _ if error.operator_name() != Some(&label) => {
            fault(format!("the error does not name {label:?}: {error}"))
        }
        _ if !caller => fault(format!("the error does not have the caller's line: {error}")),
        _ => Ok(()),
    }
}
