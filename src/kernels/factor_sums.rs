//! Sums of factors, and over the pairs of a row's entries: the second-order term of a factorization machine.

use std::ops::Range;

use num_traits::AsPrimitive;

use super::memory::Temp;
use super::spmm::{ABSENT, AHEAD, BLOCK, SHORT, cost_per_row};
use super::threads::for_each_part;
use super::transposed::csr_t_dense;
use super::vectorized::{
    Task, each_width, is_far, load, load_mut, prefetch_lines, straddles, vectorized,
};
use super::{CsrRef, Number, Real};

/// Sums kept for a row, and as many of squares: entry `e` of the row goes to sum `e % SUMS`.
const SUMS: usize = 2;

/// For each row of `a`: ½ Σₖ (sₖ² − Σⱼ (xⱼ vⱼₖ)²), then the sums s = Σⱼ xⱼ vⱼ, where row `ids[e]` of `v`, of
/// length `k`, belongs to entry `e`; entries whose id is [`ABSENT`] are left out.
pub(crate) fn factor_sums<T: Real>(a: CsrRef<T>, ids: &[u32], v: &[T], k: usize, out: &mut [T]) {
    assert_eq!(ids.len(), a.values.len());
    assert_eq!(out.len(), a.rows() * (k + 1));
    for_each_part(out, k + 1, cost_per_row(a, k), |first, out| {
        for (n, out) in out.chunks_mut(BLOCK * (k + 1)).enumerate() {
            let first = first + n * BLOCK;
            let mut pairs = [<T::Wide>::default(); BLOCK];
            each_width!(k, at, C => {
                let (out, pairs) = (&mut *out, &mut pairs);
                vectorized(Rows::<T, C> { a, ids, v, k, at, first, pairs, out });
            });
            for (out, &twice) in out.chunks_exact_mut(k + 1).zip(&pairs) {
                let twice: T = twice.as_();
                out[0] = twice / (T::one() + T::one());
            }
        }
    });
}

/// Sums `at..at + C` of the rows from `first` on, and what these factors add to twice the pairs.
struct Rows<'a, T: Number, const C: usize> {
    a: CsrRef<'a, T>,
    ids: &'a [u32],
    v: &'a [T],
    k: usize,
    at: usize,
    first: usize,
    pairs: &'a mut [T::Wide; BLOCK],
    out: &'a mut [T],
}

/// Sums of products, and of their squares.
type Sums<T, const C: usize> = ([T; C], [T; C]);

impl<T: Real, const C: usize> Task for Rows<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let Rows { a, v, k, at, first, .. } = self;
        let ahead = is_far::<T>(v.len()).then(|| straddles(v, k));
        let out = std::mem::take(&mut self.out);
        for (n, out) in out.chunks_exact_mut(k + 1).enumerate() {
            let row = a.range(first + n);
            // SAFETY: `at + C <= k`, and a row of the result has a number before its sums.
            let out: &mut [T; C] = unsafe { load_mut(out, 1 + at) };
            // One call of `sum`, which is large: most rows leave here the first time round.
            let zeros = [<T::Wide>::default(); C];
            let (mut wide, mut start): (Sums<T::Wide, C>, _) = ((zeros, zeros), row.start);
            let (sums, squares) = loop {
                let end = row.end.min(start + SHORT);
                let part = self.sum(start..end, ahead);
                if row.len() <= SHORT {
                    break part;
                }
                for l in 0..C {
                    wide.0[l] = wide.0[l] + part.0[l].as_();
                    wide.1[l] = wide.1[l] + part.1[l].as_();
                }
                if end == row.end {
                    break (wide.0.map(|x| x.as_()), wide.1.map(|x| x.as_()));
                }
                start = end;
            };
            *out = sums;
            self.pairs[n] = self.pairs[n] + twice_pairs((sums, squares)).as_();
        }
    }
}

