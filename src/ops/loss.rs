//! Losses for define-by-run use: differentiable to any order, stable.

use std::sync::LazyLock;

use super::map::expr::Expr;
use super::map::{Map, Named};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::elementwise::{Binary, Unary};
use crate::tape::OpRef;
use crate::tape::op::Sample;
use crate::tape::{Var, compose};
use crate::tensor::{DType, Tensor, Type};

/// What becomes of the losses of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossReduction {
    /// Their mean, a 0-d value.
    #[default]
    Mean,
    /// Their sum, a 0-d value.
    Sum,
    /// One loss per row (per element for element-wise losses).
    None,
}

impl LossReduction {
    #[track_caller]
    fn of(self, losses: Var<'_>) -> Var<'_> {
        match self {
            LossReduction::Mean => losses.mean(),
            LossReduction::Sum => losses.sum(),
            LossReduction::None => losses,
        }
    }
}

static SIGMOID_CROSS_ENTROPY: LazyLock<Named> = LazyLock::new(|| {
    // −y ln σ(z) − (1 − y) ln(1 − σ(z)) = softplus(z) − y·z
    let expr = Expr::build(2, |b| {
        let (z, y) = (b.input(0), b.input(1));
        let (softplus, product) = (b.unary(Unary::Softplus, z), b.mul(y, z));
        b.sub(softplus, product)
    });
    Named::new("sigmoid_cross_entropy", expr)
});

static L2: LazyLock<Named> = LazyLock::new(|| {
    let expr = Expr::build(2, |b| {
        let (x, y) = (b.input(0), b.input(1));
        let difference = b.binary(Binary::Sub, x, y);
        let (square, half) = (b.unary(Unary::Square, difference), b.constant(0.5));
        b.mul(half, square)
    });
    Named::new("l2_loss", expr)
});

impl<'t> Var<'t> {
    /// Cross-entropy of these logits, one row per sample, against class ids (i64, one per row) or
    /// class probabilities (of this shape): `ln Σ eᶻ − z[label]`, in nats. (MXNet:
    /// `softmax_cross_entropy`, the loss of `SoftmaxOutput`.)
    ///
    /// ```
    /// use sparsetape::{LossReduction, Tape, Tensor};
    /// let tape = Tape::new();
    /// let z = tape.variable(Tensor::dense([1, 2], vec![0.0f64, 0.0])?);
    /// let label = tape.constant(Tensor::dense([1], vec![1i64])?);
    /// let loss = z.softmax_cross_entropy(label, LossReduction::Mean);
    /// assert!((loss.item::<f64>()? - 2f64.ln()).abs() < 1e-15);
    /// assert_eq!(loss.backward()?.wrt(z).unwrap().values::<f64>()?, [0.5, -0.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax_cross_entropy(self, labels: Var<'t>, reduction: LossReduction) -> Var<'t> {
        if let (Ok(z), Ok(y)) = (self.ty(), labels.ty())
            && let Some(error) = misfit(&z, &y)
        {
            return self.poisoned(error);
        }
        let log_p = self.log_softmax();
        let losses = match labels.dtype() {
            Ok(DType::I64) => log_p.pick(labels).neg(),
            _ => (labels * log_p).sum_axes(&[-1], false).neg(),
        };
        reduction.of(losses)
    }

    /// Cross-entropy of these logits of two classes against labels in [0, 1]:
    /// `ln(1 + eᶻ) − y·z`, in nats. (MXNet: the loss of `LogisticRegressionOutput`; PyTorch:
    /// `binary_cross_entropy_with_logits`.)
    ///
    /// ```
    /// use sparsetape::{LossReduction, Tape, Tensor};
    /// let tape = Tape::new();
    /// let z = tape.variable(Tensor::dense([2, 1], vec![0.0f64, 0.0])?);
    /// let y = tape.constant(Tensor::dense([2, 1], vec![1.0f64, 0.0])?);
    /// let loss = z.sigmoid_cross_entropy(y, LossReduction::Sum);
    /// assert_eq!(loss.backward()?.wrt(z).unwrap().values::<f64>()?, [-0.5, 0.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn sigmoid_cross_entropy(self, labels: Var<'t>, reduction: LossReduction) -> Var<'t> {
        let losses = OpRef::from_static(SIGMOID_CROSS_ENTROPY.equal());
        reduction.of(Var::apply(losses, &[self, labels]))
    }

    /// Half the squared difference. (MXNet: the loss of `LinearRegressionOutput`.)
    ///
    /// ```
    /// use sparsetape::{LossReduction, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([2], vec![1.0f64, 4.0])?);
    /// let y = tape.constant(Tensor::dense([2], vec![0.0f64, 2.0])?);
    /// assert_eq!(x.l2_loss(y, LossReduction::Mean).item::<f64>()?, 1.25);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn l2_loss(self, labels: Var<'t>, reduction: LossReduction) -> Var<'t> {
        reduction.of(Var::apply(OpRef::from_static(L2.equal()), &[self, labels]))
    }
}

/// Class ids have one axis less than the logits, probabilities the same shape.
#[track_caller]
fn misfit(logits: &Type, labels: &Type) -> Option<Error> {
    let fits = match labels.dtype {
        DType::I64 => logits.shape.len() == 2 && labels.shape[..] == logits.shape[..1],
        _ => labels.shape == logits.shape,
    };
    let (rows, shape) = (logits.shape.first().copied().unwrap_or(0), &logits.shape);
    let message = format!(
        "labels are class ids, i64 of shape ({rows},), or class probabilities of shape {shape}; \
         `cast` turns numbers into ids"
    );
    let error = Error::new(ErrorKind::Shape, message).operator("softmax_cross_entropy");
    (!fits).then(|| error.operands([logits, labels]))
}

impl Tensor {
    /// Unrecorded [`Var::softmax_cross_entropy`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn softmax_cross_entropy(
        &self,
        labels: &Tensor,
        reduction: LossReduction,
    ) -> Result<Tensor> {
        compose([self, labels], |[x, labels]| x.softmax_cross_entropy(labels, reduction))
    }

    /// Unrecorded [`Var::sigmoid_cross_entropy`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn sigmoid_cross_entropy(
        &self,
        labels: &Tensor,
        reduction: LossReduction,
    ) -> Result<Tensor> {
        compose([self, labels], |[x, labels]| x.sigmoid_cross_entropy(labels, reduction))
    }

    /// Unrecorded [`Var::l2_loss`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn l2_loss(&self, labels: &Tensor, reduction: LossReduction) -> Result<Tensor> {
        compose([self, labels], |[x, labels]| x.l2_loss(labels, reduction))
    }
}

pub(super) fn samples() -> Vec<Sample<Map>> {
    let z = || Tensor::from_fn([3, 2], |i| (i as f64 * 1.1).sin() * 2.0);
    let y = || Tensor::from_fn([3, 2], |i| if i % 2 == 0 { 0.2 } else { 0.9 });
    [&SIGMOID_CROSS_ENTROPY, &L2]
        .into_iter()
        .map(|named| Sample::good(named.equal().clone(), [z(), y()]))
        .collect()
}
