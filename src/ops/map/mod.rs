//! Element-wise operators: one family.
//!
//! Each is a small scalar [expression](expr::Expr). Its value, its backward rule and all higher
//! orders ([`derivative`]), the storage types that it keeps ([`proof`]) and its kernels ([`kernel`])
//! follow from the expression; there is nothing else to write.

mod broadcasting;
mod derivative;
pub(crate) mod expr;
pub(crate) mod fuse;
mod kernel;
mod mimic;
pub(crate) mod program;
mod proof;

use std::borrow::Cow;
use std::sync::OnceLock;

use ndarray::ArrayD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::{SmallVec, smallvec};

pub(crate) use self::broadcasting::{stretched, stretched_of};
use self::expr::Expr;
use self::program::{Instr, Program, Rows, Rule, Source, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::elementwise::Unary;
use crate::kernels::slab::{Lanewise, Primitive};
use crate::tape::op::{Case, Grads, Op, Sample, Slope};
use crate::tape::{OpRef, PartialShape, Var};
use crate::tensor::{Real, Shape, View};

/// An element-wise operator: an expression, the scalars in it, and which operands broadcast.
#[derive(Clone, Debug)]
pub struct Map {
    program: &'static Program,
    scalars: SmallVec<[f64; 2]>,
    /// A bit for each operand that numpy's broadcasting stretches, which is dense; the others have
    /// the result's shape: their cotangents need no sum, so that a sparse one stays sparse.
    stretched: u32,
    /// The table, when it is asked for.
    rows: OnceLock<&'static Rows>,
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        (self.program, &self.scalars, self.stretched)
            == (other.program, &other.scalars, other.stretched)
    }
}

impl Map {
    pub(crate) fn new(program: &'static Program, scalars: &[f64], stretched: u32) -> Map {
        Map { program, scalars: scalars.into(), stretched, rows: OnceLock::new() }
    }

    fn rows(&self) -> &'static Rows {
        self.rows.get_or_init(|| self.program.rows(&self.scalars, self.stretched))
    }

    /// A backward rule's operator: the first operand is a cotangent, all have one shape.
    pub(crate) fn backward(name: &str, expr: Expr) -> Map {
        Map::new(Program::intern(name.to_owned(), expr, Some(0)), &[], 0)
    }

    /// An operator without scalars whose operands have one shape.
    pub(crate) fn named(name: &str, expr: Expr) -> Map {
        Map::new(Program::intern(name.to_owned(), expr, None), &[], 0)
    }
}

/// An operator of two operands without scalars, built once for each way of broadcasting.
pub(crate) struct Named([Map; 4]);

impl Named {
    pub fn new(name: &str, expr: Expr) -> Named {
        let program = Program::intern(name.to_owned(), expr, None);
        Named([0, 1, 2, 3].map(|stretched| Map::new(program, &[], stretched)))
    }

    /// For operands of one shape.
    pub fn equal(&self) -> &Map {
        &self.0[0]
    }

    /// For operands of which these (a bit each) broadcast.
    pub fn stretching(&self, stretched: u32) -> &Map {
        &self.0[stretched as usize]
    }
}

/// Operators by the number of their primitive.
pub(crate) fn by_primitive<K: Copy, T>(
    listed: &'static [(K, T)],
    number: fn(K) -> usize,
) -> Vec<&'static T> {
    let mut table: Vec<&'static T> = Vec::new();
    for (op, operator) in listed {
        table.resize(table.len().max(number(*op) + 1), operator);
        table[number(*op)] = operator;
    }
    table
}

/// What a file holds of a [`Map`].
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    label: Cow<'a, str>,
    expr: Cow<'a, Expr>,
    cotangent: Option<u8>,
    scalars: SmallVec<[Number; 2]>,
    /// The operands that broadcast.
    broadcast: SmallVec<[u8; 4]>,
}

/// JSON has no infinities and no NaN: they are written out.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Other(String),
}

impl From<f64> for Number {
    fn from(x: f64) -> Self {
        if x.is_finite() { Number::Finite(x) } else { Number::Other(x.to_string()) }
    }
}

