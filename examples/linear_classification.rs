//! Logistic or softmax classification of sparse rows: the main job. The model is a table with a row for each feature and
//! a column for each class (one for two classes), z = x·W + b. x is csr, so the gradient of W is row-sparse: it
//! holds the features of the batch, and lazy SGD moves those rows and reads no others, be there a thousand features or a
//! billion. Classes may weigh more or less in the loss, where one is rare.
//!
//! Without arguments it makes click-like data (power-law features, planted weights), trains, and prints losses, accuracy
//! and AUC. With files it reads libsvm text, with labels −1 and 1, or class numbers:
//!
//! ```text
//! cargo run --release --example linear_classification
//! cargo run --release --example linear_classification -- --train a.svm --test b.svm
//! ```
//!
//! To be deployed (see `deploy.rs`): --save writes the model, --rows the held-out rows as libsvm text, --predict
//! their probabilities.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::{Options, wrong};
use sparsetape::data::{Batch, Dataset, Libsvm, LibsvmWriter, Schema};
use sparsetape::optim::Sgd;
use sparsetape::random::{Distribution, Popularity, Random};
use sparsetape::train::metrics::{Accuracy, Auc, LogLoss};
use sparsetape::train::{Fit, Model, Trainer, supervised};
use sparsetape::{
    DType, Error, ErrorKind, Fallback, Loss, Parameter, Params, Result, Stype, Tape, Tensor,
};

const USAGE: &str = "linear_classification [--train FILE] [--test FILE] [--features N] [--class-weights none]
    [--epochs 5] [--batch 64] [--lr 0.2] [--momentum 0.9] [--wd 0] [--threads 0]
    [--save FILE] [--rows FILE] [--predict FILE] [--svg FILE]
class weights are numbers with commas between, one for each class; or balanced: rows / (classes * rows of the class)";

/// One weight column for two classes (logistic), one for each class beyond (softmax).
struct Linear {
    weight: Parameter,
    bias: Parameter,
}

impl Linear {
    fn new(features: usize, outputs: usize) -> Result<Self> {
        let zeros = |name: &str, shape: &[usize]| {
            Parameter::new(name, Tensor::zeros(Stype::Default, shape, DType::F32)?)
        };
        Ok(Linear {
            weight: zeros("weight", &[features, outputs])?,
            bias: zeros("bias", &[outputs])?,
        })
    }

    fn is_logistic(&self) -> bool {
        self.bias.shape()[0] == 1
    }

    /// It predicts class probabilities: that of class 1 alone for two classes.
    fn model(&self, class_weights: Option<Tensor>) -> impl Model {
        supervised(
            |tape, batch| {
                let x = batch.var(tape, "data");
                x.dot(tape.parameter(&self.weight)) + tape.parameter(&self.bias)
            },
            move |logits, labels| {
                let mut mean = Loss::mean();
                if let Some(weights) = &class_weights {
                    mean = mean.class_weights(logits.tape().constant(weights.clone()));
                }
                if self.is_logistic() {
                    return logits.sigmoid_binary_cross_entropy_with(labels, &mean);
                }
                logits.softmax_cross_entropy_with(labels.cast(DType::I64), &mean)
            },
            |logits| if self.is_logistic() { logits.sigmoid() } else { logits.softmax() },
        )
    }
}

