//! The distinct columns of a pattern.

use super::vectorized::{Task, vectorized};

/// Bitmap words per index up to which scanning the bitmap is cheaper than sorting the indices.
const WORDS_PER_INDEX: usize = 32;

/// The distinct `indices`, ascending, and for each index its position among them.
/// Never takes time or memory in the order of `cols` for few indices.
pub(crate) fn compact(indices: &[u32], cols: usize) -> (Vec<u32>, Vec<u32>) {
    let words = cols.div_ceil(32);
    if words <= indices.len().saturating_mul(WORDS_PER_INDEX) {
        return vectorized(Bitmap { indices, words });
    }
    sort(indices)
}

/// Low half of a word: which of 32 columns occur. High half: how many occur before them.
struct Bitmap<'a> {
    indices: &'a [u32],
    words: usize,
}

impl Task for Bitmap<'_> {
    type Output = (Vec<u32>, Vec<u32>);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut words = vec![0u64; self.words];
        for &column in self.indices {
            words[column as usize / 32] |= 1 << (column % 32);
        }
        let distinct = rank(&mut words);
        let slot = |&column: &u32| {
            let word = words[column as usize / 32];
            let before = word as u32 & ((1 << (column % 32)) - 1);
            (word >> 32) as u32 + before.count_ones()
        };
        let slots = self.indices.iter().map(slot).collect();
        (distinct, slots)
    }
}

/// Fills the high halves and returns the columns that occur.
#[inline(always)]
fn rank(words: &mut [u64]) -> Vec<u32> {
    let mut distinct = Vec::new();
    for (n, word) in words.iter_mut().enumerate() {
        let mut bits = *word as u32;
        *word |= (distinct.len() as u64) << 32;
        while bits != 0 {
            distinct.push(32 * n as u32 + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
    distinct
}

fn sort(indices: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<(u32, u32)> =
        indices.iter().enumerate().map(|(n, &column)| (column, n as u32)).collect();
    radsort::sort_by_key(&mut order, |&(column, _)| column);
    let (mut distinct, mut slots) = (Vec::new(), vec![0; indices.len()]);
    for (column, n) in order {
        if distinct.last() != Some(&column) {
            distinct.push(column);
        }
        slots[n as usize] = distinct.len() as u32 - 1;
    }
    (distinct, slots)
}
