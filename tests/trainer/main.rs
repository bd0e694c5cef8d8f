//! Training through the trainer.

mod differential;
mod interruptions;
mod laws;
mod misuse;
mod reference;
