//! Optimizers: sequences of updates, and whole training runs.

use std::path::Path;

use serde_json::{Map, Value};
use sparsetape::optim::{AdaGrad, Adam, Ftrl, Optimizer, Sgd, Update};
use sparsetape::{DType, Gradients, Parameter, Params, Tape, Tensor};

use crate::arrays::{Tolerance, dense, differs, operand, result};
use crate::graphs::{Values, names, record};
use crate::report::{Needed, Outcome};

/// An optimizer that tells its states.
trait Driven: Optimizer {
    fn state(&self, parameter: &Parameter, name: &str) -> sparsetape::Result<Option<Tensor>>;
}

macro_rules! driven {
    ($($optimizer:ty),*) => {$(
        impl Driven for $optimizer {
            fn state(&self, of: &Parameter, name: &str) -> sparsetape::Result<Option<Tensor>> {
                self.state_of(of, name)
            }
        }
    )*};
}
driven!(Sgd, Adam, AdaGrad, Ftrl);

/// An optimizer, and the names of its states in MXNet's order.
type Made = (Box<dyn Driven>, &'static [&'static str]);

/// An optimizer by the name of MXNet's operator or class.
fn made(name: &str, params: &Value, update: Update) -> Made {
    let get = |names: &[&str], default: f64| {
        names.iter().find_map(|name| params[*name].as_f64()).unwrap_or(default)
    };
    macro_rules! common {
        ($optimizer:expr) => {
            $optimizer
                .weight_decay(get(&["wd"], 0.0))
                .rescale_grad(get(&["rescale_grad"], 1.0))
                .clip_gradient(get(&["clip_gradient"], -1.0))
                .update(update)
        };
    }
    let lr = |default| get(&["lr", "learning_rate"], default);
    let adagrad = |epsilon| AdaGrad::new(lr(0.01)).epsilon(get(&["epsilon", "eps"], epsilon));
    match name {
        "sgd_update" | "sgd_mom_update" | "SGD" | "sgd" => {
            let sgd = Sgd::new(lr(0.01)).momentum(get(&["momentum"], 0.0));
            (Box::new(common!(sgd)), &["momentum"])
        }
        "adagrad_update" | "AdaGrad" | "adagrad" => {
            (Box::new(common!(adagrad(1e-7))), &["history"])
        }
        "group_adagrad_update" => (Box::new(common!(adagrad(1e-5).row_wise(true))), &["history"]),
        "ftrl_update" | "Ftrl" | "ftrl" => {
            let (l1, beta) = (get(&["lamda1"], 0.01), get(&["beta"], 1.0));
            (Box::new(common!(Ftrl::new(lr(0.1)).l1(l1).beta(beta))), &["z", "n"])
        }
        "adam_update" | "Adam" | "adam" => {
            // The operator does not correct the bias of its means, the class does.
            let adam = Adam::new(lr(0.001))
                .beta1(get(&["beta1"], 0.9))
                .beta2(get(&["beta2"], 0.999))
                .epsilon(get(&["epsilon"], 1e-8))
                .bias_correction(name != "adam_update");
            (Box::new(common!(adam)), &["mean", "variance"])
        }
        other => panic!("no optimizer: {other}"),
    }
}

/// Which rows MXNet moves.
fn update(case: &Value) -> Update {
    let asked = case["params"]["lazy_update"].as_bool().unwrap_or(true);
    match asked && states_allow_lazy(case) && !is_standard_ftrl(case) {
        true => Update::Lazy,
        false => Update::Dense,
    }
}

/// Of a dense weight, MXNet's FTRL moves all rows.
fn is_standard_ftrl(case: &Value) -> bool {
    let ftrl = ["ftrl_update", "Ftrl"].contains(&case["op"].as_str().unwrap_or_default());
    ftrl && case["weight"]["stype"] == "default"
}

/// MXNet updates lazily only if the states have the weight's storage type.
fn states_allow_lazy(case: &Value) -> bool {
    let mut states = case["states"].as_array().into_iter().flatten();
    states.all(|state| state["stype"] == case["weight"]["stype"])
}

fn same(got: &Tensor, want: &Tensor) -> Result<(), String> {
    let tolerance = Tolerance::of(got.dtype(), false);
    differs(got, &dense(want), None, tolerance).map_or(Ok(()), Err)
}

