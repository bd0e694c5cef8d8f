//! Prediction with a frozen logistic model: one row of 40 features, and 1024 rows, out of 10^6 columns.
//!
//! `floor` is a hand-written loop over the same arrays.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sparsetape::random::{Distribution, Popularity, Random};
use sparsetape::{Bind, Executor, Stype, Tape, Tensor, Var, variable};

const FEATURES: usize = 1_000_000;
const PER_ROW: usize = 40;

fn model(rows: usize, weight: &Tensor, bias: &Tensor) -> Executor {
    let tape = Tape::symbolic();
    let named =
        |name, value: &Tensor| -> Var<'_> { tape.symbol(variable(name).shape(value.shape())) };
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(FEATURES)]));
    let p = (x.dot(named("weight", weight)) + named("bias", bias)).sigmoid();
    let graph = sparsetape::Graph::new(&[p]).expect("a graph");
    let bind = Bind::from([("weight", weight), ("bias", bias)]).shape("x", [rows, FEATURES]);
    graph.bind(bind).expect("an executor")
}

fn floor(
    indptr: &[usize],
    ids: &[u32],
    values: &[f32],
    weight: &[f32],
    bias: f32,
    out: &mut [f32],
) {
    for (row, out) in indptr.windows(2).zip(out) {
        let entries = ids[row[0]..row[1]].iter().zip(&values[row[0]..row[1]]);
        let z = entries.fold(0.0f32, |sum, (&id, &x)| sum + weight[id as usize] * x) + bias;
        *out = 1.0 / (1.0 + (-z).exp());
    }
}

fn predict(c: &mut Criterion) {
    let mut random = Random::new(3).with_values(Distribution::Uniform(-1.0, 1.0));
    let weight = random.dense::<f32>([FEATURES, 1]).expect("weights");
    let bias = Tensor::full([1], 0.1f32).expect("a bias");
    let mut group = c.benchmark_group("predict");
    for rows in [1, 1024] {
        // More rows than caches hold, a window of them at a time.
        let all = random
            .csr_rows::<f32>([64 * rows, FEATURES], PER_ROW, Popularity::PowerLaw(1.1))
            .expect("rows");
        let (ids, values) = (all.indices().expect("csr"), all.values::<f32>().expect("f32"));
        let indptr: Vec<usize> = (0..=rows).map(|row| row * PER_ROW).collect();
        let window = |n: usize| n % 64 * rows * PER_ROW..(n % 64 + 1) * rows * PER_ROW;
        let mut executor = model(rows, &weight, &bias);
        let mut n = 0;
        group.bench_function(BenchmarkId::new("frozen", rows), |b| {
            b.iter(|| {
                n += 1;
                let (ids, values) = (&ids[window(n)], &values[window(n)]);
                executor.feed_csr("x", &indptr, ids, values).expect("a request");
                executor.forward(false).expect("a prediction");
                black_box(executor.output(0).expect("probabilities"));
            });
        });
        let (w, mut out) = (weight.values::<f32>().expect("f32"), vec![0.0f32; rows]);
        group.bench_function(BenchmarkId::new("floor", rows), |b| {
            b.iter(|| {
                n += 1;
                floor(&indptr, &ids[window(n)], &values[window(n)], w, 0.1, &mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, predict);
criterion_main!(benches);
