//! Folding of an operand's stored elements, in whatever storage type, along some axes; and the way
//! back.

use smallvec::SmallVec;

use super::reduction::{Axes, Reduction};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::blocks::scatter;
use crate::kernels::broadcast::Broadcast;
use crate::kernels::memory::Temp;
use crate::kernels::reduce::{
    Add, Each, Fold, Square, fold, fold_axis, fold_csr_rows, fold_runs, fold_slots,
};
use crate::kernels::threads::for_each_part;
use crate::tape::{Out, Scratch};
use crate::tensor::cast::csr_ref;
use crate::tensor::{CsrView, Element, Real, RowSparseView, Shape, Stype, View, row_len, size_of};

/// Sizes or strides, one per axis.
type PerAxis = SmallVec<[usize; 4]>;

/// Which stored elements of an operand go to which element of a smaller shape.
///
/// Elements of the smaller shape are those of a dense value, or those of the operand's stored rows
/// (`by_row`).
pub(crate) struct Folding<'a> {
    x: View<'a>,
    /// Steps through the smaller shape for each axis of the operand: 0 where it is reduced.
    strides: PerAxis,
    by_row: bool,
    /// Elements of the smaller shape.
    len: usize,
    /// Elements of the operand, absent ones included, for each of the smaller shape.
    pub size: f64,
}

impl<'a> Folding<'a> {
    /// Of `x` into the shape `small`; of the rows that it stores, if they stay and `rows` is set.
    pub fn new(reduction: &Reduction, x: View<'a>, small: &[usize], rows: bool) -> Result<Self> {
        let strides = reduction.strides(small, x.shape())?;
        let size = size_of(x.shape()) as f64 / size_of(small) as f64;
        let stays = match reduction.axes {
            Axes::Broadcast => small.len() == x.shape().len() && small.first() == x.shape().first(),
            _ => reduction.reduced(x.shape().len())?.first() == Some(&false),
        };
        let by_row = rows && stays;
        let len = match x {
            View::RowSparse(v) if by_row => v.rows.len() * row_len(small),
            _ => size_of(small),
        };
        Ok(Folding { x, strides, by_row, len, size })
    }

    /// Of `x` into an operator's result.
    pub fn into_result(reduction: &Reduction, x: View<'a>, out: &Out) -> Result<Self> {
        Self::new(reduction, x, out.shape(), out.stype() == Stype::RowSparse)
    }

