//! A value that counts as a constant.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::Result;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Tensor, View};

/// `stop_gradient`: the operand itself, with a zero gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopGradient;

methods! {
    /// This very value, as a constant: no gradient passes. (MXNet: `stop_gradient`, `BlockGrad`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::scalar(3.0f64));
    /// let y = x * x.stop_gradient();
    /// assert_eq!(y.backward()?.wrt(x).unwrap().item::<f64>()?, 3.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "BlockGrad")]
    fn stop_gradient(x) = StopGradient;
    /// This very value off the recording, as [`Var::stop_gradient`]. (PyTorch: `detach`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::scalar(3.0f64));
    /// assert!(x.detach().square().backward()?.wrt(x).is_none());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    var fn detach(x) = StopGradient;
}

fn stop(_: &StopGradient, _: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    out.alias(0);
    Ok(())
}

impl Op for StopGradient {
    const NAME: &'static str = "stop_gradient";

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Stated {
            why: "the operand counts as a constant",
            function: Some(|_, _, held| held[0]),
        }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<StopGradient>; 3] = [
            case!(any [Default] => Default, stop),
            case!(any [Csr] => Csr, stop),
            case!(any [RowSparse] => RowSparse, stop),
        ];
        &CASES
    }

    fn reads(&self, _: usize) -> Read {
        Read::View
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        vec![Sample::good(StopGradient, [Tensor::from_fn([3, 4], |i| (i % 3) as f64)])]
    }
}
