//! Logarithms of sums of exponentials over axes.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

use super::map::Map;
use super::map::expr::Expr;
use super::reduce::spread;
use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::elementwise::{Unary, unary};
use crate::kernels::reduce::{Add, Fold, Max};
use crate::kernels::threads::for_each_part;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::structural::{Folding, Reduction, sum_mimic};
use crate::tape::{OpRef, Out, PartialShape, Scratch, Var};
use crate::tensor::{Real, Tensor, View};

/// `log_sum_exp`: ln Σ eˣ over axes, shifted by the maximum. An absent entry counts as e⁰.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSumExp(Reduction);

impl LogSumExp {
    /// Over the axes that the reduction names.
    pub fn new(reduction: Reduction) -> Self {
        LogSumExp(reduction)
    }
}

methods! {
    /// ln Σ eˣ over `axes` (negative ones count from the last), which go or stay with size 1; stable.
    /// An absent entry counts as e⁰ = 1; the result is dense. It is −∞ if all elements are −∞ (or
    /// there are none) and ∞ if one is. The gradient, e^(x − y), lives on the operand's pattern.
    /// (PyTorch: `logsumexp`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([1, 2], vec![1000.0f64, 1000.0])?);
    /// let y = x.log_sum_exp(&[1], false).value()?;
    /// assert_eq!(y.values::<f64>()?, [1000.0 + 2f64.ln()]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "logsumexp")]
    fn log_sum_exp(x; axes: &[isize], keepdims: bool) = LogSumExp(Reduction::over(axes, keepdims));
}

/// dy · e^(x − y).
static GRADIENT: LazyLock<Map> = LazyLock::new(|| {
    let expr = Expr::build(3, |b| {
        let (dy, x, y) = (b.input(0), b.input(1), b.input(2));
        let distance = b.sub(x, y);
        let share = b.unary(Unary::Exp, distance);
        b.mul(dy, share)
    });
    Map::backward("log_sum_exp_gradient", expr)
});

/// out = eˣ, both slices being as long.
fn exp<T: Real>(x: &[T], out: &mut [T]) {
    for_each_part(out, 1, 1, |first, out| unary(Unary::Exp, &x[first..][..out.len()], out));
}

fn log_sum_exp<T: Real>(
    op: &LogSumExp,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let x = ins[0].typed::<T>()?;
    let folding = Folding::into_result(&op.0, ins[0], out)?;
    let y = folding.result::<T>(out)?;
    let [mut shift, mut sums] = [(); 2].map(|()| folding.small::<T>(scratch));
    let [mut shifted, mut exps] = [(); 2].map(|()| scratch.take::<T>(x.len()));
    let mut stored = folding.small::<f64>(scratch);
    folding.fold::<Max, T>(x, &mut shift, scratch);
    folding.stored(&mut stored);
    for (shift, &stored) in shift.iter_mut().zip(&stored) {
        let max = if stored < folding.size { Max::join(*shift, T::zero()) } else { *shift };
        *shift = if max.is_finite() { max } else { T::zero() };
    }
    folding.repeat(&shift, &mut shifted);
    shifted.iter_mut().zip(x).for_each(|(shift, &x)| *shift = x - *shift);
    exp(&shifted, &mut exps);
    // An absent entry, shifted, goes through `y`, which is free until the end.
    sums.iter_mut().zip(&shift).for_each(|(sum, &shift)| *sum = -shift);
    unary(Unary::Exp, &sums, y);
    folding.fold::<Add, T>(&exps, &mut sums, scratch);
    let absent = stored.iter().map(|stored| folding.size - stored).zip(&*y);
    for (sum, (absent, &each)) in sums.iter_mut().zip(absent).filter(|(_, (n, _))| *n > 0.0) {
        *sum = *sum + T::from_f64(absent) * each;
    }
    unary(Unary::Ln, &sums, y);
    y.iter_mut().zip(&shift).for_each(|(y, &shift)| *y = *y + shift);
    [shift, sums, shifted, exps].into_iter().for_each(|used| scratch.give(used));
    scratch.give(stored);
    Ok(())
}

impl Op for LogSumExp {
    const NAME: &'static str = "log_sum_exp";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        self.0.refine(&mut ins[0], out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<LogSumExp>; 3] = [
            case!([Default] => Default, log_sum_exp),
            case!([Csr] => Default, log_sum_exp),
            case!([RowSparse] => Default, log_sum_exp),
        ];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let at = |small| spread(&self.0, small, x[0]);
        grads.give(0, || Var::apply(OpRef::from_static(&*GRADIENT), &[at(dy), x[0], at(y)]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let small = self.0.result(ins[0].shape()).unwrap_or_default();
        sum_mimic(&self.0, &ins[0].mapv(f64::exp), &small).mapv(f64::ln)
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| if i.is_multiple_of(3) { 0.0 } else { (i as f64 * 1.7).sin() * 3.0 };
        let matrix = || Tensor::from_fn([3, 4], value);
        let negative = || Tensor::from_fn([3, 2], |i| if i < 2 { 0.0 } else { -2.5 - i as f64 });
        let over = |axes: &[isize], keepdims| LogSumExp(Reduction::over(axes, keepdims));
        vec![
            Sample::good(LogSumExp::default(), [matrix()]),
            Sample::good(LogSumExp::default(), [Tensor::scalar(-3.0)]),
            Sample::good(over(&[0], false), [matrix()]),
            Sample::good(over(&[1], true), [matrix()]),
            Sample::good(over(&[0], true), [negative()]),
            Sample::good(over(&[-1], false), [negative()]),
            Sample::good(over(&[0, 2], false), [Tensor::from_fn([2, 3, 2], value)]),
            Sample::good(over(&[1], false), [Tensor::from_fn([2, 3, 2], value)]),
            Sample::good(over(&[-1], false), [Tensor::from_fn([5], value)]),
            Sample::good(over(&[0], false), [Tensor::from_fn([0, 3], value)]),
            Sample::bad(over(&[2], false), [matrix()], ErrorKind::Index, "out of bounds"),
        ]
    }
}
