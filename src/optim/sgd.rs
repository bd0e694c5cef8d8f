//! Stochastic gradient descent.

use serde::{Deserialize, Serialize};

use super::Schedule;
use super::settings::{Now, Settings, common_settings};
use super::step::{Method, step};
use crate::error::Result;
use crate::kernels::update::missed::{Linear, Missed};
use crate::kernels::update::sgd::SgdStep;
use crate::tape::{Gradients, Params};
use crate::tensor::Real;

/// Stochastic gradient descent with momentum (heavy ball or Nesterov's), weight decay, gradient rescaling
/// and clipping.
///
/// With `h = clip(rescale · g) + weight_decay · w`, a step is
///
/// | | |
/// |---|---|
/// | without momentum | `w ← w − lr · h` |
/// | with momentum | `m ← momentum · m − lr · h`, then `w ← w + m` |
/// | Nesterov's | `m ← momentum · m − lr · h`, then `w ← w + momentum · m − lr · h` |
///
/// (MXNet: `sgd_update`, `sgd_mom_update`, the classes `SGD` and `NAG`; Polyak 1964; Sutskever et al.
/// 2013.) There is no dampening. The state is named `momentum` (m). A dense gradient moves everything; which
/// rows a row-sparse one moves says [`Update`](super::Update): by default those that it stores, zero or not, at
/// a cost that follows those rows, not the table.
///
/// ```
/// use sparsetape::{Gradients, Parameter, Params, Tape, Tensor, optim::Sgd};
/// let w = Parameter::new("w", Tensor::full([1_000_000, 1], 1.0f32)?)?;
/// let params = Params::new([&w])?;
/// let mut sgd = Sgd::new(0.5).momentum(0.9);
/// let mut tape = Tape::new();
/// let mut gradients = Gradients::default();
/// for _ in 0..2 {
///     tape.clear();
///     let x = Tensor::csr([1, 1_000_000], vec![0, 1], vec![42], vec![1.0f32])?;
///     let loss = tape.constant(x).dot(tape.parameter(&w)).sum();
///     loss.backward_into(&mut gradients)?;
///     sgd.step(&params, &gradients)?; // touches row 42 only
/// }
/// assert!((w.snapshot()?.values::<f32>()?[42] - (1.0 - 0.5 - 0.95)).abs() < 1e-6);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Debug)]
pub struct Sgd {
    settings: Settings,
    method: Momentum,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Momentum {
    factor: f64,
    nesterov: bool,
}

common_settings!(Sgd);

impl Sgd {
    const STATES: &[&str] = &["momentum"];

    /// Plain gradient descent at this learning rate, or by this schedule.
    pub fn new(lr: impl Into<Schedule>) -> Self {
        Sgd { settings: Settings::new(lr.into()), method: Momentum::default() }
    }

    /// How much of the last move is repeated (heavy ball); 0 keeps no momentum in memory.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.method.factor = momentum;
        self
    }

    /// Whether the gradient counts as if taken after the next move by momentum.
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.method.nesterov = nesterov;
        self
    }

    /// Moves each parameter that has a gradient; unless updates are lazy, those without one as by a
    /// gradient of zeros.
    ///
    /// # Errors
    /// As [`Optimizer::step`](super::Optimizer::step).
    #[track_caller]
    pub fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
        self.settings.check("sgd", &[("momentum", self.method.factor)])?;
        match self.method.factor == 0.0 {
            true => step::<_, 0>(&self.method, &mut self.settings, params, gradients),
            false => step::<_, 1>(&self.method, &mut self.settings, params, gradients),
        }
    }
}

impl Method for Momentum {
    const NAME: &'static str = "sgd";
    type Rule<T: Real> = SgdStep<T>;

    fn rule<T: Real>(&self, now: &Now) -> SgdStep<T> {
        SgdStep {
            lr: T::from_f64(now.lr),
            momentum: T::from_f64(self.factor),
            nesterov: self.nesterov,
            decay: T::from_f64(now.decay),
            rescale: T::from_f64(now.rescale),
            clip: T::from_f64(now.clip),
        }
    }

    fn missed(&self, settings: &Settings) -> Option<fn() -> Missed> {
        let at_rest = self.factor == 0.0 && settings.weight_decay == 0.0;
        (!at_rest).then_some(|| Missed::Linear(Linear::default()))
    }

    /// With a gradient of zeros, a step is linear in w and m.
    fn miss<T: Real>(&self, now: &Now, missed: &mut Missed) {
        let Missed::Linear(linear) = missed else { return };
        // As rounded for the elements.
        let rounded = |x: f64| T::from_f64(x).to_f64();
        let (mu, a) = (rounded(self.factor), rounded(now.lr) * rounded(now.decay));
        linear.push(&match self.nesterov {
            false => [1.0 - a, mu, -a, mu],
            true => [1.0 - a - mu * a, mu * mu, -a, mu],
        });
    }
}
