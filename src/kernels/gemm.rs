//! Dense matrix products.

use std::any::TypeId;

use super::dense_csr::Strided;
use super::threads::for_each_part;
use super::{Real, sampled};

/// Output rows are shared among threads in multiples of this.
const BLOCK: usize = 64;

/// `out = a · b`, row-major `a.rows × b.cols`. The path depends on layouts and on the extents of
/// `b` only, so a row of the result is the same whatever other rows `a` has.
pub(crate) fn gemm<T: Real>(a: Strided<T>, b: Strided<T>, out: &mut [T]) {
    assert!(a.cols == b.rows && out.len() == a.rows * b.cols);
    assert!(a.is_within_bounds() && b.is_within_bounds());
    if b.cols == 1 && a.col_stride == 1 && b.row_stride == 1 {
        return times_vector(a, b, out);
    }
    let cost = (a.cols * b.cols / 32 + 1) * BLOCK;
    for_each_part(out, BLOCK * b.cols, cost, |first, out| {
        let rows = out.len() / b.cols;
        let values = a.values.get(first * BLOCK * a.row_stride..).unwrap_or(&[]);
        block(Strided { values, rows, ..a }, b, out);
    });
}

/// Products of pairs of matrices, one after the other in `out`, of `size` elements each.
pub(crate) fn gemm_batches<'a, T: Real>(
    size: usize,
    pair: impl Fn(usize) -> (Strided<'a, T>, Strided<'a, T>) + Sync,
    out: &mut [T],
) {
    if out.is_empty() {
        return;
    }
    let cost = size * pair(0).0.cols / 32 + 1;
    for_each_part(out, size, cost, |first, out| {
        for (i, out) in out.chunks_exact_mut(size).enumerate() {
            let (a, b) = pair(first + i);
            gemm(a, b, out);
        }
    });
}

fn times_vector<T: Real>(a: Strided<T>, b: Strided<T>, out: &mut [T]) {
    let column = &b.values[..b.rows];
    for_each_part(out, 1, a.cols / 8 + 1, |first, out| {
        for (i, x) in out.iter_mut().enumerate() {
            *x = sampled::dot(a.row(first + i), column);
        }
    });
}

fn block<T: Real>(a: Strided<T>, b: Strided<T>, out: &mut [T]) {
    assert!(a.is_within_bounds() && b.is_within_bounds());
    let (m, k, n) = (a.rows, a.cols, b.cols);
    let a_strides = (a.row_stride as isize, a.col_stride as isize);
    let b_strides = (b.row_stride as isize, b.col_stride as isize);
    let (a, b, c) = (a.values.as_ptr(), b.values.as_ptr(), out.as_mut_ptr());
    let width = n as isize;
    macro_rules! call {
        ($product:path) => {
            // SAFETY: the element type is the product's, as the caller of the macro has compared;
            // all elements are within the slices, as asserted above and by `gemm`.
            unsafe {
                let ((ar, ac), (br, bc)) = (a_strides, b_strides);
                let (a, b, c) = (a.cast(), b.cast(), c.cast());
                $product(m, k, n, 1.0, a, ar, ac, b, br, bc, 0.0, c, width, 1);
            }
        };
    }
    if TypeId::of::<T>() == TypeId::of::<f32>() {
        call!(matrixmultiply::sgemm);
    } else if TypeId::of::<T>() == TypeId::of::<f64>() {
        call!(matrixmultiply::dgemm);
    } else {
        unreachable!("the real types are f32 and f64");
    }
}
