//! The functions that are exact or a rounding or two.

use super::tables::Tables;
use crate::kernels::lanes::Lanes;

#[inline(always)]
fn flag<L: Lanes>(a: L, mask: L::Mask) -> L {
    L::select(mask, a.splat(L::Elem::ONE), a.splat(L::Elem::ZERO))
}

/// -1, 0 or 1; plus zero for either zero and for NaN, as MXNet has it.
#[inline(always)]
pub fn sign<L: Lanes>(x: L) -> L {
    let (zero, one) = (x.splat(L::Elem::ZERO), x.splat(L::Elem::ONE));
    L::select(zero.lt(x), one, L::select(x.lt(zero), -one, zero))
}

/// 1/√x: two roundings, so up to 1.5 ulp.
#[inline(always)]
pub fn rsqrt<L: Lanes>(x: L) -> L {
    x.splat(L::Elem::ONE) / x.sqrt()
}

/// 1/x.
#[inline(always)]
pub fn reciprocal<L: Lanes>(x: L) -> L {
    x.splat(L::Elem::ONE) / x
}

/// The greater of x and 0: x for either zero and for NaN.
#[inline(always)]
pub fn relu<L: Lanes>(x: L) -> L {
    x.splat(L::Elem::ZERO).max(x)
}

/// To the nearest integer, halves away from zero: adding the number just below one half, with
/// the sign, never carries a smaller fraction over.
#[inline(always)]
pub fn round<L: Lanes>(x: L) -> L {
    (x + x.splat(L::Elem::BELOW_HALF).signed_as(x)).trunc()
}

/// To the nearest integer, halves down, as MXNet has it.
#[inline(always)]
pub fn rint<L: Lanes>(x: L) -> L {
    let (floor, ceil) = (x.floor(), x.ceil());
    L::select((x - floor).le(ceil - x), floor, ceil)
}

/// The greater: `a` for ties, NaN if either is.
#[inline(always)]
pub fn max<L: Lanes>(a: L, b: L) -> L {
    L::select(b.ne(b), b, b.max(a))
}

/// The smaller: `a` for ties, NaN if either is.
#[inline(always)]
pub fn min<L: Lanes>(a: L, b: L) -> L {
    L::select(b.ne(b), b, b.min(a))
}

/// 1 where a < b.
#[inline(always)]
pub fn lt<L: Lanes>(a: L, b: L) -> L {
    flag(a, a.lt(b))
}

/// 1 where a ≤ b.
#[inline(always)]
pub fn le<L: Lanes>(a: L, b: L) -> L {
    flag(a, a.le(b))
}

/// 1 where a = b.
#[inline(always)]
pub fn eq<L: Lanes>(a: L, b: L) -> L {
    flag(a, a.eq(b))
}

/// 1 where a ≠ b, so for NaN.
#[inline(always)]
pub fn ne<L: Lanes>(a: L, b: L) -> L {
    flag(a, a.ne(b))
}

/// dy (1 - y²), the tangent y coming first.
#[inline(always)]
pub fn tanh_grad<L: Lanes>(y: L, dy: L) -> L {
    (y.splat(L::Elem::ONE) - y * y) * dy
}

/// dy y (1 - y), the sigmoid y coming first.
#[inline(always)]
pub fn sigmoid_grad<L: Lanes>(y: L, dy: L) -> L {
    (y * (y.splat(L::Elem::ONE) - y)) * dy
}
