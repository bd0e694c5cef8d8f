//! Kernels take no new memory once warm, measured by a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use sparsetape::ops::all_repeated;

struct Counting;

thread_local! {
    /// Allocations of this thread: small work stays on it.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: all calls go to the system allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Operators that allocate in every run, and why.
const EXCUSED: [(&str, &str); 0] = [];

/// Every operator, table row and good sample: the third run allocates nothing.
#[test]
fn a_third_run_allocates_nothing() {
    let mut faults: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut all = all_repeated();
    for repeated in &mut all {
        let mut allocations = [0; 3];
        for allocations in &mut allocations {
            let before = COUNT.get();
            repeated.run().unwrap();
            *allocations = COUNT.get() - before;
        }
        if allocations[2] > 0 {
            let fault = format!("{}: {allocations:?}", repeated.describe());
            faults.entry(repeated.name()).or_default().push(fault);
        }
    }
    assert!(all.len() > 1000, "{} runs", all.len());
    let excused = |name: &str| EXCUSED.iter().any(|(operator, _)| *operator == name);
    for (name, _) in EXCUSED {
        assert!(faults.contains_key(name), "{name} needs no excuse");
    }
    let faults: Vec<String> =
        faults.into_iter().filter(|(name, _)| !excused(name)).flat_map(|(_, all)| all).collect();
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}
