//! The largest elements of rows, in order.

use std::cmp::Ordering;
use std::iter::once;

use super::Number;
use super::memory::Temp;
use super::threads::for_each_part;

/// Larger elements first, NaN before all; equal ones by column.
fn order<T: Number>(x: &(T, i64), y: &(T, i64)) -> Ordering {
    // Only NaN differs from itself.
    #[expect(clippy::eq_op)]
    let is_nan = |x: T| x != x;
    let by_value = y.0.partial_cmp(&x.0).unwrap_or_else(|| is_nan(y.0).cmp(&is_nan(x.0)));
    by_value.then(x.1.cmp(&y.1))
}

/// Writes the columns of the first candidates, as many as `out` holds, of which there are at least
/// so many. Of those seen `kept` holds fewer than four times as many; what follows `worst` is none of
/// the first.
fn first<T: Number>(
    candidates: impl Iterator<Item = (T, i64)>,
    kept: &mut Vec<(T, i64)>,
    out: &mut [i64],
) {
    let (k, mut worst) = (out.len(), None);
    kept.clear();
    for candidate in candidates {
        if worst.is_some_and(|worst| order(&worst, &candidate).is_le()) {
            continue;
        }
        kept.push(candidate);
        if kept.len() == 4 * k {
            kept.select_nth_unstable_by(k - 1, order);
            kept.truncate(k);
            worst = kept.last().copied();
        }
    }
    kept.sort_unstable_by(order);
    out.iter_mut().zip(kept).for_each(|(out, &mut (_, column))| *out = column);
}

/// For each row of `cols` elements, the columns of the `k` largest.
pub(crate) fn top_k<T: Number>(values: &[T], cols: usize, k: usize, out: &mut [i64]) {
    for_each_part(out, k, 4 * cols, |start, out| {
        let mut kept = Temp::with_capacity(4 * k);
        for (i, out) in out.chunks_exact_mut(k).enumerate() {
            let row = &values[(start + i) * cols..][..cols];
            first(row.iter().copied().zip(0..), &mut kept, out);
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
        let mut kept = Temp::with_capacity(4 * k);
        for (i, out) in out.chunks_exact_mut(k).enumerate() {
            let (columns, values) = row(start + i);
            let stored = values.iter().zip(columns).map(|(&x, &c)| (x, i64::from(c)));
            let zeros = absent(columns, cols).take(k).map(|c| (T::default(), c));
            first(stored.chain(zeros), &mut kept, out);
        }
    });
}

/// The columns that are not among `columns`, ascending.
fn absent(columns: &[u32], cols: usize) -> impl Iterator<Item = i64> {
    let starts = once(0).chain(columns.iter().map(|&c| i64::from(c) + 1));
    let ends = columns.iter().map(|&c| i64::from(c)).chain(once(cols as i64));
    starts.zip(ends).flat_map(|(start, end)| start..end)
}
