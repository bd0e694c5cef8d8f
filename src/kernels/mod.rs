//! Loops over raw slices. Nothing here knows of tensors, tapes or operators.

pub(crate) mod columns;
pub(crate) mod convert;
pub(crate) mod dense_csr;
pub(crate) mod gather;
pub(crate) mod gemm;
pub(crate) mod merge;
pub(crate) mod patterns;
mod ranks;
pub(crate) mod reduce;
pub(crate) mod row_softmax;
pub(crate) mod sampled;
pub(crate) mod spgemm;
pub(crate) mod spmm;
pub(crate) mod threads;
pub(crate) mod transposed;
mod vectorized;

#[cfg(test)]
mod tests;

use std::ops::{Add, Div, Mul, Neg, Range, Sub};

/// What kernels need of an element type.
pub trait Number:
    Copy
    + Default
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
}
impl Number for f32 {}
impl Number for f64 {}
impl Number for i64 {}

/// A floating-point [`Number`].
pub trait Real: Number + num_traits::Float {}
impl Real for f32 {}
impl Real for f64 {}

/// A CSR matrix as kernels see it. `indptr` need not start at 0; `indices` and `values` hold
/// exactly the entries that it spans.
#[derive(Clone, Copy)]
pub(crate) struct CsrRef<'a, T> {
    pub cols: usize,
    pub indptr: &'a [usize],
    pub indices: &'a [u32],
    pub values: &'a [T],
}

impl<'a, T> CsrRef<'a, T> {
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Where row `i` is among the entries.
    #[inline]
    pub fn range(&self, i: usize) -> Range<usize> {
        let base = self.indptr[0];
        self.indptr[i] - base..self.indptr[i + 1] - base
    }

    pub fn row(&self, i: usize) -> (&'a [u32], &'a [T]) {
        let range = self.range(i);
        (&self.indices[range.clone()], &self.values[range])
    }
}

/// Turns counts (after a leading 0) into row pointers, in place.
pub(crate) fn prefix_sum(counts: &mut [usize]) {
    let mut sum = 0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}
