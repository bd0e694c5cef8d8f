//! Operators. One file each, or a tight family, and one word in the list below.
//!
//! # Adding an operator
//!
//! One file, one word in `ops!` below (it registers the operator for loading, tests it and prints its
//! table) and a line in `methods!`, which makes it a method of [`Var`](crate::Var) and
//! [`Tensor`]. The file holds this, and no tests: the samples drive all generic ones.
//!
//! ```
//! use ndarray::ArrayD;
//! use serde::{Deserialize, Serialize};
//! use sparsetape::{Case, Grads, Op, Out, PartialShape, Real, Result, Sample, Scratch, Tensor, Var};
//! use sparsetape::{View, case, check::check_op};
//!
//! /// `double`: x + x.
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Double;
//!
//! fn double<T: Real>(_: &Double, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
//!     let y = match ins[0] {
//!         View::Csr(x) => out.csr_on::<T>(x.pattern())?,
//!         _ => out.dense::<T>(), // recycled memory
//!     };
//!     y.iter_mut().zip(ins[0].typed::<T>()?).for_each(|(y, &x)| *y = x + x);
//!     Ok(())
//! }
//!
//! impl Op for Double {
//!     const NAME: &'static str = "double";
//!
//!     /// Shapes, from operands to result and back; no values.
//!     fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
//!         ins[0].unify(out)
//!     }
//!
//!     /// A row per combination of storage types: it infers the result's and picks the kernel.
//!     fn cases(&self) -> &'static [Case<Self>] {
//!         static CASES: [Case<Double>; 2] =
//!             [case!([Default] => Default, double), case!([Csr] => Csr, double)];
//!         &CASES
//!     }
//!
//!     /// In recorded operators, so that it can be differentiated again.
//!     fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
//!         grads.give(0, || dy.tape().apply(Double, &[dy]));
//!     }
//!
//!     /// The definition, slow and obvious, that kernels are compared with.
//!     fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
//!         &ins[0] * 2.0
//!     }
//!
//!     /// Good and bad inputs.
//!     fn samples() -> Vec<Sample<Self>> {
//!         let x = ndarray::arr2(&[[0.0, 1.5], [-2.0, 0.0]]);
//!         vec![Sample::good(Double, [Tensor::from(x)])]
//!     }
//! }
//!
//! println!("{}", check_op::<Double>()?); // values, gradients, batches, threads, errors
//! # Ok::<(), sparsetape::Error>(())
//! ```
//!
//! This is what an operator outside this crate looks like too; the [guide](crate::guide::extending) records, saves and
//! loads one. An element-wise operator of this crate needs less: an expression over primitives is all
//! of it; see `unary.rs` and `arithmetic.rs`. An operator made of others is a method that calls them.
//!
//! # Storage types
//!
//! For each operator, the storage types that its kernels take, what comes out, and what comes out in
//! MXNet 1.9.1, which often falls back to dense operands ("-": it has no such operator, or was not
//! asked). Where no row takes the operands, those that must be are cast to dense, under a [`Fallback`](crate::Fallback) policy.
//! `broadcast` lists the operands that numpy's rules repeat; `..` stands for any number of operands.
//!
#![doc = include_str!("../../tests/golden/storage_tables.md")]

mod add_n;
mod arg;
mod arithmetic;
mod batch_dot;
mod broadcast_to;
mod concat;
mod dot;
mod dropout;
mod embedding;
mod embedding_bag;
mod extremum;
mod factor_sums;
mod fully_connected;
mod getnnz;
mod ids;
mod log_sum_exp;
mod loss;
pub(crate) mod map;
mod norm;
mod one_hot;
mod output;
mod pick;
mod reduce;
mod retain;
mod rows_of;
mod sampled_dot;
mod select;
mod shape;
mod size_of;
mod slice;
mod softmax;
mod square_sum;
mod stop_gradient;
mod straight_through;
mod take;
mod top_k;
mod transpose;
mod unary;

