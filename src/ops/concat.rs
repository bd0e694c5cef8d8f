//! Values one after the other along an axis, and the parts of what is.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::shape::{Reshape, axis_of};
use super::slice::{cut, place};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::concat::{concat_columns, concat_dense, concat_rows, place_rows};
use crate::kernels::merge::union_rows;
use crate::kernels::steps::Steps;
use crate::tape::op::{ByDtype, Case, Grads, Ins, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Tape, Var, evaluate};
use crate::tensor::cast::csr_ref;
use crate::tensor::{Element, Shape, Stype, Tensor, View, check_extent, size_of};

/// `concat`: any number of operands, one after the other along an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    axis: isize,
}

/// `concat_part`: the part of the first operand where one of the others, which are not read, would be
/// in their concatenation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConcatPart {
    axis: isize,
    part: usize,
}

/// `concat_grad`: the first operand as such a part of zeros: the backward rule of [`ConcatPart`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConcatGrad(ConcatPart);

impl Tape {
    /// These values one after the other along an axis (a negative one counts from the last); other
    /// sizes must agree. Csr values give csr, row-sparse values row-sparse. An empty list is an error.
    /// (MXNet: `concat`, which makes row-sparse values dense, and csr along axis 1.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([1, 2], vec![1.0f32, 2.0])?);
    /// let y = tape.constant(Tensor::dense([1, 1], vec![3.0f32])?);
    /// assert_eq!(tape.concat(&[x, y], 1).value()?.values::<f32>()?, [1.0, 2.0, 3.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn concat<'t>(&'t self, parts: &[Var<'t>], axis: isize) -> Var<'t> {
        self.apply(Concat { axis }, parts)
    }

    /// These values, all of one shape, along a new axis; a negative one counts from the last of the
    /// result. Row-sparse values give row-sparse. An empty list is an error. (MXNet: `stack`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2], vec![1.0f32, 2.0])?);
    /// let y = tape.stack(&[x, x], -1);
    /// assert_eq!(y.value()?.values::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn stack<'t>(&'t self, parts: &[Var<'t>], axis: isize) -> Var<'t> {
        let mut expanded = Vec::new();
        for part in parts {
            expanded.push(part.expand_dims(axis));
        }
        self.concat(&expanded, axis)
    }
}

impl Tensor {
    /// Unrecorded [`Tape::concat`].
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn concat(parts: &[&Tensor], axis: isize) -> Result<Tensor> {
        evaluate(Concat { axis }, parts)
    }

    /// Unrecorded [`Tape::stack`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn stack(parts: &[&Tensor], axis: isize) -> Result<Tensor> {
        let mut expanded = Vec::new();
        for part in parts {
            expanded.push(evaluate(Reshape::ExpandDims(axis), &[part])?);
        }
        Tensor::concat(&expanded.iter().collect::<Vec<_>>(), axis)
    }
}

