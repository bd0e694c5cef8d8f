//! A factorization machine (Rendle 2010): a classifier of sparse rows that learns how features act in pairs, also in
//! pairs that it has never seen, because each feature i has a vector vᵢ and a pair weighs ⟨vᵢ, vⱼ⟩:
//!
//! ```text
//! z = w₀ + Σ wᵢ xᵢ + ½ Σ_f [(Σ v_if xᵢ)² − Σ v_if² xᵢ²],   p = 1 / (1 + e⁻ᶻ)
//! ```
//!
//! The sum over f is that over all pairs i < j of ⟨vᵢ, vⱼ⟩ xᵢ xⱼ at the cost of the row's own entries: `pair_interactions`, which
//! reads each row of v once for an entry. The gradients of w and v are row-sparse: they hold the features of the batch and no
//! others; nothing here costs what the tables hold. Tables too
//! large to be kept whole are `Parameter::drawn`: a row exists from the first batch on that has its feature, so that memory
//! follows the features that occur, be there a million or a billion of them. A linear model, the same without v, is trained
//! beside it for comparison.
//!
//! ```text
//! cargo run --release --example factorization_machine
//! cargo run --release --example factorization_machine -- train.svm test.svm --factors 8
//! ```
//!
//! Without files the rows have an id in each of some categorical fields, and labels are drawn from a planted machine.

mod common;
#[path = "common/logistic.rs"]
mod logistic;
#[path = "common/table.rs"]
mod table;

use std::process::ExitCode;

use common::Options;
use logistic::{Scores, Split, logistic, print_scores, train};
use sparsetape::data::{Batch, Dataset, LabelMap, Libsvm};
use sparsetape::optim::AdaGrad;
use sparsetape::random::{Distribution, Random, Zipf};
use sparsetape::train::Trainer;
use sparsetape::train::metrics::{LogLoss, Metric, Scored};
use sparsetape::{Error, Init, Parameter, Params, Result, Tape, Tensor, Var};
use table::table;

const USAGE: &str = "factorization_machine [train.svm] [test.svm]
    [--factors 4] [--epochs 5] [--batch 256] [--lr 0.2] [--decay 0.0003] [--threads 0] [--svg FILE]
    of data made here: [--rows 100000] [--fields 8] [--ids 200] (in each field)
labels are 0 and 1, or -1 and 1; without a file of test rows, the last fifth of the rows is held out";

/// The tables have a row for each feature; one without factors is a linear model.
pub(crate) struct Machine {
    pub bias: Parameter,
    pub weight: Parameter,
    pub factors: Option<Parameter>,
}

impl Machine {
    pub fn new(features: usize, factors: usize) -> Result<Machine> {
        // Factors of zero would stay zero: the gradient of one is a sum of others.
        let vectors = || table("factors", features, factors, Init::Normal(0.05), 1);
        Ok(Machine {
            bias: Parameter::new("bias", Tensor::full([1], 0.0f32)?)?,
            weight: table("weight", features, 1, Init::Constant(0.0), 1)?,
            factors: (factors > 0).then(vectors).transpose()?,
        })
    }

    pub fn params(&self) -> Result<Params> {
        Params::new([&self.bias, &self.weight].into_iter().chain(&self.factors))
    }

    fn logits<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        let x = batch.var(tape, "data");
        let linear = x.dot(tape.parameter(&self.weight)) + tape.parameter(&self.bias);
        let Some(factors) = &self.factors else { return linear };
        linear + x.pair_interactions(tape.parameter(factors))
    }
}

