//! What floors are made of: loops written by hand, without a tape, an allocation or a check.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::ops::{Deref, DerefMut};

/// Zeros that begin at a cache line, in huge pages where the system has them.
pub struct Table {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Table {
    pub fn zeros(len: usize) -> Self {
        const HUGE: usize = 1 << 21;
        let memory = vec![0.0f32; len + HUGE / 4];
        let start = (HUGE - memory.as_ptr().addr() % HUGE) % HUGE / 4;
        #[cfg(target_os = "linux")]
        {
            use std::ffi::{c_int, c_void};
            unsafe extern "C" {
                fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
            }
            let begin = memory[start..].as_ptr().cast_mut().cast();
            // SAFETY: the range lies within the memory, and the advice (huge pages) changes no contents.
            unsafe { madvise(begin, len * 4 & !(HUGE - 1), 14) };
        }
        Table { memory, start, len }
    }

    pub fn copied(values: &[f32]) -> Self {
        let mut table = Table::zeros(values.len());
        table.copy_from_slice(values);
        table
    }
}

impl Deref for Table {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..][..self.len]
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..][..self.len]
    }
}

/// Asks for an element that is used soon.
#[inline(always)]
pub fn ask_for<T>(table: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees and never faults.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(table.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (table, at);
}

/// A loop that [`widest`] compiles for AVX-512, too; `run` must be `#[inline(always)]`.
pub trait Loop {
    fn run(self);
}

pub fn widest(this: impl Loop) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
        fn avx512(this: impl Loop) {
            this.run();
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: processors with these two have the others.
            return unsafe { avx512(this) };
        }
    }
    this.run();
}

/// The distinct columns of a batch, ascending, and where each entry's column stands among them.
#[derive(Default)]
pub struct Merged {
    pub distinct: Vec<u32>,
    pub slots: Vec<u32>,
    /// 32 columns in the low half of a word, how many come before them in the high half.
    words: Vec<u64>,
    pairs: [Vec<u64>; 2],
}

/// Words of a bitmap per entry up to which it is scanned rather than entries sorted.
const WORDS_PER_ENTRY: usize = 8;

impl Merged {
    pub fn merge(&mut self, ids: &[u32], columns: usize) {
        self.slots.resize(ids.len(), 0);
        self.distinct.clear();
        self.distinct.reserve(ids.len() + 16);
        if columns / 32 < ids.len() * WORDS_PER_ENTRY {
            self.words.resize(columns / 32 + 8, 0);
            widest(Bitmap { merged: self, ids });
        } else {
            self.sort(ids);
        }
    }

    fn sort(&mut self, ids: &[u32]) {
        let [from, to] = &mut self.pairs;
        from.clear();
        from.extend(ids.iter().zip(0u64..).map(|(&id, n)| (id as u64) << 32 | n));
        to.resize(ids.len(), 0);
        let mut counts = [[0u32; 2048]; 3];
        for &id in ids {
            counts[0][id as usize % 2048] += 1;
            counts[1][id as usize / 2048 % 2048] += 1;
            counts[2][id as usize >> 22] += 1;
        }
        for (digit, starts) in counts.iter_mut().enumerate() {
            let mut sum = 0;
            starts.iter_mut().for_each(|start| sum += std::mem::replace(start, sum));
            for &pair in from.iter() {
                let start = &mut starts[(pair >> (32 + 11 * digit)) as usize % 2048];
                to[*start as usize] = pair;
                *start += 1;
            }
            std::mem::swap(from, to);
        }
        let (mut last, mut slot) = (from[0] >> 32, 0);
        // SAFETY: as many were reserved.
        unsafe { self.distinct.set_len(ids.len()) };
        for &pair in from.iter() {
            slot += usize::from(pair >> 32 != last);
            last = pair >> 32;
            self.distinct[slot] = last as u32;
            self.slots[pair as u32 as usize] = slot as u32;
        }
        self.distinct.truncate(slot + 1);
    }
}

struct Bitmap<'a> {
    merged: &'a mut Merged,
    ids: &'a [u32],
}

impl Loop for Bitmap<'_> {
    #[inline(always)]
    fn run(self) {
        let Bitmap { merged: Merged { distinct, slots, words, .. }, ids } = self;
        let quarter = ids.len() / 4;
        let (a, rest) = ids.split_at(quarter);
        let (b, rest) = rest.split_at(quarter);
        let (c, d) = rest.split_at(quarter);
        let mut insert = |id: u32| words[id as usize / 32] |= 1 << (id % 32);
        for (((&a, &b), &c), &e) in a.iter().zip(b).zip(c).zip(d) {
            insert(a);
            insert(b);
            insert(c);
            insert(e);
        }
        d[quarter..].iter().for_each(|&id| insert(id));
        let mut len = 0;
        for (n, eight) in words.chunks_exact_mut(8).enumerate() {
            if eight.iter().fold(0, |any, word| any | *word) == 0 {
                continue;
            }
            for (m, word) in eight.iter_mut().enumerate() {
                let bits = *word as u32;
                if bits != 0 {
                    *word |= (len as u64) << 32;
                    len += list(bits, 32 * (8 * n + m) as u32, distinct, len);
                }
            }
        }
        // SAFETY: that many have been written.
        unsafe { distinct.set_len(len) };
        for (slot, &id) in slots.iter_mut().zip(ids) {
            let word = words[id as usize / 32];
            *slot = (word >> 32) as u32 + (word as u32 & ((1 << (id % 32)) - 1)).count_ones();
        }
        distinct.iter().for_each(|&id| words[id as usize / 32] = 0);
    }
}

/// Writes the columns of one word after `len` others; there is room for 16 more than there can be.
#[inline(always)]
fn list(mut bits: u32, first: u32, to: &mut Vec<u32>, mut len: usize) -> usize {
    let count = bits.count_ones() as usize;
    while bits != 0 {
        // SAFETY: there is room for all columns that occur.
        unsafe { *to.as_mut_ptr().add(len) = first + bits.trailing_zeros() };
        len += 1;
        bits &= bits - 1;
    }
    count
}