/// The shape of a concatenation.
fn joined(axis: isize, shapes: &[Shape]) -> Result<Shape> {
    let Some(first) = shapes.first() else {
        return Err(Error::new(ErrorKind::Shape, "needs at least one operand"));
    };
    let axis = axis_of(axis, first.len())?;
    let differ = |other: &Shape| {
        other.len() != first.len() || (0..first.len()).any(|a| a != axis && other[a] != first[a])
    };
    if let Some(i) = shapes.iter().position(differ) {
        let message = format!(
            "operand 0 is {first}, operand {i} is {}; but for axis {axis} shapes must agree",
            shapes[i]
        );
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let total = shapes.iter().fold(0usize, |n, shape| n.saturating_add(shape[axis]));
    let size = |(a, &size): (usize, &usize)| if a == axis { total } else { size };
    Ok(first.iter().enumerate().map(size).collect())
}

fn dense<T: Element>(op: &Concat, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let axis = axis_of(op.axis, out.shape().len())?;
    let parts: Vec<(&[T], usize)> = ins
        .iter()
        .map(|x| Ok((x.typed::<T>()?, size_of(&x.shape()[axis..]))))
        .collect::<Result<_>>()?;
    concat_dense(&parts, out.dense());
    Ok(())
}

fn csr<T: Element>(op: &Concat, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let shape = out.shape();
    check_extent("rows", shape[0])?;
    check_extent("columns", shape[1])?;
    let mut parts = Vec::with_capacity(ins.len());
    for x in ins {
        let v = x.csr()?;
        parts.push(csr_ref(v, v.values.typed::<T>()?));
    }
    out.set_csr(match axis_of(op.axis, 2)? {
        0 => concat_rows(&parts),
        _ => concat_columns(&parts),
    });
    Ok(())
}

/// Along the first axis rows follow each other; along another they lie side by side.
fn row_sparse<T: Element>(op: &Concat, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let shape = out.shape();
    let axis = axis_of(op.axis, shape.len())?;
    check_extent("rows", shape[0])?;
    let mut lists = Vec::with_capacity(ins.len());
    for x in ins {
        lists.push(&x.row_sparse()?.rows[..]);
    }
    if axis == 0 {
        let (mut rows, mut first) = (Vec::new(), 0);
        for (x, list) in ins.iter().zip(&lists) {
            rows.extend(list.iter().map(|&row| (first + row as usize) as u32));
            first += x.shape()[0];
        }
        let (values, mut at) = (out.rows::<T>(rows)?, 0);
        for x in ins {
            let held = x.typed::<T>()?;
            values[at..at + held.len()].copy_from_slice(held);
            at += held.len();
        }
        return Ok(());
    }
    let union = union_rows(&lists);
    let values = out.rows::<T>(union.clone())?;
    values.fill(T::default());
    let (outer, width) = (size_of(&shape[1..axis]), size_of(&shape[axis..]));
    let mut first = 0;
    for (x, list) in ins.iter().zip(&lists) {
        let own = size_of(&x.shape()[axis..]);
        place_rows((list, x.typed()?, own), &union, outer, (values, width, first));
        first += own;
    }
    Ok(())
}

const fn row(stype: Stype, kernels: ByDtype<Concat>) -> Case<Concat> {
    Case { ins: Ins::All(stype), out: stype, run: kernels }
}

impl Op for Concat {
    const NAME: &'static str = "concat";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let shapes: Option<Vec<Shape>> = ins.iter().map(|x| x.known()).collect();
        shapes.map_or(Ok(()), |shapes| out.set(&joined(self.axis, &shapes)?))
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Concat>; 3] = [
            row(Stype::Default, ByDtype::all(dense::<f32>, dense::<f64>, dense::<i64>)),
            row(Stype::Csr, ByDtype::all(csr::<f32>, csr::<f64>, csr::<i64>)),
            row(
                Stype::RowSparse,
                ByDtype::all(row_sparse::<f32>, row_sparse::<f64>, row_sparse::<i64>),
            ),
        ];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        for part in 0..x.len() {
            let op = ConcatPart { axis: self.axis, part };
            grads.give(part, || Var::apply(op, &with_first(dy, x)));
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let views: Vec<_> = ins.iter().map(|x| x.view()).collect();
        let axis = axis_of(self.axis, ins[0].ndim()).unwrap_or_default();
        ndarray::concatenate(Axis(axis), &views).unwrap_or_default()
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |axis| Concat { axis };
        let bad =
            |axis, inputs: Vec<Tensor>, kind, message| Sample::bad(op(axis), inputs, kind, message);
        let integer = Tensor::from_fn([2, 3], |i| i as i64);
        let mut samples: Vec<Sample<Self>> =
            operands().into_iter().map(|(axis, inputs)| Sample::good(op(axis), inputs)).collect();
        samples.extend([
            bad(0, vec![x(2, 3), x(2, 4)], ErrorKind::Shape, "operand 1 is (2, 4); but for axis 0"),
            bad(2, vec![x(2, 3), x(2, 3)], ErrorKind::Index, "axis 2 is out of bounds"),
            bad(0, vec![Tensor::scalar(1.0)], ErrorKind::Index, "out of bounds for 0 axes"),
            bad(0, vec![x(2, 3), integer], ErrorKind::DType, "never promoted"),
        ]);
        samples
    }
}

