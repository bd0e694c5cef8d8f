//! Executors in the hands of a hostile user: wrong calls are errors at the user's line, values that are
//! held are never written over, and what shares memory stays right.

use sparsetape::optim::Sgd;
use sparsetape::{
    Bind, Error, ErrorKind, Executor, GradReq, Graph, Parameter, Params, Stype, Tape, Tensor, Var,
    variable,
};

fn full(shape: &[usize], x: f32) -> Tensor {
    Tensor::full(shape, x).unwrap()
}

fn ramp(shape: [usize; 2], from: f32) -> Tensor {
    let n = shape[0] * shape[1];
    Tensor::dense(shape, (0..n).map(|i| from + i as f32).collect::<Vec<_>>()).unwrap()
}

fn values(x: &Tensor) -> &[f32] {
    x.values().unwrap()
}

/// A graph of variables of these names.
fn graph<const N: usize>(
    names: [&str; N],
    work: impl for<'t> Fn(&'t Tape, [Var<'t>; N]) -> Vec<Var<'t>>,
) -> Graph {
    let tape = Tape::symbolic();
    let outputs = work(&tape, names.map(|name| tape.symbol(variable(name))));
    Graph::new(&outputs).unwrap()
}

/// The kind of an error, which points at this file.
#[track_caller]
fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    let Err(error) = result else { panic!("no error") };
    let here = error.location().is_some_and(|at| at.file() == file!());
    assert!(here, "{error}");
    error.kind()
}

#[test]
fn wrong_calls_are_errors() {
    let g = graph(["x", "w"], |_, [x, w]| vec![(x * w).named("y")]);
    let x = full(&[2], 3.0);
    assert_eq!(kind(g.bind([("nobody", &x)])), ErrorKind::State);
    assert_eq!(kind(g.bind(Bind::from([("x", &x)]).tensor("x", x.clone()))), ErrorKind::State);
    assert_eq!(kind(g.bind([("x", x.clone()), ("w", full(&[3], 1.0))])), ErrorKind::Shape);
    assert_eq!(kind(g.bind([("x", x.clone()), ("w", x.cast_f64())])), ErrorKind::DType);
    assert_eq!(kind(g.bind(Bind::new().shape("nobody", [2]))), ErrorKind::State);
    assert_eq!(kind(g.bind(Bind::new().grad_req("nobody", GradReq::Write))), ErrorKind::State);
    assert_eq!(kind(g.bind(Bind::new())), ErrorKind::Shape);
    assert_eq!(kind(g.simple_bind(&[("nobody", &[2])])), ErrorKind::State);
    assert_eq!(kind(g.with_gradients(&["nobody"])), ErrorKind::State);
    assert_eq!(kind(g.internal(&["nobody"])), ErrorKind::State);
    assert_eq!(kind(g.infer_shape(&[("nobody", [2].into())])), ErrorKind::State);
    assert_eq!(kind(Graph::new(&[])), ErrorKind::State);

    let mut e = g.bind(Bind::from([("x", &x)]).shape("w", [2])).unwrap();
    assert_eq!(kind(e.output(0)), ErrorKind::State);
    assert_eq!(kind(e.output(1)), ErrorKind::Index);
    assert_eq!(kind(e.arg("w")), ErrorKind::State);
    assert_eq!(kind(e.arg("nobody")), ErrorKind::State);
    assert!(e.grad("nobody").is_none() && e.grad("x").is_none());
    assert_eq!(kind(e.forward(true)), ErrorKind::State);
    assert_eq!(kind(e.backward()), ErrorKind::State);
    assert_eq!(kind(e.set("nobody", &x)), ErrorKind::State);
    assert_eq!(kind(e.set("w", full(&[2, 2], 1.0))), ErrorKind::Shape);
    assert_eq!(kind(e.set("w", x.cast_f64())), ErrorKind::DType);
    assert_eq!(kind(e.reshape(&[("nobody", &[2])])), ErrorKind::State);
    assert_eq!(kind(e.reshape(&[("x", &[2]), ("w", &[3])])), ErrorKind::Shape);
    e.set("w", &x).unwrap();
    e.forward(false).unwrap();
    assert_eq!(values(e.output(0).unwrap()), [9.0; 2]);
}

