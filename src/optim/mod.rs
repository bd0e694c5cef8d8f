//! Optimizers: they move only the rows that a gradient holds.

mod sgd;

pub use sgd::Sgd;
