//! Optimizers: they move only the rows that a gradient holds.

mod clip;
mod sgd;

pub use clip::clip_global_norm;
pub use sgd::Sgd;
