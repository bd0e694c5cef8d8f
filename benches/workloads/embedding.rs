//! Steps of an embedding: look-ups, and updates of the rows looked up.

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use sparsetape::optim::{AdaGrad, Adam, Optimizer, Sgd};
use sparsetape::random::{Random, Zipf};
use sparsetape::{Bind, Gradients, Graph, Parameter, Params, Tape, Tensor, variable};

use super::floors::{Loop, Table, prefetch, row, row_mut, weight, weights, wide};
use super::{Case, EAGER, FLOOR, FROZEN, Size, Visit};

/// Numbers of a row.
const K: usize = 64;

const RATE: f32 = 1e-3;
const EPSILON: f32 = 1e-7;

#[derive(Clone, Copy)]
enum Rule {
    Sgd,
    AdaGrad,
    Adam,
}

pub fn cases(size: Size, visit: Visit) {
    let (rows, look_ups, batches) = match size {
        Size::Full => (10_000_000, 1 << 16, 16),
        Size::Test => (1000, 256, 2),
    };
    let ids = Ids::new(rows, look_ups, batches);
    for (rule, name) in [(Rule::Sgd, "SGD"), (Rule::AdaGrad, "AdaGrad"), (Rule::Adam, "Adam")] {
        let name = format!("embedding {rows} × {K}, {look_ups} look-ups, {name}");
        let table = Parameter::new("table", weights([rows, K])).expect("a parameter");
        // One optimizer: what it keeps is as large as the table.
        let optimizer = Arc::new(Mutex::new(optimizer(rule)));
        let case = Case::new(name, "look-up", look_ups)
            .with(FLOOR, Floor::new(ids.clone(), rows, rule).run())
            .with(EAGER, eager(ids.clone(), table.clone(), optimizer.clone()))
            .with(FROZEN, frozen(ids.clone(), table, optimizer));
        visit(case);
    }
}

/// Batches of ids, one after the other, over and over.
#[derive(Clone)]
struct Ids {
    batches: Vec<Tensor>,
    next: usize,
}

impl Ids {
    /// Popular ones are anywhere in the table.
    fn new(rows: usize, look_ups: usize, batches: usize) -> Ids {
        let (zipf, mut random) = (Zipf::new(rows, 1.1).expect("a law"), Random::new(1));
        let mut id = |_| i64::from(zipf.sample(&mut random)) * 7_368_787 % rows as i64;
        let mut batch = || (0..look_ups).map(&mut id).collect::<Vec<i64>>();
        let tensor = |ids| Tensor::dense([look_ups], ids).expect("ids");
        Ids { batches: (0..batches).map(|_| tensor(batch())).collect(), next: 0 }
    }

    fn next(&mut self) -> &Tensor {
        let at = self.next;
        self.next = (at + 1) % self.batches.len();
        &self.batches[at]
    }
}

type Shared = Arc<Mutex<Box<dyn Optimizer + Send>>>;

fn optimizer(rule: Rule) -> Box<dyn Optimizer + Send> {
    match rule {
        Rule::Sgd => Box::new(Sgd::new(RATE as f64)),
        Rule::AdaGrad => Box::new(AdaGrad::new(RATE as f64).epsilon(EPSILON as f64)),
        Rule::Adam => Box::new(Adam::new(RATE as f64).epsilon(EPSILON as f64)),
    }
}

/// What the layers above an embedding send back.
fn cotangent(look_ups: usize) -> Tensor {
    weights([look_ups, K])
}

fn eager(mut ids: Ids, table: Parameter, optimizer: Shared) -> impl FnMut() + Send {
    let params = Params::new([&table]).expect("parameters");
    let dy = cotangent(ids.batches[0].shape()[0]);
    let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
    move || {
        tape.clear();
        let y = tape.parameter(&table).take(tape.constant(ids.next().clone()));
        black_box(y.value().expect("rows"));
        y.backward_with_into(&dy, &mut gradients).expect("gradients");
        optimizer.lock().expect("the optimizer").step(&params, &gradients).expect("a step");
    }
}

fn frozen(mut ids: Ids, table: Parameter, optimizer: Shared) -> impl FnMut() + Send {
    let dy = cotangent(ids.batches[0].shape()[0]);
    let tape = Tape::symbolic();
    let y = tape.parameter(&table).take(tape.symbol(variable("ids"))).named("y");
    let graph = Graph::new(&[y]).expect("a graph");
    let output = graph.list_outputs()[0].clone();
    let bind = Bind::new().parameter(&table).tensor("ids", ids.next().clone());
    let mut executor = graph.bind(bind.train()).expect("an executor");
    move || {
        executor.feed(&[("ids", ids.next())]).expect("ids");
        executor.forward(true).expect("rows");
        black_box(executor.output(0).expect("rows"));
        executor.backward_with(&[(&output, &dy)]).expect("gradients");
        executor.step(&mut **optimizer.lock().expect("the optimizer")).expect("a step");
    }
}

/// A step by hand: ids are sorted, the rows of each summed in registers, and its row moved at once.
struct Floor {
    ids: Ids,
    rule: Rule,
    table: Table,
    states: [Table; 2],
    dy: Table,
    out: Table,
    order: [Vec<u64>; 2],
    steps: i32,
}

