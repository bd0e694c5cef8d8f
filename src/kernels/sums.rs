//! Sums of several operands, in their order: block by block while the sum stays in the nearest cache.

use super::merge::lower_bound;
use super::threads::for_each_part;
use super::{CsrRef, Number};

/// Bytes of a block of the sum.
const BLOCK_BYTES: usize = 1 << 14;

/// An operand of a sum over rows.
pub(crate) enum Part<'a, T> {
    /// A value for each element of the sum.
    Dense(&'a [T]),
    /// Entries in rows by number.
    Csr(CsrRef<'a, T>),
    /// Ids of rows, and the rows.
    Rows(&'a [u32], &'a [T]),
}

/// Sums parts onto rows of length `k`: those in `ids`, which hold all rows of the parts, or all rows.
pub(crate) fn add_parts<T: Number>(
    parts: &[Part<T>],
    ids: Option<&[u32]>,
    k: usize,
    out: &mut [T],
) {
    let block = (BLOCK_BYTES / size_of::<T>() / k.max(1)).max(1);
    for_each_part(out, block * k, parts.len() * BLOCK_BYTES / 16, |first, out| {
        for (n, sum) in out.chunks_mut(block * k).enumerate() {
            add_block(parts, ids, k, (first + n) * block, sum);
        }
    });
}

/// The rows of the sum from number `start` on.
fn add_block<T: Number>(
    parts: &[Part<T>],
    ids: Option<&[u32]>,
    k: usize,
    start: usize,
    sum: &mut [T],
) {
    let id = |n: usize| ids.map_or(start + n, |ids| ids[start + n] as usize);
    let rest = match parts {
        [Part::Dense(x), rest @ ..] => {
            sum.copy_from_slice(&x[start * k..][..sum.len()]);
            rest
        }
        all => {
            sum.fill(T::default());
            all
        }
    };
    for part in rest {
        match part {
            Part::Dense(x) => add(sum, &x[start * k..]),
            Part::Csr(x) => {
                for (n, sum) in sum.chunks_exact_mut(k).enumerate() {
                    let (columns, values) = x.row(id(n));
                    for (&c, &v) in columns.iter().zip(values) {
                        sum[c as usize] = sum[c as usize] + v;
                    }
                }
            }
            Part::Rows(rows, values) => {
                let mut at = lower_bound(rows, id(0) as u32);
                for (n, sum) in sum.chunks_exact_mut(k).enumerate() {
                    if rows.get(at).is_some_and(|&r| r as usize == id(n)) {
                        add(sum, &values[at * k..]);
                        at += 1;
                    }
                }
            }
        }
    }
}

fn add<T: Number>(sum: &mut [T], x: &[T]) {
    for (sum, &x) in sum.iter_mut().zip(x) {
        *sum = *sum + x;
    }
}

/// Sums csr matrices onto a pattern that holds all their entries: row pointers from 0 on, columns.
pub(crate) fn add_csr<T: Number>(
    parts: &[CsrRef<T>],
    (indptr, indices): (&[usize], &[u32]),
    out: &mut [T],
) {
    for_each_part(out, 1, 2 * parts.len(), |first, mut out| {
        let mut row = indptr.partition_point(|&p| p <= first) - 1;
        let mut at = first;
        while !out.is_empty() {
            let (sum, rest) = out.split_at_mut((indptr[row + 1] - at).min(out.len()));
            sum.fill(T::default());
            let onto = &indices[at..][..sum.len()];
            parts.iter().for_each(|part| add_row(part.row(row), onto, sum));
            (at, row, out) = (at + sum.len(), row + 1, rest);
        }
    });
}

/// Adds the entries of a row that lie within a run of columns, which holds them all.
fn add_row<T: Number>((columns, values): (&[u32], &[T]), onto: &[u32], sum: &mut [T]) {
    let (Some(first), Some(last)) = (onto.first(), onto.last()) else { return };
    let start = lower_bound(columns, *first);
    let own = columns[start..].iter().zip(&values[start..]);
    let mut at = 0;
    for (c, &v) in own.take_while(|(c, _)| *c <= last) {
        while onto[at] < *c {
            at += 1;
        }
        sum[at] = sum[at] + v;
    }
}
