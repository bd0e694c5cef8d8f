//! What an operator says that it does not read has no influence.

use super::forward::result;
use super::places::{replaced, rows_named_by};
use super::trial::{Trial, fault};
use crate::error::Result;
use crate::tape::Read;
use crate::tensor::{DType, Tensor};

pub(super) fn check(trial: &Trial, y: &Tensor) -> Result<()> {
    for (i, x) in trial.inputs.iter().enumerate() {
        let reads = trial.op.reads(i);
        let Some(spoiled) = spoiled(reads, x, &trial.inputs) else { continue };
        let mut inputs = trial.inputs.clone();
        inputs[i] = spoiled;
        if !result(trial, &inputs)?.same_bits(y) {
            return fault(format!("of operand {i} more than {reads:?} is read"));
        }
    }
    Ok(())
}

/// The operand with NaN (integers: a wild id) wherever it is not to be read.
fn spoiled(reads: Read, x: &Tensor, inputs: &[Tensor]) -> Option<Tensor> {
    let bad = if x.dtype() == DType::I64 { -1e15 } else { f64::NAN };
    let addressed = match reads {
        Read::All | Read::View => return None,
        Read::Shape | Read::Pattern => Vec::new(),
        Read::RowsOf(j) => rows_named_by(&inputs[j])?,
    };
    Some(replaced(x, |(row, _), value| if addressed.contains(&row) { value } else { bad }))
}
