//! AdaGrad, by element and by row.

use proptest::prelude::*;
use sparsetape::optim::{AdaGrad, Update};
use sparsetape::random::Random;
use sparsetape::{DType, Init, Parameter, Stype, Tape, Tensor};

use super::model::{
    K, ROWS, batch, exact_and_dense, refused, relative, schedule, step, train, values,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn exact_is_dense(seed: u64, row_wise: bool, kind in 0usize..4, decay in prop::sample::select(vec![0.0, 0.01, 0.1]), initial in prop::sample::select(vec![0.0, 0.5]), single: bool) {
        let (dtype, bound) = if single { (DType::F32, 1e-4) } else { (DType::F64, 1e-10) };
        let start = Random::new(seed).dense::<f64>([ROWS, K]).unwrap().cast(dtype);
        let make = |update| {
            let adagrad = AdaGrad::new(schedule(kind, 0.1)).row_wise(row_wise).initial(initial);
            adagrad.weight_decay(decay).update(update)
        };
        let [exact, dense] = exact_and_dense(&start, make, (seed ^ 1, 500));
        let error = relative(&exact, &dense);
        prop_assert!(error < bound, "{error}");
    }

    /// The formulas, slowly, with gradients that hold some rows.
    #[test]
    fn is_the_published_algorithm(seed: u64, row_wise: bool, update in prop::sample::select(vec![Update::Lazy, Update::Dense]), sparse: bool) {
        let (lr, decay, rescale, clip, eps, initial) = (0.3, 0.05, 0.5, 0.6, 1e-3, 0.1);
        let mut random = Random::new(seed);
        let mut start = random.dense::<f64>([ROWS, K]).unwrap();
        if sparse {
            start = start.cast_storage(Stype::RowSparse).unwrap();
        }
        let mut want = values(&start);
        let mut history = vec![0.0; want.len()];
        let w = Parameter::new("w", start).unwrap();
        w.set_multipliers(2.0, 0.5).unwrap();
        let mut adagrad = AdaGrad::new(lr / 2.0).epsilon(eps).initial(initial).row_wise(row_wise)
            .weight_decay(decay * 2.0).rescale_grad(rescale).clip_gradient(clip).update(update);
        for _ in 0..20 {
            let gradient = random.row_sparse::<f64>([ROWS, K], 0.3).unwrap();
            let g: Vec<f64> = values(&gradient).iter().map(|g| (rescale * g).clamp(-clip, clip)).collect();
            for row in 0..ROWS {
                let touched = gradient.rows().unwrap().contains(&(row as u32));
                if !touched && update == Update::Lazy {
                    continue;
                }
                let own = row * K..(row + 1) * K;
                let mean = g[own.clone()].iter().map(|g| g * g).sum::<f64>() / K as f64;
                for i in own {
                    history[i] += if row_wise { mean } else { g[i] * g[i] };
                    want[i] -= lr * (g[i] / (history[i] + initial + eps).sqrt() + decay * want[i]);
                }
            }
            step(&w, &gradient, &mut adagrad);
        }
        let got = values(&w.snapshot().unwrap());
        prop_assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} {want:?}");
        let state = adagrad.state_of(&w, "history").unwrap().unwrap();
        let width = if row_wise { 1 } else { K };
        prop_assert_eq!(&state.shape()[..], &[ROWS, width][..]);
        prop_assert_eq!(state.stype(), w.stype());
        let of_row = |i: usize| if row_wise { i * K } else { i };
        let near = |(i, h): (usize, &f64)| (h - history[of_row(i)]).abs() < 1e-12;
        prop_assert!(values(&state).iter().enumerate().all(near));
    }
}

#[test]
fn lazy_is_dense_where_every_row_is_touched() {
    for row_wise in [false, true] {
        let weights = [Update::Lazy, Update::Exact, Update::Dense].map(|update| {
            let mut random = Random::new(3);
            let w = Parameter::new("w", random.dense::<f32>([ROWS, K]).unwrap()).unwrap();
            let mut adagrad = AdaGrad::new(0.1).weight_decay(0.1).row_wise(row_wise).update(update);
            for _ in 0..30 {
                let g = random.dense::<f32>([ROWS, K]).unwrap();
                let g = g.cast_storage(Stype::RowSparse).unwrap();
                step(&w, &g, &mut adagrad);
            }
            values(&w.snapshot().unwrap())
        });
        assert!(weights[0] == weights[1] && weights[1] == weights[2]);
    }
}

