//! Chapter 1: what is sparse here, and what that saves.
//!
//! [Guide](super) · next: [the tape](super::tape)
//!
//! A click log has a million columns, words or users or hashed crosses, and a row of it holds forty. A model for it has a
//! weight for each column. Three things can then cost what the forty hold, or what the million hold:
//!
//! | | costs | because |
//! |---|---|---|
//! | forward, `x · w` | the stored entries of `x` | `x` is [csr](crate::Stype::Csr) |
//! | backward, `xᵀ · dy` | the columns that the batch has | the gradient of `w` is [row-sparse](crate::Stype::RowSparse) |
//! | the step of the optimizer | the same columns | it moves the rows that the gradient holds |
//!
//! All is lost when any one of the three quietly makes a dense array of a sparse one. Here nothing does so quietly: the storage type is part of a value's type, an operator that needs dense operands gets them by a visible cast,
//! and whether a cast is welcome is [your policy](super::storage_types#fallback).
//!
//! # An absent entry is an exact zero
//!
//! Zero, and no arithmetic happens with it: what meets an absent entry in a product is not read, even if it is NaN or
//! infinite. A zero that is *stored* is a number like any other.
//!
//! ```
//! use sparsetape::{Stype, Tensor};
//! // One row of three columns. Column 0 is absent, column 1 a stored zero.
//! let x = Tensor::csr([1, 3], vec![0, 2], vec![1, 2], vec![0.0f32, 2.0])?;
//! let w = Tensor::dense([3, 1], vec![f32::NAN, 4.0, 5.0])?;
//! assert_eq!(x.nnz(), 2);
//! assert_eq!(x.dot(&w)?.item::<f32>()?, 10.0); // 0·4 + 2·5; the NaN is not looked at
//!
//! let y = x.mul(&Tensor::full([1, 3], f32::INFINITY)?)?;
//! assert_eq!(y.stype(), Stype::Csr);
//! assert!(y.values::<f32>()?[0].is_nan()); // 0·∞, because this zero is stored
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! This one rule decides which operators have sparse results (`sin` does, `exp` does not), what the gradient of a sparse
//! value is (it lives where values are stored), and that a million absent columns cost nothing.
//!
//! # Touched rows
//!
//! A row-sparse tensor is a table of which some rows are there: ascending row ids, each once, and a dense block. A
//! gradient *touches* the rows that it holds, even if they are all zero: that a column occurred is a fact about the data,
//! not about a number that may have cancelled. Optimizers go by touched rows, counters and deltas too.
//!
//! # The words
//!
//! | word | item | what |
//! |---|---|---|
//! | tensor | [`Tensor`](crate::Tensor) | a value: dense, csr or row-sparse, of `f32`, `f64` or `i64`; clones share memory |
//! | parameter | [`Parameter`](crate::Parameter), [`Params`](crate::Params) | a named table that optimizers move in place |
//! | tape | [`Tape`](crate::Tape) | the recording of what was computed, on one thread |
//! | variable | [`Var`](crate::Var) | a handle to a recorded value; it has the operators |
//! | gradient | [`Gradients`](crate::Gradients) | what a backward pass gives, by parameter |
//! | cotangent | | the gradient of the loss with respect to an inner value, on its way backward |
//! | graph | [`Graph`](crate::Graph) | a recording as plain data, without weights, for any batch size |
//! | executor | [`Executor`](crate::Executor) | one thread's memory for a graph |
//! | fallback | [`Fallback`](crate::Fallback) | making an operand dense because no kernel takes it as it is |
//!
//! # Same bits
//!
//! Results do not depend on the number of threads, on the run, on whether a tape or an executor computes them, nor, for a
//! row, on the batch that it is in. So a score can be asserted in a test, and a difference between two runs is a
//! difference between two programs.
//!
//! [Guide](super) · next: [the tape](super::tape)
