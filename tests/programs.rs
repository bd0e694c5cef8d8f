//! Random programs of many operators: frozen, they give the bits of the tape, outputs and gradients.

use sparsetape::random::{Distribution, Random};
use sparsetape::{
    Bind, ErrorKind, Executor, Fallback, Gradients, Graph, Input, Parameter, Params, Stype, Tape,
    Tensor, Var,
};

const SEED: u64 = 3;

/// Choices that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Values and patterns that follow from a seed; types that do not.
struct Leaves {
    inputs: Vec<Tensor>,
    params: Params,
}

fn leaves(seed: u64) -> Leaves {
    let mut random = Random::new(seed).with_values(Distribution::Uniform(0.25, 1.75));
    let inputs = vec![
        random.dense::<f64>([4, 3]).unwrap(),
        random.dense::<f64>([3, 4]).unwrap(),
        random.dense::<f64>([3]).unwrap(),
        random.csr::<f64>([4, 3], 0.4).unwrap(),
        random.csr::<f64>([3, 4], 0.3).unwrap(),
        random.row_sparse::<f64>([4, 3], 0.5).unwrap(),
        Tensor::dense([4], (0..4).map(|i| (i * seed as i64) % 3).collect::<Vec<_>>()).unwrap(),
    ];
    let table = random.dense::<f64>([3, 3]).unwrap();
    let sparse = random.row_sparse::<f64>([4, 3], 0.6).unwrap();
    let params =
        [Parameter::new("table", table).unwrap(), Parameter::new("sparse", sparse).unwrap()];
    Leaves { inputs, params: Params::new(&params).unwrap() }
}

