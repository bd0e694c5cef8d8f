//! Which operands of an element-wise operator broadcast, and what that says of shapes.

use smallvec::SmallVec;

use super::Map;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{PartialShape, Var};
use crate::tensor::shape::broadcast;
use crate::tensor::{Shape, Stype};

/// A bit for each operand that broadcasts. Of two operands with as many axes, neither broadcasts along
/// an axis where a size is unknown, unless the other has size 1 there; the operator sees to it when it
/// runs. Where the rank of an operand is unknown, dense operands may broadcast, sparse ones may not.
pub(crate) fn stretched(shapes: &[PartialShape], is_dense: impl Fn(usize) -> bool) -> u32 {
    if shapes.iter().all(|own| own.dims().is_some() && *own == shapes[0]) {
        return 0;
    }
    let rank = common_rank(shapes);
    let stretches = |&i: &usize| match rank {
        Some(rank) => {
            let along = |axis| aligned(&shapes[i], rank, axis) == Size::Known(1);
            let beside = |axis| others_beside_one(shapes, i, rank, axis, is_dense(i));
            shapes[i].rank() < Some(rank) || (0..rank).any(|axis| along(axis) && beside(axis))
        }
        None => is_dense(i),
    };
    (0..shapes.len()).filter(stretches).map(|i| 1 << i).sum()
}

/// Whether another operand has, or may have, more than one element along an axis.
fn others_beside_one(
    shapes: &[PartialShape],
    own: usize,
    rank: usize,
    axis: usize,
    may: bool,
) -> bool {
    let others = shapes.iter().enumerate().filter(|(i, _)| *i != own);
    others.map(|(_, other)| aligned(other, rank, axis)).any(|size| match size {
        Size::Known(size) => size != 1,
        Size::Open(_) => may,
    })
}

/// The rank of the result, if all are known and no sizes contradict each other.
fn common_rank(shapes: &[PartialShape]) -> Option<usize> {
    let ranks: Option<SmallVec<[usize; 4]>> = shapes.iter().map(|shape| shape.rank()).collect();
    let rank = ranks?.into_iter().max().unwrap_or(0);
    (0..rank).all(|axis| size_along(shapes, rank, axis).is_ok()).then_some(rank)
}

/// The size of an operand along an axis of the result.
#[derive(Clone, Copy, PartialEq)]
enum Size {
    /// Known; 1 where the operand has no such axis.
    Known(usize),
    /// Not known, of this axis of the operand.
    Open(usize),
}

fn aligned(shape: &PartialShape, rank: usize, axis: usize) -> Size {
    let own = shape.rank().and_then(|own| (axis + own).checked_sub(rank));
    match own {
        None => Size::Known(1),
        Some(own) => shape.dim(own).map_or(Size::Open(own), Size::Known),
    }
}

/// The one size other than 1 that operands have along an axis of the result, if any has.
fn size_along(shapes: &[PartialShape], rank: usize, axis: usize) -> Result<Option<usize>> {
    let mut found = None;
    for shape in shapes {
        match (aligned(shape, rank, axis), found) {
            (Size::Known(1) | Size::Open(_), _) => {}
            (Size::Known(size), Some(other)) if size != other => return Err(apart(shapes)),
            (Size::Known(size), _) => found = Some(size),
        }
    }
    Ok(found)
}

fn apart(shapes: &[PartialShape]) -> Error {
    let shapes: Vec<String> = shapes.iter().map(PartialShape::to_string).collect();
    Error::new(ErrorKind::Shape, format!("shapes {} do not broadcast", shapes.join(" and ")))
}

/// [`stretched`] for variables.
pub(crate) fn stretched_of(operands: &[Var<'_>]) -> u32 {
    if operands.iter().skip(1).all(|x| x.is_like(operands[0])) {
        return 0;
    }
    let shape = |x: &Var<'_>| x.inferred_type().map(|ty| ty.shape).unwrap_or_default();
    let shapes: SmallVec<[PartialShape; 4]> = operands.iter().map(shape).collect();
    stretched(&shapes, |i| operands[i].stype().is_ok_and(|s| s == Stype::Default))
}

impl Map {
    /// Refines the shapes of operands of which some broadcast, and of the result.
    pub(super) fn refine_broadcast(
        &self,
        ins: &mut [PartialShape],
        out: &mut PartialShape,
    ) -> Result<()> {
        match ins.iter().all(|shape| shape.dims().is_some()) {
            true => {
                let none = Some(Shape::default());
                let wider = |all: Option<Shape>, own: &PartialShape| broadcast(&all?, own.dims()?);
                let result = ins.iter().fold(none, wider).ok_or_else(|| apart(ins))?;
                out.set(&result)?;
            }
            false => refine_partly(ins, out)?,
        }
        self.refine_equal(ins, out)
    }

    /// Operands that do not broadcast have the result's shape.
    pub(super) fn refine_equal(
        &self,
        ins: &mut [PartialShape],
        out: &mut PartialShape,
    ) -> Result<()> {
        for i in (0..ins.len()).filter(|&i| !self.stretches(i)) {
            ins[i].unify(out).map_err(|_| {
                let message = format!(
                    "operand {i} was recorded with the result's shape, but shapes {} and {out} \
                     differ; where it broadcasts, declare its axes of size 1",
                    ins[i]
                );
                Error::new(ErrorKind::Shape, message)
            })?;
        }
        Ok(())
    }
}

/// What follows where some sizes are unknown.
fn refine_partly(ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
    let ranks: Option<SmallVec<[usize; 4]>> = ins.iter().map(|shape| shape.rank()).collect();
    if let Some(largest) = ranks.iter().flatten().max() {
        out.set_rank(*largest)?;
    }
    let Some(rank) = out.rank() else { return Ok(()) };
    let mut unknown = ins.iter().enumerate().filter(|(_, shape)| shape.rank().is_none());
    let (first, second) = (unknown.next().map(|(i, _)| i), unknown.next());
    let smaller = |shape: &PartialShape| shape.rank().is_none_or(|own| own < rank);
    if let (Some(i), None, true) = (first, second, ins.iter().all(smaller)) {
        ins[i].set_rank(rank)?;
    }
    let complete = ins.iter().all(|shape| shape.rank().is_some());
    for axis in 0..rank {
        refine_axis(ins, out, (rank, axis), complete)?;
    }
    Ok(())
}

/// What follows along an axis of the result; `complete` if all ranks are known.
fn refine_axis(
    ins: &mut [PartialShape],
    out: &mut PartialShape,
    (rank, axis): (usize, usize),
    complete: bool,
) -> Result<()> {
    let open = |(i, shape): (usize, &PartialShape)| match aligned(shape, rank, axis) {
        Size::Open(own) if shape.rank().is_some() => Some((i, own)),
        _ => None,
    };
    let open: SmallVec<[(usize, usize); 4]> = ins.iter().enumerate().filter_map(open).collect();
    match size_along(ins, rank, axis)? {
        Some(size) => return out.set_dim(axis, size),
        None if complete && open.is_empty() => return out.set_dim(axis, 1),
        None => {}
    }
    match (out.dim(axis), &open[..]) {
        (Some(1), all) => all.iter().try_for_each(|&(i, own)| ins[i].set_dim(own, 1)),
        (Some(size), &[(i, own)]) if complete => ins[i].set_dim(own, size),
        _ => Ok(()),
    }
}
