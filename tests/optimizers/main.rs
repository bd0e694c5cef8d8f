//! Optimizers: what the three ways to update promise.

mod adam;
mod exact;
