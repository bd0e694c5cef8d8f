//! Ids as operands, and what becomes of those that name nothing.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{DType, Tensor, View};

/// What becomes of an id that names no row of a table of `n` rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfRange {
    /// An error that names the id and its position. (MXNet: mode `raise`.)
    #[default]
    Error,
    /// The nearest row: 0 or `n − 1`. (MXNet: mode `clip`.)
    Clip,
    /// The row `id` modulo `n`: −1 is the last row. (MXNet: mode `wrap`.)
    Wrap,
}

/// `ids_in_range`: ids brought into the range of a table's rows, which is not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdsInRange {
    out_of_range: OutOfRange,
}

methods! {
    /// These ids (i64, any shape), each brought into the range of the rows of `table`, of which the
    /// shape alone is read: what to do with ids before a look-up that takes no others. A table
    /// without rows has a place for none: an error, if there are ids. (MXNet: the `mode` of `take`.)
    ///
    /// ```
    /// use sparsetape::{OutOfRange, Tape, Tensor};
    /// let tape = Tape::new();
    /// let table = tape.constant(Tensor::full([3, 1], 0.0f32)?);
    /// let ids = tape.constant(Tensor::dense([3], vec![-1i64, 1, 4])?);
    /// let wrapped = ids.ids_in_range(table, OutOfRange::Wrap);
    /// assert_eq!(wrapped.value()?.values::<i64>()?, [2, 1, 1]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn ids_in_range(ids, table; out_of_range: OutOfRange) = IdsInRange { out_of_range };
}

impl<'t> Var<'t> {
    /// These ids with `out_of_range` seen to; look-ups themselves make errors of ids out of range.
    #[track_caller]
    pub(super) fn bounded_by(self, table: Var<'t>, out_of_range: OutOfRange) -> Var<'t> {
        match out_of_range {
            OutOfRange::Error => self,
            _ => self.ids_in_range(table, out_of_range),
        }
    }
}

/// The id as a row number of a table of `bound` rows; `i` is its position among the ids.
pub(super) fn row(i: usize, id: i64, bound: usize) -> Result<u32> {
    match u32::try_from(id) {
        Ok(row) if (row as usize) < bound => Ok(row),
        _ => {
            let message = format!("ids[{i}] = {id}, but the table has {bound} rows");
            Err(Error::new(ErrorKind::Index, message))
        }
    }
}

/// The element type `of` what is looked up, if ids are i64.
pub(super) fn with_ids(of: DType, ids: DType) -> Result<DType> {
    match ids {
        DType::I64 => Ok(of),
        _ => Err(Error::new(ErrorKind::DType, format!("ids are i64, got {ids}; use `cast`"))),
    }
}

fn in_range(op: &IdsInRange, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (ids, bound) = (ins[0].typed::<i64>()?, ins[1].shape()[0]);
    let end = i64::try_from(bound).unwrap_or(i64::MAX);
    for (i, (to, &id)) in out.dense::<i64>().iter_mut().zip(ids).enumerate() {
        *to = match op.out_of_range {
            OutOfRange::Clip if end > 0 => id.clamp(0, end - 1),
            OutOfRange::Wrap if end > 0 => id.rem_euclid(end),
            _ => row(i, id, bound)?.into(),
        };
    }
    Ok(())
}

impl Op for IdsInRange {
    const NAME: &'static str = "ids_in_range";

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Stated { why: "ids are integers", function: None }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if ins[1].rank() == Some(0) {
            return Err(no_rows());
        }
        ins[0].unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        with_ids(DType::I64, ins[0])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<IdsInRange>; 3] = [
            case!(any [Default, Default] => Default, in_range),
            case!(any [Default, Csr] => Default, in_range),
            case!(any [Default, RowSparse] => Default, in_range),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 1 { Read::Shape } else { Read::All }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let end = ins[1].shape()[0] as i64;
        ins[0].mapv(|id| match self.out_of_range {
            OutOfRange::Error => id,
            OutOfRange::Clip => (id as i64).max(0).min(end - 1) as f64,
            OutOfRange::Wrap => (id as i64).rem_euclid(end) as f64,
        })
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |out_of_range| IdsInRange { out_of_range };
        let table = |rows: usize| Tensor::from_fn([rows, 2], |i| i as f64);
        let ids = |shape: &[usize]| Tensor::from_fn(shape, |i| i as i64 * 3 - 7);
        let small = Tensor::from_fn([2, 2], |i| i as i64);
        let (wrap, clip) = (op(OutOfRange::Wrap), op(OutOfRange::Clip));
        let end = || Tensor::from_fn([2], |i| if i == 0 { i64::MIN } else { i64::MAX });
        vec![
            Sample::good(op(OutOfRange::Error), [small, table(4)]),
            Sample::good(clip.clone(), [ids(&[2, 3]), table(4)]),
            Sample::good(wrap.clone(), [ids(&[6]), table(4)]),
            Sample::good(wrap.clone(), [ids(&[]), table(1)]),
            Sample::good(clip.clone(), [ids(&[0]), table(0)]),
            Sample::good(clip.clone(), [end(), table(3)]),
            Sample::bad(clip, [ids(&[1]), table(0)], ErrorKind::Index, "ids[0] = -7"),
            Sample::bad(wrap, [ids(&[1]), Tensor::scalar(1.0)], ErrorKind::Shape, "no rows"),
            Sample::bad(
                op(OutOfRange::Error),
                [ids(&[3]), table(4)],
                ErrorKind::Index,
                "ids[0] = -7, but the table has 4 rows",
            ),
        ]
    }
}

/// A table without a first axis.
pub(super) fn no_rows() -> Error {
    Error::new(ErrorKind::Shape, "the table has no rows: its shape is ()")
}
