//! Follow the regularized leader.

use serde::{Deserialize, Serialize};

use super::Schedule;
use super::settings::{Now, Settings, check_not_negative, common_settings};
use super::step::{Method, step};
use crate::error::Result;
use crate::kernels::update::ftrl::{FtrlStep, Proximal};
use crate::kernels::update::missed::{Latest, Missed};
use crate::tape::{Gradients, Params};
use crate::tensor::Real;

/// FTRL-Proximal: follow the regularized leader, with a learning rate for each weight. Its l1 makes weights
/// exactly zero (McMahan et al., "Ad click prediction: a view from the trenches", 2013).
///
/// With `g = clip(rescale · g)` and states named `z` and `n`, which start at 0, a step is
///
/// ```text
/// z ← z + g − (√(n + g²) − √n) / lr · w
/// n ← n + g²
/// w ← (sign(z) · l1 − z) / ((beta + √n) / lr + l2)   where |z| > l1, else 0
/// ```
///
/// (MXNet: `ftrl_update` and the class `Ftrl`, with `lamda1` for l1 and `wd` for l2.) So a weight is always
/// what z and n say: one that starts elsewhere than at 0 comes there in the first step that moves it. A
/// learning rate of 0, as at the begin of a warm-up, moves nothing, z and n included.
///
/// # Rows that become zero
/// Of a row-sparse parameter, rows whose weights are all exactly zero after a step are absent: they are removed
/// from its memory, and stored again when a weight is no longer zero. z and n stay for all rows that had a
/// gradient. Rows stay stored where absent ones are drawn ([`Parameter::drawn`](crate::Parameter::drawn)),
/// and as long as another optimizer keeps anything but zeros of them. A dense parameter stores all rows
/// always.
///
/// # Ways to update
/// A gradient of zeros leaves z and n as they are, and moves a weight only if the learning rate has changed, or
/// if it is not yet what z and n say. [`Update::Dense`](super::Update::Dense) computes all weights in every
/// step, [`Update::Exact`](super::Update::Exact) those that are read, from z and n by the latest
/// learning rate, to the same bits.
///
/// ```
/// use sparsetape::{Parameter, Params, Stype, Tape, Tensor, optim::Ftrl};
/// let w = Parameter::new("w", Tensor::zeros(Stype::RowSparse, [1_000_000, 1], sparsetape::DType::F64)?)?;
/// let params = Params::new([&w])?;
/// let mut ftrl = Ftrl::new(0.5).l1(1.0).l2(0.1);
/// let tape = Tape::new();
/// let x = Tensor::csr([1, 1_000_000], vec![0, 2], vec![7, 42], vec![0.5, 3.0])?;
/// let gradients = tape.constant(x).dot(tape.parameter(&w)).sum().backward()?;
/// ftrl.step(&params, &gradients)?;
/// let stored = w.snapshot()?;
/// assert_eq!(stored.rows(), Some(&[42][..])); // the gradient of row 7 is below l1
/// assert_eq!(stored.values::<f64>()?, [(1.0 - 3.0) / ((1.0 + 3.0) / 0.5 + 0.1)]);
/// assert_eq!(ftrl.state_of(&w, "z")?.unwrap().values::<f64>()?, [0.5, 3.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Debug)]
pub struct Ftrl {
    settings: Settings,
    method: Leader,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Leader {
    l1: f64,
    beta: f64,
}

common_settings!(Ftrl);

impl Ftrl {
    const STATES: &[&str] = &["z", "n"];

    /// FTRL-Proximal at this learning rate, or by this schedule, with a beta of 1, without l1 and l2.
    pub fn new(lr: impl Into<Schedule>) -> Self {
        Ftrl { settings: Settings::new(lr.into()), method: Leader { l1: 0.0, beta: 1.0 } }
    }

    /// The factor of the weights' absolute values in the loss: weights whose |z| is not above it are 0.
    pub fn l1(mut self, l1: f64) -> Self {
        self.method.l1 = l1;
        self
    }

    /// Half of the factor of the weights' squares in the loss; the same as `weight_decay`.
    pub fn l2(self, l2: f64) -> Self {
        self.weight_decay(l2)
    }

    /// What the root of the sum of squares starts from: the larger, the slower the first steps.
    pub fn beta(mut self, beta: f64) -> Self {
        self.method.beta = beta;
        self
    }

    /// Moves each parameter that has a gradient; unless updates are lazy, those without one as by a
    /// gradient of zeros.
    ///
    /// # Errors
    /// As [`Optimizer::step`](super::Optimizer::step); [`ErrorKind::Value`](crate::ErrorKind::Value) for an
    /// l1, l2, beta or learning rate that is negative, too.
    #[track_caller]
    pub fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
        let own = [("l1", self.method.l1), ("beta", self.method.beta)];
        self.settings.check(Leader::NAME, &own)?;
        check_not_negative(Leader::NAME, &own)?;
        step::<_, 2>(&self.method, &mut self.settings, params, gradients)
    }
}

impl Leader {
    /// None for a learning rate of 0.
    fn proximal<T: Real>(&self, now: &Now) -> Option<Proximal<T>> {
        let lr = T::from_f64(now.lr);
        let [beta, l1, l2] = [self.beta, self.l1, now.decay].map(T::from_f64);
        (lr > T::zero()).then(|| Proximal { inverse: T::one() / lr, beta, l1, l2 })
    }
}

impl Method for Leader {
    const NAME: &'static str = "ftrl";
    type Rule<T: Real> = FtrlStep<T>;

    fn rule<T: Real>(&self, now: &Now) -> FtrlStep<T> {
        FtrlStep {
            proximal: self.proximal(now),
            rescale: T::from_f64(now.rescale),
            clip: T::from_f64(now.clip),
        }
    }

    /// With its factors for one parameter.
    #[track_caller]
    fn check(&self, now: &Now) -> Result<()> {
        let own = [("learning rate", now.lr), ("l2 (weight decay)", now.decay)];
        check_not_negative(Self::NAME, &own)
    }

    fn zero_within(&self) -> Option<f64> {
        Some(self.l1)
    }

    fn missed(&self, _: &Settings) -> Option<fn() -> Missed> {
        Some(|| Missed::Proximal(Latest::default()))
    }

    fn miss<T: Real>(&self, now: &Now, missed: &mut Missed) {
        let Missed::Proximal(latest) = missed else { return };
        latest.push(self.proximal::<T>(now).map(|by| by.widened()));
    }
}
