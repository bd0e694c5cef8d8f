//! Look-ups: rows of a table by id, and their gradient.

use ndarray::{ArrayD, Axis, IxDyn};
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::columns::compact;
use crate::kernels::gather::{gather_compact, gather_rows, scatter_add_compact};
use crate::kernels::merge::positions;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, compose};
use crate::tensor::{DType, Real, Shape, Tensor, View, row_len};

/// `take`: the rows of a table that ids name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Take;

/// `take_grad`: rows of a cotangent added up by id, row-sparse, in the shape of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakeGrad;

methods! {
    /// The rows of this table that `ids` (i64, any shape) name: shape `ids.shape + table.shape[1..]`.
    /// The table's gradient is row-sparse, with exactly the ids that occur. An id out of range is an
    /// error. (MXNet: `take` on axis 0, `Embedding` with `sparse_grad`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let table = tape.variable(Tensor::dense([3, 1], vec![1.0f32, 2.0, 3.0])?);
    /// let ids = tape.constant(Tensor::dense([2], vec![2i64, 2])?);
    /// let y = table.take(ids);
    /// assert_eq!(y.value()?.values::<f32>()?, [3.0, 3.0]);
    /// let gradients = y.sum().backward()?;
    /// assert_eq!(gradients.wrt(table).unwrap().rows(), Some(&[2][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn take(table, ids) = Take;
}

impl<'t> Var<'t> {
    /// The embedding of these ids: [`Var::take`] with the operands as MXNet's `Embedding` has them.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let table = tape.variable(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let ids = tape.constant(Tensor::dense([1], vec![1i64])?);
    /// assert_eq!(ids.embedding(table).value()?.values::<f32>()?, [3.0, 4.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn embedding(self, table: Var<'t>) -> Var<'t> {
        table.take(self)
    }
}

impl Tensor {
    /// Unrecorded [`Var::embedding`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn embedding(&self, table: &Tensor) -> Result<Tensor> {
        compose([self, table], |[ids, table]| ids.embedding(table))
    }
}

/// The ids as row numbers of a table.
pub(super) fn rows(ids: &[i64], bound: usize) -> Result<Vec<u32>> {
    let row = |(i, &id): (usize, &i64)| match u32::try_from(id) {
        Ok(row) if (row as usize) < bound => Ok(row),
        _ => {
            let message = format!("ids[{i}] = {id}, but the table has {bound} rows");
            Err(Error::new(ErrorKind::Index, message))
        }
    };
    ids.iter().enumerate().map(row).collect()
}

fn take<T: Real>(_: &Take, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (table, shape) = (ins[0].typed::<T>()?, ins[0].shape());
    let ids = rows(ins[1].typed()?, shape[0])?;
    match ins[0] {
        View::RowSparse(v) => {
            let (distinct, slots) = compact(&ids, shape[0]);
            let at = positions(&distinct, v.rows);
            let slots: Vec<u32> = slots.iter().map(|&slot| at[slot as usize]).collect();
            gather_compact(&slots, table, row_len(shape), out.dense());
        }
        _ => gather_rows(table, row_len(shape), &ids, out.dense()),
    }
    Ok(())
}

fn take_grad<T: Real>(_: &TakeGrad, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (dy, shape) = (ins[0].typed::<T>()?, out.shape());
    let mut ids = rows(ins[1].typed()?, shape[0])?;
    if let View::RowSparse(v) = ins[0] {
        // The ids of the rows that the cotangent stores.
        let each = row_len(ins[1].shape());
        let stored = v.rows.iter().flat_map(|&r| &ids[r as usize * each..][..each]);
        ids = stored.copied().collect();
    }
    let (distinct, slots) = compact(&ids, shape[0]);
    scatter_add_compact(&slots, dy, row_len(shape), out.rows(distinct)?);
    Ok(())
}

pub(super) fn float_and_ids(x: DType, ids: DType) -> Result<DType> {
    match ids {
        DType::I64 => Ok(x),
        _ => Err(Error::new(ErrorKind::DType, format!("ids are i64, got {ids}; use `cast`"))),
    }
}

