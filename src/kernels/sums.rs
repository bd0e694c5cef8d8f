//! Sums of several operands, in their order: block by block while the sum stays in the nearest cache.

use smallvec::SmallVec;

use super::blocks::for_each_block;
use super::merge::lower_bound;
use super::threads::for_each_part;
use super::vectorized::{Task, vectorized};
use super::{CsrRef, Number};

/// An operand of a sum over rows.
pub(crate) enum Part<'a, T> {
    /// A value for each element of the sum.
    Dense(&'a [T]),
    /// Entries in rows by number.
    Csr(CsrRef<'a, T>),
    /// Rows, and where among those of the sum they are, ascending.
    Rows(&'a [u32], &'a [T]),
}

/// Sums parts onto rows of length `k`; those are the rows `ids` of csr parts, or all rows.
pub(crate) fn add_parts<T: Number>(
    parts: &[Part<T>],
    ids: Option<&[u32]>,
    k: usize,
    out: &mut [T],
) {
    let cost = parts.len() * k * size_of::<T>() / 16 + 4;
    let next = |first| parts.iter().map(|part| part.starts_at(first)).collect();
    for_each_block(out, k, cost, next, |next: &mut SmallVec<[usize; 8]>, first, sum| {
        vectorized(Block { parts, next, ids, k, first, sum });
    });
}

impl<T: Number> Part<'_, T> {
    /// How many of its own rows come before row number `first` of the sum.
    fn starts_at(&self, first: usize) -> usize {
        match self {
            Part::Rows(places, _) => places.partition_point(|&place| (place as usize) < first),
            _ => 0,
        }
    }
}

/// The rows of a sum from number `first` on.
struct Block<'a, T> {
    parts: &'a [Part<'a, T>],
    /// The next row of each part.
    next: &'a mut [usize],
    ids: Option<&'a [u32]>,
    k: usize,
    first: usize,
    sum: &'a mut [T],
}

impl<T: Number> Task for Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Block { parts, next, ids, k, first, sum } = self;
        let skipped = match parts {
            [Part::Dense(x), ..] => {
                sum.copy_from_slice(&x[first * k..][..sum.len()]);
                1
            }
            _ => {
                sum.fill(T::default());
                0
            }
        };
        for (part, next) in parts.iter().zip(next).skip(skipped) {
            match part {
                Part::Dense(x) => add(sum, &x[first * k..]),
                Part::Csr(x) => {
                    let id = |n: usize| ids.map_or(first + n, |ids| ids[first + n] as usize);
                    for (n, sum) in sum.chunks_exact_mut(k).enumerate() {
                        add_entries(sum, x.row(id(n)));
                    }
                }
                Part::Rows(places, values) => {
                    let end = first + sum.len() / k;
                    let own = places[*next..].iter().take_while(|&&place| (place as usize) < end);
                    for &place in own {
                        add(&mut sum[(place as usize - first) * k..][..k], &values[*next * k..]);
                        *next += 1;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add<T: Number>(sum: &mut [T], x: &[T]) {
    for (sum, &x) in sum.iter_mut().zip(x) {
        *sum = *sum + x;
    }
}

#[inline(always)]
fn add_entries<T: Number>(sum: &mut [T], (columns, values): (&[u32], &[T])) {
    for (&c, &v) in columns.iter().zip(values) {
        sum[c as usize] = sum[c as usize] + v;
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
