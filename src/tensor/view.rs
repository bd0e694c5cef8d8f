//! Borrowed operands, as kernels see them.

use std::sync::Arc;

use super::buffer::Buffer;
use super::construct::check_values;
use super::dtype::{DType, Element, Slice, Values};
use super::pattern::{Pattern, check_ids, check_pointers};
use super::shape::Shape;
use super::stype::{Stype, Type};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::CsrRef;

/// A borrowed tensor or parameter, in its storage type.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// Row-major values.
    Dense(DenseView<'a>),
    /// A compressed-row matrix.
    Csr(CsrView<'a>),
    /// A subset of the rows.
    RowSparse(RowSparseView<'a>),
}

/// A dense operand.
#[derive(Clone, Copy, Debug)]
pub struct DenseView<'a> {
    /// Sizes per axis.
    pub(crate) shape: &'a [usize],
    /// All elements, row-major.
    pub(crate) values: Slice<'a>,
}

/// A CSR operand.
#[derive(Clone, Copy, Debug)]
pub struct CsrView<'a> {
    /// `[rows, columns]`.
    pub(crate) shape: &'a [usize],
    /// Where the entries are.
    pub(crate) pattern: &'a Arc<Pattern>,
    /// One value per stored entry.
    pub(crate) values: Slice<'a>,
    /// The handle that owns them, for results that share them.
    pub(crate) owner: &'a Values,
}

/// A csr operand in slices that are lent for a call. Column ids are not checked: a kernel checks those of a row
/// before it follows them.
#[derive(Clone, Copy, Debug)]
pub struct CsrSlices<'a> {
    /// `[rows, columns]`.
    pub(crate) shape: [usize; 2],
    /// Monotone row pointers, which span all entries.
    pub(crate) indptr: &'a [usize],
    /// The column of each entry.
    pub(crate) indices: &'a [u32],
    /// One value per entry.
    pub(crate) values: Slice<'a>,
}

/// A row-sparse operand.
#[derive(Clone, Copy, Debug)]
pub struct RowSparseView<'a> {
    /// Sizes per axis; the first is the number of rows, stored or not.
    pub(crate) shape: &'a [usize],
    /// Ids of the stored rows, ascending.
    pub(crate) rows: &'a Buffer<u32>,
    /// The stored rows, one after the other.
    pub(crate) values: Slice<'a>,
}

impl<'a> DenseView<'a> {
    /// Sizes per axis.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// All elements, row-major.
    pub fn values(&self) -> Slice<'a> {
        self.values
    }
}

impl<'a> CsrView<'a> {
    /// `[rows, columns]`.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Where the entries are.
    pub fn pattern(&self) -> &'a Arc<Pattern> {
        self.pattern
    }

    /// One value per stored entry.
    pub fn values(&self) -> Slice<'a> {
        self.values
    }
}

impl<'a> CsrSlices<'a> {
    /// A matrix of so many columns; all is checked but for the column ids.
    ///
    /// # Errors
    /// As [`Tensor::csr`](super::Tensor::csr).
    #[track_caller]
    pub(crate) fn new<T: Element>(
        cols: usize,
        indptr: &'a [usize],
        indices: &'a [u32],
        values: &'a [T],
    ) -> Result<Self> {
        let rows = indptr.len().saturating_sub(1);
        check_pointers(rows, cols, indptr, indices.len())?;
        check_values(indices.len(), values.len())?;
        Ok(CsrSlices { shape: [rows, cols], indptr, indices, values: T::erase_slice(values) })
    }

    /// The entries, for kernels that check column ids.
    pub(crate) fn unchecked<T: Element>(&self) -> Result<CsrRef<'a, T>> {
        let CsrSlices { shape: [_, cols], indptr, indices, .. } = *self;
        Ok(CsrRef { cols, indptr, indices, values: self.values.typed()? })
    }

    /// Finds the first fault among the column ids.
    #[track_caller]
    pub(crate) fn check(&self) -> Result<()> {
        check_ids(self.shape[1], self.indptr, self.indices)
    }
}

impl<'a> RowSparseView<'a> {
    /// Sizes per axis; the first is the number of rows, stored or not.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Ids of the stored rows, ascending.
    pub fn rows(&self) -> &'a Buffer<u32> {
        self.rows
    }

    /// The stored rows, one after the other.
    pub fn values(&self) -> Slice<'a> {
        self.values
    }
}

impl<'a> View<'a> {
    /// The view of a dense operand whose values have become the result's memory: none are left.
    pub(crate) fn without_values(shape: &'a [usize], dtype: DType) -> Self {
        let values = match dtype {
            DType::F32 => Slice::F32(&[]),
            DType::F64 => Slice::F64(&[]),
            DType::I64 => Slice::I64(&[]),
        };
        View::Dense(DenseView { shape, values })
    }

    /// Sizes per axis.
    #[inline]
    pub fn shape(&self) -> &'a [usize] {
        match self {
            View::Dense(v) => v.shape,
            View::Csr(v) => v.shape,
            View::RowSparse(v) => v.shape,
        }
    }

    /// The stored values.
    #[inline]
    pub fn values(&self) -> Slice<'a> {
        match self {
            View::Dense(v) => v.values,
            View::Csr(v) => v.values,
            View::RowSparse(v) => v.values,
        }
    }

    /// The stored values as `&[T]`.
    ///
    /// # Errors
    /// [`ErrorKind::DType`] if they are of another type.
    #[inline]
    #[track_caller]
    pub fn typed<T: Element>(&self) -> Result<&'a [T]> {
        self.values().typed()
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.values().dtype()
    }

    /// The storage type.
    #[inline]
    pub fn stype(&self) -> Stype {
        match self {
            View::Dense(_) => Stype::Default,
            View::Csr(_) => Stype::Csr,
            View::RowSparse(_) => Stype::RowSparse,
        }
    }

    /// Storage type, shape and element type together.
    pub fn ty(&self) -> Type {
        Type { stype: self.stype(), shape: Shape::from(self.shape()), dtype: self.dtype() }
    }

    /// The ids of the stored rows of a row-sparse operand.
    pub(crate) fn rows(&self) -> Option<&'a [u32]> {
        match self {
            View::RowSparse(v) => Some(v.rows),
            View::Dense(_) | View::Csr(_) => None,
        }
    }

    /// The dense operand.
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] if it is stored otherwise.
    #[track_caller]
    pub fn dense(&self) -> Result<&DenseView<'a>> {
        match self {
            View::Dense(v) => Ok(v),
            _ => Err(self.mismatch(Stype::Default)),
        }
    }

    /// The CSR operand.
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] if it is stored otherwise.
    #[track_caller]
    pub fn csr(&self) -> Result<&CsrView<'a>> {
        match self {
            View::Csr(v) => Ok(v),
            _ => Err(self.mismatch(Stype::Csr)),
        }
    }

    /// The row-sparse operand.
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] if it is stored otherwise.
    #[track_caller]
    pub fn row_sparse(&self) -> Result<&RowSparseView<'a>> {
        match self {
            View::RowSparse(v) => Ok(v),
            _ => Err(self.mismatch(Stype::RowSparse)),
        }
    }

    #[track_caller]
    fn mismatch(&self, wanted: Stype) -> Error {
        let message = format!("the kernel takes {wanted} storage, got {}", self.stype());
        Error::new(ErrorKind::Stype, message)
    }
}
