//! Adam and AdamW: the published algorithm, and the same one in every update mode.

use proptest::prelude::*;
use sparsetape::optim::{Adam, AdamW, Optimizer, Schedule, Update};
use sparsetape::random::Random;
use sparsetape::{
    DType, ErrorKind, Gradients, Init, Parameter, Params, Result, Stype, Tape, Tensor,
};

const ROWS: usize = 40;
const K: usize = 3;

/// What both optimizers take.
#[derive(Clone, Copy, Debug)]
struct Setting {
    decoupled: bool,
    betas: (f64, f64),
    epsilon: f64,
    decay: f64,
    clip: f64,
    bias_correction: bool,
    schedule: usize,
    multipliers: (f64, f64),
}

const PLAIN: Setting = Setting {
    decoupled: false,
    betas: (0.9, 0.999),
    epsilon: 1e-8,
    decay: 0.0,
    clip: -1.0,
    bias_correction: true,
    schedule: 0,
    multipliers: (1.0, 1.0),
};

impl Setting {
    fn schedule(self) -> Schedule {
        match self.schedule {
            0 => Schedule::constant(0.01),
            1 => Schedule::cosine(0.05, 400).warm_up(50),
            2 => Schedule::step(0.05, 60, 0.5),
            // With stretches of nothing.
            _ => Schedule::of(|step| if step / 30 % 2 == 0 { 0.02 } else { 0.0 }),
        }
    }

    fn build(self, update: Update) -> Box<dyn Optimizer> {
        macro_rules! build {
            ($optimizer:ident) => {
                Box::new(
                    $optimizer::new(self.schedule())
                        .beta1(self.betas.0)
                        .beta2(self.betas.1)
                        .epsilon(self.epsilon)
                        .bias_correction(self.bias_correction)
                        .weight_decay(self.decay)
                        .clip_gradient(self.clip)
                        .update(update),
                )
            };
        }
        match self.decoupled {
            true => build!(AdamW),
            false => build!(Adam),
        }
    }
}

prop_compose! {
    fn settings()(
        decoupled: bool,
        betas in prop::sample::select(vec![
            (0.9, 0.999), (0.9, 0.99), (0.5, 0.9), (0.0, 0.999), (0.9, 0.8), (0.9, 0.5), (0.5, 0.0), (0.0, 0.0),
        ]),
        epsilon in prop::sample::select(vec![1e-8, 1e-3, 1.0]),
        decay in prop::sample::select(vec![0.0, 0.01, 1.0]),
        clip in prop::sample::select(vec![-1.0, 0.4]),
        bias_correction: bool,
        schedule in 0..4usize,
        multipliers in prop::sample::select(vec![(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (1.0, 0.0)]),
    ) -> Setting {
        // Where the mean outlives the variance, only this keeps weights from running away.
        let epsilon = if betas.0 * betas.0 > betas.1 { 1.0 } else { epsilon };
        Setting { decoupled, betas, epsilon, decay, clip, bias_correction, schedule, multipliers }
    }
}

fn parameter(start: &Tensor, setting: Setting) -> Parameter {
    let w = Parameter::new("w", start.clone()).unwrap();
    w.set_multipliers(setting.multipliers.0, setting.multipliers.1).unwrap();
    w
}

/// Gradients that follow from the step alone.
fn given(w: &Parameter, steps: usize, touched: f64, seed: u64, adam: &mut dyn Optimizer) {
    let params = Params::new([w]).unwrap();
    let (mut random, mut gradients) = (Random::new(seed), Gradients::default());
    for _ in 0..steps {
        let g = random.row_sparse::<f64>([ROWS, K], touched).unwrap();
        gradients.set(w, g.cast(w.dtype()));
        adam.step(&params, &gradients).unwrap();
    }
}

/// A model whose gradient depends on the current weights: reading a stale row would show.
fn trained(w: &Parameter, steps: usize, seed: u64, adam: &mut dyn Optimizer) {
    let params = Params::new([w]).unwrap();
    let mut random = Random::new(seed);
    for _ in 0..steps {
        let g = random.row_sparse::<f64>([ROWS, K], 0.01).unwrap();
        let ids: Vec<i64> = g.rows().unwrap().iter().map(|&id| i64::from(id)).collect();
        let tape = Tape::new();
        let ids = tape.constant(Tensor::dense([ids.len()], ids).unwrap());
        let y = tape.parameter(w).take(ids);
        let loss = (y * 2.0).sin().sum() * 0.1 + y.square().sum() * 0.2 + y.sum() * 3.0;
        adam.step(&params, &loss.backward().unwrap()).unwrap();
    }
}

/// How far apart tables are, relative to the norm of a row.
fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let values = |x: &Tensor| {
        let dense = x.cast_storage(Stype::Default).unwrap().cast(DType::F64);
        dense.values::<f64>().unwrap().to_vec()
    };
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let far = |(a, b): (&[f64], &[f64])| {
        let apart: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        norm(&apart) / norm(b).max(1e-3)
    };
    let (a, b) = (values(a), values(b));
    let errors: Vec<f64> = a.chunks(K).zip(b.chunks(K)).map(far).collect();
    assert!(errors.iter().all(|e| e.is_finite()), "{errors:?}");
    errors.into_iter().fold(0.0, f64::max)
}

