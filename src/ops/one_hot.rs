//! Rows with a one at an id.

use ndarray::{ArrayD, Dimension, IxDyn};
use serde::{Deserialize, Serialize};

use super::ids::with_ids;
use super::pick::{check_id, unify_ids};
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::memory::{Csr, Temp};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, ranks_apart, unify_axes};
use crate::tensor::{DType, Real, Tensor, View};

/// `one_hot`: for each id a row of zeros with a one in the id's column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneHot {
    depth: usize,
    dtype: DType,
    csr: bool,
}

/// `one_hot_like`: ones at the ids, zeros elsewhere, in the shape of another operand, which is not
/// read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneHotLike;

methods! {
    /// For each of these ids (i64, any shape) a row of `depth` zeros with a one in the id's column:
    /// shape `ids.shape + (depth,)`, of element type f32 or f64. An id out of range is an error.
    /// (MXNet: `one_hot`, where such an id gives zeros; PyTorch: `one_hot`.)
    ///
    /// ```
    /// use sparsetape::{DType, Tape, Tensor};
    /// let tape = Tape::new();
    /// let ids = tape.constant(Tensor::dense([2], vec![2i64, 0])?);
    /// let y = ids.one_hot(3, DType::F32);
    /// assert_eq!(y.value()?.values::<f32>()?, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "OneHot")]
    fn one_hot(ids; depth: usize, dtype: DType) = OneHot { depth, dtype, csr: false };
    /// [`Var::one_hot`] of ids with one axis, as a csr matrix with one entry per row.
    ///
    /// ```
    /// use sparsetape::{DType, Tape, Tensor};
    /// let tape = Tape::new();
    /// let ids = tape.constant(Tensor::dense([2], vec![7_000_000i64, 0])?);
    /// let y = ids.one_hot_csr(100_000_000, DType::F32).value()?;
    /// assert_eq!((y.indices(), y.nnz()), (Some(&[7_000_000, 0][..]), 2));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn one_hot_csr(ids; depth: usize, dtype: DType) = OneHot { depth, dtype, csr: true };
    /// In the shape of this value: a one in the column (of the last axis) that `ids` (i64, one per
    /// row) names, zeros elsewhere. In the shape of a csr matrix it is a csr matrix with one entry
    /// per row. This value's own elements are not read.
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

fn dense<T: Real>(ids: &[i64], out: &mut Out) -> Result<()> {
    let cols = out.shape().last().copied().unwrap_or(1);
    let ones = out.zeros::<T>();
    for (row, &id) in ids.iter().enumerate() {
        ones[row * cols + check_id(row, id, cols)?] = T::one();
    }
    Ok(())
}

fn csr<T: Real>(ids: &[i64], out: &mut Out) -> Result<()> {
    let cols = out.shape()[1];
    let column = |(row, &id): (usize, &i64)| check_id(row, id, cols).map(|column| column as u32);
    let indices = Temp::try_collect(ids.iter().enumerate().map(column))?;
    let (indptr, values) = (Temp::collect(0..=ids.len()), Temp::filled(T::one(), ids.len()));
    out.set_csr(Csr { indptr, indices, values });
    Ok(())
}

fn hot<T: Real>(_: &OneHot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    dense::<T>(ins[0].typed()?, out)
}

fn hot_csr<T: Real>(_: &OneHot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    csr::<T>(ins[0].typed()?, out)
}

fn like<T: Real>(_: &OneHotLike, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    dense::<T>(ins[1].typed()?, out)
}

fn like_csr<T: Real>(_: &OneHotLike, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    csr::<T>(ins[1].typed()?, out)
}

/// Row after row, of `depth` elements.
fn one_hot_mimic(ids: &ArrayD<f64>, depth: usize) -> ArrayD<f64> {
    let shape: Vec<usize> = ids.shape().iter().copied().chain([depth]).collect();
    ArrayD::from_shape_fn(IxDyn(&shape), |at| {
        let (row, column) = (&at.slice()[..ids.ndim()], at[ids.ndim()]);
        f64::from(u8::from(ids[row] == column as f64))
    })
}

impl Op for OneHot {
    const NAME: &'static str = "one_hot";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if self.csr {
            ins[0].set_rank(1)?;
        }
        let Some(axes) = ranks_apart(&mut ins[0], out, 1)? else { return Ok(()) };
        out.set_dim(axes, self.depth)?;
        unify_axes(&mut ins[0], out, (0..axes).map(|axis| (axis, axis)))
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        with_ids(self.dtype, ins[0])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static DENSE: [Case<OneHot>; 1] = [case!([Default] => Default, hot)];
        static CSR: [Case<OneHot>; 1] = [case!([Default] => Csr, hot_csr)];
        if self.csr { &CSR } else { &DENSE }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        one_hot_mimic(&ins[0], self.depth)
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |csr, dtype| OneHot { depth: 3, dtype, csr };
        let ids = |shape: &[usize]| Tensor::from_fn(shape, |i| (i as i64 * 2) % 3);
        let far = Tensor::from_fn([2], |i| i as i64 * 3);
        let none = OneHot { depth: 0, dtype: DType::F64, csr: true };
        vec![
            Sample::good(op(false, DType::F64), [ids(&[2, 2])]),
            Sample::good(op(false, DType::F32), [ids(&[])]),
            Sample::good(op(false, DType::F64), [ids(&[0])]),
            Sample::good(op(true, DType::F32), [ids(&[4])]),
            Sample::good(op(true, DType::F64), [ids(&[4])]),
            Sample::good(none, [ids(&[0])]),
            Sample::bad(
                op(true, DType::F64),
                [far.clone()],
                ErrorKind::Index,
                "id 3 in row 1, but there are 3 columns",
            ),
            Sample::bad(op(false, DType::F64), [far], ErrorKind::Index, "id 3 in row 1"),
            Sample::bad(op(true, DType::F64), [ids(&[2, 2])], ErrorKind::Shape, "needs 1 axis"),
            Sample::bad(op(false, DType::I64), [ids(&[2])], ErrorKind::DType, "i64"),
            Sample::bad(
                op(false, DType::F64),
                [Tensor::scalar(1.0)],
                ErrorKind::DType,
                "ids are i64",
            ),
        ]
    }
}

