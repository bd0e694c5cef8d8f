//! Gradients of several workers become one.

use std::panic::Location;

use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Gradients, PerOperand};
use crate::tensor::Tensor;

/// The sum of these tensors of one shape, added in their order in one pass: the same order gives the
/// same bits.
///
/// Row-sparse parts give a row-sparse sum, whose rows are all of theirs, zero or not; parts without rows are
/// legal. Csr parts give a csr sum, csr and row-sparse ones a row-sparse sum; with a dense part the sum is dense. A
/// single part is the sum itself, not a copy.
///
/// ```
/// use sparsetape::{DType, Stype, Tensor, optim};
/// let shape = [1_000_000_000, 2];
/// let x = Tensor::row_sparse(shape, vec![3, 70], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// let y = Tensor::row_sparse(shape, vec![70, 900_000_000], vec![5.0f32, 6.0, 7.0, 8.0])?;
/// let sum = optim::merge(&[&x, &Tensor::zeros(Stype::RowSparse, shape, DType::F32)?, &y])?;
/// assert_eq!(sum.rows(), Some(&[3, 70, 900_000_000][..]));
/// assert_eq!(sum.values::<f32>()?, [1.0, 2.0, 8.0, 10.0, 7.0, 8.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Shape`] without a part, or for shapes that differ;
/// [`ErrorKind::DType`] for element types that differ, and integers.
#[track_caller]
pub fn merge(parts: &[&Tensor]) -> Result<Tensor> {
    match parts {
        [one] => Ok((*one).clone()),
        _ => Tensor::add_n(parts).map_err(|error| error.within("merge")),
    }
}

impl Gradients {
    /// The sum of several workers' gradients of the same parameters, each parameter's added in the order of
    /// the workers: the same order gives the same bits, whichever worker was first.
    ///
    /// What is row-sparse stays so, with the rows that any worker touched ([`optim::merge`](merge)). A
    /// worker without a gradient for a parameter, or with one without rows, adds nothing. Gradients of leaves
    /// ([`Gradients::wrt`]) belong to one tape each, and are left out.
    ///
    /// The sum serves an optimizer and [`clip_global_norm`](crate::optim::clip_global_norm) as any gradients do; for
    /// the mean, divide each worker's loss, or [`scale`](Gradients::scale).
    ///
    /// ```
    /// use std::thread;
    /// use sparsetape::{Gradients, Parameter, Params, Result, Tape, Tensor, optim::Sgd};
    /// let w = Parameter::new("w", Tensor::full([1_000_000, 1], 0.5f32)?)?;
    /// let gradients = |x: &Tensor| {
    ///     let tape = Tape::new();
    ///     tape.constant(x.clone()).dot(tape.parameter(&w)).square().sum().backward()
    /// };
    ///
    /// // Two workers, each with a tape of its own, for half of the batch each.
    /// let batch = [[(3, 1.0f32)], [(70, 2.0)], [(3, 4.0)], [(9, 8.0)]];
    /// let halves = batch.chunks(2).map(|rows| Tensor::from_rows(1_000_000, rows));
    /// let halves = halves.collect::<Result<Vec<_>>>()?;
    /// let workers = thread::scope(|scope| {
    ///     let started = halves.iter().map(|half| scope.spawn(|| gradients(half)));
    ///     let started: Vec<_> = started.collect();
    ///     started.into_iter().map(|worker| worker.join().unwrap()).collect::<Result<Vec<_>>>()
    /// })?;
    /// let reduced = Gradients::reduce(&workers)?;
    ///
    /// let whole = gradients(&Tensor::from_rows(1_000_000, &batch)?)?;
    /// assert_eq!(reduced.of(&w).unwrap().rows(), Some(&[3, 9, 70][..]));
    /// assert!(reduced.of(&w).unwrap().same_bits(whole.of(&w).unwrap()));
    /// Sgd::new(0.1).step(&Params::new([&w])?, &reduced)?;
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`optim::merge`](merge), naming the parameter whose gradients do not fit together.
    #[doc(alias = "all_reduce")]
    #[track_caller]
    pub fn reduce(parts: &[Gradients]) -> Result<Gradients> {
        let at = Location::caller();
        let mut reduced = Gradients::default();
        for (parameter, _) in parts.iter().flat_map(Gradients::iter) {
            if reduced.of(parameter).is_some() {
                continue;
            }
            let own: PerOperand<&Tensor> =
                parts.iter().filter_map(|part| part.of(parameter)).collect();
            let sum = merge(&own).map_err(|error| {
                let message = format!("gradients of {:?}: {}", parameter.name(), error.message());
                let types = own.iter().map(|gradient| gradient.ty());
                Error::new(error.kind(), message).operator("reduce").operands(types).at(at)
            })?;
            reduced.set(parameter, sum);
        }
        Ok(reduced)
    }

    /// All parameters' gradients times a factor, say one over the number of workers; each keeps its storage
    /// type and rows.
    ///
    /// ```
    /// use sparsetape::{Parameter, Tape, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(3.0f64))?;
    /// let mut gradients = Tape::new().parameter(&w).square().backward()?;
    /// gradients.scale(0.25)?;
    /// assert_eq!(gradients.of(&w).unwrap().item::<f64>()?, 1.5);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Value`] for a factor that is not finite; nothing is scaled then.
    #[track_caller]
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        if !factor.is_finite() {
            let message = format!("the factor is {factor}");
            return Err(Error::new(ErrorKind::Value, message).operator("scale"));
        }
        let scaled = self.iter().map(|(_, gradient)| gradient.mul_scalar(factor));
        let scaled = scaled.collect::<Result<Vec<_>>>()?;
        self.tensors_mut().zip(scaled).for_each(|(gradient, scaled)| *gradient = scaled);
        Ok(())
    }
}
