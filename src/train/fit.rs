//! The loop: epochs, metrics, evaluation, callbacks, checkpoints.

use super::early_stopping::EarlyStopping;
use super::metrics::Metric;
use super::moment::Moment;
use super::score::{Tally, update_metrics};
use super::trainer::Trainer;
use super::{Checkpoints, History, Record};
use crate::data::{Batch, BatchSource};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{GradReq, Params};

/// What [`Trainer::fit`] does beside training.
///
/// ```
/// use sparsetape::data::Libsvm;
/// use sparsetape::optim::Sgd;
/// use sparsetape::train::{EarlyStopping, Fit, Progress, Trainer, metrics::Mse};
/// use sparsetape::{Graph, Init, Stype, Tape, variable};
///
/// let tape = Tape::symbolic();
/// let x = tape.symbol(variable("data").stype(Stype::Csr));
/// let label = tape.symbol(variable("label").shape([None, Some(1)]));
/// let weight = tape.symbol(variable("weight").shape([2, 1]).init(Init::Constant(0.0)));
/// let graph = Graph::new(&[x.dot(weight).linear_regression_output(label, 1.0)])?;
///
/// let train = Libsvm::new().read_from("1 1:1\n2 2:1\n3 1:1 2:1\n".as_bytes())?.batches(1).build()?;
/// let mut trainer = Trainer::from_graph(&graph, graph.init_params(42, &[])?, Sgd::new(0.2))?;
/// trainer.set_progress(Progress::hidden());
/// let mut rates = Vec::new();
/// let fit = Fit::epochs(40)
///     .metric(Mse::new())
///     .evaluate("test", &train)
///     .early_stopping(EarlyStopping::new("test", "mse").patience(5))
///     .on_epoch(|moment| {
///         rates.push(moment.learning_rate());
///         if moment.value("test", "mse").is_some_and(|mse| mse < 1e-3) {
///             moment.stop();
///         }
///         moment.set_learning_rate(0.1)
///     });
/// let history = trainer.fit(&train, fit)?;
/// assert!(history.last("test", "mse").unwrap() < 1e-3);
/// assert_eq!(rates[..2], [Some(0.2), Some(0.1)]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[must_use = "it is given to `Trainer::fit`"]
pub struct Fit<'f> {
    epochs: u64,
    accumulate: usize,
    metrics: Vec<Box<dyn Metric + 'f>>,
    evaluation: Vec<(String, &'f dyn BatchSource)>,
    early_stopping: Option<EarlyStopping>,
    checkpoints: Option<&'f mut Checkpoints>,
    on_batch: Vec<Callback<'f>>,
    on_epoch: Vec<Callback<'f>>,
}

type Callback<'f> = Box<dyn FnMut(&mut Moment<'_, '_>) -> Result<()> + 'f>;

impl<'f> Fit<'f> {
    /// Trains until the run has this many epochs, those before a [resume](Trainer::resume) and those of earlier
    /// calls included. (MXNet: `num_epoch`.)
    pub fn epochs(epochs: u64) -> Self {
        Fit {
            epochs,
            accumulate: 1,
            metrics: Vec::new(),
            evaluation: Vec::new(),
            early_stopping: None,
            checkpoints: None,
            on_batch: Vec::new(),
            on_epoch: Vec::new(),
        }
    }

    /// Measures this, too: in training by what was predicted before each update (as MXNet does), and on the evaluation
    /// sets.
    pub fn metric(mut self, metric: impl Metric + 'f) -> Self {
        self.metrics.push(Box::new(metric));
        self
    }

    /// Scores this after each epoch, as a split of this name.
    pub fn evaluate(mut self, split: impl Into<String>, data: &'f dyn BatchSource) -> Self {
        self.evaluation.push((split.into(), data));
        self
    }

    /// Moves the parameters after every `batches` batches, by the sum of their gradients (of outputs of MXNet: by
    /// the mean over all their rows); at the end of an epoch after those that are left. Memory follows the single batch.
    pub fn accumulate(mut self, batches: usize) -> Self {
        self.accumulate = batches;
        self
    }

    /// Ends the run when it does not get better.
    pub fn early_stopping(mut self, early_stopping: EarlyStopping) -> Self {
        self.early_stopping = Some(early_stopping);
        self
    }

