//! Where the rows of files are, so that blocks of them are read in any order.

use std::path::{Path, PathBuf};

use super::input::{Block, Lines, lines_of_file};
use super::parse::most_entries;
use super::scan::is_blank;
use super::stream::check_rows;
use super::{Libsvm, Wider};
use crate::error::Result;

/// Bytes of text that are looked at at once.
const STEP: usize = 64 << 10;

/// Whole lines of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Number of the file.
    pub file: usize,
    /// Where the lines begin in the text, which the file may hold compressed.
    pub start: u64,
    pub length: usize,
    /// 1-based number of the first line.
    pub first_line: usize,
}

/// Rows that are read at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowBlock {
    pub(super) features: Extent,
    /// In the separate label file.
    pub(super) labels: Option<Extent>,
    pub first_row: usize,
    pub rows: usize,
}

/// Files whose text is read by [`Extent`].
#[derive(Clone, Debug)]
pub(super) struct Texts {
    pub paths: Vec<PathBuf>,
    /// Whether rows have a query id; unknown without rows.
    pub has_qids: Option<bool>,
}

/// The rows of files, cut into blocks.
pub(crate) struct Index {
    pub(super) features: Texts,
    pub(super) labels: Option<Texts>,
    pub blocks: Vec<RowBlock>,
    /// Whether blocks are read in any order at no cost: no file is compressed.
    pub any_order: bool,
}

/// What a block may take. The text of one and the rows of three make up the memory: that being parsed, that in
/// use, and that which the batch before comes from, as long as a tape holds it.
struct Limits {
    text: usize,
    rows: usize,
    bytes_per_entry: usize,
    bytes_per_row: usize,
}

impl Limits {
    fn new(reader: &Libsvm, memory: usize) -> Self {
        let number = reader.dtype.size();
        // Where a row ends, its query id and its labels, at most three times while vectors grow.
        let row = reader.label_columns.saturating_mul(number).saturating_add(16);
        // Ids of what is left out are collected, at most twice while their vector grows.
        let dropped = if reader.wider == Wider::Refuse { 0 } else { 8 };
        Limits {
            text: memory / 4,
            rows: memory / 4,
            bytes_per_entry: 4 + number + dropped,
            bytes_per_row: row.saturating_mul(3),
        }
    }

    /// Bytes that the rows of a text may take.
    fn parsed(&self, text: &[u8], rows: usize) -> usize {
        let entries = most_entries(text).saturating_mul(self.bytes_per_entry);
        rows.saturating_mul(self.bytes_per_row).saturating_add(entries)
    }

    /// A piece of text is but a small part of a block.
    fn step(&self) -> usize {
        (self.rows / 64).clamp(1, STEP)
    }

    /// The same where a row has labels of any length elsewhere.
    fn step_rows(&self) -> usize {
        (self.rows / STEP).clamp(1, 64)
    }
}

/// Some lines, of which so many are rows.
#[derive(Clone, Copy)]
struct Piece {
    text: Extent,
    rows: usize,
    parsed: usize,
}

/// A walk through the lines of a file.
struct Walk {
    file: usize,
    lines: Lines<'static>,
    /// Bytes and rows before.
    at: u64,
    done: usize,
    has_qids: Option<bool>,
}

impl Walk {
    fn open(file: usize, path: &Path) -> Result<Self> {
        let lines = lines_of_file(path)?;
        Ok(Walk { file, lines, at: 0, done: 0, has_qids: None })
    }

    /// The next lines, at most so many.
    fn piece(&mut self, lines: usize, limits: &Limits) -> Result<Option<Piece>> {
        let Some(block) = self.lines.next_block(lines, limits.step())? else { return Ok(None) };
        let (rows, first) = rows(&block);
        self.has_qids = self.has_qids.or(first.map(has_qid));
        let length = block.text.len();
        let first_line = block.first_line;
        let text = Extent { file: self.file, start: self.at, length, first_line };
        let parsed = limits.parsed(block.text, rows);
        self.at += length as u64;
        self.done += rows;
        Ok(Some(Piece { text, rows, parsed }))
    }

