//! Parts of a value, and values put back as parts of zeros, in every storage type.

use smallvec::SmallVec;

use crate::error::Result;
use crate::kernels::gather::gather_rows;
use crate::kernels::memory::Temp;
use crate::kernels::steps::{Steps, cut_csr, place_csr};
use crate::kernels::strided::{Strided, copy};
use crate::tape::{Out, Scratch};
use crate::tensor::cast::csr_ref;
use crate::tensor::{CsrView, Element, Layout, RowSparseView, Tensor, View, row_len};

/// Where the given indices of each axis are in a row-major array.
fn part(shape: &[usize], steps: &[Steps]) -> Strided {
    let mut part = Strided::whole(shape);
    for (own, step) in steps.iter().zip(&mut part.steps) {
        part.base += own.start * *step as usize;
        *step *= own.step;
    }
    part
}

/// The given indices of each axis of `x`.
pub(in crate::ops) fn cut<T: Element>(
    x: View,
    steps: &[Steps],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let values = x.typed::<T>()?;
    match x {
        View::Dense(v) => {
            let shape = out.shape();
            let whole = Strided::whole(shape);
            copy(shape, (values, &part(v.shape, steps)), (out.dense::<T>(), &whole));
            Ok(())
        }
        View::Csr(v) if steps[0].step == 1 && steps[1].is_whole(v.shape[1]) => {
            window(&v, steps[0], out)
        }
        View::Csr(v) => {
            out.set_csr(cut_csr(csr_ref(&v, values), steps[0], steps[1]));
            Ok(())
        }
        View::RowSparse(v) => cut_rows(&v, values, steps, out, scratch),
    }
}

/// A run of rows of a csr matrix, sharing its memory.
fn window(v: &CsrView, rows: Steps, out: &mut Out) -> Result<()> {
    let layout = Layout::Csr(v.pattern.clone());
    let whole = Tensor::from_parts(v.shape.into(), layout, v.owner.clone());
    out.set(whole.rows_window(rows.start, rows.start + rows.len)?);
    Ok(())
}

fn cut_rows<T: Element>(
    v: &RowSparseView,
    values: &[T],
    steps: &[Steps],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let most = v.rows.len().min(steps[0].len);
    let [mut slots, mut rows] = [(); 2].map(|()| Temp::with_capacity(most));
    steps[0].each_of(v.rows, |slot, row| {
        slots.push(slot as u32);
        rows.push(row);
    });
    let (k, shape) = (row_len(v.shape), out.shape());
    let mut whole_rows = scratch.take::<T>(slots.len() * k);
    gather_rows(values, k, &slots, &mut whole_rows);
    let stored = with_rows(v.shape, slots.len());
    let mut inner = SmallVec::<[Steps; 4]>::from_slice(steps);
    inner[0] = Steps::run(0, slots.len());
    let kept = with_rows(shape, slots.len());
    let to = (out.rows::<T>(rows)?, &Strided::whole(&kept));
    copy(&kept, (&whole_rows, &part(&stored, &inner)), to);
    scratch.give(whole_rows);
    Ok(())
}

/// The shape with another number of rows.
fn with_rows(shape: &[usize], rows: usize) -> SmallVec<[usize; 4]> {
    let mut shape = SmallVec::from_slice(shape);
    shape[0] = rows;
    shape
}

/// Zeros of the result's shape, where `x` is at the given indices of each axis. Sparse values store
/// no more than before.
pub(in crate::ops) fn place<T: Element>(x: View, steps: &[Steps], out: &mut Out) -> Result<()> {
    let (values, shape) = (x.typed::<T>()?, out.shape());
    match x {
        View::Dense(v) => {
            let own = Strided::whole(v.shape);
            copy(v.shape, (values, &own), (out.zeros::<T>(), &part(shape, steps)));
        }
        View::Csr(v) => {
            out.set_csr(place_csr(csr_ref(&v, values), steps[0], steps[1], shape[0]));
        }
        View::RowSparse(v) => {
            let mut rows =
                Temp::collect(v.rows.iter().map(|&row| steps[0].at(row as usize) as u32));
            let stored = with_rows(v.shape, rows.len());
            let mut inner = SmallVec::<[Steps; 4]>::from_slice(steps);
            inner[0] = Steps::run(0, rows.len());
            if steps[0].step < 0 {
                rows.reverse();
                inner[0] = Steps { start: rows.len().saturating_sub(1), step: -1, len: rows.len() };
            }
            let to = part(&with_rows(shape, rows.len()), &inner);
            let zeros = out.rows::<T>(rows)?;
            zeros.fill(T::default());
            copy(&stored, (values, &Strided::whole(&stored)), (zeros, &to));
        }
    }
    Ok(())
}
