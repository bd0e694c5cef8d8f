//! Rows added up by id.
//!
//! Ids are sorted with their positions, so that the rows of one id are added in registers and each sum is
//! written once: no sum is read back, none must be zero before, and threads share the sums.

use std::ops::Range;

use num_traits::AsPrimitive;

use super::Number;
use super::memory::Temp;
use super::radix::{Place, sorted_places};
use super::threads::for_each_part;
use super::vectorized::{
    Task, each_width, is_far, load, load_mut, prefetch_lines, rows_at_once, straddles, vectorized,
};

/// How many rows ahead one is asked for.
const AHEAD: usize = 8;

/// Rows that are summed in the element type; the sums of more are joined in a wider one.
const SHORT: usize = 64;

/// Sums that share one pass over a chunk of columns.
const BLOCK: usize = 16;

/// Positions of ids, by ascending id.
pub(crate) struct ById {
    /// The ids that occur, ascending.
    pub distinct: Temp<u32>,
    /// Where the positions of each begin, and where the last ones end.
    bounds: Temp<u32>,
    /// Sorted.
    places: Temp<Place>,
}

impl ById {
    /// Of ids below `bound`, fewer than 2³².
    pub fn new(ids: &[u32], bound: usize) -> ById {
        let places = sorted_places(ids, bound);
        let [mut distinct, mut bounds] = [(); 2].map(|()| Temp::unspecified(ids.len() + 1));
        let (mut count, mut last) = (0, None);
        bounds[0] = 0;
        for (&(id, _), n) in places.iter().zip(1..) {
            // No branch depends on whether the id is new.
            count += usize::from(Some(id) != last);
            distinct[count - 1] = id;
            bounds[count] = n;
            last = Some(id);
        }
        distinct.truncate(count);
        bounds.truncate(count + 1);
        ById { distinct, bounds, places }
    }

    /// Adds up the rows of `values` at the positions of each id, in their order, from 0 on.
    pub fn sum<T: Number>(&self, values: &[T], k: usize, out: &mut [T]) {
        assert_eq!((values.len(), out.len()), (self.places.len() * k, self.distinct.len() * k));
        let each = self.places.len() / self.distinct.len().max(1) + 1;
        for_each_part(out, k, each * (2 + k / 4), |first, out| {
            let block = rows_at_once(k, BLOCK);
            for (n, out) in out.chunks_mut(block * k).enumerate() {
                let first = first + n * block;
                each_width!(k, at, C => {
                    let out = &mut *out;
                    vectorized(Sums::<T, C> { by_id: self, values, k, at, first, out });
                });
            }
        });
    }
}

/// Columns `at..at + C` of the sums from `first` on.
struct Sums<'a, T, const C: usize> {
    by_id: &'a ById,
    values: &'a [T],
    k: usize,
    at: usize,
    first: usize,
    out: &'a mut [T],
}

impl<T: Number, const C: usize> Task for Sums<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let Sums { k, at, first, .. } = self;
        let ahead = is_far::<T>(self.values.len()).then(|| straddles(self.values, k));
        let out = std::mem::take(&mut self.out);
        let bounds = &self.by_id.bounds[first..];
        for (n, out) in out.chunks_exact_mut(k).enumerate() {
            let (mut start, end) = (bounds[n] as usize, bounds[n + 1] as usize);
            // SAFETY: `at + C <= k`.
            let out: &mut [T; C] = unsafe { load_mut(out, at) };
            let (short, mut wide) = (end - start <= SHORT, [<T::Wide>::default(); C]);
            loop {
                let until = end.min(start + SHORT);
                let part = self.part(start..until, ahead);
                if short {
                    *out = part;
                    break;
                }
                for l in 0..C {
                    wide[l] = wide[l] + part[l].as_();
                }
                if until == end {
                    for l in 0..C {
                        out[l] = wide[l].as_();
                    }
                    break;
                }
                start = until;
            }
        }
    }
}

impl<T: Number, const C: usize> Sums<'_, T, C> {
    /// The sum of some rows, which are asked for `ahead`, whether they straddle lines or not.
    #[inline(always)]
    fn part(&self, range: Range<usize>, ahead: Option<bool>) -> [T; C] {
        let Sums { by_id: ById { places, .. }, values, k, at, .. } = *self;
        let places = &places[..];
        let mut sum = [T::default(); C];
        for n in range {
            if let Some(straddles) = ahead
                && let Some(&(_, ahead)) = places.get(n + AHEAD)
            {
                prefetch_lines::<T, C>(values, ahead as usize * k + at, straddles);
            }
            // SAFETY: positions are below the number of rows, and `at + C <= k`.
            let row: &[T; C] = unsafe { load(values, places[n].1 as usize * k + at) };
            for l in 0..C {
                sum[l] = sum[l] + row[l];
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few and many ids, of few and many bits: sorted by each of the ways.
    #[test]
    fn positions_are_in_order_below_their_ids() {
        for (count, bound) in
            [(0, 0), (1, 1), (200, 9), (300, 1), (5000, 1 << 20), (20_000, 1 << 32)]
        {
            let id = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % bound as u64 % 7777;
            let ids: Vec<u32> =
                (0..count).map(|n| (id(n) * (bound as u64 / 7777).max(1)) as u32).collect();
            let by_id = ById::new(&ids, bound);
            let mut expected: Vec<Place> = ids.iter().copied().zip(0..).collect();
            expected.sort_unstable();
            assert_eq!(by_id.places[..], expected);
            let mut distinct = ids.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(by_id.distinct[..], distinct);
            for (id, bounds) in distinct.iter().zip(by_id.bounds.windows(2)) {
                let own = &by_id.places[bounds[0] as usize..bounds[1] as usize];
                assert!(!own.is_empty() && own.iter().all(|place| place.0 == *id));
            }
        }
    }

    #[test]
    fn sums_of_many_rows_do_not_drift() {
        let count = 1 << 18;
        let mut sum = [0f32];
        ById::new(&vec![5; count], 9).sum(&vec![0.1f32; count], 1, &mut sum);
        // One sum of type f32 is off by a thousandth.
        assert!((sum[0] / (0.1 * count as f32) - 1.0).abs() < 1e-5);
    }
}
