//! The element types of the element-wise kernels.

use num_traits::Float;

use super::Number;
use super::drive::{Double, Kernel1, Map1, Single, Width, run};
use super::isa::Isa;
use super::lanes::Lanes;
use super::math::scalar::Rare;
use super::math::tables::Tables;
use super::math::trig;

/// A floating-point element type: `f32` or `f64`.
///
/// Sealed: the kernels carry coefficient tables for these two only.
pub trait Real: Number + Float + Tables + Rare {
    /// The lanes that hold this type as it is.
    type Native: Width<Self, Elem = Self>;
    /// Sine of every element, both slices being as long.
    fn sin_all(isa: Isa, x: &[Self], out: &mut [Self]);
    /// Cosine of every element, both slices being as long.
    fn cos_all(isa: Isa, x: &[Self], out: &mut [Self]);
}

macro_rules! trig_kernel {
    ($name:ident, $f:path) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl Kernel1<f64> for $name {
            #[inline(always)]
            fn eval<L: Lanes<Elem = f64>>(x: L) -> L {
                $f(x)
            }
        }
    };
}

trig_kernel!(Sin, trig::sin);
trig_kernel!(Cos, trig::cos);
trig_kernel!(SinSingle, trig::sin_single);
trig_kernel!(CosSingle, trig::cos_single);

impl Real for f32 {
    type Native = Single;

    fn sin_all(isa: Isa, x: &[f32], out: &mut [f32]) {
        run::<Double, _, _>(isa, Map1(SinSingle, x), out);
    }

    fn cos_all(isa: Isa, x: &[f32], out: &mut [f32]) {
        run::<Double, _, _>(isa, Map1(CosSingle, x), out);
    }
}

impl Real for f64 {
    type Native = Double;

    fn sin_all(isa: Isa, x: &[f64], out: &mut [f64]) {
        run::<Double, _, _>(isa, Map1(Sin, x), out);
    }

    fn cos_all(isa: Isa, x: &[f64], out: &mut [f64]) {
        run::<Double, _, _>(isa, Map1(Cos, x), out);
    }
}
