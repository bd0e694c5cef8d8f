//! Where a result is zero because operands are absent: proved by abstract evaluation.
//!
//! An element-wise operator has a sparse row iff its result is 0 wherever the absent operands are 0,
//! for all finite non-zero values of the dense ones. The expression is evaluated over the abstract
//! values below, absent operands as +0 and as −0, with the operator's actual scalars. What cannot be
//! proved is dense.

use super::expr::{Expr, Node};
use crate::kernels::elementwise::{Arg, Binary, Unary, binary, unary};
use crate::tensor::{DType, Element, Real};

/// What is known of a value.
#[derive(Clone, Copy, Debug)]
enum Known {
    Exactly(f64),
    /// +0 or −0.
    Zero,
    FiniteNonZero,
    Finite,
    Any,
}
use Known::{Any, Exactly, Finite, FiniteNonZero, Zero};

/// Where a result is stored, given which operands are sparse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Support {
    /// Not provably zero where all of them are absent: the result is dense.
    Everywhere,
    /// Where any sparse operand is stored.
    Union,
    /// Where all of these operands (a bit each) are stored: it is zero if one of them is absent.
    All(u8),
}

/// The support of the result when the operands in `sparse` (a bit each) are sparse. The cotangent
/// among the operands, if any, is absent only where the result has no place (law: cotangents of
/// absent entries do not exist), so nothing needs proof there.
pub(super) fn support(expr: &Expr, scalars: &[f64], sparse: u8, cotangent: Option<u8>) -> Support {
    if let Some(dy) = cotangent.filter(|dy| sparse & (1 << dy) != 0) {
        return Support::All(1 << dy);
    }
    let bits = |mask: u8| (0..8).map(|i| 1u8 << i).filter(move |bit| mask & bit != 0);
    let zero = |absent: u8| is_zero(expr, scalars, absent, sparse & !absent);
    if !zero(sparse) {
        return Support::Everywhere;
    }
    match bits(sparse).filter(|&bit| zero(bit)).sum() {
        0 => Support::Union,
        required => Support::All(required),
    }
}

/// Whether the result is 0 wherever the operands `absent` are: the others finite and non-zero if
/// dense, finite if sparse and `stored`.
fn is_zero(expr: &Expr, scalars: &[f64], absent: u8, stored: u8) -> bool {
    // Signs as a bit each; only those of absent operands matter. Scalars round differently in f32.
    let signs = (0..=absent).filter(|signs| signs & !absent == 0);
    let mut tries = signs.flat_map(|signs| [(signs, DType::F32), (signs, DType::F64)]);
    tries.all(|(signs, dtype)| {
        let input = |i: u8| match 1u8 << i {
            bit if absent & bit == 0 => {
                if stored & bit == 0 {
                    FiniteNonZero
                } else {
                    Finite
                }
            }
            bit if signs & bit == 0 => Exactly(0.0),
            _ => Exactly(-0.0),
        };
        is_zero_known(evaluate(expr, scalars, dtype, input))
    })
}

fn evaluate(expr: &Expr, scalars: &[f64], dtype: DType, input: impl Fn(u8) -> Known) -> Known {
    let rounded = |x: f64| Exactly(if dtype == DType::F32 { f64::from(x as f32) } else { x });
    let mut known: Vec<Known> = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let at = |id: u16| known[id as usize];
        let value = match *node {
            Node::Input(i) => input(i),
            Node::Scalar(i) => rounded(scalars[i as usize]),
            Node::Constant(bits) => rounded(f64::from_bits(bits)),
            Node::Unary(op, a) => of_unary(op, at(a), dtype),
            Node::Binary(op, l, r) => of_binary(op, at(l), at(r), dtype),
            Node::Select(c, yes, no) => match at(c) {
                Exactly(c) if c != 0.0 => at(yes),
                Exactly(_) | Zero => at(no),
                // Zeros are what a dense condition is for.
                FiniteNonZero | Finite | Any => either(at(yes), at(no)),
            },
        };
        known.push(value);
    }
    known.last().copied().unwrap_or(Any)
}

fn scalar_unary(op: Unary, x: f64, dtype: DType) -> f64 {
    fn compute<T: Real>(op: Unary, x: f64) -> f64 {
        let mut y = [T::zero()];
        unary(op, &[<T as Element>::from_f64(x)], &mut y);
        y[0].to_f64()
    }
    if dtype == DType::F32 { compute::<f32>(op, x) } else { compute::<f64>(op, x) }
}

