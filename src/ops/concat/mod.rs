//! Values one after the other along an axis.

mod parts;

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use parts::with_first;
pub use parts::{ConcatGrad, ConcatPart};

use super::shape::axis_of;
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::concat::{concat_columns, concat_dense, concat_rows, place_rows};
use crate::kernels::memory::Temp;
use crate::kernels::merge::union_rows;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::{
    Out, PartialShape, PerOperand, Scratch, Tape, Var, compose_all, evaluate, unify_axes,
    unify_ranks,
};
use crate::tensor::cast::csr_ref;
use crate::tensor::{Buffer, Element, Shape, Tensor, View, size_of};

/// `concat`: any number of operands, one after the other along an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    axis: isize,
}

impl Tape {
    /// These values one after the other along an axis (a negative one counts from the last); other
    /// sizes must agree. Csr values give csr, row-sparse values row-sparse. An empty list is an error.
    /// (MXNet: `concat`, which makes row-sparse values dense, and csr along axis 1.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([1, 2], vec![1.0f32, 2.0])?);
    /// let y = tape.constant(Tensor::dense([1, 1], vec![3.0f32])?);
    /// assert_eq!(tape.concat(&[x, y], 1).value()?.values::<f32>()?, [1.0, 2.0, 3.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "cat")]
    #[doc(alias = "concatenate")]
    #[doc(alias = "hstack")]
    #[doc(alias = "vstack")]
    #[track_caller]
    pub fn concat<'t>(&'t self, parts: &[Var<'t>], axis: isize) -> Var<'t> {
        self.apply(Concat { axis }, parts)
    }

    /// These values, all of one shape, along a new axis; a negative one counts from the last of the
    /// result. Row-sparse values give row-sparse. An empty list is an error. (MXNet: `stack`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2], vec![1.0f32, 2.0])?);
    /// let y = tape.stack(&[x, x], -1);
    /// assert_eq!(y.value()?.values::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn stack<'t>(&'t self, parts: &[Var<'t>], axis: isize) -> Var<'t> {
        self.composition("stack", || {
            let expanded: Vec<Var<'t>> = parts.iter().map(|part| part.expand_dims(axis)).collect();
            self.concat(&expanded, axis)
        })
    }
}

impl Tensor {
    /// Unrecorded [`Tape::concat`].
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn concat(parts: &[&Tensor], axis: isize) -> Result<Tensor> {
        evaluate(Concat { axis }, parts)
    }

    /// Unrecorded [`Tape::stack`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn stack(parts: &[&Tensor], axis: isize) -> Result<Tensor> {
        compose_all(parts, |tape, parts| tape.stack(parts, axis))
    }
}

