//! What an operator costs on tapes and in graphs: a thousand operators on sixteen numbers, forward and backward.
//!
//! The floor keeps values and cotangents in one flat arena and walks operators that are an enum, both ways,
//! sixteen numbers at a time: no types, no memory to manage, no errors.

use std::hint::black_box;

use sparsetape::{Bind, Executor, Graph, Tape, Tensor, Var, variable};

use super::{Case, EAGER, FLOOR, FROZEN, Size, Visit};

/// Numbers in a value.
const WIDTH: usize = 16;

/// Of the numbers that the operators begin with: h, w and b.
const LEAVES: [&str; 3] = ["h", "w", "b"];

fn leaf(k: usize) -> [f32; WIDTH] {
    let [mean, spread] = [[0.5, 0.01], [0.999, 1e-4], [1e-3, 1e-5]][k];
    std::array::from_fn(|i| mean + spread * i as f32)
}

/// h · w + b, again and again.
const AFFINE: &[Operator] = &[Operator::Mul(Some(1)), Operator::Add(Some(2))];

/// Of g = h + b · exp(sigmoid(tanh(h))): (tanh(g) |> exp · b + h) · w, again and again.
const TRANSCENDENTAL: &[Operator] = &[
    Operator::Tanh,
    Operator::Sigmoid,
    Operator::Exp,
    Operator::Mul(Some(2)),
    Operator::Add(None),
    Operator::Tanh,
    Operator::Exp,
    Operator::Mul(Some(2)),
    Operator::Add(None),
    Operator::Mul(Some(1)),
];

pub fn cases(size: Size, visit: Visit) {
    let operators = if size == Size::Full { 1000 } else { 20 };
    for (name, cycle) in [("mul, add", AFFINE), ("transcendentals", TRANSCENDENTAL)] {
        let cycles = operators / cycle.len();
        let mut tape = Tape::new();
        let mut executor = frozen(cycle, cycles);
        let mut floor = Floor::new(cycle, cycles);
        floor.run();
        assert_close(eager(&mut tape, cycle, cycles), floor.gradients());
        executor.forward(true).expect("a forward pass");
        executor.backward().expect("a backward pass");
        let gradients = LEAVES.map(|leaf| sixteen(executor.grad(leaf)));
        assert_close(gradients, floor.gradients());
        let eager = move || {
            black_box(eager(&mut tape, cycle, cycles));
        };
        let frozen = move || {
            executor.forward(true).expect("a forward pass");
            executor.backward().expect("a backward pass");
            black_box(executor.grad("h"));
        };
        let floor = move || {
            floor.run();
            black_box(&floor.cotangents);
        };
        visit(
            Case::new(format!("tape, {name}"), "operator", operators)
                .with(EAGER, eager)
                .with(FROZEN, frozen)
                .with(FLOOR, floor),
        );
    }
}

/// On the last value; the other operand is a leaf, or what the cycle began with.
#[derive(Clone, Copy)]
enum Operator {
    Mul(Option<usize>),
    Add(Option<usize>),
    Tanh,
    Sigmoid,
    Exp,
}

fn record<'t>(leaves: [Var<'t>; 3], cycle: &[Operator], cycles: usize) -> Var<'t> {
    let mut last = leaves[0];
    for _ in 0..cycles {
        let first = last;
        let other = |k: Option<usize>| k.map_or(first, |k| leaves[k]);
        for operator in cycle {
            last = match *operator {
                Operator::Mul(k) => last * other(k),
                Operator::Add(k) => last + other(k),
                Operator::Tanh => last.tanh(),
                Operator::Sigmoid => last.sigmoid(),
                Operator::Exp => last.exp(),
            };
        }
    }
    last
}

fn tensor(values: [f32; WIDTH]) -> Tensor {
    Tensor::dense([WIDTH], values.to_vec()).expect("numbers")
}

fn sixteen(gradient: Option<&Tensor>) -> [f32; WIDTH] {
    gradient.expect("a gradient").values().expect("f32").try_into().expect("sixteen numbers")
}

fn assert_close(own: [[f32; WIDTH]; 3], floor: [[f32; WIDTH]; 3]) {
    for (own, floor) in own.iter().flatten().zip(floor.iter().flatten()) {
        assert!((own - floor).abs() <= 1e-3 * floor.abs(), "{own} instead of {floor}");
    }
}

fn eager(tape: &mut Tape, cycle: &[Operator], cycles: usize) -> [[f32; WIDTH]; 3] {
    tape.clear();
    let leaves = [0, 1, 2].map(|k| tape.variable(tensor(leaf(k))));
    let last = record(leaves, cycle, cycles);
    let gradients = last.backward_with(&tensor([1.0; WIDTH])).expect("gradients");
    leaves.map(|leaf| sixteen(gradients.wrt(leaf)))
}

fn frozen(cycle: &[Operator], cycles: usize) -> Executor {
    let tape = Tape::symbolic();
    let leaves = LEAVES.map(|name| tape.symbol(variable(name).shape([WIDTH])));
    // The sum starts the backward pass alone.
    let graph = Graph::new(&[record(leaves, cycle, cycles).sum()]).expect("a graph");
    let graph = graph.with_gradients(&LEAVES).expect("gradients");
    let values = [0, 1, 2].map(|k| (LEAVES[k], tensor(leaf(k))));
    graph.bind(Bind::from(values)).expect("an executor")
}

