//! Prints the time per element of the hot primitives.

use std::hint::black_box;
use std::time::Instant;

use super::elementwise::{Arg, Binary, Unary, binary_on, unary_on};
use super::elementwise_tests::{Bits, Random};
use super::isa::Isa;

const BLOCK: usize = 512;
const ROUNDS: usize = 4000;

/// The best of several tries, in nanoseconds per element.
fn time(len: usize, mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            run();
        }
        best = best.min(start.elapsed().as_nanos() as f64);
    }
    best / (ROUNDS * len) as f64
}

fn report<T: Bits>(name: &str) {
    let mut source = Random(5);
    let x: Vec<T> = (0..BLOCK).map(|_| T::rounded(source.within(0.01, 8.0))).collect();
    let mut out = vec![T::zero(); BLOCK];
    for isa in Isa::available() {
        let mut line = format!("{name} {isa:?}:");
        for op in [
            Unary::Exp,
            Unary::Expm1,
            Unary::Ln,
            Unary::Log1p,
            Unary::Tanh,
            Unary::Sigmoid,
            Unary::Softplus,
            Unary::Sin,
            Unary::Erf,
            Unary::Floor,
            Unary::Relu,
        ] {
            let ns = time(BLOCK, || unary_on(isa, op, black_box(&x), black_box(&mut out)));
            line += &format!(" {op:?} {ns:.2}");
        }
        let (a, b) = (Arg::Slice(black_box(&x[..])), Arg::Slice(black_box(&x[..])));
        let ns = time(BLOCK, || binary_on(isa, Binary::Add, a, b, black_box(&mut out)));
        let few = time(1, || unary_on(isa, Unary::Neg, black_box(&x[..16]), &mut out[..16]));
        println!("{line} Add {ns:.2}; 16 x Neg: {few:.1} ns a call");
    }
}

#[test]
#[ignore = "prints timings, which only mean something in an optimized build"]
fn print_throughput() {
    report::<f32>("f32");
    report::<f64>("f64");
}
