//! Steps of logistic regression: forward, loss, backward, lazy SGD.
//!
//! Batches are windows of a matrix larger than the caches. "New" ones are seen for the first time; of "seen" ones
//! the order of columns is kept from an epoch before.

use std::sync::Arc;

use sparsetape::optim::Sgd;
use sparsetape::random::Popularity;
use sparsetape::{
    Bind, DType, Executor, Gradients, Graph, Parameter, Params, Stype, Tape, Tensor, variable,
};

use super::floors::{Loop, PER_ROW, Table, matrix, prefetch, wide};
use super::merged::Merged;
use super::{Case, EAGER, FLOOR, FROZEN, Size, Visit};

const RATE: f32 = 0.01;

pub fn cases(size: Size, visit: Visit) {
    let sizes: &[usize] = match size {
        Size::Full => &[10_000, 100_000, 1_000_000, 10_000_000, 100_000_000],
        Size::Test => &[10_000],
    };
    for &features in sizes {
        let zipf = ("Zipf", Popularity::ScatteredPowerLaw(1.1));
        let both = [zipf, ("uniform", Popularity::Uniform)];
        let laws = if features == 1_000_000 { &both[..] } else { &both[..1] };
        let batches: &[usize] = match size {
            Size::Full if features == 100_000_000 => &[16, 1024, 8192],
            Size::Full => &[1024, 8192],
            Size::Test => &[16],
        };
        for &(law, popularity) in laws {
            for &batch in batches {
                let data = Arc::new(Data::new(features, batch, popularity));
                for seen in [false, true] {
                    visit(case(&data, law, seen));
                }
            }
        }
    }
}

/// All rows in one matrix; batches are windows of it.
struct Data {
    x: Tensor,
    y: Tensor,
    features: usize,
    batch: usize,
    count: usize,
}

impl Data {
    fn new(features: usize, batch: usize, popularity: Popularity) -> Self {
        let count = (262_144 / batch).clamp(8, 1024);
        let rows = batch * count;
        let x = matrix(rows, features, popularity);
        let labels: Vec<f32> = (0..rows).map(|i| (i % 3 == 0) as u8 as f32).collect();
        let y = Tensor::dense([rows, 1], labels).expect("labels");
        Data { x, y, features, batch, count }
    }

    fn window(&self, i: usize) -> (Tensor, Tensor) {
        let (first, end) = (i * self.batch, (i + 1) * self.batch);
        let cut = |t: &Tensor| t.rows_window(first, end).expect("a window");
        (cut(&self.x), cut(&self.y))
    }
}

/// The batches of epochs, one after the other.
struct Epochs {
    data: Arc<Data>,
    kept: Option<Vec<(Tensor, Tensor)>>,
    next: usize,
}

impl Epochs {
    fn new(data: &Arc<Data>, seen: bool) -> Self {
        let kept = seen.then(|| (0..data.count).map(|i| data.window(i)).collect());
        Epochs { data: data.clone(), kept, next: 0 }
    }

    fn next(&mut self) -> (Tensor, Tensor) {
        let i = self.next % self.data.count;
        self.next += 1;
        self.kept.as_ref().map_or_else(|| self.data.window(i), |kept| kept[i].clone())
    }
}

fn case(data: &Arc<Data>, law: &str, seen: bool) -> Case {
    let Data { features, batch, count, .. } = **data;
    let columns = if seen { "seen" } else { "new" };
    let name = format!("logistic step, N = {features:.0e}, B = {batch}, {law}, {columns}");
    let epochs = || Epochs::new(data, seen);
    let (mut eager, mut batches) = (Eager::new(features), epochs());
    let mut frozen: (Option<Frozen>, Epochs) = (None, epochs());
    let (mut by_hand, mut n) = (ByHand::new(data, seen), 0);
    // The first epoch fills what caches patterns, and touches the tables' pages.
    for _ in 0..count {
        eager.step(batches.next());
        let batch = frozen.1.next();
        frozen.0.get_or_insert_with(|| Frozen::new(features, &batch)).step(batch);
    }
    Case::new(name, "entry", batch * PER_ROW)
        .with(FLOOR, move || {
            n += 1;
            by_hand.step(n % count);
        })
        .with(EAGER, move || eager.step(batches.next()))
        .with(FROZEN, move || {
            let batch = frozen.1.next();
            frozen.0.get_or_insert_with(|| Frozen::new(features, &batch)).step(batch);
        })
}

fn weight(features: usize) -> Parameter {
    let zeros = Tensor::zeros(Stype::Default, [features, 1], DType::F32).expect("zeros");
    Parameter::new("weight", zeros).expect("a parameter")
}

struct Eager {
    weight: Parameter,
    params: Params,
    sgd: Sgd,
    tape: Tape,
    gradients: Gradients,
}

impl Eager {
    fn new(features: usize) -> Self {
        let weight = weight(features);
        let params = Params::new([&weight]).expect("parameters");
        let sgd = Sgd::new(RATE as f64);
        Eager { weight, params, sgd, tape: Tape::new(), gradients: Gradients::default() }
    }

    fn step(&mut self, (x, y): (Tensor, Tensor)) {
        self.tape.clear();
        let tape = &self.tape;
        let logits = tape.constant(x).dot(tape.parameter(&self.weight));
        let loss = logits.sigmoid_binary_cross_entropy(tape.constant(y));
        loss.backward_into(&mut self.gradients).expect("gradients");
        self.sgd.step(&self.params, &self.gradients).expect("a step");
        loss.item::<f32>().expect("a loss");
    }
}

struct Frozen {
    executor: Executor,
    sgd: Sgd,
}

