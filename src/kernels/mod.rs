//! Loops over raw slices. Nothing here knows of tensors, tapes or operators.

pub(crate) mod arg;
pub(crate) mod ascending;
mod assemble;
pub(crate) mod bags;
pub(crate) mod blocks;
pub(crate) mod broadcast;
pub(crate) mod by_id;
pub(crate) mod columns;
pub(crate) mod concat;
pub(crate) mod convert;
pub(crate) mod counter;
pub(crate) mod dense_csr;
mod drive;
pub(crate) mod dropout;
pub(crate) mod elementwise;
#[cfg(test)]
mod elementwise_accuracy;
#[cfg(test)]
mod elementwise_tests;
#[cfg(test)]
mod elementwise_throughput;
#[cfg(test)]
mod elementwise_values;
#[cfg(feature = "data")]
pub(crate) mod entries;
pub(crate) mod factor_sums;
pub(crate) mod gather;
pub(crate) mod gemm;
mod isa;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_x86;
mod math;
pub(crate) mod memory;
pub(crate) mod merge;
pub(crate) mod pages;
pub(crate) mod patterns;
mod radix;
mod ranks;
mod real;
pub(crate) mod reduce;
pub(crate) mod row_softmax;
pub(crate) mod sampled;
pub(crate) mod side_by_side;
pub(crate) mod slab;
mod spans;
pub(crate) mod spgemm;
pub(crate) mod spmm;
pub(crate) mod square_grad;
pub(crate) mod steps;
pub(crate) mod strided;
pub(crate) mod sums;
#[cfg(test)]
mod tests;
pub(crate) mod threads;
pub(crate) mod top_k;
pub(crate) mod transposed;
pub(crate) mod unchecked;
pub(crate) mod update;
mod vectorized;

use std::ops::{Add, Div, Mul, Neg, Range, Sub};

use bytemuck::Pod;
use num_traits::AsPrimitive;

use self::memory::Temp;
pub use self::real::Real;

/// What kernels need of an element type.
pub trait Number:
    Copy
    + Default
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Pod
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AsPrimitive<Self>
    + AsPrimitive<Self::Wide>
{
    /// What long sums are kept in.
    type Wide: Number + AsPrimitive<Self>;
}

impl Number for f32 {
    type Wide = f64;
}

impl Number for f64 {
    type Wide = f64;
}

impl Number for i64 {
    type Wide = i64;
}

/// Calls `sum` for the sums `out`, or, where each may have more than `short` terms, for wider ones
/// that are then rounded: `f32` sums of many terms drift.
fn summed<T: Number>(out: &mut [T], terms: usize, short: usize, sum: impl SumInto<T>) {
    if terms <= short || size_of::<T::Wide>() == size_of::<T>() {
        return sum.sum_into(out);
    }
    let mut wide = Temp::unspecified(out.len());
    sum.sum_into::<T::Wide>(&mut wide);
    out.iter_mut().zip(wide.iter()).for_each(|(to, sum)| *to = sum.as_());
}

/// Sums of products or elements of type `T`, kept in a type of the caller's choice.
trait SumInto<T> {
    fn sum_into<A: Number>(self, out: &mut [A])
    where
        T: AsPrimitive<A>;
}

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
