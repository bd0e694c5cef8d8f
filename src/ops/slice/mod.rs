//! Parts of a value by ranges of its axes, and their gradient.

mod kernels;
mod range;

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub(super) use kernels::{cut, place};
pub use range::SliceRange;

use super::shape::axis_of;
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::steps::Steps;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, evaluate, unify_ranks};
use crate::tensor::{Element, Tensor, View};

/// `slice`, `slice_axis` and the parts of `split`: ranges of axes.
///
/// Tuples of Rust ranges, one for each of the first axes, turn into this: `(1..3, ..)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SliceAxes {
    /// Ranges of the first axes; the others stay whole.
    Ranges(Vec<SliceRange>),
    /// A range of one axis; a negative axis counts from the last.
    Axis {
        /// The axis.
        axis: isize,
        /// Its range.
        range: SliceRange,
    },
    /// One of several equal parts of an axis.
    Part {
        /// The axis.
        axis: isize,
        /// Which part, from 0 on.
        part: usize,
        /// How many parts there are.
        parts: usize,
    },
}

/// `slice_grad`: the first operand as the part of zeros, in the shape of the second operand, that a
/// slice of those would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceGrad(SliceAxes);

methods! {
    /// Ranges of the first axes, given as a tuple of Rust ranges: negative bounds count from the end,
    /// an end beyond the axis is its end, and [`SliceRange`] adds steps, negative ones too. All
    /// storage types stay what they are: of csr any rows and columns, of row-sparse any rows and parts
    /// of rows. Consecutive whole rows of a csr matrix share its memory. A begin beyond the axis is an
    /// error. (MXNet: `slice`.)
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = Tensor::csr([3, 3], vec![0, 1, 2, 3], vec![0, 1, 2], vec![1.0f32, 2.0, 3.0])?;
    /// let y = tape.constant(x).slice((-2.., 1..3));
    /// assert_eq!((y.stype()?, y.value()?.values::<f32>()?), (Stype::Csr, &[2.0, 3.0][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "crop")]
    fn slice(x; ranges: impl Into<SliceAxes>) = ranges.into();
    /// A range of one axis, as [`slice`](Self::slice) takes it; a negative axis counts from the last.
    /// (MXNet: `slice_axis`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// assert_eq!(x.slice_axis(-1, 1..).value()?.values::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "narrow")]
    fn slice_axis(x; axis: isize, range: impl Into<SliceRange>) =
        SliceAxes::Axis { axis, range: range.into() };
}

impl<'t> Var<'t> {
    /// Equal parts of an axis, whose size must be a multiple of their number; storage types as for
    /// [`Var::slice`]. (MXNet: `split`, `SliceChannel`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([4], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let parts = x.split(0, 2);
    /// assert_eq!(parts[1].value()?.values::<f32>()?, [3.0, 4.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "SliceChannel")]
    #[doc(alias = "chunk")]
    #[track_caller]
    pub fn split(self, axis: isize, parts: usize) -> Vec<Var<'t>> {
        let mut vars = match room_for(parts) {
            Ok(vars) => vars,
            Err(error) => return vec![self.poisoned(error)],
        };
        for op in all_parts(axis, parts) {
            vars.push(match vars.first() {
                // What refuses one part refuses all.
                Some(first) if Var::ok(*first).is_err() => *first,
                _ => Var::apply(op, &[self]),
            });
        }
        vars
    }
}

impl Tensor {
    /// Unrecorded [`Var::split`].
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn split(&self, axis: isize, parts: usize) -> Result<Vec<Tensor>> {
        let mut tensors = room_for(parts)?;
        for op in all_parts(axis, parts) {
            tensors.push(evaluate(op, &[self])?);
        }
        Ok(tensors)
    }
}

/// At least one, which refuses to be one of none.
fn all_parts(axis: isize, parts: usize) -> impl Iterator<Item = SliceAxes> {
    (0..parts.max(1)).map(move |part| SliceAxes::Part { axis, part, parts })
}

#[track_caller]
fn room_for<T>(parts: usize) -> Result<Vec<T>> {
    let mut room = Vec::new();
    match room.try_reserve_exact(parts) {
        Ok(()) => Ok(room),
        Err(_) => {
            let message = format!("no memory for {parts} parts");
            Err(Error::new(ErrorKind::Value, message).operator("split"))
        }
    }
}

macro_rules! tuples {
    ($(($($range:ident),+))*) => {
        $(
            impl<$($range: Into<SliceRange>),+> From<($($range,)+)> for SliceAxes {
                #[expect(non_snake_case, reason = "each range has the name of its type")]
                fn from(($($range,)+): ($($range,)+)) -> Self {
                    SliceAxes::Ranges(vec![$($range.into()),+])
                }
            }
        )*
    };
}
tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

