//! Softmax along an axis.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::row_softmax::log_softmax_axis;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::structural::Reduction;
use crate::tape::{Out, PartialShape, Scratch, Var, compose};
use crate::tensor::{Real, Tensor, View, size_of};

/// `log_softmax` along an axis: x − ln Σ eˣ, shifted by the maximum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogSoftmax {
    axis: isize,
}

impl LogSoftmax {
    /// Along this axis; a negative one counts from the last.
    pub fn along(axis: isize) -> Self {
        LogSoftmax { axis }
    }

    /// The axis, counted from the first.
    fn axis(&self, ndim: usize) -> Result<usize> {
        let reduced = Reduction::over(&[self.axis], true).reduced(ndim)?;
        Ok(reduced.iter().position(|&r| r).unwrap_or(0))
    }
}

methods! {
    /// ln softmax over the last axis, stable. (MXNet: `log_softmax`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([1, 2], vec![1000.0f64, 1000.0])?);
    /// let half = x.log_softmax().exp().value()?;
    /// sparsetape::assert_close(&half, &Tensor::full([1, 2], 0.5f64)?, 1e-15, 0.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn log_softmax(x) = LogSoftmax::along(-1);
    /// ln softmax along `axis` (a negative one counts from the last), stable. (MXNet: `log_softmax`
    /// with `axis`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 1], vec![-1000.0f64, 1000.0])?);
    /// assert_eq!(x.log_softmax_axis(0).value()?.values::<f64>()?, [-2000.0, 0.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn log_softmax_axis(x; axis: isize) = LogSoftmax::along(axis);
}

impl<'t> Var<'t> {
    /// Softmax over the last axis, stable. (MXNet: `softmax`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([1, 4], vec![3.0f64; 4])?);
    /// sparsetape::assert_close(&x.softmax().value()?, &Tensor::full([1, 4], 0.25f64)?, 1e-15, 0.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(self) -> Var<'t> {
        self.softmax_axis(-1)
    }

    /// Softmax along `axis` (a negative one counts from the last), stable. (MXNet: `softmax` with
    /// `axis`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 1], vec![-1000.0f64, 1000.0])?);
    /// assert_eq!(x.softmax_axis(0).value()?.values::<f64>()?, [0.0, 1.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax_axis(self, axis: isize) -> Var<'t> {
        self.tape().composition("softmax", || self.log_softmax_axis(axis).exp())
    }
}

impl Tensor {
    /// Unrecorded [`Var::softmax`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn softmax(&self) -> Result<Tensor> {
        compose([self], |[x]| x.softmax())
    }

    /// Unrecorded [`Var::softmax_axis`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn softmax_axis(&self, axis: isize) -> Result<Tensor> {
        compose([self], |[x]| x.softmax_axis(axis))
    }
}

fn log_softmax<T: Real>(
    op: &LogSoftmax,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let shape = ins[0].shape();
    let axis = op.axis(shape.len())?;
    let sizes = (size_of(&shape[..axis]), shape[axis], size_of(&shape[axis + 1..]));
    log_softmax_axis(ins[0].typed::<T>()?, sizes, out.dense());
    Ok(())
}

impl Op for LogSoftmax {
    const NAME: &'static str = "log_softmax";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        ins[0].rank().map_or(Ok(()), |ndim| self.axis(ndim).map(|_| ()))
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<LogSoftmax>; 1] = [case!([Default] => Default, log_softmax)];
        &CASES
    }

    fn vjp<'t>(&self, _: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || {
            // Everywhere, also where a sparse `dy` stores nothing.
            let total = dy.sum_axes(&[self.axis], true).broadcast_like(y);
            dy - y.exp() * total
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let mut y = ins[0].clone();
        let axis = self.axis(y.ndim()).unwrap_or(0);
        for mut row in y.lanes_mut(Axis(axis)) {
            let total: f64 = row.iter().map(|x| x.exp()).sum();
            row.mapv_inplace(|x| x - total.ln());
        }
        y
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| (i as f64 * 1.3).sin() * 3.0;
        let cube = || Tensor::from_fn([2, 2, 3], value);
        let along = LogSoftmax::along;
        vec![
            Sample::good(along(-1), [Tensor::from_fn([3, 4], value)]),
            Sample::good(along(0), [Tensor::from_fn([3, 4], value)]),
            Sample::good(along(-1), [Tensor::from_fn([5], value)]),
            Sample::good(along(-1), [cube()]),
            Sample::good(along(1), [cube()]),
            Sample::good(along(-3), [cube()]),
            Sample::good(along(0), [Tensor::from_fn([0, 3], value)]),
            Sample::good(along(1), [Tensor::from_fn([3, 0], value)]),
            Sample::bad(along(-1), [Tensor::scalar(1.0)], ErrorKind::Index, "for 0 axes"),
            Sample::bad(along(3), [cube()], ErrorKind::Index, "axis 3 is out of bounds"),
        ]
    }
}
