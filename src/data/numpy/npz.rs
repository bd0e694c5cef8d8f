//! Arrays by name, in a zip archive.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::array::{Array, ended, tensor, unread};
use super::header::Header;
use super::npy::dense;
use super::sparse;
use crate::data::{io_error, path_error};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Tensor;
use crate::tensor::file::{atomic, damaged, within};

/// What numpy appends to the name of an array.
const SUFFIX: &str = ".npy";

/// An open `.npz` file: dense arrays by name, as `numpy.savez` writes them, or one matrix, as
/// `scipy.sparse.save_npz` does.
///
/// Only what is asked for is read. Element types become those of [`read_npy`](super::read_npy).
///
/// ```
/// use sparsetape::data::{Dataset, Npz, NpzWriter, read_npy, write_npy};
/// use sparsetape::{DType, Tensor};
/// # let directory = std::env::temp_dir();
/// # let (x, y) = (directory.join("sparsetape-doc-X.npz"), directory.join("sparsetape-doc-y.npy"));
/// # let rows = [vec![(3, 1.0f32)], vec![(0, 2.0), (9, 0.5)]];
/// # NpzWriter::new().save_csr(&x, &Tensor::from_rows(10, &rows)?)?;
/// # write_npy(&y, &Tensor::dense([2], vec![0i64, 1])?)?;
/// // In Python: scipy.sparse.save_npz("X.npz", X); numpy.save("y.npy", y)
/// let features = Npz::open(&x)?.csr()?;
/// let labels = read_npy(&y)?.cast(DType::F32);
/// let data = Dataset::new(features, labels)?;
/// assert_eq!((data.rows(), data.schema.features()), (2, 10));
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// No file is trusted. Whatever does not fit is an [`ErrorKind::Parse`] that names file and array,
/// as `X.npz: array "indices": element 5 is -1, but there are 3 columns`. Memory is taken
/// as numbers are decompressed, never for what a header claims.
pub struct Npz<'a> {
    /// In errors.
    name: String,
    zip: ZipArchive<Box<dyn Source + 'a>>,
    /// Arrays and where they are in the archive.
    arrays: Vec<(String, usize)>,
}

trait Source: Read + Seek + Send {}
impl<R: Read + Seek + Send> Source for R {}

impl<'a> Npz<'a> {
    /// Opens a file and reads the list of its arrays.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read, [`ErrorKind::Parse`] if it is no zip archive.
    pub fn open(path: impl AsRef<Path>) -> Result<Npz<'static>> {
        let path = path.as_ref();
        let file = File::open(path).map_err(path_error(path))?;
        Npz::named(path.display().to_string(), BufReader::new(file))
    }

    /// Reads from memory, or anything else that seeks. Errors name it `<reader>`.
    ///
    /// # Errors
    /// As [`Npz::open`].
    pub fn from_reader(reader: impl Read + Seek + Send + 'a) -> Result<Npz<'a>> {
        Npz::named("<reader>".to_string(), reader)
    }

    fn named(name: String, reader: impl Read + Seek + Send + 'a) -> Result<Npz<'a>> {
        let source: Box<dyn Source + 'a> = Box::new(reader);
        let zip = ZipArchive::new(source).map_err(|e| within(&name)(unread(e.into())))?;
        let members = zip.file_names().enumerate();
        let arrays = members.filter_map(|(i, member)| {
            let member = member.ok()?;
            Some((member.strip_suffix(SUFFIX)?.to_owned(), i))
        });
        let arrays = arrays.collect();
        Ok(Npz { name, zip, arrays })
    }

    /// Names of the arrays, in the order of the file.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.arrays.iter().map(|(name, _)| &name[..])
    }

    /// Reads the array of this name as a dense tensor.
    ///
    /// ```
    /// use sparsetape::{Tensor, data::{Npz, NpzWriter}};
    /// use std::io::Cursor;
    /// let mut bytes = Cursor::new(Vec::new());
    /// NpzWriter::new().write(&mut bytes, [("w", &Tensor::full([3, 2], 0.5f32)?)])?;
    /// let mut file = Npz::from_reader(bytes)?;
    /// assert_eq!(file.names().collect::<Vec<_>>(), ["w"]);
    /// assert_eq!(file.get("w")?.shape()[..], [3, 2]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Value`] if there is none; [`ErrorKind::Parse`], naming file and array, if it is
    /// damaged or of another element type; [`ErrorKind::Io`] if the file cannot be read.
    #[track_caller]
    pub fn get(&mut self, name: &str) -> Result<Tensor> {
        if !self.has(name) {
            let message = format!("{} has no array {name:?}; {}", self.name, self.listed());
            return Err(Error::new(ErrorKind::Value, message));
        }
        self.read(name, tensor).map_err(within(&self.name))
    }

    /// Reads the matrix that `scipy.sparse.save_npz` wrote, as a csr tensor.
    ///
    /// A `csr_matrix` and a `csr_array` are read alike; `csc` and `coo` are converted exactly. Of
    /// other formats, save `x.tocsr()`. Columns are sorted, and entries at the same place summed in the
    /// order of the file: in scipy, too, they mean their sum. Explicit zeros stay stored. Ids may
    /// be of any integer type. Values of integer or boolean matrices are i64: [`Tensor::cast`] makes
    /// features of them.
    ///
    /// # Errors
    /// [`ErrorKind::Parse`], naming file and array, if there is no such matrix, it is damaged, of another
    /// format, not of two axes, or of more than 2^32 rows or columns; [`ErrorKind::Io`] if the file cannot
    /// be read.
    pub fn csr(&mut self) -> Result<Tensor> {
        sparse::read(self).map_err(within(&self.name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    /// What there is, for errors.
    pub(super) fn listed(&self) -> String {
        const SHOWN: usize = 10;
        const LONGEST: usize = 40;
        let short = |name: &str| format!("{:?}", name.chars().take(LONGEST).collect::<String>());
        let shown: Vec<String> = self.names().take(SHOWN).map(short).collect();
        let more = if self.arrays.len() > SHOWN { ", .." } else { "" };
        format!("its {} arrays are [{}{more}]", self.arrays.len(), shown.join(", "))
    }

    /// Reads an array to its end. Errors name it, but not the file.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut dyn Read, &Header) -> Result<T>,
    ) -> Result<T> {
        self.member(name, read).map_err(within(format!("array {name:?}")))
    }

    fn member<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut dyn Read, &Header) -> Result<T>,
    ) -> Result<T> {
        let Some(&(_, index)) = self.arrays.iter().find(|(own, _)| own == name) else {
            return Err(damaged(format!("there is none; {}", self.listed())));
        };
        let mut member = self.zip.by_index(index).map_err(|e| unread(e.into()))?;
        let header = Header::read(&mut member)?;
        let value = read(&mut member, &header)?;
        ended(&mut member)?;
        Ok(value)
    }
}

