//! One call tests an operator.

use std::fmt;

use super::subject::{AnySample, Row, Stated, Subject, samples};
use super::{backward, batches, forward, refusals, unread};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Op, OpRef, PartialShape};
use crate::tensor::{DType, Shape, Stype, Tensor};

/// What [`check_op`] did.
///
/// ```
/// let checked = sparsetape::check::check_op::<sparsetape::ops::Pick>()?;
/// assert!(checked.compared > 0 && checked.gradients > 0);
/// println!("{checked}");
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Checked {
    /// The operator.
    pub name: &'static str,
    /// Distinct tables: an operator's table may depend on its fields.
    pub tables: usize,
    /// Rows of all tables. Each was run.
    pub rows: usize,
    /// Samples, good and bad.
    pub samples: usize,
    /// Runs: rows × samples × element types, where the sample suits the row.
    pub runs: usize,
    /// Elements of results compared with the definition.
    pub compared: usize,
    /// Entries of gradients compared with finite differences, orders 1 and 2.
    pub gradients: usize,
    /// Entries of gradients where there is no derivative.
    pub kinks: usize,
    /// Runs whose backward pass says that there is no derivative (of some order).
    pub not_differentiable: usize,
    /// Runs of a second batch size.
    pub batches: usize,
    /// Runs of one row that were compared with the row of the batch.
    pub single_rows: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { name, rows, samples, runs, compared, gradients, kinks, .. } = self;
        write!(
            f,
            "{name}: {rows} rows, {samples} samples, {runs} runs, {compared} elements, {gradients} \
             gradient entries ({kinks} kinks), {} batches, {} single rows",
            self.batches, self.single_rows
        )
    }
}

/// Tests an operator over every row of its table and every sample, for `f32` and `f64`.
///
/// - The kernel agrees with [`Op::mimic`] (where the result is absent the definition gives 0, or NaN
///   or an infinity, which an absent operand annihilates).
/// - Storage type, element type and shape of the result are as inferred.
/// - The recorded result is that of [`evaluate`](crate::evaluate), twice, on 1 and on 3 threads, bit
///   for bit; nothing is made dense, forward or backward.
/// - Saved and loaded again, the operator does the same.
/// - What [`Op::reads`] says is not read has no influence.
/// - Gradients of order 1 and 2 agree with finite differences (of the stated function, where
///   [`Gradient`](crate::Gradient) states one), and those of `f32` with those of `f64`.
/// - A cotangent in another storage type than the result's gives the same gradients.
/// - The backward rule answers for every wanted operand and computes nothing for the others; what it
///   records does not depend on the batch size, and carries the line of the forward operation.
/// - A second batch size works, and a row's result does not depend on its batch.
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
                match trial.run(&mut checked) {
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
    rows: Vec<Row>,
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
        for (i, Row { ins, .. }) in self.rows.iter().enumerate() {
            if self.rows[..i].iter().any(|row| row.ins == *ins) {
                faults.push(format!("{}: rows for {ins:?} are repeated", self.label));
            } else if !self.reached[i] {
                faults.push(format!("{}: no sample reaches the row {ins:?}", self.label));
            }
        }
        faults
    }
}

/// An operator on one sample, in the storage types of one row.
pub(super) struct Trial<'a> {
    number: usize,
    pub op: &'a dyn Subject,
    pub row: Row,
    pub dtype: DType,
    /// As the sample has them, in the element type.
    pub dense: Vec<Tensor>,
    /// As the row wants them.
    pub inputs: Vec<Tensor>,
}

impl<'a> Trial<'a> {
    /// The trial, if the row takes operands of these shapes and there is a kernel.
    pub fn new(number: usize, sample: &'a AnySample, row: usize, dtype: DType) -> Option<Self> {
        let float = |x: &Tensor| x.dtype().is_float();
        let cast = |x: &Tensor| if float(x) { x.cast(dtype) } else { x.clone() };
        let dense: Vec<Tensor> = sample.inputs.iter().map(cast).collect();
        let (op, row) = (&*sample.op, sample.op.table()[row]);
        let mut trial = Trial { number, op, row, dtype, dense, inputs: Vec::new() };
        trial.inputs = trial.stored(&trial.dense)?;
        let dtypes: Vec<DType> = trial.inputs.iter().map(Tensor::dtype).collect();
        row.has_kernel(trial.op.dtype(&dtypes).ok()?).then_some(trial)
    }

    /// Dense inputs in the storage types of the row, if their shapes and element types allow it.
    pub fn stored(&self, dense: &[Tensor]) -> Option<Vec<Tensor>> {
        let ins = self.row.ins;
        if !ins.takes(dense.len()) {
            return None;
        }
        let cast = |(i, x): (usize, &Tensor)| match ins.get(i) {
            Stype::Default => Some(x.clone()),
            _ if !x.dtype().is_float() && self.dtype.is_float() => None,
            stype => x.cast_storage(stype).ok(),
        };
        dense.iter().enumerate().map(cast).collect()
    }

    /// Runs all checks; whether the operator takes the operands at all.
    fn run(&self, checked: &mut Checked) -> Result<bool> {
        let Some(y) = forward::check(self, checked)? else { return Ok(false) };
        checked.runs += 1;
        unread::check(self, &y)?;
        batches::check(self, &y, checked)?;
        backward::check(self, &y, checked)?;
        Ok(true)
    }

    pub fn handle(&self) -> OpRef {
        self.op.handle()
    }

    pub fn shape(&self, inputs: &[Tensor]) -> Result<Option<Shape>> {
        let mut out = PartialShape::unknown();
        let mut shapes: Vec<PartialShape> =
            inputs.iter().map(|x| PartialShape::from(&x.shape()[..])).collect();
        self.op.refine(&mut shapes, &mut out)?;
        Ok(out.known())
    }
}

impl fmt::Display for Trial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<String> = self.inputs.iter().map(|x| x.ty().to_string()).collect();
        write!(f, "sample {}, {}({})", self.number, self.op.label(), types.join(", "))
    }
}

/// A finding.
pub(super) fn fault<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::Check, message).nowhere())
}
