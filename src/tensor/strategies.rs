//! Shrinking [`proptest`](mod@proptest) strategies for tensors.
//!
//! Shapes, positions and values shrink on their own: towards few rows, no entries, small numbers.
//!
//! ```
//! use proptest::prelude::*;
//! use sparsetape::Stype;
//! use sparsetape::strategies::{csr, exact};
//!
//! proptest!(|(x in csr(0..=4usize, 0..=5usize, exact::<f32>()))| {
//!     let dense = x.cast_storage(Stype::Default)?;
//!     prop_assert_eq!(x.first_difference(&dense, 0.0, 0.0), None);
//! });
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;

use super::construct::csr_from_sorted;
use super::dtype::Element;
use super::{Layout, Shape, Stype, Tensor, row_len};

/// Values in a tensor before they repeat.
const VALUES: usize = 48;
/// Entries or rows of a sparse tensor, at most.
const PLACES: usize = 16;

/// Integers and (for floats) halves from -8 to 8, zero among them: sums and products of a few are
/// exact.
pub fn exact<T: Element>() -> impl Strategy<Value = T> + Clone {
    let half = (-16i32..=16).prop_map(|x| T::from_f64(f64::from(x) / 2.0));
    prop_oneof![1 => Just(T::default()), 8 => half]
}

/// Finite values from -1000 to 1000, with [`exact`] ones among them.
///
/// ```
/// use proptest::prelude::*;
/// use sparsetape::strategies::finite;
/// proptest!(|(x in finite::<f64>())| prop_assert!(x.abs() <= 1000.0));
/// ```
pub fn finite<T: Element>() -> impl Strategy<Value = T> + Clone {
    prop_oneof![1 => exact::<T>(), 2 => (-1e3..1e3).prop_map(T::from_f64)]
}

/// [`finite`] values and, for floats, NaN, infinities, -0, the largest and the smallest of them;
/// for `i64`, its bounds.
///
/// ```
/// use proptest::prelude::*;
/// use sparsetape::Tensor;
/// use sparsetape::strategies::special;
/// proptest!(|(x in special::<f32>())| {
///     prop_assert!(Tensor::scalar(x).same_bits(&Tensor::scalar(x)));
/// });
/// ```
pub fn special<T: Element>() -> impl Strategy<Value = T> + Clone {
    let (largest, smallest) = (f64::from(f32::MAX), f64::from(f32::from_bits(1)));
    let odd = [-0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -largest, largest, smallest];
    prop_oneof![
        3 => finite::<T>(),
        1 => prop::sample::select(odd.to_vec()).prop_map(T::from_f64),
    ]
}

/// Shapes with a number of axes and sizes within ranges.
///
/// ```
/// use proptest::prelude::*;
/// use sparsetape::strategies::shape;
/// proptest!(|(s in shape(0..=3, 0..=4))| prop_assert!(s.size() <= 64));
/// ```
pub fn shape(
    axes: RangeInclusive<usize>,
    sizes: RangeInclusive<usize>,
) -> impl Strategy<Value = Shape> + Clone {
    vec(sizes, axes).prop_map(Shape::from)
}

/// A number of columns, or of rows of a row-sparse tensor: 0 to 6, or as many as ids can tell apart
/// (2^32).
///
/// ```
/// use proptest::prelude::*;
/// use sparsetape::strategies::{csr, extent, exact};
/// proptest!(|(x in csr(1..=3usize, extent(), exact::<f64>()))| {
///     prop_assert!(x.shape()[1] <= 1 << 32);
/// });
/// ```
pub fn extent() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![6 => 0..=6usize, 1 => Just(1usize << 32)]
}

/// Dense tensors.
///
/// ```
/// use proptest::prelude::*;
/// use sparsetape::strategies::{dense, exact, shape};
/// proptest!(|(x in dense(shape(1..=2, 0..=4), exact::<f32>()))| {
///     prop_assert_eq!(x.nnz(), x.shape().size());
/// });
/// ```
pub fn dense<T: Element>(
    shape: impl Strategy<Value = Shape>,
    values: impl Strategy<Value = T>,
) -> impl Strategy<Value = Tensor> {
    (shape, pool(values)).prop_map(|(shape, pool)| build_dense(shape, &pool))
}

/// CSR matrices: with and without entries, empty rows, explicit zeros (where `values` has them),
/// ids at either end of the columns. Ranges do as numbers of rows and columns.
///
/// ```
/// use proptest::prelude::*;
/// use sparsetape::strategies::{csr, exact};
/// proptest!(|(x in csr(0..=3usize, Just(1 << 32), exact::<f32>()))| {
///     prop_assert!(x.nnz() <= 16);
/// });
/// ```
pub fn csr<T: Element>(
    rows: impl Strategy<Value = usize>,
    cols: impl Strategy<Value = usize>,
    values: impl Strategy<Value = T>,
) -> impl Strategy<Value = Tensor> {
    (rows, cols, places(), pool(values))
        .prop_map(|(rows, cols, places, pool)| build_csr([rows, cols], &places, &pool))
}

