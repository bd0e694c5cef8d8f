//! Logistic or softmax classification of sparse rows, define-by-run, with lazy SGD.
//!
//! Without arguments it makes click-like data (power-law features, planted weights), trains, and
//! prints losses, accuracy and AUC. With files it reads libsvm text:
//!
//!     cargo run --release --example linear_classification
//!     cargo run --release --example linear_classification -- --train a.svm --test b.svm
//!
//! Options: --train FILE, --test FILE, --features N, --epochs N, --batch N, --lr X, --momentum X,
//! --wd X, --threads N, --save FILE.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use sparsetape::data::{Dataset, LabelMap, Libsvm};
use sparsetape::optim::Sgd;
use sparsetape::random::{Distribution, Popularity, Random};
use sparsetape::{
    DType, Error, ErrorKind, Fallback, Gradients, LossReduction, Parameter, Params, Result, Stype,
    Tape, Tensor, Var,
};

/// One weight column for two classes (logistic), one for each class beyond (softmax).
struct Linear {
    weight: Parameter,
    bias: Parameter,
}

impl Linear {
    fn new(features: usize, outputs: usize) -> Result<Self> {
        Ok(Linear {
            weight: Parameter::new(
                "weight",
                Tensor::zeros(Stype::Default, [features, outputs], DType::F32)?,
            )?,
            bias: Parameter::new("bias", Tensor::zeros(Stype::Default, [outputs], DType::F32)?)?,
        })
    }

    fn params(&self) -> Result<Params> {
        Params::new([&self.weight, &self.bias])
    }

    fn logits<'t>(&self, tape: &'t Tape, features: &Tensor) -> Var<'t> {
        let x = tape.constant(features.clone());
        x.dot(tape.parameter(&self.weight)) + tape.parameter(&self.bias)
    }

    fn is_logistic(&self) -> bool {
        self.bias.shape()[0] == 1
    }

    fn loss<'t>(&self, tape: &'t Tape, logits: Var<'t>, labels: &Tensor) -> Var<'t> {
        if self.is_logistic() {
            let labels = tape.constant(labels.clone()).reshape(&[-1, 1]);
            return logits.sigmoid_cross_entropy(labels, LossReduction::Mean);
        }
        let labels = tape.constant(labels.cast(DType::I64));
        logits.softmax_cross_entropy(labels, LossReduction::Mean)
    }

    /// Class probabilities, a row each: that of class 1 alone for two classes.
    fn probabilities(&self, tape: &Tape, logits: Var<'_>) -> Result<Tensor> {
        tape.no_grad(|| if self.is_logistic() { logits.sigmoid() } else { logits.softmax() })
            .value()
    }
}

/// Log-loss in nats, accuracy, and for two classes the area under the ROC curve, over batches.
#[derive(Default)]
struct Scores {
    loss: f64,
    right: usize,
    rows: usize,
    /// Probability of class 1, and whether that is the label.
    scored: Vec<(f32, bool)>,
}

impl Scores {
    fn add(&mut self, probabilities: &Tensor, labels: &Tensor) -> Result<()> {
        let outputs = probabilities.shape()[1];
        let rows = probabilities.values::<f32>()?.chunks_exact(outputs);
        for (p, &label) in rows.zip(labels.values::<f32>()?) {
            let (of_label, guess) = if outputs == 1 {
                self.scored.push((p[0], label == 1.0));
                (if label == 1.0 { p[0] } else { 1.0 - p[0] }, f32::from(p[0] >= 0.5))
            } else {
                let best = (0..outputs).max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap_or(0);
                (p.get(label as usize).copied().unwrap_or(0.0), best as f32)
            };
            self.loss -= f64::from(of_label.max(1e-12)).ln();
            self.right += usize::from(guess == label);
            self.rows += 1;
        }
        Ok(())
    }

    fn line(&mut self) -> String {
        let rows = self.rows.max(1) as f64;
        let (loss, accuracy) = (self.loss / rows, 100.0 * self.right as f64 / rows);
        let auc = auc(&mut self.scored).map_or("     -".to_owned(), |auc| format!("{auc:.4}"));
        format!("{loss:8.4}  {accuracy:7.2} %  {auc}")
    }
}

fn evaluate(model: &Linear, tape: &mut Tape, data: &Dataset, batch: usize) -> Result<Scores> {
    let mut scores = Scores::default();
    for batch in data.batches(batch).keep_windows(false).build()?.epoch(0) {
        tape.clear();
        let logits = tape.no_grad(|| model.logits(tape, &batch.features));
        scores.add(&model.probabilities(tape, logits)?, &batch.labels)?;
    }
    Ok(scores)
}

/// The probability that a positive row is scored above a negative one; ties count half.
fn auc(scored: &mut [(f32, bool)]) -> Option<f64> {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scored.iter().filter(|s| s.1).count() as f64;
    let negatives = scored.len() as f64 - positives;
    let (mut below, mut wins) = (0.0, 0.0);
    for ties in scored.chunk_by(|a, b| a.0 == b.0) {
        let won = ties.iter().filter(|s| s.1).count() as f64;
        let lost = ties.len() as f64 - won;
        wins += won * (below + lost / 2.0);
        below += lost;
    }
    (positives * negatives > 0.0).then(|| wins / (positives * negatives))
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

struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let known = [
            "train", "test", "features", "epochs", "batch", "lr", "momentum", "wd", "threads",
            "save",
        ];
        let (mut options, mut args) = (BTreeMap::new(), args);
        while let Some(arg) = args.next() {
            let name = arg.strip_prefix("--").filter(|name| known.contains(name));
            match (name, args.next()) {
                (Some(name), Some(value)) => options.insert(name.to_owned(), value),
                (Some(_), None) => return Err(wrong(format!("{arg} needs a value"))),
                (None, _) => {
                    return Err(wrong(format!("{arg}? There are --{}", known.join(", --"))));
                }
            };
        }
        Ok(Options(options))
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T> {
        let Some(text) = self.0.get(name) else { return Ok(default) };
        text.parse().map_err(|_| wrong(format!("--{name} {text:?} is not a number of this kind")))
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Value, message).operator("linear_classification")
}

