//! The trainer's plain parts, for loops of one's own.

use std::path::Path;

use super::metrics::Metric;
use super::progress::Progress;
use super::runner::{Eager, Frozen, Pass, Runner};
use super::score::Shown;
use super::{Checkpoint, Checkpoints, History, Model};
use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Graph;
use crate::optim::{Optimizer, Schedule};
use crate::tape::{Fallback, GradReq, Gradients, Params, name_matches};
use crate::tensor::Tensor;

/// A model, its parameters and an optimizer, trained, scored and asked for predictions batch by batch. (MXNet: `Module`.)
///
/// The model is a [`Model`] that records itself on a tape, or a [`Graph`], composed of symbols or frozen.
/// [`Trainer::fit`] is the loop with everything around it; [`forward`](Trainer::forward),
/// [`backward`](Trainer::backward), [`update`](Trainer::update) and [`update_metric`](Trainer::update_metric) are what it is made
/// of, for a loop of one's own.
///
/// ```
/// use sparsetape::data::Libsvm;
/// use sparsetape::optim::Sgd;
/// use sparsetape::train::{Trainer, metrics::{LogLoss, Metric}};
/// use sparsetape::{Graph, Init, Stype, Tape, variable};
///
/// let data = Libsvm::new().read_from("1 1:1\n0 2:1\n1 1:2\n0 2:3\n".as_bytes())?;
/// let tape = Tape::symbolic();
/// let x = tape.symbol(variable("data").stype(Stype::Csr));
/// let label = tape.symbol(variable("label").shape([None, Some(1)]));
/// let weight = tape.symbol(variable("weight").shape([2, 1]).init(Init::Constant(0.0)));
/// let graph = Graph::new(&[x.dot(weight).logistic_regression_output(label, 1.0)])?;
///
/// let params = graph.init_params(42, &[])?;
/// let mut trainer = Trainer::from_graph(&graph, params, Sgd::new(0.5))?;
/// let batches = data.batches(2).build()?;
/// let mut loss = LogLoss::new();
/// for epoch in 0..3 {
///     loss.reset();
///     for batch in batches.epoch(epoch) {
///         trainer.forward(&batch, true)?;
///         trainer.update_metric(&mut loss, &batch)?;
///         trainer.backward()?;
///         trainer.update()?;
///     }
/// }
/// assert!(loss.value() < 0.5);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Outputs of MXNet
///
/// The gradients of [`softmax_output`](crate::Var::softmax_output) and the like are sums over the batch. With them the trainer
/// sets the optimizer's gradient rescaling to 1 / rows, unless [`rescale_grad`](crate::optim::Sgd::rescale_grad) set it, as
/// MXNet's `Module` does; a loss that is a mean is not rescaled.
#[doc(alias = "Module")]
pub struct Trainer<'a> {
    pub(super) runner: Box<dyn Runner + 'a>,
    pub(super) optimizer: Box<dyn Optimizer + 'a>,
    pub(super) params: Params,
    pub(super) run: Checkpoint,
    pub(super) history: History,
    pub(super) progress: Progress,
    gradients: Gradients,
    /// Rows that the gradients are sums over, if they are sums.
    summed: usize,
    has_gradients: bool,
    /// Batch and step of the run at the last update: where it goes on if gradients are dropped.
    updated: (usize, u64),
    /// Whether the run goes on from a checkpoint, and has not yet.
    pub(super) resumed: bool,
}

impl<'a> Trainer<'a> {
    /// A trainer of a model that records itself. The parameters are those that the optimizer moves, and that
    /// checkpoints hold.
    pub fn new(model: &'a dyn Model, params: Params, optimizer: impl Optimizer + 'a) -> Self {
        Trainer::with(Box::new(Eager::new(model)), params, optimizer)
    }

    /// A trainer of a graph. Its variables are bound to the parameters of their names; all others are fed from
    /// the [input](Batch::input) of their name of each batch: the features are `data` or `features`, the labels `label` or
    /// anything that ends in `_label`. [`Trainer::feed`] says otherwise.
    ///
    /// Outputs of MXNet, and numbers (results without axes), are the losses; the other outputs are predictions. Labels
    /// `(rows,)` serve a variable of two axes as `(rows, 1)`.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a graph without a loss, or a parameter that is none of its variables.
    #[track_caller]
    pub fn from_graph(
        graph: &Graph,
        params: Params,
        optimizer: impl Optimizer + 'a,
    ) -> Result<Self> {
        let runner = Frozen::new(graph, &params)?;
        Ok(Trainer::with(Box::new(runner), params, optimizer))
    }

    fn with(runner: Box<dyn Runner + 'a>, params: Params, optimizer: impl Optimizer + 'a) -> Self {
        Trainer {
            runner,
            params,
            optimizer: Box::new(optimizer),
            run: Checkpoint::default(),
            history: History::default(),
            progress: Progress::new(),
            gradients: Gradients::default(),
            summed: 0,
            has_gradients: false,
            updated: (0, 0),
            resumed: false,
        }
    }

