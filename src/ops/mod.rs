//! Operators. One file each, or a tight family, and one word in the list below.
//!
//! # Adding an operator
//!
//! 1. A struct with the operator's parameters, which derives `Clone, Debug, Serialize, Deserialize`.
//! 2. [`Op`](crate::Op) for it: [`refine`](crate::Op::refine) (shapes), [`cases`](crate::Op::cases)
//!    (a row and a kernel per combination of storage types), [`vjp`](crate::Op::vjp) (written with
//!    recorded operators), [`mimic`](crate::Op::mimic) (the slow definition) and
//!    [`samples`](crate::Op::samples).
//! 3. Its name in `ops!` below: that registers it for loading, tests it
//!    ([`check_op`](crate::check::check_op)) and prints its table. A line in `methods!` makes it a
//!    method of [`Var`](crate::Var) and [`Tensor`](crate::Tensor).
//!
//! An element-wise operator needs less: an expression over primitives is all of it; see `unary.rs`
//! and `arithmetic.rs`. `tests/custom_op.rs` holds a complete operator from outside the crate.
//!
//! # Storage types
//!
//! For each operator, the storage types that its kernels take, and what comes out. Where no row takes
//! the operands, those that must be are cast to dense, under a [`Fallback`](crate::Fallback) policy.
//!
#![doc = include_str!("../../tests/golden/storage_tables.md")]

mod arithmetic;
mod dot;
mod dropout;
mod extremum;
mod fully_connected;
mod log_sum_exp;
mod loss;
pub(crate) mod map;
mod norm;
mod output;
mod pick;
mod reduce;
mod rows_of;
mod sampled_dot;
mod shape;
mod softmax;
mod stop_gradient;
mod take;
mod unary;

pub use dot::Dot;
pub use dropout::Dropout;
pub use extremum::{Extremum, Ties};
pub use log_sum_exp::LogSumExp;
pub use loss::{CheckLabels, Loss};
pub use map::Map;
pub use norm::{Norm, NormOrder};
pub use output::{
    Count, MakeLoss, Normalization, PerCount, Regression, RegressionOutput, SoftmaxLayout,
    SoftmaxOutput, SoftmaxResidual,
};
pub use pick::{OneHotLike, Pick};
pub use reduce::Sum;
pub use rows_of::RowsOf;
pub use sampled_dot::SampledDot;
pub use shape::Reshape;
pub use softmax::LogSoftmax;
pub use stop_gradient::StopGradient;
pub use take::{Take, TakeGrad};

pub use crate::tape::structural::{
    Accumulate, Axes, BroadcastLike, Cast, CastStorage, OnesLike, Project, Reduction, SumLike,
    ZerosLike,
};

use crate::tape::Registry;
use crate::tape::op::Sample;

/// Everything that follows from the list of operators.
macro_rules! ops {
    ($($op:ident),* $(,)?) => {
        impl Registry {
            /// All operators of this crate.
            pub fn standard() -> Registry {
                let mut registry = Registry::new();
                $(registry.add::<$op>();)*
                registry
            }
        }

        /// Runs [`check_op`](crate::check::check_op) for every operator of this crate; what it finds,
        /// by operator.
        ///
        /// ```no_run
        /// for (name, result) in sparsetape::ops::check_all() {
        ///     println!("{name}: {result:?}");
        /// }
        /// ```
        pub fn check_all() -> Vec<(&'static str, crate::Result<crate::check::Checked>)> {
            vec![$((<$op as crate::Op>::NAME, crate::check::check_op::<$op>())),*]
        }

        /// The storage table of every operator, as printed in the documentation.
        ///
        /// ```
        /// let tables = sparsetape::ops::storage_tables();
        /// assert!(tables.contains("csr, default"));
        /// ```
        pub fn storage_tables() -> String {
            let mut text = String::new();
            $(crate::check::write_table::<$op>(&mut text);)*
            text
        }
    };
}

ops! {
    Accumulate, BroadcastLike, Cast, CastStorage, CheckLabels, Dot, Dropout, Extremum, LogSoftmax,
    LogSumExp, MakeLoss, Map, Norm, OneHotLike, OnesLike, PerCount, Pick, Project, RegressionOutput,
    Reshape, RowsOf, SampledDot, SoftmaxOutput, SoftmaxResidual, StopGradient, Sum, SumLike, Take,
    TakeGrad, Ties, ZerosLike,
}

/// Samples of the element-wise family: every named operator.
fn map_samples() -> Vec<Sample<Map>> {
    let mut samples = unary::samples();
    samples.extend(arithmetic::samples());
    samples.extend(loss::samples());
    samples
}
