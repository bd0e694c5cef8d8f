//! Log-softmax of rows.

use super::threads::for_each_part;
use super::{Real, reduce};

/// `out = x - ln Σ exp(x)` over rows of length `classes`, shifted by the maximum so that nothing
/// overflows.
pub(crate) fn log_softmax_rows<T: Real>(x: &[T], classes: usize, out: &mut [T]) {
    debug_assert_eq!(x.len(), out.len());
    for_each_part(out, classes, 4 * classes + 16, |first, out| {
        let mut exps = vec![T::zero(); classes];
        for (n, out) in out.chunks_exact_mut(classes).enumerate() {
            let x = &x[(first + n) * classes..][..classes];
            let max = x.iter().copied().fold(T::neg_infinity(), max_or_nan);
            x.iter().zip(&mut *out).for_each(|(&x, out)| *out = x - max);
            exp(out, &mut exps);
            let log_sum = ln(reduce::sum(&exps));
            out.iter_mut().for_each(|out| *out = *out - log_sum);
        }
    });
}

fn max_or_nan<T: Real>(x: T, y: T) -> T {
    if x >= y || x.is_nan() { x } else { y }
}

fn exp<T: Real>(x: &[T], out: &mut [T]) {
    x.iter().zip(out).for_each(|(&x, out)| *out = x.exp());
}

fn ln<T: Real>(x: T) -> T {
    x.ln()
}
