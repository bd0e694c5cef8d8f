//! Requests from borrowed rows: the results and the errors of rows that are fed.

use sparsetape::{
    Bind, Error, ErrorKind, Executor, Graph, Parameter, Stype, Tape, Tensor, Var, variable,
};

const COLUMNS: usize = 50;

/// What a model makes of rows, weights and bias.
type Work = for<'t> fn(Var<'t>, Var<'t>, Var<'t>) -> Vec<Var<'t>>;

fn graph(work: Work) -> Graph {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(COLUMNS)]));
    let w = tape.symbol(variable("w").shape([Some(COLUMNS), None]));
    Graph::new(&work(x, w, tape.symbol(variable("b").shape([1])))).unwrap()
}

fn weights(width: usize) -> Tensor {
    let values: Vec<f32> = (0..COLUMNS * width).map(|i| (i as f32 * 0.7).sin()).collect();
    Tensor::dense([COLUMNS, width], values).unwrap()
}

fn executor(work: Work, width: usize) -> Executor {
    let graph = graph(work);
    let bind = Bind::from([("w", weights(width))]).shape("x", [2, COLUMNS]);
    let has_bias = graph.list_arguments().contains(&"b");
    let b = Tensor::full([1], 0.25f32).unwrap();
    graph.bind(if has_bias { bind.tensor("b", b) } else { bind }).unwrap()
}

/// Rows of 0 to 6 entries; the pointers begin somewhere.
struct Request {
    indptr: Vec<usize>,
    ids: Vec<u32>,
    values: Vec<f32>,
}

impl Request {
    fn new(rows: usize) -> Self {
        let (mut indptr, mut ids) = (vec![5], Vec::new());
        for row in 0..rows {
            ids.extend((0..row as u32 % 7).map(|k| 8 * k + row as u32 % 2));
            indptr.push(5 + ids.len());
        }
        let values = (0..ids.len()).map(|e| e as f32 * 0.1 - 1.0).collect();
        Request { indptr, ids, values }
    }

    fn feed(&self, executor: &mut Executor) -> Result<(), Error> {
        executor.feed_csr("x", &self.indptr, &self.ids, &self.values)?;
        executor.forward(false)
    }

    #[track_caller]
    fn lend(&self, executor: &mut Executor) -> Result<(), Error> {
        executor.run_csr("x", &self.indptr, &self.ids, &self.values)
    }
}

/// The bits of all outputs.
fn outputs(executor: &Executor) -> Vec<(Vec<usize>, Vec<u32>)> {
    let bits = |y: &Tensor| y.values::<f32>().unwrap().iter().map(|x| x.to_bits()).collect();
    executor.outputs().unwrap().iter().map(|y| (y.shape().to_vec(), bits(y))).collect()
}

/// Whatever reads the rows, and whoever looks.
#[test]
fn lent_rows_give_what_fed_ones_give() {
    let works: [Work; 6] = [
        |x, w, b| vec![(x.dot(w) + b).sigmoid()],
        |x, w, _| vec![x.dot(w)],
        |x, w, _| vec![x.dot(w), x.dot(w.square()).sum()],
        |x, w, b| vec![x.sin().dot(w) + b, x],
        |x, w, b| vec![x.dot(w) * b, x.dot_with(x, false, true)],
        |x, w, b| vec![x.square().dot(w), x.dot(w) - b],
    ];
    for (n, work) in works.into_iter().enumerate() {
        for width in [1, 3] {
            let (mut fed, mut lent) = (executor(work, width), executor(work, width));
            for (rows, watched) in [(1, false), (9, false), (0, false), (9, true), (70, false)] {
                if watched {
                    lent.start_profile();
                }
                let request = Request::new(rows);
                request.feed(&mut fed).unwrap();
                request.lend(&mut lent).unwrap();
                lent.stop_profile();
                assert_eq!(outputs(&fed), outputs(&lent), "model {n}, {rows} rows");
            }
        }
    }
}

