//! Errors of predicted numbers.

use super::scored::Rows;
use super::sum::{Mean, Sum};
use super::{Metric, Scored};
use crate::error::Result;

macro_rules! regression {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $error:expr, $value:expr;)*) => { $(
        $(#[$doc])*
        ///
        /// Labels have the shape of the predictions, of which there may be several per row; `(rows,)` fits
        /// `(rows, 1)`. A row's weight counts for all of its predictions.
        ///
        /// # Errors
        /// Besides [those of all metrics](super#errors): [`ErrorKind::NonFinite`](crate::ErrorKind::NonFinite) for
        /// a label that is NaN or infinite.
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            mean: Mean,
        }

        impl $name {
            /// Of no rows yet.
            pub fn new() -> Self {
                $name::default()
            }
        }

        impl Metric for $name {
            fn name(&self) -> String {
                $text.into()
            }

            fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
                let rows = scored.regression().map_err(|e| scored.refused_by(self, e))?;
                add_errors(&rows, &mut self.mean, $error);
                Ok(())
            }

            fn value(&self) -> f64 {
                $value(self.mean.value())
            }

            fn reset(&mut self) {
                self.mean = Mean::default();
            }
        }
    )* };
}

regression! {
    /// The mean squared error. (MXNet: `metric.MSE`.)
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// use sparsetape::train::metrics::{Metric, Mse, Scored};
    /// let mut mse = Mse::new();
    /// let p = Tensor::dense([2, 1], vec![1.0f32, 5.0])?;
    /// mse.update(&Scored::new(&p, &Tensor::dense([2], vec![1.0f32, 2.0])?))?;
    /// assert_eq!(mse.value(), 4.5);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    Mse = "mse", |e| e * e, std::convert::identity;

    /// The square root of the [mean squared error](Mse) of all predictions. (MXNet's `metric.RMSE` averages the
    /// roots of batches; scikit-learn averages those of the columns.)
    Rmse = "rmse", |e| e * e, f64::sqrt;

    /// The mean absolute error. (MXNet: `metric.MAE`.)
    Mae = "mae", f64::abs, std::convert::identity;
}

fn add_errors(rows: &Rows, mean: &mut Mean, error: impl Fn(f64) -> f64) {
    for row in rows.counted() {
        let mut sum = Sum::default();
        for i in row * rows.columns..(row + 1) * rows.columns {
            sum.add(error(rows.scores.get_f64(i) - rows.label(i)));
        }
        let weight = rows.weight(row);
        mean.add_total(sum.value() * weight, rows.columns as f64 * weight);
    }
}
