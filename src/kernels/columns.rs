//! The distinct columns of a pattern.

use super::memory::Temp;
use super::radix::sorted_places;
use super::ranks::Ranks;
use super::spans::compact_spans;
use super::vectorized::{Task, vectorized};

/// The distinct `indices`, ascending, and for each index its position among them.
/// Never takes time or memory in the order of `cols` for few indices.
///
/// A set of all columns, scanned, sorts them, if it has few words for each index; where it has many, the
/// indices are sorted digit by digit. A set too large for the nearest caches is made span by span.
pub(crate) fn compact(indices: &[u32], cols: usize) -> (Temp<u32>, Temp<u32>) {
    let (words, count) = (Ranks::words(cols), indices.len());
    match cols <= NEAR_COLUMNS {
        true if 2 * words <= 3 * count => vectorized(Compact { indices, cols }),
        false if words <= 12 * count && count >= MANY => compact_spans(indices, cols),
        _ => sort(indices, cols),
    }
}

/// Columns whose set stays in the nearest caches.
const NEAR_COLUMNS: usize = 1 << 21;

/// Indices that are worth to be distributed among spans.
const MANY: usize = 1 << 16;

struct Compact<'a> {
    indices: &'a [u32],
    cols: usize,
}

impl Task for Compact<'_> {
    type Output = (Temp<u32>, Temp<u32>);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Compact { indices, cols } = self;
        let mut ranks = Ranks::new(cols);
        let mut distinct = Temp::with_capacity(indices.len().min(cols) + Ranks::SPARE);
        ranks.insert(indices);
        ranks.list(indices.len(), &mut distinct);
        let mut slots = Temp::unspecified(indices.len());
        ranks.rank_all(indices, &mut slots);
        (distinct, slots)
    }
}

fn sort(indices: &[u32], cols: usize) -> (Temp<u32>, Temp<u32>) {
    let sorted = sorted_places(indices, cols);
    let [mut distinct, mut slots] = [(); 2].map(|()| Temp::unspecified(indices.len()));
    let (mut last, mut slot) = (sorted.first().map_or(0, |first| first.0), 0);
    for &(index, n) in sorted.iter() {
        // No branch depends on whether the index is new.
        slot += usize::from(index != last);
        last = index;
        distinct[slot] = index;
        slots[n as usize] = slot as u32;
    }
    distinct.truncate(if indices.is_empty() { 0 } else { slot + 1 });
    (distinct, slots)
}
