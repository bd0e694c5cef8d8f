//! Steps that shrink with the squares of the gradients so far.

use serde::{Deserialize, Serialize};

use super::Schedule;
use super::settings::{Now, Settings, check_not_negative, common_settings};
use super::step::{Method, step};
use crate::error::Result;
use crate::kernels::update::adagrad::AdaGradStep;
use crate::kernels::update::missed::{Linear, Missed};
use crate::tape::{Gradients, Params};
use crate::tensor::Real;

/// AdaGrad: each weight has a learning rate of its own, which falls with the squares of its gradients so
/// far, so that rare features keep learning (Duchi, Hazan and Singer 2011).
///
/// With `g = clip(rescale · g)` and the state named `history` (h), which starts at 0, a step is
///
/// | | |
/// |---|---|
/// | by element | `h ← h + g²`, then `w ← w − lr · (g / √(h + initial + epsilon) + weight_decay · w)` |
/// | by row | `h ← h + mean(g²)` over the row, then the same |
///
/// (MXNet: `adagrad_update` and the class `AdaGrad`; by row `group_adagrad_update`.) Weight decay is
/// decoupled: it does not enter the history. Where g and `h + initial + epsilon` are 0, a weight does not
/// move along its gradient. With nothing in the history, the first step of a weight is the learning rate itself, whatever the
/// size of its gradient: with many features in a row keep the rate small, or set [`initial`](AdaGrad::initial).
///
/// Without weight decay a gradient of zeros moves nothing, so that all [ways to update](super::Update)
/// agree. With it, such a step multiplies a weight by `1 − lr · weight_decay`, and
/// [`Update::Exact`](super::Update::Exact) makes up for missed steps by one product.
///
/// ```
/// use sparsetape::{Gradients, Parameter, Params, Stype, Tape, Tensor, optim::AdaGrad};
/// let w = Parameter::new("w", Tensor::full([1_000_000, 4], 1.0f32)?)?;
/// let params = Params::new([&w])?;
/// let mut adagrad = AdaGrad::new(0.5).row_wise(true); // one number a row
/// let tape = Tape::new();
/// let x = Tensor::csr([1, 1_000_000], vec![0, 1], vec![42], vec![3.0f32])?;
/// let gradients = tape.constant(x).dot(tape.parameter(&w)).sum().backward()?;
/// adagrad.step(&params, &gradients)?; // touches row 42 only
/// assert!((w.snapshot()?.values::<f32>()?[42 * 4] - 0.5).abs() < 1e-6);
/// let history = adagrad.state_of(&w, "history")?.unwrap();
/// assert_eq!((history.shape()[1], history.values::<f32>()?[42]), (1, 9.0));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Debug)]
pub struct AdaGrad {
    settings: Settings,
    method: History,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct History {
    epsilon: f64,
    initial: f64,
    row_wise: bool,
}

common_settings!(AdaGrad);

impl AdaGrad {
    const STATES: &[&str] = &["history"];

    /// AdaGrad by element at this learning rate, or by this schedule, with an epsilon of 10⁻⁷.
    pub fn new(lr: impl Into<Schedule>) -> Self {
        let method = History { epsilon: 1e-7, initial: 0.0, row_wise: false };
        AdaGrad { settings: Settings::new(lr.into()), method }
    }

    /// What is added to the history under the root.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.method.epsilon = epsilon;
        self
    }

    /// What histories start from; 0 unless set. `state_of` gives the history without it, so that a row
    /// without gradients has one of 0. (TensorFlow, PyTorch: `initial_accumulator_value`.)
    pub fn initial(mut self, initial: f64) -> Self {
        self.method.initial = initial;
        self
    }

    /// Whether a row shares one number, the mean of the squares of its gradient: the history of n rows is
    /// n × 1 then. (MXNet: `GroupAdaGrad`.)
    pub fn row_wise(mut self, row_wise: bool) -> Self {
        self.method.row_wise = row_wise;
        self
    }

    /// Moves each parameter that has a gradient; unless updates are lazy, those without one as by a
    /// gradient of zeros.
    ///
    /// # Errors
    /// As [`Optimizer::step`](super::Optimizer::step); [`ErrorKind::Value`](crate::ErrorKind::Value) for an
    /// epsilon or initial value that is negative, too.
    #[track_caller]
    pub fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
        let own = [("epsilon", self.method.epsilon), ("initial history", self.method.initial)];
        self.settings.check(History::NAME, &own)?;
        check_not_negative(History::NAME, &own)?;
        step::<_, 1>(&self.method, &mut self.settings, params, gradients)
    }
}

impl Method for History {
    const NAME: &'static str = "adagrad";
    type Rule<T: Real> = AdaGradStep<T>;

    fn rule<T: Real>(&self, now: &Now) -> AdaGradStep<T> {
        AdaGradStep {
            lr: T::from_f64(now.lr),
            offset: T::from_f64(self.initial + self.epsilon),
            row_wise: self.row_wise,
            decay: T::from_f64(now.decay),
            rescale: T::from_f64(now.rescale),
            clip: T::from_f64(now.clip),
        }
    }

    fn missed(&self, settings: &Settings) -> Option<fn() -> Missed> {
        (settings.weight_decay != 0.0).then_some(|| Missed::Linear(Linear::of_weights()))
    }

    /// With a gradient of zeros, the weight alone decays.
    fn miss<T: Real>(&self, now: &Now, missed: &mut Missed) {
        let Missed::Linear(linear) = missed else { return };
        // As rounded for the elements.
        let rounded = |x: f64| T::from_f64(x).to_f64();
        linear.push(&[1.0 - rounded(now.lr) * rounded(now.decay), 0.0, 0.0, 1.0]);
    }
}
