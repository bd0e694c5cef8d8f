//! Some rows of a value.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use super::ids::with_ids;
use super::take::rows;
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::columns::compact;
use crate::kernels::merge::intersect_rows;
use crate::kernels::steps::retain_csr;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::structural::rows_at;
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::cast::csr_ref;
use crate::tensor::{Buffer, DType, Element, Tensor, View};

/// `retain`: the rows that ids name; the others are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retain;

methods! {
    /// The rows that `ids` name (i64, any shape, any order, repeated or not) in the shape of this
    /// value; all others are absent. Of a row-sparse value those that it stores, in the same storage;
    /// of a csr matrix a csr matrix; of a dense value the named rows as a row-sparse one. An id out of
    /// range is an error. (MXNet: `retain`, of row-sparse values only.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = Tensor::row_sparse([9, 1], vec![2, 5, 7], vec![1.0f32, 2.0, 3.0])?;
    /// let ids = tape.constant(Tensor::dense([3], vec![7i64, 0, 2])?);
    /// assert_eq!(tape.constant(x).retain(ids).value()?.rows(), Some(&[2, 7][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "sparse_retain")]
    fn retain(x, ids) = Retain;
}

fn retain<T: Element>(_: &Retain, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let bound = ins[0].shape()[0];
    let (named, _) = compact(&rows(ins[1].typed()?, bound)?, bound);
    match ins[0] {
        View::Csr(v) => {
            let values = v.values.typed::<T>()?;
            out.set_csr(retain_csr(csr_ref(&v, values), &named));
            Ok(())
        }
        View::RowSparse(v) => {
            let kept: Buffer<u32> = intersect_rows(&[&named, v.rows]).into();
            rows_at::<T>(ins[0], &kept, out.rows(kept.clone())?)
        }
        View::Dense(_) => {
            let named: Buffer<u32> = named.into();
            rows_at::<T>(ins[0], &named, out.rows(named.clone())?)
        }
    }
}

impl Op for Retain {
    const NAME: &'static str = "retain";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if ins[0].rank() == Some(0) {
            return Err(Error::new(ErrorKind::Shape, "a single number has no rows"));
        }
        ins[0].unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        with_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Retain>; 3] = [
            case!(each [RowSparse, Default] => RowSparse, retain),
            case!(each [Csr, Default] => Csr, retain),
            case!(each [Default, Default] => RowSparse, retain),
        ];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy.retain(x[1]));
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let mut kept = ArrayD::zeros(ins[0].raw_dim());
        for &id in &ins[1] {
            let row = ins[0].index_axis(Axis(0), id as usize);
            kept.index_axis_mut(Axis(0), id as usize).assign(&row);
        }
        kept
    }

    fn samples() -> Vec<Sample<Self>> {
        let table = || super::dot::sparse_sample([5, 2], 3);
        let ids = |ids: &[i64]| Tensor::from_fn([ids.len()], |i| ids[i]);
        let cube = Tensor::from_fn([3, 2, 2], |i| if i / 4 == 1 { 0.0 } else { i as f64 - 6.5 });
        let floats = Tensor::from_fn([1], |_| 1.0);
        vec![
            Sample::good(Retain, [table(), ids(&[4, 0, 4, 1])]),
            Sample::good(Retain, [table(), ids(&[])]),
            Sample::good(Retain, [Tensor::from_fn([4], |i| i as f64), ids(&[2])]),
            Sample::good(Retain, [cube, Tensor::from_fn([2, 2], |i| i as i64 % 3)]),
            Sample::bad(Retain, [table(), ids(&[1, 5])], ErrorKind::Index, "ids[1] = 5"),
            Sample::bad(Retain, [table(), ids(&[-1])], ErrorKind::Index, "ids[0] = -1"),
            Sample::bad(Retain, [table(), floats], ErrorKind::DType, "ids are i64"),
            Sample::bad(Retain, [Tensor::scalar(1.0), ids(&[0])], ErrorKind::Shape, "has no rows"),
        ]
    }
}
