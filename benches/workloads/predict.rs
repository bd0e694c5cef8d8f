//! Predictions of a frozen logistic model: one row of 40 features, and 1024 rows, out of 10^6 columns.

use std::hint::black_box;

use sparsetape::random::{Distribution, Popularity, Random};
use sparsetape::{Bind, Executor, Graph, Stype, Tape, Tensor, Var, variable};

use super::{Case, FLOOR, FROZEN, Size, Visit};

const FEATURES: usize = 1_000_000;
const PER_ROW: usize = 40;

/// Requests, one after the other, before they come again.
const REQUESTS: usize = 64;

pub fn cases(size: Size, visit: Visit) {
    let mut random = Random::new(3).with_values(Distribution::Uniform(-1.0, 1.0));
    let weight = random.dense::<f32>([FEATURES, 1]).expect("weights");
    let bias = Tensor::full([1], 0.1f32).expect("a bias");
    let batches: &[usize] = if size == Size::Full { &[1, 1024] } else { &[1, 4] };
    for &rows in batches {
        let popular = Popularity::PowerLaw(1.1);
        let all =
            random.csr_rows::<f32>([REQUESTS * rows, FEATURES], PER_ROW, popular).expect("rows");
        let requests = Requests::new(&all, rows);
        let mut executor = model(rows, &weight, &bias);
        let mut own = requests.clone();
        let frozen = move || {
            let (indptr, ids, values) = own.next();
            executor.run_csr("x", indptr, ids, values).expect("a prediction");
            black_box(executor.output(0).expect("probabilities"));
        };
        let (mut own, weight) = (requests, weight.clone());
        let mut out = vec![0.0f32; rows];
        let floor = move || {
            let (indptr, ids, values) = own.next();
            let weight = weight.values::<f32>().expect("f32");
            predict(indptr, ids, values, weight, 0.1, &mut out);
            black_box(&out);
        };
        let rows_of = if rows == 1 { "row" } else { "rows" };
        visit(
            Case::new(format!("predict, {rows} {rows_of}"), "request", 1)
                .with(FROZEN, frozen)
                .with(FLOOR, floor),
        );
    }
}

/// Windows of so many rows, one after the other.
#[derive(Clone)]
struct Requests {
    indptr: Vec<usize>,
    ids: Vec<u32>,
    values: Vec<f32>,
    next: usize,
}

impl Requests {
    fn new(all: &Tensor, rows: usize) -> Self {
        Requests {
            indptr: (0..=rows).map(|row| row * PER_ROW).collect(),
            ids: all.indices().expect("csr").to_vec(),
            values: all.values().expect("f32").to_vec(),
            next: 0,
        }
    }

    fn next(&mut self) -> (&[usize], &[u32], &[f32]) {
        let entries = (self.indptr.len() - 1) * PER_ROW;
        self.next = (self.next + 1) % REQUESTS;
        let window = self.next * entries..(self.next + 1) * entries;
        (&self.indptr, &self.ids[window.clone()], &self.values[window])
    }
}

fn model(rows: usize, weight: &Tensor, bias: &Tensor) -> Executor {
    let tape = Tape::symbolic();
    let named =
        |name, value: &Tensor| -> Var<'_> { tape.symbol(variable(name).shape(value.shape())) };
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(FEATURES)]));
    let p = (x.dot(named("weight", weight)) + named("bias", bias)).sigmoid();
    let graph = Graph::new(&[p]).expect("a graph");
    let bind = Bind::from([("weight", weight), ("bias", bias)]).shape("x", [rows, FEATURES]);
    graph.bind(bind).expect("an executor")
}

/// The floor: nothing is checked but that an id is below the number of weights, as Rust does; four sums a
/// row, so that none waits for another.
fn predict(
    indptr: &[usize],
    ids: &[u32],
    values: &[f32],
    weight: &[f32],
    bias: f32,
    out: &mut [f32],
) {
    for (row, out) in indptr.windows(2).zip(out) {
        let ids = ids[row[0]..row[1]].chunks_exact(4);
        let values = values[row[0]..row[1]].chunks_exact(4);
        let product = |(&id, &x): (&u32, &f32)| weight[id as usize] * x;
        let rest = ids.remainder().iter().zip(values.remainder()).map(product);
        let mut sums = [rest.sum::<f32>(), 0.0, 0.0, 0.0];
        for (ids, values) in ids.zip(values) {
            let products = ids.iter().zip(values).map(product);
            sums.iter_mut().zip(products).for_each(|(sum, x)| *sum += x);
        }
        let z = (sums[0] + sums[1]) + (sums[2] + sums[3]) + bias;
        *out = 1.0 / (1.0 + (-z).exp());
    }
}
