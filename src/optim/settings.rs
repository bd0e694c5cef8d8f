//! What all optimizers have in common.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{OptimizerState, Schedule};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::Owned;

/// Which rows of a parameter a step moves; see [the comparison](crate::optim#three-ways-to-update).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// Those that the gradient stores; the others stay as they are. (MXNet: `lazy_update=True`.)
    #[default]
    Lazy,
    /// All, each by its own missed steps at once before it is next read: the result of
    /// [`Update::Dense`] at about the cost of [`Update::Lazy`].
    Exact,
    /// All, in every step; rows without a gradient as by a gradient of zeros. (MXNet: `lazy_update=False`.)
    Dense,
}

/// Settings and counters of an optimizer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    pub schedule: Schedule,
    pub weight_decay: f64,
    pub rescale_grad: Option<f64>,
    /// The factor on gradients where `rescale_grad` is not set.
    #[serde(skip, default = "unscaled")]
    pub default_rescale_grad: f64,
    pub clip_gradient: Option<f64>,
    pub update: Update,
    /// How many steps there were.
    pub steps: u64,
    /// By this, parameters know the optimizer's state.
    #[serde(skip)]
    pub owner: Arc<()>,
}

fn unscaled() -> f64 {
    1.0
}

/// The numbers of one step for one parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub lr: f64,
    pub decay: f64,
    pub rescale: f64,
    /// Infinite for none.
    pub clip: f64,
    /// 1 for the first.
    pub step: u64,
}

impl Settings {
    pub fn new(schedule: Schedule) -> Self {
        Settings {
            schedule,
            weight_decay: 0.0,
            rescale_grad: None,
            default_rescale_grad: unscaled(),
            clip_gradient: None,
            update: Update::Lazy,
            steps: 0,
            owner: Arc::new(()),
        }
    }

    /// The numbers of the step that comes next, for a parameter with these multipliers.
    pub fn next(&self, (lr_mult, wd_mult): (f64, f64)) -> Now {
        Now {
            lr: self.schedule.at(self.steps) * lr_mult,
            decay: self.weight_decay * wd_mult,
            rescale: self.rescale(),
            clip: self.clip_gradient.unwrap_or(f64::INFINITY),
            step: self.steps + 1,
        }
    }

    fn rescale(&self) -> f64 {
        self.rescale_grad.unwrap_or(self.default_rescale_grad)
    }

    /// Finds settings, these and `others`, that are not finite.
    #[track_caller]
    pub fn check(&self, name: &str, others: &[(&str, f64)]) -> Result<()> {
        self.schedule.check()?;
        let own = [
            ("learning rate", self.schedule.at(self.steps)),
            ("weight decay", self.weight_decay),
            ("gradient rescaling", self.rescale()),
            ("clipping bound", self.clip_gradient.unwrap_or(0.0)),
        ];
        match own.iter().chain(others).find(|(_, x)| !x.is_finite()) {
            None => Ok(()),
            Some((setting, x)) => {
                let message = format!("the {setting} is {x}");
                Err(Error::new(ErrorKind::Value, message).operator(name))
            }
        }
    }
}

/// Finds a setting that is negative.
#[track_caller]
pub(super) fn check_not_negative(name: &str, settings: &[(&str, f64)]) -> Result<()> {
    match settings.iter().find(|(_, x)| *x < 0.0) {
        None => Ok(()),
        Some((setting, x)) => {
            let message = format!("the {setting} is {x}, but must not be negative");
            Err(Error::new(ErrorKind::Value, message).operator(name))
        }
    }
}

/// What a checkpoint holds of an optimizer.
#[derive(Serialize, Deserialize)]
struct Stored<S, M> {
    settings: S,
    method: M,
    /// Of the next step: by this a closure is known again.
    learning_rate: f64,
}

/// What a checkpoint keeps of an optimizer with these settings, this method and these states.
#[track_caller]
pub(super) fn save<M: Serialize + DeserializeOwned>(
    kind: &str,
    settings: &Settings,
    method: &M,
    states: &'static [&'static str],
) -> Result<OptimizerState> {
    let learning_rate = settings.schedule.at(settings.steps);
    let state = OptimizerState::new(kind, &Stored { settings, method, learning_rate })?;
    // Numbers that are not finite do not come back.
    state.settings::<Stored<Settings, M>>(kind).map_err(|_| {
        let message = "a setting is not finite: a file cannot hold it";
        Error::new(ErrorKind::State, message).operator(kind)
    })?;
    Ok(state.with_owned(Owned { owner: Arc::clone(&settings.owner), states }))
}

