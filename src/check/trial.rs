//! An operator on one sample, and what came of all of them.

use std::fmt;

use super::subject::{AnySample, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{OpRef, PartialShape, TableRow};
use crate::tensor::{DType, Shape, Stype, Tensor};

/// What [`check_op`](crate::check::check_op) did.
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

/// An operator on one sample, in the storage types of one row.
pub(super) struct Trial<'a> {
    number: usize,
    pub op: &'a dyn Subject,
    pub row: TableRow,
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
        row.dtypes.contains(trial.op.dtype(&dtypes).ok()?).then_some(trial)
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
