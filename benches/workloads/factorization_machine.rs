//! Steps of a factorization machine.

use std::hint::black_box;

use sparsetape::optim::Sgd;
use sparsetape::random::Popularity;
use sparsetape::{Bind, Gradients, Graph, Parameter, Params, Stype, Tape, Tensor, Var, variable};

use super::floors::{
    Loop, PER_ROW, Ranks, Table, Windows, matrix, prefetch, row, row_mut, weight, weights, wide,
};
use super::{Case, EAGER, FLOOR, FROZEN, Size, Visit};

/// Factors of a feature.
const K: usize = 16;

/// Small, so that weights stay finite however many steps are made.
const RATE: f32 = 1e-3;

pub fn cases(size: Size, visit: Visit) {
    let (total, shapes): (usize, &[[usize; 2]]) = match size {
        Size::Full => (
            1 << 18,
            &[[1024, 1_000_000], [8192, 1_000_000], [1024, 10_000_000], [8192, 10_000_000]],
        ),
        Size::Test => (128, &[[64, 1000]]),
    };
    for &[rows, cols] in shapes {
        let x = matrix(total, cols, Popularity::ScatteredPowerLaw(1.1));
        for (windows, seen) in [
            (Windows::new as fn(&Tensor, usize) -> Windows, "new windows"),
            (Windows::kept, "windows seen before"),
        ] {
            let name = format!("factorization machine, {rows} × {cols} · {K}, {seen}");
            let machine = Machine::new(cols);
            let floor = Floor::new(windows(&x, rows), cols);
            let case = Case::new(name, "entry", rows * PER_ROW);
            let case = case.with(FLOOR, floor.run());
            let case = case.with(EAGER, machine.eager(windows(&x, rows)));
            visit(case.with(FROZEN, machine.frozen(windows(&x, rows))));
        }
    }
}

struct Machine {
    bias: Parameter,
    weight: Parameter,
    factors: Parameter,
    params: Params,
}

impl Machine {
    fn new(cols: usize) -> Machine {
        let parameter = |name, value| Parameter::new(name, value).expect("a parameter");
        let bias = parameter("bias", Tensor::full([1], 0.0f32).expect("a bias"));
        let weight = parameter("weight", weights([cols, 1]));
        let factors = parameter("factors", weights([cols, K]));
        let params = Params::new([&bias, &weight, &factors]).expect("parameters");
        Machine { bias, weight, factors, params }
    }

    fn loss<'t>(&self, tape: &'t Tape, x: Var<'t>, labels: Var<'t>) -> Var<'t> {
        let pairs = x.pair_interactions(tape.parameter(&self.factors));
        let z = x.dot(tape.parameter(&self.weight)) + tape.parameter(&self.bias) + pairs;
        z.sigmoid_binary_cross_entropy(labels)
    }

    /// Windows that stay have been seen once when it is first measured.
    fn eager(&self, mut windows: Windows) -> impl FnMut() + Send + 'static {
        let machine = Machine {
            bias: self.bias.clone(),
            weight: self.weight.clone(),
            factors: self.factors.clone(),
            params: self.params.clone(),
        };
        let labels = labels(windows.rows());
        let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
        let mut sgd = Sgd::new(RATE as f64);
        let kept = windows.all_kept();
        let mut step = move || {
            tape.clear();
            let (x, labels) = (tape.constant(windows.next()), tape.constant(labels.clone()));
            let loss = machine.loss(&tape, x, labels);
            loss.backward_into(&mut gradients).expect("gradients");
            sgd.step(&machine.params, &gradients).expect("a step");
            black_box(loss.item::<f32>().expect("a loss"));
        };
        kept.for_each(|_| step());
        step
    }

    /// As [`Machine::eager`].
    fn frozen(&self, mut windows: Windows) -> impl FnMut() + Send + 'static {
        let tape = Tape::symbolic();
        let cols = Some(windows.cols());
        let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, cols]));
        let y = tape.symbol(variable("y").shape([None]));
        let graph = Graph::new(&[self.loss(&tape, x, y)]).expect("a graph");
        let (first, labels) = (windows.next(), labels(windows.rows()));
        let bind = Bind::new().params(&self.params).tensor("x", first).tensor("y", labels);
        let mut executor = graph.bind(bind.train()).expect("an executor");
        let mut sgd = Sgd::new(RATE as f64);
        let kept = windows.all_kept();
        let mut step = move || {
            executor.feed(&[("x", &windows.next())]).expect("a batch");
            executor.backward_into(&mut sgd).expect("a step");
            black_box(executor.output(0).expect("a loss"));
        };
        kept.for_each(|_| step());
        step
    }
}

