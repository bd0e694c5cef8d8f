//! The kernels of [`Dot`], one for each kind of row.

use smallvec::SmallVec;

use super::Dot;
use crate::error::Result;
use crate::kernels::dense_csr::{Strided, dense_csr, dense_csr_t};
use crate::kernels::gather::{gather_compact, gather_csr, gather_rows};
use crate::kernels::gemm::gemm;
use crate::kernels::memory::{Csr, Temp};
use crate::kernels::merge::{intersect_rows, positions};
use crate::kernels::spmm::ABSENT;
use crate::kernels::{CsrRef, spgemm, spmm, transposed, unchecked};
use crate::tape::{Out, Scratch};
use crate::tensor::cast::csr_ref;
use crate::tensor::pattern::Columns;
use crate::tensor::{CsrSlices, CsrView, Real, Shape, Tensor, View};

/// A dense matrix, transposed or not.
pub(in crate::ops) fn strided<'a, T: Real>(
    v: &View<'a>,
    transpose: bool,
) -> Result<Strided<'a, T>> {
    Ok(matrix(v.typed()?, [v.shape()[0], v.shape()[1]], transpose))
}

pub(in crate::ops) fn matrix<T>(
    values: &[T],
    [rows, cols]: [usize; 2],
    transpose: bool,
) -> Strided<'_, T> {
    match transpose {
        false => Strided { values, rows, cols, row_stride: cols, col_stride: 1 },
        true => Strided { values, rows: cols, cols: rows, row_stride: 1, col_stride: cols },
    }
}

/// The rows of the left operand to compute with, and those of the result: all, or the ones that a
/// row-sparse operand stores.
fn left<'a, 'o, T: Real>(
    op: &Dot,
    a: &View<'a>,
    out: &'o mut Out,
) -> Result<(Strided<'a, T>, &'o mut [T])> {
    Ok(match a {
        View::RowSparse(v) => {
            let stored = matrix(v.values.typed()?, [v.rows.len(), v.shape[1]], false);
            (stored, out.rows(v.rows.clone())?)
        }
        a => (strided(a, op.transpose_a)?, out.dense()),
    })
}

/// dense or row-sparse · dense, the dense ones transposed or not.
pub(in crate::ops) fn dense<T: Real>(
    op: &Dot,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (a, to) = left::<T>(op, &ins[0], out)?;
    gemm(a, strided(&ins[1], op.transpose_b)?, to);
    Ok(())
}

/// csr · dense.
pub(in crate::ops) fn csr_dense<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (a, b, k) = (ins[0].csr()?, ins[1].typed::<T>()?, out.shape()[1]);
    let entries = csr_ref(a, a.values.typed::<T>()?);
    match near_rows(a, b, k, scratch)? {
        Some((slots, near)) => spmm::csr_near(entries, slots, &near, k, out.dense()),
        None => spmm::csr_dense(entries, b, k, out.dense()),
    }
    Ok(())
}

/// csr · dense for slices.
pub(in crate::ops) fn on_slices<T: Real>(
    _: &Dot,
    a: &CsrSlices,
    ins: &[View],
    shape: &Shape,
    out: &mut Tensor,
) -> Result<()> {
    multiply(a, &ins[0], shape[1], out.overwritten::<T>(shape))
}

/// Checks the ids of slices, and multiplies them with dense rows of length `k`.
pub(in crate::ops) fn multiply<T: Real>(
    a: &CsrSlices,
    b: &View,
    k: usize,
    out: &mut [T],
) -> Result<()> {
    match unchecked::csr_dense(a.unchecked()?, b.typed()?, k, out) {
        true => Ok(()),
        false => a.check(),
    }
}

/// The rows of a table at the columns of `a`, copied to nearby memory, and which one belongs to each entry: where
/// most entries share theirs with others, and it is known which they are, or will be needed for the gradient. A
/// far row is then read once.
pub(in crate::ops) fn near_rows<'a, T: Real>(
    a: &CsrView<'a>,
    table: &[T],
    k: usize,
    scratch: &Scratch,
) -> Result<Option<(&'a [u32], Temp<T>)>> {
    let again = scratch.is_differentiated();
    let soon = again && spmm::may_pay_to_copy(table);
    let columns = if soon { Some(a.pattern.columns()) } else { a.pattern.known_columns() };
    let Some(Columns { distinct, slots }) = columns else { return Ok(None) };
    let entries = csr_ref(a, a.values.typed::<T>()?);
    if !spmm::pays_to_copy(entries, distinct.len(), table, k, again) {
        return Ok(None);
    }
    let mut near = Temp::unspecified(distinct.len() * k);
    gather_rows(table, k, distinct, &mut near);
    Ok(Some((slots, near)))
}

