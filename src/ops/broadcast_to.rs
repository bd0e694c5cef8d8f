//! Copies out to a shape given by number.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::broadcast::aligned;
use crate::kernels::strided::{Strided, copy};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, unify_dims};
use crate::tensor::{Element, Shape, Tensor, View};

/// `broadcast_to`: sizes per axis; 0 keeps the operand's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BroadcastTo {
    sizes: SmallVec<[isize; 4]>,
}

methods! {
    /// Repeats this value to another shape by numpy's rules: axes are aligned at the last, those of
    /// size 1 and those that it does not have repeat. A size of 0 keeps that of the operand's axis
    /// there. (MXNet: `broadcast_to`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 1], vec![1.0f32, 2.0])?);
    /// let y = x.broadcast_to(&[0, 3]);
    /// assert_eq!(y.value()?.values::<f32>()?, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "expand")]
    fn broadcast_to(x; sizes: &[isize]) = BroadcastTo { sizes: sizes.into() };
}

impl BroadcastTo {
    /// The result's shape for an operand of this one.
    fn result(&self, own: &[usize]) -> Result<Shape> {
        let (sizes, ndim) = (&self.sizes, self.sizes.len());
        let fault = |message: String| Error::new(ErrorKind::Shape, message);
        let unfit = || fault(format!("shape {} does not broadcast to {sizes:?}", Shape::from(own)));
        if own.len() > ndim {
            return Err(unfit());
        }
        let size = |axis: usize| {
            let held = axis.checked_sub(ndim - own.len()).map(|axis| own[axis]);
            match (held, usize::try_from(sizes[axis])) {
                (Some(held), Ok(0)) => Ok(held),
                (None, Ok(0)) => Err(fault(format!("axis {axis} is new: it has no size to keep"))),
                (None | Some(1), Ok(size)) => Ok(size),
                (Some(held), Ok(size)) if held == size => Ok(size),
                _ => Err(unfit()),
            }
        };
        (0..ndim).map(size).collect()
    }

    /// What follows from the sizes, and from what is known of the operand's.
    fn refine_partly(&self, own: &mut PartialShape, out: &mut PartialShape) -> Result<()> {
        out.set_rank(self.sizes.len())?;
        for (axis, &size) in self.sizes.iter().enumerate() {
            let held = own.rank().and_then(|rank| (axis + rank).checked_sub(self.sizes.len()));
            match (held, usize::try_from(size)) {
                (Some(held), Ok(0)) => unify_dims((own, held), (out, axis))?,
                (_, Ok(size @ 1..)) => out.set_dim(axis, size)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn repeat<T: Element>(_: &BroadcastTo, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (own, shape) = (ins[0].shape(), out.shape());
    if own == &shape[..] {
        out.alias(0);
        return Ok(());
    }
    let steps = aligned(own, shape).into_iter().map(|step| step as isize).collect();
    let whole = Strided::whole(shape);
    copy(shape, (ins[0].typed()?, &Strided { base: 0, steps }), (out.dense::<T>(), &whole));
    Ok(())
}

impl Op for BroadcastTo {
    const NAME: &'static str = "broadcast_to";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        match ins[0].known() {
            Some(own) => out.set(&self.result(&own)?),
            None => self.refine_partly(&mut ins[0], out),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<BroadcastTo>; 1] = [case!(each [Default] => Default, repeat)];
        &CASES
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy.sum_like(x[0]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let shape = self.result(ins[0].shape()).unwrap_or_default();
        ins[0].broadcast(&shape[..]).map_or_else(|| ins[0].clone(), |x| x.to_owned())
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |sizes: &[isize]| BroadcastTo { sizes: sizes.into() };
        let x = |shape: &[usize]| Tensor::from_fn(shape, |i| i as f64 - 1.5);
        let bad = |sizes: &[isize], shape: &[usize], message| {
            Sample::bad(op(sizes), [x(shape)], ErrorKind::Shape, message)
        };
        vec![
            Sample::good(op(&[3, 4]), [x(&[1, 4])]),
            Sample::good(op(&[0, 4]), [x(&[3, 1])]),
            Sample::good(op(&[2, 3, 0]), [x(&[3, 4])]),
            Sample::good(op(&[2, 0, 2, 3]), [x(&[1, 2, 1, 3])]),
            Sample::good(op(&[3, 4]), [x(&[3, 4])]),
            Sample::good(op(&[2, 2]), [Tensor::scalar(1.5)]),
            Sample::good(op(&[]), [Tensor::scalar(1.5)]),
            Sample::good(op(&[3, 0]), [x(&[1, 0])]),
            bad(&[3, 5], &[1, 4], "shape (1, 4) does not broadcast to [3, 5]"),
            bad(&[4], &[1, 4], "does not broadcast"),
            bad(&[-1, 4], &[1, 4], "does not broadcast"),
            bad(&[0, 0, 4], &[1, 4], "axis 0 is new: it has no size to keep"),
        ]
    }
}
