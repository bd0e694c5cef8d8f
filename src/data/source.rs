//! What training reads batches from.

use super::batches::Batch;
use super::prefetch::Prefetch;
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

    /// The same batches in the same order, read ahead by a background thread: up to this many (1 to 1024)
    /// beside the one in use. The thread ends with the iterator, which waits for the batch that is being
    /// read then; errors come in their place, and a panic goes on where the batch is asked for.
    ///
    /// ```
    /// use sparsetape::data::{BatchSource, Libsvm};
    /// let data = Libsvm::new().read_from("1 1:1\n2 1:2\n3 1:3\n".as_bytes())?;
    /// let source = data.batches(2).shuffle(7).build()?.prefetched(4);
    /// assert_eq!(source.read(0, 0)?.count(), 2);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn prefetched(self, batches: usize) -> Prefetch<Self>
    where
        Self: Sized + Send + Sync + 'static,
    {
        Prefetch::new(self, batches)
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
