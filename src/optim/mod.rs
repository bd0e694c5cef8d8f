//! Optimizers: they move only the rows that a gradient holds.

mod clip;
mod reduce;
mod schedule;
mod settings;
mod sgd;
mod state;
mod step;

pub use clip::clip_global_norm;
pub use reduce::merge;
pub use schedule::Schedule;
pub use settings::Update;
pub use sgd::Sgd;
pub use state::OptimizerState;

use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Gradients, Params};

/// Moves parameters along their gradients.
pub trait Optimizer {
    /// Moves the parameters by their gradients.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] or [`ErrorKind::DType`] for a
    /// gradient that does not fit its parameter, [`ErrorKind::Busy`] while a
    /// parameter is read elsewhere, [`ErrorKind::Value`] for a setting that is
    /// not finite; nothing moves then.
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
        Err(not_implemented("save_state"))
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
        Err(not_implemented("load_state"))
    }
}

#[track_caller]
fn not_implemented(method: &str) -> Error {
    let message = format!("the optimizer does not implement `Optimizer::{method}`");
    Error::new(ErrorKind::State, message).operator("checkpoint")
}
