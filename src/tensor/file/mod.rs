//! Named tensors in one safetensors file.
//!
//! `header` knows the format, `index` the crate's own entry in it, `read` and `write` turn tensors
//! into slices with names and back.

pub(crate) mod atomic;
mod header;
mod index;
pub(crate) mod little_endian;
mod raw;
mod read;
mod source;

mod write;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use header::Header;
use index::Index;
use source::Stream;

pub(crate) use index::{CHECKPOINT, Sections};
pub(crate) use raw::{Members, Raw};
pub(crate) use write::Contents;

use super::Tensor;
use crate::error::{Error, ErrorKind, Result};

/// Named tensors of any storage type, in order, with notes: what one file holds.
///
/// ```
/// use sparsetape::{Archive, Tensor};
/// let path = std::env::temp_dir().join("sparsetape-doc-archive.safetensors");
/// let x = Tensor::csr([1, 1 << 32], vec![0, 1], vec![70_000], vec![2.5f32])?;
/// let mut archive = Archive::new([("x", x), ("classes", Tensor::scalar(2i64))])?;
/// archive.notes.insert("trained".into(), "on Monday".into());
/// archive.save(&path)?;
///
/// assert_eq!(Archive::read_notes(&path)?["trained"], "on Monday");
/// let archive = Archive::load(&path)?;
/// assert_eq!(archive.get("x").and_then(|x| x.indices()), Some(&[70_000][..]));
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # The file
///
/// It is a [safetensors](https://huggingface.co/docs/safetensors) file, which other libraries read:
///
/// | storage type | tensors in the file |
/// |---|---|
/// | default | `name` |
/// | csr | `name.data`, `name.indices` (U32), `name.indptr` (I64) |
/// | row-sparse | `name.rows` (U32), `name.values` (the stored rows) |
///
/// Storage types, shapes, notes and the crate's own sections are JSON in one entry, `sparsetape`, of
/// the file's map of strings. The same content gives the same bytes. Data starts at a multiple of 64
/// bytes, and each tensor at a multiple of its element's size, so that a mapped file is used in place.
///
/// Files are written under another name, synced and renamed: they are complete or not there.
///
/// # Files of other tools
///
/// A tensor that the entry does not list, and every tensor of a file without the entry, is dense.
/// Integers of all widths and booleans become `i64`; half precision and other types are errors that
/// name the tensor: convert it where it comes from. A csr triple or a row-sparse pair is recognized
/// by the entry only. Strings of a file without the entry are its notes.
///
/// # Compatibility
///
/// The entry has a version, now 2; it grows when an earlier build would misread the file.
///
/// - Every build reads all earlier versions.
/// - A file of a later version is refused, with both numbers, notes too.
/// - Fields of the entry that a build does not know are ignored. Sections that it does not know
///   are kept, and saved again.
/// - What a section holds is checked when it is asked for: an operator that is not in the registry
///   is an error that names it, and leaves tensors and notes readable.
///
/// # Errors
///
/// No file is trusted. Whatever does not fit is an [`ErrorKind::Parse`] that names file, tensor,
/// position and bound. Lengths are checked against the file before memory is taken.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    tensors: Vec<(String, Tensor)>,
    places: HashMap<String, usize>,
    /// Whatever belongs beside the tensors: classes, a model's version, a schema.
    pub notes: BTreeMap<String, String>,
    pub(crate) sections: Sections,
}

impl Archive {
    /// Named tensors in this order, without notes.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if two have the same name.
    #[track_caller]
    pub fn new(tensors: impl IntoIterator<Item = (impl Into<String>, Tensor)>) -> Result<Archive> {
        let mut archive = Archive::default();
        for (name, tensor) in tensors {
            archive.push(name, tensor)?;
        }
        Ok(archive)
    }

    /// Adds a tensor.
    ///
    /// ```
    /// use sparsetape::{Archive, Tensor};
    /// let mut archive = Archive::default();
    /// archive.push("x", Tensor::scalar(1.0f32))?;
    /// assert!(archive.push("x", Tensor::scalar(2.0f32)).is_err());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] if one has this name.
    #[track_caller]
    pub fn push(&mut self, name: impl Into<String>, tensor: Tensor) -> Result<()> {
        let name = name.into();
        if self.places.contains_key(&name) {
            let message = format!("two tensors are named {name:?}");
            return Err(Error::new(ErrorKind::State, message).operator("Archive"));
        }
        self.places.insert(name.clone(), self.tensors.len());
        self.tensors.push((name, tensor));
        Ok(())
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.places.get(name).map(|&i| &self.tensors[i].1)
    }