impl From<Vec<SliceRange>> for SliceAxes {
    fn from(ranges: Vec<SliceRange>) -> Self {
        SliceAxes::Ranges(ranges)
    }
}

impl SliceAxes {
    /// The indices of each axis of a shape.
    fn steps(&self, shape: &[usize]) -> Result<SmallVec<[Steps; 4]>> {
        self.check_rank(shape.len())?;
        let along = |(axis, &size)| self.along(axis, shape.len(), size);
        shape.iter().enumerate().map(along).collect()
    }

    fn check_rank(&self, axes: usize) -> Result<()> {
        match self {
            SliceAxes::Ranges(ranges) if ranges.len() > axes => {
                let message = format!("{} ranges for {axes} axes", ranges.len());
                Err(Error::new(ErrorKind::Shape, message))
            }
            SliceAxes::Ranges(_) => Ok(()),
            SliceAxes::Axis { axis, .. } | SliceAxes::Part { axis, .. } => {
                axis_of(*axis, axes).map(|_| ())
            }
        }
    }

    /// The range of an axis of `axes`, if it is one of those that are cut by ranges.
    fn range(&self, at: usize, axes: usize) -> Option<&SliceRange> {
        match self {
            SliceAxes::Ranges(ranges) => ranges.get(at),
            SliceAxes::Axis { axis, range } if axis_of(*axis, axes).is_ok_and(|a| a == at) => {
                Some(range)
            }
            _ => None,
        }
    }

    /// Which of how many equal parts is taken of an axis of `axes`.
    fn part(&self, at: usize, axes: usize) -> Option<(usize, usize)> {
        match self {
            SliceAxes::Part { axis, part, parts }
                if axis_of(*axis, axes).is_ok_and(|a| a == at) =>
            {
                Some((*part, *parts))
            }
            _ => None,
        }
    }

    /// The indices of an axis of this size, of `axes`.
    fn along(&self, axis: usize, axes: usize, size: usize) -> Result<Steps> {
        if let Some(range) = self.range(axis, axes) {
            return range.steps(axis, size);
        }
        let (part, parts) = self.part(axis, axes).unwrap_or((0, 1));
        if part >= parts || !size.is_multiple_of(parts) {
            let message = format!("axis {axis} of size {size} in {parts} equal parts");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        Ok(Steps::run(part * (size / parts), size / parts))
    }

    /// The size of an axis of which the part has this size, where it follows.
    fn whole(&self, axis: usize, axes: usize, size: usize) -> Option<usize> {
        match self.range(axis, axes) {
            Some(range) => range.keeps_all().then_some(size),
            None => size.checked_mul(self.part(axis, axes).map_or(1, |(_, parts)| parts)),
        }
    }

    /// Refines the shapes of a whole and of the part.
    fn refine(&self, whole: &mut PartialShape, part: &mut PartialShape) -> Result<()> {
        let Some(rank) = unify_ranks(whole, part)? else { return Ok(()) };
        self.check_rank(rank)?;
        for axis in 0..rank {
            let found = part.dim(axis).and_then(|size| self.whole(axis, rank, size));
            if let (None, Some(size)) = (whole.dim(axis), found) {
                whole.set_dim(axis, size)?;
            }
        }
        let size = |axis| whole.dim(axis).map(|size| Ok(self.along(axis, rank, size)?.len));
        let mut sizes =
            (0..rank).map(|axis| size(axis).transpose()).collect::<Result<PartialShape>>()?;
        part.unify(&mut sizes)
    }
}

fn slice<T: Element>(
    op: &SliceAxes,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    cut::<T>(ins[0], &op.steps(ins[0].shape())?, out, scratch)
}

fn embed<T: Element>(op: &SliceGrad, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    place::<T>(ins[0], &op.0.steps(ins[1].shape())?, out)
}

/// Sizes of a part.
fn sizes(steps: &[Steps]) -> SmallVec<[usize; 4]> {
    steps.iter().map(|axis| axis.len).collect()
}

impl Op for SliceAxes {
    const NAME: &'static str = "slice";

