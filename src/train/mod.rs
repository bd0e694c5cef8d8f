//! Training: a [`Trainer`] with its [`Fit`], [metrics], histories, checkpoints; and the plain parts for loops of one's own.
//!
//! A [`Trainer`] holds a model, its parameters and an optimizer. The model is a [`Model`] that records itself on a tape, or a
//! [`Graph`](crate::Graph). [`Trainer::fit`] runs over a [`BatchSource`](crate::data::BatchSource) as a [`Fit`] says:
//!
//! | | |
//! |---|---|
//! | what is measured | [`Fit::metric`], [`Fit::evaluate`]: [`History`], a [`Record`] for each epoch and split; as CSV, JSON, SVG (`Curves`, feature `plot`) |
//! | when it ends | [`Fit::epochs`], [`EarlyStopping`], or a callback ([`Moment::stop`]) |
//! | what else happens | [`Fit::on_batch`], [`Fit::on_epoch`], [`Fit::checkpoints`], [`Fit::accumulate`] |
//! | what people see | [`Progress`]: a bar on terminals, a line per pass |
//! | when it diverges | an error with operator, your line, batch, and rows of the data; the last good checkpoint stays |
//!
//! Before: [`Trainer::load`] for a warm start by name, [`Trainer::freeze`], [`Trainer::resume_latest`]. After:
//! [`Trainer::score`], [`Trainer::predict`], [`Trainer::predict_to`], [`Params::save`](crate::Params::save) or
//! [`Trainer::prediction_graph`], to deploy.
//!
//! The parts of the loop are methods, too: [`Trainer::forward`], [`Trainer::backward`], [`Trainer::update`],
//! [`Trainer::update_metric`]. And nothing here is needed: tape, optimizer and a `for` are a training loop, with
//! [`Checkpoints`] to go on from after an interruption:
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
mod score;
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
pub use model::{Model, loss_fn, supervised};
#[cfg(feature = "data")]
pub use moment::Moment;
#[cfg(feature = "plot")]
pub use plot::Curves;
pub use progress::Progress;
#[cfg(feature = "data")]
pub use trainer::Trainer;
