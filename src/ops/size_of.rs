//! The size of an axis, as a value.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::shape::axis_of;
use crate::case;
use crate::error::{ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Element, Tensor, View};

/// `size_of`: the size of an axis of the operand, which is not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizeOf {
    axis: isize,
}

methods! {
    /// The size of an axis (a negative one counts from the last), a 0-d value of this element type
    /// (the nearest float), for every storage type. It is taken anew whenever the recording runs: in a
    /// graph it is the batch size of that run, where a number would be that of the recording. Nothing
    /// is read, and the gradient is zero. (MXNet: an element of `shape_array`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([4, 1], vec![1.0f64, 2.0, 3.0, 6.0])?);
    /// let mean = x.sum() / x.size_of(0);
    /// assert_eq!(mean.item::<f64>()?, 3.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "shape_array")]
    #[doc(alias = "size_array")]
    fn size_of(x; axis: isize) = SizeOf { axis };
}

fn size<T: Element>(op: &SizeOf, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let shape = ins[0].shape();
    out.dense().fill(T::from_f64(shape[axis_of(op.axis, shape.len())?] as f64));
    Ok(())
}

impl Op for SizeOf {
    const NAME: &'static str = "size_of";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if let Some(rank) = ins[0].rank() {
            axis_of(self.axis, rank)?;
        }
        out.set_rank(0)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<SizeOf>; 3] = [
            case!(each [Default] => Default, size),
            case!(each [Csr] => Default, size),
            case!(each [RowSparse] => Default, size),
        ];
        &CASES
    }

    fn reads(&self, _: usize) -> Read {
        Read::Shape
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let axis = axis_of(self.axis, ins[0].ndim()).unwrap_or_default();
        ArrayD::from_elem(vec![], ins[0].shape()[axis] as f64)
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = |shape: &[usize]| Tensor::from_fn(shape, |i| i as f64);
        let op = |axis| SizeOf { axis };
        let bad =
            |axis, shape, message| Sample::bad(op(axis), [x(shape)], ErrorKind::Index, message);
        vec![
            Sample::good(op(0), [x(&[3, 4])]),
            Sample::good(op(-1), [x(&[3, 4])]),
            Sample::good(op(1), [x(&[2, 3, 2])]),
            Sample::good(op(0), [x(&[5])]),
            Sample::good(op(0), [x(&[0, 3])]),
            Sample::good(op(0), [Tensor::from_fn([4], |i| i as i64)]),
            bad(2, &[3, 4], "axis 2 is out of bounds for 2 axes"),
            bad(-3, &[3, 4], "axis -3 is out of bounds for 2 axes"),
            bad(0, &[], "out of bounds for 0 axes"),
        ]
    }
}
