//! FTRL-Proximal, and the rows that it makes zero.

use proptest::prelude::*;
use sparsetape::optim::{Ftrl, Schedule, Sgd, Update};
use sparsetape::random::{Popularity, Random};
use sparsetape::{DType, Init, Parameter, Params, Stype, Tape, Tensor};

use super::model::{
    K, ROWS, batch, exact_and_dense, refused, refused_for, run, schedule, step, train, values,
};

const MODES: [Update; 3] = [Update::Lazy, Update::Exact, Update::Dense];

fn ftrl(kind: usize, l1: f64, update: Update) -> Ftrl {
    Ftrl::new(schedule(kind, 0.3)).l1(l1).l2(0.01).update(update)
}

fn empty(dtype: DType) -> Tensor {
    Tensor::zeros(Stype::RowSparse, [ROWS, K], dtype).unwrap()
}

/// Rows that hold anything but zeros.
fn non_zero(values: &[f64]) -> Vec<u32> {
    let rows = values.chunks(K).zip(0..);
    rows.filter(|(row, _)| row.iter().any(|x| *x != 0.0)).map(|(_, id)| id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// To the same bits: a weight follows from its states.
    #[test]
    fn exact_is_dense(seed: u64, kind in 0usize..4, l1 in prop::sample::select(vec![0.0, 0.1, 1.0]), single: bool, sparse: bool) {
        let dtype = if single { DType::F32 } else { DType::F64 };
        let stype = if sparse { Stype::RowSparse } else { Stype::Default };
        let start = Random::new(seed).row_sparse::<f64>([ROWS, K], 0.5).unwrap();
        let start = start.cast(dtype).cast_storage(stype).unwrap();
        let weights = exact_and_dense(&start, |update| ftrl(kind, l1, update), (seed ^ 1, 300));
        let [exact, dense] = weights.each_ref().map(values);
        prop_assert_eq!(exact, dense);
    }

    /// A row-sparse table, whose rows come and go, has the weights and states of a dense one, to the same bits.
    #[test]
    fn absent_rows_are_zero_rows(seed: u64, kind in 0usize..4, l1 in prop::sample::select(vec![0.0, 0.2, 1.0]), update in prop::sample::select(MODES.to_vec()), single: bool) {
        let dtype = if single { DType::F32 } else { DType::F64 };
        let tables = [Stype::RowSparse, Stype::Default].map(|stype| {
            Parameter::new("w", Tensor::zeros(stype, [ROWS, K], dtype).unwrap()).unwrap()
        });
        let mut optimizers = MODES.map(|_| ftrl(kind, l1, update));
        let mut random = Random::new(seed);
        for n in 0..120 {
            let x = batch(&mut random, dtype);
            for (w, ftrl) in tables.iter().zip(&mut optimizers) {
                train(w, &x, ftrl);
            }
            if n % 40 != 20 {
                continue;
            }
            let [rows, dense] = tables.each_ref().map(|w| w.snapshot().unwrap());
            prop_assert_eq!(values(&rows), values(&dense));
            prop_assert_eq!(rows.rows().unwrap(), &non_zero(&values(&dense))[..]);
            for name in ["z", "n"] {
                let both = tables.iter().zip(&optimizers);
                let states = both.map(|(w, o)| o.state_of(w, name).unwrap().unwrap());
                let states: Vec<_> = states.map(|state| values(&state)).collect();
                prop_assert_eq!(&states[0], &states[1]);
            }
        }
        // What operators see in passing.
        let seen = tables.each_ref().map(|w| {
            let tape = Tape::new();
            let x = tape.constant(batch(&mut Random::new(seed), dtype));
            let ids = tape.constant(Tensor::dense([3], vec![0i64, 39, 17]).unwrap());
            let all = [x.dot(tape.parameter(w)).value(), tape.parameter(w).take(ids).value()];
            all.map(|seen| values(&seen.unwrap()))
        });
        prop_assert_eq!(&seen[0], &seen[1]);
    }

    /// The formulas, slowly, with gradients that hold some rows.
    #[test]
    fn is_the_published_algorithm(seed: u64, dense: bool, sparse: bool) {
        let update = if dense { Update::Dense } else { Update::Lazy };
        let (lr, l1, l2, beta, rescale, clip) = (0.3, 0.2, 0.05, 0.7, 0.5, 0.6);
        let mut random = Random::new(seed);
        let start = random.row_sparse::<f64>([ROWS, K], 0.5).unwrap();
        let start = start.cast_storage(if sparse { Stype::RowSparse } else { Stype::Default }).unwrap();
        let mut w = values(&start);
        let (mut z, mut n) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        let table = Parameter::new("w", start).unwrap();
        table.set_multipliers(2.0, 0.5).unwrap();
        let mut ftrl = Ftrl::new(lr / 2.0).l1(l1).l2(l2 * 2.0).beta(beta)
            .rescale_grad(rescale).clip_gradient(clip).update(update);
        for _ in 0..20 {
            let gradient = random.row_sparse::<f64>([ROWS, K], 0.3).unwrap();
            let g: Vec<f64> = values(&gradient).iter().map(|g| (rescale * g).clamp(-clip, clip)).collect();
            for i in 0..w.len() {
                let touched = gradient.rows().unwrap().contains(&((i / K) as u32));
                if !touched && update == Update::Lazy {
                    continue;
                }
                let sigma = ((n[i] + g[i] * g[i]).sqrt() - f64::sqrt(n[i])) / lr;
                z[i] += g[i] - sigma * w[i];
                n[i] += g[i] * g[i];
                w[i] = match z[i].abs() > l1 {
                    true => -(z[i] - z[i].signum() * l1) / ((beta + n[i].sqrt()) / lr + l2),
                    false => 0.0,
                };
            }
            step(&table, &gradient, &mut ftrl);
        }
        let close = |got: &Tensor, want: &[f64]| {
            values(got).iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12)
        };
        prop_assert!(close(&table.snapshot().unwrap(), &w));
        prop_assert!(close(&ftrl.state_of(&table, "z").unwrap().unwrap(), &z));
        prop_assert!(close(&ftrl.state_of(&table, "n").unwrap().unwrap(), &n));
    }
}

