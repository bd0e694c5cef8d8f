//! Adam, with weight decay in the gradient or beside it.

use std::panic::Location;

use serde::{Deserialize, Serialize};

use super::Schedule;
use super::settings::{Now, Settings, common_settings};
use super::step::{Method, step};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::update::adam::AdamStep;
use crate::kernels::update::adam_rest::AdamRest;
use crate::kernels::update::missed::Missed;
use crate::tape::{Gradients, Params};
use crate::tensor::Real;

/// Adam: steps by the mean of the gradients over the root of the mean of their squares.
///
/// With `t` the number of the step, 1 for the first, a step is
///
/// ```text
/// h ← clip(rescale · g + weight_decay · w)
/// m ← β₁ · m + (1 − β₁) · h
/// v ← β₂ · v + (1 − β₂) · h²
/// w ← w − lrₜ · m / (√v + ε)      lrₜ = lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ)
/// ```
///
/// where a quotient by 0 counts as 0. Unless set, `β₁ = 0.9`, `β₂ = 0.999`, `ε = 1e-8`, and there is no weight
/// decay. `t` counts the steps of the optimizer, whatever they moved; MXNet counts for each parameter those that had
/// a gradient of it. The states are named `mean` (m) and `variance` (v).
///
/// (MXNet: the class `Adam`; without [bias correction](Adam::bias_correction), where `lrₜ = lr`, `adam_update`.
/// Kingma & Ba 2015, in the form at the end of their section 2: ε stands beside the root with its bias, so it weighs
/// more in the first steps than that of PyTorch, which is the one of [`AdamW`].) As in MXNet, what is clipped
/// includes the weight decay.
///
/// # Update modes
/// A row without a gradient still moves by its m. In [`Update::Lazy`](super::Update::Lazy) it does not, and keeps its
/// m and v. In [`Update::Exact`](super::Update::Exact) it makes the steps that it has missed before it is next read.
/// Its m and v have decayed by powers of β₁ and β₂, but the sum of its moves has no closed form. So they are made one
/// after the other, by the arithmetic of [`Update::Dense`](super::Update::Dense), until all that are left together
/// cannot change the weight. With `R` the highest learning rate among them and `ρ = β₁ / √β₂`, their sum is at most
///
/// ```text
/// R · |m| · min( ρ / ((1 − ρ) · √v),  β₁ / ((1 − β₁) · ε) )
/// ```
///
/// and a row stops where that is at most a quarter of the machine epsilon times `|w|`, element by element. What is
/// left is closed: m and v by products of β. All this holds under any schedule.
///
/// By default a row stops after about 400 steps in f64 and 200 in f32, however many it has missed, and at once if its
/// mean is 0; a row of 16 takes about 11 µs and 1.5 µs for them. Where `ρ ≥ 1`, ε alone bounds the moves, and it takes
/// more steps; without ε, all that it has missed. After 20 000 steps with different schedules and β, exact updates
/// were within 3e-15 (f64) and 5e-6 (f32) of dense ones, relative to the norm of a row, and gaps too short to stop in
/// give the same bits.
///
/// With weight decay in the gradient no step is the last one to move the weight, and a row makes **all** steps that it
/// has missed: the cost follows the gap. Use [`AdamW`] for exact updates with decay. For the same reason a [drawn
/// table](crate::Parameter::drawn) refuses such decay in exact mode, as long as it has absent rows.
///
/// ```
/// use sparsetape::optim::{Adam, Update};
/// use sparsetape::{Parameter, Params, Tape, Tensor};
/// let w = Parameter::new("w", Tensor::full([1_000_000, 1], 1.0f32)?)?;
/// let mut adam = Adam::new(0.1).beta1(0.8).update(Update::Exact);
/// let tape = Tape::new();
/// let x = Tensor::csr([1, 1_000_000], vec![0, 1], vec![42], vec![5.0f32])?;
/// let loss = tape.constant(x).dot(tape.parameter(&w)).sum();
/// adam.step(&Params::new([&w])?, &loss.backward()?)?;
/// // The first step is of the size of the learning rate, whatever the size of the gradient.
/// assert!((w.snapshot()?.values::<f32>()?[42] - 0.9).abs() < 1e-6);
/// let mean = adam.state_of(&w, "mean")?.unwrap();
/// assert_eq!(mean.values::<f32>()?[41..44], [0.0, 1.0, 0.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Debug)]
pub struct Adam {
    settings: Settings,
    method: Moments<false>,
}

