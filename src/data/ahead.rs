//! Work in a background thread, ahead of whoever takes its results.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::io_error;
use crate::error::Result;

/// What a background thread gives, in order, up to its first error. Dropping it ends the thread; a panic
/// there goes on here.
pub(super) struct Ahead<T> {
    /// Gone when nobody takes any more.
    items: Option<Receiver<Result<T>>>,
    thread: Option<JoinHandle<()>>,
}

/// Where a background thread puts its results.
pub(super) struct Giver<T>(SyncSender<Result<T>>);

impl<T> Giver<T> {
    /// Waits until there is room; whether anybody takes results still.
    pub fn give(&self, item: T) -> bool {
        self.0.send(Ok(item)).is_ok()
    }
}

impl<T: Send + 'static> Ahead<T> {
    /// Starts work. Up to `waiting` results wait to be taken; besides, the thread may hold one.
    pub fn new(
        waiting: usize,
        work: impl FnOnce(&Giver<T>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (sender, items) = sync_channel(waiting);
        let giver = Giver(sender);
        let run = move || {
            if let Err(error) = work(&giver) {
                // Nobody may want it any more.
                let _ = giver.0.send(Err(error));
            }
        };
        let thread = Builder::new()
            .name("sparsetape-data".to_string())
            .spawn(run)
            .map_err(|e| io_error("a thread that reads data", e))?;
        Ok(Ahead { items: Some(items), thread: Some(thread) })
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if let Ok(item) = self.items.as_ref()?.recv() {
            return Some(item);
        }
        self.items = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            resume_unwind(panic);
        }
        None
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.items = None;
        if let Some(thread) = self.thread.take() {
            // What nobody waits for any more has failed for nobody; the panic's hook was called.
            let _ = thread.join();
        }
    }
}
