//! Graphs: composed or frozen, bound, run, trained.

use sparsetape::optim::Sgd;
use sparsetape::{
    Bind, ErrorKind, Fallback, GradReq, Gradients, Graph, Parameter, Params, Stype, Tape, Tensor,
    freeze_fn, variable,
};

fn x(rows: usize) -> Tensor {
    let entries = (0..rows as u32).map(|i| vec![(i as usize % 5, 1.5f32 + i as f32), (7, -0.5)]);
    Tensor::from_rows(9, &entries.collect::<Vec<_>>()).unwrap()
}

fn y(rows: usize) -> Tensor {
    Tensor::dense([rows, 1], (0..rows).map(|i| (i % 2) as f32).collect::<Vec<_>>()).unwrap()
}

fn parameters() -> (Parameter, Parameter, Params) {
    let w = Tensor::dense([9, 1], (0..9).map(|i| (i as f32).sin()).collect::<Vec<_>>()).unwrap();
    let w = Parameter::new("w", w).unwrap();
    let b = Parameter::new("b", Tensor::full([1], 0.25f32).unwrap()).unwrap();
    let params = Params::new([&w, &b]).unwrap();
    (w, b, params)
}

#[test]
fn a_frozen_training_graph_trains_as_the_tape_does() {
    let (w, b, params) = parameters();
    let tape = Tape::new();
    let (data, label) = (tape.constant(x(4)), tape.constant(y(4)));
    let logits = data.dot(tape.parameter(&w)) + tape.parameter(&b);
    let loss = logits.sigmoid_binary_cross_entropy(label);
    let graph = tape.freeze([("data", data), ("label", label)], [loss]).unwrap();
    let bind = Bind::new().params(&params).tensor("data", x(4)).tensor("label", y(4)).train();
    let mut executor = graph.bind(bind).unwrap();
    let mut sgd = Sgd::new(0.5).momentum(0.9);
    for _ in 0..5 {
        executor.backward_into(&mut sgd).unwrap();
    }

    let (v, c, others) = parameters();
    let mut sgd = Sgd::new(0.5).momentum(0.9);
    let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
    for _ in 0..5 {
        tape.clear();
        let logits = tape.constant(x(4)).dot(tape.parameter(&v)) + tape.parameter(&c);
        let loss = logits.sigmoid_binary_cross_entropy(tape.constant(y(4)));
        loss.backward_into(&mut gradients).unwrap();
        sgd.step(&others, &gradients).unwrap();
    }
    assert!(w.snapshot().unwrap().same_bits(&v.snapshot().unwrap()));
    assert!(b.snapshot().unwrap().same_bits(&c.snapshot().unwrap()));
}

#[test]
fn a_frozen_graph_runs_at_another_batch_size() {
    let (w, b, params) = parameters();
    let graph = freeze_fn([("data", x(3))], |tape, inputs| {
        vec![(inputs[0].dot(tape.parameter(&w)) + tape.parameter(&b)).sigmoid()]
    })
    .unwrap();
    let mut executor = graph.bind(Bind::from(&params).tensor("data", x(3))).unwrap();
    for rows in [3, 7, 1, 7] {
        executor.run(&[("data", &x(rows))]).unwrap();
        let tape = Tape::new();
        let eager = tape.constant(x(rows)).dot(tape.parameter(&w)) + tape.parameter(&b);
        assert!(executor.output(0).unwrap().same_bits(&eager.sigmoid().value().unwrap()));
    }
}

#[test]
fn baked_batch_sizes_are_found() {
    let tape = Tape::new();
    let x = tape.constant(Tensor::full([4, 2], 1.0f32).unwrap());
    let error = tape.freeze([("x", x)], [x.reshape(&[2, 4])]).unwrap_err();
    assert_eq!((error.kind(), error.operator_name()), (ErrorKind::Shape, Some("reshape")));
    assert!(error.location().unwrap().file().ends_with("graph.rs"), "{error}");

    let example = Tensor::full([4, 2], 1.0f32).unwrap();
    let error = freeze_fn([("x", example)], |_, x| vec![x[0].sum() * (1.0 / 4.0)]);
    assert!(error.is_ok(), "the same at both sizes");
    let example = Tensor::full([4, 2], 1.0f32).unwrap();
    let error = freeze_fn([("x", example)], |_, x| {
        vec![x[0].sum() * (1.0 / x[0].shape().unwrap()[0] as f64)]
    });
    let error = error.unwrap_err();
    assert!(error.to_string().contains("differs between batch sizes"), "{error}");
}

