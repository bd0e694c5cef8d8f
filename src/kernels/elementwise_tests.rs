//! Every instruction set gives the bits of the portable path, at every length and position.

use super::elementwise::{Arg, Binary, Unary, binary_on, select_on, unary_on};
use super::isa::Isa;
use super::real::Real;

pub const UNARY: [Unary; 38] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Sqrt,
    Unary::Rsqrt,
    Unary::Cbrt,
    Unary::Square,
    Unary::Reciprocal,
    Unary::Exp,
    Unary::Expm1,
    Unary::Ln,
    Unary::Log2,
    Unary::Log10,
    Unary::Log1p,
    Unary::Sin,
    Unary::Cos,
    Unary::Tan,
    Unary::Asin,
    Unary::Acos,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Tanh,
    Unary::Asinh,
    Unary::Acosh,
    Unary::Atanh,
    Unary::Sigmoid,
    Unary::Softplus,
    Unary::Erf,
    Unary::Relu,
    Unary::Floor,
    Unary::Ceil,
    Unary::Trunc,
    Unary::Round,
    Unary::Rint,
    Unary::Gamma,
    Unary::LnGamma,
    Unary::Digamma,
];

pub const BINARY: [Binary; 17] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Max,
    Binary::Min,
    Binary::Pow,
    Binary::Hypot,
    Binary::Mod,
    Binary::Lt,
    Binary::Le,
    Binary::Gt,
    Binary::Ge,
    Binary::Eq,
    Binary::Ne,
    Binary::TanhGrad,
    Binary::SigmoidGrad,
];

/// An element type with its bits, for comparison.
pub trait Bits: Real + std::fmt::Debug {
    /// The type whose bits are the low ones of `bits`.
    fn of(bits: u64) -> Self;
    /// The bits, zero-extended.
    fn bits(self) -> u64;
    /// Rounded from `v`.
    fn rounded(v: f64) -> Self;
}

