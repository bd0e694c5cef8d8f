//! The largest elements of rows, in order.

use std::cmp::Ordering;
use std::iter::once;

use super::Number;
use super::threads::for_each_part;

/// Larger elements first, NaN before all; equal ones by column.
fn order<T: Number>(x: &(T, i64), y: &(T, i64)) -> Ordering {
    // Only NaN differs from itself.
    #[expect(clippy::eq_op)]
    let is_nan = |x: T| x != x;
    let by_value = y.0.partial_cmp(&x.0).unwrap_or_else(|| is_nan(y.0).cmp(&is_nan(x.0)));
    by_value.then(x.1.cmp(&y.1))
}

/// Writes the columns of the first candidates, as many as `out` holds.
fn first<T: Number>(candidates: &mut [(T, i64)], out: &mut [i64]) {
    let k = out.len();
    if k < candidates.len() {
        candidates.select_nth_unstable_by(k, order);
    }
    candidates[..k].sort_unstable_by(order);
    out.iter_mut().zip(candidates).for_each(|(out, &mut (_, column))| *out = column);
}

/// For each row of `cols` elements, the columns of the `k` largest.
pub(crate) fn top_k<T: Number>(values: &[T], cols: usize, k: usize, out: &mut [i64]) {
    for_each_part(out, k, 4 * cols, |start, out| {
        let mut candidates = Vec::with_capacity(cols);
        for (i, out) in out.chunks_exact_mut(k).enumerate() {
            let row = &values[(start + i) * cols..][..cols];
            candidates.clear();
            candidates.extend(row.iter().zip(0..).map(|(&x, column)| (x, column)));
            first(&mut candidates, out);
        }
    });
}

/// As [`top_k`] for rows of which `row(i)` gives the stored columns, ascending, and their values; the
/// other elements are zeros.
pub(crate) fn top_k_sparse<'a, T: Number>(
    row: impl Fn(usize) -> (&'a [u32], &'a [T]) + Sync,
    cols: usize,
    (k, cost): (usize, usize),
    out: &mut [i64],
) {
    for_each_part(out, k, cost, |start, out| {
        let mut candidates = Vec::new();
        for (i, out) in out.chunks_exact_mut(k).enumerate() {
            let (columns, values) = row(start + i);
            candidates.clear();
            candidates.extend(values.iter().zip(columns).map(|(&x, &c)| (x, i64::from(c))));
            candidates.extend(absent(columns, cols).take(k).map(|c| (T::default(), c)));
            first(&mut candidates, out);
        }
    });
}

/// The columns that are not among `columns`, ascending.
fn absent(columns: &[u32], cols: usize) -> impl Iterator<Item = i64> {
    let starts = once(0).chain(columns.iter().map(|&c| i64::from(c) + 1));
    let ends = columns.iter().map(|&c| i64::from(c)).chain(once(cols as i64));
    starts.zip(ends).flat_map(|(start, end)| start..end)
}
