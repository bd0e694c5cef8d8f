//! Checked constructors.

use std::panic::Location;
use std::sync::Arc;

use super::buffer::Buffer;
use super::dtype::{DType, Element, Values};
use super::pattern::{Pattern, check_extent};
use super::shape::{Shape, row_len};
use super::stype::Stype;
use super::{Layout, Tensor};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels;
use crate::kernels::memory::Temp;

impl Tensor {
    /// A 0-d dense tensor.
    pub fn scalar<T: Element>(x: T) -> Tensor {
        Tensor::from_parts(Shape::default(), Layout::Dense, T::erase(vec![x].into()))
    }

    /// A dense tensor of row-major `values`.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::dense([2, 2], vec![1.0f64, 2.0, 3.0, 4.0])?;
    /// assert_eq!(x.ndim(), 2);
    /// assert!(Tensor::dense([2, 2], vec![1.0f64]).is_err());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if the number of values is not the shape's size.
    #[track_caller]
    pub fn dense<T: Element>(
        shape: impl Into<Shape>,
        values: impl Into<Buffer<T>>,
    ) -> Result<Tensor> {
        let named = |e: Error| e.operator("dense");
        let (shape, values) = (shape.into().checked().map_err(named)?, values.into());
        let what = || format!("a dense tensor of shape {shape}");
        check_len(shape.size(), values.len(), what).map_err(named)?;
        Ok(Tensor::from_parts(shape, Layout::Dense, T::erase(values)))
    }

    /// A CSR matrix from row pointers, column ids (ascending, unique in each row) and values.
    /// Explicit zeros stay stored.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if lengths do not fit or there are more than 2^32 rows or columns;
    /// [`ErrorKind::Index`] naming the first bad row pointer or column id.
    #[track_caller]
    pub fn csr<T: Element>(
        shape: [usize; 2],
        indptr: impl Into<Buffer<usize>>,
        indices: impl Into<Buffer<u32>>,
        values: impl Into<Buffer<T>>,
    ) -> Result<Tensor> {
        let named = |e: Error| e.operator("csr");
        let pattern = Pattern::checked(shape[0], shape[1], indptr.into(), indices.into());
        let (pattern, values) = (pattern.map_err(named)?, values.into());
        check_values(pattern.nnz(), values.len()).map_err(named)?;
        Ok(Tensor::from_parts(shape.into(), Layout::Csr(pattern.share()), T::erase(values)))
    }

    /// Becomes a [`Tensor::csr`] of copies, in its memory as far as nobody shares it. On an error it is no
    /// value.
    #[track_caller]
    pub(crate) fn refill_csr<T: Element>(
        &mut self,
        cols: usize,
        indptr: &[usize],
        indices: &[u32],
        values: &[T],
    ) -> Result<()> {
        if !matches!(self.layout, Layout::Csr(_)) {
            self.layout = Layout::Csr(Arc::default());
        }
        let Layout::Csr(pattern) = &mut self.layout else { unreachable!("csr now") };
        let named = |e: Error| e.operator("csr");
        Pattern::refill(pattern, cols, indptr, indices).map_err(named)?;
        check_values(indices.len(), values.len()).map_err(named)?;
        T::buffer_mut(&mut self.values).refill(values);
        let rows = indptr.len() - 1;
        if self.shape[..] != [rows, cols] {
            self.shape = [rows, cols].into();
        }
        Ok(())
    }

    /// Becomes a [`Tensor::dense`] of copies, in its memory if nobody shares it. On an error it is no value.
    #[track_caller]
    pub(crate) fn refill_dense<T: Element>(&mut self, shape: &[usize], values: &[T]) -> Result<()> {
        T::buffer_mut(&mut self.values).refill(values);
        self.layout = Layout::Dense;
        if self.shape[..] != *shape {
            self.shape = Shape::from(shape).checked().map_err(|e| e.operator("dense"))?;
        }
        let what = || format!("a dense tensor of shape {}", self.shape);
        check_len(self.shape.size(), values.len(), what).map_err(|e| e.operator("dense"))
    }

