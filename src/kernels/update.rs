//! In-place updates of tables by gradients.

use std::ops::Range;

use super::Real;
use super::threads::for_each_part;
use super::vectorized::prefetch;

/// How many rows ahead the memory is asked for.
const AHEAD: usize = 16;

/// Hyper-parameters of one SGD step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SgdStep<T> {
    pub lr: T,
    pub momentum: T,
    pub decay: T,
    pub rescale: T,
    /// Bound on |rescaled gradient|; infinite for none.
    pub clip: T,
}

impl<T: Real> SgdStep<T> {
    /// lr · (clip(rescale · g) + decay · w)
    fn descent(&self, w: T, g: T) -> T {
        let scaled = self.rescale * g;
        // Selections without a branch; NaN stays NaN.
        let capped = if scaled > self.clip { self.clip } else { scaled };
        let g = if capped < -self.clip { -self.clip } else { capped };
        self.lr * (g + self.decay * w)
    }

    fn plain(&self, w: &mut [T], g: impl Iterator<Item = T>) {
        w.iter_mut().zip(g).for_each(|(w, g)| *w = *w - self.descent(*w, g));
    }

    fn heavy_ball(&self, w: &mut [T], m: &mut [T], g: impl Iterator<Item = T>) {
        for ((w, m), g) in w.iter_mut().zip(m).zip(g) {
            *m = self.momentum * *m - self.descent(*w, g);
            *w = *w + *m;
        }
    }

    /// Updates everything; without a gradient as if it were zero.
    pub fn dense(&self, w: &mut [T], m: Option<&mut [T]>, g: Option<&[T]>) {
        const CHUNK: usize = 1024;
        let zeros = || std::iter::repeat(T::zero());
        match (m, g) {
            (None, Some(g)) => for_each_part(w, 1, 1, |i, w| self.plain(w, g[i..].iter().copied())),
            (None, None) => for_each_part(w, 1, 1, |_, w| self.plain(w, zeros())),
            (Some(m), g) => {
                let chunks = w.chunks_mut(CHUNK).zip(m.chunks_mut(CHUNK)).enumerate();
                for (i, (w, m)) in chunks {
                    match g {
                        Some(g) => self.heavy_ball(w, m, g[i * CHUNK..].iter().copied()),
                        None => self.heavy_ball(w, m, zeros()),
                    }
                }
            }
        }
    }

    /// Updates everything, by the rows of `g` at ascending `slots` and elsewhere by zero.
    pub fn all_rows(&self, w: &mut [T], m: Option<&mut [T]>, slots: &[u32], g: &[T], k: usize) {
        let mut m = m;
        let mut done = 0;
        let mut part = |w: &mut [T], range: Range<usize>, g: Option<&[T]>| {
            let m = m.as_deref_mut().map(|m| &mut m[range.clone()]);
            self.dense(&mut w[range], m, g);
        };
        for (&slot, g) in slots.iter().zip(g.chunks_exact(k.max(1))) {
            let row = slot as usize * k..(slot as usize + 1) * k;
            part(w, done..row.start, None);
            done = row.end;
            part(w, row, Some(g));
        }
        let end = w.len();
        part(w, done..end, None);
    }

    /// Updates the rows at `slots`, of length `k`, by the rows of `g`.
    pub fn rows(&self, w: &mut [T], m: Option<&mut [T]>, slots: &[u32], g: &[T], k: usize) {
        // Where a row will be, some rows ahead: tables are larger than the caches.
        let ahead = |w: &[T], i: usize| {
            if let Some(&slot) = slots.get(i + AHEAD) {
                prefetch::<T, 1>(w, slot as usize * k);
            }
        };
        match m {
            None if k == 1 => {
                for (i, (&slot, &g)) in slots.iter().zip(g).enumerate() {
                    ahead(w, i);
                    let w = &mut w[slot as usize];
                    *w = *w - self.descent(*w, g);
                }
            }
            None => {
                for (i, (&slot, g)) in slots.iter().zip(g.chunks_exact(k.max(1))).enumerate() {
                    ahead(w, i);
                    self.plain(&mut w[slot as usize * k..][..k], g.iter().copied());
                }
            }
            Some(m) => {
                for (i, (&slot, g)) in slots.iter().zip(g.chunks_exact(k.max(1))).enumerate() {
                    ahead(w, i);
                    ahead(m, i);
                    let row = slot as usize * k..(slot as usize + 1) * k;
                    self.heavy_ball(&mut w[row.clone()], &mut m[row], g.iter().copied());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_dense_update_with_a_zero_gradient_elsewhere_left_out() {
        let step = SgdStep { lr: 0.5, momentum: 0.9, decay: 0.1, rescale: 2.0, clip: 3.0 };
        let w = [1.0f64, -2.0, 3.0, 4.0];
        let m = [0.5, 0.25, -0.5, 1.0];
        let g = [9.0, -1.0];
        let (mut by_rows, mut by_rows_m) = (w, m);
        step.rows(&mut by_rows, Some(&mut by_rows_m), &[1], &g, 2);
        let (mut dense, mut dense_m) = (w, m);
        step.dense(&mut dense, Some(&mut dense_m), Some(&[0.0, 0.0, 9.0, -1.0]));
        let (mut all, mut all_m) = (w, m);
        step.all_rows(&mut all, Some(&mut all_m), &[1], &g, 2);
        assert_eq!((all, all_m), (dense, dense_m));
        assert_eq!((&by_rows[2..], &by_rows_m[2..]), (&dense[2..], &dense_m[2..]));
        assert_eq!((&by_rows[..2], &by_rows_m[..2]), (&w[..2], &m[..2]));
        assert!(dense[0] != w[0]);
    }
}
