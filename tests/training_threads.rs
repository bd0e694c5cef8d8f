//! Whole training runs: the same bits of all weights and losses for any number of threads, run after run, eager and
//! frozen.

use rayon::{ThreadPool, ThreadPoolBuilder};
use sparsetape::optim::{AdaGrad, Adam, Optimizer, Sgd, Update};
use sparsetape::random::{Popularity, Random, Zipf};
use sparsetape::{
    Bind, DType, Gradients, Graph, Init, Parameter, Params, Stype, Tape, Tensor, Var, variable,
};

const STEPS: usize = 2;
const PER_ROW: usize = 40;

/// Rows whose entries, at a nanosecond each, take twice what a thread is asked for. For products of 32 columns a
/// quarter of them do.
const ROWS: usize = 6600;

/// The inputs of a step, in the order of `INPUTS`.
type Batch = [Tensor; 2];

const INPUTS: [&str; 2] = ["x", "y"];

struct Model {
    params: fn() -> Params,
    batches: fn() -> Vec<Batch>,
    loss: for<'t> fn([Var<'t>; 2], &[Var<'t>]) -> Var<'t>,
}

fn table(name: &str, shape: [usize; 2], init: Init) -> Parameter {
    let values = init.tensor(Stype::Default, shape, DType::F32, 7).unwrap();
    Parameter::new(name, values).unwrap()
}

const ZERO: Init = Init::Constant(0.0);
const SMALL: Init = Init::Uniform(0.1);

/// Rows whose entries are in so many columns, and their labels.
fn csr_batches(rows: usize, columns: usize) -> Vec<Batch> {
    let mut random = Random::new(3);
    let law = Popularity::ScatteredPowerLaw(0.5);
    let labels: Vec<f32> = (0..rows).map(|i| f32::from(u8::from(i % 3 == 0))).collect();
    let mut batch = || {
        let x = random.csr_rows::<f32>([rows, columns], PER_ROW, law).unwrap();
        [x, Tensor::dense([rows, 1], labels.clone()).unwrap()]
    };
    (0..STEPS).map(|_| batch()).collect()
}

/// More columns than are looked up in one set: they are distributed among spans.
const LOGISTIC_COLUMNS: usize = (1 << 21) + 5;

const LOGISTIC: Model = Model {
    params: || {
        let w = table("w", [LOGISTIC_COLUMNS, 1], ZERO);
        Params::new([&w, &table("b", [1, 1], ZERO)]).unwrap()
    },
    batches: || csr_batches(ROWS, LOGISTIC_COLUMNS),
    loss: |[x, y], p| (x.dot(p[0]) + p[1]).sigmoid_binary_cross_entropy(y),
};

const FACTORS: usize = 32;
const MACHINE_COLUMNS: usize = 20_000;

const MACHINE: Model = Model {
    params: || {
        let w = table("w", [MACHINE_COLUMNS, 1], ZERO);
        Params::new([&w, &table("v", [MACHINE_COLUMNS, FACTORS], SMALL)]).unwrap()
    },
    batches: || csr_batches(ROWS / 4, MACHINE_COLUMNS),
    loss: |[x, y], p| {
        let z = x.dot(p[0]) + x.pair_interactions(p[1]);
        z.sigmoid_binary_cross_entropy(y)
    },
};

const WORDS: usize = 30_000;
const LOOK_UPS: usize = 1 << 14;
const WIDTH: usize = 32;

const EMBEDDING: Model = Model {
    params: || Params::new([&table("e", [WORDS, WIDTH], SMALL)]).unwrap(),
    batches: || {
        let (zipf, mut random) = (Zipf::new(WORDS, 0.5).unwrap(), Random::new(5));
        let mut ids = || (0..LOOK_UPS).map(|_| i64::from(zipf.sample(&mut random))).collect();
        let mut batch = || {
            let ids: Vec<i64> = ids();
            let goal = Tensor::full([LOOK_UPS, WIDTH], 0.25f32).unwrap();
            [Tensor::dense([LOOK_UPS], ids).unwrap(), goal]
        };
        (0..STEPS).map(|_| batch()).collect()
    },
    loss: |[ids, goal], p| (p[0].take(ids) - goal).square().sum(),
};

type Rule = fn() -> Box<dyn Optimizer + Send>;

const SGD: Rule = || Box::new(Sgd::new(0.1).momentum(0.5));
const ADAGRAD: Rule = || Box::new(AdaGrad::new(0.1));
const ADAM: Rule = || Box::new(Adam::new(0.1));
const EXACT_ADAM: Rule = || Box::new(Adam::new(0.1).update(Update::Exact));

/// Losses and weights.
type Trained = Vec<Tensor>;