/// Row-sparse tensors of shapes with one axis or more; the first may be huge.
///
/// ```
/// use proptest::prelude::*;
/// use sparsetape::strategies::{exact, row_sparse};
/// let shapes = (1..=3usize).prop_map(|k| [1 << 32, k].into());
/// proptest!(|(x in row_sparse(shapes, exact::<f32>()))| {
///     prop_assert!(x.rows().is_some_and(|ids| ids.len() <= 16));
/// });
/// ```
pub fn row_sparse<T: Element>(
    shape: impl Strategy<Value = Shape>,
    values: impl Strategy<Value = T>,
) -> impl Strategy<Value = Tensor> {
    (shape, places(), pool(values))
        .prop_map(|(shape, places, pool)| build_row_sparse(shape, &places, &pool))
}

/// Tensors of any storage type that suits the shape (0-d ones are dense).
///
/// ```
/// use proptest::prelude::*;
/// use sparsetape::Stype;
/// use sparsetape::strategies::{exact, shape, tensor};
/// proptest!(|(x in tensor(shape(0..=3, 0..=4), exact::<f32>()))| {
///     prop_assert!(x.stype() != Stype::Csr || x.ndim() == 2);
/// });
/// ```
pub fn tensor<T: Element>(
    shape: impl Strategy<Value = Shape>,
    values: impl Strategy<Value = T>,
) -> impl Strategy<Value = Tensor> {
    let stype = prop::sample::select(Stype::ALL.as_slice());
    (stype, shape, places(), pool(values)).prop_map(|(stype, shape, places, pool)| {
        match (stype, &shape[..]) {
            (Stype::Default, _) | (_, []) => build_dense(shape, &pool),
            (Stype::Csr, &[rows, cols]) => build_csr([rows, cols], &places, &pool),
            _ => build_row_sparse(shape, &places, &pool),
        }
    })
}

/// Where an entry is: far less than the bounds, or counted back from `u32::MAX`.
type Place = (u32, u32);

fn places() -> impl Strategy<Value = Vec<Place>> {
    let id =
        || prop_oneof![4 => 0..8u32, 1 => (0..4u32).prop_map(|x| u32::MAX - x), 1 => any::<u32>()];
    vec((id(), id()), 0..=PLACES)
}

fn pool<T: Element>(values: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    vec(values, VALUES)
}

/// A place as an id below `bound`; places counted back from `u32::MAX` stay at the end.
fn bounded(place: u32, bound: usize) -> u32 {
    let bound = bound.min(1 << 32) as u64;
    let (front, back) = (u64::from(place), u64::from(u32::MAX - place));
    let id = if front < back { front % bound } else { bound - 1 - back % bound };
    id as u32
}

fn cycle<T: Element>(pool: &[T], len: usize) -> Vec<T> {
    pool.iter().copied().cycle().take(len).collect()
}

fn build_dense<T: Element>(shape: Shape, pool: &[T]) -> Tensor {
    let values = cycle(pool, shape.size());
    Tensor::from_parts(shape, Layout::Dense, T::erase(values.into()))
}

fn build_csr<T: Element>(shape: [usize; 2], places: &[Place], pool: &[T]) -> Tensor {
    let inside = if shape.contains(&0) { &[] } else { places };
    let at = |p: &Place| (bounded(p.0, shape[0]), bounded(p.1, shape[1]));
    let entries: BTreeMap<(u32, u32), T> =
        inside.iter().map(at).zip(pool.iter().copied()).collect();
    let sorted = entries.into_iter().map(|((i, j), x)| (i as usize, j as usize, x));
    csr_from_sorted(shape, sorted)
}

fn build_row_sparse<T: Element>(shape: Shape, places: &[Place], pool: &[T]) -> Tensor {
    let bound = shape.first().copied().unwrap_or(0);
    let inside = if bound == 0 { &[] } else { places };
    let rows: BTreeSet<u32> = inside.iter().map(|p| bounded(p.0, bound)).collect();
    let values = cycle(pool, rows.len() * row_len(&shape));
    let rows: Vec<u32> = rows.into_iter().collect();
    Tensor::from_parts(shape, Layout::RowSparse(rows.into()), T::erase(values.into()))
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::{TestError, TestRunner};

    use super::*;

    fn counterexample(
        tensors: impl Strategy<Value = Tensor>,
        holds: impl Fn(&Tensor) -> bool,
    ) -> String {
        let fail = |x: Tensor| match holds(&x) {
            true => Ok(()),
            false => Err(TestCaseError::fail("too much")),
        };
        match TestRunner::deterministic().run(&tensors, fail) {
            Err(TestError::Fail(_, x)) => x.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn counterexamples_are_small() {
        let few = |x: &Tensor| x.nnz() < 2;
        let small = |x: &Tensor| x.values::<f32>().unwrap().iter().all(|&v| v < 3.0);
        assert_eq!(
            counterexample(csr(0..=5usize, extent(), exact::<f32>()), few),
            "csr f32 (1, 2), 2 stored (100 %), 32 B\n0: 0=0  1=0"
        );
        assert_eq!(
            counterexample(csr(0..=5usize, extent(), special::<f32>()), small),
            "csr f32 (1, 1), 1 stored (100 %), 24 B\n0: 0=3"
        );
        assert_eq!(
            counterexample(dense(shape(0..=3, 0..=4), exact::<f32>()), few),
            "default f32 (2,), 8 B\n[0, 0]"
        );
    }
}
