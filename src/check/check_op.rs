//! One call tests an operator.

use std::fmt;

use super::{backward, batches, forward, refusals, unread};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::Gradient;
use crate::tape::{Case, Op, OpRef, PartialShape, Sample};
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
    let mut checked = Checked { name: O::NAME, ..Checked::default() };
    let mut faults = Vec::new();
    let mut tables: Vec<Table<O>> = Vec::new();
    for (number, sample) in O::samples().iter().enumerate() {
        checked.samples += 1;
        if sample.error.is_some() {
            faults.extend(refusals::check(sample).err().map(|e| about(number, &sample.op, &e)));
            continue;
        }
        let table = Table::of(&mut tables, &sample.op);
        for row in 0..table.cases.len() {
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
        checked.rows += table.cases.len();
        faults.extend(table.faults());
    }
    if checked.compared == 0 {
        faults
            .push("nothing was compared: there is no good sample, or all results are empty".into());
    }
    let differentiable = |sample: &Sample<O>| {
        let stated = !matches!(sample.op.gradient(), Gradient::Stated { function: None, .. });
        stated && sample.error.is_none() && sample.inputs.iter().any(|x| x.dtype().is_float())
    };
    if checked.gradients + checked.kinks == 0 && O::samples().iter().any(differentiable) {
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
    Err(Error::new(ErrorKind::Check, message).operator(O::NAME))
}

fn about(number: usize, op: &impl Op, error: &Error) -> String {
    format!("sample {number}, {}: {error}", op.label())
}

/// A table of an operator, and which of its rows samples reach.
struct Table<O: 'static> {
    label: String,
    cases: &'static [Case<O>],
    reached: Vec<bool>,
}

impl<O: Op> Table<O> {
    fn of<'a>(tables: &'a mut Vec<Table<O>>, op: &O) -> &'a mut Table<O> {
        let (cases, label) = (op.cases(), op.label());
        let known = tables.iter().position(|t| std::ptr::eq(t.cases, cases) && t.label == label);
        let at = known.unwrap_or_else(|| {
            let (label, reached) = (label.into_owned(), vec![false; cases.len()]);
            tables.push(Table { label, cases, reached });
            tables.len() - 1
        });
        &mut tables[at]
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (row, case) in self.cases.iter().enumerate() {
            if self.cases[..row].iter().any(|c| c.ins == case.ins) {
                faults.push(format!("{}: rows for {:?} are repeated", self.label, case.ins));
            } else if !self.reached[row] {
                faults.push(format!("{}: no sample reaches the row {:?}", self.label, case.ins));
            }
        }
        faults
    }
}

/// An operator on one sample, in the storage types of one row.
pub(super) struct Trial<'a, O> {
    number: usize,
    pub op: &'a O,
    pub row: usize,
    pub dtype: DType,
    /// As the sample has them, in the element type.
    pub dense: Vec<Tensor>,
    /// As the row wants them.
    pub inputs: Vec<Tensor>,
}

impl<'a, O: Op> Trial<'a, O> {
    /// The trial, if the row takes operands of these shapes and there is a kernel.
    pub fn new(number: usize, sample: &'a Sample<O>, row: usize, dtype: DType) -> Option<Self> {
        let float = |x: &Tensor| x.dtype().is_float();
        let cast = |x: &Tensor| if float(x) { x.cast(dtype) } else { x.clone() };
        let dense: Vec<Tensor> = sample.inputs.iter().map(cast).collect();
        let mut trial = Trial { number, op: &sample.op, row, dtype, dense, inputs: Vec::new() };
        trial.inputs = trial.stored(&trial.dense)?;
        let dtypes: Vec<DType> = trial.inputs.iter().map(Tensor::dtype).collect();
        let run = trial.case().run;
        let has_kernel = match trial.op.dtype(&dtypes).ok()? {
            DType::F32 => run.f32.is_some(),
            DType::F64 => run.f64.is_some(),
            DType::I64 => run.i64.is_some(),
        };
        has_kernel.then_some(trial)
    }

    pub fn case(&self) -> &'static Case<O> {
        &self.op.cases()[self.row]
    }

    /// Dense inputs in the storage types of the row, if their shapes and element types allow it.
    pub fn stored(&self, dense: &[Tensor]) -> Option<Vec<Tensor>> {
        let case = self.case();
        if !case.ins.takes(dense.len()) {
            return None;
        }
        let cast = |(i, x): (usize, &Tensor)| match case.ins.get(i) {
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
        self.op.clone().into()
    }

    pub fn shape(&self, inputs: &[Tensor]) -> Result<Option<Shape>> {
        let mut out = PartialShape::unknown();
        let mut shapes: Vec<PartialShape> =
            inputs.iter().map(|x| PartialShape::from(&x.shape()[..])).collect();
        self.op.refine(&mut shapes, &mut out)?;
        Ok(out.known())
    }
}

impl<O: Op> fmt::Display for Trial<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<String> = self.inputs.iter().map(|x| x.ty().to_string()).collect();
        write!(f, "sample {}, {}({})", self.number, self.op.label(), types.join(", "))
    }
}

/// A finding.
pub(super) fn fault<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::Check, message).nowhere())
}
