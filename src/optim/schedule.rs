//! Learning rates as functions of the step.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The learning rate as a pure function of the step: how many steps were made before, 0 for the
/// first. Nothing is counted inside, so a resumed training has the rates of an uninterrupted one.
///
/// With `s` the step, counted from the end of the warm-up, the rate is
///
/// | | | MXNet |
/// |---|---|---|
/// | [`constant`](Schedule::constant) | `lr` | `learning_rate` |
/// | [`step`](Schedule::step) | `lr · factor^⌊s / every⌋` | `FactorScheduler` |
/// | [`multi_step`](Schedule::multi_step) | `lr · factor^(how many of the steps are ≤ s)` | `MultiFactorScheduler` |
/// | [`exponential`](Schedule::exponential) | `lr · factor^s` | `FactorScheduler(step=1)` |
/// | [`cosine`](Schedule::cosine) | `lr · (1 + cos(π · s / steps)) / 2`, then 0 | `CosineScheduler` |
/// | [`inverse_sqrt`](Schedule::inverse_sqrt) | `lr / √(1 + s / steps)` | |
/// | [`of`](Schedule::of) | any closure of `s` | a callable |
///
/// Any of them may start with a [warm-up](Schedule::warm_up), decay [down to](Schedule::down_to) a rate other
/// than 0, and be [at least](Schedule::at_least) a rate. Arguments that make no sense are found by the
/// optimizer's first step.
///
/// MXNet counts updates from 1: at its update `n`, its factor schedulers give the rate of step `n − 1` here,
/// its cosine and its warm-up that of step `n`.
///
/// ```
/// use sparsetape::optim::Schedule;
/// let schedule = Schedule::cosine(0.5, 100).down_to(0.1).warm_up(10);
/// assert_eq!([0, 5, 10].map(|step| schedule.at(step)), [0.0, 0.25, 0.5]);
/// assert!((schedule.at(60) - 0.3).abs() < 1e-15);
/// assert_eq!([110, u64::MAX].map(|step| schedule.at(step)), [0.1; 2]);
///
/// let halved = Schedule::step(1.0, 1000, 0.5).at_least(0.2);
/// assert_eq!([0, 999, 1000, 2000, 3000].map(|step| halved.at(step)), [1.0, 1.0, 0.5, 0.25, 0.2]);
///
/// let own = Schedule::of(|step| 1.0 / (step as f64 + 2.0));
/// assert_eq!(own.at(0), 0.5);
/// ```
#[doc(alias = "lr_scheduler")]
#[doc(alias = "LRScheduler")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    #[serde(flatten)]
    rate: Rate,
    /// What decays, decays to this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    down_to: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    warm_up: u64,
}

fn is_zero(steps: &u64) -> bool {
    *steps == 0
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rate {
    Constant {
        lr: f64,
    },
    Step {
        lr: f64,
        every: u64,
        factor: f64,
    },
    MultiStep {
        lr: f64,
        steps: Vec<u64>,
        factor: f64,
    },
    Exponential {
        lr: f64,
        factor: f64,
    },
    Cosine {
        lr: f64,
        steps: u64,
    },
    InverseSqrt {
        lr: f64,
        steps: u64,
    },
    Closure {
        #[serde(skip)]
        closure: Closure,
    },
}

/// A function of the step; none where it was read from a file, which holds no code.
#[derive(Clone, Default)]
struct Closure(Option<Arc<dyn Fn(u64) -> f64 + Send + Sync>>);

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { ".." } else { "unknown" })
    }
}

/// A closure is equal to itself alone.
impl PartialEq for Closure {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }
}

impl Schedule {
    fn new(rate: Rate) -> Schedule {
        Schedule { rate, down_to: None, at_least: None, warm_up: 0 }
    }

    /// The same rate at every step.
    pub fn constant(lr: f64) -> Schedule {
        Schedule::new(Rate::Constant { lr })
    }

    /// From `lr` on, times `factor` after `every` so many steps: `lr · factor^⌊s / every⌋`; `factor` from
    /// 0 to 1. (MXNet: `FactorScheduler`, whose `stop_factor_lr` is [`Schedule::at_least`].)
    #[doc(alias = "FactorScheduler")]
    #[doc(alias = "StepLR")]
    pub fn step(lr: f64, every: u64, factor: f64) -> Schedule {
        Schedule::new(Rate::Step { lr, every, factor })
    }