/// A short way to another element type.
trait Wide {
    fn cast_f64(&self) -> Tensor;
}

impl Wide for Tensor {
    fn cast_f64(&self) -> Tensor {
        self.cast(sparsetape::DType::F64)
    }
}

#[test]
fn backward_wants_a_forward_pass_of_its_own() {
    let g = graph(["x", "w"], |_, [x, w]| vec![(x * w).tanh().sum()]);
    let bind = || Bind::from([("x", full(&[2], 3.0)), ("w", full(&[2], 2.0))]);
    let mut e = g.bind(bind().gradients(GradReq::Write)).unwrap();
    assert_eq!(kind(e.backward()), ErrorKind::State);
    e.forward(true).unwrap();
    e.backward().unwrap();
    let first = e.grad("x").unwrap().clone();
    assert_eq!(kind(e.backward()), ErrorKind::State);
    // What the forward pass read is no more.
    e.forward(true).unwrap();
    e.set("x", full(&[2], 0.5)).unwrap();
    assert_eq!(kind(e.backward()), ErrorKind::State);
    e.forward(true).unwrap();
    e.backward().unwrap();
    assert!(!e.grad("x").unwrap().same_bits(&first));
    assert_eq!(values(e.output(0).unwrap()), [2.0 * 1.0f32.tanh()]);
}

#[test]
fn a_failed_forward_pass_leaves_nothing_to_go_back_through() {
    let g = graph(["table", "ids"], |_, [table, ids]| vec![(table.exp().take(ids)).sum()]);
    let ids = |last| Tensor::dense([2], vec![0i64, last]).unwrap();
    let bind = Bind::new().tensor("table", ramp([3, 2], 0.0)).tensor("ids", ids(1));
    let mut e = g.bind(bind.grad_req("table", GradReq::Write)).unwrap();
    let mut run = |last| {
        e.set("ids", ids(last)).unwrap();
        e.forward(true)
            .and_then(|()| e.backward())
            .map(|()| (e.output(0).unwrap().clone(), e.grad("table").unwrap().clone()))
    };
    let first = run(2).unwrap();
    assert_eq!(run(7).unwrap_err().kind(), ErrorKind::Index);
    let again = run(2).unwrap();
    assert!(first.0.same_bits(&again.0) && first.1.same_bits(&again.1));
    e.set("ids", ids(9)).unwrap();
    assert!(e.forward(true).is_err());
    assert_eq!(kind(e.backward()), ErrorKind::State);
    assert_eq!(kind(e.output(0)), ErrorKind::State);
}

#[test]
fn an_output_without_a_value_is_an_error() {
    let g = graph(["x", "z"], |_, [x, z]| vec![x, z.exp()]);
    let bind = Bind::new().shape("x", [2]).tensor("z", full(&[1], 0.0));
    let mut e = g.bind(bind).unwrap();
    assert_eq!(kind(e.forward(false)), ErrorKind::State);
    e.set("x", full(&[2], 4.0)).unwrap();
    e.forward(false).unwrap();
    assert_eq!(values(e.output(0).unwrap()), [4.0; 2]);
}

