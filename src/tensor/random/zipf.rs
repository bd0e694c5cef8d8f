//! Zipf's distribution.

use rand::Rng;
use rustc_hash::FxHashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::pattern::check_extent;

/// Ids `0..n` with probabilities proportional to `(id + 1)^-s`: the popularity of words, users and
/// links. A draw takes constant time and no tables (rejection-inversion of Hörmann and
/// Derflinger, 1996).
///
/// ```
/// use sparsetape::random::{Random, Zipf};
/// let (zipf, mut random) = (Zipf::new(1 << 32, 1.1)?, Random::new(1));
/// let popular = (0..1000).filter(|_| zipf.sample(&mut random) < 100).count();
/// assert!((300..700).contains(&popular));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Zipf {
    n: f64,
    law: Law,
    start: f64,
    end: f64,
    squeeze: f64,
}

/// After so many repetitions in a row (the rest of the law is lost to rounding), the most popular id
/// that is left is taken.
const PATIENCE: usize = 1000;

impl Zipf {
    /// The distribution over `n` ids with exponent `s`; 0 makes all ids alike.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] for more than 2^32 ids, [`ErrorKind::Value`] for none, or an exponent
    /// that is negative or not finite.
    #[track_caller]
    pub fn new(n: usize, s: f64) -> Result<Self> {
        check_extent("ids", n)?;
        if n == 0 || !s.is_finite() || s < 0.0 {
            let message = format!("a power law over {n} ids with exponent {s}");
            return Err(Error::new(ErrorKind::Value, message).operator("Zipf"));
        }
        let (law, n) = (Law(s), n as f64);
        let squeeze = 2.0 - law.inverse(law.integral(2.5) - law.weight(2.0));
        Ok(Zipf { n, law, start: law.start(1.0), end: law.integral(n + 0.5), squeeze })
    }

    /// One id.
    ///
    /// ```
    /// use sparsetape::random::{Random, Zipf};
    /// let (zipf, mut random) = (Zipf::new(10, 0.5)?, Random::new(1));
    /// assert!((0..100).all(|_| zipf.sample(&mut random) < 10));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> u32 {
        self.draw(1.0, self.start, rng)
    }

    /// One id under the condition that its rank (id + 1) is `first` or more.
    fn draw<R: Rng + ?Sized>(&self, first: f64, start: f64, rng: &mut R) -> u32 {
        loop {
            let u = self.end + unit(rng) * (start - self.end);
            let x = self.law.inverse(u);
            let rank = (x + 0.5).floor().clamp(first, self.n);
            if rank - x <= self.squeeze || u >= self.law.start(rank) {
                return (rank - 1.0) as u32;
            }
        }
    }

    /// Appends `k` ids, as drawn one after the other with repetitions left out.
    pub(super) fn distinct<R: Rng>(&self, k: usize, rng: &mut R, ids: &mut Vec<u32>) {
        if k as f64 > self.n / 8.0 {
            return self.select(k, rng, ids);
        }
        let mut chosen = FxHashSet::with_capacity_and_hasher(k, Default::default());
        let (mut first, mut start) = (0u32, self.start);
        while chosen.len() < k {
            let mut draws = (0..PATIENCE).map(|_| self.draw(f64::from(first) + 1.0, start, rng));
            let id = draws.find(|id| !chosen.contains(id)).unwrap_or(first);
            chosen.insert(id);
            ids.push(id);
            if id == first {
                // All before `first` are taken: draw from the rest.
                first = (first..).find(|id| !chosen.contains(id)).unwrap_or(first);
                start = self.law.start(f64::from(first) + 1.0);
            }
        }
    }

    /// The same when `k` is a large part of all: the `k` earliest of exponential arrival times
    /// whose rates are the probabilities.
    fn select<R: Rng>(&self, k: usize, rng: &mut R, ids: &mut Vec<u32>) {
        let arrival = |id: u32| {
            let wait = -libm::log1p(-unit(rng));
            (libm::log(wait) + self.law.0 * libm::log(f64::from(id) + 1.0), id)
        };
        let last = (self.n - 1.0) as u32;
        let mut arrivals: Vec<(f64, u32)> = (0..=last).map(arrival).collect();
        arrivals.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        ids.extend(arrivals[..k].iter().map(|a| a.1));
    }
}

/// An even draw from 0 (included) to 1 (excluded), in steps of 2^-53.
pub(super) fn unit<R: Rng + ?Sized>(rng: &mut R) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// The density `x^-s`.
#[derive(Clone, Copy, Debug)]
struct Law(f64);

impl Law {
    fn weight(self, x: f64) -> f64 {
        libm::exp(-self.0 * libm::log(x))
    }

    /// Where the integral begins that stands for ranks from `rank` on.
    fn start(self, rank: f64) -> f64 {
        self.integral(rank + 0.5) - self.weight(rank)
    }

    /// For steep laws, whose far ends matter when ids are drawn without repetition.
    fn is_steep(self) -> bool {
        self.0 >= 1.5
    }

    /// An integral of the density: `x^(1-s) / (1-s)` from infinity on; from 1 on, it is
    /// `(x^(1-s) - 1) / (1-s)`, or `ln x` for `s = 1`.
    fn integral(self, x: f64) -> f64 {
        let (log, power) = (libm::log(x), 1.0 - self.0);
        match self.is_steep() {
            true => libm::exp(power * log) / power,
            false => expm1_over(power * log) * log,
        }
    }

    fn inverse(self, y: f64) -> f64 {
        let t = (1.0 - self.0) * y;
        match self.is_steep() {
            true => libm::exp(libm::log(t) / (1.0 - self.0)),
            false => libm::exp(log1p_over(t.max(-1.0)) * y),
        }
    }
}

/// `(e^x - 1) / x`.
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { libm::expm1(x) / x } else { 1.0 + x / 2.0 }
}

/// `ln(1 + x) / x`.
fn log1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { libm::log1p(x) / x } else { 1.0 - x / 2.0 }
}
