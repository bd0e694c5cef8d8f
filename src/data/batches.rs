//! Batches: windows of a data set's rows.

use std::fmt;
use std::sync::Arc;

use super::dataset::{Dataset, types_of};
use super::order::permutation;
use super::source::{BatchIter, BatchSource};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Tape, Var};
use crate::tensor::{Layout, Tensor};

/// What happens to the rows that do not fill a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastBatch {
    /// They form a smaller batch.
    #[default]
    Keep,
    /// They are left out.
    Drop,
    /// Rows from the beginning fill the batch up, and [`Batch::pad`] counts them. This batch alone
    /// is a copy. (MXNet: `round_batch`.)
    Pad,
}

/// How to cut a [`Dataset`] into batches: see [`Dataset::batches`].
///
/// ```
/// use sparsetape::data::{LastBatch, Libsvm};
/// let data = Libsvm::new().read_from("1 1:1\n2 1:2\n3 1:3\n".as_bytes())?;
/// let sizes = |last| -> sparsetape::Result<Vec<usize>> {
///     let batches = data.batches(2).last(last).build()?;
///     Ok(batches.epoch(0).map(|b| b.features.shape()[0]).collect())
/// };
/// assert_eq!(sizes(LastBatch::Keep)?, [2, 1]);
/// assert_eq!(sizes(LastBatch::Drop)?, [2]);
/// assert_eq!(sizes(LastBatch::Pad)?, [2, 2]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchPlan<'a> {
    data: &'a Dataset,
    size: usize,
    last: LastBatch,
    seed: Option<u64>,
    keep_windows: bool,
}

impl<'a> BatchPlan<'a> {
    pub(super) fn new(data: &'a Dataset, size: usize) -> Self {
        BatchPlan { data, size, last: LastBatch::Keep, seed: None, keep_windows: true }
    }

    /// What happens to the rows that do not fill a batch; kept by default.
    pub fn last(mut self, last: LastBatch) -> Self {
        self.last = last;
        self
    }

    /// Visits the batches in an order that depends on `seed`, the epoch and the number of batches
    /// alone. Rows stay in their batch, so batches remain windows; [`Dataset::shuffled`] mixes the
    /// rows.
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whether every epoch hands out the same tensors (the default). A window's
    /// [`Pattern`](crate::Pattern) keeps its column order once that is computed: later epochs are
    /// faster, for 4 bytes per stored entry and 4 per distinct column of each batch. Without, a
    /// batch's column order is forgotten with the batch.
    pub fn keep_windows(mut self, keep: bool) -> Self {
        self.keep_windows = keep;
        self
    }

    /// Cuts the windows.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] for batches of 0 rows; [`ErrorKind::Shape`] if a field of the data set
    /// was replaced by a tensor of another number of rows, or to pad with more than 2^32 rows.
    #[track_caller]
    pub fn build(&self) -> Result<Batches> {
        if self.size == 0 {
            return Err(Error::new(ErrorKind::Value, "a batch has at least 1 row, not 0"));
        }
        self.data.check()?;
        let rows = self.data.rows();
        let mut starts: Vec<usize> = (0..rows).step_by(self.size).collect();
        if self.last == LastBatch::Drop {
            starts.truncate(rows / self.size);
        }
        let windows = starts.into_iter().map(|start| self.cut(start)).collect::<Result<_>>()?;
        Ok(Batches { windows, seed: self.seed, keep_windows: self.keep_windows })
    }

    #[track_caller]
    fn cut(&self, first_row: usize) -> Result<Batch> {
        let rows = self.data.rows();
        let kept = self.size.min(rows - first_row);
        let pad = if self.last == LastBatch::Pad { self.size - kept } else { 0 };
        if pad as u64 > 1 << 32 {
            let message = format!("a padded batch of {} rows; at most 4294967296", self.size);
            return Err(Error::new(ErrorKind::Shape, message));
        }
        let part = if pad == 0 {
            self.data.rows_window(first_row, first_row + kept)?
        } else {
            let order: Vec<usize> = (first_row..rows).chain((0..rows).cycle().take(pad)).collect();
            self.data.gather(&order)?
        };
        let Dataset { features, labels, qids, inputs, .. } = part;
        Ok(Batch { features, labels, qids, inputs: inputs.into(), first_row, pad })
    }
}

/// Some rows of a [`Dataset`], sharing its memory unless padded. Cloning is cheap.
#[derive(Clone)]
#[non_exhaustive]
pub struct Batch {
    /// The features, `(rows, features)`.
    pub features: Tensor,
    /// The labels, `(rows,)` or `(rows, labels)`.
    pub labels: Tensor,
    /// The query ids, `(rows,)` of i64, if the data set has them.
    pub qids: Option<Tensor>,
    /// The further inputs of the data set, by name.
    pub inputs: Arc<[(Arc<str>, Tensor)]>,
    /// Where the batch begins in the data set.
    pub first_row: usize,
    /// How many rows at the end are repeated from the beginning of the data set, to be left out of
    /// counts and predictions.
    pub pad: usize,
}

