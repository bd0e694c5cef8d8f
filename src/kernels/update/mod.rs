//! In-place updates of tables by gradients, and the steps that rows without a gradient miss.

pub(crate) mod adagrad;
pub(crate) mod adam;
pub(crate) mod adam_rest;
pub(crate) mod ftrl;
pub(crate) mod missed;
pub(crate) mod products;
pub(crate) mod sgd;

use super::Number;
use super::memory::Temp;
use super::spmm::{ABSENT, any_absent};
use super::threads::{for_each_job, rows_per_part};
use super::vectorized::{Task, is_far, load, prefetch, prefetch_row, vectorized};

/// How many rows ahead the memory is asked for.
const AHEAD: usize = 16;

/// Rows of one weight that move at once, side by side in full lanes.
const AT_ONCE: usize = 16;

/// Elements that one thread updates in a row before it is worth to ask another: some 20 µs in the caches.
const SHARE: usize = 1 << 17;

/// Nanoseconds that a row takes longer if it is in no near cache.
const FAR_ROW: usize = 2;

/// The most parts that rows are cut into.
const MAX_PARTS: usize = 64;

/// Elements that are updated by a zero gradient at a time.
const CHUNK: usize = 1024;

/// One optimizer's arithmetic in one step, with `N` states beside the weights.
pub(crate) trait Rule<T: Number, const N: usize>: Sync {
    /// Elements of each state for a row of `k` weights.
    fn widths(&self, k: usize) -> [usize; N] {
        [k; N]
    }

    /// Moves consecutive rows of `k` weights each.
    fn rows(&self, k: usize, w: &mut [T], s: [&mut [T]; N], g: &[T]);
}

/// A table's weights and the states beside them, row by row.
pub(crate) struct Rows<'a, T, const N: usize> {
    pub w: &'a mut [T],
    pub s: [&'a mut [T]; N],
    /// Weights of a row, and elements of each state.
    pub k: usize,
    pub widths: [usize; N],
}

impl<'a, T: Number, const N: usize> Rows<'a, T, N> {
    /// The same rows, for a while.
    pub fn lend(&mut self) -> Rows<'_, T, N> {
        let s = self.s.each_mut().map(|s| &mut **s);
        Rows { w: self.w, s, k: self.k, widths: self.widths }
    }

    /// The first `rows` rows and those after them.
    pub fn split_at(self, rows: usize) -> (Self, Self) {
        let Rows { w, s, k, widths } = self;
        let (w, w_after) = w.split_at_mut(rows * k);
        let mut after: [&'a mut [T]; N] = std::array::from_fn(|_| Default::default());
        let mut each = widths.iter().zip(&mut after);
        let s = s.map(|s| match each.next() {
            Some((width, after)) => {
                let (s, rest) = s.split_at_mut(rows * width);
                *after = rest;
                s
            }
            None => s,
        });
        (Rows { w, s, k, widths }, Rows { w: w_after, s: after, k, widths })
    }

    /// One row.
    #[inline(always)]
    pub fn row(&mut self, slot: usize) -> (&mut [T], [&mut [T]; N]) {
        let mut widths = self.widths.iter();
        let s = self.s.each_mut().map(|s| {
            let width = widths.next().copied().unwrap_or_default();
            &mut s[slot * width..][..width]
        });
        (&mut self.w[slot * self.k..][..self.k], s)
    }

    /// Asks for a row that is used soon.
    #[inline(always)]
    pub fn ask_for(&self, slot: usize) {
        prefetch_row(self.w, slot.wrapping_mul(self.k), self.k);
        for (s, &width) in self.s.iter().zip(&self.widths) {
            prefetch_row(s, slot.wrapping_mul(width), width);
        }
    }

    fn elements(&self) -> usize {
        self.w.len() * (N + 1)
    }
}

/// Updates the rows at `slots` by the rows of `g`; absent slots are left out. Ascending slots may be shared
/// among threads: what a row becomes depends on no other.
pub(crate) fn update_rows<T: Number, R: Rule<T, N>, const N: usize>(
    rule: &R,
    rows: Rows<'_, T, N>,
    slots: &[u32],
    g: &[T],
    ascending: bool,
) {
    debug_assert!(!ascending || slots.is_sorted());
    let (k, far) = (rows.k, is_far::<T>(rows.w.len()));
    let at_once = rows_per_part(slots.len(), 1 + k * (N + 1) / 4 + if far { FAR_ROW } else { 0 });
    if !ascending || at_once >= slots.len() {
        return vectorized(Touched { rule, rows, first: 0, slots, g });
    }
    let (mut jobs, mut rest, mut first) = (Vec::new(), rows, 0);
    for (n, slots) in slots.chunks(at_once).enumerate() {
        let end = slots[slots.len() - 1] as usize + 1;
        let (rows, after) = rest.split_at(end - first);
        let g = &g[n * at_once * k..][..slots.len() * k];
        jobs.push(Some(Touched { rule, rows, first, slots, g }));
        (rest, first) = (after, end);
    }
    for_each_job(&mut jobs, |job| job.take().into_iter().for_each(vectorized));
}