/// Takes over settings and method; the owner stays, and so does a schedule that is a closure.
#[track_caller]
pub(super) fn load<M: DeserializeOwned>(
    kind: &str,
    settings: &mut Settings,
    method: &mut M,
    state: &OptimizerState,
) -> Result<()> {
    let stored: Stored<Settings, M> = state.settings(kind)?;
    let mut loaded = stored.settings;
    if loaded.schedule.is_closure() {
        let (then, now) = (stored.learning_rate, settings.schedule.at(loaded.steps));
        if then.to_bits() != now.to_bits() || !settings.schedule.is_closure() {
            let message = format!(
                "the learning rate is a closure, which files do not hold: the optimizer must have it \
                 already, but at step {} the saved one gave {then}, this optimizer's schedule {now}",
                loaded.steps
            );
            return Err(Error::new(ErrorKind::State, message).operator(kind));
        }
        loaded.schedule = settings.schedule.clone();
    }
    loaded.owner = Arc::clone(&settings.owner);
    loaded.default_rescale_grad = settings.default_rescale_grad;
    (*settings, *method) = (loaded, stored.method);
    Ok(())
}

/// The settings and queries that every optimizer has, whose fields are `settings` and `method`, and whose
/// states are named in `STATES`.
macro_rules! common_settings {
    ($optimizer:ident) => {
        impl $crate::optim::Optimizer for $optimizer {
            #[track_caller]
            fn step(
                &mut self,
                params: &$crate::Params,
                gradients: &$crate::Gradients,
            ) -> $crate::error::Result<()> {
                $optimizer::step(self, params, gradients)
            }

            #[track_caller]
            fn save_state(&self) -> $crate::error::Result<$crate::optim::OptimizerState> {
                let kind = stringify!($optimizer);
                $crate::optim::settings::save(kind, &self.settings, &self.method, Self::STATES)
            }

            #[track_caller]
            fn load_state(
                &mut self,
                state: &$crate::optim::OptimizerState,
            ) -> $crate::error::Result<()> {
                let kind = stringify!($optimizer);
                $crate::optim::settings::load(kind, &mut self.settings, &mut self.method, state)
            }

            fn learning_rate(&self) -> Option<f64> {
                Some($optimizer::learning_rate(self))
            }

            fn set_learning_rate(
                &mut self,
                lr: $crate::optim::Schedule,
            ) -> $crate::error::Result<()> {
                $optimizer::set_learning_rate(self, lr);
                Ok(())
            }

            fn default_rescale_grad(&mut self, factor: f64) -> bool {
                self.settings.default_rescale_grad = factor;
                true
            }
        }

        impl $optimizer {
            /// The factor of the weight itself in its gradient (L2), or as the optimizer's formula says.
            pub fn weight_decay(mut self, weight_decay: f64) -> Self {
                self.settings.weight_decay = weight_decay;
                self
            }

            /// A factor on every gradient, before clipping; 1 unless set, and in a
            /// [trainer](crate::train::Trainer) of MXNet's outputs 1 / batch size.
            pub fn rescale_grad(mut self, rescale_grad: f64) -> Self {
                self.settings.rescale_grad = Some(rescale_grad);
                self
            }

            /// Clips every rescaled gradient value to `[−bound, bound]`; a negative bound does not
            /// clip.
            pub fn clip_gradient(mut self, bound: f64) -> Self {
                // NaN stays, to be refused by the step.
                self.settings.clip_gradient = (bound.is_nan() || bound >= 0.0).then_some(bound);
                self
            }

            /// Which rows move; [`Update::Lazy`](crate::optim::Update::Lazy) unless set. It may change between
            /// steps.
            pub fn update(mut self, update: $crate::optim::Update) -> Self {
                self.settings.update = update;
                self
            }

            /// The learning rate of the next step.
            pub fn learning_rate(&self) -> f64 {
                self.settings.schedule.at(self.settings.steps)
            }

            /// Sets the learning rate, or its schedule, of the steps to come.
            pub fn set_learning_rate(&mut self, lr: impl Into<$crate::optim::Schedule>) {
                self.settings.schedule = lr.into();
            }

            /// How many steps there were.
            pub fn steps(&self) -> u64 {
                self.settings.steps
            }

            /// What is kept of a parameter beside its values, by name, a copy, up to date; laid out as the
            /// parameter is. `None` before the parameter has moved, and for a name that this optimizer does not use.
            ///
            /// # Errors
            /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while the parameter is used elsewhere.
            #[track_caller]
            pub fn state_of(
                &self,
                parameter: &$crate::Parameter,
                name: &str,
            ) -> $crate::error::Result<Option<$crate::Tensor>> {
                let Some(i) = Self::STATES.iter().position(|state| *state == name) else {
                    return Ok(None);
                };
                parameter.state_column(&self.settings.owner, i)
            }

            /// Bytes that are kept of these parameters beside their values.
            ///
            /// # Errors
            /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while a parameter is updated.
            #[track_caller]
            pub fn bytes(&self, params: &$crate::Params) -> $crate::error::Result<usize> {
                let mut bytes = 0;
                for parameter in params {
                    bytes += parameter.read()?.state_bytes(&self.settings.owner);
                }
                Ok(bytes)
            }
        }
    };
}
pub(super) use common_settings;
