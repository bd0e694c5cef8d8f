//! Automatic differentiation over dense, CSR and row-sparse tensors.

#[cfg(feature = "data")]
pub mod data;
mod error;
mod kernels;
mod tensor;

pub use error::{Error, ErrorKind, Result};
pub use tensor::{
    Buffer, Columns, CsrView, DType, DenseView, Element, Pattern, Real, RowSparseView, Shape,
    Slice, Stype, Tensor, Type, Values, View,
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
