//! What training reads batches from.

use super::batches::Batch;
use crate::error::Result;

/// The batches of an epoch; none after the first error.
pub type BatchIter<'a> = Box<dyn Iterator<Item = Result<Batch>> + Send + 'a>;

/// Batches for any number of epochs, from wherever they come: what [training](crate::train) reads.
///
/// [`Batches`](super::Batches) are such a source, in memory. A program's own may draw its batches:
///
/// ```
/// use sparsetape::data::{BatchIter, BatchSource, Dataset};
/// use sparsetape::{Result, Tensor};
///
/// struct Drawn;
///
/// impl BatchSource for Drawn {
///     fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>> {
///         let batch = move |i: usize| {
///             let x = Tensor::full([4, 1], (epoch * 100 + i as u64) as f32)?;
///             let y = Tensor::full([4], 1.0f32)?;
///             Ok(Dataset::new(x, y)?.batches(4).build()?.epoch(0).next().expect("one batch"))
///         };
///         Ok(Box::new((skip..100).map(batch)))
///     }
/// }
///
/// assert_eq!(Drawn.read(0, 97)?.count(), 3);
/// assert_eq!(Drawn.rows(), None);
/// # Ok::<(), sparsetape::Error>(())
/// ```
pub trait BatchSource {
    /// The batches of this epoch, from the `skip`-th on: a run that was interrupted goes on in mid-epoch. The
    /// same epoch gives the same batches.
    ///
    /// # Errors
    /// Those of opening what they are read from.
    fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>>;

    /// How many rows an epoch has, if that is known before it is read; padded rows do not count.
    fn rows(&self) -> Option<usize> {
        None
    }
}

impl<S: BatchSource + ?Sized> BatchSource for &S {
    fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>> {
        (**self).read(epoch, skip)
    }

    fn rows(&self) -> Option<usize> {
        (**self).rows()
    }
}
