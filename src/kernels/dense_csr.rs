//! Dense matrix times CSR matrix, by blocks of rows: a block, turned so that its rows lie side by
//! side, makes the product one of CSR with dense rows.

use super::memory::Temp;
use super::threads::for_each_part;
use super::{CsrRef, Number, Real, spmm, transposed};

/// Rows of the dense matrix that are multiplied together.
const BLOCK: usize = 16;

/// A dense matrix; element `(i, j)` is at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, T> {
    pub values: &'a [T],
    pub rows: usize,
    pub cols: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl<'a, T: Number> Strided<'a, T> {
    /// The elements of row `i`, from the first to the last.
    pub fn row(&self, i: usize) -> &'a [T] {
        let len = self.cols.saturating_sub(1) * self.col_stride + self.cols.min(1);
        let start = if len == 0 { 0 } else { i * self.row_stride };
        &self.values[start..start + len]
    }

    /// Whether every element lies within `values`.
    pub fn is_within_bounds(&self) -> bool {
        let last = |n: usize, stride: usize| n.saturating_sub(1) * stride;
        self.rows * self.cols == 0
            || last(self.rows, self.row_stride) + last(self.cols, self.col_stride)
                < self.values.len()
    }

    /// Rows `first..first + n`, side by side: element `(i, j)` is at `j * n + i`.
    fn turned(&self, first: usize, n: usize) -> Temp<T> {
        let mut turned = Temp::with_capacity(self.cols * n);
        for j in 0..self.cols {
            let at = first * self.row_stride + j * self.col_stride;
            turned.extend((0..n).map(|i| self.values[at + i * self.row_stride]));
        }
        turned
    }
}

/// `out = a · b`, row-major `a.rows × b.cols`.
pub(crate) fn dense_csr<T: Real>(a: Strided<T>, b: CsrRef<T>, out: &mut [T]) {
    assert_eq!(out.len(), a.rows * b.cols);
    by_blocks(a, b.cols, b.indices.len() + b.cols, out, |block, n, out| {
        transposed::csr_t_dense_full(b, block, n, out);
    });
}

/// `out = a · bᵀ`, row-major `a.rows × b.rows()`.
pub(crate) fn dense_csr_t<T: Real>(a: Strided<T>, b: CsrRef<T>, out: &mut [T]) {
    assert_eq!(out.len(), a.rows * b.rows());
    let cost = b.indices.len() + b.rows();
    if a.col_stride == 1 && b.indices.len() < a.cols {
        return for_each_part(out, b.rows(), cost, |first, out| {
            for (i, out) in out.chunks_exact_mut(b.rows()).enumerate() {
                spmm::csr_dense(b, a.row(first + i), 1, out);
            }
        });
    }
    by_blocks(a, b.rows(), cost, out, |block, n, out| spmm::csr_dense(b, block, n, out));
}

/// Calls `f(turned rows, how many, turned output rows)` for blocks of rows of `a`.
fn by_blocks<T: Real, F>(a: Strided<T>, out_cols: usize, cost: usize, out: &mut [T], f: F)
where
    F: Fn(&[T], usize, &mut [T]) + Sync,
{
    for_each_part(out, BLOCK * out_cols, cost * BLOCK / 8, |first, out| {
        let mut turned_out = Temp::unspecified(out.len().min(BLOCK * out_cols));
        for (n, out) in out.chunks_mut(BLOCK * out_cols).enumerate() {
            let rows = out.len() / out_cols;
            let block = a.turned((first + n) * BLOCK, rows);
            f(&block, rows, &mut turned_out[..out.len()]);
            turn_back(&turned_out[..out.len()], rows, out);
        }
    });
}

fn turn_back<T: Copy>(turned: &[T], rows: usize, out: &mut [T]) {
    let cols = out.len() / rows;
    for (i, out) in out.chunks_exact_mut(cols).enumerate() {
        for (x, y) in out.iter_mut().zip(turned[i..].iter().step_by(rows)) {
            *x = *y;
        }
    }
}
