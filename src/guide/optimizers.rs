//! Chapter 5: three ways to treat the rows without a gradient.
//!
//! [Guide](super) · previous: [gradients](super::gradients) · next: [training](super::training)
//!
//! A row-sparse gradient says nothing of most rows. The textbook's update would move them all the same: momentum coasts
//! on, weight decay shrinks them, Adam's averages fade. [`Update`](crate::optim::Update) is the choice:
//!
//! | [`Update`](crate::optim::Update) | rows without a gradient | a step costs | choose it |
//! |---|---|---|---|
//! | `Lazy` | stay as they are | the touched rows | by default, and to compare with other frameworks' sparse optimizers |
//! | `Dense` | move in every step | the table | for small tables, and as the reference |
//! | `Exact` | move as with `Dense`, but when they are next read | about that of `Lazy` | for the textbook's result at the price of the lazy one |
//!
//! `Lazy` is another algorithm, not an approximation that gets better: with decay, a rare row decays once per occurrence
//! instead of once per step. `Exact` catches a row up *before* a forward pass reads it, since the gradient at a stale row
//! is another gradient; for SGD in O(log n) for n missed steps, for Adam in [somewhat
//! more](crate::optim::Adam#update-modes) (with decay, take `AdamW`). The [page of `optim`](crate::optim) has the
//! mathematics, side by side.
//!
//! Here with a factorization machine whose tables have 10⁹ rows. They are [drawn](crate::Parameter::drawn): a row that was
//! never used takes no memory, and is what the initializer gives for the seed and its id.
//!
//! ```
//! use sparsetape::optim::{Adam, Schedule, Update, clip_global_norm};
//! use sparsetape::{DType, Fallback, Init, Parameter, Params, Tape, Tensor, Var};
//!
//! fn logits<'t>(x: Var<'t>, w: Var<'t>, v: Var<'t>) -> Var<'t> {
//!     (x.dot(w) + x.pair_interactions(v)).reshape(&[-1])
//! }
//!
//! let columns = 1_000_000_000;
//! let w = Parameter::drawn("w", [columns, 1], DType::F32, Init::Constant(0.0), 1)?;
//! let v = Parameter::drawn("v", [columns, 8], DType::F32, Init::Normal(0.1), 2)?;
//! let params = Params::new([&w, &v])?;
//! let mut adam = Adam::new(Schedule::cosine(0.05, 100).warm_up(5)).update(Update::Exact);
//!
//! let x = Tensor::from_rows(columns, &[vec![(3, 1.0f32), (70_000, 2.0)], vec![(3, -1.0)]])?;
//! let y = Tensor::dense([2], vec![1.0f32, 0.0])?;
//! let mut last = f32::INFINITY;
//! for _ in 0..20 {
//!     let tape = Tape::new();
//!     tape.set_fallback(Fallback::Deny);
//!     let (x, y) = (tape.constant(x.clone()), tape.constant(y.clone()));
//!     let loss = logits(x, tape.parameter(&w), tape.parameter(&v)).sigmoid_binary_cross_entropy(y);
//!     let mut gradients = loss.backward()?;
//!     clip_global_norm(&params, &mut gradients, 10.0)?;
//!     adam.step(&params, &gradients)?;
//!     last = loss.item()?;
//! }
//! assert!(last < 0.5);
//! assert_eq!(v.stored_rows()?, [3, 70_000]);
//! assert!(params.bytes()? < 10_000);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! One optimizer moves any mix of dense and row-sparse parameters; what it keeps of a row (momentum, averages) is kept
//! beside the row. There are [`Sgd`](crate::optim::Sgd), [`Adam`](crate::optim::Adam), [`AdamW`](crate::optim::AdamW),
//! [`AdaGrad`](crate::optim::AdaGrad) and [`Ftrl`](crate::optim::Ftrl), whose L1 penalty makes rows exactly zero; another
//! implements the trait [`Optimizer`](crate::optim::Optimizer).
//!
//! # What else can be said of a parameter
//!
//! - [`set_multipliers`](crate::Parameter::set_multipliers): its own factors on learning rate and decay.
//! - [`set_grad_req`](crate::Parameter::set_grad_req): not trained (`Null`), or accumulated (`Add`).
//! - [`freeze_rows`](crate::Parameter::freeze_rows): rows that stay, say pretrained embeddings.
//! - [`rows`](crate::Parameter::rows), [`set_rows`](crate::Parameter::set_rows): reading and writing some rows.
//! - [`retain_rows`](crate::Parameter::retain_rows),
//!   [`evict_rows_unchanged_since`](crate::Parameter::evict_rows_unchanged_since): forgetting rare ones.
//! - [`rows_changed_since`](crate::Parameter::rows_changed_since): a [delta](super::deployment#updates) for a model that
//!   serves.
//!
//! [Guide](super) · previous: [gradients](super::gradients) · next: [training](super::training)
