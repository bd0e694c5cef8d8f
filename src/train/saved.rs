//! The file of a checkpoint.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Checkpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::optim::{Optimizer, OptimizerState};
use crate::tape::{Params, Record, Table};
use crate::tensor::Archive;
use crate::tensor::file::{CHECKPOINT, Contents, Members, Sections, damaged, within};

/// Grows when an earlier build would misread the section.
const VERSION: u64 = 1;

/// The optimizer's own tensors are named by this and their number.
const OPTIMIZER: &str = "optimizer/";

/// The section of the file; notes and numbers are beside it.
#[derive(Serialize, Deserialize)]
pub(super) struct Section {
    version: u64,
    checkpoint: Checkpoint,
    optimizer: OptimizerRecord,
    parameters: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct OptimizerRecord {
    kind: String,
    settings: Box<RawValue>,
    /// Names of its own tensors.
    tensors: Vec<String>,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl Section {
    /// What the file is to hold, while all parameters are locked.
    #[track_caller]
    pub fn write<R>(
        checkpoint: &Checkpoint,
        params: &Params,
        optimizer: &dyn Optimizer,
        write: impl FnOnce(Contents<'_>) -> Result<R>,
    ) -> Result<R> {
        let state = optimizer.save_state()?;
        let mut locked = Vec::with_capacity(params.len());
        for parameter in params {
            // What was read in passing is written first, as the next step would.
            drop(parameter.exclusive()?);
            locked.push(parameter.read()?);
        }
        let (mut raw, mut parameters) = (Vec::new(), Vec::with_capacity(params.len()));
        for (parameter, table) in params.iter().zip(&locked) {
            parameters.push(parameter.record(table, state.owned(), &mut raw)?);
        }
        let named = |(i, (_, tensor))| (format!("{OPTIMIZER}{i}"), tensor);
        let own: Vec<_> = state.tensors().enumerate().map(named).collect();
        let optimizer = OptimizerRecord {
            kind: state.kind().to_owned(),
            settings: state.json().to_owned(),
            tensors: state.tensors().map(|(name, _)| name.to_owned()).collect(),
        };
        let (version, checkpoint, notes) = (VERSION, checkpoint.clone(), checkpoint.notes.clone());
        let mut sections = Sections::default();
        sections.set(CHECKPOINT, &Section { version, checkpoint, optimizer, parameters })?;
        // Numbers that are not finite do not come back.
        sections.get::<Section>(CHECKPOINT).map_err(|e| {
            let message = "what is to be saved cannot be read back";
            Error::new(ErrorKind::State, message).operator("checkpoint").caused_by(e)
        })?;
        let tensors = own.iter().map(|(name, tensor)| (&name[..], tensor.view())).collect();
        write(Contents { tensors, raw, notes, sections })
    }
}

/// What a file holds, checked in itself.
pub(super) struct Saved {
    checkpoint: Checkpoint,
    optimizer: OptimizerState,
    parameters: Vec<(Record, Table)>,
}

impl Saved {
    pub fn read(path: &Path) -> Result<Saved> {
        Saved::from_archive(Archive::load(path)?).map_err(within(path.display()))
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Saved> {
        Saved::from_archive(Archive::from_bytes(bytes)?).map_err(within("<bytes>"))
    }

    fn from_archive(mut archive: Archive) -> Result<Saved> {
        let sections = std::mem::take(&mut archive.sections);
        let notes = std::mem::take(&mut archive.notes);
        let none = || damaged("it is no checkpoint");
        let Version { version } = sections.get(CHECKPOINT)?.ok_or_else(none)?;
        if version > VERSION {
            let why = format!(
                "a checkpoint of version {version}; this build reads versions up to {VERSION}"
            );
            return Err(damaged(why));
        }
        let section: Section = sections.get(CHECKPOINT)?.ok_or_else(none)?;
        let mut members = Members::new(archive);
        let OptimizerRecord { kind, settings, tensors } = section.optimizer;
        let mut own = Archive::default();
        for (i, name) in tensors.into_iter().enumerate() {
            own.push(name, members.take(&format!("{OPTIMIZER}{i}"))?)?;
        }
        let optimizer = OptimizerState::from_parts(kind, settings, own);
        let mut parameters = Vec::new();
        for record in section.parameters {
            let table = record.table(&mut members);
            let table = table.map_err(within(format!("parameter {:?}", record.name)))?;
            parameters.push((record, table));
        }
        members.finish()?;
        let checkpoint = Checkpoint { notes, ..section.checkpoint };
        Ok(Saved { checkpoint, optimizer, parameters })
    }

    /// Goes on from here with these parameters and this optimizer.
    #[track_caller]
    pub fn put_into(self, params: &Params, optimizer: &mut dyn Optimizer) -> Result<Checkpoint> {
        self.check_fits(params)?;
        let owned = optimizer.save_state()?.owned().cloned();
        if owned.is_none() && self.parameters.iter().any(|(record, _)| record.has_state()) {
            let kind = self.optimizer.kind();
            return Err(misfit(format!("parameters have states of {kind:?}, another optimizer")));
        }
        let mut locked = Vec::with_capacity(params.len());
        for (record, restored) in self.parameters {
            let Some(parameter) = params.get(&record.name) else { continue };
            locked.push((parameter, parameter.exclusive()?, record, restored));
        }
        optimizer.load_state(&self.optimizer)?;
        for (parameter, mut table, record, restored) in locked {
            parameter.restore(&record, restored, owned.as_ref(), &mut table);
        }
        Ok(self.checkpoint)
    }

    #[track_caller]
    fn check_fits(&self, params: &Params) -> Result<()> {
        let record = |name: &str| self.parameters.iter().find(|(record, _)| record.name == name);
        let names = |names: Vec<&str>, what: &str| {
            let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            (!quoted.is_empty()).then(|| format!("{what} {}", quoted.join(", ")))
        };
        let own = params.iter().map(|p| p.name());
        let missing = own.filter(|name| record(name).is_none()).collect();
        let there = self.parameters.iter().map(|(record, _)| &record.name[..]);
        let extra = there.filter(|name| params.get(name).is_none()).collect();
        let differ = params.iter().filter_map(|p| {
            let (record, _) = record(p.name()).filter(|(record, _)| record.ty != *p.ty())?;
            Some(format!("parameter {:?} is {}, in the file {}", p.name(), p.ty(), record.ty))
        });
        let mut faults: Vec<String> = differ.collect();
        faults.extend(names(missing, "the file lacks the parameters"));
        faults.extend(names(extra, "the program lacks the file's parameters"));
        if faults.is_empty() { Ok(()) } else { Err(misfit(faults.join("; "))) }
    }
}

#[track_caller]
fn misfit(why: String) -> Error {
    let message = format!("the checkpoint does not fit: {why}");
    Error::new(ErrorKind::State, message).operator("resume")
}
