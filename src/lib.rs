//! Automatic differentiation over dense, CSR and row-sparse tensors.

pub mod check;
#[cfg(feature = "data")]
pub mod data;
mod error;
mod kernels;
pub mod ops;
pub mod optim;
mod tape;
mod tensor;

pub use error::{Error, ErrorKind, Result};
pub use ops::LossReduction;
pub use tape::{
    ByDtype, Case, Cotangent, DynOp, Fallback, GradReq, Gradient, Gradients, Grads, Ins, Kernel,
    Op, OpRef, Out, Parameter, Params, PartialShape, Read, Registry, Sample, Scratch, Surrogate,
    Tape, Var, evaluate,
};
#[cfg(feature = "random")]
pub use tensor::random;
#[cfg(feature = "proptest")]
pub use tensor::strategies;
pub use tensor::{
    Buffer, Columns, CsrView, DType, DenseView, Difference, Element, Pattern, Real, RowSparseView,
    Shape, Slice, Stype, Tensor, Type, Values, View, assert_close,
};
