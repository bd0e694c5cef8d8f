//! Optimizers: what the three ways to update promise.

mod adagrad;
mod adam;
mod exact;
mod ftrl;
mod mixed;
mod model;
mod rows;
