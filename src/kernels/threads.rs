//! Parallel loops over output parts. What a part holds never depends on how the output is cut, so
//! results are the same for any number of threads.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;
use smallvec::SmallVec;

/// Work in a part, about nanoseconds on one thread. Handing a part to another thread costs
/// some 10 µs when the caller is not one of the pool's threads.
const PART_COST: usize = 1 << 16;

/// The most parts that a loop is cut into: enough to even out parts of unequal work.
const MAX_PARTS: usize = 64;

/// Calls `f(first row, rows)` for parts of `out`, which holds rows of `row_len` elements (the last may
/// be shorter) that take about `cost_per_row` nanoseconds each. Little work stays on the calling
/// thread.
pub(crate) fn for_each_part<T: Send, F>(out: &mut [T], row_len: usize, cost_per_row: usize, f: F)
where
    F: Fn(usize, &mut [T]) + Sync,
{
    if out.is_empty() {
        return;
    }
    let rows = out.len().div_ceil(row_len);
    let step = rows_per_part(rows, cost_per_row);
    if step >= rows {
        return f(0, out);
    }
    let parts = Parts::of(out, step * row_len);
    share(rows.div_ceil(step), &|part| {
        // SAFETY: each part is asked for once.
        f(part * step, unsafe { parts.get(part) });
    });
}

/// Calls `f` for each of some jobs, on all threads.
pub(super) fn for_each_job<J: Send>(jobs: &mut [J], f: impl Fn(&mut J) + Sync) {
    let parts = Parts::of(jobs, 1);
    // SAFETY: each part is asked for once.
    share(parts.len, &|part| unsafe { parts.get(part) }.iter_mut().for_each(&f));
}

#[cfg(test)]
thread_local! {
    /// How often this thread has asked others to share its work.
    pub(super) static SHARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Calls `work` with each number below `parts` once, on all threads. Compiled once: what rayon makes of a loop is
/// larger than most loops.
fn share(parts: usize, work: &(dyn Fn(usize) + Sync)) {
    #[cfg(test)]
    SHARED.set(SHARED.get() + usize::from(parts > 1 && rayon::current_num_threads() > 1));
    (0..parts).into_par_iter().with_max_len(1).for_each(work);
}

/// A slice in parts of equal length (the last may be shorter) that are written by several threads.
struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    part: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a part goes to one thread only, which may have its elements.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    fn of(slice: &'a mut [T], part: usize) -> Self {
        Parts { start: slice.as_mut_ptr(), len: slice.len(), part, slice: PhantomData }
    }

    /// # Safety
    /// No part is asked for twice.
    unsafe fn get(&self, number: usize) -> &'a mut [T] {
        let first = (number * self.part).min(self.len);
        let len = self.part.min(self.len - first);
        // SAFETY: the range is within the slice, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}

/// Elements that several threads write, each its own, in any order.
pub(super) struct Scattered<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: who writes an element promises that nobody else does.
unsafe impl<T: Send> Sync for Scattered<'_, T> {}

impl<'a, T: Copy> Scattered<'a, T> {
    pub fn of(slice: &'a mut [T]) -> Self {
        Scattered { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// # Safety
    /// Nobody else writes the element at `at`.
    #[inline(always)]
    pub unsafe fn set(&self, at: usize, value: T) {
        assert!(at < self.len);
        // SAFETY: the element is within the slice, and nobody else writes it.
        unsafe { self.start.add(at).write(value) };
    }
}

/// `f` of each of the [`row_ranges`], in order.
pub(super) fn map_parts<R: Send, F>(rows: usize, cost_per_row: usize, f: F) -> SmallVec<[R; 1]>
where
    F: Fn(Range<usize>) -> R + Send + Sync,
{
    map_owned(row_ranges(rows, cost_per_row).collect(), f)
}

/// Consecutive ranges of `rows` rows that take about `cost_per_row` nanoseconds each, for a thread
/// each; one, if the work is too little to share or there are no rows.
pub(super) fn row_ranges(
    rows: usize,
    cost_per_row: usize,
) -> impl Iterator<Item = Range<usize>> + Clone {
    let step = rows_per_part(rows, cost_per_row);
    (0..rows.max(1)).step_by(step).map(move |first| first..rows.min(first + step))
}

/// `f` of each part, in order.
pub(super) fn map_owned<P: Send, R: Send>(
    parts: SmallVec<[P; 1]>,
    f: impl Fn(P) -> R + Send + Sync,
) -> SmallVec<[R; 1]> {
    if parts.len() < 2 {
        return parts.into_iter().map(f).collect();
    }
    let mut jobs: Vec<(Option<P>, Option<R>)> =
        parts.into_iter().map(|p| (Some(p), None)).collect();
    for_each_job(&mut jobs, |(part, result)| *result = part.take().map(&f));
    jobs.into_iter().filter_map(|(_, result)| result).collect()
}

/// Calls `f(slots, rows)` for parts of `out`, which holds a row of `k` elements for each slot, such
/// that about equally many `slots` fall in every part.
pub(super) fn for_each_slot_part<T: Send, F>(
    out: &mut [T],
    k: usize,
    slots: &[u32],
    cost_per_slot: usize,
    f: F,
) where
    F: Fn(Range<u32>, &mut [T]) + Sync,
{
    if slots.len().saturating_mul(cost_per_slot) < 4 * PART_COST {
        return f(ALL_SLOTS, out);
    }
    let threads = rayon::current_num_threads();
    if threads == 1 {
        return f(ALL_SLOTS, out);
    }
    let mut sample: Vec<u32> = slots.iter().step_by(slots.len() / 512 + 1).copied().collect();
    sample.sort_unstable();
    let (mut parts, mut rest, mut start) = (Vec::new(), out, 0);
    for part in 1..threads {
        let end = sample[part * sample.len() / threads].max(start);
        let (rows, after) = rest.split_at_mut((end - start) as usize * k);
        parts.push((start..end, rows));
        (rest, start) = (after, end);
    }
    parts.push((start..u32::MAX, rest));
    for_each_job(&mut parts, |(slots, rows)| f(slots.clone(), rows));
}

/// The slots of an output that is not cut.
pub(super) const ALL_SLOTS: Range<u32> = 0..u32::MAX;

/// At least 1; `rows` or more if the work is too little to share.
pub(super) fn rows_per_part(rows: usize, cost_per_row: usize) -> usize {
    let cost = cost_per_row.max(1);
    if rows.saturating_mul(cost) < 2 * PART_COST || rayon::current_num_threads() == 1 {
        return rows.max(1);
    }
    (PART_COST / cost).max(rows.div_ceil(MAX_PARTS)).max(1)
}
