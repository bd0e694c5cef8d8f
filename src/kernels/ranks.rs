//! A set of ids that knows each member's rank.

use super::memory::Temp;
use super::spmm::ABSENT;
#[cfg(target_arch = "x86_64")]
use super::vectorized::{Level, level};

/// Low half of a word: which of 32 ids are members. High half: how many members come before them.
pub(super) struct Ranks(Temp<u64>);

impl Ranks {
    /// What [`Ranks::list`] needs room for besides the members: its last vector is stored whole.
    pub const SPARE: usize = 16;

    /// Words of a set of ids below `end`.
    pub fn words(end: usize) -> usize {
        end.div_ceil(32)
    }

    /// An empty set of ids below `end`.
    pub fn new(end: usize) -> Self {
        Ranks(Temp::filled(0, Ranks::words(end)))
    }

    /// Adds `ids`, which must be below the end. Neighbours often share a word and would wait for
    /// each other, so ids are taken from several places in turn, out of step with rows of usual
    /// lengths.
    #[inline(always)]
    pub fn insert(&mut self, ids: &[u32]) {
        let quarter = (ids.len() / 4).saturating_sub(11);
        let (a, rest) = ids.split_at(quarter);
        let (b, rest) = rest.split_at(quarter);
        let (c, rest) = rest.split_at(quarter);
        let (d, rest) = rest.split_at(quarter);
        for (((&a, &b), &c), &d) in a.iter().zip(b).zip(c).zip(d) {
            self.insert_one(a);
            self.insert_one(b);
            self.insert_one(c);
            self.insert_one(d);
        }
        rest.iter().for_each(|&id| self.insert_one(id));
    }

    #[inline(always)]
    fn insert_one(&mut self, id: u32) {
        self.0[id as usize / 32] |= 1 << (id % 32);
    }

    /// Adds ids, which must be below the end, in this order.
    #[inline(always)]
    pub fn insert_each(&mut self, ids: impl Iterator<Item = u32>) {
        ids.for_each(|id| self.insert_one(id));
    }

    /// The set of sorted, unique ids below `end`; nothing needs to be listed before ranks are asked
    /// for.
    #[inline(always)]
    pub fn of_sorted(ids: &[u32], end: usize) -> Self {
        let mut ranks = Ranks::new(end);
        for (n, &id) in ids.iter().enumerate() {
            let word = &mut ranks.0[id as usize / 32];
            let before = if *word == 0 { (n as u64) << 32 } else { *word };
            *word = before | 1 << (id % 32);
        }
        ranks
    }

    /// Appends the members, ascending, at most `most` of them; makes their ranks known.
    #[inline(always)]
    pub fn list(&mut self, most: usize, to: &mut Vec<u32>) {
        to.reserve(most.min(32 * self.0.len()) + Ranks::SPARE);
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 {
            // SAFETY: the processor has these features, and there is room for all members and 16
            // more.
            return unsafe { avx512::list(&mut self.0, to) };
        }
        let start = to.len();
        for (n, word) in self.0.iter_mut().enumerate() {
            let mut bits = *word as u32;
            *word |= ((to.len() - start) as u64) << 32;
            while bits != 0 {
                to.push(32 * n as u32 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
    }

    /// Adds `id` and says whether it is new.
    #[inline(always)]
    pub fn insert_new(&mut self, id: u32) -> bool {
        let word = &mut self.0[id as usize / 32];
        let bit = 1 << (id % 32);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Removes all of `members`, which must be all that there are.
    pub fn clear(&mut self, members: &[u32]) {
        members.iter().for_each(|&id| self.0[id as usize / 32] = 0);
    }

    /// Removes all members.
    pub fn clear_all(&mut self) {
        self.0.fill(0);
    }

    /// The rank of `id`, which must be a member.
    #[inline(always)]
    pub fn rank(&self, id: u32) -> u32 {
        rank(self.0[id as usize / 32], id)
    }

    /// The rank of each of `ids`, which must be members.
    #[inline(always)]
    pub fn rank_all(&self, ids: &[u32], out: &mut [u32]) {
        let words = &self.0[..];
        for (out, &id) in out.iter_mut().zip(ids) {
            *out = rank(words[id as usize / 32], id);
        }
    }

    /// The rank of each of `ids`, which must be below the end; [`ABSENT`] if it is no member.
    #[inline(always)]
    pub fn find_all(&self, ids: &[u32], out: &mut [u32]) {
        let words = &self.0[..];
        for (out, &id) in out.iter_mut().zip(ids) {
            let word = words[id as usize / 32];
            let member = word >> (id % 32) & 1 == 1;
            *out = if member { rank(word, id) } else { ABSENT };
        }
    }
}

#[inline(always)]
fn rank(word: u64, id: u32) -> u32 {
    let before = word as u32 & ((1 << (id % 32)) - 1);
    (word >> 32) as u32 + before.count_ones()
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use crate::kernels::memory::Temp;

    /// Fills the high halves of words that have members and appends the members.
    ///
    /// # Safety
    /// `members` has room for all members and 16 more.
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    pub unsafe fn list(words: &mut [u64], members: &mut Vec<u32>) {
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let start = members.len();
        let mut len = start;
        for &n in occupied(words).iter() {
            let bits = words[n as usize] as u32;
            words[n as usize] |= ((len - start) as u64) << 32;
            let first = _mm512_add_epi32(_mm512_set1_epi32((32 * n) as i32), lanes);
            let second = _mm512_add_epi32(first, _mm512_set1_epi32(16));
            let (low, high) = (bits as u16, (bits >> 16) as u16);
            for (mask, ids) in [(low, first), (high, second)] {
                debug_assert!(len + 16 <= members.capacity());
                let packed = _mm512_maskz_compress_epi32(mask, ids);
                // SAFETY: the caller promises room for 16 ids after those listed.
                unsafe { _mm512_storeu_si512(members.as_mut_ptr().add(len).cast(), packed) };
                len += mask.count_ones() as usize;
            }
        }
        // SAFETY: that many ids have been written.
        unsafe { members.set_len(len) };
    }

    /// Positions of the words that are not 0.
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    fn occupied(words: &[u64]) -> Temp<u32> {
        let mut found: Temp<u32> = Temp::with_capacity(words.len() + 8);
        let (eights, rest) = words.as_chunks::<8>();
        let mut ids = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mut len = 0;
        for eight in eights {
            // SAFETY: eight words are read.
            let words = unsafe { _mm512_loadu_si512(eight.as_ptr().cast()) };
            let mask = _mm512_test_epi64_mask(words, words);
            let packed = _mm256_maskz_compress_epi32(mask, ids);
            // SAFETY: there is room for 8 more than the words seen so far.
            unsafe { _mm256_storeu_si256(found.as_mut_ptr().add(len).cast(), packed) };
            len += mask.count_ones() as usize;
            ids = _mm256_add_epi32(ids, _mm256_set1_epi32(8));
        }
        // SAFETY: that many positions have been written.
        unsafe { found.set_len(len) };
        let start = words.len() - rest.len();
        found.extend((start..words.len()).filter(|&n| words[n] != 0).map(|n| n as u32));
        found
    }
}
