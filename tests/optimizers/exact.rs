//! Exact updates of SGD are dense ones, whatever happens between the steps.

use proptest::prelude::*;
use sparsetape::optim::{AdaGrad, Adam, AdamW, Ftrl, Optimizer, Sgd, Update};
use sparsetape::random::Random;
use sparsetape::train::Checkpoint;
use sparsetape::{DType, GradReq, Gradients, Init, Parameter, Params, Stype, Tape, Tensor};

use super::model::{K, ROWS, batch, relative, schedule, train};

const STEPS: u64 = 500;

/// What training looks like.
#[derive(Clone, Copy, Debug)]
struct Setting {
    momentum: f64,
    nesterov: bool,
    decay: f64,
    schedule: usize,
    micro_batches: usize,
    multipliers: (f64, f64),
    dtype: DType,
    stype: Stype,
}

prop_compose! {
    fn settings()(
        momentum in prop::sample::select(vec![0.0, 0.5, 0.9]),
        nesterov: bool,
        decay in prop::sample::select(vec![0.0, 0.01, 0.1]),
        schedule in 0..4usize,
        micro_batches in 1..3usize,
        multipliers in prop::sample::select(vec![(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (1.0, 0.0)]),
        dtype in prop::sample::select(vec![DType::F64, DType::F32]),
        stype in prop::sample::select(vec![Stype::Default, Stype::RowSparse]),
    ) -> Setting {
        Setting { momentum, nesterov, decay, schedule, micro_batches, multipliers, dtype, stype }
    }
}

/// Parameters, and what trains them.
struct Program {
    params: Params,
    sgd: Sgd,
}

impl Program {
    fn new(start: &Tensor, setting: Setting, update: Update) -> Program {
        let w = Parameter::new("w", start.cast(setting.dtype)).unwrap();
        w.set_multipliers(setting.multipliers.0, setting.multipliers.1).unwrap();
        w.set_grad_req(if setting.micro_batches > 1 { GradReq::Add } else { GradReq::Write });
        let sgd = Sgd::new(schedule(setting.schedule, 0.05))
            .momentum(setting.momentum)
            .nesterov(setting.nesterov)
            .weight_decay(setting.decay)
            .update(update);
        Program { params: Params::new([&w]).unwrap(), sgd }
    }

    fn w(&self) -> &Parameter {
        self.params.get("w").unwrap()
    }

    /// The table is tied: rows of it are used by columns and by ids.
    fn backward(&self, x: &Tensor, ids: &Tensor, gradients: &mut Gradients) {
        let tape = Tape::new();
        let by_columns = tape.constant(x.clone()).dot(tape.parameter(self.w()));
        let y = by_columns + tape.parameter(self.w()).take(tape.constant(ids.clone()));
        // Its gradient depends on the current weights: reading a stale row would show.
        let loss = (y * 2.0).sin().sum() * 0.1 + y.square().sum() * 0.2;
        loss.backward_into(gradients).unwrap();
    }
}

/// 500 steps, with evaluation of rows and of all between them, and a new program that goes on from a checkpoint.
fn trained(start: &Tensor, setting: Setting, update: Update, seed: u64) -> Tensor {
    let mut program = Program::new(start, setting, update);
    let (mut random, mut gradients) = (Random::new(seed), Gradients::default());
    for step in 0..STEPS {
        for part in 0..setting.micro_batches {
            let x = batch(&mut random, setting.dtype);
            let id = (step * 7 + part as u64) % 11;
            let ids = Tensor::dense([2], vec![id as i64, 3]).unwrap();
            program.backward(&x, &ids, &mut gradients);
        }
        // In some steps the parameter has no gradient.
        if step % 50 == 20 {
            gradients.clear();
        }
        program.sgd.step(&program.params, &gradients).unwrap();
        gradients.clear();
        match step {
            120 | 330 => drop(program.w().rows(&[0, 5, 17]).unwrap()),
            210 | 400 => drop(program.w().snapshot().unwrap()),
            270 => {
                let bytes = Checkpoint::default().to_bytes(&program.params, &program.sgd).unwrap();
                program = Program::new(start, setting, update);
                let Program { params, sgd } = &mut program;
                Checkpoint::resume_from_bytes(&bytes, params, sgd).unwrap();
            }
            _ => {}
        }
    }
    program.w().snapshot().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn exact_is_dense(seed: u64, setting in settings()) {
        let all = Random::new(seed).dense::<f64>([ROWS, K]).unwrap();
        let start = all.cast_storage(setting.stype).unwrap();
        let weights = [Update::Exact, Update::Dense].map(|update| trained(&start, setting, update, seed ^ 1));
        let error = relative(&weights[0], &weights[1]);
        let most = if setting.dtype == DType::F64 { 1e-10 } else { 1e-4 };
        prop_assert!(error < most, "{}", error);
    }
}

/// Products start again when they have grown beside the table; rows that are never touched live through it.
#[test]
fn a_long_history_is_restarted() {
    const LONG: usize = 40_000;
    let weights = [Update::Exact, Update::Dense].map(|update| {
        let w = Parameter::new("w", Tensor::full([3, 1], 1.0f64).unwrap()).unwrap();
        let mut sgd = Sgd::new(schedule(3, 0.01)).momentum(0.9).weight_decay(1e-3).update(update);
        let params = Params::new([&w]).unwrap();
        for step in 0..LONG {
            let mut gradients = Gradients::default();
            if step % 1000 == 0 {
                let row = Tensor::row_sparse([3, 1], vec![(step / 1000 % 2) as u32], vec![0.1f64]);
                gradients.set(&w, row.unwrap());
            }
            sgd.step(&params, &gradients).unwrap();
        }
        (w.snapshot().unwrap(), sgd.bytes(&params).unwrap())
    });
    let [(exact, bytes), (dense, _)] = &weights;
    let pairs = exact.values::<f64>().unwrap().iter().zip(dense.values::<f64>().unwrap());
    pairs.for_each(|(a, b)| assert!((a - b).abs() <= 1e-10 * b.abs(), "{a} {b}"));
    assert!(*bytes < 2 << 20, "{bytes} bytes are kept");
}

/// Runs in which another mode comes in between are the same, from exact and from dense mode.
fn modes_change<O: Optimizer>(optimizer: impl Fn() -> O, with: fn(O, Update) -> O) {
    let init = Init::Normal(0.5);
    let start = || init.tensor(Stype::RowSparse, [ROWS, K], DType::F64, 3);
    let run = |w: Parameter, update: Update, between: Update| {
        let (mut optimizer, mut random) = (optimizer(), Random::new(8));
        for (mode, steps) in [(update, 30), (between, 20), (update, 30), (between, 5)] {
            optimizer = with(optimizer, mode);
            (0..steps).for_each(|_| train(&w, &batch(&mut random, DType::F64), &mut optimizer));
        }
        w.rows(&(0..ROWS as u32).collect::<Vec<_>>()).unwrap()
    };
    for between in [Update::Lazy, Update::Dense] {
        let table = || Parameter::new("w", start().unwrap()).unwrap();
        let dense = run(table(), Update::Dense, between);
        let error = relative(&run(table(), Update::Exact, between), &dense);
        assert!(error < 1e-10, "{between:?}: {error}");
        if between == Update::Lazy {
            let drawn = Parameter::drawn("w", [ROWS, K], DType::F64, init, 3).unwrap();
            let error = relative(&run(drawn, Update::Exact, between), &dense);
            assert!(error < 1e-10, "drawn: {error}");
        }
    }
}

/// A new mode holds for the steps to come: what an optimizer knows, and what rows missed before, stays.
#[test]
fn modes_may_change_between_steps() {
    modes_change(|| Sgd::new(0.1).momentum(0.9).weight_decay(0.01), Sgd::update);
    modes_change(|| Sgd::new(0.1).weight_decay(0.01), Sgd::update);
    modes_change(|| Adam::new(0.05), Adam::update);
    modes_change(|| AdamW::new(0.05), AdamW::update);
    modes_change(|| AdaGrad::new(0.1).weight_decay(0.01), AdaGrad::update);
    modes_change(|| Ftrl::new(0.1).l1(0.05), Ftrl::update);
}

/// Without weight decay AdaGrad misses nothing; with it from some step on, it does, and keeps its history.
#[test]
fn decay_may_begin_later() {
    let [exact, dense] = [Update::Exact, Update::Dense].map(|update| {
        let w = Parameter::new("w", Tensor::full([ROWS, K], 0.5f64).unwrap()).unwrap();
        let (mut adagrad, mut random) = (AdaGrad::new(0.1).update(update), Random::new(9));
        for step in 0..60 {
            let decay = if step < 30 { 0.0 } else { 0.1 };
            adagrad = adagrad.weight_decay(decay);
            train(&w, &batch(&mut random, DType::F64), &mut adagrad);
        }
        w.snapshot().unwrap()
    });
    assert!(relative(&exact, &dense) < 1e-10);
}
