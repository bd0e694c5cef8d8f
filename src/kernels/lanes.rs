//! The vocabulary the element-wise functions are written in.
//!
//! A function written once over [`Lanes`] gives the same bits for every implementation: each
//! operation here is either exact or correctly rounded, there is no fused multiply-add, and
//! nothing depends on how many lanes a value has.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::math::tables::Tables;
use super::real::Real;

/// The most lanes any implementation has (`f32` on AVX-512).
pub const MAX_LANES: usize = 16;

/// A value of several lanes, each holding one `Elem`.
///
/// No method makes a value from nothing: the only sources are [`Mem`]'s unsafe constructors, whose
/// caller vouches for the instruction set. Holding a value is therefore proof that the methods may
/// run, which is why [`splat`](Lanes::splat) takes `self`.
pub trait Lanes:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// What one lane holds.
    type Elem: Real;
    /// One truth value per lane.
    type Mask: Copy;
    /// How many lanes.
    const N: usize;

    /// `v` in every lane.
    fn splat(self, v: Self::Elem) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Nearest integer towards minus infinity.
    fn floor(self) -> Self;
    /// Nearest integer towards plus infinity.
    fn ceil(self) -> Self;
    /// Nearest integer towards zero.
    fn trunc(self) -> Self;
    /// `if self < o { self } else { o }`: `o` for ties and NaN.
    fn min(self, o: Self) -> Self;
    /// `if self > o { self } else { o }`: `o` for ties and NaN.
    fn max(self, o: Self) -> Self;

    /// Bitwise and.
    fn and(self, o: Self) -> Self;
    /// The bits of `self` that `o` has clear.
    fn and_not(self, o: Self) -> Self;
    /// Bitwise or.
    fn or(self, o: Self) -> Self;
    /// Bitwise exclusive or.
    fn xor(self, o: Self) -> Self;
    /// Wrapping sum of the bits taken as integers.
    fn add_bits(self, o: Self) -> Self;
    /// The bits shifted left.
    fn shl(self, count: u32) -> Self;
    /// The bits shifted right, zeros coming in.
    fn shr(self, count: u32) -> Self;

    /// Ordered less-than: false for NaN.
    fn lt(self, o: Self) -> Self::Mask;
    /// Ordered less-or-equal: false for NaN.
    fn le(self, o: Self) -> Self::Mask;
    /// Ordered equality: false for NaN.
    fn eq(self, o: Self) -> Self::Mask;
    /// Unordered inequality: true for NaN.
    fn ne(self, o: Self) -> Self::Mask;
    /// Greater-than of the bits taken as signed integers.
    fn gt_bits(self, o: Self) -> Self::Mask;
    /// `yes` where the mask is true, else `no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Whether any lane is true.
    fn any(mask: Self::Mask) -> bool;

    /// `f` applied lane by lane: the slow path of rare arguments.
    fn map(self, f: fn(Self::Elem) -> Self::Elem) -> Self;

    /// The sign bit alone.
    #[inline(always)]
    fn sign_bit(self) -> Self {
        self.and(self.splat(Self::Elem::NEG_ZERO))
    }

    /// Absolute value (clears the sign bit).
    #[inline(always)]
    fn abs(self) -> Self {
        self.and_not(self.splat(Self::Elem::NEG_ZERO))
    }

    /// `self`, a magnitude, with the sign of `o`.
    #[inline(always)]
    fn signed_as(self, o: Self) -> Self {
        self.or(o.sign_bit())
    }

    /// `self`, every NaN replaced by the one canonical quiet NaN.
    ///
    /// The payload and sign of an arithmetic NaN depend on the instruction and on how the compiler
    /// orders its operands; this makes the results bit-identical all the same. The comparison is
    /// one of integers because the compiler takes the floating-point one, before a choice of NaN,
    /// as leave to keep whichever NaN is at hand.
    #[inline(always)]
    fn canonical(self) -> Self {
        let nan = self.abs().gt_bits(self.splat(Self::Elem::INF));
        Self::select(nan, self.splat(Self::Elem::NAN), self)
    }

    /// `c[0] + x c[1] + x² c[2] + …` at `x = self`, by Horner's rule.
    #[inline(always)]
    fn poly(self, c: &[Self::Elem]) -> Self {
        let Some((last, rest)) = c.split_last() else {
            return self.splat(Self::Elem::ZERO);
        };
        let mut sum = self.splat(*last);
        for &v in rest.iter().rev() {
            sum = sum * self + self.splat(v);
        }
        sum
    }
}

