//! A directory of checkpoints.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Checkpoint;
use super::saved::Saved;
use crate::error::{Error, ErrorKind, Result};
use crate::optim::Optimizer;
use crate::tape::{Params, warn};

/// A directory of [checkpoints](Checkpoint), one training run's: written at an interval, of which the last few
/// stay. See [the example](crate::train).
///
/// Files are named by their step, `checkpoint-000000001200.safetensors`. One is written under
/// another name, synced and renamed, then old ones are removed: whenever the process is killed, or the power
/// fails, the newest complete checkpoint stays. What a killed writer left is removed by the next.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    every: u64,
    keep: usize,
    /// The step that was saved last, or resumed.
    saved: u64,
}

const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".safetensors";
const UNFINISHED: &str = ".unfinished";

impl Checkpoints {
    /// The checkpoints in this directory, which is made when the first is saved: every 1000 steps,
    /// of which the last 3 are kept.
    pub fn new(dir: impl Into<PathBuf>) -> Checkpoints {
        Checkpoints { dir: dir.into(), every: 1000, keep: 3, saved: 0 }
    }

    /// After how many steps a checkpoint is due; with 0 none ever is.
    pub fn every(mut self, steps: u64) -> Checkpoints {
        self.every = steps;
        self
    }

    /// How many of the last checkpoints are kept; the newest always is.
    pub fn keep(mut self, count: usize) -> Checkpoints {
        self.keep = count;
        self
    }

    /// Saves a checkpoint, if the last is as many [steps](Checkpoint::step) ago as the interval; whether
    /// it did.
    ///
    /// # Errors
    /// As [`Checkpoints::save`].
    #[track_caller]
    pub fn save_if_due(
        &mut self,
        checkpoint: &Checkpoint,
        params: &Params,
        optimizer: &dyn Optimizer,
    ) -> Result<bool> {
        let due = self.is_due(checkpoint);
        if due {
            self.save(checkpoint, params, optimizer)?;
        }
        Ok(due)
    }

    /// Whether the interval is over.
    pub(super) fn is_due(&self, checkpoint: &Checkpoint) -> bool {
        self.every > 0 && checkpoint.step >= self.saved.saturating_add(self.every)
    }

    /// Saves a checkpoint, then removes those that are too old; where it is.
    ///
    /// ```
    /// use sparsetape::{Params, optim::Sgd, train::{Checkpoint, Checkpoints}};
    /// let dir = std::env::temp_dir().join(format!("sparsetape-doc-keep-{}", std::process::id()));
    /// let (params, mut sgd) = (Params::default(), Sgd::new(0.1));
    /// let mut checkpoints = Checkpoints::new(&dir).keep(2);
    /// for step in 1..=5 {
    ///     checkpoints.save(&Checkpoint { step, ..Checkpoint::default() }, &params, &sgd)?;
    /// }
    /// assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
    /// assert_eq!(checkpoints.resume(&params, &mut sgd)?.unwrap().step, 5);
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Checkpoint::save`]; [`ErrorKind::State`] if the directory holds checkpoints of later
    /// steps, which another run left.
    #[track_caller]
    pub fn save(
        &mut self,
        checkpoint: &Checkpoint,
        params: &Params,
        optimizer: &dyn Optimizer,
    ) -> Result<PathBuf> {
        fs::create_dir_all(&self.dir).map_err(|e| self.fault(e))?;
        let Listing { steps, unfinished } = self.list()?;
        let later = |&&step: &&u64| step > checkpoint.step && Saved::read(&self.path(step)).is_ok();
        if let Some(later) = steps.iter().find(later) {
            let (dir, step) = (self.dir.display(), checkpoint.step);
            let message = format!(
                "{dir} has a checkpoint of step {later}, past {step}: it is another run's; resume \
                 it, remove it, or use another directory"
            );
            return Err(Error::new(ErrorKind::State, message).operator("checkpoint"));
        }
        unfinished.iter().for_each(|left| remove(left));
        let path = self.path(checkpoint.step);
        checkpoint.save(&path, params, optimizer)?;
        self.saved = checkpoint.step;
        let earlier = steps.iter().filter(|&&step| step < checkpoint.step);
        let old = earlier.skip(self.keep.saturating_sub(1));
        old.for_each(|&step| remove(&self.path(step)));
        Ok(path)
    }

    /// The newest checkpoint that loads. Those that do not are left out, with a warning.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the directory cannot be read; what is wrong with the newest, if there are
    /// checkpoints and none loads.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        Ok(self.newest()?.map(|(step, _)| self.path(step)))
    }

    /// Goes on from the newest checkpoint that loads, if there is one.
    ///
    /// # Errors
    /// As [`Checkpoints::latest`], and [`Checkpoint::resume`] for what does not fit the program.
    #[track_caller]
    pub fn resume(
        &mut self,
        params: &Params,
        optimizer: &mut dyn Optimizer,
    ) -> Result<Option<Checkpoint>> {
        let Some((step, saved)) = self.newest()? else { return Ok(None) };
        let checkpoint = saved.put_into(params, optimizer)?;
        self.saved = step;
        Ok(Some(checkpoint))
    }

    fn newest(&self) -> Result<Option<(u64, Saved)>> {
        let mut first = None;
        for step in self.list()?.steps {
            match Saved::read(&self.path(step)) {
                Ok(saved) => return Ok(Some((step, saved))),
                Err(error) => {
                    warn(&format!("a checkpoint is left out: {error}"));
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(None), Err)
    }

    fn path(&self, step: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{step:012}{SUFFIX}"))
    }

    fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(listing),
            entries => entries.map_err(|e| self.fault(e))?,
        };
        for entry in entries {
            let entry = entry.map_err(|e| self.fault(e))?;
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            if rest.ends_with(UNFINISHED) {
                listing.unfinished.push(entry.path());
            }
            let step = rest.strip_suffix(SUFFIX).and_then(|step| step.parse().ok());
            // Only names as they are written: no step twice.
            listing.steps.extend(step.filter(|&step| self.path(step).file_name() == Some(&name)));
        }
        listing.steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(listing)
    }

    fn fault(&self, e: io::Error) -> Error {
        let message = format!("the checkpoints in {}", self.dir.display());
        Error::new(ErrorKind::Io, message).nowhere().caused_by(e)
    }
}

/// What is in the directory.
#[derive(Default)]
struct Listing {
    /// The newest first.
    steps: Vec<u64>,
    unfinished: Vec<PathBuf>,
}

/// What cannot be removed is no reason to stop a training run.
fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            warn(&format!("{}: cannot remove it: {e}", path.display()));
        }
        _ => {}
    }
}
