//! Special values, ties and roundings, through the public functions.

use super::elementwise::{Arg, Binary, Unary, binary, select, unary};
use super::elementwise_tests::{Bits, Random, UNARY};
use super::real::Real;

fn one<T: Real>(op: Unary, x: T) -> T {
    let mut out = [T::zero()];
    unary(op, &[x], &mut out);
    out[0]
}

fn two<T: Real>(op: Binary, a: T, b: T) -> T {
    let mut out = [T::zero()];
    binary(op, Arg::Slice(&[a]), Arg::Splat(b), &mut out);
    out[0]
}

fn check_special_values<T: Bits>() {
    let (zero, one_, inf) = (T::zero(), T::one(), T::infinity());
    let minus_zero = -zero;
    for op in [
        Unary::Tanh,
        Unary::Expm1,
        Unary::Log1p,
        Unary::Sin,
        Unary::Erf,
        Unary::Sqrt,
        Unary::Floor,
        Unary::Ceil,
        Unary::Trunc,
        Unary::Round,
        Unary::Rint,
        Unary::Relu,
    ] {
        for x in [zero, minus_zero] {
            assert_eq!(one(op, x).bits(), x.bits(), "{op:?}");
        }
    }
    for op in [Unary::Tanh, Unary::Expm1, Unary::Log1p, Unary::Sin] {
        for x in [T::of(1), T::min_positive_value() / T::rounded(3.0)] {
            assert_eq!(one(op, x), x, "{op:?}");
            assert_eq!(one(op, -x), -x, "{op:?}");
        }
    }
    for op in UNARY {
        let want = if op == Unary::Sign { zero } else { T::NAN };
        assert_eq!(one(op, T::of(T::INF.bits() + 1)).bits(), want.bits(), "{op:?}");
    }
    let cases = [
        (Unary::Exp, inf, inf),
        (Unary::Exp, -inf, zero),
        (Unary::Exp, zero, one_),
        (Unary::Expm1, inf, inf),
        (Unary::Expm1, -inf, -one_),
        (Unary::Ln, zero, -inf),
        (Unary::Ln, minus_zero, -inf),
        (Unary::Ln, one_, zero),
        (Unary::Ln, inf, inf),
        (Unary::Ln, -one_, T::NAN),
        (Unary::Ln, -inf, T::NAN),
        (Unary::Log1p, -one_, -inf),
        (Unary::Log1p, inf, inf),
        (Unary::Log1p, -inf, T::NAN),
        (Unary::Tanh, inf, one_),
        (Unary::Tanh, -inf, -one_),
        (Unary::Erf, inf, one_),
        (Unary::Erf, -inf, -one_),
        (Unary::Sigmoid, inf, one_),
        (Unary::Sigmoid, -inf, zero),
        (Unary::Sigmoid, zero, T::HALF),
        (Unary::Softplus, inf, inf),
        (Unary::Softplus, -inf, zero),
        (Unary::Sin, inf, T::NAN),
        (Unary::Cos, -inf, T::NAN),
        (Unary::Cos, minus_zero, one_),
        (Unary::Sign, minus_zero, zero),
        (Unary::Sign, -inf, -one_),
        (Unary::Rsqrt, zero, inf),
        (Unary::Reciprocal, minus_zero, -inf),
        (Unary::Digamma, zero, -inf),
        (Unary::Digamma, -one_, T::NAN),
        (Unary::Digamma, inf, inf),
    ];
    for (op, x, want) in cases {
        assert_eq!(one(op, x).bits(), want.bits(), "{op:?} of {:#x}", x.bits());
    }
}

#[test]
fn special_values_are_those_of_ieee() {
    check_special_values::<f32>();
    check_special_values::<f64>();
}

#[test]
fn roundings_break_halves_their_way() {
    let x = [-2.5f32, -1.5, -0.5, 0.5, 1.5, 2.5, 0.499_999_97, -0.499_999_97, 8_388_609.0];
    let round = [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 0.0, 0.0, 8_388_609.0];
    let rint = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 0.0, 0.0, 8_388_609.0];
    assert_eq!(x.map(|x| one(Unary::Round, x)), round);
    assert_eq!(x.map(|x| one(Unary::Rint, x)), rint);
    let mut source = Random(3);
    for _ in 0..100_000 {
        let x = f32::of(source.next());
        assert!(x.is_nan() || one(Unary::Round, x).bits() == x.round().bits());
    }
}

#[test]
fn extremes_propagate_nan_and_take_the_first_of_ties() {
    for op in [Binary::Max, Binary::Min] {
        assert!(two(op, f32::NAN, 1.0).is_nan() && two(op, 1.0, f32::NAN).is_nan());
        assert_eq!(two(op, -0.0f32, 0.0).bits(), (-0.0f32).bits());
        assert_eq!(two(op, 0.0f32, -0.0).bits(), 0);
    }
    assert_eq!((two(Binary::Max, 1.0, 2.0), two(Binary::Min, 1.0, 2.0)), (2.0, 1.0));
}

#[test]
fn mod_has_the_sign_of_the_divisor() {
    let cases = [(5.0, 3.0, 2.0), (-5.0, 3.0, 1.0), (5.0, -3.0, -1.0), (-5.0, -3.0, -2.0)];
    for (a, b, want) in cases {
        assert_eq!(two(Binary::Mod, a, b), want);
    }
    assert_eq!((two(Binary::Mod, 5.0f32, 0.0), two(Binary::Mod, -6.0f32, 3.0)), (0.0, 0.0));
}

#[test]
fn gradients_and_comparisons_are_as_written() {
    assert_eq!(two(Binary::TanhGrad, 0.5, 4.0), 3.0);
    assert_eq!(two(Binary::SigmoidGrad, 0.25, 4.0), 0.75);
    let flags = [Binary::Lt, Binary::Le, Binary::Gt, Binary::Ge, Binary::Eq, Binary::Ne];
    assert_eq!(flags.map(|op| two(op, 1.0, 2.0)), [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(flags.map(|op| two(op, 2.0, 2.0)), [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
    assert_eq!(flags.map(|op| two(op, f64::NAN, 2.0)), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn select_counts_nan_as_true() {
    let mut out = [0.0f32; 3];
    select(Arg::Slice(&[f32::NAN, 0.0, -0.0]), Arg::Splat(1.0), Arg::Splat(2.0), &mut out);
    assert_eq!(out, [1.0, 2.0, 2.0]);
}

#[test]
#[should_panic(expected = "as long as the output")]
fn a_short_operand_is_refused() {
    unary(Unary::Exp, &[1.0f32], &mut [0.0; 2]);
}
