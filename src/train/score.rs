//! Scores and predictions: the model run over a source without training.

use std::io::Write;
use std::ops::DerefMut;
use std::time::Instant;

use super::metrics::{Metric, Scored};
use super::runner::{Pass, Runner, no_output};
use super::{Record, Trainer};
use crate::data::{Batch, BatchSource, write_number};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Stype, Tensor, row_len};

impl Trainer<'_> {
    /// Runs the model over all batches: the loss, weighed by rows, and these metrics, which start anew. Rows that
    /// [pad](crate::data::LastBatch::Pad) a batch are not counted, but its loss is the one that the model gives for all of
    /// its rows.
    ///
    /// ```
    /// use sparsetape::data::Dataset;
    /// use sparsetape::optim::Sgd;
    /// use sparsetape::train::{Progress, Trainer, loss_fn};
    /// use sparsetape::{Params, Tensor};
    /// let model = loss_fn(|tape, batch| batch.var(tape, "label").square().mean());
    /// let mut trainer = Trainer::new(&model, Params::default(), Sgd::new(0.1));
    /// let data = Dataset::from_labels(Tensor::dense([3], vec![1.0f32, 2.0, 3.0])?)?;
    /// let record = trainer.score(&data.batches(2).build()?, &mut [])?;
    /// assert_eq!((record.rows, record.value("loss")), (3, Some((2.5 * 2.0 + 9.0) / 3.0)));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`forward`](Trainer::forward) and [`update_metric`](Trainer::update_metric), and those of the source.
    #[track_caller]
    pub fn score(
        &mut self,
        data: &dyn BatchSource,
        metrics: &mut [&mut dyn Metric],
    ) -> Result<Record> {
        self.begin("scoring", data);
        let scored = self.score_as("score", data, metrics);
        self.progress.clear();
        scored
    }

    /// A pass over this source begins.
    pub(super) fn begin(&mut self, what: &str, data: &dyn BatchSource) {
        self.progress.begin(what, data.rows().map(|rows| rows as u64));
    }

    #[track_caller]
    pub(super) fn score_as<M: DerefMut<Target: Metric>>(
        &mut self,
        split: &str,
        data: &dyn BatchSource,
        metrics: &mut [M],
    ) -> Result<Record> {
        let mut tally = Tally::begin();
        metrics.iter_mut().for_each(|metric| metric.reset());
        for batch in data.read(0, 0)? {
            let batch = batch?;
            self.runner.forward(&batch, Pass::Score)?;
            let loss = self.runner.loss()?;
            update_metrics(&*self.runner, metrics, &batch)?;
            self.progress.advance(tally.add(&batch, loss), loss);
        }
        let metrics = metrics.iter().map(|metric| (metric.name(), metric.value()));
        let record = Record { epoch: self.run.epoch, step: self.run.step, ..Record::new(split) };
        Ok(tally.end(record, metrics))
    }

    /// Runs the model over all batches and shows its first output for each to `f`, without padded rows.
    ///
    /// # Errors
    /// As [`forward`](Trainer::forward), those of the source and of `f`; [`ErrorKind::State`] for a model without
    /// outputs.
    #[track_caller]
    pub fn predict_each(
        &mut self,
        data: &dyn BatchSource,
        mut f: impl FnMut(&Batch, &Tensor) -> Result<()>,
    ) -> Result<()> {
        self.begin("predicting", data);
        let predicted = self.predict_batches(data, &mut f);
        self.progress.clear();
        predicted
    }

    #[track_caller]
    fn predict_batches(
        &mut self,
        data: &dyn BatchSource,
        f: &mut dyn FnMut(&Batch, &Tensor) -> Result<()>,
    ) -> Result<()> {
        for batch in data.read(0, 0)? {
            let batch = batch?;
            self.runner.forward(&batch, Pass::Predict)?;
            f(&batch, &first_output(&*self.runner, &batch)?)?;
            self.progress.advance((batch.rows() - batch.pad) as u64, None);
        }
        Ok(())
    }

    /// What the model predicts for all rows, in the order of the source: `(rows, ..)`. One that shuffles has another
    /// order than its data: [`Batch::row_number`] says which row is which in [`predict_each`](Trainer::predict_each).
    ///
    /// # Errors
    /// As [`predict_each`](Trainer::predict_each); [`ErrorKind::State`] for a source without batches.
    #[track_caller]
    pub fn predict(&mut self, data: &dyn BatchSource) -> Result<Tensor> {
        let mut parts = Vec::new();
        self.predict_each(data, |_, output| {
            parts.push(output.clone());
            Ok(())
        })?;
        if parts.is_empty() {
            let message = "the source has no batches, so it is not known what a row is";
            return Err(Error::new(ErrorKind::State, message).operator("predict"));
        }
        Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
    }

    /// Writes what the model predicts, a line per row in the order of the source, batch by batch: a row's
    /// numbers, separated by blanks, with the fewest digits that identify them. How many rows there were.
    ///
    /// # Errors
    /// As [`predict_each`](Trainer::predict_each); [`ErrorKind::Io`] if writing fails.
    #[track_caller]
    pub fn predict_to(&mut self, data: &dyn BatchSource, writer: impl Write) -> Result<u64> {
        let mut to = std::io::BufWriter::new(writer);
        let mut rows = 0;
        let failed = |e| Error::new(ErrorKind::Io, "predictions").nowhere().caused_by(e);
        self.predict_each(data, |_, output| {
            rows += output.shape()[0] as u64;
            write_rows(&mut to, output).map_err(failed)
        })?;
        to.flush().map_err(failed)?;
        Ok(rows)
    }
}