#[inline(always)]
fn label(row: usize) -> f32 {
    (row % 2) as f32
}

fn labels(rows: usize) -> Tensor {
    Tensor::dense([rows], (0..rows).map(label).collect::<Vec<f32>>()).expect("labels")
}

/// The columns of a window in order, and the entries of each: row and value.
struct Order {
    distinct: Vec<u32>,
    ends: Vec<u32>,
    entries: Vec<(u32, f32)>,
}

impl Order {
    fn new((ids, values): (&[u32], &[f32])) -> Order {
        let mut by_column: Vec<u32> = (0..ids.len() as u32).collect();
        by_column.sort_by_key(|&e| ids[e as usize]);
        let mut order = Order { distinct: Vec::new(), ends: Vec::new(), entries: Vec::new() };
        for e in by_column {
            if order.distinct.last() != Some(&ids[e as usize]) {
                order.distinct.push(ids[e as usize]);
                order.ends.push(0);
            }
            order.entries.push((e / PER_ROW as u32, values[e as usize]));
            let last = order.ends.len() - 1;
            order.ends[last] = order.entries.len() as u32;
        }
        order
    }
}

/// A step by hand: gradients are merged into sorted unique rows, by slots or, where the order of a
/// window's columns is known, column by column in registers.
struct Floor {
    windows: Windows,
    orders: Vec<Order>,
    bias: f32,
    weight: Table,
    factors: Table,
    ranks: Ranks,
    distinct: Vec<u32>,
    slots: Vec<u32>,
    /// Of each distinct column: the gradient of its factors but for what follows from
    /// themselves, that of its weight, and the sum of the squares.
    sums: Table,
    linear: Table,
    squares: Table,
    /// Of each row: sums of factors times the derivative, and the derivative.
    rows: Table,
    slopes: Table,
}

#[inline(always)]
fn times(mut row: [f32; K], by: f32) -> [f32; K] {
    for x in &mut row {
        *x *= by;
    }
    row
}

impl Floor {
    fn new(windows: Windows, cols: usize) -> Floor {
        let (rows, entries) = (windows.rows(), windows.rows() * PER_ROW);
        let orders = windows.all_kept().map(|at| Order::new(windows.entries(at))).collect();
        Floor {
            windows,
            orders,
            bias: 0.0,
            weight: Table::new((0..cols).map(weight)),
            factors: Table::new((0..cols * K).map(weight)),
            ranks: Ranks::new(cols),
            distinct: Vec::with_capacity(entries),
            slots: vec![0; entries],
            sums: Table::zeros(entries * K),
            linear: Table::zeros(entries),
            squares: Table::zeros(entries),
            rows: Table::zeros(rows * K),
            slopes: Table::zeros(rows),
        }
    }

    fn run(mut self) -> impl FnMut() + Send {
        move || wide(Step(&mut self))
    }

    /// The sum of a row's factors, and the derivative of its loss, which is added to `loss`.
    #[inline(always)]
    fn forward(&self, n: usize, ids: &[u32], values: &[f32], loss: &mut f32) -> ([f32; K], f32) {
        const AHEAD: usize = 20;
        let (weight, factors) = (self.weight.slice(), self.factors.slice());
        let (mut z, mut sums, mut squares) = (self.bias, [0f32; K], [0f32; K]);
        let entries = n * PER_ROW..(n + 1) * PER_ROW;
        for e in entries {
            let ahead = ids.get(e + AHEAD).copied().unwrap_or(0) as usize;
            prefetch::<1>(weight, ahead);
            prefetch::<K>(factors, ahead * K);
            let (id, x) = (ids[e] as usize, values[e]);
            // SAFETY: ids are below the number of rows of the table.
            let v = unsafe { row::<K>(factors, id * K) };
            z += x * weight[id];
            for f in 0..K {
                let part = x * v[f];
                sums[f] += part;
                squares[f] += part * part;
            }
        }
        let mut pairs = 0.0;
        for f in 0..K {
            pairs += sums[f] * sums[f] - squares[f];
        }
        z += 0.5 * pairs;
        let small = (-z.abs()).exp();
        *loss += z.max(0.0) + small.ln_1p() - label(n) * z;
        let p = if z < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
        (sums, (p - label(n)) / self.windows.rows() as f32)
    }
}

struct Step<'a>(&'a mut Floor);

