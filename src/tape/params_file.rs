//! Parameters in a file.
//!
//! A safetensors file: a dense parameter is the tensor of its name; a row-sparse one is the tensors
//! `name.rows` (u32) and `name.values`. The only entry of the file's string map, `sparsetape.params`,
//! holds a version, names, storage types, shapes and the caller's notes as JSON: one entry, because
//! the order of several is not fixed, and the same parameters shall give the same file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, View as Bytes};
use serde::{Deserialize, Serialize};

use super::parameter::Parameter;
use super::params::Params;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Element, Shape, Slice, Stype, Tensor, View};

const KEY: &str = "sparsetape.params";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Index {
    version: u32,
    params: Vec<Entry>,
    notes: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    stype: Stype,
    shape: Shape,
}

impl Params {
    /// Writes all parameters to one file that any safetensors reader can open, with the caller's notes
    /// beside them. The file is complete or not there: it is written under another
    /// name, synced, and renamed.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use sparsetape::{Parameter, Params, Tensor};
    /// let path = std::env::temp_dir().join("sparsetape-doc-params.safetensors");
    /// let w = Parameter::new("w", Tensor::row_sparse([9, 1], vec![4], vec![2.5f32])?)?;
    /// Params::new([&w])?.save(&path, &BTreeMap::from([("classes".into(), "2".into())]))?;
    ///
    /// let (params, notes) = Params::load(&path)?;
    /// assert_eq!(notes["classes"], "2");
    /// assert_eq!(params.get("w").unwrap().snapshot()?.rows(), Some(&[4][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Io`] naming the path, [`ErrorKind::Busy`] while a parameter is updated,
    /// [`ErrorKind::State`] if a parameter is named as a row-sparse one's `.rows` or `.values`.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>, notes: &BTreeMap<String, String>) -> Result<()> {
        let path = path.as_ref();
        let entry = |p: &Parameter| Entry {
            name: p.name().to_owned(),
            stype: p.stype(),
            shape: p.shape().clone(),
        };
        let params = self.iter().map(entry).collect();
        let index = Index { version: VERSION, params, notes: notes.clone() };
        let index = serde_json::to_string(&index)
            .map_err(|e| Error::new(ErrorKind::Io, "cannot write the index").caused_by(e))?;
        let metadata = HashMap::from([(KEY.to_owned(), index)]);
        let mut locked = Vec::new();
        for parameter in self {
            locked.push(parameter.read()?);
        }
        let mut members: Vec<(String, Member<'_>)> = Vec::new();
        for (parameter, stored) in self.iter().zip(&locked) {
            members.extend(members_of(parameter.name(), stored.view(parameter.shape())));
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| &name[..]).collect();
        names.sort_unstable();
        if names.contains(&"__metadata__") {
            let message = "the name \"__metadata__\" is the format's own; rename the parameter";
            return Err(Error::new(ErrorKind::State, message).operator("save"));
        }
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("two tensors would be named {:?}; rename a parameter", pair[0]);
            return Err(Error::new(ErrorKind::State, message).operator("save"));
        }
        write_atomically(path, |unfinished| {
            safetensors::serialize_to_file(members, Some(metadata), unfinished)
        })
    }

    /// The parameters of a file that [`Params::save`] wrote, and the notes beside them.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read, [`ErrorKind::Parse`] if it is damaged, not of
    /// this format, or of a later version.
    #[track_caller]
    pub fn load(path: impl AsRef<Path>) -> Result<(Params, BTreeMap<String, String>)> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|e| {
            let message = format!("cannot read {}", path.display());
            Error::new(ErrorKind::Io, message).nowhere().caused_by(e)
        })?;
        let fault = |e: SafeTensorError| damaged(path, "not a safetensors file").caused_by(e);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(fault)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(fault)?;
        let entries = header.metadata().as_ref();
        let index = entries
            .and_then(|map| map.get(KEY))
            .ok_or_else(|| damaged(path, "no parameters in it"))?;
        let index: Index = serde_json::from_str(index)
            .map_err(|e| damaged(path, "its index is damaged").caused_by(e))?;
        if index.version != VERSION {
            let message = format!("version {}, this build reads {VERSION}", index.version);
            return Err(damaged(path, &message));
        }
        let mut params = Params::default();
        for entry in index.params {
            let name = entry.name.clone();
            let fault =
                |e: Error| damaged(path, &format!("parameter {name:?}")).caused_by(e.nowhere());
            let value = read_member(&tensors, entry).map_err(fault)?;
            let parameter = Parameter::new(&name, value).map_err(fault)?;
            params.push(&parameter).map_err(fault)?;
        }
        Ok((params, index.notes))
    }
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Parse, format!("{}: {why}", path.display())).nowhere()
}

