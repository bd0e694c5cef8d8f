//! Ids sorted with their positions.

use super::memory::Temp;

/// An id and which one it is.
pub(super) type Place = (u32, u32);

/// Fewer ids are sorted by comparing them.
const FEW: usize = 256;

/// Ids from which on more bits are sorted by at once.
const MANY: usize = 1 << 13;

/// The places of ids below `bound`, sorted digit by digit from the lowest, so that equal ones stay in order.
pub(super) fn sorted_places(ids: &[u32], bound: usize) -> Temp<Place> {
    let mut places = Temp::collect(ids.iter().copied().zip(0..));
    if ids.len() < FEW {
        places.sort_unstable();
        return places;
    }
    let bits = usize::BITS - bound.saturating_sub(1).leading_zeros();
    let digits = bits.div_ceil(if ids.len() < MANY { 10 } else { 12 });
    let width = bits.div_ceil(digits.max(1));
    let digit = |id: u32, n: u32| (id >> (n * width)) as usize & ((1 << width) - 1);
    let mut counts = Temp::filled(0u32, (digits as usize) << width);
    for &id in ids {
        for (n, counts) in (0..).zip(counts.chunks_exact_mut(1 << width)) {
            counts[digit(id, n)] += 1;
        }
    }
    let mut sorted: Temp<Place> = Temp::unspecified(ids.len());
    for (n, starts) in (0..).zip(counts.chunks_exact_mut(1 << width)) {
        let mut sum = 0;
        starts.iter_mut().for_each(|start| sum += std::mem::replace(start, sum));
        for &place in places.iter() {
            let start = &mut starts[digit(place.0, n)];
            sorted[*start as usize] = place;
            *start += 1;
        }
        std::mem::swap(&mut places, &mut sorted);
    }
    places
}
