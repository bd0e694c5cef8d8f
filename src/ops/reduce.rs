//! Sums and means over axes.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::structural::{Axes, BroadcastLike, Reduction, reduce, sum_mimic};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Real, Tensor, View};

/// `sum` and `mean` over axes. Sparse operands are not made dense; their absent entries count as
/// zeros (in the mean's divisor too). Where the first axis stays, the result of a row-sparse operand
/// is row-sparse.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sum(Reduction);

impl Sum {
    /// The sum or mean that the reduction names.
    pub fn new(reduction: Reduction) -> Self {
        Sum(reduction)
    }
}

/// The table of a reduction: row-sparse in, row-sparse out where the first axis stays.
macro_rules! reduction_cases {
    ($op:ident, $kernel:ident, $reduction:expr) => {{
        static DENSE: [Case<$op>; 3] = [
        case!([Default] => Default, $kernel),
        case!([Csr] => Default, $kernel),
        case!([RowSparse] => Default, $kernel),
        ];
        static ROWS: [Case<$op>; 3] = [
        case!([Default] => Default, $kernel),
        case!([Csr] => Default, $kernel),
        case!([RowSparse] => RowSparse, $kernel),
        ];
        if $reduction.keeps_rows() { &ROWS } else { &DENSE }
    }};
}
pub(super) use reduction_cases;

fn over(axes: &[isize], keepdims: bool, mean: bool) -> Sum {
    Sum(Reduction { mean, ..Reduction::over(axes, keepdims) })
}

fn except(axes: &[isize], keepdims: bool, mean: bool) -> Sum {
    Sum(Reduction { axes: Axes::Except(axes.into()), keepdims, mean })
}

/// `small`, of the shape that a reduction gives, at each place that `x` stores.
pub(super) fn spread<'t>(reduction: &Reduction, small: Var<'t>, x: Var<'t>) -> Var<'t> {
    Var::apply(BroadcastLike::new(reduction.clone()), &[small, x])
}

methods! {
    /// The sum of all elements, a 0-d value. (MXNet: `sum`, of shape (1,).)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// assert_eq!(x.sum().item::<f32>()?, 10.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn sum(x) = Sum::default();
    /// The mean of all elements, a 0-d value; absent entries of a sparse operand count as zeros.
    /// (MXNet: `mean`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([2, 2], vec![0, 1, 1], vec![0], vec![8.0f32])?);
    /// assert_eq!(x.mean().item::<f32>()?, 2.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn mean(x) = Sum(Reduction { mean: true, ..Reduction::default() });
    /// Sums over `axes` (negative ones count from the last), which go or stay with size 1. A
    /// row-sparse operand gives a row-sparse result with the same rows if each of the axes is −1 or
    /// at least 1, a dense one otherwise. An empty list sums over nothing. (MXNet: `sum` with `axis`,
    /// always dense, where an empty list is all axes.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// assert_eq!(x.sum_axes(&[-1], false).value()?.values::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn sum_axes(x; axes: &[isize], keepdims: bool) = over(axes, keepdims, false);
    /// Sums over all axes but `axes`, which go or stay with size 1. A row-sparse operand gives a
    /// row-sparse result if `axes` has axis 0. (MXNet: `sum` with `exclude`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 3, 4], 1.0f32)?);
    /// assert_eq!(x.sum_except(&[1], false).value()?.values::<f32>()?, [8.0, 8.0, 8.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn sum_except(x; axes: &[isize], keepdims: bool) = except(axes, keepdims, false);
    /// Means over `axes` (negative ones count from the last), which go or stay with size 1. Storage
    /// as for [`Var::sum_axes`](crate::Var::sum_axes). (MXNet: `mean` with `axis`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// assert_eq!(x.mean_axes(&[0], false).value()?.values::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn mean_axes(x; axes: &[isize], keepdims: bool) = over(axes, keepdims, true);
    /// Means over all axes but `axes`, which go or stay with size 1. (MXNet: `mean` with `exclude`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// assert_eq!(x.mean_except(&[0], false).value()?.values::<f32>()?, [1.5, 3.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn mean_except(x; axes: &[isize], keepdims: bool) = except(axes, keepdims, true);
}

fn sum<T: Real>(op: &Sum, ins: &[View], out: &mut Out, scratch: &mut Scratch) -> Result<()> {
    reduce::<T>(&op.0, ins[0], out, scratch)
}

impl Op for Sum {
    const NAME: &'static str = "sum";

    fn label(&self) -> Cow<'_, str> {
        Cow::Borrowed(if self.0.mean { "mean" } else { "sum" })
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        self.0.refine(&mut ins[0], out)
    }

    fn variant(&self) -> Option<&'static str> {
        Some(self.0.variant())
    }

    fn cases(&self) -> &'static [Case<Self>] {
        reduction_cases!(Sum, sum, self.0)
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || spread(&self.0, dy, x[0]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let small = self.0.result(ins[0].shape()).unwrap_or_default();
        sum_mimic(&self.0, &ins[0], &small)
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| if i.is_multiple_of(3) { 0.0 } else { i as f64 - 4.5 };
        let matrix = || Tensor::from_fn([3, 4], value);
        let cube = || Tensor::from_fn([2, 3, 2], value);
        let mean = |axes: &[isize]| over(axes, false, true);
        let mut samples = vec![
            Sample::good(Sum::default(), [matrix()]),
            Sample::good(Sum::default(), [Tensor::scalar(3.0)]),
            Sample::good(Sum(Reduction { mean: true, ..Reduction::default() }), [cube()]),
            Sample::bad(over(&[2], false, false), [matrix()], ErrorKind::Index, "out of bounds"),
            Sample::bad(over(&[0, -2], false, false), [matrix()], ErrorKind::Shape, "twice"),
        ];
        for axes in [&[0][..], &[1], &[-1], &[0, 1]] {
            samples.push(Sample::good(over(axes, false, false), [matrix()]));
            samples.push(Sample::good(over(axes, true, false), [matrix()]));
            samples.push(Sample::good(mean(axes), [matrix()]));
        }
        for axes in [&[0][..], &[1], &[2], &[0, 2], &[1, 2], &[-3], &[]] {
            samples.push(Sample::good(over(axes, false, false), [cube()]));
            samples.push(Sample::good(except(axes, true, false), [cube()]));
        }
        let vector = || Tensor::from_fn([5], value);
        for keepdims in [false, true] {
            samples.push(Sample::good(over(&[0], keepdims, false), [vector()]));
            samples.push(Sample::good(over(&[-1], keepdims, false), [vector()]));
        }
        for shape in [[0, 3], [3, 0], [1, 4], [4, 1]] {
            samples.push(Sample::good(over(&[0], false, false), [Tensor::from_fn(shape, value)]));
            samples.push(Sample::good(over(&[-1], true, false), [Tensor::from_fn(shape, value)]));
        }
        samples
    }
}
