//! Positions of the largest or smallest elements.

use super::Number;
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
        let mut best = Vec::with_capacity(inner);
        for (i, out) in out.chunks_exact_mut(inner).enumerate() {
            let block = &values[(first + i) * n * inner..][..n * inner];
            best.clear();
            best.extend_from_slice(&block[..inner]);
            out.fill(0);
            for (j, row) in block.chunks_exact(inner).enumerate() {
                for ((at, best), &x) in out.iter_mut().zip(&mut best).zip(row) {
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
struct Lane<T> {
    /// The first stored element that no stored one beats, and its position.
    best: Option<(T, i64)>,
    /// The first position from 0 on that is not stored.
    absent: i64,
}

/// As [`arg_axis`] for lanes of `n` elements of which `entries` lists those stored: lane, position,
/// value; positions ascend in each lane.
pub(crate) fn arg_sparse<T: Number, const MIN: bool>(
    n: usize,
    entries: impl Iterator<Item = (usize, usize, T)>,
    out: &mut [i64],
) {
    let mut lanes = vec![Lane { best: None, absent: 0 }; out.len()];
    for (lane, at, x) in entries {
        let (lane, at) = (&mut lanes[lane], at as i64);
        lane.absent += i64::from(lane.absent == at);
        if lane.best.is_none_or(|(best, _)| beats::<T, MIN>(x, best)) {
            lane.best = Some((x, at));
        }
    }
    for (out, Lane { best, absent }) in out.iter_mut().zip(lanes) {
        *out = match best {
            Some((best, at)) if absent == n as i64 || !zero_wins::<T, MIN>(absent, best, at) => at,
            _ => absent,
        };
    }
}

fn zero_wins<T: Number, const MIN: bool>(absent: i64, best: T, at: i64) -> bool {
    let zero = T::default();
    beats::<T, MIN>(zero, best) || (zero == best && absent < at)
}
