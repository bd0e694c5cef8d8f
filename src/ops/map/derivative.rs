//! Derivative rules of the primitives, and the backward expression of any expression.
//!
//! Rules are stated in the result `y` where that is cheaper or more exact. A masked derivative is a
//! `select`, never a product with 0, so that an infinite cotangent of a masked element does no harm.

use super::expr::{Builder, Expr, Id, Node};
use crate::kernels::elementwise::{Binary, Unary};

/// The backward rule of one operand.
pub(super) enum Backward {
    /// The result does not depend on it, but on a set of measure zero.
    Zero,
    /// There is no rule.
    None(&'static str),
    /// An expression over the operands, the result `y` (input `n`) and its cotangent (`n + 1`).
    Expr(Expr),
}

/// The cotangent of input `wrt` by reverse accumulation through the expression.
pub(super) fn backward(expr: &Expr, wrt: u8) -> Backward {
    let mut b = Builder::default();
    let (y, dy) = (b.input(expr.inputs), b.input(expr.inputs + 1));
    let value = b.copy(expr, Some(y));
    let depends = depends_on(expr, wrt);
    let mut cotangent: Vec<Option<Id>> = vec![None; expr.nodes.len()];
    cotangent[expr.root() as usize] = Some(dy);
    let mut total = None;
    for (i, node) in expr.nodes.iter().enumerate().rev() {
        let (Some(dy), true) = (cotangent[i], depends[i]) else { continue };
        let at = |id: Id| value[id as usize];
        let terms: [Option<(Id, Option<Id>)>; 2] = match *node {
            Node::Input(_) => {
                total = Some(dy);
                continue;
            }
            Node::Scalar(_) | Node::Constant(_) => continue,
            Node::Unary(Unary::Digamma, _) => {
                return Backward::None("digamma is where differentiation ends");
            }
            Node::Unary(op, a) => [Some((a, unary(&mut b, op, at(a), value[i], dy))), None],
            Node::Binary(op, l, r) => {
                let (dl, dr) = (depends[l as usize], depends[r as usize]);
                let operands = (at(l), at(r), value[i], dy);
                [
                    dl.then(|| (l, left(&mut b, op, operands))),
                    dr.then(|| (r, right(&mut b, op, operands))),
                ]
            }
            Node::Select(c, yes, no) => {
                let zero = b.constant(0.0);
                let (c, masked) = (at(c), (depends[yes as usize], depends[no as usize]));
                [
                    masked.0.then(|| (yes, Some(b.select(c, dy, zero)))),
                    masked.1.then(|| (no, Some(b.select(c, zero, dy)))),
                ]
            }
        };
        for (operand, term) in terms.into_iter().flatten() {
            let Some(term) = term.filter(|_| depends[operand as usize]) else { continue };
            let sum = &mut cotangent[operand as usize];
            *sum = Some(sum.map_or(term, |sum| b.add_terms(sum, term)));
        }
    }
    match total {
        Some(root) => Backward::Expr(b.finish(expr.inputs + 2, root)),
        None => Backward::Zero,
    }
}

fn depends_on(expr: &Expr, input: u8) -> Vec<bool> {
    let mut depends: Vec<bool> = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let here = *node == Node::Input(input);
        depends.push(here || node.operands().any(|a| depends[a as usize]));
    }
    depends
}

