//! One array in a file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use super::array::{Array, ended, tensor};
use super::header::{Header, MOST_AXES};
use crate::data::{io_error, path_error};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::file::{atomic, within};
use crate::tensor::{DenseView, Tensor, View};

/// Reads the array of a numpy `.npy` file as a dense tensor of the same shape.
///
/// Formats 1.0, 2.0 and 3.0 are read, in both byte orders and both orders of axes. `float32` and
/// `float64` stay what they are; integers of all widths and booleans become i64. Half precision,
/// complex numbers, text, records and Python objects are errors: convert them with `astype`.
///
/// ```
/// use sparsetape::data::{read_npy, write_npy};
/// use sparsetape::{DType, Tensor};
/// let path = std::env::temp_dir().join("sparsetape-doc.npy");
/// write_npy(&path, &Tensor::dense([2, 2], vec![1i64, 0, 0, 1])?)?;
/// let x = read_npy(&path)?;
/// assert_eq!(x.cast(DType::F32).values::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Io`] if the file cannot be read; [`ErrorKind::Parse`] if it is damaged, longer than
/// its array, or of another element type. Both name the path.
pub fn read_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let mut file = File::open(path).map_err(path_error(path))?;
    let array = read(&mut file).and_then(|array| ended(&mut file).map(|()| array));
    array.map_err(within(path.display()))
}

/// Reads an array as [`read_npy`] does, and no byte more: several that were written one after the
/// other are read one after the other. Errors name it `<reader>`.
///
/// ```
/// use sparsetape::data::{read_npy_from, write_npy_to};
/// use sparsetape::Tensor;
/// let mut bytes = Vec::new();
/// write_npy_to(&mut bytes, &Tensor::scalar(7i64))?;
/// write_npy_to(&mut bytes, &Tensor::scalar(0.5f32))?;
/// let mut reader = &bytes[..];
/// assert_eq!(read_npy_from(&mut reader)?.item::<i64>()?, 7);
/// assert_eq!(read_npy_from(&mut reader)?.item::<f32>()?, 0.5);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// As [`read_npy`]; what follows the array is left alone.
pub fn read_npy_from(mut reader: impl Read) -> Result<Tensor> {
    read(&mut reader).map_err(within("<reader>"))
}

fn read(from: &mut dyn Read) -> Result<Tensor> {
    let header = Header::read(from)?;
    tensor(from, &header)
}

/// Writes a dense tensor as a numpy `.npy` file, byte by byte what numpy 2 writes. The file is
/// complete or not there.
///
/// # Errors
/// [`ErrorKind::Stype`] unless the tensor is dense, [`ErrorKind::Shape`] if it has more than 64 axes,
/// [`ErrorKind::Io`] naming the path.
#[track_caller]
pub fn write_npy(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let array = Array::dense(dense(tensor, "write_npy")?);
    atomic::write(path.as_ref(), |file| array.write(file))
}

/// Writes a dense tensor as [`write_npy`] does.
///
/// # Errors
/// As [`write_npy`]; [`ErrorKind::Io`] if writing fails.
#[track_caller]
pub fn write_npy_to(mut writer: impl Write, tensor: &Tensor) -> Result<()> {
    let array = Array::dense(dense(tensor, "write_npy_to")?);
    array.write(&mut writer).map_err(|e| io_error("<writer>", e))
}

/// A dense tensor, as arrays of numpy are.
#[track_caller]
pub(super) fn dense<'a>(tensor: &'a Tensor, operator: &str) -> Result<DenseView<'a>> {
    let View::Dense(view) = tensor.view() else {
        let message = format!("an array is dense, got {}", tensor.ty());
        return Err(Error::new(ErrorKind::Stype, message).operator(operator));
    };
    if view.shape.len() > MOST_AXES {
        let message = format!("an array has at most {MOST_AXES} axes, got {}", view.shape.len());
        return Err(Error::new(ErrorKind::Shape, message).operator(operator));
    }
    Ok(view)
}
