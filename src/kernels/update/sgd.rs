//! Stochastic gradient descent.

use super::super::Real;
use super::super::vectorized::{each_width, load, load_mut};
use super::Rule;

/// Hyper-parameters of one SGD step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SgdStep<T> {
    pub lr: T,
    pub momentum: T,
    pub nesterov: bool,
    pub decay: T,
    pub rescale: T,
    /// Bound on |rescaled gradient|; infinite for none.
    pub clip: T,
}

/// clip(rescale · g), without a branch; NaN stays NaN.
#[inline(always)]
pub(crate) fn clipped<T: Real>(g: T, rescale: T, bound: T) -> T {
    bounded(rescale * g, bound)
}

/// The nearest in [−bound, bound], without a branch; NaN stays NaN.
#[inline(always)]
pub(crate) fn bounded<T: Real>(x: T, bound: T) -> T {
    let capped = if x > bound { bound } else { x };
    if capped < -bound { -bound } else { capped }
}

impl<T: Real> SgdStep<T> {
    /// lr · (clip(rescale · g) + decay · w)
    #[inline(always)]
    fn descent(&self, w: T, g: T) -> T {
        self.lr * (clipped(g, self.rescale, self.clip) + self.decay * w)
    }
}

/// Without momentum.
impl<T: Real> Rule<T, 0> for SgdStep<T> {
    #[inline(always)]
    fn rows(&self, _: usize, w: &mut [T], []: [&mut [T]; 0], g: &[T]) {
        let n = w.len().min(g.len());
        each_width!(n, at, C => {
            // SAFETY: a chunk ends at `n` at most, the length of the shortest slice.
            let (w, g) = unsafe { (load_mut::<T, C>(w, at), load::<T, C>(g, at)) };
            for i in 0..C {
                w[i] = w[i] - self.descent(w[i], g[i]);
            }
        });
    }
}

/// With momentum.
impl<T: Real> Rule<T, 1> for SgdStep<T> {
    #[inline(always)]
    fn rows(&self, _: usize, w: &mut [T], [m]: [&mut [T]; 1], g: &[T]) {
        let n = w.len().min(m.len()).min(g.len());
        each_width!(n, at, C => {
            // SAFETY: a chunk ends at `n` at most, the length of the shortest slice.
            let (w, m) = unsafe { (load_mut::<T, C>(w, at), load_mut::<T, C>(m, at)) };
            // SAFETY: as above.
            let g = unsafe { load::<T, C>(g, at) };
            for i in 0..C {
                let descent = self.descent(w[i], g[i]);
                m[i] = self.momentum * m[i] - descent;
                w[i] = w[i] + if self.nesterov { self.momentum * m[i] - descent } else { m[i] };
            }
        });
    }
}
