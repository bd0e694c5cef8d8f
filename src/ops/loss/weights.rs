//! What becomes of the losses of the rows: weights, and a reduction.

use super::check_weights::{CheckWeights, Weigh};
use super::{agree, one_each, ranked, size, times};
use crate::error::{Error, ErrorKind};
use crate::tape::Var;
use crate::tensor::Tensor;

/// How the losses of the rows become one: a reduction, and weights of samples and of classes, which
/// are `Var`s on a tape and plain `Tensor`s beside it.
///
/// A weighted mean is `Σ w·loss / Σ w`, with w the weight of the sample times that of its label's
/// class. A label that is shared between classes counts as so many labels: the loss against class c
/// has the weight of c times the share of c. If all weights are 0 the mean is NaN. Gradients flow to
/// weights too.
///
/// - Sample weights: one per row (n,), or one for each loss.
/// - Class weights: one per class (k,); for `sigmoid_binary_cross_entropy` those of 0 and 1, for
///   `hinge` those of −1 and 1. `l2_loss` has no classes.
///
/// On a [symbolic tape](crate::Tape::symbolic) predictions, labels and sample weights are declared with
/// their number of axes; sizes that are unknown are checked when they become known.
///
/// ```
/// use sparsetape::{Loss, Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.constant(Tensor::dense([2], vec![2.0f64, 4.0])?);
/// let y = tape.constant(Tensor::dense([2], vec![0.0f64, 0.0])?);
/// assert_eq!(x.l2_loss_with(y, &Loss::sum()).item::<f64>()?, 10.0);
/// assert_eq!(x.l2_loss_with(y, &Loss::per_row()).value()?.values::<f64>()?, [2.0, 8.0]);
/// let w = tape.constant(Tensor::dense([2], vec![3.0f64, 1.0])?);
/// assert_eq!(x.l2_loss_with(y, &Loss::mean().sample_weights(w)).item::<f64>()?, 3.5);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Loss<W> {
    reduction: Reduction,
    sample_weights: Option<W>,
    pub(super) class_weights: Option<W>,
}

#[derive(Clone, Copy, Debug)]
enum Reduction {
    Mean,
    Sum,
    PerRow,
}

impl<W> Loss<W> {
    fn new(reduction: Reduction) -> Self {
        Loss { reduction, sample_weights: None, class_weights: None }
    }

    /// The mean, a 0-d value; weighted, if there are weights.
    ///
    /// ```
    /// use sparsetape::{Loss, Tensor};
    /// let (x, y) = (Tensor::dense([2], vec![2.0f64, 4.0])?, Tensor::full([2], 0.0f64)?);
    /// assert_eq!(x.l2_loss_with(&y, &Loss::mean())?.item::<f64>()?, 5.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn mean() -> Self {
        Self::new(Reduction::Mean)
    }

    /// The (weighted) sum, a 0-d value.
    ///
    /// ```
    /// use sparsetape::{Loss, Tensor};
    /// let (x, y) = (Tensor::dense([2], vec![2.0f64, 4.0])?, Tensor::full([2], 0.0f64)?);
    /// assert_eq!(x.l2_loss_with(&y, &Loss::sum())?.item::<f64>()?, 10.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn sum() -> Self {
        Self::new(Reduction::Sum)
    }

    /// One (weighted) loss per row; for element-wise losses one per element.
    ///
    /// ```
    /// use sparsetape::{Loss, Tensor};
    /// let (x, y) = (Tensor::dense([2], vec![2.0f64, 4.0])?, Tensor::full([2], 0.0f64)?);
    /// assert_eq!(x.l2_loss_with(&y, &Loss::per_row())?.values::<f64>()?, [2.0, 8.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn per_row() -> Self {
        Self::new(Reduction::PerRow)
    }

    /// Weights of samples: one per row (n,), or one for each loss.
    ///
    /// ```
    /// use sparsetape::{Loss, Tensor};
    /// let (x, y) = (Tensor::dense([2], vec![2.0f64, 4.0])?, Tensor::full([2], 0.0f64)?);
    /// let w = Tensor::dense([2], vec![1.0f64, 0.0])?;
    /// assert_eq!(x.l2_loss_with(&y, &Loss::mean().sample_weights(w))?.item::<f64>()?, 2.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn sample_weights(self, weights: W) -> Self {
        Loss { sample_weights: Some(weights), ..self }
    }

    /// Weights of classes.
    ///
    /// ```
    /// use sparsetape::{Loss, Tensor};
    /// let (z, y) = (Tensor::full([2], 0.0f64)?, Tensor::dense([2], vec![-1.0, 1.0])?);
    /// let loss = Loss::sum().class_weights(Tensor::dense([2], vec![1.0f64, 5.0])?);
    /// assert_eq!(z.hinge_with(&y, &loss)?.item::<f64>()?, 6.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn class_weights(self, weights: W) -> Self {
        Loss { class_weights: Some(weights), ..self }
    }
}

