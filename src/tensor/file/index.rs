//! The crate's own entry of the header: versions, storage types, notes and sections, as JSON.
//!
//! One entry holds all of it: a map of several would be in no fixed order.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{damaged, refuse};
use crate::error::Result;
use crate::tensor::{Shape, Stype};

const KEY: &str = "sparsetape";
const VERSION: u64 = 2;

/// The section of a checkpoint: its tensors are rows as a training run has them.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The key of version 1, which had parameters and notes only.
const FIRST_KEY: &str = "sparsetape.params";

/// What a file holds beside the data.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    version: u64,
    #[serde(alias = "params")]
    pub tensors: Vec<Entry>,
    pub notes: BTreeMap<String, String>,
    #[serde(default)]
    pub sections: Sections,
}

/// A tensor, however many members of the file store it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub name: String,
    pub stype: Stype,
    pub shape: Shape,
}

/// Named JSON values of the crate's own: a graph, an optimizer's state.
///
/// They are kept as text: unknown ones survive loading and saving, and none takes more memory than
/// its bytes in the file before someone asks for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sections(BTreeMap<String, Box<RawValue>>);

impl Sections {
    /// Replaces the section of this name.
    pub fn set(&mut self, name: &str, content: &impl Serialize) -> Result<()> {
        let text = serde_json::value::to_raw_value(content)
            .map_err(|e| refuse(format!("cannot write the section {name:?}")).caused_by(e))?;
        self.0.insert(name.to_owned(), text);
        Ok(())
    }

    /// Whether there is a section of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Leaves out the section of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The section of this name, if there is one.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(text.get())
            .map(Some)
            .map_err(|e| damaged(format!("its section {name:?} is damaged")).caused_by(e))
    }
}

impl Index {
    pub fn new(tensors: Vec<Entry>, notes: BTreeMap<String, String>, sections: Sections) -> Index {
        Index { version: VERSION, tensors, notes, sections }
    }

    /// The index in the header's map of strings. Without one the file is another tool's: its strings
    /// are the notes.
    pub fn read(mut metadata: BTreeMap<String, String>) -> Result<Index> {
        let text = metadata.remove(KEY).or_else(|| metadata.remove(FIRST_KEY));
        let Some(text) = text else {
            return Ok(Index::new(Vec::new(), metadata, Sections::default()));
        };
        let fault = |e| damaged("its index is damaged").caused_by(e);
        // The version comes first: the rest of a later one may be of any form.
        let Version { version } = serde_json::from_str(&text).map_err(fault)?;
        if version > VERSION {
            let why = format!("version {version}; this build reads versions up to {VERSION}");
            return Err(damaged(why));
        }
        serde_json::from_str(&text).map_err(fault)
    }

    /// The header's map of strings.
    pub fn write(&self) -> Result<BTreeMap<String, String>> {
        let text = serde_json::to_string(self)
            .map_err(|e| refuse("cannot write the index").caused_by(e))?;
        Ok(BTreeMap::from([(KEY.to_owned(), text)]))
    }
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn sections_come_back_and_unknown_fields_are_ignored() {
        let mut sections = Sections::default();
        sections.set("graph", &json!({"nodes": [1, 2]})).unwrap();
        let metadata = Index::new(Vec::new(), BTreeMap::new(), sections).write().unwrap();
        let text = metadata[KEY].replacen('{', "{\"later\":[{}],", 1);
        let read = Index::read(BTreeMap::from([(KEY.to_owned(), text)])).unwrap();
        let graph: Value = read.sections.get("graph").unwrap().unwrap();
        assert_eq!(graph["nodes"][1], 2);
        assert_eq!(read.sections.get::<Value>("optimizer").unwrap(), None);
        let error = read.sections.get::<Vec<u8>>("graph").unwrap_err();
        assert!(error.to_string().contains("section \"graph\" is damaged"), "{error}");
    }
}