    /// From `lr` on, times `factor` at each of these steps, in any order: `lr · factor^(how many of them are ≤ s)`;
    /// `factor` from 0 to 1. (MXNet: `MultiFactorScheduler`.)
    #[doc(alias = "MultiFactorScheduler")]
    #[doc(alias = "MultiStepLR")]
    pub fn multi_step(lr: f64, steps: &[u64], factor: f64) -> Schedule {
        Schedule::new(Rate::MultiStep { lr, steps: steps.to_vec(), factor })
    }

    /// From `lr` on, times `factor` after each step: `lr · factor^s`; `factor` from 0 to 1. (MXNet:
    /// `FactorScheduler(step=1)`.)
    #[doc(alias = "ExponentialLR")]
    pub fn exponential(lr: f64, factor: f64) -> Schedule {
        Schedule::new(Rate::Exponential { lr, factor })
    }

    /// Half a cosine from `lr` at step 0 to 0 at step `steps`, or to what [`Schedule::down_to`] says, constant from
    /// there on: `lr · (1 + cos(π · s / steps)) / 2` (Loshchilov & Hutter 2017, without restarts). (MXNet:
    /// `CosineScheduler`, whose `max_update` is `steps` and the warm-up together.)
    #[doc(alias = "CosineScheduler")]
    #[doc(alias = "CosineAnnealingLR")]
    pub fn cosine(lr: f64, steps: u64) -> Schedule {
        Schedule::new(Rate::Cosine { lr, steps })
    }

    /// As one over the square root of the steps: `lr / √(1 + s / steps)`. With `steps` of 1 it is the `lr / √t` of
    /// online learning, `t` counted from 1; more steps put the decay off.
    pub fn inverse_sqrt(lr: f64, steps: u64) -> Schedule {
        Schedule::new(Rate::InverseSqrt { lr, steps })
    }

