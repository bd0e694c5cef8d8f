//! Batches: windows of a data set's rows.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::dataset::{Dataset, types_of};
use super::order::permutation;
use super::source::{BatchIter, BatchSource};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Tape, Var, variable};
use crate::tensor::Tensor;

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

    /// The batches, each cut when its turn comes.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] for batches of 0 rows; [`ErrorKind::Shape`] if a field of the data set
    /// was replaced by a tensor of another number of rows, or to pad with more than 2^32 rows;
    /// [`ErrorKind::Stype`] to pad row-sparse tensors.
    #[track_caller]
    pub fn build(&self) -> Result<Batches> {
        self.data.check()?;
        let rows = self.data.rows();
        let end = self.last.end(rows, self.size)?;
        let count = end.div_ceil(self.size);
        let kept = self.keep_windows.then(|| vec![OnceLock::new(); count].into());
        let batches =
            Batches { data: self.data.clone(), size: self.size, end, seed: self.seed, kept };
        if end > rows {
            batches.cut(count - 1)?;
        }
        Ok(batches)
    }
}

impl LastBatch {
    /// Where the last batch ends, counted in rows, the padded ones too.
    #[track_caller]
    pub(super) fn end(self, rows: usize, size: usize) -> Result<usize> {
        if size == 0 {
            return Err(Error::new(ErrorKind::Value, "a batch has at least 1 row, not 0"));
        }
        match self {
            LastBatch::Keep => Ok(rows),
            LastBatch::Drop => Ok(rows / size * size),
            LastBatch::Pad => {
                let end = rows.checked_next_multiple_of(size);
                end.filter(|end| (end - rows) as u64 <= 1 << 32).ok_or_else(|| {
                    let message = format!("a padded batch of {size} rows; at most 4294967296");
                    Error::new(ErrorKind::Shape, message)
                })
            }
        }
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
    /// Number in the data set of the batch's first row; [`row_number`](Batch::row_number) tells those
    /// of the others.
    pub first_row: usize,
    /// How many rows at the end are repeated from the beginning of the data set, to be left out of
    /// counts and predictions.
    pub pad: usize,
    /// The numbers of the rows, unless they follow one another.
    numbers: Option<Arc<[usize]>>,
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
    pub(super) fn new(
        rows: Dataset,
        first_row: usize,
        pad: usize,
        numbers: Option<Arc<[usize]>>,
    ) -> Self {
        let Dataset { features, labels, qids, inputs, .. } = rows;
        Batch { features, labels, qids, inputs: inputs.into(), first_row, pad, numbers }
    }

    /// The same batch, to be held for long.
    fn lasting(mut self) -> Batch {
        self.features.set_lasting();
        let inputs = Arc::get_mut(&mut self.inputs).into_iter().flatten();
        inputs.for_each(|(_, values)| values.set_lasting());
        self
    }

    /// Number of rows, padded ones too.
    pub fn rows(&self) -> usize {
        self.features.shape()[0]
    }

    /// The number in the data set of the batch's `i`-th row, both from 0; nothing if the batch is
    /// shorter.
    ///
    /// ```
    /// use sparsetape::data::{LastBatch, Libsvm};
    /// let data = Libsvm::new().read_from("1 1:1\n2 1:2\n3 1:3\n".as_bytes())?;
    /// let batches = data.batches(2).last(LastBatch::Pad).build()?;
    /// let last = batches.epoch(0).last().expect("two batches");
    /// assert_eq!([0, 1, 2].map(|i| last.row_number(i)), [Some(2), Some(0), None]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn row_number(&self, i: usize) -> Option<usize> {
        if i >= self.rows() {
            return None;
        }
        let in_order = || {
            // Padded rows follow the data set's last one, and begin again at its first.
            let own = self.rows() - self.pad;
            if i < own { self.first_row + i } else { (i - own) % (self.first_row + own) }
        };
        Some(self.numbers.as_ref().map_or_else(in_order, |numbers| numbers[i]))
    }

