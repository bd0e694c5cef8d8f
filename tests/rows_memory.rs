//! Memory and time of a row-sparse table follow the rows that were seen, not those that there are.

mod counting;
#[path = "counting/peak.rs"]
mod peak;

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use peak::{LIVE, MEASURING, PEAK};
use sparsetape::optim::Sgd;
use sparsetape::{DType, Gradients, Init, Parameter, Params, Tape, Tensor};

const FEATURES: usize = 1_000_000_000;
const K: usize = 16;
const BATCH: u64 = 4096;

/// What a process takes at most, in bytes, if the system tells.
fn resident_peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
}

/// Rows in random order: the n-th that is seen for the first time, all different.
fn id(n: u64) -> i64 {
    // A factor that has none in common with 10⁹.
    (n * 49_872_913 % FEATURES as u64) as i64
}

struct Training {
    table: Parameter,
    params: Params,
    sgd: Sgd,
    tape: Tape,
    gradients: Gradients,
}

impl Training {
    fn new(init: Init) -> Training {
        let table = Parameter::drawn("v", [FEATURES, K], DType::F32, init, 1).unwrap();
        let params = Params::new([&table]).unwrap();
        let sgd = Sgd::new(0.1).momentum(0.9);
        Training { table, params, sgd, tape: Tape::new(), gradients: Gradients::default() }
    }

    /// A step with the rows from `first` on, in their order.
    fn step(&mut self, first: u64) {
        self.tape.clear();
        let ids: Vec<i64> = (first..first + BATCH).map(id).collect();
        let ids = self.tape.constant(Tensor::dense([ids.len()], ids).unwrap());
        let loss = self.tape.parameter(&self.table).take(ids).square().sum();
        loss.backward_into(&mut self.gradients).unwrap();
        self.sgd.step(&self.params, &self.gradients).unwrap();
    }
}

/// Trains until so many rows were seen; bytes at the peak beyond what was live before.
fn peak(rows: u64, init: Init) -> usize {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let mut training = Training::new(init);
    (0..rows).step_by(BATCH as usize).for_each(|first| training.step(first));
    let peak = PEAK.load(Relaxed) - before;
    let held = training.table.bytes().unwrap() + training.sgd.bytes(&training.params).unwrap();
    println!(
        "{rows} rows: {} bytes a row at the peak, {} held; {:?} MB resident at the peak",
        peak / rows as usize,
        held / rows as usize,
        resident_peak().map(|bytes| bytes / 1_000_000)
    );
    peak
}

/// All ids are different.
#[test]
fn ids_are_distinct() {
    let ids: HashSet<i64> = (0..100_000).map(id).collect();
    assert_eq!(ids.len(), 100_000);
}

#[test]
fn memory_follows_the_rows_seen() {
    for init in [Init::Constant(0.0), Init::Normal(0.01)] {
        assert!(peak(100_000, init) < 20_000_000);
    }
}

/// In a process of its own, what the system counts is that of this test.
#[test]
#[ignore = "takes 10 s without optimization: a tenth of it runs always"]
fn a_million_rows_of_a_thousand_million_take_less_than_200_megabytes() {
    assert!(peak(1_000_000, Init::Normal(0.01)) < 200_000_000);
    assert!(resident_peak().is_none_or(|bytes| bytes < 200_000_000));
}

/// The median of many steps with rows that are stored already.
fn step_time(stored: u64) -> Duration {
    let mut training = Training::new(Init::Constant(0.0));
    (0..stored).step_by(BATCH as usize).for_each(|first| training.step(first));
    let steps = (0..9).map(|i| {
        let begun = Instant::now();
        training.step(i * 997 % (stored - BATCH + 1));
        begun.elapsed()
    });
    let mut steps: Vec<Duration> = steps.collect();
    steps.sort_unstable();
    steps[steps.len() / 2]
}

#[test]
fn the_time_of_a_step_does_not_follow_the_rows_stored() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (few, many) = (step_time(BATCH * 2), step_time(BATCH * 64));
    println!("a step: {few:?} with few rows stored, {many:?} with 32 times as many");
    assert!(many < few * 4, "{few:?} {many:?}");
}
