//! Optimizers: what the three ways to update promise.

mod exact;
mod rows;
