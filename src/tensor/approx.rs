//! Comparison: equal, equal bits, close. Values are compared across storage types without making
//! anything dense.

use std::cmp::Ordering;
use std::fmt;

use approx::{AbsDiffEq, RelativeEq, UlpsEq};

use super::dtype::Slice;
use super::stype::Type;
use super::{Layout, Shape, Tensor, row_len};

/// The first thing in which two tensors differ.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// The shapes or element types differ.
    Types {
        /// Type of the left tensor.
        left: Type,
        /// Type of the right tensor.
        right: Type,
    },
    /// An element differs (absent ones are 0).
    Element {
        /// Its position, one index per axis.
        index: Shape,
        /// What the left tensor holds there.
        left: f64,
        /// What the right tensor holds there.
        right: f64,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Types { left, right } => write!(f, "{left} against {right}"),
            Difference::Element { index, left, right } => {
                write!(f, "element {index}: {left:?} against {right:?}")
            }
        }
    }
}

/// Panics unless `left` and `right` have the same shape and element type and each pair of elements
/// is within `relative` times the larger magnitude, or within `absolute`, of each other. The message
/// names the first bad element. It is meant for tests; programs ask [`Tensor::first_difference`].
///
/// ```
/// use sparsetape::{Stype, Tensor, assert_close};
/// let x = Tensor::dense([2, 2], vec![0.0f32, 1.0, 0.0, 2.0])?;
/// assert_close(&x, &x.cast_storage(Stype::Csr)?, 0.0, 0.0);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Panics
/// As said.
#[track_caller]
pub fn assert_close(left: &Tensor, right: &Tensor, relative: f64, absolute: f64) {
    if let Some(difference) = left.first_difference(right, absolute, relative) {
        panic!("tensors differ (relative {relative:e}, absolute {absolute:e}): {difference}");
    }
}

/// When two elements count as equal.
#[derive(Clone, Copy)]
enum Tolerance {
    Relative { epsilon: f64, max_relative: f64 },
    Ulps { epsilon: f64, max_ulps: u32 },
}

impl Tolerance {
    fn accepts(self, left: Value, right: Value) -> bool {
        match (left, right) {
            (Value::F32(a), Value::F32(b)) => match self {
                Tolerance::Ulps { epsilon, max_ulps } => {
                    same(a.into(), b.into()) || a.ulps_eq(&b, epsilon as f32, max_ulps)
                }
                relative => relative.accepts_floats(a.into(), b.into()),
            },
            (Value::I64(a), Value::I64(b)) => match self {
                Tolerance::Ulps { epsilon, max_ulps } => {
                    a.abs_diff(b) <= max_ulps.into() || a.abs_diff(b) as f64 <= epsilon
                }
                Tolerance::Relative { epsilon, max_relative } => {
                    let largest = a.unsigned_abs().max(b.unsigned_abs()) as f64;
                    a == b || a.abs_diff(b) as f64 <= epsilon.max(largest * max_relative)
                }
            },
            (a, b) => self.accepts_floats(a.to_f64(), b.to_f64()),
        }
    }

