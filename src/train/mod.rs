//! Training runs that go on: checkpoints, and how to resume from them.
//!
//! A [`Checkpoint`] is where a training run is. [`Checkpoint::save`] writes it with everything else
//! that the rest of the run depends on to one file; [`Checkpoint::resume`] puts all of it back into the program's own
//! parameters and optimizer. The resumed run gives the same bits as one that was never interrupted.
//! [`Checkpoints`] is a directory of them: written at an interval, the last few kept, the newest that
//! loads resumed.
//!
//! ```
//! use sparsetape::optim::{Schedule, Sgd, Update};
//! use sparsetape::train::{Checkpoint, Checkpoints};
//! use sparsetape::{Parameter, Params, Result, Tape, Tensor};
//!
//! fn train(dir: &std::path::Path, until: u64) -> Result<Tensor> {
//!     let w = Parameter::new("w", Tensor::full([1000, 4], 0.5f32)?)?;
//!     let params = Params::new([&w])?;
//!     let mut sgd = Sgd::new(Schedule::exponential(0.5, 0.9)).momentum(0.9).update(Update::Exact);
//!     let mut checkpoints = Checkpoints::new(dir).every(2).keep(3);
//!
//!     // From the newest checkpoint, or from the beginning.
//!     let begin = Checkpoint { seed: 7, ..Checkpoint::default() };
//!     let mut run = checkpoints.resume(&params, &mut sgd)?.unwrap_or(begin);
//!     while run.step < until {
//!         let tape = Tape::new();
//!         tape.train(run.seed, run.step);
//!         let ids = tape.constant(Tensor::dense([2], vec![3i64, 5 * run.step as i64])?);
//!         let loss = tape.parameter(&w).take(ids).dropout(0.5).square().sum();
//!         sgd.step(&params, &loss.backward()?)?;
//!         run.next_batch();
//!         checkpoints.save_if_due(&run, &params, &sgd)?;
//!     }
//!     w.snapshot()
//! }
//!
//! let dir = std::env::temp_dir().join(format!("sparsetape-doc-train-{}", std::process::id()));
//! train(&dir.join("a"), 7)?; // ends after step 7: the last checkpoint is that of step 6
//! let resumed = train(&dir.join("a"), 20)?;
//! assert_eq!(resumed, train(&dir.join("b"), 20)?);
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # What is in the file
//!
//! | | |
//! |---|---|
//! | parameters | stored rows and their ids *as they are*: in [exact mode](crate::optim::Update::Exact) rows that are behind stay behind, with the step that each is at and the history of steps; all states of the optimizer; frozen rows; change tracking; initializer and seed of [drawn](crate::Parameter::drawn) rows; count of updates, `grad_req`, gradient's storage type, multipliers |
//! | optimizer | its kind, all its settings, the count of steps, the schedule |
//! | data | epoch, batches done in it, seed of the shuffle |
//! | randomness | seed and step of [`Tape::train`](crate::Tape::train) and [`Executor::set_seed`](crate::Executor::set_seed) |
//! | notes | whatever the program wants to find again |
//!
//! Saving reads and changes nothing: the run goes on with the same bits, saved or not. Tables are
//! written from where they are, without a copy. Resuming takes the file's content in memory beside the
//! program's own tables, which it then replaces.
//!
//! What was saved wins over what the program has set: learning rate, momentum, multipliers, all of it; to change
//! a setting, set it after resuming. A closure is the exception, as files hold no code: the program's
//! [`Schedule::of`](crate::optim::Schedule::of) stays, and its value at the saved step must be the one
//! of then.
//!
//! Not in the file: the program itself, the data, and gradients that no step has used. A checkpoint belongs between two
//! steps of the optimizer, not between the micro-batches of one.
//!
//! # Compatibility
//!
//! The file is a safetensors file, an [`Archive`](crate::Archive) with a section of its own, which has a version,
//! now 1. Every build reads earlier versions and refuses later ones, with both numbers. Other tools find the
//! stored rows of parameter `w` as `w/values`, the ids as `w/rows`, states as `w/state.momentum` and so on.
//!
//! # To deploy
//!
//! A checkpoint is for going on with the training. For anything else, save the
//! [parameters](crate::Params::save) (brought up to date) or a [`Model`](crate::Model), a graph with its weights:
//! a fraction of the size, and without the optimizer. [`Params::load`](crate::Params::load) refuses
//! a checkpoint; resume it into a program's parameters first, then save those.

mod checkpoint;
mod directory;
#[cfg(feature = "data")]
mod early_stopping;
#[cfg(feature = "data")]
mod fit;
mod history;
mod load;
pub mod metrics;
#[cfg(feature = "data")]
mod model;
#[cfg(feature = "data")]
mod moment;
#[cfg(feature = "data")]
mod non_finite;
#[cfg(feature = "plot")]
mod plot;
mod progress;
#[cfg(feature = "data")]
mod runner;
mod saved;
#[cfg(feature = "data")]
mod trainer;

pub use checkpoint::Checkpoint;
pub use directory::Checkpoints;
#[cfg(feature = "data")]
pub use early_stopping::EarlyStopping;
#[cfg(feature = "data")]
pub use fit::Fit;
pub use history::{History, Record};
pub use load::{Loaded, load};
#[cfg(feature = "data")]
pub use model::{Model, loss_fn};
#[cfg(feature = "data")]
pub use moment::Moment;
#[cfg(feature = "plot")]
pub use plot::Curves;
pub use progress::Progress;
#[cfg(feature = "data")]
pub use trainer::Trainer;