#[test]
fn gradients_accumulate_where_asked() {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr));
    let w = tape.symbol(variable("w"));
    let graph = Graph::new(&[data.dot(w).sum()]).unwrap();
    let bind = Bind::from([("data", x(3)), ("w", Tensor::full([9, 1], 1.0f32).unwrap())])
        .grad_req("w", GradReq::Add);
    let mut executor = graph.bind(bind).unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        executor.forward(true).unwrap();
        executor.backward().unwrap();
        let gradient = executor.grad("w").unwrap();
        assert_eq!(gradient.stype(), Stype::RowSparse);
        seen.push(gradient.values::<f32>().unwrap().to_vec());
    }
    let times = |n: f32| seen[0].iter().map(|x| n * x).collect::<Vec<_>>();
    assert_eq!((&seen[1], &seen[2]), (&times(2.0), &times(3.0)));
    executor.zero_grad().unwrap();
    executor.forward(true).unwrap();
    executor.backward().unwrap();
    assert_eq!(executor.grad("w").unwrap().values::<f32>().unwrap(), seen[0]);
}

#[test]
fn heads_and_labels() {
    let tape = Tape::symbolic();
    let (a, b) = (tape.symbol(variable("a")), tape.symbol(variable("b")));
    let graph = Graph::new(&[(a * b).named("product")]).unwrap();
    let full = |v: f32| Tensor::full([2], v).unwrap();
    let bind = Bind::from([("a", full(2.0)), ("b", full(3.0))]).gradients(GradReq::Write);
    let mut executor = graph.bind(bind).unwrap();
    executor.forward(true).unwrap();
    let error = executor.backward().unwrap_err();
    assert!(error.to_string().contains("backward_with"), "{error}");
    executor.backward_with(&[("product_output", &full(10.0))]).unwrap();
    assert_eq!(executor.grad("a").unwrap().values::<f32>().unwrap(), [30.0; 2]);

    let label = tape.symbol(variable("label"));
    let out = a.linear_regression_output(label, 1.0);
    let graph = Graph::new(&[out]).unwrap();
    let bind = Bind::from([("a", full(2.0))]).gradients(GradReq::Write);
    let mut executor = graph.bind(bind).unwrap();
    executor.forward(false).unwrap();
    assert_eq!(executor.output(0).unwrap().values::<f32>().unwrap(), [2.0; 2]);
    let error = executor.backward().unwrap_err();
    assert!(error.to_string().contains("\"label\""), "{error}");
    executor.set("label", full(0.5)).unwrap();
    executor.backward().unwrap();
    assert_eq!(executor.grad("a").unwrap().values::<f32>().unwrap(), [1.5; 2]);
    assert_eq!(executor.grad("label").unwrap().values::<f32>().unwrap(), [-1.5; 2]);
}

#[test]
fn values_of_another_storage_type_are_cast() {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr).shape([2, 3]));
    let graph = Graph::new(&[data * 2.0]).unwrap();
    let dense = Tensor::dense([2, 3], vec![0.0f32, 1.0, 0.0, 0.0, 0.0, 2.0]).unwrap();
    let mut executor = graph.bind(Bind::new().fallback(Fallback::Allow)).unwrap();
    executor.set("data", &dense).unwrap();
    executor.forward(false).unwrap();
    assert_eq!(executor.output(0).unwrap().nnz(), 2);
    let mut executor = graph.bind(Bind::new().fallback(Fallback::Deny)).unwrap();
    assert_eq!(executor.set("data", &dense).unwrap_err().kind(), ErrorKind::Fallback);
    assert_eq!(executor.forward(false).unwrap_err().kind(), ErrorKind::State);
    let wide = Tensor::full([2, 4], 1.0f32).unwrap();
    assert_eq!(executor.set("data", wide).unwrap_err().kind(), ErrorKind::Shape);
}

#[test]
fn fallbacks_may_be_denied_when_freezing() {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let data = tape.constant(x(3));
    let (y, line) = (data.exp(), line!());
    assert!(tape.freeze([("data", data)], [y]).is_ok());
    tape.set_fallback(Fallback::Deny);
    let error = tape.freeze([("data", data)], [y]).unwrap_err();
    let at = error.location().map(|at| at.line());
    assert_eq!((error.kind(), at), (ErrorKind::Fallback, Some(line)));
    let meant = data.cast_storage(Stype::Default).exp();
    assert!(tape.freeze([("data", data)], [meant]).is_ok());
}

/// What was inferred while little was known does not stand in the way of what follows later.
#[test]
fn labels_follow_from_data_that_is_known_later() {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr));
    let weight = tape.symbol(variable("weight").shape([None, Some(3)]));
    let label = tape.symbol(variable("label"));
    let graph = Graph::new(&[data.dot(weight).softmax_output(label).named("p")]).unwrap();
    let shapes = graph.infer_shape(&[("data", [4, 10].into())]).unwrap();
    assert_eq!(
        shapes.to_string(),
        "data      (4, 10)\nweight    (10, 3)\nlabel     (4,)\np_output  (4, 3)\n"
    );
    // Probabilities are labels too.
    let known = [("data", [4, 10].into()), ("label", [4, 3].into())];
    assert_eq!(graph.infer_shape(&known).unwrap().get("label").unwrap().to_string(), "(4, 3)");
}

