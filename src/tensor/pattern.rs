//! The sparsity pattern of a CSR matrix, shared by all values that live on it.

use std::sync::{Arc, OnceLock};

use super::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::ascending::rows_ascend;
use crate::kernels::columns::compact;
use crate::kernels::memory::{Arena, Reusable, recycled};

/// Row pointers and sorted, unique column ids of a CSR matrix.
///
/// A pattern may be a window of rows of a larger one: then `indptr` need not start at 0, and entry
/// `k` of the window is at `indptr[i] - indptr[0] <= k < indptr[i + 1] - indptr[0]` for its row `i`.
#[derive(Debug, Default)]
pub struct Pattern {
    cols: usize,
    indptr: Buffer<usize>,
    indices: Buffer<u32>,
    columns: OnceLock<Columns>,
    /// Whether the columns stay for later, in memory that fits, instead of being recycled soon.
    pub(super) lasting: bool,
}

/// The distinct columns of a pattern and where each entry's column stands among them.
#[derive(Debug)]
pub struct Columns {
    /// The columns that occur, ascending.
    pub distinct: Buffer<u32>,
    /// For each stored entry, the position of its column in `distinct`.
    pub slots: Buffer<u32>,
}

impl Pattern {
    /// Checks everything: monotone row pointers, bounds, sorted and unique columns in each row.
    #[track_caller]
    pub(crate) fn checked(
        rows: usize,
        cols: usize,
        indptr: Buffer<usize>,
        indices: Buffer<u32>,
    ) -> Result<Self> {
        Pattern::new(cols, indptr, indices).check(rows)
    }

    /// Becomes a pattern of copies, in this one's memory if nobody shares it; checked as [`Pattern::checked`]
    /// does. On an error it is none.
    #[track_caller]
    pub(crate) fn refill(
        shared: &mut Arc<Self>,
        cols: usize,
        indptr: &[usize],
        indices: &[u32],
    ) -> Result<()> {
        if Arc::get_mut(shared).is_none() {
            *shared = Arc::default();
        }
        let Some(own) = Arc::get_mut(shared) else { unreachable!("nobody shares what is new") };
        let rows = indptr.len().saturating_sub(1);
        check_pointers(rows, cols, indptr, indices.len())?;
        own.cols = cols;
        own.columns.take();
        // Requests are often alike.
        if own.indptr[..] != *indptr {
            own.indptr.refill(indptr);
        }
        let copy =
            |to: &mut Vec<u32>| rows_ascend(indptr, indices, cols, |ids| to.extend_from_slice(ids));
        match own.indices.refill_with(indices.len(), copy) {
            true => Ok(()),
            false => check_ids(cols, indptr, indices),
        }
    }

    #[track_caller]
    fn check(self, rows: usize) -> Result<Self> {
        let Pattern { cols, indptr, indices, .. } = &self;
        check_pointers(rows, *cols, indptr, indices.len())?;
        if !rows_ascend(indptr, indices, *cols, |_| {}) {
            check_ids(*cols, indptr, indices)?;
        }
        Ok(self)
    }

    /// A pattern that is valid by construction.
    pub(crate) fn new(cols: usize, indptr: Buffer<usize>, indices: Buffer<u32>) -> Self {
        Pattern { cols, indptr, indices, columns: OnceLock::new(), lasting: false }
    }

    /// This pattern, to be shared, in recycled memory.
    pub(crate) fn share(self) -> Arc<Self> {
        let mut shared: Arc<Pattern> = recycled(0).unwrap_or_default();
        match Arc::get_mut(&mut shared) {
            Some(emptied) => *emptied = self,
            None => unreachable!("nobody shares what is recycled"),
        }
        shared
    }

    /// Gives a pattern's memory to an arena, if nobody shares it.
    pub(crate) fn recycle(mut shared: Arc<Self>, arena: &mut Arena) {
        let Some(own) = Arc::get_mut(&mut shared) else { return };
        let Pattern { indptr, indices, mut columns, .. } = std::mem::take(own);
        indptr.recycle(arena);
        indices.recycle(arena);
        if let Some(Columns { distinct, slots }) = columns.take() {
            distinct.recycle(arena);
            slots.recycle(arena);
        }
        arena.give(shared);
    }

    /// Rows `range`, sharing this pattern's memory.
    pub(crate) fn window(&self, range: std::ops::Range<usize>) -> Self {
        let base = self.indptr[0];
        let entries = self.indptr[range.start] - base..self.indptr[range.end] - base;
        let indptr = self.indptr.slice(range.start..range.end + 1);
        Pattern::new(self.cols, indptr, self.indices.slice(entries))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of stored entries.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// Row pointers, one more than rows; they start at 0 unless this is a window.
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }

    /// Column ids of the stored entries.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Row pointers and column ids together.
    pub(crate) fn parts(&self) -> (&[usize], &[u32]) {
        (&self.indptr, &self.indices)
    }

    pub(crate) fn into_parts(self) -> (Buffer<usize>, Buffer<u32>) {
        (self.indptr, self.indices)
    }