/// Σ (s² − q), by halves. Of a row of one entry each difference is exactly 0.
#[inline(always)]
fn twice_pairs<T: Real, const C: usize>((sums, squares): Sums<T, C>) -> T {
    let mut terms = sums;
    for l in 0..C {
        terms[l] = sums[l] * sums[l] - squares[l];
    }
    let mut len = C;
    while len > 1 {
        len /= 2;
        for l in 0..len {
            terms[l] = terms[l] + terms[l + len];
        }
    }
    terms[0]
}

impl<T: Real, const C: usize> Rows<'_, T, C> {
    /// The sums of these entries of a row; rows of `v` are asked for `ahead`, whether they straddle lines or not.
    #[inline(always)]
    fn sum(&self, entries: Range<usize>, ahead: Option<bool>) -> Sums<T, C> {
        let Rows { ids, v, k, at, .. } = *self;
        let mut sums = [([T::zero(); C], [T::zero(); C]); SUMS];
        let mut e = entries.start;
        while e + SUMS <= entries.end {
            for (u, sums) in sums.iter_mut().enumerate() {
                if let Some(straddles) = ahead
                    && let Some(&id) = ids.get(e + u + AHEAD)
                {
                    prefetch_lines::<T, C>(v, (id as usize).wrapping_mul(k) + at, straddles);
                }
                self.add_entry(sums, e + u);
            }
            e += SUMS;
        }
        for (u, sums) in sums.iter_mut().enumerate() {
            if e + u < entries.end {
                self.add_entry(sums, e + u);
            }
        }
        let [(mut sums, mut squares), rest] = sums;
        for l in 0..C {
            sums[l] = sums[l] + rest.0[l];
            squares[l] = squares[l] + rest.1[l];
        }
        (sums, squares)
    }

    #[inline(always)]
    fn add_entry(&self, (sums, squares): &mut Sums<T, C>, e: usize) {
        let Rows { a, ids, v, k, at, .. } = *self;
        debug_assert!(e < ids.len() && e < a.values.len());
        // SAFETY: the caller of the kernel promises one id and one value for each entry.
        let (id, x) = unsafe { (*ids.get_unchecked(e), *a.values.get_unchecked(e)) };
        if id == ABSENT {
            return;
        }
        // SAFETY: the caller of the kernel promises that other ids are below the number of rows of `v`;
        // `at + C <= k`.
        let row: &[T; C] = unsafe { load(v, id as usize * k + at) };
        for l in 0..C {
            let product = x * row[l];
            sums[l] = sums[l] + product;
            squares[l] = squares[l] + product * product;
        }
    }
}

/// The gradient of [`factor_sums`] in the row of each column: Σᵢ xᵢⱼ tᵢ − (Σᵢ gᵢ xᵢⱼ²) vⱼ, where g is the
/// cotangent of the pairs and t = g s plus that of the sums. The column of entry `e` is row `slots[e]` of
/// `out`, and row `ids[n]` of `v` belongs to row n of `out`, if it is not [`ABSENT`].
pub(crate) fn factor_sums_grad<T: Real>(
    a: CsrRef<T>,
    slots: &[u32],
    (g, t): (&[T], &[T]),
    (ids, v): (&[u32], &[T]),
    k: usize,
    out: &mut [T],
) {
    assert_eq!(out.len(), ids.len() * k);
    csr_t_dense(a, slots, t, k, out);
    let squares = Temp::collect(a.values.iter().map(|&x| x * x));
    let mut own = Temp::unspecified(ids.len());
    csr_t_dense(CsrRef { values: &squares, ..a }, slots, g, 1, &mut own);
    for_each_part(out, k, 2 + k / 4, |first, out| {
        each_width!(k, at, C => {
            let (own, out) = (&own[..], &mut *out);
            vectorized(Own::<T, C> { own, ids, v, k, at, first, out });
        });
    });
}

/// Subtracts multiples `own` of rows `ids` of `v` from columns `at..at + C` of the rows from `first` on.
struct Own<'a, T, const C: usize> {
    own: &'a [T],
    ids: &'a [u32],
    v: &'a [T],
    k: usize,
    at: usize,
    first: usize,
    out: &'a mut [T],
}

