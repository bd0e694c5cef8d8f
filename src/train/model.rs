//! Models that record themselves on a tape.

use crate::data::Batch;
use crate::tape::{Tape, Var};

/// A model that a [`Trainer`](super::Trainer) trains: it records its loss for a batch on a tape, eagerly, anew for each
/// batch, so that Rust decides what is computed.
///
/// [`supervised`] makes one of closures, [`loss_fn`] of a single one that records a loss. A struct that holds handles of its
/// parameters implements it:
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
    /// The loss of a batch: a single number, the mean over the rows, as losses are unless told otherwise; or an output of MXNet
    /// ([`Var::softmax_output`](crate::Var::softmax_output) and the like), which starts the backward pass itself, and
    /// whose sum over the rows the trainer rescales. The trainer takes a number for a mean: what it records over
    /// batches weighs each by its rows.
    #[track_caller]
    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t>;

    /// What is predicted for the rows of a batch, which metrics and predictions read; the labels are not to be
    /// looked at. `None`, unless implemented: a model that is only trained.
    #[track_caller]
    fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
        let _ = (tape, batch);
        None
    }

    /// Both, as training with metrics and scoring want them. Unless implemented they are recorded one after the
    /// other, and what they have in common is computed twice. The loss, where it is an output of MXNet, is the output
    /// of a model that gives no other.
    #[track_caller]
    fn loss_and_output<'t>(&self, tape: &'t Tape, batch: &Batch) -> (Var<'t>, Option<Var<'t>>) {
        (self.loss(tape, batch), self.output(tape, batch))
    }
}

/// A model by its parts, as closures: what it computes for each row (logits, a value), the loss of that and the labels, and
/// what is predicted from it (the link: a sigmoid, a softmax, or the value itself).
/// Logistic regression, with a link, is the example of [`Trainer::prediction_graph`](super::Trainer::prediction_graph).
///
/// ```
/// use sparsetape::data::Dataset;
/// use sparsetape::optim::Sgd;
/// use sparsetape::train::{Fit, Progress, Trainer, metrics::Mse, supervised};
/// use sparsetape::{Parameter, Params, Tensor};
/// let w = Parameter::new("w", Tensor::full([2, 1], 0.0f32)?)?;
/// let model = supervised(
///     |tape, batch| batch.var(tape, "data").dot(tape.parameter(&w)),
///     |y, label| y.l2_loss(label.reshape_like(y)),
///     |y| y,
/// );
/// let x = Tensor::from_rows(2, &[[(0, 1.0f32)], [(1, 2.0)]])?;
/// let batches = Dataset::new(x, Tensor::dense([2], vec![3.0f32, -1.0])?)?.batches(2).build()?;
/// let mut trainer = Trainer::new(&model, Params::new([&w])?, Sgd::new(0.5));
/// trainer.set_progress(Progress::hidden());
/// let history = trainer.fit(&batches, Fit::epochs(60).metric(Mse::new()))?;
/// assert!(history.last("train", "mse").unwrap() < 1e-6);
/// # Ok::<(), sparsetape::Error>(())
/// ```
pub fn supervised<F, L, P>(forward: F, loss: L, link: P) -> impl Model
where
    F: for<'t> Fn(&'t Tape, &Batch) -> Var<'t>,
    L: for<'t> Fn(Var<'t>, Var<'t>) -> Var<'t>,
    P: for<'t> Fn(Var<'t>) -> Var<'t>,
{
    Supervised { forward, loss, link }
}

struct Supervised<F, L, P> {
    forward: F,
    loss: L,
    link: P,
}

impl<F, L, P> Model for Supervised<F, L, P>
where
    F: for<'t> Fn(&'t Tape, &Batch) -> Var<'t>,
    L: for<'t> Fn(Var<'t>, Var<'t>) -> Var<'t>,
    P: for<'t> Fn(Var<'t>) -> Var<'t>,
{
    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        (self.loss)((self.forward)(tape, batch), batch.var(tape, "label"))
    }

    fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
        Some((self.link)((self.forward)(tape, batch)))
    }

    fn loss_and_output<'t>(&self, tape: &'t Tape, batch: &Batch) -> (Var<'t>, Option<Var<'t>>) {
        let y = (self.forward)(tape, batch);
        ((self.loss)(y, batch.var(tape, "label")), Some((self.link)(y)))
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
