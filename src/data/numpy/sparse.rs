//! Matrices as `scipy.sparse.save_npz` stores them: arrays of ids and values in one `.npz` file.

use std::borrow::Cow;
use std::io::Read;

use super::array::{Array, elements, integers, values};
use super::header::Header;
use super::npz::Npz;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::prefix_sum;
use crate::tensor::dtype::each_dtype;
use crate::tensor::file::damaged;
use crate::tensor::file::little_endian::{LittleEndian, bytes_of};
use crate::tensor::pattern::check_extent;
use crate::tensor::{Element, Tensor, Values, View};

/// Rows that a matrix may have in any case; further ones must be backed by entries where the file
/// has no row pointers.
const FREE_ROWS: usize = 1 << 24;

/// Rows that one entry backs.
const ROWS_PER_ENTRY: usize = 1 << 12;

/// The matrix of a file, as a csr tensor. Errors name the array.
pub(super) fn read(file: &mut Npz<'_>) -> Result<Tensor> {
    if !file.has("format") {
        return Err(damaged(format!("not a file of scipy.sparse.save_npz; {}", file.listed())));
    }
    let format = file.read("format", text)?;
    if !matches!(&format[..], "csr" | "csc" | "coo") {
        let why =
            format!("a matrix of format {format:?}; csr, csc and coo are read: save x.tocsr()");
        return Err(damaged(why));
    }
    let shape = shape(file)?;
    match &format[..] {
        "csr" => csr(file, shape),
        "csc" => csc(file, shape),
        _ => coo(file, shape),
    }
}

/// Short text: an array without axes, of bytes or of characters.
fn text(from: &mut dyn Read, header: &Header) -> Result<String> {
    const LONGEST: usize = 64;
    let length = |letter| {
        let length = header.descr.kind.strip_prefix(letter)?.parse().ok();
        length.filter(|&n: &usize| n <= LONGEST && header.shape.is_empty())
    };
    let characters = match (length('S'), length('U')) {
        (Some(length), _) => characters::<u8>(from, header, length)?,
        (_, Some(length)) => characters::<u32>(from, header, length)?,
        _ => {
            return Err(damaged(format!("not a text: {} of shape {}", header.descr, header.shape)));
        }
    };
    let text: Option<String> = characters.into_iter().map(char::from_u32).collect();
    let text = text.ok_or_else(|| damaged("not a text"))?;
    Ok(text.trim_end_matches('\0').to_owned())
}

fn characters<T: LittleEndian + Into<u32>>(
    from: &mut dyn Read,
    header: &Header,
    length: usize,
) -> Result<Vec<u32>> {
    let header = Header { shape: [length].into(), ..header.clone() };
    Ok(elements::<T>(from, &header)?.into_iter().map(Into::into).collect())
}

fn csr(file: &mut Npz<'_>, [rows, cols]: [usize; 2]) -> Result<Tensor> {
    let (indptr, indices, values) = compressed(file, rows, cols, "columns")?;
    each_dtype!(Values::values, v => matrix([rows, cols], indptr, indices, v.into_vec()))
}

fn csc(file: &mut Npz<'_>, [rows, cols]: [usize; 2]) -> Result<Tensor> {
    let (indptr, row_ids, values) = compressed(file, cols, rows, "rows")?;
    let columns = indptr.windows(2).enumerate();
    let column_ids = columns.flat_map(|(c, ends)| std::iter::repeat_n(c as u32, ends[1] - ends[0]));
    let column_ids: Vec<u32> = column_ids.collect();
    each_dtype!(Values::values, v => by_rows([rows, cols], &row_ids, &column_ids, &v))
}

/// `count` pointers, the ids between them, and values.
fn compressed(
    file: &mut Npz<'_>,
    count: usize,
    bound: usize,
    of: &str,
) -> Result<(Vec<usize>, Vec<u32>, Values)> {
    let indptr = pointers(file, count)?;
    let ids = ids(file, "indices", bound, of)?;
    let values = numbers(file)?;
    expect_length(of, ids.len(), values.len())?;
    if indptr[count] != ids.len() {
        let why = format!("indptr ends at {}, but there are {} entries", indptr[count], ids.len());
        return Err(damaged(why));
    }
    Ok((indptr, ids, values))
}