impl fmt::Debug for Npz<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Npz").field("name", &self.name).field("arrays", &self.arrays).finish()
    }
}

/// A writer of `.npz` files, which numpy and scipy load. The same content gives the same bytes.
///
/// ```
/// use sparsetape::data::{Npz, NpzWriter};
/// use sparsetape::Tensor;
/// let path = std::env::temp_dir().join("sparsetape-doc-writer.npz");
/// let x = Tensor::from_rows(10, &[vec![(3, 1.0f32)], vec![(0, 2.0), (9, 0.5)]])?;
/// NpzWriter::new().save_csr(&path, &x)?; // in Python: scipy.sparse.load_npz(path)
/// assert_eq!(Npz::open(&path)?.csr()?, x);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NpzWriter {
    method: CompressionMethod,
}

impl Default for NpzWriter {
    fn default() -> Self {
        NpzWriter { method: CompressionMethod::Deflated }
    }
}

impl NpzWriter {
    /// A writer that compresses, as `scipy.sparse.save_npz` does and `numpy.savez_compressed`.
    pub fn new() -> Self {
        NpzWriter::default()
    }

    /// Without compression, as `numpy.savez`: larger, but much faster to write and to read.
    pub fn stored(self) -> Self {
        NpzWriter { method: CompressionMethod::Stored }
    }

    /// Writes dense tensors with their names to a file, which is complete or not there.
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] if a tensor is sparse, [`ErrorKind::Shape`] if it has more than 64 axes,
    /// [`ErrorKind::State`] if two have the same name, [`ErrorKind::Io`] naming the path.
    #[track_caller]
    pub fn save<'t>(
        &self,
        path: impl AsRef<Path>,
        arrays: impl IntoIterator<Item = (impl Into<String>, &'t Tensor)>,
    ) -> Result<()> {
        let members = named(arrays)?;
        atomic::write(path.as_ref(), |file| self.write_members(file, &members))
    }

    /// Writes dense tensors with their names.
    ///
    /// # Errors
    /// As [`NpzWriter::save`].
    #[track_caller]
    pub fn write<'t>(
        &self,
        writer: impl Write + Seek,
        arrays: impl IntoIterator<Item = (impl Into<String>, &'t Tensor)>,
    ) -> Result<()> {
        let members = named(arrays)?;
        self.write_members(writer, &members).map_err(|e| io_error("<writer>", e))
    }

    /// Writes a csr tensor to a file that `scipy.sparse.load_npz` loads as a `csr_matrix`, of any
    /// version of scipy. Ids are `int32` where they fit, else `int64`. The file is complete or not there.
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] unless the tensor is csr, [`ErrorKind::Io`] naming the path.
    #[track_caller]
    pub fn save_csr(&self, path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
        let members = sparse::members(tensor)?;
        atomic::write(path.as_ref(), |file| self.write_members(file, &members))
    }

    /// Writes a csr tensor as [`save_csr`](NpzWriter::save_csr) does.
    ///
    /// # Errors
    /// As [`NpzWriter::save_csr`].
    #[track_caller]
    pub fn write_csr(&self, writer: impl Write + Seek, tensor: &Tensor) -> Result<()> {
        let members = sparse::members(tensor)?;
        self.write_members(writer, &members).map_err(|e| io_error("<writer>", e))
    }

    fn write_members(
        &self,
        to: impl Write + Seek,
        members: &[(String, Array<'_>)],
    ) -> io::Result<()> {
        let mut zip = ZipWriter::new(to);
        for (name, array) in members {
            // Headers and what compression may add stay far below the difference to 4 GiB.
            let large = array.bytes.len() > u32::MAX as usize / 2;
            let options = SimpleFileOptions::default()
                .compression_method(self.method)
                .last_modified_time(DateTime::default())
                .large_file(large);
            zip.start_file(format!("{name}{SUFFIX}"), options)?;
            array.write(&mut zip)?;
        }
        zip.finish()?.flush()
    }
}

#[track_caller]
fn named<'t>(
    arrays: impl IntoIterator<Item = (impl Into<String>, &'t Tensor)>,
) -> Result<Vec<(String, Array<'t>)>> {
    let (mut members, mut names) = (Vec::new(), HashSet::new());
    for (name, tensor) in arrays {
        let name = name.into();
        if !names.insert(name.clone()) {
            let message = format!("two arrays are named {name:?}");
            return Err(Error::new(ErrorKind::State, message).operator("NpzWriter"));
        }
        members.push((name, Array::dense(dense(tensor, "NpzWriter")?)));
    }
    Ok(members)
}
