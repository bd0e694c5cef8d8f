//! Graphs and their weights in one file.

use std::collections::BTreeMap;
use std::path::Path;

use rustc_hash::FxHashMap;

use super::{Bind, Body, Graph, Kind, Node};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Parameter, Params, PartialType, Registry, drawn_of};
use crate::tensor::file::{Contents, Sections, within};
use crate::tensor::{Archive, Tensor};

/// The section of the file that holds the graph.
const SECTION: &str = "graph";

/// Constants are tensors of the file under these names.
const CONSTANT: &str = "constant:";

/// A graph with its weights: what one file holds, and all that a prediction needs.
///
/// ```
/// use std::collections::BTreeMap;
/// use sparsetape::{Graph, Model, Parameter, Params, Stype, Tape, Tensor, variable};
/// let tape = Tape::symbolic();
/// let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(4)]));
/// let w = tape.symbol(variable("w"));
/// let graph = Graph::new(&[(x.dot(w) * 2.0).sigmoid()])?;
///
/// let path = std::env::temp_dir().join("sparsetape-doc-model.safetensors");
/// let params = Params::new([&Parameter::new("w", Tensor::full([4, 1], 0.5f32)?)?])?;
/// let notes = BTreeMap::from([("classes".to_owned(), "no,yes".to_owned())]);
/// graph.save(&path, &params, &notes)?;
///
/// let model = Model::load(&path)?;
/// assert_eq!(model.notes()["classes"], "no,yes");
/// let x = Tensor::csr([1, 4], vec![0, 1], vec![2], vec![0.0f32])?;
/// let mut executor = model.graph.bind(model.bind().tensor("x", x))?;
/// executor.forward(false)?;
/// assert_eq!(executor.output(0)?.values::<f32>()?, [0.5]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # The file
///
/// An [`Archive`]: weights are tensors of their names, which any safetensors reader finds; constants are
/// tensors named `constant:` and their node's name, bit for bit; the graph is a section of the entry
/// `sparsetape`, as JSON: nodes with names, operators by name with their fields, types, the source lines
/// that recorded them; outputs and gradients. A model that is loaded and saved is the same bytes.
///
/// # Compatibility
///
/// The graph has a version of its own, now 1. Every build reads earlier versions and refuses later
/// ones, with both numbers. An operator that the [`Registry`] does not know is an error that names it.
///
/// # Errors
///
/// No file is trusted. Graphs are checked in full: operands come before their users, names are unique,
/// operators have a table row for their operands' storage types, all types agree. Whatever does not fit is
/// an [`ErrorKind::Parse`] that names file, node and reason.
#[doc(alias = "SymbolBlock")]
#[doc(alias = "InferenceSession")]
#[derive(Clone, Debug)]
pub struct Model {
    /// What is computed.
    pub graph: Graph,
    /// Weights by the names of variables, with the notes: [shared](Model::bind) by predictions, or
    /// [made into parameters](Params::from_archive), to be trained.
    pub weights: Archive,
}

impl Graph {
    /// Writes a file that [`Model::load`] reads: this graph, the parameters, and the caller's notes. It is
    /// complete or not there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] naming the path; [`ErrorKind::Busy`] while a parameter is updated;
    /// [`ErrorKind::Shape`] or [`ErrorKind::DType`] for a parameter that does not fit the variable of its
    /// name; [`ErrorKind::State`] for names that the file cannot hold.
    #[track_caller]
    pub fn save(
        &self,
        path: impl AsRef<Path>,
        params: &Params,
        notes: &BTreeMap<String, String>,
    ) -> Result<()> {
        for parameter in params {
            self.body().check_weight(parameter.name(), parameter.ty().into())?;
        }
        let mut sections = Sections::default();
        sections.set(SECTION, &self.to_stored()?)?;
        let constants = self.constants();
        let tensors = constants.iter().map(|(name, tensor)| (&name[..], tensor.view())).collect();
        params.save_with(
            path.as_ref(),
            Contents { tensors, notes: notes.clone(), sections, ..Contents::default() },
        )
    }

