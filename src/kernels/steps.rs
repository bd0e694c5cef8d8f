//! Every so many indices of an axis: parts of sparse values, and values put back as parts.

use std::ops::Range;

use super::memory::Csr;
use super::{CsrRef, Number};

/// `len` indices of an axis: `start`, `start + step`, and so on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Steps {
    pub start: usize,
    pub step: isize,
    pub len: usize,
}

impl Steps {
    /// `len` indices in a row.
    pub fn run(start: usize, len: usize) -> Self {
        Steps { start, step: 1, len }
    }

    /// Whether these are all indices of an axis of this size.
    pub fn is_whole(&self, size: usize) -> bool {
        *self == Steps::run(0, size)
    }

    /// The index number `i`.
    pub fn at(&self, i: usize) -> usize {
        (self.start as isize + i as isize * self.step) as usize
    }

    /// Which one this index is, if it is any.
    pub fn find(&self, index: usize) -> Option<usize> {
        let distance = index as isize - self.start as isize;
        let number = (distance / self.step) as usize;
        let there = distance % self.step == 0 && distance / self.step >= 0 && number < self.len;
        there.then_some(number)
    }

    /// The smallest range that holds all of them.
    fn bounds(&self) -> Range<usize> {
        let Some(last) = self.len.checked_sub(1) else { return 0..0 };
        let ends = (self.start, self.at(last));
        ends.0.min(ends.1)..ends.0.max(ends.1) + 1
    }

    /// The positions of the ids within the bounds. Ids are sorted.
    fn among(&self, sorted: &[u32]) -> Range<usize> {
        let bounds = self.bounds();
        let from = sorted.partition_point(|&id| (id as usize) < bounds.start);
        from..from + sorted[from..].partition_point(|&id| (id as usize) < bounds.end)
    }

    /// Calls `f` with the position of each id that is one of these, and which one it is, so that
    /// the latter ascend. Ids are sorted.
    pub fn each_of(&self, sorted: &[u32], mut f: impl FnMut(usize, u32)) {
        let Range { start: from, end: to } = self.among(sorted);
        for k in 0..to - from {
            let position = if self.step > 0 { from + k } else { to - 1 - k };
            if let Some(number) = self.find(sorted[position] as usize) {
                f(position, number as u32);
            }
        }
    }
}

/// The given rows and columns of `a`.
pub(crate) fn cut_csr<T: Number>(a: CsrRef<T>, rows: Steps, columns: Steps) -> Csr<T> {
    let most = (0..rows.len).map(|i| a.range(rows.at(i)).len()).sum();
    let mut out = Csr::with_capacity(rows.len, most);
    out.indptr.push(0);
    for i in 0..rows.len {
        let (ids, xs) = a.row(rows.at(i));
        if columns.step == 1 {
            let own = columns.among(ids);
            out.indices.extend(ids[own.clone()].iter().map(|&id| id - columns.start as u32));
            out.values.extend_from_slice(&xs[own]);
        } else {
            columns.each_of(ids, |position, column| {
                out.indices.push(column);
                out.values.push(xs[position]);
            });
        }
        out.indptr.push(out.indices.len());
    }
    out
}

/// A matrix of as many rows whose given rows and columns are those of `a`; the others store nothing.
pub(crate) fn place_csr<T: Number>(
    a: CsrRef<T>,
    rows: Steps,
    columns: Steps,
    all_rows: usize,
) -> Csr<T> {
    let mut out = Csr::with_capacity(all_rows, a.indices.len());
    out.indptr.push(0);
    for row in 0..all_rows {
        let own = rows.find(row).map_or(0..0, |i| a.range(i));
        let place = |entry: usize| columns.at(a.indices[entry] as usize) as u32;
        let (start, end) = (own.start, own.end);
        if columns.step > 0 {
            out.indices.extend(own.clone().map(place));
            out.values.extend_from_slice(&a.values[own]);
        } else {
            out.indices.extend((start..end).rev().map(place));
            out.values.extend(a.values[own].iter().rev());
        }
        out.indptr.push(out.indices.len());
    }
    out
}

/// The rows of `a` that sorted `kept` names; the others store nothing.
pub(crate) fn retain_csr<T: Number>(a: CsrRef<T>, kept: &[u32]) -> Csr<T> {
    let stored = kept.iter().map(|&row| a.range(row as usize).len()).sum();
    let mut out = Csr::with_capacity(a.rows(), stored);
    out.indptr.resize(a.rows() + 1, 0);
    for &row in kept {
        let (ids, xs) = a.row(row as usize);
        out.indptr[row as usize + 1] = ids.len();
        out.indices.extend_from_slice(ids);
        out.values.extend_from_slice(xs);
    }
    super::prefix_sum(&mut out.indptr);
    out
}
