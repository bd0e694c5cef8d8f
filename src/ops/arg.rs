//! Where the largest and smallest elements are.

use std::borrow::Cow;

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::arg::{arg_axis, arg_lanes, arg_rows};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, unify_axes};
use crate::tensor::cast::csr_ref;
use crate::tensor::dtype::each_dtype;
use crate::tensor::{DType, Element, RowSparseView, Tensor, View, row_len, size_of};

/// `argmax` or `argmin`: where, along an axis, the largest or smallest element is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArgMax {
    axis: isize,
    min: bool,
}

methods! {
    /// Where, along `axis` (negative ones count from the last), the largest element is: i64, the axis
    /// goes. Of equal ones the first counts; the first NaN, if there is one, is the largest, as in
    /// numpy. Absent elements of a sparse value count as zeros; it is not made dense. (MXNet:
    /// `argmax`, which gives floats; PyTorch: `argmax`.)
    ///
    /// ```
    /// use sparsetape::{DType, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 3], vec![1.0f32, 5.0, 5.0, -1.0, -2.0, -3.0])?);
    /// let guess = x.argmax(-1);
    /// assert_eq!(guess.value()?.values::<i64>()?, [1, 0]);
    /// // The share of right guesses: numbers are compared as floats.
    /// let labels = tape.constant(Tensor::dense([2], vec![1i64, 2])?);
    /// let right = guess.cast(DType::F64).equal(labels.cast(DType::F64)).mean();
    /// assert_eq!(right.item::<f64>()?, 0.5);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn argmax(x; axis: isize) = ArgMax { axis, min: false };
    /// Where, along `axis`, the smallest element is; else as [`Var::argmax`]: the first of equal ones
    /// counts, NaN before all. (MXNet: `argmin`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 3], vec![0, 2], vec![0, 1], vec![2.0f32, 1.0])?);
    /// assert_eq!(x.argmin(1).value()?.values::<i64>()?, [2]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn argmin(x; axis: isize) = ArgMax { axis, min: true };
}

/// The axis, counted from the first.
pub(super) fn resolved(axis: isize, ndim: usize) -> Result<usize> {
    let from_front = if axis < 0 { axis.saturating_add_unsigned(ndim) } else { axis };
    usize::try_from(from_front).ok().filter(|&axis| axis < ndim).ok_or_else(|| {
        let message = format!("axis {axis} is out of bounds for {ndim} axes");
        Error::new(ErrorKind::Index, message)
    })
}

/// Refines the shapes of an operand and of a result without one of its axes; that axis, counted from
/// the first, if the rank is known.
pub(super) fn refine_without(
    axis: isize,
    x: &mut PartialShape,
    out: &mut PartialShape,
) -> Result<Option<usize>> {
    if let Some(rank) = out.rank() {
        x.set_rank(rank + 1)?;
    }
    let Some(rank) = x.rank() else { return Ok(None) };
    let axis = resolved(axis, rank)?;
    out.set_rank(rank - 1)?;
    let others = (0..rank).filter(|&other| other != axis);
    unify_axes(x, out, others.enumerate().map(|(n, other)| (other, n)))?;
    Ok(Some(axis))
}

fn arg(op: &ArgMax, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let x = ins[0];
    let axis = resolved(op.axis, x.shape().len())?;
    each_dtype!(Slice::x.values(), values => match op.min {
        false => arg_of::<_, false>(x, values, axis, out.dense()),
        true => arg_of::<_, true>(x, values, axis, out.dense()),
    });
    Ok(())
}