/// A value made of earlier ones; of many choices the operators refuse the shapes.
fn grown<'t>(tape: &'t Tape, pool: &[Var<'t>], dice: &mut Dice) -> Var<'t> {
    let (x, y) = (dice.one(pool), dice.one(pool));
    let axis = dice.below(2) as isize;
    match dice.below(38) {
        0 => x + y,
        1 => x - y,
        2 => x * y,
        3 => x / (y.square() + 1.0),
        4 => -x,
        5 => x.sin(),
        6 => x.tanh(),
        7 => x.square(),
        8 => x.relu(),
        9 => x.exp(),
        10 => x.sigmoid(),
        11 => x.abs().sqrt(),
        12 => x * 0.75,
        13 => x.sum(),
        14 => x.sum_axes(&[axis], dice.below(2) == 0),
        15 => x.mean_axes(&[axis], true),
        16 => x.max_axes(&[axis], false),
        17 => x.norm(),
        18 => x.identity(),
        19 => x.stop_gradient(),
        20 => x.reshape(&[-1]),
        21 => x.reshape(&[3, 4]),
        22 => x.reshape(&[4, 3]),
        23 => x.transpose(&[1, 0]),
        24 => x.dot(y),
        25 => x.dot_with(y, true, false),
        26 => x.dot_with(y, false, true),
        27 => tape.concat(&[x, y], axis),
        28 => x.slice_axis(axis, 1..3),
        29 => x.softmax(),
        30 => x.log_softmax(),
        31 => x.take(pool[6]),
        32 => x.rows_of(y),
        33 => x.cast_storage(dice.one(&Stype::ALL)),
        34 => x.expand_dims(0).squeeze(&[0]),
        35 => x.dropout(0.4),
        36 => x.minimum(y),
        _ => x.clip(-0.5, 1.5),
    }
}

/// Inputs, values made of them, and a number that depends on all inputs.
fn record<'t>(tape: &'t Tape, inputs: &[Var<'t>], params: &Params, seed: u64) -> Vec<Var<'t>> {
    let mut pool = inputs.to_vec();
    pool.extend(params.iter().map(|p| tape.parameter(p)));
    let leaves = pool.clone();
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..40 {
        let made = grown(tape, &pool, &mut dice);
        // Powers of large values are infinite sooner or later.
        let tame = made.value().is_ok_and(|v| v.shape().len() <= 3 && v.nnz() <= 200);
        if tame {
            pool.push(made);
        }
    }
    let mut outputs: Vec<Var<'t>> = (0..4).map(|_| dice.one(&pool[inputs.len() + 2..])).collect();
    outputs.push(dice.one(inputs));
    outputs.push(outputs[0]);
    let floats = leaves.iter().chain(&outputs).filter(|x| x.dtype().unwrap().is_float());
    let total = floats.map(|x| x.sum()).reduce(|a, b| a + b).unwrap();
    let ids = pool[6].cast(sparsetape::DType::F64).sum();
    outputs.push(total + ids);
    outputs
}

fn name(i: usize) -> String {
    format!("x{i}")
}

fn freeze<'t>(tape: &'t Tape, inputs: &[Var<'t>], outputs: &[Var<'t>]) -> Graph {
    let inputs = inputs.iter().enumerate();
    let inputs = inputs.map(|(i, &x)| Input::new(name(i), x).batch_axis(None));
    tape.freeze(inputs, outputs).unwrap()
}

fn set(executor: &mut Executor, leaves: &Leaves) {
    for (i, x) in leaves.inputs.iter().enumerate() {
        executor.set(&name(i), x).unwrap();
    }
    for parameter in leaves.params.iter() {
        executor.set(parameter.name(), parameter).unwrap();
    }
}

fn bind(leaves: &Leaves) -> Bind {
    let inputs = leaves.inputs.iter().enumerate();
    let bind = Bind::from(&leaves.params).fallback(Fallback::Allow);
    inputs.fold(bind, |bind, (i, x)| bind.tensor(name(i), x.clone()))
}

/// The tape's outputs and gradients of the last one, for these values.
fn eager(graph: &Graph, leaves: &Leaves) -> sparsetape::Result<(Vec<Tensor>, Vec<Tensor>)> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    tape.train(SEED, 0);
    let vars: Vec<(String, Var<'_>)> = leaves
        .inputs
        .iter()
        .enumerate()
        .map(|(i, x)| {
            (
                name(i),
                if x.dtype().is_float() {
                    tape.variable(x.clone())
                } else {
                    tape.constant(x.clone())
                },
            )
        })
        .collect();
    let params = leaves.params.iter().map(|p| (p.name().to_owned(), tape.parameter(p)));
    let vars: Vec<(String, Var<'_>)> = vars.into_iter().chain(params).collect();
    let named: Vec<(&str, Var<'_>)> = vars.iter().map(|(name, x)| (&name[..], *x)).collect();
    let outputs = graph.record(&tape, &named)?;
    let values: Vec<Tensor> = outputs.iter().map(|y| y.value()).collect::<Result<_, _>>()?;
    let mut gradients = Gradients::default();
    outputs.last().unwrap().backward_into(&mut gradients)?;
    let n = leaves.inputs.len();
    let of_inputs = vars[..n].iter().filter(|(_, x)| x.dtype().unwrap().is_float());
    let of_inputs = of_inputs.map(|(_, x)| gradients.wrt(*x).unwrap().clone());
    let of_params = leaves.params.iter().map(|p| gradients.of(p).unwrap().clone());
    Ok((values, of_inputs.chain(of_params).collect()))
}

fn same(seed: u64, what: &str, got: &Tensor, wanted: &Tensor, graph: &Graph) {
    assert!(
        got.same_bits(wanted),
        "program {seed}, {what}: frozen {got}\non the tape {wanted}\n{graph:?}"
    );
}

#[test]
fn random_programs_are_the_same_frozen() {
    let cases = std::env::var("PROGRAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let mut differentiated = 0;
    for seed in 1..=cases {
        let (first, second) = (leaves(seed), leaves(seed + 1_000_000));
        let tape = Tape::new();
        tape.set_fallback(Fallback::Allow);
        let inputs: Vec<Var<'_>> = first.inputs.iter().map(|x| tape.constant(x.clone())).collect();
        let outputs = record(&tape, &inputs, &first.params, seed);
        let graph = freeze(&tape, &inputs, &outputs);
        let total = freeze(&tape, &inputs, &outputs[outputs.len() - 1..]);

        let mut executor = graph.bind(bind(&first)).unwrap();
        for run in [&first, &second, &first] {
            set(&mut executor, run);
            let tape = Tape::new();
            tape.set_fallback(Fallback::Allow);
            let vars: Vec<(String, Var<'_>)> = run
                .inputs
                .iter()
                .enumerate()
                .map(|(i, x)| (name(i), tape.constant(x.clone())))
                .chain(run.params.iter().map(|p| (p.name().to_owned(), tape.parameter(p))))
                .collect();
            let named: Vec<(&str, Var<'_>)> = vars.iter().map(|(n, x)| (&n[..], *x)).collect();
            let wanted: sparsetape::Result<Vec<Tensor>> =
                graph.record(&tape, &named).and_then(|all| all.iter().map(|y| y.value()).collect());
            match (executor.forward(false), wanted) {
                (Ok(()), Ok(wanted)) => {
                    for (k, wanted) in wanted.iter().enumerate() {
                        let Ok(got) = executor.output(k) else { continue };
                        same(seed, &format!("output {k}"), got, wanted, &graph);
                    }
                }
                (Err(a), Err(b)) if a.kind() == b.kind() => {}
                (a, b) => panic!("program {seed}: frozen {a:?}, on the tape {b:?}\n{graph:?}"),
            }
        }

        let names: Vec<String> =
            (0..6).map(name).chain(["table".into(), "sparse".into()]).collect();
        let wanted = names.iter().fold(bind(&first), |bind, name| {
            bind.grad_req(name.clone(), sparsetape::GradReq::Write)
        });
        let mut executor = match (total.bind(wanted), eager(&total, &first)) {
            (Ok(executor), Ok(_)) => executor,
            (Err(a), Err(b)) if a.kind() == b.kind() => {
                assert_eq!(a.kind(), ErrorKind::NotDifferentiable, "{a}");
                continue;
            }
            (a, b) => panic!("program {seed}: frozen {a:?}, on the tape {b:?}"),
        };
        differentiated += 1;
        for run in [&first, &second, &first] {
            set(&mut executor, run);
            executor.set_seed(SEED, 0);
            let ran = executor.forward(true).and_then(|()| executor.backward());
            match (ran, eager(&total, run)) {
                (Ok(()), Ok((values, gradients))) => {
                    same(seed, "the total", executor.output(0).unwrap(), &values[0], &total);
                    for (name, wanted) in names.iter().zip(&gradients) {
                        let got = executor.grad(name).unwrap();
                        same(seed, &format!("gradient of {name}"), got, wanted, executor.graph());
                    }
                }
                (Err(a), Err(b)) if a.kind() == b.kind() => {}
                (a, b) => panic!("program {seed}: frozen {a:?}, on the tape {b:?}\n{total:?}"),
            }
        }
    }
    assert!(differentiated * 2 > cases, "{differentiated} of {cases}");
}
