//! The same bits for any number of threads, from run to run, and for a row whatever its batch.

use rayon::ThreadPoolBuilder;
use sparsetape::{Fallback, Loss, Result, Stype, Tape, Tensor};

/// Enough that the kernels of a step share their work among threads.
const ROWS: usize = 6000;
const COLUMNS: usize = 3000;
const CLASSES: usize = 9;

fn hashed(seed: u64, i: usize) -> u64 {
    let x = (seed ^ (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(seed << 32);
    let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 29)
}

fn real(seed: u64, i: usize) -> f32 {
    (hashed(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn batch() -> Tensor {
    let rows: Vec<Vec<(usize, f32)>> = (0..ROWS)
        .map(|i| {
            // Some rows are empty, some are long, and columns come up in all of them.
            let n = if i % 11 == 0 { 0 } else { 5 + i % 60 };
            let column = |j| (hashed(1, i * 97 + j) % COLUMNS as u64) as usize;
            (0..n).map(|j| (column(j), real(2, i * 97 + j))).collect()
        })
        .collect();
    Tensor::from_rows(COLUMNS, &rows).unwrap()
}

fn dense(shape: [usize; 2], seed: u64) -> Tensor {
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| real(seed, i)).collect();
    Tensor::dense(shape, values).unwrap()
}

fn labels() -> Tensor {
    let ids: Vec<i64> = (0..ROWS).map(|i| (hashed(5, i) % CLASSES as u64) as i64).collect();
    Tensor::dense([ROWS], ids).unwrap()
}

/// A training step of softmax regression on a hidden layer, with a penalty on its gradient: values
/// and gradients of everything.
fn step(x: &Tensor, labels: &Tensor) -> Result<Vec<Tensor>> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let w = tape.variable(dense([COLUMNS, 32], 3));
    let v = tape.variable(dense([32, CLASSES], 4));
    let b = tape.variable(dense([1, CLASSES], 6));
    let (x, labels) = (tape.variable(x.clone()), tape.constant(labels.clone()));
    let logits = x.dot(w).tanh().dot(v) + b;
    let loss = logits.softmax_cross_entropy(labels);
    let first = tape.grad(loss, &[w, v, b, x])?;
    let penalty = first[0].square().sum();
    let second = tape.grad(penalty, &[w, v])?;
    [logits, loss, penalty].iter().chain(&first).chain(&second).map(|v| v.value()).collect()
}

fn assert_same(left: &[Tensor], right: &[Tensor], what: &str) {
    assert_eq!(left.len(), right.len());
    for (i, (a, b)) in left.iter().zip(right).enumerate() {
        assert!(a.same_bits(b), "{what}: value {i} differs: {:?}", a.first_difference(b, 0.0, 0.0));
    }
}

#[test]
fn threads_and_repetition_do_not_change_a_bit() {
    let (x, labels) = (batch(), labels());
    let once = step(&x, &labels).unwrap();
    assert!(once.iter().any(|y| y.stype() == Stype::RowSparse));
    assert_same(&once, &step(&x, &labels).unwrap(), "again");
    for threads in [1, 2, 3, 8] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let there = pool.install(|| step(&x, &labels)).unwrap();
        assert_same(&once, &there, &format!("{threads} threads"));
    }
}

/// Predictions of rows, for batches cut in other ways.
#[test]
fn a_row_does_not_depend_on_its_batch() {
    let (x, labels) = (batch(), labels());
    let (w, v, b) = (dense([COLUMNS, 32], 3), dense([32, CLASSES], 4), dense([1, CLASSES], 6));
    let predict = |from: usize, to: usize| -> Result<[Tensor; 2]> {
        let tape = Tape::new();
        let x = tape.constant(x.rows_window(from, to)?);
        let labels = tape.constant(labels.rows_window(from, to)?);
        let (w, v, b) =
            (tape.constant(w.clone()), tape.constant(v.clone()), tape.constant(b.clone()));
        let logits = x.dot(w).tanh().dot(v) + b;
        let losses = logits.softmax_cross_entropy_with(labels, &Loss::per_row());
        Ok([logits.softmax().value()?, losses.value()?])
    };
    let whole = predict(0, ROWS).unwrap();
    for size in [1, 7, 64, 333] {
        for from in (0..ROWS).step_by(size.max(50)) {
            let to = (from + size).min(ROWS);
            let part = predict(from, to).unwrap();
            let cut = whole.each_ref().map(|y| y.rows_window(from, to).unwrap());
            assert_same(&part, &cut, &format!("rows {from}..{to}"));
        }
    }
}

/// Gradients with respect to a row of the input depend on nothing but that row.
#[test]
fn a_row_of_a_gradient_does_not_depend_on_its_batch() {
    let (x, w) = (batch(), dense([COLUMNS, 8], 3));
    let gradient = |x: &Tensor| -> Result<Tensor> {
        let tape = Tape::new();
        let (x, w) = (tape.variable(x.clone()), tape.constant(w.clone()));
        let gradients = x.dot(w).sigmoid().sum().backward()?;
        Ok(gradients.wrt(x).unwrap().clone())
    };
    let whole = gradient(&x).unwrap();
    for from in (0..ROWS).step_by(531) {
        let to = (from + 13).min(ROWS);
        let part = gradient(&x.rows_window(from, to).unwrap()).unwrap();
        assert!(part.same_bits(&whole.rows_window(from, to).unwrap()), "rows {from}..{to}");
    }
}
