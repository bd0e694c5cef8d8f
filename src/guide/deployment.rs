//! Chapter 8: one file, an executor per thread, row requests, updates.
//!
//! [Guide](super) · previous: [graphs](super::graphs) · next: [extending](super::extending)
//!
//! # One file
//!
//! A [`Model`](crate::Model) is a graph with its weights and notes in one safetensors file, which other tools open, too.
//! What is computed is in the file, so the program that serves needs no copy of the code that trained. Drawn tables
//! come with their stored rows, seed and initializer; notes hold whatever belongs to the model: names of classes, the
//! schema of the data.
//!
//! ```
//! use std::collections::BTreeMap;
//! use sparsetape::{Model, Parameter, Params, Tape, Tensor};
//!
//! // Where it was trained.
//! let w = Parameter::new("w", Tensor::full([1_000_000, 1], 0.5f32)?)?;
//! let tape = Tape::new();
//! let x = tape.constant(Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32)], vec![(70_000, 2.0)]])?);
//! let graph = tape.freeze([("data", x)], [x.dot(tape.parameter(&w)).sigmoid()])?;
//! let file = std::env::temp_dir().join("sparsetape-guide-model.safetensors");
//! graph.save(&file, &Params::new([&w])?, &BTreeMap::from([("classes".into(), "no,yes".into())]))?;
//!
//! // Where it serves: one copy of the weights, an executor per thread, no lock on the way.
//! let model = Model::load(&file)?;
//! std::thread::scope(|scope| {
//!     let serve = |column: u32| {
//!         let mut executor = model.graph.bind(model.bind().shape("data", [1, 1_000_000]))?;
//!         executor.run_csr("data", &[0, 2], &[7, column], &[1.0f32, -1.0])?; // borrowed slices
//!         executor.output(0)?.item::<f32>()
//!     };
//!     let threads = [8, 90_000].map(|column| scope.spawn(move || serve(column)));
//!     for thread in threads {
//!         assert_eq!(thread.join().unwrap()?, 0.5);
//!     }
//!     sparsetape::Result::Ok(())
//! })?;
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! Of what a `Trainer` has trained, `Trainer::prediction_graph` is the graph to save; it wants no labels.
//!
//! - **Requests.** [`run_csr`](crate::Executor::run_csr) predicts from borrowed slices. A product with weights reads them
//!   where they are; for a model that looks at the rows in other ways they are copied first, as
//!   [`feed_csr`](crate::Executor::feed_csr) and [`feed_dense`](crate::Executor::feed_dense) do for any variable. Once warm, a
//!   request allocates nothing.
//! - **Batch sizes.** The shape in `bind` is a first guess; every request may have another number of rows. A row's
//!   result does not depend on its batch: requests may be gathered without anybody seeing a difference.
//! - **Bad requests.** Column ids out of range or order are errors that name position and bound; the executor
//!   stays usable.
//! - **Files.** None is trusted: every length, name, type and operator is checked before use. `Archive::map` and
//!   `Model::map` (feature `mmap`) use a file in place, for tables that are larger than you would like to read.
//! - **Size.** `default-features = false` leaves out readers and progress bars, and loads and runs a model.
//! - **Bits.** The loaded model gives those of the program that trained it.
//!
//! A [checkpoint](crate::train) is no model: it has the optimizer's state, rows that are behind, and no graph.
//! [`Params::save`](crate::Params::save) is between the two: weights without a graph.
//!
//! # Updates
//!
//! A model that goes on learning changes few rows between two releases. With
//! [`track_changes`](crate::Parameter::track_changes), those that changed since an update are a row-sparse tensor, which
//! a serving copy takes in:
//!
//! ```
//! # use sparsetape::{Bind, Parameter, Params, Tape, Tensor, optim::Sgd};
//! let w = Parameter::new("w", Tensor::full([1_000_000, 1], 0.0f32)?)?;
//! w.track_changes()?;
//! let (serving, released) = (Parameter::new("w", w.snapshot()?)?, w.updates());
//!
//! let tape = Tape::new();
//! let x = tape.constant(Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32), (70_000, 2.0)]])?);
//! let loss = x.dot(tape.parameter(&w)).sum();
//! Sgd::new(0.1).step(&Params::new([&w])?, &loss.backward()?)?;
//!
//! let delta = w.rows_changed_since(released)?; // to send: two rows
//! assert_eq!(delta.rows(), Some(&[3, 70_000][..]));
//! serving.set_rows(&delta)?;
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! `examples/deploy.rs` is a server of libsvm rows, with its latencies printed.
//!
//! [Guide](super) · previous: [graphs](super::graphs) · next: [extending](super::extending)
