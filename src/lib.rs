//! Automatic differentiation over dense, CSR and row-sparse tensors.

mod error;
mod kernels;
mod tensor;

pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "random")]
pub use tensor::random;
#[cfg(feature = "proptest")]
pub use tensor::strategies;
pub use tensor::{
    Buffer, Columns, CsrView, DType, DenseView, Difference, Element, Pattern, Real, RowSparseView,
    Shape, Slice, Stype, Tensor, Type, Values, View, assert_close,
};

/// What to do when an operator has no table row for its operands' storage types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Make operands dense without a word.
    Allow,
    /// Make operands dense and say so, once per source line.
    #[default]
    Warn,
    /// Return an error.
    Deny,
}