/// A result that the caller holds is not written over by the next request.
#[test]
fn results_that_are_held_stay() {
    let mut executor = executor(|x, w, _| vec![x.dot(w)], 2);
    let (first, second) = (Request::new(9), Request { values: vec![1.0; 22], ..Request::new(9) });
    first.lend(&mut executor).unwrap();
    let (held, before) = (executor.output(0).unwrap().clone(), outputs(&executor));
    second.lend(&mut executor).unwrap();
    assert_ne!(outputs(&executor), before);
    first.lend(&mut executor).unwrap();
    assert_eq!(outputs(&executor), before);
    assert_eq!(held.values::<f32>().unwrap(), executor.output(0).unwrap().values::<f32>().unwrap());
}

/// Weights that are parameters may change between requests.
#[test]
fn rows_meet_parameters_as_they_are_now() {
    let w = Parameter::new("w", weights(1)).unwrap();
    let bind = Bind::new().parameter(&w).shape("x", [1, COLUMNS]);
    let mut executor = graph(|x, w, _| vec![x.dot(w)]).bind(bind).unwrap();
    for value in [1.0, 2.0] {
        w.set(Tensor::full([COLUMNS, 1], value).unwrap()).unwrap();
        executor.run_csr("x", &[0, 2], &[3, 4], &[1.0f32, 2.0]).unwrap();
        assert_eq!(executor.output(0).unwrap().item::<f32>().unwrap(), 3.0 * value);
    }
}

#[test]
fn bad_rows_are_refused_as_when_they_are_fed() {
    let good = || Request::new(40);
    let last = good().ids.len() - 1;
    let mut bad: Vec<Request> = Vec::new();
    for (at, id) in [(0, 50), (last, 50), (last, 0), (last, good().ids[last - 1]), (3, u32::MAX)] {
        let mut request = good();
        request.ids[at] = id;
        bad.push(request);
    }
    bad.push(Request { indptr: vec![], ..good() });
    bad.push(Request { indptr: vec![0, 5, 3], ..good() });
    bad.push(Request { values: vec![1.0], ..good() });
    bad.push(Request { ids: vec![], ..good() });
    let model: Work = |x, w, b| vec![(x.dot(w) + b).tanh()];
    let (mut fed, mut lent) = (executor(model, 2), executor(model, 2));
    for request in bad {
        let (wanted, error) =
            (request.feed(&mut fed).unwrap_err(), request.lend(&mut lent).unwrap_err());
        assert_eq!(error.kind(), wanted.kind());
        let text = |e: &Error| e.to_string().split(" (at ").next().map(str::to_owned);
        assert_eq!(text(&error), text(&wanted));
        assert_eq!(error.location().map(|at| at.file()), Some(file!()));
        assert_eq!(lent.output(0).unwrap_err().kind(), ErrorKind::State);
        good().feed(&mut fed).unwrap();
        good().lend(&mut lent).unwrap();
        assert_eq!(outputs(&fed), outputs(&lent));
    }
    let error = lent.run_csr("x", &[0, 1], &[7], &[1.0f64]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DType);
    assert_eq!(lent.run_csr("w", &[0], &[], &[1.0f32]).unwrap_err().kind(), ErrorKind::Stype);
    assert_eq!(lent.run_csr("y", &[0], &[], &[1.0f32]).unwrap_err().kind(), ErrorKind::State);
}

/// The rows are the caller's again: nothing is left of them.
#[test]
fn lent_rows_are_no_value() {
    let models: [Work; 2] = [|x, w, _| vec![x.dot(w)], |x, w, _| vec![x.dot(w), x]];
    for model in models {
        let mut executor = executor(model, 2);
        Request::new(3).lend(&mut executor).unwrap();
        assert_eq!(executor.arg("x").unwrap_err().kind(), ErrorKind::State);
        assert_eq!(executor.forward(false).unwrap_err().kind(), ErrorKind::State);
        Request::new(3).feed(&mut executor).unwrap();
    }
}
