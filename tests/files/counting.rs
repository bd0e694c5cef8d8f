//! An allocator that counts what a thread takes.

#[path = "../counting/mod.rs"]
mod allocator;

use std::cell::Cell;

use allocator::Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

fn count(size: usize) {
    TAKEN.set(TAKEN.get().saturating_add(size));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting { taken: count, freed: |_| {} };

/// Bytes that `work` asks the allocator for, in all, given back or not.
pub(crate) fn bytes_taken(work: impl FnOnce()) -> usize {
    let before = TAKEN.get();
    work();
    TAKEN.get() - before
}
