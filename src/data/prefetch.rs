//! Batches read ahead.

use std::sync::Arc;

use super::ahead::Ahead;
use super::source::{BatchIter, BatchSource};
use crate::error::Result;

/// A source whose batches are read ahead by a background thread: see [`BatchSource::prefetched`].
#[derive(Clone, Debug)]
pub struct Prefetch<S> {
    source: Arc<S>,
    batches: usize,
}

impl<S> Prefetch<S> {
    pub(super) fn new(source: S, batches: usize) -> Self {
        Prefetch { source: Arc::new(source), batches: batches.clamp(1, 1024) }
    }
}

impl<S: BatchSource + Send + Sync + 'static> BatchSource for Prefetch<S> {
    fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>> {
        let source = self.source.clone();
        // Nothing, once the source is open; then its batches. The thread holds one, the others wait.
        let mut items = Ahead::new(self.batches - 1, move |thread| {
            let batches = source.read(epoch, skip)?;
            for item in std::iter::once(Ok(None)).chain(batches.map(|batch| batch.map(Some))) {
                if !thread.give(item?) {
                    break;
                }
            }
            Ok(())
        })?;
        items.next().transpose()?;
        Ok(Box::new(items.filter_map(Result::transpose)))
    }

    fn rows(&self) -> Option<usize> {
        self.source.rows()
    }
}