    /// A row-sparse tensor from ascending, unique row ids and the rows' values, one after the other.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let g = Tensor::row_sparse([1_000_000, 2], vec![3, 70], vec![1.0f32, 2.0, 3.0, 4.0])?;
    /// assert_eq!(g.rows(), Some(&[3, 70][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if lengths do not fit, there is no first axis, or it has more than 2^32
    /// rows; [`ErrorKind::Index`] naming the first row id that is out of bounds or out of order.
    #[track_caller]
    pub fn row_sparse<T: Element>(
        shape: impl Into<Shape>,
        rows: impl Into<Buffer<u32>>,
        values: impl Into<Buffer<T>>,
    ) -> Result<Tensor> {
        let (shape, rows, values) = (shape.into(), rows.into(), values.into());
        let named = |e: Error| e.operator("row_sparse");
        check_row_sparse_shape(&shape).map_err(named)?;
        check_rows(&rows, shape[0]).map_err(named)?;
        let stored = rows.len().saturating_mul(row_len(&shape));
        let what = || format!("a row-sparse tensor of shape {shape} with {} rows", rows.len());
        check_len(stored, values.len(), what).map_err(named)?;
        Ok(Tensor::from_parts(shape, Layout::RowSparse(rows), T::erase(values)))
    }

    /// A CSR matrix from `(row, column, value)` triplets in any order; duplicates are summed in the
    /// order given.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::from_triplets([2, 2], &[(1, 1, 1.0f32), (0, 0, 2.0), (1, 1, 3.0)])?;
    /// assert_eq!(x.values::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Index`] naming the first triplet out of bounds, [`ErrorKind::Shape`] for more
    /// than 2^32 rows or columns.
    #[track_caller]
    pub fn from_triplets<T: Element>(
        shape: [usize; 2],
        triplets: &[(usize, usize, T)],
    ) -> Result<Tensor> {
        check_extent("rows", shape[0]).map_err(|e| e.operator("from_triplets"))?;
        check_extent("columns", shape[1]).map_err(|e| e.operator("from_triplets"))?;
        pointers(shape[0]).map_err(|e| e.operator("from_triplets"))?;
        if let Some(k) = triplets.iter().position(|t| t.0 >= shape[0] || t.1 >= shape[1]) {
            let (row, col, shape) = (triplets[k].0, triplets[k].1, Shape::from(shape));
            let message = format!("triplet {k} is at ({row}, {col}), outside of {shape}");
            return Err(Error::new(ErrorKind::Index, message).operator("from_triplets"));
        }
        let mut order: Vec<usize> = (0..triplets.len()).collect();
        order.sort_by_key(|&k| (triplets[k].0, triplets[k].1));
        let sorted = order.iter().map(|&k| triplets[k]);
        Ok(csr_from_sorted(shape, sorted))
    }

