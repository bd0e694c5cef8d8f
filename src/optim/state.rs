//! What a checkpoint keeps of an optimizer.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

#[cfg(doc)]
use super::Optimizer;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::Owned;
use crate::tensor::{Archive, Tensor};

/// What a [checkpoint](crate::train::Checkpoint) keeps of an optimizer, beside what parameters hold for it: its
/// kind, its settings and counters, and named tensors. An optimizer of your own gives it in
/// [`Optimizer::save_state`] and takes it in [`Optimizer::load_state`]:
///
/// ```
/// use std::collections::BTreeMap;
/// use sparsetape::optim::{Optimizer, OptimizerState};
/// use sparsetape::{Gradients, Params, Result, Tensor};
///
/// /// w ← w − lr · (the mean of all gradients so far)
/// #[derive(Default)]
/// struct Averaged {
///     lr: f64,
///     steps: u64,
///     sums: BTreeMap<String, Tensor>,
/// }
///
/// impl Optimizer for Averaged {
///     fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
///         self.steps += 1;
///         for p in params {
///             let Some(gradient) = gradients.of(p) else { continue };
///             let sum = match self.sums.get(p.name()) {
///                 Some(sum) => sum.add(gradient)?,
///                 None => gradient.clone(),
///             };
///             let by = sum.mul_scalar(self.lr / self.steps as f64)?;
///             p.set(p.snapshot()?.sub(&by)?)?;
///             self.sums.insert(p.name().to_owned(), sum);
///         }
///         Ok(())
///     }
///
///     fn save_state(&self) -> Result<OptimizerState> {
///         let mut state = OptimizerState::new("averaged", &(self.lr, self.steps))?;
///         for (name, sum) in &self.sums {
///             state.push(name, sum.clone())?;
///         }
///         Ok(state)
///     }
///
///     fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
///         (self.lr, self.steps) = state.settings("averaged")?;
///         self.sums = state.tensors().map(|(name, sum)| (name.to_owned(), sum.clone())).collect();
///         Ok(())
///     }
/// }
///
/// let (one, mut other) = (Averaged { lr: 0.5, steps: 3, ..Averaged::default() }, Averaged::default());
/// other.load_state(&one.save_state()?)?;
/// assert_eq!((other.lr, other.steps), (0.5, 3));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OptimizerState {
    kind: String,
    settings: Box<RawValue>,
    tensors: Archive,
    /// Of the crate's own optimizers, whose states are in the parameters' tables.
    owned: Option<Owned>,
}

impl OptimizerState {
    /// The state of this kind of optimizer, with these settings and counters, without tensors.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for what JSON cannot hold. Numbers that are not finite are written as `null`,
    /// which is no number when it is read: refuse them before.
    #[track_caller]
    pub fn new(kind: impl Into<String>, settings: &impl Serialize) -> Result<OptimizerState> {
        let kind = kind.into();
        let settings = serde_json::value::to_raw_value(settings).map_err(|e| {
            let message = "its settings cannot be saved";
            Error::new(ErrorKind::State, message).operator(&kind).caused_by(e)
        })?;
        Ok(OptimizerState { kind, settings, tensors: Archive::default(), owned: None })
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if there is one of this name.
    #[track_caller]
    pub fn push(&mut self, name: impl Into<String>, tensor: Tensor) -> Result<()> {
        self.tensors.push(name, tensor)
    }

    /// The kind of the optimizer.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The settings and counters, of this kind of optimizer.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if they are another kind's, [`ErrorKind::Parse`] if they do not have this form.
    #[track_caller]
    pub fn settings<T: DeserializeOwned>(&self, kind: &str) -> Result<T> {
        if self.kind != kind {
            let message = format!("the state is that of {:?}, not of {kind:?}", self.kind);
            return Err(Error::new(ErrorKind::State, message).operator("load_state"));
        }
        serde_json::from_str(self.settings.get()).map_err(|e| {
            let message = format!("the settings of {kind:?} are damaged");
            Error::new(ErrorKind::Parse, message).operator("load_state").caused_by(e)
        })
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Names and tensors in order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.tensors.iter()
    }

    pub(super) fn with_owned(mut self, owned: Owned) -> Self {
        self.owned = Some(owned);
        self
    }

    pub(crate) fn owned(&self) -> Option<&Owned> {
        self.owned.as_ref()
    }

    /// The settings as JSON.
    pub(crate) fn json(&self) -> &RawValue {
        &self.settings
    }

    /// From a file.
    pub(crate) fn from_parts(kind: String, settings: Box<RawValue>, tensors: Archive) -> Self {
        OptimizerState { kind, settings, tensors, owned: None }
    }
}
