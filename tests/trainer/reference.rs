//! Runs of MXNet's `Module`, followed by the trainer: data in the order of the file, the mean squared error of
//! every epoch, and the weights after it.

use std::path::Path;

use serde_json::Value;
use sparsetape::data::{IdBase, Libsvm};
use sparsetape::optim::{Adam, Optimizer, Sgd};
use sparsetape::train::metrics::Mse;
use sparsetape::train::{Fit, Progress, Trainer};
use sparsetape::{Graph, Parameter, Params, Result, Stype, Tape, Tensor, Var, variable};

const TOLERANCE: f64 = 1e-4;

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"))
}

fn numbers(array: &Value) -> Vec<f32> {
    let data = array["data"].as_array().expect("data");
    data.iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

/// All rows of the row-sparse weights are stored.
fn parameter(name: &str, array: &Value) -> Result<Parameter> {
    let shape = array["shape"].as_array().expect("a shape");
    let shape: Vec<usize> = shape.iter().map(|n| n.as_u64().expect("a size") as usize).collect();
    let dense = Tensor::dense(&shape[..], numbers(array))?;
    let stype = if array["stype"] == "row_sparse" { Stype::RowSparse } else { Stype::Default };
    Parameter::new(name, dense.cast_storage(stype)?)
}

/// The network: dot, bias, and the run's output.
fn network(run: &Value) -> Result<Graph> {
    let tape = Tape::symbolic();
    let features = run["num_features"].as_u64().expect("a number") as usize;
    let data = tape.symbol(variable("data").stype(Stype::Csr).shape([None, Some(features)]));
    let label = tape.symbol(variable("label").shape([None, Some(1)]));
    let weight = variable("weight").stype(Stype::RowSparse).shape([features, 1]);
    let bias = tape.symbol(variable("bias").shape([1]));
    let prediction = data.dot(tape.symbol(weight)) + bias;
    let nodes = run["graph"]["nodes"].as_array().expect("nodes");
    let output: fn(Var<'_>, Var<'_>) -> _ = match nodes.last().expect("an output")["op"].as_str() {
        Some("LinearRegressionOutput") => |x, y| Graph::new(&[x.linear_regression_output(y, 1.0)]),
        Some("LogisticRegressionOutput") => {
            |x, y| Graph::new(&[x.logistic_regression_output(y, 1.0)])
        }
        other => panic!("no output: {other:?}"),
    };
    output(prediction, label)
}

/// Gradient rescaling is left to the trainer, unless MXNet's was not 1 / batch.
fn optimizer(run: &Value) -> Box<dyn Optimizer> {
    let settings = &run["optimizer"];
    let get = |name: &str, default: f64| settings[name].as_f64().unwrap_or(default);
    let batch = run["batch_size"].as_f64().expect("a number");
    assert_eq!(get("rescale_grad", 1.0), 1.0 / batch);
    let (lr, wd) = (get("learning_rate", 0.01), get("wd", 0.0));
    match settings["name"].as_str() {
        Some("sgd") => Box::new(Sgd::new(lr).momentum(get("momentum", 0.0)).weight_decay(wd)),
        Some("adam") => Box::new(Adam::new(lr).weight_decay(wd)),
        other => panic!("no optimizer: {other:?}"),
    }
}

fn close(got: f64, want: f64) -> bool {
    (got - want).abs() <= TOLERANCE * want.abs().max(0.05)
}

fn follow(run: &Value) -> Result<()> {
    let id = run["id"].as_str().expect("an id");
    let number = |name: &str| run[name].as_u64().expect("a number") as usize;
    let file = directory().join(run["data_file"].as_str().expect("a file"));
    let reader = Libsvm::new().base(IdBase::Zero).features(number("num_features"));
    let data = reader.read(file)?;
    let batches = data.batches(number("batch_size")).build()?;
    let mut params = Params::default();
    for (name, array) in run["init"].as_object().expect("parameters") {
        params.push(&parameter(name, array)?)?;
    }
    let weights = params.clone();
    let mut optimizer = optimizer(run);
    let mut trainer = Trainer::from_graph(&network(run)?, params, &mut *optimizer)?;
    trainer.set_progress(Progress::hidden());
    let fit = Fit::epochs(number("epochs") as u64).metric(Mse::new()).on_epoch(|moment| {
        let epoch = moment.epoch() as usize;
        for parameter in &weights {
            let want = numbers(&run["weights_after_epoch"][epoch][parameter.name()]);
            let got = parameter.snapshot()?;
            for (&got, want) in got.values::<f32>()?.iter().zip(want) {
                let name = parameter.name();
                assert!(
                    close(got.into(), want.into()),
                    "{id}, epoch {epoch}, {name}: {got}, {want}"
                );
            }
        }
        Ok(())
    });
    let history = trainer.fit(&batches, fit)?;
    let measured = history.column("train", "mse");
    let expected = run["epoch_metrics"].as_array().expect("metrics");
    assert_eq!(measured.len(), expected.len(), "{id}");
    for ((epoch, got), want) in measured.into_iter().zip(expected) {
        let want = want["metric"].as_f64().expect("a number");
        assert!(close(got, want), "{id}, epoch {epoch}: {got}, not {want}");
    }
    Ok(())
}

#[test]
fn training_runs_follow_mxnet() -> Result<()> {
    let text = std::fs::read_to_string(directory().join("training.json")).expect("the vectors");
    let runs: Vec<Value> = serde_json::from_str(&text).expect("runs");
    assert_eq!(runs.len(), 3);
    runs.iter().try_for_each(follow)
}
