//! Matrix products.

use ndarray::{ArrayD, Axis, Ix2};
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::dense_csr::{Strided, dense_csr, dense_csr_t};
use crate::kernels::gather::{gather_compact, gather_rows};
use crate::kernels::gemm::gemm;
use crate::kernels::merge::{intersect_rows, positions};
use crate::kernels::{spgemm, spmm, transposed};
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, compose, unify_dims};
use crate::tensor::cast::csr_ref;
use crate::tensor::{CsrView, Real, RowSparseView, Stype, Tensor, View};

use super::sampled_dot::SampledDot;

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
}

impl<'t> Var<'t> {
    /// The matrix product; a vector is one row on the left, one column on the right. (MXNet: `dot`.)
    ///
    /// | a | b | result |
    /// |---|---|---|
    /// | default | default | default |
    /// | csr | default, row_sparse | default |
    /// | csr | csr | csr |
    /// | default | csr | default |
    /// | row_sparse | default | row_sparse |
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
    #[track_caller]
    pub fn dot(self, b: Var<'t>) -> Var<'t> {
        self.dot_with(b, false, false)
    }

    /// The matrix product with operands transposed, or not. csrᵀ · dense and csrᵀ · row_sparse are
    /// row-sparse; csrᵀ · csr and csr · csrᵀ are csr.
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
        let rank = |v: Var<'t>| v.shape().map_or(2, |s| s.len());
        let Some(turn) = Vectors::among(rank(self), rank(b)) else {
            return Var::apply(Dot { transpose_a, transpose_b, dense: false }, &[self, b]);
        };
        let a = if turn.a { self.reshape(&[1, -1]) } else { self };
        let b = if turn.b { b.reshape(&[-1, 1]) } else { b };
        let y = Var::apply(turn.product(transpose_a, transpose_b), &[a, b]);
        y.reshape(turn.result())
    }

    /// aᵀ · b with a dense result, also where `a` is csr (`forward_stype="default"` in MXNet).
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 3], vec![0, 1], vec![2], vec![2.0f32])?);
    /// let dy = tape.constant(Tensor::dense([1, 1], vec![4.0f32])?);
    /// assert_eq!(x.dot_transposed_dense(dy).value()?.values::<f32>()?, [0.0, 0.0, 8.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn dot_transposed_dense(self, b: Var<'t>) -> Var<'t> {
        Var::apply(Dot { transpose_a: true, transpose_b: false, dense: true }, &[self, b])
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

    /// Unrecorded [`Var::dot_transposed_dense`].
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn dot_transposed_dense(&self, b: &Tensor) -> Result<Tensor> {
        compose([self, b], |[a, b]| a.dot_transposed_dense(b))
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
    fn product(&self, transpose_a: bool, transpose_b: bool) -> Dot {
        let (transpose_a, transpose_b) = (transpose_a && !self.a, transpose_b && !self.b);
        Dot { transpose_a, transpose_b, dense: false }
    }

    fn result(&self) -> &'static [isize] {
        if self.a && self.b { &[] } else { &[-1] }
    }
}

/// A dense matrix, transposed or not.
fn strided<'a, T: Real>(v: &View<'a>, transpose: bool) -> Result<Strided<'a, T>> {
    Ok(matrix(v.typed()?, [v.shape()[0], v.shape()[1]], transpose))
}

pub(super) fn matrix<T>(values: &[T], [rows, cols]: [usize; 2], transpose: bool) -> Strided<'_, T> {
    match transpose {
        false => Strided { values, rows, cols, row_stride: cols, col_stride: 1 },
        true => Strided { values, rows: cols, cols: rows, row_stride: 1, col_stride: cols },
    }
}

fn dense<T: Real>(op: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (strided::<T>(&ins[0], op.transpose_a)?, strided(&ins[1], op.transpose_b)?);
    gemm(a, b, out.dense());
    Ok(())
}

/// csr · dense.
fn csr_dense<T: Real>(_: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let a = ins[0].csr()?;
    spmm::csr_dense(
        csr_ref(a, a.values.typed::<T>()?),
        ins[1].typed()?,
        out.shape()[1],
        out.dense(),
    );
    Ok(())
}

/// For each distinct column of `x`, where that row of a row-sparse operand is; with the slots of the
/// entries among them.
fn row_slots<'a>(x: &CsrView<'a>, rows: &[u32], own: &'a mut Vec<u32>) -> &'a [u32] {
    let columns = x.pattern.columns();
    if columns.distinct[..] == *rows {
        return &columns.slots;
    }
    let at = positions(&columns.distinct, rows);
    own.extend(columns.slots.iter().map(|&slot| at[slot as usize]));
    own
}

/// csr · row-sparse: only rows at the csr's columns are read.
fn csr_rows<T: Real>(_: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].csr()?, ins[1].row_sparse()?);
    let mut own = Vec::new();
    let slots = row_slots(a, b.rows, &mut own);
    let a = csr_ref(a, a.values.typed::<T>()?);
    spmm::csr_compact(a, slots, b.values.typed()?, out.shape()[1], out.dense());
    Ok(())
}

