//! ln and its relatives, after fdlibm's e_log.c and s_log1p.c (and their float versions).

use super::exp::exp_pair;
use super::tables::Tables;
use crate::kernels::lanes::Lanes;

/// x = 2^k (1 + f) with √½ < 1 + f < √2, for a normal positive x.
#[inline(always)]
fn reduce<L: Lanes>(x: L) -> (L, L) {
    let shifted = x.add_bits(x.splat(L::Elem::ONE_LESS_SQRT_HALF));
    let exponent = shifted.shr(L::Elem::MANTISSA).or(x.splat(L::Elem::INTEGER));
    let k = exponent - x.splat(L::Elem::BIASED_INTEGER);
    let mantissa = shifted.and(x.splat(L::Elem::MANTISSA_BITS));
    (k, mantissa.add_bits(x.splat(L::Elem::SQRT_HALF)) - x.splat(L::Elem::ONE))
}

/// k ln 2 + ln(1 + f) + c, with s = f/(2 + f): ln(1 + f) = f - f²/2 + s (f²/2 + R(s²)).
#[inline(always)]
fn combine<L: Lanes>(k: L, f: L, c: L) -> L {
    let half_square = f * f * f.splat(L::Elem::HALF);
    let s = f / (f.splat(L::Elem::TWO) + f);
    let z = s * s;
    let low = k * k.splat(L::Elem::LN2_LOW) + c;
    let tail = s * (half_square + z * z.poly(L::Elem::LOG)) + low;
    k * k.splat(L::Elem::LN2_HIGH) - ((half_square - tail) - f)
}

/// `finite` where `x` is a positive finite number, and what ln gives elsewhere; `zero` says where
/// the argument of the logarithm is zero, `negative` where it is below.
#[inline(always)]
fn specials<L: Lanes>(x: L, finite: L, zero: L::Mask, negative: L::Mask) -> L {
    // x itself where x is infinite or NaN.
    let y = L::select(x.lt(x.splat(L::Elem::INF)), finite, x);
    let y = L::select(zero, x.splat(L::Elem::INF).or(x.splat(L::Elem::NEG_ZERO)), y);
    L::select(negative, x.splat(L::Elem::NAN), y)
}

/// Natural logarithm.
#[inline(always)]
pub fn ln<L: Lanes>(x: L) -> L {
    let zero = x.splat(L::Elem::ZERO);
    let subnormal = x.lt(x.splat(L::Elem::MIN_NORMAL));
    let scaled = L::select(subnormal, x * x.splat(L::Elem::NORMALIZER), x);
    let (k, f) = reduce(scaled);
    let k = L::select(subnormal, k - k.splat(L::Elem::NORMALIZER_LOG2), k);
    let finite = combine(k, f, x.splat(L::Elem::ZERO));
    specials(x, finite, x.eq(zero), x.lt(zero))
}

/// ln(1 + x).
#[inline(always)]
pub fn log1p<L: Lanes>(x: L) -> L {
    let minus_one = -x.splat(L::Elem::ONE);
    let finite = log1p_pair(x, x.splat(L::Elem::ZERO));
    specials(x, finite, x.eq(minus_one), x.lt(minus_one))
}

/// ln(1 + x + low) for x > -1 finite and a `low` of no more than a few ulp.
#[inline(always)]
fn log1p_pair<L: Lanes>(x: L, low: L) -> L {
    let one = x.splat(L::Elem::ONE);
    let sum = one + x;
    let error = L::select(one.lt(x), one - (sum - x), x - (sum - one));
    let (k, f) = reduce(sum);
    let direct = k.eq(k.splat(L::Elem::ZERO));
    let f = L::select(direct, x, f);
    let missing = L::select(direct, low, error + low);
    let y = combine(k, f, missing / sum);
    L::select(x.abs().lt(x.splat(L::Elem::LOG1P_TINY)), x, y)
}

/// max(x, 0) + ln(1 + exp(-|x|)), the exponential carried with its tail.
#[inline(always)]
pub fn softplus<L: Lanes>(x: L) -> L {
    let (e, tail) = exp_pair(-x.abs());
    x.splat(L::Elem::ZERO).max(x) + log1p_pair(e, tail)
}