/// An operator with the places of its operands and of its result.
#[derive(Clone, Copy)]
enum Step {
    Mul([u32; 2], u32),
    Add([u32; 2], u32),
    Tanh(u32, u32),
    Sigmoid(u32, u32),
    Exp(u32, u32),
}

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Lanes([f32; WIDTH]);

struct Floor {
    steps: Vec<Step>,
    values: Vec<Lanes>,
    cotangents: Vec<Lanes>,
}

impl Floor {
    fn new(cycle: &[Operator], cycles: usize) -> Self {
        let mut values: Vec<Lanes> = (0..3).map(|k| Lanes(leaf(k))).collect();
        let (mut steps, mut last) = (Vec::new(), 0);
        for _ in 0..cycles {
            let first = last;
            let other = |k: Option<usize>| k.map_or(first, |k| k as u32);
            for operator in cycle {
                let y = values.len() as u32;
                steps.push(match *operator {
                    Operator::Mul(k) => Step::Mul([last, other(k)], y),
                    Operator::Add(k) => Step::Add([last, other(k)], y),
                    Operator::Tanh => Step::Tanh(last, y),
                    Operator::Sigmoid => Step::Sigmoid(last, y),
                    Operator::Exp => Step::Exp(last, y),
                });
                values.push(Lanes::default());
                last = y;
            }
        }
        let cotangents = values.clone();
        Floor { steps, values, cotangents }
    }

    fn gradients(&self) -> [[f32; WIDTH]; 3] {
        [0, 1, 2].map(|k| self.cotangents[k].0)
    }

    fn run(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            // SAFETY: the processor has them.
            return unsafe { self.run_avx512() };
        }
        self.run_on();
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn run_avx512(&mut self) {
        self.run_on();
    }

    #[inline(always)]
    fn run_on(&mut self) {
        let Floor { steps, values, cotangents } = self;
        for step in &*steps {
            match *step {
                Step::Mul([l, r], y) => values[y as usize] = zip(values, l, r, |l, r| l * r),
                Step::Add([l, r], y) => values[y as usize] = zip(values, l, r, |l, r| l + r),
                Step::Tanh(x, y) => values[y as usize] = tanh(values[x as usize]),
                Step::Sigmoid(x, y) => values[y as usize] = sigmoid(values[x as usize]),
                Step::Exp(x, y) => values[y as usize] = exp(values[x as usize]),
            }
        }
        cotangents.fill(Lanes::default());
        cotangents[values.len() - 1] = Lanes([1.0; WIDTH]);
        for step in steps.iter().rev() {
            match *step {
                Step::Mul([l, r], y) => {
                    let dy = cotangents[y as usize];
                    add(&mut cotangents[l as usize], dy, values[r as usize], |dy, r| dy * r);
                    add(&mut cotangents[r as usize], dy, values[l as usize], |dy, l| dy * l);
                }
                Step::Add([l, r], y) => {
                    let dy = cotangents[y as usize];
                    add(&mut cotangents[l as usize], dy, dy, |dy, _| dy);
                    add(&mut cotangents[r as usize], dy, dy, |dy, _| dy);
                }
                Step::Tanh(x, y) => {
                    let (dy, y) = (cotangents[y as usize], values[y as usize]);
                    add(&mut cotangents[x as usize], dy, y, |dy, y| (1.0 - y * y) * dy);
                }
                Step::Sigmoid(x, y) => {
                    let (dy, y) = (cotangents[y as usize], values[y as usize]);
                    add(&mut cotangents[x as usize], dy, y, |dy, y| y * (1.0 - y) * dy);
                }
                Step::Exp(x, y) => {
                    let (dy, y) = (cotangents[y as usize], values[y as usize]);
                    add(&mut cotangents[x as usize], dy, y, |dy, y| dy * y);
                }
            }
        }
    }
}

#[inline(always)]
fn zip(values: &[Lanes], l: u32, r: u32, f: impl Fn(f32, f32) -> f32) -> Lanes {
    let (l, r, mut y) = (values[l as usize].0, values[r as usize].0, [0.0; WIDTH]);
    for i in 0..WIDTH {
        y[i] = f(l[i], r[i]);
    }
    Lanes(y)
}

#[inline(always)]
fn add(to: &mut Lanes, dy: Lanes, other: Lanes, f: impl Fn(f32, f32) -> f32) {
    for i in 0..WIDTH {
        to.0[i] += f(dy.0[i], other.0[i]);
    }
}

/// The exponential by a polynomial, to about 1e-7: as fast as a compiler makes it.
#[inline(always)]
fn exp(x: Lanes) -> Lanes {
    each(x, |x| {
        let k = (x * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
        let r = x - k * 0.693_359_4 + k * 2.121_944_4e-4;
        let p =
            ((((1.0 / 720.0 * r + 1.0 / 120.0) * r + 1.0 / 24.0) * r + 1.0 / 6.0) * r + 0.5) * r;
        let scale = f32::from_bits(((k as i32 + 127) << 23) as u32);
        ((p + 1.0) * r + 1.0) * scale
    })
}

#[inline(always)]
fn each(mut x: Lanes, f: impl Fn(f32) -> f32) -> Lanes {
    for x in &mut x.0 {
        *x = f(*x);
    }
    x
}

#[inline(always)]
fn sigmoid(x: Lanes) -> Lanes {
    each(exp(each(x, |x| -x)), |e| 1.0 / (1.0 + e))
}

#[inline(always)]
fn tanh(x: Lanes) -> Lanes {
    each(exp(each(x, |x| -2.0 * x)), |e| (1.0 - e) / (1.0 + e))
}