    /// The input of this name: one of the data set's [inputs](Dataset::with_input); else the features by
    /// the names `data` and `features`, the labels by `label`, `labels` and any name that ends in `_label`, the
    /// query ids by `qid`.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if there is none, listing all; for labels of rows that have none.
    #[track_caller]
    pub fn input(&self, name: &str) -> Result<&Tensor> {
        if let Some(values) = self.further_input(name) {
            return Ok(values);
        }
        match name {
            "data" | "features" => return Ok(&self.features),
            "qid" => {
                if let Some(qids) = &self.qids {
                    return Ok(qids);
                }
            }
            name if matches!(name, "label" | "labels") || name.ends_with("_label") => {
                return self.stated_labels();
            }
            _ => {}
        }
        let names: String = self.inputs.iter().map(|(name, _)| format!(", {name}")).collect();
        let message = format!("there is no input {name:?}, only data, label{names}");
        Err(Error::new(ErrorKind::State, message).operator("batch"))
    }

    /// The labels, unless the rows [came without](Dataset::from_features).
    #[track_caller]
    fn stated_labels(&self) -> Result<&Tensor> {
        if self.labels.shape().get(1) == Some(&0) {
            let message =
                "the rows have no labels: they can be predicted, not trained on or scored";
            return Err(Error::new(ErrorKind::State, message).operator("batch"));
        }
        Ok(&self.labels)
    }

    /// One of the data set's [inputs](Dataset::with_input).
    pub(crate) fn further_input(&self, name: &str) -> Option<&Tensor> {
        self.inputs.iter().find(|(own, _)| **own == *name).map(|(_, values)| values)
    }

    /// [`Batch::input`] as a constant of a tape; one that is not there poisons the variable. On a symbolic tape a
    /// variable of this name, for batches of any size.
    #[track_caller]
    pub fn var<'t>(&self, tape: &'t Tape, name: &str) -> Var<'t> {
        match self.input(name) {
            Ok(values) if tape.is_symbolic() => tape.symbol_of(name, || {
                let sizes = values.shape().iter().map(|&size| Some(size));
                let sizes: Vec<_> = std::iter::once(None).chain(sizes.skip(1)).collect();
                let variable = variable(name).stype(values.stype()).dtype(values.dtype());
                variable.shape(Some(sizes))
            }),
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
            numbers: None,
        })
    }
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
    data: Dataset,
    size: usize,
    /// Where the last batch ends.
    end: usize,
    seed: Option<u64>,
    /// The windows that were cut, if they are kept.
    kept: Option<Box<[OnceLock<Box<Batch>>]>>,
}

impl Batches {
    /// Number of batches in an epoch.
    pub fn len(&self) -> usize {
        self.end.div_ceil(self.size)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// The batches in the order of this epoch: the data set's order unless the plan shuffles. A run that
    /// was interrupted goes on at batch `n` with `.skip(n)`; [`read`](BatchSource::read) does not cut those
    /// before.
    pub fn epoch(&self, epoch: u64) -> impl ExactSizeIterator<Item = Batch> + Send {
        self.from(epoch, 0)
    }

    /// The batches of an epoch from the `skip`-th on; those before are not cut.
    fn from(&self, epoch: u64, skip: usize) -> impl ExactSizeIterator<Item = Batch> + Send {
        let order = self.seed.map(|seed| permutation(self.len(), seed, epoch));
        let batch = move |i| self.batch(order.as_ref().map_or(i, |order| order[i]));
        (skip.min(self.len())..self.len()).map(batch)
    }

    fn batch(&self, i: usize) -> Batch {
        let cut = || self.cut(i).expect("rows that were checked when the batches were planned");
        match &self.kept {
            Some(kept) => (**kept[i].get_or_init(|| Box::new(cut().lasting()))).clone(),
            None => cut(),
        }
    }

    #[track_caller]
    fn cut(&self, i: usize) -> Result<Batch> {
        let (rows, first) = (self.data.rows(), i * self.size);
        let end = rows.min(first.saturating_add(self.size));
        let pad = self.end.saturating_sub(rows) * usize::from(end == rows);
        let part = if pad == 0 {
            self.data.rows_window(first, end)?
        } else {
            let order: Vec<usize> = (first..rows).chain((0..rows).cycle().take(pad)).collect();
            self.data.gather(&order)?
        };
        Ok(Batch::new(part, first, pad, None))
    }
}

impl BatchSource for Batches {
    fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>> {
        Ok(Box::new(self.from(epoch, skip).map(Ok)))
    }

    fn rows(&self) -> Option<usize> {
        Some(self.end.min(self.data.rows()))
    }
}