#[test]
fn lazy_is_dense_where_every_row_is_touched() {
    for stype in [Stype::Default, Stype::RowSparse] {
        let weights = MODES.map(|update| {
            let mut random = Random::new(3);
            let start = random.dense::<f32>([ROWS, K]).unwrap().cast_storage(stype).unwrap();
            let w = Parameter::new("w", start).unwrap();
            let mut ftrl = ftrl(3, 0.5, update);
            for _ in 0..30 {
                let g = random.dense::<f32>([ROWS, K]).unwrap();
                step(&w, &g.cast_storage(Stype::RowSparse).unwrap(), &mut ftrl);
            }
            values(&w.snapshot().unwrap())
        });
        assert!(weights[0] == weights[1] && weights[1] == weights[2]);
    }
}

#[test]
fn memory_follows_the_rows_that_are_not_zero() {
    const N: usize = 20_000;
    let of_rows = |ids: Vec<u32>, g: f32| {
        let g = vec![g; ids.len() * 4];
        Tensor::row_sparse([N, 4], ids, g).unwrap()
    };
    let stored = |w: &Parameter| w.snapshot().unwrap().rows().unwrap().len();
    let w = Tensor::zeros(Stype::RowSparse, [N, 4], DType::F32).unwrap();
    let w = Parameter::new("w", w).unwrap();
    let mut ftrl = Ftrl::new(0.1).l1(0.5);
    step(&w, &of_rows((0..N as u32).collect(), 3.0), &mut ftrl);
    assert_eq!(stored(&w), N);
    let before = w.bytes().unwrap();
    // z goes back to 0.35, but for a few rows.
    let back: Vec<u32> = (0..N as u32).filter(|id| id % 50 != 7).collect();
    step(&w, &of_rows(back, -3.8), &mut ftrl);
    assert!(w.bytes().unwrap() < before / 20, "{before} {:?}", w.bytes());
    assert_eq!(stored(&w), N / 50);
    let n = ftrl.state_of(&w, "n").unwrap().unwrap();
    assert_eq!((n.rows().unwrap().len(), values(&n)[4 * 7]), (N, 9.0));
    assert!(ftrl.bytes(&Params::new([&w]).unwrap()).unwrap() >= N * 4 * 8);
}

/// A table of rows in no order goes on as one that was read, and so put into order, after each step.
#[test]
fn bits_do_not_depend_on_the_order_of_rows() {
    for update in MODES {
        let weights = [false, true].map(|read| {
            let w = Parameter::new("w", empty(DType::F32)).unwrap();
            let (mut ftrl, mut random) = (ftrl(3, 0.3, update), Random::new(9));
            for _ in 0..200 {
                train(&w, &batch(&mut random, DType::F32), &mut ftrl);
                if read {
                    w.snapshot().unwrap();
                }
            }
            let states = ["z", "n"].map(|name| ftrl.state_of(&w, name).unwrap().unwrap());
            (w.snapshot().unwrap(), states)
        });
        assert_eq!(weights[0], weights[1]);
    }
}

/// A row that is absent would be drawn again.
#[test]
fn drawn_tables_keep_their_zero_rows() {
    for update in [Update::Lazy, Update::Exact] {
        let w = Parameter::drawn("w", [ROWS, K], DType::F64, Init::Normal(0.1), 5).unwrap();
        let mut ftrl = Ftrl::new(0.1).l1(1e6).update(update);
        let mut random = Random::new(2);
        for _ in 0..100 {
            train(
                &w,
                &random.csr_rows::<f64>([4, ROWS], 4, Popularity::Uniform).unwrap(),
                &mut ftrl,
            );
        }
        assert_eq!(w.snapshot().unwrap().rows().unwrap().len(), ROWS);
        assert_eq!(values(&w.snapshot().unwrap()), [0.0; ROWS * K]);
    }
}

