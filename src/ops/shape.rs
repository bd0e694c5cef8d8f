//! The same elements in another shape.

use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Real, Shape, Tensor, View, row_len};

/// `reshape_like`: the elements of the first operand in the shape of the second, which is not read;
/// or in a shape given by number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reshape {
    /// The shape of the second operand.
    Like,
    /// Sizes per axis: −1 (once) is what remains, 0 keeps the operand's size of that axis.
    To(SmallVec<[isize; 4]>),
}

methods! {
    /// The same elements in the shape of `like`. (MXNet: `reshape_like`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 2], 1.0f32)?);
    /// let like = tape.constant(Tensor::full([4], 0.0f32)?);
    /// assert_eq!(x.reshape_like(like).shape()?[..], [4]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn reshape_like(x, like) = Reshape::Like;
    /// The same elements in another shape; −1 (once) stands for what remains, 0 keeps the size of
    /// that axis. Nothing is copied, but rows of a row-sparse value whose first axis changes. (MXNet:
    /// `reshape` with −1 and 0.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 3, 2], 1.0f32)?);
    /// assert_eq!(x.reshape(&[0, -1]).shape()?[..], [2, 6]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn reshape(x; sizes: &[isize]) = Reshape::To(sizes.into());
}

fn reshape(_: &Reshape, _: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    out.alias(0);
    Ok(())
}

/// The rows of the new shape that hold a stored element; where the first axis stays, the same ones.
fn reshape_rows<T: Real>(_: &Reshape, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (v, shape) = (ins[0].row_sparse()?, out.shape());
    let (own, new) = (row_len(v.shape), row_len(shape));
    if v.shape.first() == shape.first() && own == new {
        out.alias(0);
        return Ok(());
    }
    if shape.is_empty() {
        let message = "a row-sparse value keeps at least one axis; cast it to dense first";
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let held = v.values.typed::<T>()?;
    let mut rows: Vec<u32> = Vec::new();
    for &r in v.rows.iter().filter(|_| own > 0) {
        let first = r as usize * own;
        let touched = first / new..=(first + own - 1) / new;
        let again = rows.last().is_some_and(|&last| last as usize == *touched.start());
        rows.extend(touched.skip(usize::from(again)).map(|row| row as u32));
    }
    let values = out.rows::<T>(rows.clone())?;
    values.fill(T::zero());
    let mut at = 0;
    for (&r, row) in v.rows.iter().zip(held.chunks_exact(own.max(1))) {
        for (j, &x) in row.iter().enumerate() {
            let flat = r as usize * own + j;
            while rows[at] as usize != flat / new {
                at += 1;
            }
            values[at * new + flat % new] = x;
        }
    }
    Ok(())
}

/// The shape that `sizes` ask for.
fn resolve(own: &[usize], sizes: &[isize]) -> Result<Shape> {
    let fault = || {
        let message =
            format!("{} elements do not fit shape {sizes:?}", crate::tensor::size_of(own));
        Error::new(ErrorKind::Shape, message)
    };
    let known = |(axis, &size): (usize, &isize)| match size {
        0 => own.get(axis).copied().ok_or_else(fault),
        -1 => Ok(1),
        size => usize::try_from(size).map_err(|_| fault()),
    };
    let mut shape: SmallVec<[usize; 4]> =
        sizes.iter().enumerate().map(known).collect::<Result<_>>()?;
    let total = crate::tensor::size_of(own);
    let mut open = sizes.iter().enumerate().filter(|(_, s)| **s == -1).map(|(axis, _)| axis);
    if let Some(axis) = open.next() {
        let rest = crate::tensor::size_of(&shape);
        if open.next().is_some() || rest == 0 || !total.is_multiple_of(rest) {
            return Err(fault());
        }
        shape[axis] = total / rest;
    }
    if crate::tensor::size_of(&shape) == total {
        Ok(shape.into_iter().collect())
    } else {
        Err(fault())
    }
}

impl Op for Reshape {
    const NAME: &'static str = "reshape";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let own = ins[0].known();
        let wanted = match self {
            Reshape::To(sizes) => own.as_ref().map(|own| resolve(own, sizes)).transpose()?,
            Reshape::Like => {
                ins[1].unify(out)?;
                ins[1].known()
            }
        };
        match (own, wanted) {
            (Some(own), Some(wanted)) if own.size() == wanted.size() => out.set(&wanted),
            (Some(own), Some(wanted)) => {
                let message = format!("{} elements do not fit shape {wanted}", own.size());
                Err(Error::new(ErrorKind::Shape, message))
            }
            _ => Ok(()),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static LIKE: [Case<Reshape>; 6] = [
            case!(any [Default, Default] => Default, reshape),
            case!(any [Default, Csr] => Default, reshape),
            case!(any [Default, RowSparse] => Default, reshape),
            case!([RowSparse, Default] => RowSparse, reshape_rows),
            case!([RowSparse, Csr] => RowSparse, reshape_rows),
            case!([RowSparse, RowSparse] => RowSparse, reshape_rows),
        ];
        static TO: [Case<Reshape>; 2] = [
            case!(any [Default] => Default, reshape),
            case!([RowSparse] => RowSparse, reshape_rows),
        ];
        if *self == Reshape::Like { &LIKE } else { &TO }
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::View } else { Read::Shape }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy.reshape_like(x[0]));
        if x.len() > 1 {
            grads.zero(1);
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let shape = match self {
            Reshape::Like => Shape::from(ins[1].shape()),
            Reshape::To(sizes) => resolve(ins[0].shape(), sizes).unwrap_or_default(),
        };
        ins[0].to_shape(IxDyn(&shape)).map_or(ins[0].clone(), |x| x.to_owned())
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = || Tensor::from_fn([3, 4], |i| i as f64 - 5.5);
        let to = |sizes: &[isize]| Reshape::To(sizes.into());
        vec![
            Sample::good(Reshape::Like, [x(), Tensor::from_fn([2, 6], |i| i as f64)]),
            Sample::good(to(&[-1]), [x()]),
            Sample::good(to(&[0, 2, -1]), [x()]),
            Sample::good(Reshape::Like, [x(), Tensor::from_fn([3, 2, 2], |i| i as f64)]),
            Sample::good(Reshape::Like, [x(), Tensor::from_fn([3, 4], |i| i as f64)]),
            Sample::good(to(&[]), [Tensor::from_fn([1, 1], |_| 2.0)]),
            Sample::bad(to(&[5, -1]), [x()], ErrorKind::Shape, "12 elements do not fit"),
            Sample::bad(to(&[-1, -1]), [x()], ErrorKind::Shape, "do not fit"),
            Sample::bad(
                Reshape::Like,
                [x(), Tensor::from_fn([5], |i| i as f64)],
                ErrorKind::Shape,
                "do not fit shape (5,)",
            ),
        ]
    }
}