    /// Saves checkpoints at the interval of this directory, after callbacks, and one at the end;
    /// [`Trainer::resume_latest`] goes on from there. Parameters that are not finite are never saved: the last good
    /// checkpoint stays.
    pub fn checkpoints(mut self, checkpoints: &'f mut Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Calls `f` after each batch.
    #[doc(alias = "batch_end_callback")]
    pub fn on_batch(mut self, f: impl FnMut(&mut Moment<'_, '_>) -> Result<()> + 'f) -> Self {
        self.on_batch.push(Box::new(f));
        self
    }

    /// Calls `f` after each epoch, when the evaluation sets are scored.
    #[doc(alias = "epoch_end_callback")]
    pub fn on_epoch(mut self, f: impl FnMut(&mut Moment<'_, '_>) -> Result<()> + 'f) -> Self {
        self.on_epoch.push(Box::new(f));
        self
    }

    /// Whether the run has stopped getting better.
    fn is_over(&self, history: &History) -> bool {
        self.early_stopping.as_ref().is_some_and(|own| own.is_over(history, &self.metrics))
    }

    #[track_caller]
    fn check(&self, params: &Params) -> Result<()> {
        if params.iter().all(|parameter| parameter.grad_req() == GradReq::Null) {
            return fault(
                "there is no parameter to train: the trainer has none, or all are frozen",
            );
        }
        if self.accumulate == 0 {
            return fault("gradients are accumulated over at least 1 batch, not 0");
        }
        let own = self.evaluation.iter().map(|(split, _)| &split[..]);
        let splits: Vec<&str> = ["train"].into_iter().chain(own).collect();
        if let Some(twice) = repeated(&splits) {
            return fault(&format!("there are two splits {twice:?}; training's own is \"train\""));
        }
        let metrics: Vec<String> = self.metrics.iter().map(|metric| metric.name()).collect();
        let names: Vec<&str> = ["loss"].into_iter().chain(metrics.iter().map(|m| &m[..])).collect();
        if let Some(twice) = repeated(&names) {
            return fault(&format!(
                "there are two metrics {twice:?}; that of the model is \"loss\""
            ));
        }
        match &self.early_stopping {
            Some(early_stopping) => early_stopping.check(&splits, &names),
            None => Ok(()),
        }
    }
}

#[track_caller]
fn fault(why: &str) -> Result<()> {
    Err(Error::new(ErrorKind::Value, why).operator("fit"))
}

/// The first name that was there before.
fn repeated<'n>(names: &[&'n str]) -> Option<&'n str> {
    (1..names.len()).find(|&i| names[..i].contains(&names[i])).map(|i| names[i])
}

impl std::fmt::Debug for Fit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let metrics: Vec<String> = self.metrics.iter().map(|metric| metric.name()).collect();
        f.debug_struct("Fit")
            .field("epochs", &self.epochs)
            .field("metrics", &metrics)
            .finish_non_exhaustive()
    }
}