    /// A CSR matrix from its rows, each a list of `(column, value)` in any order; repeated columns
    /// are summed.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::from_rows(4, &[vec![(3, 1.0f32), (0, 2.0)], vec![]])?;
    /// assert_eq!((&x.shape()[..], x.indices()), (&[2, 4][..], Some(&[0, 3][..])));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::from_triplets`].
    #[track_caller]
    pub fn from_rows<T: Element, R: AsRef<[(usize, T)]>>(
        cols: usize,
        rows: &[R],
    ) -> Result<Tensor> {
        check_extent("rows", rows.len()).map_err(|e| e.operator("from_rows"))?;
        check_extent("columns", cols).map_err(|e| e.operator("from_rows"))?;
        let at = Location::caller();
        let mut sorted = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let (start, row) = (sorted.len(), row.as_ref());
            if let Some(k) = row.iter().position(|&(col, _)| col >= cols) {
                let message = format!("entry {k} of row {i} is in column {}, of {cols}", row[k].0);
                let error = Error::new(ErrorKind::Index, message).operator("from_rows");
                return Err(error.at(at));
            }
            sorted.extend(row.iter().map(|&(col, value)| (i, col, value)));
            sorted[start..].sort_by_key(|&(_, col, _)| col);
        }
        Ok(csr_from_sorted([rows.len(), cols], sorted.into_iter()))
    }

    /// All zeros: dense memory for [`Stype::Default`], nothing stored for the sparse types.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if the shape does not suit the storage type or memory.
    #[track_caller]
    pub fn zeros(stype: Stype, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        let shape = shape.into();
        let (layout, stored) = match stype {
            Stype::Default => (Layout::Dense, dense_len_of(&shape, dtype)?),
            Stype::Csr => {
                let pattern = empty_pattern(&shape)?;
                (Layout::Csr(Arc::new(pattern)), 0)
            }
            Stype::RowSparse => {
                check_row_sparse_shape(&shape)?;
                (Layout::RowSparse(Buffer::default()), 0)
            }
        };
        Ok(Tensor::from_parts(shape, layout, Values::zeros(dtype, stored)))
    }

    /// A dense tensor with every element `x`.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if there is no memory for the shape.
    #[track_caller]
    pub fn full<T: Element>(shape: impl Into<Shape>, x: T) -> Result<Tensor> {
        let shape = shape.into();
        let values = vec![x; dense_len::<T>(&shape)?];
        Tensor::dense(shape, values)
    }

    /// A dense tensor from a function of the row-major position; for the crate's own samples.
    pub(crate) fn from_fn<T: Element>(
        shape: impl Into<Shape>,
        f: impl FnMut(usize) -> T,
    ) -> Tensor {
        let shape = shape.into();
        let values: Vec<T> = (0..shape.size()).map(f).collect();
        Tensor::from_parts(shape, Layout::Dense, T::erase(values.into()))
    }

    /// Zeros of the same shape, storage and element type; a sparse result stores nothing.
    pub fn zeros_like(&self) -> Tensor {
        let (layout, stored) = match &self.layout {
            Layout::Dense => (Layout::Dense, self.nnz()),
            Layout::Csr(p) => {
                let indptr = vec![0; p.rows() + 1];
                let empty = Pattern::new(p.cols(), indptr.into(), Buffer::default());
                (Layout::Csr(Arc::new(empty)), 0)
            }
            Layout::RowSparse(_) => (Layout::RowSparse(Buffer::default()), 0),
        };
        Tensor::from_parts(self.shape.clone(), layout, Values::zeros(self.dtype(), stored))
    }
}

/// A CSR matrix from triplets sorted by row, then column; runs of equal positions are summed.
pub(crate) fn csr_from_sorted<T: Element>(
    shape: [usize; 2],
    sorted: impl Iterator<Item = (usize, usize, T)>,
) -> Tensor {
    let mut indptr = vec![0; shape[0] + 1];
    let (mut indices, mut values) = (Vec::new(), Vec::<T>::new());
    let mut last = None;
    for (row, col, value) in sorted {
        if last == Some((row, col)) {
            let k = values.len() - 1;
            values[k] = values[k] + value;
            continue;
        }
        last = Some((row, col));
        indptr[row + 1] += 1;
        indices.push(col as u32);
        values.push(value);
    }
    kernels::prefix_sum(&mut indptr);
    let pattern = Pattern::new(shape[1], indptr.into(), indices.into());
    Tensor::from_parts(shape.into(), Layout::Csr(Arc::new(pattern)), T::erase(values.into()))
}

#[track_caller]
fn empty_pattern(shape: &Shape) -> Result<Pattern> {
    let [rows, cols] = csr_shape(shape)?;
    check_extent("rows", rows)?;
    check_extent("columns", cols)?;
    Ok(Pattern::new(cols, pointers(rows)?.into(), Buffer::default()))
}

