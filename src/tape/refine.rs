//! Shapes that may be partly unknown, refined from both ends.

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Shape;
use crate::tensor::shape::write_shape;

const UNKNOWN: usize = usize::MAX;

/// A shape of which the rank, or some sizes, may be unknown.
///
/// Operators refine the partial shapes of their operands and their result: facts flow both ways, so
/// a known result gives a missing weight its shape.
///
/// ```
/// use sparsetape::PartialShape;
/// let mut a = PartialShape::from([Some(2), None]);
/// let mut b = PartialShape::from([None, Some(3)]);
/// a.unify(&mut b)?;
/// assert_eq!(a.to_string(), "(2, 3)");
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Vec<Option<usize>>>", into = "Option<Vec<Option<usize>>>")]
pub struct PartialShape {
    dims: Option<SmallVec<[usize; 4]>>,
}

impl PartialShape {
    /// Nothing known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The rank, if known.
    pub fn rank(&self) -> Option<usize> {
        self.dims.as_ref().map(|d| d.len())
    }

    /// The size of an axis, if known.
    pub fn dim(&self, axis: usize) -> Option<usize> {
        self.dims.as_ref()?.get(axis).copied().filter(|&d| d != UNKNOWN)
    }

    /// All sizes, if all of them are known.
    #[inline]
    pub(crate) fn dims(&self) -> Option<&[usize]> {
        self.dims.as_deref().filter(|dims| !dims.contains(&UNKNOWN))
    }

    /// The sizes, `None` where unknown, if the rank is known.
    pub fn sizes(&self) -> Option<Vec<Option<usize>>> {
        let size = |&d: &usize| (d != UNKNOWN).then_some(d);
        self.dims.as_ref().map(|dims| dims.iter().map(size).collect())
    }

    /// The number of elements along these axes, if their sizes are known and it can be counted.
    pub(crate) fn product(&self, mut axes: impl Iterator<Item = usize>) -> Option<u128> {
        axes.try_fold(1u128, |n, axis| n.checked_mul(self.dim(axis)? as u128))
    }

    /// The shape, if all of it is known.
    pub fn known(&self) -> Option<Shape> {
        self.dims().map(Shape::from)
    }

    /// States the rank.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if another rank is known.
    pub fn set_rank(&mut self, rank: usize) -> Result<()> {
        match self.rank() {
            None => self.dims = Some(SmallVec::from_elem(UNKNOWN, rank)),
            Some(known) if known == rank => {}
            Some(known) => {
                let axes = if rank == 1 { "axis" } else { "axes" };
                let message = format!("needs {rank} {axes}, got {known}: {self}");
                return Err(Error::new(ErrorKind::Shape, message));
            }
        }
        Ok(())
    }

    /// States the size of an axis of a shape of known rank.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if another size is known, or there is no such axis.
    pub fn set_dim(&mut self, axis: usize, size: usize) -> Result<()> {
        let Some(dim) = self.dims.as_mut().and_then(|d| d.get_mut(axis)) else {
            return Err(Error::new(ErrorKind::Shape, format!("there is no axis {axis} in {self}")));
        };
        if *dim != UNKNOWN && *dim != size {
            let message = format!("axis {axis} has size {dim}, but {size} is needed");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        *dim = size;
        Ok(())
    }

    /// States the whole shape.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if it contradicts what is known.
    pub fn set(&mut self, shape: &[usize]) -> Result<()> {
        self.unify(&mut PartialShape::from(shape))
    }

    /// Makes both the same, with all that is known of either.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if they contradict each other.
    pub fn unify(&mut self, other: &mut PartialShape) -> Result<()> {
        match (&mut self.dims, &mut other.dims) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                let fits = |(a, b): (&usize, &usize)| a == b || *a == UNKNOWN || *b == UNKNOWN;
                if !a.iter().zip(b.iter()).all(fits) {
                    return Err(self.contradiction(other));
                }
                for (a, b) in a.iter_mut().zip(b.iter_mut()) {
                    let known = if *a == UNKNOWN { *b } else { *a };
                    (*a, *b) = (known, known);
                }
            }
            (Some(_), Some(_)) => return Err(self.contradiction(other)),
            (Some(a), None) => other.dims = Some(a.clone()),
            (None, b) => self.dims = b.clone(),
        }
        Ok(())
    }

    /// Finds the one unknown size among these axes, along which there are `total` elements.
    fn complete(&mut self, axes: impl Iterator<Item = usize> + Clone, total: u128) -> Result<()> {
        let mut open = axes.clone().filter(|&axis| self.dim(axis).is_none());
        let (Some(axis), None) = (open.next(), open.next()) else { return Ok(()) };
        let Some(others) = self.product(axes.filter(|&other| other != axis)) else { return Ok(()) };
        match total.checked_div(others) {
            None => Ok(()),
            Some(size) if size * others == total && size < UNKNOWN as u128 => {
                self.set_dim(axis, size as usize)
            }
            Some(_) => {
                let message = format!("{total} elements do not fit {self}");
                Err(Error::new(ErrorKind::Shape, message))
            }
        }
    }

    fn contradiction(&self, other: &PartialShape) -> Error {
        Error::new(ErrorKind::Shape, format!("shapes {self} and {other} differ"))
    }
}

