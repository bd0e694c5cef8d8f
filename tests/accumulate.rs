//! Gradients of several passes and of several workers: added up they are those of the whole batch, bit for
//! bit where the numbers are exact, with work and memory that follow the touched rows.

use std::ops::Range;
use std::thread;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use sparsetape::optim::{Optimizer, Sgd, clip_global_norm, merge};
use sparsetape::{
    Bind, Case, DType, Error, ErrorKind, Executor, Fallback, GradReq, Gradients, Grads, Graph, Op,
    Out, Parameter, Params, PartialShape, Real, Result, Sample, Scratch, Stype, Tape, Tensor, Var,
    View, case, variable,
};

/// Features: too many for any dense temporary of a table.
const HUGE: usize = 4_000_000_000;

fn row_sparse(shape: [usize; 2], rows: &[u32], from: f32) -> Tensor {
    let values = (0..rows.len() * shape[1]).map(|i| from + i as f32).collect::<Vec<_>>();
    Tensor::row_sparse(shape, rows.to_vec(), values).unwrap()
}

fn zeros(stype: Stype, shape: [usize; 2]) -> Tensor {
    Tensor::zeros(stype, shape, DType::F32).unwrap()
}

/// Weights that hold some rows of very many, and a dense bias.
fn parameters(features: usize) -> [Parameter; 2] {
    let w = row_sparse([features, 2], &[1, 3, 9], 1.0);
    let b = Tensor::dense([1, 2], vec![0.5f32, -1.0]).unwrap();
    [("w", w), ("b", b)].map(|(name, value)| Parameter::new(name, value).unwrap())
}

/// Eight rows of small whole numbers: sums of them are exact in any order.
fn batch(features: usize, rows: Range<usize>) -> Tensor {
    let row = |i: usize| [(i % 4 * 3, 1.0 + i as f32), (20 + i % 3, 2.0)];
    Tensor::from_rows(features, &rows.map(row).collect::<Vec<_>>()).unwrap()
}

fn loss<'t>(x: Var<'t>, w: Var<'t>, b: Var<'t>) -> Var<'t> {
    ((x.dot(w) + b) * 0.5).square().sum()
}

fn executor(features: usize, [w, b]: &[Parameter; 2], grad_req: GradReq) -> Executor {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(features)]));
    let graph = Graph::new(&[loss(x, tape.parameter(w), tape.parameter(b))]).unwrap();
    let bind = Bind::new().parameter(w).parameter(b).tensor("x", batch(features, 0..8));
    let bind = bind.grad_req("w", grad_req).grad_req("b", grad_req);
    graph.bind(bind.fallback(Fallback::Deny)).unwrap()
}

fn pass(executor: &mut Executor, x: Tensor) {
    executor.feed(&[("x", &x)]).unwrap();
    executor.forward(true).unwrap();
    executor.backward().unwrap();
}

fn backward([w, b]: &[Parameter; 2], x: Tensor, gradients: &mut Gradients) {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let loss = loss(tape.constant(x), tape.parameter(w), tape.parameter(b));
    loss.backward_into(gradients).unwrap();
}

#[track_caller]
fn assert_same(left: &[Parameter; 2], right: &[Parameter; 2]) {
    for (left, right) in left.iter().zip(right) {
        let (left, right) = (left.snapshot().unwrap(), right.snapshot().unwrap());
        assert!(left.same_bits(&right), "{left}\n{right}");
    }
}

fn kind<T>(result: Result<T, Error>) -> (ErrorKind, String) {
    let Err(error) = result else { panic!("no error") };
    assert_eq!(error.location().map(|at| at.file()), Some(file!()), "{error}");
    (error.kind(), error.to_string())
}