impl Bits for f32 {
    fn of(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
    fn rounded(v: f64) -> f32 {
        v as f32
    }
}

impl Bits for f64 {
    fn of(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
    fn rounded(v: f64) -> f64 {
        v
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// Sixty-four random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform on `[low, high)`.
    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn specials<T: Bits>() -> Vec<T> {
    let (tiny, small, max) = (T::of(1), T::min_positive_value(), T::max_value());
    let mut v = vec![T::zero(), tiny, small, small - tiny, max, T::INF, T::NAN, T::epsilon()];
    v.push(T::of(T::INF.bits() + 1)); // a signalling NaN
    for x in [0.25, 0.5, 0.625, 1.0, 1.5, 2.5, 4.0, 6.0, 9.0, 18.0, 38.0, 88.8, 89.0, 104.0] {
        let x = T::rounded(x);
        v.extend([x, T::of(x.bits() - 1), T::of(x.bits() + 1)]);
    }
    for x in [709.9, 745.2, 746.0, 8388607.5, 8388609.0, 1.6e6, 1.7e6, 1e10, 1e30] {
        v.push(T::rounded(x));
    }
    v.extend(v.clone().into_iter().map(|x| -x));
    v
}

fn arguments<T: Bits>(random: usize) -> Vec<T> {
    let mut source = Random(7);
    let mut v = specials::<T>();
    v.extend((0..random).map(|_| T::of(source.next())));
    v.extend((0..random).map(|_| T::rounded(source.within(-20.0, 20.0))));
    v
}

fn bits<T: Bits>(v: &[T]) -> Vec<u64> {
    v.iter().map(|x| x.bits()).collect()
}

fn check_unary<T: Bits>() {
    let x = arguments::<T>(4000);
    let (mut want, mut got) = (vec![T::zero(); x.len()], vec![T::zero(); x.len()]);
    for op in UNARY {
        unary_on(Isa::Portable, op, &x, &mut want);
        for isa in Isa::available() {
            unary_on(isa, op, &x, &mut got);
            for ((x, want), got) in x.iter().zip(&want).zip(&got) {
                assert_eq!(want.bits(), got.bits(), "{op:?} of {:#x} on {isa:?}", x.bits());
            }
        }
    }
}

fn check_binary<T: Bits>() {
    let s = specials::<T>();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for &x in &s {
        a.extend(vec![x; s.len()]);
        b.extend_from_slice(&s);
    }
    let r = arguments::<T>(2000);
    a.extend_from_slice(&r);
    b.extend(r.iter().rev());
    let (mut want, mut got) = (vec![T::zero(); a.len()], vec![T::zero(); a.len()]);
    for op in BINARY {
        binary_on(Isa::Portable, op, Arg::Slice(&a), Arg::Slice(&b), &mut want);
        for isa in Isa::available() {
            binary_on(isa, op, Arg::Slice(&a), Arg::Slice(&b), &mut got);
            assert_eq!(bits(&want), bits(&got), "{op:?} on {isa:?}");
        }
    }
}

/// Each element alone on the portable path against slices of every length elsewhere.
fn check_lengths<T: Bits>() {
    let mut source = Random(11);
    let x: Vec<T> = (0..70).map(|_| T::rounded(source.within(-9.0, 9.0))).collect();
    let y: Vec<T> = (0..70).map(|_| T::rounded(source.within(-9.0, 9.0))).collect();
    for op in UNARY {
        let mut alone = vec![T::zero(); 70];
        for (x, out) in x.chunks(1).zip(alone.chunks_mut(1)) {
            unary_on(Isa::Portable, op, x, out);
        }
        for_lengths(&alone, |isa, n, out| unary_on(isa, op, &x[..n], out));
    }
    for op in BINARY {
        for shape in 0..4 {
            let a = |n| if shape & 1 == 0 { Arg::Slice(&x[..n]) } else { Arg::Splat(x[0]) };
            let b = |n| if shape & 2 == 0 { Arg::Slice(&y[..n]) } else { Arg::Splat(y[0]) };
            let mut want = vec![T::zero(); 70];
            binary_on(Isa::Portable, op, a(70), b(70), &mut want);
            for_lengths(&want, |isa, n, out| binary_on(isa, op, a(n), b(n), out));
        }
    }
}

fn for_lengths<T: Bits>(want: &[T], run: impl Fn(Isa, usize, &mut [T])) {
    for isa in Isa::available() {
        for n in 0..=want.len() {
            let mut out = vec![T::INF; n];
            run(isa, n, &mut out);
            assert_eq!(bits(&want[..n]), bits(&out), "length {n} on {isa:?}");
        }
    }
}

fn check_select<T: Bits>() {
    let c: Vec<T> = specials();
    let y: Vec<T> = c.iter().map(|&v| T::of(v.bits() ^ 1)).collect();
    let n: Vec<T> = c.iter().rev().copied().collect();
    for len in [1, 7, 16, 33, c.len()] {
        for shape in 0..8 {
            let splat = |bit| shape & bit != 0;
            let at = |bit, v: &[T], i: usize| v[if splat(bit) { len - 1 } else { i }];
            let choose = |i| if at(1, &c, i) == T::zero() { at(4, &n, i) } else { at(2, &y, i) };
            let want: Vec<T> = (0..len).map(choose).collect();
            for isa in Isa::available() {
                let mut out = vec![T::zero(); len];
                let [c, y, n] =
                    [(1, &c), (2, &y), (4, &n)].map(|(bit, v)| operand(v, len, splat(bit)));
                select_on(isa, c, y, n, &mut out);
                assert_eq!(bits(&want), bits(&out), "{len} {shape} on {isa:?}");
            }
        }
    }
}

fn operand<T: Real>(v: &[T], len: usize, splat: bool) -> Arg<'_, T> {
    if splat { Arg::Splat(v[len - 1]) } else { Arg::Slice(&v[..len]) }
}

#[test]
fn unary_bits_are_the_same_on_every_isa() {
    check_unary::<f32>();
    check_unary::<f64>();
}

#[test]
fn binary_bits_are_the_same_on_every_isa() {
    check_binary::<f32>();
    check_binary::<f64>();
}

#[test]
fn bits_do_not_depend_on_length_or_position() {
    check_lengths::<f32>();
    check_lengths::<f64>();
}

#[test]
fn select_takes_every_shape_of_operand() {
    check_select::<f32>();
    check_select::<f64>();
}
