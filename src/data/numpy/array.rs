//! The numbers of an array. Memory is taken as they come in, whatever the header claims.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use super::header::{Descr, Header};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::file::damaged;
use crate::tensor::file::little_endian::{LittleEndian, bytes_of};
use crate::tensor::{DType, DenseView, Shape, Slice, Tensor, Values, size_of};

/// Bytes that are read at once.
const STEP: usize = 1 << 16;

/// A dense tensor; its header was read.
pub(super) fn tensor(from: &mut dyn Read, header: &Header) -> Result<Tensor> {
    let values = values(from, header)?;
    if !header.fortran_order {
        return dense(header.shape.clone(), values);
    }
    let reversed: Shape = header.shape.iter().rev().copied().collect();
    dense(reversed, values)?.transpose(&[])
}

fn dense(shape: Shape, values: Values) -> Result<Tensor> {
    match values {
        Values::F32(values) => Tensor::dense(shape, values),
        Values::F64(values) => Tensor::dense(shape, values),
        Values::I64(values) => Tensor::dense(shape, values),
    }
}

/// The numbers in the order of the file: floats as they are, integers and booleans as i64.
pub(super) fn values(from: &mut dyn Read, header: &Header) -> Result<Values> {
    match &header.descr.kind[..] {
        "f4" => Ok(Values::F32(elements(from, header)?.into())),
        "f8" => Ok(Values::F64(elements(from, header)?.into())),
        kind if kind.starts_with(['b', 'i', 'u']) => {
            Ok(Values::I64(integers(from, header, |_, x| Ok(x))?.into()))
        }
        kind => {
            let why = format!("elements of type {kind:?}; f4, f8, integers and booleans are read");
            Err(damaged(why))
        }
    }
}

/// Integers in the order of the file, each converted with its position.
pub(super) fn integers<N>(
    from: &mut dyn Read,
    header: &Header,
    convert: impl Fn(usize, i64) -> Result<N>,
) -> Result<Vec<N>> {
    match &header.descr.kind[..] {
        "b1" | "u1" => each(elements::<u8>(from, header)?, convert),
        "i1" => each(elements::<i8>(from, header)?, convert),
        "u2" => each(elements::<u16>(from, header)?, convert),
        "i2" => each(elements::<i16>(from, header)?, convert),
        "u4" => each(elements::<u32>(from, header)?, convert),
        "i4" => each(elements::<i32>(from, header)?, convert),
        "u8" => each(elements::<u64>(from, header)?, convert),
        "i8" => each(elements::<i64>(from, header)?, convert),
        kind => Err(damaged(format!("elements of type {kind:?}, not integers"))),
    }
}

fn each<T: TryInto<i64>, N>(
    numbers: Vec<T>,
    convert: impl Fn(usize, i64) -> Result<N>,
) -> Result<Vec<N>> {
    let integer = |(i, x): (usize, T)| match x.try_into() {
        Ok(x) => convert(i, x),
        Err(_) => Err(damaged(format!("element {i} is 2^63 or more, too large for i64"))),
    };
    numbers.into_iter().enumerate().map(integer).collect()
}

/// The numbers as they are in the file.
pub(super) fn elements<T: LittleEndian>(from: &mut dyn Read, header: &Header) -> Result<Vec<T>> {
    let shape = header.shape.clone().checked()?;
    let (count, size) = (size_of(&shape), size_of_val(&T::zeroed()));
    let mut numbers: Vec<T> = Vec::new();
    while numbers.len() < count {
        let start = numbers.len();
        let end = count.min(start + STEP / size);
        numbers.try_reserve(end - start).map_err(|e| no_memory(&shape).caused_by(e))?;
        numbers.resize(end, T::zeroed());
        let bytes = bytemuck::cast_slice_mut(&mut numbers[start..]);
        let read = fill(from, bytes)?;
        if read < bytes.len() {
            let (wanted, there) = (count as u128 * size as u128, start * size + read);
            return Err(damaged(format!("shape {shape} takes {wanted} bytes, {there} are there")));
        }
    }
    numbers.shrink_to_fit();
    numbers.iter_mut().for_each(|x| *x = native(*x, header.descr.big_endian));
    Ok(numbers)
}

/// A number whose bytes are in the order of the file.
fn native<T: LittleEndian>(mut x: T, big_endian: bool) -> T {
    if big_endian {
        bytemuck::bytes_of_mut(&mut x).reverse();
    }
    x.to_le()
}

fn no_memory(shape: &Shape) -> Error {
    Error::new(ErrorKind::Shape, format!("no memory for shape {shape}")).nowhere()
}

/// Reads until the bytes are full or there are no more, and returns how many there were.
fn fill(from: &mut dyn Read, bytes: &mut [u8]) -> Result<usize> {
    let mut full = 0;
    while full < bytes.len() {
        match from.read(&mut bytes[full..]) {
            Ok(0) => break,
            Ok(read) => full += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unread(e)),
        }
    }
    Ok(full)
}

/// Nothing follows; an archive checks its sum of the bytes when they end.
pub(super) fn ended(from: &mut dyn Read) -> Result<()> {
    match fill(from, &mut [0])? {
        0 => Ok(()),
        _ => Err(damaged("bytes follow its last element")),
    }
}

/// A failed read: of what is damaged, or by the system.
pub(super) fn unread(e: io::Error) -> Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof, Unsupported};
    match e.kind() {
        UnexpectedEof => damaged("it ends too early"),
        InvalidData | InvalidInput | Unsupported => damaged("it is damaged").caused_by(e),
        _ => Error::new(ErrorKind::Io, "cannot read it").nowhere().caused_by(e),
    }
}

/// An array to be written: a header and the bytes of its elements.
pub(super) struct Array<'a> {
    pub header: Header,
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> Array<'a> {
    pub fn dense(view: DenseView<'a>) -> Self {
        Array::values(view.shape.into(), view.values)
    }

    /// Elements of this shape.
    pub fn values(shape: Shape, values: Slice<'a>) -> Self {
        let kind = match values.dtype() {
            DType::F32 => "f4",
            DType::F64 => "f8",
            DType::I64 => "i8",
        };
        let bytes = match values {
            Slice::F32(values) => bytes_of(values.into()),
            Slice::F64(values) => bytes_of(values.into()),
            Slice::I64(values) => bytes_of(values.into()),
        };
        Array::new(kind, shape, bytes)
    }

    pub fn new(kind: &str, shape: Shape, bytes: Cow<'a, [u8]>) -> Self {
        Array { header: Header { descr: Descr::of(kind), fortran_order: false, shape }, bytes }
    }

    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        self.header.write(to)?;
        to.write_all(&self.bytes)
    }
}
