//! A small model, and how far its parameters are apart.

use sparsetape::optim::{Optimizer, Schedule, Update};
use sparsetape::random::{Popularity, Random};
use sparsetape::{DType, Gradients, Parameter, Params, Tape, Tensor};

pub const ROWS: usize = 40;
pub const K: usize = 3;

/// One step, of a model whose gradient depends on the current weights: reading a stale row would show.
pub fn train(w: &Parameter, x: &Tensor, optimizer: &mut dyn Optimizer) {
    let tape = Tape::new();
    let y = tape.constant(x.clone()).dot(tape.parameter(w));
    let loss = (y * 2.0).sin().sum() * 0.1 + y.square().sum() * 0.2;
    let gradients = loss.backward().unwrap();
    optimizer.step(&Params::new([w]).unwrap(), &gradients).unwrap();
}

/// A step by this gradient.
pub fn step(w: &Parameter, gradient: &Tensor, optimizer: &mut dyn Optimizer) {
    let mut gradients = Gradients::default();
    gradients.set(w, gradient.clone());
    optimizer.step(&Params::new([w]).unwrap(), &gradients).unwrap();
}

/// Rows of a csr batch that touches few rows of the table.
pub fn batch(random: &mut Random, dtype: DType) -> Tensor {
    random.csr_rows::<f64>([2, ROWS], 2, Popularity::PowerLaw(0.7)).unwrap().cast(dtype)
}

/// Learning rates of every kind.
pub fn schedule(kind: usize, lr: f64) -> Schedule {
    match kind {
        0 => Schedule::constant(lr),
        1 => Schedule::step(lr, 30, 0.7),
        2 => Schedule::cosine(lr, 400).warm_up(20),
        _ => Schedule::of(move |step| lr * (1.0 + 0.5 * (step as f64).sin())),
    }
}

/// Steps of `train`, with the table read here and there between them; the weights in the end.
pub fn run(w: &Parameter, optimizer: &mut dyn Optimizer, (seed, steps): (u64, usize)) -> Tensor {
    let mut random = Random::new(seed);
    for n in 0..steps {
        train(w, &batch(&mut random, w.dtype()), optimizer);
        if n % 97 == 50 {
            w.snapshot().unwrap();
        }
    }
    w.snapshot().unwrap()
}

/// The same run in exact and in dense mode.
pub fn exact_and_dense<O: Optimizer>(
    start: &Tensor,
    make: impl Fn(Update) -> O,
    run_of: (u64, usize),
) -> [Tensor; 2] {
    [Update::Exact, Update::Dense].map(|update| {
        let w = Parameter::new("w", start.clone()).unwrap();
        run(&w, &mut make(update), run_of)
    })
}

pub fn values(x: &Tensor) -> Vec<f64> {
    let dense = x.cast_storage(sparsetape::Stype::Default).unwrap().cast(DType::F64);
    dense.values::<f64>().unwrap().to_vec()
}

/// The greatest distance of a row, relative to the row's norm.
pub fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (a, b) = (values(a), values(b));
    let rows = a.chunks(K).zip(b.chunks(K));
    let far = rows.map(|(a, b)| {
        let apart: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        norm(&apart) / norm(b).max(1e-3)
    });
    far.fold(0.0, f64::max)
}

/// What is refused, and how it is called.
pub fn refused(optimizer: &mut dyn Optimizer) -> String {
    let w = Parameter::new("w", Tensor::full([2, 2], 1.0f64).unwrap()).unwrap();
    let error = refused_for(&w, optimizer);
    assert_eq!(values(&w.snapshot().unwrap()), [1.0; 4]);
    error
}

pub fn refused_for(w: &Parameter, optimizer: &mut dyn Optimizer) -> String {
    let mut gradients = Gradients::default();
    gradients.set(w, Tensor::full([2, 2], 1.0f64).unwrap());
    let error = optimizer.step(&Params::new([w]).unwrap(), &gradients).unwrap_err();
    assert_eq!(error.kind(), sparsetape::ErrorKind::Value);
    error.to_string()
}