/// Parts of any size, one step: the weights are those of the whole batch in one pass.
#[test]
fn parts_of_a_batch_are_the_batch() {
    let [whole, parts, eager] = [(); 3].map(|()| parameters(HUGE));
    let mut sgd = [(); 3].map(|()| Sgd::new(0.25).momentum(0.5));
    let mut of_whole = executor(HUGE, &whole, GradReq::Write);
    let mut of_parts = executor(HUGE, &parts, GradReq::Add);
    eager.iter().for_each(|p| p.set_grad_req(GradReq::Add));
    let mut gradients = Gradients::default();
    for _ in 0..3 {
        pass(&mut of_whole, batch(HUGE, 0..8));
        of_whole.step(&mut sgd[0]).unwrap();
        for part in [0..2, 2..3, 3..3, 3..8] {
            pass(&mut of_parts, batch(HUGE, part.clone()));
            backward(&eager, batch(HUGE, part), &mut gradients);
        }
        assert_eq!(of_parts.grad("w").unwrap().rows(), Some(&[0, 3, 6, 9, 20, 21, 22][..]));
        of_parts.step(&mut sgd[1]).unwrap();
        assert_eq!(of_parts.grad("w").unwrap().rows(), Some(&[][..]));
        assert_eq!(of_parts.grad("b").unwrap().values::<f32>().unwrap(), [0.0; 2]);
        sgd[2].step(&Params::new(&eager).unwrap(), &gradients).unwrap();
        gradients.clear();
        assert_same(&whole, &parts);
        assert_same(&whole, &eager);
    }
}

/// `backward_into` counts what was added up before it.
#[test]
fn the_last_part_may_be_the_step() {
    let [one, two] = [(); 2].map(|()| parameters(30));
    let mut of_one = executor(30, &one, GradReq::Add);
    let mut of_two = executor(30, &two, GradReq::Add);
    let (mut sgd, mut boxed): (_, Box<dyn Optimizer>) = (Sgd::new(0.25), Box::new(Sgd::new(0.25)));
    for _ in 0..2 {
        pass(&mut of_one, batch(30, 0..3));
        pass(&mut of_one, batch(30, 3..8));
        of_one.step(&mut sgd).unwrap();
        pass(&mut of_two, batch(30, 0..3));
        of_two.feed(&[("x", &batch(30, 3..8))]).unwrap();
        of_two.backward_into(&mut *boxed).unwrap();
        assert_same(&one, &two);
    }
}

/// Of gradients that do not add up, the last counts.
#[test]
fn what_is_written_is_of_the_last_pass() {
    let [one, two] = [(); 2].map(|()| parameters(30));
    let mut of_one = executor(30, &one, GradReq::Write);
    pass(&mut of_one, batch(30, 0..3));
    pass(&mut of_one, batch(30, 3..8));
    of_one.step(&mut Sgd::new(0.25)).unwrap();
    let mut of_two = executor(30, &two, GradReq::Write);
    pass(&mut of_two, batch(30, 3..8));
    of_two.step(&mut Sgd::new(0.25)).unwrap();
    assert_same(&one, &two);
}

#[test]
fn a_step_needs_a_backward_pass() {
    let own = parameters(30);
    let mut sgd = Sgd::new(0.25);
    for (grad_req, gone) in [(GradReq::Write, true), (GradReq::Add, false)] {
        let mut executor = executor(30, &own, grad_req);
        let none = (ErrorKind::State, "no backward pass since the last step");
        let check = |found: (ErrorKind, String), (kind, message): (ErrorKind, &str)| {
            assert!(found.0 == kind && found.1.contains(message), "{found:?}");
        };
        check(kind(executor.step(&mut sgd)), none);
        check(kind(executor.gradients()), none);
        executor.forward(true).unwrap();
        check(kind(executor.step(&mut sgd)), none);
        executor.backward().unwrap();
        executor.step(&mut sgd).unwrap();
        check(kind(executor.step(&mut sgd)), none);
        pass(&mut executor, batch(30, 0..8));
        executor.forward(false).unwrap();
        let stepped = executor.step(&mut sgd);
        match gone {
            true => check(kind(stepped), (ErrorKind::State, "gradient of \"w\" is gone")),
            false => stepped.unwrap(),
        }
    }
}

