//! Dense tensors from and to `ndarray`.

use std::sync::Arc;

use ndarray::{
    ArcArray, Array, ArrayD, ArrayView, ArrayViewD, CowArray, Dimension, IxDyn, ShapeError,
};

use super::buffer::Buffer;
use super::dtype::Element;
use super::{Layout, Shape, Stype, Tensor};
use crate::error::{Error, ErrorKind, Result};

fn dense<T: Element>(shape: Shape, values: Buffer<T>) -> Tensor {
    Tensor::from_parts(shape, Layout::Dense, T::erase(values))
}

/// Moves the array's memory if it is row-major, else copies its elements in logical order.
///
/// ```
/// use ndarray::array;
/// use sparsetape::Tensor;
/// let x = Tensor::from(array![[1.0f32, 2.0], [3.0, 4.0]]);
/// assert_eq!(x.shape()[..], [2, 2]);
/// let transposed = Tensor::from(array![[1.0f32, 2.0], [3.0, 4.0]].reversed_axes());
/// assert_eq!(transposed.values::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor {
    fn from(array: Array<T, D>) -> Self {
        if !array.is_standard_layout() {
            return Tensor::from(array.view());
        }
        let (shape, len) = (Shape::from(array.shape()), array.len());
        let (vec, offset) = array.into_raw_vec_and_offset();
        let start = offset.unwrap_or(0);
        dense(shape, Buffer::from(vec).slice(start..start + len))
    }
}

/// Copies the elements in logical order.
///
/// ```
/// use ndarray::{array, s};
/// use sparsetape::Tensor;
/// let x = array![[1i64, 2, 3], [4, 5, 6]];
/// assert_eq!(Tensor::from(x.slice(s![.., ..;2])).values::<i64>()?, [1, 3, 4, 6]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl<T: Element, D: Dimension> From<ArrayView<'_, T, D>> for Tensor {
    fn from(view: ArrayView<'_, T, D>) -> Self {
        let values: Vec<T> = match view.as_slice() {
            Some(slice) => slice.to_vec(),
            None => view.iter().copied().collect(),
        };
        dense(view.shape().into(), values.into())
    }
}

/// Moves an owned array, copies a borrowed one.
///
/// ```
/// use ndarray::{CowArray, array};
/// use sparsetape::Tensor;
/// let x = Tensor::from(CowArray::from(array![1.0f64, 2.0]));
/// assert_eq!(x.values::<f64>()?, [1.0, 2.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl<T: Element, D: Dimension> From<CowArray<'_, T, D>> for Tensor {
    fn from(array: CowArray<'_, T, D>) -> Self {
        match array.is_view() {
            true => Tensor::from(array.view()),
            false => Tensor::from(array.into_owned()),
        }
    }
}

/// Shares the array's memory if it is row-major, else copies its elements in logical order.
///
/// ```
/// use ndarray::arr1;
/// use sparsetape::Tensor;
/// let shared = arr1(&[1.0f32, 2.0]).into_shared();
/// let x = Tensor::from(shared.clone());
/// assert_eq!(x.values::<f32>()?.as_ptr(), shared.as_ptr());
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl<T: Element, D: Dimension + 'static> From<ArcArray<T, D>> for Tensor {
    fn from(array: ArcArray<T, D>) -> Self {
        let shape = Shape::from(array.shape());
        match array.is_standard_layout() {
            // SAFETY: a shared array lends the same slice each time.
            true => dense(shape, unsafe { Buffer::foreign(Arc::new(Shared(array))) }),
            false => Tensor::from(array.view()),
        }
    }
}

/// A shared array in standard layout, as a buffer's owner.
struct Shared<T, D: Dimension>(ArcArray<T, D>);

impl<T, D: Dimension> AsRef<[T]> for Shared<T, D> {
    fn as_ref(&self) -> &[T] {
        self.0.as_slice().unwrap_or_default()
    }
}

/// Other integers and booleans become `i64`.
macro_rules! from_integers {
    ($($t:ty),*) => {$(
        impl<D: Dimension> From<Array<$t, D>> for Tensor {
            /// The numbers as `i64`.
            fn from(array: Array<$t, D>) -> Self {
                Tensor::from(array.view())
            }
        }

        impl<D: Dimension> From<ArrayView<'_, $t, D>> for Tensor {
            /// The numbers as `i64`.
            fn from(view: ArrayView<'_, $t, D>) -> Self {
                let values: Vec<i64> = view.iter().map(|&x| x as i64).collect();
                dense(view.shape().into(), values.into())
            }
        }
    )*};
}
from_integers!(bool, u8, u16, u32, i8, i16, i32, isize);

