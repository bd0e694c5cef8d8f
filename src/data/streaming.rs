//! Batches of files that need not fit memory.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ahead::{Ahead, Giver};
use super::batches::LastBatch;
use super::dataset::part_of;
use super::libsvm::{Index, Libsvm};
use super::order::permutation;
use super::runs::{Cutter, Rows, Run};
use super::source::{BatchIter, BatchSource};
use crate::error::{Error, ErrorKind, Result};

impl Libsvm {
    /// A plan that cuts files, which need not fit memory, into batches of `size` rows; see [`StreamPlan`]. Base and
    /// number of features must be stated, as for [`stream`](Libsvm::stream).
    ///
    /// ```
    /// # let path = std::env::temp_dir().join("sparsetape-stream-batches.svm");
    /// # std::fs::write(&path, "1 1:0.5\n0 3:2\n1 2:1\n").unwrap();
    /// use sparsetape::data::{BatchSource, Libsvm};
    /// let paths = [path];
    /// let reader = Libsvm::new().schema(Libsvm::new().find_schema(&paths)?);
    /// let source = reader.stream_batches(&paths, 2).memory(32 << 20).shuffle(7).build()?;
    /// for epoch in 0..2 {
    ///     for batch in source.read(epoch, 0)? {
    ///         assert_eq!(batch?.features.shape()[1], 3);
    ///     }
    /// }
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn stream_batches<P: AsRef<Path>>(&self, paths: &[P], size: usize) -> StreamPlan {
        let paths = paths.iter().map(|path| path.as_ref().to_path_buf()).collect();
        let (last, memory, seed, part) = (LastBatch::Keep, 64 << 20, None, (0, 1));
        StreamPlan { reader: self.clone(), paths, size, last, memory, seed, part }
    }
}

/// How to cut files into batches while they are read: see [`Libsvm::stream_batches`].
///
/// A background thread parses a block of rows while batches are cut from the block before. Without
/// [`shuffle`](StreamPlan::shuffle) the batches are those of the files read as a whole:
/// [`Dataset::part`](super::Dataset::part), then [`Dataset::batches`](super::Dataset::batches). The memory
/// given changes nothing then, and the number of threads never does.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    reader: Libsvm,
    paths: Vec<PathBuf>,
    size: usize,
    last: LastBatch,
    memory: usize,
    seed: Option<u64>,
    part: (usize, usize),
}

impl StreamPlan {
    /// What happens to the rows that do not fill a batch; kept by default. With [`LastBatch::Pad`], rows
    /// from the beginning are read once more at the end of an epoch.
    pub fn last(mut self, last: LastBatch) -> Self {
        self.last = last;
        self
    }

    /// Bytes that blocks take in all; 64 MiB by default. That is enough for the text that is being parsed, its
    /// rows, those of the block in use, and those of the block before: a tape holds its last batch until it is
    /// cleared. A block ends with its file, and holds a line at least, whatever that takes.
    ///
    /// Batches are windows of their block, which count no further, unless they are shuffled, padded or of rows of
    /// several blocks: those are copies. Whoever keeps a batch keeps its block.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Reads blocks in another order and mixes the rows within each, as `seed`, the epoch, the blocks (so the
    /// memory) and the part say. If a file is compressed, blocks stay in order and only their rows
    /// are mixed: the more memory, the better.
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Only the `k`-th of `n` parts of (almost) as many rows, which share no row: what one of n workers trains
    /// on. Of plain files, only this part is parsed. Rows are numbered within the part. (MXNet:
    /// `part_index`, `num_parts`.)
    pub fn part(mut self, k: usize, n: usize) -> Self {
        self.part = (k, n);
        self
    }

    /// Looks for the rows in the files, without parsing them, and cuts them into blocks.
    ///
    /// # Errors
    /// [`ErrorKind::State`] unless base and number of features are stated;
    /// [`ErrorKind::Value`] for batches of 0 rows, a memory of 0 bytes, or a part that there is not;
    /// [`ErrorKind::Shape`] to pad with more than 2^32 rows; [`ErrorKind::Io`] for a file that is not
    /// read, or is not a regular one; [`ErrorKind::Parse`] for a line of more than 64 MiB, or if a label
    /// file has not as many rows.
    ///
    /// All others (see [`Libsvm`]) come in the place of the first batch that holds a row of the block at fault.
    #[track_caller]
    pub fn build(&self) -> Result<StreamedBatches> {
        self.reader.stated()?;
        if self.memory == 0 {
            return Err(Error::new(ErrorKind::Value, "blocks of 0 bytes hold nothing"));
        }
        let (k, n) = self.part;
        part_of(0, k, n)?;
        self.last.end(0, self.size)?;
        let index = Arc::new(self.reader.index(&self.paths, self.memory)?);
        self.reader.block_reader(index.clone())?;
        let part = part_of(index.rows(), k, n)?;
        let spans = (0..).zip(&index.blocks).map(|(block, rows)| {
            let within = |row: usize| row.clamp(rows.first_row, rows.first_row + rows.rows);
            let (start, end) = (within(part.start), within(part.end));
            let first_row = start - part.start.min(start);
            Span { block, rows: start - rows.first_row..end - rows.first_row, first_row }
        });
        let spans = spans.filter(|span| !span.rows.is_empty()).collect();
        let end = self.last.end(part.len(), self.size)?;
        let (reader, rows, size, seed) = (self.reader.clone(), part.len(), self.size, self.seed);
        Ok(StreamedBatches(Arc::new(Streamed { reader, index, spans, rows, size, end, seed })))
    }
}

