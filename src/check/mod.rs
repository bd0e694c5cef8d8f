//! Checks: gradients against finite differences, operators against their own definition.
//!
//! [`gradcheck`] takes a closure, such as a loss; [`check_op`] takes an operator and needs nothing
//! but its samples.

mod backward;
mod batches;
mod check_op;
#[cfg(test)]
mod compositions;
mod differences;
mod forward;
mod frozen;
mod gradcheck;
mod heads;
#[cfg(feature = "proptest")]
mod patterns;
mod places;
mod refusals;
mod repeated;
mod report;
mod stale;
mod subject;
mod symbolic;
mod tables;
mod trial;
mod unread;
mod wide;

pub use check_op::check_op;
pub use gradcheck::{GradCheck, gradcheck};
#[cfg(feature = "proptest")]
pub use patterns::check_patterns;
pub use repeated::{Repeated, repeated};
pub use report::{Entry, Report};
pub use tables::{write_denser, write_table};
pub use trial::Checked;
pub use wide::{Wide, sparse_rows, wide_samples};
