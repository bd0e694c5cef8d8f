//! A value that is a loss.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::{Count, Normalization, PerCount};
use crate::case;
use crate::error::Result;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Tensor, View};

/// `make_loss`: the operand itself; its gradient is a constant, whatever the head cotangent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MakeLoss {
    grad_scale: f64,
    normalization: Normalization,
    threshold: f64,
}

impl MakeLoss {
    /// The gradient is `grad_scale` at every element.
    pub fn new(grad_scale: f64) -> Self {
        MakeLoss { grad_scale, normalization: Normalization::None, threshold: 0.0 }
    }

    /// Divides the gradient by the number of rows ([`Normalization::Batch`]) or of elements above the
    /// threshold ([`Normalization::Valid`]), at least 1.
    pub fn normalization(self, normalization: Normalization) -> Self {
        MakeLoss { normalization, ..self }
    }

    /// The elements above this number are the valid ones; 0 at first. (MXNet: `valid_thresh`.)
    pub fn threshold(self, threshold: f64) -> Self {
        MakeLoss { threshold, ..self }
    }

    #[track_caller]
    fn scaled<'t>(&self, x: Var<'t>, like: Var<'t>) -> Var<'t> {
        let count = match self.normalization {
            Normalization::None => Count::One,
            Normalization::Batch => Count::Rows,
            Normalization::Valid => Count::Above(self.threshold),
        };
        PerCount::of(x, like, self.grad_scale, count)
    }
}

methods! {
    /// This very value, as a loss: its gradient is `grad_scale` at every element (that is stored),
    /// whatever the head cotangent, and `backward()` starts here whatever the shape. All storage types
    /// stay. (MXNet: `make_loss` with 1, `MakeLoss`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([2], vec![1.0f64, 3.0])?);
    /// let gradients = x.square().make_loss(0.5).backward()?;
    /// assert_eq!(gradients.wrt(x).unwrap().values::<f64>()?, [1.0, 3.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "MakeLoss")]
    fn make_loss(x; grad_scale: f64) = MakeLoss::new(grad_scale);
    /// [`Var::make_loss`] with a gradient that is divided by a count. (MXNet: `MakeLoss` with
    /// `normalization`.)
    ///
    /// ```
    /// use sparsetape::{MakeLoss, Normalization, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([2], vec![1.0f64, 3.0])?);
    /// let loss = x.square().make_loss_with(MakeLoss::new(1.0).normalization(Normalization::Batch));
    /// assert_eq!(loss.backward()?.wrt(x).unwrap().values::<f64>()?, [1.0, 3.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn make_loss_with(x; options: MakeLoss) = options;
}

fn itself(_: &MakeLoss, _: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    out.alias(0);
    Ok(())
}

impl Op for MakeLoss {
    const NAME: &'static str = "make_loss";

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Loss {
            why: "the value is a loss, so it starts the backward pass",
            loss: |op, x| op.scaled(x[0].sum(), x[0]),
        }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<MakeLoss>; 3] = [
            case!(any [Default] => Default, itself),
            case!(any [Csr] => Csr, itself),
            case!(any [RowSparse] => RowSparse, itself),
        ];
        &CASES
    }

    fn reads(&self, _: usize) -> Read {
        Read::View
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || self.scaled(x[0].ones_like(), x[0]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| if i.is_multiple_of(3) { 0.0 } else { i as f64 - 4.5 };
        let x = || Tensor::from_fn([3, 4], value);
        let valid = || MakeLoss::new(3.0).normalization(Normalization::Valid);
        vec![
            Sample::good(MakeLoss::new(1.0), [x()]),
            Sample::good(MakeLoss::new(-2.0).normalization(Normalization::Batch), [x()]),
            Sample::good(valid().threshold(0.25), [x()]),
            Sample::good(valid().threshold(-0.75), [x()]),
            Sample::good(MakeLoss::new(0.5), [Tensor::scalar(2.0)]),
            Sample::good(MakeLoss::new(0.5), [Tensor::from_fn([2, 1, 3], value)]),
        ]
    }
}
