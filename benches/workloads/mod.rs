//! What is measured: for each case our times and those of a floor, a minimal loop written by hand over the
//! same arrays, all of which compute the same thing.
//!
//! The benches measure their own workload with criterion; `report` measures all, in alternating blocks, and
//! prints one table.

#![allow(dead_code, reason = "each bench uses its part")]

pub mod embedding;
pub mod factorization_machine;
pub mod floors;
pub mod job;
pub mod logistic;
pub mod merged;
pub mod predict;
pub mod report;
pub mod spmm;
pub mod structure;
pub mod tape;
pub mod transposed;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};

pub type Run = Box<dyn FnMut() + Send>;

/// What one workload visits its cases with; a case and its tables are gone before the next one is made.
pub type Visit<'a> = &'a mut dyn FnMut(Case);

/// Visits the cases of one workload.
pub type Workload = fn(Size, Visit);

/// How large a workload is made.
#[derive(Clone, Copy, PartialEq)]
pub enum Size {
    /// Large enough to be measured.
    Full,
    /// Runs once, quickly.
    Test,
}

/// All workloads, in the order of the report.
pub const ALL: &[(&str, Workload)] = &[
    ("spmm", spmm::cases),
    ("transposed", transposed::cases),
    ("logistic", logistic::cases),
    ("job", job::cases),
    ("factorization_machine", factorization_machine::cases),
    ("embedding", embedding::cases),
    ("tape", tape::cases),
    ("structure", structure::cases),
    ("predict", predict::cases),
];

/// Things that compute the same.
pub struct Case {
    pub name: String,
    /// What times are divided by: "entry", "look-up", ..
    pub unit: &'static str,
    /// How many of them one run has.
    pub count: usize,
    pub contenders: Vec<Contender>,
}

/// One way to compute it.
pub struct Contender {
    pub name: &'static str,
    pub run: Run,
}

/// The contender that others are divided by.
pub const FLOOR: &str = "floor";
pub const EAGER: &str = "eager";
pub const FROZEN: &str = "frozen";

impl Case {
    pub fn new(name: impl Into<String>, unit: &'static str, count: usize) -> Self {
        Case { name: name.into(), unit, count, contenders: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, run: impl FnMut() + Send + 'static) -> Self {
        self.contenders.push(Contender { name, run: Box::new(run) });
        self
    }
}

/// Measures a workload's cases with criterion, on one thread.
pub fn criterion(workload: Workload) {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .configure_from_args();
    let one = pool(1);
    workload(size(), &mut |case| {
        let mut group = criterion.benchmark_group(&case.name);
        for Contender { name, mut run } in case.contenders {
            let timed = |times| one.install(|| time(&mut run, times));
            let mut timed = timed;
            group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter_custom(&mut timed));
        }
        group.finish();
    });
    criterion.final_summary();
}

/// Small when run as a test.
pub fn size() -> Size {
    match std::env::args().any(|argument| argument == "--test") {
        true => Size::Test,
        false => Size::Full,
    }
}

/// A pool of so many threads; 0 for as many as there are cores.
pub fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
}

/// The time of so many runs.
pub fn time(run: &mut Run, times: u64) -> Duration {
    let began = Instant::now();
    for _ in 0..times {
        run();
    }
    began.elapsed()
}
