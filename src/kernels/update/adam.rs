//! Adam: moments of the gradient.

use super::super::Real;
use super::super::vectorized::{each_width, load, load_mut};
use super::Rule;
use super::missed::{narrow, wide};
use super::sgd::bounded;

/// Numbers of one step of Adam or AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AdamStep<T> {
    /// The learning rate, corrected for the bias of the moments.
    pub rate: T,
    pub beta1: T,
    pub beta2: T,
    /// 1 − beta1 and 1 − beta2, rounded once.
    pub rest1: T,
    pub rest2: T,
    pub epsilon: T,
    /// Factor on the weight: decoupled decay.
    pub shrink: T,
    /// Of the weight in its gradient: coupled decay.
    pub decay: T,
    pub rescale: T,
    /// Bound on |rescaled gradient + decay · w|; infinite for none.
    pub clip: T,
}

impl AdamStep<f64> {
    /// All numbers, in order.
    pub fn numbers(&self) -> [f64; 10] {
        let AdamStep { rate, beta1, beta2, rest1, rest2, epsilon, shrink, decay, rescale, clip } =
            *self;
        [rate, beta1, beta2, rest1, rest2, epsilon, shrink, decay, rescale, clip]
    }

    /// The step of these numbers.
    pub fn from_numbers(numbers: [f64; 10]) -> Self {
        let [rate, beta1, beta2, rest1, rest2, epsilon, shrink, decay, rescale, clip] = numbers;
        AdamStep { rate, beta1, beta2, rest1, rest2, epsilon, shrink, decay, rescale, clip }
    }
}

impl<T: Real> AdamStep<T> {
    /// What w, m and v become by the gradient g; no branch.
    #[inline(always)]
    pub fn element(&self, [w, m, v]: [T; 3], g: T) -> [T; 3] {
        let h = bounded(self.rescale * g + self.decay * w, self.clip);
        let m = self.beta1 * m + self.rest1 * h;
        let v = self.beta2 * v + self.rest2 * (h * h);
        [self.weight(w, m, v), m, v]
    }

    /// [`AdamStep::element`] for a gradient of 0 and no decay in it.
    #[inline(always)]
    pub fn at_rest(&self, [w, m, v]: [T; 3]) -> [T; 3] {
        let (m, v) = (self.beta1 * m, self.beta2 * v);
        [self.weight(w, m, v), m, v]
    }

    /// The weight after this step's moments.
    #[inline(always)]
    fn weight(&self, w: T, m: T, v: T) -> T {
        let size = v.sqrt() + self.epsilon;
        let quotient = m / size;
        let direction = if size == T::zero() { T::zero() } else { quotient };
        self.shrink * w - self.rate * direction
    }

    /// The same numbers in another precision.
    #[inline(always)]
    pub fn cast<U: Real>(&self) -> AdamStep<U> {
        AdamStep {
            rate: narrow(wide(self.rate)),
            beta1: narrow(wide(self.beta1)),
            beta2: narrow(wide(self.beta2)),
            rest1: narrow(wide(self.rest1)),
            rest2: narrow(wide(self.rest2)),
            epsilon: narrow(wide(self.epsilon)),
            shrink: narrow(wide(self.shrink)),
            decay: narrow(wide(self.decay)),
            rescale: narrow(wide(self.rescale)),
            clip: narrow(wide(self.clip)),
        }
    }
}

impl<T: Real> Rule<T, 2> for AdamStep<T> {
    #[inline(always)]
    fn rows(&self, _: usize, w: &mut [T], [m, v]: [&mut [T]; 2], g: &[T]) {
        let n = w.len().min(m.len()).min(v.len()).min(g.len());
        each_width!(n, at, C => {
            // SAFETY: a chunk ends at `n` at most, the length of the shortest slice.
            let (w, m, v) = unsafe {
                (load_mut::<T, C>(w, at), load_mut::<T, C>(m, at), load_mut::<T, C>(v, at))
            };
            // SAFETY: as above.
            let g = unsafe { load::<T, C>(g, at) };
            for i in 0..C {
                [w[i], m[i], v[i]] = self.element([w[i], m[i], v[i]], g[i]);
            }
        });
    }
}
