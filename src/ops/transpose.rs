//! The same elements with their axes in another order.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::shape::axis_of;
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::memory::{Csr, Temp};
use crate::kernels::spgemm;
use crate::kernels::strided::{Strided, copy};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, unify_axes, unify_ranks};
use crate::tensor::cast::csr_ref;
use crate::tensor::{Element, Tensor, View, row_len};

/// `transpose`: axis `i` of the result is axis `axes[i]` of the operand (negative ones count from the
/// last); an empty list reverses all axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transpose {
    axes: SmallVec<[isize; 4]>,
}

methods! {
    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this value (negative
    /// ones count from the last); an empty list reverses them all. Csr stays csr. Row-sparse stays
    /// row-sparse where the first axis stays the first, and turns into csr by `&[1, 0]`; else it is made
    /// dense. (MXNet: `transpose`, which makes all sparse values dense.)
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 3], vec![0, 2], vec![0, 2], vec![5.0f32, 6.0])?);
    /// let y = x.transpose(&[]);
    /// assert_eq!((y.stype()?, &y.shape()?[..]), (Stype::Csr, &[3, 1][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "permute")]
    #[doc(alias = "swapaxes")]
    fn transpose(x; axes: &[isize]) = Transpose { axes: axes.into() };
}

impl Transpose {
    /// The axes from the front.
    fn order(&self, ndim: usize) -> Result<SmallVec<[usize; 4]>> {
        if self.axes.is_empty() {
            return Ok((0..ndim).rev().collect());
        }
        if self.axes.len() != ndim {
            let message = format!("{} axes named, the operand has {ndim}", self.axes.len());
            return Err(Error::new(ErrorKind::Shape, message));
        }
        let order: SmallVec<[usize; 4]> =
            self.axes.iter().map(|&axis| axis_of(axis, ndim)).collect::<Result<_>>()?;
        match (0..ndim).find(|&i| order[..i].contains(&order[i])) {
            None => Ok(order),
            Some(i) => {
                let message = format!("axis {} is named twice", self.axes[i]);
                Err(Error::new(ErrorKind::Shape, message))
            }
        }
    }

    /// The order that undoes this one; the reverse undoes itself.
    fn inverse(&self) -> Transpose {
        let mut axes = self.axes.clone();
        let order = self.order(axes.len()).unwrap_or_default();
        order.iter().enumerate().for_each(|(i, &axis)| axes[axis] = i as isize);
        Transpose { axes }
    }

    /// This one and then `next`, for operands of `ndim` axes, if that is known; `Some(None)` if the axes are
    /// back in order.
    pub(crate) fn then(&self, next: &Transpose, ndim: Option<usize>) -> Option<Option<Transpose>> {
        if self.axes.is_empty() && next.axes.is_empty() {
            return Some(None);
        }
        let ndim = ndim?;
        let (own, next) = (self.order(ndim).ok()?, next.order(ndim).ok()?);
        let both = Transpose { axes: next.iter().map(|&axis| own[axis] as isize).collect() };
        Some((!both.is_identity()).then_some(both))
    }

    /// Whether it names the axes in order.
    pub(crate) fn is_identity(&self) -> bool {
        let order = self.order(self.axes.len());
        !self.axes.is_empty() && order.is_ok_and(|order| order.is_sorted())
    }

    /// Whether the axes of a matrix change places.
    pub(crate) fn turns_matrix(&self) -> bool {
        self.order(2).is_ok_and(|order| order[..] == [1, 0])
    }

    /// Whether the first axis is not moved.
    fn keeps_rows(&self) -> bool {
        self.axes.first().is_some_and(|&axis| axis == 0 || axis == -(self.axes.len() as isize))
    }
}

/// Copies row-major elements with the axes in another order.
fn permute<T: Element>(
    values: &[T],
    shape: &[usize],
    order: &[usize],
    to: &[usize],
    out: &mut [T],
) {
    let own = Strided::whole(shape);
    let steps = order.iter().map(|&axis| own.steps[axis]).collect();
    copy(to, (values, &Strided { base: 0, steps }), (out, &Strided::whole(to)));
}

fn dense<T: Element>(op: &Transpose, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (values, shape, to) = (ins[0].typed::<T>()?, ins[0].shape(), out.shape());
    permute(values, shape, &op.order(shape.len())?, to, out.dense());
    Ok(())
}

fn csr<T: Element>(op: &Transpose, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let v = ins[0].csr()?;
    if op.keeps_rows() {
        out.alias(0);
        return Ok(());
    }
    out.set_csr(spgemm::transpose(csr_ref(v, v.values.typed::<T>()?)));
    Ok(())
}