impl Op for OneHotLike {
    const NAME: &'static str = "one_hot_like";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [x, ids] = ins else { unreachable!("a value and ids") };
        if let (Some(n), Some(m)) = (x.rank(), ids.rank())
            && n != m + 1
        {
            let message = format!("needs one id per row: ids of shape {ids} for {x}");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        x.unify(out)?;
        ranks_apart(ids, x, 1)?;
        unify_ids(x, ids)?;
        x.unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        with_ids(ins[0], ins[1])
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<OneHotLike>; 3] = [
            case!([Default, Default] => Default, like),
            case!([RowSparse, Default] => Default, like),
            case!([Csr, Default] => Csr, like_csr),
        ];
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
        one_hot_mimic(&ins[1], ins[0].shape()[ins[1].ndim()])
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = |shape: &[usize]| Tensor::from_fn(shape, |i| i as f64 - 4.5);
        let ids = |shape: &[usize]| Tensor::from_fn(shape, |i| (i as i64 * 2) % 3);
        let below = Tensor::from_fn([3], |i| i as i64 - 1);
        vec![
            Sample::good(OneHotLike, [x(&[3, 4]), ids(&[3])]),
            Sample::good(OneHotLike, [x(&[2, 2, 3]), ids(&[2, 2])]),
            Sample::good(OneHotLike, [x(&[3]), ids(&[])]),
            Sample::good(OneHotLike, [x(&[0, 3]), ids(&[0])]),
            Sample::bad(OneHotLike, [x(&[3, 4]), below], ErrorKind::Index, "id -1 in row 0"),
            Sample::bad(OneHotLike, [x(&[3, 4]), ids(&[2])], ErrorKind::Shape, "differ"),
            Sample::bad(OneHotLike, [x(&[3, 4]), ids(&[3, 1])], ErrorKind::Shape, "one id per row"),
        ]
    }
}
