//! Sums. They are pairwise, so that rounding errors grow with the logarithm of the length, and the
//! order of additions depends on positions only.

use super::Number;
use super::threads::{for_each_part, map_parts};
use super::vectorized::{Task, each_width, load, vectorized};

/// Partial sums of a leaf.
const LANES: usize = 64;

/// Fewer elements are summed with fewer lanes.
const FEW: usize = 128;

/// Elements that are summed without splitting.
const LEAF: usize = 512;

/// Elements whose sum is one task for a thread.
const CHUNK: usize = 1 << 16;

/// Rows that are summed one after another.
const LEAF_ROWS: usize = 32;

/// The sum of all elements.
pub(crate) fn sum<T: Number>(x: &[T]) -> T {
    if x.len() <= CHUNK {
        return vectorized(Sum(x));
    }
    let chunks = x.chunks(CHUNK).collect::<Vec<_>>();
    let sums = map_parts(chunks.len(), CHUNK / 8, |range| {
        chunks[range].iter().map(|chunk| vectorized(Sum(chunk))).collect::<Vec<_>>()
    });
    vectorized(Sum(&sums.concat()))
}

struct Sum<'a, T>(&'a [T]);

impl<T: Number> Task for Sum<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run(self) -> T {
        match self.0.len() {
            ..16 => return leaf_sum::<T, 1>(self.0),
            16..FEW => return leaf_sum::<T, 8>(self.0),
            FEW..=LEAF => return leaf_sum::<T, LANES>(self.0),
            _ => {}
        }
        // Sums of 2^n leaves wait at bit n until their other half is there.
        let mut waiting = [T::default(); usize::BITS as usize];
        let leaves = self.0.chunks(LEAF);
        for (n, leaf) in leaves.enumerate() {
            let mut sum = leaf_sum::<T, LANES>(leaf);
            let full = n.trailing_ones() as usize;
            for &half in &waiting[..full] {
                sum = half + sum;
            }
            waiting[full] = sum;
        }
        let count = self.0.len().div_ceil(LEAF);
        let mut total = T::default();
        for (n, &sum) in waiting.iter().enumerate() {
            if count >> n & 1 == 1 {
                total = sum + total;
            }
        }
        total
    }
}

/// The sums of rows of length `len`.
struct Rows<'a, T> {
    x: &'a [T],
    len: usize,
    out: &'a mut [T],
}

impl<T: Number> Task for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (n, out) in self.out.iter_mut().enumerate() {
            *out = Sum(&self.x[n * self.len..][..self.len]).run();
        }
    }
}

#[inline(always)]
fn leaf_sum<T: Number, const L: usize>(x: &[T]) -> T {
    let mut sums = [T::default(); L];
    let (chunks, rest) = x.as_chunks::<L>();
    for chunk in chunks {
        for l in 0..L {
            sums[l] = sums[l] + chunk[l];
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum = *sum + x;
    }
    let mut half = L / 2;
    while half > 0 {
        for l in 0..half {
            sums[l] = sums[l] + sums[l + half];
        }
        half /= 2;
    }
    sums[0]
}

/// `out[o, i] = Σₐ x[o, a, i]` for a row-major `outer × axis × inner` array.
pub(crate) fn sum_axis<T: Number>(x: &[T], outer: usize, axis: usize, inner: usize, out: &mut [T]) {
    assert!(x.len() == outer * axis * inner && out.len() == outer * inner);
    if inner == 1 {
        return for_each_part(out, 1, axis / 8 + 4, |first, out| {
            vectorized(Rows { x: &x[first * axis..], len: axis, out });
        });
    }
    for_each_part(out, inner, axis * inner / 8 + 8, |first, out| {
        for (o, out) in out.chunks_exact_mut(inner).enumerate() {
            sum_rows(&x[(first + o) * axis * inner..][..axis * inner], inner, out);
        }
    });
}

/// Sums rows of length `inner`: leaves of rows first, then the leaves' sums in the same way.
fn sum_rows<T: Number>(x: &[T], inner: usize, out: &mut [T]) {
    let rows = x.len() / inner;
    if rows <= LEAF_ROWS {
        return leaf_rows(x, inner, out);
    }
    let mut sums = vec![T::default(); rows.div_ceil(LEAF_ROWS) * inner];
    for_each_part(&mut sums, inner, LEAF_ROWS * inner / 8 + 4, |first, sums| {
        for (n, sum) in sums.chunks_exact_mut(inner).enumerate() {
            let start = (first + n) * LEAF_ROWS;
            let end = (start + LEAF_ROWS).min(rows);
            leaf_rows(&x[start * inner..end * inner], inner, sum);
        }
    });
    sum_rows(&sums, inner, out);
}

fn leaf_rows<T: Number>(x: &[T], inner: usize, out: &mut [T]) {
    each_width!(inner, at, C => {
        let out = &mut out[at..at + C];
        vectorized(LeafRows::<T, C> { x, inner, at, out });
    });
}

/// Sums columns `at..at + C` of all rows.
struct LeafRows<'a, T, const C: usize> {
    x: &'a [T],
    inner: usize,
    at: usize,
    out: &'a mut [T],
}

impl<T: Number, const C: usize> Task for LeafRows<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut sums = [T::default(); C];
        for row in 0..self.x.len() / self.inner {
            // SAFETY: the row is within `x`, and `at + C <= inner`.
            let x: &[T; C] = unsafe { load(self.x, row * self.inner + self.at) };
            for l in 0..C {
                sums[l] = sums[l] + x[l];
            }
        }
        self.out.copy_from_slice(&sums);
    }
}