struct Touched<'a, 'r, T, R, const N: usize> {
    rule: &'a R,
    rows: Rows<'r, T, N>,
    first: usize,
    slots: &'a [u32],
    g: &'a [T],
}

impl<T: Number, R: Rule<T, N>, const N: usize> Task for Touched<'_, '_, T, R, N> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let single = self.rows.k == 1 && self.rows.widths == [1; N];
        let (mut start, end) = (0, self.slots.len());
        while start < end {
            let next = if single { end.min(start + AT_ONCE) } else { end };
            let slots = &self.slots[start..next];
            if single && slots.len() == AT_ONCE && !any_absent(slots) {
                self.move_block(start);
            } else {
                self.move_each(start, next);
            }
            start = next;
        }
    }
}

impl<T: Number, R: Rule<T, N>, const N: usize> Touched<'_, '_, T, R, N> {
    /// Moves the rows of slots `start..end`.
    #[inline(always)]
    fn move_each(&mut self, start: usize, end: usize) {
        let Touched { rule, rows, first, slots, g } = self;
        let (k, far) = (rows.k, is_far::<T>(rows.w.len()));
        for i in start..end {
            if far && let Some(&slot) = slots.get(i + AHEAD) {
                rows.ask_for((slot as usize).wrapping_sub(*first));
            }
            if slots[i] == ABSENT {
                continue;
            }
            let (w, s) = rows.row(slots[i] as usize - *first);
            rule.rows(k, w, s, &g[i * k..][..k]);
        }
    }

    /// Moves a block of rows of one weight, with one element of each state, from slot `start` on.
    #[inline(always)]
    fn move_block(&mut self, start: usize) {
        let Touched { rule, rows, first, slots, g } = self;
        let ahead = start + 2 * AT_ONCE;
        if is_far::<T>(rows.w.len()) && ahead + AT_ONCE <= slots.len() {
            // SAFETY: the slots ahead are as many.
            for slot in unsafe { load::<_, AT_ONCE>(slots, ahead) } {
                let at = (*slot as usize).wrapping_sub(*first);
                prefetch::<T, 1>(rows.w, at);
                rows.s.iter().for_each(|s| prefetch::<T, 1>(s, at));
            }
        }
        // SAFETY: the caller found a block of slots; each has a row of `g`.
        let slots = unsafe { load::<_, AT_ONCE>(slots, start) };
        let g = &g[start..start + AT_ONCE];
        let mut w = [T::default(); AT_ONCE];
        let mut s = [[T::default(); AT_ONCE]; N];
        for l in 0..AT_ONCE {
            let at = slots[l] as usize - *first;
            w[l] = rows.w[at];
            for (s, row) in s.iter_mut().zip(&rows.s) {
                s[l] = row[at];
            }
        }
        rule.rows(1, &mut w, s.each_mut().map(|s| &mut s[..]), g);
        for l in 0..AT_ONCE {
            let at = slots[l] as usize - *first;
            rows.w[at] = w[l];
            for (s, row) in s.iter().zip(&mut rows.s) {
                row[at] = s[l];
            }
        }
    }
}

/// Updates all rows by `g`, or by zeros.
pub(crate) fn update_all<T: Number, R: Rule<T, N>, const N: usize>(
    rule: &R,
    rows: Rows<'_, T, N>,
    g: Option<&[T]>,
) {
    let count = rows.w.len().checked_div(rows.k).unwrap_or(0);
    let parts = (rows.elements() / SHARE).min(MAX_PARTS);
    if parts < 2 || rayon::current_num_threads() == 1 {
        return update_run(rule, rows, g);
    }
    let at_once = count.div_ceil(parts);
    let (mut jobs, mut rest) = (Vec::new(), rows);
    while !rest.w.is_empty() {
        let first = jobs.len() * at_once;
        let (rows, after) = rest.split_at(at_once.min(count - first));
        let g = g.map(|g| &g[first * rows.k..][..rows.w.len()]);
        jobs.push(Some((rows, g)));
        rest = after;
    }
    for_each_job(&mut jobs, |job| {
        job.take().into_iter().for_each(|(rows, g)| update_run(rule, rows, g));
    });
}

fn update_run<T: Number, R: Rule<T, N>, const N: usize>(
    rule: &R,
    rows: Rows<'_, T, N>,
    g: Option<&[T]>,
) {
    match g {
        Some(g) => vectorized(Run { rule, rows, g }),
        None => at_rest(rule, rows),
    }
}