/// Lanes that load from and store to memory holding `M`.
///
/// `M` is mostly the lane type itself; `f64` lanes also read and write `f32`, for functions that
/// need the wider arithmetic inside.
pub trait Mem<M>: Lanes {
    /// Reads `N` elements.
    ///
    /// # Safety
    /// `p` is valid for reading `N` elements and the CPU has the instruction set.
    unsafe fn load(p: *const M) -> Self;

    /// Fills every lane with `v`.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn fill(v: M) -> Self;

    /// Writes `N` elements, rounding if `M` is narrower.
    ///
    /// # Safety
    /// `p` is valid for writing `N` elements.
    unsafe fn store(self, p: *mut M);
}

macro_rules! scalar_lanes {
    ($t:ident) => {
        impl Lanes for $t {
            type Elem = $t;
            type Mask = bool;
            const N: usize = 1;

            #[inline(always)]
            fn splat(self, v: $t) -> $t {
                v
            }
            #[inline(always)]
            fn sqrt(self) -> $t {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn floor(self) -> $t {
                $t::floor(self)
            }
            #[inline(always)]
            fn ceil(self) -> $t {
                $t::ceil(self)
            }
            #[inline(always)]
            fn trunc(self) -> $t {
                $t::trunc(self)
            }
            #[inline(always)]
            fn min(self, o: $t) -> $t {
                if self < o { self } else { o }
            }
            #[inline(always)]
            fn max(self, o: $t) -> $t {
                if self > o { self } else { o }
            }
            #[inline(always)]
            fn and(self, o: $t) -> $t {
                $t::from_bits(self.to_bits() & o.to_bits())
            }
            #[inline(always)]
            fn and_not(self, o: $t) -> $t {
                $t::from_bits(self.to_bits() & !o.to_bits())
            }
            #[inline(always)]
            fn or(self, o: $t) -> $t {
                $t::from_bits(self.to_bits() | o.to_bits())
            }
            #[inline(always)]
            fn xor(self, o: $t) -> $t {
                $t::from_bits(self.to_bits() ^ o.to_bits())
            }
            #[inline(always)]
            fn add_bits(self, o: $t) -> $t {
                $t::from_bits(self.to_bits().wrapping_add(o.to_bits()))
            }
            #[inline(always)]
            fn shl(self, count: u32) -> $t {
                $t::from_bits(self.to_bits() << count)
            }
            #[inline(always)]
            fn shr(self, count: u32) -> $t {
                $t::from_bits(self.to_bits() >> count)
            }
            #[inline(always)]
            fn lt(self, o: $t) -> bool {
                self < o
            }
            #[inline(always)]
            fn le(self, o: $t) -> bool {
                self <= o
            }
            #[inline(always)]
            fn eq(self, o: $t) -> bool {
                self == o
            }
            #[inline(always)]
            fn ne(self, o: $t) -> bool {
                self != o
            }
            #[inline(always)]
            fn gt_bits(self, o: $t) -> bool {
                self.to_bits().cast_signed() > o.to_bits().cast_signed()
            }
            #[inline(always)]
            fn select(mask: bool, yes: $t, no: $t) -> $t {
                if mask { yes } else { no }
            }
            #[inline(always)]
            fn any(mask: bool) -> bool {
                mask
            }
            #[inline(always)]
            fn map(self, f: fn($t) -> $t) -> $t {
                f(self)
            }
        }

        impl Mem<$t> for $t {
            #[inline(always)]
            unsafe fn load(p: *const $t) -> $t {
                // SAFETY: the caller vouches for one readable element.
                unsafe { p.read() }
            }
            #[inline(always)]
            unsafe fn fill(v: $t) -> $t {
                v
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller vouches for one writable element.
                unsafe { p.write(self) }
            }
        }
    };
}

scalar_lanes!(f32);
scalar_lanes!(f64);

impl Mem<f32> for f64 {
    #[inline(always)]
    unsafe fn load(p: *const f32) -> f64 {
        // SAFETY: the caller vouches for one readable element.
        unsafe { p.read() }.into()
    }
    #[inline(always)]
    unsafe fn fill(v: f32) -> f64 {
        v.into()
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for one writable element.
        unsafe { p.write(self as f32) }
    }
}