/// A cotangent serves one backward pass; where the gradient is the cotangent itself, too.
#[test]
fn heads_are_not_kept() {
    let g = graph(["x"], |_, [x]| vec![x.identity().named("y")]);
    let bind = Bind::from([("x", full(&[2], 3.0))]).gradients(GradReq::Write);
    let mut e = g.bind(bind).unwrap();
    e.forward(true).unwrap();
    assert_eq!(kind(e.backward()), ErrorKind::State);
    e.backward_with(&[("y_output", &full(&[2], 5.0))]).unwrap();
    assert_eq!(values(e.grad("x").unwrap()), [5.0; 2]);
    e.forward(true).unwrap();
    assert_eq!(kind(e.backward()), ErrorKind::State);
    assert_eq!(kind(e.backward_with(&[("nobody", &full(&[2], 5.0))])), ErrorKind::State);
    assert_eq!(kind(e.backward_with(&[("y_output", &full(&[3], 5.0))])), ErrorKind::Shape);
    e.backward_with(&[("y_output", &full(&[2], 6.0))]).unwrap();
    assert_eq!(values(e.grad("x").unwrap()), [6.0; 2]);

    let bind = Bind::new().shape("x", [1]).gradients(GradReq::Write);
    let mut e = g.bind(bind.head_stype("y_output", Stype::Default)).unwrap();
    e.set("x", full(&[1], 3.0)).unwrap();
    for (head, wanted) in [(None, 1.0), (Some(7.0), 7.0), (None, 1.0)] {
        e.forward(true).unwrap();
        let head = head.map(|head| full(&[1], head));
        let heads: Vec<(&str, &Tensor)> = head.iter().map(|head| ("y_output", head)).collect();
        e.backward_with(&heads).unwrap();
        assert_eq!(values(e.grad("x").unwrap()), [wanted]);
        e.zero_grad().unwrap();
    }
}

#[test]
fn what_is_held_is_never_written_over() {
    let g = graph(["x"], |_, [x]| {
        let y = x.exp();
        vec![y, y.reshape(&[-1]), y.transpose(&[1, 0]), (y + 1.0).sum()]
    });
    let g = g.internal(&["exp0_output", "reshape0_output", "transpose0_output", "sum0_output"]);
    let mut e = g.unwrap().bind([("x", ramp([2, 3], 0.0))]).unwrap();
    let mut held: Vec<(Vec<Tensor>, Vec<Vec<f32>>)> = Vec::new();
    for round in 0..6 {
        let rows = 2 + round % 2;
        e.feed(&[("x", &ramp([rows, 3], round as f32))]).unwrap();
        e.forward(false).unwrap();
        let outputs = e.outputs().unwrap();
        let copies = outputs.iter().map(|y| values(y).to_vec()).collect();
        held.push((outputs, copies));
    }
    for (round, (outputs, copies)) in held.iter().enumerate() {
        for (y, copy) in outputs.iter().zip(copies) {
            assert_eq!(values(y), copy);
        }
        let x = ramp([2 + round % 2, 3], round as f32).exp().unwrap();
        assert!(outputs[0].same_bits(&x));
    }
}

/// Inputs and parameters that are outputs, by whatever view, keep their values.
#[test]
fn views_of_inputs_and_parameters() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").shape([2, 3]));
    let w = tape.symbol(variable("w").shape([2, 3]));
    let outputs = [
        x,
        x.reshape(&[-1]),
        x.identity().stop_gradient(),
        x.reshape(&[3, 2]) * 2.0,
        w.reshape(&[-1]) + 1.0,
        w.identity(),
        x.reshape(&[-1]).reshape(&[2, 3]) + w,
    ];
    let g = Graph::new(&outputs).unwrap();
    let w = Parameter::new("w", ramp([2, 3], 10.0)).unwrap();
    let x = ramp([2, 3], 0.0);
    let mut e = g.bind(Bind::new().parameter(&w).tensor("x", x.clone())).unwrap();
    for round in 0..3 {
        let x = ramp([2, 3], round as f32);
        e.set("x", &x).unwrap();
        e.forward(false).unwrap();
        assert!(e.output(0).unwrap().same_bits(&x));
        assert_eq!(values(e.output(1).unwrap()), values(&x));
        assert!(e.output(2).unwrap().same_bits(&x));
        assert_eq!(
            values(e.output(3).unwrap()),
            [0, 1, 2, 3, 4, 5].map(|i| 2.0 * (i + round) as f32)
        );
        assert_eq!(values(e.output(4).unwrap())[0], 11.0 + round as f32);
        assert_eq!(kind(e.output(5)), ErrorKind::State);
        assert_eq!(values(e.output(6).unwrap())[0], 10.0 + 2.0 * round as f32);
        w.set(ramp([2, 3], 11.0 + round as f32)).unwrap();
    }
    assert_eq!(values(&x), values(&ramp([2, 3], 0.0)));
}

