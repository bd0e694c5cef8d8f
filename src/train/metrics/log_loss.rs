//! Losses of probabilities, and whether they are right on average.

use super::scored::Rows;
use super::sum::{Mean, Sum};
use super::{Metric, Scored};
use crate::error::Result;
use crate::kernels::elementwise::{Unary, unary};
use crate::tensor::Slice;

/// Rows whose logarithms are taken at once.
const BLOCK: usize = 256;

/// The mean of −ln p, where p is the probability predicted for a row's class: the negative log-likelihood.
///
/// With one column of predictions, `(rows,)` or `(rows, 1)`, they are the probabilities of class 1; with more,
/// `(rows, classes)`, those of each class, taken as they are: rows are not divided by their sums. Labels are numbers
/// of classes, floats or i64. A probability p counts as the nearest in [ε, 1 − ε], where ε is the machine epsilon of
/// the predictions' element type (1.2e-7 for f32, 2.2e-16 for f64), as in scikit-learn's `log_loss`. Logarithms
/// and sums are f64. (MXNet: `metric.CrossEntropy`, `metric.NegativeLogLikelihood`, with ε = 1e-12 or 1e-8.)
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::train::metrics::{LogLoss, Metric, Scored};
/// let mut loss = LogLoss::new();
/// let p = Tensor::dense([2, 1], vec![0.75f64, 0.5])?;
/// loss.update(&Scored::new(&p, &Tensor::dense([2], vec![1.0f32, 0.0])?))?;
/// assert!((loss.value() + (0.75f64.ln() + 0.5f64.ln()) / 2.0).abs() < 1e-15);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// Besides [those of all metrics](super#errors): [`ErrorKind::Value`](crate::ErrorKind::Value) for a prediction
/// outside [0, 1], or a label that is no whole number; [`ErrorKind::Index`](crate::ErrorKind::Index) for one that is
/// none of the classes.
#[derive(Clone, Debug, Default)]
pub struct LogLoss {
    mean: Mean,
}

impl LogLoss {
    /// Of no rows yet.
    pub fn new() -> Self {
        LogLoss::default()
    }
}

impl Metric for LogLoss {
    fn name(&self) -> String {
        "log-loss".into()
    }

    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let rows = scored.classes().map_err(|e| scored.refused_by(self, e))?;
        rows.check_probabilities().map_err(|e| scored.refused_by(self, e))?;
        add_losses(&rows, &mut self.mean);
        Ok(())
    }

    fn value(&self) -> f64 {
        self.mean.value()
    }

    fn reset(&mut self) {
        self.mean = Mean::default();
    }
}

fn add_losses(rows: &Rows, mean: &mut Mean) {
    let epsilon = match rows.scores {
        Slice::F32(_) => f64::from(f32::EPSILON),
        _ => f64::EPSILON,
    };
    let (mut probabilities, mut logs) = ([1.0; BLOCK], [0.0; BLOCK]);
    for start in (0..rows.len).step_by(BLOCK) {
        let block = start..rows.len.min(start + BLOCK);
        for (p, row) in probabilities.iter_mut().zip(block.clone()) {
            *p = of_own_class(rows, row).clamp(epsilon, 1.0 - epsilon);
        }
        unary(Unary::Ln, &probabilities[..block.len()], &mut logs[..block.len()]);
        for (log, row) in logs.iter().zip(block) {
            mean.add(-log, rows.weight(row));
        }
    }
}

/// The probability that is predicted for a row's class.
#[inline]
fn of_own_class(rows: &Rows, row: usize) -> f64 {
    match (rows.columns, rows.class(row)) {
        (1, 0) => 1.0 - rows.positive(row),
        (1, _) => rows.positive(row),
        (columns, class) => rows.scores.get_f64(row * columns + class),
    }
}

/// The [log-loss](LogLoss) of a binary classifier over that of the best constant prediction: the entropy of the
/// share of labels that are 1. Below 1, the classifier knows more than that share. (X. He et al., Practical lessons
/// from predicting clicks on ads at Facebook, 2014.)
///
/// Predictions are the probabilities of class 1: `(rows,)`, `(rows, 1)`, or the second of two columns, where the
/// first is that of class 0. Labels are 0 or 1, and the share is that of all rows so far. NaN while they are all the
/// same.
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::train::metrics::{Metric, NormalizedEntropy, Scored};
/// let mut entropy = NormalizedEntropy::new();
/// let p = Tensor::full([4], 0.25f64)?;
/// entropy.update(&Scored::new(&p, &Tensor::dense([4], vec![0i64, 1, 0, 0])?))?;
/// assert!((entropy.value() - 1.0).abs() < 1e-15);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// Besides [those of all metrics](super#errors): [`ErrorKind::Value`](crate::ErrorKind::Value) for a prediction
/// outside [0, 1] or a label that is not 0 or 1.
#[derive(Clone, Debug, Default)]
pub struct NormalizedEntropy {
    loss: Mean,
    labels: Mean,
}

impl NormalizedEntropy {
    /// Of no rows yet.
    pub fn new() -> Self {
        NormalizedEntropy::default()
    }
}

impl Metric for NormalizedEntropy {
    fn name(&self) -> String {
        "normalized-entropy".into()
    }

    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let rows = scored.binary().map_err(|e| scored.refused_by(self, e))?;
        rows.check_probabilities().map_err(|e| scored.refused_by(self, e))?;
        add_losses(&rows, &mut self.loss);
        for row in rows.counted() {
            self.labels.add(rows.label(row), rows.weight(row));
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        let share = self.labels.value();
        // NaN at 0 and 1: 0 ln 0.
        let entropy = -(share * libm::log(share) + (1.0 - share) * libm::log1p(-share));
        self.loss.value() / entropy
    }

    fn reset(&mut self) {
        *self = NormalizedEntropy::default();
    }
}

/// The mean prediction over the mean label of a binary classifier: 1 if its probabilities are right on average.
///
/// Predictions are the probabilities of class 1: `(rows,)`, `(rows, 1)`, or the second of two columns. Labels are 0
/// or 1. NaN while none is 1. Neither a larger nor a smaller value is better: it says nothing of which model to
/// keep.
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::train::metrics::{Calibration, Metric, Scored};
/// let mut calibration = Calibration::new();
/// let p = Tensor::dense([2], vec![0.5f32, 0.75])?;
/// calibration.update(&Scored::new(&p, &Tensor::dense([2], vec![0i64, 1])?))?;
/// assert_eq!(calibration.value(), 1.25);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// Besides [those of all metrics](super#errors): [`ErrorKind::Value`](crate::ErrorKind::Value) for a prediction
/// outside [0, 1] or a label that is not 0 or 1.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    predicted: Sum,
    positive: Sum,
}

impl Calibration {
    /// Of no rows yet.
    pub fn new() -> Self {
        Calibration::default()
    }
}

impl Metric for Calibration {
    fn name(&self) -> String {
        "calibration".into()
    }

    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let rows = scored.binary().map_err(|e| scored.refused_by(self, e))?;
        rows.check_probabilities().map_err(|e| scored.refused_by(self, e))?;
        for row in rows.counted() {
            self.predicted.add(rows.positive(row) * rows.weight(row));
            self.positive.add(rows.label(row) * rows.weight(row));
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        match self.positive.value() {
            0.0 => f64::NAN,
            positive => self.predicted.value() / positive,
        }
    }

    fn reset(&mut self) {
        *self = Calibration::default();
    }
}
