//! From scores to a class.

use super::scored::Rows;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Slice;

/// How a row's class follows from its scores.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decision {
    /// What the positive class's score must exceed; without, it is that of the largest score, or 0.5.
    pub(super) threshold: Option<f64>,
}

impl Decision {
    #[track_caller]
    pub(super) fn check(self, rows: &Rows) -> Result<()> {
        let Some(threshold) = self.threshold else { return Ok(()) };
        if !threshold.is_finite() {
            let message = format!("the threshold is {threshold}, but must be finite");
            return Err(Error::new(ErrorKind::Value, message));
        }
        if rows.columns > 2 {
            let message =
                format!("a threshold of {threshold}, but there are {} classes", rows.columns);
            return Err(Error::new(ErrorKind::Value, message));
        }
        Ok(())
    }

    /// The threshold is rounded to the scores' type: 0.3 as f32 does not exceed 0.3.
    #[inline]
    pub(super) fn class(self, rows: &Rows, row: usize) -> usize {
        if self.threshold.is_none() && rows.columns > 1 {
            return rows.argmax(row);
        }
        let threshold = self.threshold.unwrap_or(0.5);
        let threshold = match rows.scores {
            Slice::F32(_) => f64::from(threshold as f32),
            _ => threshold,
        };
        usize::from(rows.positive(row) > threshold)
    }
}
