//! A floor's sorted unique columns.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::floors::{Loop, wide};

/// The distinct columns of a batch, ascending, and where each entry's column stands among them.
#[derive(Default)]
pub struct Merged {
    pub distinct: Vec<u32>,
    pub slots: Vec<u32>,
    /// 32 columns in the low half of a word, how many come before them in the high half.
    words: Vec<u64>,
    /// A column in the high half, which entry it is in the low half.
    pairs: [Vec<u64>; 2],
    counts: [Vec<u32>; 3],
}

/// Columns of which a bitmap stays in the nearest caches, as a power of 2.
const NEAR: u32 = 21;

/// Columns of a span, where there are more.
const SPAN: u32 = 18;

impl Merged {
    pub fn merge(&mut self, ids: &[u32], columns: usize) {
        self.slots.resize(ids.len(), 0);
        self.distinct.clear();
        self.distinct.reserve(ids.len() + 32);
        self.pairs.iter_mut().for_each(|pairs| pairs.resize(ids.len(), 0));
        if 2 * columns / 32 > 3 * ids.len() {
            return self.sort(ids, columns);
        }
        let span = if columns >> NEAR == 0 { NEAR } else { SPAN };
        self.words.resize(1 << (span - 5), 0);
        if span == NEAR {
            self.words.truncate(columns.div_ceil(256) * 8);
            return wide(Near { merged: self, ids });
        }
        let [counts, ..] = &mut self.counts;
        counts.clear();
        counts.resize((columns >> SPAN) + 1, 0);
        ids.iter().for_each(|&id| counts[(id >> SPAN) as usize] += 1);
        place(ids.iter().zip(0..).map(pair), 32 + SPAN, u64::MAX, counts, &mut self.pairs[0]);
        wide(Spans(self));
    }

    /// Digit by digit.
    fn sort(&mut self, ids: &[u32], columns: usize) {
        let bits = usize::BITS - columns.leading_zeros();
        let digits = bits.div_ceil(11);
        let width = bits.div_ceil(digits);
        for counts in &mut self.counts {
            counts.clear();
            counts.resize(1 << width, 0);
        }
        let mask = (1 << width) - 1;
        for &id in ids {
            for (n, counts) in (0..digits).zip(&mut self.counts) {
                counts[(id >> (n * width)) as usize & mask] += 1;
            }
        }
        let [from, to] = &mut self.pairs;
        place(ids.iter().zip(0..).map(pair), 32, mask as u64, &mut self.counts[0], from);
        for (n, counts) in (0..digits).zip(&mut self.counts).skip(1) {
            place(from.iter().copied(), 32 + n * width, mask as u64, counts, to);
            std::mem::swap(from, to);
        }
        let (mut last, mut slot) = (from[0] >> 32, 0);
        for &pair in from.iter() {
            slot += usize::from(pair >> 32 != last);
            last = pair >> 32;
            // SAFETY: there is room for all, and each is an entry.
            unsafe {
                *self.distinct.as_mut_ptr().add(slot) = last as u32;
                *self.slots.get_unchecked_mut(pair as u32 as usize) = slot as u32;
            }
        }
        // SAFETY: that many have been written.
        unsafe { self.distinct.set_len(slot + 1) };
    }
}

fn pair((&id, n): (&u32, u64)) -> u64 {
    (id as u64) << 32 | n
}

/// Distributes pairs by some of their bits, in order; `counts` says how many have which.
#[inline(always)]
fn place(
    pairs: impl Iterator<Item = u64>,
    shift: u32,
    mask: u64,
    counts: &mut [u32],
    to: &mut [u64],
) {
    let mut sum = 0;
    counts.iter_mut().for_each(|count| sum += std::mem::replace(count, sum));
    for pair in pairs {
        // SAFETY: all have been counted.
        unsafe {
            let start = counts.get_unchecked_mut((pair >> shift & mask) as usize);
            *to.get_unchecked_mut(*start as usize) = pair;
            *start += 1;
        }
    }
}

