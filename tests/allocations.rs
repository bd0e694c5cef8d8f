//! Kernels take no new memory once warm, measured by a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;

use sparsetape::check::Repeated;
use sparsetape::ops::all_repeated;
use sparsetape::{Gradients, Parameter, Stype, Tape, Tensor};

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

/// A step on a tape, recorded anew each time, takes memory for its nodes and operators, not for values
/// and patterns.
#[test]
fn a_step_recorded_again_allocates_hardly_anything() {
    let x = Tensor::csr([3, 5], vec![0, 2, 3, 5], vec![0, 4, 2, 1, 4], vec![1.0f32; 5]).unwrap();
    let weight = Parameter::new("weight", Tensor::full([5, 2], 0.5f32).unwrap()).unwrap();
    let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
    let mut step = || {
        tape.clear();
        let (x, w) = (tape.constant(x.clone()), tape.parameter(&weight));
        let y = (x * 2.0).dot(w).tanh() + x.dot(w.square());
        y.sum().backward_into(&mut gradients).unwrap();
    };
    (0..5).for_each(|_| step());
    let before = COUNT.get();
    (0..10).for_each(|_| step());
    let each = (COUNT.get() - before) / 10;
    assert!(each < 16, "{each} allocations in a step");
}
