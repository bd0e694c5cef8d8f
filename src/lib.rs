//! Automatic differentiation over dense, CSR and row-sparse tensors.
//!
//! Eager operations record onto a [`Tape`]; the backward pass keeps gradients row-sparse; optimizers
//! touch only the rows that a gradient holds. It is made for models on sparse data with millions of
//! features on CPUs: linear, softmax, factorization machines, embeddings. Its semantics start from
//! Apache MXNet's sparse API.
//!
//! ```
//! use sparsetape::{Gradients, Parameter, Params, Stype, Tape, Tensor, optim::Sgd};
//!
//! // Two rows of a matrix with a million columns, and their labels.
//! let x = Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32), (70_000, 2.0)], vec![(3, -1.0)]])?;
//! let y = Tensor::dense([2, 1], vec![1.0f32, 0.0])?;
//!
//! let w = Parameter::new("w", Tensor::full([1_000_000, 1], 0.0f32)?)?;
//! let params = Params::new([&w])?;
//! let mut sgd = Sgd::new(0.5).momentum(0.9);
//! let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
//! let mut last = f32::INFINITY;
//! for _ in 0..3 {
//!     tape.clear();
//!     let logits = tape.constant(x.clone()).dot(tape.parameter(&w));
//!     let loss = logits.sigmoid_binary_cross_entropy(tape.constant(y.clone()));
//!     loss.backward_into(&mut gradients)?;
//!     let dw = gradients.of(&w).unwrap();
//!     assert_eq!((dw.stype(), dw.rows()), (Stype::RowSparse, Some(&[3, 70_000][..])));
//!     sgd.step(&params, &gradients)?; // two rows move, the others are not even read
//!     assert!(loss.item::<f32>()? < last);
//!     last = loss.item()?;
//! }
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # Concepts
//!
//! - A [`Tensor`] is dense ([`Stype::Default`]), [CSR](Stype::Csr) or [row-sparse](Stype::RowSparse).
//!   The storage type is part of its type: nothing changes it silently. An absent entry is an exact
//!   zero with which no arithmetic happens.
//! - A [`Tape`] records what its [`Var`]s compute. Bad calls poison a variable; the error, with the
//!   operator, the operands' types and *your* source line, comes out wherever a value is asked for.
//! - [`Var::backward`] gives [`Gradients`]; [`Tape::grad`] records them, to be differentiated again.
//!   A gradient is sparse where the data is: that of `w` in `dot(csr, w)` or [`Var::take`] holds the
//!   rows that were used, that of a csr value lives on its pattern.
//! - A [`Parameter`] is a table that outlives tapes. Tapes read it in place, optimizers write it in
//!   place; [`Parameter::snapshot`] alone copies.
//! - [`optim`] has SGD, Adam, AdamW, AdaGrad and FTRL. Rows that a gradient does not hold stay as they are, or move as
//!   in the textbook: in every step, or at once before they are next read.
//! - A training run goes on from a [`train::Checkpoint`], one file, with the bits of a run that was never
//!   interrupted.
//! - A [`Graph`] is the same model as plain data, without weights: composed of named variables on a
//!   [symbolic tape](Tape::symbolic), or [frozen](freeze_fn) from an eager recording. Its types are known
//!   before it runs. [`Graph::bind`] makes an [`Executor`], one thread's memory for it, which predicts and
//!   trains; a [`Model`] is a graph with its weights in one file.
//! - Where no kernel takes an operand's storage type, the operand is cast to dense, as a recorded,
//!   differentiable step, under a [`Fallback`] policy: warn (the default), allow, or deny.
//! - Operators are methods of [`Var`] and, unrecorded, of [`Tensor`]; those of a list of operands
//!   ([`Tape::concat`], [`Tape::stack`], [`Tape::add_n`]) are methods of [`Tape`]. A search for a name
//!   of MXNet or PyTorch finds them.
//! - The storage types of every operator stand in [`ops`]; the same table rows pick the kernels.
//! - Results are the same bits for any number of threads, and a row's result does not depend on the
//!   batch that it is in.
//!
//! # Graphs
//!
//! A [`Graph`] is composed from [variables](variable()) on a [symbolic](Tape::symbolic) tape, with the
//! same operators, or [frozen](Tape::freeze) from what a tape recorded; both are the same kind of
//! graph, plain data without weights. [Binding](Graph::bind) it to tensors or parameters infers all types, in both
//! directions, optimizes the graph ([`Passes`]), plans its memory and gives an [`Executor`]: one thread's memory for
//! it, which allocates nothing once warm. [`Graph::with_gradients`] or [`Bind::train`] add the backward pass. A
//! [`Model`] is a graph with weights and notes in one file. Eager, frozen, optimized and loaded give the same bits.
//!
//! ```
//! use std::collections::BTreeMap;
//! use sparsetape::{Bind, Graph, Init, Model, Stype, Tape, Tensor, optim::Sgd, variable};
//!
//! let tape = Tape::symbolic();
//! let data = tape.symbol(variable("data").stype(Stype::Csr).shape([None, Some(1_000_000)]));
//! let label = tape.symbol(variable("label").shape([None, Some(1)]));
//! let weight = tape.symbol(variable("weight").shape([1_000_000, 1]).init(Init::Constant(0.0)));
//! let logits = data.dot(weight);
//! let training = Graph::new(&[logits.sigmoid_binary_cross_entropy(label)])?;
//! let prediction = Graph::new(&[logits.sigmoid().named("probability")])?;
//!
//! let params = training.init_params(42, &[])?;
//! let x = Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32), (70_000, 2.0)], vec![(3, -1.0)]])?;
//! let y = Tensor::dense([2, 1], vec![1.0f32, 0.0])?;
//! let batch = Bind::from(&params).tensor("data", x.clone()).tensor("label", y);
//! let mut executor = training.bind(batch.train())?;
//! let mut sgd = Sgd::new(0.5);
//! for _ in 0..3 {
//!     executor.backward_into(&mut sgd)?; // forward, backward, update: two rows move
//! }
//!
//! let path = std::env::temp_dir().join("sparsetape-tour.safetensors");
//! prediction.save(&path, &params, &BTreeMap::new())?;
//! let model = Model::load(&path)?;
//! let mut executor = model.graph.bind(model.bind().shape("data", [1, 1_000_000]))?;
//! executor.feed_csr("data", &[0, 1], &[70_000], &[1.0f32])?; // a request, from borrowed slices
//! executor.forward(false)?;
//! assert!(executor.output(0)?.item::<f32>()? > 0.5);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # What runs
//!
//! With the environment variable `SPARSETAPE_LOG=info`, and no code, every operator that runs says so
//! on stderr: storage types, element types and shapes of operands and result, and your source line.
//! That includes casts to dense and what backward rules record. (MXNet: `MXNET_EXEC_LOG_LEVEL`.)
//!
//! ```text
//! sparsetape: dot(csr f32 (2, 5), default f32 (5, 1)) -> default f32 (2, 1) at src/main.rs:9:22
//! sparsetape: backward of dot at src/main.rs:9:22
//! sparsetape: dot(csr f32 (2, 5), default f32 (2, 1)) -> row_sparse f32 (5, 1) at src/main.rs:9:22
//! ```
//!
//! An [`Executor`] also says so when it is bound, of every operator that is going to run, with the name of its
//! node; and then not on stderr only, but to whatever `tracing` subscriber or `log` logger listens at level INFO to
//! the target `sparsetape`.
//!
//! ```text
//! sparsetape: bind logits = dot(csr f32 (2, 5), default f32 (5, 1)) -> default f32 (2, 1) at src/main.rs:9:22
//! sparsetape: bind cast_storage0 = cast_storage(csr f32 (2, 5)) -> default f32 (2, 5) [cast] at src/main.rs:12:24
//! ```
//!
//! What it costs is measured between [`Tape::start_profile`] and [`Tape::stop_profile`], the same on executors: calls,
//! time and bytes by operator and table row, as a table. [`Tape::observe`] and [`Executor::observe`] show results to a
//! function, by pattern of names. Neither costs anything while it is off.
//!
//! ```text
//! operator  storage types                    calls   time   mean   share     read  written  GB/s
//! dot       csr, default -> row_sparse f32     100  4.2ms  42.0µs  60.0 %  12.4 MB  8.22 MB  4.91
//! dot       csr, default -> default f32        100  2.8ms  28.0µs  40.0 %  16.5 MB   102 kB  5.93
//! 200 calls, 7.0ms
//! ```
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `data` | yes | [`data`]: libsvm files, schemas, batches |
//! | `gzip` | yes | compressed files in `data` |
//! | `mmap` | yes | [`Archive::map`]: files used in place |
//! | `random` | yes | [`random`]: seeded random tensors |
//! | `proptest` | no | `strategies`: shrinking proptest strategies for tensors |
//!
//! # Errors
//!
//! Everything that can go wrong with data, shapes, indices or files is an [`Error`], never a panic.