impl<W> Default for Loss<W> {
    fn default() -> Self {
        Loss::mean()
    }
}

impl Loss<Tensor> {
    /// With the weights as constants on the tape of `x`.
    pub(super) fn on_tape_of<'t>(&self, x: Var<'t>) -> Loss<Var<'t>> {
        let constant = |w: &Tensor| x.tape().constant(w.clone());
        Loss {
            reduction: self.reduction,
            sample_weights: self.sample_weights.as_ref().map(constant),
            class_weights: self.class_weights.as_ref().map(constant),
        }
    }
}

impl<'t> Loss<Var<'t>> {
    /// Reduces losses that have their classes' weights in them already.
    pub(super) fn reduce(&self, losses: Var<'t>, of_class: Option<Var<'t>>) -> Var<'t> {
        let (mut losses, mut of_sample) = (losses, None);
        if let Some(w) = self.sample_weights {
            let w = for_each_loss(w, losses);
            (losses, of_sample) = (times(losses, w), Some(w));
        }
        match (self.reduction, of_class, of_sample) {
            (Reduction::PerRow, ..) => losses,
            (Reduction::Sum, ..) => losses.sum(),
            (Reduction::Mean, None, None) => losses.mean(),
            (Reduction::Mean, Some(c), Some(s)) => losses.sum() / (c * s).sum(),
            (Reduction::Mean, Some(w), None) | (Reduction::Mean, None, Some(w)) => {
                losses.sum() / w.sum()
            }
        }
    }
}

/// A weight per row, or per loss, in the shape of the losses.
fn for_each_loss<'t>(weights: Var<'t>, losses: Var<'t>) -> Var<'t> {
    let [given, each] = match ranked([weights, losses]) {
        Ok(types) => types,
        Err(poisoned) => return poisoned,
    };
    let refused =
        |kind, message| weights.poisoned(Error::new(kind, message).operands([&each, &given]));
    if given.dtypes.and(each.dtypes).is_empty() {
        let (wanted, got) = (each.dtypes, given.dtypes);
        let message = format!("sample weights are {wanted}, as losses are; got {got}");
        return refused(ErrorKind::DType, message);
    }
    let (own, all) = (&given.shape, &each.shape);
    match (own.rank(), all.rank()) {
        (n, m) if n == m && agree(own, all) => weights,
        (Some(2), Some(1)) if one_each(own, all) => weights.without_column(),
        (Some(1), Some(axes @ 2..)) if one_each(own, all) => {
            let mut sizes = vec![1; axes];
            sizes[0] = -1;
            let rows = Var::apply(CheckWeights(Weigh::Rows), &[weights, losses]);
            rows.reshape(&sizes).broadcast_like(losses)
        }
        (_, axes) => {
            let each =
                if axes > Some(1) { format!(", or {all}, one for each") } else { String::new() };
            let rows = size(all, 0);
            let message =
                format!("sample weights have shape ({rows},), one per row{each}; got {own}");
            refused(ErrorKind::Shape, message)
        }
    }
}
