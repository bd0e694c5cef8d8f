//! Where a training run is, and the file that it goes on from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::saved::{Saved, Section};
use crate::error::Result;
use crate::optim::Optimizer;
use crate::tape::Params;

/// Where a training run is. [`Checkpoint::save`] writes it with everything else that the rest of the run depends on to one
/// file; [`Checkpoint::resume`] puts all of it back into the program's own parameters and optimizer. The resumed run
/// gives the same bits as one that was never interrupted. [`Checkpoints`](super::Checkpoints) is a directory of them.
///
/// A training loop keeps one, begins each epoch at [`batch`](Checkpoint::batch), and counts with
/// [`next_batch`](Checkpoint::next_batch) and [`next_epoch`](Checkpoint::next_epoch):
///
#[cfg_attr(feature = "data", doc = "```")]
#[cfg_attr(not(feature = "data"), doc = "```ignore")]
/// # let path = std::env::temp_dir().join(format!("sparsetape-doc-{}", std::process::id()));
/// use sparsetape::data::Libsvm;
/// use sparsetape::{Parameter, Params, Tape, Tensor, optim::Sgd, train::Checkpoint};
/// let data = Libsvm::new().features(3).read_from("1 1:1\n0 2:1\n1 3:1\n".as_bytes())?;
/// let w = Parameter::new("w", Tensor::full([3, 1], 0.0f32)?)?;
/// let (params, mut sgd) = (Params::new([&w])?, Sgd::new(0.1).momentum(0.9));
///
/// let mut run = Checkpoint { seed: 7, shuffle_seed: 42, ..Checkpoint::default() };
/// let batches = data.batches(1).shuffle(run.shuffle_seed).build()?;
/// while run.epoch < 4 {
///     for batch in batches.epoch(run.epoch).skip(run.batch) {
///         let tape = Tape::new();
///         tape.train(run.seed, run.step);
///         let logits = tape.constant(batch.features).dot(tape.parameter(&w).dropout(0.1));
///         let labels = tape.constant(batch.labels.reshape(&[1, 1])?);
///         let loss = logits.sigmoid_binary_cross_entropy(labels);
///         sgd.step(&params, &loss.backward()?)?;
///         run.next_batch();
///         if run.step == 5 {
///             run.save(&path, &params, &sgd)?; // in the middle of the second epoch
///         }
///     }
///     run.next_epoch();
/// }
///
/// // Another process, with parameters and an optimizer made as above, goes on from there.
/// let resumed = Checkpoint::resume(&path, &params, &mut sgd)?;
/// assert_eq!((resumed.epoch, resumed.batch, resumed.step, sgd.steps()), (1, 2, 5, 5));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # What is in the file
///
/// | | |
/// |---|---|
/// | parameters | stored rows and their ids *as they are*: in [exact mode](crate::optim::Update::Exact) rows that are behind stay behind, with the step that each is at and the history of steps; all states of the optimizer; frozen rows; change tracking; initializer and seed of [drawn](crate::Parameter::drawn) rows; count of updates, `grad_req`, gradient's storage type, multipliers |
/// | optimizer | its kind, all its settings, the count of steps, the schedule |
/// | data | epoch, batches done in it, seed of the shuffle |
/// | randomness | seed and step of [`Tape::train`](crate::Tape::train) and [`Executor::set_seed`](crate::Executor::set_seed) |
/// | notes | whatever the program wants to find again |
///
/// Saving reads and changes nothing: the run goes on with the same bits, saved or not. Tables are
/// written from where they are, without a copy. Resuming takes the file's content in memory beside the
/// program's own tables, which it then replaces.
///
/// What was saved wins over what the program has set: learning rate, momentum, multipliers, all of it; to change
/// a setting, set it after resuming. A closure is the exception, as files hold no code: the program's
/// [`Schedule::of`](crate::optim::Schedule::of) stays, and its value at the saved step must be the one
/// of then.
///
/// Not in the file: the program itself, the data, and gradients that no step has used. A checkpoint belongs between two
/// steps of the optimizer, not between the micro-batches of one.
///
/// # Compatibility
///
/// The file is a safetensors file, an [`Archive`](crate::Archive) with a section of its own, which has a version,
/// now 1. Every build reads earlier versions and refuses later ones, with both numbers. Other tools find the
/// stored rows of parameter `w` as `w/values`, the ids as `w/rows`, states as `w/state.momentum` and so on.
///
/// # To deploy
///
/// A checkpoint is for going on with the training. For anything else, save the
/// [parameters](crate::Params::save) (brought up to date) or a [`Model`](crate::Model), a graph with its weights:
/// a fraction of the size, and without the optimizer. [`Params::load`](crate::Params::load) refuses
/// a checkpoint; resume it into a program's parameters first, then save those.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// The epoch that the run is in, from 0.
    pub epoch: u64,
    /// How many batches of this epoch were trained: the next is
    /// `epoch(..)`[`.skip(batch)`](Iterator::skip).
    pub batch: usize,
    /// How many batches were trained in all: the step of [`Tape::train`](crate::Tape::train), which random
    /// operators are keyed by.
    pub step: u64,
    /// The seed of [`Tape::train`](crate::Tape::train).
    pub seed: u64,
    /// The seed by which the data is shuffled.
    pub shuffle_seed: u64,
    /// Whatever the program wants to find again: the best score so far, its own settings.
    #[serde(skip)]
    pub notes: BTreeMap<String, String>,
}

