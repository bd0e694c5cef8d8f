//! Bytes that the allocator has given out, now and at their peak.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::counting::Counting;

pub static LIVE: AtomicUsize = AtomicUsize::new(0);
pub static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize) {
    let live = LIVE.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(live, Relaxed);
}

fn forget(size: usize) {
    LIVE.fetch_sub(size, Relaxed);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting { taken: count, freed: forget };

/// One test measures at a time.
pub static MEASURING: Mutex<()> = Mutex::new(());
