//! One loop, compiled once for each instruction set and chosen at run time.
//!
//! Loops are written over arrays of constant length, which the compiler turns into full-width loads.
//! Products and sums stay separate instructions, so every set gives the same bits.

/// A loop that [`vectorized`] compiles for each instruction set. `run` and everything it calls must
/// be `#[inline(always)]`.
pub(super) trait Task {
    type Output;
    fn run(self) -> Self::Output;
}

/// Runs `task` with the widest instructions that this processor has.
#[inline]
pub(super) fn vectorized<K: Task>(task: K) -> K::Output {
    match level() {
        // SAFETY: the processor has these features.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(task) },
        // SAFETY: the processor has these features.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(task) },
        Level::Portable => task.run(),
    }
}

/// Instruction sets that tasks are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

#[inline]
pub(super) fn level() -> Level {
    #[cfg(test)]
    {
        limit::get().min(detect())
    }
    #[cfg(not(test))]
    detect()
}

/// Lets a test run a thread's tasks with fewer instructions.
#[cfg(test)]
pub(super) mod limit {
    use std::cell::Cell;

    use super::{Level, detect};

    thread_local!(static LIMIT: Cell<Option<Level>> = const { Cell::new(None) });

    pub(super) fn get() -> Level {
        LIMIT.get().unwrap_or_else(detect)
    }

    pub fn set(level: Option<Level>) {
        LIMIT.set(level);
    }
}

#[inline]
fn detect() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if !has_avx2() {
            return Level::Portable;
        }
        if has_avx512() { Level::Avx512 } else { Level::Avx2 }
    }
    #[cfg(not(target_arch = "x86_64"))]
    Level::Portable
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn avx512<K: Task>(task: K) -> K::Output {
    task.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn avx2<K: Task>(task: K) -> K::Output {
    task.run()
}

/// Runs `$body` for consecutive chunks of `$k` columns: `$at` is the first column of a chunk and the
/// constant `$C` its width.
macro_rules! each_width {
    ($k:expr, $at:ident, $C:ident => $body:expr) => {{
        let (mut $at, end) = (0, $k);
        while $at < end {
            $at += match end - $at {
                64.. => each_width!(@ $C = 64, $body),
                32.. => each_width!(@ $C = 32, $body),
                16.. => each_width!(@ $C = 16, $body),
                8.. => each_width!(@ $C = 8, $body),
                4.. => each_width!(@ $C = 4, $body),
                2.. => each_width!(@ $C = 2, $body),
                _ => each_width!(@ $C = 1, $body),
            };
        }
    }};
    (@ $C:ident = $width:literal, $body:expr) => {{
        const $C: usize = $width;
        $body;
        $C
    }};
}
pub(super) use each_width;

/// Rows of `k` columns that share one pass over a chunk of columns: `few`, but all if there is one chunk only.
pub(super) fn rows_at_once(k: usize, few: usize) -> usize {
    if k.is_power_of_two() && k <= 64 { usize::MAX / k } else { few }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Tables above this many bytes are worth a prefetch: they do not stay in the nearest caches.
const FAR_BYTES: usize = 1 << 20;

/// Whether rows of a table of `len` elements are worth a prefetch.
#[inline(always)]
pub(super) fn is_far<T>(len: usize) -> bool {
    len * size_of::<T>() > FAR_BYTES
}

/// Asks for the cache lines of `C` elements from `at` on, wherever in a line they begin.
#[inline(always)]
pub(super) fn prefetch<T, const C: usize>(table: &[T], at: usize) {
    prefetch_lines::<T, C>(table, at, C > 1);
}

/// Whether rows of `k` elements may begin in one cache line and end in the next, beyond the lines that their
/// length needs.
#[inline(always)]
pub(super) fn straddles<T>(table: &[T], k: usize) -> bool {
    let bytes = k * size_of::<T>();
    let in_step = bytes.is_multiple_of(LINE) || bytes.is_power_of_two();
    !(in_step && table.as_ptr().addr().is_multiple_of(bytes.min(LINE)))
}

/// As [`prefetch`]; the line that is needed only where rows straddle lines, if they do.
#[inline(always)]
pub(super) fn prefetch_lines<T, const C: usize>(table: &[T], at: usize, straddles: bool) {
    let bytes = C * size_of::<T>();
    for line in 0..bytes.div_ceil(LINE) {
        prefetch_line(table, at, line * LINE);
    }
    if straddles {
        prefetch_line(table, at, bytes - 1);
    }
}

/// Asks for the cache line of the byte that is so many after element `at`.
#[inline(always)]
fn prefetch_line<T>(table: &[T], at: usize, byte: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = table.as_ptr().wrapping_add(at).cast::<i8>().wrapping_add(byte);
        // SAFETY: a prefetch reads nothing that the program sees and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (table, at, byte);
}

/// Asks for the cache lines of row `at / len` of rows of `len` elements.
#[inline(always)]
pub(super) fn prefetch_row<T>(table: &[T], at: usize, len: usize) {
    let last = (len * size_of::<T>()).saturating_sub(size_of::<T>());
    for line in 0..=last / LINE {
        prefetch_line(table, at, line * LINE);
    }
    if straddles(table, len) {
        prefetch_line(table, at, last);
    }
}

/// `C` elements from `at` on.
///
/// # Safety
/// `at + C <= table.len()`.
#[inline(always)]
pub(super) unsafe fn load<T, const C: usize>(table: &[T], at: usize) -> &[T; C] {
    debug_assert!(at + C <= table.len());
    // SAFETY: the caller promises that the range is in bounds; an array of T is aligned as T.
    unsafe { &*table.as_ptr().add(at).cast::<[T; C]>() }
}

/// `C` elements from `at` on, to be written.
///
/// # Safety
/// `at + C <= table.len()`.
#[inline(always)]
pub(super) unsafe fn load_mut<T, const C: usize>(table: &mut [T], at: usize) -> &mut [T; C] {
    debug_assert!(at + C <= table.len());
    // SAFETY: the caller promises that the range is in bounds; an array of T is aligned as T.
    unsafe { &mut *table.as_mut_ptr().add(at).cast::<[T; C]>() }
}
