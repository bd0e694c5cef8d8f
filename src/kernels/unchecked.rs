//! CSR rows whose column ids nobody has checked, times dense rows.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ascending::rows_ascend;
use super::spmm;
use super::threads::for_each_part;
use super::{CsrRef, Real};

/// Rows that are checked at a time, right before their ids are followed: ids that come from far are read once.
const BLOCK: usize = 64;

/// Entries that a product may ask for ahead of its own.
const AHEAD: usize = 32;

/// `out = a · b` for a dense `b` with rows of length `k`; whether the ids of each row of `a` ascend below the number
/// of columns. If not, what is written is unspecified. Row pointers are monotone and span all entries.
pub(crate) fn csr_dense<T: Real>(a: CsrRef<T>, b: &[T], k: usize, out: &mut [T]) -> bool {
    assert!(a.indices.len() == a.values.len() && out.len() == a.rows() * k);
    if out.is_empty() {
        return rows_ascend(a.indptr, a.indices, a.cols, |_| {});
    }
    if a.rows() <= BLOCK {
        return block(a, b, k, 0, out);
    }
    let valid = AtomicBool::new(true);
    for_each_part(out, k, spmm::cost_per_row(a, k), |first, out| {
        for (n, out) in out.chunks_mut(BLOCK * k).enumerate() {
            let start = first + n * BLOCK;
            if !block(a, b, k, start, out) {
                return valid.store(false, Ordering::Relaxed);
            }
        }
    });
    valid.into_inner()
}

/// The rows from `start` on, as many as `out` has.
fn block<T: Real>(a: CsrRef<T>, b: &[T], k: usize, start: usize, out: &mut [T]) -> bool {
    let end = start + out.len() / k;
    let indptr = &a.indptr[start..=end];
    let [from, to] = [start, end].map(|row| a.indptr[row] - a.indptr[0]);
    let valid = rows_ascend(indptr, &a.indices[from..to], a.cols, |_| {});
    if valid {
        // The entries after the last row's are no row's: they are asked for alone.
        let read = from..a.indices.len().min(to + AHEAD);
        let (indices, values) = (&a.indices[read.clone()], &a.values[read]);
        spmm::csr_dense(CsrRef { cols: a.cols, indptr, indices, values }, b, k, out);
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_whose_ids_ascend_are_multiplied() {
        let n = 3 * BLOCK;
        let indptr: Vec<usize> = (0..=n).map(|row| 7 + 2 * row).collect();
        let good: Vec<u32> = (0..n as u32).flat_map(|row| [row % 5, 5 + row % 4]).collect();
        let values: Vec<f32> = (0..2 * n).map(|e| e as f32 * 0.5).collect();
        let b: Vec<f32> = (0..9 * 3).map(|i| i as f32 - 4.0).collect();
        let run = |indices: &[u32]| {
            let (a, mut out) =
                (CsrRef { cols: 9, indptr: &indptr, indices, values: &values }, vec![0.0; 3 * n]);
            let valid = csr_dense(a, &b, 3, &mut out);
            (valid, out)
        };
        let mut wanted = vec![0.0; 3 * n];
        let a = CsrRef { cols: 9, indptr: &indptr, indices: &good[..], values: &values };
        spmm::csr_dense(a, &b, 3, &mut wanted);
        assert_eq!(run(&good), (true, wanted));
        for (at, id) in [(0, 9), (1, 0), (2 * n - 1, 9), (2 * n - 1, 0), (2 * BLOCK, u32::MAX)] {
            let mut bad = good.clone();
            bad[at] = id;
            assert!(!run(&bad).0, "{at}: {id}");
        }
        let a = CsrRef { cols: 9, indptr: &[0, 1], indices: &[9], values: &[1.0f32] };
        assert!(!csr_dense(a, &[], 0, &mut []));
    }
}
