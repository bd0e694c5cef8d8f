//! The loops: a small expression over slices and constants, evaluated lane by lane.

use super::isa::Isa;
use super::lanes::{Lanes, MAX_LANES, Mem};
#[cfg(target_arch = "x86_64")]
use super::lanes_x86::{F32x8, F32x16, F64x4, F64x8};
use super::real::Real;
use super::slab::Loop;

/// The lane types that evaluate elements stored as `M`, one per instruction set.
///
/// # Safety
/// Each type needs no more than the set it is for.
pub unsafe trait Width<M> {
    /// What a lane holds.
    type Elem: Real;
    /// For [`Isa::Portable`].
    type Portable: Mem<M, Elem = Self::Elem>;
    /// For [`Isa::Avx2`].
    #[cfg(target_arch = "x86_64")]
    type Avx2: Mem<M, Elem = Self::Elem>;
    /// For [`Isa::Avx512`].
    #[cfg(target_arch = "x86_64")]
    type Avx512: Mem<M, Elem = Self::Elem>;
}

/// `f32` lanes.
pub struct Single;

/// `f64` lanes, whatever the memory holds.
pub struct Double;

// SAFETY: each type is that of its set.
unsafe impl Width<f32> for Single {
    type Elem = f32;
    type Portable = f32;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = F32x8;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = F32x16;
}

macro_rules! double_width {
    ($m:ident) => {
        // SAFETY: each type is that of its set.
        unsafe impl Width<$m> for Double {
            type Elem = f64;
            type Portable = f64;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = F64x4;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = F64x8;
        }
    };
}

double_width!(f32);
double_width!(f64);

/// A function of one argument, written over any lanes of `E`.
pub trait Kernel1<E>: Copy {
    /// The function.
    fn eval<L: Lanes<Elem = E>>(x: L) -> L;
}

/// A function of two arguments, written over any lanes of `E`.
pub trait Kernel2<E>: Copy {
    /// The function.
    fn eval<L: Lanes<Elem = E>>(a: L, b: L) -> L;
}

/// Something with a value at every index of the output.
pub trait Expr<M, E>: Copy {
    /// Whether it has values for an output of `len` elements.
    fn fits(self, len: usize) -> bool;

    /// The values at `at..at + len`, `len` at most the lane count; the lanes after them are
    /// arbitrary.
    ///
    /// # Safety
    /// The CPU has `L`'s instruction set, and the expression fits `at + len` elements.
    unsafe fn values<L: Mem<M, Elem = E>>(self, at: usize, len: usize) -> L;
}

/// The same value everywhere.
#[derive(Clone, Copy)]
pub struct Splat<M>(pub M);

impl<M: Copy, E> Expr<M, E> for Splat<M> {
    #[inline(always)]
    fn fits(self, _len: usize) -> bool {
        true
    }

    #[inline(always)]
    unsafe fn values<L: Mem<M, Elem = E>>(self, _at: usize, _len: usize) -> L {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { L::fill(self.0) }
    }
}

impl<M: Real, E> Expr<M, E> for &[M] {
    #[inline(always)]
    fn fits(self, len: usize) -> bool {
        self.len() == len
    }

    #[inline(always)]
    unsafe fn values<L: Mem<M, Elem = E>>(self, at: usize, len: usize) -> L {
        if len == L::N {
            // SAFETY: the expression fits `at + N` elements.
            return unsafe { L::load(self.as_ptr().add(at)) };
        }
        let mut padded = [M::zero(); MAX_LANES];
        // SAFETY: the expression fits `at + len` elements.
        padded[..len].copy_from_slice(unsafe { self.get_unchecked(at..at + len) });
        // SAFETY: the array is as long as any lanes.
        unsafe { L::load(padded.as_ptr()) }
    }
}

/// `K` of `X`.
#[derive(Clone, Copy)]
pub struct Map1<K, X>(pub K, pub X);

/// `K` of `A` and `B`.
#[derive(Clone, Copy)]
pub struct Map2<K, A, B>(pub K, pub A, pub B);

/// `Y` where `C` is not zero, else `N`.
#[derive(Clone, Copy)]
pub struct Choose<C, Y, N>(pub C, pub Y, pub N);