impl Number {
    fn value<E: serde::de::Error>(self) -> Result<f64, E> {
        match self {
            Number::Finite(x) => Ok(x),
            Number::Other(text) => text.parse().map_err(E::custom),
        }
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let program = self.program;
        Stored {
            label: Cow::Borrowed(&program.label),
            expr: Cow::Borrowed(&program.expr),
            cotangent: program.cotangent,
            scalars: self.scalars.iter().map(|&x| x.into()).collect(),
            broadcast: (0..program.expr.inputs).filter(|&i| self.stretches(i as usize)).collect(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let expr = stored.expr.into_owned();
        let scalars: SmallVec<[f64; 2]> =
            stored.scalars.into_iter().map(Number::value).collect::<Result<_, D::Error>>()?;
        if expr.scalars() > scalars.len() {
            return Err(D::Error::custom("the expression has more scalars than the operator"));
        }
        if stored.cotangent.is_some_and(|dy| dy >= expr.inputs) {
            return Err(D::Error::custom("the cotangent is not among the inputs"));
        }
        if stored.broadcast.iter().any(|&i| i >= expr.inputs) {
            return Err(D::Error::custom("an operand that broadcasts is not among the inputs"));
        }
        let stretched = stored.broadcast.iter().fold(0, |bits, i| bits | 1 << i);
        let program = Program::intern(stored.label.into_owned(), expr, stored.cotangent);
        Ok(Map::new(program, &scalars, stretched))
    }
}

impl Op for Map {
    const NAME: &'static str = "map";

    fn label(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.program.label)
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if ins.len() != self.program.expr.inputs as usize {
            let message = format!("takes {} operands, got {}", self.program.expr.inputs, ins.len());
            return Err(Error::new(ErrorKind::Shape, message));
        }
        if self.stretched == 0 {
            // Twice, so that what the last one knows reaches the first.
            self.refine_equal(ins, out)?;
            return self.refine_equal(ins, out);
        }
        self.refine_broadcast(ins, out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        &self.rows().cases
    }

    fn in_place(&self, i: usize) -> bool {
        !self.stretches(i)
    }

    fn lanewise(&self) -> Option<&'static Lanewise> {
        self.program.lanewise.as_ref().filter(|_| self.stretched == 0)
    }

    fn scalars(&self) -> [f64; 2] {
        [0, 1].map(|k| self.scalars.get(k).copied().unwrap_or_default())
    }

    fn slope(&self, i: usize) -> Option<&'static Slope> {
        if self.stretched == 0 { self.program.slope(i) } else { None }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let operand = |k: u8| match k as usize {
            k if k < x.len() => x[k],
            k if k == x.len() => y,
            _ => dy,
        };
        for (i, x) in x.iter().enumerate() {
            match self.program.rule(i) {
                Rule::Zero => grads.zero(i),
                Rule::None(why) => grads.not_differentiable(i, why),
                Rule::Operand(k) => grads.give(i, || self.reduced(i, operand(*k), *x)),
                Rule::Map(program, operands) if self.is_plain() => grads.give(i, || {
                    let operands: SmallVec<[Var<'t>; 6]> =
                        operands.iter().map(|&k| operand(k)).collect();
                    Var::apply(OpRef::from_static(program.plain()), &operands)
                }),
                Rule::Map(program, operands) => grads.give(i, || {
                    let bit = |(at, &k): (usize, &u8)| (self.stretched >> k & 1) << at;
                    let stretched = operands.iter().enumerate().map(bit).sum();
                    let map = Map::new(program, &self.scalars, stretched);
                    let operands: SmallVec<[Var<'t>; 6]> =
                        operands.iter().map(|&k| operand(k)).collect();
                    self.reduced(i, Var::apply(map, &operands), *x)
                }),
            }
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        mimic::evaluate(&self.program.expr, &self.scalars, ins)
    }

    fn samples() -> Vec<Sample<Self>> {
        crate::ops::map_samples()
    }
}

impl Map {
    /// Whether it has no scalars, and nothing broadcasts.
    fn is_plain(&self) -> bool {
        self.scalars.is_empty() && self.stretched == 0
    }

    /// The cotangent of operand `i`, summed down to it if it was stretched.
    fn reduced<'t>(&self, i: usize, dx: Var<'t>, x: Var<'t>) -> Var<'t> {
        if self.stretches(i) { dx.sum_like(x) } else { dx }
    }

    /// How many operands it has.
    pub(crate) fn inputs(&self) -> usize {
        self.program.expr.inputs as usize
    }

    /// Evaluates on a dense value, the first operand, in its own memory; all others are dense.
    pub(crate) fn run_on<T: Real>(
        &self,
        others: &[View],
        shape: &Shape,
        value: &mut [T],
    ) -> Result<()> {
        kernel::run_on(self, others, shape, value)
    }

    /// Values that it needs on the way, at most at a time.
    pub(crate) fn registers(&self) -> usize {
        self.program.registers
    }

    /// The primitives that it runs, with the places of their operands and results: operands, registers and
    /// result are in these places, and `constant` says where a number is.
    pub(crate) fn primitives(
        &self,
        operands: &[usize],
        registers: &[usize],
        result: usize,
        mut constant: impl FnMut(f64) -> usize,
    ) -> Vec<(Primitive, SmallVec<[usize; 3]>, usize)> {
        let mut from = |source: Source| match source {
            Source::Input(i) => operands[i as usize],
            Source::Scalar(i) => constant(self.scalars[i as usize]),
            Source::Constant(x) => constant(x),
            Source::Register(r) => registers[r as usize],
        };
        let to = |target: Target| match target {
            Target::Register(r) => registers[r as usize],
            Target::Output => result,
        };
        let mut primitive = |instr: &Instr| match *instr {
            Instr::Unary(op, x, t) => (Primitive::Unary(op), smallvec![from(x)], to(t)),
            Instr::Binary(op, l, r, t) => {
                (Primitive::Binary(op), smallvec![from(l), from(r)], to(t))
            }
            Instr::Select(c, y, n, t) => {
                (Primitive::Select, smallvec![from(c), from(y), from(n)], to(t))
            }
            Instr::Copy(x, t) => (Primitive::Copy, smallvec![from(x)], to(t)),
        };
        self.program.code.iter().map(&mut primitive).collect()
    }

    /// Whether the backward rule of operand `i` reads operand `k`.
    pub(crate) fn rule_reads(&self, i: usize, k: usize) -> bool {
        match self.program.rule(i) {
            Rule::Zero | Rule::None(_) => false,
            Rule::Operand(own) => *own as usize == k,
            Rule::Map(_, operands) => operands.contains(&(k as u8)),
        }
    }

    /// Whether it is −x.
    pub(crate) fn is_negation(&self) -> bool {
        matches!(self.program.expr.nodes[..], [_, expr::Node::Unary(Unary::Neg, 0)])
    }

    /// Whether operand `i` broadcasts.
    pub(crate) fn stretches(&self, i: usize) -> bool {
        self.stretched & 1 << i != 0
    }
}
