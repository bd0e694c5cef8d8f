//! CSR matrix times dense rows.

use std::ops::Range;

use num_traits::AsPrimitive;

use super::threads::for_each_part;
use super::vectorized::{
    Task, each_width, is_far, load, load_mut, prefetch_lines, rows_at_once, straddles, vectorized,
};
use super::{CsrRef, Real};

/// The slot of a row that is absent from a compact operand.
pub(crate) const ABSENT: u32 = u32::MAX;

/// Sums kept for a row in a chunk of so many columns: entry `e` of the row goes to sum `e % sums`, so that one
/// addition need not wait for the one before. A row's order of additions depends on its own entries only.
const fn sums_of(columns: usize) -> usize {
    if columns <= 16 { MOST_SUMS } else { 2 }
}

const MOST_SUMS: usize = 4;

/// Entries of a row that are summed in the element type; the sums of more are joined in a wider one.
pub(super) const SHORT: usize = 128;

/// How many entries ahead a row of the table is asked for.
pub(super) const AHEAD: usize = 24;

/// Rows that share one pass over a chunk of columns.
pub(super) const BLOCK: usize = 16;

/// `out = a · b` for a dense `b` with rows of length `k`.
pub(crate) fn csr_dense<T: Real>(a: CsrRef<T>, b: &[T], k: usize, out: &mut [T]) {
    assert_eq!(b.len(), a.cols * k);
    product::<T, false>(a, a.indices, b, k, out);
}

/// Bytes of copied rows that stay in the nearest caches.
const NEAR_BYTES: usize = 3 << 19;

/// Whether the product is faster if the `distinct` rows of `b` that `a` reads are copied to nearby memory first:
/// because those are far, or because the entries' slots are read `again`, for the gradient, so that it is the column
/// ids that nobody has to read.
pub(crate) fn pays_to_copy<T>(
    a: CsrRef<T>,
    distinct: usize,
    b: &[T],
    k: usize,
    again: bool,
) -> bool {
    let (copied, entries) = (distinct * k * size_of::<T>(), a.indices.len());
    let far = may_pay_to_copy(b) && 8 * distinct <= 7 * entries;
    copied <= NEAR_BYTES && (far || again && 2 * distinct * (1 + k / 8) <= entries)
}

/// Whether the rows of `b` are far.
pub(crate) fn may_pay_to_copy<T>(b: &[T]) -> bool {
    size_of_val(b) >= 2 * NEAR_BYTES
}

/// `out = a · b` where row `slots[e]` of `b` belongs to the column of entry `e`.
pub(crate) fn csr_near<T: Real>(a: CsrRef<T>, slots: &[u32], b: &[T], k: usize, out: &mut [T]) {
    product::<T, false>(a, slots, b, k, out);
}

/// `out = a · b` where row `slots[e]` of `b` belongs to the column of entry `e`; entries whose slot
/// is [`ABSENT`] are left out.
pub(crate) fn csr_compact<T: Real>(a: CsrRef<T>, slots: &[u32], b: &[T], k: usize, out: &mut [T]) {
    if b.is_empty() {
        return out.fill(T::zero());
    }
    match vectorized(HasHoles(slots)) {
        true => product::<T, true>(a, slots, b, k, out),
        false => csr_near(a, slots, b, k, out),
    }
}

struct HasHoles<'a>(&'a [u32]);

impl Task for HasHoles<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        self.0.chunks(256).any(any_absent)
    }
}

/// Without a branch: slots are hardly ever absent.
#[inline(always)]
pub(super) fn any_absent(slots: &[u32]) -> bool {
    slots.iter().fold(false, |any, &slot| any | (slot == ABSENT))
}

/// About how many nanoseconds a row of the product takes.
pub(super) fn cost_per_row<T>(a: CsrRef<T>, k: usize) -> usize {
    (a.values.len() / a.rows().max(1) + 4) * (1 + k / 12)
}

fn product<T: Real, const HOLES: bool>(
    a: CsrRef<T>,
    ids: &[u32],
    b: &[T],
    k: usize,
    out: &mut [T],
) {
    assert_eq!(ids.len(), a.values.len());
    assert_eq!(out.len(), a.rows() * k);
    for_each_part(out, k, cost_per_row(a, k), |first, out| {
        let block = rows_at_once(k, BLOCK);
        for (n, out) in out.chunks_mut(block * k).enumerate() {
            let first = first + n * block;
            each_width!(k, at, C => {
                let out = &mut *out;
                vectorized(Rows::<T, C, HOLES> { a, ids, b, k, at, first, out });
            });
        }
    });
}

