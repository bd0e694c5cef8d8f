//! What workloads and their floors share: batches, tables on huge pages, loops for this processor.

use sparsetape::Tensor;
use sparsetape::random::{Popularity, Random};

/// A loop that [`wide`] compiles for this processor; what it calls must be `#[inline(always)]`.
pub trait Loop {
    fn run(self);
}

/// Runs a loop with the widest instructions that this processor has.
pub fn wide(task: impl Loop) {
    #[cfg(target_arch = "x86_64")]
    {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt");
        if all {
            // SAFETY: the processor has these features.
            return unsafe { avx512(task) };
        }
    }
    task.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn avx512(task: impl Loop) {
    task.run();
}

/// Asks for the cache lines of `C` elements from `at` on.
#[inline(always)]
pub fn prefetch<const C: usize>(table: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..(4 * C).div_ceil(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = table.as_ptr().wrapping_add(at + 16 * line);
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (table, at);
}

/// `C` elements from `at` on.
///
/// # Safety
/// `at + C <= table.len()`.
#[inline(always)]
pub unsafe fn row<const C: usize>(table: &[f32], at: usize) -> &[f32; C] {
    debug_assert!(at + C <= table.len());
    // SAFETY: the caller promises that the range is in bounds.
    unsafe { &*table.as_ptr().add(at).cast() }
}

/// `C` elements from `at` on, to be written.
///
/// # Safety
/// `at + C <= table.len()`.
#[inline(always)]
pub unsafe fn row_mut<const C: usize>(table: &mut [f32], at: usize) -> &mut [f32; C] {
    debug_assert!(at + C <= table.len());
    // SAFETY: the caller promises that the range is in bounds.
    unsafe { &mut *table.as_mut_ptr().add(at).cast() }
}

/// Numbers on huge pages, from a cache line on.
pub struct Table {
    memory: Vec<f32>,
    begin: usize,
    len: usize,
}

impl Table {
    pub fn new(values: impl ExactSizeIterator<Item = f32>) -> Table {
        const HUGE: usize = 1 << 21;
        let len = values.len();
        let mut memory = vec![0f32; len + HUGE / 4];
        let begin = (memory.as_ptr().addr().next_multiple_of(HUGE) - memory.as_ptr().addr()) / 4;
        advise(&mut memory[begin..]);
        memory[begin..][..len].iter_mut().zip(values).for_each(|(to, x)| *to = x);
        Table { memory, begin, len }
    }

    pub fn zeros(len: usize) -> Table {
        Table::new((0..len).map(|_| 0.0))
    }

    #[inline(always)]
    pub fn slice(&self) -> &[f32] {
        &self.memory[self.begin..][..self.len]
    }

    #[inline(always)]
    pub fn slice_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.begin..][..self.len]
    }
}

