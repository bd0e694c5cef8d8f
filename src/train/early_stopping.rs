//! Runs that end when they do not get better.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::History;
use super::load::load;
use super::metrics::Metric;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Params, warn};
use crate::tensor::Archive;

type Metrics<'m> = [Box<dyn Metric + 'm>];

/// Ends a [run](super::Fit) when a value has not become better for some epochs. Everything follows from the history, so a
/// resumed run stops where an uninterrupted one does.
#[derive(Clone, Debug)]
pub struct EarlyStopping {
    split: String,
    name: String,
    patience: u64,
    min_delta: f64,
    best: Option<PathBuf>,
}

impl EarlyStopping {
    /// Watches this value of a split (`"train"`, or one that is [evaluated](super::Fit::evaluate)): `"loss"`, or a metric by
    /// name, which says itself whether larger is better. Ends the run after 3 epochs that are not better than the best.
    pub fn new(split: impl Into<String>, name: impl Into<String>) -> Self {
        let (split, name) = (split.into(), name.into());
        EarlyStopping { split, name, patience: 3, min_delta: 0.0, best: None }
    }

    /// After how many epochs that are not better the run ends.
    pub fn patience(mut self, epochs: u64) -> Self {
        self.patience = epochs;
        self
    }

    /// By how much a value must differ to be better.
    pub fn min_delta(mut self, difference: f64) -> Self {
        self.min_delta = difference;
        self
    }

    /// Saves the parameters in this file whenever they are the best so far, and puts them back at the end of the run,
    /// after its last checkpoint: a run that is resumed goes on from where it was. (On disk: a copy in memory would
    /// double that of large tables.) Absent rows of a [drawn](crate::Parameter::drawn) table that decays by itself, in
    /// [exact mode](crate::optim::Update::Exact), stay those of the last epoch.
    pub fn restore_best(mut self, path: impl Into<PathBuf>) -> Self {
        self.best = Some(path.into());
        self
    }

    /// An error for what no epoch will measure.
    #[track_caller]
    pub(super) fn check(&self, splits: &[&str], names: &[&str]) -> Result<()> {
        if !splits.contains(&&self.split[..]) {
            let all = splits.join(", ");
            return fault(format!("there is no split {:?}, only {all}", self.split));
        }
        if !names.contains(&&self.name[..]) {
            let all = names.join(", ");
            return fault(format!("there is no metric {:?}, only {all}", self.name));
        }
        if self.min_delta.is_nan() || self.min_delta < 0.0 {
            return fault(format!("the least difference is {}, not 0 or more", self.min_delta));
        }
        if self.patience == 0 {
            return fault("the patience is 0 epochs, not 1 or more".to_owned());
        }
        Ok(())
    }

    /// The best epoch and the last.
    fn best_and_last(&self, history: &History, metrics: &Metrics<'_>) -> Option<(u64, u64)> {
        let own = metrics.iter().find(|metric| metric.name() == self.name);
        let sign = if own.is_some_and(|metric| metric.larger_is_better()) { -1.0 } else { 1.0 };
        let values = history.column(&self.split, &self.name);
        let (mut best, mut lowest) = (values.first()?.0, f64::INFINITY);
        for &(epoch, value) in &values {
            if sign * value < lowest - self.min_delta {
                (best, lowest) = (epoch, sign * value);
            }
        }
        Some((best, values.last()?.0))
    }

    /// Whether the run has not become better for long enough.
    pub(super) fn is_over(&self, history: &History, metrics: &Metrics<'_>) -> bool {
        let epochs = self.best_and_last(history, metrics);
        epochs.is_some_and(|(best, last)| last - best >= self.patience)
    }

    /// Saves the parameters of the last epoch, if that is the best.
    #[track_caller]
    pub(super) fn save_best(
        &self,
        history: &History,
        metrics: &Metrics<'_>,
        params: &Params,
    ) -> Result<()> {
        match (&self.best, self.best_and_last(history, metrics)) {
            (Some(path), Some((best, last))) if best == last => {
                params.save(path, &BTreeMap::from([(EPOCH.to_owned(), best.to_string())]))
            }
            _ => Ok(()),
        }
    }

    /// The parameters of the best epoch, if they are to come back.
    #[track_caller]
    pub(super) fn restore(
        &self,
        history: &History,
        metrics: &Metrics<'_>,
        params: &Params,
    ) -> Result<()> {
        let (Some(path), Some((best, _))) = (&self.best, self.best_and_last(history, metrics))
        else {
            return Ok(());
        };
        // Another run may have left the file, or this one before it was resumed from further back.
        let held = if path.exists() { Archive::read_notes(path)?.remove(EPOCH) } else { None };
        if held == Some(best.to_string()) {
            return load(params, path).map(drop);
        }
        warn(&format!(
            "{} does not hold the best epoch, {best}: the parameters stay those of the last",
            path.display()
        ));
        Ok(())
    }
}

/// The note of the file that says which epoch its parameters are of.
const EPOCH: &str = "epoch";

#[track_caller]
fn fault(why: String) -> Result<()> {
    Err(Error::new(ErrorKind::Value, why).operator("early_stopping"))
}