    fn accepts_floats(self, a: f64, b: f64) -> bool {
        same(a, b)
            || match self {
                Tolerance::Relative { epsilon, max_relative } => {
                    a.relative_eq(&b, epsilon, max_relative)
                }
                Tolerance::Ulps { epsilon, max_ulps } => a.ulps_eq(&b, epsilon, max_ulps),
            }
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// One element.
#[derive(Clone, Copy)]
enum Value {
    F32(f32),
    F64(f64),
    I64(i64),
}

impl Value {
    fn to_f64(self) -> f64 {
        match self {
            Value::F32(x) => x.into(),
            Value::F64(x) => x,
            Value::I64(x) => x as f64,
        }
    }

    /// The stored value at a position, or the zero of an absent one.
    fn of(values: Slice<'_>, at: Option<usize>) -> Value {
        match values {
            Slice::F32(v) => Value::F32(at.map_or(0.0, |k| v[k])),
            Slice::F64(v) => Value::F64(at.map_or(0.0, |k| v[k])),
            Slice::I64(v) => Value::I64(at.map_or(0, |k| v[k])),
        }
    }
}

/// A row, a place in it, and the position among the stored values.
pub(crate) type Stored = ((usize, usize), usize);

impl Tensor {
    /// The first element, in row-major order, in which two tensors differ by more than `epsilon`
    /// and by more than `max_relative` times the larger magnitude. NaN equals NaN; an absent entry
    /// equals a stored zero: storage types need not agree, shapes and element types must. Nothing
    /// becomes dense; the cost is that of walking the stored values.
    ///
    /// ```
    /// use sparsetape::{Difference, Stype, Tensor};
    /// let x = Tensor::dense([2, 2], vec![0.0f32, 1.0, 0.0, 2.0])?;
    /// let y = Tensor::csr([2, 2], vec![0, 1, 2], vec![1, 1], vec![1.0f32, 2.5])?;
    /// let difference = x.first_difference(&y, 0.0, 1e-6);
    /// let expected = Difference::Element { index: [1, 1].into(), left: 2.0, right: 2.5 };
    /// assert_eq!(difference, Some(expected));
    /// assert_eq!(x.first_difference(&x.cast_storage(Stype::Csr)?, 0.0, 0.0), None);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn first_difference(
        &self,
        other: &Tensor,
        epsilon: f64,
        max_relative: f64,
    ) -> Option<Difference> {
        self.differs(other, Tolerance::Relative { epsilon, max_relative })
    }

    /// Whether both have the same storage type, shape, element type and stored positions, and the
    /// same bits in every value. NaN equals NaN whatever its payload; -0.0 is not 0.0.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::dense([2], vec![0.0f32, f32::NAN])?;
    /// assert!(x.same_bits(&x.clone()));
    /// assert!(!x.same_bits(&Tensor::dense([2], vec![-0.0f32, f32::NAN])?));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn same_bits(&self, other: &Tensor) -> bool {
        let same_values = || match (self.values.as_slice(), other.values.as_slice()) {
            (Slice::F32(a), Slice::F32(b)) => {
                all(a, b, |x, y| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()))
            }
            (Slice::F64(a), Slice::F64(b)) => {
                all(a, b, |x, y| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()))
            }
            (Slice::I64(a), Slice::I64(b)) => a == b,
            _ => false,
        };
        self.same_places(other) && same_values()
    }

    /// Whether both store values at the same positions of the same shape, in the same way.
    fn same_places(&self, other: &Tensor) -> bool {
        self.shape == other.shape
            && match (&self.layout, &other.layout) {
                (Layout::Dense, Layout::Dense) => true,
                (Layout::Csr(a), Layout::Csr(b)) => a.same_entries(b),
                (Layout::RowSparse(a), Layout::RowSparse(b)) => a == b,
                _ => false,
            }
    }

    /// The stored values in row-major order.
    pub(crate) fn stored(&self) -> Box<dyn Iterator<Item = Stored> + '_> {
        let k = row_len(&self.shape);
        let row = move |(n, i): (usize, usize)| (0..k).map(move |j| ((i, j), n * k + j));
        match &self.layout {
            Layout::Dense => {
                let rows = self.shape.first().copied().unwrap_or(1);
                Box::new((0..rows).flat_map(move |i| row((i, i))))
            }
            Layout::Csr(pattern) => Box::new((0..pattern.rows()).flat_map(move |i| {
                pattern.row_range(i).map(move |e| ((i, pattern.indices()[e] as usize), e))
            })),
            Layout::RowSparse(rows) => {
                Box::new(rows.iter().enumerate().flat_map(move |(n, &i)| row((n, i as usize))))
            }
        }
    }

    fn differs(&self, other: &Tensor, tolerance: Tolerance) -> Option<Difference> {
        if self.shape != other.shape || self.dtype() != other.dtype() {
            return Some(Difference::Types { left: self.ty(), right: other.ty() });
        }
        merged(self.stored(), other.stored()).find_map(|(place, left, right)| {
            let left = Value::of(self.values.as_slice(), left);
            let right = Value::of(other.values.as_slice(), right);
            let element = || Difference::Element {
                index: index_of(place, &self.shape),
                left: left.to_f64(),
                right: right.to_f64(),
            };
            (!tolerance.accepts(left, right)).then(element)
        })
    }
}

