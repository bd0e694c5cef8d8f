//! The distinct columns of a pattern.

use super::ranks::Ranks;
use super::vectorized::{Task, vectorized};

/// Bitmap words per index up to which scanning the bitmap is cheaper than sorting the indices.
const WORDS_PER_INDEX: usize = 8;

/// The distinct `indices`, ascending, and for each index its position among them.
/// Never takes time or memory in the order of `cols` for few indices.
pub(crate) fn compact(indices: &[u32], cols: usize) -> (Vec<u32>, Vec<u32>) {
    if Ranks::words(cols) <= indices.len().saturating_mul(WORDS_PER_INDEX) {
        return vectorized(Compact { indices, cols });
    }
    sort(indices)
}

struct Compact<'a> {
    indices: &'a [u32],
    cols: usize,
}

impl Task for Compact<'_> {
    type Output = (Vec<u32>, Vec<u32>);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Compact { indices, cols } = self;
        let mut ranks = Ranks::new(cols);
        ranks.insert(indices);
        let distinct = ranks.list(indices.len());
        let mut slots = vec![0; indices.len()];
        ranks.rank_all(indices, &mut slots);
        (distinct, slots)
    }
}

fn sort(indices: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<(u32, u32)> =
        indices.iter().enumerate().map(|(n, &column)| (column, n as u32)).collect();
    radsort::sort_by_key(&mut order, |&(column, _)| column);
    let (mut distinct, mut slots) = (vec![0; indices.len()], vec![0; indices.len()]);
    let (mut last, mut slot) = (order.first().map_or(0, |first| first.0), 0);
    for (column, n) in order {
        // No branch depends on whether the column is new.
        slot += usize::from(column != last);
        last = column;
        distinct[slot] = column;
        slots[n as usize] = slot as u32;
    }
    distinct.truncate(if indices.is_empty() { 0 } else { slot + 1 });
    distinct.shrink_to_fit();
    (distinct, slots)
}
