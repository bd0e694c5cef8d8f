//! Element-wise functions of two csr matrices: one pass merges their rows and evaluates.

use std::hint::select_unpredictable;

use bytemuck::{Pod, cast_slice, cast_slice_mut};

use super::assemble::{Part, assemble};
use super::memory::{Csr, Temp};
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
    // As if no two entries met.
    let start = |row: usize| x.indptr[row] - x.indptr[0] + (y.indptr[row] - y.indptr[0]);
    let cost = 3 * start(rows) / rows.max(1) + 4;
    assemble(rows, cost, start, |part| make(part, x, y, entries, &f))
}

/// How many entries there are.
fn make<T: Number>(
    part: Part<T>,
    x: CsrRef<T>,
    y: CsrRef<T>,
    entries: Entries,
    f: &impl OfTwo<T>,
) -> usize {
    let merge = match (size_of::<T>(), entries) {
        (4, Entries::Either) => merge_row::<T, u32, true>,
        (4, Entries::Both) => merge_row::<T, u32, false>,
        (_, Entries::Either) => merge_row::<T, u64, true>,
        (_, Entries::Both) => merge_row::<T, u64, false>,
    };
    let longest = part.rows.clone().map(|row| x.range(row).len() + y.range(row).len()).max();
    let room = (BLOCK + longest.unwrap_or(0)).min(part.indices.len());
    let (mut left, mut right) = (Temp::unspecified(room), Temp::unspecified(room));
    let rows_end = part.rows.end;
    let (mut len, mut held) = (0, 0);
    for (row, end) in part.rows.zip(part.ends) {
        let to = (&mut part.indices[len + held..], &mut left[held..], &mut right[held..]);
        held += merge(self::row(x, row), self::row(y, row), to);
        *end = len + held;
        if held >= BLOCK || row + 1 == rows_end {
            f(&left[..held], &right[..held], &mut part.values[len..*end]);
            (len, held) = (*end, 0);
        }
    }
    len
}

/// A row: its columns, and the one after them, if there is one; its values.
type Row<'a, T> = (&'a [u32], &'a [T]);

fn row<T: Number>(x: CsrRef<'_, T>, i: usize) -> Row<'_, T> {
    let own = x.range(i);
    let ids = &x.indices[own.start..x.indices.len().min(own.end + 1)];
    (ids, &x.values[own])
}

/// Merges two rows: columns, and what either has there. Returns how many there are.
///
/// Values are words, which the processor chooses among without a branch: no branch depends on the
/// columns. The columns that may come next are read before it is known which one does, so that
/// comparisons need not wait for reads; after the last row there is none to be read.
fn merge_row<T: Number, W: Pod + Default, const EITHER: bool>(
    (x, xs): Row<T>,
    (y, ys): Row<T>,
    (ids, left, right): (&mut [u32], &mut [T], &mut [T]),
) -> usize {
    let (xs, ys) = (cast_slice::<T, W>(xs), cast_slice::<T, W>(ys));
    let (left, right) = (cast_slice_mut::<T, W>(left), cast_slice_mut::<T, W>(right));
    let room = ids.len().min(left.len()).min(right.len());
    assert!((xs.len()..=xs.len() + 1).contains(&x.len()) && xs.len() + ys.len() <= room);
    assert!((ys.len()..=ys.len() + 1).contains(&y.len()));
    // Where one has nothing, `Both` keeps nothing.
    let or_zero = |there, word| match EITHER {
        true => select_unpredictable(there, word, W::default()),
        false => word,
    };
    let mut put = |n: usize, (a, b): (u32, u32), (i, j): (usize, usize)| {
        let (less, more) = (a <= b, b <= a);
        // SAFETY: `i` and `j` are within the rows, `n` is at most `i + j`, and there is room for all
        // entries of both.
        unsafe {
            *ids.get_unchecked_mut(n) = a.min(b);
            *left.get_unchecked_mut(n) = or_zero(less, *xs.get_unchecked(i));
            *right.get_unchecked_mut(n) = or_zero(more, *ys.get_unchecked(j));
        }
        (less, more)
    };
    let (mut i, mut j, mut n) = (0, 0, 0);
    let (mut a, mut b) = (x.first().copied().unwrap_or(0), y.first().copied().unwrap_or(0));
    while i + 1 < x.len() && j + 1 < y.len() {
        // SAFETY: by the loop's condition.
        let (next_a, next_b) = unsafe { (*x.get_unchecked(i + 1), *y.get_unchecked(j + 1)) };
        let (less, more) = put(n, (a, b), (i, j));
        (a, b) = (select_unpredictable(less, next_a, a), select_unpredictable(more, next_b, b));
        n += usize::from(EITHER | (less & more));
        i += usize::from(less);
        j += usize::from(more);
    }
    while i < xs.len() && j < ys.len() {
        let (less, more) = put(n, (x[i], y[j]), (i, j));
        n += usize::from(EITHER | (less & more));
        i += usize::from(less);
        j += usize::from(more);
    }
    if EITHER {
        let (x, y) = (&x[i..xs.len()], &y[j..ys.len()]);
        n += rest((x, &xs[i..]), (&mut ids[n..], &mut left[n..], &mut right[n..]));
        n += rest((y, &ys[j..]), (&mut ids[n..], &mut right[n..], &mut left[n..]));
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
