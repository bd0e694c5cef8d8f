//! Norms over axes.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

use super::map::Map;
use super::map::expr::Expr;
use super::reduce::{reduction_cases, spread};
use crate::case;
use crate::error::{ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::structural::{Folding, Reduction, sum_mimic};
use crate::tape::{OpRef, Out, PartialShape, Scratch, Var, compose};
use crate::tensor::{Real, Tensor, View};

/// `norm`: √Σ x² over axes. Absent entries count as zeros; no square overflows or underflows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Norm(Reduction);

impl Norm {
    /// Over the axes that the reduction names.
    pub fn new(reduction: Reduction) -> Self {
        Norm(reduction)
    }
}

/// Which norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormOrder {
    /// Σ |x|.
    L1,
    /// √Σ x².
    #[default]
    L2,
}

methods! {
    /// The Euclidean norm √Σ x² of all elements, a 0-d value; exact for values whose squares overflow
    /// or underflow. The gradient is x/‖x‖, and 0 where the norm is 0. (MXNet: `norm`, of shape (1,),
    /// whose gradient at 0 is NaN.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([2], vec![3.0f64, 4.0])?);
    /// let y = x.norm();
    /// assert_eq!(y.item::<f64>()?, 5.0);
    /// assert_eq!(y.backward()?.wrt(x).unwrap().values::<f64>()?, [0.6, 0.8]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn norm(x) = Norm::default();
}

impl<'t> Var<'t> {
    /// Norms over `axes` (negative ones count from the last), which go or stay with size 1. Absent
    /// entries of a sparse operand count as zeros; storage as for [`Var::sum_axes`]. Gradients are
    /// sign(x) and x/‖x‖, and 0 where the norm is 0. (MXNet: `norm` with `ord` and `axis`.)
    ///
    /// ```
    /// use sparsetape::{NormOrder, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([2, 9], vec![0, 2, 2], vec![1, 7], vec![3.0f32, -4.0])?);
    /// assert_eq!(x.norm_axes(NormOrder::L2, &[1], false).value()?.values::<f32>()?, [5.0, 0.0]);
    /// assert_eq!(x.norm_axes(NormOrder::L1, &[1], false).value()?.values::<f32>()?, [7.0, 0.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn norm_axes(self, order: NormOrder, axes: &[isize], keepdims: bool) -> Var<'t> {
        match order {
            NormOrder::L1 => {
                self.tape().composition("norm", || self.abs().sum_axes(axes, keepdims))
            }
            NormOrder::L2 => Var::apply(Norm(Reduction::over(axes, keepdims)), &[self]),
        }
    }
}

impl Tensor {
    /// Unrecorded [`Var::norm_axes`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn norm_axes(&self, order: NormOrder, axes: &[isize], keepdims: bool) -> Result<Tensor> {
        compose([self], |[x]| x.norm_axes(order, axes, keepdims))
    }
}

/// dy · x/y, and 0 where y is 0.
static GRADIENT: LazyLock<Map> = LazyLock::new(|| {
    let expr = Expr::build(3, |b| {
        let (dy, x, y) = (b.input(0), b.input(1), b.input(2));
        let (one, zero) = (b.constant(1.0), b.constant(0.0));
        // Finite also where it is not selected, so that derivatives are.
        let divisor = b.select(y, y, one);
        let unit = b.div(x, divisor);
        let slope = b.mul(dy, unit);
        b.select(y, slope, zero)
    });
    Map::backward("norm_gradient", expr)
});

fn norm<T: Real>(op: &Norm, ins: &[View], out: &mut Out, scratch: &mut Scratch) -> Result<()> {
    let folding = Folding::into_result(&op.0, ins[0], out)?;
    let (x, y) = (ins[0].typed::<T>()?, folding.result::<T>(out)?);
    folding.sum_squares(x, T::one(), y, scratch);
    // Below `least` a sum may lack squares that underflow. Scaled by `up`, or down as much, neither
    // the smallest nor the largest numbers have squares that do harm; a power of 2 is exact.
    let least = T::min_positive_value() / T::epsilon();
    let up = (T::min_positive_value().sqrt() * T::epsilon() * T::epsilon()).recip();
    if y.iter().any(|&sum| sum < least || sum.is_infinite()) {
        let (mut small, mut large) = (folding.small::<T>(scratch), folding.small::<T>(scratch));
        folding.sum_squares(x, up, &mut small, scratch);
        folding.sum_squares(x, up.recip(), &mut large, scratch);
        for ((y, &small), &large) in y.iter_mut().zip(&small).zip(&large) {
            *y = match *y {
                sum if sum < least => small.sqrt() / up,
                sum if sum.is_infinite() => large.sqrt() * up,
                sum => sum.sqrt(),
            };
        }
        scratch.give(small);
        scratch.give(large);
    } else {
        y.iter_mut().for_each(|y| *y = y.sqrt());
    }
    Ok(())
}

impl Op for Norm {
    const NAME: &'static str = "norm";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        self.0.refine(&mut ins[0], out)
    }

    fn variant(&self) -> Option<&'static str> {
        Some(self.0.variant())
    }

    fn cases(&self) -> &'static [Case<Self>] {
        reduction_cases!(Norm, norm, self.0)
    }

    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let at = |small| spread(&self.0, small, x[0]);
        grads.give(0, || Var::apply(OpRef::from_static(&*GRADIENT), &[at(dy), x[0], at(y)]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let small = self.0.result(ins[0].shape()).unwrap_or_default();
        sum_mimic(&self.0, &ins[0].mapv(|x| x * x), &small).mapv(f64::sqrt)
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| if i.is_multiple_of(3) { 0.0 } else { i as f64 - 4.25 };
        let matrix = || Tensor::from_fn([3, 4], value);
        let with_zero_row = || Tensor::from_fn([3, 2], |i| if i < 2 { 0.0 } else { value(i + 5) });
        let over = |axes: &[isize], keepdims| Norm(Reduction::over(axes, keepdims));
        vec![
            Sample::good(Norm::default(), [matrix()]),
            Sample::good(Norm::default(), [Tensor::scalar(-3.0)]),
            Sample::good(over(&[0], false), [matrix()]),
            Sample::good(over(&[1], false), [matrix()]),
            Sample::good(over(&[-1], true), [with_zero_row()]),
            Sample::good(over(&[0], true), [with_zero_row()]),
            Sample::good(over(&[0, 2], false), [Tensor::from_fn([2, 3, 2], value)]),
            Sample::good(over(&[1], false), [Tensor::from_fn([2, 3, 2], value)]),
            Sample::good(over(&[-1], false), [Tensor::from_fn([5], value)]),
            Sample::good(over(&[0], false), [Tensor::from_fn([0, 3], value)]),
            Sample::bad(over(&[2], false), [matrix()], ErrorKind::Index, "out of bounds"),
        ]
    }
}