/// Writes a file under another name, syncs it and renames it: readers see all of it or nothing.
fn write_atomically(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), SafeTensorError>,
) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = Path::new(&unfinished);
    let result = write_and_rename(unfinished, path, write);
    if result.is_err() {
        // Nothing to clean up if it was never made; the first error is the one to tell.
        let _ = fs::remove_file(unfinished);
    }
    result
}

fn write_and_rename(
    unfinished: &Path,
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), SafeTensorError>,
) -> Result<()> {
    let fault =
        |why: &str| Error::new(ErrorKind::Io, format!("{}: {why}", path.display())).nowhere();
    // A file made here has the usual mode; the writer's own would be private to the user.
    let mode = File::create(unfinished)
        .and_then(|file| file.metadata())
        .map_err(|e| fault("cannot create it").caused_by(e))?
        .permissions();
    write(unfinished).map_err(|e| fault("cannot write it").caused_by(e))?;
    fs::set_permissions(unfinished, mode)
        .and_then(|()| File::open(unfinished)?.sync_all())
        .and_then(|()| fs::rename(unfinished, path))
        .map_err(|e| fault("cannot finish it").caused_by(e))
}

/// A slice with a shape, as safetensors writes it.
struct Member<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

impl Bytes for Member<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn member(values: Slice<'_>, shape: Vec<usize>) -> Member<'_> {
    let (dtype, bytes) = match values {
        Slice::F32(v) => (Dtype::F32, bytemuck::cast_slice(v)),
        Slice::F64(v) => (Dtype::F64, bytemuck::cast_slice(v)),
        Slice::I64(v) => (Dtype::I64, bytemuck::cast_slice(v)),
    };
    Member { dtype, shape, bytes }
}

fn members_of<'a>(name: &str, view: View<'a>) -> Vec<(String, Member<'a>)> {
    let View::RowSparse(v) = view else {
        return vec![(name.to_owned(), member(view.values(), view.shape().to_vec()))];
    };
    let rows = Member {
        dtype: Dtype::U32,
        shape: vec![v.rows.len()],
        bytes: bytemuck::cast_slice(v.rows),
    };
    let mut shape = v.shape.to_vec();
    shape[0] = v.rows.len();
    vec![(format!("{name}.rows"), rows), (format!("{name}.values"), member(v.values, shape))]
}

fn read_member(tensors: &SafeTensors<'_>, entry: Entry) -> Result<Tensor> {
    let get = |name: &str| {
        tensors.tensor(name).map_err(|e| {
            Error::new(ErrorKind::Parse, format!("there is no tensor {name:?}")).caused_by(e)
        })
    };
    let Entry { name, stype, shape } = entry;
    if stype != Stype::RowSparse {
        let values = get(&name)?;
        return match dtype_of(&values)? {
            DType::F32 => Tensor::dense(shape, elements::<f32>(values.data())),
            DType::F64 => Tensor::dense(shape, elements::<f64>(values.data())),
            DType::I64 => Tensor::dense(shape, elements::<i64>(values.data())),
        };
    }
    let (rows, values) = (get(&format!("{name}.rows"))?, get(&format!("{name}.values"))?);
    if rows.dtype() != Dtype::U32 {
        return Err(Error::new(ErrorKind::Parse, format!("row ids are {:?}", rows.dtype())));
    }
    let rows: Vec<u32> = elements(rows.data());
    match dtype_of(&values)? {
        DType::F32 => Tensor::row_sparse(shape, rows, elements::<f32>(values.data())),
        DType::F64 => Tensor::row_sparse(shape, rows, elements::<f64>(values.data())),
        DType::I64 => Tensor::row_sparse(shape, rows, elements::<i64>(values.data())),
    }
}

fn dtype_of(values: &TensorView<'_>) -> Result<DType> {
    match values.dtype() {
        Dtype::F32 => Ok(f32::DTYPE),
        Dtype::F64 => Ok(f64::DTYPE),
        Dtype::I64 => Ok(i64::DTYPE),
        other => Err(Error::new(ErrorKind::Parse, format!("{other:?} is not an element type"))),
    }
}

/// A copy: the bytes of a file are not aligned.
fn elements<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}
