//! Element-wise primitives, one after the other, on small values that live side by side in one slab.
//!
//! Each primitive's loop is chosen once, for the instruction set of this CPU, so that running it is a call
//! through a pointer: on sixteen numbers that is most of what it costs.

use std::ops::Range;

use super::drive::{Kernel2, Width};
use super::elementwise::{
    Add, Arg, Binary, Mul, Sub, Unary, binary, binary_loop, select_loop, unary, unary_loop,
};
use super::isa::Isa;
use super::lanes::{MAX_LANES, Mem};
use super::real::Real;

/// Elements that a value's room is a multiple of: as many as the widest lanes hold.
pub(crate) const PAD: usize = MAX_LANES;

/// Elements of the largest value that is worth a place in a slab.
pub(crate) const SMALL: usize = 64;

/// A cache line, at which values begin.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u64; 8]);

// SAFETY: zeros are a line.
unsafe impl bytemuck::Zeroable for Line {}

// SAFETY: a line is its words, which have no invalid patterns; they fill it.
unsafe impl bytemuck::Pod for Line {}

/// A loop over `len` elements, a multiple of [`PAD`], from up to three values to another.
///
/// # Safety
/// All pointers are good for `len` elements; the last one's overlap no others'. The CPU has the
/// instruction set that the loop is for.
pub(crate) type Loop<T> = unsafe fn(from: [*const T; 3], to: *mut T, len: usize);

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Primitive {
    Copy,
    /// The first element, everywhere.
    Fill,
    Unary(Unary),
    Binary(Binary),
    /// The second where the first is not zero, else the third.
    Select,
}

/// Primitives over the values of a slab.
#[derive(Default)]
pub(crate) struct Code<T> {
    /// Elements of the slab.
    len: usize,
    steps: Vec<Step<T>>,
}

struct Step<T> {
    run: Run<T>,
    /// Whether the first and the second operand are the result of the step before.
    chained: [bool; 2],
    /// Where the operands begin; those that there are not are the first.
    from: [u32; 3],
    to: u32,
    len: u32,
}

/// How a primitive runs.
enum Run<T> {
    /// The cheapest, which cost less than a call, are inlined.
    Add,
    Sub,
    Mul,
    Loop(Loop<T>),
    /// Without a loop.
    Rare(Primitive),
}

impl<T: Real> Run<T> {
    fn of(primitive: Primitive) -> Self {
        let run = match primitive {
            Primitive::Binary(Binary::Add) => return Run::Add,
            Primitive::Binary(Binary::Sub) => return Run::Sub,
            Primitive::Binary(Binary::Mul) => return Run::Mul,
            Primitive::Copy => Some(copy::<T> as Loop<T>),
            Primitive::Fill => Some(fill::<T> as Loop<T>),
            Primitive::Unary(op) => unary_loop(op),
            Primitive::Binary(op) => binary_loop(op),
            Primitive::Select => Some(select_loop()),
        };
        run.map_or(Run::Rare(primitive), Run::Loop)
    }
}

impl<T: Real> Code<T> {
    /// Elements that the slab must have.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Appends a step on values of `len` elements, a multiple of [`PAD`], that begin at these elements of
    /// the slab.
    ///
    /// # Panics
    /// If the result overlaps an operand.
    pub fn push(&mut self, primitive: Primitive, operands: &[usize], to: usize, len: usize) {
        // A fill reads one element, which may be less than `len` before its result.
        let read = if primitive == Primitive::Fill { 1 } else { len };
        let apart = |&at: &usize| at + read <= to || to + len <= at;
        assert!(len.is_multiple_of(PAD) && operands.iter().all(apart));
        let mut from = [operands[0]; 3];
        from[..operands.len()].copy_from_slice(operands);
        self.len = from.into_iter().chain([to]).fold(self.len, |all, at| all.max(at + len));
        assert!(u32::try_from(self.len).is_ok(), "a slab of small values");
        let (from, to, len) = (from.map(|at| at as u32), to as u32, len as u32);
        let before = self.steps.last().filter(|step| step.len == len);
        let chained = [0, 1].map(|k| before.is_some_and(|step| step.to == from[k]));
        self.steps.push(Step { run: Run::of(primitive), chained, from, to, len });
    }

    /// Runs the steps `range`.
    ///
    /// # Panics
    /// If the slab is shorter than [`Code::len`].
    pub fn run(&self, range: Range<usize>, slab: &mut [T]) {
        assert!(slab.len() >= self.len);
        let (steps, slab) = (&self.steps[range], slab.as_mut_ptr());
        // SAFETY: `push` counted all elements that a step names, so they are in the slab, and saw that those
        // of the result are no operand's. The CPU has the instruction set.
        unsafe {
            match Isa::detected() {
                Isa::Portable => run_steps::<T, <T::Native as Width<T>>::Portable>(steps, slab),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2(steps, slab),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512(steps, slab),
                #[cfg(not(target_arch = "x86_64"))]
                Isa::Avx2 | Isa::Avx512 => unreachable!("not detected on this architecture"),
            }
        }
    }
}

