//! Transposed CSR matrix times dense rows. Every output row sums its entries in ascending order of
//! the rows of `a`.

use std::ops::Range;

use num_traits::AsPrimitive;

use super::threads::{ALL_SLOTS, for_each_slot_part};
use super::vectorized::{Task, each_width, is_far, load, load_mut, prefetch, vectorized};
use super::{CsrRef, Number, Real, SumInto, summed};

/// How many entries ahead an output row is asked for.
const AHEAD: usize = 16;

/// Bytes of a row from which on threads share the output. Finding a thread's entries in each row
/// costs as much as adding shorter rows.
const LEAST_SHARED: usize = 64;

/// Rows of `a` that are summed in the element type.
const SHORT: usize = 1 << 14;

/// `out = aᵀ · b`, where the column of entry `e` is row `slots[e]` of `out`.
pub(crate) fn csr_t_dense<T: Real>(a: CsrRef<T>, slots: &[u32], b: &[T], k: usize, out: &mut [T]) {
    assert_eq!(b.len(), a.rows() * k);
    scatter(a, slots, None, b, k, out);
}

/// As [`csr_t_dense`] for a row-sparse `b` with rows `b_rows`; other rows of `a` are left out.
pub(crate) fn csr_t_rows<T: Real>(
    a: CsrRef<T>,
    slots: &[u32],
    b_rows: &[u32],
    b: &[T],
    k: usize,
    out: &mut [T],
) {
    assert_eq!(b.len(), b_rows.len() * k);
    scatter(a, slots, Some(b_rows), b, k, out);
}

/// `out = aᵀ · b` with one row for each column of `a`.
pub(crate) fn csr_t_dense_full<T: Real>(a: CsrRef<T>, b: &[T], k: usize, out: &mut [T]) {
    csr_t_dense(a, a.indices, b, k, out);
}

fn scatter<T: Real>(
    a: CsrRef<T>,
    slots: &[u32],
    b_rows: Option<&[u32]>,
    b: &[T],
    k: usize,
    out: &mut [T],
) {
    assert_eq!(slots.len(), a.values.len());
    let rows = b_rows.map_or(a.rows(), <[u32]>::len);
    summed(out, rows, SHORT, Products { a, slots, b_rows, b, k });
}

/// Products of entries with rows of `b` (of `a`'s rows `b_rows`, or all).
#[derive(Clone, Copy)]
struct Products<'a, T> {
    a: CsrRef<'a, T>,
    slots: &'a [u32],
    b_rows: Option<&'a [u32]>,
    b: &'a [T],
    k: usize,
}

impl<T: Real> SumInto<T> for Products<'_, T> {
    fn sum_into<A: Number>(self, out: &mut [A])
    where
        T: AsPrimitive<A>,
    {
        let k = self.k;
        let cost = if k * size_of::<T>() < LEAST_SHARED { 0 } else { 1 + k / 8 };
        for_each_slot_part(out, k, self.slots, cost, |part, out| {
            out.fill(A::default());
            let whole = part == ALL_SLOTS;
            each_width!(k, at, C => {
                let (part, out) = (part.clone(), &mut *out);
                if whole {
                    vectorized(Scatter::<T, A, C, false> { products: self, part, at, out });
                } else {
                    vectorized(Scatter::<T, A, C, true> { products: self, part, at, out });
                }
            });
        });
    }
}

/// Adds columns `at..at + C` of every product whose slot is in `part` to its row of `out`, which
/// holds the rows of `part` (all rows unless `PART`).
struct Scatter<'a, T, A, const C: usize, const PART: bool> {
    products: Products<'a, T>,
    part: Range<u32>,
    at: usize,
    out: &'a mut [A],
}

impl<T, A, const C: usize, const PART: bool> Task for Scatter<'_, T, A, C, PART>
where
    T: Real + AsPrimitive<A>,
    A: Number,
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // As in the product: a length that is known saves a multiplication an entry.
        if C == 1 && self.products.k == 1 {
            return self.scatter(1, 0);
        }
        let (k, at) = (self.products.k, self.at);
        self.scatter(k, at);
    }
}

impl<T, A, const C: usize, const PART: bool> Scatter<'_, T, A, C, PART>
where
    T: Real + AsPrimitive<A>,
    A: Number,
{
    #[inline(always)]
    fn scatter(self, k: usize, at: usize) {
        let Scatter { products: Products { a, slots, b_rows, b, .. }, part, out, .. } = self;
        let far = is_far::<A>(out.len());
        let first = if PART { part.start } else { 0 };
        for n in 0..b_rows.map_or(a.rows(), <[u32]>::len) {
            let row = b_rows.map_or(n, |ids| ids[n] as usize);
            // SAFETY: `b` has a row for each row that is visited, and `at + C <= k`.
            let y: [T; C] = *unsafe { load(b, n * k + at) };
            let entries = a.range(row);
            let entries = if PART { within(slots, entries, &part) } else { entries };
            for e in entries {
                if far && let Some(&slot) = slots.get(e + AHEAD) {
                    // A row that another thread writes must stay in its cache.
                    let own = if !PART || part.contains(&slot) { slot - first } else { 0 };
                    prefetch::<A, C>(out, own as usize * k + at);
                }
                debug_assert!(e < slots.len() && e < a.values.len());
                // SAFETY: the caller of the kernel promises one slot and one value for each entry.
                let (slot, value) =
                    unsafe { (*slots.get_unchecked(e), *a.values.get_unchecked(e)) };
                // SAFETY: the caller of the kernel promises that slots are below the number of
                // rows of the whole output, of which `out` holds `part`; `at + C <= k`.
                let sum: &mut [A; C] = unsafe { load_mut(out, (slot - first) as usize * k + at) };
                for l in 0..C {
                    sum[l] = sum[l] + (value * y[l]).as_();
                }
            }
        }
    }
}

/// The entries of a row whose slots are in `part`. Slots ascend within a row, as columns do.
#[inline(always)]
fn within(slots: &[u32], row: Range<usize>, part: &Range<u32>) -> Range<usize> {
    let ids = &slots[row.clone()];
    let below = |bound: u32| ids.partition_point(|&slot| slot < bound);
    let start = if part.start == ALL_SLOTS.start { 0 } else { below(part.start) };
    let end = if part.end == ALL_SLOTS.end { ids.len() } else { below(part.end) };
    row.start + start..row.start + end
}