impl Loop for Step<'_> {
    #[inline(always)]
    fn run(self) {
        let floor = self.0;
        let at = floor.windows.step();
        match floor.orders.is_empty() {
            true => floor.by_slots(at),
            false => floor.by_columns(at),
        }
    }
}

/// How many rows ahead memory is asked for.
const AHEAD: usize = 16;

impl Floor {
    #[inline(always)]
    fn by_slots(&mut self, at: usize) {
        let mut loss = 0.0;
        let (ids, values) = self.windows.entries(at);
        self.ranks.insert(ids);
        self.ranks.list(&mut self.distinct);
        for (slot, &id) in self.slots.iter_mut().zip(ids) {
            *slot = self.ranks.rank(id);
        }
        self.ranks.clear(&self.distinct);
        let count = self.distinct.len();
        self.sums.slice_mut()[..count * K].fill(0.0);
        self.linear.slice_mut()[..count].fill(0.0);
        self.squares.slice_mut()[..count].fill(0.0);
        let mut of_bias = 0.0;
        for n in 0..self.windows.rows() {
            let (sums, slope) = self.forward(n, ids, values, &mut loss);
            let scaled = times(sums, slope);
            of_bias += slope;
            let to = self.sums.slice_mut();
            let entries = n * PER_ROW..(n + 1) * PER_ROW;
            for e in entries {
                let (slot, x) = (self.slots[e] as usize, values[e]);
                let ahead = self.slots.get(e + AHEAD).copied().unwrap_or(0) as usize;
                prefetch::<K>(to, ahead * K);
                // SAFETY: slots are below the number of distinct columns.
                let to = unsafe { row_mut::<K>(to, slot * K) };
                for f in 0..K {
                    to[f] += x * scaled[f];
                }
                self.linear.slice_mut()[slot] += x * slope;
                self.squares.slice_mut()[slot] += x * x * slope;
            }
        }
        let factors = self.factors.slice_mut();
        for (slot, &id) in self.distinct.iter().enumerate() {
            let ahead = self.distinct.get(slot + AHEAD).copied().unwrap_or(0) as usize;
            prefetch::<K>(factors, ahead * K);
            prefetch::<1>(self.weight.slice(), ahead);
            let square = self.squares.slice()[slot];
            // SAFETY: ids are below the number of rows of the table, slots below that of columns.
            let (v, sums) = unsafe {
                (row_mut::<K>(factors, id as usize * K), row::<K>(self.sums.slice(), slot * K))
            };
            for f in 0..K {
                v[f] -= RATE * (sums[f] - square * v[f]);
            }
            self.weight.slice_mut()[id as usize] -= RATE * self.linear.slice()[slot];
        }
        self.bias -= RATE * of_bias;
        black_box(loss);
    }

    #[inline(always)]
    fn by_columns(&mut self, at: usize) {
        let mut loss = 0.0;
        let (ids, values) = self.windows.entries(at);
        let mut of_bias = 0.0;
        for n in 0..self.windows.rows() {
            let (sums, slope) = self.forward(n, ids, values, &mut loss);
            of_bias += slope;
            self.slopes.slice_mut()[n] = slope;
            // SAFETY: there is a row of sums for each row.
            *unsafe { row_mut::<K>(self.rows.slice_mut(), n * K) } = times(sums, slope);
        }
        let Order { distinct, ends, entries } = &self.orders[at];
        let (rows, slopes) = (self.rows.slice(), self.slopes.slice());
        let (factors, mut start) = (self.factors.slice_mut(), 0);
        for (slot, (&id, &end)) in distinct.iter().zip(ends).enumerate() {
            let ahead = distinct.get(slot + AHEAD).copied().unwrap_or(0) as usize;
            prefetch::<K>(factors, ahead * K);
            prefetch::<1>(self.weight.slice(), ahead);
            let (mut sums, mut linear, mut square) = ([0f32; K], 0.0, 0.0);
            for &(n, x) in &entries[start..end as usize] {
                let slope = slopes[n as usize];
                // SAFETY: there is a row of sums for each row.
                let own = unsafe { row::<K>(rows, n as usize * K) };
                for f in 0..K {
                    sums[f] += x * own[f];
                }
                linear += x * slope;
                square += x * x * slope;
            }
            // SAFETY: ids are below the number of rows of the table.
            let v = unsafe { row_mut::<K>(factors, id as usize * K) };
            for f in 0..K {
                v[f] -= RATE * (sums[f] - square * v[f]);
            }
            self.weight.slice_mut()[id as usize] -= RATE * linear;
            start = end as usize;
        }
        self.bias -= RATE * of_bias;
        black_box(loss);
    }
}