/// # Safety
/// As of [`run_steps`], and the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn run_avx2<T: Real>(steps: &[Step<T>], slab: *mut T) {
    // SAFETY: the caller's promise.
    unsafe { run_steps::<T, <T::Native as Width<T>>::Avx2>(steps, slab) }
}

/// # Safety
/// As of [`run_steps`], and the CPU has AVX-512 F and DQ.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn run_avx512<T: Real>(steps: &[Step<T>], slab: *mut T) {
    // SAFETY: the caller's promise.
    unsafe { run_steps::<T, <T::Native as Width<T>>::Avx512>(steps, slab) }
}

/// A result that fills the lanes stays there for the next step: what was just stored is slow to load.
///
/// # Safety
/// All elements that a step names are in the slab, those of its result are no operand's, and the CPU has
/// the instruction set of `L`.
#[inline(always)]
unsafe fn run_steps<T: Real, L: Mem<T, Elem = T>>(steps: &[Step<T>], slab: *mut T) {
    let Some(first) = steps.first() else { return };
    // SAFETY: the caller's promise; there are at least `PAD` elements, and no more lanes.
    unsafe {
        let mut last = L::load(slab.add(first.from[first.chained[1] as usize] as usize));
        for step in steps {
            let from = step.from.map(|at| slab.add(at as usize).cast_const());
            let (to, len) = (slab.add(step.to as usize), step.len as usize);
            match step.run {
                Run::Add => last = combine::<T, L, Add>(from, to, len, step.chained, last),
                Run::Sub => last = combine::<T, L, Sub>(from, to, len, step.chained, last),
                Run::Mul => last = combine::<T, L, Mul>(from, to, len, step.chained, last),
                Run::Loop(run) => {
                    run(from, to, len);
                    last = L::load(to);
                }
                Run::Rare(primitive) => {
                    rare(primitive, from, to, len);
                    last = L::load(to);
                }
            }
        }
    }
}

/// The result, if it fills the lanes: as it is before NaN becomes canonical, which changes no result of
/// what it is an operand of.
///
/// # Safety
/// As of any [`Loop`]; the CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn combine<T: Real, L: Mem<T, Elem = T>, K: Kernel2<T>>(
    [a, b, _]: [*const T; 3],
    to: *mut T,
    len: usize,
    chained: [bool; 2],
    last: L,
) -> L {
    // SAFETY: `len` is a multiple of the lanes.
    unsafe {
        if len == L::N {
            let a = if chained[0] { last } else { L::load(a) };
            let b = if chained[1] { last } else { L::load(b) };
            let y = K::eval(a, b);
            y.canonical().store(to);
            return y;
        }
        for at in (0..len).step_by(L::N) {
            K::eval(L::load(a.add(at)), L::load(b.add(at))).canonical().store(to.add(at));
        }
    }
    last
}

/// A primitive that has a loop, to be run on slices.
#[derive(Clone, Copy, Debug)]
pub struct Single<T>(Loop<T>);

impl<T: Real> Single<T> {
    fn of(primitive: Primitive) -> Option<Self> {
        match primitive {
            Primitive::Unary(op) => unary_loop(op).map(Single),
            Primitive::Binary(op) => binary_loop(op).map(Single),
            _ => None,
        }
    }

    /// Runs the loop; an operand that it does not take is any other.
    ///
    /// # Panics
    /// If lengths differ or are no multiple of [`PAD`].
    #[inline]
    pub fn run(self, [a, b]: [&[T]; 2], to: &mut [T]) {
        let len = to.len();
        assert!(len.is_multiple_of(PAD) && a.len() == len && b.len() == len);
        // SAFETY: all slices have this length, and the result is borrowed alone. The loop was chosen for
        // this CPU.
        unsafe { self.0([a.as_ptr(), b.as_ptr(), a.as_ptr()], to.as_mut_ptr(), len) }
    }
}

/// An argument of a primitive.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    Operand(u8),
    /// Of the numbers that the operator holds.
    Scalar(u8),
    Constant(f64),
}

/// An element-wise function that is one primitive, of operands of one type and of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Lanewise {
    /// How many operands there are.
    pub inputs: usize,
    /// Of one argument, twice.
    pub arguments: [Argument; 2],
    /// Whether an argument is a number that the operator holds.
    pub takes_scalars: bool,
    pub f32: Single<f32>,
    pub f64: Single<f64>,
}