/// Adam with decoupled weight decay: weights shrink beside the gradient's step, not by way of it.
///
/// With `t` the number of the step, 1 for the first, a step is
///
/// ```text
/// h ← clip(rescale · g)
/// m ← β₁ · m + (1 − β₁) · h
/// v ← β₂ · v + (1 − β₂) · h²
/// w ← (1 − lr · weight_decay) · w − lrₜ · m / (√v + εₜ)
///                                 lrₜ = lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ),  εₜ = ε · √(1 − β₂ᵗ)
/// ```
///
/// where a quotient by 0 counts as 0. The last term is `lr · m̂ / (√v̂ + ε)` for `m̂ = m / (1 − β₁ᵗ)` and
/// `v̂ = v / (1 − β₂ᵗ)`, which have no bias. Both the decay and this term follow the schedule. Unless set, `β₁ = 0.9`,
/// `β₂ = 0.999`, `ε = 1e-8`, and the weight decay is 0.01. `t` counts the steps of the optimizer. The states are named
/// `mean` (m) and `variance` (v).
///
/// (Loshchilov & Hutter 2019; as in PyTorch, which multiplies the decay by the learning rate as well.)
///
/// The [update modes](Adam#update-modes) are as for [`Adam`], but with weight decay too, exact updates stop early and
/// drawn tables train: in the bound, `ρ` and `β₁` are divided by the least factor `1 − lr · weight_decay`, and what is
/// left after that is a product of those factors.
///
/// ```
/// use sparsetape::optim::{AdamW, Update};
/// use sparsetape::{Parameter, Params, Tape, Tensor};
/// let w = Parameter::new("w", Tensor::full([1_000_000, 1], 1.0f32)?)?;
/// let mut adam = AdamW::new(0.1).weight_decay(0.5).update(Update::Exact);
/// let tape = Tape::new();
/// let ids = tape.constant(Tensor::dense([1], vec![42i64])?);
/// let loss = tape.parameter(&w).take(ids).sum();
/// adam.step(&Params::new([&w])?, &loss.backward()?)?;
/// // All rows decay; the row that is used next catches up when it is read.
/// let values = w.snapshot()?;
/// assert!((values.values::<f32>()?[41] - 0.95).abs() < 1e-6);
/// assert!((values.values::<f32>()?[42] - 0.85).abs() < 1e-6);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Debug)]
pub struct AdamW {
    settings: Settings,
    method: Moments<true>,
}

/// Decoupled: weights decay beside the gradient.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Moments<const DECOUPLED: bool> {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    bias_correction: bool,
}

macro_rules! moments {
    ($optimizer:ident) => {
        common_settings!($optimizer);

        impl $optimizer {
            const STATES: &[&str] = &["mean", "variance"];

            /// How much of the mean of the gradients stays in a step, from 0 up to 1; 0.9 unless set.
            pub fn beta1(mut self, beta1: f64) -> Self {
                self.method.beta1 = beta1;
                self
            }

            /// How much of the mean of their squares stays in a step, from 0 up to 1; 0.999 unless set.
            pub fn beta2(mut self, beta2: f64) -> Self {
                self.method.beta2 = beta2;
                self
            }

            /// What is added to the root of the mean of squares, 0 or more; 1e-8 unless set.
            pub fn epsilon(mut self, epsilon: f64) -> Self {
                self.method.epsilon = epsilon;
                self
            }

            /// Whether means count as if they had not begun at 0, as they do unless set; without, `lrₜ = lr` and
            /// ε is the same in each step. (MXNet: `adam_update` is without.)
            pub fn bias_correction(mut self, bias_correction: bool) -> Self {
                self.method.bias_correction = bias_correction;
                self
            }

            /// Moves each parameter that has a gradient; unless updates are lazy, those without one as by a
            /// gradient of zeros.
            ///
            /// # Errors
            /// As [`Optimizer::step`](super::Optimizer::step); [`ErrorKind::Value`] for a β that is not from 0 up to 1,
            /// or an ε below 0.
            #[track_caller]
            pub fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
                self.method.check(&self.settings)?;
                step::<_, 2>(&self.method, &mut self.settings, params, gradients)
            }
        }
    };
}