    fn label(&self) -> std::borrow::Cow<'_, str> {
        std::borrow::Cow::Borrowed(match self {
            SliceAxes::Ranges(_) => "slice",
            SliceAxes::Axis { .. } => "slice_axis",
            SliceAxes::Part { .. } => "split",
        })
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        SliceAxes::refine(self, &mut ins[0], out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<SliceAxes>; 3] = [
            case!(each [Default] => Default, slice),
            case!(each [Csr] => Csr, slice),
            case!(each [RowSparse] => RowSparse, slice),
        ];
        &CASES
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(SliceGrad(self.clone()), &[dy, x[0]]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let steps = self.steps(ins[0].shape()).unwrap_or_default();
        let mut part = ins[0].clone();
        for (axis, steps) in steps.iter().enumerate() {
            let indices: Vec<usize> = (0..steps.len).map(|i| steps.at(i)).collect();
            part = part.select(Axis(axis), &indices);
        }
        part
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = || super::dot::sparse_sample([5, 4], 3);
        let cube = || Tensor::from_fn([3, 4, 2], |i| if i % 5 < 2 { 0.0 } else { i as f64 - 9.5 });
        let by = |begin: isize, end: isize, step| SliceRange::new(begin, end).step(step);
        let part = |axis, part, parts| SliceAxes::Part { axis, part, parts };
        let axis = |axis, range| SliceAxes::Axis { axis, range };
        let bad = |op: SliceAxes, kind, message| Sample::bad(op, [x()], kind, message);
        vec![
            Sample::good((1..3,).into(), [x()]),
            Sample::good((.., by(1, -1, 1)).into(), [x()]),
            Sample::good((-4..4, ..=2).into(), [x()]),
            Sample::good((by(0, 5, 2), by(-1, 0, -1)).into(), [x()]),
            Sample::good((by(4, 0, -3), by(1, 9, 2)).into(), [x()]),
            Sample::good((2..2, ..).into(), [x()]),
            Sample::good((.., 4..).into(), [x()]),
            Sample::good((..=-1, by(1, 3, 1), 1..).into(), [cube()]),
            Sample::good((by(2, 0, -1), by(0, 4, 3)).into(), [cube()]),
            Sample::good(SliceAxes::Ranges(Vec::new()), [Tensor::scalar(2.5)]),
            Sample::good((..1,).into(), [Tensor::from_fn([0, 3], |i| i as f64)]),
            Sample::good(axis(0, SliceRange::from(..2)), [x()]),
            Sample::good(axis(-1, SliceRange::from(..).step(-1)), [x()]),
            Sample::good(axis(1, SliceRange::from(1..3)), [cube()]),
            Sample::good(part(1, 1, 2), [x()]),
            Sample::good(part(0, 2, 5), [x()]),
            Sample::good(part(-2, 0, 4), [cube()]),
            bad((.., 5..).into(), ErrorKind::Index, "axis 1 begins at 5, but its size is 4"),
            bad((-6..,).into(), ErrorKind::Index, "axis 0 begins at -6, but its size is 5"),
            bad((by(0, 1, 0),).into(), ErrorKind::Value, "axis 0: a step of 0"),
            bad((.., .., ..).into(), ErrorKind::Shape, "3 ranges for 2 axes"),
            bad(axis(2, (..).into()), ErrorKind::Index, "axis 2 is out of bounds for 2 axes"),
            bad(part(1, 0, 3), ErrorKind::Shape, "axis 1 of size 4 in 3 equal parts"),
            bad(part(1, 0, 0), ErrorKind::Shape, "axis 1 of size 4 in 0 equal parts"),
        ]
    }
}

impl Op for SliceGrad {
    const NAME: &'static str = "slice_grad";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[1].unify(out)?;
        SliceAxes::refine(&self.0, out, &mut ins[0])?;
        ins[1].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<SliceGrad>; 5] = [
            case!(each [Default, Default] => Default, embed),
            case!(each [Csr, Default] => Csr, embed),
            case!(each [RowSparse, Default] => RowSparse, embed),
            case!(each [Csr, Csr] => Csr, embed),
            case!(each [RowSparse, RowSparse] => RowSparse, embed),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Shape }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy.slice(self.0.clone()));
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let steps = self.0.steps(ins[1].shape()).unwrap_or_default();
        let mut whole = ArrayD::zeros(ins[1].raw_dim());
        for (index, &value) in ins[0].indexed_iter() {
            let place: Vec<usize> =
                steps.iter().enumerate().map(|(axis, steps)| steps.at(index[axis])).collect();
            whole[&place[..]] = value;
        }
        whole
    }

    fn samples() -> Vec<Sample<Self>> {
        let good = SliceAxes::samples().into_iter().filter(|sample| sample.error.is_none());
        let embedding = |Sample { op, mut inputs, .. }: Sample<SliceAxes>| {
            let part = sizes(&op.steps(inputs[0].shape()).unwrap_or_default());
            let value = |i: usize| if i % 3 == 1 { 0.0 } else { i as f64 - 2.5 };
            inputs.insert(0, Tensor::from_fn(&part[..], value));
            Sample::good(SliceGrad(op), inputs)
        };
        let mut samples: Vec<Sample<Self>> = good.map(embedding).collect();
        let x = |n: usize| Tensor::from_fn([n, 2], |i| i as f64);
        let op = SliceGrad((1..3,).into());
        samples.push(Sample::bad(op, [x(3), x(4)], ErrorKind::Shape, "differ"));
        samples
    }
}
