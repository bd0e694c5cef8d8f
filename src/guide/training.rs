//! Chapter 6: data, the trainer, metrics, checkpoints, or a plain loop.
//!
//! [Guide](super) · previous: [optimizers](super::optimizers) · next: [graphs](super::graphs)
//!
//! # Data
//!
//! A [`Dataset`](crate::data::Dataset) is features and labels, maybe query ids and other named inputs, in memory: from
//! [libsvm text](crate::data::Libsvm) (mapped and parsed in parallel, `.gz` too), from numpy's and scipy's files
//! ([`data::read_npy`](crate::data::read_npy), `data::Npz`), or from [tensors](crate::data::Dataset::new). Its
//! [`Schema`](crate::data::Schema), id base and width, goes with the model, so that a column means the same in every later
//! file. [`batches`](crate::data::Dataset::batches) cuts it into windows that copy nothing, shuffled by a seed and the epoch.
//!
//! # A model and a trainer
//!
//! A [`Model`](crate::train::Model) records its loss for a batch, and what it predicts.
//! [`Trainer::fit`](crate::train::Trainer::fit) does the rest, and [`Fit`](crate::train::Fit) says what that is:
//!
//! ```
//! use sparsetape::data::{Batch, Libsvm};
//! use sparsetape::optim::{Adam, Update};
//! use sparsetape::train::metrics::{Auc, LogLoss};
//! use sparsetape::train::{Checkpoints, EarlyStopping, Fit, Model, Progress, Trainer};
//! use sparsetape::{Fallback, Parameter, Params, Tape, Tensor, Var};
//!
//! struct Logistic(Parameter);
//!
//! impl Logistic {
//!     fn logits<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
//!         batch.var(tape, "data").dot(tape.parameter(&self.0)).reshape(&[-1])
//!     }
//! }
//!
//! impl Model for Logistic {
//!     fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
//!         self.logits(tape, batch).sigmoid_binary_cross_entropy(batch.var(tape, "label"))
//!     }
//!
//!     fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
//!         Some(self.logits(tape, batch).sigmoid())
//!     }
//! }
//!
//! // Whether a row has column 1 or 2 decides its label; the other column is noise.
//! let text: String = (0..200).map(|i| format!("{} {}:1 {}:1\n", i % 2, 1 + i % 2, 3 + i % 97)).collect();
//! let data = Libsvm::new().read_from(text.as_bytes())?;
//! let (train, test) = data.split(0.75)?;
//! let (train, test) = (train.batches(16).shuffle(42).build()?, test.batches(64).build()?);
//!
//! let w = Parameter::new("w", Tensor::full([data.schema.features(), 1], 0.0f32)?)?;
//! let model = Logistic(w.clone());
//! let adam = Adam::new(0.1).update(Update::Exact);
//! let mut trainer = Trainer::new(&model, Params::new([&w])?, adam);
//! trainer.set_fallback(Fallback::Deny);
//! trainer.set_progress(Progress::hidden()); // else a bar on a terminal, or a line per epoch
//!
//! # let dir = std::env::temp_dir().join(format!("sparsetape-guide-{}", std::process::id()));
//! let mut checkpoints = Checkpoints::new(&dir).every(20).keep(2);
//! trainer.resume_latest(&mut checkpoints)?; // goes on, if there is something to go on from
//! let fit = Fit::epochs(10)
//!     .metric(LogLoss::new())
//!     .metric(Auc::new())
//!     .evaluate("test", &test)
//!     .early_stopping(EarlyStopping::new("test", "log-loss").patience(2))
//!     .checkpoints(&mut checkpoints);
//! let history = trainer.fit(&train, fit)?;
//! assert!(history.last("test", "auc").unwrap() > 0.99);
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! - [Metrics](crate::train::metrics) are exact over all rows, however these are cut into batches; one of your own is a
//!   closure or a trait of four methods.
//! - The [`History`](crate::train::History) is a table, saved as CSV or JSON, or drawn as SVG by `train::Curves` (feature `plot`).
//! - [Callbacks](crate::train::Moment) see epoch, batch, loss and metrics, and stop, save or change the rate.
//! - A loss that is not finite stops the run before anything moves. The error names the operator that gave it
//!   first, your line, the batch and the rows of the data at fault; the last good checkpoint stays.
//! - [`score`](crate::train::Trainer::score) and [`predict`](crate::train::Trainer::predict) run over any source;
//!   [`predict_to`](crate::train::Trainer::predict_to) writes lines as it goes.
//! - [`Trainer::load`](crate::train::Trainer::load) is a warm start by name, also from other tools' safetensors and `.npy`,
//!   that tells what it found, missed and left.
//! - [`Trainer::from_graph`](crate::train::Trainer::from_graph) trains a [graph](super::graphs) instead.
//!
//! # How to
//!
//! | | |
//! |---|---|
//! | write the model as closures | [`supervised`](crate::train::supervised): outputs, loss, prediction; [`loss_fn`](crate::train::loss_fn) for a loss alone. A closure that is passed without them does not compile: Rust takes its tape for one of a single lifetime |
//! | train on class numbers | `logits.softmax_cross_entropy(label.cast(DType::I64))`: classes are ids, and files have numbers |
//! | train on several labels a row | labels `(rows, labels)` and a weight `(features, labels)`, with [`sigmoid_binary_cross_entropy`](crate::Var::sigmoid_binary_cross_entropy); its metrics are [`custom`](crate::train::metrics::custom()) |
//! | weigh rows or classes | [`Loss::mean().sample_weights(batch.var(tape, "weight"))`](crate::Loss), with the input of [`with_input("weight", ..)`](crate::data::Dataset::with_input), by which metrics weigh too; or `class_weights` |
//! | look up ids | [`with_input("user", ids)`](crate::data::Dataset::with_input), i64, and `tape.parameter(&table).take(batch.var(tape, "user"))` |
//! | use `f64` | [`Libsvm::dtype`](crate::data::Libsvm::dtype), and parameters of it |
//! | predict rows without labels | [`Dataset::from_features`](crate::data::Dataset::from_features) |
//! | change the learning rate | by step, a [`Schedule`](crate::optim::Schedule) in place of the number; by epoch, [`Moment::set_learning_rate`](crate::train::Moment::set_learning_rate) in `on_epoch` |
//! | write a log | `on_epoch(\|moment\| ..)` with [`Moment::records`](crate::train::Moment::records) |
//! | know the best epoch | [`History::best`](crate::train::History::best); [`restore_best`](crate::train::EarlyStopping::restore_best) puts its parameters back |
//! | interrupt and go on | [`Fit::checkpoints`](crate::train::Fit::checkpoints) and [`Trainer::resume_latest`](crate::train::Trainer::resume_latest); to end at a batch on Ctrl-C, a flag that `on_batch` reads before [`stop`](crate::train::Moment::stop) |
//! | train in another thread | data and parameters go there; a trainer stays where it was made |
//! | keep a trainer in a struct | one of a [graph](crate::train::Trainer::from_graph) borrows nothing; one of a [`Model`](crate::train::Model) borrows the model |
//! | deploy | [`Trainer::prediction_graph`](crate::train::Trainer::prediction_graph) and [`Graph::save`](crate::Graph::save) |
//!
//! (A graph with its weights is [`sparsetape::Model`](crate::Model); the trait is [`train::Model`](crate::train::Model).)
//!
//! # Checkpoints
//!
//! A [checkpoint](crate::train) is one file with everything that the rest of the run depends on: parameters, the
//! optimizer's state, counters, where in the data and the random numbers the run is. It is written whole or not at all,
//! and a run that resumes gives the bits of one that was never interrupted.
//!
//! # More data than memory
//!
//! [`Libsvm::stream_batches`](crate::data::Libsvm::stream_batches) reads files while it trains, in the memory that you give;
//! unshuffled, it gives the bits of the data read as a whole. [`prefetched`](crate::data::BatchSource::prefetched) reads any
//! source ahead, and a [`BatchSource`](crate::data::BatchSource) of your own is one method. For columns without
//! numbers, [`FeatureHasher`](crate::data::FeatureHasher) hashes into 2^k of them.
//!
//! ```
//! # let path = std::env::temp_dir().join(format!("sparsetape-guide-stream-{}.svm", std::process::id()));
//! # std::fs::write(&path, "1 1:1\n0 2:1\n1 1:2\n").unwrap();
//! use sparsetape::data::Libsvm;
//! use sparsetape::optim::Sgd;
//! use sparsetape::train::{Fit, Progress, Trainer, loss_fn};
//! use sparsetape::{Parameter, Params, Tensor};
//! let files = [&path];
//! let schema = Libsvm::new().find_schema(&files)?; // a first pass over the files
//! let batches = Libsvm::new().schema(schema).stream_batches(&files, 2).memory(64 << 20).shuffle(7).build()?;
//!
//! let w = Parameter::new("w", Tensor::full([schema.features()], 0.0f32)?)?;
//! let model = loss_fn(|tape, batch| {
//!     let logits = batch.var(tape, "data").dot(tape.parameter(&w));
//!     logits.sigmoid_binary_cross_entropy(batch.var(tape, "label"))
//! });
//! let mut trainer = Trainer::new(&model, Params::new([&w])?, Sgd::new(0.5));
//! trainer.set_progress(Progress::hidden());
//! trainer.fit(&batches, Fit::epochs(3))?;
//! # std::fs::remove_file(&path).unwrap();
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # A loop of your own
//!
//! Nothing of this is needed to train. Batches, metrics and checkpoints work in a plain loop as they are:
//!
//! ```
//! use sparsetape::data::Libsvm;
//! use sparsetape::optim::Sgd;
//! use sparsetape::train::Checkpoint;
//! use sparsetape::train::metrics::{Auc, Metric, Scored};
//! use sparsetape::{Parameter, Params, Tape, Tensor};
//! let data = Libsvm::new().read_from("1 1:1\n0 2:1\n1 1:2\n0 2:3\n".as_bytes())?;
//! let w = Parameter::new("w", Tensor::full([data.schema.features()], 0.0f32)?)?;
//! let (params, mut sgd, mut auc) = (Params::new([&w])?, Sgd::new(0.5), Auc::new());
//! let mut run = Checkpoint { shuffle_seed: 42, ..Checkpoint::default() }; // or `Checkpoint::resume(..)?`
//! let batches = data.batches(2).shuffle(run.shuffle_seed).build()?;
//! let mut tape = Tape::new();
//! while run.epoch < 3 {
//!     auc.reset();
//!     for batch in batches.epoch(run.epoch).skip(run.batch) {
//!         tape.clear();
//!         let logits = batch.var(&tape, "data").dot(tape.parameter(&w));
//!         auc.update(&Scored::new(&logits.value()?, &batch.labels))?;
//!         let loss = logits.sigmoid_binary_cross_entropy(batch.var(&tape, "label"));
//!         sgd.step(&params, &loss.backward()?)?;
//!         run.next_batch(); // `run.save(path, &params, &sgd)?`, now and then
//!     }
//!     run.next_epoch();
//! }
//! assert_eq!(auc.value(), 1.0);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! Between the two there are the trainer's parts: [`forward`](crate::train::Trainer::forward),
//! [`backward`](crate::train::Trainer::backward), [`update`](crate::train::Trainer::update),
//! [`update_metric`](crate::train::Trainer::update_metric).
//!
//! [Guide](super) · previous: [optimizers](super::optimizers) · next: [graphs](super::graphs)
