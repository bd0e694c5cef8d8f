//! Transposed CSR matrix times dense rows. Every output row sums its entries in ascending order of
//! the rows of `a`.

use super::vectorized::{Task, each_width, is_far, load, load_mut, prefetch, vectorized};
use super::{CsrRef, Real};

/// How many entries ahead an output row is asked for.
const AHEAD: usize = 16;

/// `out = aᵀ · b`, where the column of entry `e` is row `slots[e]` of `out`.
pub(crate) fn csr_t_dense<T: Real>(a: CsrRef<T>, slots: &[u32], b: &[T], k: usize, out: &mut [T]) {
    debug_assert_eq!(b.len(), a.rows() * k);
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
    debug_assert_eq!(b.len(), b_rows.len() * k);
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
    debug_assert_eq!(slots.len(), a.values.len());
    out.fill(T::zero());
    each_width!(k, at, C => {
        let out = &mut *out;
        vectorized(Scatter::<T, C> { a, slots, b_rows, b, k, at, out });
    });
}

/// Adds columns `at..at + C` of every product to its output row.
struct Scatter<'a, T, const C: usize> {
    a: CsrRef<'a, T>,
    slots: &'a [u32],
    b_rows: Option<&'a [u32]>,
    b: &'a [T],
    k: usize,
    at: usize,
    out: &'a mut [T],
}

impl<T: Real, const C: usize> Task for Scatter<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Scatter { a, slots, b_rows, b, k, at, out } = self;
        let far = is_far::<T>(out.len());
        for n in 0..b_rows.map_or(a.rows(), <[u32]>::len) {
            let row = b_rows.map_or(n, |ids| ids[n] as usize);
            // SAFETY: `b` has a row for each row that is visited, and `at + C <= k`.
            let y: [T; C] = unsafe { load(b, n * k + at) };
            for e in a.range(row) {
                if far && let Some(&slot) = slots.get(e + AHEAD) {
                    prefetch::<T, C>(out, slot as usize * k + at);
                }
                debug_assert!(e < slots.len() && e < a.values.len());
                // SAFETY: the caller of the kernel promises one slot and one value for each entry.
                let (slot, value) =
                    unsafe { (*slots.get_unchecked(e), *a.values.get_unchecked(e)) };
                // SAFETY: the caller of the kernel promises that slots are below the number of
                // rows of `out`; `at + C <= k`.
                let sum: &mut [T; C] = unsafe { load_mut(out, slot as usize * k + at) };
                for (x, y) in sum.iter_mut().zip(y) {
                    *x = *x + value * y;
                }
            }
        }
    }
}