    /// Feeds a variable of the graph from another input than that of its name.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a name that is not that of a variable to feed, and for a model that is no graph.
    #[track_caller]
    pub fn feed(&mut self, variable: &str, input: &str) -> Result<()> {
        self.runner.feed_from(variable, input)
    }

    /// What happens where an operand must be made dense; a warning, unless set.
    pub fn set_fallback(&mut self, policy: Fallback) {
        self.runner.set_fallback(policy);
    }

    /// The seed by which random operators draw in training; 0 unless set.
    pub fn set_seed(&mut self, seed: u64) {
        self.run.seed = seed;
    }

    /// How [`fit`](Trainer::fit), [`score`](Trainer::score) and [`predict`](Trainer::predict) show how far they are: a bar or
    /// lines on stderr, unless set.
    pub fn set_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &dyn Optimizer {
        &*self.optimizer
    }

    /// Sets the learning rate, or its schedule, of the steps to come.
    ///
    /// # Errors
    /// As [`Optimizer::set_learning_rate`].
    #[track_caller]
    pub fn set_learning_rate(&mut self, lr: impl Into<Schedule>) -> Result<()> {
        self.optimizer.set_learning_rate(lr.into())
    }

    /// Where the run is: epochs and batches trained.
    pub fn run(&self) -> &Checkpoint {
        &self.run
    }

    /// What [`fit`](Trainer::fit) has measured so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Parameters whose name matches the pattern are not trained: their [`GradReq`] becomes `Null`. In the pattern
    /// `*` stands for any characters, `?` for one. How many they are. (MXNet: `fixed_param_names`.)
    ///
    /// # Errors
    /// [`ErrorKind::State`] if there is none, listing the names.
    #[track_caller]
    pub fn freeze(&mut self, pattern: &str) -> Result<usize> {
        let matching = self.params.iter().filter(|p| name_matches(pattern, p.name()));
        let count = matching.map(|p| p.set_grad_req(GradReq::Null)).count();
        if count == 0 {
            let names: Vec<&str> = self.params.iter().map(|p| p.name()).collect();
            let message = format!("no parameter matches {pattern:?}, only {}", names.join(", "));
            return Err(Error::new(ErrorKind::State, message).operator("freeze"));
        }
        Ok(count)
    }

    /// Runs the model forward on a batch: for training, which is loss and outputs, or the outputs alone.
    ///
    /// # Errors
    /// What recording or running the model finds, at the user's line; [`ErrorKind::State`] for a variable that the
    /// batch has no input for.
    #[track_caller]
    pub fn forward(&mut self, batch: &Batch, is_train: bool) -> Result<()> {
        self.runner.forward(batch, if is_train { self.training_pass(true) } else { Pass::Predict })
    }

    pub(super) fn training_pass(&self, outputs: bool) -> Pass {
        Pass::Train { seed: self.run.seed, step: self.run.step, outputs }
    }

    /// The loss of the last forward pass for training; `None` where an output of MXNet stands for it.
    ///
    /// # Errors
    /// [`ErrorKind::State`] before a forward pass.
    #[track_caller]
    pub fn loss(&self) -> Result<Option<f64>> {
        self.runner.loss()
    }

    /// What the last forward pass predicted, padded rows too; of most models one tensor, `(rows, ..)`.
    ///
    /// # Errors
    /// [`ErrorKind::State`] before a forward pass.
    #[doc(alias = "get_outputs")]
    #[track_caller]
    pub fn outputs(&self) -> Result<Vec<Tensor>> {
        self.runner.outputs()
    }

    /// Runs the model backward, after a forward pass for training. Gradients add up until the next
    /// [`update`](Trainer::update): a batch may go through in parts.
    ///
    /// # Errors
    /// [`ErrorKind::State`] without a forward pass for training; what the backward pass finds, and the run is
    /// back at the last update then.
    #[track_caller]
    pub fn backward(&mut self) -> Result<()> {
        let rows = self.runner.summed_rows();
        if let Err(error) = self.runner.backward(&mut self.gradients) {
            self.rewind()?;
            return Err(error);
        }
        self.summed += rows;
        self.has_gradients = true;
        self.run.step += 1;
        Ok(())
    }

    /// Moves the parameters by the gradients of the backward passes since the last update.
    ///
    /// # Errors
    /// [`ErrorKind::State`] without gradients; as [`Optimizer::step`], and the gradients stay then.
    #[track_caller]
    pub fn update(&mut self) -> Result<()> {
        if !self.has_gradients {
            let message = "there was no backward pass since the last update";
            return Err(Error::new(ErrorKind::State, message).operator("update"));
        }
        let factor = if self.summed > 0 { 1.0 / self.summed as f64 } else { 1.0 };
        if !self.optimizer.default_rescale_grad(factor) && factor != 1.0 {
            self.gradients.scale(factor)?;
            // Once, if the optimizer refuses and is asked again.
            self.summed = 0;
        }
        let stepped = self.optimizer.step(&self.params, &self.gradients);
        // An optimizer that is lent is as it was.
        self.optimizer.default_rescale_grad(1.0);
        stepped?;
        self.settle()
    }

    /// This is where the run goes on, without gradients.
    fn settle(&mut self) -> Result<()> {
        self.updated = (self.run.batch, self.run.step);
        self.rewind()
    }