/// For each distinct column of `x`, where that row of a row-sparse operand is; with the slots of the
/// entries among them.
pub(in crate::ops) fn row_slots<'a>(
    x: &CsrView<'a>,
    rows: &[u32],
    own: &'a mut Option<Temp<u32>>,
) -> &'a [u32] {
    let columns = x.pattern.columns();
    if columns.distinct[..] == *rows {
        return &columns.slots;
    }
    let at = positions(&columns.distinct, rows);
    own.insert(Temp::collect(columns.slots.iter().map(|&slot| at[slot as usize])))
}

/// csr · row-sparse: only rows at the csr's columns are read.
pub(in crate::ops) fn csr_rows<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (a, b) = (ins[0].csr()?, ins[1].row_sparse()?);
    let mut own = None;
    let slots = row_slots(a, b.rows, &mut own);
    let a = csr_ref(a, a.values.typed::<T>()?);
    spmm::csr_compact(a, slots, b.values.typed()?, out.shape()[1], out.dense());
    Ok(())
}

pub(in crate::ops) fn csr_csr<T: Real>(
    op: &Dot,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    if !op.transpose_a && op.transpose_b {
        return csr_csr_t::<T>(ins, out);
    }
    let (a, b) = (ins[0].csr()?, ins[1].csr()?);
    let (a, b) = (csr_ref(a, a.values.typed::<T>()?), csr_ref(b, b.values.typed::<T>()?));
    out.set_csr(match (op.transpose_a, op.transpose_b) {
        (false, _) => spgemm::csr_csr(a, b),
        (true, false) => spgemm::csr_csr(spgemm::transpose(a).view(a.rows()), b),
        // aᵀ·bᵀ = (b·a)ᵀ
        (true, true) => spgemm::transpose(spgemm::csr_csr(b, a).view(a.cols)),
    });
    Ok(())
}

/// csr · csrᵀ, over the columns that the second one holds: the others take no memory.
fn csr_csr_t<T: Real>(ins: &[View], out: &mut Out) -> Result<()> {
    let (a, b) = (ins[0].csr()?, ins[1].csr()?);
    let (entries, columns) = (csr_ref(a, a.values.typed::<T>()?), b.pattern.columns());
    let mut own = None;
    let slots = row_slots(a, &columns.distinct, &mut own);
    let mut left = Csr::with_capacity(entries.rows(), entries.values.len());
    left.indptr.push(0);
    for i in 0..entries.rows() {
        let held = entries.range(i).filter(|&e| slots[e] != ABSENT);
        for e in held {
            left.indices.push(slots[e]);
            left.values.push(entries.values[e]);
        }
        left.indptr.push(left.indices.len());
    }
    let compact = columns.distinct.len();
    let b = CsrRef { cols: compact, indices: &columns.slots, ..csr_ref(b, b.values.typed::<T>()?) };
    let turned = spgemm::transpose(b);
    out.set_csr(spgemm::csr_csr(left.view(compact), turned.view(b.rows())));
    Ok(())
}

/// csrᵀ · dense, merged into the columns that occur.
pub(in crate::ops) fn csr_t_dense<T: Real>(
    op: &Dot,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
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
pub(in crate::ops) fn csr_t_rows<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (a, b, k) = (ins[0].csr()?, ins[1].row_sparse()?, out.shape()[1]);
    let (entries, columns) = (csr_ref(a, a.values.typed::<T>()?), a.pattern.columns());
    let sums = out.rows(columns.distinct.clone())?;
    transposed::csr_t_rows(entries, &columns.slots, b.rows, b.values.typed()?, k, sums);
    Ok(())
}

/// csr · denseᵀ = (dense · csrᵀ)ᵀ.
pub(in crate::ops) fn csr_dense_t<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (a, b) = (ins[0].csr()?, strided::<T>(&ins[1], false)?);
    let (rows, cols) = (out.shape()[0], out.shape()[1]);
    let mut turned = scratch.take::<T>(rows * cols);
    dense_csr_t(b, csr_ref(a, a.values.typed()?), &mut turned);
    turn(&turned, rows, cols, out.dense());
    scratch.give(turned);
    Ok(())
}

/// The transpose of a matrix of `cols` rows.
pub(in crate::ops) fn turn<T: Real>(from: &[T], rows: usize, cols: usize, to: &mut [T]) {
    for (i, row) in to.chunks_exact_mut(cols.max(1)).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, x)| *x = from[j * rows + i]);
    }
}

/// csrᵀ · denseᵀ, merged into the columns that occur.
pub(in crate::ops) fn csr_t_dense_t<T: Real>(
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

/// row-sparseᵀ · csr: the rows that are stored, times the same rows of the csr.
pub(in crate::ops) fn rows_t_csr<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (a, b) = (ins[0].row_sparse()?, ins[1].csr()?);
    let entries = gather_csr(csr_ref(b, b.values.typed::<T>()?), a.rows);
    let stored = matrix(a.values.typed::<T>()?, [a.rows.len(), a.shape[1]], true);
    dense_csr(stored, entries.view(b.pattern.cols()), out.dense());
    Ok(())
}