#[test]
fn one_node_as_several_outputs() {
    let g = graph(["x"], |_, [x]| {
        let y = x.square();
        vec![y, y, y.sum(), x]
    });
    let x = full(&[2], 3.0);
    let bind = Bind::from([("x", &x)]).gradients(GradReq::Write);
    let mut e = g.bind(bind).unwrap();
    e.forward(true).unwrap();
    let outputs = e.outputs().unwrap();
    assert!(outputs[0].same_bits(&outputs[1]) && outputs[3].same_bits(&x));
    let names = e.graph().list_outputs();
    e.backward_with(&[(&names[0], &x), (&names[3], &x)]).unwrap();
    // One cotangent for the value, not one per place: 2·3·(3 + 1) + 3.
    assert_eq!(values(e.grad("x").unwrap()), [27.0; 2]);
}

#[test]
fn gradients_add_up_over_batches_of_any_size() {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr));
    let w = tape.symbol(variable("w").shape([5, 2]));
    let g = Graph::new(&[data.dot(w).sum()]).unwrap();
    let batch = |rows: &[(usize, f32)]| {
        let rows: Vec<_> = rows.iter().map(|&entry| [entry]).collect();
        Tensor::from_rows(5, &rows).unwrap()
    };
    let empty = Tensor::csr([0, 5], vec![0], vec![], Vec::<f32>::new()).unwrap();
    let batches = [batch(&[(0, 1.0), (3, 2.0)]), batch(&[(3, 4.0)]), empty, batch(&[(1, 8.0)])];
    let bind = Bind::from([("data", batches[0].clone()), ("w", full(&[5, 2], 1.0))]);
    let mut e = g.bind(bind.grad_req("w", GradReq::Add)).unwrap();
    let mut sums = Vec::new();
    for batch in &batches {
        e.feed(&[("data", batch)]).unwrap();
        e.forward(true).unwrap();
        e.forward(false).unwrap();
        e.backward().unwrap();
        sums.push(e.grad("w").unwrap().clone());
    }
    let found: Vec<_> = sums.iter().map(|s| (s.rows().unwrap(), values(s))).collect();
    assert_eq!(found[0], (&[0, 3][..], &[1.0, 1.0, 2.0, 2.0][..]));
    assert_eq!(found[1], (&[0, 3][..], &[1.0, 1.0, 6.0, 6.0][..]));
    assert_eq!(found[2], found[1]);
    assert_eq!(found[3], (&[0, 1, 3][..], &[1.0, 1.0, 8.0, 8.0, 6.0, 6.0][..]));
    e.zero_grad().unwrap();
    assert_eq!(e.grad("w").map(Tensor::nnz), Some(0));
}

#[test]
fn one_parameter_as_two_variables() {
    let g = graph(["a", "b"], |_, [a, b]| vec![(a * 2.0 + b * 3.0).sum()]);
    let w = Parameter::new("w", full(&[2], 1.0)).unwrap();
    let bind = Bind::from([("a", &w), ("b", &w)]).gradients(GradReq::Write);
    let mut e = g.bind(bind).unwrap();
    e.backward_into(&mut Sgd::new(0.5)).unwrap();
    assert_eq!(values(&w.snapshot().unwrap()), [1.0 - 0.5 * 5.0; 2]);
}

