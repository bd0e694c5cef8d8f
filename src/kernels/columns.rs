//! The distinct columns of a pattern.

use super::memory::Temp;
use super::ranks::Ranks;
use super::vectorized::{Task, vectorized};

/// Bitmap words per index up to which scanning the bitmap is cheaper than sorting the indices.
const WORDS_PER_INDEX: usize = 8;

/// The distinct `indices`, ascending, and for each index its position among them.
/// Never takes time or memory in the order of `cols` for few indices.
pub(crate) fn compact(indices: &[u32], cols: usize) -> (Temp<u32>, Temp<u32>) {
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

fn sort(indices: &[u32]) -> (Temp<u32>, Temp<u32>) {
    let mut order =
        Temp::collect(indices.iter().enumerate().map(|(n, &column)| (column, n as u32)));
    sort_by_column(&mut order);
    let [mut distinct, mut slots] = [(); 2].map(|()| Temp::unspecified(indices.len()));
    let (mut last, mut slot) = (order.first().map_or(0, |first| first.0), 0);
    for &(column, n) in order.iter() {
        // No branch depends on whether the column is new.
        slot += usize::from(column != last);
        last = column;
        distinct[slot] = column;
        slots[n as usize] = slot as u32;
    }
    distinct.truncate(if indices.is_empty() { 0 } else { slot + 1 });
    (distinct, slots)
}

/// Fewer entries are sorted by comparing them.
const FEW: usize = 256;

/// Sorts columns and their positions, which ascend: byte by byte from the lowest, in both of two
/// memories in turn.
fn sort_by_column(order: &mut Temp<(u32, u32)>) {
    if order.len() < FEW {
        return order.sort_unstable();
    }
    let mut counts = [[0usize; 256]; 4];
    for &(column, _) in order.iter() {
        for (count, byte) in counts.iter_mut().zip(column.to_le_bytes()) {
            count[byte as usize] += 1;
        }
    }
    let mut sorted: Temp<(u32, u32)> = Temp::unspecified(order.len());
    for (digit, mut starts) in counts.into_iter().enumerate() {
        if starts.contains(&order.len()) {
            continue;
        }
        let mut sum = 0;
        starts.iter_mut().for_each(|start| sum += std::mem::replace(start, sum));
        for &entry in order.iter() {
            let start = &mut starts[entry.0.to_le_bytes()[digit] as usize];
            sorted[*start] = entry;
            *start += 1;
        }
        std::mem::swap(order, &mut sorted);
    }
}