/// Parts of rows in another order, where rows stay rows.
fn within_rows<T: Element>(
    op: &Transpose,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let v = ins[0].row_sparse()?;
    let order = op.order(v.shape.len())?;
    let stored = |shape: &[usize]| {
        let mut shape = SmallVec::<[usize; 4]>::from_slice(shape);
        shape[0] = v.rows.len();
        shape
    };
    let (shape, to) = (stored(v.shape), stored(out.shape()));
    permute(v.values.typed()?, &shape, &order, &to, out.rows::<T>(v.rows.clone())?);
    Ok(())
}

/// A row-sparse matrix has the same entries in all columns.
fn rows_to_csr<T: Element>(
    _: &Transpose,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let v = ins[0].row_sparse()?;
    let (stored, k) = (v.rows.len(), row_len(v.shape));
    let mut values = Temp::unspecified(stored * k);
    permute(v.values.typed::<T>()?, &[stored, k], &[1, 0], &[k, stored], &mut values);
    let indptr = Temp::collect((0..=k).map(|row| row * stored));
    let mut indices = Temp::with_capacity(stored * k);
    (0..k).for_each(|_| indices.extend_from_slice(v.rows));
    out.set_csr(Csr { indptr, indices, values });
    Ok(())
}

impl Op for Transpose {
    const NAME: &'static str = "transpose";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if ins[0].rank().is_none() && !self.axes.is_empty() {
            ins[0].set_rank(self.axes.len())?;
        }
        let Some(rank) = unify_ranks(&mut ins[0], out)? else { return Ok(()) };
        let order = self.order(rank)?;
        unify_axes(&mut ins[0], out, order.iter().enumerate().map(|(to, &from)| (from, to)))
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static KEPT: [Case<Transpose>; 3] = [
            case!(each [Default] => Default, dense),
            case!(each [RowSparse] => RowSparse, within_rows),
            case!(each [Csr] => Csr, csr),
        ];
        static MOVED: [Case<Transpose>; 3] = [
            case!(each [Default] => Default, dense),
            case!(each [Csr] => Csr, csr),
            case!(each [RowSparse] => Csr, rows_to_csr),
        ];
        match (self.axes.len(), self.keeps_rows()) {
            // Any number of axes, but csr has two.
            (0, _) => &MOVED[..2],
            (2, false) => &MOVED,
            (2, true) => &KEPT,
            (_, true) => &KEPT[..2],
            (_, false) => &KEPT[..1],
        }
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(self.inverse(), &[dy]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let order = self.order(ins[0].ndim()).unwrap_or_default();
        ins[0].clone().permuted_axes(&order[..])
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |axes: &[isize]| Transpose { axes: axes.into() };
        let matrix = |n, m| super::dot::sparse_sample([n, m], 3);
        let cube = || Tensor::from_fn([3, 2, 4], |i| if i / 8 == 1 { 0.0 } else { i as f64 - 9.5 });
        let wide = || Tensor::from_fn([2, 3, 2, 2], |i| i as f64 - 11.5);
        vec![
            Sample::good(op(&[]), [matrix(3, 4)]),
            Sample::good(op(&[1, 0]), [matrix(3, 4)]),
            Sample::good(op(&[-1, 0]), [matrix(1, 5)]),
            Sample::good(op(&[]), [matrix(0, 3)]),
            Sample::good(op(&[0, -1]), [matrix(3, 4)]),
            Sample::good(op(&[]), [cube()]),
            Sample::good(op(&[1, 2, 0]), [cube()]),
            Sample::good(op(&[0, 2, 1]), [cube()]),
            Sample::good(op(&[-4, 3, 1, 2]), [wide()]),
            Sample::good(op(&[3, 1, 0, 2]), [wide()]),
            Sample::good(op(&[0]), [Tensor::from_fn([3], |i| i as f64)]),
            Sample::good(op(&[]), [Tensor::scalar(2.0)]),
            Sample::bad(
                op(&[0]),
                [matrix(3, 4)],
                ErrorKind::Shape,
                "1 axes named, the operand has 2",
            ),
            Sample::bad(op(&[0, 0]), [matrix(3, 4)], ErrorKind::Shape, "axis 0 is named twice"),
            Sample::bad(op(&[0, 2]), [matrix(3, 4)], ErrorKind::Index, "axis 2 is out of bounds"),
        ]
    }
}