/// Rows and losses of a pass over a source.
pub(super) struct Tally {
    clock: Instant,
    rows: u64,
    loss: f64,
    has_loss: bool,
}

impl Tally {
    pub fn begin() -> Tally {
        Tally { clock: Instant::now(), rows: 0, loss: 0.0, has_loss: false }
    }

    /// Counts a batch; how many rows it has.
    pub fn add(&mut self, batch: &Batch, loss: Option<f64>) -> u64 {
        let rows = (batch.rows() - batch.pad) as u64;
        self.rows += rows;
        if let Some(loss) = loss {
            self.loss += loss * rows as f64;
            self.has_loss = true;
        }
        rows
    }

    /// The mean over the rows so far.
    pub fn loss(&self) -> Option<f64> {
        self.has_loss.then(|| self.loss / self.rows as f64)
    }

    /// The record with what was measured.
    pub fn end(&self, record: Record, metrics: impl Iterator<Item = (String, f64)>) -> Record {
        let loss = self.loss().map(|loss| ("loss".to_owned(), loss));
        Record {
            rows: self.rows,
            seconds: self.clock.elapsed().as_secs_f64(),
            values: loss.into_iter().chain(metrics).collect(),
            ..record
        }
    }
}

/// Adds the rows of a batch to metrics, with the last forward pass's first output.
#[track_caller]
pub(super) fn update_metrics<M: DerefMut<Target: Metric>>(
    runner: &dyn Runner,
    metrics: &mut [M],
    batch: &Batch,
) -> Result<()> {
    if metrics.is_empty() {
        return Ok(());
    }
    let shown = Shown::new(runner, batch)?;
    for metric in metrics {
        metric.update(&shown.scored())?;
    }
    Ok(())
}

/// What metrics see of a batch: no padded rows.
pub(super) struct Shown {
    predictions: Tensor,
    labels: Tensor,
    qids: Option<Tensor>,
    weights: Option<Tensor>,
}

impl Shown {
    #[track_caller]
    pub fn new(runner: &dyn Runner, batch: &Batch) -> Result<Shown> {
        let own = |tensor: &Tensor| unpadded(tensor, batch);
        Ok(Shown {
            predictions: first_output(runner, batch)?,
            labels: own(&batch.labels)?,
            qids: batch.qids.as_ref().map(own).transpose()?,
            weights: batch.further_input("weight").map(own).transpose()?,
        })
    }

    pub fn scored(&self) -> Scored<'_> {
        let mut scored = Scored::new(&self.predictions, &self.labels);
        (scored.qids, scored.weights) = (self.qids.as_ref(), self.weights.as_ref());
        scored
    }
}

/// What the last forward pass predicted for the rows of its batch that are not padded.
#[track_caller]
fn first_output(runner: &dyn Runner, batch: &Batch) -> Result<Tensor> {
    let Some(output) = runner.outputs()?.into_iter().next() else { return Err(no_output()) };
    let (ty, rows) = (output.ty(), batch.rows());
    let (kind, why) = match () {
        _ if ty.stype != Stype::Default => (ErrorKind::Stype, "predictions are dense".to_owned()),
        _ if ty.shape.first() != Some(&rows) => {
            (ErrorKind::Shape, format!("the batch has {rows} rows"))
        }
        _ => return unpadded(&output, batch),
    };
    let message = format!("the model's output is {ty}, but {why}");
    Err(Error::new(kind, message).operator("trainer"))
}

/// Rows that are not padded.
fn unpadded(tensor: &Tensor, batch: &Batch) -> Result<Tensor> {
    match batch.pad {
        0 => Ok(tensor.clone()),
        pad => tensor.rows_window(0, batch.rows() - pad),
    }
}

fn write_rows(to: &mut impl Write, output: &Tensor) -> std::io::Result<()> {
    let (width, values) = (row_len(output.shape()), output.view().values());
    for row in 0..output.shape()[0] {
        for column in 0..width {
            if column > 0 {
                to.write_all(b" ")?;
            }
            write_number(to, values, row * width + column)?;
        }
        to.write_all(b"\n")?;
    }
    Ok(())
}