    /// The lines up to the `rows`-th row from here; fewer rows at the end of the file.
    fn rows(&mut self, rows: usize, limits: &Limits) -> Result<Piece> {
        let first_line = self.lines.line();
        let text = Extent { file: self.file, start: self.at, length: 0, first_line };
        let mut all = Piece { text, rows: 0, parsed: 0 };
        while all.rows < rows {
            let Some(piece) = self.piece(rows - all.rows, limits)? else { break };
            all.extend(&piece);
        }
        Ok(all)
    }
}

impl Piece {
    /// Adds the lines behind.
    fn extend(&mut self, next: &Piece) {
        self.text.length += next.text.length;
        self.rows += next.rows;
        self.parsed += next.parsed;
    }
}

/// How many lines are rows, and the first of them.
fn rows<'a>(block: &Block<'a>) -> (usize, Option<&'a [u8]>) {
    let text = &block.text[block.start()..];
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
    let lines = ends.map(|end| {
        let line = &text[start..end];
        start = end + 1;
        line
    });
    let mut rows = lines.filter(|line| {
        let first = line.iter().find(|&&byte| !is_blank(byte));
        first.is_some_and(|&byte| byte != b'#')
    });
    let first = rows.next();
    (usize::from(first.is_some()) + rows.count(), first)
}

fn has_qid(line: &[u8]) -> bool {
    let comment = memchr::memchr(b'#', line).unwrap_or(line.len());
    line[..comment].split(|&byte| is_blank(byte)).any(|token| token.starts_with(b"qid:"))
}

/// Features and labels of a block that may take more rows.
struct Growing {
    features: Piece,
    labels: Option<Piece>,
}

impl Growing {
    fn fits(&self, next: &Growing, limits: &Limits) -> bool {
        let sum = |of: fn(&Piece) -> usize| {
            let parts = [Some(&self.features), self.labels.as_ref()];
            let more = [Some(&next.features), next.labels.as_ref()];
            parts.into_iter().chain(more).flatten().map(of).sum::<usize>()
        };
        sum(|piece| piece.text.length) <= limits.text && sum(|piece| piece.parsed) <= limits.rows
    }

    fn extend(&mut self, next: &Growing) {
        self.features.extend(&next.features);
        if let (Some(labels), Some(next)) = (&mut self.labels, &next.labels) {
            labels.extend(next);
        }
    }
}

impl Libsvm {
    /// Cuts files into blocks; the rows of three and the text of one fit the memory.
    pub(crate) fn index(&self, paths: &[PathBuf], memory: usize) -> Result<Index> {
        let limits = Limits::new(self, memory);
        let separate = self.separate_labels.as_ref();
        let mut labels = separate.map(|labels| Walk::open(0, labels.path())).transpose()?;
        let lines = if labels.is_some() { limits.step_rows() } else { usize::MAX };
        let mut index = Index {
            features: Texts { paths: paths.to_vec(), has_qids: None },
            labels: None,
            blocks: Vec::new(),
            any_order: labels.as_ref().is_none_or(|labels| !labels.lines.compressed()),
        };
        for (file, path) in paths.iter().enumerate() {
            let mut walk = Walk::open(file, path)?;
            index.any_order &= !walk.lines.compressed();
            walk.has_qids = index.features.has_qids;
            let mut block: Option<Growing> = None;
            while let Some(features) = walk.piece(lines, &limits)? {
                let labels = labels.as_mut().map(|labels| labels.rows(features.rows, &limits));
                let next = Growing { features, labels: labels.transpose()? };
                match &mut block {
                    Some(block) if block.fits(&next, &limits) => block.extend(&next),
                    _ => index.add(block.replace(next)),
                }
            }
            index.add(block);
            index.features.has_qids = walk.has_qids;
        }
        if let (Some(separate), Some(mut walk)) = (separate, labels) {
            walk.rows(1, &limits)?;
            check_rows(separate, walk.done, index.rows())?;
            let paths = vec![separate.path().to_path_buf()];
            index.labels = Some(Texts { paths, has_qids: walk.has_qids });
        }
        Ok(index)
    }
}

impl Index {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.first_row + block.rows)
    }

    fn add(&mut self, block: Option<Growing>) {
        let Some(Growing { features, labels }) = block else { return };
        if features.rows > 0 {
            self.blocks.push(RowBlock {
                features: features.text,
                labels: labels.map(|labels| labels.text),
                first_row: self.rows(),
                rows: features.rows,
            });
        }
    }
}
