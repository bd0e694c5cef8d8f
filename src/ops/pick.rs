//! Elements of each row by column, and their gradient.

use ndarray::{ArrayD, Dimension};
use serde::{Deserialize, Serialize};

use super::ids::with_ids;
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, unify_dims};
use crate::tensor::dtype::each_dtype;
use crate::tensor::{DType, Element, Real, Tensor, View, row_len};

/// `pick`: from each row, the elements that ids name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pick;

/// `pick_grad`: a cotangent's elements added up at the places that [`Pick`] took them from, in the
/// shape, storage type and pattern of the operand that it picked from, whose values are not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PickGrad;

methods! {
    /// From each row (along the last axis) of this value, the element in the column that `ids` (i64)
    /// names: one id per row, or a row of ids for each row. The result has the shape of `ids`. An
    /// absent element of a sparse value is 0; an id out of range is an error. (MXNet: `pick`;
    /// PyTorch: `gather`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let ids = tape.constant(Tensor::dense([2], vec![1i64, 0])?);
    /// assert_eq!(x.pick(ids).value()?.values::<f32>()?, [2.0, 3.0]);
    /// let swapped = tape.constant(Tensor::dense([2, 2], vec![1i64, 0, 1, 0])?);
    /// assert_eq!(x.pick(swapped).value()?.values::<f32>()?, [2.0, 1.0, 4.0, 3.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "gather")]
    #[doc(alias = "take_along_axis")]
    fn pick(x, ids) = Pick;
}

/// The column that an id names in its row.
pub(super) fn check_id(row: usize, id: i64, cols: usize) -> Result<usize> {
    usize::try_from(id).ok().filter(|&column| column < cols).ok_or_else(|| {
        let message = format!("id {id} in row {row}, but there are {cols} columns");
        Error::new(ErrorKind::Index, message)
    })
}

/// Makes the sizes of `x`, but for the last axis, those of `ids`.
pub(super) fn unify_ids(x: &mut PartialShape, ids: &mut PartialShape) -> Result<()> {
    let Some(ndim) = x.rank().filter(|_| ids.rank().is_some()) else { return Ok(()) };
    if ndim == 0 {
        return Err(Error::new(ErrorKind::Shape, "a value of shape () has no rows"));
    }
    (0..ndim - 1).try_for_each(|axis| unify_dims((x, axis), (ids, axis)))
}

/// Calls `f` with the position of each id and where the value that it names is stored, if it is.
fn each_place(x: View, ids: View, mut f: impl FnMut(usize, Option<usize>)) -> Result<()> {
    let (shape, named) = (x.shape(), ids.typed::<i64>()?);
    let cols = shape[shape.len() - 1];
    let per_row = if ids.shape().len() == shape.len() { ids.shape()[shape.len() - 1] } else { 1 };
    for (n, &id) in named.iter().enumerate() {
        let row = n / per_row;
        let column = check_id(row, id, cols)?;
        f(n, place(x, row, column));
    }
    Ok(())
}

/// Where the value of a row (along the last axis) and column is stored.
fn place(x: View, row: usize, column: usize) -> Option<usize> {
    match x {
        View::Dense(v) => Some(row * v.shape[v.shape.len() - 1] + column),
        View::Csr(v) => {
            let range = v.pattern.row_range(row);
            let at = v.pattern.indices()[range.clone()].binary_search(&(column as u32)).ok()?;
            Some(range.start + at)
        }
        View::RowSparse(v) if v.shape.len() == 1 => v.rows.binary_search(&(column as u32)).ok(),
        View::RowSparse(v) => {
            let (k, cols) = (row_len(v.shape), v.shape[v.shape.len() - 1]);
            let block = v.rows.binary_search(&((row / (k / cols)) as u32)).ok()?;
            Some(block * k + row % (k / cols) * cols + column)
        }
    }
}

fn pick(_: &Pick, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    each_dtype!(Slice::ins[0].values(), values => pick_from(ins, values, out.dense()))
}

fn pick_from<T: Element>(ins: &[View], values: &[T], picked: &mut [T]) -> Result<()> {
    each_place(ins[0], ins[1], |n, at| picked[n] = at.map_or(T::default(), |at| values[at]))
}

fn pick_grad<T: Real>(_: &PickGrad, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (dy, like) = (ins[0].typed::<T>()?, ins[2]);
    let sums = out.like::<T>(&like)?;
    sums.fill(T::zero());
    each_place(like, ins[1], |n, at| {
        if let Some(at) = at {
            sums[at] = sums[at] + dy[n];
        }
    })
}

