//! csr · dense.

use super::{Size, Visit};

pub fn cases(_: Size, _: Visit) {}
