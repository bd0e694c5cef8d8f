//! Csr results whose rows are made in parts, in memory of the caller.

use std::ops::Range;

use smallvec::SmallVec;

use super::Number;
use super::memory::{Csr, Temp};
use super::threads::{map_owned, row_ranges};

/// Rows of a result, in the room that they take at most.
pub(super) struct Part<'a, T> {
    pub rows: Range<usize>,
    /// Where each row ends, counted from the part's start.
    pub ends: &'a mut [usize],
    pub indices: &'a mut [u32],
    pub values: &'a mut [T],
}

/// A matrix of `rows` rows, each of which takes about `cost_per_row` nanoseconds: `make` writes those of a
/// part and returns how many entries they have. If every row has as many as it has at most, row `i`
/// starts at `start(i)`.
pub(super) fn assemble<T: Number>(
    rows: usize,
    cost_per_row: usize,
    start: impl Fn(usize) -> usize,
    make: impl Fn(Part<T>) -> usize + Send + Sync,
) -> Csr<T> {
    let mut indptr = Temp::unspecified(rows + 1);
    let room = start(rows);
    let (mut indices, mut values) = (Temp::unspecified(room), Temp::unspecified(room));
    let ranges = row_ranges(rows, cost_per_row);
    let mut rest = (&mut indptr[1..], &mut indices[..], &mut values[..]);
    let mut parts = SmallVec::<[Part<T>; 1]>::new();
    for rows in ranges.clone() {
        let room = start(rows.end) - start(rows.start);
        let (ends, indices, values);
        (ends, rest.0) = rest.0.split_at_mut(rows.len());
        (indices, rest.1) = rest.1.split_at_mut(room);
        (values, rest.2) = rest.2.split_at_mut(room);
        parts.push(Part { rows, ends, indices, values });
    }
    let lens = map_owned(parts, make);
    // Parts move up to where those before them end.
    let mut len = 0;
    for (rows, own) in ranges.zip(lens) {
        let from = start(rows.start);
        if from > len {
            indices.copy_within(from..from + own, len);
            values.copy_within(from..from + own, len);
        }
        indptr[rows.start + 1..=rows.end].iter_mut().for_each(|end| *end += len);
        len += own;
    }
    indptr[0] = 0;
    indices.truncate(len);
    values.truncate(len);
    Csr { indptr, indices, values }
}
