//! Positions of the largest or smallest elements.

use super::Number;
use super::memory::Temp;
use super::threads::for_each_part;

/// Whether `x` comes before `y`: it is larger (smaller, for `MIN`), or NaN where `y` is not.
#[inline(always)]
fn beats<T: Number, const MIN: bool>(x: T, y: T) -> bool {
    let further = if MIN { x < y } else { x > y };
    // Only NaN differs from itself.
    #[expect(clippy::eq_op)]
    let first_nan = x != x && y == y;
    further || first_nan
}

/// For each lane of `n` elements, `inner` apart, the position of the first that none beats.
pub(crate) fn arg_axis<T: Number, const MIN: bool>(
    values: &[T],
    n: usize,
    inner: usize,
    out: &mut [i64],
) {
    for_each_part(out, inner, n * inner, |first, out| {
        let mut best = Temp::with_capacity(inner);
        for (i, out) in out.chunks_exact_mut(inner).enumerate() {
            let block = &values[(first + i) * n * inner..][..n * inner];
            best.clear();
            best.extend_from_slice(&block[..inner]);
            out.fill(0);
            for (j, row) in block.chunks_exact(inner).enumerate() {
                for ((at, best), &x) in out.iter_mut().zip(best.iter_mut()).zip(row) {
                    if beats::<T, MIN>(x, *best) {
                        (*at, *best) = (j as i64, x);
                    }
                }
            }
        }
    });
}

/// A lane of which only some elements are stored; the others are zeros.
#[derive(Clone, Copy)]
struct Lane<T, const MIN: bool> {
    /// The first stored element that no stored one beats, and its position.
    best: Option<(T, i64)>,
    /// The first position from 0 on that is not stored.
    absent: i64,
}

impl<T: Number, const MIN: bool> Lane<T, MIN> {
    const EMPTY: Self = Lane { best: None, absent: 0 };

    /// Adds a stored element, at a larger position than those before.
    fn add(&mut self, at: i64, x: T) {
        self.absent += i64::from(self.absent == at);
        if self.best.is_none_or(|(best, _)| beats::<T, MIN>(x, best)) {
            self.best = Some((x, at));
        }
    }

    /// Where, among `n` elements, the first is that none beats.
    fn first(self, n: usize) -> i64 {
        let zero = T::default();
        match self.best {
            Some((best, at)) if beats::<T, MIN>(best, zero) => at,
            Some((best, at)) if best == zero => at.min(self.absent),
            Some((_, at)) if self.absent == n as i64 => at,
            _ => self.absent,
        }
    }
}

/// As [`arg_axis`] for rows of `n` elements of which `row(i)` gives the stored columns, ascending,
/// and their values.
pub(crate) fn arg_rows<'a, T: Number, const MIN: bool>(
    row: impl Fn(usize) -> (&'a [u32], &'a [T]) + Sync,
    (n, cost): (usize, usize),
    out: &mut [i64],
) {
    for_each_part(out, 1, cost, |first, out| {
        for (i, out) in (first..).zip(out) {
            let mut lane = Lane::<T, MIN>::EMPTY;
            let (columns, values) = row(i);
            columns.iter().zip(values).for_each(|(&c, &x)| lane.add(c.into(), x));
            *out = lane.first(n);
        }
    });
}

/// As [`arg_axis`] for lanes of `n` elements of which `entries` lists those stored: lane, position,
/// value; positions ascend in each lane.
pub(crate) fn arg_lanes<T: Number, const MIN: bool>(
    entries: impl Iterator<Item = (usize, usize, T)>,
    n: usize,
    out: &mut [i64],
) {
    let mut lanes = Temp::filled(Lane::<T, MIN>::EMPTY, out.len());
    entries.for_each(|(lane, at, x)| lanes[lane].add(at as i64, x));
    out.iter_mut().zip(lanes.iter()).for_each(|(out, lane)| *out = lane.first(n));
}
