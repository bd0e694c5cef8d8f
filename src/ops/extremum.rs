//! Maxima and minima over axes.

use ndarray::{ArrayD, Zip};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::LazyLock;

use super::map::Map;
use super::map::expr::Expr;
use super::reduce::{reduction_cases, spread};
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::reduce::{Add, Fold, Max, Min};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::structural::{Folding, Reduction, rows_at, sum_mimic};
use crate::tape::{OpRef, Out, PartialShape, Scratch, Var};
use crate::tensor::{Real, Tensor, View};

/// `max` and `min` over axes. Absent entries count as zeros; NaN is the result wherever there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extremum {
    largest: bool,
    reduction: Reduction,
}

/// `ties`: for each element of the first operand its share among those that equal the extremum, the
/// second operand: 1 / their number, and 0 for others. Absent entries count as zeros.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ties(Reduction);

impl Extremum {
    /// The maximum over the axes that the reduction names.
    pub fn max(reduction: Reduction) -> Self {
        Extremum { largest: true, reduction }
    }

    /// The minimum over the axes that the reduction names.
    pub fn min(reduction: Reduction) -> Self {
        Extremum { largest: false, reduction }
    }
}

methods! {
    /// The largest element, a 0-d value; NaN if there is one. Absent entries count as zeros. Elements
    /// that tie, absent ones included, share the gradient equally. (MXNet: `max`, of shape (1,), where
    /// each gets all of it.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([4], vec![1.0f32, 5.0, 5.0, 2.0])?);
    /// let y = x.max();
    /// assert_eq!(y.item::<f32>()?, 5.0);
    /// assert_eq!(y.backward()?.wrt(x).unwrap().values::<f32>()?, [0.0, 0.5, 0.5, 0.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "amax")]
    fn max(x) = Extremum::max(Reduction::default());
    /// The smallest element, a 0-d value; otherwise as [`Var::max`](crate::Var::max). (MXNet: `min`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 9], vec![0, 1], vec![4], vec![2.5f32])?);
    /// assert_eq!(x.min().item::<f32>()?, 0.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "amin")]
    fn min(x) = Extremum::min(Reduction::default());
    /// Maxima over `axes` (negative ones count from the last), which go or stay with size 1 and must
    /// have elements. Storage as for [`Var::sum_axes`](crate::Var::sum_axes), values and gradient as
    /// for [`Var::max`](crate::Var::max). (MXNet: `max` with `axis`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([2, 2], vec![0, 1, 3], vec![0, 0, 1], vec![-1.0f32, -2.0, -3.0])?);
    /// assert_eq!(x.max_axes(&[1], false).value()?.values::<f32>()?, [0.0, -2.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn max_axes(x; axes: &[isize], keepdims: bool) = Extremum::max(Reduction::over(axes, keepdims));
    /// Minima over `axes`; otherwise as [`Var::max_axes`](crate::Var::max_axes). (MXNet: `min` with
    /// `axis`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 4.0, 3.0])?);
    /// assert_eq!(x.min_axes(&[-1], false).value()?.values::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn min_axes(x; axes: &[isize], keepdims: bool) = Extremum::min(Reduction::over(axes, keepdims));
}

/// dy · share, and 0 without a share.
static GRADIENT: LazyLock<Map> = LazyLock::new(|| {
    let expr = Expr::build(2, |b| {
        let (dy, share) = (b.input(0), b.input(1));
        let (part, zero) = (b.mul(dy, share), b.constant(0.0));
        b.select(share, part, zero)
    });
    Map::backward("extremum_gradient", expr)
});

fn extremum<T: Real>(
    op: &Extremum,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    if op.largest {
        fold::<Max, T>(op, ins[0], out, scratch)
    } else {
        fold::<Min, T>(op, ins[0], out, scratch)
    }
}

fn fold<F, T>(op: &Extremum, x: View, out: &mut Out, scratch: &mut Scratch) -> Result<()>
where
    F: Fold<T> + Fold<f64>,
    T: Real,
{
    let folding = Folding::into_result(&op.reduction, x, out)?;
    let y = folding.result::<T>(out)?;
    folding.fold::<F, T>(x.typed()?, y, scratch);
    let mut stored = folding.small::<f64>(scratch);
    folding.stored(&mut stored);
    for (y, _) in y.iter_mut().zip(&stored).filter(|(_, stored)| **stored < folding.size) {
        *y = F::join(*y, T::zero());
    }
    scratch.give(stored);
    Ok(())
}

