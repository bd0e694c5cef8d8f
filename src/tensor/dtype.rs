//! Element types, and values whose element type is known at run time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels;

/// The element type of a tensor. Operators never promote: mixing types is an error that names
/// [`cast`](crate::Tensor::cast).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit IEEE floats.
    F32,
    /// 64-bit IEEE floats.
    F64,
    /// 64-bit signed integers: ids and labels.
    I64,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F64 | DType::I64 => 8,
        }
    }

    /// Whether derivatives exist for this type.
    pub fn is_float(self) -> bool {
        self != DType::I64
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I64 => "i64",
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i64 {}
}

/// A Rust type that tensors hold: `f32`, `f64` or `i64`. Sealed.
pub trait Element:
    sealed::Sealed + kernels::Number + bytemuck::Pod + PartialOrd + fmt::Debug + fmt::Display
{
    /// The matching run-time type.
    const DTYPE: DType;

    /// This buffer with its type erased.
    fn erase(buffer: Buffer<Self>) -> Values;

    /// The typed buffer, if the type fits.
    fn buffer(values: &Values) -> Option<&Buffer<Self>>;

    /// The typed buffer by value, if the type fits.
    fn into_buffer(values: Values) -> Option<Buffer<Self>>;

    /// The typed buffer, made an empty one if the type differs.
    #[doc(hidden)]
    fn buffer_mut(values: &mut Values) -> &mut Buffer<Self>;

    /// The elements to be written; empty if the type differs or the memory is shared.
    #[doc(hidden)]
    fn unique_slice(values: &mut Values) -> &mut [Self];

    /// This slice with its type erased.
    fn erase_slice(slice: &[Self]) -> Slice<'_>;

    /// The typed slice, if the type fits.
    fn typed_slice(slice: Slice<'_>) -> Option<&[Self]>;

    /// The nearest `f64`.
    fn to_f64(self) -> f64;

    /// The nearest value of this type (towards zero, saturating, for integers).
    fn from_f64(x: f64) -> Self;
}

/// A floating-point [`Element`]: `f32` or `f64`. Sealed.
pub trait Real: Element + kernels::Real {}
impl Real for f32 {}
impl Real for f64 {}

macro_rules! element {
    ($t:ty, $variant:ident) => {
        impl Element for $t {
            const DTYPE: DType = DType::$variant;

            fn erase(buffer: Buffer<Self>) -> Values {
                Values::$variant(buffer)
            }

            fn buffer(values: &Values) -> Option<&Buffer<Self>> {
                match values {
                    Values::$variant(b) => Some(b),
                    _ => None,
                }
            }

            fn into_buffer(values: Values) -> Option<Buffer<Self>> {
                match values {
                    Values::$variant(b) => Some(b),
                    _ => None,
                }
            }

            fn buffer_mut(values: &mut Values) -> &mut Buffer<Self> {
                if !matches!(values, Values::$variant(_)) {
                    *values = Values::$variant(Buffer::default());
                }
                match values {
                    Values::$variant(b) => b,
                    _ => unreachable!("of this type now"),
                }
            }

            fn unique_slice(values: &mut Values) -> &mut [Self] {
                match values {
                    Values::$variant(b) => b.unique().unwrap_or_default(),
                    _ => &mut [],
                }
            }

            fn erase_slice(slice: &[Self]) -> Slice<'_> {
                Slice::$variant(slice)
            }

            fn typed_slice(slice: Slice<'_>) -> Option<&[Self]> {
                match slice {
                    Slice::$variant(s) => Some(s),
                    _ => None,
                }
            }

            fn to_f64(self) -> f64 {
                self as f64
            }

            fn from_f64(x: f64) -> Self {
                x as $t
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);
element!(i64, I64);

/// Runs the same code for whichever element type a [`Values`] or [`Slice`] holds.
macro_rules! each_dtype {
    ($family:ident :: $values:expr, $v:ident => $body:expr) => {
        match $values {
            $crate::tensor::$family::F32($v) => $body,
            $crate::tensor::$family::F64($v) => $body,
            $crate::tensor::$family::I64($v) => $body,
        }
    };
}
pub(crate) use each_dtype;

/// A [`Buffer`] of any element type.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Buffer<f32>),
    /// 64-bit floats.
    F64(Buffer<f64>),
    /// 64-bit integers.
    I64(Buffer<i64>),
}

impl Values {
    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.as_slice().dtype()
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, borrowed.
    #[inline]
    pub fn as_slice(&self) -> Slice<'_> {
        match self {
            Values::F32(b) => Slice::F32(b),
            Values::F64(b) => Slice::F64(b),
            Values::I64(b) => Slice::I64(b),
        }
    }

    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> Self {
        each_dtype!(Values::self, b => Element::erase(b.slice(range)))
    }

    /// `len` zeros.
    pub(crate) fn zeros(dtype: DType, len: usize) -> Self {
        match dtype {
            DType::F32 => Values::F32(Buffer::zeroed(len)),
            DType::F64 => Values::F64(Buffer::zeroed(len)),
            DType::I64 => Values::I64(Buffer::zeroed(len)),
        }
    }
}

/// A borrowed slice of any element type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slice<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 64-bit floats.
    F64(&'a [f64]),
    /// 64-bit integers.
    I64(&'a [i64]),
}

impl<'a> Slice<'a> {
    /// The element type.
    #[inline]
    pub fn dtype(self) -> DType {
        match self {
            Slice::F32(_) => DType::F32,
            Slice::F64(_) => DType::F64,
            Slice::I64(_) => DType::I64,
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(self) -> usize {
        each_dtype!(Slice::self, s => s.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The memory of the elements.
    pub(crate) fn bytes(self) -> &'a [u8] {
        each_dtype!(Slice::self, s => bytemuck::cast_slice(s))
    }

    /// The elements as `&[T]`.
    ///
    /// # Errors
    /// [`ErrorKind::DType`] if they are of another type.
    #[inline]
    #[track_caller]
    pub fn typed<T: Element>(self) -> Result<&'a [T]> {
        match T::typed_slice(self) {
            Some(slice) => Ok(slice),
            None => {
                let (is, not) = (self.dtype(), T::DTYPE);
                let message = format!("values are {is}, not {not}; `cast` converts");
                Err(Error::new(ErrorKind::DType, message))
            }
        }
    }

    /// Element `i` as the nearest `f64`.
    pub(crate) fn get_f64(self, i: usize) -> f64 {
        each_dtype!(Slice::self, s => s[i].to_f64())
    }
}