struct Near<'a> {
    merged: &'a mut Merged,
    ids: &'a [u32],
}

impl Loop for Near<'_> {
    #[inline(always)]
    fn run(self) {
        let Near { merged: Merged { distinct, slots, words, .. }, ids } = self;
        // Neighbours often share a word, and would wait for each other.
        let quarter = ids.len() / 4;
        let (a, rest) = ids.split_at(quarter);
        let (b, rest) = rest.split_at(quarter);
        let (c, d) = rest.split_at(quarter);
        for (((&a, &b), &c), &d) in a.iter().zip(b).zip(c).zip(d) {
            [a, b, c, d].into_iter().for_each(|id| insert(words, id));
        }
        d[quarter..].iter().for_each(|&id| insert(words, id));
        list(words, 0, distinct);
        for (slot, &id) in slots.iter_mut().zip(ids) {
            *slot = rank(words, id);
        }
        words.fill(0);
    }
}

struct Spans<'a>(&'a mut Merged);

impl Loop for Spans<'_> {
    #[inline(always)]
    fn run(self) {
        let Merged { distinct, slots, words, pairs: [pairs, _], counts: [ends, ..] } = self.0;
        let mut begin = 0;
        for (span, &end) in ends.iter().enumerate() {
            let (own, first) = (&pairs[begin..end as usize], (span as u32) << SPAN);
            begin = end as usize;
            own.iter().for_each(|pair| insert(words, (pair >> 32) as u32 - first));
            list(words, first, distinct);
            for &pair in own {
                // SAFETY: each is an entry.
                let slot = unsafe { slots.get_unchecked_mut(pair as u32 as usize) };
                *slot = rank(words, (pair >> 32) as u32 - first);
            }
            words.fill(0);
        }
    }
}

#[inline(always)]
fn insert(words: &mut [u64], id: u32) {
    // SAFETY: there is a word for each column.
    unsafe { *words.get_unchecked_mut(id as usize / 32) |= 1 << (id % 32) };
}

#[inline(always)]
fn rank(words: &[u64], id: u32) -> u32 {
    // SAFETY: there is a word for each column.
    let word = unsafe { *words.get_unchecked(id as usize / 32) };
    (word >> 32) as u32 + (word as u32 & ((1 << (id % 32)) - 1)).count_ones()
}

/// Appends the columns, and notes in each word how many come before it; there is room for 32 more.
#[inline(always)]
fn list(words: &mut [u64], first: u32, to: &mut Vec<u32>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
        // SAFETY: as detected.
        return unsafe { list_wide(words, first, to) };
    }
    for (word, first) in words.iter_mut().zip((first..).step_by(32)) {
        let mut bits = *word as u32;
        *word |= (to.len() as u64) << 32;
        while bits != 0 {
            to.push(first + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,bmi1,popcnt")]
fn list_wide(words: &mut [u64], first: u32, to: &mut Vec<u32>) {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut len = to.len();
    for (n, eight) in words.chunks_exact_mut(8).enumerate() {
        // SAFETY: eight words are read.
        let all = unsafe { _mm512_loadu_si512(eight.as_ptr().cast()) };
        let mut some = _mm512_test_epi64_mask(all, all);
        while some != 0 {
            let m = some.trailing_zeros() as usize;
            some &= some - 1;
            let bits = eight[m] as u32;
            eight[m] |= (len as u64) << 32;
            for half in 0..2 {
                let from = first + 32 * (8 * n + m) as u32 + 16 * half;
                let mask = (bits >> (16 * half)) as u16;
                let ids = _mm512_add_epi32(_mm512_set1_epi32(from as i32), lanes);
                let packed = _mm512_maskz_compress_epi32(mask, ids);
                // SAFETY: there is room for 32 more than there are columns.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().add(len).cast(), packed) };
                len += mask.count_ones() as usize;
            }
        }
    }
    // SAFETY: that many have been written.
    unsafe { to.set_len(len) };
}
