//! A matrix product and an element-wise operator on it, as one: a layer with its bias and link.

use std::borrow::Cow;
use std::sync::OnceLock;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::epilogue::{Coded, Epilogue};
use super::kernels::multiply;
use super::{Dot, sparse_sample};
use crate::error::{ErrorKind, Result};
use crate::kernels::elementwise::{Binary, Unary};
use crate::ops::Map;
use crate::ops::map::expr::Expr;
use crate::ops::map::program::Program;
use crate::tape::op::{ByDtype, Case, Cotangent, Grads, Ins, Op, Read, Sample, SliceKernel};
use crate::tape::{self, Out, PartialShape, Scratch, Var};
use crate::tensor::{CsrSlices, DType, Shape, Stype, Tensor, View};

/// `dot_map`: `map(dot(a, b), ..)`, an element-wise operator on a dense matrix product, in the memory
/// of the product. The operands are those of the product and the further ones of the element-wise
/// operator, which are dense and may broadcast. Optimized graphs have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DotMap {
    dot: Dot,
    map: Map,
    #[serde(skip)]
    epilogue: Epilogue,
}

/// Operands besides those of the product, at most.
pub(crate) const MAX_OTHERS: usize = 6;

impl DotMap {
    /// The element-wise operator on the product, its first operand, which does not broadcast.
    pub(crate) fn new(dot: Dot, map: Map) -> DotMap {
        DotMap { dot, map, epilogue: Epilogue::default() }
    }
}

fn run<T: Coded>(op: &DotMap, ins: &[View], out: &mut Out, scratch: &mut Scratch) -> Result<()> {
    let (factors, others) = ins.split_at(2);
    let stypes = [factors[0].stype(), factors[1].stype()];
    let row = tape::DynOp::find_row(&op.dot, &stypes).map_or(0, |(row, _)| row);
    tape::DynOp::run(&op.dot, row, T::DTYPE, factors, out, scratch)?;
    let shape = out.shape();
    op.epilogue.run(&op.map, others, shape, out.made::<T>())
}

fn on_slices<T: Coded>(
    op: &DotMap,
    a: &CsrSlices,
    ins: &[View],
    shape: &Shape,
    out: &mut Tensor,
) -> Result<()> {
    let to = out.overwritten::<T>(shape);
    multiply(a, &ins[0], shape[1], to)?;
    op.epilogue.run(&op.map, &ins[1..], shape, to)
}

/// The rows of the product with dense results, and as many dense operands more.
fn table(dot: &Dot, others: usize) -> Vec<Case<DotMap>> {
    let dense = dot.cases().iter().filter(|case| case.out == Stype::Default);
    let row = |case: &Case<Dot>| {
        let stypes = (0..2).map(|i| case.ins.get(i));
        let all: Vec<Stype> = stypes.chain(std::iter::repeat_n(Stype::Default, others)).collect();
        let run = ByDtype::floats(run::<f32>, run::<f64>);
        Case { ins: Ins::Fixed(Vec::leak(all)), out: Stype::Default, run }
    };
    dense.map(row).collect()
}

impl Op for DotMap {
    const NAME: &'static str = "dot_map";

