//! CSR matrices from and to `sprs`.

use std::any::Any;
use std::sync::Arc;

use sprs::{CsMatI, CsMatViewI, SpIndex};

use super::buffer::Buffer;
use super::cast::from_csr;
use super::dtype::Element;
use super::pattern::{Pattern, check_extent};
use super::{Layout, Tensor};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{CsrRef, spgemm};

/// From an owned `sprs` matrix of any index types.
///
/// A CSR matrix moves its values, moves column ids of type `u32` and row pointers of type `usize`,
/// and converts others. A CSC matrix is converted to CSR. Explicit zeros stay stored.
///
/// ```
/// use sparsetape::Tensor;
/// use sprs::{CsMat, CsMatI};
/// let a: CsMatI<f32, u32, usize> = CsMatI::new((2, 3), vec![0, 1, 2], vec![2, 0], vec![1.0, 2.0]);
/// let x = Tensor::try_from(a)?; // copies nothing
/// assert_eq!(x.indices(), Some(&[2, 0][..]));
/// let csc: CsMat<f64> = CsMat::new_csc((2, 2), vec![0, 2, 2], vec![0, 1], vec![3.0, 4.0]);
/// assert_eq!(Tensor::try_from(csc)?.indptr(), Some(&[0, 1, 2][..]));
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] for more than 2^32 rows or columns.
impl<T, I, Iptr> TryFrom<CsMatI<T, I, Iptr>> for Tensor
where
    T: Element,
    I: SpIndex + 'static,
    Iptr: SpIndex + 'static,
{
    type Error = Error;

    #[track_caller]
    fn try_from(matrix: CsMatI<T, I, Iptr>) -> Result<Self> {
        if matrix.is_csc() {
            return Tensor::try_from(matrix.view());
        }
        let (rows, cols) = checked_shape(matrix.shape())?;
        let (mut indptr, mut indices, values) = matrix.into_raw_storage();
        let indptr = match moved(&mut indptr) {
            Some(moved) => moved,
            None => row_pointers(&indptr)?,
        };
        let indices = match moved(&mut indices) {
            Some(moved) => moved,
            None => narrow_ids(&indices)?,
        };
        Tensor::csr([rows, cols], indptr, indices, values)
    }
}

/// From a borrowed `sprs` matrix of any index types and either storage order; copies.
///
/// ```
/// use sparsetape::Tensor;
/// let eye = sprs::CsMat::<f32>::eye(4);
/// let x = Tensor::try_from(eye.view().middle_outer_views(2, 2))?;
/// assert_eq!(x.indices(), Some(&[2, 3][..]));
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] for more than 2^32 rows or columns.
impl<T, I, Iptr> TryFrom<CsMatViewI<'_, T, I, Iptr>> for Tensor
where
    T: Element,
    I: SpIndex,
    Iptr: SpIndex,
{
    type Error = Error;

    #[track_caller]
    fn try_from(view: CsMatViewI<'_, T, I, Iptr>) -> Result<Self> {
        let (rows, cols) = checked_shape(view.shape())?;
        let indptr = row_pointers(view.indptr().raw_storage())?;
        let indices = narrow_ids(view.indices())?;
        let values = view.data().to_vec();
        match view.is_csr() {
            true => Tensor::csr([rows, cols], indptr, indices, values),
            false => {
                let pattern = Pattern::checked(cols, rows, indptr.into(), indices.into())?;
                Ok(transpose(&pattern, &values))
            }
        }
    }
}

#[track_caller]
fn checked_shape((rows, cols): (usize, usize)) -> Result<(usize, usize)> {
    check_extent("rows", rows)?;
    check_extent("columns", cols)?;
    Ok((rows, cols))
}

/// What is there, if it is of type `B`.
fn moved<B: Default + 'static>(from: &mut dyn Any) -> Option<B> {
    from.downcast_mut::<B>().map(std::mem::take)
}

#[track_caller]
fn row_pointers<I: SpIndex>(indptr: &[I]) -> Result<Vec<usize>> {
    convert("indptr", indptr, "a row pointer", |i| i.try_index())
}

#[track_caller]
fn narrow_ids<I: SpIndex>(indices: &[I]) -> Result<Vec<u32>> {
    convert("indices", indices, "a 32-bit id", |i| u32::try_from(i.try_index()?).ok())
}