/// A refusal loses nothing.
#[test]
fn a_refused_step_can_be_made_again() {
    let [one, two] = [(); 2].map(|()| parameters(30));
    let mut of_one = executor(30, &one, GradReq::Add);
    pass(&mut of_one, batch(30, 0..3));
    assert_eq!(kind(of_one.step(&mut Sgd::new(f64::NAN))).0, ErrorKind::Value);
    pass(&mut of_one, batch(30, 3..8));
    of_one.step(&mut Sgd::new(0.25)).unwrap();
    let mut of_two = executor(30, &two, GradReq::Write);
    of_two.backward_into(&mut Sgd::new(0.25)).unwrap();
    assert_same(&one, &two);
}

/// A backward pass that fails adds nothing.
#[test]
fn a_failed_pass_adds_nothing() {
    let tape = Tape::symbolic();
    let (ids, w) = (tape.symbol(variable("ids")), tape.symbol(variable("w").shape([5, 1])));
    let graph = Graph::new(&[w.take(ids).sum()]).unwrap();
    let w = Parameter::new("w", Tensor::full([5, 1], 1.0f32).unwrap()).unwrap();
    let ids = |id: i64| Tensor::dense([1], vec![id]).unwrap();
    let bind = Bind::new().parameter(&w).tensor("ids", ids(1)).grad_req("w", GradReq::Add);
    let mut executor = graph.bind(bind).unwrap();
    for id in [1, 7, 3] {
        executor.feed(&[("ids", &ids(id))]).unwrap();
        let passed = executor.forward(true).and_then(|()| executor.backward());
        assert_eq!(passed.is_err(), id == 7);
    }
    assert_eq!(executor.gradients().unwrap().of(&w).unwrap().rows(), Some(&[1, 3][..]));
    executor.step(&mut Sgd::new(1.0)).unwrap();
    assert_eq!(w.snapshot().unwrap().values::<f32>().unwrap(), [1.0, 0.0, 1.0, 0.0, 1.0]);
}

/// Only what was stepped with starts again, and what is held is never written over.
#[test]
fn gradients_of_other_variables_stay() {
    let tape = Tape::symbolic();
    let (x, w) = (tape.symbol(variable("x")), tape.symbol(variable("w")));
    let graph = Graph::new(&[(x * w).sum()]).unwrap();
    let w = Parameter::new("w", Tensor::full([2], 4.0f32).unwrap()).unwrap();
    let bind = Bind::new().parameter(&w).tensor("x", Tensor::full([2], 1.0f32).unwrap());
    let mut executor = graph.bind(bind.gradients(GradReq::Add)).unwrap();
    executor.backward_into(&mut Sgd::new(1.0)).unwrap();
    executor.forward(true).unwrap();
    executor.backward().unwrap();
    let held = executor.grad("w").unwrap().clone();
    executor.step(&mut Sgd::new(1.0)).unwrap();
    assert_eq!(executor.grad("x").unwrap().values::<f32>().unwrap(), [4.0 + 3.0; 2]);
    assert_eq!(executor.grad("w").unwrap().values::<f32>().unwrap(), [0.0; 2]);
    assert_eq!(held.values::<f32>().unwrap(), [1.0; 2]);
    executor.zero_grad().unwrap();
    assert_eq!(executor.grad("x").unwrap().values::<f32>().unwrap(), [0.0; 2]);
}

/// The first of two numbers times the second, which is its gradient.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Times;

fn times<T: Real>(_: &Times, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    out.dense::<T>()[0] = ins[0].typed::<T>()?[0] * ins[1].typed::<T>()?[0];
    Ok(())
}

impl Op for Times {
    const NAME: &'static str = "times";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins.iter_mut().try_for_each(|shape| shape.unify(out))
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Times>; 1] = [case!([Default, Default] => Default, times)];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || x[1]);
        grads.give(1, || x[0]);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        &ins[0] * &ins[1]
    }

    fn samples() -> Vec<Sample<Self>> {
        Vec::new()
    }
}