#[test]
fn another_parameter_in_the_place_of_one() {
    let g = graph(["w"], |_, [w]| vec![w.square().sum()]);
    let make = |x| Parameter::new("w", full(&[2], x)).unwrap();
    let (first, second) = (make(1.0), make(2.0));
    let bind = Bind::from([("w", &first)]).gradients(GradReq::Write);
    let mut e = g.bind(bind).unwrap();
    let mut sgd = Sgd::new(0.25);
    e.backward_into(&mut sgd).unwrap();
    e.set("w", &second).unwrap();
    e.backward_into(&mut sgd).unwrap();
    assert_eq!(values(&first.snapshot().unwrap()), [0.5; 2]);
    assert_eq!(values(&second.snapshot().unwrap()), [1.0; 2]);
    // Values for a parameter go into it; a tensor cannot take its place.
    e.set("w", full(&[2], 8.0)).unwrap();
    e.feed(&[("w", &full(&[2], 9.0))]).unwrap();
    assert_eq!(values(&second.snapshot().unwrap()), [9.0; 2]);
}

#[test]
fn setting_between_forward_and_step_counts() {
    let g = graph(["x", "w"], |_, [x, w]| vec![(x * w).sum()]);
    let w = Parameter::new("w", full(&[2], 1.0)).unwrap();
    let bind = Bind::new().parameter(&w).tensor("x", full(&[2], 1.0)).train();
    let mut e = g.bind(bind).unwrap();
    e.forward(true).unwrap();
    e.set("x", full(&[2], 4.0)).unwrap();
    e.backward_into(&mut Sgd::new(0.125)).unwrap();
    assert_eq!(values(&w.snapshot().unwrap()), [0.5; 2]);
}

/// Empty batches and axes of size zero, back and forth.
#[test]
fn reshape_back_and_forth() {
    let g = graph(["x", "w"], |_, [x, w]| vec![x.dot(w).tanh(), x.sum_axes(&[0], false)]);
    let w = Parameter::new("w", ramp([3, 2], -2.0)).unwrap();
    let params = Params::new([&w]).unwrap();
    let bind = Bind::from(&params).tensor("x", ramp([2, 3], 0.0));
    let mut e: Executor = g.bind(bind).unwrap();
    for rows in [2, 0, 5, 0, 1, 2, 5] {
        let x = ramp([rows, 3], 0.25);
        e.reshape(&[("x", &[rows, 3])]).unwrap();
        e.set("x", &x).unwrap();
        e.forward(true).unwrap();
        let wanted = x.dot(&w.snapshot().unwrap()).unwrap().tanh().unwrap();
        assert!(e.output(0).unwrap().same_bits(&wanted));
        assert!(e.output(1).unwrap().same_bits(&x.sum_axes(&[0], false).unwrap()));
    }
    // A refused shape changes nothing.
    assert!(e.reshape(&[("x", &[2, 4])]).is_err());
    e.forward(true).unwrap();
    assert_eq!(e.output(0).unwrap().shape()[..], [5, 2]);
}

/// Weights that are tensors keep their shapes, although they do not follow from that of the batch.
#[test]
fn reshape_keeps_what_is_bound() {
    let g = graph(["x", "w"], |_, [x, w]| vec![x.dot(w)]);
    let mut e = g.bind([("x", ramp([2, 3], 0.0)), ("w", ramp([3, 2], 0.0))]).unwrap();
    e.feed(&[("x", &ramp([4, 3], 1.0))]).unwrap();
    e.forward(false).unwrap();
    let wanted = ramp([4, 3], 1.0).dot(&ramp([3, 2], 0.0)).unwrap();
    assert!(e.output(0).unwrap().same_bits(&wanted));
    // If they do not go with it, they follow it, and have no values.
    e.reshape(&[("x", &[2, 5]), ("w", &[5, 1])]).unwrap();
    assert_eq!(kind(e.forward(false)), ErrorKind::State);
}

#[test]
fn constants_and_integers_are_outputs_too() {
    let tape = Tape::new();
    let x = tape.constant(ramp([2, 3], 0.0));
    let c = tape.constant(full(&[2], 7.0));
    let best = x.argmax(1);
    let g = tape.freeze([("x", x)], [c, best, x * 2.0]).unwrap();
    let mut e = g.bind([("x", ramp([4, 3], 0.0))]).unwrap();
    for _ in 0..2 {
        e.forward(false).unwrap();
        assert_eq!(values(e.output(0).unwrap()), [7.0; 2]);
        assert_eq!(e.output(1).unwrap().values::<i64>().unwrap(), [2; 4]);
    }
    let training = g.with_gradients(&["x"]);
    assert!(training.is_err() || training.unwrap().list_gradients() == ["x"]);
}

