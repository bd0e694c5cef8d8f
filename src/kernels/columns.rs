//! The distinct columns of a pattern.

use super::memory::Temp;
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

/// An index and which one it is.
type Place = (u32, u32);

/// Turns counts into where each one's part begins.
fn starts(counts: &mut [u32]) {
    let mut sum = 0;
    counts.iter_mut().for_each(|count| sum += std::mem::replace(count, sum));
}

/// Appends each place to its part. Where parts begin becomes where they end.
#[inline(always)]
fn distribute(
    places: impl Iterator<Item = Place>,
    part: impl Fn(Place) -> usize,
    starts: &mut [u32],
    to: &mut [Place],
) {
    for place in places {
        let start = &mut starts[part(place)];
        to[*start as usize] = place;
        *start += 1;
    }
}

fn sort(indices: &[u32], cols: usize) -> (Temp<u32>, Temp<u32>) {
    let sorted = sorted(indices, cols);
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

/// Fewer indices are sorted by comparing them.
const FEW: usize = 256;

/// Bits of a digit, at most: counts of all digits stay in the nearest cache.
const DIGIT: u32 = 11;

/// The places of indices below `cols`, sorted digit by digit from the lowest, so that equal ones stay in order.
fn sorted(indices: &[u32], cols: usize) -> Temp<Place> {
    let all = indices.iter().copied().zip(0..);
    if indices.len() < FEW {
        let mut few = Temp::collect(all);
        few.sort_unstable();
        return few;
    }
    let bits = usize::BITS - cols.leading_zeros();
    let digits = bits.div_ceil(DIGIT);
    let width = bits.div_ceil(digits);
    let digit =
        |n: u32| move |(index, _): Place| (index >> (n * width)) as usize & ((1 << width) - 1);
    let mut counts = [[0; 1 << DIGIT]; u32::BITS.div_ceil(DIGIT) as usize];
    for place in all.clone() {
        for (n, counts) in (0..digits).zip(&mut counts) {
            counts[digit(n)(place)] += 1;
        }
    }
    let [mut from, mut to] = [(); 2].map(|()| Temp::<Place>::unspecified(indices.len()));
    starts(&mut counts[0][..1 << width]);
    distribute(all, digit(0), &mut counts[0], &mut from);
    for (n, counts) in (0..digits).zip(&mut counts).skip(1) {
        starts(&mut counts[..1 << width]);
        distribute(from.iter().copied(), digit(n), counts, &mut to);
        std::mem::swap(&mut from, &mut to);
    }
    from
}