fn x(rows: usize, columns: usize) -> Tensor {
    super::dot::sparse_sample([rows, columns], 2)
}

/// Axes and operands of samples.
fn operands() -> Vec<(isize, Vec<Tensor>)> {
    let cube = |n, k, skip| {
        let zero = move |i: usize| i.is_multiple_of(skip) || i / (k * 2) == 1;
        Tensor::from_fn([n, k, 2], move |i| if zero(i) { 0.0 } else { i as f64 - 4.5 })
    };
    vec![
        (0, vec![x(3, 4), x(1, 4), x(2, 4)]),
        (1, vec![x(3, 2), x(3, 4), x(3, 1)]),
        (-1, vec![x(4, 2), x(4, 0), x(4, 3)]),
        (-2, vec![x(3, 4)]),
        (0, vec![x(0, 2), x(2, 2)]),
        (0, vec![cube(2, 3, 5), cube(3, 3, 7)]),
        (1, vec![cube(3, 1, 4), cube(3, 3, 5)]),
        (2, vec![cube(3, 2, 3), cube(3, 2, 2)]),
        (0, vec![Tensor::from_fn([2], |i| i as f64), Tensor::from_fn([3], |i| i as f64)]),
    ]
}

fn with_first<'t>(dy: Var<'t>, x: &[Var<'t>]) -> SmallVec<[Var<'t>; 4]> {
    [dy].iter().chain(x).copied().collect()
}

impl ConcatPart {
    /// Where the part is in a concatenation of these shapes.
    fn steps(&self, shapes: &[&[usize]]) -> Result<SmallVec<[Steps; 4]>> {
        let Some(own) = shapes.get(self.part) else {
            let message = format!("part {} of {} operands", self.part, shapes.len());
            return Err(Error::new(ErrorKind::Index, message));
        };
        let axis = axis_of(self.axis, own.len())?;
        let mut steps: SmallVec<[Steps; 4]> = own.iter().map(|&n| Steps::run(0, n)).collect();
        steps[axis].start = shapes[..self.part].iter().map(|shape| shape[axis]).sum();
        Ok(steps)
    }

    fn of_operands(&self, ins: &[View]) -> Result<SmallVec<[Steps; 4]>> {
        let shapes: SmallVec<[&[usize]; 4]> = ins[1..].iter().map(|x| x.shape()).collect();
        self.steps(&shapes)
    }

    /// The shapes of the whole and of the part.
    fn shapes(&self, ins: &[PartialShape]) -> Result<Option<(Shape, Shape)>> {
        let shapes: Option<Vec<Shape>> = ins[1..].iter().map(|x| x.known()).collect();
        let Some(shapes) = shapes else { return Ok(None) };
        let whole = joined(self.axis, &shapes)?;
        self.steps(&shapes.iter().map(|shape| &shape[..]).collect::<Vec<_>>())?;
        Ok(Some((whole, shapes[self.part].clone())))
    }
}

fn part<T: Element>(
    op: &ConcatPart,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    cut::<T>(ins[0], &op.of_operands(ins)?, out, scratch)
}

fn embed<T: Element>(op: &ConcatGrad, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    place::<T>(ins[0], &op.0.of_operands(ins)?, out)
}

/// The first operand's storage type stays; the others are of one storage type, which a cotangent of
/// their concatenation has too, or is dense.
macro_rules! first_cases {
    ($op:ty, $kernel:ident: $($first:ident $rest:ident),*) => {{
        const RUN: ByDtype<$op> =
            ByDtype::all($kernel::<f32>, $kernel::<f64>, $kernel::<i64>);
        static CASES: &[Case<$op>] = &[$(
            Case { ins: Ins::First(Stype::$first, Stype::$rest), out: Stype::$first, run: RUN },
        )*];
        CASES
    }};
}

