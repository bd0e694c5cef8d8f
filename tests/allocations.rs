//! Kernels take no new memory once warm, measured by a counting allocator.

mod counting;

use std::cell::Cell;
use std::collections::BTreeSet;

use counting::Counting;
use sparsetape::check::Repeated;
use sparsetape::ops::all_repeated;
use sparsetape::optim::{AdaGrad, Adam, Optimizer, Sgd, Update};
use sparsetape::{
    Bind, Executor, GradReq, Gradients, Graph, Parameter, Params, Stype, Tape, Tensor, Var,
    variable,
};

thread_local! {
    /// Allocations of this thread: small work stays on it.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// The largest of them, in bytes.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    COUNT.set(COUNT.get() + 1);
    LARGEST.set(LARGEST.get().max(bytes));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting { taken: count, freed: |_| {} };

/// Operators that allocate in every run where no operand is csr, and why.
const EXCUSED: [(&str, &str); 3] = {
    const PACKED: &str = "`matrixmultiply` packs blocks of dense matrices in memory of its own";
    [("batch_dot", PACKED), ("dot", PACKED), ("dot_map", PACKED)]
};

fn excused(repeated: &Repeated) -> bool {
    EXCUSED.iter().any(|(name, _)| *name == repeated.name())
        && repeated.operands().iter().all(|x| x.stype() != Stype::Csr)
}

/// Allocations of each of three runs.
fn allocations(repeated: &mut Repeated) -> [usize; 3] {
    [(); 3].map(|()| {
        let before = COUNT.get();
        repeated.run().unwrap();
        COUNT.get() - before
    })
}

/// Every operator, table row, good sample and element type: the third run allocates nothing.
#[test]
fn a_third_run_allocates_nothing() {
    let mut all = all_repeated();
    assert!(all.len() > 1000, "{} runs", all.len());
    let mut faults = Vec::new();
    let mut needed = BTreeSet::new();
    for repeated in &mut all {
        let counts = allocations(repeated);
        if counts[2] > 0 && excused(repeated) {
            needed.insert(repeated.name());
        } else if counts[2] > 0 {
            faults.push(format!("{repeated}: {counts:?}"));
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    assert!(EXCUSED.iter().all(|(name, _)| needed.contains(name)), "excuses for {needed:?} only");
}

/// A step on a tape, recorded anew each time, takes memory for its nodes and operators, not for values
/// and patterns.
#[test]
fn a_step_recorded_again_allocates_hardly_anything() {
    let x = Tensor::csr([3, 5], vec![0, 2, 3, 5], vec![0, 4, 2, 1, 4], vec![1.0f32; 5]).unwrap();
    let weight = Parameter::new("weight", Tensor::full([5, 2], 0.5f32).unwrap()).unwrap();
    let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
    let mut step = || {
        tape.clear();
        let (x, w) = (tape.constant(x.clone()), tape.parameter(&weight));
        let y = (x * 2.0).dot(w).tanh() + x.dot(w.square());
        y.sum().backward_into(&mut gradients).unwrap();
    };
    (0..5).for_each(|_| step());
    let before = COUNT.get();
    (0..10).for_each(|_| step());
    let each = (COUNT.get() - before) / 10;
    assert!(each < 16, "{each} allocations in a step");
}

/// So many rows of five entries in `n` columns; another `shift` has other columns, as many.
fn rows(n: usize, count: usize, shift: usize) -> Tensor {
    let column = |i: usize, k: usize| k * (n / 5) + (i * 7 + k + shift) % (n / 5);
    let row = |i| (0..5).map(move |k| (column(i, k), 0.5 + k as f32));
    let rows: Vec<Vec<_>> = (0..count).map(|i| row(i).collect()).collect();
    Tensor::from_rows(n, &rows).unwrap()
}

/// So many ids below `n`, some of them twice.
fn ids(n: usize, count: usize, shift: usize) -> Tensor {
    let ids: Vec<i64> = (0..count).map(|i| ((i / 2 * 7919 + shift) % n) as i64).collect();
    Tensor::dense([count], ids).unwrap()
}

fn labels(count: usize) -> Tensor {
    Tensor::dense([count, 1], (0..count).map(|i| (i % 2) as f32).collect::<Vec<_>>()).unwrap()
}

fn parameter(name: &str, shape: [usize; 2]) -> Parameter {
    let value = |i: usize| (i as f32 * 0.7).sin() * 0.1;
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(value).collect();
    Parameter::new(name, Tensor::dense(shape, values).unwrap()).unwrap()
}

struct Model {
    name: &'static str,
    /// Rows of its tables.
    n: usize,
    parameters: Vec<Parameter>,
    /// Of tables of so many rows, so many examples; another number gives others.
    batch: fn(usize, usize, usize) -> Tensor,
    /// Of a batch, its labels and the parameters.
    loss: for<'t> fn(Var<'t>, Var<'t>, &[Var<'t>]) -> Var<'t>,
}

fn models(n: usize) -> Vec<Model> {
    vec![
        Model {
            name: "logistic",
            n,
            parameters: vec![parameter("w", [n, 1]), parameter("b", [1, 1])],
            batch: rows,
            loss: |x, y, p| (x.dot(p[0]) + p[1]).sigmoid_binary_cross_entropy(y),
        },
        Model {
            name: "softmax head",
            n,
            parameters: vec![parameter("w", [n, 3])],
            batch: rows,
            loss: |x, y, p| x.dot(p[0]).softmax_output(y.reshape(&[-1])),
        },
        Model {
            name: "factorization machine",
            n,
            parameters: vec![parameter("w", [n, 1]), parameter("v", [n, 4])],
            batch: rows,
            loss: |x, y, p| {
                let z = x.dot(p[0]) + x.pair_interactions(p[1]);
                z.dropout(0.25).sigmoid_binary_cross_entropy(y)
            },
        },
        Model {
            name: "embedding",
            n,
            parameters: vec![parameter("e", [n, 4])],
            batch: ids,
            loss: |x, y, p| {
                let z = p[0].take(x).sum_axes(&[1], true);
                z.sigmoid_binary_cross_entropy(y)
            },
        },
    ]
}

type Rule = fn() -> Box<dyn Optimizer + Send>;

const RULES: [(&str, Rule); 4] = [
    ("SGD", || Box::new(Sgd::new(0.1).momentum(0.9))),
    ("AdaGrad", || Box::new(AdaGrad::new(0.1))),
    ("Adam", || Box::new(Adam::new(0.1))),
    ("exact Adam", || Box::new(Adam::new(0.1).update(Update::Exact))),
];

/// Bound to 8 rows.
fn executor(Model { n, parameters, batch, loss, .. }: &Model) -> Executor {
    let tape = Tape::symbolic();
    let first = batch(*n, 8, 0);
    let sizes: Vec<_> =
        [None].into_iter().chain(first.shape()[1..].iter().map(|&n| Some(n))).collect();
    let of_type = variable("x").stype(first.stype()).dtype(first.dtype());
    let x = tape.symbol(of_type.shape(Some(sizes)));
    let y = tape.symbol(variable("y").shape([None, Some(1)]));
    let p: Vec<Var<'_>> = parameters.iter().map(|p| tape.parameter(p)).collect();
    let graph = Graph::new(&[loss(x, y, &p)]).unwrap();
    let bind = Bind::from(&Params::new(parameters).unwrap());
    graph.bind(bind.tensor("x", first).tensor("y", labels(8)).train()).unwrap()
}

/// A step on a tape allocates what its batch asks for, and nothing in the order of a table: neither once warm
/// nor for a batch of a size that has not been seen before.
#[test]
fn eager_steps_allocate_nothing_of_a_tables_size() {
    const N: usize = 1_000_000;
    for (name, rule) in RULES {
        for Model { name: model, n, parameters, batch, loss } in models(N) {
            let (params, mut rule) = (Params::new(&parameters).unwrap(), rule());
            let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
            let mut step = |count: usize, shift: usize| {
                let (x, y) = (batch(n, count, shift), labels(count));
                LARGEST.set(0);
                tape.clear();
                let p: Vec<Var<'_>> = parameters.iter().map(|p| tape.parameter(p)).collect();
                let loss = loss(tape.constant(x), tape.constant(y), &p);
                loss.backward_into(&mut gradients).unwrap();
                rule.step(&params, &gradients).unwrap();
                assert!(loss.value().is_ok());
                LARGEST.get()
            };
            let first = step(64, 0);
            let state = 4 * N;
            assert!(first >= state, "{model}: a state is as large as a table, but {first} bytes");
            step(64, 1);
            for (count, shift) in [(64, 2), (65, 3), (90, 4), (300, 5), (7, 6), (301, 7)] {
                let largest = step(count, shift);
                // For each of five entries, of which some go twice, a row of four.
                let most = 2 * 5 * count * 4 * size_of::<f32>() + 8192;
                assert!(largest <= most, "{model}, {name}: {largest} bytes for {count} rows");
            }
        }
    }
}

/// After the first runs, forward, backward and the optimizer's step allocate nothing, also with other rows.
#[test]
fn executors_allocate_nothing_once_warm() {
    for (name, rule) in RULES {
        for model in models(100) {
            let batches = [0, 3].map(|shift| (model.batch)(100, 8, shift));
            let (mut executor, mut rule) = (executor(&model), rule());
            let mut step = |batch: &Tensor| {
                let before = COUNT.get();
                executor.set("x", batch).unwrap();
                executor.backward_into(&mut *rule).unwrap();
                let training = COUNT.get() - before;
                executor.forward(false).unwrap();
                (training, COUNT.get() - before - training)
            };
            let counts: Vec<_> = (0..8).map(|i| step(&batches[i % 2])).collect();
            assert_eq!(counts[6..], [(0, 0); 2], "{}, {name}: {counts:?}", model.name);
        }
    }
}

/// Nor do several passes that add up, and the step with their sum.
#[test]
fn accumulation_allocates_nothing_once_warm() {
    for model in models(100) {
        model.parameters.iter().for_each(|p| p.set_grad_req(GradReq::Add));
        let (mut executor, mut sgd) = (executor(&model), Sgd::new(0.1).momentum(0.9));
        let parts = [0, 3, 9].map(|shift| (model.batch)(100, 8, shift));
        let mut step = || {
            let before = COUNT.get();
            for part in &parts {
                executor.set("x", part).unwrap();
                executor.forward(true).unwrap();
                executor.backward().unwrap();
            }
            executor.step(&mut sgd).unwrap();
            COUNT.get() - before
        };
        let counts: Vec<_> = (0..8).map(|_| step()).collect();
        assert_eq!(counts[5..], [0; 3], "{}: {counts:?}", model.name);
    }
}

/// Requests of one row each, from borrowed slices.
#[test]
fn requests_allocate_nothing_once_warm() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(100)]));
    let (w, b) = (parameter("w", [100, 1]), parameter("b", [1, 1]));
    let p = (x.dot(tape.parameter(&w)) + tape.parameter(&b)).sigmoid();
    let graph = Graph::new(&[p]).unwrap();
    let weights = [("w", w.snapshot().unwrap()), ("b", b.snapshot().unwrap())];
    let mut executor = graph.bind(Bind::from(weights).shape("x", [1, 100])).unwrap();
    let ids: Vec<u32> = (0..40).map(|i| i * 2).collect();
    let values = [0.5f32; 40];
    let mut request = |n: usize| {
        let before = COUNT.get();
        executor.feed_csr("x", &[0, n], &ids[..n], &values[..n]).unwrap();
        executor.forward(false).unwrap();
        assert!(executor.output(0).unwrap().item::<f32>().unwrap().is_finite());
        let fed = COUNT.get() - before;
        executor.run_csr("x", &[0, n], &ids[..n], &values[..n]).unwrap();
        [fed, COUNT.get() - before - fed]
    };
    let counts: Vec<[usize; 2]> = [40, 40, 40, 17, 40, 0, 3, 40].map(&mut request).to_vec();
    assert_eq!(counts[4..], [[0; 2]; 4], "{counts:?}");
    assert!(executor.feed_csr("x", &[0, 1], &[100], &[1.0f32]).is_err());
    assert!(executor.forward(false).is_err(), "the bad request was not served by an earlier one");
}
