//! Blocks of rows, read by the index of their files.

use std::sync::Arc;

use super::Libsvm;
use super::collect::Collected;
use super::index::{Extent, Index, Texts};
use super::input::{Block, Ranges};
use super::parse::Grammar;
use super::scan::Decimal;
use crate::data::dataset::Dataset;
use crate::data::path_error;
use crate::error::{Error, ErrorKind, Result};

type ReadBlock = dyn FnMut(usize) -> Result<Dataset> + Send;

/// Reads blocks by their number; files are opened anew.
pub(crate) struct BlockReader(Box<ReadBlock>);

impl BlockReader {
    pub fn read(&mut self, block: usize) -> Result<Dataset> {
        (self.0)(block)
    }
}

/// Parses parts of files.
struct Parser {
    grammar: Grammar,
    /// The file that was read last, by its number.
    open: Option<(usize, Ranges)>,
}

impl Parser {
    fn new(grammar: Grammar) -> Self {
        Parser { grammar, open: None }
    }

    fn rows<T: Decimal>(
        &mut self,
        extent: &Extent,
        texts: &Texts,
        buffer: &mut Vec<u8>,
    ) -> Result<Collected<T>> {
        let path = &texts.paths[extent.file];
        let ranges = match self.open.take() {
            Some((file, open)) if file == extent.file && open.reaches(extent.start) => open,
            _ => Ranges::open(path)?,
        };
        let (_, ranges) = self.open.insert((extent.file, ranges));
        let read = ranges.read(extent.start, extent.length, buffer);
        read.map_err(path_error(path))?;
        let name = path.display().to_string();
        let block = Block { name: &name, first_line: extent.first_line, text: buffer };
        let mut rows = Collected::new(texts.has_qids);
        // One task, which stays on this thread: the others work on the batches of the block before.
        rows.add(&block, &self.grammar, usize::MAX)?;
        Ok(rows)
    }
}

impl Libsvm {
    #[track_caller]
    pub(super) fn block_reader_as<T: Decimal>(&self, index: Arc<Index>) -> Result<BlockReader> {
        let (grammar, schema) = (self.grammar()?, self.stated()?);
        let (reader, mut features) = (self.clone(), Parser::new(grammar));
        let mut labels = self.label_grammar(schema.base(), grammar).map(Parser::new);
        let mut buffer = Vec::new();
        let read = move |number: usize| {
            let block = &index.blocks[number];
            let rows = features.rows::<T>(&block.features, &index.features, &mut buffer)?;
            if rows.rows() != block.rows {
                let path = index.features.paths[block.features.file].display();
                let message = format!("{path}: changed since its rows were counted");
                return Err(Error::new(ErrorKind::State, message).nowhere());
            }
            let separate = match (&mut labels, &block.labels, &index.labels) {
                (Some(labels), Some(extent), Some(texts)) => {
                    Some(labels.rows(extent, texts, &mut buffer)?)
                }
                _ => None,
            };
            reader.assemble(rows, separate, schema, block.first_row)
        };
        Ok(BlockReader(Box::new(read)))
    }
}
