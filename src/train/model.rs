//! Models that record themselves on a tape.

use crate::data::Batch;
use crate::tape::{Tape, Var};

/// A model that a [`Trainer`](super::Trainer) trains: it records its loss for a batch on a tape, eagerly, anew for each
/// batch, so that Rust decides what is computed.
///
/// A struct holds handles of its parameters and implements this; [`loss_fn`] makes a model of a closure that
/// records a loss.
///
/// ```
/// use sparsetape::data::Batch;
/// use sparsetape::train::Model;
/// use sparsetape::{Parameter, Result, Tape, Tensor, Var};
///
/// struct Logistic {
///     weight: Parameter,
/// }
///
/// impl Logistic {
///     fn logits<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
///         batch.var(tape, "data").dot(tape.parameter(&self.weight)).reshape(&[-1])
///     }
/// }
///
/// impl Model for Logistic {
///     fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
///         self.loss_and_output(tape, batch).0
///     }
///
///     fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
///         Some(self.logits(tape, batch).sigmoid())
///     }
///
///     // Loss and output share the logits.
///     fn loss_and_output<'t>(&self, tape: &'t Tape, batch: &Batch) -> (Var<'t>, Option<Var<'t>>) {
///         let logits = self.logits(tape, batch);
///         let loss = logits.sigmoid_binary_cross_entropy(batch.var(tape, "label"));
///         (loss, Some(logits.sigmoid()))
///     }
/// }
/// # Ok::<(), sparsetape::Error>(())
/// ```
pub trait Model {
    /// The loss of a batch: a single number, best a mean over the rows; or an output of MXNet
    /// ([`Var::softmax_output`](crate::Var::softmax_output) and the like), which starts the backward pass itself.
    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t>;

    /// What is predicted for the rows of a batch, which metrics and predictions read; the labels are not to be
    /// looked at. `None`, unless implemented: a model that is only trained.
    fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
        let _ = (tape, batch);
        None
    }

    /// Both, as training with metrics and scoring want them. Unless implemented they are recorded one after the
    /// other, and what they have in common is computed twice. The loss, where it is an output of MXNet, is the output
    /// of a model that gives no other.
    fn loss_and_output<'t>(&self, tape: &'t Tape, batch: &Batch) -> (Var<'t>, Option<Var<'t>>) {
        (self.loss(tape, batch), self.output(tape, batch))
    }
}

impl<F> Model for F
where
    F: for<'t> Fn(&'t Tape, &Batch) -> Var<'t>,
{
    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        self(tape, batch)
    }
}

/// The closure, as a [`Model`] that has a loss only; without this, the compiler does not see that it is one for tapes of any
/// lifetime.
///
/// ```
/// use sparsetape::data::Dataset;
/// use sparsetape::optim::Sgd;
/// use sparsetape::train::{Fit, Progress, Trainer, loss_fn};
/// use sparsetape::{Parameter, Params, Tensor};
/// let w = Parameter::new("w", Tensor::full([1], 0.0f32)?)?;
/// let squares = loss_fn(|tape, batch| {
///     (tape.parameter(&w) - batch.var(tape, "label")).square().mean()
/// });
/// let data = Dataset::from_labels(Tensor::dense([2], vec![1.0f32, 3.0])?)?;
/// let mut trainer = Trainer::new(&squares, Params::new([&w])?, Sgd::new(0.25));
/// trainer.set_progress(Progress::hidden());
/// trainer.fit(&data.batches(2).build()?, Fit::epochs(50))?;
/// assert_eq!(w.snapshot()?.values::<f32>()?, [2.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
pub fn loss_fn<F>(loss: F) -> F
where
    F: for<'t> Fn(&'t Tape, &Batch) -> Var<'t>,
{
    loss
}