impl Op for ConcatPart {
    const NAME: &'static str = "concat_part";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let Some((whole, part)) = self.shapes(ins)? else { return Ok(()) };
        ins[0].set(&whole)?;
        out.set(&part)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        first_cases!(ConcatPart, part: Default Default, Csr Default, RowSparse Default, Csr Csr, RowSparse RowSparse)
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Shape }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(ConcatGrad(self.clone()), &with_first(dy, &x[1..])));
        (1..x.len()).for_each(|i| grads.zero(i));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let axis = axis_of(self.axis, ins[0].ndim()).unwrap_or_default();
        let size = |x: &ArrayD<f64>| x.shape()[axis];
        let start: usize = ins[1..=self.part].iter().map(size).sum();
        let indices: Vec<usize> = (start..start + size(&ins[self.part + 1])).collect();
        ins[0].select(Axis(axis), &indices)
    }

    fn samples() -> Vec<Sample<Self>> {
        let mut samples: Vec<Sample<Self>> = part_operands()
            .map(|(op, whole, _, others)| Sample::good(op, [vec![whole], others].concat()))
            .collect();
        let op = |part| ConcatPart { axis: 0, part };
        let all = || [x(3, 2), x(1, 2), x(2, 2)];
        samples.push(Sample::bad(op(2), all(), ErrorKind::Index, "part 2 of 2 operands"));
        samples.push(Sample::bad(
            op(0),
            [x(4, 2), x(1, 2), x(2, 2)],
            ErrorKind::Shape,
            "shapes (4, 2) and (3, 2) differ",
        ));
        samples
    }
}

/// For each part of the samples of [`Concat`]: something of the shape of the whole, something of the
/// shape of the part, and the operands.
fn part_operands() -> impl Iterator<Item = (ConcatPart, Tensor, Tensor, Vec<Tensor>)> {
    let value = |i: usize| if i % 3 == 1 { 0.0 } else { i as f64 - 2.5 };
    operands().into_iter().flat_map(move |(axis, others)| {
        let shapes: Vec<Shape> = others.iter().map(|x| x.shape().clone()).collect();
        let parts = others.len();
        let whole = Tensor::from_fn(joined(axis, &shapes).unwrap_or_default(), value);
        let of_part = move |part: usize| {
            let own = Tensor::from_fn(shapes[part].clone(), value);
            (ConcatPart { axis, part }, whole.clone(), own, others.clone())
        };
        (0..parts).map(of_part)
    })
}

impl Op for ConcatGrad {
    const NAME: &'static str = "concat_grad";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let Some((whole, part)) = self.0.shapes(ins)? else { return Ok(()) };
        ins[0].set(&part)?;
        out.set(&whole)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        first_cases!(ConcatGrad, embed: Default Default, Csr Default, RowSparse Default, Csr Csr, RowSparse RowSparse)
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Shape }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(self.0.clone(), &with_first(dy, &x[1..])));
        (1..x.len()).for_each(|i| grads.zero(i));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let axis = axis_of(self.0.axis, ins[0].ndim()).unwrap_or_default();
        let part = |i: usize| match i == self.0.part {
            true => ins[0].clone(),
            false => ArrayD::zeros(ins[i + 1].raw_dim()),
        };
        let parts: Vec<ArrayD<f64>> = (0..ins.len() - 1).map(part).collect();
        let views: Vec<_> = parts.iter().map(|x| x.view()).collect();
        ndarray::concatenate(Axis(axis), &views).unwrap_or_default()
    }

    fn samples() -> Vec<Sample<Self>> {
        let mut samples: Vec<Sample<Self>> = part_operands()
            .map(|(op, _, own, others)| Sample::good(ConcatGrad(op), [vec![own], others].concat()))
            .collect();
        let op = ConcatGrad(ConcatPart { axis: 1, part: 0 });
        let all = [x(2, 2), x(2, 3), x(2, 1)];
        samples.push(Sample::bad(op, all, ErrorKind::Shape, "shapes (2, 2) and (2, 3) differ"));
        samples
    }
}
