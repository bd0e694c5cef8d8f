//! Kernels take no new memory once warm, measured by a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;

use sparsetape::Stype;
use sparsetape::check::Repeated;
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

/// Operators that allocate in every run where no operand is csr, and why.
const EXCUSED: [(&str, &str); 2] = {
    const PACKED: &str = "`matrixmultiply` packs blocks of dense matrices in memory of its own";
    [("batch_dot", PACKED), ("dot", PACKED)]
};

fn excused(repeated: &Repeated) -> bool {
    EXCUSED.iter().any(|(name, _)| *name == repeated.name())
        && repeated.operands().iter().all(|x| x.stype() != Stype::Csr)
}

/// Allocations of each of three runs.
fn allocations(repeated: &mut Repeated) -> [usize; 3] {
    [(); 3].map(|()| {
        let before = COUNT.get();
        repeated.run().unwrap();
        COUNT.get() - before
    })
}

/// Every operator, table row, good sample and element type: the third run allocates nothing.
#[test]
fn a_third_run_allocates_nothing() {
    let mut all = all_repeated();
    assert!(all.len() > 1000, "{} runs", all.len());
    let mut faults = Vec::new();
    let mut needed = BTreeSet::new();
    for repeated in &mut all {
        let counts = allocations(repeated);
        if counts[2] > 0 && excused(repeated) {
            needed.insert(repeated.name());
        } else if counts[2] > 0 {
            faults.push(format!("{repeated}: {counts:?}"));
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    assert!(EXCUSED.iter().all(|(name, _)| needed.contains(name)), "excuses for {needed:?} only");
}
