//! What Adam makes of rows without a gradient.

use super::super::Real;
use super::super::vectorized::{each_width, load_mut};
use super::adam::AdamStep;
use super::missed::{CatchUpRow, narrow, wide};
use super::products::Products;

/// Steps that are made before the rest is looked at again.
const BLOCK: usize = 8;

/// The steps since the last restart.
///
/// With a gradient of zeros, and no decay in the gradient, step `i` from now multiplies m by beta1, v by beta2
/// and takes `w` to `shrink · w − rate · m / (√v + ε)`. So the terms that are still to come are at most
///
/// `R |m| ρⁱ / √v` and `R |m| beta1ⁱ / ε`, with `R = max rate`, `ρ = beta1 / √beta2`,
///
/// and, as seen from the weight that shrinks meanwhile, with `ρ` and `beta1` divided by the least `shrink`. Summed up,
/// they are at most
///
/// `R |m| / max(√v (1 − ρ) / ρ, ε (1 − beta1) / beta1)`.
///
/// Rows make their steps one by one, each as if made in time, to where that is less than a quarter of an epsilon of
/// the weight: there no step would move the weight any more. What is left then are the factors.
#[derive(Clone, Debug)]
pub(crate) struct AdamRest {
    steps: Vec<AdamStep<f64>>,
    /// The factors of w, m and v.
    factors: Products<[f64; 3]>,
    /// What the steps before the last restart make of a weight at rest.
    earlier: f64,
    extremes: Extremes,
}

impl Default for AdamRest {
    fn default() -> Self {
        AdamRest {
            steps: Vec::new(),
            factors: Products::default(),
            earlier: 1.0,
            extremes: Extremes::default(),
        }
    }
}

/// Of the numbers of several steps.
#[derive(Clone, Copy, Debug)]
struct Extremes {
    rate: f64,
    beta1: f64,
    /// beta1 / √beta2
    rho: f64,
    epsilon: f64,
    /// At most 1.
    shrink: f64,
    /// Whether weights decay by way of their gradient, so that no step is the last one to move them.
    coupled: bool,
}

impl Default for Extremes {
    fn default() -> Self {
        let (rate, beta1, rho, epsilon) = (0.0, 0.0, 0.0, f64::INFINITY);
        Extremes { rate, beta1, rho, epsilon, shrink: 1.0, coupled: false }
    }
}

impl Extremes {
    fn add(&mut self, step: &AdamStep<f64>) {
        // 0 / 0: without beta1 nothing is left of m.
        let rho = if step.beta1 == 0.0 { 0.0 } else { step.beta1 / step.beta2.sqrt() };
        self.rate = self.rate.max(step.rate.abs());
        self.beta1 = self.beta1.max(step.beta1);
        self.rho = self.rho.max(rho);
        self.epsilon = self.epsilon.min(step.epsilon);
        self.shrink = self.shrink.min(step.shrink.abs());
        self.coupled |= step.decay != 0.0;
    }

    fn rest<T: Real>(&self) -> Rest<T> {
        // 1 over the sum of the powers from the first one on; no sum, no bound. Not over 2^20, so that
        // products with it stay finite.
        let over_sum = |factor: f64| {
            let relative = (factor / self.shrink).max(1.0 / (1 << 20) as f64);
            if relative < 1.0 { (1.0 - relative) / relative } else { 0.0 }
        };
        Rest {
            rate: narrow(self.rate),
            by_size: narrow(over_sum(self.rho)),
            by_epsilon: narrow(over_sum(self.beta1) * self.epsilon),
            closes: !self.coupled,
        }
    }
}

/// The bound on what is left to move.
#[derive(Clone, Copy)]
struct Rest<T> {
    rate: T,
    /// (1 − ρ) / ρ
    by_size: T,
    /// ε (1 − beta1) / beta1
    by_epsilon: T,
    closes: bool,
}