/// The masks of a frozen graph are those of the tape at the same seed and step.
#[test]
fn dropout_has_the_tapes_masks() {
    let x = full(&[8, 8], 1.0);
    let record = |tape: &Tape, step: u64| {
        tape.train(11, step);
        let leaf = tape.variable(x.clone());
        let y = leaf.dropout(0.5).dropout(0.25);
        let dx = y.sum().backward().unwrap().wrt(leaf).unwrap().clone();
        (y.value().unwrap(), dx)
    };
    let tape = Tape::new();
    let leaf = tape.constant(x.clone());
    let y = leaf.dropout(0.5).dropout(0.25);
    let g = tape.freeze([("x", leaf)], [y, y.sum()]).unwrap();
    let total = g.internal(&["sum0_output"]).unwrap().with_gradients(&["x"]).unwrap();
    let mut e = g.bind([("x", &x)]).unwrap();
    let mut trainer = total.bind([("x", &x)]).unwrap();
    e.set_seed(11, 4);
    trainer.set_seed(11, 4);
    for step in 4..7 {
        let (y, dx) = record(&Tape::new(), step);
        e.forward(true).unwrap();
        assert!(e.output(0).unwrap().same_bits(&y));
        trainer.forward(true).unwrap();
        trainer.backward().unwrap();
        assert!(trainer.grad("x").unwrap().same_bits(&dx));
        e.forward(false).unwrap();
        assert!(e.output(0).unwrap().same_bits(&x));
    }
}

#[test]
fn a_head_that_is_the_gradient_stays() {
    let tape = Tape::symbolic();
    let graph = Graph::new(&[tape.symbol(variable("x"))]).unwrap();
    let bind = Bind::from([("x", full(&[1], 3.0))]).grad_req("x", GradReq::Write);
    let mut executor = graph.bind(bind.head_stype("x", Stype::Default)).unwrap();
    for head in [-2.0, 5.0] {
        executor.forward(true).unwrap();
        executor.backward_with(&[("x", &full(&[1], head))]).unwrap();
        assert_eq!(executor.grad("x").unwrap().values::<f32>().unwrap(), [head]);
    }
}

#[test]
fn a_step_without_parameters_is_an_error() {
    let tape = Tape::symbolic();
    let graph = Graph::new(&[tape.symbol(variable("x").shape([2])).square().sum()]).unwrap();
    let mut executor = graph.simple_bind(&[]).unwrap();
    let error = executor.backward_into(&mut Sgd::new(0.1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains("bound to a parameter"), "{error}");
}

#[test]
fn a_step_trains_also_after_a_prediction() {
    let w = Parameter::new("w", Tensor::full([64], 1.0f32).unwrap()).unwrap();
    let tape = Tape::symbolic();
    let graph = Graph::new(&[tape.symbol(variable("w")).dropout(0.5).sum()]).unwrap();
    let mut executor = graph.bind(Bind::new().parameter(&w).train()).unwrap();
    executor.forward(false).unwrap();
    executor.backward_into(&mut Sgd::new(1.0)).unwrap();
    let moved = w.snapshot().unwrap();
    let kept = moved.values::<f32>().unwrap().iter().filter(|x| **x == 1.0).count();
    assert!((8..56).contains(&kept), "{kept} of 64 were dropped");
}

#[test]
fn a_reshape_that_fails_changes_nothing() {
    let tape = Tape::symbolic();
    let graph = Graph::new(&[tape.symbol(variable("x")).exp()]).unwrap();
    let mut executor = graph.bind([("x", Tensor::full([2], 0.0f32).unwrap())]).unwrap();
    assert!(executor.reshape(&[("x", &[1 << 60])]).is_err());
    executor.forward(false).unwrap();
    assert_eq!(executor.output(0).unwrap().values::<f32>().unwrap(), [1.0; 2]);
}

#[test]
fn a_bad_request_is_blamed_on_the_caller() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(9)]));
    let mut executor = Graph::new(&[x.sin()]).unwrap().simple_bind(&[("x", &[1, 9])]).unwrap();
    let error = executor.feed_csr("x", &[0, 1], &[70], &[1.0f32]).unwrap_err();
    assert_eq!(error.location().map(|at| at.file()), Some(file!()));
    assert!(error.to_string().starts_with("csr(x): indices[0] = 70"), "{error}");
}