/// `dy · dy/da` for `y = op(a)`; `None` where it is zero almost everywhere.
fn unary(b: &mut Builder, op: Unary, a: Id, y: Id, dy: Id) -> Option<Id> {
    let (zero, one) = (b.constant(0.0), b.constant(1.0));
    let term = match op {
        Unary::Sign
        | Unary::Floor
        | Unary::Ceil
        | Unary::Trunc
        | Unary::Round
        | Unary::Rint
        | Unary::Digamma => return None,
        Unary::Neg => b.neg(dy),
        Unary::Abs => {
            let (below, above) = (b.binary(Binary::Lt, a, zero), b.binary(Binary::Gt, a, zero));
            let (minus, plus) = (b.neg(dy), b.select(above, dy, zero));
            b.select(below, minus, plus)
        }
        Unary::Relu => {
            let above = b.binary(Binary::Gt, a, zero);
            b.select(above, dy, zero)
        }
        Unary::Sqrt => {
            let half = b.constant(0.5);
            let slope = b.div(half, y);
            b.mul(dy, slope)
        }
        Unary::Rsqrt => {
            let (half, square) = (b.constant(-0.5), b.mul(y, y));
            let (cube, scaled) = (b.mul(square, y), b.mul(dy, half));
            b.mul(scaled, cube)
        }
        Unary::Cbrt => {
            let (three, square) = (b.constant(3.0), b.mul(y, y));
            let slope = b.mul(three, square);
            b.div(dy, slope)
        }
        Unary::Square => {
            let two = b.constant(2.0);
            let slope = b.mul(two, a);
            b.mul(dy, slope)
        }
        Unary::Reciprocal => {
            let square = b.mul(y, y);
            let scaled = b.mul(dy, square);
            b.neg(scaled)
        }
        Unary::Exp => b.mul(dy, y),
        Unary::Expm1 => {
            let slope = b.add_terms(y, one);
            b.mul(dy, slope)
        }
        Unary::Ln => b.div(dy, a),
        Unary::Log2 => over_scaled(b, dy, a, std::f64::consts::LN_2),
        Unary::Log10 => over_scaled(b, dy, a, std::f64::consts::LN_10),
        Unary::Log1p => {
            let slope = b.add_terms(one, a);
            b.div(dy, slope)
        }
        Unary::Sin => {
            let slope = b.unary(Unary::Cos, a);
            b.mul(dy, slope)
        }
        Unary::Cos => {
            let slope = b.unary(Unary::Sin, a);
            let scaled = b.mul(dy, slope);
            b.neg(scaled)
        }
        Unary::Tan => {
            let square = b.mul(y, y);
            let slope = b.add_terms(one, square);
            b.mul(dy, slope)
        }
        Unary::Asin => over_root(b, dy, a, 1.0, -1.0),
        Unary::Acos => {
            let slope = over_root(b, dy, a, 1.0, -1.0);
            b.neg(slope)
        }
        Unary::Asinh => over_root(b, dy, a, 1.0, 1.0),
        Unary::Acosh => over_root(b, dy, a, -1.0, 1.0),
        Unary::Atan => {
            let square = b.mul(a, a);
            let slope = b.add_terms(one, square);
            b.div(dy, slope)
        }
        Unary::Atanh => {
            let square = b.mul(a, a);
            let slope = b.sub(one, square);
            b.div(dy, slope)
        }
        Unary::Sinh => {
            let slope = b.unary(Unary::Cosh, a);
            b.mul(dy, slope)
        }
        Unary::Cosh => {
            let slope = b.unary(Unary::Sinh, a);
            b.mul(dy, slope)
        }
        Unary::Tanh => b.binary(Binary::TanhGrad, y, dy),
        Unary::Sigmoid => b.binary(Binary::SigmoidGrad, y, dy),
        Unary::Softplus => {
            let slope = b.unary(Unary::Sigmoid, a);
            b.mul(dy, slope)
        }
        Unary::Erf => {
            let scale = b.constant(std::f64::consts::FRAC_2_SQRT_PI);
            let square = b.mul(a, a);
            let exponent = b.neg(square);
            let bell = b.unary(Unary::Exp, exponent);
            let slope = b.mul(scale, bell);
            b.mul(dy, slope)
        }
        Unary::Gamma => {
            let digamma = b.unary(Unary::Digamma, a);
            let slope = b.mul(y, digamma);
            b.mul(dy, slope)
        }
        Unary::LnGamma => {
            let slope = b.unary(Unary::Digamma, a);
            b.mul(dy, slope)
        }
    };
    Some(term)
}

/// `dy / (scale · a)`.
fn over_scaled(b: &mut Builder, dy: Id, a: Id, scale: f64) -> Id {
    let scale = b.constant(scale);
    let slope = b.mul(a, scale);
    b.div(dy, slope)
}

/// `dy / √(constant + sign · a²)`.
fn over_root(b: &mut Builder, dy: Id, a: Id, constant: f64, sign: f64) -> Id {
    let (constant, square) = (b.constant(constant), b.mul(a, a));
    let op = if sign < 0.0 { Binary::Sub } else { Binary::Add };
    let radicand = b.binary(op, constant, square);
    let root = b.unary(Unary::Sqrt, radicand);
    b.div(dy, root)
}

/// `dy · a / √(..)`, and 0 where the root is: there the slope has no limit, and 0 is between all.
fn over_norm(b: &mut Builder, a: Id, norm: Id, dy: Id) -> Id {
    let norm = or_one(b, norm);
    let slope = b.div(a, norm);
    b.mul(dy, slope)
}

