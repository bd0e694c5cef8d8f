//! Look-ups: rows of a table by id, and their gradient.

use ndarray::{ArrayD, Axis, IxDyn};
use serde::{Deserialize, Serialize};

use super::ids::{self, OutOfRange, no_rows, with_ids};
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::by_id::ById;
use crate::kernels::columns::compact;
use crate::kernels::gather::{gather_compact, gather_csr, gather_rows};
use crate::kernels::memory::{Csr, Temp};
use crate::kernels::merge::positions;
use crate::kernels::spgemm;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{OpRef, Out, PartialShape, Scratch, Var, compose, ranks_apart, unify_axes};
use crate::tensor::cast::csr_ref;
use crate::tensor::dtype::each_dtype;
use crate::tensor::{CsrView, DType, Element, Real, Shape, Stype, Tensor, View, row_len};

/// `take`: the rows of a table that ids name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Take {
    /// Whether the gradient of a dense table is dense.
    #[serde(default)]
    dense_grad: bool,
}

/// `take_grad`: rows of a cotangent added up by id, in the shape of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TakeGrad {
    /// Whether the result is dense; else it is row-sparse, or csr where the table is.
    #[serde(default)]
    dense: bool,
}

/// [`Take`] whose gradient is as sparse as can be, or dense for a dense table.
pub(super) fn operator(dense_grad: bool) -> OpRef {
    match dense_grad {
        false => OpRef::from_static(&Take { dense_grad: false }),
        true => OpRef::from_static(&Take { dense_grad: true }),
    }
}

methods! {
    /// The rows of this table that `ids` (i64, any shape) name: shape `ids.shape + table.shape[1..]`.
    /// Rows of a csr table make a csr matrix; its ids have one axis. An id out of range is an error;
    /// [`Var::take_with`] clips or wraps it.
    ///
    /// The gradient of a dense or row-sparse table is row-sparse, with exactly the ids that occur;
    /// that of a csr table lives on its pattern. (MXNet: `take` on axis 0; PyTorch: `embedding` with
    /// `sparse`.)
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
    #[doc(alias = "index_select")]
    fn take(table, ids) = operator(false);
}

impl<'t> Var<'t> {
    /// [`Var::take`] with a choice for ids out of range. (MXNet: `take` with `mode`.)
    ///
    /// ```
    /// use sparsetape::{OutOfRange, Tape, Tensor};
    /// let tape = Tape::new();
    /// let table = tape.constant(Tensor::csr([2, 9], vec![0, 1, 2], vec![4, 7], vec![1.0f32, 2.0])?);
    /// let ids = tape.constant(Tensor::dense([2], vec![-1i64, 5])?);
    /// let last = table.take_with(ids, OutOfRange::Wrap).value()?;
    /// assert_eq!((last.indices(), last.values::<f32>()?), (Some(&[7, 7][..]), &[2.0, 2.0][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn take_with(self, ids: Var<'t>, out_of_range: OutOfRange) -> Var<'t> {
        self.tape().composition("take", || self.take(ids.bounded_by(self, out_of_range)))
    }
}

impl Tensor {
    /// Unrecorded [`Var::take_with`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn take_with(&self, ids: &Tensor, out_of_range: OutOfRange) -> Result<Tensor> {
        compose([self, ids], |[table, ids]| table.take_with(ids, out_of_range))
    }
}

/// The ids as row numbers of a table.
pub(super) fn rows(ids: &[i64], bound: usize) -> Result<Temp<u32>> {
    // Which one is out of range is asked only if one is.
    if !ids.iter().fold(true, |all, &id| all & ((id as u64) < bound as u64)) {
        ids.iter().enumerate().try_for_each(|(i, &id)| ids::row(i, id, bound).map(drop))?;
    }
    Ok(Temp::collect(ids.iter().map(|&id| id as u32)))
}

fn take(_: &Take, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let ids = rows(ins[1].typed()?, ins[0].shape()[0])?;
    each_dtype!(Slice::ins[0].values(), values => take_rows(ins[0], values, &ids, out))
}

