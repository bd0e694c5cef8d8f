//! Outputs of MXNet: results with a gradient of their own, that of a loss, whatever the head
//! cotangent ([`Gradient::Loss`](crate::Gradient::Loss)). `backward()` starts at them directly.

mod along;
mod make_loss;
mod per_count;
mod regression;
mod softmax;
mod softmax_residual;

pub use make_loss::MakeLoss;
pub use per_count::{Count, PerCount};
pub use regression::{Regression, RegressionOutput};
pub use softmax::{SoftmaxLayout, SoftmaxOutput};
pub use softmax_residual::SoftmaxResidual;

use serde::{Deserialize, Serialize};

/// What the gradient of an output is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Nothing. (MXNet: `null`.)
    #[default]
    None,
    /// The number of samples.
    Batch,
    /// The number of valid ones: labels that are not ignored, or values above a threshold.
    Valid,
}