fn ties<T: Real>(op: &Ties, ins: &[View], out: &mut Out, scratch: &mut Scratch) -> Result<()> {
    let (x, by_row) = (ins[0], matches!(ins[1], View::RowSparse(_)));
    let folding = Folding::new(&op.0, x, ins[1].shape(), by_row)?;
    let (values, shares) = (x.typed::<T>()?, out.like::<T>(&x)?);
    let mut small = folding.small::<T>(scratch);
    match (ins[1], folding.rows()) {
        (View::RowSparse(_), Some(rows)) => rows_at::<T>(ins[1], rows, &mut small)?,
        (View::RowSparse(_), None) => rows_at::<T>(ins[1], &[0], &mut small)?,
        _ => small.copy_from_slice(ins[1].typed()?),
    }
    folding.repeat(&small, shares);
    for (share, &x) in shares.iter_mut().zip(values) {
        let tied = x == *share || (x.is_nan() && share.is_nan());
        *share = if tied { T::one() } else { T::zero() };
    }
    let (mut number, mut stored) = (folding.small::<T>(scratch), folding.small::<f64>(scratch));
    folding.fold::<Add, T>(shares, &mut number, scratch);
    folding.stored(&mut stored);
    for ((number, &stored), &y) in number.iter_mut().zip(&stored).zip(&small) {
        let absent = if y == T::zero() { folding.size - stored } else { 0.0 };
        *number = *number + T::from_f64(absent);
    }
    let mut numbers = scratch.take::<T>(shares.len());
    folding.repeat(&number, &mut numbers);
    for (share, &number) in shares.iter_mut().zip(&numbers).filter(|(s, _)| **s != T::zero()) {
        *share = number.recip();
    }
    scratch.give(stored);
    [small, number, numbers].into_iter().for_each(|used| scratch.give(used));
    Ok(())
}

impl Op for Extremum {
    const NAME: &'static str = "extremum";

    fn label(&self) -> Cow<'_, str> {
        Cow::Borrowed(if self.largest { "max" } else { "min" })
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        self.reduction.refine(&mut ins[0], out)?;
        let Some(rank) = ins[0].rank() else { return Ok(()) };
        let reduced = self.reduction.reduced(rank)?;
        match (0..rank).find(|&axis| reduced[axis] && ins[0].dim(axis) == Some(0)) {
            None => Ok(()),
            Some(axis) => {
                let message = format!("axis {axis} of {} has no elements to take one of", ins[0]);
                Err(Error::new(ErrorKind::Shape, message))
            }
        }
    }

    fn variant(&self) -> Option<&'static str> {
        Some(self.reduction.variant())
    }

    fn cases(&self) -> &'static [Case<Self>] {
        reduction_cases!(Extremum, extremum, self.reduction)
    }

    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || {
            let shares = Var::apply(Ties(self.reduction.clone()), &[x[0], y]);
            let dy = spread(&self.reduction, dy, x[0]);
            Var::apply(OpRef::from_static(&*GRADIENT), &[dy, shares])
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let small = self.reduction.result(ins[0].shape()).unwrap_or_default();
        let reduced = self.reduction.reduced(ins[0].ndim()).unwrap_or_default();
        let pick = |x: f64, y: f64| match self.largest {
            _ if x.is_nan() || y.is_nan() => f64::NAN,
            true => x.max(y),
            false => x.min(y),
        };
        let mut y = ins[0].clone();
        for axis in (0..y.ndim()).rev().filter(|&axis| reduced[axis]) {
            let axis = ndarray::Axis(axis);
            let first = if self.largest { f64::NEG_INFINITY } else { f64::INFINITY };
            y = y.fold_axis(axis, first, |&x, &y| pick(x, y));
        }
        y.to_shape(&small[..]).map_or(y.clone(), |y| y.to_owned())
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| if i.is_multiple_of(3) { 0.0 } else { (i as f64 * 2.4).sin() };
        let matrix = || Tensor::from_fn([3, 4], value);
        let negative = || Tensor::from_fn([3, 2], |i| if i < 2 { 0.0 } else { -1.5 - i as f64 });
        let tied = || Tensor::from_fn([3, 2], |i| [2.0, 2.0, 0.0, 1.0, -1.0, 2.0][i]);
        let mut samples = Vec::new();
        for of in [Extremum::max as fn(Reduction) -> Self, Extremum::min] {
            let over = |axes: &[isize], keepdims| of(Reduction::over(axes, keepdims));
            samples.extend([
                Sample::good(of(Reduction::default()), [matrix()]),
                Sample::good(of(Reduction::default()), [tied()]),
                Sample::good(of(Reduction::default()), [Tensor::scalar(-3.0)]),
                Sample::good(over(&[0], false), [matrix()]),
                Sample::good(over(&[1], true), [matrix()]),
                Sample::good(over(&[1], false), [tied()]),
                Sample::good(over(&[0], true), [negative()]),
                Sample::good(over(&[-1], false), [negative()]),
                Sample::good(over(&[0, 2], false), [Tensor::from_fn([2, 3, 2], value)]),
                Sample::good(over(&[1], false), [Tensor::from_fn([2, 3, 2], value)]),
                Sample::good(over(&[-1], true), [Tensor::from_fn([5], value)]),
                Sample::good(over(&[1], false), [Tensor::from_fn([0, 3], value)]),
                Sample::bad(
                    over(&[0], false),
                    [Tensor::from_fn([0, 3], value)],
                    ErrorKind::Shape,
                    "axis 0 of (0, 3) has no elements",
                ),
                Sample::bad(over(&[2], false), [matrix()], ErrorKind::Index, "out of bounds"),
            ]);
        }
        samples
    }
}

