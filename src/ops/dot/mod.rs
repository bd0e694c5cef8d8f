//! Matrix products.

mod epilogue;
mod kernels;
mod mapped;

use ndarray::{ArrayD, Axis, Ix2};
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::tape::op::{Case, Grads, Op, Read, Sample, SliceKernel};
use crate::tape::{PartialShape, Var, compose, unify_dims};
use crate::tensor::{DType, Stype, Tensor};

use super::sampled_dot::SampledDot;
use kernels::*;

pub(super) use kernels::{matrix, near_rows, row_slots};
pub use mapped::DotMap;
pub(crate) use mapped::MAX_OTHERS;

/// `dot`: the product of two matrices, each transposed or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dot {
    transpose_a: bool,
    transpose_b: bool,
    /// For csrᵀ · dense: a dense result instead of a row-sparse one.
    #[serde(default)]
    dense: bool,
}

impl Dot {
    /// The product with its operands transposed, or not.
    pub fn new(transpose_a: bool, transpose_b: bool) -> Self {
        Dot { transpose_a, transpose_b, dense: false }
    }

    /// Its table among those that there are.
    fn number(&self) -> usize {
        match (self.transpose_a, self.transpose_b) {
            (false, false) => 0,
            (true, false) if self.dense => 4,
            (true, false) => 1,
            (false, true) => 2,
            (true, true) => 3,
        }
    }

    /// The product that takes operand `i` as it is before a transpose.
    pub(crate) fn turned(&self, i: usize) -> Dot {
        Dot {
            transpose_a: self.transpose_a != (i == 0),
            transpose_b: self.transpose_b != (i == 1),
            dense: false,
        }
    }

    /// Whether a transpose by flag gives the same bits as one beforehand, for operands of these storage
    /// types and a result of so many columns: kernels that sum in another order do not. A product of
    /// dense rows with a vector has its own order.
    pub(crate) fn turns_freely(&self, stypes: [Stype; 2], i: usize, cols: Option<usize>) -> bool {
        match stypes {
            [Stype::Default, Stype::Default] => i == 1 || cols.is_some_and(|cols| cols != 1),
            [Stype::Csr, Stype::Csr] => true,
            _ => false,
        }
    }
}

