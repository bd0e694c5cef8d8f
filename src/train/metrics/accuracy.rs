//! How many rows are put into their class.

use super::decision::Decision;
use super::sum::Mean;
use super::{Metric, Scored};
use crate::error::{Error, ErrorKind, Result};

/// The share of rows that are put into their class.
///
/// With one column of predictions, `(rows,)` or `(rows, 1)`, class 1 is chosen where the prediction exceeds
/// the [threshold](Accuracy::threshold), 0.5; with more, `(rows, classes)`, the class of the largest, the first of
/// equal ones. Labels are numbers of classes, floats or i64. (MXNet: `metric.Accuracy`.)
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::train::metrics::{Accuracy, Metric, Scored};
/// let mut accuracy = Accuracy::new();
/// let scores = Tensor::dense([2, 3], vec![0.1f32, 0.7, 0.2, 0.4, 0.3, 0.3])?;
/// accuracy.update(&Scored::new(&scores, &Tensor::dense([2], vec![1i64, 2])?))?;
/// assert_eq!(accuracy.value(), 0.5);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// Besides [those of all metrics](super#errors): [`ErrorKind::Index`] for a label that is none of the classes,
/// [`ErrorKind::Value`] for one that is no whole number, or a threshold where there are more than two classes.
#[derive(Clone, Debug, Default)]
pub struct Accuracy {
    decision: Decision,
    mean: Mean,
}

impl Accuracy {
    /// Of no rows yet.
    pub fn new() -> Self {
        Accuracy::default()
    }

    /// The finite number that the prediction must exceed for class 1, of two columns the second: 0 for logits,
    /// say. Numbers that no prediction exceeds, or all do, are no error.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.decision.threshold = Some(threshold);
        self
    }
}

impl Metric for Accuracy {
    fn name(&self) -> String {
        "accuracy".into()
    }

    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let rows = scored.classes().map_err(|e| scored.refused_by(self, e))?;
        self.decision.check(&rows).map_err(|e| scored.refused_by(self, e))?;
        for row in rows.counted() {
            let hit = self.decision.class(&rows, row) == rows.class(row);
            self.mean.add(f64::from(hit), rows.weight(row));
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.mean.value()
    }

    fn reset(&mut self) {
        self.mean = Mean::default();
    }

    fn larger_is_better(&self) -> bool {
        true
    }
}

/// The share of rows whose class is among the `k` of the largest scores.
///
/// Predictions are `(rows, classes)`, labels numbers of classes. Of equal scores the first comes first. With
/// k = 1 it is the [accuracy](Accuracy). (MXNet: `metric.TopKAccuracy`.)
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::train::metrics::{Metric, Scored, TopKAccuracy};
/// let mut top = TopKAccuracy::new(2);
/// let scores = Tensor::dense([2, 3], vec![0.1f32, 0.7, 0.2, 0.4, 0.3, 0.3])?;
/// top.update(&Scored::new(&scores, &Tensor::dense([2], vec![2i64, 2])?))?;
/// assert_eq!((top.name().as_str(), top.value()), ("top-2-accuracy", 0.5));
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// Besides [those of all metrics](super#errors): [`ErrorKind::Value`] unless `k` is between 1 and the number of
/// classes, or for a label that is no whole number; [`ErrorKind::Index`] for one that is none of the classes.
#[derive(Clone, Debug)]
pub struct TopKAccuracy {
    k: usize,
    mean: Mean,
}

impl TopKAccuracy {
    /// Among the first `k` classes; of no rows yet.
    pub fn new(k: usize) -> Self {
        TopKAccuracy { k, mean: Mean::default() }
    }
}

impl Metric for TopKAccuracy {
    fn name(&self) -> String {
        format!("top-{}-accuracy", self.k)
    }

    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let rows = scored.classes().map_err(|e| scored.refused_by(self, e))?;
        if rows.columns < 2 || !(1..=rows.columns).contains(&self.k) {
            let message = format!("the {} best of {} columns of predictions", self.k, rows.columns);
            let error = Error::new(ErrorKind::Value, message);
            return Err(scored.refused_by(self, error));
        }
        for row in rows.counted() {
            let hit = rows.rank(row, rows.class(row)) < self.k;
            self.mean.add(f64::from(hit), rows.weight(row));
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.mean.value()
    }

    fn reset(&mut self) {
        self.mean = Mean::default();
    }

    fn larger_is_better(&self) -> bool {
        true
    }
}
