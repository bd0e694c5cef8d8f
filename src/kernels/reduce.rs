//! Sums, maxima and minima. They are made pairwise, so that rounding errors of a sum grow with the
//! logarithm of the length, and the order depends on positions only.

use std::marker::PhantomData;

use num_traits::NumCast;

use super::memory::Temp;
use super::threads::for_each_part;
use super::vectorized::{Task, each_width, load, vectorized};
use super::{CsrRef, Number, Real};

/// Parts of a leaf that are folded side by side.
const LANES: usize = 64;

/// Fewer elements are folded in fewer lanes.
const FEW: usize = 128;

/// Elements that are folded without splitting.
const LEAF: usize = 512;

/// Elements that are one task for a thread.
const CHUNK: usize = 1 << 16;

/// Rows of a leaf.
const LEAF_ROWS: usize = 32;

/// Rows of a leaf that are folded before they are joined to the others.
const GROUP: usize = 8;

/// An associative way to make one of two elements.
pub(crate) trait Fold<T>: Send + Sync {
    /// What any element is joined with unchanged.
    fn empty() -> T;
    fn join(x: T, y: T) -> T;
}

/// Sums.
pub(crate) struct Add;

impl<T: Number> Fold<T> for Add {
    #[inline(always)]
    fn empty() -> T {
        T::default()
    }

    #[inline(always)]
    fn join(x: T, y: T) -> T {
        x + y
    }
}

/// The largest; NaN if there is one.
pub(crate) struct Max;

impl<T: Real> Fold<T> for Max {
    #[inline(always)]
    fn empty() -> T {
        T::neg_infinity()
    }

    #[inline(always)]
    fn join(x: T, y: T) -> T {
        if x >= y || x.is_nan() { x } else { y }
    }
}

/// The smallest; NaN if there is one.
pub(crate) struct Min;

impl<T: Real> Fold<T> for Min {
    #[inline(always)]
    fn empty() -> T {
        T::infinity()
    }

    #[inline(always)]
    fn join(x: T, y: T) -> T {
        if x <= y || x.is_nan() { x } else { y }
    }
}

/// What is made of each element before it is folded.
pub(crate) trait Each<T>: Copy + Sync {
    fn of(self, x: T) -> T;
}

/// The element.
#[derive(Clone, Copy)]
pub(crate) struct Itself;

impl<T> Each<T> for Itself {
    #[inline(always)]
    fn of(self, x: T) -> T {
        x
    }
}

/// The square of the element times a number.
#[derive(Clone, Copy)]
pub(crate) struct Square<T>(pub T);

impl<T: Number> Each<T> for Square<T> {
    #[inline(always)]
    fn of(self, x: T) -> T {
        (x * self.0) * (x * self.0)
    }
}

/// All elements in one.
pub(crate) fn fold<F: Fold<T>, T: Number>(x: &[T]) -> T {
    if x.len() <= CHUNK {
        return vectorized(all::<F, T>(x));
    }
    let mut parts = Temp::unspecified(x.len().div_ceil(CHUNK));
    for_each_part(&mut parts, 1, CHUNK / 8, |first, parts| {
        for (part, chunk) in parts.iter_mut().zip(x[first * CHUNK..].chunks(CHUNK)) {
            *part = vectorized(all::<F, T>(chunk));
        }
    });
    vectorized(all::<F, T>(&parts))
}

struct All<'a, F, E, T> {
    x: &'a [T],
    each: E,
    fold: PhantomData<F>,
}

#[inline(always)]
fn all<F, T>(x: &[T]) -> All<'_, F, Itself, T> {
    All { x, each: Itself, fold: PhantomData }
}

impl<F: Fold<T>, E: Each<T>, T: Number> Task for All<'_, F, E, T> {
    type Output = T;

    #[inline(always)]
    fn run(self) -> T {
        let each = self.each;
        match self.x.len() {
            ..16 => return leaf::<F, E, T, 1>(self.x, each),
            16..FEW => return leaf::<F, E, T, 8>(self.x, each),
            FEW..=LEAF => return leaf::<F, E, T, LANES>(self.x, each),
            _ => {}
        }
        // What 2^n leaves give waits at bit n until its other half is there.
        let mut waiting = [F::empty(); usize::BITS as usize];
        let leaves = self.x.chunks(LEAF);
        for (n, x) in leaves.enumerate() {
            let mut part = leaf::<F, E, T, LANES>(x, each);
            let full = n.trailing_ones() as usize;
            for &half in &waiting[..full] {
                part = F::join(half, part);
            }
            waiting[full] = part;
        }
        let count = self.x.len().div_ceil(LEAF);
        let mut total = F::empty();
        for (n, &part) in waiting.iter().enumerate() {
            if count >> n & 1 == 1 {
                total = F::join(part, total);
            }
        }
        total
    }
}

/// Each row of length `len` in one.
struct Rows<'a, F, E, T> {
    x: &'a [T],
    len: usize,
    out: &'a mut [T],
    each: E,
    fold: PhantomData<F>,
}

impl<F: Fold<T>, E: Each<T>, T: Number> Task for Rows<'_, F, E, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // Of a constant length, short rows are folded without a loop.
        match self.len {
            4 => self.short::<4>(),
            8 => self.short::<8>(),
            16 => self.short::<16>(),
            32 => self.short::<32>(),
            64 => self.short::<64>(),
            _ => self.any(),
        }
    }
}

impl<F: Fold<T>, E: Each<T>, T: Number> Rows<'_, F, E, T> {
    #[inline(always)]
    fn short<const L: usize>(self) {
        for (x, out) in self.x.as_chunks::<L>().0.iter().zip(self.out) {
            *out = All { x, each: self.each, fold: self.fold }.run();
        }
    }

    #[inline(always)]
    fn any(self) {
        for (n, out) in self.out.iter_mut().enumerate() {
            let x = &self.x[n * self.len..][..self.len];
            *out = All { x, each: self.each, fold: self.fold }.run();
        }
    }
}