impl Frozen {
    fn new(features: usize, (x, y): &(Tensor, Tensor)) -> Self {
        let tape = Tape::symbolic();
        let data = variable("x").stype(Stype::Csr).shape([None, Some(features)]);
        let weight = weight(features);
        let w = tape.symbol(variable("weight").shape([features, 1]));
        let label = tape.symbol(variable("y").shape([None, Some(1)]));
        let loss = tape.symbol(data).dot(w).sigmoid_binary_cross_entropy(label);
        let graph = Graph::new(&[loss]).expect("a graph");
        let bind = Bind::new().parameter(&weight).tensor("x", x.clone()).tensor("y", y.clone());
        let executor = graph.bind(bind.train()).expect("an executor");
        Frozen { executor, sgd: Sgd::new(RATE as f64) }
    }

    fn step(&mut self, (x, y): (Tensor, Tensor)) {
        self.executor.feed(&[("x", &x), ("y", &y)]).expect("a batch");
        self.executor.backward_into(&mut self.sgd).expect("a step");
        self.executor.output(0).expect("a loss");
    }
}

/// The step in one piece: rows of weights that occur are copied to a compact buffer, in which rows look up
/// and gradients add up; the table is read and written once per row that occurs.
struct ByHand {
    data: Arc<Data>,
    table: Table,
    merged: Merged,
    /// Of the batches of an epoch before.
    kept: Option<Vec<(Vec<u32>, Vec<u32>)>>,
    compact: Vec<f32>,
    gradient: Vec<f32>,
    slopes: Vec<f32>,
}

impl ByHand {
    fn new(data: &Arc<Data>, seen: bool) -> Self {
        let mut merged = Merged::default();
        let ids = data.x.indices().expect("csr");
        let per_batch = data.batch * PER_ROW;
        let kept = seen.then(|| {
            let batches = ids.chunks(per_batch);
            let merge = |ids: &[u32]| {
                merged.merge(ids, data.features);
                (merged.distinct.clone(), merged.slots.clone())
            };
            batches.map(merge).collect()
        });
        let (compact, gradient) = (vec![0.0; per_batch], vec![0.0; per_batch]);
        let slopes = vec![0.0; data.batch];
        let table = Table::zeros(data.features);
        Self { data: data.clone(), table, merged, kept, compact, gradient, slopes }
    }

    fn step(&mut self, i: usize) {
        let per_batch = self.data.batch * PER_ROW;
        let entries = i * per_batch..(i + 1) * per_batch;
        let x = &self.data.x.values::<f32>().expect("f32")[entries.clone()];
        let rows = i * self.data.batch..(i + 1) * self.data.batch;
        let y = &self.data.y.values::<f32>().expect("f32")[rows];
        let (distinct, slots) = match &self.kept {
            Some(kept) => (&kept[i].0, &kept[i].1),
            None => {
                let ids = &self.data.x.indices().expect("csr")[entries];
                self.merged.merge(ids, self.data.features);
                (&self.merged.distinct, &self.merged.slots)
            }
        };
        let Self { table, compact, gradient, slopes, .. } = self;
        let (compact, gradient) = (&mut compact[..distinct.len()], &mut gradient[..distinct.len()]);
        let table = table.slice_mut();
        wide(Step { x, y, distinct, slots, table, compact, gradient, slopes });
    }
}

struct Step<'a> {
    x: &'a [f32],
    y: &'a [f32],
    distinct: &'a [u32],
    slots: &'a [u32],
    table: &'a mut [f32],
    compact: &'a mut [f32],
    gradient: &'a mut [f32],
    slopes: &'a mut [f32],
}

impl Loop for Step<'_> {
    #[inline(always)]
    fn run(self) {
        let Step { x, y, distinct, slots, table, compact, gradient, slopes } = self;
        for (n, (&id, to)) in distinct.iter().zip(compact.iter_mut()).enumerate() {
            if let Some(&ahead) = distinct.get(n + 32) {
                prefetch::<1>(table, ahead as usize);
            }
            *to = table[id as usize];
        }
        let rows = || x.chunks_exact(PER_ROW).zip(slots.chunks_exact(PER_ROW));
        for (slope, (x, slots)) in slopes.iter_mut().zip(rows()) {
            let mut sums = [0.0f32; 4];
            for (x, slots) in x.chunks_exact(4).zip(slots.chunks_exact(4)) {
                for l in 0..4 {
                    // SAFETY: slots are places in the compact rows.
                    sums[l] += x[l] * unsafe { *compact.get_unchecked(slots[l] as usize) };
                }
            }
            *slope = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        }
        let scale = 1.0 / y.len() as f32;
        for (slope, &y) in slopes.iter_mut().zip(y) {
            *slope = (sigmoid(*slope) - y) * scale;
        }
        gradient.fill(0.0);
        for (&slope, (x, slots)) in slopes.iter().zip(rows()) {
            for (&x, &slot) in x.iter().zip(slots) {
                // SAFETY: as above.
                unsafe { *gradient.get_unchecked_mut(slot as usize) += x * slope };
            }
        }
        let moved = distinct.iter().zip(compact).zip(gradient);
        for (n, ((&id, w), g)) in moved.enumerate() {
            if let Some(&ahead) = distinct.get(n + 32) {
                prefetch::<1>(table, ahead as usize);
            }
            table[id as usize] = *w - RATE * *g;
        }
    }
}

/// 1 / (1 + e⁻ˣ) to some 1e-7 of the result, by 2ⁿ · p(r), without a branch.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let x = (-x).clamp(-80.0, 80.0);
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
    let r = x - n * std::f32::consts::LN_2;
    let p = [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let p = p.into_iter().fold(1.0f32 / 720.0, |sum, c| sum * r + c);
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    1.0 / (1.0 + p * power)
}
