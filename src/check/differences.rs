//! Slopes of a function along one coordinate, by finite differences on either side.

use super::places::Sum;
use crate::error::Result;

/// How a slope is compared with a stated one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
    /// Unit roundoff of the computation.
    pub roundoff: f64,
}

/// What the comparison of one entry says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Agree,
    /// There is no derivative here (a kink, a step, a pole, the edge of the domain), and the stated
    /// one is no worse than any other.
    Kink,
    Differ,
}

/// Values of a function at −h, −h/2, 0, h/2, h, as seen from the slopes between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slopes {
    /// By Richardson extrapolation of the central differences: exact up to h⁴.
    pub central: f64,
    /// Between h/2 and h on the left, and on the right: what is at 0 does not matter to them.
    pub outer: [f64; 2],
    /// Right minus left one-sided slope, with step h and h/2.
    breaks: [f64; 2],
    /// Central slopes with step h and h/2.
    steps: [f64; 2],
    /// Rounding error that the slopes may have, in units of the roundoff.
    noise: f64,
}

impl Slopes {
    pub fn measure(at: impl Fn(f64) -> Result<Sum>, here: Sum, h: f64) -> Result<Slopes> {
        let half = h / 2.0;
        let [far_l, near_l, near_r, far_r] = [at(-h)?, at(-half)?, at(half)?, at(h)?];
        let between = |a: Sum, b: Sum, step: f64| (b.value - a.value) / step;
        let steps = [between(far_l, far_r, 2.0 * h), between(near_l, near_r, h)];
        let size = [far_l, near_l, here, near_r, far_r].iter().map(|s| s.size).fold(0.0, f64::max);
        Ok(Slopes {
            central: (4.0 * steps[1] - steps[0]) / 3.0,
            outer: [between(far_l, near_l, half), between(near_r, far_r, half)],
            breaks: [
                between(here, far_r, h) - between(far_l, here, h),
                between(here, near_r, half) - between(near_l, here, half),
            ],
            steps,
            noise: 8.0 * size / h,
        })
    }

    fn margin(&self, stated: f64, tolerance: &Tolerance) -> f64 {
        let largest = if stated.is_finite() { stated.abs() } else { 0.0 };
        let noise = self.noise * tolerance.roundoff;
        tolerance.absolute + tolerance.relative * largest.max(self.central.abs()) + noise
    }

    /// Whether the function looks differentiable: at half the step, a smooth one breaks half as much
    /// and slopes hardly change; a kink breaks as much as before, a step or pole gets steeper.
    fn smooth(&self, margin: f64) -> bool {
        let [far, near] = self.breaks;
        let kink = near.abs() > 4.0 * margin && near.abs() > 0.75 * far.abs();
        let [far, near] = self.steps;
        let steeper = (near - far).abs() > 4.0 * margin + 0.2 * far.abs().max(near.abs());
        !kink && !steeper
    }

    /// Compares with a stated derivative; also the error as a multiple of the margin.
    pub fn compare(&self, stated: f64, tolerance: &Tolerance) -> (Verdict, f64) {
        if !self.central.is_finite() {
            return (self.at_the_edge(stated), 0.0);
        }
        let margin = self.margin(stated, tolerance);
        let error = (stated - self.central).abs() / margin;
        if self.smooth(margin) {
            let verdict = if error <= 1.0 { Verdict::Agree } else { Verdict::Differ };
            return (verdict, error);
        }
        let [l, r] = self.outer;
        let slack = 10.0 * margin + 0.01 * l.abs().max(r.abs());
        let between = stated >= l.min(r) - slack && stated <= l.max(r) + slack;
        // Between slopes that are finite and differ there is no room for NaN or infinity; where they
        // steepen without end there is.
        let widest = l.abs().max(r.abs());
        let steepens = !widest.is_finite() || self.central.abs() > 2.0 * widest;
        let fits = between || error <= 1.0 || (steepens && !stated.is_finite());
        (if fits { Verdict::Kink } else { Verdict::Differ }, error)
    }

    /// Where the function is not finite on a side, the other side decides.
    fn at_the_edge(&self, stated: f64) -> Verdict {
        let fits = |slope: f64| (stated - slope).abs() <= 0.01 * (1.0 + slope.abs());
        let mut finite = self.outer.into_iter().filter(|s| s.is_finite()).peekable();
        if !stated.is_finite() || finite.peek().is_none() || finite.any(fits) {
            Verdict::Kink
        } else {
            Verdict::Differ
        }
    }
}