/// In exact mode an untouched row, drawn when it is read, is what the dense table has: zero after the first step.
#[test]
fn drawn_rows_have_gone_through_all_steps() {
    let w = Parameter::drawn("w", [ROWS, K], DType::F64, Init::Normal(0.1), 5).unwrap();
    let read = |id: i64| {
        let tape = Tape::new();
        let ids = tape.constant(Tensor::dense([1], vec![id]).unwrap());
        values(&tape.no_grad(|| tape.parameter(&w).take(ids).value()).unwrap())
    };
    let mut ftrl = Ftrl::new(0.1).update(Update::Exact);
    assert!(read(30).iter().all(|x| *x != 0.0));
    let g = Tensor::row_sparse([ROWS, K], vec![3], vec![1.0f64; K]).unwrap();
    step(&w, &g, &mut ftrl);
    assert_eq!(read(30), [0.0; K]);
    assert!(read(3).iter().all(|x| *x != 0.0));
}

#[test]
fn a_learning_rate_of_zero_moves_nothing() {
    for update in MODES {
        let w = Parameter::new("w", Tensor::full([4, K], 0.5f64).unwrap()).unwrap();
        let mut ftrl = Ftrl::new(0.0).update(update);
        step(&w, &Tensor::full([4, K], 2.0f64).unwrap(), &mut ftrl);
        assert_eq!(values(&w.snapshot().unwrap()), [0.5; 4 * K]);
        assert_eq!(values(&ftrl.state_of(&w, "n").unwrap().unwrap()), [0.0; 4 * K]);
    }
}

/// New values count as the weights of the next step, in every mode alike.
#[test]
fn weights_that_are_set() {
    let weights = [Update::Exact, Update::Dense].map(|update| {
        let w = Parameter::new("w", empty(DType::F64)).unwrap();
        let mut ftrl = ftrl(0, 0.1, update);
        run(&w, &mut ftrl, (4, 50));
        w.set(Random::new(6).row_sparse::<f64>([ROWS, K], 0.7).unwrap()).unwrap();
        values(&run(&w, &mut ftrl, (5, 50)))
    });
    assert_eq!(weights[0], weights[1]);
}

/// What optimizers keep is of the rows that are stored; of dropped ones, too, if it is FTRL.
#[test]
fn two_optimizers_of_a_table() {
    let w = Parameter::new("w", empty(DType::F64)).unwrap();
    let mut ftrl = ftrl(0, 0.5, Update::Exact);
    let mut sgd = Sgd::new(0.1).momentum(0.9).update(Update::Exact);
    for seed in 0..20 {
        run(&w, &mut ftrl, (seed, 5));
        run(&w, &mut sgd, (seed, 5));
    }
    let stored = w.snapshot().unwrap();
    let momentum = sgd.state_of(&w, "momentum").unwrap().unwrap();
    assert_eq!(momentum.rows(), stored.rows());
    let n = ftrl.state_of(&w, "n").unwrap().unwrap();
    assert!(stored.rows().unwrap().iter().all(|id| n.rows().unwrap().contains(id)));
}

/// A step that moves nothing leaves what was written after the one before.
#[test]
fn written_rows_stay_in_steps_of_rate_zero() {
    for update in MODES {
        let w = Parameter::new("w", Tensor::full([2, 1], 0.0f64).unwrap()).unwrap();
        let rate = |t| if t == 1 { 0.0 } else { 0.5 };
        let mut ftrl = Ftrl::new(Schedule::of(rate)).update(update);
        let gradient = Tensor::row_sparse([2, 1], vec![0], vec![1.0f64]).unwrap();
        step(&w, &gradient, &mut ftrl);
        w.set_rows(&Tensor::row_sparse([2, 1], vec![1], vec![5.0f64]).unwrap()).unwrap();
        step(&w, &gradient, &mut ftrl);
        assert_eq!(values(&w.snapshot().unwrap())[1], 5.0, "{update:?}");
        step(&w, &gradient, &mut ftrl);
        let written = if update == Update::Lazy { 5.0 } else { 0.0 };
        assert_eq!(values(&w.snapshot().unwrap())[1], written, "{update:?}");
    }
}

