//! Errors against double-precision references (`f32`) and against `libm` (`f64`), in units in the
//! last place of the exact result.

use super::elementwise::{Arg, Binary, Unary, binary, unary};
use super::elementwise_tests::{Bits, Random};

const POINTS: usize = 200_000;

/// The spacing of `T` at `v`, from the number of its mantissa bits and its least exponent.
fn ulp(v: f64, mantissa: i32, least: i32) -> f64 {
    let exponent = if v == 0.0 { least } else { libm::ilogb(v).max(least) };
    libm::scalbn(1.0, exponent - mantissa)
}

fn error_f32(got: f32, want: f64) -> f64 {
    if f64::from(got) == want || got == want as f32 {
        return 0.5;
    }
    (f64::from(got) - want).abs() / ulp(want, 23, -126)
}

/// Both are rounded, so a whole number; half of one stands for the rounding of the reference.
fn error_f64(got: f64, want: f64) -> f64 {
    if got == want {
        return 0.0;
    }
    (got - want).abs() / ulp(want, 52, -1022)
}

/// Half the points uniform on the range, half with their magnitude uniform in the exponent.
fn points<T: Bits>(low: f64, high: f64) -> Vec<T> {
    let mut source = Random(13);
    let uniform: Vec<T> = (0..POINTS).map(|_| T::rounded(source.within(low, high))).collect();
    let scaled = (0..POINTS).map(|i| {
        let end = if i % 2 == 0 { high } else { low };
        T::rounded(end * libm::exp2(-source.within(0.0, 60.0)))
    });
    let mut all: Vec<T> = uniform.into_iter().chain(scaled).collect();
    all.retain(|&x| T::rounded(low) <= x && x <= T::rounded(high));
    all
}

type Reference = fn(f64) -> f64;

