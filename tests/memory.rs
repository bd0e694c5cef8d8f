//! What training allocates, measured by a counting allocator: the tables, and no more than a batch.

mod counting;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use counting::Counting;
use sparsetape::Stype::{Csr, RowSparse};
use sparsetape::check::Wide;
use sparsetape::ops::{all_sparse_rows, all_wide_samples};
use sparsetape::optim::Sgd;
use sparsetape::random::{Popularity, Random};
use sparsetape::{
    DType, ErrorKind, Fallback, Gradients, Parameter, Params, Stype, Tape, Tensor, Var,
};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// One test measures at a time.
static MEASURING: Mutex<()> = Mutex::new(());

fn count(size: usize) {
    let live = LIVE.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(live, Relaxed);
    LARGEST.fetch_max(size, Relaxed);
}

fn forget(size: usize) {
    LIVE.fetch_sub(size, Relaxed);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting { taken: count, freed: forget };

/// Peak and largest single allocation of `work`, in bytes beyond what was live before.
fn measure(work: impl FnOnce()) -> (usize, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    LARGEST.store(0, Relaxed);
    work();
    (PEAK.load(Relaxed) - before, LARGEST.load(Relaxed))
}

struct Job {
    weight: Parameter,
    bias: Parameter,
    params: Params,
    sgd: Sgd,
    tape: Tape,
    gradients: Gradients,
}

impl Job {
    fn new(features: usize) -> Job {
        let zeros = |shape: &[usize]| Tensor::zeros(Stype::Default, shape, DType::F32).unwrap();
        let weight = Parameter::new("weight", zeros(&[features, 1])).unwrap();
        let bias = Parameter::new("bias", zeros(&[1])).unwrap();
        let params = Params::new([&weight, &bias]).unwrap();
        let sgd = Sgd::new(0.1).momentum(0.9).weight_decay(1e-4);
        let tape = Tape::new();
        tape.set_fallback(Fallback::Deny);
        Job { weight, bias, params, sgd, tape, gradients: Gradients::default() }
    }

    fn step(&mut self, x: &Tensor, labels: &Tensor) {
        self.tape.clear();
        let tape = &self.tape;
        let (w, b) = (tape.parameter(&self.weight), tape.parameter(&self.bias));
        let logits = tape.constant(x.clone()).dot(w) + b;
        let labels = tape.constant(labels.clone());
        let loss = logits.sigmoid_binary_cross_entropy(labels);
        loss.backward_into(&mut self.gradients).unwrap();
        self.sgd.step(&self.params, &self.gradients).unwrap();
    }
}

fn batches(features: usize, count: usize) -> Vec<(Tensor, Tensor)> {
    let batch = |seed| {
        let mut random = Random::new(seed);
        let popularity = Popularity::ScatteredPowerLaw(1.1);
        let x = random.csr_rows::<f32>([256, features], 40, popularity).unwrap();
        (x, Tensor::full([256, 1], 1.0f32).unwrap())
    };
    (0..count as u64).map(batch).collect()
}

#[test]
fn training_takes_table_and_momentum_and_no_step_allocates_a_table() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    const FEATURES: usize = 10_000_000;
    let table = FEATURES * size_of::<f32>();
    let batches = batches(FEATURES, 8);
    let train = |job: &mut Job| batches.iter().for_each(|(x, y)| job.step(x, y));
    let mut kept = None;
    let (peak, _) = measure(|| train(kept.insert(Job::new(FEATURES))));
    assert!(peak <= 2 * table + (64 << 20), "peak {peak} bytes");
    let job = kept.as_mut().unwrap();
    assert!(job.sgd.bytes(&job.params).unwrap() >= table, "the momentum is part of it");
    let (_, largest) = measure(|| train(job));
    assert!(largest < table / 10, "a step allocated {largest} bytes at once");
}