fn coo(file: &mut Npz<'_>, [rows, cols]: [usize; 2]) -> Result<Tensor> {
    let (row_ids, column_ids) = if file.has("coords") {
        coordinates(file, [rows, cols])?
    } else {
        (ids(file, "row", rows, "rows")?, ids(file, "col", cols, "columns")?)
    };
    let values = numbers(file)?;
    expect_length("rows", row_ids.len(), values.len())?;
    expect_length("columns", column_ids.len(), values.len())?;
    each_dtype!(Values::values, v => by_rows([rows, cols], &row_ids, &column_ids, &v))
}

/// Row and column ids in one array of two rows.
fn coordinates(file: &mut Npz<'_>, [rows, cols]: [usize; 2]) -> Result<(Vec<u32>, Vec<u32>)> {
    file.read("coords", |from, header| {
        let &[2, entries] = &header.shape[..] else {
            return Err(damaged(format!("coordinates of shape {}, not (2, n)", header.shape)));
        };
        if header.fortran_order {
            return Err(damaged("coordinates in Fortran order; save x.tocsr()"));
        }
        let mut row_ids = integers(from, header, |i, x| match i < entries {
            true => id(i, x, rows, "rows"),
            false => id(i, x, cols, "columns"),
        })?;
        let column_ids = row_ids.split_off(entries);
        Ok((row_ids, column_ids))
    })
}

fn shape(file: &mut Npz<'_>) -> Result<[usize; 2]> {
    file.read("shape", |from, header| {
        if header.shape[..] != [2] {
            return Err(damaged(format!(
                "a shape of shape {}; matrices have two axes",
                header.shape
            )));
        }
        let sizes = integers(from, header, |i, x| {
            usize::try_from(x).map_err(|_| damaged(format!("element {i} is {x}")))
        })?;
        check_extent("rows", sizes[0])?;
        check_extent("columns", sizes[1])?;
        Ok([sizes[0], sizes[1]])
    })
}

/// Pointers to the beginning of each row or column, and to the end of the last.
fn pointers(file: &mut Npz<'_>, count: usize) -> Result<Vec<usize>> {
    file.read("indptr", |from, header| {
        if header.shape[..] != [count + 1] {
            let why = format!("of shape {}, but {} pointers are needed", header.shape, count + 1);
            return Err(damaged(why));
        }
        let indptr = integers(from, header, |i, x| {
            usize::try_from(x).map_err(|_| damaged(format!("element {i} is {x}")))
        })?;
        if indptr[0] != 0 {
            return Err(damaged(format!("element 0 is {}, not 0", indptr[0])));
        }
        match indptr.windows(2).position(|ends| ends[0] > ends[1]) {
            None => Ok(indptr),
            Some(i) => {
                let (a, b) = (indptr[i], indptr[i + 1]);
                Err(damaged(format!("element {} is {b}, less than element {i}, {a}", i + 1)))
            }
        }
    })
}

fn ids(file: &mut Npz<'_>, name: &str, bound: usize, of: &str) -> Result<Vec<u32>> {
    file.read(name, |from, header| {
        expect_one_axis(header)?;
        integers(from, header, |i, x| id(i, x, bound, of))
    })
}

fn id(i: usize, x: i64, bound: usize, of: &str) -> Result<u32> {
    let id = u32::try_from(x).ok().filter(|&id| (id as usize) < bound);
    id.ok_or_else(|| damaged(format!("element {i} is {x}, but there are {bound} {of}")))
}

fn numbers(file: &mut Npz<'_>) -> Result<Values> {
    file.read("data", |from, header| {
        expect_one_axis(header)?;
        values(from, header)
    })
}

fn expect_one_axis(header: &Header) -> Result<()> {
    match header.shape[..] {
        [_] => Ok(()),
        _ => Err(damaged(format!("of shape {}, where one axis is needed", header.shape))),
    }
}

fn expect_length(what: &str, length: usize, values: usize) -> Result<()> {
    match length == values {
        true => Ok(()),
        false => Err(damaged(format!("{length} ids of {what}, but {values} values"))),
    }
}

/// A matrix of entries in any order.
fn by_rows<T: Entry>(
    shape: [usize; 2],
    row_ids: &[u32],
    column_ids: &[u32],
    values: &[T],
) -> Result<Tensor> {
    let rows = shape[0];
    if rows.saturating_sub(FREE_ROWS) / ROWS_PER_ENTRY > values.len() {
        let why = format!("{rows} rows for {} entries; save x.tocsr()", values.len());
        return Err(damaged(why));
    }
    let mut indptr = vec![0; rows + 1];
    row_ids.iter().for_each(|&row| indptr[row as usize + 1] += 1);
    prefix_sum(&mut indptr);
    let mut next = indptr.clone();
    let mut indices = vec![0; column_ids.len()];
    let mut sorted = vec![T::default(); values.len()];
    for (k, &row) in row_ids.iter().enumerate() {
        let at = next[row as usize];
        next[row as usize] += 1;
        (indices[at], sorted[at]) = (column_ids[k], values[k]);
    }
    matrix(shape, indptr, indices, sorted)
}

