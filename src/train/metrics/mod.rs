//! How good predictions are, over any number of batches.
//!
//! A [`Metric`] is updated with [`Scored`] rows, batch by batch, and has a value at any time:
//!
//! ```
//! use sparsetape::Tensor;
//! use sparsetape::train::metrics::{Auc, LogLoss, Metric, Scored};
//!
//! let mut metrics: Vec<Box<dyn Metric>> = vec![Box::new(LogLoss::new()), Box::new(Auc::new())];
//! for (p, y) in [([0.9f32, 0.2], [1.0f32, 0.0]), ([0.4, 0.4], [0.0, 1.0])] {
//!     let (p, y) = (Tensor::dense([2, 1], p.to_vec())?, Tensor::dense([2], y.to_vec())?);
//!     for metric in &mut metrics {
//!         metric.update(&Scored::new(&p, &y))?;
//!     }
//! }
//! let values: Vec<String> = metrics.iter().map(|m| format!("{} {:.3}", m.name(), m.value())).collect();
//! assert_eq!(values, ["log-loss 0.439", "auc 0.875"]);
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! | metric | of | labels | kept between batches |
//! |---|---|---|---|
//! | [`Accuracy`], [`TopKAccuracy`], [`LogLoss`] | one or more classes | numbers of classes | two sums |
//! | [`Precision`], [`Recall`], [`F1`] | one or more classes | numbers of classes | three sums a class |
//! | [`NormalizedEntropy`], [`Calibration`] | probabilities | 0 or 1 | a few sums |
//! | [`Auc`] | scores | 0 or 1 | 16 bytes a row |
//! | [`Mse`], [`Rmse`], [`Mae`] | numbers | numbers | two sums |
//! | [`RecallAtK`], [`NdcgAtK`] | scores, by query | relevances | 32 bytes a row |
//! | [`custom()`] | anything | anything | two sums |
//!
//! Predictions are `(rows,)` or `(rows, 1)`; those of classes also `(rows, classes)`, where in binary metrics the
//! second of two columns is the positive class's. They are what the model says of each row, f32 or f64: probabilities
//! where a metric says so, else any scores. Labels are f32, f64 or i64, `(rows,)` or `(rows, 1)`; each may have its own
//! shape and element type. Every row counts by its [weight](Scored::weights).
//!
//! A value does not depend on how rows are cut into batches, nor on their order, as far as f64 can tell: sums are
//! kept in twice its precision. It is that of all rows since the last [`reset`](Metric::reset), not a mean
//! over batches. (MXNet's `RMSE` and `F1` average over batches.) No metric allocates in an update, but those that
//! keep rows.
//!
//! # Errors
//!
//! An update with bad rows is an error, which names the first of them, and the metric stays as it was:
//! [`ErrorKind::NonFinite`](crate::ErrorKind::NonFinite) for a prediction that is NaN or infinite (a model that has
//! diverged has no score; none is made up); [`ErrorKind::Value`](crate::ErrorKind::Value) for a weight that is not
//! finite or below 0; [`ErrorKind::Shape`](crate::ErrorKind::Shape) for shapes that do not fit,
//! [`ErrorKind::Stype`](crate::ErrorKind::Stype) for tensors that are not dense, [`ErrorKind::DType`](crate::ErrorKind::DType)
//! for predictions of i64.
//!
//! # A metric of one's own
//!
//! One that is a mean over rows is a closure: [`custom()`]. Any other implements [`Metric`]:
//!
//! ```
//! use sparsetape::train::metrics::{Metric, Scored};
//! use sparsetape::{Result, Tensor};
//!
//! /// The largest error of any row.
//! #[derive(Default)]
//! struct LargestError(Option<f32>);
//!
//! impl Metric for LargestError {
//!     fn name(&self) -> String {
//!         "largest-error".into()
//!     }
//!
//!     fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
//!         let errors = scored.predictions.sub(scored.labels)?.abs()?;
//!         let largest = errors.values::<f32>()?.iter().copied().fold(self.0.unwrap_or(0.0), f32::max);
//!         self.0 = Some(largest);
//!         Ok(())
//!     }
//!
//!     fn value(&self) -> f64 {
//!         self.0.map_or(f64::NAN, f64::from)
//!     }
//!
//!     fn reset(&mut self) {
//!         self.0 = None;
//!     }
//! }
//!
//! let mut largest = LargestError::default();
//! let (p, y) = (Tensor::dense([3], vec![1.0f32, 2.5, 3.0])?, Tensor::dense([3], vec![1.0f32, 2.0, 2.0])?);
//! largest.update(&Scored::new(&p, &y))?;
//! assert_eq!(largest.value(), 1.0);
//! # Ok::<(), sparsetape::Error>(())
//! ```

mod accuracy;
mod auc;
mod custom;
mod decision;
mod log_loss;
mod precision;
mod ranking;
mod regression;
mod scored;
mod sum;

pub use accuracy::{Accuracy, TopKAccuracy};
pub use auc::Auc;
pub use custom::{Custom, custom};
pub use log_loss::{Calibration, LogLoss, NormalizedEntropy};
pub use precision::{Average, F1, Precision, Recall};
pub use ranking::{NdcgAtK, RecallAtK};
pub use regression::{Mae, Mse, Rmse};
pub use scored::Scored;

use crate::error::Result;

/// A number that says how good predictions are, over all rows since the beginning or the last
/// [`reset`](Metric::reset).
pub trait Metric {
    /// What it is called in histories: `log-loss`, `recall@10`.
    fn name(&self) -> String;

    /// Takes these rows into account.
    ///
    /// # Errors
    /// If the rows are not what the metric is of; it is as before then.
    #[track_caller]
    fn update(&mut self, scored: &Scored<'_>) -> Result<()>;

    /// The value over all rows so far; NaN before any.
    fn value(&self) -> f64;

    /// Forgets all rows.
    fn reset(&mut self);

    /// Whether the model of the larger value is the better one; if not, that of the smaller.
    fn larger_is_better(&self) -> bool {
        false
    }
}
