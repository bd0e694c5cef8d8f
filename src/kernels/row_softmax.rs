//! Log-softmax along an axis.

use super::Real;
use super::elementwise::{Unary, unary};
use super::memory::Temp;
use super::reduce::{Add, Fold, Max, fold_axis};
use super::threads::for_each_part;

/// Elements whose exponentials are computed together.
const BLOCK: usize = 1024;

/// `out = x - ln Σ exp(x)` over rows of length `classes`, shifted by the maximum so that nothing
/// overflows.
pub(crate) fn log_softmax_rows<T: Real>(x: &[T], classes: usize, out: &mut [T]) {
    assert_eq!(x.len(), out.len());
    let block = (BLOCK / classes.max(1)).max(1);
    for_each_part(out, block * classes, 4 * block * (classes + 4), |first, out| {
        let mut exps = Temp::unspecified(block * classes);
        let (mut sums, mut logs) = (Temp::unspecified(block), Temp::unspecified(block));
        for (n, out) in out.chunks_mut(block * classes).enumerate() {
            let x = &x[(first + n) * block * classes..][..out.len()];
            let (exps, rows) = (&mut exps[..out.len()], out.len() / classes);
            shift(x, classes, out);
            unary(Unary::Exp, out, exps);
            fold_axis::<Add, T>(exps, (rows, classes, 1), &mut sums[..rows]);
            unary(Unary::Ln, &sums[..rows], &mut logs[..rows]);
            for (out, &log) in out.chunks_exact_mut(classes).zip(logs.iter()) {
                out.iter_mut().for_each(|out| *out = *out - log);
            }
        }
    });
}

/// Subtracts its maximum from each row.
fn shift<T: Real>(x: &[T], classes: usize, out: &mut [T]) {
    for (x, out) in x.chunks_exact(classes).zip(out.chunks_exact_mut(classes)) {
        let max = x.iter().copied().fold(Max::empty(), Max::join);
        x.iter().zip(out).for_each(|(&x, out)| *out = x - max);
    }
}

/// `out = x - ln Σₐ exp(x[o, a, i])` for a row-major `outer × axis × inner` array, shifted by the
/// maximum.
pub(crate) fn log_softmax_axis<T: Real>(
    x: &[T],
    (outer, axis, inner): (usize, usize, usize),
    out: &mut [T],
) {
    if inner == 1 || out.is_empty() {
        return log_softmax_rows(x, axis, out);
    }
    let [mut small, mut logs] = [(); 2].map(|()| Temp::unspecified(outer * inner));
    fold_axis::<Max, T>(x, (outer, axis, inner), &mut small);
    subtract(x, &small, axis, inner, out);
    let mut exps = Temp::unspecified(out.len());
    for_each_part(&mut exps, 1, 1, |first, exps| {
        unary(Unary::Exp, &out[first..][..exps.len()], exps);
    });
    fold_axis::<Add, T>(&exps, (outer, axis, inner), &mut small);
    unary(Unary::Ln, &small, &mut logs);
    exps.copy_from_slice(out);
    subtract(&exps, &logs, axis, inner, out);
}

/// `out = x - small`, repeated along the axis.
fn subtract<T: Real>(x: &[T], small: &[T], axis: usize, inner: usize, out: &mut [T]) {
    for_each_part(out, inner, 2 + inner / 8, |first, out| {
        for (n, out) in out.chunks_exact_mut(inner).enumerate() {
            let row = first + n;
            let small = &small[row / axis * inner..][..inner];
            for ((out, &x), &s) in out.iter_mut().zip(&x[row * inner..]).zip(small) {
                *out = x - s;
            }
        }
    });
}