    /// Constants and the names that they have in a file.
    fn constants(&self) -> Vec<(String, &Tensor)> {
        fn constant(node: &Node) -> Option<(String, &Tensor)> {
            let Kind::Constant(tensor) = &node.kind else { return None };
            Some((format!("{CONSTANT}{}", node.name), tensor))
        }
        self.body().nodes.iter().filter_map(constant).collect()
    }
}

impl Body {
    /// An error for a weight that contradicts the variable of its name, or is named as a constant.
    #[track_caller]
    fn check_weight(&self, name: &str, mut ty: PartialType) -> Result<()> {
        if name.starts_with(CONSTANT) {
            let message = format!("weight {name:?} has the name of a constant's values; rename it");
            return Err(Error::new(ErrorKind::State, message).operator("model"));
        }
        let Ok(id) = self.find_variable(name) else { return Ok(()) };
        let own = &self.nodes[id].ty;
        own.clone().unify(&mut ty).map_err(|error| {
            let message = format!("weight {name:?} is {ty}, but the graph's variable is {own}");
            Error::new(error.kind(), message).operator("model")
        })
    }
}

impl Model {
    /// Reads a file, whose operators are this crate's.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read, [`ErrorKind::Parse`] if it is damaged, holds no
    /// graph, or one that does not fit together.
    #[doc(alias = "load_checkpoint")]
    #[doc(alias = "load_state_dict")]
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        Model::load_with(path, &Registry::standard())
    }

    /// Reads a file, whose operators are those of the registry.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use sparsetape::{Graph, Model, Params, Registry, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let graph = Graph::new(&[tape.symbol(variable("x")).exp()])?;
    /// let path = std::env::temp_dir().join("sparsetape-doc-registry.safetensors");
    /// graph.save(&path, &Params::default(), &BTreeMap::new())?;
    ///
    /// assert!(Model::load_with(&path, &Registry::standard()).is_ok());
    /// let error = Model::load_with(&path, &Registry::new()).unwrap_err();
    /// assert!(error.to_string().contains("no operator \"map\" in the registry"));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with(path: impl AsRef<Path>, registry: &Registry) -> Result<Model> {
        let path = path.as_ref();
        Model::from_archive(Archive::load(path)?, registry).map_err(within(path.display()))
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: &[u8], registry: &Registry) -> Result<Model> {
        Model::from_archive(Archive::from_bytes(bytes)?, registry).map_err(within("<bytes>"))
    }

    /// Maps a file into memory: weights and constants are windows into it, nothing is copied.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use sparsetape::{Graph, Model, Parameter, Params, Registry, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let (x, w) = (tape.symbol(variable("x")), tape.symbol(variable("w")));
    /// let path = std::env::temp_dir().join("sparsetape-doc-mapped.safetensors");
    /// let params = Params::new([&Parameter::new("w", Tensor::full([1000, 4], 0.5f32)?)?])?;
    /// Graph::new(&[x.dot(w)])?.save(&path, &params, &BTreeMap::new())?;
    ///
    /// // SAFETY: files are replaced by renaming, as `save` does, never changed.
    /// let model = unsafe { Model::map(&path, &Registry::standard())? };
    /// assert_eq!(model.weights.get("w").unwrap().shape()[..], [1000, 4]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Safety
    /// As [`Archive::map`]: nobody changes or shortens the file while the model, or anything that shares
    /// memory with it, lives. Replacing it by renaming is fine.
    ///
    /// # Errors
    /// As [`Model::load`].
    #[cfg(feature = "mmap")]
    pub unsafe fn map(path: impl AsRef<Path>, registry: &Registry) -> Result<Model> {
        let path = path.as_ref();
        // SAFETY: the caller's promise is passed on.
        let archive = unsafe { Archive::map(path)? };
        Model::from_archive(archive, registry).map_err(within(path.display()))
    }

    /// The notes of a file, of which only the header is read.
    ///
    /// # Errors
    /// As [`Archive::read_notes`].
    #[doc(alias = "metadata")]
    pub fn read_notes(path: impl AsRef<Path>) -> Result<BTreeMap<String, String>> {
        Archive::read_notes(path)
    }

    fn from_archive(mut archive: Archive, registry: &Registry) -> Result<Model> {
        let notes = std::mem::take(&mut archive.notes);
        let mut sections = std::mem::take(&mut archive.sections);
        let json = sections.get(SECTION)?.ok_or_else(|| {
            Error::new(ErrorKind::Parse, "there is no graph in the file").nowhere()
        })?;
        sections.remove(SECTION);
        let (mut weights, mut constants) = (Archive::default(), FxHashMap::default());
        for (name, tensor) in archive {
            match name.strip_prefix(CONSTANT) {
                Some(node) => {
                    constants.insert(node.to_owned(), tensor);
                }
                None => weights.push(name, tensor)?,
            }
        }
        let graph =
            Graph::from_json(json, &mut constants, registry).map_err(within("its graph"))?;
        for (name, tensor) in weights.iter() {
            graph.body().check_weight(name, tensor.ty().into())?;
        }
        if let Some(name) = constants.keys().min() {
            let message =
                format!("there are values of {name:?}, which is no constant of the graph");
            return Err(Error::new(ErrorKind::Parse, message).nowhere());
        }
        (weights.notes, weights.sections) = (notes, sections);
        drawn_of(&weights)?;
        Ok(Model { graph, weights })
    }

    /// Whatever the file holds beside tensors: classes, a model's version, a schema.
    #[doc(alias = "metadata")]
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.weights.notes
    }

    /// The weights bound to the variables of their names, as immutable tensors that all executors share;
    /// no lock is on their way. Of those whose absent rows are [drawn](Parameter::drawn) it holds a copy, as
    /// parameters.
    pub fn bind(&self) -> Bind {
        let named = |name: &str| self.graph.body().find_variable(name).is_ok();
        let bound = self.weights.iter().filter(|(name, _)| named(name));
        // Read without an error when the model was loaded.
        let mut drawn = drawn_of(&self.weights).unwrap_or_default();
        bound.fold(Bind::new(), |bind, (name, tensor)| {
            let drawn = drawn.remove(name);
            match drawn.and_then(|drawn| Parameter::loaded(name, tensor.clone(), Some(drawn)).ok())
            {
                Some(parameter) => bind.parameter(&parameter),
                None => bind.tensor(name, tensor.clone()),
            }
        })
    }

    /// Writes the file; it is complete or not there.
    ///
    /// # Errors
    /// As [`Graph::save`].
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let constants = self.graph.constants();
        self.contents(&constants)?.save(path.as_ref())
    }

    /// The bytes that [`Model::save`] writes.
    ///
    /// # Errors
    /// As [`Graph::save`].
    #[track_caller]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let constants = self.graph.constants();
        self.contents(&constants)?.into_bytes()
    }

    #[track_caller]
    fn contents<'a>(&'a self, constants: &'a [(String, &'a Tensor)]) -> Result<Contents<'a>> {
        for (name, tensor) in self.weights.iter() {
            self.graph.body().check_weight(name, tensor.ty().into())?;
        }
        let mut sections = self.weights.sections.clone();
        sections.set(SECTION, &self.graph.to_stored()?)?;
        let constants = constants.iter().map(|(name, tensor)| (&name[..], *tensor));
        let tensors = self.weights.iter().chain(constants);
        let tensors = tensors.map(|(name, tensor)| (name, tensor.view())).collect();
        Ok(Contents { tensors, notes: self.notes().clone(), sections, ..Contents::default() })
    }
}
