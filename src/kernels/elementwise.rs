//! Element-wise primitives over slices.
//!
//! Every function gives the same bits on every instruction set and at every position of the
//! slice. Arithmetic that gives NaN gives the canonical quiet NaN; [`select`] alone passes values
//! through as they are. Each call dispatches once and loops inside.

use serde::{Deserialize, Serialize};

use super::drive::{At, Choose, Expr, Kernel1, Kernel2, Map1, Map2, Splat, loop_of, run};
use super::isa::Isa;
use super::lanes::Lanes;
use super::math::{basic, erf, exp, log};
use super::real::Real;
use super::slab::Loop;

/// A function of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unary {
    /// -x.
    Neg,
    /// |x|.
    Abs,
    /// -1, 0 or 1; plus zero for either zero and for NaN.
    Sign,
    /// √x.
    Sqrt,
    /// 1/√x.
    Rsqrt,
    /// ∛x.
    Cbrt,
    /// x².
    Square,
    /// 1/x.
    Reciprocal,
    /// e^x.
    Exp,
    /// e^x - 1.
    Expm1,
    /// Natural logarithm.
    Ln,
    /// Logarithm to base 2.
    Log2,
    /// Logarithm to base 10.
    Log10,
    /// ln(1 + x).
    Log1p,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Tangent.
    Tan,
    /// Arc sine.
    Asin,
    /// Arc cosine.
    Acos,
    /// Arc tangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Hyperbolic tangent.
    Tanh,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse hyperbolic tangent.
    Atanh,
    /// 1/(1 + e^-x).
    Sigmoid,
    /// ln(1 + e^x).
    Softplus,
    /// The error function.
    Erf,
    /// max(x, 0): x for either zero and for NaN.
    Relu,
    /// Towards minus infinity.
    Floor,
    /// Towards plus infinity.
    Ceil,
    /// Towards zero.
    Trunc,
    /// To the nearest integer, halves away from zero.
    Round,
    /// To the nearest integer, halves down.
    Rint,
    /// Γ(x).
    Gamma,
    /// ln |Γ(x)|.
    LnGamma,
    /// The logarithmic derivative of Γ.
    Digamma,
}

/// A function of two arguments; comparisons give 1 or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binary {
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a b.
    Mul,
    /// a / b.
    Div,
    /// The greater; NaN if either is, a for ties (also of the two zeros).
    Max,
    /// The smaller; NaN if either is, a for ties (also of the two zeros).
    Min,
    /// a to the power b.
    Pow,
    /// √(a² + b²).
    Hypot,
    /// Remainder with the sign of b; 0 where b is 0.
    Mod,
    /// a < b.
    Lt,
    /// a ≤ b.
    Le,
    /// a > b.
    Gt,
    /// a ≥ b.
    Ge,
    /// a = b.
    Eq,
    /// a ≠ b; 1 for NaN.
    Ne,
    /// (1 - a a) b: the gradient of tanh, from its value a and the cotangent b.
    TanhGrad,
    /// (a (1 - a)) b: the gradient of the sigmoid, from its value a and the cotangent b.
    SigmoidGrad,
}

/// An operand: a slice as long as the output, or one value for every element.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a, T> {
    /// One value per element.
    Slice(&'a [T]),
    /// The same value for every element.
    Splat(T),
}

impl<T> Arg<'_, T> {
    fn assert_fits(&self, len: usize) {
        let fits = match self {
            Self::Slice(s) => s.len() == len,
            Self::Splat(_) => true,
        };
        assert!(fits, "an operand is not as long as the output");
    }
}

/// `out[i] = op(x[i])`.
///
/// # Panics
/// If the lengths differ.
pub fn unary<T: Real>(op: Unary, x: &[T], out: &mut [T]) {
    unary_on(Isa::detected(), op, x, out);
}

