//! Clipping by the norm of all gradients together.

use std::panic::Location;

use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Gradients, Params};
use crate::tensor::{Element, Slice, Tensor};

/// Scales the parameters' gradients so that their norm, √Σ g² over all of them, is at most
/// `max_norm`; returns the norm before. Gradients keep their storage types: rows of a row-sparse
/// gradient are unique, so its norm is that of its stored values. It is the norm before an optimizer's `rescale_grad`.
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
/// [`ErrorKind::Value`] unless `max_norm` is positive; [`ErrorKind::NonFinite`] if the norm is
/// infinite or NaN, which no scaling mends.
#[track_caller]
pub fn clip_global_norm(params: &Params, gradients: &mut Gradients, max_norm: f64) -> Result<f64> {
    let at = Location::caller();
    let fault = |kind, message| Err(Error::new(kind, message).operator("clip_global_norm").at(at));
    if max_norm.is_nan() || max_norm <= 0.0 {
        return fault(ErrorKind::Value, format!("max_norm is {max_norm}, but must be positive"));
    }
    let squares = params.iter().filter_map(|p| gradients.of(p)).map(sum_of_squares);
    let norm = squares.sum::<f64>().sqrt();
    if !norm.is_finite() {
        return fault(ErrorKind::NonFinite, format!("the norm of the gradients is {norm}"));
    }
    if norm > max_norm {
        for parameter in params {
            if let Some(clipped) = gradients.of(parameter).map(|g| g.mul_scalar(max_norm / norm)) {
                gradients.set(parameter, clipped?);
            }
        }
    }
    Ok(norm)
}

/// In f64, in chunks: nothing of the gradient's size is allocated.
fn sum_of_squares(gradient: &Tensor) -> f64 {
    fn of<T: Element>(values: &[T]) -> f64 {
        let chunk = |part: &[T]| part.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
        values.chunks(1024).map(chunk).sum()
    }
    match gradient.view().values() {
        Slice::F32(v) => of(v),
        Slice::F64(v) => of(v),
        Slice::I64(v) => of(v),
    }
}
