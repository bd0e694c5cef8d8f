//! Rows added up by id.
//!
//! Ids are sorted with their positions, so that the rows of one id are added in registers and each sum is
//! written once: no sum is read back, none must be zero before, and threads share the sums.

use std::ops::Range;

use num_traits::AsPrimitive;

use super::Number;
use super::memory::Temp;
use super::threads::for_each_part;
use super::vectorized::{
    Task, each_width, is_far, load, load_mut, prefetch_lines, straddles, vectorized,
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
    /// Ids, and below them their positions.
    keys: Temp<u64>,
}

impl ById {
    /// Of ids below `bound`, fewer than 2³².
    pub fn new(ids: &[u32], bound: usize) -> ById {
        let mut keys =
            Temp::collect(ids.iter().zip(0u64..).map(|(&id, n)| u64::from(id) << 32 | n));
        sort(&mut keys, bound);
        let [mut distinct, mut bounds] = [(); 2].map(|()| Temp::unspecified(ids.len() + 1));
        let (mut count, mut last) = (0, None);
        bounds[0] = 0;
        for (&key, n) in keys.iter().zip(1..) {
            let id = Some((key >> 32) as u32);
            // No branch depends on whether the id is new.
            count += usize::from(id != last);
            distinct[count - 1] = (key >> 32) as u32;
            bounds[count] = n;
            last = id;
        }
        distinct.truncate(count);
        bounds.truncate(count + 1);
        ById { distinct, bounds, keys }
    }

    /// Adds up the rows of `values` at the positions of each id, in their order, from 0 on.
    pub fn sum<T: Number>(&self, values: &[T], k: usize, out: &mut [T]) {
        assert_eq!((values.len(), out.len()), (self.keys.len() * k, self.distinct.len() * k));
        let each = self.keys.len() / self.distinct.len().max(1) + 1;
        for_each_part(out, k, each * (2 + k / 4), |first, out| {
            for (n, out) in out.chunks_mut(BLOCK * k).enumerate() {
                let first = first + n * BLOCK;
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
        let Sums { by_id: ById { keys, .. }, values, k, at, .. } = *self;
        let keys = &keys[..];
        let mut sum = [T::default(); C];
        for n in range {
            if let Some(straddles) = ahead
                && let Some(&key) = keys.get(n + AHEAD)
            {
                prefetch_lines::<T, C>(values, key as u32 as usize * k + at, straddles);
            }
            // SAFETY: positions are below the number of rows, and `at + C <= k`.
            let row: &[T; C] = unsafe { load(values, keys[n] as u32 as usize * k + at) };
            for l in 0..C {
                sum[l] = sum[l] + row[l];
            }
        }
        sum
    }
}

/// Fewer keys are sorted by comparing them.
const FEW: usize = 256;

/// Keys from which on more bits are sorted by at once.
const MANY: usize = 1 << 13;

/// Sorts by the high half, which is below `bound`, in the order that there is among equals: digit by digit
/// from the lowest.
fn sort(keys: &mut Temp<u64>, bound: usize) {
    if keys.len() < FEW {
        return keys.sort_unstable();
    }
    let bits = usize::BITS - bound.saturating_sub(1).leading_zeros();
    let passes = bits.div_ceil(if keys.len() < MANY { 8 } else { 12 });
    let width = bits.div_ceil(passes.max(1));
    let mut sorted: Temp<u64> = Temp::unspecified(keys.len());
    let mut starts: Temp<u32> = Temp::unspecified(1 << width);
    for pass in 0..passes {
        let mask = (1 << width) - 1;
        let digit = |key: u64| (key >> (32 + pass * width)) as usize & mask;
        starts.fill(0);
        keys.iter().for_each(|&key| starts[digit(key)] += 1);
        let mut sum = 0;
        starts.iter_mut().for_each(|start| sum += std::mem::replace(start, sum));
        for &key in keys.iter() {
            let start = &mut starts[digit(key)];
            sorted[*start as usize] = key;
            *start += 1;
        }
        std::mem::swap(keys, &mut sorted);
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
            let mut expected: Vec<u64> =
                ids.iter().zip(0..).map(|(&id, n)| u64::from(id) << 32 | n).collect();
            expected.sort_unstable();
            assert_eq!(by_id.keys[..], expected);
            let mut distinct = ids.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(by_id.distinct[..], distinct);
            for (id, bounds) in distinct.iter().zip(by_id.bounds.windows(2)) {
                let own = &by_id.keys[bounds[0] as usize..bounds[1] as usize];
                assert!(!own.is_empty() && own.iter().all(|key| (key >> 32) as u32 == *id));
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
