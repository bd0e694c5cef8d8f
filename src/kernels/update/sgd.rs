//! Stochastic gradient descent.

use super::super::Real;
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
        w.iter_mut().zip(g).for_each(|(w, &g)| *w = *w - self.descent(*w, g));
    }
}

/// With momentum.
impl<T: Real> Rule<T, 1> for SgdStep<T> {
    #[inline(always)]
    fn rows(&self, _: usize, w: &mut [T], [m]: [&mut [T]; 1], g: &[T]) {
        for ((w, m), &g) in w.iter_mut().zip(m).zip(g) {
            let descent = self.descent(*w, g);
            *m = self.momentum * *m - descent;
            *w = *w + if self.nesterov { self.momentum * *m - descent } else { *m };
        }
    }
}
