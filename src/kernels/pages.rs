//! Memory for large tables: huge pages, and rows that begin where cache lines do.

/// From this size on a run of zeros is laid out as a table.
const LARGE: usize = 1 << 21;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Zeros, and where among them `len` elements begin at a cache line. Large runs ask for huge pages: random
/// rows of a table of hundreds of megabytes are read twice as fast, for most of the time goes into finding the
/// page. The memory comes from the system untouched.
pub(crate) fn zeroed<T: Copy + Default>(len: usize) -> (Vec<T>, usize) {
    let size = size_of::<T>();
    if len * size < LARGE {
        return (vec![T::default(); len], 0);
    }
    let vec = vec![T::default(); len + LINE / size];
    advise_huge_pages(&vec);
    let past_line = vec.as_ptr().addr() % LINE;
    (vec, (LINE - past_line) % LINE / size)
}

/// [`zeroed`], wherever they begin.
pub(crate) fn zeroed_vec<T: Copy + Default>(len: usize) -> Vec<T> {
    let (mut vec, _) = zeroed(len);
    vec.truncate(len);
    vec
}

/// Whether elements begin where those of a table of as many do.
pub(crate) fn is_table<T>(elements: &[T]) -> bool {
    size_of_val(elements) < LARGE || elements.as_ptr().addr().is_multiple_of(LINE)
}

/// A hint: without effect where the system has no huge pages, or gives them anyway.
fn advise_huge_pages<T>(memory: &[T]) {
    #[cfg(target_os = "linux")]
    {
        use std::ffi::{c_int, c_void};
        unsafe extern "C" {
            fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
        }
        const MADV_HUGEPAGE: c_int = 14;
        /// A multiple of every page size.
        const PAGE: usize = 1 << 16;
        let range = memory.as_ptr_range();
        let begin = range.start.addr().next_multiple_of(PAGE);
        let length = (range.end.addr() & !(PAGE - 1)).saturating_sub(begin);
        let begin = range.start.with_addr(begin).cast_mut().cast();
        // SAFETY: the range lies within the memory, and the advice changes no contents.
        unsafe { madvise(begin, length, MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_runs_begin_at_a_cache_line() {
        for len in [0, 1, 1000, 1 << 19, (1 << 20) + 3] {
            let (vec, at) = zeroed::<f32>(len);
            assert!(vec[at..at + len].iter().all(|x| *x == 0.0));
            assert!(is_table(&vec[at..at + len]));
        }
    }
}
