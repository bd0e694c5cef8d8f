//! A second batch size, and one row against its row in the batch.

use super::forward::{against_definition, definition, result};
use super::places::doubled;
use super::trial::{Checked, Trial, fault};
use super::{backward, frozen};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Tensor};

/// Whichever inputs share a first axis may be the batch: each choice of them that the operator
/// takes, doubled, is run.
pub(super) fn check(trial: &Trial, y: &Tensor, checked: &mut Checked) -> Result<()> {
    let rows = |i: usize| trial.dense[i].shape().first().copied();
    let inputs = trial.dense.len().min(6);
    for chosen in 1..1usize << inputs {
        let batch: Vec<usize> = (0..inputs).filter(|i| chosen & 1 << i != 0).collect();
        let Some(n) = rows(batch[0]).filter(|&n| n > 0) else { continue };
        if batch.iter().any(|&i| rows(i) != Some(n)) {
            continue;
        }
        if doubled_batch(trial, &batch, y)? {
            checked.batches += 1;
            checked.single_rows += single_rows(trial, &batch, n, y)?;
        }
    }
    Ok(())
}

/// Whether the operator takes the batch twice; if so, everything holds for it too.
fn doubled_batch(trial: &Trial, batch: &[usize], y: &Tensor) -> Result<bool> {
    let mut dense = trial.dense.clone();
    for &i in batch {
        dense[i] = doubled(&dense[i])?;
    }
    let Some(inputs) = trial.stored(&dense) else { return Ok(false) };
    let twice = match result(trial, &inputs) {
        Ok(twice) => twice,
        Err(error) if does_not_suit(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    against_definition(trial, &inputs, &twice)?;
    if trial.dtype == DType::F64 {
        backward::same_recording(trial, &inputs)?;
        frozen::check_batch(trial, batch, &inputs, &twice)?;
    }
    let Some(&n) = y.shape().first() else { return Ok(true) };
    if twice.shape().first() != Some(&(2 * n)) || twice.shape()[1..] != y.shape()[1..] {
        return Ok(true);
    }
    let (once, both) = (definition(trial, &trial.inputs)?, definition(trial, &inputs)?);
    let row_wise = once.iter().chain(once.iter()).eq(both.iter());
    let halves = [twice.rows_window(0, n)?, twice.rows_window(n, 2 * n)?];
    if row_wise && !halves.iter().all(|half| half.same_bits(y)) {
        return fault(format!("a batch twice gives {twice}, once {y}"));
    }
    Ok(true)
}

/// Shapes that must agree with what was not cut or doubled, or ids that name rows cut off.
fn does_not_suit(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Shape | ErrorKind::Index)
}

/// Each row alone gives its row of the batch, where that is so by definition.
fn single_rows(trial: &Trial, batch: &[usize], n: usize, y: &Tensor) -> Result<usize> {
    let mut compared = 0;
    if y.shape().first() != Some(&n) {
        return Ok(0);
    }
    let whole = definition(trial, &trial.inputs)?;
    for row in 0..n {
        let mut inputs = trial.inputs.clone();
        for &i in batch {
            inputs[i] = inputs[i].rows_window(row, row + 1)?;
        }
        let alone = match result(trial, &inputs) {
            Ok(alone) => alone,
            Err(error) if does_not_suit(&error) => continue,
            Err(error) => return Err(error),
        };
        let wanted = y.rows_window(row, row + 1)?;
        let by_definition = definition(trial, &inputs)?;
        let slice = whole.slice_axis(ndarray::Axis(0), ndarray::Slice::from(row..row + 1));
        if alone.shape() != wanted.shape() || !by_definition.iter().eq(slice.iter()) {
            continue;
        }
        if !alone.same_bits(&wanted) {
            return fault(format!("row {row} alone gives {alone}, in the batch {wanted}"));
        }
        compared += 1;
    }
    Ok(compared)
}
