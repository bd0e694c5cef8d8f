//! Optimizers: unless told otherwise, they move only the rows that a gradient holds.
//!
//! [`Sgd`], [`Adam`], [`AdamW`], [`AdaGrad`] and [`Ftrl`] take a learning rate or a [`Schedule`]. One optimizer moves
//! any mix of parameters: dense and row-sparse ones, by dense and row-sparse gradients. What it keeps of a parameter
//! (momentum and the like) is kept beside the parameter's rows. Between the backward pass and the step, gradients of
//! workers are [reduced](Gradients::reduce), [scaled](Gradients::scale), or [clipped](clip_global_norm).
//!
//! # Three ways to update
//!
//! A row-sparse gradient says nothing of most rows of its table. The textbook's update still moves them: momentum
//! coasts on, weight decay shrinks them. [`Update`] says what happens instead; here for SGD with the rate ηₜ of
//! step t, momentum μ and decay λ, a row w with momentum m, and its gradient g where it has one:
//!
//! | | rows with a gradient | rows without |
//! |---|---|---|
//! | [`Update::Lazy`] | m ← μm − ηₜ(g + λw); w ← w + m | stay as they are |
//! | [`Update::Dense`] | the same | m ← μm − ηₜλw; w ← w + m, in every step |
//! | [`Update::Exact`] | the same, after the steps that the row missed | as dense, when they are next read |
//!
//! - **Lazy** costs what the gradient holds. It is another algorithm: momentum and decay act on a row in the steps
//!   that touch it, so rare rows decay less and coast not at all. This is what MXNet calls `lazy_update`, and what
//!   sparse optimizers of other frameworks do.
//! - **Dense** costs the whole table in every step.
//! - **Exact** gives what dense gives, to rounding, and costs about what lazy costs. With a gradient of zeros a step
//!   is a linear map of (w, m), so the steps that a row missed are one product of 2×2 matrices
//!
//!   ```text
//!   (w)   (1 − ηₜλ  μ) (w)
//!   (m) ← ( −ηₜλ    μ) (m)
//!   ```
//!
//!   Products over blocks of 64, 4096, … steps are kept, for any schedule of ηₜ, so that a row catches up over
//!   n steps with O(log n) products. It must do so *before it is read*: a gradient taken at a stale row is
//!   another gradient. Therefore whatever reads a parameter goes through the parameter, which knows which rows the
//!   operator is about to read (the columns of a csr matrix, ids) and brings those up to date; what reads
//!   the whole table ([`Parameter::snapshot`], saving, an operator without row names) brings up to date all of it.
//!   The products start again, after all rows are brought up to date, when they have grown beside the
//!   table.
//!
//! The other optimizers have the same three ways: [`Adam`](Adam#update-modes) says what exact updates cost it, which
//! have no such products, [`Ftrl`](Ftrl#ways-to-update) and [`AdaGrad`] why they need next to nothing.
//!
//! In dense and exact mode a parameter without a gradient moves as by a gradient of zeros, unless its
//! [`GradReq`](crate::GradReq) is `Null`; in lazy mode it stays.
//!
//! ```
//! use sparsetape::optim::{Sgd, Update};
//! use sparsetape::{Parameter, Params, Tape, Tensor};
//!
//! // Row 0 has a gradient in the first and the last of ten steps, row 1 never.
//! let train = |update| -> sparsetape::Result<Vec<f64>> {
//!     let w = Parameter::new("w", Tensor::full([2, 1], 1.0f64)?)?;
//!     let other = Parameter::new("other", Tensor::full([1], 1.0f64)?)?;
//!     let params = Params::new([&w, &other])?;
//!     let mut sgd = Sgd::new(0.1).momentum(0.9).weight_decay(0.01).update(update);
//!     for step in 0..10 {
//!         let tape = Tape::new();
//!         let mut loss = tape.parameter(&other).square().sum();
//!         if step % 9 == 0 {
//!             let row = tape.parameter(&w).take(tape.constant(Tensor::dense([1], vec![0i64])?));
//!             loss = loss + row.square().sum();
//!         }
//!         sgd.step(&params, &loss.backward()?)?;
//!     }
//!     Ok(w.snapshot()?.values::<f64>()?.to_vec())
//! };
//! let (lazy, exact, dense) = (train(Update::Lazy)?, train(Update::Exact)?, train(Update::Dense)?);
//! assert!((exact[0] - dense[0]).abs() < 1e-12 && (exact[1] - dense[1]).abs() < 1e-12);
//! assert!(lazy[1] == 1.0 && dense[1] < 0.97);
//! // Between its two gradients row 0 coasted a long way.
//! assert!((lazy[0] - dense[0]).abs() > 0.5);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! `cargo bench --bench updates` times the three.

