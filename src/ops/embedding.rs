//! Embeddings: look-ups as layers have them.

use super::ids::OutOfRange;
use super::take::operator;
use crate::error::Result;
use crate::tape::{Var, compose};
use crate::tensor::Tensor;

/// How an embedding looks up, and what gradient its table gets.
///
/// ```
/// use sparsetape::{Embedding, OutOfRange};
/// let dense = Embedding { sparse_grad: false, ..Embedding::default() };
/// assert_eq!(dense.out_of_range, OutOfRange::Error);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// Whether the gradient of a dense table is row-sparse, with exactly the ids that occur (the
    /// default), or dense. The gradient of a row-sparse table is row-sparse in any case.
    pub sparse_grad: bool,
    /// What becomes of ids out of range. (MXNet's `Embedding` clips them where the table is dense.)
    pub out_of_range: OutOfRange,
}

impl Default for Embedding {
    fn default() -> Self {
        Embedding { sparse_grad: true, out_of_range: OutOfRange::Error }
    }
}

impl<'t> Var<'t> {
    /// The embedding of these ids: [`Var::take`] with the operands as layers have them, data first.
    /// (MXNet: `Embedding` with `sparse_grad`; PyTorch: `embedding` with `sparse`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let table = tape.variable(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let ids = tape.constant(Tensor::dense([1], vec![1i64])?);
    /// assert_eq!(ids.embedding(table).value()?.values::<f32>()?, [3.0, 4.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "Embedding")]
    #[track_caller]
    pub fn embedding(self, table: Var<'t>) -> Var<'t> {
        self.embedding_with(table, Embedding::default())
    }

    /// [`Var::embedding`] with a dense gradient, or a choice for ids out of range. (MXNet: `Embedding`
    /// with `sparse_grad`.)
    ///
    /// ```
    /// use sparsetape::{Embedding, OutOfRange, Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let table = tape.variable(Tensor::dense([2, 1], vec![3.0f32, 4.0])?);
    /// let ids = tape.constant(Tensor::dense([2], vec![1i64, 9])?);
    /// let how = Embedding { sparse_grad: false, out_of_range: OutOfRange::Clip };
    /// let y = ids.embedding_with(table, how);
    /// assert_eq!(y.value()?.values::<f32>()?, [4.0, 4.0]);
    /// let gradients = y.sum().backward()?;
    /// let dense = gradients.wrt(table).unwrap();
    /// assert_eq!((dense.stype(), dense.values::<f32>()?), (Stype::Default, &[0.0, 2.0][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn embedding_with(self, table: Var<'t>, how: Embedding) -> Var<'t> {
        self.tape().composition("embedding", || {
            let ids = self.bounded_by(table, how.out_of_range);
            Var::apply(operator(!how.sparse_grad), &[table, ids])
        })
    }
}

impl Tensor {
    /// Unrecorded [`Var::embedding`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn embedding(&self, table: &Tensor) -> Result<Tensor> {
        self.embedding_with(table, Embedding::default())
    }

    /// Unrecorded [`Var::embedding_with`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn embedding_with(&self, table: &Tensor, how: Embedding) -> Result<Tensor> {
        compose([self, table], |[ids, table]| ids.embedding_with(table, how))
    }
}
