//! Log-softmax of rows.

use super::elementwise::{Unary, unary};
use super::threads::for_each_part;
use super::{Real, reduce};

/// Elements whose exponentials are computed together.
const BLOCK: usize = 1024;

/// `out = x - ln Σ exp(x)` over rows of length `classes`, shifted by the maximum so that nothing
/// overflows.
pub(crate) fn log_softmax_rows<T: Real>(x: &[T], classes: usize, out: &mut [T]) {
    assert_eq!(x.len(), out.len());
    let block = (BLOCK / classes.max(1)).max(1);
    for_each_part(out, block * classes, 4 * block * (classes + 4), |first, out| {
        let mut exps = vec![T::zero(); block * classes];
        let (mut sums, mut logs) = (vec![T::zero(); block], vec![T::zero(); block]);
        for (n, out) in out.chunks_mut(block * classes).enumerate() {
            let x = &x[(first + n) * block * classes..][..out.len()];
            let (exps, rows) = (&mut exps[..out.len()], out.len() / classes);
            shift(x, classes, out);
            unary(Unary::Exp, out, exps);
            reduce::sum_axis(exps, rows, classes, 1, &mut sums[..rows]);
            unary(Unary::Ln, &sums[..rows], &mut logs[..rows]);
            for (out, &log) in out.chunks_exact_mut(classes).zip(&logs) {
                out.iter_mut().for_each(|out| *out = *out - log);
            }
        }
    });
}

/// `out = x - ln Σₐ exp(x[o, a, i])` for a row-major `outer × axis × inner` array, shifted by the
/// maximum.
pub(crate) fn log_softmax_axis<T: Real>(
    x: &[T],
    (outer, axis, inner): (usize, usize, usize),
    out: &mut [T],
) {
    assert!(x.len() == outer * axis * inner && x.len() == out.len());
    if inner == 1 {
        return log_softmax_rows(x, axis, out);
    }
    let places = |row: usize| {
        let first = row / inner * axis * inner + row % inner;
        (0..axis).map(move |step| first + step * inner)
    };
    let rows: Vec<T> = (0..outer * inner).flat_map(places).map(|at| x[at]).collect();
    let mut logs = vec![T::zero(); x.len()];
    log_softmax_rows(&rows, axis, &mut logs);
    (0..outer * inner).flat_map(places).zip(&logs).for_each(|(at, &log)| out[at] = log);
}

/// Subtracts its maximum from each row.
fn shift<T: Real>(x: &[T], classes: usize, out: &mut [T]) {
    for (x, out) in x.chunks_exact(classes).zip(out.chunks_exact_mut(classes)) {
        let max = x.iter().copied().fold(T::neg_infinity(), max_or_nan);
        x.iter().zip(out).for_each(|(&x, out)| *out = x - max);
    }
}

fn max_or_nan<T: Real>(x: T, y: T) -> T {
    if x >= y || x.is_nan() { x } else { y }
}