    fn label(&self) -> Cow<'_, str> {
        Cow::Owned(format!("dot, {}", self.map.label()))
    }

    fn variant(&self) -> Option<&'static str> {
        Some(["a · b", "aᵀ · b", "a · bᵀ", "aᵀ · bᵀ", "aᵀ · b, dense"][self.dot.number()])
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let (factors, others) = ins.split_at_mut(2);
        let mut product = PartialShape::unknown();
        self.dot.refine(factors, &mut product)?;
        let mut operands: SmallVec<[PartialShape; 4]> = SmallVec::from_elem(product, 1);
        operands.extend(others.iter_mut().map(std::mem::take));
        let refined = Op::refine(&self.map, &mut operands, out);
        let mut operands = operands.into_iter();
        let mut product = operands.next().unwrap_or_default();
        others.iter_mut().zip(operands).for_each(|(own, shape)| *own = shape);
        refined?;
        self.dot.refine(factors, &mut product)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        const OTHERS: usize = MAX_OTHERS + 1;
        static TABLES: [[OnceLock<Vec<Case<DotMap>>>; OTHERS]; 5] =
            [const { [const { OnceLock::new() }; OTHERS] }; 5];
        let others = self.map.inputs().saturating_sub(1);
        match TABLES[self.dot.number()].get(others) {
            Some(known) => known.get_or_init(|| table(&self.dot, others)),
            None => &[],
        }
    }

    fn on_slices(&self, dtype: DType) -> Option<SliceKernel<Self>> {
        self.dot.on_slices(dtype)?;
        Some(if dtype == DType::F32 { on_slices::<f32> } else { on_slices::<f64> })
    }

    fn reads(&self, i: usize) -> Read {
        if i < 2 { self.dot.reads(i) } else { Read::All }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let (factors, others) = x.split_at(2);
        let of_product = grads.wants(0) || grads.wants(1);
        let mut outer =
            Grads::wanting(std::iter::once(of_product).chain((2..x.len()).map(|i| grads.wants(i))));
        let needed = (0..=others.len()).any(|i| outer.wants(i) && self.map.rule_reads(i, 0));
        // The product was not kept.
        let product = if needed { Var::apply(self.dot.clone(), factors) } else { y };
        let mut operands: SmallVec<[Var<'t>; 4]> = SmallVec::from_slice(&[product]);
        operands.extend_from_slice(others);
        self.map.vjp(&operands, y, dy, &mut outer);
        for i in 2..x.len() {
            grads.answer(i, outer.answered(i - 1));
        }
        let mut inner = Grads::wanting([grads.wants(0), grads.wants(1)]);
        let answer = outer.answered(0);
        if let Some(Cotangent::Var(dz)) = answer {
            self.dot.vjp(factors, product, dz, &mut inner);
        }
        for i in 0..2 {
            let own = if let Some(Cotangent::Var(_)) = answer { inner.answered(i) } else { answer };
            grads.answer(i, own);
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let (factors, others) = ins.split_at(2);
        let mut operands = vec![self.dot.mimic(factors)];
        operands.extend_from_slice(others);
        self.map.mimic(&operands)
    }

    fn samples() -> Vec<Sample<Self>> {
        let a = |t: bool| sparse_sample(if t { [4, 3] } else { [3, 4] }, 3);
        let b = |t: bool| sparse_sample(if t { [2, 4] } else { [4, 2] }, 4);
        let bias = || Tensor::from_fn([2], |i| i as f64 - 0.5);
        let full = || Tensor::from_fn([3, 2], |i| i as f64 - 2.5);
        let layer = || {
            let expr = Expr::build(2, |b| {
                let (x, bias) = (b.input(0), b.input(1));
                let sum = b.add_terms(x, bias);
                b.unary(Unary::Sigmoid, sum)
            });
            Map::new(Program::intern("sigmoid(add)".into(), expr, None), &[], 0b10)
        };
        let gated = || {
            let expr = Expr::build(3, |b| {
                let (x, gate, bias) = (b.input(0), b.input(1), b.input(2));
                let scaled = b.mul(x, gate);
                b.binary(Binary::Sub, scaled, bias)
            });
            Map::new(Program::intern("sub(mul)".into(), expr, None), &[], 0b100)
        };
        let tanh = || {
            Map::named(
                "tanh",
                Expr::build(1, |b| {
                    let x = b.input(0);
                    b.unary(Unary::Tanh, x)
                }),
            )
        };
        let mut samples = Vec::new();
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let op = DotMap::new(Dot::new(ta, tb), layer());
            samples.push(Sample::good(op, [a(ta), b(tb), bias()]));
        }
        let plain = |map| DotMap::new(Dot::default(), map);
        samples.push(Sample::good(plain(tanh()), [a(false), b(false)]));
        samples.push(Sample::good(plain(gated()), [a(false), b(false), full(), bias()]));
        let dense = Dot { transpose_a: true, transpose_b: false, dense: true };
        samples.push(Sample::good(DotMap::new(dense, layer()), [a(true), b(false), bias()]));
        for rows in [0, 1] {
            let x = sparse_sample([rows, 4], 2);
            samples.push(Sample::good(plain(layer()), [x, b(false), bias()]));
        }
        let wrong =
            |x: [Tensor; 3], message| Sample::bad(plain(layer()), x, ErrorKind::Shape, message);
        samples.push(wrong([a(true), b(false), bias()], "differ"));
        let three = Tensor::from_fn([3], |i| i as f64);
        samples.push(wrong([a(false), b(false), three], "do not broadcast"));
        samples
    }
}