pub fn replay(case: &Value) -> Outcome {
    let text = |e: sparsetape::Error| e.to_string();
    let weight = Parameter::new("weight", result(&case["weight"])).map_err(text)?;
    let params = Params::new([&weight]).map_err(text)?;
    let name = case["op"].as_str().expect("a name");
    let (mut optimizer, states) = made(name, &case["params"], update(case));
    let mut needed = Needed::default();
    if !case["error"].is_null() {
        let gradient = weight.snapshot().map_err(text)?;
        let mut gradients = Gradients::default();
        gradients.set(&weight, gradient);
        return Ok(optimizer.step(&params, &gradients).is_ok().then_some("accepted"));
    }
    for (n, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
        let mut gradients = Gradients::default();
        gradients.set(&weight, result(&step["grad"]));
        optimizer.step(&params, &gradients).map_err(text)?;
        let (got, want) = (weight.snapshot().map_err(text)?, result(&step["weight"]));
        if got.stype() != want.stype() {
            return Err(format!("step {n}: the weight is {}", got.stype()));
        }
        same(&got, &want).map_err(|why| format!("step {n}: {why}"))?;
        for (name, state) in states.iter().zip(step["states"].as_array().into_iter().flatten()) {
            let got = optimizer.state(&weight, name).map_err(text)?;
            let Some(got) = got.filter(|_| state.is_object()) else { continue };
            let want = result(state);
            same(&got, &want).map_err(|why| format!("step {n}, {name}: {why}"))?;
            if got.stype() != want.stype() {
                needed.rule("momentum");
            }
        }
    }
    Ok(needed.first())
}

/// Rows and labels of a libsvm file whose ids count from 0.
fn read(path: &Path, columns: usize) -> (Tensor, Vec<f32>) {
    let text = std::fs::read_to_string(path).expect("the data file");
    let entry = |e: &str| {
        let (id, x) = e.split_once(':').expect("id:value");
        (id.parse().expect("an id"), x.parse().expect("a value"))
    };
    let lines = text.lines().map(|line| {
        let mut parts = line.split_whitespace();
        let label: f32 = parts.next().expect("a label").parse().expect("a number");
        (label, parts.map(entry).collect::<Vec<(usize, f32)>>())
    });
    let (labels, rows): (Vec<f32>, Vec<_>) = lines.unzip();
    (Tensor::from_rows(columns, &rows).expect("rows"), labels)
}

/// A training run, from files in `directory`.
pub fn train(run: &Value, directory: &Path) -> Outcome {
    let fault = |e: sparsetape::Error| e.to_string();
    let size = |name: &str| run[name].as_u64().expect("a number") as usize;
    let file = directory.join(run["data_file"].as_str().expect("a file"));
    let (x, labels) = read(&file, size("num_features"));
    let init: &Map<String, Value> = run["init"].as_object().expect("parameters");
    let parameter =
        |(name, array): (&String, &Value)| Parameter::new(name.clone(), operand(array)?);
    let parameters: Vec<Parameter> =
        init.iter().map(parameter).collect::<sparsetape::Result<_>>().map_err(fault)?;
    let params = Params::new(&parameters).map_err(fault)?;
    let name = run["optimizer"]["name"].as_str().expect("a name");
    let (mut optimizer, _) = made(name, &run["optimizer"], Update::Lazy);
    let (mut gradients, n) = (Gradients::default(), size("batch_size"));
    for epoch in 0..size("epochs") {
        let mut errors = Vec::new();
        for (b, labels) in labels.chunks_exact(n).enumerate() {
            let tape = Tape::new();
            let rows = x.rows_window(b * n, (b + 1) * n).map_err(fault)?;
            let label = Tensor::dense([n], labels.to_vec()).map_err(fault)?;
            let mut values = Values::new();
            values.insert("data", tape.constant(rows));
            values.insert("label", tape.constant(label));
            values.extend(parameters.iter().map(|p| (p.name(), tape.parameter(p))));
            record(&run["graph"], &mut values)?;
            let output = names(&run["graph"]["outputs"]).next().expect("an output");
            let y = values[output].value().map_err(fault)?;
            if epoch == 0 && run["first_epoch_outputs"][b].is_object() {
                same(&y, &result(&run["first_epoch_outputs"][b]))?;
            }
            let squares =
                dense(&y).into_iter().zip(labels).map(|(p, &l)| (p - f64::from(l)).powi(2));
            errors.push(squares.sum::<f64>() / n as f64);
            values[output].sum().backward_into(&mut gradients).map_err(fault)?;
            storage(run, &parameters, &gradients)?;
            optimizer.step(&params, &gradients).map_err(fault)?;
        }
        let mse = errors.iter().sum::<f64>() / errors.len() as f64;
        let metric = run["epoch_metrics"][epoch]["metric"].as_f64();
        let expected = metric.filter(|_| run["metric"] == "mse");
        if expected.is_some_and(|want| !Tolerance::of(DType::F32, false).agree(mse, want)) {
            return Err(format!(
                "epoch {epoch}: the mean squared error is {mse}, not {expected:?}"
            ));
        }
        for parameter in &parameters {
            let want = &run["weights_after_epoch"][epoch][parameter.name()];
            same(&parameter.snapshot().map_err(fault)?, &result(want))
                .map_err(|why| format!("epoch {epoch}, {}: {why}", parameter.name()))?;
        }
    }
    Ok(None)
}

fn storage(run: &Value, parameters: &[Parameter], gradients: &Gradients) -> Result<(), String> {
    for parameter in parameters {
        let want = run["gradient_stypes"][parameter.name()].as_str();
        let got = gradients.of(parameter).map(|g| g.stype().to_string());
        if got.as_deref() != want {
            return Err(format!("the gradient of {} is {got:?}, not {want:?}", parameter.name()));
        }
    }
    Ok(())
}
