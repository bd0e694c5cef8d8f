//! Between storage types. An element is stored iff it is not equal to zero, so NaN is kept.

use std::ops::Range;

use super::threads::{for_each_part, map_parts};
use super::vectorized::{Task, vectorized};
use super::{CsrRef, Number, gather};

/// Elements that are passed over at once when all are zero.
const CHUNK: usize = 16;

/// Row pointers, column ids and values of the non-zeros of a row-major matrix.
pub(crate) fn dense_to_csr<T: Number>(
    rows: usize,
    cols: usize,
    dense: &[T],
) -> (Vec<usize>, Vec<u32>, Vec<T>) {
    let parts = map_parts(rows, cols / 4 + 1, |rows| {
        let dense = &dense[rows.start * cols..rows.end * cols];
        vectorized(NonZeros { rows: rows.len(), cols, dense })
    });
    let stored = parts.iter().map(|part| part.1.len()).sum();
    let mut indptr = Vec::with_capacity(rows + 1);
    let (mut indices, mut values) = (Vec::with_capacity(stored), Vec::with_capacity(stored));
    indptr.push(0);
    for (ends, columns, xs) in parts {
        let start = indices.len();
        indptr.extend(ends.iter().map(|end| start + end));
        indices.extend_from_slice(&columns);
        values.extend_from_slice(&xs);
    }
    (indptr, indices, values)
}

/// The ends of rows, the columns and values of the non-zeros.
struct NonZeros<'a, T> {
    rows: usize,
    cols: usize,
    dense: &'a [T],
}

impl<T: Number> Task for NonZeros<'_, T> {
    type Output = (Vec<usize>, Vec<u32>, Vec<T>);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let NonZeros { rows, cols, dense } = self;
        let (mut ends, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..rows {
            let (chunks, rest) = dense[i * cols..(i + 1) * cols].as_chunks::<CHUNK>();
            for (n, chunk) in chunks.iter().enumerate() {
                if holds_nonzero(chunk) {
                    push_nonzeros(chunk, n * CHUNK, &mut columns, &mut values);
                }
            }
            push_nonzeros(rest, cols - rest.len(), &mut columns, &mut values);
            ends.push(values.len());
        }
        (ends, columns, values)
    }
}

#[inline(always)]
fn holds_nonzero<T: Number>(x: &[T; CHUNK]) -> bool {
    x.iter().fold(false, |any, &x| any | (x != T::default()))
}

#[inline(always)]
fn push_nonzeros<T: Number>(x: &[T], first: usize, columns: &mut Vec<u32>, values: &mut Vec<T>) {
    debug_assert!(x.len() <= CHUNK);
    let mut mask = 0u32;
    for (j, &x) in x.iter().enumerate() {
        mask |= u32::from(x != T::default()) << j;
    }
    while mask != 0 {
        let j = mask.trailing_zeros() as usize;
        columns.push((first + j) as u32);
        values.push(x[j]);
        mask &= mask - 1;
    }
}

/// Writes the entries of `csr` into zeroed row-major memory.
pub(crate) fn csr_to_dense<T: Number>(csr: CsrRef<T>, zeroed: &mut [T]) {
    let cost = 4 * (csr.indices.len() / csr.rows().max(1) + 1);
    for_each_part(zeroed, csr.cols, cost, |first, out| {
        for (i, out) in out.chunks_exact_mut(csr.cols).enumerate() {
            let (ids, values) = csr.row(first + i);
            for (&j, &x) in ids.iter().zip(values) {
                out[j as usize] = x;
            }
        }
    });
}

/// Ids of the rows of length `k` that hold a non-zero.
pub(crate) fn nonzero_rows<T: Number>(rows: usize, k: usize, dense: &[T]) -> Vec<u32> {
    let parts = map_parts(rows, k / 16 + 1, |rows| vectorized(NonZeroRows { rows, k, dense }));
    parts.concat()
}

struct NonZeroRows<'a, T> {
    rows: Range<usize>,
    k: usize,
    dense: &'a [T],
}

impl<T: Number> Task for NonZeroRows<'_, T> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run(self) -> Vec<u32> {
        let mut ids = Vec::new();
        for i in self.rows {
            let (chunks, rest) = self.dense[i * self.k..(i + 1) * self.k].as_chunks::<CHUNK>();
            if chunks.iter().any(holds_nonzero) || rest.iter().any(|&x| x != T::default()) {
                ids.push(i as u32);
            }
        }
        ids
    }
}

/// Ids of the rows that store an entry.
pub(crate) fn nonempty_rows(indptr: &[usize]) -> Vec<u32> {
    (0..indptr.len() - 1).filter(|&i| indptr[i] < indptr[i + 1]).map(|i| i as u32).collect()
}

/// Copies the rows `ids` (of length `k`) of a row-major matrix.
pub(crate) fn gather_rows<T: Number>(dense: &[T], k: usize, ids: &[u32]) -> Vec<T> {
    let mut out = vec![T::default(); ids.len() * k];
    gather::gather_rows(dense, k, ids, &mut out);
    out
}

/// Writes rows of length `k` to their places in zeroed row-major memory.
pub(crate) fn scatter_rows<T: Number>(ids: &[u32], values: &[T], k: usize, zeroed: &mut [T]) {
    for (n, &i) in ids.iter().enumerate() {
        zeroed[i as usize * k..][..k].copy_from_slice(&values[n * k..][..k]);
    }
}
