//! Chapter 3: dense, csr, row-sparse, and what makes a value dense.
//!
//! [Guide](super) · previous: [the tape](super::tape) · next: [gradients](super::gradients)
//!
//! | [`Stype`](crate::Stype) | what is stored | what it is for | made by |
//! |---|---|---|---|
//! | `Default` | every element, any number of axes | weights, activations, labels, ids (`i64`) | [`dense`](crate::Tensor::dense), [`full`](crate::Tensor::full), `From` of `ndarray` |
//! | `Csr` | of each row of a matrix, columns and values | batches of features | [`csr`](crate::Tensor::csr), [`from_rows`](crate::Tensor::from_rows), [`from_triplets`](crate::Tensor::from_triplets), `From` of `sprs`, the readers of `data` |
//! | `RowSparse` | some rows, whole | gradients of tables, tables that fill up | [`row_sparse`](crate::Tensor::row_sparse), backward passes, [`Parameter::drawn`](crate::Parameter::drawn) |
//!
//! Constructors check what they are given and say what is wrong with it, by position. Rows and columns are sorted and
//! unique by construction, so there is nothing to coalesce. Explicit zeros stay stored.
//!
//! # What an operator returns
//!
//! Every operator has a table: which storage types its kernels take, and what comes out. The same row infers the type and
//! picks the kernel, so an inferred type is never wrong; all tables stand in [`ops`](crate::ops). Most follow from one rule:
//! **a result is sparse if it is 0 wherever its operands are absent**. For element-wise functions that is not a list but a
//! proof, with the scalars that you pass:
//!
//! ```
//! use sparsetape::{Stype, Tape, Tensor};
//! let tape = Tape::new();
//! let x = tape.constant(Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32), (70_000, 2.0)], vec![(3, -1.0)]])?);
//! let w = tape.constant(Tensor::full([1_000_000, 1], 0.1f32)?);
//!
//! assert_eq!(x.log1p().stype()?, Stype::Csr); // log1p(0) = 0
//! assert_eq!(x.clip(-1.0, 1.5).stype()?, Stype::Csr); // 0 is within
//! assert_eq!((x * x.sign()).stype()?, Stype::Csr);
//! assert_eq!(x.dot(w).stype()?, Stype::Default); // (2, 1): every row has a score
//! assert_eq!(x.dot_with(x.dot(w), true, false).stype()?, Stype::RowSparse); // xᵀ · scores: two rows
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # Fallback
//!
//! `exp(x)` is 1 at every absent entry: there is no sparse result, and the kernels want a dense operand. Then `x` is cast,
//! by a step that is recorded and differentiated like any other, and the [`Fallback`](crate::Fallback) policy says whether
//! you hear of it: `Warn` (once per source line, on stderr unless a `tracing` subscriber or a logger listens), `Allow`, or
//! `Deny`, which makes it an error.
//!
//! ```text
//! sparsetape: exp(csr f32 (2, 1000000)): no kernel takes operand 0 as csr: 2000000 elements are made dense (at src/main.rs:9:5);
//!     `Fallback::Allow` silences this, `Fallback::Deny` makes it an error
//! ```
//!
//! ```
//! use sparsetape::{ErrorKind, Fallback, Stype, Tape, Tensor};
//! let x = Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32)]])?;
//! let tape = Tape::new();
//! tape.set_fallback(Fallback::Deny);
//! let x = tape.constant(x);
//! let error = x.clip(0.5, 1.0).value().unwrap_err(); // absent entries would be 0.5
//! assert_eq!(error.kind(), ErrorKind::Fallback);
//!
//! // A cast that you write is no fallback.
//! let dense = x.slice((.., ..10)).cast_storage(Stype::Default);
//! assert_eq!(dense.exp().stype()?, Stype::Default);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! `Deny` is the setting for training on millions of columns, as it holds in the backward pass, too. Storage types do not
//! depend on values: what passes once under `Deny`, say in a test, passes always.
//!
//! Of several operands the fewest are cast. Which row of its table an operator runs, and why not another,
//! [`Graph::explain`](crate::Graph::explain) tells.
//!
//! # Element types
//!
//! `f32` and `f64` compute; `i64` are ids and labels. Nothing is promoted silently: operands that differ are an error that
//! suggests [`cast`](crate::Var::cast).
//!
//! [Guide](super) · previous: [the tape](super::tape) · next: [gradients](super::gradients)
