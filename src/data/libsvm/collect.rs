//! Parts of files, parsed in parallel and joined to tensors.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::Wider;
use super::input::{Block, Input, Lines, Opened};
use super::parse::{Grammar, Part, Room, TooWide, most_entries, qid_mismatch};
use super::scan::{Decimal, Fault};
use crate::data::dataset::Dropped;
use crate::data::schema::{IdBase, Schema};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::pages::zeroed_vec;
use crate::tensor::{Layout, Pattern, Tensor};

/// Bytes of text parsed by one task, whatever the number of threads.
const PART: usize = 1 << 20;

/// Bytes of a stream that are in memory at once.
const WINDOW: usize = 8 << 20;

/// What was seen of ids.
#[derive(Debug, Default)]
pub(super) struct Ids {
    has_zero: bool,
    max: Option<u32>,
    too_wide: Vec<TooWide<Error>>,
}

impl Ids {
    fn add<T>(&mut self, part: &Part<T>, locate: impl Fn(&Fault) -> Error) {
        self.has_zero |= part.has_zero;
        self.max = self.max.max(part.max_id);
        for wide in &part.too_wide {
            self.note(wide.if_zero_based, || locate(&wide.error));
        }
    }

    /// Of each kind, the first is enough; to locate an error takes time.
    fn note(&mut self, if_zero_based: bool, error: impl FnOnce() -> Error) {
        if self.too_wide.iter().all(|w| w.if_zero_based != if_zero_based) {
            self.too_wide.push(TooWide { if_zero_based, error: error() });
        }
    }

    /// Adds what was seen later.
    pub fn merge(&mut self, later: Ids) {
        self.has_zero |= later.has_zero;
        self.max = self.max.max(later.max);
        for wide in later.too_wide {
            self.note(wide.if_zero_based, || wide.error);
        }
    }

    /// The schema that was stated, or else found.
    pub fn schema(&self, grammar: &Grammar) -> Result<Schema> {
        let found = if self.has_zero { IdBase::Zero } else { IdBase::One };
        let base = grammar.base.unwrap_or(found);
        let wide = self.too_wide.iter().find(|w| base == IdBase::Zero || !w.if_zero_based);
        if let Some(wide) = wide {
            return Err(wide.error.clone());
        }
        let width = self.max.map_or(0, |max| max as usize + 1 - base.first_id() as usize);
        Schema::new(base, grammar.features.unwrap_or(width)).map_err(crate::Error::nowhere)
    }
}

/// Rows in the order of the files.
pub(super) struct Collected<T> {
    indptr: Vec<usize>,
    /// Columns, if ids count from the [grammar's](Grammar::first_id) first one.
    columns: Vec<u32>,
    first_id: u32,
    values: Vec<T>,
    labels: Vec<T>,
    qids: Vec<i64>,
    pub bytes: usize,
    pub ids: Ids,
    /// Whether rows have a query id; unknown before the first row.
    has_qids: Option<bool>,
}