/// Rows with one id in each field, popular ones more often, and labels of a planted machine. Also
/// its probabilities, which no model can beat.
fn planted(rows: usize, fields: usize, ids: usize) -> Result<(Dataset, Tensor)> {
    const FACTORS: usize = 4;
    let features = fields * ids;
    let mut normal = Random::new(7);
    let weights = normal.dense::<f32>([features])?;
    let vectors = normal.dense::<f32>([features, FACTORS])?;
    let (weights, vectors) = (weights.values::<f32>()?, vectors.values::<f32>()?);

    let (zipf, mut random) = (Zipf::new(ids, 0.6)?, Random::new(8));
    let id = |n: usize| (n % fields * ids) as u32 + zipf.sample(&mut random);
    let columns: Vec<u32> = (0..rows * fields).map(id).collect();
    let coins = Random::new(9).with_values(Distribution::Uniform(0.0, 1.0)).dense::<f32>([rows])?;

    // Scales that make both parts of z vary by about 1 and 2.
    let pairs = (fields * fields.saturating_sub(1) / 2).max(1);
    let of_weights = 1.0 / (fields as f32).sqrt();
    let of_pairs = 2.0 / ((FACTORS * pairs) as f32).sqrt();
    let probability = |row: &[u32]| {
        let linear: f32 = row.iter().map(|&i| weights[i as usize]).sum();
        let vector = |i: u32| &vectors[i as usize * FACTORS..][..FACTORS];
        let crossed: f32 = (0..FACTORS)
            .map(|f| {
                let sum: f32 = row.iter().map(|&i| vector(i)[f]).sum();
                let squares: f32 = row.iter().map(|&i| vector(i)[f] * vector(i)[f]).sum();
                0.5 * (sum * sum - squares)
            })
            .sum();
        1.0 / (1.0 + (-(of_weights * linear + of_pairs * crossed)).exp())
    };
    let best: Vec<f32> = columns.chunks(fields).map(probability).collect();
    let drawn = best.iter().zip(coins.values::<f32>()?).map(|(p, coin)| f32::from(coin < p));
    let labels = Tensor::dense([rows], drawn.collect::<Vec<_>>())?;
    let indptr: Vec<usize> = (0..=rows).map(|row| row * fields).collect();
    let ones = vec![1.0f32; columns.len()];
    let x = Tensor::csr([rows, features], indptr, columns, ones)?;
    Ok((Dataset::new(x, labels)?, Tensor::dense([rows], best)?))
}

/// Training and held-out rows, and of data made here the best log-loss of the held-out ones.
fn load(options: &Options) -> Result<(Split, Option<f64>)> {
    const HELD_OUT: f64 = 0.2;
    let reader = Libsvm::new().labels(LabelMap::PlusMinusOne);
    let Some(path) = options.files.first() else {
        let rows = options.number("rows", 10, 1 << 24)?;
        let fields = options.number("fields", 1, 1000)?;
        let ids = options.number("ids", 1, 1 << 20)?;
        let (data, best) = planted(rows, fields, ids)?;
        let (train, test) = data.split(1.0 - HELD_OUT)?;
        let mut log_loss = LogLoss::new();
        let best = best.rows_window(train.rows(), rows)?;
        log_loss.update(&Scored::new(&best, &test.labels))?;
        return Ok((Split::new(train, test)?, Some(log_loss.value())));
    };
    let data = reader.read(path)?;
    let (train, test) = match options.files.get(1) {
        Some(path) => {
            let test = reader.schema(data.schema).read(path)?;
            (data, test)
        }
        None => data.shuffled(1)?.split(1.0 - HELD_OUT)?,
    };
    Ok((Split::new(train, test)?, None))
}

/// Held-out scores, and the log-loss of the planted machine if there is one.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub linear: Scores,
    pub machine: Scores,
    pub best: Option<f64>,
}

pub(crate) fn run(args: Vec<String>) -> Result<Option<Outcome>> {
    let Some(options) = Options::parse(USAGE, args)? else { return Ok(None) };
    let factors = options.number("factors", 1, 1024)?;
    let lr: f64 = options.number("lr", 0.0, 1e6)?;
    let decay = options.number("decay", 0.0, 1e6)?;
    let (data, best) = load(&options)?;
    let features = data.train.schema.features();
    let train = |factors: usize| {
        let machine = Machine::new(features, factors)?;
        let model = logistic(|tape, batch| machine.logits(tape, batch));
        let adagrad = AdaGrad::new(lr).weight_decay(decay);
        let mut trainer = Trainer::new(&model, machine.params()?, adagrad);
        let scores = train(&mut trainer, &data, &options)?;
        if factors > 0 {
            common::print_memory(trainer.params());
            common::save_svg(&options, trainer.history(), "loss")?;
        }
        Ok::<_, Error>(scores)
    };
    println!("\nlinear model");
    let linear = train(0)?;
    println!("\nfactorization machine");
    let machine = train(factors)?;
    print_scores(&data, &[("linear model", linear), ("factorization machine", machine)])?;
    if let Some(best) = best {
        println!("planted machine        {best:8.4}   (no model is better)");
    }
    Ok(Some(Outcome { linear, machine, best }))
}

fn main() -> ExitCode {
    common::exit(run(std::env::args().skip(1).collect()))
}