/// Batches that are cut from files while they are read, for any number of epochs; each opens the files anew.
/// Cloning is cheap.
///
/// Reading from batch `skip` on begins with the block that holds it. Dropping the batches of an epoch ends
/// the background thread, after the block that it is parsing.
///
/// **Nobody may change a file** between the plan's [`build`](StreamPlan::build) and the last epoch:
/// [`ErrorKind::State`] if rows are missing then.
#[derive(Clone)]
pub struct StreamedBatches(Arc<Streamed>);

struct Streamed {
    reader: Libsvm,
    index: Arc<Index>,
    spans: Vec<Span>,
    /// Number of rows; where the last batch ends.
    rows: usize,
    end: usize,
    size: usize,
    seed: Option<u64>,
}

/// The rows of a block that belong to the part.
struct Span {
    block: usize,
    rows: Range<usize>,
    /// Number in the part of the first row.
    first_row: usize,
}

/// Rows of a span, by their place in its order.
struct Visit<'a> {
    span: &'a Span,
    places: Range<usize>,
    /// Mixes the rows.
    seed: Option<u64>,
}

impl Streamed {
    /// What an epoch reads from its `done`-th row on.
    fn visits(&self, epoch: u64, done: usize) -> impl Iterator<Item = Visit<'_>> {
        let count = self.spans.len();
        let order = match self.seed {
            Some(seed) if self.index.any_order => permutation(count, seed, epoch),
            _ => (0..count).collect(),
        };
        let own = order.into_iter().map(|i| (&self.spans[i], self.seed));
        let padded = self.spans.iter().cycle().map(|span| (span, None));
        let placed = own.chain(padded).scan(0, |end, (span, seed)| {
            let start = *end;
            *end += span.rows.len();
            Some((start..*end, span, seed))
        });
        let needed = placed.take_while(|(places, ..)| places.start < self.end);
        let visits = needed.map(move |(all, span, seed)| {
            let (first, end) = (done.max(all.start), self.end.min(all.end));
            let places = first - all.start..end.max(first) - all.start;
            Visit { span, places, seed }
        });
        visits.filter(|visit| !visit.places.is_empty())
    }

    /// Reads the rows of an epoch for as long as somebody takes them.
    fn run(&self, epoch: u64, done: usize, thread: &Giver<Run>) -> Result<()> {
        let mut blocks = self.reader.block_reader(self.index.clone())?;
        for Visit { span, places, seed } in self.visits(epoch, done) {
            let Range { start, end } = span.rows;
            let block = blocks.read(span.block)?.rows_window(start, end)?;
            let rows = match seed {
                None => Rows::InOrder(places),
                Some(seed) => {
                    // Another odd multiplier than that of epochs.
                    let block = (span.block as u64 + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
                    let mut order = permutation(end - start, seed.wrapping_add(block), epoch);
                    order.truncate(places.end);
                    Rows::Mixed(order.split_off(places.start).into_iter())
                }
            };
            if !thread.give(Run { block, first_row: span.first_row, rows }) {
                break;
            }
        }
        Ok(())
    }
}

impl StreamedBatches {
    /// Number of batches in an epoch.
    pub fn len(&self) -> usize {
        self.0.end.div_ceil(self.0.size)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.end == 0
    }
}

impl BatchSource for StreamedBatches {
    fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>> {
        let shared = self.0.clone();
        let Streamed { rows: own, size, end, seed, .. } = *shared;
        let done = skip.saturating_mul(size).min(end);
        // The next block waits in its thread until this one is done with; only then is another parsed.
        let runs = Ahead::new(0, move |thread| shared.run(epoch, done, thread))?;
        Ok(Box::new(Cutter { runs, run: None, size, done, end, own, mixed: seed.is_some() }))
    }

    fn rows(&self) -> Option<usize> {
        Some(self.0.end.min(self.0.rows))
    }
}

impl fmt::Debug for StreamedBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedBatches")
            .field("reader", &self.0.reader)
            .field("rows", &self.0.rows)
            .field("batches", &self.len())
            .field("blocks", &self.0.spans.len())
            .finish()
    }
}
