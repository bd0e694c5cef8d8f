//! Logistic or softmax classification of sparse rows, define-by-run, with lazy SGD.
//!
//! Without arguments it makes click-like data (power-law features, planted weights), trains, and
//! prints losses, accuracy and AUC. With files it reads libsvm text:
//!
//!     cargo run --release --example linear_classification
//!     cargo run --release --example linear_classification -- --train a.svm --test b.svm
//!
//! Options: --train FILE, --test FILE, --features N, --epochs N, --batch N, --lr X, --momentum X,
//! --wd X, --threads N. To be deployed (see `deploy.rs`): --save FILE writes the model, --rows FILE
//! the held-out rows as libsvm text, --predict FILE their probabilities.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use sparsetape::data::{Dataset, Libsvm, LibsvmWriter, Schema};
use sparsetape::optim::Sgd;
use sparsetape::random::{Distribution, Popularity, Random};
use sparsetape::{
    DType, Error, ErrorKind, Fallback, Gradients, Parameter, Params, Result, Stype, Tape, Tensor,
    Var, freeze_fn,
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

    fn logits<'t>(&self, features: Var<'t>) -> Var<'t> {
        let tape = features.tape();
        features.dot(tape.parameter(&self.weight)) + tape.parameter(&self.bias)
    }

    fn is_logistic(&self) -> bool {
        self.bias.shape()[0] == 1
    }

    fn loss<'t>(&self, logits: Var<'t>, labels: &Tensor) -> Var<'t> {
        let tape = logits.tape();
        if self.is_logistic() {
            return logits.sigmoid_binary_cross_entropy(tape.constant(labels.clone()));
        }
        logits.softmax_cross_entropy(tape.constant(labels.cast(DType::I64)))
    }

    /// Class probabilities, a row each: that of class 1 alone for two classes.
    fn probabilities<'t>(&self, logits: Var<'t>) -> Var<'t> {
        if self.is_logistic() { logits.sigmoid() } else { logits.softmax() }
    }

    fn predict(&self, tape: &mut Tape, features: &Tensor) -> Result<Tensor> {
        tape.clear();
        let x = tape.constant(features.clone());
        tape.no_grad(|| self.probabilities(self.logits(x))).value()
    }

    /// Writes the prediction graph, from `data` to probabilities, with the weights and what a program
    /// that loads them must know.
    fn save(&self, path: &str, schema: Schema) -> Result<()> {
        let example = Tensor::zeros(Stype::Csr, [1, schema.features()], DType::F32)?;
        let graph =
            freeze_fn([("data", example)], |_, x| vec![self.probabilities(self.logits(x[0]))])?;
        let json = serde_json::to_string(&schema)
            .map_err(|e| wrong("cannot write the schema".to_owned()).caused_by(e))?;
        let classes = self.bias.shape()[0].max(2);
        let notes = [
            ("schema", json),
            ("classes", (0..classes).map(|c| c.to_string()).collect::<Vec<_>>().join(",")),
            ("version", concat!("linear_classification ", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        let notes = notes.map(|(name, note)| (name.to_owned(), note));
        graph.save(path, &self.params()?, &BTreeMap::from(notes))
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
            // Comparison, so that NaN stays NaN.
            let of_label = if of_label < 1e-12 { 1e-12 } else { of_label };
            self.loss -= f64::from(of_label).ln();
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
        scores.add(&model.predict(tape, &batch.features)?, &batch.labels)?;
    }
    if !scores.loss.is_finite() {
        return Err(wrong(
            "held-out probabilities are not finite; is there nan in the data?".into(),
        ));
    }
    Ok(scores)
}

/// A line of probabilities for each row, with the fewest digits that identify them.
fn write_probabilities(path: &str, model: &Linear, tape: &mut Tape, data: &Dataset) -> Result<()> {
    let failed = |e| Error::new(ErrorKind::Io, path).nowhere().caused_by(e);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    for batch in data.batches(1024).keep_windows(false).build()?.epoch(0) {
        let probabilities = model.predict(tape, &batch.features)?;
        for row in probabilities.values::<f32>()?.chunks_exact(probabilities.shape()[1]) {
            let line: Vec<String> = row.iter().map(|p| format!("{p:?}")).collect();
            writeln!(file, "{}", line.join(" ")).map_err(failed)?;
        }
    }
    file.flush().map_err(failed)
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

const USAGE: &str = "options: --train FILE, --test FILE, --features N, --epochs N, --batch N, \
    --lr X, --momentum X, --wd X, --threads N, --save FILE, --rows FILE, --predict FILE";

struct Options {
    train: Option<String>,
    test: Option<String>,
    save: Option<String>,
    rows: Option<String>,
    predict: Option<String>,
    features: Option<usize>,
    epochs: u64,
    batch: usize,
    lr: f64,
    momentum: f64,
    wd: f64,
    threads: usize,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut o = Options {
            train: None,
            test: None,
            save: None,
            rows: None,
            predict: None,
            features: None,
            epochs: 5,
            batch: 64,
            lr: 0.2,
            momentum: 0.9,
            wd: 0.0,
            threads: 0,
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| wrong(format!("{name}? {USAGE}")))?;
            match &name[..] {
                "--train" => o.train = Some(value),
                "--test" => o.test = Some(value),
                "--save" => o.save = Some(value),
                "--rows" => o.rows = Some(value),
                "--predict" => o.predict = Some(value),
                "--features" => o.features = Some(number(&name, &value)?),
                "--epochs" => o.epochs = number(&name, &value)?,
                "--batch" => o.batch = number(&name, &value)?,
                "--lr" => o.lr = number(&name, &value)?,
                "--momentum" => o.momentum = number(&name, &value)?,
                "--wd" => o.wd = number(&name, &value)?,
                "--threads" => o.threads = number(&name, &value)?,
                _ => return Err(wrong(format!("{name}? {USAGE}"))),
            }
        }
        o.check()?;
        Ok(o)
    }

    /// What would only be found out after a long training otherwise.
    fn check(&self) -> Result<()> {
        let directory = |path: &String| Path::new(path).parent().map(Path::to_owned);
        let written = [&self.save, &self.rows, &self.predict];
        let missing = |dir: &PathBuf| !dir.as_os_str().is_empty() && !dir.is_dir();
        let fault = match () {
            _ if self.batch == 0 => "--batch 0: a batch has at least one row".to_owned(),
            _ if self.threads > 1024 => "--threads: at most 1024".to_owned(),
            _ if ![self.lr, self.momentum, self.wd].iter().all(|x| x.is_finite()) => {
                "--lr, --momentum and --wd are finite numbers".to_owned()
            }
            _ if self.test.is_some() && self.train.is_none() => "--test needs --train".to_owned(),
            _ => match written.into_iter().flatten().filter_map(directory).find(missing) {
                Some(dir) => format!("there is no directory {}", dir.display()),
                None => return Ok(()),
            },
        };
        Err(wrong(fault))
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| {
        let kind = std::any::type_name::<T>();
        let kind = if kind == "f64" { "a number" } else { "a whole number, 0 or more" };
        wrong(format!("{name} {text:?} is not {kind}"))
    })
}

/// An error in what was typed or read, not in code.
fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Value, message).nowhere()
}

