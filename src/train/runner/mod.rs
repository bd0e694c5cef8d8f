//! How a model runs on a batch: recorded eagerly, or as a graph.

mod eager;
mod frozen;

pub(super) use eager::Eager;
pub(super) use frozen::Frozen;

use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Graph;
use crate::tape::{Fallback, Gradients, OpRef};
use crate::tensor::{Slice, Tensor};

/// What a forward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The loss, and outputs if they are wanted, with a backward pass to come; random operators draw by these
    /// numbers.
    Train { seed: u64, step: u64, outputs: bool },
    /// Loss and outputs.
    Score,
    /// Outputs, without labels.
    Predict,
}

/// A model with memory to run in. Errors are at the line of who calls the trainer, unless they have
/// one of the model.
pub(super) trait Runner {
    #[track_caller]
    fn forward(&mut self, batch: &Batch, pass: Pass) -> Result<()>;

    /// The loss of the last forward pass, unless the model has outputs of MXNet in place of one.
    #[track_caller]
    fn loss(&self) -> Result<Option<f64>>;

    /// What the last forward pass predicted; the first is the one for metrics.
    #[track_caller]
    fn outputs(&self) -> Result<Vec<Tensor>>;

    /// How many rows the gradient of the last forward pass is a sum over, where it ended in an output of MXNet;
    /// else 0.
    fn summed_rows(&self) -> usize;

    /// Adds the gradients of the last training pass; to none if there is nothing in them yet.
    #[track_caller]
    fn backward(&mut self, gradients: &mut Gradients) -> Result<()>;

    /// The gradients are used up.
    fn restart(&mut self, gradients: &mut Gradients) -> Result<()>;

    /// The graph of what is predicted, for batches like this one of any size.
    #[track_caller]
    fn prediction_graph(&self, batch: &Batch) -> Result<Graph>;

    /// Feeds a variable from another input than that of its name.
    #[track_caller]
    fn feed_from(&mut self, variable: &str, input: &str) -> Result<()>;

    fn set_fallback(&mut self, policy: Fallback);

    /// The first operator that gives NaN or infinity for this batch, as an error at its line.
    fn find_non_finite(&mut self, batch: &Batch, pass: Pass) -> Option<Error>;
}

/// What starts a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    /// A loss: a single number, or losses that are summed.
    Loss,
    /// An output of MXNet: what is predicted, with the gradient of a loss.
    Output,
}

impl Head {
    /// What an operator that ignores its head cotangent gives.
    fn of(op: &OpRef) -> Option<Head> {
        op.ignores_head().then(|| match op.name() {
            "make_loss" => Head::Loss,
            _ => Head::Output,
        })
    }
}

/// The mean of a loss, which mostly is a single number.
fn mean(loss: &Tensor) -> f64 {
    let sum = match loss.view().values() {
        Slice::F32(values) => values.iter().map(|&x| f64::from(x)).sum(),
        Slice::F64(values) => values.iter().sum::<f64>(),
        Slice::I64(values) => values.iter().map(|&x| x as f64).sum(),
    };
    sum / loss.shape().size() as f64
}

#[track_caller]
pub(super) fn no_output() -> Error {
    let message =
        "the model has no output: a `Model` gives one by `output`, a graph has one that is no loss";
    Error::new(ErrorKind::State, message).operator("trainer")
}

#[track_caller]
fn no_forward_pass() -> Error {
    let message = "there is no forward pass in training to go back through";
    Error::new(ErrorKind::State, message).operator("backward")
}

/// Whether all values are numbers.
pub(super) fn is_finite(tensor: &Tensor) -> bool {
    match tensor.view().values() {
        Slice::F32(values) => values.iter().all(|x| x.is_finite()),
        Slice::F64(values) => values.iter().all(|x| x.is_finite()),
        Slice::I64(_) => true,
    }
}