/// `out[i] = op(a[i], b[i])`.
///
/// # Panics
/// If a slice is not as long as `out`.
pub fn binary<T: Real>(op: Binary, a: Arg<T>, b: Arg<T>, out: &mut [T]) {
    binary_on(Isa::detected(), op, a, b, out);
}

/// `out[i] = yes[i]` where `cond[i]` is not zero (NaN is not), else `no[i]`.
///
/// # Panics
/// If a slice is not as long as `out`.
pub fn select<T: Real>(cond: Arg<T>, yes: Arg<T>, no: Arg<T>, out: &mut [T]) {
    select_on(Isa::detected(), cond, yes, no, out);
}

/// `out[i] = a[i] + b[i]`.
///
/// # Panics
/// If the lengths differ.
pub fn add<T: Real>(a: &[T], b: &[T], out: &mut [T]) {
    binary(Binary::Add, Arg::Slice(a), Arg::Slice(b), out);
}

macro_rules! kernels {
    ($trait:ident: $($name:ident($($arg:ident),*) = $body:expr;)*) => {$(
        #[derive(Clone, Copy, Default)]
        pub(super) struct $name;

        impl<E: Real> $trait<E> for $name {
            #[inline(always)]
            fn eval<L: Lanes<Elem = E>>($($arg: L),*) -> L {
                $body
            }
        }
    )*};
}

kernels! { Kernel1:
    Neg(x) = -x;
    Abs(x) = x.abs();
    Sign(x) = basic::sign(x);
    Sqrt(x) = x.sqrt();
    Rsqrt(x) = basic::rsqrt(x);
    Square(x) = x * x;
    Reciprocal(x) = basic::reciprocal(x);
    Exp(x) = exp::exp(x);
    Expm1(x) = exp::expm1(x);
    Ln(x) = log::ln(x);
    Log1p(x) = log::log1p(x);
    Tanh(x) = exp::tanh(x);
    Sigmoid(x) = exp::sigmoid(x);
    Softplus(x) = log::softplus(x);
    Erf(x) = erf::erf(x);
    Relu(x) = basic::relu(x);
    Floor(x) = x.floor();
    Ceil(x) = x.ceil();
    Trunc(x) = x.trunc();
    Round(x) = basic::round(x);
    Rint(x) = basic::rint(x);
}

kernels! { Kernel2:
    Add(a, b) = a + b;
    Sub(a, b) = a - b;
    Mul(a, b) = a * b;
    Div(a, b) = a / b;
    Max(a, b) = basic::max(a, b);
    Min(a, b) = basic::min(a, b);
    Lt(a, b) = basic::lt(a, b);
    Le(a, b) = basic::le(a, b);
    Eq(a, b) = basic::eq(a, b);
    Ne(a, b) = basic::ne(a, b);
    TanhGrad(a, b) = basic::tanh_grad(a, b);
    SigmoidGrad(a, b) = basic::sigmoid_grad(a, b);
}