fn all<T: Copy>(a: &[T], b: &[T], same: impl Fn(T, T) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(&x, &y)| same(x, y))
}

/// Walks two runs of stored values together: each place that one of them has, with the positions of
/// its values.
pub(crate) fn merged<'a>(
    left: impl Iterator<Item = Stored> + 'a,
    right: impl Iterator<Item = Stored> + 'a,
) -> impl Iterator<Item = ((usize, usize), Option<usize>, Option<usize>)> + 'a {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => a.0.cmp(&b.0),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let a = if order.is_le() { left.next() } else { None };
        let b = if order.is_ge() { right.next() } else { None };
        let place = a.or(b)?.0;
        Some((place, a.map(|x| x.1), b.map(|x| x.1)))
    })
}

/// The index of place `offset` in row `row`.
pub(crate) fn index_of((row, mut offset): (usize, usize), shape: &[usize]) -> Shape {
    let mut index: Vec<usize> = shape
        .iter()
        .skip(1)
        .rev()
        .map(|&d| {
            let i = offset % d;
            offset /= d;
            i
        })
        .collect();
    if !shape.is_empty() {
        index.push(row);
    }
    index.into_iter().rev().collect()
}

/// Same storage type, shape, element type, stored positions, and equal values as IEEE has it:
/// NaN is not equal to itself, -0.0 equals 0.0. Compare values across storage types with
/// [`Tensor::first_difference`], bits with [`Tensor::same_bits`].
///
/// ```
/// use sparsetape::{Stype, Tensor};
/// let x = Tensor::dense([2], vec![0.0f32, 1.0])?;
/// assert_eq!(x, Tensor::dense([2], vec![-0.0f32, 1.0])?);
/// assert_ne!(x, x.cast_storage(Stype::RowSparse)?);
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.same_places(other) && self.values == other.values
    }
}

/// Compares as [`Tensor::first_difference`] does. The default tolerance is `f64::EPSILON`, for
/// `f32` tensors too: name one that suits the computation.
///
/// ```
/// use sparsetape::{Stype, Tensor};
/// let x = Tensor::dense([3], vec![0.0f32, 1.0, f32::NAN])?;
/// let y = Tensor::dense([3], vec![0.0f32, 1.0625, f32::NAN])?.cast_storage(Stype::RowSparse)?;
/// approx::assert_abs_diff_eq!(x, y, epsilon = 0.1);
/// approx::assert_abs_diff_ne!(x, y, epsilon = 0.01);
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl AbsDiffEq for Tensor {
    type Epsilon = f64;

    fn default_epsilon() -> f64 {
        f64::EPSILON
    }

    fn abs_diff_eq(&self, other: &Self, epsilon: f64) -> bool {
        self.first_difference(other, epsilon, 0.0).is_none()
    }
}

/// Compares as [`Tensor::first_difference`] does.
///
/// ```
/// let x = sparsetape::Tensor::dense([1], vec![1e20f64])?;
/// let y = sparsetape::Tensor::dense([1], vec![1.001e20f64])?;
/// approx::assert_relative_eq!(x, y, max_relative = 0.01);
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl RelativeEq for Tensor {
    fn default_max_relative() -> f64 {
        f64::EPSILON
    }

    fn relative_eq(&self, other: &Self, epsilon: f64, max_relative: f64) -> bool {
        self.first_difference(other, epsilon, max_relative).is_none()
    }
}

/// Counts units in the last place of the tensors' element type (for `i64`, the plain difference).
///
/// ```
/// let x = sparsetape::Tensor::dense([1], vec![1.0f32])?;
/// let y = sparsetape::Tensor::dense([1], vec![1.0f32 + f32::EPSILON])?;
/// approx::assert_ulps_eq!(x, y, max_ulps = 1);
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl UlpsEq for Tensor {
    fn default_max_ulps() -> u32 {
        4
    }

    fn ulps_eq(&self, other: &Self, epsilon: f64, max_ulps: u32) -> bool {
        self.differs(other, Tolerance::Ulps { epsilon, max_ulps }).is_none()
    }
}
