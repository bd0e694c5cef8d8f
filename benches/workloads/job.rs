//! A whole job: a libsvm file is read, logistic regression trained, rows held out scored.

use super::{Size, Visit};

pub fn cases(_: Size, _: Visit) {}