/// Asks for huge pages.
fn advise(memory: &mut [f32]) {
    #[cfg(target_os = "linux")]
    {
        use std::ffi::{c_int, c_void};
        unsafe extern "C" {
            fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
        }
        // SAFETY: the range lies within the memory but for a part of a page that is left out, and
        // the advice changes no contents.
        unsafe { madvise(memory.as_mut_ptr().cast(), size_of_val(memory) & !4095, 14) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// What initial weights are.
pub fn weight(i: usize) -> f32 {
    ((i as u32).wrapping_mul(0x9e37_79b9) >> 8) as f32 * (0.2 / (1 << 24) as f32) - 0.1
}

/// A dense tensor of weights.
pub fn weights(shape: [usize; 2]) -> Tensor {
    let all = (0..shape[0] * shape[1]).map(weight).collect::<Vec<f32>>();
    Tensor::dense(shape, all).expect("a dense tensor")
}

/// Entries of a row.
pub const PER_ROW: usize = 40;

/// Windows of a matrix larger than the caches, one after the other, over and over.
pub struct Windows {
    whole: Tensor,
    rows: usize,
    next: usize,
    /// Those that are used again with what is known of them.
    kept: Vec<Tensor>,
}

impl Windows {
    /// Of `rows` rows each.
    pub fn new(x: &Tensor, rows: usize) -> Windows {
        Windows { whole: x.clone(), rows, next: 0, kept: Vec::new() }
    }

    /// Windows that stay: what is computed of their columns is known the second time.
    pub fn kept(x: &Tensor, rows: usize) -> Windows {
        let mut windows = Windows::new(x, rows);
        windows.kept = (0..windows.count()).map(|_| windows.next()).collect();
        windows
    }

    fn count(&self) -> usize {
        self.whole.shape()[0] / self.rows
    }

    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn cols(&self) -> usize {
        self.whole.shape()[1]
    }

    /// The numbers of the windows that stay.
    pub fn all_kept(&self) -> std::ops::Range<usize> {
        0..self.kept.len()
    }

    /// The number of the next window.
    #[inline(always)]
    pub fn step(&mut self) -> usize {
        let at = self.next;
        self.next = (at + 1) % self.count();
        at
    }

    pub fn next(&mut self) -> Tensor {
        let at = self.step();
        match self.kept.get(at) {
            Some(kept) => kept.clone(),
            None => {
                let rows = at * self.rows..(at + 1) * self.rows;
                self.whole.rows_window(rows.start, rows.end).expect("a window")
            }
        }
    }

    /// Column ids and values of the next window.
    #[inline(always)]
    pub fn step_entries(&mut self) -> (&[u32], &[f32]) {
        let at = self.step();
        self.entries(at)
    }

    /// Column ids and values of a window.
    #[inline(always)]
    pub fn entries(&self, at: usize) -> (&[u32], &[f32]) {
        let each = self.rows * PER_ROW;
        let ids = self.whole.indices().expect("a csr matrix");
        let values = self.whole.values::<f32>().expect("numbers");
        (&ids[at * each..][..each], &values[at * each..][..each])
    }
}

/// Rows of [`PER_ROW`] entries.
pub fn matrix(rows: usize, cols: usize, popularity: Popularity) -> Tensor {
    let popularity = if cols < 1000 { Popularity::Uniform } else { popularity };
    Random::new(1).csr_rows::<f32>([rows, cols], PER_ROW, popularity).expect("a matrix")
}

/// How often columns occur, and its name.
pub const POPULARITIES: [(&str, Popularity); 2] =
    [("Zipf", Popularity::ScatteredPowerLaw(1.1)), ("uniform", Popularity::Uniform)];

/// A set of ids that knows each member's rank: 32 bits, and above them the rank of the first.
pub struct Ranks(Vec<u64>);

impl Ranks {
    pub fn new(end: usize) -> Ranks {
        Ranks(vec![0; end.div_ceil(32)])
    }

    #[inline(always)]
    pub fn insert(&mut self, ids: &[u32]) {
        // Neighbours often share a word: ids are taken from two places in turn.
        let (a, b) = ids.split_at(ids.len() / 2);
        for (&a, &b) in a.iter().zip(b) {
            self.0[a as usize / 32] |= 1 << (a % 32);
            self.0[b as usize / 32] |= 1 << (b % 32);
        }
    }

    /// The members, ascending; from now on they have ranks.
    #[inline(always)]
    pub fn list(&mut self, members: &mut Vec<u32>) {
        members.clear();
        for (chunk, words) in self.0.chunks_mut(8).enumerate() {
            if words.iter().fold(0, |any, word| any | word) == 0 {
                continue;
            }
            for (n, word) in (8 * chunk..).zip(words) {
                let mut bits = *word as u32;
                *word |= (members.len() as u64) << 32;
                while bits != 0 {
                    members.push(32 * n as u32 + bits.trailing_zeros());
                    bits &= bits - 1;
                }
            }
        }
    }

    #[inline(always)]
    pub fn rank(&self, id: u32) -> u32 {
        let word = self.0[id as usize / 32];
        (word >> 32) as u32 + (word as u32 & ((1 << (id % 32)) - 1)).count_ones()
    }

    #[inline(always)]
    pub fn clear(&mut self, members: &[u32]) {
        members.iter().for_each(|&id| self.0[id as usize / 32] = 0);
    }
}
