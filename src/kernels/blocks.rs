//! Results that are made block by block, in the nearest cache.

use super::Number;
use super::memory::Temp;
use super::threads::for_each_part;

/// Bytes of a block.
const BLOCK_BYTES: usize = 1 << 14;

/// From this size on a result is written past the caches: a line that is to be overwritten whole need
/// not be read first, and does not push out others.
const LARGE_BYTES: usize = 1 << 23;

/// Calls `f(state, first row, rows)` for blocks of `out`, which holds rows of `row_len` elements that
/// take about `cost_per_row` nanoseconds each; it writes all of a block. `state(first row)` begins a run
/// of blocks.
pub(super) fn for_each_block<T: Number, S>(
    out: &mut [T],
    row_len: usize,
    cost_per_row: usize,
    state: impl Fn(usize) -> S + Sync,
    f: impl Fn(&mut S, usize, &mut [T]) + Sync,
) {
    let rows = (BLOCK_BYTES / size_of::<T>() / row_len.max(1)).max(1);
    let block = rows * row_len;
    let past_caches = size_of_val(out) >= LARGE_BYTES && block * size_of::<T>() <= 4 * BLOCK_BYTES;
    for_each_part(out, block, cost_per_row * rows, |first, out| {
        let mut state = state(first * rows);
        let mut held = Temp::unspecified(if past_caches { block } else { 0 });
        for (n, out) in out.chunks_mut(block).enumerate() {
            let first = (first + n) * rows;
            if past_caches {
                let held = &mut held[..out.len()];
                f(&mut state, first, held);
                copy_past_caches(held, out);
            } else {
                f(&mut state, first, out);
            }
        }
        fence();
    });
}

/// Writes `value(n)` to place `ids[n]`, ascending, of `out`, and `other` everywhere else.
pub(crate) fn scatter<T: Number>(
    ids: &[u32],
    value: impl Fn(usize) -> T + Sync,
    other: T,
    out: &mut [T],
) {
    let next = |first: usize| ids.partition_point(|&id| (id as usize) < 8 * first);
    // Eight places at a time: one alone takes less than a nanosecond.
    for_each_block(out, 8, 2, next, |next, first, out| {
        out.fill(other);
        while let Some(&id) = ids.get(*next)
            && let Some(to) = out.get_mut(id as usize - 8 * first)
        {
            *to = value(*next);
            *next += 1;
        }
    });
}

/// Copies whole lines of `to` without reading them first.
#[cfg(target_arch = "x86_64")]
fn copy_past_caches<T: Number>(from: &[T], to: &mut [T]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    let len = from.len().min(to.len());
    // SAFETY: any bits are a vector.
    let (head, vectors, _) = unsafe { to[..len].align_to_mut::<__m128i>() };
    let (before, per_vector) = (head.len(), size_of::<__m128i>() / size_of::<T>());
    let whole = before..before + vectors.len() * per_vector;
    for (vector, from) in vectors.iter_mut().zip(from[whole.clone()].chunks_exact(per_vector)) {
        // SAFETY: as many elements as one vector are read, and a whole aligned one is written.
        unsafe { _mm_stream_si128(vector, _mm_loadu_si128(from.as_ptr().cast())) };
    }
    to[..whole.start].copy_from_slice(&from[..whole.start]);
    to[whole.end..len].copy_from_slice(&from[whole.end..len]);
}

#[cfg(not(target_arch = "x86_64"))]
fn copy_past_caches<T: Number>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}

/// Orders what was written past the caches before all that follows.
fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
