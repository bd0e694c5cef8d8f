//! A training step in each of the three ways to update, on tables of 10^5 to 10^7 rows of 16, of which it
//! touches 4096: tape, look-up, loss, backward and SGD with momentum, decay and a cosine schedule.
//!
//!     cargo bench --bench updates
//!
//! prints a table of medians, in microseconds. The modes take turns, rows are drawn anew for every step, and
//! before anything is measured there were steps enough for rows to have missed many: at 10^7 rows
//! a row is touched every 2441 steps.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sparsetape::optim::{Schedule, Sgd, Update};
use sparsetape::{DType, Gradients, Init, Parameter, Params, Stype, Tape, Tensor};

const TOUCHED: usize = 4096;
const WIDTH: usize = 16;

struct Job {
    table: Parameter,
    params: Params,
    sgd: Sgd,
    tape: Tape,
    gradients: Gradients,
    times: Vec<Duration>,
}

impl Job {
    fn new(rows: usize, update: Update) -> sparsetape::Result<Job> {
        let start = Init::Uniform(0.1).tensor(Stype::Default, [rows, WIDTH], DType::F32, 7)?;
        let table = Parameter::new("table", start)?;
        let params = Params::new([&table])?;
        let rate = Schedule::cosine(0.1, 100_000);
        let sgd = Sgd::new(rate).momentum(0.9).weight_decay(1e-4).update(update);
        let (tape, gradients, times) = (Tape::new(), Gradients::default(), Vec::new());
        Ok(Job { table, params, sgd, tape, gradients, times })
    }

    fn step(&mut self, ids: Tensor) -> sparsetape::Result<f32> {
        self.tape.clear();
        let rows = self.tape.parameter(&self.table).take(self.tape.constant(ids));
        let loss = (rows - 1.0).square().sum();
        loss.backward_into(&mut self.gradients)?;
        self.sgd.step(&self.params, &self.gradients)?;
        loss.item()
    }

    fn timed_step(&mut self, ids: Tensor) -> sparsetape::Result<()> {
        let began = Instant::now();
        black_box(self.step(ids)?);
        self.times.push(began.elapsed());
        Ok(())
    }

    /// In microseconds.
    fn median(&mut self) -> f64 {
        self.times.sort_unstable();
        self.times[self.times.len() / 2].as_secs_f64() * 1e6
    }
}

/// Rows drawn uniformly, by Lehmer's generator.
struct Draws(u64);

impl Draws {
    fn ids(&mut self, rows: usize) -> sparsetape::Result<Tensor> {
        let mut draw = || {
            self.0 = self.0.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            ((self.0 >> 33) % rows as u64) as i64
        };
        Tensor::dense([TOUCHED], (0..TOUCHED).map(|_| draw()).collect::<Vec<i64>>())
    }
}

fn measure(rows: usize, warm_up: usize, blocks: usize) -> sparsetape::Result<[f64; 3]> {
    let mut draws = Draws(1);
    let mut lazy = Job::new(rows, Update::Lazy)?;
    let mut exact = Job::new(rows, Update::Exact)?;
    for _ in 0..warm_up {
        let ids = draws.ids(rows)?;
        lazy.step(ids.clone())?;
        exact.step(ids)?;
    }
    for _ in 0..blocks {
        for job in [&mut lazy, &mut exact] {
            for _ in 0..50 {
                let ids = draws.ids(rows)?;
                job.timed_step(ids)?;
            }
        }
    }
    let fast = [lazy.median(), exact.median()];
    drop((lazy, exact));
    let mut dense = Job::new(rows, Update::Dense)?;
    dense.step(draws.ids(rows)?)?;
    for _ in 0..9 {
        let ids = draws.ids(rows)?;
        dense.timed_step(ids)?;
    }
    Ok([fast[0], fast[1], dense.median()])
}

fn main() -> sparsetape::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--test");
    let (sizes, warm_up, blocks): (&[usize], _, _) = match quick {
        true => (&[10_000], 10, 1),
        false => (&[100_000, 1_000_000, 10_000_000], 6000, 20),
    };
    println!("| rows of {WIDTH} | `Lazy`, µs | `Exact`, µs | `Exact` / `Lazy` | `Dense`, µs |");
    println!("|---|---|---|---|---|");
    for &rows in sizes {
        let [lazy, exact, dense] = measure(rows, warm_up, blocks)?;
        let ratio = exact / lazy;
        println!("| {rows} | {lazy:.0} | {exact:.0} | {ratio:.2} | {dense:.0} |");
    }
    Ok(())
}