fn far_from_dense(
    start: &Tensor,
    setting: Setting,
    run: impl Fn(&Parameter, &mut dyn Optimizer),
) -> f64 {
    let [exact, dense] = [Update::Exact, Update::Dense].map(|update| {
        let w = parameter(start, setting);
        run(&w, &mut *setting.build(update));
        w.snapshot().unwrap()
    });
    relative(&exact, &dense)
}

fn start(seed: u64, stype: Stype, dtype: DType) -> Tensor {
    let w = Random::new(seed).dense::<f64>([ROWS, K]).unwrap();
    w.cast(dtype).cast_storage(stype).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn exact_is_dense(seed: u64, setting in settings(), touched in prop::sample::select(vec![0.005, 0.05, 0.3])) {
        for stype in [Stype::Default, Stype::RowSparse] {
            for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
                let start = start(seed, stype, dtype);
                let error = far_from_dense(&start, setting, |w, adam| given(w, 500, touched, seed, adam));
                prop_assert!(error < tolerance, "{dtype:?}: {error}");
            }
        }
    }

    #[test]
    fn the_update_is_the_published_one(seed: u64, setting in settings()) {
        for update in [Update::Lazy, Update::Exact, Update::Dense] {
            let start = start(seed, Stype::Default, DType::F64);
            let w = parameter(&start, setting);
            given(&w, 100, 1.0, seed, &mut *setting.build(update));
            let want = published(&start, setting, 100, seed);
            let error = relative(&w.snapshot().unwrap(), &want);
            prop_assert!(error < 1e-12, "{update:?}: {error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn exact_is_dense_where_the_gradient_depends_on_the_weights(seed: u64, setting in settings()) {
        let start = start(seed, Stype::Default, DType::F64);
        let error = far_from_dense(&start, setting, |w, adam| trained(w, 500, seed, adam));
        prop_assert!(error < 1e-10, "{error}");
    }
}

/// As in the papers, element by element, by gradients of all rows.
fn published(start: &Tensor, setting: Setting, steps: usize, seed: u64) -> Tensor {
    let mut w = start.values::<f64>().unwrap().to_vec();
    let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
    let (mut random, (b1, b2)) = (Random::new(seed), setting.betas);
    for t in 1..=steps {
        let g = random.row_sparse::<f64>([ROWS, K], 1.0).unwrap();
        let lr = setting.schedule().at(t as u64 - 1) * setting.multipliers.0;
        let decay = setting.decay * setting.multipliers.1;
        let bound = if setting.clip < 0.0 { f64::INFINITY } else { setting.clip };
        let (c1, c2) = match setting.bias_correction {
            true => (1.0 - b1.powi(t as i32), 1.0 - b2.powi(t as i32)),
            false => (1.0, 1.0),
        };
        for (i, g) in g.values::<f64>().unwrap().iter().enumerate() {
            let coupled = if setting.decoupled { 0.0 } else { decay * w[i] };
            let h = (g + coupled).clamp(-bound, bound);
            m[i] = b1 * m[i] + (1.0 - b1) * h;
            v[i] = b2 * v[i] + (1.0 - b2) * h * h;
            w[i] -= match setting.decoupled {
                true => {
                    lr * (m[i] / c1 / ((v[i] / c2).sqrt() + setting.epsilon)) + lr * decay * w[i]
                }
                false => lr * c2.sqrt() / c1 * m[i] / (v[i].sqrt() + setting.epsilon),
            };
        }
    }
    Tensor::dense([ROWS, K], w).unwrap()
}

/// The same rows in all modes, once all rows are touched by all gradients.
#[test]
fn modes_are_equal_where_every_row_is_touched() {
    for decoupled in [false, true] {
        let setting = Setting { decoupled, decay: 0.1, ..PLAIN };
        let start = start(1, Stype::RowSparse, DType::F32);
        let tables = [Update::Lazy, Update::Exact, Update::Dense].map(|update| {
            let w = parameter(&start, setting);
            given(&w, 50, 1.0, 2, &mut *setting.build(update));
            w.snapshot().unwrap()
        });
        assert!(tables[0] == tables[1] && tables[0] == tables[2]);
    }
}

/// Until a row comes to rest, its steps are those that it would have made in time.
#[test]
fn short_gaps_are_dense_bit_by_bit() {
    for decoupled in [false, true] {
        for dtype in [DType::F32, DType::F64] {
            let setting = Setting { decoupled, ..PLAIN };
            let start = start(3, Stype::Default, dtype);
            let [exact, dense] = [Update::Exact, Update::Dense].map(|update| {
                let w = parameter(&start, setting);
                given(&w, 100, 0.5, 4, &mut *setting.build(update));
                w.snapshot().unwrap()
            });
            assert_eq!(exact, dense);
        }
    }
}

/// A step that touches row 1 alone, then steps that touch nothing.
fn gap(setting: Setting, dtype: DType, steps: usize) -> f64 {
    let start = start(5, Stype::Default, dtype);
    far_from_dense(&start, setting, |w, adam| {
        let params = Params::new([w]).unwrap();
        let mut gradients = Gradients::default();
        let g = Tensor::row_sparse([ROWS, K], vec![1], vec![1e-3, -2.0, 0.0]).unwrap();
        gradients.set(w, g.cast(dtype));
        adam.step(&params, &gradients).unwrap();
        gradients.set(w, Tensor::zeros(Stype::RowSparse, [ROWS, K], dtype).unwrap());
        for _ in 0..steps {
            adam.step(&params, &gradients).unwrap();
        }
    })
}

#[test]
fn extreme_settings_are_dense_too() {
    let settings = [
        ((0.9, 0.999), 0.0, 0.0),
        ((0.0, 0.0), 0.0, 0.0),
        ((0.0, 0.999), 0.0, 0.1),
        ((0.9, 0.5), 0.0, 0.0),
        ((0.9, 0.0), 1e-2, 0.0),
        ((0.99, 0.98), 1e-8, 0.1),
        // Weights shrink faster than their moves, turn their signs, or vanish.
        ((0.9, 0.999), 1e-8, 50.0),
        ((0.9, 0.999), 1e-8, 150.0),
        ((0.9, 0.999), 1e-8, 100.0),
    ];
    for decoupled in [false, true] {
        for (betas, epsilon, decay) in settings {
            let setting = Setting { decoupled, betas, epsilon, decay, ..PLAIN };
            for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
                let error = gap(setting, dtype, 300);
                assert!(error < tolerance, "{setting:?} {dtype:?}: {error}");
            }
        }
    }
}

