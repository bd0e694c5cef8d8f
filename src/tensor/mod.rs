//! Values: dense, CSR and row-sparse tensors of `f32`, `f64` or `i64`.

pub(crate) mod approx;
mod buffer;
pub(crate) mod cast;
pub(crate) mod construct;
pub(crate) mod display;
pub(crate) mod dtype;
pub(crate) mod file;
mod ndarray;
pub(crate) mod pattern;
#[cfg(feature = "random")]
pub mod random;
pub(crate) mod shape;
mod sprs;
#[cfg(feature = "proptest")]
pub mod strategies;
mod stype;
mod view;

use std::sync::Arc;

pub use approx::{Difference, assert_close};
pub use buffer::Buffer;
pub use dtype::{DType, Element, Real, Slice, Values};
pub use file::Archive;
pub use pattern::{Columns, Pattern};
pub use shape::Shape;
pub(crate) use shape::{row_len, size_of};
pub use stype::{Stype, Type};
pub use view::{CsrSlices, CsrView, DenseView, RowSparseView, View};

use crate::error::{Error, ErrorKind, Result};

/// An immutable tensor. Cloning is cheap: clones share memory.
///
/// ```
/// use sparsetape::{Stype, Tensor};
/// // [[0, 5, 0],
/// //  [6, 0, 7]]
/// let x = Tensor::csr([2, 3], vec![0, 1, 3], vec![1, 0, 2], vec![5.0f32, 6.0, 7.0])?;
/// assert_eq!((x.stype(), x.nnz()), (Stype::Csr, 3));
/// let dense = x.cast_storage(Stype::Default)?;
/// assert_eq!(dense.values::<f32>()?, [0.0, 5.0, 0.0, 6.0, 0.0, 7.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    layout: Layout,
    values: Values,
}

/// Where the values of a tensor belong.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    Dense,
    Csr(Arc<Pattern>),
    RowSparse(Buffer<u32>),
}

/// A clone, which shares memory.
impl From<&Tensor> for Tensor {
    fn from(tensor: &Tensor) -> Tensor {
        tensor.clone()
    }
}

impl Tensor {
    /// A tensor that is valid by construction.
    pub(crate) fn from_parts(shape: Shape, layout: Layout, values: Values) -> Self {
        debug_assert_eq!(values.len(), stored_len(&shape, &layout));
        Tensor { shape, layout, values }
    }

    pub(crate) fn into_parts(self) -> (Shape, Layout, Values) {
        (self.shape, self.layout, self.values)
    }

    /// How the tensor is stored.
    pub fn stype(&self) -> Stype {
        match self.layout {
            Layout::Dense => Stype::Default,
            Layout::Csr(_) => Stype::Csr,
            Layout::RowSparse(_) => Stype::RowSparse,
        }
    }

    /// Sizes per axis.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of axes.
    pub fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// Type of one element.
    pub fn dtype(&self) -> DType {
        self.values.dtype()
    }

    /// Storage type, shape and element type together.
    pub fn ty(&self) -> Type {
        Type { stype: self.stype(), shape: self.shape.clone(), dtype: self.dtype() }
    }

    /// Number of stored values, explicit zeros included: all elements of a dense tensor, entries
    /// of a CSR matrix, stored rows times row length of a row-sparse tensor.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }

    /// Bytes of the stored values and indices.
    pub fn bytes(&self) -> usize {
        let indices = match &self.layout {
            Layout::Dense => 0,
            Layout::Csr(pattern) => pattern.bytes(),
            Layout::RowSparse(rows) => size_of_val(&rows[..]),
        };
        indices + self.nnz() * self.dtype().size()
    }

    /// Row pointers of a CSR matrix. A window of rows (see [`Tensor::rows_window`]) keeps the
    /// pointers of the matrix that it is cut from: they need not start at 0.
    pub fn indptr(&self) -> Option<&[usize]> {
        self.pattern().map(|p| p.indptr())
    }

    /// Column ids of a CSR matrix, ascending in each row.
    pub fn indices(&self) -> Option<&[u32]> {
        self.pattern().map(|p| p.indices())
    }

    /// Ids of the stored rows of a row-sparse tensor, ascending.
    pub fn rows(&self) -> Option<&[u32]> {
        match &self.layout {
            Layout::RowSparse(rows) => Some(rows),
            _ => None,
        }
    }

    /// The pattern of a CSR matrix.
    pub fn pattern(&self) -> Option<&Arc<Pattern>> {
        match &self.layout {
            Layout::Csr(pattern) => Some(pattern),
            _ => None,
        }
    }

    /// The stored values: row-major for dense, per entry for CSR, row after row for row-sparse.
    ///
    /// # Errors
    /// [`ErrorKind::DType`] if the element type is not `T`.
    #[track_caller]
    pub fn values<T: Element>(&self) -> Result<&[T]> {
        self.values.as_slice().typed()
    }

