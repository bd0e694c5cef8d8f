//! Reductions over axes: which axes, the result's shape, the kernels.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::folding::Folding;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::broadcast::{aligned, contiguous};
use crate::kernels::reduce::Add;
use crate::tape::{Out, PartialShape, Scratch, ranks_apart, unify_axes, unify_ranks};
use crate::tensor::{Real, Shape, View, size_of};

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
    /// All but these.
    Except(SmallVec<[isize; 4]>),
    /// Those along which the smaller shape broadcasts to the larger, by numpy's rules.
    Broadcast,
}

impl Reduction {
    /// Over these axes.
    pub fn over(axes: &[isize], keepdims: bool) -> Self {
        Reduction { axes: Axes::List(axes.into()), keepdims, mean: false }
    }

    /// Whether the first axis stays, as far as the axes say it for any number of them: −1 counts as
    /// another one. Then a row-sparse operand gives a row-sparse result.
    pub(crate) fn keeps_rows(&self) -> bool {
        match &self.axes {
            Axes::List(axes) => axes.iter().all(|&axis| axis == -1 || axis >= 1),
            Axes::Except(axes) => axes.contains(&0),
            Axes::All | Axes::Broadcast => false,
        }
    }

    /// What of this decides an operator's table.
    pub(crate) fn variant(&self) -> &'static str {
        if self.keeps_rows() { "the first axis stays" } else { "the first axis goes, or may go" }
    }

    /// Which axes of a shape of rank `ndim` are reduced.
    pub(crate) fn reduced(&self, ndim: usize) -> Result<SmallVec<[bool; 4]>> {
        let (axes, named) = match &self.axes {
            Axes::List(axes) => (&axes[..], true),
            Axes::Except(axes) => (&axes[..], false),
            Axes::All => (&[][..], false),
            Axes::Broadcast => (&[][..], true),
        };
        let mut reduced: SmallVec<[bool; 4]> = SmallVec::from_elem(!named, ndim);
        for &axis in axes {
            let from_front = if axis < 0 { axis + ndim as isize } else { axis };
            let flag = usize::try_from(from_front).ok().and_then(|i| reduced.get_mut(i));
            match flag {
                Some(flag) if *flag != named => *flag = named,
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

    /// Refines the shapes of an operand and of the result.
    pub(crate) fn refine(&self, x: &mut PartialShape, out: &mut PartialShape) -> Result<()> {
        if let Some(shape) = x.dims() {
            return out.set(&self.result(shape)?);
        }
        match (&self.axes, self.keepdims) {
            (_, true) => _ = unify_ranks(x, out)?,
            (Axes::All, false) => out.set_rank(0)?,
            (Axes::List(axes), false) => _ = ranks_apart(out, x, axes.len())?,
            (Axes::Except(axes), false) => out.set_rank(axes.len())?,
            (Axes::Broadcast, false) => {}
        }
        let Some(rank) = x.rank() else { return Ok(()) };
        let reduced = self.reduced(rank)?;
        if self.keepdims {
            (0..rank).filter(|&axis| reduced[axis]).try_for_each(|axis| out.set_dim(axis, 1))?;
        }
        let kept = (0..rank).filter(|&axis| !reduced[axis]);
        let place = |(n, axis)| (axis, if self.keepdims { axis } else { n });
        unify_axes(x, out, kept.enumerate().map(place))
    }

    /// Refines the shapes of a value and of a larger one that it is repeated to along these axes.
    pub(super) fn relate(&self, small: &mut PartialShape, large: &mut PartialShape) -> Result<()> {
        match (small.dims(), large.dims()) {
            (Some(small), Some(large)) => self.strides(small, large).map(|_| ()),
            _ if self.axes == Axes::Broadcast => repeats(small, large),
            _ => self.refine(large, small),
        }
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

/// What numpy's rules say of a shape that broadcasts to a larger one: sizes other than 1 are its own.
fn repeats(small: &mut PartialShape, large: &mut PartialShape) -> Result<()> {
    let (Some(n), Some(m)) = (small.rank(), large.rank()) else { return Ok(()) };
    let Some(beyond) = m.checked_sub(n) else {
        let message = format!("shape {small} does not broadcast to {large}");
        return Err(Error::new(ErrorKind::Shape, message));
    };
    for axis in 0..n {
        match (small.dim(axis), large.dim(axis + beyond)) {
            (Some(1), _) | (None, None | Some(2..) | Some(0)) => {}
            (Some(size), _) => large.set_dim(axis + beyond, size)?,
            (None, Some(1)) => small.set_dim(axis, 1)?,
        }
    }
    Ok(())
}

/// Sums `x` down to the result's shape; a mean divides by the number of elements, absent ones
/// included.
pub(crate) fn reduce<T: Real>(
    reduction: &Reduction,
    x: View,
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let folding = Folding::into_result(reduction, x, out)?;
    let same = x.stype() == out.stype() && x.shape() == &out.shape()[..];
    if same && (!reduction.mean || folding.size == 1.0) {
        out.alias(0);
        return Ok(());
    }
    let sums = folding.result::<T>(out)?;
    folding.fold::<Add, T>(x.typed()?, sums, scratch);
    if reduction.mean {
        let count = T::from_f64(folding.size);
        sums.iter_mut().for_each(|x| *x = *x / count);
    }
    Ok(())
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
