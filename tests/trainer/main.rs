//! Training through the trainer.

mod laws;
mod reference;