#[test]
fn a_repeated_step_allocates_little() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let batches = batches(100_000, 1);
    let mut job = Job::new(100_000);
    let (x, labels) = &batches[0];
    (0..3).for_each(|_| job.step(x, labels));
    let (peak, largest) = measure(|| (0..10).for_each(|_| job.step(x, labels)));
    // Values come from recycled memory: what remains are nodes, handles and ids of one step.
    assert!(largest < 64 << 10, "{largest} bytes at once");
    assert!(peak < 256 << 10, "peak {peak} bytes");
}

/// Operator and storage types of a table row, and why it is no matter of this test.
type Excuse = (&'static str, &'static [Stype], &'static str);

/// Rows whose backward rule does take memory for a long axis.
const LARGE: [Excuse; 2] = {
    const TURNED: &str = "a cotangent is csr with a pointer for each of many rows, then row-sparse";
    [("sampled_dot", &[Csr, Csr, RowSparse], TURNED), ("transpose", &[RowSparse], TURNED)]
};

/// Rows without a long axis that costs nothing.
const SHORT: [Excuse; 15] = {
    const MIXED: &str = "rows of one operand are rows of a csr matrix, a pointer each";
    const JOINED: &str = "parts of different length along either axis";
    [
        ("accumulate", &[Csr, RowSparse], MIXED),
        ("accumulate", &[RowSparse, Csr], MIXED),
        ("add_n", &[Csr, RowSparse], MIXED),
        ("add_n", &[Csr, RowSparse, Csr], MIXED),
        ("add_n", &[Csr, RowSparse, Csr, RowSparse, Csr], MIXED),
        ("concat", &[Csr, Csr], JOINED),
        ("concat_grad", &[Csr, Csr, Csr], JOINED),
        ("concat_part", &[Csr, Csr, Csr], JOINED),
        ("project_like", &[Csr, RowSparse], MIXED),
        ("project_like", &[RowSparse, Csr], MIXED),
        ("regression_output", &[Csr, RowSparse], MIXED),
        ("regression_output", &[RowSparse, Csr], MIXED),
        ("sampled_dot", &[Csr, RowSparse, Csr], MIXED),
        ("straight_through", &[Csr, RowSparse], MIXED),
        ("straight_through", &[RowSparse, Csr], MIXED),
    ]
};

fn excused(list: &[Excuse], name: &str, row: &[Stype]) -> bool {
    list.iter().any(|(op, ins, _)| *op == name && *ins == row)
}

/// No operator allocates memory of dense size where operands and result are sparse, forward or
/// backward: what it takes with 10^8 columns or rows is a few kilobytes.
#[test]
fn sparse_operators_take_no_memory_of_dense_size() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let samples = all_wide_samples(100_000_000);
    let mut faults = Vec::new();
    for wide in samples.iter().filter(|wide| !excused(&LARGE, wide.op.name(), &wide.row)) {
        let about = || format!("{} of {:?}", wide.op.label(), wide.row);
        let mut outcome = Ok(());
        let (peak, _) = measure(|| outcome = forward_and_backward(wide));
        match outcome {
            Err(error) => faults.push(format!("{}: {error}", about())),
            Ok(()) if peak > 256 << 10 => faults.push(format!("{}: {peak} bytes", about())),
            Ok(()) => {}
        }
    }
    for (name, rows) in all_sparse_rows() {
        for row in rows {
            let reached = samples.iter().any(|wide| wide.op.name() == name && wide.row == row);
            if reached == excused(&SHORT, name, &row) {
                faults.push(format!("{name} of {row:?}: measured: {reached}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn forward_and_backward(wide: &Wide) -> sparsetape::Result<()> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let x: Vec<Var> = wide.inputs.iter().map(|x| tape.variable(x.clone())).collect();
    let y = tape.apply(wide.op.clone(), &x).value()?;
    if !y.dtype().is_float() {
        return Ok(());
    }
    match tape.apply(wide.op.clone(), &x).backward_with(&y.ones_like()?) {
        Err(e) if e.kind() == ErrorKind::NotDifferentiable => Ok(()),
        gradients => gradients.map(|_| ()),
    }
}