#[test]
fn weights_without_a_gradient_stay_without_epsilon() {
    for decoupled in [false, true] {
        let setting = Setting { decoupled, epsilon: 0.0, ..PLAIN };
        for update in [Update::Lazy, Update::Exact, Update::Dense] {
            let w = parameter(&start(6, Stype::Default, DType::F32), setting);
            let before = w.snapshot().unwrap();
            given(&w, 3, 0.0, 1, &mut *setting.build(update));
            assert_eq!(w.snapshot().unwrap(), before);
        }
    }
}

#[test]
fn a_long_history_is_restarted() {
    let setting = Setting { decoupled: true, decay: 1e-3, schedule: 1, ..PLAIN };
    let start = start(7, Stype::Default, DType::F64);
    let run = |w: &Parameter, adam: &mut dyn Optimizer| given(w, 12_000, 0.001, 8, adam);
    assert!(far_from_dense(&start, setting, run) < 1e-10);

    let mut adam = AdamW::new(0.01).update(Update::Exact);
    let w = parameter(&start, PLAIN);
    run(&w, &mut adam);
    assert!(adam.bytes(&Params::new([&w]).unwrap()).unwrap() < 3 << 20);
}

#[test]
fn settings_may_change_between_steps() {
    let [exact, dense] = [Update::Exact, Update::Dense].map(|update| {
        let w = parameter(&start(9, Stype::Default, DType::F64), PLAIN);
        let mut adam = AdamW::new(0.01).update(update);
        given(&w, 50, 0.02, 1, &mut adam);
        adam = adam.beta1(0.5).beta2(0.9).weight_decay(0.3);
        given(&w, 50, 0.02, 2, &mut adam);
        adam.set_learning_rate(0.1);
        w.set_multipliers(0.3, 2.0).unwrap();
        given(&w, 50, 0.02, 3, &mut adam);
        w.snapshot().unwrap()
    });
    assert!(relative(&exact, &dense) < 1e-12);
}

