//! Parameters in a file.

use std::collections::BTreeMap;
use std::path::Path;

use super::draw::{Draw, Drawn};
use super::{Parameter, Params, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::file::{CHECKPOINT, Contents, Sections, within};
use crate::tensor::{Archive, Stype, Tensor};

/// The section of the file that says what absent rows are, by parameter.
const SECTION: &str = "drawn";

impl Params {
    /// Writes all parameters to one file that any safetensors reader can open, with the caller's notes
    /// beside them. The file is an [`Archive`], which says what is in it; it is complete or not there.
    ///
    /// Of a [drawn](Parameter::drawn) parameter it holds the stored rows, with what the others are drawn from: what
    /// is loaded is the same table.
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
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) naming the path,
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while a parameter is updated,
    /// [`ErrorKind::State`](crate::ErrorKind::State) if a parameter is named as a row-sparse one's
    /// `.rows` or `.values`.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>, notes: &BTreeMap<String, String>) -> Result<()> {
        self.save_with(path.as_ref(), Contents { notes: notes.clone(), ..Contents::default() })
    }

    /// Writes all parameters, locked meanwhile, and `contents` after them.
    #[track_caller]
    pub(crate) fn save_with(&self, path: &Path, mut contents: Contents<'_>) -> Result<()> {
        let mut locked = Vec::with_capacity(self.len());
        let mut drawn = BTreeMap::new();
        for parameter in self {
            let table = parameter.read_settled()?;
            drawn.extend(parameter.stored_draw(&table));
            locked.push(table);
        }
        put(&drawn, &mut contents.sections)?;
        let mut tensors = Vec::with_capacity(self.len() + contents.tensors.len());
        for (parameter, stored) in self.iter().zip(&locked) {
            tensors.push((parameter.name(), stored.view(parameter.shape())));
        }
        tensors.extend(contents.tensors);
        Contents { tensors, ..contents }.save(path)
    }

    /// The parameters of a file, and the notes beside them: all tensors of a file that
    /// [`Params::save`] wrote, or of another tool's file of floats.
    ///
    /// # Errors
    /// As [`Archive::load`]; [`ErrorKind::Parse`](crate::ErrorKind::Parse) if a tensor cannot be a
    /// parameter, too.
    pub fn load(path: impl AsRef<Path>) -> Result<(Params, BTreeMap<String, String>)> {
        let path = path.as_ref();
        let mut archive = Archive::load(path)?;
        let notes = std::mem::take(&mut archive.notes);
        let params = Params::from_archive(archive).map_err(within(path.display()))?;
        Ok((params, notes))
    }

    /// A parameter for each tensor, which it takes over.
    ///
    /// ```
    /// use sparsetape::{Archive, Params, Tensor};
    /// let archive = Archive::new([("w", Tensor::full([4], 0.5f32)?)])?;
    /// let params = Params::from_archive(archive)?;
    /// assert_eq!(params.to_archive()?.get("w").unwrap().values::<f32>()?, [0.5; 4]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Parameter::new`]; [`ErrorKind::State`](crate::ErrorKind::State) for the tensors of a
    /// [checkpoint](crate::train::Checkpoint), whose rows may be behind.
    #[track_caller]
    pub fn from_archive(archive: Archive) -> Result<Params> {
        if archive.sections.has(CHECKPOINT) {
            let message = "the file is a checkpoint of a training run: resume it with \
                           `train::Checkpoint::resume`, then save the parameters";
            return Err(Error::new(ErrorKind::State, message));
        }
        let mut drawn = drawn_of(&archive)?;
        let mut params = Vec::with_capacity(archive.len());
        for (name, tensor) in archive {
            let drawn = drawn.remove(&name);
            params.push(Parameter::loaded(name, tensor, drawn)?);
        }
        Ok(Params(params))
    }

    /// Copies of the current values, by name.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while a parameter is updated.
    #[track_caller]
    pub fn to_archive(&self) -> Result<Archive> {
        let (mut archive, mut drawn) = (Archive::default(), BTreeMap::new());
        for parameter in self {
            let table = parameter.read_settled()?;
            drawn.extend(parameter.stored_draw(&table));
            archive.push(parameter.name(), table.whole(parameter.shape()))?;
        }
        put(&drawn, &mut archive.sections)?;
        Ok(archive)
    }
}

impl Parameter {
    /// A parameter of a file, whose absent rows may be drawn.
    #[track_caller]
    pub(crate) fn loaded(
        name: impl Into<String>,
        tensor: Tensor,
        drawn: Option<Drawn>,
    ) -> Result<Parameter> {
        let parameter = Parameter::new(name, tensor)?;
        parameter.exclusive()?.draw = drawn.map(Draw::from);
        Ok(parameter)
    }

    /// What absent rows are drawn from, of a settled table, with the parameter's name.
    fn stored_draw(&self, table: &Table) -> Option<(String, Drawn)> {
        let drawn = table.draw.as_ref()?.stored(table.lags().map(|lag| &lag.missed));
        Some((self.name().to_owned(), drawn))
    }
}

fn put(drawn: &BTreeMap<String, Drawn>, sections: &mut Sections) -> Result<()> {
    if drawn.is_empty() { Ok(()) } else { sections.set(SECTION, drawn) }
}

/// What the absent rows of a file's tensors are drawn from, by name.
pub(crate) fn drawn_of(archive: &Archive) -> Result<BTreeMap<String, Drawn>> {
    let drawn: BTreeMap<String, Drawn> = archive.sections.get(SECTION)?.unwrap_or_default();
    let row_sparse = |name: &str| {
        archive.get(name).is_some_and(|x| x.stype() == Stype::RowSparse && x.dtype().is_float())
    };
    match drawn.keys().find(|name| !row_sparse(name)) {
        None => Ok(drawn),
        Some(name) => {
            let message =
                format!("rows of {name:?} are drawn, which is no row-sparse tensor of floats");
            Err(Error::new(ErrorKind::Parse, message).nowhere())
        }
    }
}