impl Checkpoint {
    /// One more batch of this epoch was trained.
    pub fn next_batch(&mut self) {
        self.batch += 1;
        self.step += 1;
    }

    /// The epoch is over.
    pub fn next_epoch(&mut self) {
        self.epoch += 1;
        self.batch = 0;
    }

    /// Writes this, all parameters as they are, and the optimizer. The file is complete or not there;
    /// the run does not change.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) naming the path, [`ErrorKind::Busy`](crate::ErrorKind::Busy)
    /// while a parameter is updated, [`ErrorKind::State`](crate::ErrorKind::State) if the optimizer cannot be
    /// saved, or a parameter has the state of another optimizer too.
    #[doc(alias = "save_checkpoint")]
    #[doc(alias = "save_states")]
    #[track_caller]
    pub fn save(
        &self,
        path: impl AsRef<Path>,
        params: &Params,
        optimizer: &dyn Optimizer,
    ) -> Result<()> {
        let path = path.as_ref();
        Section::write(self, params, optimizer, |contents| contents.save(path))
    }

    /// The bytes that [`Checkpoint::save`] writes, to be kept elsewhere than in a file.
    ///
    /// # Errors
    /// As [`Checkpoint::save`].
    #[track_caller]
    pub fn to_bytes(&self, params: &Params, optimizer: &dyn Optimizer) -> Result<Vec<u8>> {
        Section::write(self, params, optimizer, |contents| contents.into_bytes())
    }

    /// Reads a file that [`Checkpoint::save`] wrote: into these parameters, by name, and this optimizer. Nothing
    /// changes if there is an error. Counts as an update of all parameters.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot be read,
    /// [`ErrorKind::Parse`](crate::ErrorKind::Parse) if it is damaged, of a later version, or no
    /// checkpoint; [`ErrorKind::State`](crate::ErrorKind::State), listing them, for parameters
    /// that only one side has or that are of different types, for another kind of optimizer, or for a
    /// schedule that is a closure and gives another rate than it did;
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while a parameter is used elsewhere.
    #[doc(alias = "load_checkpoint")]
    #[doc(alias = "load_states")]
    #[track_caller]
    pub fn resume(
        path: impl AsRef<Path>,
        params: &Params,
        optimizer: &mut dyn Optimizer,
    ) -> Result<Checkpoint> {
        Saved::read(path.as_ref())?.put_into(params, optimizer)
    }

    /// [`Checkpoint::resume`] from bytes in memory.
    ///
    /// # Errors
    /// As [`Checkpoint::resume`].
    #[track_caller]
    pub fn resume_from_bytes(
        bytes: &[u8],
        params: &Params,
        optimizer: &mut dyn Optimizer,
    ) -> Result<Checkpoint> {
        Saved::from_bytes(bytes)?.put_into(params, optimizer)
    }
}