/// Types instead of all values.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("features", &self.features.ty())
            .field("labels", &self.labels.ty())
            .field("qids", &self.qids.is_some())
            .field("inputs", &types_of(&self.inputs))
            .field("first_row", &self.first_row)
            .field("pad", &self.pad)
            .finish()
    }
}

impl Batch {
    /// Number of rows, padded ones too.
    pub fn rows(&self) -> usize {
        self.features.shape()[0]
    }

    /// The input of this name: one of the data set's [inputs](Dataset::with_input); else the features by
    /// the names `data` and `features`, the labels by `label`, `labels` and any name that ends in `_label`, the
    /// query ids by `qid`.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if there is none, listing all.
    #[track_caller]
    pub fn input(&self, name: &str) -> Result<&Tensor> {
        if let Some((_, values)) = self.inputs.iter().find(|(own, _)| **own == *name) {
            return Ok(values);
        }
        match name {
            "data" | "features" => return Ok(&self.features),
            "label" | "labels" => return Ok(&self.labels),
            "qid" => {
                if let Some(qids) = &self.qids {
                    return Ok(qids);
                }
            }
            name if name.ends_with("_label") => return Ok(&self.labels),
            _ => {}
        }
        let names: String = self.inputs.iter().map(|(name, _)| format!(", {name}")).collect();
        let message = format!("there is no input {name:?}, only data, label{names}");
        Err(Error::new(ErrorKind::State, message).operator("batch"))
    }

    /// [`Batch::input`] as a constant of a tape; one that is not there poisons the variable.
    #[track_caller]
    pub fn var<'t>(&self, tape: &'t Tape, name: &str) -> Var<'t> {
        match self.input(name) {
            Ok(values) => tape.constant(values.clone()),
            Err(error) => tape.poison(error),
        }
    }

    /// The rows `start..end` as a batch of their own.
    #[track_caller]
    pub(crate) fn rows_window(&self, start: usize, end: usize) -> Result<Batch> {
        let window = |tensor: &Tensor| tensor.rows_window(start, end);
        let inputs = self.inputs.iter().map(|(name, values)| Ok((name.clone(), window(values)?)));
        Ok(Batch {
            features: window(&self.features)?,
            labels: window(&self.labels)?,
            qids: self.qids.as_ref().map(window).transpose()?,
            inputs: inputs.collect::<Result<_>>()?,
            first_row: self.first_row + start,
            pad: 0,
        })
    }

    /// The same rows without what their patterns have computed.
    fn forgetful(&self) -> Batch {
        let inputs = self.inputs.iter();
        Batch {
            features: without_columns(&self.features),
            labels: without_columns(&self.labels),
            inputs: inputs.map(|(name, values)| (name.clone(), without_columns(values))).collect(),
            ..self.clone()
        }
    }
}

fn without_columns(tensor: &Tensor) -> Tensor {
    let (shape, layout, values) = tensor.clone().into_parts();
    let layout = match layout {
        Layout::Csr(pattern) => Layout::Csr(Arc::new(pattern.window(0..pattern.rows()))),
        other => other,
    };
    Tensor::from_parts(shape, layout, values)
}

/// The batches of a data set, for any number of epochs.
///
/// ```
/// use sparsetape::data::Libsvm;
/// let data = Libsvm::new().read_from("1 1:1\n2 1:2\n3 1:3\n".as_bytes())?;
/// let batches = data.batches(1).shuffle(42).build()?;
/// let order = |epoch| batches.epoch(epoch).map(|b| b.first_row).collect::<Vec<_>>();
/// assert_eq!(order(0), order(0));
/// let mut rows = order(1);
/// rows.sort();
/// assert_eq!(rows, [0, 1, 2]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    windows: Vec<Batch>,
    seed: Option<u64>,
    keep_windows: bool,
}

impl Batches {
    /// Number of batches in an epoch.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The batches in the order of this epoch: the data set's order unless the plan shuffles. A run that
    /// was interrupted goes on at batch `n` with `.skip(n)`.
    pub fn epoch(&self, epoch: u64) -> impl ExactSizeIterator<Item = Batch> + Send {
        let order = match self.seed {
            Some(seed) => permutation(self.len(), seed, epoch),
            None => (0..self.len()).collect(),
        };
        order.into_iter().map(|i| {
            let window = &self.windows[i];
            if self.keep_windows { window.clone() } else { window.forgetful() }
        })
    }
}

impl BatchSource for Batches {
    fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>> {
        Ok(Box::new(self.epoch(epoch).skip(skip).map(Ok)))
    }

    fn rows(&self) -> Option<usize> {
        Some(self.windows.iter().map(|batch| batch.rows() - batch.pad).sum())
    }
}