/// A gradient that is a parameter itself moves the other one.
#[test]
fn a_parameter_as_a_gradient() {
    for grad_req in [GradReq::Write, GradReq::Add] {
        let make = |name, x| Parameter::new(name, Tensor::full([1], x).unwrap()).unwrap();
        let (a, b) = (make("a", 8.0f32), make("b", 2.0));
        let tape = Tape::symbolic();
        let y = tape.apply(Times, &[tape.parameter(&a), tape.parameter(&b)]);
        let bind = Bind::new().parameter(&a).parameter(&b).gradients(grad_req);
        let mut executor = Graph::new(&[y]).unwrap().bind(bind).unwrap();
        for (wanted_a, wanted_b) in [(7.0, -2.0), (8.0, -5.5)] {
            executor.backward_into(&mut Sgd::new(0.5)).unwrap();
            assert_eq!(a.snapshot().unwrap().item::<f32>().unwrap(), wanted_a);
            assert_eq!(b.snapshot().unwrap().item::<f32>().unwrap(), wanted_b);
        }
    }
}

/// Threads with executors and tapes of their own, one reduced step.
#[test]
fn workers_are_the_batch() {
    let [whole, own, eager] = [(); 3].map(|()| parameters(HUGE));
    let parts = [0..3, 3..3, 3..8];
    for _ in 0..2 {
        let mut of_whole = executor(HUGE, &whole, GradReq::Write);
        of_whole.backward_into(&mut Sgd::new(0.25)).unwrap();
        let gathered = thread::scope(|scope| {
            let work = parts.clone().map(|part| {
                let (own, eager) = (&own, &eager);
                scope.spawn(move || {
                    let mut executor = executor(HUGE, own, GradReq::Write);
                    pass(&mut executor, batch(HUGE, part.clone()));
                    let mut gradients = Gradients::default();
                    backward(eager, batch(HUGE, part), &mut gradients);
                    (executor.gradients().unwrap(), gradients)
                })
            });
            work.map(|worker| worker.join().unwrap())
        });
        let (of_own, of_eager): (Vec<_>, Vec<_>) = gathered.into_iter().unzip();
        for (parameters, parts) in [(&own, of_own), (&eager, of_eager)] {
            let reduced = Gradients::reduce(&parts).unwrap();
            assert_eq!(reduced.of(&parameters[0]).unwrap().stype(), Stype::RowSparse);
            Sgd::new(0.25).step(&Params::new(parameters).unwrap(), &reduced).unwrap();
            assert_same(&whole, parameters);
        }
    }
}

fn only(parameter: &Parameter, gradient: Tensor) -> Gradients {
    let mut gradients = Gradients::default();
    gradients.set(parameter, gradient);
    gradients
}

#[test]
fn reduce_takes_what_there_is() {
    let [w, b] = &parameters(HUGE);
    let shape = [HUGE, 2];
    let none = zeros(Stype::RowSparse, shape);
    let mut first = only(w, row_sparse(shape, &[5, 8], 1.0));
    first.set(b, Tensor::dense([1, 2], vec![1.0f32, 2.0]).unwrap());
    let parts = [first, only(w, none.clone()), Gradients::default()];
    let reduced = Gradients::reduce(&parts).unwrap();
    assert!(reduced.of(w).unwrap().same_bits(parts[0].of(w).unwrap()));
    assert!(reduced.of(b).unwrap().same_bits(parts[0].of(b).unwrap()));
    assert_eq!(reduced.iter().count(), 2);
    assert_eq!(Gradients::reduce(&[]).unwrap().iter().count(), 0);
    let empty = Gradients::reduce(&[only(w, none.clone()), only(w, none)]).unwrap();
    assert_eq!(empty.of(w).unwrap().rows(), Some(&[][..]));

    let wrong = [only(b, zeros(Stype::Default, [1, 2])), only(b, zeros(Stype::Default, [2, 2]))];
    let (kind, message) = kind(Gradients::reduce(&wrong));
    assert!(kind == ErrorKind::Shape && message.contains("gradients of \"b\""), "{message}");
}

