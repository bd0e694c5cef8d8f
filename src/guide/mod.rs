//! A guided tour, in pages of a few minutes each.
//!
//! They are to be read in order: a small model, logistic regression on rows of a million columns, grows through them
//! into a factorization machine that is trained, checked, frozen and deployed. All code on these pages runs with the
//! crate's tests.
//!
//! 1. [Concepts](concepts): what is sparse here, and what that saves
//! 2. [The tape](tape): recording, parameters, errors that name your line
//! 3. [Storage types](storage_types): dense, csr, row-sparse, and what makes a value dense
//! 4. [Gradients](gradients): touched rows, accumulation, higher orders, checks
//! 5. [Optimizers](optimizers): three ways to treat the rows without a gradient
#![cfg_attr(
    feature = "data",
    doc = "6. [Training](training): data, the trainer, metrics, checkpoints, or a plain loop"
)]
#![cfg_attr(not(feature = "data"), doc = "6. Training (feature `data`)")]
//! 7. [Graphs](graphs): symbolic or frozen, bound and optimized; seeing what runs
//! 8. [Deployment](deployment): one file, an executor per thread, row requests, updates
//! 9. [Extending](extending): an operator of your own
//! 10. [Speed](speed): how the kernels work, and why so
//!
//! For those who come from elsewhere, each idiom beside ours:
#![cfg_attr(feature = "data", doc = "[MXNet](for_mxnet_users), [PyTorch](for_pytorch_users).")]
#![cfg_attr(not(feature = "data"), doc = "MXNet, PyTorch (feature `data`).")]
//!
//! Reference pages that the tour leads to: the [storage types of every operator](crate::ops), the
//! [mathematics of the update modes](crate::optim), [what a checkpoint holds](crate::train), all
//! [metrics](crate::train::metrics). Complete programs are in the repository's `examples`.

pub mod concepts;
pub mod deployment;
pub mod extending;
#[cfg(feature = "data")]
pub mod for_mxnet_users;
#[cfg(feature = "data")]
pub mod for_pytorch_users;
pub mod gradients;
pub mod graphs;
pub mod optimizers;
pub mod speed;
pub mod storage_types;
pub mod tape;
#[cfg(feature = "data")]
pub mod training;