fn take_rows<T: Element>(table: View, values: &[T], ids: &[u32], out: &mut Out) -> Result<()> {
    let k = row_len(table.shape());
    match table {
        View::Dense(_) => gather_rows(values, k, ids, out.dense()),
        View::RowSparse(v) => {
            let (distinct, mut slots) = compact(ids, v.shape[0]);
            let at = positions(&distinct, v.rows);
            slots.iter_mut().for_each(|slot| *slot = at[*slot as usize]);
            gather_compact(&slots, values, k, out.dense());
        }
        View::Csr(v) => {
            if out.shape().len() != 2 {
                let axes = out.shape().len() - 1;
                let message = format!("rows of a csr table need ids with one axis, got {axes}");
                return Err(Error::new(ErrorKind::Shape, message));
            }
            out.set_csr(gather_csr(csr_ref(&v, values), ids));
        }
    }
    Ok(())
}

/// Whether each row of a cotangent in this storage type belongs to whole ids of `axes` axes.
fn rows_have_ids(stype: Stype, axes: usize) -> bool {
    match stype {
        Stype::Default => true,
        Stype::Csr => axes == 1,
        Stype::RowSparse => axes > 0,
    }
}

/// The ids of the rows of `dy` that are stored, and their values.
fn stored<'a, T: Real>(dy: View<'a>, ids: View, bound: usize) -> Result<(Temp<u32>, &'a [T])> {
    let axes = ids.shape().len();
    if !rows_have_ids(dy.stype(), axes) {
        let message = format!("rows of a {} cotangent have no ids of {axes} axes", dy.stype());
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let named = rows(ids.typed()?, bound)?;
    let each = row_len(ids.shape());
    let ids = match dy {
        View::RowSparse(v) => {
            let mut ids = Temp::with_capacity(v.rows.len() * each);
            let of_row = |&r: &u32| &named[r as usize * each..][..each];
            v.rows.iter().for_each(|r| ids.extend_from_slice(of_row(r)));
            ids
        }
        _ => named,
    };
    Ok((ids, dy.typed::<T>()?))
}

/// Dense or row-sparse cotangents.
fn add_rows<T: Real>(op: &TakeGrad, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let shape = out.shape();
    let (ids, dy) = stored::<T>(ins[0], ins[1], shape[0])?;
    let (by_id, k) = (ById::new(&ids, shape[0]), row_len(shape));
    if !op.dense {
        by_id.sum(dy, k, out.rows(Temp::copied(&by_id.distinct))?);
        return Ok(());
    }
    let mut sums = Temp::unspecified(by_id.distinct.len() * k);
    by_id.sum(dy, k, &mut sums);
    let all = out.zeros::<T>();
    for (&id, sum) in by_id.distinct.iter().zip(sums.chunks_exact(k.max(1))) {
        all[id as usize * k..][..k].copy_from_slice(sum);
    }
    Ok(())
}

/// A csr cotangent of dense rows.
fn add_csr<T: Real>(op: &TakeGrad, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (dy, shape) = (ins[0].csr()?, out.shape());
    let (ids, values) = stored::<T>(ins[0], ins[1], shape[0])?;
    if op.dense {
        add_entries(dy, values, &ids, out.zeros());
        return Ok(());
    }
    let (distinct, slots) = compact(&ids, shape[0]);
    let sums = out.rows::<T>(distinct)?;
    sums.fill(T::zero());
    add_entries(dy, values, &slots, sums);
    Ok(())
}

/// Adds row `n` of a csr matrix to row `slots[n]` of `sums`.
fn add_entries<T: Real>(dy: &CsrView, values: &[T], slots: &[u32], sums: &mut [T]) {
    let (dy, k) = (csr_ref(dy, values), dy.pattern.cols());
    for (n, &slot) in slots.iter().enumerate() {
        let (columns, values) = dy.row(n);
        for (&column, &x) in columns.iter().zip(values) {
            let sum = &mut sums[slot as usize * k + column as usize];
            *sum = *sum + x;
        }
    }
}

/// Sᵀ · dy, where row `n` of S has a one at `ids[n]`.
fn merge_rows<T: Real>(_: &TakeGrad, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (ids, values) = stored::<T>(ins[0], ins[1], out.shape()[0])?;
    let rows = ids.len();
    let (indptr, values_of) = (Temp::collect(0..=rows), Temp::filled(T::one(), rows));
    let selection = Csr { indptr, indices: ids, values: values_of };
    let turned = spgemm::transpose(selection.view(out.shape()[0]));
    out.set_csr(spgemm::csr_csr(turned.view(rows), csr_ref(ins[0].csr()?, values)));
    Ok(())
}

/// `ids.shape + table.shape[1..]`.
fn looked_up(table: &[usize], ids: &[usize]) -> Result<Shape> {
    match table {
        [] => Err(no_rows()),
        [_, row @ ..] => Ok(ids.iter().chain(row).copied().collect()),
    }
}

/// Refines the shapes of a table, of ids and of the rows that they name:
/// `ids.shape + table.shape[1..]`.
fn refine(table: &mut PartialShape, ids: &mut PartialShape, rows: &mut PartialShape) -> Result<()> {
    match table.rank() {
        Some(0) => return Err(no_rows()),
        Some(axes) => _ = ranks_apart(ids, rows, axes - 1)?,
        None => {
            if let (Some(named), Some(axes)) = (ids.rank(), rows.rank()) {
                if axes < named {
                    rows.set_rank(named)?;
                }
                table.set_rank(axes + 1 - named)?;
            }
        }
    }
    let (Some(axes), Some(named)) = (table.rank(), ids.rank()) else { return Ok(()) };
    unify_axes(ids, rows, (0..named).map(|axis| (axis, axis)))?;
    unify_axes(table, rows, (1..axes).map(|axis| (axis, named + axis - 1)))
}

impl Op for Take {
    const NAME: &'static str = "take";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [table, ids] = ins else { unreachable!("a table and ids") };
        refine(table, ids, out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        with_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Take>; 3] = [
            case!(any [Default, Default] => Default, take),
            case!(any [RowSparse, Default] => Default, take),
            case!(any [Csr, Default] => Csr, take),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::RowsOf(1) } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let dense_table = x[0].stype().is_ok_and(|stype| stype == Stype::Default);
        let op = match self.dense_grad && dense_table {
            false => OpRef::from_static(&TakeGrad { dense: false }),
            true => OpRef::from_static(&TakeGrad { dense: true }),
        };
        let by_ids = match (dy.stype(), x[1].rank()) {
            (Ok(stype), Some(axes)) => rows_have_ids(stype, axes),
            (stype, _) => stype.is_ok_and(|stype| stype == Stype::Default),
        };
        grads.give(0, || {
            let dy = if by_ids { dy } else { dy.cast_storage(Stype::Default) };
            Var::apply(op, &[dy, x[1], x[0]])
        });
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
        let op = |dense_grad| Take { dense_grad };
        let mut samples = vec![
            Sample::good(op(false), [table(), ids(&[5])]),
            Sample::good(op(false), [table(), ids(&[2, 3])]),
            Sample::good(op(false), [table(), ids(&[0])]),
            Sample::good(op(false), [Tensor::from_fn([4], |i| i as f64), ids(&[])]),
            Sample::good(op(false), [Tensor::from_fn([4, 2, 2], |i| i as f64), ids(&[3])]),
            Sample::good(op(false), [super::dot::sparse_sample([4, 0], 3), ids(&[3])]),
            Sample::good(op(false), [table(), ids(&[])]),
            Sample::good(op(false), [Tensor::from_fn([4, 2, 2], |i| i as f64), ids(&[])]),
            Sample::good(op(false), [Tensor::from_fn([4], |i| i as f64), ids(&[2, 3])]),
            Sample::good(op(true), [table(), ids(&[5])]),
            Sample::good(op(true), [table(), ids(&[2, 3])]),
            Sample::bad(op(false), [table(), far], ErrorKind::Index, "ids[1] = 4"),
            Sample::bad(op(false), [table(), floats], ErrorKind::DType, "ids are i64"),
            Sample::bad(op(false), [Tensor::scalar(1.0), ids(&[1])], ErrorKind::Shape, "no rows"),
        ];
        let csr = table().cast_storage(Stype::Csr);
        samples.extend(csr.map(|x| {
            Sample::bad(op(false), [x, ids(&[2, 2])], ErrorKind::Shape, "one axis, got 2")
        }));
        samples
    }
}