impl<T: Real, const C: usize> Task for Own<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Own { own, ids, v, k, at, first, out } = self;
        let ahead = is_far::<T>(v.len()).then(|| straddles(v, k));
        for (n, out) in out.chunks_exact_mut(k).enumerate() {
            let n = first + n;
            if let Some(straddles) = ahead
                && let Some(&id) = ids.get(n + AHEAD)
            {
                prefetch_lines::<T, C>(v, (id as usize).wrapping_mul(k) + at, straddles);
            }
            if ids[n] == ABSENT {
                continue;
            }
            let own = own[n];
            // SAFETY: the caller of the kernel promises that other ids are below the number of rows of `v`;
            // `at + C <= k`.
            let row: [T; C] = *unsafe { load(v, ids[n] as usize * k + at) };
            // SAFETY: `at + C <= k`.
            let out: &mut [T; C] = unsafe { load_mut(out, at) };
            for l in 0..C {
                out[l] = out[l] - own * row[l];
            }
        }
    }
}

/// g s plus a cotangent of the sums, row by row; both operands have a number before them.
pub(crate) fn scaled_sums<T: Real>(sums: &[T], dy: &[T], k: usize, out: &mut [T]) {
    vectorized(Scaled { sums, dy, k, out });
}

struct Scaled<'a, T> {
    sums: &'a [T],
    dy: &'a [T],
    k: usize,
    out: &'a mut [T],
}

impl<T: Real> Task for Scaled<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Scaled { sums, dy, k, out } = self;
        let rows = sums.chunks_exact(k + 1).zip(dy.chunks_exact(k + 1));
        for (out, (sums, dy)) in out.chunks_exact_mut(k.max(1)).zip(rows) {
            let (g, terms) = (dy[0], sums[1..].iter().zip(&dy[1..]));
            for (out, (&s, &d)) in out.iter_mut().zip(terms) {
                *out = g * s + d;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of these entries.
    fn row<'a>(indptr: &'a [usize; 2], indices: &'a [u32], values: &'a [f32]) -> CsrRef<'a, f32> {
        CsrRef { cols: 1000, indptr, indices, values }
    }

    fn of_row(values: &[f32], ids: &[u32], v: &[f32], k: usize) -> Vec<f32> {
        let columns: Vec<u32> = (0..values.len() as u32).collect();
        let mut out = vec![f32::NAN; k + 1];
        factor_sums(row(&[7, 7 + values.len()], &columns, values), ids, v, k, &mut out);
        out
    }

    #[test]
    fn one_entry_has_no_pairs() {
        let v: Vec<f32> = (0..13).map(|l| (l as f32 * 0.7).sin()).collect();
        assert_eq!(of_row(&[0.3], &[0], &v, 13)[0], 0.0);
        assert_eq!(of_row(&[], &[], &v, 13), [0.0; 14]);
    }

    #[test]
    fn absent_rows_annihilate() {
        let v = [2.0, 3.0];
        assert_eq!(of_row(&[0.5, f32::NAN, 4.0], &[0, ABSENT, 1], &v, 1), [12.0, 13.0]);
        let (indptr, columns, values) = ([0, 2], [1, 2], [f32::INFINITY, 2.0]);
        let mut out = [f32::NAN; 2];
        let (a, rows) = (row(&indptr, &columns, &values), ([0.0], [0.5]));
        factor_sums_grad(a, &[0, 1], (&rows.0, &rows.1), (&[ABSENT, 0], &v), 1, &mut out);
        assert_eq!(out, [f32::INFINITY, 1.0]);
    }

    #[test]
    fn sums_of_long_rows_do_not_drift() {
        let count = 1 << 18;
        let (values, ids) = (vec![0.1f32; count], vec![0; count]);
        let sums = of_row(&values, &ids, &[1.0], 1);
        let n = count as f64;
        let pairs = 0.5 * 0.01 * n * (n - 1.0);
        assert!((f64::from(sums[0]) / pairs - 1.0).abs() < 1e-5);
        assert!((f64::from(sums[1]) / (0.1 * n) - 1.0).abs() < 1e-5);
    }
}
