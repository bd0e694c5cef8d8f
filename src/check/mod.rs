//! Checks: gradients against finite differences, operators against their own definition.
//!
//! [`gradcheck`] takes a closure, such as a loss; [`check_op`] takes an operator and needs nothing
//! but its samples.

mod backward;
mod batches;
mod check_op;
mod differences;
mod forward;
mod gradcheck;
mod heads;
mod places;
mod refusals;
mod report;
mod tables;
mod unread;

pub use check_op::{Checked, check_op};
pub use gradcheck::{GradCheck, gradcheck};
pub use report::{Entry, Report};
pub use tables::write_table;