/// `ids.shape + table.shape[1..]`.
fn looked_up(table: &[usize], ids: &[usize]) -> Result<Shape> {
    if table.is_empty() {
        return Err(Error::new(ErrorKind::Shape, "the table has no rows: its shape is ()"));
    }
    Ok(ids.iter().chain(&table[1..]).copied().collect())
}

impl Op for Take {
    const NAME: &'static str = "take";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        match (ins[0].known(), ins[1].known()) {
            (Some(table), Some(ids)) => out.set(&looked_up(&table, &ids)?),
            _ => Ok(()),
        }
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        float_and_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Take>; 2] = [
            case!([Default, Default] => Default, take),
            case!([RowSparse, Default] => Default, take),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::RowsOf(1) } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(TakeGrad, &[dy, x[1], x[0]]));
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let rows: Vec<usize> = ins[1].iter().map(|&id| id as usize).collect();
        let taken = ins[0].select(Axis(0), &rows);
        let shape = looked_up(ins[0].shape(), ins[1].shape()).unwrap_or_default();
        taken.to_shape(IxDyn(&shape)).map_or(taken.clone(), |t| t.to_owned())
    }

    fn samples() -> Vec<Sample<Self>> {
        let table = || super::dot::sparse_sample([4, 2], 3);
        let ids = |shape: &[usize]| Tensor::from_fn(shape, |i| (i as i64 * 3) % 4);
        let far = Tensor::from_fn([2], |i| i as i64 * 4);
        let floats = Tensor::from_fn([2], |i| i as f64);
        vec![
            Sample::good(Take, [table(), ids(&[5])]),
            Sample::good(Take, [table(), ids(&[2, 3])]),
            Sample::good(Take, [table(), ids(&[0])]),
            Sample::good(Take, [Tensor::from_fn([4], |i| i as f64), ids(&[])]),
            Sample::bad(Take, [table(), far], ErrorKind::Index, "ids[1] = 4"),
            Sample::bad(Take, [table(), floats], ErrorKind::DType, "ids are i64"),
        ]
    }
}

impl Op for TakeGrad {
    const NAME: &'static str = "take_grad";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [dy, ids, table] = ins else { unreachable!("a cotangent, ids and a table") };
        table.unify(out)?;
        match (ids.known(), table.known()) {
            (Some(ids), Some(table)) => dy.set(&looked_up(&table, &ids)?),
            _ => Ok(()),
        }
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        float_and_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<TakeGrad>; 4] = [
            case!([Default, Default, Default] => RowSparse, take_grad),
            case!([Default, Default, RowSparse] => RowSparse, take_grad),
            case!([RowSparse, Default, Default] => RowSparse, take_grad),
            case!([RowSparse, Default, RowSparse] => RowSparse, take_grad),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 2 { Read::Shape } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy.take(x[1]));
        grads.zero(1);
        grads.zero(2);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let mut sums = ArrayD::zeros(ins[2].raw_dim());
        let k = row_len(ins[2].shape());
        let flat: Vec<f64> = ins[0].iter().copied().collect();
        for (n, &id) in ins[1].iter().enumerate() {
            let mut row = sums.index_axis_mut(Axis(0), id as usize);
            row.iter_mut().zip(&flat[n * k..]).for_each(|(s, x)| *s += x);
        }
        sums
    }

    fn samples() -> Vec<Sample<Self>> {
        let table = || super::dot::sparse_sample([4, 2], 3);
        let ids = || Tensor::from_fn([5], |i| (i as i64 * 3) % 4);
        let dy = |n: usize| Tensor::from_fn([n, 2], |i| i as f64 - 3.5);
        vec![
            Sample::good(TakeGrad, [dy(5), ids(), table()]),
            Sample::good(
                TakeGrad,
                [
                    Tensor::from_fn([2, 2, 2], |i| if i < 4 { 0.0 } else { i as f64 }),
                    Tensor::from_fn([2, 2], |i| i as i64),
                    table(),
                ],
            ),
            Sample::bad(TakeGrad, [dy(4), ids(), table()], ErrorKind::Shape, "differ"),
        ]
    }
}
