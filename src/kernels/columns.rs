//! The distinct columns of a pattern.

use super::memory::Temp;
use super::ranks::Ranks;
use super::vectorized::{Task, vectorized};

/// The distinct `indices`, ascending, and for each index its position among them.
/// Never takes time or memory in the order of `cols` for few indices.
///
/// Where a set of all columns has few words for each index, the set sorts: it is scanned. Where it has many,
/// the indices are sorted digit by digit. A set too large for the nearest caches is made span by span.
pub(crate) fn compact(indices: &[u32], cols: usize) -> (Temp<u32>, Temp<u32>) {
    if 2 * Ranks::words(cols) > 3 * indices.len() {
        return sort(indices, cols);
    }
    if cols <= NEAR_COLUMNS {
        vectorized(Compact { indices, cols })
    } else {
        by_spans(indices, cols)
    }
}

/// Columns whose set stays in the nearest caches.
const NEAR_COLUMNS: usize = 1 << 21;

/// Columns of a span, as a power of 2.
const SPAN: u32 = 18;

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

fn by_spans(indices: &[u32], cols: usize) -> (Temp<u32>, Temp<u32>) {
    let mut ends = Temp::filled(0, (cols - 1 >> SPAN) + 1);
    let span = |index: u32| (index >> SPAN) as usize;
    indices.iter().for_each(|&index| ends[span(index)] += 1);
    starts(&mut ends);
    let mut places: Temp<Place> = Temp::unspecified(indices.len());
    distribute(indices.iter().copied().zip(0..), |(index, _)| span(index), &mut ends, &mut places);
    vectorized(Spans { places: &places, ends: &ends })
}

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

struct Spans<'a> {
    places: &'a [Place],
    ends: &'a [u32],
}

impl Task for Spans<'_> {
    type Output = (Temp<u32>, Temp<u32>);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Spans { places, ends } = self;
        let mut ranks = Ranks::new(1 << SPAN);
        let mut distinct = Temp::with_capacity(places.len() + Ranks::SPARE);
        let mut slots = Temp::unspecified(places.len());
        let mut begin = 0;
        for (span, &end) in ends.iter().enumerate() {
            let (own, first) = (&places[begin..end as usize], (span as u32) << SPAN);
            begin = end as usize;
            let before = distinct.len();
            ranks.insert_each(own.iter().map(|&(index, _)| index - first));
            ranks.list(own.len(), &mut distinct);
            distinct[before..].iter_mut().for_each(|index| *index += first);
            for &(index, n) in own {
                slots[n as usize] = before as u32 + ranks.rank(index - first);
            }
            ranks.clear_all();
        }
        (distinct, slots)
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
