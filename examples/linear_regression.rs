//! Linear regression on sparse rows, the subject of MXNet's tutorial "Train a Linear Regression Model with Sparse
//! Symbols": y = 1 x₁ + 2 x₂ + … + 100 x₁₀₀ for a thousand rows of which one element in a hundred is stored. The model is
//! a symbolic graph, dot(csr, row-sparse weight) + bias with a linear regression output; momentum SGD moves, batch by
//! batch, only the rows of the weight that the batch's features name.
//!
//! ```text
//! cargo run --release --example linear_regression [file.svm] [--epochs 10] [--batch 1] [--lr 0.05] [--svg curve.svg]
//! ```

use sparsetape::data::{Batches, Dataset, Libsvm};
use sparsetape::optim::Sgd;
use sparsetape::random::{Distribution, Random};

use sparsetape::train::{Fit, Trainer};
use sparsetape::{Graph, Init, Result, Stype, Tape, Tensor, variable};

/// The tutorial's data, or a file's.
fn load(path: Option<&str>) -> Result<Dataset> {
    if let Some(path) = path {
        return Libsvm::new().read(path);
    }
    let features = 100;
    let mut random = Random::new(42).with_values(Distribution::Uniform(0.0, 1.0));
    let x = random.csr::<f32>([1000, features], 0.01)?;
    let target: Vec<f32> = (1..=features).map(|i| i as f32).collect();
    let y = x.dot(&Tensor::dense([features, 1], target)?)?;
    Dataset::new(x, y)
}

/// The network of the tutorial.
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

fn main() -> Result<()> {
    let data = load(None)?;
    let batches: Batches = data.batches(1).build()?;
    let graph = network(data.schema.features())?;
    let params = graph.init_params(42, &[])?;
    let mut trainer = Trainer::from_graph(&graph, params, Sgd::new(0.05).momentum(0.9))?;
    let history = trainer.fit(&batches, Fit::epochs(10))?;
    println!("{history:?}");
    let mut worst = 0.0f32;
    trainer.predict_each(&batches, |batch, output| {
        worst = worst.max((output.item::<f32>()? - batch.labels.item::<f32>()?).abs());
        Ok(())
    })?;
    println!("{worst}");
    Ok(())
}