#[test]
fn nodes_go_by_their_names_and_their_outputs() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").shape([3]));
    let graph = Graph::new(&[x.exp().named("odds").log1p()]).unwrap();
    for name in ["odds", "odds_output"] {
        assert_eq!(graph.internal(&[name]).unwrap().list_outputs(), ["odds_output"]);
        assert!(graph.explain(name).unwrap().starts_with("odds = exp(x)"));
    }
    let mut executor = graph.simple_bind(&[]).unwrap();
    let head = Tensor::full([3], 1.0f32).unwrap();
    for name in ["log1p0", "log1p0_output"] {
        executor.forward(true).unwrap();
        executor.backward_with(&[(name, &head)]).unwrap();
    }
    assert!(executor.grad("x").is_some());
}

/// Mistakes in what a graph is told are those of the line that told it.
#[test]
fn errors_point_at_the_callers_line() {
    let tape = Tape::symbolic();
    let (a, b) = (tape.symbol(variable("a").shape([2, 3])), tape.symbol(variable("b")));
    let graph = Graph::new(&[a.dot(b)]).unwrap();
    let other = Tape::symbolic();
    let csr = Graph::new(&[other.symbol(variable("a").stype(Stype::Csr)).sin()]).unwrap();
    let eager = Tape::new();
    let number = eager.constant(Tensor::scalar(1.0f32));
    let (x, y) = (x(2), y(2));
    let errors = [
        graph.simple_bind(&[("a", &[2, 4])]).err(),
        graph.simple_bind(&[]).err(),
        graph.bind([("a", &x)]).err(),
        graph.bind([("c", &x)]).err(),
        graph.bind([("a", &y), ("a", &y)]).err(),
        graph.infer_shape(&[("a", [3, 3].into())]).err(),
        graph.explain("c").err(),
        graph.internal(&["c"]).err(),
        graph.with_gradients(&["c"]).err(),
        Graph::group(&[&graph, &csr]).err(),
        eager.freeze([("n", number)], [number.exp()]).err(),
        freeze_fn([("x", &x), ("y", &y)], |_, x| vec![x[0].sin()]).err(),
        freeze_fn([("n", Tensor::scalar(1.0f32))], |_, x| vec![x[0].sin()]).err(),
        graph.init_params(0, &[("c", &[1])]).err(),
    ];
    for error in errors.map(|error| error.expect("a mistake")) {
        let at = error.location().map(|at| at.file());
        assert_eq!(at, Some(file!()), "{error}");
    }
}

#[test]
fn gradients_of_some_variables_that_are_zeros() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(9)]));
    let w = tape.symbol(variable("w").shape([None, Some(1)]));
    let graph = Graph::new(&[x.dot(w).sum()]).unwrap();
    let threes = Tensor::from_rows(9, &[vec![(2, 3.0f32), (4, 3.0)]]).unwrap();
    let bind = Bind::new().zeros().tensor("x", &threes).grad_req("w", GradReq::Write);
    let mut executor = graph.bind(bind).unwrap();
    executor.forward(true).unwrap();
    executor.backward().unwrap();
    assert_eq!(executor.arg("w").unwrap().values::<f32>().unwrap(), [0.0; 9]);
    assert_eq!(executor.grad("w").unwrap().rows(), Some(&[2, 4][..]));
    assert!(executor.grad("x").is_none());
}

#[test]
fn a_name_makes_no_other_value_a_parameter() -> Result<(), sparsetape::Error> {
    let p = Parameter::new("p", Tensor::full([3, 2], 1.0f64)?)?;
    let tape = Tape::new();
    let x = tape.constant(Tensor::full([3, 2], 2.0f64)?);
    let y = x * tape.parameter(&p);
    assert!(tape.freeze([("p", x)], [y]).unwrap_err().to_string().contains("are named \"p\""));

    let tape = Tape::new();
    let x = tape.constant(Tensor::full([3, 2], 2.0f64)?);
    let y = x.sin().named("p") * tape.parameter(&p);
    assert!(tape.freeze([("x", x)], [y]).unwrap_err().to_string().contains("are named \"p\""));
    Ok(())
}

#[test]
fn an_empty_example_shows_no_batch_size() -> Result<(), sparsetape::Error> {
    let empty = || Tensor::zeros(Stype::Default, [0, 2], sparsetape::DType::F32);
    let sized = freeze_fn([("x", empty()?)], |_, x| {
        vec![x[0] * x[0].shape().map_or(0.0, |shape| shape[0] as f64)]
    });
    let error = sized.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert!(error.to_string().contains("there is no batch along axis 0"), "{error}");
    assert!(freeze_fn([("x", Tensor::scalar(1.0f32))], |_, x| x.to_vec()).is_err());
    Ok(())
}

#[test]
fn other_storage_types_keep_the_order_of_arguments() -> Result<(), sparsetape::Error> {
    let tape = Tape::symbolic();
    let (x, z) = (tape.symbol(variable("x").shape([3, 2])), tape.symbol(variable("z")));
    let graph = Graph::new(&[x + z])?.with_stypes(&[("z", Stype::RowSparse)])?;
    assert_eq!(graph.list_arguments(), ["x", "z"]);
    assert_eq!(graph.infer_stype(&[("x", Stype::RowSparse)])?.arguments[0].0, "x");
    Ok(())
}