fn refine(x: &mut PartialShape, ids: &mut PartialShape) -> Result<()> {
    if let (Some(n), Some(m)) = (x.rank(), ids.rank())
        && n != m
        && n != m + 1
    {
        let message = format!("needs one id, or a row of ids, per row: ids of shape {ids} for {x}");
        return Err(Error::new(ErrorKind::Shape, message));
    }
    unify_ids(x, ids)
}

/// The place that the id at `at` names.
fn named(ids: &ArrayD<f64>, at: &[usize], ndim: usize) -> Vec<usize> {
    at[..ndim - 1].iter().copied().chain([ids[at] as usize]).collect()
}

impl Op for Pick {
    const NAME: &'static str = "pick";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [x, ids] = ins else { unreachable!("a value and ids") };
        ids.unify(out)?;
        refine(x, ids)?;
        ids.unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        with_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Pick>; 3] = [
            case!(any [Default, Default] => Default, pick),
            case!(any [Csr, Default] => Default, pick),
            case!(any [RowSparse, Default] => Default, pick),
        ];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(PickGrad, &[dy, x[1], x[0]]));
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let (x, ids) = (&ins[0], &ins[1]);
        ArrayD::from_shape_fn(ids.raw_dim(), |at| x[&named(ids, at.slice(), x.ndim())[..]])
    }

    fn samples() -> Vec<Sample<Self>> {
        let far = Tensor::from_fn([3], |i| i as i64 * 2);
        let floats = Tensor::from_fn([3], |i| i as f64);
        let mut samples: Vec<_> =
            inputs().into_iter().map(|inputs| Sample::good(Pick, inputs)).collect();
        samples.extend([
            Sample::bad(Pick, [x(&[3, 4]), far], ErrorKind::Index, "id 4 in row 2"),
            Sample::bad(Pick, [x(&[3, 4]), floats], ErrorKind::DType, "ids are i64"),
            Sample::bad(Pick, [x(&[3, 4]), ids(&[2])], ErrorKind::Shape, "differ"),
            Sample::bad(Pick, [x(&[3, 4]), ids(&[])], ErrorKind::Shape, "a row of ids, per row"),
            Sample::bad(Pick, [Tensor::scalar(1.0), ids(&[])], ErrorKind::Shape, "no rows"),
        ]);
        samples
    }
}

impl Op for PickGrad {
    const NAME: &'static str = "pick_grad";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [dy, ids, x] = ins else { unreachable!("a cotangent, ids and a value") };
        x.unify(out)?;
        dy.unify(ids)?;
        refine(x, ids)?;
        dy.unify(ids)?;
        x.unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        with_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<PickGrad>; 3] = [
            case!([Default, Default, Default] => Default, pick_grad),
            case!([Default, Default, Csr] => Csr, pick_grad),
            case!([Default, Default, RowSparse] => RowSparse, pick_grad),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 2 { Read::Pattern } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy.pick(x[1]));
        grads.zero(1);
        grads.zero(2);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let (ids, mut sums) = (&ins[1], ArrayD::zeros(ins[2].raw_dim()));
        for (at, x) in ins[0].indexed_iter() {
            sums[&named(ids, at.slice(), ins[2].ndim())[..]] += x;
        }
        sums
    }

    fn samples() -> Vec<Sample<Self>> {
        let with_dy = |[x, ids]: [Tensor; 2]| {
            let dy = Tensor::from_fn(ids.shape().clone(), |i| i as f64 - 2.5);
            Sample::good(PickGrad, [dy, ids, x])
        };
        let mut samples: Vec<_> = inputs().into_iter().map(with_dy).collect();
        samples.push(Sample::bad(
            PickGrad,
            [x(&[2]), ids(&[3]), x(&[3, 4])],
            ErrorKind::Shape,
            "differ",
        ));
        samples
    }
}

/// A third is zeros, and the second row of several.
fn x(shape: &[usize]) -> Tensor {
    let zero = |i: usize| i.is_multiple_of(3) || (shape[0] > 2 && i / row_len(shape) == 1);
    Tensor::from_fn(shape, |i| if zero(i) { 0.0 } else { i as f64 - 4.5 })
}

fn ids(shape: &[usize]) -> Tensor {
    Tensor::from_fn(shape, |i| (i as i64 * 2) % 3)
}

fn inputs() -> Vec<[Tensor; 2]> {
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[3, 4], &[3]),
        (&[3, 4], &[3, 2]),
        (&[3, 4], &[3, 5]),
        (&[3, 4], &[3, 0]),
        (&[5], &[]),
        (&[5], &[4]),
        (&[3, 2, 3], &[3, 2]),
        (&[3, 2, 3], &[3, 2, 2]),
        (&[0, 3], &[0, 2]),
    ];
    shapes.into_iter().map(|(of, by)| [x(of), ids(by)]).collect()
}