impl<M, E: Real, K: Kernel1<E>, X: Expr<M, E>> Expr<M, E> for Map1<K, X> {
    #[inline(always)]
    fn fits(self, len: usize) -> bool {
        self.1.fits(len)
    }

    #[inline(always)]
    unsafe fn values<L: Mem<M, Elem = E>>(self, at: usize, len: usize) -> L {
        // SAFETY: the caller's promise covers the parts.
        K::eval(unsafe { self.1.values::<L>(at, len) }).canonical()
    }
}

impl<M, E: Real, K: Kernel2<E>, A: Expr<M, E>, B: Expr<M, E>> Expr<M, E> for Map2<K, A, B> {
    #[inline(always)]
    fn fits(self, len: usize) -> bool {
        self.1.fits(len) && self.2.fits(len)
    }

    #[inline(always)]
    unsafe fn values<L: Mem<M, Elem = E>>(self, at: usize, len: usize) -> L {
        // SAFETY: the caller's promise covers the parts.
        let (a, b) = unsafe { (self.1.values::<L>(at, len), self.2.values::<L>(at, len)) };
        K::eval(a, b).canonical()
    }
}

impl<M, E: Real, C: Expr<M, E>, Y: Expr<M, E>, N: Expr<M, E>> Expr<M, E> for Choose<C, Y, N> {
    #[inline(always)]
    fn fits(self, len: usize) -> bool {
        self.0.fits(len) && self.1.fits(len) && self.2.fits(len)
    }

    #[inline(always)]
    unsafe fn values<L: Mem<M, Elem = E>>(self, at: usize, len: usize) -> L {
        // SAFETY: the caller's promise covers the parts.
        let (c, y, n): (L, L, L) =
            unsafe { (self.0.values(at, len), self.1.values(at, len), self.2.values(at, len)) };
        L::select(c.ne(c.splat(E::zero())), y, n)
    }
}

