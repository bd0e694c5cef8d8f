//! Exact updates are dense ones, at the cost of lazy ones.

use proptest::prelude::*;
use sparsetape::optim::{Sgd, Update};
use sparsetape::random::{Popularity, Random};
use sparsetape::{Parameter, Params, Tape, Tensor};

const ROWS: usize = 40;
const K: usize = 3;

/// A model whose gradient depends on the current weights: reading a stale row would show.
fn step(w: &Parameter, x: &Tensor, sgd: &mut Sgd) -> f64 {
    let tape = Tape::new();
    let y = tape.constant(x.clone()).dot(tape.parameter(w));
    let loss = (y * 2.0).sin().sum() * 0.1 + y.square().sum() * 0.2;
    let gradients = loss.backward().unwrap();
    sgd.step(&Params::new([w]).unwrap(), &gradients).unwrap();
    loss.item().unwrap()
}

fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let rows =
        |x: &Tensor| x.values::<f64>().unwrap().chunks(K).map(<[f64]>::to_vec).collect::<Vec<_>>();
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let far = |(a, b): (Vec<f64>, Vec<f64>)| {
        let apart: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        norm(&apart) / norm(&b).max(1e-3)
    };
    rows(a).into_iter().zip(rows(b)).map(far).fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn exact_is_dense(seed in any::<u64>(), momentum in prop::sample::select(vec![0.0, 0.5, 0.9]), decay in prop::sample::select(vec![0.0, 0.01, 0.1]), nesterov: bool) {
        let start = Random::new(seed).dense::<f64>([ROWS, K]).unwrap();
        let weights = [Update::Exact, Update::Dense].map(|update| {
            let w = Parameter::new("w", start.clone()).unwrap();
            let mut sgd = Sgd::new(0.05).momentum(momentum).nesterov(nesterov).weight_decay(decay).update(update);
            let mut random = Random::new(seed ^ 1);
            for _ in 0..500 {
                let x = random.csr_rows::<f64>([2, ROWS], 2, Popularity::Uniform).unwrap();
                step(&w, &x, &mut sgd);
            }
            w.snapshot().unwrap()
        });
        let error = relative(&weights[0], &weights[1]);
        prop_assert!(error < 1e-10, "{error}");
    }
}