mod adagrad;
mod adam;
mod clip;
mod ftrl;
mod reduce;
mod schedule;
mod settings;
mod sgd;
mod state;
mod step;

pub use adagrad::AdaGrad;
pub use adam::{Adam, AdamW};
pub use clip::clip_global_norm;
pub use ftrl::Ftrl;
pub use reduce::merge;
pub use schedule::Schedule;
pub use settings::Update;
pub use sgd::Sgd;
pub use state::OptimizerState;

use crate::error::{Error, ErrorKind, Result};
#[cfg(doc)]
use crate::tape::Parameter;
use crate::tape::{Gradients, Params};

/// Moves parameters along their gradients.
pub trait Optimizer {
    /// Moves the parameters by their gradients. Gradients of other parameters are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] or [`ErrorKind::DType`] for a
    /// gradient that does not fit its parameter, [`ErrorKind::Busy`] while a
    /// parameter is read elsewhere, [`ErrorKind::Value`] for a setting that is
    /// not finite; nothing moves then.
    #[track_caller]
    fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()>;

    /// What a [checkpoint](crate::train::Checkpoint) keeps of the optimizer: settings, counters, and states
    /// that the optimizer holds itself. The crate's own optimizers answer; an optimizer that does not, as it is
    /// without this method, cannot be part of a checkpoint. See the example of [`OptimizerState`].
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless implemented, or for settings that a file
    /// cannot hold.
    #[doc(alias = "state_dict")]
    #[track_caller]
    fn save_state(&self) -> Result<OptimizerState> {
        Err(not_implemented("save_state", "checkpoint"))
    }

    /// Goes on from what [`Optimizer::save_state`] gave: the settings and counters of then in place of
    /// the own. Nothing changes if there is an error.
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless implemented, or if the state is another kind
    /// of optimizer's.
    #[doc(alias = "load_state_dict")]
    #[track_caller]
    fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
        let _ = state;
        Err(not_implemented("load_state", "checkpoint"))
    }

    /// The learning rate of the next step; `None` unless implemented. The crate's own optimizers answer.
    fn learning_rate(&self) -> Option<f64> {
        None
    }

    /// Sets the learning rate, or its schedule, of the steps to come.
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless implemented.
    #[track_caller]
    fn set_learning_rate(&mut self, lr: Schedule) -> Result<()> {
        let _ = lr;
        Err(not_implemented("set_learning_rate", "learning rate"))
    }

    /// Sets the factor on every gradient of the steps to come, unless the optimizer was given one
    /// ([`Sgd::rescale_grad`]); whether the optimizer does so: `false` unless implemented, and its gradients are
    /// [scaled](Gradients::scale) before its steps. This is what a [trainer](crate::train::Trainer) does with the outputs
    /// of MXNet.
    fn default_rescale_grad(&mut self, factor: f64) -> bool {
        let _ = factor;
        false
    }
}

#[track_caller]
fn not_implemented(method: &str, operator: &str) -> Error {
    let message = format!("the optimizer does not implement `Optimizer::{method}`");
    Error::new(ErrorKind::State, message).operator(operator)
}

/// An optimizer that is lent.
impl<O: Optimizer + ?Sized> Optimizer for &mut O {
    #[track_caller]
    fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
        (**self).step(params, gradients)
    }

    #[track_caller]
    fn save_state(&self) -> Result<OptimizerState> {
        (**self).save_state()
    }

    #[track_caller]
    fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
        (**self).load_state(state)
    }

    fn learning_rate(&self) -> Option<f64> {
        (**self).learning_rate()
    }

    #[track_caller]
    fn set_learning_rate(&mut self, lr: Schedule) -> Result<()> {
        (**self).set_learning_rate(lr)
    }

    fn default_rescale_grad(&mut self, factor: f64) -> bool {
        (**self).default_rescale_grad(factor)
    }
}