fn arg_of<T: Element, const MIN: bool>(x: View, values: &[T], axis: usize, out: &mut [i64]) {
    let (n, inner) = (x.shape()[axis], size_of(&x.shape()[axis + 1..]));
    match x {
        View::Dense(_) => arg_axis::<T, MIN>(values, n, inner, out),
        View::Csr(v) if axis == 0 => {
            let csr = csr_ref(&v, values);
            let entries = (0..csr.rows()).flat_map(|r| {
                let (columns, values) = csr.row(r);
                columns.iter().zip(values).map(move |(&c, &x)| (c as usize, r, x))
            });
            arg_lanes::<T, MIN>(entries, n, out);
        }
        View::Csr(v) => {
            let csr = csr_ref(&v, values);
            let cost = 4 * (values.len() / csr.rows().max(1) + 1);
            arg_rows::<T, MIN>(|i| csr.row(i), (n, cost), out);
        }
        View::RowSparse(v) if axis == 0 => {
            let rows = v.rows.iter().zip(values.chunks(inner.max(1)));
            let entries = rows.flat_map(|(&r, row)| {
                row.iter().enumerate().map(move |(lane, &x)| (lane, r as usize, x))
            });
            arg_lanes::<T, MIN>(entries, n, out);
        }
        View::RowSparse(v) => within_rows::<T, MIN>(&v, values, (n, inner), out),
    }
}

/// Along an axis within rows: those that are absent hold zeros only.
fn within_rows<T: Element, const MIN: bool>(
    v: &RowSparseView,
    values: &[T],
    (n, inner): (usize, usize),
    out: &mut [i64],
) {
    out.fill(0);
    let (k, lanes) = (row_len(v.shape), row_len(v.shape) / n);
    for (&r, row) in v.rows.iter().zip(values.chunks(k.max(1))) {
        arg_axis::<T, MIN>(row, n, inner, &mut out[r as usize * lanes..][..lanes]);
    }
}

impl Op for ArgMax {
    const NAME: &'static str = "argmax";

    fn label(&self) -> Cow<'_, str> {
        Cow::Borrowed(if self.min { "argmin" } else { "argmax" })
    }

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Stated { why: "positions are integers", function: None }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let Some(axis) = refine_without(self.axis, &mut ins[0], out)? else { return Ok(()) };
        if ins[0].dim(axis) == Some(0) {
            let message = format!("axis {axis} of {} has no elements to choose from", ins[0]);
            return Err(Error::new(ErrorKind::Shape, message));
        }
        Ok(())
    }

    fn dtype(&self, _: &[DType]) -> Result<DType> {
        Ok(DType::I64)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<ArgMax>; 3] = [
            case!(any [Default] => Default, arg),
            case!(any [Csr] => Default, arg),
            case!(any [RowSparse] => Default, arg),
        ];
        &CASES
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let axis = resolved(self.axis, ins[0].ndim()).unwrap_or_default();
        ins[0].map_axis(Axis(axis), |lane| {
            let mut best = 0;
            for (i, &x) in lane.iter().enumerate() {
                let further = if self.min { x < lane[best] } else { x > lane[best] };
                if !lane[best].is_nan() && (further || x.is_nan()) {
                    best = i;
                }
            }
            best as f64
        })
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |axis, min| ArgMax { axis, min };
        let matrix = |sign: f64| {
            let value = [0.0, -3.0, 0.0, 2.0, 2.0, -1.0, f64::NAN];
            Tensor::from_fn([5, 4], move |i| if i / 4 == 2 { 0.0 } else { sign * value[i % 7] })
        };
        let below = || Tensor::from_fn([3, 4], |i| -1.0 - i as f64);
        let cube =
            || Tensor::from_fn([3, 2, 4], |i| if i / 8 == 1 { 0.0 } else { (i as f64).sin() });
        let mut samples = Vec::new();
        for min in [false, true] {
            for axis in [0, 1, -1] {
                samples.push(Sample::good(op(axis, min), [matrix(1.0)]));
                samples.push(Sample::good(op(axis, min), [matrix(-1.0)]));
                samples.push(Sample::good(op(axis, min), [below()]));
                samples.push(Sample::good(op(axis, min), [cube()]));
            }
            samples.push(Sample::good(op(2, min), [cube()]));
            samples.push(Sample::good(op(0, min), [Tensor::from_fn([4], |i| (i as f64).cos())]));
            samples.push(Sample::good(op(0, min), [Tensor::from_fn([2, 0], |_| 0.0)]));
        }
        let none = Tensor::from_fn([2, 0], |_| 0.0);
        samples.push(Sample::bad(op(1, false), [none], ErrorKind::Shape, "no elements"));
        samples.push(Sample::bad(op(2, true), [below()], ErrorKind::Index, "out of bounds"));
        samples
    }
}