/// Training and, if there is any, held-out data.
fn load(options: &Options) -> Result<(Dataset, Option<Dataset>)> {
    let Some(train) = &options.train else {
        return Ok((clicks(300_000, 1)?, Some(clicks(50_000, 100)?)));
    };
    let mut reader = Libsvm::new();
    if let Some(features) = options.features {
        reader = reader.features(features);
    }
    let data = class_numbers(reader.read(train)?, train)?;
    let reader = reader.schema(data.schema);
    let read = |path: &String| class_numbers(reader.read(path)?, path);
    let test = options.test.as_ref().map(read).transpose()?;
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

pub(crate) fn run(args: Vec<String>) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let options = Options::parse(args.into_iter())?;
    // Fails only if the pool exists already, which it does not.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global();
    let started = Instant::now();
    let (train, test) = load(&options)?;
    println!(
        "data: {}, {} stored, in {:.2} s",
        train.features.ty(),
        train.features.nnz(),
        started.elapsed().as_secs_f64()
    );

    let model = Linear::new(train.schema.features(), outputs(&train, test.as_ref())?)?;
    let params = model.params()?;
    let mut sgd = Sgd::new(options.lr).momentum(options.momentum).weight_decay(options.wd);
    print!("{params}");

    let mut tape = Tape::new();
    // Nothing may be made dense behind our back.
    tape.set_fallback(Fallback::Deny);
    let mut gradients = Gradients::default();
    let batches = train.batches(options.batch).shuffle(17).build()?;
    for epoch in 0..options.epochs {
        let (clock, mut scores, mut touched) = (Instant::now(), Scores::default(), 0);
        for batch in batches.epoch(epoch) {
            tape.clear();
            let logits = model.logits(tape.constant(batch.features.clone()));
            let loss = model.loss(logits, &batch.labels);
            if !loss.item::<f32>()?.is_finite() {
                let message = format!(
                    "epoch {epoch}: the loss of the batch at row {} is not finite; is --lr too \
                     large, or nan in the data?",
                    batch.first_row + 1
                );
                return Err(wrong(message));
            }
            loss.backward_into(&mut gradients)?;
            // Scored before the update, so these rows are new to the model in the first epoch.
            let probabilities = tape.no_grad(|| model.probabilities(logits)).value()?;
            scores.add(&probabilities, &batch.labels)?;
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
    if let Some(path) = &options.save {
        model.save(path, train.schema)?;
        println!("saved {path}");
    }
    if let Some(path) = &options.rows {
        LibsvmWriter::new().save(path, held_out)?;
    }
    if let Some(path) = &options.predict {
        write_probabilities(path, &model, &mut tape, held_out)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