impl Trainer<'_> {
    /// Trains: for each epoch all batches of the source, then the evaluation sets, early stopping and callbacks. What was
    /// measured of all epochs of the run comes back, and stays as [`Trainer::history`]. Training that was interrupted in
    /// the middle of an epoch is recorded in parts, each with its rows.
    ///
    /// A loss that is not finite (of an output of MXNet: a prediction) stops the run before anything moves. The error
    /// ([`ErrorKind::NonFinite`]) names the operator that gave it first, with your line, the batch, and the rows of the
    /// data at fault.
    ///
    /// # Errors
    /// Those of the source, of the model and the optimizer, of checkpoints and callbacks; [`ErrorKind::Value`] for settings that make
    /// no sense; [`ErrorKind::State`] for a source without batches. The trainer stays where the run was at the last
    /// update, and may go on from there.
    #[track_caller]
    pub fn fit(&mut self, data: &dyn BatchSource, mut fit: Fit<'_>) -> Result<&History> {
        fit.check(&self.params)?;
        self.rewind()?;
        let ran = self.run_epochs(data, &mut fit);
        self.progress.clear();
        if let Err(error) = ran {
            self.rewind()?;
            return Err(error);
        }
        // The checkpoint is of where the run is, not of its best epoch.
        if let Some(checkpoints) = fit.checkpoints {
            self.save_checked(checkpoints)?;
        }
        if let Some(early_stopping) = &fit.early_stopping {
            early_stopping.restore(&self.history, &fit.metrics, &self.params)?;
        }
        Ok(&self.history)
    }

    #[track_caller]
    fn run_epochs(&mut self, data: &dyn BatchSource, fit: &mut Fit<'_>) -> Result<()> {
        // A run that had stopped early does not begin again.
        let mut stopped = std::mem::take(&mut self.resumed) && fit.is_over(&self.history);
        while self.run.epoch < fit.epochs && !stopped {
            stopped = self.epoch(data, fit)?;
        }
        Ok(())
    }

    /// One epoch, or what is left of it; whether the run is to stop.
    #[track_caller]
    fn epoch(&mut self, data: &dyn BatchSource, fit: &mut Fit<'_>) -> Result<bool> {
        let (epoch, width) = (self.run.epoch, fit.epochs.to_string().len());
        let what = format!("epoch {:>width$}/{}", epoch + 1, fit.epochs);
        self.begin(&what, data);
        if self.train_epoch(data, fit)? {
            return Ok(true);
        }
        self.save_if_due(fit.checkpoints.as_deref_mut())?;
        // If this fails, it is what the run goes on with.
        for record in self.evaluate(&what, fit)? {
            self.history.push(record);
        }
        self.next_epoch();
        if let Some(early_stopping) = &fit.early_stopping {
            early_stopping.save_best(&self.history, &fit.metrics, &self.params)?;
        }
        let mut moment = Moment::new(self, epoch, None, &[]);
        for f in &mut fit.on_epoch {
            f(&mut moment)?;
        }
        let (stopped, over) = (moment.stopped(), fit.is_over(&self.history));
        if over {
            self.progress.print("stopped early: it does not get better");
        }
        Ok(stopped || over)
    }

    /// Scores the evaluation sets.
    #[track_caller]
    fn evaluate(&mut self, what: &str, fit: &mut Fit<'_>) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for (split, data) in &fit.evaluation {
            self.begin(what, *data);
            let record = self.score_as(split, *data, &mut fit.metrics)?;
            self.progress.finish(&record);
            records.push(record);
        }
        Ok(records)
    }

    /// Trains on the batches that are left of this epoch and records it; whether a callback stopped it.
    #[track_caller]
    fn train_epoch(&mut self, data: &dyn BatchSource, fit: &mut Fit<'_>) -> Result<bool> {
        let (mut tally, mut stopped, mut accumulated) = (Tally::begin(), false, 0);
        let (epoch, mut learning_rate) = (self.run.epoch, self.optimizer.learning_rate());
        fit.metrics.iter_mut().for_each(|metric| metric.reset());
        for batch in data.read(epoch, self.run.batch)? {
            // Not before the callbacks of the last batch: what they set is saved, too.
            if !self.has_gradients() {
                self.save_if_due(fit.checkpoints.as_deref_mut())?;
            }
            let batch = batch?;
            let loss = self.train_batch(&batch, &mut fit.metrics)?;
            accumulated += 1;
            self.run.batch += 1;
            self.progress.advance(tally.add(&batch, loss), loss);
            if accumulated % fit.accumulate == 0 {
                learning_rate = self.optimizer.learning_rate();
                self.update()?;
            }
            if !fit.on_batch.is_empty() {
                let mut moment = Moment::new(self, epoch, tally.loss(), &fit.metrics);
                for f in &mut fit.on_batch {
                    f(&mut moment)?;
                }
                stopped |= moment.stopped();
            }
            if stopped && !self.has_gradients() {
                break;
            }
        }
        if self.has_gradients() {
            learning_rate = self.optimizer.learning_rate();
            self.update()?;
        }
        match (accumulated, self.run.batch) {
            (0, 0) => {
                let message = format!("epoch {epoch}: the source has no batches");
                return Err(Error::new(ErrorKind::State, message).operator("fit"));
            }
            // A run that was resumed at the end of an epoch has its record.
            (0, _) => return Ok(false),
            _ => {}
        }
        let step = self.run.step;
        let record = Record { epoch, step, learning_rate, ..Record::new("train") };
        let metrics = fit.metrics.iter().map(|metric| (metric.name(), metric.value()));
        let record = tally.end(record, metrics);
        self.progress.finish(&record);
        self.history.push(record);
        Ok(stopped)
    }

    /// Forward and backward; the loss, if there is one.
    #[track_caller]
    fn train_batch(
        &mut self,
        batch: &Batch,
        metrics: &mut [Box<dyn Metric + '_>],
    ) -> Result<Option<f64>> {
        self.runner.forward(batch, self.training_pass(!metrics.is_empty()))?;
        let loss = self.runner.loss()?;
        self.check_finite(batch, loss)?;
        update_metrics(&*self.runner, metrics, batch)?;
        self.backward()?;
        Ok(loss)
    }

    #[track_caller]
    fn save_if_due(&mut self, checkpoints: Option<&mut Checkpoints>) -> Result<()> {
        let Some(checkpoints) = checkpoints else { return Ok(()) };
        if checkpoints.is_due(&self.run) { self.save_checked(checkpoints) } else { Ok(()) }
    }

    /// Saves a checkpoint of parameters that are finite.
    #[track_caller]
    fn save_checked(&mut self, checkpoints: &mut Checkpoints) -> Result<()> {
        self.check_parameters()?;
        checkpoints.save(&self.checkpoint(), &self.params, &*self.optimizer).map(drop)
    }
}