/// Makes two axes, of two shapes of known rank, the same size.
///
/// # Errors
/// [`ErrorKind::Shape`] if both are known and differ.
pub(crate) fn unify_dims(
    (a, i): (&mut PartialShape, usize),
    (b, j): (&mut PartialShape, usize),
) -> Result<()> {
    match (a.dim(i), b.dim(j)) {
        (Some(x), Some(y)) if x != y => {
            let message = format!("axis {i} of {a} and axis {j} of {b} differ: {x} and {y}");
            Err(Error::new(ErrorKind::Shape, message))
        }
        (Some(x), None) => b.set_dim(j, x),
        (None, Some(y)) => a.set_dim(i, y),
        _ => Ok(()),
    }
}

/// Makes pairs of axes, of two shapes of known rank, the same size.
///
/// # Errors
/// [`ErrorKind::Shape`] if both are known and differ.
pub(crate) fn unify_axes(
    a: &mut PartialShape,
    b: &mut PartialShape,
    mut pairs: impl Iterator<Item = (usize, usize)>,
) -> Result<()> {
    pairs.try_for_each(|(i, j)| unify_dims((a, i), (b, j)))
}

/// Gives `a` as many axes as `b`, and the reverse; how many, if it is known.
///
/// # Errors
/// [`ErrorKind::Shape`] if both are known and differ.
pub(crate) fn unify_ranks(a: &mut PartialShape, b: &mut PartialShape) -> Result<Option<usize>> {
    ranks_apart(a, b, 0)
}

/// Gives `b` so many more axes than `a`, and the reverse; the rank of `a`, if it is known.
///
/// # Errors
/// [`ErrorKind::Shape`] if both are known and differ by another number.
pub(crate) fn ranks_apart(
    a: &mut PartialShape,
    b: &mut PartialShape,
    more: usize,
) -> Result<Option<usize>> {
    match (a.rank(), b.rank()) {
        (Some(rank), _) => b.set_rank(rank + more)?,
        (None, Some(rank)) => match rank.checked_sub(more) {
            Some(rank) => a.set_rank(rank)?,
            None => b.set_rank(more)?,
        },
        (None, None) => {}
    }
    Ok(a.rank())
}

/// Finds the one unknown size among axes `of_a` of one shape and `of_b` of another, along which they
/// have as many elements.
///
/// # Errors
/// [`ErrorKind::Shape`] if no size does.
pub(crate) fn unify_products(
    (a, of_a): (&mut PartialShape, impl Iterator<Item = usize> + Clone),
    (b, of_b): (&mut PartialShape, impl Iterator<Item = usize> + Clone),
) -> Result<()> {
    match (a.product(of_a.clone()), b.product(of_b.clone())) {
        (Some(n), None) => b.complete(of_b, n),
        (None, Some(n)) => a.complete(of_a, n),
        (Some(n), Some(m)) if n != m => {
            let message = format!("{n} elements of {a} do not fit {m} of {b}");
            Err(Error::new(ErrorKind::Shape, message))
        }
        _ => Ok(()),
    }
}

impl From<&[usize]> for PartialShape {
    fn from(shape: &[usize]) -> Self {
        PartialShape { dims: Some(shape.into()) }
    }
}

impl<const N: usize> From<[usize; N]> for PartialShape {
    fn from(shape: [usize; N]) -> Self {
        PartialShape::from(&shape[..])
    }
}

impl From<&Shape> for PartialShape {
    fn from(shape: &Shape) -> Self {
        PartialShape::from(&shape[..])
    }
}

impl FromIterator<Option<usize>> for PartialShape {
    fn from_iter<I: IntoIterator<Item = Option<usize>>>(sizes: I) -> Self {
        let sizes = sizes.into_iter().map(|size| size.unwrap_or(UNKNOWN));
        PartialShape { dims: Some(sizes.collect()) }
    }
}

impl<const N: usize> From<[Option<usize>; N]> for PartialShape {
    fn from(dims: [Option<usize>; N]) -> Self {
        Some(dims.to_vec()).into()
    }
}

impl From<Option<Vec<Option<usize>>>> for PartialShape {
    fn from(dims: Option<Vec<Option<usize>>>) -> Self {
        let size = |d: Option<usize>| d.unwrap_or(UNKNOWN);
        PartialShape { dims: dims.map(|dims| dims.into_iter().map(size).collect()) }
    }
}

impl From<PartialShape> for Option<Vec<Option<usize>>> {
    fn from(shape: PartialShape) -> Self {
        shape.sizes()
    }
}

impl fmt::Debug for PartialShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PartialShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(dims) = &self.dims else {
            return f.write_str("(..)");
        };
        let text = |&d: &usize| if d == UNKNOWN { "?".to_owned() } else { d.to_string() };
        write_shape(f, dims.iter().map(text))
    }
}
