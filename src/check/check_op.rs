//! One call tests an operator.

use super::subject::{AnySample, Stated, samples};
use super::trial::{Checked, Trial};
use super::{backward, batches, forward, frozen, refusals, repeated, stale, symbolic, unread};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Op, TableRow};
use crate::tensor::DType;

/// Tests an operator over every row of its table and every sample, for `f32` and `f64`.
///
/// - The kernel agrees with [`Op::mimic`] (where the result is absent the definition gives 0, or NaN
///   or an infinity, which an absent operand annihilates).
/// - Storage type, element type and shape of the result are as inferred.
/// - The recorded result is that of [`evaluate`](crate::evaluate), twice, on 1 and on 3 threads, bit
///   for bit; nothing is made dense, forward or backward.
/// - Saved and loaded again, the operator does the same.
/// - Frozen and bound, it gives the bits of the tape, results and gradients, run after run in the same
///   memory, with other values in between and at a second batch size.
/// - What [`Op::reads`] says is not read has no influence.
/// - A parameter whose rows are behind, in the place of an operand, gives the bits of its settled values, on the
///   tape and frozen, results and gradients.
/// - Memory of earlier results, and of operands where [`Op::in_place`] allows it, gives the same bits.
/// - Gradients of order 1 and 2 agree with finite differences (of the stated function, where
///   [`Gradient`](crate::Gradient) states one), and those of `f32` with those of `f64`.
/// - A cotangent in another storage type than the result's gives the same gradients.
/// - The backward rule answers for every wanted operand and computes nothing for the others; what it
///   records does not depend on the batch size, and carries the line of the forward operation.
/// - A second batch size works, and a row's result does not depend on its batch.
/// - With shapes and element types hidden, of operands or of the result, what is inferred agrees with
///   the true types; recorded on a [symbolic tape](crate::Tape::symbolic), with all types known or
///   with unknown first axes, it gives the same operators and storage types, forward and backward.
/// - Bad samples are refused as they say, with this operator's name and the caller's line.
///
/// Inputs of samples are cast to a row's storage types where their shapes allow it.
///
/// ```
/// let checked = sparsetape::check::check_op::<sparsetape::ops::RowsOf>()?;
/// assert_eq!(checked.rows, 2);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Check`] listing what does not hold; also if a row is reached by no sample, or
/// nothing is compared at all.
#[track_caller]
pub fn check_op<O: Op>() -> Result<Checked> {
    check_samples(O::NAME, &samples::<O>())
}

#[track_caller]
fn check_samples(name: &'static str, samples: &[AnySample]) -> Result<Checked> {
    let mut checked = Checked { name, ..Checked::default() };
    let mut faults = Vec::new();
    let mut tables: Vec<Reached> = Vec::new();
    for (number, sample) in samples.iter().enumerate() {
        checked.samples += 1;
        if sample.error.is_some() {
            faults.extend(refusals::check(sample).err().map(|e| about(number, sample, &e)));
            continue;
        }
        let table = Reached::of(&mut tables, sample);
        for row in 0..table.rows.len() {
            for dtype in [DType::F64, DType::F32, DType::I64] {
                let Some(trial) = Trial::new(number, sample, row, dtype) else { continue };
                match run(&trial, &mut checked) {
                    Ok(ran) => table.reached[row] |= ran,
                    Err(error) => {
                        table.reached[row] = true;
                        faults.push(format!("{trial}: {error}"));
                    }
                }
            }
        }
    }
    for table in &tables {
        checked.tables += 1;
        checked.rows += table.rows.len();
        faults.extend(table.faults());
    }
    if checked.compared == 0 {
        faults
            .push("nothing was compared: there is no good sample, or all results are empty".into());
    }
    let differentiable = |sample: &AnySample| {
        sample.op.stated() != Stated::Nothing
            && sample.error.is_none()
            && sample.inputs.iter().any(|x| x.dtype().is_float())
    };
    if checked.gradients + checked.kinks == 0 && samples.iter().any(differentiable) {
        let none = "no gradient was compared: state that there is none, or add samples";
        if checked.not_differentiable == 0 {
            faults.push(none.into());
        }
    }
    if faults.is_empty() {
        return Ok(checked);
    }
    let (number, listed) = (faults.len(), &faults[..faults.len().min(12)]);
    let message = format!("{number} faults\n- {}", listed.join("\n- "));
    Err(Error::new(ErrorKind::Check, message).operator(name))
}

fn about(number: usize, sample: &AnySample, error: &Error) -> String {
    format!("sample {number}, {}: {error}", sample.op.label())
}

/// A table of an operator, and which of its rows samples reach.
struct Reached {
    label: String,
    rows: Vec<TableRow>,
    reached: Vec<bool>,
}

impl Reached {
    fn of<'a>(tables: &'a mut Vec<Reached>, sample: &AnySample) -> &'a mut Reached {
        let (rows, label) = (sample.op.table(), sample.op.label());
        let known = tables.iter().position(|t| t.rows == rows && t.label == label);
        let at = known.unwrap_or_else(|| {
            let (label, reached) = (label.into_owned(), vec![false; rows.len()]);
            tables.push(Reached { label, rows, reached });
            tables.len() - 1
        });
        &mut tables[at]
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (i, TableRow { ins, .. }) in self.rows.iter().enumerate() {
            if self.rows[..i].iter().any(|row| row.ins == *ins) {
                faults.push(format!("{}: rows for {ins:?} are repeated", self.label));
            } else if !self.reached[i] {
                faults.push(format!("{}: no sample reaches the row {ins:?}", self.label));
            }
        }
        faults
    }
}

/// Runs all checks; whether the operator takes the operands at all.
fn run(trial: &Trial, checked: &mut Checked) -> Result<bool> {
    let Some(y) = forward::check(trial, checked)? else { return Ok(false) };
    checked.runs += 1;
    unread::check(trial, &y)?;
    repeated::check(trial, &y)?;
    batches::check(trial, &y, checked)?;
    backward::check(trial, &y, checked)?;
    frozen::check(trial, &y)?;
    if trial.dtype != DType::F32 {
        stale::check(trial)?;
        symbolic::check(trial, &y)?;
    }
    Ok(true)
}
