//! One element of each row, and the row that has a one there.

use ndarray::{ArrayD, Axis, IxDyn};
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::structural::{Axes, BroadcastLike, Reduction};
use crate::tape::{Out, PartialShape, Scratch, Var, unify_dims};
use crate::tensor::{DType, Real, Tensor, View};

/// `pick`: from each row of a matrix, the element that an id names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pick;

/// `one_hot_like`: ones at the ids, zeros elsewhere, in the shape of a matrix, which is not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneHotLike;

methods! {
    /// From each row of this matrix, the element in the column that `ids` (i64, one per row) names.
    /// (MXNet: `pick`; an id out of range is an error.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let ids = tape.constant(Tensor::dense([2], vec![1i64, 0])?);
    /// assert_eq!(x.pick(ids).value()?.values::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn pick(x, ids) = Pick;
    /// In the shape of this matrix: a one in the column that `ids` (i64, one per row) names, zeros
    /// elsewhere. (MXNet: `one_hot`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 2], 9.0f32)?);
    /// let ids = tape.constant(Tensor::dense([2], vec![1i64, 0])?);
    /// assert_eq!(x.one_hot_like(ids).value()?.values::<f32>()?, [0.0, 1.0, 1.0, 0.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn one_hot_like(x, ids) = OneHotLike;
}

/// The position of each row's id in a matrix of `classes` columns.
fn positions(ids: &[i64], classes: usize) -> impl Iterator<Item = Result<usize>> {
    ids.iter().enumerate().map(move |(row, &id)| match usize::try_from(id) {
        Ok(column) if column < classes => Ok(row * classes + column),
        _ => {
            let message = format!("id {id} in row {row}, but there are {classes} columns");
            Err(Error::new(ErrorKind::Index, message))
        }
    })
}

fn pick<T: Real>(_: &Pick, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (x, ids) = (ins[0].typed::<T>()?, ins[1].typed::<i64>()?);
    for (to, at) in out.dense::<T>().iter_mut().zip(positions(ids, ins[0].shape()[1])) {
        *to = x[at?];
    }
    Ok(())
}

fn one_hot<T: Real>(_: &OneHotLike, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (ids, to) = (ins[1].typed::<i64>()?, out.zeros::<T>());
    positions(ids, ins[0].shape()[1]).try_for_each(|at| {
        to[at?] = T::one();
        Ok(())
    })
}

fn refine(ins: &mut [PartialShape]) -> Result<()> {
    let [x, ids] = ins else { unreachable!("a matrix and ids") };
    x.set_rank(2)?;
    ids.set_rank(1)?;
    unify_dims((x, 0), (ids, 0))
}

fn dtype(ins: &[DType]) -> Result<DType> {
    match ins {
        [x, DType::I64] => Ok(*x),
        _ => Err(Error::new(ErrorKind::DType, format!("ids are i64, got {}; use `cast`", ins[1]))),
    }
}

impl Op for Pick {
    const NAME: &'static str = "pick";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        refine(ins)?;
        ins[1].unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        dtype(ins)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Pick>; 1] = [case!([Default, Default] => Default, pick)];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let last = Axes::List([-1].into_iter().collect());
        let along = Reduction { axes: last, ..Reduction::default() };
        grads.give(0, || {
            x[0].one_hot_like(x[1]) * Var::apply(BroadcastLike::new(along), &[dy, x[0]])
        });
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let rows = ins[0].len_of(Axis(0));
        ArrayD::from_shape_fn(IxDyn(&[rows]), |i| ins[0][[i[0], ins[1][[i[0]]] as usize]])
    }

    fn samples() -> Vec<Sample<Self>> {
        let (x, ids) = inputs();
        let far = Tensor::from_fn([3], |i| i as i64 * 2);
        let floats = Tensor::from_fn([3], |i| i as f64);
        vec![
            Sample::good(Pick, [x.clone(), ids]),
            Sample::bad(Pick, [x.clone(), far], ErrorKind::Index, "id 4 in row 2"),
            Sample::bad(Pick, [x, floats], ErrorKind::DType, "ids are i64"),
        ]
    }
}

impl Op for OneHotLike {
    const NAME: &'static str = "one_hot_like";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        refine(ins)?;
        ins[0].unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        dtype(ins)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<OneHotLike>; 1] = [case!([Default, Default] => Default, one_hot)];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::Shape } else { Read::All }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ArrayD::from_shape_fn(ins[0].raw_dim(), |i| {
            f64::from(u8::from(ins[1][[i[0]]] as usize == i[1]))
        })
    }

    fn samples() -> Vec<Sample<Self>> {
        let (x, ids) = inputs();
        let below = Tensor::from_fn([3], |i| i as i64 - 1);
        vec![
            Sample::good(OneHotLike, [x.clone(), ids]),
            Sample::bad(OneHotLike, [x, below], ErrorKind::Index, "id -1 in row 0"),
        ]
    }
}

fn inputs() -> (Tensor, Tensor) {
    let x = Tensor::from_fn([3, 4], |i| i as f64 - 4.5);
    (x, Tensor::from_fn([3], |i| (i as i64 * 2) % 3))
}
