//! One training step of logistic regression (tape, forward, loss, backward, lazy SGD) on tables of
//! 10^4 to 10^8 features: the cost follows the batch, not the table.
//!
//!     cargo bench --bench step
//!
//! Columns are power-law (Zipf 1.1), 40 a row. Batches are drawn from a cycle, so that their columns
//! are not in the cache from the step before; "seen" batches keep their column order from an earlier
//! epoch, "new" ones do not.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sparsetape::optim::Sgd;
use sparsetape::random::{Popularity, Random};
use sparsetape::{DType, Gradients, Parameter, Params, Stype, Tape, Tensor};

const ENTRIES: usize = 40;

const WARM_UP: Duration = Duration::from_millis(200);
const MEASURE: Duration = Duration::from_millis(800);

struct Job {
    weight: Parameter,
    params: Params,
    sgd: Sgd,
    tape: Tape,
    gradients: Gradients,
}

impl Job {
    fn new(features: usize) -> sparsetape::Result<Job> {
        let zeros = Tensor::zeros(Stype::Default, [features, 1], DType::F32)?;
        let weight = Parameter::new("weight", zeros)?;
        let params = Params::new([&weight])?;
        let sgd = Sgd::new(0.01);
        Ok(Job { weight, params, sgd, tape: Tape::new(), gradients: Gradients::default() })
    }

    fn step(&mut self, x: Tensor, labels: &Tensor) -> sparsetape::Result<f32> {
        self.tape.clear();
        let tape = &self.tape;
        let logits = tape.constant(x).dot(tape.parameter(&self.weight));
        let loss = logits.sigmoid_binary_cross_entropy(tape.constant(labels.clone()));
        loss.backward_into(&mut self.gradients)?;
        self.sgd.step(&self.params, &self.gradients)?;
        loss.item()
    }
}

/// All rows in one matrix; batches are windows of it.
fn rows(features: usize, rows: usize) -> sparsetape::Result<(Tensor, Tensor)> {
    let popularity = Popularity::ScatteredPowerLaw(1.1);
    let x = Random::new(1).csr_rows::<f32>([rows, features], ENTRIES, popularity)?;
    let labels =
        Tensor::dense([rows, 1], (0..rows).map(|i| (i % 3 == 0) as u8 as f32).collect::<Vec<_>>())?;
    Ok((x, labels))
}

fn step(c: &mut Criterion) {
    for batch in [16, 1024, 8192] {
        let mut group = c.benchmark_group(format!("logistic step, batch {batch}"));
        group.throughput(Throughput::Elements((batch * ENTRIES) as u64));
        for features in [10_000, 1_000_000, 100_000_000] {
            let count = (262_144 / batch).clamp(8, 64);
            let (x, y) = rows(features, batch * count).expect("rows");
            let window =
                |x: &Tensor, i: usize| x.rows_window(i * batch, (i + 1) * batch).expect("window");
            let mut job = Job::new(features).expect("a job");
            let kept: Vec<_> = (0..count).map(|i| (window(&x, i), window(&y, i))).collect();
            kept.iter().for_each(|(x, y)| drop(job.step(x.clone(), y)));
            let mut next = 0..;
            let mut turn = move || next.next().unwrap_or(0) % count;
            group.bench_function(BenchmarkId::new("seen", features), |b| {
                b.iter(|| {
                    let (x, y) = &kept[turn()];
                    black_box(job.step(x.clone(), y)).expect("a step")
                });
            });
            group.bench_function(BenchmarkId::new("new", features), |b| {
                b.iter(|| {
                    let i = turn();
                    black_box(job.step(window(&x, i), &kept[i].1)).expect("a step")
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(WARM_UP).measurement_time(MEASURE);
    targets = step
}
criterion_main!(benches);
