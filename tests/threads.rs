//! One graph in many threads; tables shared by handle between executors, tapes and optimizers.

use std::sync::Barrier;
use std::thread;

use sparsetape::optim::Sgd;
use sparsetape::random::{Popularity, Random};
use sparsetape::{
    Bind, ErrorKind, Gradients, Graph, Parameter, Params, Stype, Tape, Tensor, freeze_fn,
};

const FEATURES: usize = 50;

fn batch(seed: u64, rows: usize) -> Tensor {
    Random::new(seed).csr_rows::<f32>([rows, FEATURES], 5, Popularity::Uniform).unwrap()
}

fn params() -> Params {
    let mut random = Random::new(1);
    let w = Parameter::new("w", random.dense::<f32>([FEATURES, 4]).unwrap()).unwrap();
    let v = Parameter::new("v", random.dense::<f32>([4, 1]).unwrap()).unwrap();
    Params::new([&w, &v]).unwrap()
}

fn model(params: &Params) -> Graph {
    let [w, v] = ["w", "v"].map(|name| params.get(name).unwrap());
    freeze_fn([("x", batch(0, 8))], |tape, x| {
        vec![x[0].dot(tape.parameter(w)).tanh().dot(tape.parameter(v)).sigmoid()]
    })
    .unwrap()
}

/// A graph, what it is bound to and its errors are for all threads; an executor goes where it is sent.
#[test]
fn what_threads_share() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Graph>();
    shared::<Tensor>();
    shared::<Parameter>();
    shared::<Bind>();
    shared::<sparsetape::Error>();
    sent::<sparsetape::Executor>();
}

/// Weights bound as tensors are immutable, and their memory is that of all threads.
#[test]
fn eight_threads_predict_as_one() {
    let params = params();
    let graph = model(&params);
    let weights: Vec<(String, Tensor)> =
        params.iter().map(|p| (p.name().to_owned(), p.snapshot().unwrap())).collect();
    let executor = || {
        let weights = weights.iter().cloned();
        let bind = weights.fold(Bind::new(), |bind, (name, w)| bind.tensor(name, w));
        graph.bind(bind.shape("x", [8, FEATURES])).unwrap()
    };
    let run = |seeds: std::ops::Range<u64>| {
        let mut executor = executor();
        let one = |seed: u64| {
            executor.run(&[("x", &batch(seed, 1 + seed as usize % 9))]).unwrap();
            executor.output(0).unwrap().clone()
        };
        seeds.map(one).collect::<Vec<_>>()
    };
    let alone = run(0..160);
    let together = thread::scope(|scope| {
        let parts: Vec<_> = (0..8).map(|t| scope.spawn(move || run(20 * t..20 * t + 20))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(alone.iter().zip(&together).all(|(a, b)| a.same_bits(b)));
    let held = weights[0].1.values::<f32>().unwrap().as_ptr();
    let bound = executor().arg("w").unwrap();
    assert_eq!(bound.values::<f32>().unwrap().as_ptr(), held, "weights are shared, not copied");
}

/// Threads that read a table while another steps get the values before or after a step, or an
/// error that says so; nobody waits, nothing is torn.
#[test]
fn stepping_while_others_read() {
    let w = Parameter::new("w", Tensor::full([2000, 8], 0.0f32).unwrap()).unwrap();
    let params = Params::new([&w]).unwrap();
    let graph = freeze_fn([("x", Tensor::full([4], 1.0f32).unwrap())], |tape, x| {
        vec![tape.parameter(&w) * 1.0, x[0] * 1.0]
    })
    .unwrap();
    let (w, params, graph, start) = (&w, &params, &graph, &Barrier::new(4));
    thread::scope(|scope| {
        scope.spawn(move || {
            start.wait();
            let (mut sgd, mut gradients) = (Sgd::new(1.0), Gradients::default());
            gradients.set(w, Tensor::full([2000, 8], -1.0f32).unwrap());
            for _ in 0..200 {
                match sgd.step(params, &gradients) {
                    Ok(()) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Busy, "{error}"),
                }
            }
        });
        for _ in 0..3 {
            scope.spawn(move || {
                let x = Tensor::full([4], 1.0f32).unwrap();
                let mut executor = graph.bind(Bind::from(params).tensor("x", x)).unwrap();
                start.wait();
                for _ in 0..200 {
                    match executor.forward(false) {
                        Ok(()) => {
                            let values = executor.output(0).unwrap().values::<f32>().unwrap();
                            assert!(values.iter().all(|v| *v == values[0]), "torn");
                        }
                        Err(error) => {
                            let expected = [ErrorKind::Busy, ErrorKind::Stale];
                            assert!(expected.contains(&error.kind()), "{error}");
                        }
                    }
                }
            });
        }
    });
}

/// An update between forward and backward is an error there; what was computed stays readable.
#[test]
fn an_update_in_between_is_stale() {
    let params = params();
    let graph = model(&params);
    let x = batch(3, 8);
    let mut executor = graph.bind(Bind::from(&params).tensor("x", x.clone()).train()).unwrap();
    executor.forward(true).unwrap();
    let before = executor.output(0).unwrap().clone();
    let v = params.get("v").unwrap();
    v.set(Tensor::full([4, 1], 2.0f32).unwrap()).unwrap();
    let head = Tensor::full([8, 1], 1.0f32).unwrap();
    let name = graph.list_outputs()[0].clone();
    let error = executor.backward_with(&[(&name[..], &head)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale, "{error}");
    assert!(error.to_string().contains("\"v\""), "{error}");
    assert!(executor.output(0).unwrap().same_bits(&before));
    executor.forward(true).unwrap();
    assert!(!executor.output(0).unwrap().same_bits(&before));
    executor.backward_with(&[(&name[..], &head)]).unwrap();
}

/// Executors and tapes see a step at once: they hold the table by handle.
#[test]
fn all_see_a_step_at_once() {
    let params = params();
    let graph = model(&params);
    let w = params.get("w").unwrap();
    let x = batch(3, 8);
    let bound = || graph.bind(Bind::from(&params).tensor("x", x.clone()));
    let (mut one, mut other) = (bound().unwrap(), bound().unwrap());
    let loss = freeze_fn([("x", x.clone())], |tape, x| vec![x[0].dot(tape.parameter(w)).sum()]);
    let mut trainer =
        loss.unwrap().bind(Bind::from(&params).tensor("x", x.clone()).train()).unwrap();
    let snapshot = w.snapshot().unwrap();
    let mut sgd = Sgd::new(0.1);
    for _ in 0..3 {
        trainer.backward_into(&mut sgd).unwrap();
        let tape = Tape::new();
        let (w, v) = (tape.parameter(w), tape.parameter(params.get("v").unwrap()));
        let y = tape.constant(x.clone()).dot(w).tanh().dot(v).sigmoid().value().unwrap();
        for executor in [&mut one, &mut other] {
            executor.forward(false).unwrap();
            assert!(executor.output(0).unwrap().same_bits(&y));
        }
    }
    assert_eq!(trainer.grad("w").unwrap().stype(), Stype::RowSparse);
    assert!(!w.snapshot().unwrap().same_bits(&snapshot), "a snapshot is a copy");
    let again = Random::new(1).dense::<f32>([FEATURES, 4]).unwrap();
    assert!(snapshot.same_bits(&again), "no step writes to a snapshot");
}