/// Zeroed row pointers, if there is memory for them: the number of rows is only a claim.
#[track_caller]
pub(crate) fn pointers(rows: usize) -> Result<Temp<usize>> {
    check_pointers(rows)?;
    Ok(Temp::filled(0, rows + 1))
}

/// Whether there is memory for the row pointers of so many rows.
#[track_caller]
fn check_pointers(rows: usize) -> Result<()> {
    dense_len::<usize>(&Shape::from([rows.saturating_add(1)])).map(|_| ())
}

/// Whether there are ids, and memory, for what any value of this type takes. Ranks are left to those
/// who make the value.
#[track_caller]
pub(crate) fn check_room(shape: &Shape, stype: Stype, dtype: DType) -> Result<()> {
    match (stype, &shape[..]) {
        (Stype::Default, _) => dense_len_of(shape, dtype).map(|_| ()),
        (Stype::Csr, &[rows, cols]) => {
            check_extent("rows", rows)?;
            check_extent("columns", cols)?;
            check_pointers(rows)
        }
        (Stype::RowSparse, &[rows, ..]) => check_extent("rows", rows),
        _ => Ok(()),
    }
}

/// Elements of a dense tensor of this type, if there is memory for them.
#[track_caller]
pub(crate) fn dense_len_of(shape: &Shape, dtype: DType) -> Result<usize> {
    match dtype {
        DType::F32 => dense_len::<f32>(shape),
        DType::F64 => dense_len::<f64>(shape),
        DType::I64 => dense_len::<i64>(shape),
    }
}

/// Elements of a dense tensor of this shape, if there is memory for them.
#[track_caller]
pub(crate) fn dense_len<T>(shape: &Shape) -> Result<usize> {
    let size = shape.size();
    // Allocators abort; asking first makes a wrong shape an error. Small ones need no asking.
    if size <= 1 << 27 || Vec::<T>::new().try_reserve_exact(size).is_ok() {
        return Ok(size);
    }
    let message = format!("no memory for a dense block of shape {shape}");
    Err(Error::new(ErrorKind::Shape, message))
}

/// The two sizes of a CSR shape.
#[track_caller]
pub(crate) fn csr_shape(shape: &Shape) -> Result<[usize; 2]> {
    if let &[rows, cols] = &shape[..] {
        return Ok([rows, cols]);
    }
    let message = format!("csr storage has two axes, but the shape is {shape}");
    Err(Error::new(ErrorKind::Shape, message))
}

#[track_caller]
pub(crate) fn check_row_sparse_shape(shape: &Shape) -> Result<()> {
    match shape.first() {
        Some(&rows) => check_extent("rows", rows),
        None => {
            let message = "row-sparse storage needs a first axis, but the shape is ()";
            Err(Error::new(ErrorKind::Shape, message))
        }
    }
}

#[track_caller]
fn check_rows(rows: &[u32], bound: usize) -> Result<()> {
    if let Some(i) = rows.windows(2).position(|w| w[0] >= w[1]) {
        let message =
            format!("rows[{}] = {} does not follow rows[{i}] = {}", i + 1, rows[i + 1], rows[i]);
        return Err(Error::new(ErrorKind::Index, message));
    }
    match rows.last() {
        Some(&last) if last as usize >= bound => {
            let i = rows.partition_point(|&r| (r as usize) < bound);
            let message = format!("rows[{i}] = {}, but there are {bound} rows", rows[i]);
            Err(Error::new(ErrorKind::Index, message))
        }
        _ => Ok(()),
    }
}

/// There is a value for each column id of a csr matrix.
#[track_caller]
pub(super) fn check_values(ids: usize, values: usize) -> Result<()> {
    check_len(ids, values, || format!("a csr matrix with {ids} indices"))
}

#[track_caller]
fn check_len(wanted: usize, got: usize, what: impl Fn() -> String) -> Result<()> {
    if wanted == got {
        return Ok(());
    }
    let message = format!("{} needs {wanted} values, got {got}", what());
    Err(Error::new(ErrorKind::Shape, message))
}
