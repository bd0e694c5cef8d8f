//! FTRL-Proximal.

use super::super::Real;
use super::Rule;
use super::missed::{narrow, wide};
use super::sgd::clipped;

/// How a weight follows from its z and n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Proximal<T> {
    /// 1 / learning rate.
    pub inverse: T,
    pub beta: T,
    pub l1: T,
    pub l2: T,
}

impl<T: Real> Proximal<T> {
    /// (sign(z) · l1 − z) / ((beta + √n) / lr + l2) where |z| > l1, else 0; NaN stays NaN.
    #[inline(always)]
    fn weight(&self, z: T, root: T) -> T {
        let below = (self.beta + root) * self.inverse + self.l2;
        let w = (self.l1.copysign(z) - z) / below;
        // Without beta and l2 nothing is below where squares of the gradient vanish.
        if (z.abs() <= self.l1) | (below == T::zero()) { T::zero() } else { w }
    }

    /// Writes the weights that follow from z and n.
    #[inline(always)]
    pub fn weights(&self, w: &mut [T], z: &[T], n: &[T]) {
        for ((w, &z), &n) in w.iter_mut().zip(z).zip(n) {
            *w = self.weight(z, n.sqrt());
        }
    }

    pub fn widened(&self) -> Proximal<f64> {
        let Proximal { inverse, beta, l1, l2 } = *self;
        Proximal { inverse: wide(inverse), beta: wide(beta), l1: wide(l1), l2: wide(l2) }
    }

    /// The numbers that were widened.
    pub fn narrowed(from: &Proximal<f64>) -> Self {
        let Proximal { inverse, beta, l1, l2 } = *from;
        Proximal { inverse: narrow(inverse), beta: narrow(beta), l1: narrow(l1), l2: narrow(l2) }
    }
}

/// Hyper-parameters of one FTRL step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FtrlStep<T> {
    /// None for a learning rate of 0: nothing moves.
    pub proximal: Option<Proximal<T>>,
    pub rescale: T,
    /// Bound on |rescaled gradient|; infinite for none.
    pub clip: T,
}

impl<T: Real> Rule<T, 2> for FtrlStep<T> {
    #[inline(always)]
    fn rows(&self, _: usize, w: &mut [T], [z, n]: [&mut [T]; 2], g: &[T]) {
        let Some(proximal) = self.proximal else { return };
        for (((w, z), n), &g) in w.iter_mut().zip(z).zip(n).zip(g) {
            let g = clipped(g, self.rescale, self.clip);
            let before = n.sqrt();
            *n = *n + g * g;
            let root = n.sqrt();
            *z = *z + (g - (root - before) * proximal.inverse * *w);
            *w = proximal.weight(*z, root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::vectorized::{Level, limit};
    use super::super::{Rows, update_rows};
    use super::*;

    const PROXIMAL: Proximal<f64> = Proximal { inverse: 4.0, beta: 1.0, l1: 0.1, l2: 0.5 };

    fn stepped<T: Real>(level: Option<Level>) -> [Vec<T>; 3] {
        let at = |i: usize, by: f64| narrow::<T>((i as f64 * by).sin());
        let (rows, k) = (30, 5);
        let step = FtrlStep {
            proximal: Some(Proximal::narrowed(&PROXIMAL)),
            rescale: narrow(0.5),
            clip: narrow(0.25),
        };
        let mut w: Vec<T> = (0..rows * k).map(|i| at(i, 0.7)).collect();
        let mut z: Vec<T> = (0..rows * k).map(|i| at(i, 0.2)).collect();
        let mut n: Vec<T> = (0..rows * k).map(|i| at(i, 0.4).abs()).collect();
        let g: Vec<T> = (0..rows * k).map(|i| at(i, 1.3)).collect();
        let slots: Vec<u32> = (0..rows as u32).collect();
        limit::set(level);
        let table = Rows { w: &mut w, s: [&mut z, &mut n], k, widths: [k; 2] };
        update_rows(&step, table, &slots, &g, true);
        limit::set(None);
        [w, z, n]
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        assert!(stepped::<f32>(None) == stepped::<f32>(Some(Level::Portable)));
        assert!(stepped::<f64>(None) == stepped::<f64>(Some(Level::Portable)));
    }

    /// What the step wrote is what the states say.
    #[test]
    fn weights_follow_from_the_states() {
        let [w, z, n] = stepped::<f64>(None);
        let mut again = vec![f64::NAN; w.len()];
        PROXIMAL.weights(&mut again, &z, &n);
        assert_eq!(again, w);
    }

    #[test]
    fn the_limits_of_a_weight() {
        let all = Proximal { inverse: 1.0, beta: 0.0, l1: 0.0, l2: 0.0 };
        assert_eq!((all.weight(0.0, 0.0), all.weight(1e-200, 0.0)), (0.0, 0.0));
        assert!(all.weight(f64::NAN, 1.0).is_nan() && all.weight(1.0, f64::NAN).is_nan());
        assert_eq!((PROXIMAL.weight(0.1, 2.0), PROXIMAL.weight(-0.1, 2.0)), (0.0, 0.0));
        assert_eq!(PROXIMAL.weight(0.5, 1.0), -0.4 / 8.5);
        assert_eq!(PROXIMAL.weight(-0.5, 1.0), 0.4 / 8.5);
    }
}
