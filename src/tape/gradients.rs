//! What a backward pass returns.

use super::Tape;
use super::execute::evaluate;
use super::parameter::{GradReq, Parameter};
use super::structural::Accumulate;
use super::var::Var;
use crate::error::Result;
use crate::tensor::Tensor;

/// Gradients by parameter and by leaf, each in the storage type in which it arose.
///
/// Rows present in a row-sparse gradient are *touched*, even if all zero; optimizers move only
/// those.
///
/// ```
/// use sparsetape::{GradReq, Gradients, Parameter, Tape, Tensor};
/// let w = Parameter::new("w", Tensor::scalar(3.0f64))?;
/// w.set_grad_req(GradReq::Add);
/// let mut gradients = Gradients::default();
/// for _ in 0..2 {
///     let tape = Tape::new();
///     tape.parameter(&w).square().backward_into(&mut gradients)?;
/// }
/// assert_eq!(gradients.of(&w).unwrap().item::<f64>()?, 12.0);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Gradients {
    parameters: Vec<(Parameter, Tensor)>,
    leaves: Vec<(u32, Tensor)>,
    /// The recording that leaf ids refer to.
    recording: (u64, u64),
}

impl Gradients {
    /// The gradient of a parameter, if the result depends on it.
    pub fn of(&self, parameter: &Parameter) -> Option<&Tensor> {
        self.parameters.iter().find(|(p, _)| p.same(parameter)).map(|(_, g)| g)
    }

    /// The gradient of a leaf that [`Tape::variable`] made, if the result depends on it.
    pub fn wrt(&self, leaf: Var<'_>) -> Option<&Tensor> {
        if self.recording != leaf.tape.recording_id() {
            return None;
        }
        self.leaves.iter().find(|(id, _)| *id == leaf.id).map(|(_, g)| g)
    }

    /// Parameters and their gradients.
    pub fn iter(&self) -> impl Iterator<Item = (&Parameter, &Tensor)> {
        self.parameters.iter().map(|(p, g)| (p, g))
    }

    pub(crate) fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.parameters.iter_mut().map(|(_, g)| g)
    }

    /// Sets a parameter's gradient, in place of what was there.
    pub fn set(&mut self, parameter: &Parameter, gradient: Tensor) {
        match self.parameters.iter_mut().find(|(p, _)| p.same(parameter)) {
            Some((_, held)) => *held = gradient,
            None => self.parameters.push((parameter.clone(), gradient)),
        }
    }

    /// Forgets all gradients, also those that are being accumulated.
    pub fn clear(&mut self) {
        self.parameters.clear();
        self.leaves.clear();
    }

    /// Makes room for a new backward pass: only gradients that accumulate stay.
    pub(crate) fn begin(&mut self, tape: &Tape) {
        self.recording = tape.recording_id();
        self.leaves.drain(..).for_each(|(_, g)| tape.recycle(g));
        let replaced = |(p, _): &mut (Parameter, Tensor)| p.grad_req() != GradReq::Add;
        self.parameters.extract_if(.., replaced).for_each(|(_, g)| tape.recycle(g));
    }

    /// Adds to a parameter's gradient, from an earlier pass or from another leaf for it; gives back what
    /// was there.
    pub(crate) fn add(
        &mut self,
        parameter: &Parameter,
        gradient: Tensor,
    ) -> Result<Option<Tensor>> {
        let held = self.parameters.iter_mut().find(|(p, _)| p.same(parameter));
        let Some((_, held)) = held else {
            self.parameters.push((parameter.clone(), gradient));
            return Ok(None);
        };
        let sum = evaluate(Accumulate, &[held, &gradient])?;
        Ok(Some(std::mem::replace(held, sum)))
    }

    pub(super) fn put(&mut self, leaf: u32, gradient: Tensor) {
        self.leaves.push((leaf, gradient));
    }
}
