//! Conversion between storage types and element types.

use super::construct::{check_room, check_row_sparse_shape, csr_shape, dense_len, pointers};
use super::dtype::{DType, Element, each_dtype};
use super::pattern::Pattern;
use super::shape::{Shape, row_len};
use super::stype::Stype;
use super::view::{CsrView, RowSparseView, View};
use super::{Layout, Tensor};
use crate::error::Result;
use crate::kernels::gather::gather_rows;
use crate::kernels::memory::{Csr, Temp};
use crate::kernels::{CsrRef, convert, prefix_sum};

/// Values of any type `as` another, with a single rounding.
macro_rules! converted {
    ($values:expr, $to:ty) => {
        each_dtype!(Slice::$values, v => Temp::<$to>::collect(v.iter().map(|&x| x as $to)))
    };
}

impl Tensor {
    /// The same values in another storage type.
    ///
    /// From dense, entries (csr) or rows (row-sparse) that are zero are left out; NaN is kept. From a
    /// sparse type, everything stored stays stored, explicit zeros included; csr to row-sparse
    /// stores the rows that have an entry, row-sparse to csr every entry of the stored rows.
    /// (MXNet: `cast_storage`.)
    ///
    /// ```
    /// use sparsetape::{Stype, Tensor};
    /// let x = Tensor::dense([2, 2], vec![0.0f32, f32::NAN, 0.0, 0.0])?;
    /// assert_eq!(x.cast_storage(Stype::Csr)?.indices(), Some(&[1][..]));
    /// assert_eq!(x.cast_storage(Stype::RowSparse)?.rows(), Some(&[0][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the shape does not suit the storage type or
    /// memory.
    #[track_caller]
    pub fn cast_storage(&self, stype: Stype) -> Result<Tensor> {
        if stype == self.stype() {
            return Ok(self.clone());
        }
        cast_view(self.view(), stype).map_err(|e| e.operator("cast_storage").operands([self.ty()]))
    }

    /// The same tensor with elements of another type: rounded to nearest when it becomes a float,
    /// truncated towards zero (saturating, NaN to 0) when a float becomes i64.
    ///
    /// ```
    /// use sparsetape::{DType, Tensor};
    /// let x = Tensor::dense([2], vec![1.5f64, -2.5])?.cast(DType::I64);
    /// assert_eq!(x.values::<i64>()?, [1, -2]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn cast(&self, dtype: DType) -> Tensor {
        if dtype == self.dtype() { self.clone() } else { cast_view_dtype(self.view(), dtype) }
    }
}

/// A copy of any operand with another element type.
pub(crate) fn cast_view_dtype(view: View<'_>, dtype: DType) -> Tensor {
    let values = match dtype {
        DType::F32 => f32::erase(converted!(view.values(), f32).into()),
        DType::F64 => f64::erase(converted!(view.values(), f64).into()),
        DType::I64 => i64::erase(converted!(view.values(), i64).into()),
    };
    let layout = match view {
        View::Dense(_) => Layout::Dense,
        View::Csr(v) => Layout::Csr(v.pattern.clone()),
        View::RowSparse(v) => Layout::RowSparse(v.rows.clone()),
    };
    Tensor::from_parts(view.shape().into(), layout, values)
}

/// A copy of any operand in the storage type `stype`.
#[track_caller]
pub(crate) fn cast_view(view: View<'_>, stype: Stype) -> Result<Tensor> {
    each_dtype!(Slice::view.values(), values => cast_typed(view, values, stype))
}

#[track_caller]
fn cast_typed<T: Element>(view: View<'_>, values: &[T], stype: Stype) -> Result<Tensor> {
    let shape = Shape::from(view.shape());
    check_room(&shape, stype, T::DTYPE)?;
    match (view, stype) {
        (view, Stype::Default) => {
            let mut dense = Temp::unspecified(shape.size());
            write_dense(&view, values, &mut dense);
            Ok(with_values(shape, Layout::Dense, dense))
        }
        (View::Dense(_), Stype::Csr) => dense_to_csr(&shape, values),
        (View::Dense(_), Stype::RowSparse) => dense_to_row_sparse(shape, values),
        (View::Csr(v), Stype::RowSparse) => csr_to_row_sparse(shape, &v, values),
        (View::RowSparse(v), Stype::Csr) => row_sparse_to_csr(&shape, &v, values),
        (View::Csr(v), Stype::Csr) => {
            Ok(with_values(shape, Layout::Csr(v.pattern.clone()), Temp::copied(values)))
        }
        (View::RowSparse(v), Stype::RowSparse) => {
            Ok(with_values(shape, Layout::RowSparse(v.rows.clone()), Temp::copied(values)))
        }
    }
}