fn csr_csr<T: Real>(op: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].csr()?, ins[1].csr()?);
    let (a, b) = (csr_ref(a, a.values.typed::<T>()?), csr_ref(b, b.values.typed::<T>()?));
    out.set_csr(match (op.transpose_a, op.transpose_b) {
        (false, false) => spgemm::csr_csr(a, b),
        (true, false) => {
            let (indptr, indices, values) = spgemm::transpose(a);
            spgemm::csr_csr(owned(&indptr, &indices, &values, a.rows()), b)
        }
        (false, true) => {
            let (indptr, indices, values) = spgemm::transpose(b);
            spgemm::csr_csr(a, owned(&indptr, &indices, &values, b.rows()))
        }
        // aᵀ·bᵀ = (b·a)ᵀ
        (true, true) => {
            let (indptr, indices, values) = spgemm::csr_csr(b, a);
            spgemm::transpose(owned(&indptr, &indices, &values, a.cols))
        }
    });
    Ok(())
}

fn owned<'a, T>(
    indptr: &'a [usize],
    indices: &'a [u32],
    values: &'a [T],
    cols: usize,
) -> crate::kernels::CsrRef<'a, T> {
    crate::kernels::CsrRef { cols, indptr, indices, values }
}

/// csrᵀ · dense, merged into the columns that occur.
fn csr_t_dense<T: Real>(op: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b, k) = (ins[0].csr()?, ins[1].typed::<T>()?, out.shape()[1]);
    let entries = csr_ref(a, a.values.typed::<T>()?);
    if op.dense {
        transposed::csr_t_dense_full(entries, b, k, out.dense());
        return Ok(());
    }
    let columns = a.pattern.columns();
    transposed::csr_t_dense(entries, &columns.slots, b, k, out.rows(columns.distinct.clone())?);
    Ok(())
}

/// csrᵀ · row-sparse: rows of the csr that the other does not store contribute nothing.
fn csr_t_rows<T: Real>(_: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b, k) = (ins[0].csr()?, ins[1].row_sparse()?, out.shape()[1]);
    let (entries, columns) = (csr_ref(a, a.values.typed::<T>()?), a.pattern.columns());
    let sums = out.rows(columns.distinct.clone())?;
    transposed::csr_t_rows(entries, &columns.slots, b.rows, b.values.typed()?, k, sums);
    Ok(())
}

/// dense · csr, the dense one transposed or not.
fn dense_times_csr<T: Real>(op: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (strided::<T>(&ins[0], op.transpose_a)?, ins[1].csr()?);
    let b = csr_ref(b, b.values.typed()?);
    if op.transpose_b {
        dense_csr_t(a, b, out.dense())
    } else {
        dense_csr(a, b, out.dense())
    }
    Ok(())
}

/// csr · denseᵀ = (dense · csrᵀ)ᵀ.
fn csr_dense_t<T: Real>(_: &Dot, ins: &[View], out: &mut Out, scratch: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].csr()?, strided::<T>(&ins[1], false)?);
    let (rows, cols) = (out.shape()[0], out.shape()[1]);
    let mut turned = scratch.take::<T>(rows * cols);
    dense_csr_t(b, csr_ref(a, a.values.typed()?), &mut turned);
    turn(&turned, rows, cols, out.dense());
    scratch.give(turned);
    Ok(())
}

/// The transpose of a matrix of `cols` rows.
fn turn<T: Real>(from: &[T], rows: usize, cols: usize, to: &mut [T]) {
    for (i, row) in to.chunks_exact_mut(cols.max(1)).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, x)| *x = from[j * rows + i]);
    }
}

/// csrᵀ · denseᵀ, merged into the columns that occur.
fn csr_t_dense_t<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (a, b, k) = (ins[0].csr()?, ins[1].typed::<T>()?, out.shape()[1]);
    let (entries, columns) = (csr_ref(a, a.values.typed::<T>()?), a.pattern.columns());
    let mut turned = scratch.take::<T>(b.len());
    turn(b, entries.rows(), k, &mut turned);
    let sums = out.rows(columns.distinct.clone())?;
    transposed::csr_t_dense(entries, &columns.slots, &turned, k, sums);
    scratch.give(turned);
    Ok(())
}

/// denseᵀ · row-sparse: the sum over the rows that are stored.
fn dense_t_rows<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (a, b, k) = (ins[0].typed::<T>()?, ins[1].row_sparse()?, ins[0].shape()[1]);
    let n = b.rows.len();
    let mut left = scratch.take::<T>(n * k);
    gather_rows(a, k, b.rows, &mut left);
    let right = matrix(b.values.typed::<T>()?, [n, b.shape[1]], false);
    gemm(matrix(&left, [n, k], true), right, out.dense());
    scratch.give(left);
    Ok(())
}

