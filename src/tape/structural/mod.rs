//! The few operators that recording and the backward pass themselves need.

mod accumulate;
mod broadcast;
mod cast;
mod folding;
mod like;
mod project;
mod reduction;

pub use accumulate::Accumulate;
pub(crate) use broadcast::Spread;
pub use broadcast::{BroadcastLike, SumLike};
pub use cast::{Cast, CastStorage};
pub(crate) use folding::Folding;
pub use like::{OnesLike, ZerosLike};
pub use project::Project;
pub(crate) use project::rows_at;
pub use reduction::{Axes, Reduction};
pub(crate) use reduction::{reduce, sum_mimic};