/// Columns `at..at + C` of the rows of `a · b` from `first` on.
struct Rows<'a, T, const C: usize, const HOLES: bool> {
    a: CsrRef<'a, T>,
    ids: &'a [u32],
    b: &'a [T],
    k: usize,
    at: usize,
    first: usize,
    out: &'a mut [T],
}

impl<T: Real, const C: usize, const HOLES: bool> Task for Rows<'_, T, C, HOLES> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // A length that is known saves a multiplication an entry, which counts where a row is one element.
        if C == 1 && self.k == 1 {
            return self.products(1, 0);
        }
        let Rows { k, at, .. } = self;
        self.products(k, at)
    }
}

impl<T: Real, const C: usize, const HOLES: bool> Rows<'_, T, C, HOLES> {
    #[inline(always)]
    fn products(mut self, k: usize, at: usize) {
        let ahead = is_far::<T>(self.b.len()).then(|| straddles(self.b, k));
        let out = std::mem::take(&mut self.out);
        for (n, out) in out.chunks_exact_mut(k).enumerate() {
            let row = self.a.range(self.first + n);
            // SAFETY: `at + C <= k`.
            let out: &mut [T; C] = unsafe { load_mut(out, at) };
            // One call of `sum`, which is large: most rows leave here the first time round.
            let (mut wide, mut start) = ([<T::Wide>::default(); C], row.start);
            loop {
                let end = row.end.min(start + SHORT);
                let part = self.sum(start..end, k, at, ahead);
                if row.len() <= SHORT {
                    *out = part;
                    break;
                }
                for l in 0..C {
                    wide[l] = wide[l] + part[l].as_();
                }
                if end == row.end {
                    for l in 0..C {
                        out[l] = wide[l].as_();
                    }
                    break;
                }
                start = end;
            }
        }
    }

    /// The sum of these entries of a row; rows of `b` are asked for `ahead`, whether they straddle lines or not.
    #[inline(always)]
    fn sum(&self, entries: Range<usize>, k: usize, at: usize, ahead: Option<bool>) -> [T; C] {
        let Rows { a, ids, b, .. } = *self;
        let mut sums = [[T::zero(); C]; MOST_SUMS];
        let mut e = entries.start;
        while e + sums_of(C) <= entries.end {
            for (u, sum) in sums.iter_mut().enumerate().take(sums_of(C)) {
                if let Some(straddles) = ahead
                    && let Some(&id) = ids.get(e + u + AHEAD)
                {
                    let row = (id as usize).wrapping_mul(k) + at;
                    prefetch_lines::<T, C>(b, row, straddles);
                }
                add_entry::<T, C, HOLES>(sum, a.values, ids, b, k, at, e + u);
            }
            e += sums_of(C);
        }
        for (u, sum) in sums.iter_mut().enumerate().take(sums_of(C)) {
            if e + u < entries.end {
                add_entry::<T, C, HOLES>(sum, a.values, ids, b, k, at, e + u);
            }
        }
        let [mut total, second, third, fourth] = sums;
        for l in 0..C {
            total[l] = total[l] + second[l];
            if sums_of(C) == MOST_SUMS {
                total[l] = total[l] + (third[l] + fourth[l]);
            }
        }
        total
    }
}

/// Adds entry `e`. An absent row adds 0, which changes no sum: a sum that starts at +0 is never -0.
#[inline(always)]
fn add_entry<T: Real, const C: usize, const HOLES: bool>(
    sum: &mut [T; C],
    values: &[T],
    ids: &[u32],
    b: &[T],
    k: usize,
    at: usize,
    e: usize,
) {
    debug_assert!(e < ids.len() && e < values.len());
    // SAFETY: the caller of the kernel promises one id and one value for each entry.
    let (id, value) = unsafe { (*ids.get_unchecked(e), *values.get_unchecked(e)) };
    let hole = HOLES && id == ABSENT;
    let id = if hole { 0 } else { id };
    // SAFETY: the caller of the kernel promises that ids are below the number of rows of `b`, and
    // `b` has a row 0 when there may be holes; `at + C <= k`.
    let row: &[T; C] = unsafe { load(b, id as usize * k + at) };
    for l in 0..C {
        let product = value * row[l];
        sum[l] = sum[l] + if hole { T::zero() } else { product };
    }
}