/// Each row of a csr matrix in one.
pub(crate) fn fold_csr_rows<F: Fold<T>, T: Number>(x: CsrRef<T>, out: &mut [T]) {
    let cost = x.values.len() / out.len().max(1) / 8 + 4;
    for_each_part(out, 1, cost, |first, out| {
        vectorized(CsrRows { x, first, out, fold: PhantomData::<F> });
    });
}

/// Rows from `first` on.
struct CsrRows<'a, F, T> {
    x: CsrRef<'a, T>,
    first: usize,
    out: &'a mut [T],
    fold: PhantomData<F>,
}

impl<F: Fold<T>, T: Number> Task for CsrRows<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (n, out) in self.out.iter_mut().enumerate() {
            *out = match self.x.row(self.first + n).1 {
                long if long.len() > CHUNK => fold::<F, T>(long),
                short => all::<F, T>(short).run(),
            };
        }
    }
}

#[inline(always)]
fn leaf<F: Fold<T>, E: Each<T>, T: Number, const L: usize>(x: &[T], each: E) -> T {
    let mut parts = [F::empty(); L];
    let (chunks, rest) = x.as_chunks::<L>();
    for chunk in chunks {
        for l in 0..L {
            parts[l] = F::join(parts[l], each.of(chunk[l]));
        }
    }
    for (part, &x) in parts.iter_mut().zip(rest) {
        *part = F::join(*part, each.of(x));
    }
    let mut half = L / 2;
    while half > 0 {
        for l in 0..half {
            parts[l] = F::join(parts[l], parts[l + half]);
        }
        half /= 2;
    }
    parts[0]
}

/// `out[o, i]` is all `x[o, .., i]` in one, for a row-major `outer × axis × inner` array.
pub(crate) fn fold_axis<F: Fold<T>, T: Number>(
    x: &[T],
    (outer, axis, inner): (usize, usize, usize),
    out: &mut [T],
) {
    assert!(x.len() == outer * axis * inner && out.len() == outer * inner);
    if inner == 1 {
        return fold_runs::<F, _, T>(x, Itself, out);
    }
    for_each_part(out, inner, axis * inner / 8 + 8, |first, out| {
        for (o, out) in out.chunks_exact_mut(inner).enumerate() {
            fold_rows::<F, T>(&x[(first + o) * axis * inner..][..axis * inner], inner, out);
        }
    });
}

/// Folds what `each` makes of runs of equal length, one for each element of `out`.
pub(crate) fn fold_runs<F: Fold<T>, E: Each<T>, T: Number>(x: &[T], each: E, out: &mut [T]) {
    let len = x.len() / out.len().max(1);
    for_each_part(out, 1, len / 8 + 4, |first, out| {
        vectorized(Rows { x: &x[first * len..], len, out, each, fold: PhantomData::<F> });
    });
}

/// Folds rows of length `inner`: leaves of rows first, then what they give in the same way.
fn fold_rows<F: Fold<T>, T: Number>(x: &[T], inner: usize, out: &mut [T]) {
    let rows = x.len() / inner;
    if rows <= LEAF_ROWS {
        return leaf_rows::<F, T>(x, inner, out);
    }
    let mut parts = Temp::unspecified(rows.div_ceil(LEAF_ROWS) * inner);
    for_each_part(&mut parts, inner, LEAF_ROWS * inner / 8 + 4, |first, parts| {
        for (n, part) in parts.chunks_exact_mut(inner).enumerate() {
            let start = (first + n) * LEAF_ROWS;
            let end = (start + LEAF_ROWS).min(rows);
            leaf_rows::<F, T>(&x[start * inner..end * inner], inner, part);
        }
    });
    fold_rows::<F, T>(&parts, inner, out);
}

fn leaf_rows<F: Fold<T>, T: Number>(x: &[T], inner: usize, out: &mut [T]) {
    each_width!(inner, at, C => {
        let (out, fold) = (&mut out[at..at + C], PhantomData::<F>);
        vectorized(LeafRows::<F, T, C> { x, inner, at, out, fold });
    });
}

/// Folds columns `at..at + C` of all rows.
struct LeafRows<'a, F, T, const C: usize> {
    x: &'a [T],
    inner: usize,
    at: usize,
    out: &'a mut [T],
    fold: PhantomData<F>,
}

impl<F: Fold<T>, T: Number, const C: usize> Task for LeafRows<'_, F, T, C> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, mut parts) = (self.x.len() / self.inner, [F::empty(); C]);
        for first in (0..rows).step_by(GROUP) {
            let mut group = [F::empty(); C];
            for row in first..(first + GROUP).min(rows) {
                // SAFETY: the row is within `x`, and `at + C <= inner`.
                let x: &[T; C] = unsafe { load(self.x, row * self.inner + self.at) };
                for l in 0..C {
                    group[l] = F::join(group[l], x[l]);
                }
            }
            for l in 0..C {
                parts[l] = F::join(parts[l], group[l]);
            }
        }
        self.out.copy_from_slice(&parts);
    }
}

/// Folds `x[n]` into `out[slots[n]]`, one after another but in double precision: as many as there
/// may be, a sum of single-precision numbers does not drift.
pub(crate) fn fold_slots<F: Fold<f64>, T: Real>(slots: &[u32], x: &[T], out: &mut [f64]) {
    out.fill(F::empty());
    for (&slot, &x) in slots.iter().zip(x) {
        let to = &mut out[slot as usize];
        *to = F::join(*to, <f64 as NumCast>::from(x).unwrap_or(f64::NAN));
    }
}
