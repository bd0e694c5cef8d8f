//! The parts of a concatenation, and their gradient.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{joined, operands, x};
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::steps::Steps;
use crate::ops::shape::axis_of;
use crate::ops::slice::{cut, place};
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, PerOperand, Scratch, Var};
use crate::tensor::{Element, Shape, Tensor, View};

/// `concat_part`: the part of the first operand where one of the others, which are not read, would be
/// in their concatenation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConcatPart {
    pub(super) axis: isize,
    pub(super) part: usize,
}

/// `concat_grad`: the first operand as such a part of zeros: the backward rule of [`ConcatPart`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConcatGrad(ConcatPart);

/// The operands after a cotangent of their concatenation, or of one of them.
pub(super) fn with_first<'t>(dy: Var<'t>, x: &[Var<'t>]) -> SmallVec<[Var<'t>; 4]> {
    [dy].iter().chain(x).copied().collect()
}

impl ConcatPart {
    /// Where the part is in a concatenation of these shapes.
    fn steps(&self, shapes: &[&[usize]]) -> Result<SmallVec<[Steps; 4]>> {
        let Some(own) = shapes.get(self.part) else {
            return Err(self.missing(shapes.len()));
        };
        let axis = axis_of(self.axis, own.len())?;
        let mut steps: SmallVec<[Steps; 4]> = own.iter().map(|&n| Steps::run(0, n)).collect();
        steps[axis].start = shapes[..self.part].iter().map(|shape| shape[axis]).sum();
        Ok(steps)
    }

    fn of_operands(&self, ins: &[View]) -> Result<SmallVec<[Steps; 4]>> {
        let shapes: PerOperand<&[usize]> = ins[1..].iter().map(|x| x.shape()).collect();
        self.steps(&shapes)
    }

    /// Refines the shapes of the operands of a concatenation, of the whole, and of this part.
    fn refine(
        &self,
        parts: &mut [PartialShape],
        whole: &mut PartialShape,
        own: &mut PartialShape,
    ) -> Result<()> {
        if self.part >= parts.len() {
            return Err(self.missing(parts.len()));
        }
        own.unify(&mut parts[self.part])?;
        super::refine(self.axis, parts, whole)?;
        own.unify(&mut parts[self.part])
    }

    fn missing(&self, operands: usize) -> Error {
        Error::new(ErrorKind::Index, format!("part {} of {operands} operands", self.part))
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

impl Op for ConcatPart {
    const NAME: &'static str = "concat_part";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [whole, parts @ ..] = ins else { unreachable!("a whole and its parts") };
        ConcatPart::refine(self, parts, whole, out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<ConcatPart>; 5] = [
            case!(each [Default, Default, ..] => Default, part),
            case!(each [Csr, Default, ..] => Csr, part),
            case!(each [RowSparse, Default, ..] => RowSparse, part),
            case!(each [Csr, Csr, ..] => Csr, part),
            case!(each [RowSparse, RowSparse, ..] => RowSparse, part),
        ];
        &CASES
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
        let [own, parts @ ..] = ins else { unreachable!("a part and all parts") };
        ConcatPart::refine(&self.0, parts, out, own)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<ConcatGrad>; 5] = [
            case!(each [Default, Default, ..] => Default, embed),
            case!(each [Csr, Default, ..] => Csr, embed),
            case!(each [RowSparse, Default, ..] => RowSparse, embed),
            case!(each [Csr, Csr, ..] => Csr, embed),
            case!(each [RowSparse, RowSparse, ..] => RowSparse, embed),
        ];
        &CASES
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