pub(super) fn unary_on<T: Real>(isa: Isa, op: Unary, x: &[T], out: &mut [T]) {
    match op {
        Unary::Neg => lanes1(isa, Neg, x, out),
        Unary::Abs => lanes1(isa, Abs, x, out),
        Unary::Sign => lanes1(isa, Sign, x, out),
        Unary::Sqrt => lanes1(isa, Sqrt, x, out),
        Unary::Rsqrt => lanes1(isa, Rsqrt, x, out),
        Unary::Square => lanes1(isa, Square, x, out),
        Unary::Reciprocal => lanes1(isa, Reciprocal, x, out),
        Unary::Exp => lanes1(isa, Exp, x, out),
        Unary::Expm1 => lanes1(isa, Expm1, x, out),
        Unary::Ln => lanes1(isa, Ln, x, out),
        Unary::Log1p => lanes1(isa, Log1p, x, out),
        Unary::Sin => T::sin_all(isa, x, out),
        Unary::Cos => T::cos_all(isa, x, out),
        Unary::Tanh => lanes1(isa, Tanh, x, out),
        Unary::Sigmoid => lanes1(isa, Sigmoid, x, out),
        Unary::Softplus => lanes1(isa, Softplus, x, out),
        Unary::Erf => lanes1(isa, Erf, x, out),
        Unary::Relu => lanes1(isa, Relu, x, out),
        Unary::Floor => lanes1(isa, Floor, x, out),
        Unary::Ceil => lanes1(isa, Ceil, x, out),
        Unary::Trunc => lanes1(isa, Trunc, x, out),
        Unary::Round => lanes1(isa, Round, x, out),
        Unary::Rint => lanes1(isa, Rint, x, out),
        Unary::Cbrt => each1(T::rare_cbrt, x, out),
        Unary::Log2 => each1(T::rare_log2, x, out),
        Unary::Log10 => each1(T::rare_log10, x, out),
        Unary::Tan => each1(T::rare_tan, x, out),
        Unary::Asin => each1(T::rare_asin, x, out),
        Unary::Acos => each1(T::rare_acos, x, out),
        Unary::Atan => each1(T::rare_atan, x, out),
        Unary::Sinh => each1(T::rare_sinh, x, out),
        Unary::Cosh => each1(T::rare_cosh, x, out),
        Unary::Asinh => each1(T::rare_asinh, x, out),
        Unary::Acosh => each1(T::rare_acosh, x, out),
        Unary::Atanh => each1(T::rare_atanh, x, out),
        Unary::Gamma => each1(T::rare_gamma, x, out),
        Unary::LnGamma => each1(T::rare_ln_gamma, x, out),
        Unary::Digamma => each1(T::rare_digamma, x, out),
    }
}

pub(super) fn binary_on<T: Real>(isa: Isa, op: Binary, a: Arg<T>, b: Arg<T>, out: &mut [T]) {
    match op {
        Binary::Add => lanes2(isa, Add, a, b, out),
        Binary::Sub => lanes2(isa, Sub, a, b, out),
        Binary::Mul => lanes2(isa, Mul, a, b, out),
        Binary::Div => lanes2(isa, Div, a, b, out),
        Binary::Max => lanes2(isa, Max, a, b, out),
        Binary::Min => lanes2(isa, Min, a, b, out),
        Binary::Lt => lanes2(isa, Lt, a, b, out),
        Binary::Le => lanes2(isa, Le, a, b, out),
        Binary::Gt => lanes2(isa, Lt, b, a, out),
        Binary::Ge => lanes2(isa, Le, b, a, out),
        Binary::Eq => lanes2(isa, Eq, a, b, out),
        Binary::Ne => lanes2(isa, Ne, a, b, out),
        Binary::TanhGrad => lanes2(isa, TanhGrad, a, b, out),
        Binary::SigmoidGrad => lanes2(isa, SigmoidGrad, a, b, out),
        Binary::Pow => each2(T::rare_pow, a, b, out),
        Binary::Hypot => each2(T::rare_hypot, a, b, out),
        Binary::Mod => each2(T::rare_mod, a, b, out),
    }
}

pub(super) fn select_on<T: Real>(isa: Isa, c: Arg<T>, yes: Arg<T>, no: Arg<T>, out: &mut [T]) {
    let c = match c {
        Arg::Slice(c) => c,
        Arg::Splat(c) => {
            yes.assert_fits(out.len());
            no.assert_fits(out.len());
            return copy(if c == T::zero() { no } else { yes }, out);
        }
    };
    match (yes, no) {
        (Arg::Slice(y), Arg::Slice(n)) => choose(isa, c, y, n, out),
        (Arg::Slice(y), Arg::Splat(n)) => choose(isa, c, y, Splat(n), out),
        (Arg::Splat(y), Arg::Slice(n)) => choose(isa, c, Splat(y), n, out),
        (Arg::Splat(y), Arg::Splat(n)) => choose(isa, c, Splat(y), Splat(n), out),
    }
}