pub mod check;
#[cfg(feature = "data")]
pub mod data;
mod error;
mod graph;
pub mod guide;
mod kernels;
pub mod ops;
pub mod optim;
mod tape;
mod tensor;
pub mod train;

pub use error::{Error, ErrorKind, Result};
pub use graph::{Argument, Bind, Executor, Graph, Inferred, Input, Model, Pass, Passes, freeze_fn};
pub use ops::{
    BagReduction, Embedding, EmbeddingBag, Loss, MakeLoss, NormOrder, Normalization, OutOfRange,
    SliceRange, SoftmaxLayout, SoftmaxOutput,
};
pub use tape::{
    ByDtype, Case, Cotangent, DTypes, DynOp, Fallback, GradReq, Gradient, Gradients, Grads, Init,
    Ins, Kernel, LossOf, Mode, Observed, Op, OpRef, Out, Parameter, Params, PartialShape,
    PartialType, Profile, ProfileRow, Read, Registry, Sample, Scratch, Surrogate, TableRow, Tape,
    Var, Variable, evaluate, variable,
};
#[cfg(feature = "random")]
pub use tensor::random;
#[cfg(feature = "proptest")]
pub use tensor::strategies;
pub use tensor::{
    Archive, Buffer, Columns, CsrView, DType, DenseView, Difference, Element, Pattern, Real,
    RowSparseView, Shape, Slice, Stype, Tensor, Type, Values, View, assert_close,
};

/// The README's code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