/// row-sparseᵀ · csr: the rows that are stored, times the same rows of the csr.
fn rows_t_csr<T: Real>(_: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].row_sparse()?, ins[1].csr()?);
    let (held, entries) = (a.values.typed::<T>()?, b.values.typed::<T>()?);
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for &row in a.rows.iter() {
        let range = b.pattern.row_range(row as usize);
        indices.extend_from_slice(&b.pattern.indices()[range.clone()]);
        values.extend_from_slice(&entries[range]);
        indptr.push(indices.len());
    }
    let stored = matrix(held, [a.rows.len(), a.shape[1]], true);
    dense_csr(stored, owned(&indptr, &indices, &values, b.pattern.cols()), out.dense());
    Ok(())
}

/// row-sparseᵀ · csrᵀ = (csr · row-sparse)ᵀ.
fn rows_t_csr_t<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (a, b) = (ins[0].row_sparse()?, ins[1].csr()?);
    let (rows, cols) = (out.shape()[0], out.shape()[1]);
    let mut own = Vec::new();
    let slots = row_slots(b, a.rows, &mut own);
    let mut turned = scratch.take::<T>(rows * cols);
    let b = csr_ref(b, b.values.typed::<T>()?);
    spmm::csr_compact(b, slots, a.values.typed()?, rows, &mut turned);
    turn(&turned, rows, cols, out.dense());
    scratch.give(turned);
    Ok(())
}

/// row-sparse · dense, the dense one transposed or not: rows stay.
fn rows_dense<T: Real>(op: &Dot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].row_sparse()?, strided::<T>(&ins[1], op.transpose_b)?);
    let stored = matrix(a.values.typed::<T>()?, [a.rows.len(), a.shape[1]], false);
    gemm(stored, b, out.rows(a.rows.clone())?);
    Ok(())
}

/// row-sparseᵀ · row-sparse: the sum over the rows that both store.
fn rows_t_rows<T: Real>(_: &Dot, ins: &[View], out: &mut Out, scratch: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].row_sparse()?, ins[1].row_sparse()?);
    let common = intersect_rows(&[a.rows, b.rows]);
    let gather = |v: &RowSparseView, scratch: &mut Scratch| -> Result<Vec<T>> {
        let mut rows = scratch.take::<T>(common.len() * v.shape[1]);
        let slots = positions(&common, v.rows);
        gather_compact(&slots, v.values.typed()?, v.shape[1], &mut rows);
        Ok(rows)
    };
    let (left, right) = (gather(a, scratch)?, gather(b, scratch)?);
    let (n, sums) = (common.len(), out.dense::<T>());
    gemm(matrix(&left, [n, a.shape[1]], true), matrix(&right, [n, b.shape[1]], false), sums);
    scratch.give(left);
    scratch.give(right);
    Ok(())
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
        static NN: [Case<Dot>; 6] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => Default, csr_dense),
            case!([Csr, RowSparse] => Default, csr_rows),
            case!([Csr, Csr] => Csr, csr_csr),
            case!([Default, Csr] => Default, dense_times_csr),
            case!([RowSparse, Default] => RowSparse, rows_dense),
        ];
        static TN: [Case<Dot>; 8] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => RowSparse, csr_t_dense),
            case!([Csr, RowSparse] => RowSparse, csr_t_rows),
            case!([Csr, Csr] => Csr, csr_csr),
            case!([Default, Csr] => Default, dense_times_csr),
            case!([RowSparse, RowSparse] => Default, rows_t_rows),
            case!([RowSparse, Csr] => Default, rows_t_csr),
            case!([Default, RowSparse] => Default, dense_t_rows),
        ];
        static TN_DENSE: [Case<Dot>; 2] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => Default, csr_t_dense),
        ];
        static NT: [Case<Dot>; 5] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => Default, csr_dense_t),
            case!([Csr, Csr] => Csr, csr_csr),
            case!([Default, Csr] => Default, dense_times_csr),
            case!([RowSparse, Default] => RowSparse, rows_dense),
        ];
        static TT: [Case<Dot>; 5] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => RowSparse, csr_t_dense_t),
            case!([Csr, Csr] => Csr, csr_csr),
            case!([Default, Csr] => Default, dense_times_csr),
            case!([RowSparse, Csr] => Default, rows_t_csr_t),
        ];
        match (self.transpose_a, self.transpose_b) {
            (false, false) => &NN,
            (true, false) if self.dense => &TN_DENSE,
            (true, false) => &TN,
            (false, true) => &NT,
            (true, true) => &TT,
        }
    }

    fn reads(&self, i: usize) -> Read {
        if i == 1 && !self.transpose_a && !self.transpose_b { Read::RowsOf(0) } else { Read::All }
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
        grads.give(1, || match tb {
            false if sparse(b) && both_dense => SampledDot::of(b, (a, !ta), (dy, true)),
            true if sparse(b) && both_dense => SampledDot::of(b, (dy, true), (a, !ta)),
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
