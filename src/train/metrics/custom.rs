//! Means that a closure knows the terms of.

use std::fmt;

use super::sum::Mean;
use super::{Metric, Scored};
use crate::error::Result;

/// A mean over rows of what `terms` gives for each batch: the sum over its rows and what that is to be divided by, the
/// number of rows or their weight.
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::train::metrics::{self, Metric, Scored};
/// let mut bias = metrics::custom("bias", |scored| {
///     let sum: f32 = scored.predictions.sub(scored.labels)?.values::<f32>()?.iter().sum();
///     Ok((sum.into(), scored.predictions.shape()[0] as f64))
/// });
/// let (p, y) = (Tensor::full([2], 3.0f32)?, Tensor::full([2], 1.0f32)?);
/// bias.update(&Scored::new(&p, &y))?;
/// assert_eq!((bias.name().as_str(), bias.value()), ("bias", 2.0));
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// (MXNet: `metric.CustomMetric`.)
pub fn custom<F>(name: impl Into<String>, terms: F) -> Custom<F>
where
    F: Fn(&Scored<'_>) -> Result<(f64, f64)>,
{
    Custom { name: name.into(), terms, mean: Mean::default(), larger_is_better: false }
}

/// A metric made of a closure: see [`custom()`].
#[derive(Clone)]
pub struct Custom<F> {
    name: String,
    terms: F,
    mean: Mean,
    larger_is_better: bool,
}

impl<F> Custom<F> {
    /// Says that [larger values are better](Metric::larger_is_better).
    pub fn maximized(mut self) -> Self {
        self.larger_is_better = true;
        self
    }
}

/// The name and the state.
impl<F> fmt::Debug for Custom<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).field("mean", &self.mean).finish()
    }
}

impl<F> Metric for Custom<F>
where
    F: Fn(&Scored<'_>) -> Result<(f64, f64)>,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let (total, weight) = (self.terms)(scored).map_err(|e| e.operator(&self.name))?;
        self.mean.add_total(total, weight);
        Ok(())
    }

    fn value(&self) -> f64 {
        self.mean.value()
    }

    fn reset(&mut self) {
        self.mean = Mean::default();
    }

    fn larger_is_better(&self) -> bool {
        self.larger_is_better
    }
}