fn eager(model: &Model, batches: &[Batch], rule: Rule) -> Trained {
    let (params, mut rule) = ((model.params)(), rule());
    let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
    let mut trained = Trained::new();
    for batch in batches {
        tape.clear();
        let p: Vec<Var<'_>> = params.iter().map(|p| tape.parameter(p)).collect();
        let loss = (model.loss)(batch.each_ref().map(|x| tape.constant(x.clone())), &p);
        loss.backward_into(&mut gradients).unwrap();
        rule.step(&params, &gradients).unwrap();
        trained.push(loss.value().unwrap());
    }
    trained.extend(params.iter().map(|p| p.snapshot().unwrap()));
    trained
}

fn graph(model: &Model, params: &Params, batch: &Batch) -> Graph {
    let tape = Tape::symbolic();
    let inputs: Vec<Var<'_>> = INPUTS
        .iter()
        .zip(batch)
        .map(|(name, x)| {
            let of_type = variable(*name).stype(x.stype()).dtype(x.dtype());
            tape.symbol(of_type.shape(x.shape()))
        })
        .collect();
    let p: Vec<Var<'_>> = params.iter().map(|p| tape.parameter(p)).collect();
    Graph::new(&[(model.loss)([inputs[0], inputs[1]], &p)]).unwrap()
}

fn frozen(model: &Model, batches: &[Batch], rule: Rule) -> Trained {
    let (params, mut rule) = ((model.params)(), rule());
    let [x, y] = batches[0].clone();
    let bind = Bind::from(&params).tensor(INPUTS[0], x).tensor(INPUTS[1], y);
    let mut executor = graph(model, &params, &batches[0]).bind(bind.train()).unwrap();
    let mut trained = Trained::new();
    for [x, y] in batches {
        executor.feed(&[(INPUTS[0], x), (INPUTS[1], y)]).unwrap();
        executor.backward_into(&mut *rule).unwrap();
        trained.push(executor.output(0).unwrap().clone());
    }
    trained.extend(params.iter().map(|p| p.snapshot().unwrap()));
    trained
}

/// Nanoseconds that each of a pool's threads has computed for, where the system tells.
fn busy(pool: &ThreadPool) -> Option<Vec<u64>> {
    let own = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse().ok()
    };
    pool.broadcast(|_| own()).into_iter().collect()
}

/// Whether two threads at least computed since.
fn shared(pool: &ThreadPool, before: Option<Vec<u64>>) -> bool {
    const LEAST: u64 = 1_000_000;
    let (Some(before), Some(now)) = (before, busy(pool)) else { return true };
    now.iter().zip(before).filter(|(now, before)| *now - before > LEAST).count() > 1
}

fn same_for_all_threads(model: &Model, rule: Rule) {
    let batches = (model.batches)();
    let run = |threads: usize, how: fn(&Model, &[Batch], Rule) -> Trained| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let before = busy(&pool);
        let trained = pool.install(|| how(model, &batches, rule));
        assert!(threads != 2 || shared(&pool, before), "two threads did not share the work");
        trained
    };
    let once = run(1, eager);
    let start: Trained = (model.params)().iter().map(|p| p.snapshot().unwrap()).collect();
    assert!(start.iter().zip(&once[STEPS..]).all(|(a, b)| !a.same_bits(b)), "nothing moved");
    for threads in [1, 2, 3, 8] {
        for (how, other) in [("eager", run(threads, eager)), ("frozen", run(threads, frozen))] {
            let same = once.iter().zip(&other).all(|(a, b)| a.same_bits(b));
            assert!(same && once.len() == other.len(), "{how}, {threads} threads");
        }
    }
}

macro_rules! runs {
    ($($name:ident: $model:ident, $rule:ident;)*) => {$(
        #[test]
        fn $name() {
            same_for_all_threads(&$model, $rule);
        }
    )*};
}

runs! {
    logistic_with_sgd: LOGISTIC, SGD;
    logistic_with_adagrad: LOGISTIC, ADAGRAD;
    logistic_with_adam: LOGISTIC, ADAM;
    logistic_with_exact_adam: LOGISTIC, EXACT_ADAM;
    machine_with_sgd: MACHINE, SGD;
    machine_with_adagrad: MACHINE, ADAGRAD;
    machine_with_adam: MACHINE, ADAM;
    machine_with_exact_adam: MACHINE, EXACT_ADAM;
    embedding_with_sgd: EMBEDDING, SGD;
    embedding_with_adagrad: EMBEDDING, ADAGRAD;
    embedding_with_adam: EMBEDDING, ADAM;
    embedding_with_exact_adam: EMBEDDING, EXACT_ADAM;
}
