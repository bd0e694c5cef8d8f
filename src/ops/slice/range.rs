//! Ranges of an axis, as a user writes them and as they are for an axis of known size.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::steps::Steps;

/// Part of an axis: a Rust range, in which negative bounds count from the end, and a step.
///
/// A step of n keeps every n-th index; with a negative one the part runs backwards, from its first
/// bound down to before its second (all of the axis, if a bound is left out). Clippy takes a literal
/// `1..-1` or `3..0` for a mistake; [`SliceRange::new`] says the same.
///
/// ```
/// use sparsetape::{SliceRange, Tensor};
/// let x = Tensor::dense([5], vec![0i64, 1, 2, 3, 4])?;
/// assert_eq!(x.slice((-4..,))?.values::<i64>()?, [1, 2, 3, 4]);
/// assert_eq!(x.slice((SliceRange::new(1, -1),))?.values::<i64>()?, [1, 2, 3]);
/// assert_eq!(x.slice((SliceRange::from(..).step(2),))?.values::<i64>()?, [0, 2, 4]);
/// assert_eq!(x.slice((SliceRange::new(3, 0).step(-1),))?.values::<i64>()?, [3, 2, 1]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceRange {
    begin: Option<isize>,
    end: Option<isize>,
    step: isize,
}

impl SliceRange {
    /// From `begin` to before `end`, with a step of 1. `None` is the end of the axis where the step
    /// starts or leads.
    pub fn new(begin: impl Into<Option<isize>>, end: impl Into<Option<isize>>) -> Self {
        SliceRange { begin: begin.into(), end: end.into(), step: 1 }
    }

    /// The same bounds with another step, which must not be 0.
    pub fn step(self, step: isize) -> Self {
        SliceRange { step, ..self }
    }

    /// Whether it is all of an axis of any size, forwards or backwards.
    pub(super) fn keeps_all(&self) -> bool {
        self.begin.is_none() && self.end.is_none() && self.step.unsigned_abs() == 1
    }

    /// The indices of an axis of this size. As in Python and MXNet, an end beyond the axis is the
    /// end of the axis; a begin beyond it is an error.
    pub(super) fn steps(&self, axis: usize, size: usize) -> Result<Steps> {
        let fault = |kind, message: String| Err(Error::new(kind, message));
        if self.step == 0 {
            return fault(ErrorKind::Value, format!("axis {axis}: a step of 0"));
        }
        let (n, step) = (size as i128, self.step as i128);
        let from_front = |bound: isize| bound as i128 + if bound < 0 { n } else { 0 };
        let backwards = step < 0;
        let begin = match self.begin {
            Some(bound) if !(0..=n).contains(&from_front(bound)) => {
                let message = format!("axis {axis} begins at {bound}, but its size is {size}");
                return fault(ErrorKind::Index, message);
            }
            Some(bound) => from_front(bound),
            None => {
                if backwards {
                    n
                } else {
                    0
                }
            }
        };
        let (begin, end) = match self.end.map(from_front) {
            end if backwards => (begin.min(n - 1), end.unwrap_or(-1).max(-1)),
            end => (begin, end.unwrap_or(n).min(n)),
        };
        let distance = if backwards { begin - end } else { end - begin };
        let len = (distance.max(0) as u128).div_ceil(step.unsigned_abs()) as usize;
        Ok(match len {
            0 => Steps::run(0, 0),
            1 => Steps::run(begin as usize, 1),
            _ => Steps { start: begin as usize, step: self.step, len },
        })
    }
}

/// The bound after an inclusive one; after the last index there is none.
fn after(last: isize) -> Option<isize> {
    last.checked_add(1).filter(|&end| end != 0)
}

macro_rules! ranges {
    ($($range:ty, $r:ident => ($begin:expr, $end:expr);)*) => {
        $(
            impl From<$range> for SliceRange {
                fn from($r: $range) -> Self {
                    SliceRange { begin: $begin, end: $end, step: 1 }
                }
            }
        )*
    };
}

ranges! {
    Range<isize>, r => (Some(r.start), Some(r.end));
    RangeInclusive<isize>, r => (Some(*r.start()), after(*r.end()));
    RangeFrom<isize>, r => (Some(r.start), None);
    RangeTo<isize>, r => (None, Some(r.end));
    RangeToInclusive<isize>, r => (None, after(r.end));
    RangeFull, _r => (None, None);
}
