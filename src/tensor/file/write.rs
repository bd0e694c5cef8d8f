//! The bytes of a file, from borrowed tensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::Path;

use super::header::{Dtype, Header, METADATA, Member};
use super::index::{Entry, Index, Sections};
use super::little_endian::bytes_of;
use super::raw::{Numbers, Raw};
use super::{atomic, refuse};
use crate::error::Result;
use crate::tensor::{Shape, Slice, View};

/// What a file shall hold, borrowed: parameters are written while they are locked, not copied.
#[derive(Debug, Default)]
pub(crate) struct Contents<'a> {
    pub tensors: Vec<(&'a str, View<'a>)>,
    /// Members that are no tensors of the index: they belong to a section.
    pub raw: Vec<Raw<'a>>,
    pub notes: BTreeMap<String, String>,
    pub sections: Sections,
}

impl Contents<'_> {
    /// Writes the file; it is complete or not there.
    #[track_caller]
    pub fn save(self, path: &Path) -> Result<()> {
        let laid_out = self.lay_out()?;
        atomic::write(path, |file| laid_out.write(file))
    }

    /// The bytes of the file.
    #[track_caller]
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        let LaidOut { header: mut bytes, data } = self.lay_out()?;
        bytes.reserve_exact(data.iter().map(|part| part.len()).sum());
        data.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(bytes)
    }
}

impl<'a> Contents<'a> {
    #[track_caller]
    fn lay_out(self) -> Result<LaidOut<'a>> {
        let entry = |(name, view): &(&str, View<'_>)| Entry {
            name: (*name).to_owned(),
            stype: view.stype(),
            shape: Shape::from(view.shape()),
        };
        let entries = self.tensors.iter().map(entry).collect();
        let mut parts: Vec<Part<'a>> =
            self.tensors.into_iter().flat_map(|(name, view)| parts_of(name, view)).collect();
        parts.extend(self.raw.into_iter().map(raw));
        check_names(&parts)?;
        // Wide elements first: then all are aligned, as maps of the file need them.
        parts.sort_by_key(|part| std::cmp::Reverse(part.dtype.size()));
        let metadata = Index::new(entries, self.notes, self.sections).write()?;
        let mut header = Header { members: Vec::with_capacity(parts.len()), metadata };
        let mut data = Vec::with_capacity(parts.len());
        let mut end = 0;
        for Part { name, dtype, shape, bytes } in parts {
            let range = end..end + bytes.len();
            end = range.end;
            header.members.push(Member { name, dtype, shape, range });
            data.push(bytes);
        }
        Ok(LaidOut { header: header.to_bytes()?, data })
    }
}

/// A file in pieces.
struct LaidOut<'a> {
    header: Vec<u8>,
    data: Vec<Cow<'a, [u8]>>,
}

impl LaidOut<'_> {
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.header)?;
        self.data.iter().try_for_each(|bytes| to.write_all(bytes))
    }
}

/// A slice with a name and a shape.
struct Part<'a> {
    name: String,
    dtype: Dtype,
    shape: Shape,
    bytes: Cow<'a, [u8]>,
}

#[track_caller]
fn check_names(parts: &[Part<'_>]) -> Result<()> {
    let mut names = HashSet::with_capacity(parts.len());
    match parts.iter().find(|part| part.name == METADATA || !names.insert(&part.name)) {
        None => Ok(()),
        Some(part) if part.name == METADATA => {
            Err(refuse(format!("the name {METADATA:?} is the format's own; rename the tensor")))
        }
        Some(part) => {
            Err(refuse(format!("two tensors would be named {:?}; rename one", part.name)))
        }
    }
}

fn parts_of<'a>(name: &str, view: View<'a>) -> Vec<Part<'a>> {
    let named = |suffix: &str| format!("{name}.{suffix}");
    match view {
        View::Dense(v) => vec![values(name.to_owned(), v.values, v.shape.into())],
        View::Csr(v) => {
            let (indptr, indices) = v.pattern.parts();
            let count = Shape::from([indices.len()]);
            vec![
                values(named("data"), v.values, count),
                ids(named("indices"), Dtype::U32, indices.len(), bytes_of(indices.into())),
                ids(named("indptr"), Dtype::I64, indptr.len(), bytes_of(from_zero(indptr))),
            ]
        }
        View::RowSparse(v) => {
            let stored = [v.rows.len()].into_iter().chain(v.shape[1..].iter().copied());
            vec![
                ids(named("rows"), Dtype::U32, v.rows.len(), bytes_of(v.rows[..].into())),
                values(named("values"), v.values, stored.collect()),
            ]
        }
    }
}

fn raw(raw: Raw<'_>) -> Part<'_> {
    match raw.numbers {
        Numbers::Values(slice) => values(raw.name, slice, raw.shape),
        Numbers::Own(own) => {
            let Part { name, dtype, shape, bytes } = values(raw.name, own.as_slice(), raw.shape);
            Part { name, dtype, shape, bytes: Cow::Owned(bytes.into_owned()) }
        }
        Numbers::Ids(slice) => ids(raw.name, Dtype::U32, slice.len(), bytes_of(slice.into())),
    }
}

/// Row pointers; those of a window start anywhere, those of a file at 0.
fn from_zero(indptr: &[usize]) -> Cow<'_, [usize]> {
    match indptr.first() {
        Some(&first) if first != 0 => indptr.iter().map(|p| p - first).collect(),
        _ => indptr.into(),
    }
}

fn ids(name: String, dtype: Dtype, len: usize, bytes: Cow<'_, [u8]>) -> Part<'_> {
    Part { name, dtype, shape: [len].into(), bytes }
}

fn values(name: String, values: Slice<'_>, shape: Shape) -> Part<'_> {
    let (dtype, bytes) = match values {
        Slice::F32(v) => (Dtype::F32, bytes_of(v.into())),
        Slice::F64(v) => (Dtype::F64, bytes_of(v.into())),
        Slice::I64(v) => (Dtype::I64, bytes_of(v.into())),
    };
    Part { name, dtype, shape, bytes }
}