impl<T: Decimal> Collected<T> {
    /// No rows, after others that have query ids or not.
    pub fn new(has_qids: Option<bool>) -> Self {
        Collected {
            indptr: vec![0],
            columns: Vec::new(),
            first_id: 0,
            values: Vec::new(),
            labels: Vec::new(),
            qids: Vec::new(),
            bytes: 0,
            ids: Ids::default(),
            has_qids,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Adds the rows of a block, of which a task parses about `part` bytes.
    pub fn add(&mut self, block: &Block, grammar: &Grammar, part: usize) -> Result<()> {
        self.bytes += block.text.len();
        self.first_id = grammar.first_id();
        let ranges = split(block.text, block.start(), part);
        let most: Vec<_> =
            ranges.par_iter().map(|r| most_entries(&block.text[r.clone()])).collect();
        let parts = self.parse(block, grammar, &ranges, &most);
        let rows: usize = parts.iter().flatten().map(|part| part.ends.len()).sum();
        self.indptr.reserve(rows);
        self.labels.reserve(parts.iter().flatten().map(|part| part.labels.len()).sum());
        let mut start = self.indptr[self.rows()];
        for ((range, part), most) in ranges.into_iter().zip(parts).zip(most) {
            let text = &block.text[range.clone()];
            let locate = |fault: &Fault| block.locate(range.start + fault.at, &fault.message);
            let part = part.map_err(|fault| locate(&fault))?;
            if !part.ends.is_empty() {
                let has_qids = !part.qids.is_empty();
                if *self.has_qids.get_or_insert(has_qids) != has_qids {
                    return Err(locate(&qid_mismatch(text, part.first_row, has_qids)));
                }
                self.ids.add(&part, locate);
                self.append(part, start);
            }
            start += most;
        }
        let end = self.indptr[self.rows()];
        self.columns.truncate(end);
        self.values.truncate(end);
        Ok(())
    }

    /// Parses the ranges in parallel; each writes entries to a room of its own behind what is there.
    fn parse(
        &mut self,
        block: &Block,
        grammar: &Grammar,
        ranges: &[Range<usize>],
        most: &[usize],
    ) -> Vec<Result<Part<T>, Fault>> {
        let start = self.columns.len();
        let total = start + most.iter().sum::<usize>();
        extend_zeros(&mut self.columns, total);
        extend_zeros(&mut self.values, total);
        let (mut ids_left, mut values_left) =
            (&mut self.columns[start..], &mut self.values[start..]);
        let mut jobs = Vec::with_capacity(ranges.len());
        for (range, &most) in ranges.iter().zip(most) {
            let (ids, rest) = std::mem::take(&mut ids_left).split_at_mut(most);
            ids_left = rest;
            let (values, rest) = std::mem::take(&mut values_left).split_at_mut(most);
            values_left = rest;
            jobs.push((&block.text[range.clone()], Room { ids, values }));
        }
        jobs.into_par_iter().map(|(text, room)| Part::parse(text, grammar, room)).collect()
    }

    /// Adds rows whose entries begin at `start`, and closes the gap before them: comments and query
    /// ids have colons as well.
    fn append(&mut self, part: Part<T>, start: usize) {
        let end = self.indptr[self.rows()];
        if start > end {
            self.columns.copy_within(start..start + part.len(), end);
            self.values.copy_within(start..start + part.len(), end);
        }
        self.indptr.extend(part.ends.iter().map(|n| end + n));
        self.labels.extend_from_slice(&part.labels);
        self.qids.extend_from_slice(&part.qids);
    }

    /// Entries as a CSR matrix.
    pub fn features(mut self, schema: Schema, wider: Wider) -> Result<(Tensor, Dropped)> {
        let bucket = match wider {
            Wider::Bucket(column) => Some(checked(column, schema)?),
            Wider::Drop | Wider::Refuse => None,
        };
        let first_id = schema.base().first_id();
        if self.first_id != first_id {
            let further = self.first_id.wrapping_sub(first_id);
            self.columns.par_iter_mut().for_each(|column| *column = column.wrapping_add(further));
        }
        let end = schema.features() as u64;
        let mut dropped = Dropped::default();
        let is_wider = |max: u32| u64::from(max) >= end + u64::from(first_id);
        if wider != Wider::Refuse && self.ids.max.is_some_and(is_wider) {
            dropped = self.drop_from(end, bucket);
        }
        let rows = self.rows();
        if rows as u64 > 1 << 32 {
            let message = format!("{rows} rows, but at most 4294967296 (2^32) are supported");
            return Err(Error::new(ErrorKind::Shape, message).nowhere());
        }
        let (indptr, indices) = (self.indptr.into(), self.columns.into());
        let pattern = Pattern::new(schema.features(), indptr, indices);
        let shape = [rows, schema.features()].into();
        let layout = Layout::Csr(Arc::new(pattern));
        Ok((Tensor::from_parts(shape, layout, T::erase(self.values.into())), dropped))
    }

    /// Leaves out entries whose column is `end` or more; their sum becomes the row's entry `bucket`.
    fn drop_from(&mut self, end: u64, bucket: Option<u32>) -> Dropped {
        let (mut kept, mut first, mut dropped) = (0, 0, Vec::new());
        for row_end in &mut self.indptr[1..] {
            let row = first..*row_end;
            first = row.end;
            let (start, mut sum) = (kept, None);
            for k in row {
                let column = self.columns[k];
                if u64::from(column) >= end {
                    dropped.push(column);
                    sum = Some(sum.unwrap_or(T::zero()) + self.values[k]);
                    continue;
                }
                (self.columns[kept], self.values[kept]) = (column, self.values[k]);
                kept += 1;
            }
            if let (Some(column), Some(sum)) = (bucket, sum) {
                let at = start + self.columns[start..kept].partition_point(|&own| own < column);
                if at < kept && self.columns[at] == column {
                    self.values[at] = self.values[at] + sum;
                } else {
                    // An entry was left out, so there is room for one.
                    self.columns.copy_within(at..kept, at + 1);
                    self.values.copy_within(at..kept, at + 1);
                    (self.columns[at], self.values[at]) = (column, sum);
                    kept += 1;
                }
            }
            *row_end = kept;
        }
        self.columns.truncate(kept);
        self.values.truncate(kept);
        let entries = dropped.len();
        dropped.par_sort_unstable();
        dropped.dedup();
        Dropped { entries, columns: dropped.len() }
    }

    /// Takes the labels out, as `(rows,)`, or `(rows, count)` unless there is one for each row.
    pub fn labels(&mut self, count: usize) -> Result<Tensor> {
        let labels = std::mem::take(&mut self.labels);
        match count {
            1 => Tensor::dense([self.rows()], labels),
            _ => Tensor::dense([self.rows(), count], labels),
        }
    }

    /// Takes the query ids out, if there are any.
    pub fn qids(&mut self) -> Result<Option<Tensor>> {
        let qids = std::mem::take(&mut self.qids);
        let has_qids = self.has_qids == Some(true);
        has_qids.then(|| Tensor::dense([self.rows()], qids)).transpose()
    }
}

/// A column that there is.
fn checked(bucket: u32, schema: Schema) -> Result<u32> {
    if (bucket as usize) < schema.features() {
        return Ok(bucket);
    }
    let message = format!("bucket {bucket} of {} columns", schema.features());
    Err(Error::new(ErrorKind::Index, message).operator("libsvm").nowhere())
}

/// Makes a vector longer. A first allocation is of zero pages, large if possible, which cost nothing until
/// written.
fn extend_zeros<A: Copy + Default>(vec: &mut Vec<A>, len: usize) {
    if vec.is_empty() {
        *vec = zeroed_vec(len);
    } else {
        vec.resize(len, A::default());
    }
}

/// Ranges of about `part` bytes that end at line ends.
fn split(text: &[u8], mut start: usize, part: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    while start < text.len() {
        let nominal = text.len().min(start.saturating_add(part));
        let line_end = memchr::memchr(b'\n', &text[nominal..]);
        let end = line_end.map_or(text.len(), |n| nominal + n + 1);
        ranges.push(start..end);
        start = end;
    }
    ranges
}

/// Inputs read one after the other.
pub(super) struct Source<'a> {
    waiting: std::vec::IntoIter<Input<'a>>,
    open: Option<Lines<'a>>,
    grammar: Grammar,
    has_qids: Option<bool>,
}

impl<'a> Source<'a> {
    pub fn new(inputs: Vec<Input<'a>>, grammar: Grammar) -> Self {
        Source { waiting: inputs.into_iter(), open: None, grammar, has_qids: None }
    }