#[test]
fn a_variable_that_is_an_output_has_a_gradient() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").shape([3]));
    let graph = Graph::new(&[x]).unwrap();
    let mut executor = graph.bind(Bind::new().zeros().gradients(GradReq::Write)).unwrap();
    executor.forward(true).unwrap();
    let head = Tensor::full([3], 2.0f32).unwrap();
    executor.backward_with(&[("x", &head)]).unwrap();
    assert_eq!(executor.grad("x").unwrap().values::<f32>().unwrap(), [2.0; 3]);
}

/// Small values run in segments, or step by step while someone looks; also when that changes between the
/// passes, and among shapes.
#[test]
fn who_looks_changes_nothing() {
    let g = graph(["x", "w", "s"], |_, [x, w, s]| {
        let mut h = (x * w).tanh();
        for _ in 0..3 {
            h = (h * w + x).sigmoid() * s + h.exp() / (h.square() + 1.5);
            h = h.maximum(x * 0.125).abs();
        }
        vec![h.sum(), h.named("h")]
    });
    let g = g.with_gradients(&["x", "w", "s"]).unwrap();
    let w = Parameter::new("w", Tensor::scalar(0.5f32)).unwrap();
    let (s, x) = (Tensor::scalar(0.25f32), ramp([1, 5], -1.0));
    let bind = Bind::from([("s", &s), ("x", &x)]).parameter(&w);
    let mut e = g.bind(bind).unwrap();
    let mut wanted: Vec<Tensor> = Vec::new();
    for watched in [[true, true], [false, false], [true, false], [false, true], [false, false]] {
        let watch =
            |e: &mut Executor, on| if on { e.start_profile() } else { drop(e.stop_profile()) };
        e.feed(&[("x", &ramp([1, 7], 2.0))]).unwrap();
        e.forward(false).unwrap();
        e.feed(&[("x", &x)]).unwrap();
        watch(&mut e, watched[0]);
        e.forward(true).unwrap();
        watch(&mut e, watched[1]);
        e.backward_with(&[("h_output", &ramp([1, 5], 0.5))]).unwrap();
        let own: Vec<Tensor> =
            ["x", "w", "s"].iter().map(|name| e.grad(name).unwrap().clone()).collect();
        let own: Vec<Tensor> = e.outputs().unwrap().into_iter().chain(own).collect();
        if wanted.is_empty() {
            wanted = own.clone();
        }
        assert!(own.iter().zip(&wanted).all(|(own, wanted)| own.same_bits(wanted)), "{watched:?}");
    }
}

/// Segments read parameters as any operator does: as they were when the pass began, or not at all.
#[test]
fn segments_notice_updates() {
    let g = graph(["x", "w"], |_, [x, w]| vec![(x * w).tanh().sum()]);
    let g = g.with_gradients(&["x"]).unwrap();
    let w = Parameter::new("w", full(&[2], 1.0)).unwrap();
    let mut e = g.bind(Bind::from([("x", full(&[2], 3.0))]).parameter(&w)).unwrap();
    e.forward(true).unwrap();
    w.set(full(&[2], 2.0)).unwrap();
    let error = e.backward().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    assert!(error.operator_name().is_some() && error.location().is_some(), "{error}");
    e.forward(true).unwrap();
    e.backward().unwrap();
    assert_eq!(values(e.output(0).unwrap()), [2.0 * 6.0f32.tanh()]);
}