    /// What a closure gives for the step, which must be the same each time. A checkpoint does not hold it: who
    /// resumes gives it again.
    pub fn of(rate: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Schedule {
        Schedule::new(Rate::Closure { closure: Closure(Some(Arc::new(rate))) })
    }

    /// Decays to this rate instead of 0: with `d(s)` the decay from 1, the rate is `lr · d(s) + end · (1 − d(s))`.
    /// Not for closures. (MXNet: `final_lr`.)
    #[doc(alias = "final_lr")]
    pub fn down_to(mut self, end: f64) -> Schedule {
        self.down_to = Some(end);
        self
    }

    /// Never less than this rate, but for the warm-up. (MXNet: `stop_factor_lr`.)
    #[doc(alias = "stop_factor_lr")]
    pub fn at_least(mut self, lr: f64) -> Schedule {
        self.at_least = Some(lr);
        self
    }

    /// For the first `steps` steps a line from 0 to the rate that the schedule begins with: `rate(0) · step / steps`;
    /// then the schedule, from its own step 0 on: its steps count from the end of the warm-up, `s = step − steps`.
    /// (MXNet: `warmup_steps`, linear, from 0. Its cosine counts as here; its factor schedulers count their steps
    /// from the first of all: the numbers given to [`Schedule::multi_step`] are less by the warm-up.)
    #[doc(alias = "warmup_steps")]
    pub fn warm_up(mut self, steps: u64) -> Schedule {
        self.warm_up = steps;
        self
    }

    /// The learning rate at a step, 0 for the first. Finite for every step if the arguments make sense.
    pub fn at(&self, step: u64) -> f64 {
        let rate = self.after_warm_up(step.saturating_sub(self.warm_up));
        match step < self.warm_up {
            true => rate * (step as f64 / self.warm_up as f64),
            false => rate,
        }
    }

    fn after_warm_up(&self, step: u64) -> f64 {
        let rate = match &self.rate {
            Rate::Closure { closure } => closure.0.as_ref().map_or(f64::NAN, |rate| rate(step)),
            rate => {
                let d = rate.decay(step);
                // Exact at both ends.
                rate.begin() * d + self.down_to.unwrap_or(0.0) * (1.0 - d)
            }
        };
        // NaN stays, to be refused by the optimizer.
        match self.at_least {
            Some(least) if rate < least => least,
            _ => rate,
        }
    }

    /// Whether the rate is a closure's, or was when it was saved: files do not hold closures, what is read
    /// stands for one that is to be given again.
    pub(crate) fn is_closure(&self) -> bool {
        matches!(self.rate, Rate::Closure { .. })
    }

    /// Finds arguments that make no sense.
    ///
    /// # Errors
    /// [`ErrorKind::Value`], naming the schedule and the argument.
    #[track_caller]
    pub(crate) fn check(&self) -> Result<()> {
        let begin = Some(self.rate.begin());
        let rates =
            [("learning rate", begin), ("end rate", self.down_to), ("least rate", self.at_least)];
        let infinite =
            rates.iter().find_map(|(name, x)| Some((*name, x.filter(|x| !x.is_finite())?)));
        let factor = self.rate.factor();
        let why = match (&self.rate, infinite) {
            (Rate::Closure { closure: Closure(None) }, _) => {
                "the closure was not saved: give it again".to_owned()
            }
            (Rate::Closure { .. }, _) if self.down_to.is_some() => {
                "a closure says itself where it ends: it takes no end rate".to_owned()
            }
            (_, Some((name, x))) => format!("the {name} is {x}"),
            _ if !(0.0..=1.0).contains(&factor) => {
                format!("the factor is {factor}, not from 0 to 1")
            }
            (Rate::Step { every: 0, .. }, _) => "`every` is 0 steps".to_owned(),
            (Rate::Cosine { steps: 0, .. } | Rate::InverseSqrt { steps: 0, .. }, _) => {
                "`steps` is 0".to_owned()
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Value, why).operator(format!("Schedule::{}", self.rate.name())))
    }
}

impl Rate {
    fn name(&self) -> &'static str {
        match self {
            Rate::Constant { .. } => "constant",
            Rate::Step { .. } => "step",
            Rate::MultiStep { .. } => "multi_step",
            Rate::Exponential { .. } => "exponential",
            Rate::Cosine { .. } => "cosine",
            Rate::InverseSqrt { .. } => "inverse_sqrt",
            Rate::Closure { .. } => "of",
        }
    }

    /// The rate before it decays.
    fn begin(&self) -> f64 {
        match *self {
            Rate::Constant { lr }
            | Rate::Step { lr, .. }
            | Rate::MultiStep { lr, .. }
            | Rate::Exponential { lr, .. }
            | Rate::Cosine { lr, .. }
            | Rate::InverseSqrt { lr, .. } => lr,
            Rate::Closure { .. } => 1.0,
        }
    }

    fn factor(&self) -> f64 {
        match *self {
            Rate::Step { factor, .. }
            | Rate::MultiStep { factor, .. }
            | Rate::Exponential { factor, .. } => factor,
            _ => 1.0,
        }
    }

    /// From 1 at step 0 towards 0; by functions that give the same bits everywhere.
    fn decay(&self, step: u64) -> f64 {
        match self {
            Rate::Constant { .. } | Rate::Closure { .. } => 1.0,
            Rate::Step { every, factor, .. } => power(*factor, step.checked_div(*every)),
            Rate::MultiStep { steps, factor, .. } => {
                power(*factor, Some(steps.iter().filter(|&&at| at <= step).count() as u64))
            }
            Rate::Exponential { factor, .. } => power(*factor, Some(step)),
            Rate::Cosine { steps, .. } if step >= *steps => 0.0,
            Rate::Cosine { steps, .. } => 0.5 + 0.5 * libm::cos(PI * (step as f64 / *steps as f64)),
            Rate::InverseSqrt { steps, .. } => 1.0 / (1.0 + step as f64 / *steps as f64).sqrt(),
        }
    }
}

fn power(factor: f64, n: Option<u64>) -> f64 {
    n.map_or(f64::NAN, |n| libm::pow(factor, n as f64))
}

impl From<f64> for Schedule {
    fn from(lr: f64) -> Self {
        Schedule::constant(lr)
    }
}

#[cfg(test)]
mod tests;