moments!(Adam);
moments!(AdamW);

impl Adam {
    /// Adam at this learning rate, or by this schedule.
    pub fn new(lr: impl Into<Schedule>) -> Self {
        Adam { settings: Settings::new(lr.into()), method: Moments::default() }
    }
}

impl AdamW {
    /// AdamW at this learning rate, or by this schedule.
    pub fn new(lr: impl Into<Schedule>) -> Self {
        let adam = AdamW { settings: Settings::new(lr.into()), method: Moments::default() };
        adam.weight_decay(0.01)
    }
}

impl<const DECOUPLED: bool> Default for Moments<DECOUPLED> {
    fn default() -> Self {
        Moments { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, bias_correction: true }
    }
}

impl<const DECOUPLED: bool> Moments<DECOUPLED> {
    #[track_caller]
    fn check(&self, settings: &Settings) -> Result<()> {
        let at = Location::caller();
        let refuse = |why| Err(Error::new(ErrorKind::Value, why).operator(Self::NAME).at(at));
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return refuse(format!("{name} is {beta}, not from 0 up to 1"));
            }
        }
        if !(0.0..f64::INFINITY).contains(&self.epsilon) {
            return refuse(format!("epsilon is {}, not 0 or more", self.epsilon));
        }
        settings.check(Self::NAME, &[])
    }

    /// 1 − β₁ᵗ and √(1 − β₂ᵗ)
    fn biases(&self, t: u64) -> (f64, f64) {
        let from_one = |beta| 1.0 - libm::pow(beta, t as f64);
        match self.bias_correction {
            true => (from_one(self.beta1), from_one(self.beta2).sqrt()),
            false => (1.0, 1.0),
        }
    }
}

impl<const DECOUPLED: bool> Method for Moments<DECOUPLED> {
    const NAME: &'static str = if DECOUPLED { "adamw" } else { "adam" };
    type Rule<T: Real> = AdamStep<T>;

    fn rule<T: Real>(&self, now: &Now) -> AdamStep<T> {
        let (mean, root) = self.biases(now.step);
        let (epsilon, shrink, decay) = match DECOUPLED {
            true => (self.epsilon * root, 1.0 - now.lr * now.decay, 0.0),
            false => (self.epsilon, 1.0, now.decay),
        };
        AdamStep {
            rate: T::from_f64(now.lr * root / mean),
            beta1: T::from_f64(self.beta1),
            beta2: T::from_f64(self.beta2),
            rest1: T::from_f64(1.0 - self.beta1),
            rest2: T::from_f64(1.0 - self.beta2),
            epsilon: T::from_f64(epsilon),
            shrink: T::from_f64(shrink),
            decay: T::from_f64(decay),
            rescale: T::from_f64(now.rescale),
            clip: T::from_f64(now.clip),
        }
    }

    fn missed(&self, _: &Settings) -> Option<fn() -> Missed> {
        Some(|| Missed::Adam(AdamRest::default()))
    }

    fn miss<T: Real>(&self, now: &Now, missed: &mut Missed) {
        let Missed::Adam(rest) = missed else { return };
        rest.push(self.rule::<T>(now).cast());
    }

    fn forgets(&self, now: &Now) -> bool {
        DECOUPLED || now.decay == 0.0
    }
}
