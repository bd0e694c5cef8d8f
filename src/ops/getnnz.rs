//! How many elements are stored.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use super::arg::{refine_without, resolved};
use crate::case;
use crate::error::{ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{DType, Tensor, View, row_len};

/// `getnnz`: how many elements are stored, in all or along an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GetNnz {
    axis: Option<isize>,
}

methods! {
    /// How many elements are stored, explicit zeros included (i64): in all, as a 0-d value, or along
    /// an axis, which goes. Of a matrix axis 1 gives the number in each row, axis 0 that in each
    /// column. A dense value stores all its elements, a row-sparse one those of its rows. (MXNet:
    /// `getnnz`, for csr, without axis 0 and of shape (1,).)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([2, 3], vec![0, 2, 2], vec![0, 2], vec![5.0f32, 0.0])?);
    /// assert_eq!(x.getnnz(None).item::<i64>()?, 2);
    /// assert_eq!(x.getnnz(Some(1)).value()?.values::<i64>()?, [2, 0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "nnz")]
    fn getnnz(x; axis: Option<isize>) = GetNnz { axis };
}

fn count(op: &GetNnz, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (x, each) = (ins[0], row_len(out.shape()));
    let counts = out.zeros::<i64>();
    let Some(axis) = op.axis else {
        counts.fill(x.values().len() as i64);
        return Ok(());
    };
    let axis = resolved(axis, x.shape().len())?;
    let along = x.shape()[axis] as i64;
    match x {
        View::Dense(_) => counts.fill(along),
        View::Csr(v) if axis == 0 => {
            v.pattern.indices().iter().for_each(|&column| counts[column as usize] += 1);
        }
        View::Csr(v) => {
            let rows = v.pattern.indptr().windows(2);
            counts.iter_mut().zip(rows).for_each(|(count, w)| *count = (w[1] - w[0]) as i64);
        }
        View::RowSparse(v) if axis == 0 => counts.fill(v.rows.len() as i64),
        View::RowSparse(v) => {
            for &r in v.rows.iter() {
                counts[r as usize * each..][..each].fill(along);
            }
        }
    }
    Ok(())
}

impl Op for GetNnz {
    const NAME: &'static str = "getnnz";

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Stated { why: "counts are integers", function: None }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        match self.axis {
            None => out.set_rank(0),
            Some(axis) => refine_without(axis, &mut ins[0], out).map(|_| ()),
        }
    }

    fn dtype(&self, _: &[DType]) -> Result<DType> {
        Ok(DType::I64)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<GetNnz>; 3] = [
            case!(any [Default] => Default, count),
            case!(any [Csr] => Default, count),
            case!(any [RowSparse] => Default, count),
        ];
        &CASES
    }

    fn reads(&self, _: usize) -> Read {
        Read::Pattern
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        match self.axis.and_then(|axis| resolved(axis, ins[0].ndim()).ok()) {
            None => ArrayD::from_elem(vec![], ins[0].sum()),
            Some(axis) => ins[0].sum_axis(Axis(axis)),
        }
    }

    fn samples() -> Vec<Sample<Self>> {
        let matrix = || super::dot::sparse_sample([4, 3], 3);
        let cube = || Tensor::from_fn([3, 2, 2], |i| if i / 4 == 1 { 0.0 } else { 1.0 });
        let op = |axis| GetNnz { axis };
        vec![
            Sample::good(op(None), [matrix()]),
            Sample::good(op(Some(0)), [matrix()]),
            Sample::good(op(Some(1)), [matrix()]),
            Sample::good(op(Some(-1)), [cube()]),
            Sample::good(op(Some(0)), [cube()]),
            Sample::good(op(Some(1)), [cube()]),
            Sample::good(op(None), [Tensor::scalar(0.0)]),
            Sample::good(op(Some(0)), [Tensor::from_fn([0, 2], |_| 0.0)]),
            Sample::bad(op(Some(2)), [matrix()], ErrorKind::Index, "out of bounds"),
        ]
    }
}