impl Op for Ties {
    const NAME: &'static str = "ties";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        let [x, y] = ins else { unreachable!("an operand and its extremum") };
        self.0.refine(x, y)?;
        x.unify(out)
    }

    fn variant(&self) -> Option<&'static str> {
        Some(self.0.variant())
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static DENSE: [Case<Ties>; 3] = [
            case!([Default, Default] => Default, ties),
            case!([Csr, Default] => Csr, ties),
            case!([RowSparse, Default] => RowSparse, ties),
        ];
        static ROWS: [Case<Ties>; 4] = [
            case!([Default, Default] => Default, ties),
            case!([Csr, Default] => Csr, ties),
            case!([RowSparse, Default] => RowSparse, ties),
            case!([RowSparse, RowSparse] => RowSparse, ties),
        ];
        if self.0.keeps_rows() { &ROWS } else { &DENSE }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let mut wide = ins[1].clone();
        let reduced = self.0.reduced(ins[0].ndim()).unwrap_or_default();
        for axis in (0..reduced.len()).filter(|&axis| reduced[axis] && !self.0.keepdims) {
            wide = wide.insert_axis(ndarray::Axis(axis));
        }
        let flags =
            Zip::from(&ins[0]).and_broadcast(&wide).map_collect(|x, y| f64::from(u8::from(x == y)));
        let number = sum_mimic(&self.0, &flags, ins[1].shape());
        let number = number.to_shape(wide.raw_dim()).map_or(wide.clone(), |n| n.to_owned());
        Zip::from(&flags)
            .and_broadcast(&number)
            .map_collect(|f, n| if *f > 0.0 { f / n } else { 0.0 })
    }

    /// Absent entries never equal the extremum here: they would have a share, which has no place.
    fn samples() -> Vec<Sample<Self>> {
        let x = || Tensor::from_fn([3, 4], |i| [3.0, 1.0, 3.0, 0.0, -1.0, 2.0][i % 6]);
        let y = |shape: &[usize]| Tensor::from_fn(shape, |i| [3.0, 3.0, 2.0][i % 3]);
        let over = |axes: &[isize], keepdims| Ties(Reduction::over(axes, keepdims));
        vec![
            Sample::good(Ties(Reduction::default()), [x(), Tensor::scalar(3.0)]),
            Sample::good(over(&[0], false), [x(), y(&[4])]),
            Sample::good(over(&[1], false), [x(), y(&[3])]),
            Sample::good(over(&[-1], true), [x(), y(&[3, 1])]),
            Sample::bad(over(&[1], false), [x(), y(&[4])], ErrorKind::Shape, "differ"),
        ]
    }
}