/// 1 in place of 0, so that what is masked is finite at every order: a `select` after the fact would
/// leave 0·∞ to the next order.
fn or_one(b: &mut Builder, a: Id) -> Id {
    let (zero, one) = (b.constant(0.0), b.constant(1.0));
    let is_zero = b.binary(Binary::Eq, a, zero);
    b.select(is_zero, one, a)
}

type Operands = (Id, Id, Id, Id);

/// `dy · dy/dl` for `y = op(l, r)`.
fn left(b: &mut Builder, op: Binary, (l, r, y, dy): Operands) -> Option<Id> {
    let (zero, one, two) = (b.constant(0.0), b.constant(1.0), b.constant(2.0));
    let term = match op {
        Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge | Binary::Eq | Binary::Ne => return None,
        Binary::Add | Binary::Sub => dy,
        // x mod 0 is the constant 0.
        Binary::Mod => {
            let nothing = b.binary(Binary::Eq, r, zero);
            b.select(nothing, zero, dy)
        }
        Binary::Mul => b.mul(dy, r),
        Binary::Div => b.div(dy, r),
        Binary::Max => {
            let takes = b.binary(Binary::Ge, l, r);
            b.select(takes, dy, zero)
        }
        Binary::Min => {
            let takes = b.binary(Binary::Le, l, r);
            b.select(takes, dy, zero)
        }
        // r·lʳ⁻¹, and for the constant l⁰ 0·l, which is no 0·∞ at l = 0.
        Binary::Pow => {
            let (lower, constant) = (b.sub(r, one), b.binary(Binary::Eq, r, zero));
            let exponent = b.select(constant, one, lower);
            let power = b.binary(Binary::Pow, l, exponent);
            let slope = b.mul(r, power);
            b.mul(dy, slope)
        }
        Binary::Hypot => over_norm(b, l, y, dy),
        // (1 − l²)·r
        Binary::TanhGrad => {
            let (twice, scaled) = (b.mul(two, l), b.mul(dy, r));
            let product = b.mul(twice, scaled);
            b.neg(product)
        }
        // l·(1 − l)·r
        Binary::SigmoidGrad => {
            let (twice, scaled) = (b.mul(two, l), b.mul(dy, r));
            let slope = b.sub(one, twice);
            b.mul(slope, scaled)
        }
    };
    Some(term)
}

/// `dy · dy/dr` for `y = op(l, r)`.
fn right(b: &mut Builder, op: Binary, (l, r, y, dy): Operands) -> Option<Id> {
    let zero = b.constant(0.0);
    let term = match op {
        Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge | Binary::Eq | Binary::Ne => return None,
        Binary::Add => dy,
        Binary::Sub => b.neg(dy),
        Binary::Mul => b.mul(dy, l),
        Binary::Div => {
            let slope = b.div(y, r);
            let scaled = b.mul(dy, slope);
            b.neg(scaled)
        }
        // A tie goes to the left operand.
        Binary::Max => {
            let other = b.binary(Binary::Ge, l, r);
            b.select(other, zero, dy)
        }
        Binary::Min => {
            let other = b.binary(Binary::Le, l, r);
            b.select(other, zero, dy)
        }
        // y·ln l, and for the constant 0ʳ y·ln 1, which is no 0·∞.
        Binary::Pow => {
            let base = or_one(b, l);
            let log = b.unary(Unary::Ln, base);
            let slope = b.mul(y, log);
            b.mul(dy, slope)
        }
        Binary::Hypot => over_norm(b, r, y, dy),
        // l − ⌊l/r⌋·r, and 0 for r = 0. The floor is (l − y)/r, a whole number but for rounding.
        Binary::Mod => {
            let (whole, divisor) = (b.sub(l, y), or_one(b, r));
            let quotient = b.div(whole, divisor);
            let floor = b.unary(Unary::Round, quotient);
            let scaled = b.mul(dy, floor);
            let (term, nothing) = (b.neg(scaled), b.binary(Binary::Eq, r, zero));
            b.select(nothing, zero, term)
        }
        Binary::TanhGrad => b.binary(Binary::TanhGrad, l, dy),
        Binary::SigmoidGrad => b.binary(Binary::SigmoidGrad, l, dy),
    };
    Some(term)
}
