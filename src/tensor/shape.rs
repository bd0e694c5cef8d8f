//! Shapes: sizes per axis, outermost first.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::error::{Error, ErrorKind, Result};

/// Sizes per axis, outermost first; `()` is a single number (0-d).
///
/// ```
/// use sparsetape::Shape;
/// assert_eq!(Shape::from([2, 3]).to_string(), "(2, 3)");
/// assert_eq!(Shape::from([7]).to_string(), "(7,)");
/// assert_eq!(Shape::from([]).size(), 1);
/// ```
#[derive(Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape(SmallVec<[usize; 4]>);

/// A copy of the sizes at once; the derived one goes through them.
impl Clone for Shape {
    #[inline]
    fn clone(&self) -> Self {
        Shape(SmallVec::from_slice(&self.0))
    }
}

impl Shape {
    /// Number of elements, were the tensor dense; saturates.
    pub fn size(&self) -> usize {
        size_of(self)
    }

    /// The shape, if its number of elements fits `usize`.
    #[track_caller]
    pub(crate) fn checked(self) -> Result<Self> {
        if self.0.contains(&0) || checked_size(&self.0).is_some() {
            return Ok(self);
        }
        let message = format!("shape {self} has more elements than memory has addresses");
        Err(Error::new(ErrorKind::Shape, message))
    }

    pub(crate) fn push(&mut self, size: usize) {
        self.0.push(size);
    }
}

fn checked_size(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// Number of elements of a dense tensor of this shape; saturates.
#[inline]
pub(crate) fn size_of(shape: &[usize]) -> usize {
    if shape.contains(&0) { 0 } else { checked_size(shape).unwrap_or(usize::MAX) }
}

/// Elements in one slice of the first axis.
pub(crate) fn row_len(shape: &[usize]) -> usize {
    shape.get(1..).map_or(1, size_of)
}

/// The numpy broadcast of two shapes, aligned at the last axis, if they fit.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Shape> {
    let ndim = a.len().max(b.len());
    let dim = |s: &[usize], axis: usize| (axis + s.len()).checked_sub(ndim).map_or(1, |i| s[i]);
    let fit = |axis| match (dim(a, axis), dim(b, axis)) {
        (x, y) if x == y || y == 1 => Some(x),
        (1, y) => Some(y),
        _ => None,
    };
    (0..ndim).map(fit).collect()
}

impl Deref for Shape {
    type Target = [usize];

    #[inline]
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(sizes: I) -> Self {
        Shape(sizes.into_iter().collect())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        sizes.into_iter().collect()
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Shape(sizes.into())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Self {
        Shape(sizes.into())
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_shape(f, self.iter())
    }
}

/// `(2, 3)`, `(7,)` or `()`, as numpy prints shapes.
pub(crate) fn write_shape<D: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    sizes: impl ExactSizeIterator<Item = D>,
) -> fmt::Result {
    let one = sizes.len() == 1;
    f.write_str("(")?;
    for (axis, size) in sizes.enumerate() {
        write!(f, "{}{size}", if axis > 0 { ", " } else { "" })?;
    }
    f.write_str(if one { ",)" } else { ")" })
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