impl Floor {
    fn new(ids: Ids, rows: usize, rule: Rule) -> Floor {
        let look_ups = ids.batches[0].shape()[0];
        let states = match rule {
            Rule::Sgd => [0, 0],
            Rule::AdaGrad => [rows, 0],
            Rule::Adam => [rows, rows],
        };
        Floor {
            ids,
            rule,
            table: Table::new((0..rows * K).map(weight)),
            states: states.map(|rows| Table::zeros(rows * K)),
            dy: Table::new((0..look_ups * K).map(weight)),
            out: Table::zeros(look_ups * K),
            order: [vec![0; look_ups], vec![0; look_ups]],
            steps: 0,
        }
    }

    fn run(mut self) -> impl FnMut() + Send {
        move || wide(Step(&mut self))
    }
}

struct Step<'a>(&'a mut Floor);

impl Loop for Step<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.step();
    }
}

/// How many rows ahead memory is asked for.
const AHEAD: usize = 8;

impl Floor {
    #[inline(always)]
    fn step(&mut self) {
        self.steps += 1;
        let ids = self.ids.next().values::<i64>().expect("ids");
        let table = self.table.slice();
        for (n, (&id, out)) in ids.iter().zip(self.out.slice_mut().chunks_exact_mut(K)).enumerate()
        {
            let ahead = ids.get(n + AHEAD).copied().unwrap_or(0);
            prefetch::<K>(table, ahead as usize * K);
            // SAFETY: ids are below the number of rows.
            out.copy_from_slice(unsafe { row::<K>(table, id as usize * K) });
            self.order[0][n] = (id as u64) << 32 | n as u64;
        }
        black_box(self.out.slice());
        let [order, spare] = &mut self.order;
        sort(order, spare, 32);
        sort(spare, order, 44);
        let power = |beta: f32| 1.0 - beta.powi(self.steps);
        let rate = RATE * power(0.999).sqrt() / power(0.9);
        match self.rule {
            Rule::Sgd => self.merge::<0>(|w, _, _, g| {
                for l in 0..K {
                    w[l] -= RATE * g[l];
                }
            }),
            Rule::AdaGrad => self.merge::<1>(|w, h, _, g| {
                for l in 0..K {
                    h[l] += g[l] * g[l];
                    w[l] -= RATE * (g[l] / (h[l] + EPSILON).sqrt());
                }
            }),
            Rule::Adam => self.merge::<2>(|w, m, v, g| {
                for l in 0..K {
                    m[l] = 0.9 * m[l] + 0.1 * g[l];
                    v[l] = 0.999 * v[l] + 0.001 * (g[l] * g[l]);
                    w[l] -= rate * (m[l] / (v[l].sqrt() + EPSILON));
                }
            }),
        }
    }

    /// Moves each row, and its `N` states, by the sum of its cotangents.
    #[inline(always)]
    fn merge<const N: usize>(
        &mut self,
        rule: impl Fn(&mut [f32; K], &mut [f32; K], &mut [f32; K], &[f32; K]),
    ) {
        let (order, dy) = (&self.order[0], self.dy.slice());
        let [first, second] = &mut self.states;
        let (first, second, mut none) = (first.slice_mut(), second.slice_mut(), [[0f32; K]; 2]);
        let (table, mut n) = (self.table.slice_mut(), 0);
        while n < order.len() {
            let id = (order[n] >> 32) as usize;
            let mut sum = [0f32; K];
            while n < order.len() && (order[n] >> 32) as usize == id {
                let key = order.get(n + AHEAD).copied().unwrap_or(0);
                let ahead = (key >> 32) as usize * K;
                prefetch::<K>(dy, key as u32 as usize * K);
                prefetch::<K>(table, ahead);
                if N > 0 {
                    prefetch::<K>(first, ahead);
                }
                if N > 1 {
                    prefetch::<K>(second, ahead);
                }
                // SAFETY: there is a cotangent for each look-up.
                let own = unsafe { row::<K>(dy, order[n] as u32 as usize * K) };
                for l in 0..K {
                    sum[l] += own[l];
                }
                n += 1;
            }
            let [one, two] = &mut none;
            // SAFETY: ids are below the number of rows, which states have as many of.
            let (w, m, v) = unsafe {
                (
                    row_mut::<K>(table, id * K),
                    if N > 0 { row_mut::<K>(first, id * K) } else { one },
                    if N > 1 { row_mut::<K>(second, id * K) } else { two },
                )
            };
            rule(w, m, v, &sum);
        }
    }
}

/// Sorts by 12 bits, in the order that there is among equals.
#[inline(always)]
fn sort(from: &[u64], to: &mut [u64], shift: u32) {
    let digit = |key: u64| (key >> shift) as usize % 4096;
    let mut starts = [0u32; 4096];
    for &key in from {
        starts[digit(key)] += 1;
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += std::mem::replace(start, sum);
    }
    for &key in from {
        let start = &mut starts[digit(key)];
        to[*start as usize] = key;
        *start += 1;
    }
}
