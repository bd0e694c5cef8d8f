//! Element-wise operators: one family.
//!
//! Each is a small scalar [expression](expr::Expr). Its value, its backward rule and all higher
//! orders ([`derivative`]), the storage types that it keeps ([`proof`]) and its kernels ([`kernel`])
//! follow from the expression; there is nothing else to write.

mod derivative;
pub(crate) mod expr;
mod kernel;
mod mimic;
pub(crate) mod program;
mod proof;

use std::borrow::Cow;

use ndarray::ArrayD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use self::expr::Expr;
use self::program::{Program, Rows, Rule};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::op::{Case, Grads, Op, OpRef, Sample};
use crate::tape::{PartialShape, Var};
use crate::tensor::shape::broadcast;
use crate::tensor::{Shape, Stype};

/// An element-wise operator: an expression, the scalars in it, and whether shapes broadcast.
#[derive(Clone, Debug)]
pub struct Map {
    program: &'static Program,
    scalars: SmallVec<[f64; 2]>,
    /// Whether operands broadcast by numpy's rules, or all have one shape.
    broadcast: bool,
    rows: &'static Rows,
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        (self.program, &self.scalars, self.broadcast)
            == (other.program, &other.scalars, other.broadcast)
    }
}

impl Map {
    pub(crate) fn new(program: &'static Program, scalars: &[f64], broadcast: bool) -> Map {
        let rows = program.rows(scalars);
        Map { program, scalars: scalars.into(), broadcast, rows }
    }

    pub(crate) fn named(name: &str, expr: Expr, scalars: &[f64], broadcast: bool) -> Map {
        Map::new(Program::intern(name.to_owned(), expr, None), scalars, broadcast)
    }
}

/// An operator without scalars, built once: for equal shapes and for broadcasting.
pub(crate) struct Named {
    equal: Map,
    broadcasting: Map,
}

impl Named {
    pub fn new(name: &str, expr: Expr) -> Named {
        let equal = Map::named(name, expr, &[], false);
        let broadcasting = Map { broadcast: true, ..equal.clone() };
        Named { equal, broadcasting }
    }

    pub fn equal(&self) -> &Map {
        &self.equal
    }

    pub fn broadcasting(&self) -> &Map {
        &self.broadcasting
    }

    /// The operator for operands of these shapes; where one is unknown they may broadcast.
    pub fn for_shapes(&'static self, shapes: &[Option<Shape>]) -> OpRef {
        let equal = shapes.windows(2).all(|w| w[0].is_some() && w[0] == w[1]);
        OpRef::from_static(if equal { &self.equal } else { &self.broadcasting })
    }
}

/// What a file holds of a [`Map`].
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    label: Cow<'a, str>,
    expr: Cow<'a, Expr>,
    cotangent: Option<u8>,
    scalars: SmallVec<[Number; 2]>,
    broadcast: bool,
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
            broadcast: self.broadcast,
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
        let program = Program::intern(stored.label.into_owned(), expr, stored.cotangent);
        Ok(Map::new(program, &scalars, stored.broadcast))
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
        if !self.broadcast {
            // Twice, so that what the last one knows reaches the first.
            ins.iter_mut().try_for_each(|shape| shape.unify(out))?;
            return ins.iter_mut().try_for_each(|shape| shape.unify(out));
        }
        let mut result = Shape::default();
        for shape in ins.iter() {
            let Some(shape) = shape.known() else { return Ok(()) };
            result = broadcast(&result, &shape).ok_or_else(|| {
                let message = format!("shapes {result} and {shape} do not broadcast");
                Error::new(ErrorKind::Shape, message)
            })?;
        }
        out.set(&result)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        &self.rows.cases
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
                Rule::Operand(k) => grads.give(i, || self.reduced(operand(*k), *x)),
                Rule::Map(program, operands) => grads.give(i, || {
                    let map = Map::new(program, &self.scalars, self.broadcast);
                    let operands: SmallVec<[Var<'t>; 6]> =
                        operands.iter().map(|&k| operand(k)).collect();
                    self.reduced(Var::apply(map, &operands), *x)
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
    /// The cotangent of a dense operand that was broadcast, summed down to it.
    fn reduced<'t>(&self, dx: Var<'t>, x: Var<'t>) -> Var<'t> {
        if self.broadcast && x.stype().is_ok_and(|s| s == Stype::Default) {
            dx.sum_like(x)
        } else {
            dx
        }
    }
}
