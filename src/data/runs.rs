//! Rows that come block by block, cut into batches.

use std::ops::Range;

use super::batches::Batch;
use super::dataset::Dataset;
use crate::error::Result;
use crate::tensor::Tensor;

/// Some rows of a block, in the order they are trained on.
pub(super) struct Run {
    pub block: Dataset,
    /// Number in the data set of the block's first row.
    pub first_row: usize,
    pub rows: Rows,
}

/// Rows, numbered from the beginning of their block.
pub(super) enum Rows {
    InOrder(Range<usize>),
    Mixed(std::vec::IntoIter<usize>),
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Rows::InOrder(rows) => rows.len(),
            Rows::Mixed(rows) => rows.len(),
        }
    }

    /// The next `n`.
    fn take(&mut self, n: usize) -> Vec<usize> {
        match self {
            Rows::InOrder(rows) => rows.take(n).collect(),
            Rows::Mixed(rows) => rows.take(n).collect(),
        }
    }
}

impl Run {
    /// The next `n` rows, as a window of the block where that is possible.
    fn window(&mut self, n: usize) -> Result<(Dataset, Vec<usize>)> {
        let Rows::InOrder(rows) = &mut self.rows else { return self.copy(n) };
        let start = rows.start;
        rows.start += n;
        let number = self.first_row + start;
        Ok((self.block.rows_window(start, start + n)?, vec![number]))
    }

    /// The next `n` rows, which do not keep the block in memory.
    fn copy(&mut self, n: usize) -> Result<(Dataset, Vec<usize>)> {
        let mut rows = self.rows.take(n);
        let copy = self.block.gather(&rows)?;
        rows.iter_mut().for_each(|row| *row += self.first_row);
        Ok((copy, rows))
    }
}

/// The batches of an epoch.
pub(super) struct Cutter<I> {
    pub runs: I,
    /// What is cut at present.
    pub run: Option<Run>,
    /// Rows of a batch.
    pub size: usize,
    /// Rows that were handed out, the padded ones too, and in the end.
    pub done: usize,
    pub end: usize,
    /// After so many rows come padded ones.
    pub own: usize,
    /// Whether rows come in another order than the data set's.
    pub mixed: bool,
}

impl<I: Iterator<Item = Result<Run>>> Cutter<I> {
    fn batch(&mut self) -> Result<Batch> {
        let rows = self.size.min(self.end - self.done);
        let run = self.current()?;
        let (data, numbers) = match run.rows.len() {
            left if left >= rows => run.window(rows)?,
            _ => self.joined(rows)?,
        };
        self.done += rows;
        let pad = self.done.saturating_sub(self.own);
        let first_row = numbers[0];
        Ok(Batch::new(data, first_row, pad, self.mixed.then(|| numbers.into())))
    }

    /// Rows of several blocks; each is given up before the next one comes.
    fn joined(&mut self, rows: usize) -> Result<(Dataset, Vec<usize>)> {
        let (mut pieces, mut numbers) = (Vec::new(), Vec::new());
        while numbers.len() < rows {
            let run = self.current()?;
            let (piece, own) = run.copy(run.rows.len().min(rows - numbers.len()))?;
            pieces.push(piece);
            numbers.extend(own);
        }
        Ok((stack(&pieces)?, numbers))
    }

    /// The run that has rows left.
    fn current(&mut self) -> Result<&mut Run> {
        if self.run.as_ref().is_some_and(|run| run.rows.len() == 0) {
            self.run = None;
        }
        let run = match self.run.take() {
            Some(run) => run,
            None => self.runs.next().expect("runs have all rows that were counted")?,
        };
        Ok(self.run.insert(run))
    }
}

impl<I: Iterator<Item = Result<Run>>> Iterator for Cutter<I> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.end {
            return None;
        }
        let batch = self.batch();
        if batch.is_err() {
            self.end = self.done;
        }
        Some(batch)
    }
}

/// The rows of all, one after the other.
fn stack(pieces: &[Dataset]) -> Result<Dataset> {
    let join =
        |of: fn(&Dataset) -> &Tensor| Tensor::concat(&pieces.iter().map(of).collect::<Vec<_>>(), 0);
    let qids: Option<Vec<&Tensor>> = pieces.iter().map(|piece| piece.qids.as_ref()).collect();
    Ok(Dataset {
        features: join(|piece| &piece.features)?,
        labels: join(|piece| &piece.labels)?,
        qids: qids.map(|qids| Tensor::concat(&qids, 0)).transpose()?,
        ..pieces[0].clone()
    })
}