#[test]
fn states_are_the_moments() -> Result<()> {
    for stype in [Stype::Default, Stype::RowSparse] {
        let w = Parameter::new("w", Tensor::full([4, 1], 1.0)?.cast_storage(stype)?)?;
        let params = Params::new([&w])?;
        let mut adam = Adam::new(0.5).beta1(0.5).beta2(0.75).update(Update::Exact);
        assert!(adam.state_of(&w, "mean")?.is_none());
        let mut gradients = Gradients::default();
        gradients.set(&w, Tensor::row_sparse([4, 1], vec![2], vec![4.0])?);
        adam.step(&params, &gradients)?;
        gradients.set(&w, Tensor::zeros(Stype::RowSparse, [4, 1], DType::F64)?);
        adam.step(&params, &gradients)?;
        let (mean, variance) = (adam.state_of(&w, "mean")?, adam.state_of(&w, "variance")?);
        let (mean, variance) = (mean.unwrap(), variance.unwrap());
        assert_eq!((mean.stype(), variance.stype()), (stype, stype));
        assert_eq!(mean.values::<f64>()?, [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(variance.values::<f64>()?, [0.0, 0.0, 3.0, 0.0]);
        assert!(adam.state_of(&w, "momentum")?.is_none());
        assert!(adam.bytes(&params)? >= 8 * 8);
    }
    Ok(())
}

/// Rows that are drawn when they are first needed have decayed until then.
#[test]
fn drawn_rows_are_those_of_the_whole_table() -> Result<()> {
    let (init, shape) = (Init::Normal(1.0), [ROWS, K]);
    let all = |w: &Parameter| {
        let tape = Tape::new();
        let ids = Tensor::dense([ROWS], (0..ROWS as i64).collect::<Vec<_>>())?;
        tape.no_grad(|| tape.parameter(w).take(tape.constant(ids)).value())
    };
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
        let setting = Setting { decoupled: true, decay: 0.1, schedule: 1, ..PLAIN };
        let drawn = Parameter::drawn("w", shape, dtype, init, 7)?;
        let whole = Parameter::new("w", init.tensor(Stype::Default, shape, dtype, 7)?)?;
        for (w, update) in [(&drawn, Update::Exact), (&whole, Update::Dense)] {
            let mut adam = setting.build(update);
            trained(w, 10, 3, &mut *adam);
            trained(w, 200, 4, &mut *adam);
        }
        let error = relative(&all(&drawn)?, &all(&whole)?);
        assert!(error < tolerance, "{dtype:?}: {error}");
    }
    Ok(())
}

#[test]
fn drawn_rows_refuse_decay_in_the_gradient_in_exact_mode() -> Result<()> {
    let w = Parameter::drawn("w", [ROWS, K], DType::F64, Init::Normal(1.0), 7)?;
    let params = Params::new([&w])?;
    let mut adam = Adam::new(0.1).weight_decay(0.1).update(Update::Exact);
    let error = adam.step(&params, &Gradients::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains("decoupled decay"), "{error}");
    w.set_multipliers(1.0, 0.0)?;
    trained(&w, 5, 1, &mut adam);
    Ok(())
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let w = parameter(&start(1, Stype::Default, DType::F64), PLAIN);
    let params = Params::new([&w]).unwrap();
    let cases: [(&str, &str, Adam); 8] = [
        ("beta1 is 1", "beta1", Adam::new(0.1).beta1(1.0)),
        ("beta1 is -0.5", "beta1", Adam::new(0.1).beta1(-0.5)),
        ("beta2 is NaN", "beta2", Adam::new(0.1).beta2(f64::NAN)),
        ("epsilon is -1", "epsilon", Adam::new(0.1).epsilon(-1.0)),
        ("epsilon is NaN", "epsilon", Adam::new(0.1).epsilon(f64::NAN)),
        ("epsilon is inf", "epsilon", Adam::new(0.1).epsilon(f64::INFINITY)),
        ("rate is NaN", "learning rate", Adam::new(f64::NAN)),
        ("decay is inf", "weight decay", Adam::new(0.1).weight_decay(f64::INFINITY)),
    ];
    for (text, name, mut adam) in cases {
        let error = adam.step(&params, &Gradients::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Value, "{name}");
        assert!(error.to_string().contains(text) && error.to_string().contains("adam"), "{error}");
    }
    let error = AdamW::new(0.1).beta2(1.5).step(&params, &Gradients::default()).unwrap_err();
    assert!(error.to_string().contains("adamw: beta2 is 1.5"), "{error}");
}