/// Any operand, which stores `values`, in row-major memory.
pub(crate) fn write_dense<T: Element>(view: &View<'_>, values: &[T], out: &mut [T]) {
    match view {
        View::Dense(_) => out.copy_from_slice(values),
        View::Csr(v) => convert::csr_to_dense(csr_ref(v, values), out),
        View::RowSparse(v) => convert::scatter_rows(v.rows, values, row_len(v.shape), out),
    }
}

/// A csr tensor of parts that are valid by construction.
pub(crate) fn from_csr<T: Element>(shape: Shape, csr: Csr<T>) -> Tensor {
    let pattern = Pattern::new(shape[1], csr.indptr.into(), csr.indices.into());
    with_values(shape, Layout::Csr(pattern.share()), csr.values)
}

fn with_values<T: Element>(shape: Shape, layout: Layout, values: Temp<T>) -> Tensor {
    Tensor::from_parts(shape, layout, T::erase(values.into()))
}

/// Raw parts of a CSR operand.
pub(crate) fn csr_ref<'a, T>(view: &CsrView<'a>, values: &'a [T]) -> CsrRef<'a, T> {
    let pattern = view.pattern;
    CsrRef { cols: pattern.cols(), indptr: pattern.indptr(), indices: pattern.indices(), values }
}

#[track_caller]
fn dense_to_csr<T: Element>(shape: &Shape, values: &[T]) -> Result<Tensor> {
    let [rows, cols] = csr_shape(shape)?;
    Ok(from_csr(shape.clone(), convert::dense_to_csr(rows, cols, values)))
}

#[track_caller]
fn dense_to_row_sparse<T: Element>(shape: Shape, values: &[T]) -> Result<Tensor> {
    check_row_sparse_shape(&shape)?;
    let k = row_len(&shape);
    // Rows without elements need no looking at, however many there are.
    let rows = convert::nonzero_rows(if k == 0 { 0 } else { shape[0] }, k, values);
    let mut kept = Temp::unspecified(rows.len() * k);
    gather_rows(values, k, &rows, &mut kept);
    Ok(with_values(shape, Layout::RowSparse(rows.into()), kept))
}

#[track_caller]
fn csr_to_row_sparse<T: Element>(shape: Shape, v: &CsrView, values: &[T]) -> Result<Tensor> {
    let rows = convert::nonempty_rows(v.pattern.indptr());
    let cols = v.pattern.cols();
    let mut kept = Temp::filled(T::default(), dense_len::<T>(&[rows.len(), cols].into())?);
    for (n, &row) in rows.iter().enumerate() {
        let range = v.pattern.row_range(row as usize);
        for (&j, &x) in v.pattern.indices()[range.clone()].iter().zip(&values[range]) {
            kept[n * cols + j as usize] = x;
        }
    }
    Ok(with_values(shape, Layout::RowSparse(rows.into()), kept))
}

#[track_caller]
fn row_sparse_to_csr<T: Element>(shape: &Shape, v: &RowSparseView, values: &[T]) -> Result<Tensor> {
    let [rows, cols] = csr_shape(shape)?;
    let mut indptr = pointers(rows)?;
    v.rows.iter().for_each(|&r| indptr[r as usize + 1] = cols);
    prefix_sum(&mut indptr);
    let mut indices = Temp::with_capacity(values.len());
    v.rows.iter().for_each(|_| indices.extend((0..cols).map(|j| j as u32)));
    Ok(from_csr(shape.clone(), Csr { indptr, indices, values: Temp::copied(values) }))
}
