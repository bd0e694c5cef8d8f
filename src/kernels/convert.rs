//! Between storage types. An element is stored iff it is not equal to zero, so NaN is kept.

use std::ops::Range;

use super::memory::{Csr, Temp};
use super::spgemm::concat;
use super::threads::{for_each_part, map_parts};
use super::vectorized::{Task, vectorized};
use super::{CsrRef, Number};

/// Elements that are passed over at once when all are zero.
const CHUNK: usize = 16;

/// The non-zeros of a row-major matrix.
pub(crate) fn dense_to_csr<T: Number>(rows: usize, cols: usize, dense: &[T]) -> Csr<T> {
    let parts = map_parts(rows, cols / 4 + 1, |rows| {
        let dense = &dense[rows.start * cols..rows.end * cols];
        vectorized(NonZeros { rows: rows.len(), cols, dense })
    });
    concat(rows, parts)
}

/// The non-zeros of rows.
struct NonZeros<'a, T> {
    rows: usize,
    cols: usize,
    dense: &'a [T],
}

impl<T: Number> Task for NonZeros<'_, T> {
    type Output = Csr<T>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let NonZeros { rows, cols, dense } = self;
        let mut part = Csr::growing();
        for i in 0..rows {
            let (chunks, rest) = dense[i * cols..(i + 1) * cols].as_chunks::<CHUNK>();
            for (n, chunk) in chunks.iter().enumerate() {
                if holds_nonzero(chunk) {
                    push_nonzeros(chunk, n * CHUNK, &mut part);
                }
            }
            push_nonzeros(rest, cols - rest.len(), &mut part);
            part.indptr.push(part.values.len());
        }
        part
    }
}

#[inline(always)]
fn holds_nonzero<T: Number>(x: &[T; CHUNK]) -> bool {
    x.iter().fold(false, |any, &x| any | (x != T::default()))
}

#[inline(always)]
fn push_nonzeros<T: Number>(x: &[T], first: usize, part: &mut Csr<T>) {
    debug_assert!(x.len() <= CHUNK);
    let mut mask = 0u32;
    for (j, &x) in x.iter().enumerate() {
        mask |= u32::from(x != T::default()) << j;
    }
    while mask != 0 {
        let j = mask.trailing_zeros() as usize;
        part.indices.push((first + j) as u32);
        part.values.push(x[j]);
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
pub(crate) fn nonzero_rows<T: Number>(rows: usize, k: usize, dense: &[T]) -> Temp<u32> {
    let mut parts = map_parts(rows, k / 16 + 1, |rows| vectorized(NonZeroRows { rows, k, dense }));
    if let [_] = parts[..] {
        return parts.swap_remove(0);
    }
    let mut all = Temp::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        all.extend_from_slice(&part);
        part.free();
    }
    all
}

struct NonZeroRows<'a, T> {
    rows: Range<usize>,
    k: usize,
    dense: &'a [T],
}

impl<T: Number> Task for NonZeroRows<'_, T> {
    type Output = Temp<u32>;

    #[inline(always)]
    fn run(self) -> Temp<u32> {
        let mut ids = Temp::growing();
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
pub(crate) fn nonempty_rows(indptr: &[usize]) -> Temp<u32> {
    let occupied = (0..indptr.len() - 1).filter(|&i| indptr[i] < indptr[i + 1]);
    Temp::collect(occupied.map(|i| i as u32))
}

/// Writes rows of length `k` to their places in zeroed row-major memory.
pub(crate) fn scatter_rows<T: Number>(ids: &[u32], values: &[T], k: usize, zeroed: &mut [T]) {
    for (n, &i) in ids.iter().enumerate() {
        zeroed[i as usize * k..][..k].copy_from_slice(&values[n * k..][..k]);
    }
}