    /// Everything; plain files are mapped.
    pub fn take_all<T: Decimal>(self) -> Result<Collected<T>> {
        let mut collected = Collected::new(None);
        for input in self.waiting {
            match input.open()? {
                Opened::Mapped(name, text) => {
                    let block = Block { name: &name, first_line: 1, text: &text };
                    collected.add(&block, &self.grammar, PART)?;
                }
                Opened::Stream(mut lines) => {
                    while let Some(block) = lines.next_block(usize::MAX, WINDOW)? {
                        collected.add(&block, &self.grammar, PART)?;
                    }
                }
            }
        }
        Ok(collected)
    }

    /// The next `rows` rows, or fewer lines of about `bytes` bytes; nothing at the end.
    pub fn take<T: Decimal>(&mut self, rows: usize, bytes: usize) -> Result<Collected<T>> {
        let grammar = self.grammar;
        let mut collected = Collected::new(self.has_qids);
        while collected.rows() < rows && collected.bytes < bytes {
            let Some(lines) = self.current()? else { break };
            let window = WINDOW.min(bytes - collected.bytes);
            match lines.next_block(rows - collected.rows(), window)? {
                Some(block) => collected.add(&block, &grammar, PART)?,
                None => self.open = None,
            }
        }
        self.has_qids = collected.has_qids;
        Ok(collected)
    }

    fn current(&mut self) -> Result<Option<&mut Lines<'a>>> {
        if self.open.is_none() {
            self.open = self.waiting.next().map(Input::lines).transpose()?;
        }
        Ok(self.open.as_mut())
    }
}