fn scalar_binary(op: Binary, l: f64, r: f64, dtype: DType) -> f64 {
    fn compute<T: Real>(op: Binary, l: f64, r: f64) -> f64 {
        let mut y = [T::zero()];
        let arg = |x: f64| Arg::Splat(<T as Element>::from_f64(x));
        binary(op, arg(l), arg(r), &mut y);
        y[0].to_f64()
    }
    if dtype == DType::F32 { compute::<f32>(op, l, r) } else { compute::<f64>(op, l, r) }
}

fn of_unary(op: Unary, a: Known, dtype: DType) -> Known {
    match (op, a) {
        (_, Exactly(x)) => Exactly(scalar_unary(op, x, dtype)),
        (_, Zero) => {
            let (plus, minus) = (scalar_unary(op, 0.0, dtype), scalar_unary(op, -0.0, dtype));
            either(Exactly(plus), Exactly(minus))
        }
        (Unary::Neg | Unary::Abs, known) => known,
        (Unary::Sign, FiniteNonZero) => FiniteNonZero,
        (Unary::Relu | Unary::Tanh | Unary::Sigmoid | Unary::Sign, Finite | FiniteNonZero) => {
            Finite
        }
        (Unary::Sin | Unary::Cos | Unary::Erf | Unary::Atan, Finite | FiniteNonZero) => Finite,
        _ => Any,
    }
}

fn is_zero_known(a: Known) -> bool {
    matches!(a, Zero) || matches!(a, Exactly(x) if x == 0.0)
}

fn is_finite(a: Known) -> bool {
    match a {
        Exactly(x) => x.is_finite(),
        Any => false,
        _ => true,
    }
}

fn is_finite_non_zero(a: Known) -> bool {
    matches!(a, FiniteNonZero) || matches!(a, Exactly(x) if x.is_finite() && x != 0.0)
}

fn of_binary(op: Binary, l: Known, r: Known, dtype: DType) -> Known {
    if let (Exactly(l), Exactly(r)) = (l, r) {
        return Exactly(scalar_binary(op, l, r, dtype));
    }
    let zeros = is_zero_known(l) && is_zero_known(r);
    let one_zero = is_zero_known(l) || is_zero_known(r);
    match op {
        Binary::Mul | Binary::TanhGrad | Binary::SigmoidGrad if one_zero => match op {
            Binary::Mul if is_finite(l) && is_finite(r) => Zero,
            // (1 − l²)·r and l·(1 − l)·r with r = 0, l finite and bounded.
            Binary::TanhGrad | Binary::SigmoidGrad if is_zero_known(r) && bounded(l) => Zero,
            Binary::SigmoidGrad if is_zero_known(l) && is_finite(r) => Zero,
            _ => Any,
        },
        Binary::Div if is_zero_known(l) && is_finite_non_zero(r) => Zero,
        Binary::Mod if is_zero_known(l) && is_finite(r) => Zero,
        Binary::Add | Binary::Sub | Binary::Max | Binary::Min | Binary::Hypot if zeros => Zero,
        Binary::Add if is_zero_known(l) => r,
        Binary::Add | Binary::Sub if is_zero_known(r) => l,
        Binary::Max | Binary::Min if is_finite(l) && is_finite(r) => Finite,
        Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge | Binary::Eq | Binary::Ne if zeros => {
            Exactly(scalar_binary(op, 0.0, 0.0, dtype))
        }
        Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge | Binary::Eq | Binary::Ne => Finite,
        _ => Any,
    }
}

/// Known and small enough that its square is finite.
fn bounded(a: Known) -> bool {
    matches!(a, Zero) || matches!(a, Exactly(x) if x.abs() < 1e15)
}

fn either(a: Known, b: Known) -> Known {
    match (a, b) {
        (Exactly(x), Exactly(y)) if x.to_bits() == y.to_bits() => a,
        _ if is_zero_known(a) && is_zero_known(b) => Zero,
        _ if is_finite_non_zero(a) && is_finite_non_zero(b) => FiniteNonZero,
        _ if is_finite(a) && is_finite(b) => Finite,
        _ => Any,
    }
}