impl<T: Real> Rest<T> {
    /// Whether no step to come moves these weights.
    #[inline(always)]
    fn is_nothing<const C: usize>(&self, w: &[T; C], m: &[T; C], v: &[T; C]) -> bool {
        let quarter = T::epsilon() * narrow(0.25);
        let mut nothing = self.closes;
        for i in 0..C {
            // Numbers without their full precision do not keep their rates of decay.
            let size = if v[i] < T::min_positive_value() { T::zero() } else { v[i].sqrt() };
            let (by_size, by_epsilon) = (size * self.by_size, self.by_epsilon);
            let bound = if by_size > by_epsilon { by_size } else { by_epsilon };
            let small = self.rate * m[i].abs() <= quarter * w[i].abs() * bound;
            nothing &= small | (m[i].abs() < T::min_positive_value());
        }
        nothing
    }
}

impl AdamRest {
    /// One more step.
    pub fn push(&mut self, step: AdamStep<f64>) {
        self.steps.push(step);
        self.factors.push(&[step.shrink, step.beta1, step.beta2]);
        self.extremes.add(&step);
    }

    /// How many steps there were.
    pub fn now(&self) -> u32 {
        self.factors.now()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.steps[..]) + self.factors.bytes()
    }

    /// Starts again: all rows are up to date.
    pub fn restart(&mut self) {
        let [shrink, ..] = self.factors.since(0);
        self.earlier *= shrink;
        self.steps.clear();
        self.factors.restart();
        self.extremes = Extremes::default();
    }

    /// Takes weights at rest through all steps up to the last restart.
    pub fn begin<T: Real>(&self, w: &mut [T]) {
        w.iter_mut().for_each(|w| *w = narrow(self.earlier * wide(*w)));
    }
}

/// Catches rows up.
pub(super) struct Replay<'a, T> {
    missed: &'a AdamRest,
    rest: Rest<T>,
    /// Rows that come to rest at the same step share the factors.
    last: (usize, [f64; 3]),
}

impl<'a, T: Real> Replay<'a, T> {
    pub fn new(missed: &'a AdamRest) -> Self {
        let last = (missed.steps.len(), missed.factors.since(missed.now()));
        Replay { missed, rest: missed.extremes.rest(), last }
    }

    #[inline(always)]
    fn chunk<const C: usize>(&mut self, from: usize, own: (&mut [T; C], &mut [T; C], &mut [T; C])) {
        let (mut w, mut m, mut v) = (*own.0, *own.1, *own.2);
        let (steps, mut at) = (&self.missed.steps[..], from);
        while at < steps.len() && !self.rest.is_nothing(&w, &m, &v) {
            let end = (at + BLOCK).min(steps.len());
            for step in &steps[at..end] {
                let step = step.cast::<T>();
                for i in 0..C {
                    [w[i], m[i], v[i]] = step.element([w[i], m[i], v[i]], T::zero());
                }
            }
            at = end;
        }
        if at < steps.len() {
            let [shrink, beta1, beta2] = self.factors(at);
            for i in 0..C {
                w[i] = narrow(shrink * wide(w[i]));
                m[i] = narrow(beta1 * wide(m[i]));
                v[i] = narrow(beta2 * wide(v[i]));
            }
        }
        (*own.0, *own.1, *own.2) = (w, m, v);
    }

    #[inline(always)]
    fn factors(&mut self, from: usize) -> [f64; 3] {
        if self.last.0 != from {
            self.last = (from, self.missed.factors.since(from as u32));
        }
        self.last.1
    }
}

impl<T: Real, const N: usize> CatchUpRow<T, N> for Replay<'_, T> {
    #[inline(always)]
    fn row(&mut self, from: u32, w: &mut [T], mut s: [&mut [T]; N]) {
        let [m, v, ..] = &mut s[..] else { return };
        let n = w.len().min(m.len()).min(v.len());
        each_width!(n, at, C => {
            // SAFETY: a chunk ends at `n` at most, the length of the shortest slice.
            let own = unsafe {
                (load_mut::<T, C>(w, at), load_mut::<T, C>(m, at), load_mut::<T, C>(v, at))
            };
            self.chunk(from as usize, own);
        });
    }
}
