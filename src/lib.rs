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
//! # Where to read on
//!
//! The [guide] is a tour in short pages: [concepts](guide::concepts), [the tape](guide::tape), [storage
//! types](guide::storage_types), [gradients](guide::gradients), [optimizers](guide::optimizers),
//! [training](guide::training), [graphs](guide::graphs), [deployment](guide::deployment), [an operator of your
//! own](guide::extending); and the idioms of [MXNet](guide::for_mxnet_users) and [PyTorch](guide::for_pytorch_users)
//! beside ours.
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
//! - [`train`] has a trainer for models and graphs, metrics, early stopping, and checkpoints, from which a run goes on with
//!   the bits of one that was never interrupted.
//! - A [`Graph`] is the same model as plain data, without weights: composed of named variables on a
//!   [symbolic tape](Tape::symbolic), or [frozen](freeze_fn) from an eager recording. Its types are known
//!   before it runs. [`Graph::bind`] makes an [`Executor`], one thread's memory for it, which predicts and
//!   trains; a [`Model`] is a graph with its weights in one file.
//! - Where no kernel takes an operand's storage type, the operand is cast to dense, as a recorded,
//!   differentiable step, under a [`Fallback`] policy: warn (the default), allow, or deny.
//!   `SPARSETAPE_LOG=info` [shows all that runs](guide::graphs#what-runs).
//! - Operators are methods of [`Var`] and, unrecorded, of [`Tensor`]; those of a list of operands
//!   ([`Tape::concat`], [`Tape::stack`], [`Tape::add_n`]) are methods of [`Tape`]. A search for a name
//!   of MXNet or PyTorch finds them.
//! - The storage types of every operator stand in [`ops`]; the same table rows pick the kernels.
//! - Results are the same bits for any number of threads, and a row's result does not depend on the
//!   batch that it is in.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `data` | yes | [`data`]: libsvm, `.npy`, schemas, batches, streams; [`train::Trainer`] |
//! | `gzip` | yes | `.gz` files in the readers |
//! | `npz` | yes | [`data::Npz`]: files of numpy and scipy |
//! | `mmap` | yes | [`Archive::map`], [`Model::map`]: files used in place |
//! | `progress` | yes | bars of [`train::Progress`] on terminals |
//! | `random` | yes | [`random`]: seeded random tensors |
//! | `plot` | no | `train::Curves`: pictures of what a run measured |
//! | `proptest` | no | `strategies`: shrinking proptest strategies for tensors |
//!
//! `default-features = false` records, trains in loops of your own, and loads and runs models.
//!
//! # Errors
//!
//! Everything that can go wrong with data, shapes, indices or files is an [`Error`], never a panic.

// Pages link to items of features that may be off.
#![cfg_attr(not(all(feature = "npz", feature = "random")), allow(rustdoc::broken_intra_doc_links))]

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
#[cfg(all(doctest, feature = "data"))]
#[doc = include_str!("../README.md")]
struct Readme;
