//! The few operators that recording and the backward pass themselves need.

mod accumulate;
mod broadcast;
mod cast;
mod like;
mod project;

pub use accumulate::Accumulate;
pub use broadcast::{Axes, BroadcastLike, Reduction, SumLike};
pub(crate) use broadcast::{reduce, sum_mimic};
pub use cast::{Cast, CastStorage};
pub use like::{OnesLike, ZerosLike};
pub use project::Project;