pub use add_n::AddN;
pub use arg::ArgMax;
pub use batch_dot::BatchDot;
pub use broadcast_to::BroadcastTo;
pub use concat::{Concat, ConcatGrad, ConcatPart};
pub(crate) use dot::MAX_OTHERS;
pub use dot::{Dot, DotMap};
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use embedding_bag::{BagReduction, Bags, BagsGrad, EmbeddingBag};
pub use extremum::{Extremum, Ties};
pub use factor_sums::{FactorSums, FactorSumsGrad};
pub use getnnz::GetNnz;
pub use ids::{IdsInRange, OutOfRange};
pub use log_sum_exp::LogSumExp;
pub use loss::{CheckLabels, CheckWeights, Loss};
pub use map::Map;
pub use norm::{Norm, NormOrder};
pub use one_hot::{OneHot, OneHotLike};
pub use output::{
    Count, MakeLoss, Normalization, PerCount, Regression, RegressionOutput, SoftmaxLayout,
    SoftmaxOutput, SoftmaxResidual,
};
pub use pick::{Pick, PickGrad};
pub use reduce::Sum;
pub use retain::Retain;
pub use rows_of::RowsOf;
pub use sampled_dot::SampledDot;
pub use shape::Reshape;
pub use size_of::SizeOf;
pub use slice::{SliceAxes, SliceGrad, SliceRange};
pub use softmax::LogSoftmax;
pub use square_sum::{SquareSum, SquareSumGrad};
pub use stop_gradient::StopGradient;
pub use straight_through::StraightThrough;
pub use take::{Take, TakeGrad};
pub use top_k::TopK;
pub use transpose::Transpose;

pub use crate::tape::structural::{
    Accumulate, Axes, BroadcastLike, Cast, CastStorage, OnesLike, Project, Reduction, SumLike,
    ZerosLike,
};

use crate::tape::op::Sample;
use crate::tape::{Op, OpRef, Registry};
use crate::tensor::Tensor;

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

        /// Runs [`check_patterns`](crate::check::check_patterns) for every operator of this crate:
        /// how many cases it took, or what it finds, by operator.
        #[cfg(feature = "proptest")]
        pub fn check_all_patterns(cases: u32) -> Vec<(&'static str, crate::Result<usize>)> {
            vec![$((<$op as crate::Op>::NAME, crate::check::check_patterns::<$op>(cases))),*]
        }

        /// The good [samples](crate::Op::samples) of every operator of this crate: operators with dense
        /// operands.
        ///
        /// ```
        /// let samples = sparsetape::ops::all_samples();
        /// assert!(samples.iter().any(|(op, inputs)| op.name() == "dot" && inputs.len() == 2));
        /// ```
        pub fn all_samples() -> Vec<(OpRef, Vec<Tensor>)> {
            let mut all = Vec::new();
            $(all.extend(good::<$op>());)*
            all
        }

        /// The [wide samples](crate::check::wide_samples) of every operator of this crate.
        pub fn all_wide_samples(size: usize) -> Vec<crate::check::Wide> {
            let mut all = Vec::new();
            $(all.extend(crate::check::wide_samples::<$op>(size));)*
            all
        }

        /// All [repeated runs](crate::check::repeated) of every operator of this crate.
        pub fn all_repeated() -> Vec<crate::check::Repeated> {
            let mut all = Vec::new();
            $(all.extend(crate::check::repeated::<$op>());)*
            all
        }

        /// The [sparse rows](crate::check::sparse_rows) of every operator of this crate.
        pub fn all_sparse_rows() -> Vec<(&'static str, Vec<Vec<crate::Stype>>)> {
            vec![$((<$op as crate::Op>::NAME, crate::check::sparse_rows::<$op>())),*]
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
            text.push_str("## Denser than in MXNet\n\n");
            $(crate::check::write_denser::<$op>(&mut text);)*
            text
        }
    };
}

ops! {
    Accumulate, AddN, ArgMax, Bags, BagsGrad, BatchDot, BroadcastLike, BroadcastTo, Cast,
    CastStorage, CheckLabels, CheckWeights, Concat, ConcatGrad, ConcatPart, Dot, DotMap, Dropout,
    Extremum, FactorSums, FactorSumsGrad, GetNnz, IdsInRange, LogSoftmax, LogSumExp, MakeLoss, Map, Norm, OneHot, OneHotLike, OnesLike, PerCount,
    Pick, PickGrad, Project, RegressionOutput, Reshape, Retain, RowsOf, SampledDot, SizeOf, SliceAxes,
    SliceGrad, SoftmaxOutput, SoftmaxResidual, SquareSum, SquareSumGrad, StopGradient, StraightThrough, Sum, SumLike, Take,
    TakeGrad, Ties, TopK, Transpose, ZerosLike,
}

fn good<O: Op>() -> impl Iterator<Item = (OpRef, Vec<Tensor>)> {
    let good = O::samples().into_iter().filter(|sample| sample.error.is_none());
    good.map(|sample| (sample.op.into(), sample.inputs))
}

/// Samples of the element-wise family: every named operator.
fn map_samples() -> Vec<Sample<Map>> {
    let mut samples = unary::samples();
    samples.extend(arithmetic::samples());
    samples.extend(select::samples());
    samples.extend(loss::samples());
    samples
}
