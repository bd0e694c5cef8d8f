//! Element-wise functions of two csr matrices: one pass merges their rows and evaluates.

use std::hint::select_unpredictable;
use std::ops::Range;

use bytemuck::{Pod, cast_slice, cast_slice_mut};
use smallvec::SmallVec;

use super::memory::{Csr, Temp};
use super::threads::{map_owned, row_ranges};
use super::{CsrRef, Number};

/// Entries that a function sees at once, more or less: what both operands have there stays in the
/// nearest cache.
const BLOCK: usize = 1024;

/// Which entries a result stores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Entries {
    /// Those that either operand has.
    Either,
    /// Those that both have.
    Both,
}

/// Writes the values of a result, given those of both operands, 0 where one has no entry.
pub(crate) trait OfTwo<T>: Fn(&[T], &[T], &mut [T]) + Sync {}

impl<T, F: Fn(&[T], &[T], &mut [T]) + Sync> OfTwo<T> for F {}

/// The function `f` of two csr matrices of one shape, block by block.
pub(crate) fn of_two<T: Number>(
    x: CsrRef<T>,
    y: CsrRef<T>,
    entries: Entries,
    f: impl OfTwo<T>,
) -> Csr<T> {
    let rows = x.rows();
    // Where a row's entries are if no two meet.
    let start = |row: usize| x.indptr[row] - x.indptr[0] + (y.indptr[row] - y.indptr[0]);
    let room = start(rows);
    let mut indptr = Temp::unspecified(rows + 1);
    let (mut indices, mut values) = (Temp::unspecified(room), Temp::unspecified(room));
    let ranges = row_ranges(rows, 3 * room / rows.max(1) + 4);
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
    let lens = map_owned(parts, |part| part.run(x, y, entries, &f));
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

/// Rows of a result, in room for all entries of both operands.
struct Part<'a, T> {
    rows: Range<usize>,
    ends: &'a mut [usize],
    indices: &'a mut [u32],
    values: &'a mut [T],
}

impl<T: Number> Part<'_, T> {
    /// How many entries there are; ends of rows count from the part's start.
    fn run(self, x: CsrRef<T>, y: CsrRef<T>, entries: Entries, f: &impl OfTwo<T>) -> usize {
        let merge = match (size_of::<T>(), entries) {
            (4, Entries::Either) => merge_row::<T, u32, true>,
            (4, Entries::Both) => merge_row::<T, u32, false>,
            (_, Entries::Either) => merge_row::<T, u64, true>,
            (_, Entries::Both) => merge_row::<T, u64, false>,
        };
        let longest = self.rows.clone().map(|row| x.range(row).len() + y.range(row).len()).max();
        let room = BLOCK + longest.unwrap_or(0);
        let (mut left, mut right) = (Temp::unspecified(room), Temp::unspecified(room));
        let last = self.rows.end - 1;
        let (mut len, mut held) = (0, 0);
        for (row, end) in self.rows.zip(self.ends) {
            let to = (&mut self.indices[len + held..], &mut left[held..], &mut right[held..]);
            held += merge(x.row(row), y.row(row), to);
            *end = len + held;
            if held >= BLOCK || row == last {
                f(&left[..held], &right[..held], &mut self.values[len..len + held]);
                (len, held) = (*end, 0);
            }
        }
        len
    }
}

/// Merges two rows: columns, and what either has there. Returns how many there are.
///
/// Values are words, which the processor chooses among without a branch: no branch depends on the
/// columns. The columns that may come next are read before it is known which one does, so that
/// comparisons need not wait for reads.
fn merge_row<T: Number, W: Pod + Default, const EITHER: bool>(
    (x, xs): (&[u32], &[T]),
    (y, ys): (&[u32], &[T]),
    (ids, left, right): (&mut [u32], &mut [T], &mut [T]),
) -> usize {
    let (xs, ys) = (cast_slice::<T, W>(xs), cast_slice::<T, W>(ys));
    let (left, right) = (cast_slice_mut::<T, W>(left), cast_slice_mut::<T, W>(right));
    let room = ids.len().min(left.len()).min(right.len());
    assert!(x.len() == xs.len() && y.len() == ys.len() && x.len() + y.len() <= room);
    let (mut i, mut j, mut n) = (0, 0, 0);
    let (mut a, mut b) = (x.first().copied().unwrap_or(0), y.first().copied().unwrap_or(0));
    while i < x.len() && j < y.len() {
        let (less, more) = (a <= b, b <= a);
        // SAFETY: `i` and `j` are in bounds, as are the smaller of the next places and the last ones;
        // `n` is at most `i + j`, and there is room for all entries of both.
        unsafe {
            let next_a = *x.get_unchecked((i + 1).min(x.len() - 1));
            let next_b = *y.get_unchecked((j + 1).min(y.len() - 1));
            // Where one has nothing, `Both` keeps nothing.
            let or_zero = |there, word| match EITHER {
                true => select_unpredictable(there, word, W::default()),
                false => word,
            };
            *ids.get_unchecked_mut(n) = a.min(b);
            *left.get_unchecked_mut(n) = or_zero(less, *xs.get_unchecked(i));
            *right.get_unchecked_mut(n) = or_zero(more, *ys.get_unchecked(j));
            (a, b) = (select_unpredictable(less, next_a, a), select_unpredictable(more, next_b, b));
        }
        n += usize::from(EITHER | (less & more));
        i += usize::from(less);
        j += usize::from(more);
    }
    if EITHER {
        n += rest((&x[i..], &xs[i..]), (&mut ids[n..], &mut left[n..], &mut right[n..]));
        n += rest((&y[j..], &ys[j..]), (&mut ids[n..], &mut right[n..], &mut left[n..]));
    }
    n
}

/// What one row alone has left.
fn rest<W: Pod + Default>(
    (x, xs): (&[u32], &[W]),
    (ids, own, other): (&mut [u32], &mut [W], &mut [W]),
) -> usize {
    for (n, (&id, &x)) in x.iter().zip(xs).enumerate() {
        (ids[n], own[n], other[n]) = (id, x, W::default());
    }
    x.len()
}
