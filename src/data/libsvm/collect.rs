//! Parts of files, parsed in parallel and joined to tensors.

use std::sync::Arc;

use rayon::prelude::*;

use super::Wider;
use super::input::{Block, Input, Lines, Opened};
use super::parse::{Grammar, Part, TooWide, qid_mismatch};
use super::scan::{Decimal, Fault};
use crate::data::dataset::Dropped;
use crate::data::schema::{IdBase, Schema};
use crate::error::{Error, ErrorKind, Result};
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
    fn add<T>(&mut self, part: &mut Part<T>, locate: impl Fn(Fault) -> Error) {
        self.has_zero |= part.has_zero;
        self.max = self.max.max(part.max_id);
        let located = part
            .too_wide
            .drain(..)
            .map(|w| TooWide { if_zero_based: w.if_zero_based, error: locate(w.error) });
        self.append(located);
    }

    /// Of each kind, the first is enough.
    fn append(&mut self, too_wide: impl IntoIterator<Item = TooWide<Error>>) {
        for new in too_wide {
            if self.too_wide.iter().all(|w| w.if_zero_based != new.if_zero_based) {
                self.too_wide.push(new);
            }
        }
    }

    /// Adds what was seen later.
    pub fn merge(&mut self, later: Ids) {
        self.has_zero |= later.has_zero;
        self.max = self.max.max(later.max);
        self.append(later.too_wide);
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
        Schema::new(base, grammar.features.unwrap_or(width))
    }
}

/// Rows in the order of the files.
pub(super) struct Collected<T> {
    parts: Vec<Part<T>>,
    pub rows: usize,
    pub bytes: usize,
    pub ids: Ids,
    /// Whether rows have a query id; unknown before the first row.
    has_qids: Option<bool>,
}

impl<T: Decimal> Collected<T> {
    fn new(has_qids: Option<bool>) -> Self {
        Collected { parts: Vec::new(), rows: 0, bytes: 0, ids: Ids::default(), has_qids }
    }

    fn add(&mut self, block: &Block, grammar: &Grammar) -> Result<()> {
        self.bytes += block.text.len();
        let ranges = split(block.text, block.start());
        let parse =
            |range: &std::ops::Range<usize>| Part::parse(&block.text[range.clone()], grammar);
        let parts: Vec<_> = ranges.par_iter().map(parse).collect();
        for (range, part) in ranges.into_iter().zip(parts) {
            let locate =
                |fault: Fault| block.locate(Fault::new(range.start + fault.at, fault.message));
            let mut part = part.map_err(locate)?;
            if part.ends.is_empty() {
                continue;
            }
            let has_qids = !part.qids.is_empty();
            if *self.has_qids.get_or_insert(has_qids) != has_qids {
                return Err(locate(qid_mismatch(
                    &block.text[range.clone()],
                    part.first_row,
                    has_qids,
                )));
            }
            self.ids.add(&mut part, locate);
            self.rows += part.ends.len();
            self.parts.push(part);
        }
        Ok(())
    }

    /// Entries as a CSR matrix.
    pub fn features(&mut self, schema: Schema, wider: Wider) -> Result<(Tensor, Dropped)> {
        let first_id = schema.base().first_id();
        let end = schema.features() as u64 + u64::from(first_id);
        let mut dropped = Dropped::default();
        if wider == Wider::Drop && self.ids.max.is_some_and(|max| u64::from(max) >= end) {
            dropped = self.drop_from(end);
        }
        if self.rows as u64 > 1 << 32 {
            let message =
                format!("{} rows, but at most 4294967296 (2^32) are supported", self.rows);
            return Err(Error::new(ErrorKind::Shape, message).nowhere());
        }
        let indptr = self.row_pointers();
        let (indices, values) = self.join_entries(first_id);
        let shape = [self.rows, schema.features()];
        let pattern = Pattern::new(shape[1], indptr.into(), indices.into());
        let layout = Layout::Csr(Arc::new(pattern));
        Ok((Tensor::from_parts(shape.into(), layout, T::erase(values.into())), dropped))
    }