/// Updates all rows by `g`, or by zeros, but for those at the slots `stay`.
pub(crate) fn update_all_but<T: Number, R: Rule<T, N>, const N: usize>(
    rule: &R,
    mut rows: Rows<'_, T, N>,
    g: Option<&[T]>,
    stay: &[u32],
) {
    let mut kept = Temp::with_capacity(stay.len() * (rows.k + rows.widths.iter().sum::<usize>()));
    for &slot in stay {
        let (w, s) = rows.row(slot as usize);
        kept.extend_from_slice(w);
        s.iter().for_each(|s| kept.extend_from_slice(s));
    }
    update_all(rule, rows.lend(), g);
    let mut kept = &kept[..];
    for &slot in stay {
        let (w, s) = rows.row(slot as usize);
        for part in std::iter::once(w).chain(s) {
            let (own, rest) = kept.split_at(part.len());
            part.copy_from_slice(own);
            kept = rest;
        }
    }
}

/// Updates all rows by a gradient of zeros.
fn at_rest<T: Number, R: Rule<T, N>, const N: usize>(rule: &R, mut rows: Rows<'_, T, N>) {
    if rows.w.is_empty() {
        return;
    }
    let at_once = (CHUNK / rows.k).max(1);
    let zeros = Temp::filled(T::default(), at_once * rows.k);
    while !rows.w.is_empty() {
        let count = at_once.min(rows.w.len() / rows.k);
        let (now, later) = rows.split_at(count);
        let g = &zeros[..now.w.len()];
        vectorized(Run { rule, rows: now, g });
        rows = later;
    }
}

struct Run<'a, 'r, T, R, const N: usize> {
    rule: &'a R,
    rows: Rows<'r, T, N>,
    g: &'a [T],
}

impl<T: Number, R: Rule<T, N>, const N: usize> Task for Run<'_, '_, T, R, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rows { w, s, k, .. } = self.rows;
        self.rule.rows(k, w, s, self.g);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Real;
    use super::sgd::SgdStep;
    use super::*;

    fn heavy_ball<T: Real>() -> SgdStep<T> {
        let [lr, momentum, decay, rescale, clip] =
            [0.5, 0.9, 0.1, 2.0, 3.0].map(|x: f64| T::from(x).unwrap());
        SgdStep { lr, momentum, nesterov: false, decay, rescale, clip }
    }

    /// A step of SGD by rows: the table, its momenta and what the step made of them.
    fn stepped(threads: usize, ascending: bool) -> (Vec<f32>, Vec<f32>) {
        let (n, k) = (40_000, 8);
        let step = heavy_ball();
        let mut w: Vec<f32> = (0..n * k).map(|i| (i as f32).sin()).collect();
        let mut m: Vec<f32> = (0..n * k).map(|i| (i as f32).cos()).collect();
        let slots: Vec<u32> = (0..n as u32).filter(|i| i % 7 != 3).collect();
        let g: Vec<f32> = (0..slots.len() * k).map(|i| (i as f32 * 0.3).sin()).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            assert_eq!(rows_per_part(slots.len(), k / 2) < slots.len(), threads > 1);
            let rows = Rows { w: &mut w, s: [&mut m], k, widths: [k] };
            update_rows(&step, rows, &slots, &g, ascending);
        });
        (w, m)
    }

    #[test]
    fn rows_do_not_depend_on_threads() {
        let one = stepped(1, true);
        assert!(one == stepped(3, true) && one == stepped(3, false));
    }

    #[test]
    fn rows_are_the_dense_update_with_a_zero_gradient_elsewhere_left_out() {
        let step = heavy_ball();
        let (w, m, g) = ([1.0f64, -2.0, 3.0, 4.0], [0.5, 0.25, -0.5, 1.0], [9.0, -1.0]);
        let update = |how: &dyn Fn(Rows<'_, f64, 1>)| {
            let (mut w, mut m) = (w, m);
            how(Rows { w: &mut w, s: [&mut m], k: 2, widths: [2] });
            (w, m)
        };
        let (by_rows, by_rows_m) = update(&|rows| update_rows(&step, rows, &[1], &g, true));
        let (dense, dense_m) =
            update(&|rows| update_all(&step, rows, Some(&[0.0, 0.0, 9.0, -1.0])));
        let (rest, _) = update(&|rows| update_all(&step, rows, None));
        assert_eq!((&by_rows[2..], &by_rows_m[2..]), (&dense[2..], &dense_m[2..]));
        assert_eq!((&by_rows[..2], &by_rows_m[..2]), (&w[..2], &m[..2]));
        assert_eq!(rest[..2], dense[..2]);
        assert!(dense[0] != w[0]);
    }

    #[test]
    fn absent_slots_move_nothing() {
        let step = SgdStep {
            lr: 1.0f64,
            momentum: 0.0,
            nesterov: false,
            decay: 0.0,
            rescale: 1.0,
            clip: f64::INFINITY,
        };
        let mut w = [1.0, 2.0];
        let rows = Rows { w: &mut w, s: [], k: 1, widths: [] };
        update_rows(&step, rows, &[ABSENT, 1], &[5.0, 7.0], false);
        assert_eq!(w, [1.0, -5.0]);
    }
}
