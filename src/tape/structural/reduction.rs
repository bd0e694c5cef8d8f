//! Reductions over axes: which axes, the result's shape, the kernels.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::broadcast::{aligned, contiguous};
use crate::kernels::reduce::{sum, sum_axis};
use crate::tape::{Out, Scratch};
use crate::tensor::{CsrView, Real, RowSparseView, Shape, View, size_of};

/// Which axes a reduction runs over, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reduction {
    /// The axes; negative ones count from the last.
    pub axes: Axes,
    /// Whether reduced axes stay, with size 1.
    pub keepdims: bool,
    /// Whether the sum is divided by the number of elements that go into it, absent ones included.
    pub mean: bool,
}

/// The axes of a reduction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axes {
    /// All of them.
    #[default]
    All,
    /// These.
    List(SmallVec<[isize; 4]>),
    /// Those along which the smaller shape broadcasts to the larger, by numpy's rules.
    Broadcast,
}

impl Reduction {
    /// Which axes of a shape of rank `ndim` are reduced.
    pub(crate) fn reduced(&self, ndim: usize) -> Result<SmallVec<[bool; 4]>> {
        let mut reduced: SmallVec<[bool; 4]> = SmallVec::from_elem(self.axes == Axes::All, ndim);
        let Axes::List(axes) = &self.axes else { return Ok(reduced) };
        for &axis in axes {
            let from_front = if axis < 0 { axis + ndim as isize } else { axis };
            let flag = usize::try_from(from_front).ok().and_then(|i| reduced.get_mut(i));
            match flag {
                Some(flag) if !*flag => *flag = true,
                Some(_) => {
                    let message = format!("axis {axis} is named twice");
                    return Err(Error::new(ErrorKind::Shape, message));
                }
                None => {
                    let message = format!("axis {axis} is out of bounds for {ndim} axes");
                    return Err(Error::new(ErrorKind::Index, message));
                }
            }
        }
        Ok(reduced)
    }

    /// The shape of the result.
    pub(crate) fn result(&self, shape: &[usize]) -> Result<Shape> {
        let reduced = self.reduced(shape.len())?;
        let sizes = shape.iter().zip(&reduced);
        Ok(match self.keepdims {
            true => sizes.map(|(&n, &r)| if r { 1 } else { n }).collect(),
            false => sizes.filter(|(_, r)| !**r).map(|(&n, _)| n).collect(),
        })
    }

    /// Strides in the smaller shape for each axis of the larger: 0 where it is reduced.
    pub(super) fn strides(&self, small: &[usize], large: &[usize]) -> Result<SmallVec<[usize; 4]>> {
        if self.axes == Axes::Broadcast {
            let fits = small.len() <= large.len()
                && small.iter().rev().zip(large.iter().rev()).all(|(s, l)| s == l || *s == 1);
            if fits {
                return Ok(aligned(small, large));
            }
        } else if self.result(large)?[..] == *small {
            let reduced = self.reduced(large.len())?;
            let mut own = contiguous(small).into_iter();
            let step = |&r: &bool| match r {
                true if self.keepdims => own.next().map_or(0, |_| 0),
                true => 0,
                false => own.next().unwrap_or(0),
            };
            return Ok(reduced.iter().map(step).collect());
        }
        let (small, large) = (Shape::from(small), Shape::from(large));
        let message = format!("shape {small} does not broadcast to {large} along these axes");
        Err(Error::new(ErrorKind::Shape, message))
    }

    pub(super) fn count<T: Real>(&self, small: &[usize], large: &[usize]) -> Option<T> {
        let count = size_of(large) as f64 / size_of(small) as f64;
        self.mean.then(|| T::from_f64(count))
    }
}

/// Reduces `x` to the result's shape. (MXNet: `sum`, `mean`; a sparse operand is not made dense.)
pub(crate) fn reduce<T: Real>(
    reduction: &Reduction,
    x: View,
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (small, large) = (out.shape().clone(), x.shape());
    let strides = reduction.strides(&small, large)?;
    let count = reduction.count::<T>(&small, large);
    if x.dense().is_ok() && small[..] == *large && count.is_none_or(|n| n == T::one()) {
        out.alias(0);
        return Ok(());
    }
    let (values, sums) = (x.typed::<T>()?, out.dense::<T>());
    match x {
        View::Dense(_) => reduce_dense(values, large, &strides, sums, scratch),
        View::Csr(v) => reduce_csr(&v, values, &strides, sums),
        View::RowSparse(v) => reduce_rows(&v, values, &strides, sums, scratch),
    }
    if let Some(count) = count {
        sums.iter_mut().for_each(|x| *x = *x / count);
    }
    Ok(())
}