    /// Column ids and values of all parts, one after the other; the parts give theirs up.
    fn join_entries(&mut self, first_id: u32) -> (Vec<u32>, Vec<T>) {
        let total = self.parts.iter().map(|p| p.entries.len()).sum();
        let (mut indices, mut values) = (vec![0; total], vec![T::default(); total]);
        let (mut ids_left, mut values_left) = (&mut indices[..], &mut values[..]);
        let mut jobs = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let entries = std::mem::take(&mut part.entries);
            let (ids, rest) = std::mem::take(&mut ids_left).split_at_mut(entries.len());
            ids_left = rest;
            let (values, rest) = std::mem::take(&mut values_left).split_at_mut(entries.len());
            values_left = rest;
            jobs.push((ids, values, entries));
        }
        jobs.into_par_iter().for_each(|(ids, values, entries)| {
            let targets = ids.iter_mut().zip(values);
            for ((id, value), entry) in targets.zip(entries) {
                (*id, *value) = (entry.0 - first_id, entry.1);
            }
        });
        (indices, values)
    }

    fn row_pointers(&self) -> Vec<usize> {
        let mut indptr = Vec::with_capacity(self.rows + 1);
        indptr.push(0);
        for part in &self.parts {
            let before = indptr[indptr.len() - 1];
            indptr.extend(part.ends.iter().map(|end| before + end));
        }
        indptr
    }

    /// Leaves out entries whose id in the file is `end` or more.
    fn drop_from(&mut self, end: u64) -> Dropped {
        let mut ids: Vec<u32> =
            self.parts.par_iter_mut().flat_map_iter(|part| part.drop_from(end)).collect();
        let entries = ids.len();
        ids.par_sort_unstable();
        ids.dedup();
        Dropped { entries, columns: ids.len() }
    }

    /// Labels as `(rows,)`, or `(rows, count)` unless there is one for each row.
    pub fn labels(&self, count: usize) -> Result<Tensor> {
        let labels: Vec<T> = self.parts.iter().flat_map(|p| &p.labels).copied().collect();
        match count {
            1 => Tensor::dense([self.rows], labels),
            _ => Tensor::dense([self.rows, count], labels),
        }
    }

    pub fn qids(&self) -> Result<Option<Tensor>> {
        if self.has_qids != Some(true) {
            return Ok(None);
        }
        let qids: Vec<i64> = self.parts.iter().flat_map(|p| &p.qids).copied().collect();
        Tensor::dense([self.rows], qids).map(Some)
    }
}

impl<T: Decimal> Part<T> {
    /// Leaves out entries whose id is `end` or more, and returns their ids.
    fn drop_from(&mut self, end: u64) -> Vec<u32> {
        let (mut kept, mut first, mut dropped) = (0, 0, Vec::new());
        for row_end in &mut self.ends {
            let row = first..*row_end;
            first = row.end;
            for k in row {
                let entry = self.entries[k];
                if u64::from(entry.0) >= end {
                    dropped.push(entry.0);
                    continue;
                }
                self.entries[kept] = entry;
                kept += 1;
            }
            *row_end = kept;
        }
        self.entries.truncate(kept);
        dropped
    }
}

/// Ranges of about [`PART`] bytes that end at line ends.
fn split(text: &[u8], mut start: usize) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    while start < text.len() {
        let nominal = text.len().min(start + PART);
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
                    collected.add(&block, &self.grammar)?;
                }
                Opened::Stream(mut lines) => {
                    while let Some(block) = lines.next_block(usize::MAX, WINDOW)? {
                        collected.add(&block, &self.grammar)?;
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
        while collected.rows < rows && collected.bytes < bytes {
            let Some(lines) = self.current()? else { break };
            let window = WINDOW.min(bytes - collected.bytes);
            match lines.next_block(rows - collected.rows, window)? {
                Some(block) => collected.add(&block, &grammar)?,
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