    /// Names and tensors in order.
    ///
    /// ```
    /// use sparsetape::{Archive, Tensor};
    /// let archive = Archive::new([("x", Tensor::scalar(1.0f32)), ("a", Tensor::scalar(2i64))])?;
    /// assert_eq!(archive.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["x", "a"]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (&name[..], tensor))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] naming the path, [`ErrorKind::State`] if a tensor's name is that of a part of
    /// a sparse one (`x.rows` beside a row-sparse `x`), or the format's own `__metadata__`.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.contents().save(path.as_ref())
    }

    /// The bytes that [`Archive::save`] writes.
    ///
    /// ```
    /// use sparsetape::{Archive, Tensor};
    /// let archive = Archive::new([("x", Tensor::scalar(1.5f64))])?;
    /// let twin = Archive::from_bytes(&archive.to_bytes()?)?;
    /// assert_eq!(twin.get("x"), archive.get("x"));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Archive::save`].
    #[track_caller]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.contents().into_bytes()
    }

    fn contents(&self) -> Contents<'_> {
        Contents {
            tensors: self.iter().map(|(name, tensor)| (name, tensor.view())).collect(),
            notes: self.notes.clone(),
            sections: self.sections.clone(),
            ..Contents::default()
        }
    }

    /// Reads a file. Each tensor has memory of its own.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read, [`ErrorKind::Parse`] if it is damaged, not of
    /// this format, or of a later version.
    pub fn load(path: impl AsRef<Path>) -> Result<Archive> {
        let path = path.as_ref();
        read::archive(&mut Stream(open(path)?)).map_err(within(path.display()))
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Parse`] if it is damaged, not of this format, or of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Archive> {
        read::archive(&mut Stream(Cursor::new(bytes))).map_err(within("<bytes>"))
    }

    /// Maps a file into memory. Tensors are windows into it: nothing is copied, and pages are read
    /// when they are used (row pointers and ids at once, to be checked). Processes that map the same
    /// file share its memory.
    ///
    /// Tensors whose elements must be converted, or are misaligned in a file of another tool, are
    /// copied. A [`Parameter`](crate::Parameter) made from a window copies it, to own what it updates.
    ///
    /// ```
    /// use sparsetape::{Archive, Tensor};
    /// let path = std::env::temp_dir().join("sparsetape-doc-map.safetensors");
    /// Archive::new([("w", Tensor::full([1000, 16], 0.5f32)?)])?.save(&path)?;
    /// // SAFETY: files are replaced by renaming, as `save` does, never changed.
    /// let archive = unsafe { Archive::map(&path)? };
    /// assert_eq!(archive.get("w").unwrap().values::<f32>()?[15_999], 0.5);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Safety
    /// Nobody changes or shortens the file while a tensor of it, or anything that shares memory with
    /// one, lives. Replacing it by renaming is fine.
    ///
    /// # Errors
    /// As [`Archive::load`].
    #[cfg(feature = "mmap")]
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Archive> {
        let path = path.as_ref();
        let file = open(path)?;
        // SAFETY: the caller's promise is passed on.
        let mapped = unsafe { source::Mapped::new(&file) };
        mapped.and_then(|mut source| read::archive(&mut source)).map_err(within(path.display()))
    }

    /// The notes of a file, of which only the header is read.
    ///
    /// # Errors
    /// As [`Archive::load`], for the header.
    pub fn read_notes(path: impl AsRef<Path>) -> Result<BTreeMap<String, String>> {
        let path = path.as_ref();
        let header = Header::read(&mut Stream(open(path)?));
        let index = header.and_then(|(header, _)| Index::read(header.metadata));
        index.map(|index| index.notes).map_err(within(path.display()))
    }
}

/// Moves the tensors out, with their names.
impl IntoIterator for Archive {
    type Item = (String, Tensor);
    type IntoIter = std::vec::IntoIter<(String, Tensor)>;

    fn into_iter(self) -> Self::IntoIter {
        self.tensors.into_iter()
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| {
        let message = format!("cannot read {}", path.display());
        Error::new(ErrorKind::Io, message).nowhere().caused_by(e)
    })
}

/// What is wrong with a file.
pub(crate) fn damaged(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Parse, why).nowhere()
}

/// What cannot be stored in a file.
#[track_caller]
fn refuse(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::State, why).operator("save")
}

/// Names where in a file an error is. Whatever a constructor says about the content, the file is what
/// is wrong.
pub(crate) fn within(place: impl Display) -> impl FnOnce(Error) -> Error {
    move |e| {
        let kind = if e.kind() == ErrorKind::Io { ErrorKind::Io } else { ErrorKind::Parse };
        Error::new(kind, place.to_string()).nowhere().caused_by(e.nowhere())
    }
}