fn sigmoid(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

/// The function, the range, its reference and the bounds for `f32` and `f64`.
const CASES: &[(Unary, f64, f64, Reference, f64, f64)] = &[
    (Unary::Exp, -104.0, 88.7, libm::exp, 0.8, 1.0),
    (Unary::Exp, -87.0, 88.7, libm::exp, 0.7, 1.0),
    (Unary::Exp, -745.0, 709.7, libm::exp, 0.8, 1.0),
    (Unary::Expm1, -40.0, 709.7, libm::expm1, 1.0, 2.0),
    (Unary::Expm1, -20.0, 88.7, libm::expm1, 1.0, 2.0),
    (Unary::Expm1, -1.0, 1.0, libm::expm1, 1.0, 2.0),
    (Unary::Ln, 0.0, 10.0, libm::log, 1.0, 1.0),
    (Unary::Ln, 0.0, 3e38, libm::log, 1.0, 1.0),
    (Unary::Log1p, -1.0, 10.0, libm::log1p, 1.0, 2.0),
    (Unary::Log1p, 0.0, 3e38, libm::log1p, 1.0, 2.0),
    (Unary::Tanh, -10.0, 10.0, libm::tanh, 1.0, 2.0),
    (Unary::Sigmoid, -103.0, 20.0, sigmoid, 1.1, 2.0),
    (Unary::Softplus, -103.0, 20.0, softplus, 1.2, 2.0),
    (Unary::Softplus, -2.0, 2.0, softplus, 1.2, 2.0),
    (Unary::Sin, -10.0, 10.0, libm::sin, 0.51, 1.0),
    (Unary::Cos, -10.0, 10.0, libm::cos, 0.51, 1.0),
    (Unary::Sin, -2e6, 2e6, libm::sin, 0.51, 1.0),
    (Unary::Cos, -2e6, 2e6, libm::cos, 0.51, 1.0),
    (Unary::Sin, -1e30, 1e30, libm::sin, 0.6, 1.0),
    (Unary::Erf, -6.0, 6.0, libm::erf, 1.2, 2.0),
    (Unary::Rsqrt, 0.0, 100.0, |x| 1.0 / x.sqrt(), 1.5, 0.0),
    (Unary::Cbrt, -100.0, 100.0, libm::cbrt, 1.0, 0.0),
    (Unary::Log2, 0.0, 100.0, libm::log2, 1.0, 0.0),
    (Unary::Log10, 0.0, 100.0, libm::log10, 1.0, 0.0),
    (Unary::Tan, -10.0, 10.0, libm::tan, 1.0, 0.0),
    (Unary::Asin, -1.0, 1.0, libm::asin, 1.0, 0.0),
    (Unary::Acos, -1.0, 1.0, libm::acos, 1.0, 0.0),
    (Unary::Atan, -10.0, 10.0, libm::atan, 1.0, 0.0),
    (Unary::Sinh, -10.0, 10.0, libm::sinh, 2.0, 0.0),
    (Unary::Cosh, -10.0, 10.0, libm::cosh, 2.0, 0.0),
    (Unary::Asinh, -10.0, 10.0, libm::asinh, 3.0, 0.0),
    (Unary::Acosh, 1.0, 10.0, libm::acosh, 3.0, 0.0),
    (Unary::Atanh, -1.0, 1.0, libm::atanh, 3.0, 0.0),
    (Unary::Gamma, 0.0, 35.0, libm::tgamma, 1.0, 0.0),
    (Unary::LnGamma, 3.0, 35.0, libm::lgamma, 3.0, 0.0),
];

fn worst<T: Bits>(op: Unary, low: f64, high: f64, error: impl Fn(T, T) -> f64) -> (f64, T) {
    let x = points::<T>(low, high);
    let mut out = vec![T::zero(); x.len()];
    unary(op, &x, &mut out);
    let errors = x.iter().zip(&out).map(|(&x, &y)| (error(x, y), x));
    errors.fold((0.0, T::zero()), |a, b| if b.0 > a.0 || b.0.is_nan() { b } else { a })
}

#[test]
fn f32_errors_are_within_bounds() {
    let mut wrong = false;
    for &(op, low, high, f, bound, _) in CASES {
        let error = |x: f32, y| error_f32(y, f(x.into()));
        let (worst, x) = worst::<f32>(op, low, high, error);
        println!("{op:?} on [{low}, {high}]: {worst:.3} ulp at {x:e}");
        wrong |= worst.is_nan() || worst > bound;
    }
    assert!(!wrong, "an error is out of bounds");
}

#[test]
fn f64_errors_are_within_bounds() {
    let mut wrong = false;
    for &(op, low, high, f, _, bound) in CASES {
        let (worst, x) = worst::<f64>(op, low, high, |x, y| error_f64(y, f(x)));
        println!("{op:?} on [{low}, {high}]: {worst:.3} ulp at {x:e}");
        wrong |= worst.is_nan() || worst > bound;
    }
    assert!(!wrong, "an error is out of bounds");
}

/// The arguments nearest to multiples of π/2, where the reduction cancels most.
#[test]
fn sin_and_cos_hold_next_to_their_zeros() {
    let x: Vec<f64> = (1..1 << 20).map(|k| f64::from(k) * std::f64::consts::FRAC_PI_2).collect();
    let single: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    let (mut out, mut out_single) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for (op, f) in [(Unary::Sin, libm::sin as Reference), (Unary::Cos, libm::cos)] {
        unary(op, &x, &mut out);
        unary(op, &single, &mut out_single);
        assert!(x.iter().zip(&out).all(|(&x, &y)| error_f64(y, f(x)) <= 1.0));
        assert!(single.iter().zip(&out_single).all(|(&x, &y)| error_f32(y, f(x.into())) <= 0.51));
    }
}

#[test]
fn pow_and_hypot_of_f32_are_within_an_ulp() {
    let (x, y) = (points::<f32>(0.0, 20.0), points::<f32>(-20.0, 20.0));
    let len = x.len().min(y.len());
    let mut out = vec![0.0; len];
    for (op, f) in [(Binary::Pow, libm::pow as fn(f64, f64) -> f64), (Binary::Hypot, libm::hypot)] {
        binary(op, Arg::Slice(&x[..len]), Arg::Slice(&y[..len]), &mut out);
        for ((&x, &y), &z) in x.iter().zip(&y).zip(&out) {
            assert!(error_f32(z, f(x.into(), y.into())) <= 1.0, "{op:?} of {x} and {y}: {z}");
        }
    }
}

#[test]
fn binary_logarithms_of_powers_are_exact() {
    for k in -1022..1024 {
        let mut out = [0.0];
        unary(Unary::Log2, &[libm::scalbn(1.0, k)], &mut out);
        assert_eq!(out[0], f64::from(k));
    }
    for k in -126i8..=127 {
        let mut out = [0.0];
        unary(Unary::Log2, &[libm::scalbnf(1.0, k.into())], &mut out);
        assert_eq!(out[0], f32::from(k));
    }
}

/// ψ from a table of 25 digits (DLMF 5.4, and recurrence from there).
#[test]
fn digamma_has_its_known_values() {
    let euler = 0.577_215_664_901_532_9;
    let ln2 = std::f64::consts::LN_2;
    let cases = [
        (1.0, -euler),
        (2.0, 1.0 - euler),
        (0.5, -euler - 2.0 * ln2),
        (-0.5, 2.0 - euler - 2.0 * ln2),
        (10.0, 2.251_752_589_066_721),
        (100.0, 4.600_161_852_738_087),
        (1e-8, -100_000_000.577_215_65),
    ];
    for (x, want) in cases {
        let mut out = [0.0];
        unary(Unary::Digamma, &[x], &mut out);
        let error = (out[0] - want).abs() / want.abs().max(1.0);
        assert!(error <= 4.0 * f64::EPSILON, "{x}: {} for {want}", out[0]);
    }
}

#[test]
#[ignore = "slow: all four billion arguments"]
fn exp_f32_is_good_for_every_argument() {
    const CHUNK: u64 = 1 << 16;
    let mut out = vec![0.0; CHUNK as usize];
    let mut worst: f64 = 0.0;
    for chunk in 0..(1u64 << 32) / CHUNK {
        let x: Vec<f32> = (0..CHUNK).map(|i| f32::of(chunk * CHUNK + i)).collect();
        unary(Unary::Exp, &x, &mut out);
        for (&x, &y) in x.iter().zip(&out) {
            assert_eq!(x.is_nan(), y.is_nan());
            if !x.is_nan() {
                worst = worst.max(error_f32(y, libm::exp(x.into())));
            }
        }
    }
    println!("worst error {worst:.4} ulp");
    assert!(worst <= 0.8);
}
