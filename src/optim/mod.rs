//! Optimizers: they move only the rows that a gradient holds.

mod clip;
mod reduce;
mod schedule;
mod sgd;

pub use clip::clip_global_norm;
pub use reduce::merge;
pub use schedule::Schedule;
pub use sgd::Sgd;

use crate::error::Result;
use crate::tape::{Gradients, Params};

/// Moves parameters along their gradients.
pub trait Optimizer {
    /// Moves each parameter that has a gradient.
    ///
    /// # Errors
    /// What does not fit, before anything moves; [`ErrorKind::Busy`](crate::ErrorKind::Busy) while a
    /// parameter is read elsewhere.
    fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()>;
}

impl Optimizer for Sgd {
    fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
        Sgd::step(self, params, gradients)
    }
}
