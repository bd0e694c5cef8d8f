//! The rare functions, element by element in the pure-Rust `libm`: the same bits everywhere.

use super::digamma::digamma;
use crate::kernels::lanes::Lanes;

/// The rare functions of an element type.
pub trait Rare: Sized {
    /// The value, or the canonical NaN for any NaN.
    fn canonical_nan(self) -> Self;
    /// Cube root.
    fn rare_cbrt(self) -> Self;
    /// Logarithm to base 2.
    fn rare_log2(self) -> Self;
    /// Logarithm to base 10.
    fn rare_log10(self) -> Self;
    /// Tangent.
    fn rare_tan(self) -> Self;
    /// Arc sine.
    fn rare_asin(self) -> Self;
    /// Arc cosine.
    fn rare_acos(self) -> Self;
    /// Arc tangent.
    fn rare_atan(self) -> Self;
    /// Hyperbolic sine.
    fn rare_sinh(self) -> Self;
    /// Hyperbolic cosine.
    fn rare_cosh(self) -> Self;
    /// Inverse hyperbolic sine.
    fn rare_asinh(self) -> Self;
    /// Inverse hyperbolic cosine.
    fn rare_acosh(self) -> Self;
    /// Inverse hyperbolic tangent.
    fn rare_atanh(self) -> Self;
    /// Γ(x).
    fn rare_gamma(self) -> Self;
    /// ln |Γ(x)|.
    fn rare_ln_gamma(self) -> Self;
    /// The logarithmic derivative of Γ.
    fn rare_digamma(self) -> Self;
    /// `self` to the power `exponent`.
    fn rare_pow(self, exponent: Self) -> Self;
    /// √(self² + other²).
    fn rare_hypot(self, other: Self) -> Self;
    /// Remainder with the sign of the divisor; 0 for a zero divisor (MXNet's mod).
    fn rare_mod(self, divisor: Self) -> Self;
}

macro_rules! rare {
    (
        $t:ident: $($name:ident = $f:path),*;
        $($name2:ident = $f2:path),*;
        $fmod:path
    ) => {
        impl Rare for $t {
            #[inline]
            fn canonical_nan(self) -> Self {
                self.canonical()
            }
            $(fn $name(self) -> Self {
                $f(self)
            })*
            $(fn $name2(self, other: Self) -> Self {
                $f2(self, other)
            })*
            fn rare_mod(self, divisor: Self) -> Self {
                if divisor == 0.0 {
                    return 0.0;
                }
                let rest = $fmod(self, divisor);
                if rest != 0.0 && (rest < 0.0) != (divisor < 0.0) { rest + divisor } else { rest }
            }
        }
    };
}

rare! {
    f32:
    rare_cbrt = libm::cbrtf,
    rare_log2 = libm::log2f,
    rare_log10 = libm::log10f,
    rare_tan = libm::tanf,
    rare_asin = libm::asinf,
    rare_acos = libm::acosf,
    rare_atan = libm::atanf,
    rare_sinh = libm::sinhf,
    rare_cosh = libm::coshf,
    rare_asinh = libm::asinhf,
    rare_acosh = libm::acoshf,
    rare_atanh = libm::atanhf,
    rare_gamma = libm::tgammaf,
    rare_ln_gamma = libm::lgammaf,
    rare_digamma = digamma_single;
    rare_pow = libm::powf,
    rare_hypot = libm::hypotf;
    libm::fmodf
}

rare! {
    f64:
    rare_cbrt = libm::cbrt,
    rare_log2 = libm::log2,
    rare_log10 = libm::log10,
    rare_tan = libm::tan,
    rare_asin = libm::asin,
    rare_acos = libm::acos,
    rare_atan = libm::atan,
    rare_sinh = libm::sinh,
    rare_cosh = libm::cosh,
    rare_asinh = libm::asinh,
    rare_acosh = libm::acosh,
    rare_atanh = libm::atanh,
    rare_gamma = libm::tgamma,
    rare_ln_gamma = libm::lgamma,
    rare_digamma = digamma;
    rare_pow = libm::pow,
    rare_hypot = libm::hypot;
    libm::fmod
}

fn digamma_single(x: f32) -> f32 {
    digamma(x.into()) as f32
}