#[test]
fn without_decay_all_modes_are_the_same() {
    let weights = [Update::Lazy, Update::Exact, Update::Dense].map(|update| {
        let mut random = Random::new(3);
        let w = Parameter::new("w", random.dense::<f64>([ROWS, K]).unwrap()).unwrap();
        let mut adagrad = AdaGrad::new(0.1).update(update);
        for _ in 0..30 {
            train(&w, &batch(&mut random, DType::F64), &mut adagrad);
        }
        values(&w.snapshot().unwrap())
    });
    assert!(weights[0] == weights[1] && weights[1] == weights[2]);
}

/// A row that is stored only now has decayed from the beginning.
#[test]
fn drawn_rows_have_gone_through_all_steps() {
    let init = Init::Normal(0.5);
    let drawn = Parameter::drawn("w", [ROWS, K], DType::F64, init, 5).unwrap();
    let dense = init.tensor(Stype::Default, [ROWS, K], DType::F64, 5).unwrap();
    let dense = Parameter::new("w", dense).unwrap();
    let weights = [(&drawn, Update::Exact), (&dense, Update::Dense)].map(|(w, update)| {
        let mut adagrad = AdaGrad::new(0.1).weight_decay(0.1).update(update);
        let mut random = Random::new(1);
        for _ in 0..5 {
            train(w, &batch(&mut random, DType::F64), &mut adagrad);
        }
        let tape = Tape::new();
        let ids =
            tape.constant(Tensor::dense([ROWS], (0..ROWS as i64).collect::<Vec<_>>()).unwrap());
        let look_up = || tape.parameter(w).take(ids).value().unwrap();
        let in_passing = tape.no_grad(look_up);
        assert!(update == Update::Dense || w.bytes().unwrap() < ROWS * K * 8);
        assert_eq!(values(&look_up()), values(&in_passing));
        in_passing
    });
    assert!(relative(&weights[0], &weights[1]) < 1e-12);
}

#[test]
fn zeros_without_history_move_nothing() {
    let w = Parameter::new("w", Tensor::full([3, 2], 1.0f32).unwrap()).unwrap();
    for row_wise in [false, true] {
        let mut adagrad = AdaGrad::new(0.1).epsilon(0.0).row_wise(row_wise);
        step(&w, &Tensor::full([3, 2], 0.0f32).unwrap(), &mut adagrad);
        assert_eq!(values(&w.snapshot().unwrap()), [1.0; 6]);
    }
}

#[test]
fn a_number_a_row_is_kept() {
    let w = Parameter::new("w", Tensor::full([100, 16], 1.0f32).unwrap()).unwrap();
    let params = sparsetape::Params::new([&w]).unwrap();
    let mut by_row = AdaGrad::new(0.1).row_wise(true);
    step(&w, &Tensor::full([100, 16], 2.0f32).unwrap(), &mut by_row);
    assert_eq!(by_row.bytes(&params).unwrap(), 400);
    assert_eq!(values(&by_row.state_of(&w, "history").unwrap().unwrap()), [4.0; 100]);
    assert!(by_row.state_of(&w, "momentum").unwrap().is_none());
}

#[test]
fn bad_settings_are_refused() {
    let cases = [
        (AdaGrad::new(0.1).epsilon(-1e-9), "the epsilon is -0.000000001"),
        (AdaGrad::new(0.1).initial(-1.0), "the initial history is -1, but must not be negative"),
        (AdaGrad::new(0.1).epsilon(f64::NAN), "the epsilon is NaN"),
        (AdaGrad::new(0.1).initial(f64::INFINITY), "the initial history is inf"),
        (AdaGrad::new(f64::NAN), "NaN"),
        (AdaGrad::new(0.1).weight_decay(f64::NAN), "the weight decay is NaN"),
    ];
    for (mut adagrad, text) in cases {
        let error = refused(&mut adagrad);
        assert!(error.contains(text), "{error}");
    }
}
