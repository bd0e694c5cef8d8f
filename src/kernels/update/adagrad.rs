//! AdaGrad.

use super::super::Real;
use super::super::vectorized::{each_width, load, load_mut};
use super::Rule;
use super::sgd::clipped;

/// Sums of squares that are kept apart, so that every instruction set adds in the same order.
const LANES: usize = 8;

/// Hyper-parameters of one AdaGrad step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdaGradStep<T> {
    pub lr: T,
    /// What is added to the history before its root is taken.
    pub offset: T,
    /// Whether a row has one number: the mean of the squares.
    pub row_wise: bool,
    pub decay: T,
    pub rescale: T,
    /// Bound on |rescaled gradient|; infinite for none.
    pub clip: T,
}

impl<T: Real> AdaGradStep<T> {
    #[inline(always)]
    fn clipped(&self, g: T) -> T {
        clipped(g, self.rescale, self.clip)
    }

    /// w − lr · (g / √(h + offset) + decay · w); 0 / 0 is 0.
    #[inline(always)]
    fn moved(&self, w: T, g: T, root: T) -> T {
        let along = if root == T::zero() { T::zero() } else { g / root };
        w - self.lr * (along + self.decay * w)
    }

    #[inline(always)]
    fn root(&self, h: T) -> T {
        (h + self.offset).sqrt()
    }

    #[inline(always)]
    fn mean_square(&self, g: &[T]) -> T {
        let mut sums = [T::zero(); LANES];
        let (chunks, rest) = g.as_chunks::<LANES>();
        for chunk in chunks {
            for l in 0..LANES {
                let g = self.clipped(chunk[l]);
                sums[l] = sums[l] + g * g;
            }
        }
        for (sum, &g) in sums.iter_mut().zip(rest) {
            let g = self.clipped(g);
            *sum = *sum + g * g;
        }
        let [a, b, c, d, e, f, g_, h] = sums;
        let sum = ((a + e) + (c + g_)) + ((b + f) + (d + h));
        sum / T::from(g.len()).unwrap_or_else(T::one)
    }
}

impl<T: Real> Rule<T, 1> for AdaGradStep<T> {
    fn widths(&self, k: usize) -> [usize; 1] {
        [if self.row_wise { 1 } else { k }]
    }

    #[inline(always)]
    fn rows(&self, k: usize, w: &mut [T], [h]: [&mut [T]; 1], g: &[T]) {
        if !self.row_wise {
            let n = w.len().min(h.len()).min(g.len());
            each_width!(n, at, C => {
                // SAFETY: a chunk ends at `n` at most, the length of the shortest slice.
                let (w, h) = unsafe { (load_mut::<T, C>(w, at), load_mut::<T, C>(h, at)) };
                // SAFETY: as above.
                let g = unsafe { load::<T, C>(g, at) };
                for i in 0..C {
                    let g = self.clipped(g[i]);
                    h[i] = h[i] + g * g;
                    w[i] = self.moved(w[i], g, self.root(h[i]));
                }
            });
            return;
        }
        let k = k.max(1);
        for ((w, h), g) in w.chunks_exact_mut(k).zip(h).zip(g.chunks_exact(k)) {
            *h = *h + self.mean_square(g);
            let root = self.root(*h);
            w.iter_mut().zip(g).for_each(|(w, &g)| *w = self.moved(*w, self.clipped(g), root));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::vectorized::{Level, limit};
    use super::super::{Rows, update_rows};
    use super::*;

    /// What a step by rows makes of weights and history.
    fn stepped<T: Real>(k: usize, row_wise: bool, level: Option<Level>) -> (Vec<T>, Vec<T>) {
        let at = |i: usize, by: f64| T::from((i as f64 * by).sin()).unwrap();
        let n = |x: f64| T::from(x).unwrap();
        let rule = AdaGradStep {
            lr: n(0.3),
            offset: n(1e-3),
            row_wise,
            decay: n(0.01),
            rescale: n(0.7),
            clip: n(0.5),
        };
        let rows = 30;
        let mut w: Vec<T> = (0..rows * k).map(|i| at(i, 0.7)).collect();
        let widths = rule.widths(k);
        let mut h: Vec<T> = (0..rows * widths[0]).map(|i| at(i, 0.4).abs()).collect();
        let g: Vec<T> = (0..rows * k).map(|i| at(i, 1.3)).collect();
        let slots: Vec<u32> = (0..rows as u32).rev().collect();
        limit::set(level);
        update_rows(&rule, Rows { w: &mut w, s: [&mut h], k, widths }, &slots, &g, false);
        limit::set(None);
        (w, h)
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for k in [0, 1, 3, 8, 16, 37] {
            for by_row in [false, true] {
                let portable = Some(Level::Portable);
                assert!(stepped::<f32>(k, by_row, None) == stepped::<f32>(k, by_row, portable));
                assert!(stepped::<f64>(k, by_row, None) == stepped::<f64>(k, by_row, portable));
            }
        }
    }
}
