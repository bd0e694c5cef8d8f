//! The system's allocator, which tells a test of every call.

use std::alloc::{GlobalAlloc, Layout, System};

/// Calls these with the bytes that are taken and given back; they must allocate nothing.
pub struct Counting {
    pub taken: fn(usize),
    pub freed: fn(usize),
}

// SAFETY: all calls go to the system allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        (self.taken)(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        (self.taken)(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        (self.freed)(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Large blocks move page by page: old and new do not take memory at the same time.
        (self.freed)(layout.size());
        (self.taken)(size);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}