/// Writes the values of `x` to `out`, on `isa` or the widest set below it that the CPU has.
///
/// # Panics
/// If a slice of the expression is not as long as `out`.
#[inline]
pub fn run<W: Width<M>, M: Real, X: Expr<M, W::Elem>>(isa: Isa, x: X, out: &mut [M]) {
    assert!(x.fits(out.len()), "an operand is not as long as the output");
    match isa.min(Isa::detected()) {
        // SAFETY: the expression fits, and one lane needs no instruction set.
        Isa::Portable => unsafe { drive_portable::<M, W::Portable, X>(x, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the expression fits, and the CPU has AVX2.
        Isa::Avx2 => unsafe { drive_avx2::<M, W::Avx2, X>(x, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the expression fits, and the CPU has AVX-512 F and DQ.
        Isa::Avx512 => unsafe { drive_avx512::<M, W::Avx512, X>(x, out) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("not detected on this architecture"),
    }
}

/// Out of line like its siblings, so that the dispatch stays small.
///
/// # Safety
/// `L` needs no instruction set, and `x` fits `out`.
#[inline(never)]
unsafe fn drive_portable<M: Real, L: Mem<M>, X: Expr<M, L::Elem>>(x: X, out: &mut [M]) {
    // SAFETY: the caller's promise.
    unsafe { drive::<M, L, X>(x, out) }
}

/// # Safety
/// The CPU has AVX2, which is all `L` needs, and `x` fits `out`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn drive_avx2<M: Real, L: Mem<M>, X: Expr<M, L::Elem>>(x: X, out: &mut [M]) {
    // SAFETY: the caller's promise.
    unsafe { drive::<M, L, X>(x, out) }
}

/// # Safety
/// The CPU has AVX-512 F and DQ, which are all `L` needs, and `x` fits `out`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn drive_avx512<M: Real, L: Mem<M>, X: Expr<M, L::Elem>>(x: X, out: &mut [M]) {
    // SAFETY: the caller's promise.
    unsafe { drive::<M, L, X>(x, out) }
}

/// The remainder goes through the same lane code as the rest, padded, so that the bits of an
/// element never depend on where it stands.
///
/// # Safety
/// The CPU has `L`'s instruction set and `x` fits `out`.
#[inline(always)]
unsafe fn drive<M: Real, L: Mem<M>, X: Expr<M, L::Elem>>(x: X, out: &mut [M]) {
    const { assert!(L::N <= MAX_LANES) };
    let full = out.len() - out.len() % L::N;
    let mut at = 0;
    while at < full {
        // SAFETY: `at + N <= out.len()`, which `x` fits.
        unsafe { x.values::<L>(at, L::N).store(out.as_mut_ptr().add(at)) };
        at += L::N;
    }
    let rest = &mut out[full..];
    if rest.is_empty() {
        return;
    }
    let mut padded = [M::zero(); MAX_LANES];
    // SAFETY: `full + rest.len() == out.len()`, and the array is as long as any lanes.
    unsafe { x.values::<L>(full, rest.len()).store(padded.as_mut_ptr()) };
    rest.copy_from_slice(&padded[..rest.len()]);
}

/// Elements at an address.
#[derive(Clone, Copy)]
pub struct At<M>(*const M, usize);

impl<M: Copy, E> Expr<M, E> for At<M> {
    #[inline(always)]
    fn fits(self, len: usize) -> bool {
        self.1 == len
    }

    #[inline(always)]
    unsafe fn values<L: Mem<M, Elem = E>>(self, at: usize, _len: usize) -> L {
        // SAFETY: the expression fits `at + N` elements: [`Loop`]s take whole lanes only.
        unsafe { L::load(self.0.add(at)) }
    }
}

/// An expression over the operands of a [`Loop`].
pub trait OfOperands<M, E>: Expr<M, E> {
    /// The expression over so many elements at these addresses.
    fn of(from: [*const M; 3], len: usize) -> Self;
}

impl<M: Real, E: Real, K: Kernel1<E> + Default> OfOperands<M, E> for Map1<K, At<M>> {
    #[inline(always)]
    fn of([x, ..]: [*const M; 3], len: usize) -> Self {
        Map1(K::default(), At(x, len))
    }
}

impl<M: Real, E: Real, K: Kernel2<E> + Default> OfOperands<M, E> for Map2<K, At<M>, At<M>> {
    #[inline(always)]
    fn of([a, b, _]: [*const M; 3], len: usize) -> Self {
        Map2(K::default(), At(a, len), At(b, len))
    }
}

impl<M: Real, E: Real> OfOperands<M, E> for Choose<At<M>, At<M>, At<M>> {
    #[inline(always)]
    fn of(from: [*const M; 3], len: usize) -> Self {
        let [c, y, n] = from.map(|at| At(at, len));
        Choose(c, y, n)
    }
}

/// The loop of an expression on the widest set that the CPU has.
pub fn loop_of<W: Width<M>, M: Real, X: OfOperands<M, W::Elem>>() -> Loop<M> {
    match Isa::detected() {
        Isa::Portable => loop_portable::<M, W::Portable, X>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => loop_avx2::<M, W::Avx2, X>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => loop_avx512::<M, W::Avx512, X>,
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("not detected on this architecture"),
    }
}

/// # Safety
/// As of any [`Loop`]; the CPU has `L`'s instruction set.
#[inline(always)]
unsafe fn drive_whole<M: Real, L: Mem<M>, X: OfOperands<M, L::Elem>>(
    from: [*const M; 3],
    to: *mut M,
    len: usize,
) {
    let x = X::of(from, len);
    for at in (0..len).step_by(L::N) {
        // SAFETY: `len` is a multiple of the lanes; the result is no operand.
        unsafe { x.values::<L>(at, L::N).store(to.add(at)) };
    }
}

/// # Safety
/// As of any [`Loop`].
unsafe fn loop_portable<M: Real, L: Mem<M>, X: OfOperands<M, L::Elem>>(
    from: [*const M; 3],
    to: *mut M,
    len: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { drive_whole::<M, L, X>(from, to, len) }
}

/// # Safety
/// As of any [`Loop`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn loop_avx2<M: Real, L: Mem<M>, X: OfOperands<M, L::Elem>>(
    from: [*const M; 3],
    to: *mut M,
    len: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { drive_whole::<M, L, X>(from, to, len) }
}

/// # Safety
/// As of any [`Loop`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn loop_avx512<M: Real, L: Mem<M>, X: OfOperands<M, L::Elem>>(
    from: [*const M; 3],
    to: *mut M,
    len: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { drive_whole::<M, L, X>(from, to, len) }
}