    pub(crate) fn buffers(&self) -> (&Buffer<usize>, &Buffer<u32>) {
        (&self.indptr, &self.indices)
    }

    /// Positions of a row's entries among all stored entries.
    pub fn row_range(&self, row: usize) -> std::ops::Range<usize> {
        let base = self.indptr[0];
        self.indptr[row] - base..self.indptr[row + 1] - base
    }

    /// The distinct columns and each entry's slot among them; computed once and kept.
    pub fn columns(&self) -> &Columns {
        self.columns.get_or_init(|| {
            let (mut distinct, mut slots) = compact(&self.indices, self.cols);
            if self.lasting {
                distinct.shrink_to_fit();
                slots.shrink_to_fit();
            }
            Columns { distinct: distinct.into(), slots: slots.into() }
        })
    }

    /// [`Pattern::columns`], if they have been computed.
    pub(crate) fn known_columns(&self) -> Option<&Columns> {
        self.columns.get()
    }

    /// Whether both have the same stored entries (cheap when they share memory).
    pub fn same_entries(&self, other: &Pattern) -> bool {
        if std::ptr::eq(self, other) {
            return true;
        }
        let start = |p: &Pattern| p.indices.as_ptr();
        self.cols == other.cols
            && self.rows() == other.rows()
            && self.nnz() == other.nnz()
            && (0..self.rows()).all(|r| self.row_range(r) == other.row_range(r))
            && (start(self) == start(other) || self.indices == other.indices)
    }

    /// Bytes held, without the column cache.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.indptr[..]) + size_of_val(&self.indices[..])
    }
}

/// An emptied pattern waits for another.
impl Reusable for Arc<Pattern> {
    fn room(&self) -> usize {
        0
    }
}

/// Ids ascend in each row, none twice, and are below `cols`; row pointers are monotone and span all ids.
#[track_caller]
pub(super) fn check_ids(cols: usize, indptr: &[usize], indices: &[u32]) -> Result<()> {
    // A closure would lose the caller's line.
    for row in 0..indptr.len() - 1 {
        let range = indptr[row] - indptr[0]..indptr[row + 1] - indptr[0];
        check_row(cols, row, range.start, &indices[range])?;
    }
    Ok(())
}

#[track_caller]
fn check_row(cols: usize, row: usize, start: usize, ids: &[u32]) -> Result<()> {
    // Ascending ids are in bounds if the last one is.
    let ascending = ids.windows(2).fold(true, |all, pair| all & (pair[0] < pair[1]));
    if ascending && ids.last().is_none_or(|&last| (last as usize) < cols) {
        return Ok(());
    }
    if let Some(k) = ids.iter().position(|&c| c as usize >= cols) {
        let (at, c) = (start + k, ids[k]);
        let message = format!("indices[{at}] = {c} in row {row}, but there are {cols} columns");
        return Err(Error::new(ErrorKind::Index, message));
    }
    if let Some(k) = ids.windows(2).position(|w| w[0] >= w[1]) {
        let (at, a, b) = (start + k + 1, ids[k], ids[k + 1]);
        let fault = if a == b { "repeats" } else { "follows the larger" };
        let message = format!("indices[{at}] = {b} in row {row} {fault} column {a}");
        return Err(Error::new(ErrorKind::Index, message));
    }
    Ok(())
}

/// Row pointers are monotone, and span as many entries as there are ids.
#[track_caller]
pub(super) fn check_pointers(rows: usize, cols: usize, indptr: &[usize], ids: usize) -> Result<()> {
    check_extent("rows", rows)?;
    check_extent("columns", cols)?;
    if indptr.len() != rows + 1 {
        let message = format!("{rows} rows need {} row pointers, got {}", rows + 1, indptr.len());
        return Err(Error::new(ErrorKind::Shape, message));
    }
    // All are compared, several at a time: there hardly ever is a fault.
    let monotone = indptr.windows(2).fold(true, |all, pair| all & (pair[0] <= pair[1]));
    if !monotone && let Some(i) = indptr.windows(2).position(|w| w[0] > w[1]) {
        let (a, b) = (indptr[i], indptr[i + 1]);
        let message = format!("indptr[{}] = {b} is less than indptr[{i}] = {a}", i + 1);
        return Err(Error::new(ErrorKind::Index, message));
    }
    let stored = indptr[rows] - indptr[0];
    if stored != ids {
        let message = format!("indptr spans {stored} entries, but there are {ids} indices");
        return Err(Error::new(ErrorKind::Shape, message));
    }
    Ok(())
}

/// Ids are `u32`: at most 2^32 rows or columns.
#[track_caller]
pub(crate) fn check_extent(what: &str, n: usize) -> Result<()> {
    if n as u64 <= 1 << 32 {
        return Ok(());
    }
    let message = format!("{n} {what}, but sparse ids are 32-bit: at most 4294967296 (2^32)");
    Err(Error::new(ErrorKind::Shape, message))
}
