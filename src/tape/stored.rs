//! The memory of a parameter: uniquely owned, read by views, written in place.

use std::borrow::Cow;

use crate::kernels::gather::gather_compact;
use crate::kernels::merge::{positions, union_rows};
use crate::tensor::{
    Buffer, DenseView, Element, Layout, RowSparseView, Shape, Slice, Tensor, Values, View, row_len,
};

/// A parameter's own memory.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) shape: Shape,
    pub(super) layout: StoredLayout,
    pub(super) values: Values,
}

#[derive(Clone, Debug)]
pub(super) enum StoredLayout {
    Dense,
    RowSparse(Buffer<u32>),
}

impl Stored {
    /// A view in another shape with the same rows (or, dense, the same size).
    pub(crate) fn view<'a>(&'a self, shape: &'a [usize]) -> View<'a> {
        let values = self.values.as_slice();
        match &self.layout {
            StoredLayout::Dense => View::Dense(DenseView { shape, values }),
            StoredLayout::RowSparse(rows) => View::RowSparse(RowSparseView { shape, rows, values }),
        }
    }

    /// Bytes of values and row ids.
    pub(crate) fn bytes(&self) -> usize {
        let ids = match &self.layout {
            StoredLayout::Dense => 0,
            StoredLayout::RowSparse(rows) => size_of_val(&rows[..]),
        };
        ids + self.values.len() * self.values.dtype().size()
    }

    /// A copy as a tensor.
    pub(crate) fn snapshot(&self) -> Tensor {
        let layout = match &self.layout {
            StoredLayout::Dense => Layout::Dense,
            StoredLayout::RowSparse(rows) => Layout::RowSparse(rows.clone()),
        };
        Tensor::from_parts(self.shape.clone(), layout, copied(self.values.as_slice()))
    }

    /// Zeros, stored where this is.
    pub(crate) fn zeros_like<T: Element>(&self) -> Stored {
        // Zeroed pages come from the system untouched: only what is written takes memory.
        let values = T::erase(vec![T::default(); self.values.len()].into());
        Stored { shape: self.shape.clone(), layout: self.layout.clone(), values }
    }

    /// All stored values, to be written.
    pub(crate) fn values_mut<T: Element>(&mut self) -> &mut [T] {
        let len = self.values.len();
        let values = T::unique_slice(&mut self.values);
        assert_eq!(values.len(), len, "a parameter owns its memory alone");
        values
    }

    /// Makes both store the same rows, where the storage is row-sparse: one of them may have been
    /// replaced or used elsewhere.
    pub(crate) fn match_rows<T: Element>(&mut self, other: &mut Stored) {
        let (StoredLayout::RowSparse(own), StoredLayout::RowSparse(others)) =
            (self.layout.clone(), other.layout.clone())
        else {
            return;
        };
        if own.is(&others) {
            return;
        }
        if own != others {
            self.slots::<T>(&others);
            other.slots::<T>(&own);
        }
        // Shared from here on, so that the next comparison is of addresses.
        self.layout = other.layout.clone();
    }

    /// Inserts all absent rows as zeros, where the storage is row-sparse.
    pub(crate) fn insert_all_rows<T: Element>(&mut self) {
        if let StoredLayout::RowSparse(_) = self.layout {
            let all: Vec<u32> = (0..self.shape[0]).map(|row| row as u32).collect();
            self.slots::<T>(&all);
        }
    }

    /// Where rows are stored; absent ones are inserted first, as zeros. Costs a copy of the stored rows
    /// when there is something to insert, a search otherwise.
    pub(crate) fn slots<'r, T: Element>(&mut self, ids: &'r [u32]) -> Cow<'r, [u32]> {
        let StoredLayout::RowSparse(rows) = &self.layout else { return Cow::Borrowed(ids) };
        let slots = positions(ids, rows);
        if !slots.contains(&u32::MAX) {
            return Cow::Owned(slots.into());
        }
        let union = union_rows(&[rows, ids]);
        let (from, slots) = (positions(&union, rows), positions(ids, &union));
        let old = T::typed_slice(self.values.as_slice()).unwrap_or_default();
        let k = row_len(&self.shape);
        let mut values = vec![T::default(); union.len() * k];
        gather_compact(&from, old, k, &mut values);
        self.values = T::erase(values.into());
        self.layout = StoredLayout::RowSparse(union.into());
        Cow::Owned(slots.into())
    }
}

/// Values in a `Vec` that no one else holds.
pub(super) fn unshared(values: Values) -> Values {
    match values {
        Values::F32(b) => Values::F32(b.into_vec().into()),
        Values::F64(b) => Values::F64(b.into_vec().into()),
        Values::I64(b) => Values::I64(b.into_vec().into()),
    }
}

/// A copy that nobody shares.
pub(crate) fn copied(slice: Slice<'_>) -> Values {
    match slice {
        Slice::F32(s) => Values::F32(s.to_vec().into()),
        Slice::F64(s) => Values::F64(s.to_vec().into()),
        Slice::I64(s) => Values::I64(s.to_vec().into()),
    }
}