    /// The only element.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// assert_eq!(Tensor::scalar(2.5f32).item::<f32>()?, 2.5);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] unless there is exactly one element, [`ErrorKind::DType`] if it is not
    /// of type `T`.
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        let values = self.values::<T>()?;
        if self.shape.size() != 1 {
            let message = format!("item() needs one element, got {}", self.ty());
            return Err(Error::new(ErrorKind::Shape, message));
        }
        Ok(values.first().copied().unwrap_or_default())
    }

    /// Rows `start..end` of a CSR matrix or dense tensor, or of a row-sparse tensor (ids shift to
    /// start at 0). CSR and dense windows share memory with the whole.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::csr([3, 2], vec![0, 1, 1, 2], vec![0, 1], vec![1.0f32, 2.0])?;
    /// let last = x.rows_window(2, 3)?;
    /// assert_eq!((&last.shape()[..], last.indices()), (&[1, 2][..], Some(&[1][..])));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Index`] if the range is not within the rows.
    #[track_caller]
    pub fn rows_window(&self, start: usize, end: usize) -> Result<Tensor> {
        let rows = self.shape.first().copied().unwrap_or(0);
        if start > end || end > rows || self.shape.is_empty() {
            let message = format!("rows {start}..{end} of {}", self.ty());
            return Err(Error::new(ErrorKind::Index, message).operator("rows_window"));
        }
        let mut shape = Shape::from([end - start]);
        self.shape[1..].iter().for_each(|&d| shape.push(d));
        let row = row_len(&self.shape);
        Ok(match &self.layout {
            Layout::Dense => {
                Tensor::from_parts(shape, Layout::Dense, self.values.slice(start * row..end * row))
            }
            Layout::Csr(pattern) => {
                let first = pattern.indptr()[start] - pattern.indptr()[0];
                let window = pattern.window(start..end);
                let values = self.values.slice(first..first + window.nnz());
                Tensor::from_parts(shape, Layout::Csr(window.share()), values)
            }
            Layout::RowSparse(rows) => {
                let lo = rows.partition_point(|&r| (r as usize) < start);
                let hi = rows.partition_point(|&r| (r as usize) < end);
                let shifted: Vec<u32> = rows[lo..hi].iter().map(|&r| r - start as u32).collect();
                let values = self.values.slice(lo * row..hi * row);
                Tensor::from_parts(shape, Layout::RowSparse(shifted.into()), values)
            }
        })
    }

    /// Says that the tensor is held for long: what its pattern computes takes no more memory than it needs. A
    /// pattern that is shared stays as it is.
    #[cfg(feature = "data")]
    pub(crate) fn set_lasting(&mut self) {
        if let Layout::Csr(pattern) = &mut self.layout
            && let Some(own) = Arc::get_mut(pattern)
        {
            own.lasting = true;
        }
    }

    /// The values of a dense tensor, which is none until others are [put](Tensor::put_values) in their place.
    pub(crate) fn take_values(&mut self) -> Option<Values> {
        let none = Values::F32(Buffer::default());
        matches!(self.layout, Layout::Dense).then(|| std::mem::replace(&mut self.values, none))
    }

    /// Values for a dense tensor of which they were taken.
    pub(crate) fn put_values(&mut self, values: Values) {
        debug_assert_eq!(values.len(), stored_len(&self.shape, &self.layout));
        self.values = values;
    }

    /// Becomes a dense tensor of this shape with unspecified elements, to be written; in its own memory if nobody shares
    /// that.
    pub(crate) fn overwritten<T: Element>(&mut self, shape: &Shape) -> &mut [T] {
        if self.shape != *shape {
            self.shape = shape.clone();
        }
        self.layout = Layout::Dense;
        T::buffer_mut(&mut self.values).overwritten(shape.size())
    }

    /// A borrowed view, as kernels take operands.
    #[inline]
    pub fn view(&self) -> View<'_> {
        self.layout.view(&self.shape, &self.values)
    }
}

impl Layout {
    /// Values that belong here, as kernels take operands.
    #[inline]
    pub(crate) fn view<'a>(&'a self, shape: &'a [usize], owner: &'a Values) -> View<'a> {
        let values = owner.as_slice();
        match self {
            Layout::Dense => View::Dense(DenseView { shape, values }),
            Layout::Csr(pattern) => View::Csr(CsrView { shape, pattern, values, owner }),
            Layout::RowSparse(rows) => View::RowSparse(RowSparseView { shape, rows, values }),
        }
    }
}

fn stored_len(shape: &[usize], layout: &Layout) -> usize {
    match layout {
        Layout::Dense => size_of(shape),
        Layout::Csr(pattern) => pattern.nnz(),
        Layout::RowSparse(rows) => rows.len() * row_len(shape),
    }
}