macro_rules! loops {
    ($op:ident: $family:ident; $of:ident: $($name:ident),*) => {
        match $op {
            $($family::$name => Some($of::<T, $name>()),)*
            _ => None,
        }
    };
}

/// The loop of a function of one argument, of those that are not rare.
pub(super) fn unary_loop<T: Real>(op: Unary) -> Option<Loop<T>> {
    fn of<T: Real, K: Kernel1<T> + Default>() -> Loop<T> {
        loop_of::<T::Native, T, Map1<K, At<T>>>()
    }
    loops!(op: Unary; of:
        Neg, Abs, Sign, Sqrt, Rsqrt, Square, Reciprocal, Exp, Expm1, Ln, Log1p, Tanh, Sigmoid, Softplus,
        Erf, Relu)
}

/// The loop of a function of two arguments, of those that are not rare.
pub(super) fn binary_loop<T: Real>(op: Binary) -> Option<Loop<T>> {
    fn of<T: Real, K: Kernel2<T> + Default>() -> Loop<T> {
        loop_of::<T::Native, T, Map2<K, At<T>, At<T>>>()
    }
    loops!(op: Binary; of: Add, Sub, Mul, Div, Max, Min, Lt, Le, Eq, Ne, TanhGrad, SigmoidGrad)
}

/// The loop of a choice.
pub(super) fn select_loop<T: Real>() -> Loop<T> {
    loop_of::<T::Native, T, Choose<At<T>, At<T>, At<T>>>()
}

fn lanes1<T: Real, K: Kernel1<T>>(isa: Isa, kernel: K, x: &[T], out: &mut [T]) {
    run::<T::Native, _, _>(isa, Map1(kernel, x), out);
}

fn lanes2<T: Real, K: Kernel2<T>>(isa: Isa, kernel: K, a: Arg<T>, b: Arg<T>, out: &mut [T]) {
    match (a, b) {
        (Arg::Slice(a), Arg::Slice(b)) => run::<T::Native, _, _>(isa, Map2(kernel, a, b), out),
        (Arg::Slice(a), Arg::Splat(b)) => {
            run::<T::Native, _, _>(isa, Map2(kernel, a, Splat(b)), out);
        }
        (Arg::Splat(a), Arg::Slice(b)) => {
            run::<T::Native, _, _>(isa, Map2(kernel, Splat(a), b), out);
        }
        (Arg::Splat(a), Arg::Splat(b)) => {
            run::<T::Native, _, _>(isa, Map2(kernel, Splat(a), Splat(b)), out);
        }
    }
}

fn choose<T: Real, Y: Expr<T, T>, N: Expr<T, T>>(
    isa: Isa,
    cond: &[T],
    yes: Y,
    no: N,
    out: &mut [T],
) {
    run::<T::Native, _, _>(isa, Choose(cond, yes, no), out);
}

fn copy<T: Copy>(from: Arg<T>, out: &mut [T]) {
    match from {
        Arg::Slice(from) => out.copy_from_slice(from),
        Arg::Splat(v) => out.fill(v),
    }
}

fn each1<T: Real>(f: fn(T) -> T, x: &[T], out: &mut [T]) {
    Arg::Slice(x).assert_fits(out.len());
    for (out, &x) in out.iter_mut().zip(x) {
        *out = f(x).canonical_nan();
    }
}

fn each2<T: Real>(f: fn(T, T) -> T, a: Arg<T>, b: Arg<T>, out: &mut [T]) {
    a.assert_fits(out.len());
    b.assert_fits(out.len());
    for (i, out) in out.iter_mut().enumerate() {
        *out = f(element(a, i), element(b, i)).canonical_nan();
    }
}

#[inline]
fn element<T: Copy>(arg: Arg<T>, i: usize) -> T {
    match arg {
        Arg::Slice(s) => s[i],
        Arg::Splat(v) => v,
    }
}
