//! Rows that run along any axis.

/// Elements along an axis: `outer` blocks of `len` steps of `inner` neighbours. Rows are numbered in
/// the order of the other axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Along {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
}

impl Along {
    pub fn rows(&self) -> usize {
        self.outer.saturating_mul(self.inner)
    }

    pub fn size(&self) -> usize {
        self.rows().saturating_mul(self.len)
    }

    /// Where an element of a row is.
    #[inline]
    pub fn at(&self, row: usize, step: usize) -> usize {
        let (block, offset) = (row / self.inner, row % self.inner);
        (block * self.len + step) * self.inner + offset
    }
}