#[track_caller]
fn convert<I: SpIndex, U>(
    name: &str,
    from: &[I],
    what: &str,
    one: impl Fn(I) -> Option<U>,
) -> Result<Vec<U>> {
    let converted: Vec<U> = from.iter().map_while(|&i| one(i)).collect();
    if converted.len() == from.len() {
        return Ok(converted);
    }
    let at = converted.len();
    let message = format!("{name}[{at}] = {:?} is not {what}", from[at]);
    Err(Error::new(ErrorKind::Index, message))
}

/// The transpose of a CSR matrix.
fn transpose<T: Element>(pattern: &Pattern, values: &[T]) -> Tensor {
    let (rows, cols) = (pattern.rows(), pattern.cols());
    let (indptr, indices) = pattern.parts();
    from_csr([cols, rows].into(), spgemm::transpose(CsrRef { cols, indptr, indices, values }))
}

impl Tensor {
    /// A CSR matrix as a borrowed `sprs` matrix; nothing is copied. (`sprs` checks the structure
    /// once: time proportional to the stored entries.)
    ///
    /// The raw row pointers of a window of rows need not start at 0; `sprs` allows that.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![1.0f32, 2.0])?;
    /// assert_eq!(x.as_sprs::<f32>()?.get(0, 2), Some(&1.0));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] if the tensor is not CSR, [`ErrorKind::DType`] if the elements are not
    /// of type `T`, [`ErrorKind::Shape`] for exactly 2^32 columns, one more than `sprs` admits for
    /// 32-bit ids.
    #[track_caller]
    pub fn as_sprs<T: Element>(&self) -> Result<CsMatViewI<'_, T, u32, usize>> {
        let (pattern, values) = (self.csr_pattern("as_sprs")?, self.values::<T>()?);
        let shape = (pattern.rows(), pattern.cols());
        match CsMatViewI::try_new(shape, pattern.indptr(), pattern.indices(), values) {
            Ok(view) => Ok(view),
            Err((.., cause)) => Err(refused(cause)),
        }
    }

    /// A copy of a CSR matrix as an `sprs` matrix; row pointers start at 0.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::csr([3, 1], vec![0, 1, 1, 2], vec![0, 0], vec![1.0f32, 2.0])?;
    /// let last = x.rows_window(2, 3)?.to_sprs::<f32>()?;
    /// assert_eq!(last.indptr().raw_storage(), [0, 1]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::as_sprs`].
    #[track_caller]
    pub fn to_sprs<T: Element>(&self) -> Result<CsMatI<T, u32, usize>> {
        self.csr_pattern("to_sprs")?;
        self.clone().into_sprs()
    }

    /// A CSR matrix as an `sprs` matrix: memory that no clone or window shares moves, the rest is
    /// copied. Row pointers start at 0.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![1.0f32, 2.0])?;
    /// let product = &x.into_sprs::<f32>()? * &ndarray::arr1(&[1.0f32, 0.0, 2.0]);
    /// assert_eq!(product, ndarray::arr1(&[2.0, 2.0]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::as_sprs`].
    #[track_caller]
    pub fn into_sprs<T: Element>(self) -> Result<CsMatI<T, u32, usize>> {
        self.csr_pattern("into_sprs")?;
        self.values::<T>()?;
        let (shape, layout, values) = self.into_parts();
        let Layout::Csr(pattern) = layout else { return Err(not_csr()) };
        let (indptr, indices) = match Arc::try_unwrap(pattern) {
            Ok(pattern) => pattern.into_parts(),
            Err(shared) => (shared.buffers().0.clone(), shared.buffers().1.clone()),
        };
        let values = T::into_buffer(values).unwrap_or_default().into_vec();
        let matrix =
            CsMatI::try_new((shape[0], shape[1]), from_zero(indptr), indices.into_vec(), values);
        match matrix {
            Ok(matrix) => Ok(matrix),
            Err((.., cause)) => Err(refused(cause)),
        }
    }

    #[track_caller]
    fn csr_pattern(&self, function: &str) -> Result<&Pattern> {
        match self.pattern() {
            Some(pattern) => Ok(pattern),
            None => Err(not_csr().operator(function).operands([self.ty()])),
        }
    }
}

/// Row pointers that start at 0.
fn from_zero(indptr: Buffer<usize>) -> Vec<usize> {
    let mut indptr = indptr.into_vec();
    let base = indptr[0];
    indptr.iter_mut().for_each(|p| *p -= base);
    indptr
}

#[track_caller]
fn not_csr() -> Error {
    Error::new(ErrorKind::Stype, "not csr; call cast_storage(Stype::Csr) first to make it so")
}

#[track_caller]
fn refused(cause: sprs::errors::StructureError) -> Error {
    Error::new(ErrorKind::Shape, "sprs cannot hold this matrix").caused_by(cause)
}
