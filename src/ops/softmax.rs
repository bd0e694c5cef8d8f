//! Softmax over the last axis.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::row_softmax::log_softmax_rows;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, compose};
use crate::tensor::{Real, Tensor, View};

/// `log_softmax` over the last axis: x − ln Σ eˣ, shifted by the maximum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogSoftmax;

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
    fn log_softmax(x) = LogSoftmax;
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
        self.log_softmax().exp()
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
}

fn log_softmax<T: Real>(
    _: &LogSoftmax,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let classes = ins[0].shape().last().copied().unwrap_or(1);
    log_softmax_rows(ins[0].typed::<T>()?, classes, out.dense());
    Ok(())
}

impl Op for LogSoftmax {
    const NAME: &'static str = "log_softmax";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if ins[0].rank() == Some(0) {
            ins[0].set_dim(0, 1)?;
        }
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<LogSoftmax>; 1] = [case!([Default] => Default, log_softmax)];
        &CASES
    }

    fn vjp<'t>(&self, _: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || {
            // Everywhere, also where a sparse `dy` stores nothing.
            let total = dy.sum_axes(&[-1], true).broadcast_like(y);
            dy - y.exp() * total
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let mut y = ins[0].clone();
        let last = Axis(y.ndim() - 1);
        for mut row in y.lanes_mut(last) {
            let total: f64 = row.iter().map(|x| x.exp()).sum();
            row.mapv_inplace(|x| x - total.ln());
        }
        y
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| (i as f64 * 1.3).sin() * 3.0;
        vec![
            Sample::good(LogSoftmax, [Tensor::from_fn([3, 4], value)]),
            Sample::good(LogSoftmax, [Tensor::from_fn([5], value)]),
            Sample::good(LogSoftmax, [Tensor::from_fn([2, 2, 3], value)]),
            Sample::bad(LogSoftmax, [Tensor::scalar(1.0)], ErrorKind::Shape, "no axis 0"),
        ]
    }
}
