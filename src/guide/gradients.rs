//! Chapter 4: touched rows, accumulation, higher orders, checks.
//!
//! [Guide](super) · previous: [storage types](super::storage_types) · next: [optimizers](super::optimizers)
//!
//! [`Var::backward`](crate::Var::backward) of a single number gives [`Gradients`](crate::Gradients), asked by parameter
//! ([`of`](crate::Gradients::of)) or by variable ([`wrt`](crate::Gradients::wrt)). Each has the storage type in which it
//! arises:
//!
//! ```
//! use sparsetape::{Stype, Tape, Tensor};
//! let tape = Tape::new();
//! let x = tape.variable(Tensor::from_rows(1_000_000, &[vec![(3, 1.0f32), (70_000, 2.0)], vec![(3, -1.0)]])?);
//! let w = tape.variable(Tensor::full([1_000_000, 1], 0.1f32)?);
//! let b = tape.variable(Tensor::full([1], 0.0f32)?);
//! let y = tape.constant(Tensor::dense([2, 1], vec![1.0f32, 0.0])?);
//! let loss = (x.dot(w) + b).sigmoid_binary_cross_entropy(y);
//! let gradients = loss.backward()?;
//!
//! let dw = gradients.wrt(w).unwrap();
//! assert_eq!((dw.stype(), dw.rows()), (Stype::RowSparse, Some(&[3, 70_000][..])));
//! let dx = gradients.wrt(x).unwrap();
//! assert_eq!((dx.stype(), dx.nnz()), (Stype::Csr, 3)); // on the pattern of x
//! assert_eq!(gradients.wrt(b).unwrap().stype(), Stype::Default);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! - The gradient of a table holds the rows that were **addressed**, by columns of a csr matrix or by ids, each once,
//!   ascending: uses of a table in several places are merged where they meet.
//! - That of a csr value lives **on its pattern**. An absent entry is no place where the loss could be moved; who
//!   wants all places casts the leaf to dense, visibly.
//! - There is never a dense array of the table's size on the way, and norms and clipping are those of the dense gradient.
//!
//! Gradients of several batches add up row-sparse, if the parameter says so ([`GradReq::Add`](crate::GradReq::Add));
//! those of several workers by [`Gradients::reduce`](crate::Gradients::reduce);
//! [`clip_global_norm`](crate::optim::clip_global_norm) bounds them.
//!
//! # What is not differentiable
//!
//! says so. Each backward rule answers for each operand: a gradient, an exact zero (a shape, a mask), or "there is none",
//! which is an error with operator and line if the loss depends on it. MXNet's outputs
//! ([`softmax_output`](crate::Var::softmax_output) and kin), whose rule is on purpose not their derivative, state what it
//! is the derivative of, and are tested against that.
//!
//! # Higher orders
//!
//! Backward rules are written with recorded operators. [`Tape::grad`](crate::Tape::grad) keeps what they record, so that
//! it can be differentiated again, and what was sparse stays so. Here the product of the Hessian with a vector, for a model
//! that is quadratic in each row, a factorization machine:
//!
//! ```
//! use sparsetape::{Tape, Tensor, Var};
//!
//! /// w·x + ½ Σ_f [(x·v_f)² − x²·v_f²]: linear terms, and the interactions of all pairs of columns.
//! fn logits<'t>(x: Var<'t>, w: Var<'t>, v: Var<'t>) -> Var<'t> {
//!     (x.dot(w) + x.pair_interactions(v)).reshape(&[-1])
//! }
//!
//! let tape = Tape::new();
//! let x = tape.constant(Tensor::from_rows(1000, &[vec![(3, 1.0f64), (70, 2.0)], vec![(3, -1.0)]])?);
//! let (w, v) = (tape.variable(Tensor::full([1000, 1], 0.1)?), tape.variable(Tensor::full([1000, 4], 0.1)?));
//! let y = tape.constant(Tensor::dense([2], vec![1.0, 0.0])?);
//! let loss = logits(x, w, v).sigmoid_binary_cross_entropy(y);
//!
//! let first = tape.grad(loss, &[w])?[0];
//! let direction = tape.constant(Tensor::full([1000, 1], 1.0)?);
//! let second = tape.grad((first * direction).sum(), &[w])?[0];
//! assert_eq!(second.value()?.rows(), Some(&[3, 70][..])); // H·d, two rows of it
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! # Checks
//!
//! [`gradcheck`](crate::check::gradcheck) compares the gradients of any function with finite differences, at first and second
//! order, with dense and sparse inputs; each is perturbed exactly where its gradient lives.
//!
//! ```
//! # use sparsetape::{Tensor, check::gradcheck};
//! let x = Tensor::from_rows(5, &[vec![(0, 0.5f64), (3, -1.5)], vec![]])?;
//! let w = Tensor::dense([5, 1], vec![0.1, 0.2, 0.3, 0.4, 0.5])?;
//! gradcheck(&[x, w], |_, v| v[0].dot(v[1]).sigmoid().log())?;
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! [Guide](super) · previous: [storage types](super::storage_types) · next: [optimizers](super::optimizers)
