//! Optimizers: they move only the rows that a gradient holds.

mod adam;
mod clip;
mod reduce;
mod schedule;
mod settings;
mod sgd;
mod step;

pub use adam::{Adam, AdamW};
pub use clip::clip_global_norm;
pub use reduce::merge;
pub use schedule::Schedule;
pub use settings::Update;
pub use sgd::Sgd;

use crate::error::Result;
use crate::tape::{Gradients, Params};

/// Moves parameters along their gradients.
pub trait Optimizer {
    /// Moves the parameters by their gradients.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) or [`ErrorKind::DType`](crate::ErrorKind::DType) for a
    /// gradient that does not fit its parameter, [`ErrorKind::Busy`](crate::ErrorKind::Busy) while a
    /// parameter is read elsewhere, [`ErrorKind::Value`](crate::ErrorKind::Value) for a setting that is
    /// not finite; nothing moves then.
    fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()>;
}