#[test]
fn leaves_are_left_out() {
    let [_, b] = &parameters(30);
    let tape = Tape::new();
    let x = tape.variable(Tensor::full([1, 2], 1.0f32).unwrap());
    let gradients = (x * tape.parameter(b)).sum().backward().unwrap();
    assert!(gradients.wrt(x).is_some());
    let reduced = Gradients::reduce(&[gradients]).unwrap();
    assert!(reduced.of(b).is_some() && reduced.wrt(x).is_none());
}

/// The order of the parts is that of the additions.
#[test]
fn the_order_is_that_of_the_parts() {
    let part = |x: f32| row_sparse([HUGE, 1], &[7], x);
    let parts = [part(1e8), part(1.0), part(-1e8), part(1.0)];
    let sum =
        |order: [usize; 4]| merge(&order.map(|i| &parts[i])).unwrap().values::<f32>().unwrap()[0];
    assert_eq!(sum([0, 1, 2, 3]), ((1e8f32 + 1.0) - 1e8) + 1.0);
    assert_eq!(sum([0, 2, 1, 3]), 2.0);
    assert_eq!(sum([0, 1, 3, 2]), 0.0);
}

#[test]
fn merge_of_storage_types() {
    let shape = [5, 2];
    let rows = row_sparse(shape, &[1, 3], 1.0);
    let csr = Tensor::csr(shape, vec![0, 0, 0, 1, 2, 2], vec![1, 0], vec![5.0f32, 7.0]).unwrap();
    let dense = Tensor::full(shape, 1.0f32).unwrap();
    let cases: [(&[&Tensor], Stype); 6] = [
        (&[&rows, &rows], Stype::RowSparse),
        (&[&csr, &csr], Stype::Csr),
        (&[&rows, &csr], Stype::RowSparse),
        (&[&rows, &dense], Stype::Default),
        (&[&dense, &rows, &csr], Stype::Default),
        (&[&dense], Stype::Default),
    ];
    for (parts, stype) in cases {
        let sum = merge(parts).unwrap();
        let to_dense = |x: &Tensor| x.cast_storage(Stype::Default).unwrap();
        let dense: Vec<Tensor> = parts.iter().map(|x| to_dense(x)).collect();
        let wanted = merge(&dense.iter().collect::<Vec<_>>()).unwrap();
        assert!(sum.stype() == stype && to_dense(&sum).same_bits(&wanted));
    }
    let other = zeros(Stype::RowSparse, [6, 2]);
    assert_eq!(kind(merge(&[])).0, ErrorKind::Shape);
    let (kind, message) = kind(merge(&[&rows, &other]));
    assert!(kind == ErrorKind::Shape && message.contains("in merge"), "{message}");
}

/// Clipping and scaling by the norm of what was reduced.
#[test]
fn reduced_gradients_are_clipped_and_scaled() {
    let [w, b] = &parameters(HUGE);
    let params = Params::new([w, b]).unwrap();
    let part = |x| {
        let values = vec![x, 0.0f32];
        let mut part = only(w, Tensor::row_sparse([HUGE, 2], vec![7], values.clone()).unwrap());
        part.set(b, Tensor::dense([1, 2], values).unwrap());
        part
    };
    let mut reduced = Gradients::reduce(&[part(1.0), part(2.0)]).unwrap();
    reduced.set(b, Tensor::dense([1, 2], vec![4.0f32, 0.0]).unwrap());
    assert_eq!(clip_global_norm(&params, &mut reduced, 2.5).unwrap(), 5.0);
    assert_eq!(reduced.of(w).unwrap().rows(), Some(&[7][..]));
    reduced.scale(2.0).unwrap();
    assert_eq!(reduced.of(w).unwrap().values::<f32>().unwrap(), [3.0, 0.0]);
    assert_eq!(reduced.of(b).unwrap().values::<f32>().unwrap(), [4.0, 0.0]);
    assert_eq!(kind(reduced.scale(f64::NAN)).0, ErrorKind::Value);
}