/// Training and, if there is any, held-out data.
fn load(options: &Options) -> Result<(Dataset, Option<Dataset>)> {
    let Some(train) = options.0.get("train") else {
        return Ok((clicks(300_000, 1)?, Some(clicks(50_000, 100)?)));
    };
    let read = |map| {
        let mut reader = Libsvm::new().labels(map);
        if options.0.contains_key("features") {
            reader = reader.features(options.number("features", 0)?);
        }
        let data = reader.read(train)?;
        let test = options.0.get("test");
        let test = test.map(|path| reader.clone().schema(data.schema).read(path)).transpose()?;
        Ok((data, test))
    };
    // Labels ±1 become 0 and 1; other labels are class numbers.
    read(LabelMap::PlusMinusOne).or_else(|_: Error| read(LabelMap::Keep))
}

/// 1 for two classes, else the number of classes.
fn outputs(labels: &Tensor) -> Result<usize> {
    let labels = labels.values::<f32>()?;
    if let Some(row) = labels.iter().position(|l| *l < 0.0 || l.fract() != 0.0 || *l > 1e4) {
        return Err(wrong(format!("label {} of row {row} is not a class number", labels[row])));
    }
    let classes = labels.iter().fold(0.0f32, |a, &b| a.max(b)) as usize + 1;
    Ok(if classes <= 2 { 1 } else { classes })
}

fn base_rate_loss(data: &Dataset) -> Result<f64> {
    let mut counts = BTreeMap::new();
    for label in data.labels.values::<f32>()? {
        *counts.entry(label.to_bits()).or_insert(0.0) += 1.0;
    }
    let rows = data.rows().max(1) as f64;
    Ok(counts.values().map(|n: &f64| -n / rows * (n / rows).ln()).sum())
}

/// Largest resident size so far, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib: Option<f64> = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
    kib.map_or("unknown".to_owned(), |kib| format!("{:.0} MB", kib / 1024.0))
}

/// What this library is about: the gradient of a table holds the rows of the batch, no others.
fn show_gradient(model: &Linear, gradients: &Gradients) {
    if let Some(gradient) = gradients.of(&model.weight) {
        println!("the last batch's gradient of the weight: {gradient:.3}");
    }
}

fn run() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let threads = options.number("threads", 0)?;
    // Fails only if the pool exists already, which it does not.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let started = Instant::now();
    let (train, test) = load(&options)?;
    println!(
        "data: {}, {} stored, in {:.2} s",
        train.features.ty(),
        train.features.nnz(),
        started.elapsed().as_secs_f64()
    );

    let (batch_size, epochs) = (options.number("batch", 64)?, options.number("epochs", 5)?);
    let model = Linear::new(train.schema.features(), outputs(&train.labels)?)?;
    let params = model.params()?;
    let mut sgd = Sgd::new(options.number("lr", 0.2)?)
        .momentum(options.number("momentum", 0.9)?)
        .weight_decay(options.number("wd", 0.0)?);
    print!("{params}");

    let mut tape = Tape::new();
    // Nothing may be made dense behind our back.
    tape.set_fallback(Fallback::Deny);
    let mut gradients = Gradients::default();
    let batches = train.batches(batch_size).shuffle(17).build()?;
    for epoch in 0..epochs {
        let (clock, mut scores, mut touched) = (Instant::now(), Scores::default(), 0);
        for batch in batches.epoch(epoch) {
            tape.clear();
            let logits = model.logits(&tape, &batch.features);
            let loss = model.loss(&tape, logits, &batch.labels);
            loss.backward_into(&mut gradients)?;
            // Scored before the update, so these rows are new to the model in the first epoch.
            scores.add(&model.probabilities(&tape, logits)?, &batch.labels)?;
            sgd.step(&params, &gradients)?;
            let rows = gradients.of(&model.weight).and_then(|g| g.rows());
            touched += rows.map_or(0, |rows| rows.len());
        }
        let seconds = clock.elapsed().as_secs_f64();
        if epoch == 0 {
            show_gradient(&model, &gradients);
            println!("                log-loss   accuracy   AUC     rows/s  touched  peak");
        }
        println!(
            "epoch {epoch}  train  {}  {:.2e}  {:5}  {}",
            scores.line(),
            train.rows() as f64 / seconds,
            touched / batches.len().max(1),
            peak_memory()
        );
        if let Some(test) = &test {
            println!("         test   {}", evaluate(&model, &mut tape, test, 1024)?.line());
        }
    }
    let held_out = test.as_ref().unwrap_or(&train);
    println!("base rate log-loss {:.4}", base_rate_loss(held_out)?);
    println!("{:.2} s in all", started.elapsed().as_secs_f64());
    if let Some(path) = options.0.get("save") {
        let schema = serde_json::to_string(&train.schema)
            .map_err(|e| wrong("cannot write the schema".to_owned()).caused_by(e))?;
        params.save(path, &BTreeMap::from([("schema".to_owned(), schema)]))?;
        println!("saved {path}");
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
