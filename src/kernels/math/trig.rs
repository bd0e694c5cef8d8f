//! sin and cos, always in `f64` lanes.
//!
//! x = k π/2 + r with |r| ≤ π/4, after Cody and Waite; then the kernels of fdlibm's k_sin.c and
//! k_cos.c, or for `f32` the shorter ones of FreeBSD's k_sinf.c and k_cosf.c, by the quadrant.

use super::tables::Tables;
use crate::kernels::lanes::Lanes;

/// The parts of π/2: 33 bits each, so that the product with a k of 20 bits is exact.
const PIO2_1: f64 = f64::from_bits(0x3ff9_21fb_5440_0000);
const PIO2_2: f64 = f64::from_bits(0x3dd0_b461_1a60_0000);
const PIO2_3: f64 = f64::from_bits(0x3ba3_198a_2e00_0000);
/// What π/2 is more than `PIO2_1`.
const PIO2_1_TAIL: f64 = f64::from_bits(0x3dd0_b461_1a62_6331);
/// What π/2 is more than the three parts.
const PIO2_3_TAIL: f64 = f64::from_bits(0x397b_839a_2520_49c1);
/// Arguments beyond 2^20 π/2 go to the exact reduction of `libm`.
const REDUCIBLE: f64 = 1_647_099.0;

const SIN: &[f64] = &[
    0.00833333333332249,
    -0.0001984126982985795,
    2.7557313707070068e-06,
    -2.5050760253406863e-08,
    1.58969099521155e-10,
];
const SIN_1: f64 = -0.16666666666666632;
const COS: &[f64] = &[
    0.0416666666666666,
    -0.001388888888887411,
    2.480158728947673e-05,
    -2.7557314351390663e-07,
    2.087572321298175e-09,
    -1.1359647557788195e-11,
];
const SIN_SINGLE: &[f64] =
    &[-0.16666666641626524, 0.008333329385889463, -0.00019839334836096632, 2.718311493989822e-06];
const COS_SINGLE: &[f64] =
    &[-0.499999997251031, 0.04166662332373906, -0.001388676377460993, 2.439044879627741e-05];

/// x by its quarter turns: k in both representations.
#[inline(always)]
fn quarters<L: Lanes<Elem = f64>>(x: L) -> (L, L) {
    let rounder = x.splat(f64::ROUNDER);
    let bits = x * x.splat(std::f64::consts::FRAC_2_PI) + rounder;
    (bits, bits - rounder)
}

/// sin where k is even and cos where it is odd, negated in the second half turn.
#[inline(always)]
fn by_quadrant<L: Lanes<Elem = f64>>(bits: L, sin: L, cos: L) -> L {
    let odd = bits.and(bits.splat(f64::from_bits(1)));
    let half_turn = bits.and(bits.splat(f64::from_bits(2)));
    L::select(odd.gt_bits(odd.splat(0.0)), cos, sin).xor(half_turn.shl(62))
}

/// The next quadrant: cos(x) = sin(x + π/2).
#[inline(always)]
fn next<L: Lanes<Elem = f64>>(bits: L) -> L {
    bits.add_bits(bits.splat(f64::from_bits(1)))
}

/// `fast` where it holds, the slow function where the argument is too large; tiny ones as given.
#[inline(always)]
fn finish<L: Lanes<Elem = f64>>(x: L, fast: L, slow: fn(f64) -> f64) -> L {
    let huge = x.splat(REDUCIBLE).lt(x.abs());
    if L::any(huge) { L::select(huge, x.map(slow), fast) } else { fast }
}

/// r as a rounded value and its tail. Every product is exact but the last, and every difference
/// either exact by itself or made good by the next line: where terms cancel, both are multiples
/// of the last bit of the smaller and fit a mantissa.
#[inline(always)]
fn remainder<L: Lanes<Elem = f64>>(x: L, k: L) -> (L, L) {
    let first = x - k * x.splat(PIO2_1);
    let part = k * x.splat(PIO2_2);
    let second = first - part;
    let part = k * x.splat(PIO2_3) - ((first - second) - part);
    let third = second - part;
    (third, ((second - third) - part) - k * x.splat(PIO2_3_TAIL))
}

#[inline(always)]
fn sin_kernel<L: Lanes<Elem = f64>>(x: L, tail: L) -> L {
    let z = x * x;
    let cube = z * x;
    let high = cube * x.splat(SIN_1);
    let rest = z * (tail * x.splat(0.5) - cube * z.poly(SIN)) - tail;
    x - (rest - high)
}

#[inline(always)]
fn cos_kernel<L: Lanes<Elem = f64>>(x: L, tail: L) -> L {
    let one = x.splat(1.0);
    let z = x * x;
    let half = z * x.splat(0.5);
    let w = one - half;
    w + (((one - w) - half) + (z * (z * z.poly(COS)) - x * tail))
}

#[inline(always)]
fn double<L: Lanes<Elem = f64>>(bits: L, x: L, k: L) -> L {
    let (r, tail) = remainder(x, k);
    by_quadrant(bits, sin_kernel(r, tail), cos_kernel(r, tail))
}

#[inline(always)]
fn single<L: Lanes<Elem = f64>>(bits: L, x: L, k: L) -> L {
    let r = (x - k * x.splat(PIO2_1)) - k * x.splat(PIO2_1_TAIL);
    let z = r * r;
    let sin = r + r * (z * z.poly(SIN_SINGLE));
    let cos = x.splat(1.0) + z * z.poly(COS_SINGLE);
    by_quadrant(bits, sin, cos)
}

/// sin(-0) = -0, which the sums of the kernels do not keep.
#[inline(always)]
fn keep_zero<L: Lanes<Elem = f64>>(x: L, y: L) -> L {
    L::select(x.eq(x.splat(0.0)), x, y)
}

/// Sine.
#[inline(always)]
pub fn sin<L: Lanes<Elem = f64>>(x: L) -> L {
    let (bits, k) = quarters(x);
    finish(x, keep_zero(x, double(bits, x, k)), libm::sin)
}

/// Cosine.
#[inline(always)]
pub fn cos<L: Lanes<Elem = f64>>(x: L) -> L {
    let (bits, k) = quarters(x);
    finish(x, double(next(bits), x, k), libm::cos)
}

/// sin of `f32` values, to be rounded to `f32`.
#[inline(always)]
pub fn sin_single<L: Lanes<Elem = f64>>(x: L) -> L {
    let (bits, k) = quarters(x);
    finish(x, keep_zero(x, single(bits, x, k)), |v| libm::sinf(v as f32).into())
}

/// cos of `f32` values, to be rounded to `f32`.
#[inline(always)]
pub fn cos_single<L: Lanes<Elem = f64>>(x: L) -> L {
    let (bits, k) = quarters(x);
    finish(x, single(next(bits), x, k), |v| libm::cosf(v as f32).into())
}
