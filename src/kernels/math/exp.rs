//! exp and its relatives.
//!
//! x = k ln 2 + r with |r| ≤ ln(2)/2, after Cody and Waite; then exp(x) = 2^k exp(r). The leading
//! sum is kept with its rounding error, so that exp is within 0.65 ulp without fused operations
//! (0.8 where the result is subnormal and rounds once more).

use super::tables::Tables;
use crate::kernels::lanes::Lanes;

/// x = k ln 2 + head - (a little), and exp(x) = 2^k (1 + head + tail).
struct Parts<L> {
    k: L,
    head: L,
    tail: L,
}

#[inline(always)]
fn parts<L: Lanes>(x: L) -> Parts<L> {
    let k = nearest(x * x.splat(L::Elem::LOG2_E));
    let head = x - k * x.splat(L::Elem::EXP_LN2_HIGH);
    let low = k * x.splat(L::Elem::EXP_LN2_LOW);
    let r = head - low;
    Parts { k, head, tail: r * r * r.poly(L::Elem::EXP) - low }
}

/// The nearest integer of a small number.
#[inline(always)]
fn nearest<L: Lanes>(x: L) -> L {
    let rounder = x.splat(L::Elem::ROUNDER);
    (x + rounder) - rounder
}

/// 2^k for an integer k in the range of normal exponents.
#[inline(always)]
fn power_of_two<L: Lanes>(k: L) -> L {
    (k + k.splat(L::Elem::BIASED_ROUNDER)).shl(L::Elem::MANTISSA)
}

/// y 2^k in two steps: the first is exact, so the second alone rounds when the result is
/// subnormal, and overflows when the result does.
#[inline(always)]
fn scale<L: Lanes>(y: L, k: L) -> L {
    let half = nearest(k * k.splat(L::Elem::HALF));
    y * power_of_two(half) * power_of_two(k - half)
}

/// a + b as a rounded sum and its error, for |a| ≥ |b| or a = 0.
#[inline(always)]
fn two_sum<L: Lanes>(a: L, b: L) -> (L, L) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// `x` kept where the reduction is valid; NaN stays.
#[inline(always)]
fn clamp<L: Lanes>(x: L, least: L::Elem) -> L {
    x.splat(L::Elem::EXP_MAX).min(x.splat(least).max(x))
}

/// e^x.
#[inline(always)]
pub fn exp<L: Lanes>(x: L) -> L {
    let p = parts(clamp(x, L::Elem::EXP_MIN));
    let (sum, error) = two_sum(x.splat(L::Elem::ONE), p.head);
    scale(sum + (error + p.tail), p.k)
}

/// exp(x) and, where that is normal, most of its rounding error.
#[inline(always)]
pub fn exp_pair<L: Lanes>(x: L) -> (L, L) {
    let p = parts(clamp(x, L::Elem::EXP_MIN));
    let (sum, error) = two_sum(x.splat(L::Elem::ONE), p.head);
    let (high, low) = two_sum(sum, error + p.tail);
    (scale(high, p.k), scale(low, p.k))
}

/// 2^k (1 - 2^-k + expm1(r)). The difference is exact for small k and carries its error for large.
#[inline(always)]
pub fn expm1<L: Lanes>(x: L) -> L {
    let p = parts(clamp(x, L::Elem::EXPM1_MIN));
    let k = p.k.min(x.splat(L::Elem::MAX_INVERTIBLE));
    let (start, lost) = two_sum(x.splat(L::Elem::ONE), -power_of_two(-k));
    let (sum, error) = two_sum(start, p.head);
    scale(sum + (error + (lost + p.tail)), p.k).signed_as(x)
}

/// e/(1 + e) with e = exp(-|x|), or 1 less that; the tail of e and the error of the sum are made
/// good.
#[inline(always)]
pub fn sigmoid<L: Lanes>(x: L) -> L {
    let one = x.splat(L::Elem::ONE);
    let (e, tail) = exp_pair(-x.abs());
    let (sum, error) = two_sum(one, e);
    let quotient = e / sum;
    let small = quotient + (tail - quotient * (error + tail)) / sum;
    L::select(x.lt(x.splat(L::Elem::ZERO)), small, one - small)
}

/// A polynomial near zero; elsewhere 1 - 2/(exp(2|x|) + 1), the tail of the exponential and the
/// error of the sum made good to first order.
#[inline(always)]
pub fn tanh<L: Lanes>(x: L) -> L {
    let one = x.splat(L::Elem::ONE);
    let square = x * x;
    let small = x + x * (square * square.poly(L::Elem::TANH));
    let size = x.splat(L::Elem::TANH_MAX).min(x.abs());
    let (e, tail) = exp_pair(size + size);
    let (sum, error) = two_sum(e, one);
    let half = one / sum;
    let missing = half * half * (error + tail);
    let large = one - (half - missing) * x.splat(L::Elem::TWO);
    // Signed at the end, since minus zero is lost in the polynomial's sum.
    L::select(size.lt(x.splat(L::Elem::TANH_SMALL)), small, large).signed_as(x)
}