    /// Drops gradients that no update has used; their batches are still to be trained.
    pub(super) fn rewind(&mut self) -> Result<()> {
        (self.run.batch, self.run.step) = self.updated;
        (self.summed, self.has_gradients) = (0, false);
        self.runner.restart(&mut self.gradients)
    }

    /// The epoch is over.
    pub(super) fn next_epoch(&mut self) {
        self.run.next_epoch();
        self.updated.0 = 0;
    }

    /// Whether there are gradients that no update has used.
    pub(super) fn has_gradients(&self) -> bool {
        self.has_gradients
    }

    /// Adds the rows of a batch to a metric, with the first output of the last forward pass; padded rows do not count.
    /// An [input](crate::data::Dataset::with_input) named `weight` weighs the rows.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a model without outputs; as [`Metric::update`].
    #[track_caller]
    pub fn update_metric(&self, metric: &mut dyn Metric, batch: &Batch) -> Result<()> {
        metric.update(&Shown::new(&*self.runner, batch)?.scored())
    }

    /// The graph of what the model predicts, for batches of any size, to be saved with the parameters and deployed. That
    /// of a [`Model`] is recorded by [`Model::output`] on a [symbolic](crate::Tape::symbolic) tape: with
    /// variables in place of what [`Batch::var`] gives, of the storage types of this batch; what else the model puts on the tape
    /// stays as it is.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use sparsetape::data::Dataset;
    /// use sparsetape::optim::Sgd;
    /// use sparsetape::train::{Trainer, supervised};
    /// use sparsetape::{Model, Parameter, Params, Tensor};
    /// let w = Parameter::new("w", Tensor::full([100, 1], 0.5f32)?)?;
    /// let logits = supervised(
    ///     |tape, batch| batch.var(tape, "data").dot(tape.parameter(&w)),
    ///     |logits, label| logits.sigmoid_binary_cross_entropy(label),
    ///     |logits| logits.sigmoid(),
    /// );
    /// let trainer = Trainer::new(&logits, Params::new([&w])?, Sgd::new(0.1));
    /// let data = Dataset::from_features(Tensor::from_rows(100, &[[(3, 1.0f32)], [(70, 2.0)]])?)?;
    /// let batch = data.batches(2).build()?.epoch(0).next().unwrap();
    ///
    /// let path = std::env::temp_dir().join("sparsetape-doc-prediction.safetensors");
    /// trainer.prediction_graph(&batch)?.save(&path, trainer.params(), &BTreeMap::new())?;
    /// let model = Model::load(&path)?;
    /// let mut executor = model.graph.bind(model.bind().shape("data", [1, 100]))?;
    /// executor.run_csr("data", &[0, 1], &[7], &[0.0f32])?;
    /// assert_eq!(executor.output(0)?.item::<f32>()?, 0.5);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a model without outputs, or whose output reads no input by [`Batch::var`]; as
    /// [`Graph::new`].
    #[track_caller]
    pub fn prediction_graph(&self, batch: &Batch) -> Result<Graph> {
        self.runner.prediction_graph(batch)
    }

    /// Writes parameters, optimizer, where the run is, and its history: see [`Checkpoint::save`]. Gradients that no
    /// update has used are left out: a run that goes on from there trains their batches again.
    ///
    /// # Errors
    /// As [`Checkpoint::save`].
    #[track_caller]
    pub fn save_checkpoint(&self, path: impl AsRef<Path>) -> Result<()> {
        self.checkpoint().save(path, &self.params, &*self.optimizer)
    }

    /// Where the run is, with its history.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let mut run = self.run.clone();
        (run.batch, run.step) = self.updated;
        let history = serde_json::to_string(&self.history).expect("names and numbers");
        run.notes.insert(HISTORY.to_owned(), history);
        run
    }

    /// Goes on from a checkpoint, bit for bit.
    ///
    /// # Errors
    /// As [`Checkpoint::resume`].
    #[doc(alias = "load_checkpoint")]
    #[track_caller]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let run = Checkpoint::resume(path, &self.params, &mut *self.optimizer)?;
        self.go_on(run)
    }

    /// Goes on from the newest checkpoint of a directory; whether there is one.
    ///
    /// # Errors
    /// As [`Checkpoints::resume`].
    #[track_caller]
    pub fn resume_latest(&mut self, checkpoints: &mut Checkpoints) -> Result<bool> {
        let Some(run) = checkpoints.resume(&self.params, &mut *self.optimizer)? else {
            return Ok(false);
        };
        self.go_on(run)?;
        Ok(true)
    }

    fn go_on(&mut self, mut run: Checkpoint) -> Result<()> {
        self.history = match run.notes.remove(HISTORY) {
            Some(text) => serde_json::from_str(&text).map_err(|e| {
                let message = "the history in the checkpoint is damaged";
                Error::new(ErrorKind::Parse, message).nowhere().caused_by(e)
            })?,
            None => History::default(),
        };
        (self.run, self.resumed) = (run, true);
        self.settle()
    }
}

/// The note of a checkpoint that holds the history.
const HISTORY: &str = "history";

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("params", &self.params)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}
