//! The error function.

use super::exp::exp;
use super::tables::Tables;
use crate::kernels::lanes::Lanes;

/// A polynomial up to 1; above, 1 - exp(-x²) G(t) with t = (|x| - c)/(|x| + c), where G is smooth
/// and errors in the exponential count for less than a sixth.
#[inline(always)]
pub fn erf<L: Lanes>(x: L) -> L {
    let one = x.splat(L::Elem::ONE);
    let square = x * x;
    let small = x + x * square.poly(L::Elem::ERF_SMALL);
    let size = x.splat(L::Elem::ERF_MAX).min(x.abs());
    let centre = x.splat(L::Elem::ERF_CENTRE);
    let t = (size - centre) / (size + centre);
    let large = one - exp(-(size * size)) * t.poly(L::Elem::ERF_LARGE);
    L::select(size.lt(one), small, large).signed_as(x)
}
