//! Clipping by the norm of all gradients together.

use crate::error::Result;
use crate::kernels::reduce::sum;
use crate::tape::{Gradients, Params};
use crate::tensor::Slice;

/// Scales the parameters' gradients so that their norm, √Σ g² over all of them, is at most
/// `max_norm`; returns the norm before. Gradients keep their storage types: rows of a row-sparse
/// gradient are unique, so its norm is that of its stored values.
///
/// ```
/// use sparsetape::{Parameter, Params, Tape, Tensor, optim};
/// let w = Parameter::new("w", Tensor::dense([2], vec![3.0f64, 4.0])?)?;
/// let tape = Tape::new();
/// let mut gradients = tape.parameter(&w).square().mul_scalar(0.5).sum().backward()?;
/// let norm = optim::clip_global_norm(&Params::new([&w])?, &mut gradients, 1.0)?;
/// assert_eq!(norm, 5.0);
/// let clipped = gradients.of(&w).unwrap().values::<f64>()?;
/// assert!((clipped[0] - 0.6).abs() < 1e-15 && (clipped[1] - 0.8).abs() < 1e-15);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::DType`](crate::ErrorKind::DType) for an integer gradient that [`Gradients::set`] put
/// there.
pub fn clip_global_norm(params: &Params, gradients: &mut Gradients, max_norm: f64) -> Result<f64> {
    let squares = params.iter().filter_map(|p| gradients.of(p)).map(|g| {
        let squares: Vec<f64> = match g.view().values() {
            Slice::F32(v) => v.iter().map(|&x| f64::from(x) * f64::from(x)).collect(),
            Slice::F64(v) => v.iter().map(|&x| x * x).collect(),
            Slice::I64(_) => Vec::new(),
        };
        sum(&squares)
    });
    let norm = squares.sum::<f64>().sqrt();
    if norm > max_norm {
        for parameter in params {
            if let Some(clipped) = gradients.of(parameter).map(|g| g.mul_scalar(max_norm / norm)) {
                gradients.set(parameter, clipped?);
            }
        }
    }
    Ok(norm)
}