/// row-sparseᵀ · csrᵀ = (csr · row-sparse)ᵀ.
pub(in crate::ops) fn rows_t_csr_t<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (a, b) = (ins[0].row_sparse()?, ins[1].csr()?);
    let (rows, cols) = (out.shape()[0], out.shape()[1]);
    let mut own = None;
    let slots = row_slots(b, a.rows, &mut own);
    let mut turned = scratch.take::<T>(rows * cols);
    let b = csr_ref(b, b.values.typed::<T>()?);
    spmm::csr_compact(b, slots, a.values.typed()?, rows, &mut turned);
    turn(&turned, rows, cols, out.dense());
    scratch.give(turned);
    Ok(())
}

/// dense · csr, the dense one transposed or not.
pub(in crate::ops) fn dense_times_csr<T: Real>(
    op: &Dot,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (a, b) = (strided::<T>(&ins[0], op.transpose_a)?, ins[1].csr()?);
    let b = csr_ref(b, b.values.typed()?);
    if op.transpose_b {
        dense_csr_t(a, b, out.dense())
    } else {
        dense_csr(a, b, out.dense())
    }
    Ok(())
}

/// Some columns of a matrix of `k` columns.
fn columns_at<T: Real>(a: &[T], k: usize, columns: &[u32], to: &mut [T]) {
    for (i, row) in to.chunks_exact_mut(columns.len().max(1)).enumerate() {
        row.iter_mut().zip(columns).for_each(|(x, &c)| *x = a[i * k + c as usize]);
    }
}

/// dense or row-sparse · row-sparse: the columns of the first at the rows that the second stores.
pub(in crate::ops) fn dense_rows<T: Real>(
    op: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let b = ins[1].row_sparse()?;
    let (a, to) = left::<T>(op, &ins[0], out)?;
    let stored = b.rows.len();
    let mut columns = scratch.take::<T>(a.rows * stored);
    columns_at(a.values, a.cols, b.rows, &mut columns);
    let right = matrix(b.values.typed::<T>()?, [stored, b.shape[1]], false);
    gemm(matrix(&columns, [a.rows, stored], false), right, to);
    scratch.give(columns);
    Ok(())
}

/// dense or row-sparse · row-sparseᵀ, a dense one transposed or not: a column for each row that is
/// stored, zeros elsewhere.
pub(in crate::ops) fn dense_rows_t<T: Real>(
    op: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let b = ins[1].row_sparse()?;
    let (stored, columns) = (b.rows.len(), out.shape()[1]);
    let (a, to) = left::<T>(op, &ins[0], out)?;
    let mut products = scratch.take::<T>(a.rows * stored);
    gemm(a, matrix(b.values.typed()?, [stored, b.shape[1]], true), &mut products);
    to.fill(T::zero());
    let wide = to.chunks_exact_mut(columns.max(1));
    for (row, wide) in products.chunks_exact(stored.max(1)).zip(wide) {
        row.iter().zip(b.rows.iter()).for_each(|(&x, &r)| wide[r as usize] = x);
    }
    scratch.give(products);
    Ok(())
}

/// row-sparseᵀ · denseᵀ: the columns of the second at the rows that the first stores.
pub(in crate::ops) fn rows_t_dense_t<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (a, b) = (ins[0].row_sparse()?, ins[1].typed::<T>()?);
    let (stored, [m, k]) = (a.rows.len(), [ins[1].shape()[0], ins[1].shape()[1]]);
    let mut columns = scratch.take::<T>(m * stored);
    columns_at(b, k, a.rows, &mut columns);
    let left = matrix(a.values.typed::<T>()?, [stored, a.shape[1]], true);
    gemm(left, matrix(&columns, [m, stored], true), out.dense());
    scratch.give(columns);
    Ok(())
}

/// aᵀ · b, one of them row-sparse or both: the sum over the rows that both store.
pub(in crate::ops) fn rows_t_rows<T: Real>(
    _: &Dot,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let stored: SmallVec<[&[u32]; 2]> = ins.iter().filter_map(View::rows).collect();
    let common = intersect_rows(&stored);
    let mut gather = |v: &View| -> Result<Vec<T>> {
        let k = v.shape()[1];
        let mut rows = scratch.take::<T>(common.len() * k);
        match v {
            View::RowSparse(v) => {
                gather_compact(&positions(&common, v.rows), v.values.typed()?, k, &mut rows);
            }
            v => gather_rows(v.typed::<T>()?, k, &common, &mut rows),
        }
        Ok(rows)
    };
    let (left, right) = (gather(&ins[0])?, gather(&ins[1])?);
    let shape = |i: usize| [common.len(), ins[i].shape()[1]];
    gemm(matrix(&left, shape(0), true), matrix(&right, shape(1), false), out.dense());
    scratch.give(left);
    scratch.give(right);
    Ok(())
}
