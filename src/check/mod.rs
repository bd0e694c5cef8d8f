//! Checks: gradients against finite differences, operators against their own definition.

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

pub use check_op::{Checked, check_op};
pub use gradcheck::{GradCheck, gradcheck};
pub use report::{Entry, Report};
pub use tables::write_table;