    /// Memory for the operator's result. The rows of a row-sparse one are those that the operand
    /// stores, or all, where its rows are reduced.
    pub fn result<'o, T: Real>(&self, out: &'o mut Out) -> Result<&'o mut [T]> {
        match self.x {
            View::RowSparse(v) if self.by_row => out.rows(v.rows.clone()),
            _ if out.stype() == Stype::Default => Ok(out.dense()),
            _ if !out.shape().is_empty() => out.rows(Temp::collect(0..out.shape()[0] as u32)),
            _ => {
                let shape = Shape::from(self.x.shape());
                let message = format!(
                    "axis -1 of a row-sparse operand of shape {shape} is the axis of its rows, and \
                     the result would have none: name axis 0, or reduce all, as `sum()` does"
                );
                Err(Error::new(ErrorKind::Shape, message))
            }
        }
    }

    /// The stored rows, if the elements of the smaller shape are theirs.
    pub fn rows(&self) -> Option<&'a [u32]> {
        match self.x {
            View::RowSparse(v) if self.by_row => Some(v.rows),
            _ => None,
        }
    }

    /// Room for the elements of the smaller shape, with unspecified contents.
    pub fn small<T: Element>(&self, scratch: &mut Scratch) -> Vec<T> {
        scratch.take(self.len)
    }

    /// Folds `values`, one for each stored element of the operand.
    pub fn fold<F, T>(&self, values: &[T], to: &mut [T], scratch: &mut Scratch)
    where
        F: Fold<T> + Fold<f64>,
        T: Real,
    {
        match self.x {
            _ if to.is_empty() => {}
            View::Dense(v) => fold_dense::<F, T>(values, v.shape, &self.strides, to, scratch),
            View::Csr(v) => fold_csr::<F, T>(&v, values, &self.strides, to, scratch),
            View::RowSparse(v) => self.fold_rows::<F, T>(&v, values, to, scratch),
        }
    }

    /// Sums the squares of `values` times `scale`.
    pub fn sum_squares<T: Real>(
        &self,
        values: &[T],
        scale: T,
        to: &mut [T],
        scratch: &mut Scratch,
    ) {
        let square = Square(scale);
        if self.is_runs() && !to.is_empty() {
            return fold_runs::<Add, _, T>(values, square, to);
        }
        let mut squares = scratch.take::<T>(values.len());
        for_each_part(&mut squares, 1, 1, |first, squares| {
            squares.iter_mut().zip(&values[first..]).for_each(|(s, &x)| *s = square.of(x));
        });
        self.fold::<Add, T>(&squares, to, scratch);
        scratch.give(squares);
    }

    /// Whether what goes to an element is a run of the operand's elements along one axis.
    fn is_runs(&self) -> bool {
        let shape = self.x.shape();
        let stored = match self.x {
            View::Dense(_) => true,
            View::Csr(_) => false,
            View::RowSparse(_) => self.by_row,
        };
        let mut wide = (0..shape.len()).rev().filter(|&axis| shape[axis] != 1);
        let last = wide.next().is_some_and(|axis| self.strides[axis] == 0);
        stored && last && wide.all(|axis| self.strides[axis] != 0)
    }

    /// Row by row first, then the rows where they are reduced, too.
    fn fold_rows<F, T>(&self, v: &RowSparseView, values: &[T], to: &mut [T], scratch: &mut Scratch)
    where
        F: Fold<T> + Fold<f64>,
        T: Real,
    {
        // A stride that is not 0 keeps the rows apart.
        let (mut shape, mut strides) = (PerAxis::from(v.shape), self.strides.clone());
        (shape[0], strides[0]) = (v.rows.len(), 1);
        if self.by_row {
            return fold_dense::<F, T>(values, &shape, &strides, to, scratch);
        }
        let inner = v.shape[1..].iter().zip(&strides[1..]);
        let k = size_of(&inner.map(|(&n, &s)| if s == 0 { 1 } else { n }).collect::<PerAxis>());
        let mut block = scratch.take::<T>(v.rows.len() * k);
        fold_dense::<F, T>(values, &shape, &strides, &mut block, scratch);
        if self.strides[0] == 0 {
            fold_axis::<F, T>(&block, (1, v.rows.len(), k), to);
        } else {
            to.fill(F::empty());
            for (n, &r) in v.rows.iter().enumerate() {
                to[r as usize * k..][..k].copy_from_slice(&block[n * k..][..k]);
            }
        }
        scratch.give(block);
    }

    /// How many elements are stored for each of the smaller shape; absent ones make up the rest.
    pub fn stored(&self, to: &mut [f64]) {
        match self.x {
            View::Csr(v) => {
                to.fill(0.0);
                each_entry(&v, &self.strides, |at, _| to[at] += 1.0);
            }
            View::RowSparse(v) if !self.by_row && self.strides[0] == 0 => {
                to.fill(self.size / v.shape[0].max(1) as f64 * v.rows.len() as f64);
            }
            View::RowSparse(v) if !self.by_row => {
                let k = self.strides[0];
                to.fill(0.0);
                v.rows.iter().for_each(|&r| to[r as usize * k..][..k].fill(self.size));
            }
            _ => to.fill(self.size),
        }
    }

    /// The way back: for each stored element of the operand, the value that it goes to.
    pub fn repeat<T: Real>(&self, small: &[T], to: &mut [T]) {
        match self.x {
            _ if to.is_empty() => {}
            View::Dense(v) => Broadcast::new(v.shape, &self.strides).fill(small, 0, to),
            View::Csr(v) => each_entry(&v, &self.strides, |at, entry| to[entry] = small[at]),
            View::RowSparse(v) => {
                let (steps, k) = (Broadcast::new(v.shape, &self.strides), row_len(v.shape));
                for (n, (to, &r)) in to.chunks_exact_mut(k).zip(v.rows.iter()).enumerate() {
                    let row = if self.by_row { n } else { r as usize };
                    steps.fill(small, row * k, to);
                }
            }
        }
    }
}

/// Calls `f(element of the smaller shape, entry)` for each stored entry.
fn each_entry(v: &CsrView, strides: &[usize], mut f: impl FnMut(usize, usize)) {
    for row in 0..v.pattern.rows() {
        for entry in v.pattern.row_range(row) {
            f(row * strides[0] + v.pattern.indices()[entry] as usize * strides[1], entry);
        }
    }
}

/// Folds the axes of stride 0, the last ones first.
fn fold_dense<F: Fold<T>, T: Real>(
    values: &[T],
    shape: &[usize],
    strides: &[usize],
    to: &mut [T],
    scratch: &mut Scratch,
) {
    if values.is_empty() {
        return to.fill(F::empty());
    }
    let mut sizes = PerAxis::from(shape);
    let mut partial: Option<Vec<T>> = None;
    for axis in (0..shape.len()).rev().filter(|&a| strides[a] == 0 && shape[a] != 1) {
        let (outer, inner) = (size_of(&sizes[..axis]), size_of(&sizes[axis + 1..]));
        let mut next = scratch.take::<T>(outer * inner);
        let from = partial.as_deref().unwrap_or(values);
        fold_axis::<F, T>(from, (outer, sizes[axis], inner), &mut next);
        partial.replace(next).into_iter().for_each(|used| scratch.give(used));
        sizes[axis] = 1;
    }
    to.copy_from_slice(partial.as_deref().unwrap_or(values));
    partial.into_iter().for_each(|used| scratch.give(used));
}

fn fold_csr<F, T>(v: &CsrView, values: &[T], strides: &[usize], to: &mut [T], scratch: &mut Scratch)
where
    F: Fold<T> + Fold<f64>,
    T: Real,
{
    match *strides {
        [0, 0] => to.fill(fold::<F, T>(values)),
        [_, 0] => fold_csr_rows::<F, T>(csr_ref(v, values), to),
        [0, _] => {
            let columns = v.pattern.columns();
            let mut wide = scratch.take::<f64>(columns.distinct.len());
            fold_slots::<F, T>(&columns.slots, values, &mut wide);
            scatter(&columns.distinct, |n| T::from_f64(wide[n]), F::empty(), to);
            scratch.give(wide);
        }
        _ => {
            to.fill(F::empty());
            each_entry(v, strides, |at, entry| to[at] = values[entry]);
        }
    }
}