/// Writes the prediction graph, from `data` to probabilities, with the weights and what a program that loads them must
/// know.
fn save(
    path: &str,
    trainer: &Trainer,
    batch: &Batch,
    schema: Schema,
    classes: usize,
) -> Result<()> {
    let json = serde_json::to_string(&schema)
        .map_err(|e| wrong("cannot write the schema").caused_by(e))?;
    let notes = [
        ("schema", json),
        ("classes", (0..classes).map(|c| c.to_string()).collect::<Vec<_>>().join(",")),
        ("version", concat!("linear_classification ", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    let notes = notes.map(|(name, note)| (name.to_owned(), note));
    trainer.prediction_graph(batch)?.save(path, trainer.params(), &BTreeMap::from(notes))?;
    println!("saved {path}");
    Ok(())
}

/// Rows of 39 power-law features out of a million; labels drawn from planted weights.
fn clicks(rows: usize, seed: u64) -> Result<Dataset> {
    const FEATURES: usize = 1_000_000;
    let planted =
        Random::new(7).with_values(Distribution::Normal(0.0, 0.35)).dense::<f32>([FEATURES])?;
    let planted = planted.values::<f32>()?;
    let mut random = Random::new(seed).with_values(Distribution::Uniform(1.0, 1.0));
    let popularity = Popularity::ScatteredPowerLaw(1.1);
    let x = random.csr_rows::<f32>([rows, FEATURES], 39, popularity)?;
    let coins =
        Random::new(seed + 1).with_values(Distribution::Uniform(0.0, 1.0)).dense::<f32>([rows])?;
    let columns = x.indices().unwrap_or_default().chunks(39);
    let click = |(columns, coin): (&[u32], &f32)| {
        let z: f32 = columns.iter().map(|&c| planted[c as usize]).sum::<f32>() - 1.0;
        f32::from(*coin < 1.0 / (1.0 + (-z).exp()))
    };
    let labels: Vec<f32> = columns.zip(coins.values::<f32>()?).map(click).collect();
    Dataset::new(x, Tensor::dense([rows], labels)?)
}

/// Training and, if there is any, held-out data.
fn load(options: &Options) -> Result<(Dataset, Option<Dataset>)> {
    let Some(train) = options.text("train") else {
        if options.text("test").is_some() {
            return Err(wrong("--test needs --train"));
        }
        return Ok((clicks(300_000, 1)?, Some(clicks(50_000, 100)?)));
    };
    let mut reader = Libsvm::new();
    if options.text("features").is_some() {
        reader = reader.features(options.number("features", 1, u32::MAX as usize)?);
    }
    let data = class_numbers(reader.read(train)?, train)?;
    let reader = reader.schema(data.schema);
    let read = |path: &str| class_numbers(reader.read(path)?, path);
    let test = options.text("test").map(read).transpose()?;
    Ok((data, test))
}

/// Labels −1 and 1 become 0 and 1; others must be class numbers.
fn class_numbers(mut data: Dataset, path: &str) -> Result<Dataset> {
    const MOST: f32 = 10_000.0;
    let labels = data.labels.values::<f32>()?;
    if labels.is_empty() {
        return Err(wrong(format!("{path}: no rows")));
    }
    if labels.iter().all(|l| l.abs() == 1.0) {
        let mapped: Vec<f32> = labels.iter().map(|l| l.max(0.0)).collect();
        data.labels = Tensor::dense([mapped.len()], mapped)?;
        return Ok(data);
    }
    let class = |l: &f32| *l >= 0.0 && *l <= MOST && l.fract() == 0.0;
    match labels.iter().position(|l| !class(l)) {
        None => Ok(data),
        Some(row) => {
            let message = format!(
                "{path}: label {} of row {} is not -1 or 1 throughout, and no class number from 0 \
                 to {MOST}",
                labels[row],
                row + 1
            );
            Err(wrong(message))
        }
    }
}

fn classes(data: &Dataset) -> Result<usize> {
    Ok(data.labels.values::<f32>()?.iter().fold(0.0f32, |a, &b| a.max(b)) as usize + 1)
}

/// 1 for two classes, else the number of classes.
fn outputs(train: &Dataset, test: Option<&Dataset>) -> Result<usize> {
    let known = classes(train)?.max(2);
    if let Some(unknown) = test.map(classes).transpose()?.filter(|&n| n > known) {
        let message =
            format!("a test label is {}, but training has 0 to {}", unknown - 1, known - 1);
        return Err(wrong(message));
    }
    Ok(if known == 2 { 1 } else { known })
}

fn base_rate_loss(data: &Dataset) -> Result<f64> {
    let mut counts = BTreeMap::new();
    for label in data.labels.values::<f32>()? {
        *counts.entry(label.to_bits()).or_insert(0.0) += 1.0;
    }
    let rows = data.rows().max(1) as f64;
    Ok(counts.values().map(|n: &f64| -n / rows * (n / rows).ln()).sum())
}

/// What was asked for: nothing, a weight for each class, or those that give each class the same share.
fn class_weights(text: &str, data: &Dataset, classes: usize) -> Result<Option<Tensor>> {
    let weights: Vec<f32> = match text {
        "none" => return Ok(None),
        "balanced" => {
            let labels = data.labels.values::<f32>()?;
            let rows = |class| labels.iter().filter(|&&l| l as usize == class).count().max(1);
            (0..classes).map(|c| labels.len() as f32 / (classes * rows(c)) as f32).collect()
        }
        list => {
            let weight = |w: &str| w.parse().ok().filter(|w: &f32| *w >= 0.0 && w.is_finite());
            let weights: Option<Vec<f32>> = list.split(',').map(weight).collect();
            weights.filter(|w| w.len() == classes).ok_or_else(|| {
                wrong(format!("--class-weights {list}: not {classes} numbers, none or balanced"))
            })?
        }
    };
    Tensor::dense([classes], weights).map(Some)
}

/// What would only be found out after a long training otherwise.
fn check_directories(options: &Options) -> Result<()> {
    let written = ["save", "rows", "predict", "svg"].into_iter();
    let directory = |path: &str| Path::new(path).parent().map(Path::to_owned);
    let missing = |dir: &PathBuf| !dir.as_os_str().is_empty() && !dir.is_dir();
    let mut directories = written.filter_map(|name| directory(options.text(name)?));
    match directories.find(missing) {
        Some(dir) => Err(wrong(format!("there is no directory {}", dir.display()))),
        None => Ok(()),
    }
}

/// What this library is about: the gradient of a table holds the rows of the batch, no others.
fn show_gradient(model: &dyn Model, weight: &Parameter, batch: &Batch) -> Result<()> {
    let gradients = model.loss(&Tape::new(), batch).backward()?;
    if let Some(gradient) = gradients.of(weight) {
        println!("the first batch's gradient of the weight: {gradient:.3}");
    }
    Ok(())
}

/// The held-out log-loss.
pub(crate) fn run(args: Vec<String>) -> Result<Option<f64>> {
    let Some(options) = Options::parse(USAGE, args)? else { return Ok(None) };
    let size = options.number("batch", 1, usize::MAX)?;
    let rate = |name| options.number(name, 0.0, 1e6);
    let sgd = Sgd::new(rate("lr")?).momentum(rate("momentum")?).weight_decay(rate("wd")?);
    let epochs = options.number("epochs", 1, u64::MAX)?;
    check_directories(&options)?;

    let (train, test) = load(&options)?;
    println!("data: {}, {} stored", train.features.ty(), train.features.nnz());
    let outputs = outputs(&train, test.as_ref())?;
    let classes = outputs.max(2);
    let weights = class_weights(options.text("class-weights").unwrap_or("none"), &train, classes)?;
    let linear = Linear::new(train.schema.features(), outputs)?;
    let model = linear.model(weights);
    let batches = train.batches(size).shuffle(17).build()?;
    let held_out = test.as_ref().unwrap_or(&train);
    let scored = held_out.batches(1024).keep_windows(false).build()?;
    let Some(first) = batches.epoch(0).next() else { return Err(wrong("there are no rows")) };
    show_gradient(&model, &linear.weight, &first)?;

    let params = Params::new([&linear.weight, &linear.bias])?;
    let mut trainer = Trainer::new(&model, params, sgd);
    // Nothing may be made dense behind our back.
    trainer.set_fallback(Fallback::Deny);
    trainer.set_progress(common::progress());
    let mut fit = Fit::epochs(epochs).metric(LogLoss::new()).metric(Accuracy::new());
    if outputs == 1 {
        fit = fit.metric(Auc::new());
    }
    let (split, rows) = if test.is_some() { ("test", "held-out") } else { ("trained", "training") };
    let history = trainer.fit(&batches, fit.evaluate(split, &scored))?;
    common::save_svg(&options, history, "log-loss")?;
    let log_loss = history.last(split, "log-loss").unwrap_or(f64::NAN);
    println!("{rows} log-loss {log_loss:.4}");
    println!("base rate log-loss {:.4}", base_rate_loss(held_out)?);
    common::print_memory(trainer.params());
    if let Some(path) = options.text("save") {
        save(path, &trainer, &first, train.schema, classes)?;
    }
    if let Some(path) = options.text("rows") {
        LibsvmWriter::new().save(path, held_out)?;
    }
    if let Some(path) = options.text("predict") {
        let failed = |e| Error::new(ErrorKind::Io, path).nowhere().caused_by(e);
        trainer.predict_to(&scored, File::create(path).map_err(failed)?)?;
    }
    Ok(Some(log_loss))
}

fn main() -> ExitCode {
    common::exit(run(std::env::args().skip(1).collect()))
}
