//! csrᵀ · dense, merged into sorted unique rows.

use super::{Size, Visit};

pub fn cases(_: Size, _: Visit) {}