impl Op for TakeGrad {
    const NAME: &'static str = "take_grad";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [dy, ids, table] = ins else { unreachable!("a cotangent, ids and a table") };
        table.unify(out)?;
        refine(table, ids, dy)?;
        table.unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        with_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static SPARSE: [Case<TakeGrad>; 7] = [
            case!([Default, Default, Default] => RowSparse, add_rows),
            case!([Default, Default, RowSparse] => RowSparse, add_rows),
            case!([RowSparse, Default, Default] => RowSparse, add_rows),
            case!([RowSparse, Default, RowSparse] => RowSparse, add_rows),
            case!([Csr, Default, Default] => RowSparse, add_csr),
            case!([Csr, Default, RowSparse] => RowSparse, add_csr),
            case!([Csr, Default, Csr] => Csr, merge_rows),
        ];
        static DENSE: [Case<TakeGrad>; 3] = [
            case!([Default, Default, Default] => Default, add_rows),
            case!([RowSparse, Default, Default] => Default, add_rows),
            case!([Csr, Default, Default] => Default, add_csr),
        ];
        if self.dense { &DENSE } else { &SPARSE }
    }

    fn reads(&self, i: usize) -> Read {
        if i == 2 { Read::Shape } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let is = |v: Var<'t>, stype| v.stype().is_ok_and(|s| s == stype);
        // Rows of a csr matrix are csr, whatever the shape of the ids.
        let by_rows = is(dy, Stype::Csr) && !is(x[2], Stype::Csr);
        grads.give(0, || match by_rows {
            true => dy.cast_storage(Stype::RowSparse).take(x[1]),
            false => dy.take(x[1]),
        });
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
        let op = |dense| TakeGrad { dense };
        let pairs = || {
            let dy = Tensor::from_fn([2, 2, 2], |i| if i < 4 { 0.0 } else { i as f64 });
            [dy, Tensor::from_fn([2, 2], |i| i as i64), table()]
        };
        let none = [dy(0), Tensor::from_fn([0], |i| i as i64), table()];
        let holes = || super::dot::sparse_sample([5, 2], 3);
        let far = Tensor::from_fn([5], |i| i as i64 - 1);
        let rows = Tensor::row_sparse([2], vec![1], vec![1.0]).unwrap_or_else(|_| dy(0));
        let one = Tensor::scalar(1i64);
        let row_of_no_id =
            Sample::bad(op(false), [rows, one, table()], ErrorKind::Shape, "no ids of 0 axes");
        vec![
            Sample::good(op(false), [dy(5), ids(), table()]),
            Sample::good(op(false), [holes(), ids(), table()]),
            Sample::good(op(false), pairs()),
            Sample::good(op(false), none.clone()),
            Sample::good(op(true), [dy(5), ids(), table()]),
            Sample::good(op(true), [holes(), ids(), table()]),
            Sample::good(op(true), pairs()),
            Sample::good(op(true), none),
            Sample::bad(op(false), [dy(4), ids(), table()], ErrorKind::Shape, "differ"),
            row_of_no_id,
            Sample::bad(op(true), [dy(5), far, table()], ErrorKind::Index, "ids[0] = -1"),
        ]
    }
}
