//! What callbacks see and do.

use std::path::Path;

use super::metrics::Metric;
use super::{Record, Trainer};
use crate::error::Result;
use crate::optim::Schedule;
use crate::tape::Params;

/// Where a run is when a callback of [`Fit`](super::Fit) is called, and what the callback may do: see, stop, save, change
/// the learning rate.
pub struct Moment<'m, 'a> {
    trainer: &'m mut Trainer<'a>,
    epoch: u64,
    loss: Option<f64>,
    metrics: &'m [Box<dyn Metric + 'm>],
    stopped: bool,
}

impl<'m, 'a> Moment<'m, 'a> {
    pub(super) fn new(
        trainer: &'m mut Trainer<'a>,
        epoch: u64,
        loss: Option<f64>,
        metrics: &'m [Box<dyn Metric + 'm>],
    ) -> Self {
        Moment { trainer, epoch, loss, metrics, stopped: false }
    }

    /// The epoch, from 0: the one that is being trained, or just was.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many batches of the epoch were trained; 0 after the epoch.
    pub fn batch(&self) -> usize {
        self.trainer.run.batch
    }

    /// How many batches were trained in the whole run.
    pub fn step(&self) -> u64 {
        self.trainer.run.step
    }

    /// After a batch: the mean loss over the rows of the epoch so far, if the model has a loss.
    pub fn loss(&self) -> Option<f64> {
        self.loss
    }

    /// After a batch: the metrics over the rows of the epoch so far, by name.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        self.metrics.iter().map(|metric| (metric.name(), metric.value())).collect()
    }

    /// What was measured of the whole run, an epoch's records of each split among it once the epoch is over.
    pub fn records(&self) -> &[Record] {
        self.trainer.history.records()
    }

    /// The last value of this name that was recorded of a split.
    pub fn value(&self, split: &str, name: &str) -> Option<f64> {
        self.trainer.history.last(split, name)
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        self.trainer.params()
    }

    /// The learning rate of the next step, if the optimizer says.
    pub fn learning_rate(&self) -> Option<f64> {
        self.trainer.optimizer.learning_rate()
    }

    /// Sets the learning rate, or its schedule, of the steps to come.
    ///
    /// # Errors
    /// As [`Optimizer::set_learning_rate`](crate::optim::Optimizer::set_learning_rate).
    #[track_caller]
    pub fn set_learning_rate(&mut self, lr: impl Into<Schedule>) -> Result<()> {
        self.trainer.set_learning_rate(lr)
    }

    /// Writes a checkpoint of the last update.
    ///
    /// # Errors
    /// As [`Trainer::save_checkpoint`].
    #[track_caller]
    pub fn save_checkpoint(&self, path: impl AsRef<Path>) -> Result<()> {
        self.trainer.save_checkpoint(path)
    }

    /// Ends the run here, in the middle of an epoch after a batch: what is left of it is not trained, and the evaluation sets
    /// are not scored. Where gradients are [accumulated](super::Fit::accumulate), the batches that share the next update
    /// come first.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }
}

impl std::fmt::Debug for Moment<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moment")
            .field("epoch", &self.epoch)
            .field("batch", &self.batch())
            .field("loss", &self.loss)
            .finish_non_exhaustive()
    }
}
