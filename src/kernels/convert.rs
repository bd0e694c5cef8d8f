//! Between storage types. An element is stored iff it is not equal to zero, so NaN is kept.

use super::{CsrRef, Number};

/// Row pointers, column ids and values of the non-zeros of a row-major matrix.
pub(crate) fn dense_to_csr<T: Number>(
    rows: usize,
    cols: usize,
    dense: &[T],
) -> (Vec<usize>, Vec<u32>, Vec<T>) {
    let (mut indptr, mut indices, mut values) = (vec![0; rows + 1], Vec::new(), Vec::new());
    for i in 0..rows {
        for (j, &x) in dense[i * cols..(i + 1) * cols].iter().enumerate() {
            if x != T::default() {
                indices.push(j as u32);
                values.push(x);
            }
        }
        indptr[i + 1] = values.len();
    }
    (indptr, indices, values)
}

/// Writes the entries of `csr` into zeroed row-major memory.
pub(crate) fn csr_to_dense<T: Number>(csr: CsrRef<T>, zeroed: &mut [T]) {
    if csr.cols == 0 {
        return;
    }
    for (i, out) in zeroed.chunks_exact_mut(csr.cols).enumerate() {
        let (ids, values) = csr.row(i);
        for (&j, &x) in ids.iter().zip(values) {
            out[j as usize] = x;
        }
    }
}

/// Ids of the rows of length `k` that hold a non-zero.
pub(crate) fn nonzero_rows<T: Number>(rows: usize, k: usize, dense: &[T]) -> Vec<u32> {
    let holds = |i: &usize| dense[i * k..(i + 1) * k].iter().any(|&x| x != T::default());
    (0..rows).filter(holds).map(|i| i as u32).collect()
}

/// Ids of the rows that store an entry.
pub(crate) fn nonempty_rows(indptr: &[usize]) -> Vec<u32> {
    (0..indptr.len() - 1).filter(|&i| indptr[i] < indptr[i + 1]).map(|i| i as u32).collect()
}

/// Copies the rows `ids` (of length `k`) of a row-major matrix.
pub(crate) fn gather_rows<T: Number>(dense: &[T], k: usize, ids: &[u32]) -> Vec<T> {
    let mut out = Vec::with_capacity(ids.len() * k);
    ids.iter().for_each(|&i| out.extend_from_slice(&dense[i as usize * k..(i as usize + 1) * k]));
    out
}

/// Writes rows of length `k` to their places in zeroed row-major memory.
pub(crate) fn scatter_rows<T: Number>(ids: &[u32], values: &[T], k: usize, zeroed: &mut [T]) {
    for (n, &i) in ids.iter().enumerate() {
        zeroed[i as usize * k..][..k].copy_from_slice(&values[n * k..][..k]);
    }
}