impl<'t> Var<'t> {
    /// The matrix product; a vector is one row on the left, one column on the right. What a symbolic
    /// recording does not know to be a vector is a matrix. (MXNet: `dot`.)
    ///
    /// | a | b | result |
    /// |---|---|---|
    /// | default | default | default |
    /// | csr | default, row_sparse | default |
    /// | csr | csr | csr |
    /// | default | csr, row_sparse | default |
    /// | row_sparse | default, row_sparse | row_sparse |
    ///
    /// The gradient of `b` in `dot(csr, b)` is row-sparse, with exactly the columns that occur in
    /// the csr matrix; the gradient of a csr operand lives on its pattern.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([2, 3], vec![0, 1, 2], vec![0, 2], vec![2.0f32, 3.0])?);
    /// let w = tape.constant(Tensor::dense([3, 1], vec![1.0f32, 5.0, 7.0])?);
    /// assert_eq!(x.dot(w).value()?.values::<f32>()?, [2.0, 21.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "matmul")]
    #[doc(alias = "mm")]
    #[doc(alias = "mv")]
    #[track_caller]
    pub fn dot(self, b: Var<'t>) -> Var<'t> {
        self.dot_with(b, false, false)
    }

    /// The matrix product with operands transposed, or not. csrᵀ · dense and csrᵀ · row_sparse are
    /// row-sparse, csrᵀ · csr and csr · csrᵀ csr, row_sparseᵀ · anything default. A vector is the same transposed. (MXNet: `dot` with
    /// `transpose_a` and `transpose_b`.)
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 3], vec![0, 1], vec![2], vec![2.0f32])?);
    /// let dy = tape.constant(Tensor::dense([1, 2], vec![1.0f32, 5.0])?);
    /// let dw = x.dot_with(dy, true, false).value()?;
    /// assert_eq!((dw.stype(), dw.values::<f32>()?), (Stype::RowSparse, &[2.0, 10.0][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn dot_with(self, b: Var<'t>, transpose_a: bool, transpose_b: bool) -> Var<'t> {
        self.product(b, Dot { transpose_a, transpose_b, dense: false })
    }

    /// [`Var::dot_with`] with a result in this storage type: csrᵀ · dense has a kernel for a dense one,
    /// other results are cast, visibly. (MXNet: `dot` with `forward_stype`.)
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let a = tape.constant(Tensor::dense([2, 1], vec![1.0f32, 0.0])?);
    /// let x = tape.constant(Tensor::csr([1, 3], vec![0, 1], vec![2], vec![2.0f32])?);
    /// assert_eq!(a.dot(x).stype()?, Stype::Default);
    /// let y = a.dot_as(x, false, false, Stype::Csr).value()?;
    /// assert_eq!((y.stype(), y.values::<f32>()?), (Stype::Csr, &[2.0][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn dot_as(
        self,
        b: Var<'t>,
        transpose_a: bool,
        transpose_b: bool,
        forward_stype: Stype,
    ) -> Var<'t> {
        let asked = forward_stype == Stype::Default && transpose_a && !transpose_b;
        let csr = self.stype().is_ok_and(|stype| stype == Stype::Csr);
        let dense = asked && csr && b.stype().is_ok_and(|stype| stype == Stype::Default);
        let y = self.product(b, Dot { transpose_a, transpose_b, dense });
        let as_asked = y.stype().is_ok_and(|own| own == forward_stype);
        if as_asked { y } else { y.cast_storage(forward_stype) }
    }

    #[track_caller]
    fn product(self, b: Var<'t>, op: Dot) -> Var<'t> {
        // What is not known to be a vector is a matrix.
        let rank = |v: Var<'t>| v.rank().unwrap_or(2);
        let Some(turn) = Vectors::among(rank(self), rank(b)) else {
            return Var::apply(op, &[self, b]);
        };
        let is = |v: Var<'t>, stype| v.stype().is_ok_and(|s| s == stype);
        // Between sparse operands a row-sparse vector keeps its rows, as a column.
        let by_rows = turn.a && is(self, Stype::RowSparse) && !is(b, Stype::Default);
        let a = match turn.a {
            true if by_rows => self.reshape(&[-1, 1]),
            true => self.reshape(&[1, -1]),
            false => self,
        };
        let b = if turn.b { b.reshape(&[-1, 1]) } else { b };
        let mut product = turn.product(op);
        product.transpose_a |= by_rows;
        let y = Var::apply(product, &[a, b]);
        // A single number has no rows.
        let number = turn.result().is_empty() && is(y, Stype::RowSparse);
        let y = if number { y.cast_storage(Stype::Default) } else { y };
        y.reshape(turn.result())
    }
}

impl Tensor {
    /// Unrecorded [`Var::dot`].
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn dot(&self, b: &Tensor) -> Result<Tensor> {
        self.dot_with(b, false, false)
    }

    /// Unrecorded [`Var::dot_with`].
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn dot_with(&self, b: &Tensor, transpose_a: bool, transpose_b: bool) -> Result<Tensor> {
        compose([self, b], |[a, b]| a.dot_with(b, transpose_a, transpose_b))
    }

    /// Unrecorded [`Var::dot_as`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn dot_as(
        &self,
        b: &Tensor,
        transpose_a: bool,
        transpose_b: bool,
        forward_stype: Stype,
    ) -> Result<Tensor> {
        compose([self, b], |[a, b]| a.dot_as(b, transpose_a, transpose_b, forward_stype))
    }
}

/// Which operands are vectors: one row on the left, one column on the right, gone from the result.
struct Vectors {
    a: bool,
    b: bool,
}