impl Lanewise {
    /// Of this primitive, if it has a loop, with one argument, or two.
    pub fn of(primitive: Primitive, arguments: &[Argument]) -> Option<Lanewise> {
        let arguments = [*arguments.first()?, *arguments.last()?];
        let inputs = arguments.iter().map(|argument| match argument {
            Argument::Operand(k) => *k as usize + 1,
            Argument::Scalar(_) | Argument::Constant(_) => 0,
        });
        Some(Lanewise {
            inputs: inputs.max()?,
            arguments,
            takes_scalars: arguments.iter().any(|own| matches!(own, Argument::Scalar(_))),
            f32: Single::of(primitive)?,
            f64: Single::of(primitive)?,
        })
    }
}

/// # Safety
/// As of any [`Loop`].
unsafe fn rare<T: Real>(primitive: Primitive, from: [*const T; 3], to: *mut T, len: usize) {
    // SAFETY: the caller's promise.
    let ([a, b, _], to) = unsafe {
        (
            from.map(|at| std::slice::from_raw_parts(at, len)),
            std::slice::from_raw_parts_mut(to, len),
        )
    };
    match primitive {
        Primitive::Unary(op) => unary(op, a, to),
        Primitive::Binary(op) => binary(op, Arg::Slice(a), Arg::Slice(b), to),
        Primitive::Copy | Primitive::Fill | Primitive::Select => unreachable!("they have loops"),
    }
}

/// # Safety
/// As of any [`Loop`].
unsafe fn copy<T: Copy>(from: [*const T; 3], to: *mut T, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(from[0], to, len) }
}

/// # Safety
/// As of any [`Loop`].
unsafe fn fill<T: Copy>(from: [*const T; 3], to: *mut T, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(to, len).fill(*from[0]) }
}

#[cfg(test)]
mod tests {
    use super::super::elementwise::select;
    use super::super::elementwise_tests::{BINARY, UNARY};
    use super::*;

    fn values<T: Real>(n: usize) -> Vec<T> {
        let value =
            |i: usize| [0.5, -1.75, 3.0, -0.0, 1e-3, f64::NAN, 40.0, 0.25][i % 8] * n as f64;
        (0..2 * PAD).map(|i| T::from(value(i * n)).expect("a float")).collect()
    }

    fn check<T: Real + std::fmt::Debug>() {
        let [a, b, c] = [1, 3, 5].map(values::<T>);
        let mut all: Vec<(Primitive, Vec<T>)> = Vec::new();
        let mut want = vec![T::zero(); a.len()];
        for op in UNARY {
            unary(op, &a, &mut want);
            all.push((Primitive::Unary(op), want.clone()));
        }
        for op in BINARY {
            binary(op, Arg::Slice(&a), Arg::Slice(&b), &mut want);
            all.push((Primitive::Binary(op), want.clone()));
        }
        select(Arg::Slice(&a), Arg::Slice(&b), Arg::Slice(&c), &mut want);
        all.push((Primitive::Select, want.clone()));
        all.push((Primitive::Copy, a.clone()));
        all.push((Primitive::Fill, vec![a[0]; a.len()]));
        for (primitive, want) in all {
            let mut code = Code::default();
            let operands = match primitive {
                Primitive::Copy | Primitive::Fill | Primitive::Unary(_) => 1,
                Primitive::Binary(_) => 2,
                Primitive::Select => 3,
            };
            let n = a.len();
            code.push(primitive, &[0, n, 2 * n][..operands], 3 * n, n);
            let mut slab = [&a[..], &b, &c, &vec![T::zero(); a.len()]].concat();
            code.run(0..1, &mut slab);
            let bits = |x: &T| format!("{x:?}");
            let got: Vec<String> = slab[3 * a.len()..].iter().map(bits).collect();
            assert_eq!(got, want.iter().map(bits).collect::<Vec<_>>(), "{primitive:?}");
        }
    }

    #[test]
    fn loops_are_the_primitives() {
        check::<f32>();
        check::<f64>();
    }

    /// A step on the result of the step before, also of one that ran earlier.
    #[test]
    fn chained_steps_are_the_primitives() {
        let chain = [
            (Binary::Add, [0, 1]),
            (Binary::Mul, [2, 0]),
            (Binary::Sub, [1, 3]),
            (Binary::Mul, [4, 4]),
        ];
        for len in [PAD, 2 * PAD] {
            let (a, b) = (values::<f32>(1), values::<f32>(3));
            let mut slab = [&a[..len], &b[..len], &vec![0.0; 4 * len]].concat();
            let (mut want, mut code) = (slab.clone(), Code::default());
            for (k, (op, [l, r])) in chain.into_iter().enumerate() {
                let to = (k + 2) * len;
                code.push(Primitive::Binary(op), &[l * len, r * len], to, len);
                let (before, rest) = want.split_at_mut(to);
                let operand = |k: usize| Arg::Slice(&before[k * len..][..len]);
                binary(op, operand(l), operand(r), &mut rest[..len]);
            }
            code.run(0..2, &mut slab);
            code.run(2..4, &mut slab);
            let bits = |all: &[f32]| all.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&slab), bits(&want), "{len}");
        }
    }
}
