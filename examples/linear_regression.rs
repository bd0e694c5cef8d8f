//! Linear regression on sparse rows, the subject of MXNet's tutorial "Train a Linear Regression Model with Sparse
//! Symbols": y = 1·x₁ + 2·x₂ + … + 100·x₁₀₀ for a thousand rows, of which one element in a hundred is stored. The model is a
//! symbolic graph, dot(csr, row-sparse weight) + bias, that ends in a linear regression output; a trainer runs it batch by
//! batch, and momentum SGD moves those rows of the weight that the batch's features name. The tutorial asks for a mean
//! squared error below 1 after 10 epochs.
//!
//! ```text
//! cargo run --release --example linear_regression
//! cargo run --release --example linear_regression -- train.svm --batch 32
//! ```

mod common;

use std::process::ExitCode;

use common::{Options, wrong};
use sparsetape::data::{Dataset, Libsvm};
use sparsetape::optim::Sgd;
use sparsetape::random::{Distribution, Random};
use sparsetape::train::metrics::Mse;
use sparsetape::train::{Fit, Trainer};
use sparsetape::{Graph, Init, Result, Stype, Tape, Tensor, variable};

const USAGE: &str = "linear_regression [train.svm]
    [--epochs 10] [--batch 1] [--lr 0.05] [--momentum 0.9] [--threads 0] [--svg FILE]";

/// The tutorial's data.
fn tutorial() -> Result<Dataset> {
    const FEATURES: usize = 100;
    let mut random = Random::new(42).with_values(Distribution::Uniform(0.0, 1.0));
    let x = random.csr::<f32>([1000, FEATURES], 0.01)?;
    let target: Vec<f32> = (1..=FEATURES).map(|i| i as f32).collect();
    let y = x.dot(&Tensor::dense([FEATURES, 1], target)?)?;
    Dataset::new(x, y)
}

/// The tutorial's network.
fn network(features: usize) -> Result<Graph> {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr).shape([None, Some(features)]));
    let label = tape.symbol(variable("label").shape([None, Some(1)]));
    let weight = variable("weight").stype(Stype::RowSparse).shape([features, 1]);
    let weight = tape.symbol(weight.init(Init::Normal(0.01)));
    let bias = tape.symbol(variable("bias").shape([1]).init(Init::Constant(0.0)));
    let prediction = data.dot(weight) + bias;
    Graph::new(&[prediction.linear_regression_output(label, 1.0).named("lro")])
}

/// The mean squared error of the last epoch.
pub(crate) fn run(args: Vec<String>) -> Result<Option<f64>> {
    let Some(options) = Options::parse(USAGE, args)? else { return Ok(None) };
    let rate = |name| options.number(name, 0.0, 1e6);
    let sgd = Sgd::new(rate("lr")?).momentum(rate("momentum")?);
    let data = match options.files.first() {
        Some(path) => Libsvm::new().read(path)?,
        None => tutorial()?,
    };
    if data.rows() == 0 {
        return Err(wrong("there are no rows to train on"));
    }
    println!("data: {}, {} stored", data.features.ty(), data.features.nnz());
    let batches = data.batches(options.number("batch", 1, usize::MAX)?).build()?;

    let graph = network(data.schema.features())?;
    println!("\n{graph}");
    let params = graph.init_params(42, &[])?;
    let mut trainer = Trainer::from_graph(&graph, params, sgd)?;
    trainer.set_progress(common::progress());
    let fit = Fit::epochs(options.number("epochs", 1, u64::MAX)?).metric(Mse::new());
    let history = trainer.fit(&batches, fit.evaluate("trained", &batches))?;
    common::save_svg(&options, history, "mse")?;
    let mse = history.last("trained", "mse").unwrap_or(f64::NAN);
    println!("mean squared error {mse:.4}");
    common::print_memory(trainer.params());

    println!("first predictions:");
    let first = data.rows_window(0, data.rows().min(5))?;
    let predictions = trainer.predict(&first.batches(5).build()?)?;
    for (p, y) in predictions.values::<f32>()?.iter().zip(first.labels.values::<f32>()?) {
        println!("{p:9.3}  of {y:9.3}");
    }
    Ok(Some(mse))
}

fn main() -> ExitCode {
    common::exit(run(std::env::args().skip(1).collect()))
}