/// The shape of a concatenation.
fn joined(axis: isize, shapes: &[Shape]) -> Result<Shape> {
    let Some(first) = shapes.first() else {
        return Err(Error::new(ErrorKind::Shape, "needs at least one operand"));
    };
    let axis = axis_of(axis, first.len())?;
    let differ = |other: &Shape| {
        other.len() != first.len() || (0..first.len()).any(|a| a != axis && other[a] != first[a])
    };
    if let Some(i) = shapes.iter().position(differ) {
        let message = format!(
            "operand 0 is {first}, operand {i} is {}; but for axis {axis} shapes must agree",
            shapes[i]
        );
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let sizes = || shapes.iter().map(|shape| shape[axis]);
    let Some(total) = sizes().try_fold(0usize, usize::checked_add) else {
        let message =
            format!("more than 2^64 along axis {axis}: {:?}", sizes().collect::<Vec<_>>());
        return Err(Error::new(ErrorKind::Shape, message));
    };
    let size = |(a, &size): (usize, &usize)| if a == axis { total } else { size };
    Ok(first.iter().enumerate().map(size).collect())
}

/// Refines the shapes of the parts of a concatenation and of the whole.
fn refine(axis: isize, parts: &mut [PartialShape], whole: &mut PartialShape) -> Result<()> {
    let known: Option<SmallVec<[Shape; 4]>> = parts.iter().map(|part| part.known()).collect();
    if let Some(shapes) = known {
        return whole.set(&joined(axis, &shapes)?);
    }
    // Twice, so that what the last one knows reaches the first.
    parts.iter_mut().try_for_each(|part| unify_ranks(part, whole).map(|_| ()))?;
    parts.iter_mut().try_for_each(|part| unify_ranks(part, whole).map(|_| ()))?;
    let Some(rank) = whole.rank() else { return Ok(()) };
    let axis = axis_of(axis, rank)?;
    let others = || (0..rank).filter(|&other| other != axis).map(|other| (other, other));
    parts.iter_mut().try_for_each(|part| unify_axes(part, whole, others()))?;
    parts.iter_mut().try_for_each(|part| unify_axes(part, whole, others()))?;
    let mut open = parts.iter().enumerate().filter(|(_, part)| part.dim(axis).is_none());
    let (first, second) = (open.next().map(|(i, _)| i), open.next());
    let held = parts.iter().filter_map(|part| part.dim(axis)).try_fold(0usize, usize::checked_add);
    match (first, second, held, whole.dim(axis)) {
        (None, _, Some(total), _) => whole.set_dim(axis, total),
        (Some(_), _, Some(total), Some(size)) if size < total => {
            let message = format!("parts of {total} along axis {axis} of {whole}");
            Err(Error::new(ErrorKind::Shape, message))
        }
        (Some(i), None, Some(total), Some(size)) => parts[i].set_dim(axis, size - total),
        _ => Ok(()),
    }
}

fn dense<T: Element>(op: &Concat, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let axis = axis_of(op.axis, out.shape().len())?;
    let parts: PerOperand<(&[T], usize)> = ins
        .iter()
        .map(|x| Ok((x.typed::<T>()?, size_of(&x.shape()[axis..]))))
        .collect::<Result<_>>()?;
    concat_dense(&parts, out.dense());
    Ok(())
}

fn csr<T: Element>(op: &Concat, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let mut parts = PerOperand::new();
    for x in ins {
        let v = x.csr()?;
        parts.push(csr_ref(v, v.values.typed::<T>()?));
    }
    out.set_csr(match axis_of(op.axis, 2)? {
        0 => concat_rows(&parts),
        _ => concat_columns(&parts),
    });
    Ok(())
}

fn row_sparse<T: Element>(op: &Concat, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let axis = axis_of(op.axis, out.shape().len())?;
    match axis {
        0 => below::<T>(ins, out),
        _ => beside::<T>(ins, axis, out),
    }
}

/// Rows below each other.
fn below<T: Element>(ins: &[View], out: &mut Out) -> Result<()> {
    let stored = ins.iter().filter_map(View::rows).map(<[u32]>::len).sum();
    let (mut rows, mut first) = (Temp::with_capacity(stored), 0);
    for x in ins {
        let own = x.row_sparse()?;
        rows.extend(own.rows.iter().map(|&row| (first + row as usize) as u32));
        first += own.shape[0];
    }
    let (values, mut at) = (out.rows::<T>(rows)?, 0);
    for x in ins {
        let held = x.typed::<T>()?;
        values[at..at + held.len()].copy_from_slice(held);
        at += held.len();
    }
    Ok(())
}

/// Parts of rows beside each other, in the rows that any operand stores.
fn beside<T: Element>(ins: &[View], axis: usize, out: &mut Out) -> Result<()> {
    let (shape, mut lists) = (out.shape(), PerOperand::new());
    for x in ins {
        lists.push(&x.row_sparse()?.rows[..]);
    }
    let union: Buffer<u32> = union_rows(&lists).into();
    let values = out.rows::<T>(union.clone())?;
    values.fill(T::default());
    let (outer, width) = (size_of(&shape[1..axis]), size_of(&shape[axis..]));
    let mut first = 0;
    for (x, list) in ins.iter().zip(&lists) {
        let own = size_of(&x.shape()[axis..]);
        place_rows((list, x.typed()?, own), &union, outer, (values, width, first));
        first = first.saturating_add(own);
    }
    Ok(())
}

impl Op for Concat {
    const NAME: &'static str = "concat";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        refine(self.axis, ins, out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Concat>; 3] = [
            case!(each [Default, ..] => Default, dense),
            case!(each [Csr, ..] => Csr, csr),
            case!(each [RowSparse, ..] => RowSparse, row_sparse),
        ];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        for part in 0..x.len() {
            let op = ConcatPart { axis: self.axis, part };
            grads.give(part, || Var::apply(op, &with_first(dy, x)));
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let views: Vec<_> = ins.iter().map(|x| x.view()).collect();
        let axis = axis_of(self.axis, ins[0].ndim()).unwrap_or_default();
        ndarray::concatenate(Axis(axis), &views).unwrap_or_default()
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |axis| Concat { axis };
        let bad =
            |axis, inputs: Vec<Tensor>, kind, message| Sample::bad(op(axis), inputs, kind, message);
        let integer = Tensor::from_fn([2, 3], |i| i as i64);
        let mut samples: Vec<Sample<Self>> =
            operands().into_iter().map(|(axis, inputs)| Sample::good(op(axis), inputs)).collect();
        samples.extend([
            bad(0, vec![x(2, 3), x(2, 4)], ErrorKind::Shape, "operand 1 is (2, 4); but for axis 0"),
            bad(2, vec![x(2, 3), x(2, 3)], ErrorKind::Index, "axis 2 is out of bounds"),
            bad(0, vec![Tensor::scalar(1.0)], ErrorKind::Index, "out of bounds for 0 axes"),
            bad(0, vec![x(2, 3), integer], ErrorKind::DType, "never promoted"),
        ]);
        samples
    }
}

fn x(rows: usize, columns: usize) -> Tensor {
    super::dot::sparse_sample([rows, columns], 2)
}

/// Axes and operands of samples.
fn operands() -> Vec<(isize, Vec<Tensor>)> {
    let cube = |n, k, skip| {
        let zero = move |i: usize| i.is_multiple_of(skip) || i / (k * 2) == 1;
        Tensor::from_fn([n, k, 2], move |i| if zero(i) { 0.0 } else { i as f64 - 4.5 })
    };
    vec![
        (0, vec![x(3, 4), x(1, 4), x(2, 4)]),
        (1, vec![x(3, 2), x(3, 4), x(3, 1)]),
        (-1, vec![x(4, 2), x(4, 0), x(4, 3)]),
        (-2, vec![x(3, 4)]),
        (0, vec![x(0, 2), x(2, 2)]),
        (0, vec![cube(2, 3, 5), cube(3, 3, 7)]),
        (1, vec![cube(3, 1, 4), cube(3, 3, 5)]),
        (2, vec![cube(3, 2, 3), cube(3, 2, 2)]),
        (0, vec![Tensor::from_fn([2], |i| i as f64), Tensor::from_fn([3], |i| i as f64)]),
    ]
}
