//! The definition of an expression: element by element, with the standard library's functions.

use ndarray::{ArrayD, IxDyn};

use super::expr::{Expr, Node};
use crate::kernels::elementwise::{Binary, Unary};
use crate::tensor::Shape;
use crate::tensor::shape::broadcast;

pub(super) fn evaluate(expr: &Expr, scalars: &[f64], ins: &[ArrayD<f64>]) -> ArrayD<f64> {
    let shape = ins
        .iter()
        .fold(Shape::default(), |shape, x| broadcast(&shape, x.shape()).unwrap_or_default());
    let wide: Vec<ArrayD<f64>> = ins
        .iter()
        .map(|x| x.broadcast(IxDyn(&shape)).map_or_else(|| x.clone(), |b| b.to_owned()))
        .collect();
    ArrayD::from_shape_fn(IxDyn(&shape), |at| {
        let element: Vec<f64> = wide.iter().map(|x| x[&at]).collect();
        one(expr, scalars, &element)
    })
}

fn one(expr: &Expr, scalars: &[f64], x: &[f64]) -> f64 {
    let mut values: Vec<f64> = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let at = |id: u16| values[id as usize];
        values.push(match *node {
            Node::Input(i) => x[i as usize],
            Node::Scalar(i) => scalars[i as usize],
            Node::Constant(bits) => f64::from_bits(bits),
            Node::Unary(op, a) => unary(op, at(a)),
            Node::Binary(op, l, r) => binary(op, at(l), at(r)),
            Node::Select(c, yes, no) => {
                if at(c) != 0.0 {
                    at(yes)
                } else {
                    at(no)
                }
            }
        });
    }
    values.last().copied().unwrap_or(f64::NAN)
}

fn unary(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                0.0
            }
        }
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Cbrt => x.cbrt(),
        Unary::Square => x * x,
        Unary::Reciprocal => 1.0 / x,
        Unary::Exp => x.exp(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Ln => x.ln(),
        Unary::Log2 => x.log2(),
        Unary::Log10 => x.log10(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Asin => x.asin(),
        Unary::Acos => x.acos(),
        Unary::Atan => x.atan(),
        Unary::Sinh => x.sinh(),
        Unary::Cosh => x.cosh(),
        Unary::Tanh => x.tanh(),
        Unary::Asinh => x.asinh(),
        Unary::Acosh => x.acosh(),
        Unary::Atanh => x.atanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Erf => libm::erf(x),
        Unary::Relu => {
            if x > 0.0 {
                x
            } else {
                0.0
            }
        }
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Trunc => x.trunc(),
        Unary::Round => x.round(),
        Unary::Rint => (x - 0.5).ceil(),
        Unary::Gamma => libm::tgamma(x),
        Unary::LnGamma => libm::lgamma(x),
        // ψ(x) from the difference quotient of ln Γ would lose digits: recurrence, then Stirling.
        Unary::Digamma => {
            let (mut shift, mut z) = (0.0, x);
            while z < 20.0 {
                shift += 1.0 / z;
                z += 1.0;
            }
            let w = 1.0 / (z * z);
            z.ln() - 0.5 / z - w * (1.0 / 12.0 - w * (1.0 / 120.0 - w / 252.0)) - shift
        }
    }
}

fn binary(op: Binary, a: f64, b: f64) -> f64 {
    let flag = |holds: bool| f64::from(u8::from(holds));
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Max => {
            if a >= b {
                a
            } else {
                b
            }
        }
        Binary::Min => {
            if a <= b {
                a
            } else {
                b
            }
        }
        Binary::Pow => a.powf(b),
        Binary::Hypot => (a * a + b * b).sqrt(),
        Binary::Mod => {
            if b == 0.0 {
                0.0
            } else {
                a - (a / b).floor() * b
            }
        }
        Binary::Lt => flag(a < b),
        Binary::Le => flag(a <= b),
        Binary::Gt => flag(a > b),
        Binary::Ge => flag(a >= b),
        Binary::Eq => flag(a == b),
        Binary::Ne => flag(a != b),
        Binary::TanhGrad => (1.0 - a * a) * b,
        Binary::SigmoidGrad => a * (1.0 - a) * b,
    }
}
