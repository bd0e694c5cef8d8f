//! What training found out about the ids of a data set.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::path_error;
use crate::error::{Error, ErrorKind, Result};

/// Whether the ids in a file count from 0 or from 1. Ids in memory always count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdBase {
    /// The first column is 0.
    Zero,
    /// The first column is 1, as most libsvm files have it.
    One,
}

impl IdBase {
    /// The id of the first column.
    pub fn first_id(self) -> u32 {
        match self {
            IdBase::Zero => 0,
            IdBase::One => 1,
        }
    }
}

/// Id base and width of a data set: found when training data is read, saved with the model, applied
/// to every later file, so that a column means the same feature everywhere.
///
/// ```
/// use sparsetape::data::{IdBase, Libsvm, Schema};
/// let train = Libsvm::new().read_from("1 1:0.5 4:1\n".as_bytes())?;
/// assert_eq!(train.schema, Schema::new(IdBase::One, 4)?);
///
/// // Read on its own, this file would have two columns.
/// let test = Libsvm::new().schema(train.schema).read_from("0 2:3\n".as_bytes())?;
/// assert_eq!(test.features.shape()[..], [1, 4]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Schema {
    base: IdBase,
    features: usize,
}

const VERSION: u32 = 1;

/// The saved form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    base: IdBase,
    features: u64,
}

impl Schema {
    /// A schema of `features` columns whose ids in files count from `base`.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] for more than 2^32 features.
    #[track_caller]
    pub fn new(base: IdBase, features: usize) -> Result<Self> {
        if features as u64 > 1 << 32 {
            let message =
                format!("{features} features, but ids are 32-bit: at most 4294967296 (2^32)");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        Ok(Schema { base, features })
    }

    /// What the ids in files count from.
    pub fn base(&self) -> IdBase {
        self.base
    }

    /// Number of columns.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Writes the schema to a file, as JSON with a version.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], naming the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let named = path_error(path.as_ref());
        let mut file = BufWriter::new(File::create(path.as_ref()).map_err(&named)?);
        serde_json::to_writer_pretty(&mut file, self).map_err(|e| named(e.into()))?;
        writeln!(file).and_then(|()| file.flush()).map_err(&named)
    }

    /// Reads a schema that [`save`](Schema::save) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read, [`ErrorKind::Parse`] if it is no schema or of
    /// another version; both name the path.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(path_error(path))?;
        serde_json::from_reader(BufReader::new(file)).map_err(|e| match e.classify() {
            serde_json::error::Category::Io => path_error(path)(e.into()),
            _ => Error::new(ErrorKind::Parse, format!("{}: not a schema: {e}", path.display()))
                .nowhere(),
        })
    }
}

impl From<Schema> for Saved {
    fn from(schema: Schema) -> Self {
        Saved { version: VERSION, base: schema.base, features: schema.features as u64 }
    }
}

impl TryFrom<Saved> for Schema {
    type Error = String;

    fn try_from(saved: Saved) -> Result<Self, String> {
        if saved.version != VERSION {
            return Err(format!("version {}, not {VERSION}", saved.version));
        }
        let features = usize::try_from(saved.features).map_err(|e| e.to_string())?;
        Schema::new(saved.base, features).map_err(|e| e.message().to_string())
    }
}
