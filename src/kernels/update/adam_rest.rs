//! What Adam makes of rows without a gradient.

use std::borrow::Cow;

use super::super::Real;
use super::super::vectorized::{each_width, load_mut};
use super::adam::AdamStep;
use super::missed::{CatchUpRow, narrow, wide};
use super::products::{Map2, Products};

/// Steps that are made before the rest is looked at again.
const BLOCK: usize = 8;

/// The steps since the last restart.
///
/// By a gradient of zeros, without decay in it, a step takes `m` to `beta1 · m`, `v` to `beta2 · v` and `w` to
/// `shrink · w − rate · m / (√v + ε)`. So, with `R = max rate` and `ρ = beta1 / √beta2`, the term of the i-th step
/// from here is at most `R |m| ρⁱ / √v` and at most `R |m| beta1ⁱ / ε`; as seen from the weight, which shrinks
/// meanwhile, with `ρ` and `beta1` divided by the least `shrink`. Summed up, all terms are at most
///
/// `R |m| / max(√v (1 − ρ) / ρ, ε (1 − beta1) / beta1)`.
///
/// Rows make their steps one by one, each as if in time, to where that is less than a quarter of an epsilon of the
/// weight: there no step moves the weight any more. What is left then are the factors.
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

    /// What the steps before the last restart make of a weight at rest.
    pub fn factor(&self) -> f64 {
        self.earlier
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.steps[..]) + self.factors.bytes()
    }

    /// All numbers, for [`AdamRest::from_columns`].
    pub fn columns(&self) -> Vec<Cow<'_, [f64]>> {
        let steps = self.steps.iter().flat_map(AdamStep::numbers).collect();
        vec![Cow::Owned(steps), Cow::Owned(vec![self.earlier])]
    }

    /// So many steps from their numbers; none if they are not as many.
    pub fn from_columns(now: u32, columns: &[Vec<f64>]) -> Option<AdamRest> {
        let [steps, earlier] = columns else { return None };
        let (steps, rest) = steps.as_chunks();
        let fits = steps.len() == now as usize && rest.is_empty() && now <= Products::<Map2>::MOST;
        let earlier = earlier.first().copied().filter(|_| fits)?;
        let mut missed = AdamRest { earlier, ..AdamRest::default() };
        steps.iter().for_each(|&step| missed.push(AdamStep::from_numbers(step)));
        Some(missed)
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
                make(&step.cast(), self.rest.closes, &mut w, &mut m, &mut v);
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

/// One step without a gradient.
#[inline(always)]
fn make<T: Real, const C: usize>(
    step: &AdamStep<T>,
    closes: bool,
    w: &mut [T; C],
    m: &mut [T; C],
    v: &mut [T; C],
) {
    if closes {
        for i in 0..C {
            [w[i], m[i], v[i]] = step.at_rest([w[i], m[i], v[i]]);
        }
    } else {
        for i in 0..C {
            [w[i], m[i], v[i]] = step.element([w[i], m[i], v[i]], T::zero());
        }
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

#[cfg(test)]
mod tests {
    use super::super::super::vectorized::{Level, level, limit};
    use super::super::missed::Missed;
    use super::super::{Rows, update_rows};
    use super::*;

    const STEP: AdamStep<f64> = AdamStep {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        rest1: 0.1,
        rest2: 1e-3,
        epsilon: 1e-8,
        shrink: 1.0,
        decay: 0.0,
        rescale: 1.0,
        clip: f64::INFINITY,
    };

    fn missed(step: AdamStep<f64>, steps: usize) -> AdamRest {
        let mut missed = AdamRest::default();
        (0..steps).for_each(|_| missed.push(step));
        missed
    }

    /// Steps that a row of these numbers makes before it is at rest.
    fn made<T: Real>(missed: &AdamRest, [w, m, v]: [f64; 3]) -> usize {
        let [mut w, mut m, mut v] = [[narrow::<T>(w)], [narrow(m)], [narrow(v)]];
        let mut replay = Replay::new(missed);
        replay.chunk(0, (&mut w, &mut m, &mut v));
        replay.last.0
    }

    #[test]
    fn rows_come_to_rest() {
        let after_one = [0.1, 1e-3, 1e-7];
        let long = missed(STEP, 10_000);
        assert!((300..=400).contains(&made::<f64>(&long, after_one)));
        assert!((100..=200).contains(&made::<f32>(&long, after_one)));
        assert_eq!(made::<f64>(&long, [0.1, 0.0, 1e-7]), 0);
        // A weight of 0 moves until its mean is no normal number.
        assert!(made::<f64>(&long, [0.0, f64::MIN_POSITIVE, 1.0]) <= BLOCK);
        assert_eq!(made::<f64>(&missed(AdamStep { rate: 0.0, ..STEP }, 100), after_one), 0);
        let forgets = missed(AdamStep { beta1: 0.0, ..STEP }, 100);
        assert_eq!(made::<f64>(&forgets, after_one), BLOCK);
        // Kept up by nothing but ε; by nothing at all; never.
        let fast = AdamStep { beta2: 0.5, ..STEP };
        assert!(made::<f64>(&missed(fast, 2000), after_one) < 1000);
        let unbounded = AdamStep { epsilon: 0.0, ..fast };
        assert_eq!(made::<f64>(&missed(unbounded, 2000), after_one), 2000);
        let coupled = AdamStep { decay: 1e-3, ..STEP };
        assert_eq!(made::<f64>(&missed(coupled, 2000), after_one), 2000);
    }

    #[test]
    fn what_is_not_a_number_stays_none() {
        let missed = missed(STEP, 100);
        for own in [[f64::NAN, 1.0, 1.0], [1.0, f64::NAN, f64::NAN], [1.0, f64::INFINITY, 1.0]] {
            let [mut w, mut m, mut v] = own.map(|x| [x]);
            Replay::new(&missed).chunk(0, (&mut w, &mut m, &mut v));
            assert!(!w[0].is_finite());
        }
    }

    /// A table that moves by gradients of two thirds of its rows, then by 1000 steps without.
    fn moved<T: Real>(at_most: Level, k: usize) -> [Vec<f64>; 3] {
        limit::set(Some(at_most));
        let wave = |n: usize, by: f64| (0..n).map(|i| narrow((i as f64 * by).sin())).collect();
        let (rows, mut w): (u32, Vec<T>) = (30, wave(30 * k, 1.0));
        let (mut m, mut v) = (vec![T::zero(); w.len()], vec![T::zero(); w.len()]);
        let slots: Vec<u32> = (0..rows).filter(|row| row % 3 != 0).collect();
        let g: Vec<T> = wave(slots.len() * k, 0.3);
        let step = AdamStep { shrink: 0.9999, clip: 0.8, ..STEP };
        fn own<'a, T>(k: usize, [w, m, v]: [&'a mut Vec<T>; 3]) -> Rows<'a, T, 2> {
            Rows { w, s: [m, v], k, widths: [k; 2] }
        }
        update_rows(&step.cast(), own(k, [&mut w, &mut m, &mut v]), &slots, &g, true);
        let all: Vec<u32> = (0..rows).collect();
        let missed = Missed::Adam(missed(step.cast::<T>().cast(), 1000));
        missed.catch_up(
            own(k, [&mut w, &mut m, &mut v]),
            &all,
            &mut vec![0; rows as usize],
            missed.now(),
        );
        limit::set(None);
        [w, m, v].map(|x| x.into_iter().map(wide).collect())
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for k in [1, 16, 23] {
            assert!(moved::<f32>(Level::Portable, k) == moved::<f32>(level(), k));
            assert!(moved::<f64>(Level::Portable, k) == moved::<f64>(level(), k));
        }
    }
}
