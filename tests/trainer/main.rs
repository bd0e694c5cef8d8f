//! Training through the trainer.

mod differential;
mod laws;
mod reference;