/// Zero rows stay stored as long as another optimizer keeps something of them: they may move on.
#[test]
fn what_another_optimizer_keeps_of_zero_rows_stays() {
    for update in MODES {
        let coasted = [Stype::RowSparse, Stype::Default].map(|stype| {
            let w = Parameter::new("w", Tensor::zeros(stype, [3, 1], DType::F64).unwrap()).unwrap();
            let mut sgd = Sgd::new(0.1).momentum(0.5).update(update);
            let mut ftrl = Ftrl::new(0.5).l1(100.0).update(update);
            let gradient = Tensor::row_sparse([3, 1], vec![1], vec![1.0f64]).unwrap();
            step(&w, &gradient, &mut sgd);
            step(&w, &gradient, &mut ftrl);
            assert_eq!(values(&w.snapshot().unwrap()), [0.0; 3]);
            step(&w, &gradient, &mut sgd);
            let moved = values(&w.snapshot().unwrap());
            // Nothing is kept once the other is gone.
            drop(sgd);
            step(&w, &gradient, &mut ftrl);
            assert!(stype == Stype::Default || w.stored_rows().unwrap().is_empty());
            moved
        });
        assert_eq!(coasted[0], [0.0, -0.15000000000000002, 0.0]);
        assert_eq!(coasted[0], coasted[1], "{update:?}");
    }
}

/// Weights that were written as zeros are what z and n say in the next step that moves them.
#[test]
fn zeros_that_do_not_follow_from_the_states_are_not_dropped() {
    for update in [Update::Exact, Update::Dense] {
        let trained = [Stype::RowSparse, Stype::Default].map(|stype| {
            let w = Parameter::new("w", Tensor::zeros(stype, [3, 1], DType::F64).unwrap()).unwrap();
            let rows =
                |ids: Vec<u32>, x| Tensor::row_sparse([3, 1], ids.clone(), vec![x; ids.len()]);
            let rate = |t| if t == 1 { 0.0 } else { 0.5 };
            let mut ftrl = Ftrl::new(Schedule::of(rate)).update(update);
            step(&w, &rows(vec![0, 2], 1.0f64).unwrap(), &mut ftrl);
            w.set_rows(&rows(vec![0, 2], 0.0).unwrap()).unwrap();
            w.freeze_rows(&[2]).unwrap();
            step(&w, &rows(vec![0, 1], 1.0).unwrap(), &mut ftrl);
            step(&w, &Tensor::full([3, 1], 0.0f64).unwrap(), &mut ftrl);
            w.unfreeze_rows(&[2]).unwrap();
            step(&w, &rows(vec![], 0.0).unwrap(), &mut ftrl);
            values(&w.snapshot().unwrap())
        });
        assert!(trained[1][0] < 0.0 && trained[1][2] < 0.0);
        assert_eq!(trained[0], trained[1], "{update:?}");
    }
}

/// Absent rows that were drawn negative are zeros without a sign, in files, too.
#[test]
fn absent_rows_that_became_zero_come_back_from_files() {
    let w = Parameter::drawn("w", [ROWS, K], DType::F64, Init::Normal(1.0), 3).unwrap();
    let gradient = Tensor::row_sparse([ROWS, K], vec![1], vec![1.0f64; K]).unwrap();
    step(&w, &gradient, &mut ftrl(0, 0.1, Update::Exact));
    let all: Vec<u32> = (0..ROWS as u32).collect();
    let params = Params::new([&w]).unwrap();
    let mut loaded = vec![Params::from_archive(params.to_archive().unwrap()).unwrap()];
    step(&w, &Tensor::zeros(Stype::RowSparse, [ROWS, K], DType::F64).unwrap(), &mut Sgd::new(0.1));
    loaded.push(Params::from_archive(params.to_archive().unwrap()).unwrap());
    for loaded in loaded {
        let own = loaded.get("w").unwrap().rows(&all).unwrap();
        assert!(own.same_bits(&w.rows(&all).unwrap()));
    }
}

#[test]
fn bad_settings_are_refused() {
    let cases = [
        (Ftrl::new(0.1).l1(-1.0), "the l1 is -1, but must not be negative"),
        (Ftrl::new(0.1).beta(-1.0), "the beta is -1"),
        (Ftrl::new(0.1).l2(-1.0), "the l2 (weight decay) is -1"),
        (Ftrl::new(-0.1), "the learning rate is -0.1"),
        (Ftrl::new(0.1).l1(f64::NAN), "the l1 is NaN"),
        (Ftrl::new(0.1).l2(f64::INFINITY), "the weight decay is inf"),
        (Ftrl::new(0.1).beta(f64::NAN), "the beta is NaN"),
    ];
    for (mut ftrl, text) in cases {
        let error = refused(&mut ftrl);
        assert!(error.contains(text), "{error}");
    }
    let w = Parameter::new("w", Tensor::full([2, 2], 1.0f64).unwrap()).unwrap();
    w.set_multipliers(-1.0, 1.0).unwrap();
    assert!(refused_for(&w, &mut Ftrl::new(0.1)).contains("the learning rate is -0.1"));
}