/// Sums over the axes of stride 0, the last ones first.
fn reduce_dense<T: Real>(
    values: &[T],
    shape: &[usize],
    strides: &[usize],
    sums: &mut [T],
    scratch: &mut Scratch,
) {
    let mut sizes: SmallVec<[usize; 4]> = shape.into();
    let mut partial: Option<Vec<T>> = None;
    for axis in (0..shape.len()).rev().filter(|&a| strides[a] == 0 && shape[a] != 1) {
        let (outer, inner) = (size_of(&sizes[..axis]), size_of(&sizes[axis + 1..]));
        let mut next = scratch.take::<T>(outer * inner);
        sum_axis(partial.as_deref().unwrap_or(values), outer, sizes[axis], inner, &mut next);
        partial.replace(next).into_iter().for_each(|used| scratch.give(used));
        sizes[axis] = 1;
    }
    sums.copy_from_slice(partial.as_deref().unwrap_or(values));
    partial.into_iter().for_each(|used| scratch.give(used));
}

fn reduce_csr<T: Real>(v: &CsrView, values: &[T], strides: &[usize], sums: &mut [T]) {
    let pattern = v.pattern;
    if strides == [0, 0] {
        sums.fill(sum(values));
        return;
    }
    sums.fill(T::zero());
    for row in 0..pattern.rows() {
        let range = pattern.row_range(row);
        if strides[1] == 0 {
            sums[row * strides[0]] = sum(&values[range]);
            continue;
        }
        for (&c, &x) in pattern.indices()[range.clone()].iter().zip(&values[range]) {
            let at = &mut sums[row * strides[0] + c as usize * strides[1]];
            *at = *at + x;
        }
    }
}

fn reduce_rows<T: Real>(
    v: &RowSparseView,
    values: &[T],
    strides: &[usize],
    sums: &mut [T],
    scratch: &mut Scratch,
) {
    let stored = v.rows.len();
    let inner: SmallVec<[usize; 4]> =
        v.shape[1..].iter().zip(&strides[1..]).map(|(&n, &s)| if s == 0 { 1 } else { n }).collect();
    let k = size_of(&inner);
    // Row by row first; a stride that is not 0 keeps the rows apart.
    let mut block_shape: SmallVec<[usize; 4]> = v.shape.into();
    let mut block_strides: SmallVec<[usize; 4]> = strides.into();
    (block_shape[0], block_strides[0]) = (stored, 1);
    let mut block = scratch.take::<T>(stored * k);
    reduce_dense(values, &block_shape, &block_strides, &mut block, scratch);
    if strides[0] == 0 {
        sum_axis(&block, 1, stored, k, sums);
    } else {
        sums.fill(T::zero());
        for (n, &r) in v.rows.iter().enumerate() {
            sums[r as usize * k..][..k].copy_from_slice(&block[n * k..][..k]);
        }
    }
    scratch.give(block);
}

/// The definition of [`reduce`].
pub(crate) fn sum_mimic(reduction: &Reduction, x: &ArrayD<f64>, small: &[usize]) -> ArrayD<f64> {
    let missing = x.ndim().saturating_sub(small.len());
    let mut flags = reduction.reduced(x.ndim()).unwrap_or_default();
    if reduction.axes == Axes::Broadcast {
        for (axis, flag) in flags.iter_mut().enumerate() {
            *flag = axis < missing || small[axis - missing] == 1;
        }
    }
    let mut total = x.clone();
    for axis in (0..x.ndim()).filter(|&a| flags[a]) {
        total = total.sum_axis(Axis(axis)).insert_axis(Axis(axis));
    }
    let count = if reduction.mean { x.len() as f64 / total.len() as f64 } else { 1.0 };
    let sums: Vec<f64> = total.iter().map(|s| s / count).collect();
    ArrayD::from_shape_vec(small, sums).unwrap_or(total)
}
