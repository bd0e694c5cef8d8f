//! Data sets that need not fit memory, chunk by chunk.

use std::cmp::Ordering;
use std::marker::PhantomData;

use super::collect::{Collected, Source};
use super::scan::Decimal;
use super::{Libsvm, SeparateLabels};
use crate::data::dataset::Dataset;
use crate::data::schema::Schema;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Tensor;

/// How much a stream holds in memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// This many rows (the last chunk may have fewer), in whatever memory they take.
    Rows(usize),
    /// Lines of about this many bytes of text: the line that reaches it is the chunk's last.
    Bytes(usize),
}

impl Chunk {
    fn bounds(self) -> (usize, usize) {
        match self {
            Chunk::Rows(rows) => (rows, usize::MAX),
            Chunk::Bytes(bytes) => (usize::MAX, bytes),
        }
    }

    /// The chunk, unless it holds nothing.
    #[track_caller]
    pub(super) fn checked(self) -> Result<Self> {
        match self {
            Chunk::Rows(0) | Chunk::Bytes(0) => {
                Err(Error::new(ErrorKind::Value, format!("a chunk of {self:?} is empty")))
            }
            _ => Ok(self),
        }
    }
}

/// The chunks of a larger data set, in order: see [`Libsvm::stream`]. Ends after the first error.
///
/// May be sent to another thread, to read ahead while a batch is being worked on.
pub struct Stream<'a>(Box<dyn Iterator<Item = Result<Dataset>> + Send + 'a>);

impl<'a> Stream<'a> {
    pub(super) fn new<T: Decimal>(chunks: Chunks<'a, T>) -> Self {
        Stream(Box::new(chunks))
    }
}

impl Iterator for Stream<'_> {
    type Item = Result<Dataset>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

pub(super) struct Chunks<'a, T> {
    pub options: Libsvm,
    pub schema: Schema,
    pub chunk: Chunk,
    pub source: Source<'a>,
    /// The separate label file, read in step.
    pub labels: Option<Source<'a>>,
    pub ended: bool,
    /// Rows in the chunks before.
    pub done: usize,
    pub element: PhantomData<T>,
}

impl<T: Decimal> Chunks<'_, T> {
    fn chunk(&mut self) -> Result<Option<Dataset>> {
        let (rows, bytes) = self.chunk.bounds();
        let mut collected = self.source.take::<T>(rows, bytes)?;
        // Comments may use up a chunk of bytes; only the end of the input gives none.
        while collected.rows() == 0 && collected.bytes > 0 {
            collected = self.source.take(rows, bytes)?;
        }
        let labels = match &mut self.labels {
            Some(source) => Some(source.take::<T>(collected.rows().max(1), usize::MAX)?),
            None => None,
        };
        if collected.rows() == 0 && labels.as_ref().is_none_or(|l| l.rows() == 0) {
            return Ok(None);
        }
        let rows = collected.rows();
        let chunk = self.options.assemble(collected, labels, self.schema, self.done)?;
        self.done += rows;
        Ok(Some(chunk))
    }
}

impl<T: Decimal> Iterator for Chunks<'_, T> {
    type Item = Result<Dataset>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let chunk = self.chunk().transpose();
        self.ended = !matches!(chunk, Some(Ok(_)));
        chunk
    }
}

impl Libsvm {
    /// A data set from its rows and those of the separate label file, after `done` rows.
    pub(super) fn assemble<T: Decimal>(
        &self,
        mut rows: Collected<T>,
        labels: Option<Collected<T>>,
        schema: Schema,
        done: usize,
    ) -> Result<Dataset> {
        let labels = match (&self.separate_labels, labels) {
            (Some(separate), Some(labels)) => {
                check_rows(separate, done + labels.rows(), done + rows.rows())?;
                self.separate(separate, labels, schema)?
            }
            _ => rows.labels(self.label_columns)?,
        };
        let qids = rows.qids()?;
        let (features, dropped) = rows.features(schema, self.wider)?;
        Ok(Dataset { features, labels, qids, inputs: Vec::new(), schema, dropped })
    }

    fn separate<T: Decimal>(
        &self,
        separate: &SeparateLabels,
        mut labels: Collected<T>,
        schema: Schema,
    ) -> Result<Tensor> {
        match *separate {
            SeparateLabels::Numbers(_) => labels.labels(self.label_columns),
            SeparateLabels::Entries(_, columns) => {
                let schema = Schema::new(schema.base(), columns)?;
                Ok(labels.features(schema, super::Wider::Refuse)?.0)
            }
        }
    }
}

/// Labels and features must have as many rows; counted from the beginning of the files.
pub(super) fn check_rows(separate: &SeparateLabels, labels: usize, features: usize) -> Result<()> {
    let path = separate.path().display();
    let message = match labels.cmp(&features) {
        Ordering::Equal => return Ok(()),
        Ordering::Less => {
            format!("{path}: ends after row {labels}, but there are features of row {}", labels + 1)
        }
        Ordering::Greater => format!(
            "{path}: labels of row {}, but the features end after row {features}",
            features + 1
        ),
    };
    Err(Error::new(ErrorKind::Parse, message).nowhere())
}
