//! Random zeros while training.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::dropout;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::{Mode, Out, PartialShape, Scratch, Var, compose};
use crate::tensor::{Real, Tensor, View, row_len};

/// `dropout`: while training, zeros with a probability, and the other elements scaled so that the mean
/// stays; else the operand itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    p: f64,
    /// Which dropout of its recording this is.
    ordinal: u64,
}

impl Dropout {
    /// With probability `p`; dropouts of one recording have different ordinals.
    pub fn new(p: f64, ordinal: u64) -> Self {
        Dropout { p, ordinal }
    }
}

impl<'t> Var<'t> {
    /// While training ([`Tape::train`](crate::Tape::train)), zero with probability `p` and
    /// `x / (1 − p)` otherwise, each element by itself; else this very value. All storage types stay,
    /// and so do patterns. `p` is in [0, 1), else an [`ErrorKind::Value`]. (MXNet, PyTorch:
    /// `Dropout`.)
    ///
    /// Whether an element is dropped follows from the tape's seed and step, from which dropout of the
    /// recording this is, and from the element's position in the dense shape: not from threads or
    /// storage types. The backward pass has the same mask, if it runs in the same mode.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::full([1000], 1.0f64)?);
    /// assert_eq!(x.dropout(0.5).sum().item::<f64>()?, 1000.0);
    /// tape.train(7, 0);
    /// let y = x.dropout(0.5).value()?;
    /// assert!(y.values::<f64>()?.iter().all(|&y| y == 0.0 || y == 2.0));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "Dropout")]
    #[track_caller]
    pub fn dropout(self, p: f64) -> Var<'t> {
        Var::apply(Dropout::new(p, self.tape().next_ordinal()), &[self])
    }
}

impl Tensor {
    /// Unrecorded [`Var::dropout`], in a mode: the first dropout of a tape in that mode.
    ///
    /// ```
    /// use sparsetape::{Mode, Tensor};
    /// let x = Tensor::full([4], 1.0f64)?;
    /// assert!(x.dropout(0.5, Mode::Predict)?.same_bits(&x));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn dropout(&self, p: f64, mode: Mode) -> Result<Tensor> {
        compose([self], |[x]| {
            x.tape().set_mode(mode);
            x.dropout(p)
        })
    }
}

fn drop<T: Real>(op: &Dropout, ins: &[View], out: &mut Out, scratch: &mut Scratch) -> Result<()> {
    let Mode::Train { seed, step } = scratch.mode() else {
        out.alias(0);
        return Ok(());
    };
    let scale = T::from_f64(1.0 / (1.0 - op.p));
    let mask = dropout::Dropout::new(op.p, scale, [seed, step, op.ordinal]);
    let x = ins[0].typed::<T>()?;
    match ins[0] {
        View::Dense(_) => mask.dense(x, out.dense()),
        View::Csr(v) => mask.csr(x, v.pattern.parts(), v.pattern.cols(), out.csr_on(v.pattern)?),
        View::RowSparse(v) => {
            mask.rows(x, v.rows, row_len(v.shape), out.rows(v.rows.clone())?);
        }
    }
    Ok(())
}

impl Op for Dropout {
    const NAME: &'static str = "dropout";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if !(0.0..1.0).contains(&self.p) {
            let message = format!("p is {}, but a probability of at least 0 and below 1", self.p);
            return Err(Error::new(ErrorKind::Value, message));
        }
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Dropout>; 3] = [
            case!([Default] => Default, drop),
            case!([Csr] => Csr, drop),
            case!([RowSparse] => RowSparse, drop),
        ];
        &CASES
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn depends_on_mode(&self) -> bool {
        true
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        // Linear: the mask does not depend on the values, only on what it is keyed by.
        grads.give(0, || Var::apply(self.clone(), &[dy]));
    }

    /// As it is when not training.
    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| if i.is_multiple_of(3) { 0.0 } else { i as f64 - 4.5 };
        let x = || Tensor::from_fn([3, 4], value);
        let refused =
            |p| Sample::bad(Dropout::new(p, 0), [x()], ErrorKind::Value, "at least 0 and below 1");
        vec![
            Sample::good(Dropout::new(0.5, 0), [x()]),
            Sample::good(Dropout::new(0.0, 1), [Tensor::scalar(1.0)]),
            Sample::good(Dropout::new(0.9, u64::MAX), [Tensor::from_fn([2, 0, 3], value)]),
            refused(1.0),
            refused(-0.1),
            refused(f64::NAN),
        ]
    }
}
