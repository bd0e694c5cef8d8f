//! Whether positive rows score higher.

use super::sum::Sum;
use super::{Metric, Scored};
use crate::error::Result;

/// The area under the receiver operating characteristic: the probability that a row of label 1 scores higher than one
/// of label 0, where a tie counts half. Exact, not from a histogram: Mann and Whitney's U over the number of pairs.
///
/// Predictions are scores of any scale, `(rows,)`, `(rows, 1)`, or the second of two columns; labels are 0 or 1. NaN
/// while all labels are the same.
///
/// It keeps 16 bytes for each row of positive weight; [`value`](Metric::value) sorts a copy of them.
///
/// ```
/// use sparsetape::Tensor;
/// use sparsetape::train::metrics::{Auc, Metric, Scored};
/// let mut auc = Auc::new();
/// let scores = Tensor::dense([4], vec![0.1f32, 0.4, 0.4, 0.8])?;
/// auc.update(&Scored::new(&scores, &Tensor::dense([4], vec![0i64, 0, 1, 1])?))?;
/// assert_eq!(auc.value(), 3.5 / 4.0);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// Besides [those of all metrics](super#errors): [`ErrorKind::Value`](crate::ErrorKind::Value) for a label that is
/// not 0 or 1.
#[derive(Clone, Debug, Default)]
pub struct Auc {
    rows: Vec<Row>,
}

/// Score and weight of a row; the weight of label 0 is below 0.
#[derive(Clone, Copy, Debug)]
struct Row(f64, f64);

impl Auc {
    /// Of no rows yet.
    pub fn new() -> Self {
        Auc::default()
    }
}

impl Metric for Auc {
    fn name(&self) -> String {
        "auc".into()
    }

    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let rows = scored.binary().map_err(|e| scored.refused_by(self, e))?;
        self.rows.extend(rows.counted().map(|row| {
            let sign = 2.0 * rows.label(row) - 1.0;
            Row(rows.positive(row), sign * rows.weight(row))
        }));
        Ok(())
    }

    fn value(&self) -> f64 {
        let mut rows = self.rows.clone();
        // By weight too: the sums do not depend on the order that rows came in. Zeros tie whatever their sign.
        rows.sort_unstable_by(|a, b| (a.0 + 0.0).total_cmp(&(b.0 + 0.0)).then(a.1.total_cmp(&b.1)));
        let (mut pairs, mut positive, mut negative) =
            (Sum::default(), Sum::default(), Sum::default());
        for tied in rows.chunk_by(|a, b| a.0 == b.0) {
            let below = negative.value();
            let mut own = Sum::default();
            for &Row(_, weight) in tied {
                let sum = if weight > 0.0 { &mut own } else { &mut negative };
                sum.add(weight.abs());
            }
            pairs.add(own.value() * (below + 0.5 * (negative.value() - below)));
            positive.add(own.value());
        }
        pairs.value() / (positive.value() * negative.value())
    }

    fn reset(&mut self) {
        self.rows.clear();
    }

    fn larger_is_better(&self) -> bool {
        true
    }
}
