//! A dense layer.

use super::arithmetic::stretching;
use crate::error::Result;
use crate::kernels::elementwise::Binary;
use crate::tape::{Var, compose};
use crate::tensor::{Stype, Tensor};

impl<'t> Var<'t> {
    /// A dense layer `x · weightᵀ + bias`: data (n, ..), of which all axes but the first are one;
    /// weight (hidden, in); bias (hidden,); result (n, hidden). (MXNet: `FullyConnected`, with
    /// `no_bias` for `None`; PyTorch: `linear`.)
    ///
    /// | data | weight | without bias | with bias |
    /// |---|---|---|---|
    /// | default | default, row_sparse | default | default |
    /// | csr | default | default | default |
    /// | row_sparse | default, row_sparse | row_sparse | default |
    ///
    /// The bias is default or row-sparse; absent rows of weight or bias are zeros. The gradient of csr
    /// data lives on its pattern, that of a row-sparse weight or bias on its rows.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([2, 3], vec![0, 1, 2], vec![0, 2], vec![2.0f32, 3.0])?);
    /// let w = tape.variable(Tensor::dense([1, 3], vec![1.0f32, 5.0, 7.0])?);
    /// let b = tape.variable(Tensor::dense([1], vec![0.5f32])?);
    /// let y = x.fully_connected(w, Some(b));
    /// assert_eq!(y.value()?.values::<f32>()?, [2.5, 21.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "FullyConnected")]
    #[doc(alias = "linear")]
    #[track_caller]
    pub fn fully_connected(self, weight: Var<'t>, bias: Option<Var<'t>>) -> Var<'t> {
        self.tape().composition("fully_connected", || {
            let x = if self.rank() == Some(2) { self } else { self.reshape(&[0, -1]) };
            let y = x.dot_with(weight, false, true);
            match bias {
                None => y,
                // Sparse operands do not broadcast: a vector as long as a row of the result.
                Some(b) if b.stype().is_ok_and(|s| s == Stype::RowSparse) => {
                    y.plus_row(b.cast_storage(Stype::Default))
                }
                Some(b) => y.plus_row(b),
            }
        })
    }

    /// The sum with a vector in each row, also where nothing is known yet of its shape.
    #[track_caller]
    fn plus_row(self, row: Var<'t>) -> Var<'t> {
        Var::apply(stretching(Binary::Add, 0b10), &[self, row])
    }
}

impl Tensor {
    /// Unrecorded [`Var::fully_connected`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn fully_connected(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        match bias {
            None => compose([self, weight], |[x, w]| x.fully_connected(w, None)),
            Some(b) => compose([self, weight, b], |[x, w, b]| x.fully_connected(w, Some(b))),
        }
    }
}
