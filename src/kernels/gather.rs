//! Copies of rows.

use super::memory::Csr;
use super::spmm::ABSENT;
use super::threads::for_each_part;
use super::vectorized::{
    Task, each_width, is_far, load, load_mut, prefetch_lines, rows_at_once, straddles, vectorized,
};
use super::{CsrRef, Number};

/// How many rows ahead a row of the table is asked for.
const AHEAD: usize = 32;

/// Rows that share one pass over a chunk of columns.
const BLOCK: usize = 64;

/// Copies the rows `ids` (of length `k`) of a row-major table.
pub(crate) fn gather_rows<T: Number>(table: &[T], k: usize, ids: &[u32], out: &mut [T]) {
    gather::<T, false>(table, k, ids, out);
}

/// As [`gather_rows`]; an absent slot (`u32::MAX`) gives zeros.
pub(crate) fn gather_compact<T: Number>(slots: &[u32], values: &[T], k: usize, out: &mut [T]) {
    if values.is_empty() {
        return out.fill(T::default());
    }
    gather::<T, true>(values, k, slots, out);
}

fn gather<T: Number, const HOLES: bool>(table: &[T], k: usize, ids: &[u32], out: &mut [T]) {
    assert_eq!(out.len(), ids.len() * k);
    for_each_part(out, k, 2 + k / 4, |first, out| {
        let block = rows_at_once(k, BLOCK);
        for (n, out) in out.chunks_mut(block * k).enumerate() {
            let first = first + n * block;
            each_width!(k, at, C => {
                let out = &mut *out;
                vectorized(Gather::<T, C, HOLES> { table, k, ids, at, first, out });
            });
        }
    });
}

/// Columns `at..at + C` of the rows from `first` on.
struct Gather<'a, T, const C: usize, const HOLES: bool> {
    table: &'a [T],
    k: usize,
    ids: &'a [u32],
    at: usize,
    first: usize,
    out: &'a mut [T],
}

impl<T: Number, const C: usize, const HOLES: bool> Task for Gather<'_, T, C, HOLES> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Gather { table, k, ids, at, first, out } = self;
        let ahead = is_far::<T>(table.len()).then(|| straddles(table, k));
        for (n, out) in out.chunks_exact_mut(k).enumerate() {
            if let Some(straddles) = ahead
                && let Some(&id) = ids.get(first + n + AHEAD)
            {
                prefetch_lines::<T, C>(table, (id as usize).wrapping_mul(k) + at, straddles);
            }
            let id = ids[first + n];
            let hole = HOLES && id == ABSENT;
            let id = if hole { 0 } else { id as usize };
            // SAFETY: the caller of the kernel promises that ids are below the number of rows of
            // `table`, which has a row 0 when there may be holes; `at + C <= k`.
            let row: &[T; C] = unsafe { load(table, id * k + at) };
            // SAFETY: `at + C <= k`.
            let out: &mut [T; C] = unsafe { load_mut(out, at) };
            if HOLES {
                for l in 0..C {
                    out[l] = if hole { T::default() } else { row[l] };
                }
            } else {
                *out = *row;
            }
        }
    }
}

/// The rows `ids` of a csr matrix.
pub(crate) fn gather_csr<T: Number>(csr: CsrRef<T>, ids: &[u32]) -> Csr<T> {
    let stored = ids.iter().map(|&id| csr.range(id as usize).len()).sum();
    let mut out = Csr::with_capacity(ids.len(), stored);
    out.indptr.push(0);
    for &id in ids {
        let (columns, row) = csr.row(id as usize);
        out.indices.extend_from_slice(columns);
        out.values.extend_from_slice(row);
        out.indptr.push(out.indices.len());
    }
    out
}