impl Vectors {
    fn among(rank_a: usize, rank_b: usize) -> Option<Vectors> {
        (rank_a == 1 || rank_b == 1).then_some(Vectors { a: rank_a == 1, b: rank_b == 1 })
    }

    /// A vector is the same transposed.
    fn product(&self, op: Dot) -> Dot {
        let transpose_a = op.transpose_a && !self.a;
        let dense = op.dense && transpose_a;
        Dot { transpose_a, transpose_b: op.transpose_b && !self.b, dense }
    }

    fn result(&self) -> &'static [isize] {
        if self.a && self.b { &[] } else { &[-1] }
    }
}

impl Op for Dot {
    const NAME: &'static str = "dot";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [a, b] = ins else { unreachable!("dot has two operands") };
        [&mut *a, &mut *b, &mut *out].into_iter().try_for_each(|s| s.set_rank(2))?;
        let (rows, inner_a) = if self.transpose_a { (1, 0) } else { (0, 1) };
        let (inner_b, cols) = if self.transpose_b { (1, 0) } else { (0, 1) };
        unify_dims((a, inner_a), (b, inner_b))?;
        unify_dims((a, rows), (out, 0))?;
        unify_dims((b, cols), (out, 1))
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static NN: [Case<Dot>; 8] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => Default, csr_dense),
            case!([Csr, RowSparse] => Default, csr_rows),
            case!([Csr, Csr] => Csr, csr_csr),
            case!([Default, Csr] => Default, dense_times_csr),
            case!([RowSparse, Default] => RowSparse, dense),
            case!([RowSparse, RowSparse] => RowSparse, dense_rows),
            case!([Default, RowSparse] => Default, dense_rows),
        ];
        static TN: [Case<Dot>; 9] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => RowSparse, csr_t_dense),
            case!([Csr, RowSparse] => RowSparse, csr_t_rows),
            case!([Csr, Csr] => Csr, csr_csr),
            case!([Default, Csr] => Default, dense_times_csr),
            case!([RowSparse, Default] => Default, rows_t_rows),
            case!([RowSparse, RowSparse] => Default, rows_t_rows),
            case!([RowSparse, Csr] => Default, rows_t_csr),
            case!([Default, RowSparse] => Default, rows_t_rows),
        ];
        static TN_DENSE: [Case<Dot>; 2] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => Default, csr_t_dense),
        ];
        static NT: [Case<Dot>; 7] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => Default, csr_dense_t),
            case!([Csr, Csr] => Csr, csr_csr),
            case!([Default, Csr] => Default, dense_times_csr),
            case!([RowSparse, Default] => RowSparse, dense),
            case!([RowSparse, RowSparse] => RowSparse, dense_rows_t),
            case!([Default, RowSparse] => Default, dense_rows_t),
        ];
        static TT: [Case<Dot>; 7] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => RowSparse, csr_t_dense_t),
            case!([Csr, Csr] => Csr, csr_csr),
            case!([Default, Csr] => Default, dense_times_csr),
            case!([RowSparse, Default] => Default, rows_t_dense_t),
            case!([RowSparse, Csr] => Default, rows_t_csr_t),
            case!([Default, RowSparse] => Default, dense_rows_t),
        ];
        match (self.transpose_a, self.transpose_b) {
            (false, false) => &NN,
            (true, false) if self.dense => &TN_DENSE,
            (true, false) => &TN,
            (false, true) => &NT,
            (true, true) => &TT,
        }
    }

    fn on_slices(&self, dtype: DType) -> Option<SliceKernel<Self>> {
        match (self.number(), dtype) {
            (0, DType::F32) => Some(on_slices::<f32>),
            (0, DType::F64) => Some(on_slices::<f64>),
            _ => None,
        }
    }

    fn reads(&self, i: usize) -> Read {
        // Rows are summed over with the other operand's columns.
        match (i, self.transpose_a, self.transpose_b) {
            (1, false, false) => Read::RowsOf(0),
            (0, true, true) => Read::RowsOf(1),
            _ => Read::All,
        }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let (a, b, ta, tb) = (x[0], x[1], self.transpose_a, self.transpose_b);
        let sparse = |v: Var<'t>| v.stype().is_ok_and(|s| s == Stype::Csr);
        let by_rows = |other: Var<'t>, transpose| !(transpose && sparse(other));
        // y = op(a)·op(b), so d op(a) = dy·op(b)ᵀ. On a csr operand's pattern only.
        grads.give(0, || match ta {
            false if sparse(a) && by_rows(b, tb) => SampledDot::of(a, (dy, false), (b, tb)),
            true if sparse(a) && by_rows(b, tb) => SampledDot::of(a, (b, tb), (dy, false)),
            false => dy.dot_with(b, false, !tb),
            true => b.dot_with(dy, tb, true),
        });
        let both_dense = !sparse(a) && !sparse(dy);
        // Rows of csr all have a pointer: the gradient of a dense or row-sparse operand has only the
        // rows that occur.
        let by_row = sparse(a) && sparse(dy) && !sparse(b);
        grads.give(1, || match tb {
            false if sparse(b) && both_dense => SampledDot::of(b, (a, !ta), (dy, true)),
            true if sparse(b) && both_dense => SampledDot::of(b, (dy, true), (a, !ta)),
            false if by_row => a.dot_with(dy.cast_storage(Stype::RowSparse), !ta, false),
            false => a.dot_with(dy, !ta, false),
            true => dy.dot_with(a, true, ta),
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let turned = |x: &ArrayD<f64>, t: bool| if t { x.t().to_owned() } else { x.clone() };
        let (a, b) = (turned(&ins[0], self.transpose_a), turned(&ins[1], self.transpose_b));
        let (n, inner, m) = (a.len_of(Axis(0)), a.len_of(Axis(1)), b.len_of(Axis(1)));
        let entry = |(i, j): (usize, usize)| (0..inner).map(|k| a[[i, k]] * b[[k, j]]).sum();
        ndarray::Array::<f64, Ix2>::from_shape_fn((n, m), entry).into_dyn()
    }

    fn samples() -> Vec<Sample<Self>> {
        let a = |t: bool| sparse_sample(if t { [4, 3] } else { [3, 4] }, 3);
        let b = |t: bool| sparse_sample(if t { [2, 4] } else { [4, 2] }, 4);
        let mut samples = Vec::new();
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let op = Dot { transpose_a: ta, transpose_b: tb, dense: false };
            samples.push(Sample::good(op, [a(ta), b(tb)]));
        }
        let op = Dot { transpose_a: true, transpose_b: false, dense: true };
        samples.push(Sample::good(op, [a(true), b(false)]));
        samples.push(Sample::good(
            Dot::default(),
            [sparse_sample([1, 5], 2), sparse_sample([5, 1], 2)],
        ));
        samples.push(Sample::good(
            Dot::default(),
            [sparse_sample([0, 5], 2), sparse_sample([5, 2], 2)],
        ));
        let cube = Tensor::from_fn([2, 3, 4], |i| i as f64);
        samples.push(Sample::bad(
            Dot::default(),
            [cube, b(false)],
            ErrorKind::Shape,
            "needs 2 axes",
        ));
        samples.push(Sample::bad(Dot::default(), [a(true), b(false)], ErrorKind::Shape, "differ"));
        samples
    }
}

/// Every `skip`-th element is zero, and the second row.
pub(super) fn sparse_sample(shape: [usize; 2], skip: usize) -> Tensor {
    Tensor::from_fn(shape, |i| {
        let zero = i % skip == 0 || (shape[0] > 2 && i / shape[1] == 1);
        if zero { 0.0 } else { (i as f64 * 0.7).sin() + 1.5 }
    })
}