/// Integers that may not fit `i64`.
macro_rules! try_from_integers {
    ($($t:ty),*) => {$(
        impl<D: Dimension> TryFrom<Array<$t, D>> for Tensor {
            type Error = Error;

            /// The numbers as `i64`; an error names the first that does not fit.
            #[track_caller]
            fn try_from(array: Array<$t, D>) -> Result<Self> {
                Tensor::try_from(array.view())
            }
        }

        impl<D: Dimension> TryFrom<ArrayView<'_, $t, D>> for Tensor {
            type Error = Error;

            /// The numbers as `i64`; an error names the first that does not fit.
            #[track_caller]
            fn try_from(view: ArrayView<'_, $t, D>) -> Result<Self> {
                if let Some(i) = view.iter().position(|&x| i64::try_from(x).is_err()) {
                    let x = view.iter().nth(i).copied().unwrap_or_default();
                    let message = format!("element {i} is {x}, but i64 ends at {}", i64::MAX);
                    return Err(Error::new(ErrorKind::Value, message));
                }
                let values: Vec<i64> = view.iter().map(|&x| x as i64).collect();
                Ok(dense(view.shape().into(), values.into()))
            }
        }
    )*};
}
try_from_integers!(u64, usize);

impl Tensor {
    /// A dense tensor as a borrowed array; nothing is copied.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let x = Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?;
    /// assert_eq!(x.as_ndarray::<f32>()?.sum_axis(ndarray::Axis(0)), ndarray::arr1(&[4.0, 6.0]).into_dyn());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] for a sparse tensor (cast it visibly first), [`ErrorKind::DType`] if
    /// the elements are not of type `T`.
    #[track_caller]
    pub fn as_ndarray<T: Element>(&self) -> Result<ArrayViewD<'_, T>> {
        self.check_dense("as_ndarray")?;
        let array = ArrayViewD::from_shape(IxDyn(&self.shape), self.values::<T>()?);
        match array {
            Ok(array) => Ok(array),
            Err(e) => Err(too_large(e)),
        }
    }

    /// A copy of a dense tensor as an array.
    ///
    /// ```
    /// use sparsetape::{Stype, Tensor};
    /// let x = Tensor::csr([1, 3], vec![0, 1], vec![2], vec![7.0f32])?;
    /// assert!(x.to_ndarray::<f32>().is_err()); // nothing becomes dense silently
    /// let array = x.cast_storage(Stype::Default)?.to_ndarray::<f32>()?;
    /// assert_eq!(array, ndarray::array![[0.0, 0.0, 7.0]].into_dyn());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::as_ndarray`].
    #[track_caller]
    pub fn to_ndarray<T: Element>(&self) -> Result<ArrayD<T>> {
        self.check_dense("to_ndarray")?;
        Ok(self.as_ndarray()?.to_owned())
    }

    /// A dense tensor as an array: its memory moves when no clone shares it, else it is copied.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// let array = Tensor::dense([3], vec![1.0f64, 2.0, 3.0])?.into_ndarray::<f64>()?;
    /// assert_eq!(array.sum(), 6.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::as_ndarray`].
    #[track_caller]
    pub fn into_ndarray<T: Element>(self) -> Result<ArrayD<T>> {
        self.check_dense("into_ndarray")?;
        self.values::<T>()?;
        let (shape, _, values) = self.into_parts();
        let vec = T::into_buffer(values).unwrap_or_default().into_vec();
        match ArrayD::from_shape_vec(IxDyn(&shape), vec) {
            Ok(array) => Ok(array),
            Err(e) => Err(too_large(e)),
        }
    }

    #[track_caller]
    fn check_dense(&self, function: &str) -> Result<()> {
        if self.stype() == Stype::Default {
            return Ok(());
        }
        let message = "not dense; call cast_storage(Stype::Default) first to make it so";
        Err(Error::new(ErrorKind::Stype, message).operator(function).operands([self.ty()]))
    }
}

/// `ndarray` counts elements (of the non-empty axes) in `isize`.
#[track_caller]
fn too_large(cause: ShapeError) -> Error {
    Error::new(ErrorKind::Shape, "ndarray cannot hold this shape").caused_by(cause)
}