/// A matrix whose rows may be unsorted.
fn matrix<T: Entry>(
    shape: [usize; 2],
    mut indptr: Vec<usize>,
    mut indices: Vec<u32>,
    mut values: Vec<T>,
) -> Result<Tensor> {
    let ascending = |row: &[usize]| indices[row[0]..row[1]].is_sorted_by(|a, b| a < b);
    if !indptr.windows(2).all(ascending) {
        order_rows(&mut indptr, &mut indices, &mut values)?;
    }
    Tensor::csr(shape, indptr, indices, values)
}

/// Sorts the columns of each row and sums the values of equal ones, in the order that they have.
fn order_rows<T: Entry>(
    indptr: &mut [usize],
    indices: &mut Vec<u32>,
    values: &mut Vec<T>,
) -> Result<()> {
    let (mut start, mut end, mut entries) = (0, 0, Vec::new());
    for (row, row_end) in indptr[1..].iter_mut().enumerate() {
        entries.clear();
        entries.extend((start..*row_end).map(|k| (indices[k], values[k])));
        entries.sort_by_key(|entry| entry.0);
        start = *row_end;
        let first = end;
        for &(column, value) in &entries {
            if end > first && indices[end - 1] == column {
                let sum = values[end - 1].plus(value);
                values[end - 1] = sum.ok_or_else(|| too_large(row, column))?;
                continue;
            }
            (indices[end], values[end]) = (column, value);
            end += 1;
        }
        *row_end = end;
    }
    indices.truncate(end);
    values.truncate(end);
    Ok(())
}

fn too_large(row: usize, column: u32) -> Error {
    damaged(format!("the sum of the entries at ({row}, {column}) is too large for i64"))
}

/// A value that is added to others at the same place.
trait Entry: Element {
    /// The sum, unless it overflows.
    fn plus(self, other: Self) -> Option<Self>;
}

impl Entry for f32 {
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other)
    }
}

impl Entry for f64 {
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other)
    }
}

impl Entry for i64 {
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
}

/// The arrays of a csr tensor, named and ordered as scipy does.
#[track_caller]
pub(super) fn members(tensor: &Tensor) -> Result<Vec<(String, Array<'_>)>> {
    let View::Csr(view) = tensor.view() else {
        let message = format!("a scipy matrix is csr, got {}", tensor.ty());
        return Err(Error::new(ErrorKind::Stype, message).operator("save_csr"));
    };
    let (indptr, indices) = view.pattern.parts();
    let shape: Vec<i64> = view.shape.iter().map(|&n| n as i64).collect();
    let shape = Array::new("i8", [2].into(), bytes_of(shape.into()));
    let format = Array::new("S3", [].into(), b"csr".into());
    let (stored, pointers) = ([indices.len()].into(), [indptr.len()].into());
    let from_zero = indptr.iter().map(|p| p - indptr[0]);
    let (indices, indptr) = if stored_in_32_bits(indices.len(), view.shape[1]) {
        let ends: Vec<i32> = from_zero.map(|p| p as i32).collect();
        (
            Array::new("i4", stored, bytes_of(indices.into())),
            Array::new("i4", pointers, owned(&ends)),
        )
    } else {
        let ids: Vec<i64> = indices.iter().map(|&id| i64::from(id)).collect();
        let ends: Vec<i64> = from_zero.map(|p| p as i64).collect();
        (Array::new("i8", stored, owned(&ids)), Array::new("i8", pointers, owned(&ends)))
    };
    let data = Array::values([view.values.len()].into(), view.values);
    let members = [
        ("indices", indices),
        ("indptr", indptr),
        ("format", format),
        ("shape", shape),
        ("data", data),
    ];
    Ok(members.into_iter().map(|(name, array)| (name.to_owned(), array)).collect())
}

/// Whether all ids and pointers fit `int32`, as scipy then wants them.
fn stored_in_32_bits(entries: usize, cols: usize) -> bool {
    entries.max(cols) <= i32::MAX as usize
}

fn owned<T: LittleEndian>(numbers: &[T]) -> Cow<'static, [u8]> {
    Cow::Owned(bytes_of(numbers.into()).into_owned())
}
