//! A whole job: a libsvm file is read, logistic regression trained, rows held out scored.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use memmap2::Mmap;
use sparsetape::data::{BatchSource, Chunk, Dataset, IdBase, Libsvm, Schema};
use sparsetape::optim::Sgd;
use sparsetape::random::{Distribution, Popularity, Random};
use sparsetape::train::metrics::LogLoss;
use sparsetape::train::{Fit, Progress, Trainer, supervised};
use sparsetape::{Graph, Parameter, Params, Result, Stype, Tape, Tensor, variable};

use super::{Case, EAGER, FLOOR, FROZEN, Size, Visit};

const PER_ROW: usize = 40;
const EPOCHS: usize = 3;
const BATCH: usize = 1024;
const RATE: f32 = 0.5;

pub fn cases(size: Size, visit: Visit) {
    let (rows, features) = match size {
        Size::Full => (200_000, 1_000_000),
        Size::Test => (2_000, 10_000),
    };
    let text = Arc::new(Text::write(rows, features).expect("a file is written"));
    visit(parsing(&text));
    visit(training(&text));
}

/// A libsvm file of power-law columns and labels of planted weights, and the same cut in two: removed in the
/// end.
struct Text {
    path: PathBuf,
    train: PathBuf,
    held_out: PathBuf,
    rows: usize,
    features: usize,
    map: Mmap,
}

impl Drop for Text {
    fn drop(&mut self) {
        for path in [&self.path, &self.train, &self.held_out] {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Text {
    fn write(rows: usize, features: usize) -> Result<Text> {
        let popularity = Popularity::ScatteredPowerLaw(1.1);
        let mut random = Random::new(1).with_values(Distribution::Uniform(0.5, 1.5));
        let x = random.csr_rows::<f32>([rows, features], PER_ROW, popularity)?;
        let draw = |seed, values, count: usize| {
            Random::new(seed).with_values(values).dense::<f32>([count])
        };
        let planted = draw(7, Distribution::Normal(0.0, 0.35), features)?;
        let coins = draw(2, Distribution::Uniform(0.0, 1.0), rows)?;
        let (planted, coins) = (planted.values::<f32>()?, coins.values::<f32>()?);
        let (indptr, columns, values) =
            (x.indptr().unwrap(), x.indices().unwrap(), x.values::<f32>()?);
        let path = std::env::temp_dir().join(format!("sparsetape-job-{}", std::process::id()));
        let mut file = BufWriter::new(File::create(&path).unwrap());
        for (ends, &coin) in indptr.windows(2).zip(coins) {
            let row = || columns[ends[0]..ends[1]].iter().zip(&values[ends[0]..ends[1]]);
            let z: f32 = row().map(|(&c, v)| planted[c as usize] * v).sum();
            let label = u8::from(coin < sigmoid(z - 1.0));
            write!(file, "{label}").unwrap();
            for (column, value) in row() {
                let decimals = (value * 1e4).round() as u32;
                let (whole, part) = (decimals / 10_000, decimals % 10_000);
                write!(file, " {}:{whole}.{part:04}", column + 1).unwrap();
            }
            file.write_all(b"\n").unwrap();
        }
        drop(file.into_inner().unwrap());
        // SAFETY: nobody else knows of the file.
        let map = unsafe { Mmap::map(&File::open(&path).unwrap()) }.unwrap();
        let text = Text {
            train: path.with_extension("train"),
            held_out: path.with_extension("held-out"),
            path,
            rows,
            features,
            map,
        };
        let mut ends = (1..).zip(&text.map[..]).filter(|(_, byte)| **byte == b'\n');
        let (cut, _) = ends.nth(text.trained() - 1).unwrap();
        std::fs::write(&text.train, &text.map[..cut]).unwrap();
        std::fs::write(&text.held_out, &text.map[cut..]).unwrap();
        Ok(text)
    }

    fn reader(&self) -> Libsvm {
        Libsvm::new().base(IdBase::One).features(self.features)
    }

    /// How many rows are trained on; the others are held out.
    fn trained(&self) -> usize {
        self.rows / 10 * 9
    }
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

fn parsing(text: &Arc<Text>) -> Case {
    let mut rows = Rows::new(text);
    rows.parse(&text.map);
    let read = Libsvm::new().read(&text.path).expect("it is well-formed");
    assert!(rows.are(&read));
    let case = Case::new("job, parsing", "byte", text.map.len());
    let (floor, eager, streamed) = (text.clone(), text.clone(), text.clone());
    let schema = read.schema;
    case.with(FLOOR, move || rows.parse(&floor.map))
        .with(EAGER, move || drop(black_box(Libsvm::new().read(&eager.path).unwrap())))
        .with("streaming", move || stream(&streamed, schema))
}

fn stream(text: &Text, schema: Schema) {
    let chunks = Libsvm::new().schema(schema).stream(&[&text.path], Chunk::Bytes(8 << 20));
    let rows: usize = chunks.unwrap().map(|chunk| black_box(chunk.unwrap()).rows()).sum();
    assert_eq!(rows, text.rows);
}

/// What the file holds, in memory that is used again.
struct Rows {
    indptr: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
    labels: Vec<f32>,
}

impl Rows {
    fn new(text: &Text) -> Rows {
        let entries = text.rows * PER_ROW;
        Rows {
            indptr: vec![0; text.rows + 1],
            columns: vec![0; entries],
            values: vec![0.0; entries],
            labels: vec![0.0; text.rows],
        }
    }

    fn parse(&mut self, text: &[u8]) {
        const POWERS: [f64; 9] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
        let (mut at, mut entry, mut row) = (0, 0, 0);
        while at < text.len() {
            self.labels[row] = digits(text, &mut at, 0) as f32;
            while text[at] != b'\n' {
                at += 1;
                self.columns[entry] = digits(text, &mut at, 0) as u32 - 1;
                at += 1;
                let whole = digits(text, &mut at, 0);
                at += 1;
                let point = at;
                let mantissa = digits(text, &mut at, whole);
                self.values[entry] = (mantissa as i64 as f64 / POWERS[at - point]) as f32;
                entry += 1;
            }
            (at, row) = (at + 1, row + 1);
            self.indptr[row] = entry;
        }
    }

    fn are(&self, data: &Dataset) -> bool {
        data.features.indptr().unwrap() == self.indptr
            && data.features.indices().unwrap() == self.columns
            && data.features.values::<f32>().unwrap() == self.values
            && data.labels.values::<f32>().unwrap() == self.labels
    }

    fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> {
        let entries = self.indptr[row]..self.indptr[row + 1];
        let columns = self.columns[entries.clone()].iter().map(|&column| column as usize);
        columns.zip(self.values[entries].iter().copied())
    }

    fn logit(&self, row: usize, weights: &[f32]) -> f32 {
        self.row(row).map(|(column, value)| weights[column] * value).sum()
    }

    /// A step on rows that follow one another; what is subtracted from the weights is not merged.
    fn step(&self, rows: std::ops::Range<usize>, weights: &mut [f32], errors: &mut Vec<f32>) {
        let rate = RATE / rows.len() as f32;
        errors.clear();
        errors.extend(rows.clone().map(|row| sigmoid(self.logit(row, weights)) - self.labels[row]));
        for (row, error) in rows.zip(errors) {
            let error = *error * rate;
            self.row(row).for_each(|(column, value)| weights[column] -= error * value);
        }
    }

    fn train(&self, trained: usize, weights: &mut [f32]) -> f64 {
        let mut errors = Vec::with_capacity(BATCH);
        weights.fill(0.0);
        for _ in 0..EPOCHS {
            for first in (0..trained).step_by(BATCH) {
                self.step(first..trained.min(first + BATCH), weights, &mut errors);
            }
        }
        let loss = |row: usize| {
            let z = f64::from(self.logit(row, weights));
            let signed = if self.labels[row] == 1.0 { -z } else { z };
            signed.exp().ln_1p()
        };
        let held_out = trained..self.labels.len();
        let rows = held_out.len() as f64;
        held_out.map(loss).sum::<f64>() / rows
    }
}

/// The number that goes on from `number`, up to a byte that is no digit.
#[inline(always)]
fn digits(text: &[u8], at: &mut usize, mut number: u64) -> u64 {
    while text[*at].wrapping_sub(b'0') <= 9 {
        number = number * 10 + u64::from(text[*at] - b'0');
        *at += 1;
    }
    number
}

fn training(text: &Arc<Text>) -> Case {
    let case = Case::new("job", "entry of an epoch", text.trained() * PER_ROW);
    let (mut rows, mut weights) = (Rows::new(text), vec![0.0; text.features]);
    rows.parse(&text.map);
    let expected = rows.train(text.trained(), &mut weights);
    let same = move |loss: f64| {
        assert!((loss - expected).abs() < 1e-3, "a loss of {loss}, that of the floor is {expected}")
    };
    let (floor, own, frozen, streamed) = (text.clone(), text.clone(), text.clone(), text.clone());
    case.with(FLOOR, move || {
        rows.parse(&floor.map);
        same(rows.train(floor.trained(), &mut weights));
    })
    .with(EAGER, move || same(in_memory(&own, eager).unwrap()))
    .with(FROZEN, move || same(in_memory(&frozen, on_graph).unwrap()))
    .with("streaming", move || same(streaming(&streamed).unwrap()))
}

/// Trains the weights on batches; the log-loss of others.
type Job = fn(&Parameter, &dyn BatchSource, &dyn BatchSource) -> Result<f64>;

fn in_memory(text: &Text, job: Job) -> Result<f64> {
    let data = text.reader().read(&text.path)?;
    let train = data.rows_window(0, text.trained())?.batches(BATCH).build()?;
    let held_out = data.rows_window(text.trained(), text.rows)?.batches(BATCH).build()?;
    job(&weight(text)?, &train, &held_out)
}

fn streaming(text: &Text) -> Result<f64> {
    let batches = |path| text.reader().stream_batches(&[path], BATCH).memory(32 << 20).build();
    eager(&weight(text)?, &batches(&text.train)?, &batches(&text.held_out)?)
}

fn weight(text: &Text) -> Result<Parameter> {
    Parameter::new("weight", Tensor::full([text.features, 1], 0.0f32)?)
}

fn eager(weight: &Parameter, train: &dyn BatchSource, held_out: &dyn BatchSource) -> Result<f64> {
    let model = supervised(
        |tape, batch| batch.var(tape, "data").dot(tape.parameter(weight)),
        |logits, label| logits.sigmoid_binary_cross_entropy(label),
        |logits| logits.sigmoid(),
    );
    let trainer = Trainer::new(&model, Params::new([weight])?, Sgd::new(f64::from(RATE)));
    log_loss(trainer, train, held_out)
}

fn on_graph(
    weight: &Parameter,
    train: &dyn BatchSource,
    held_out: &dyn BatchSource,
) -> Result<f64> {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("data").stype(Stype::Csr));
    let label = tape.symbol(variable("label").shape([None, Some(1)]));
    let logits = x.dot(tape.parameter(weight));
    let loss = logits.sigmoid_binary_cross_entropy(label);
    let graph = Graph::new(&[loss, logits.sigmoid()])?;
    let trainer = Trainer::from_graph(&graph, Params::new([weight])?, Sgd::new(f64::from(RATE)))?;
    log_loss(trainer, train, held_out)
}

fn log_loss(
    mut trainer: Trainer,
    train: &dyn BatchSource,
    held_out: &dyn BatchSource,
) -> Result<f64> {
    trainer.set_progress(Progress::hidden());
    trainer.fit(train, Fit::epochs(EPOCHS as u64))?;
    let mut loss = LogLoss::new();
    trainer.score(held_out, &mut [&mut loss])?;
    Ok(sparsetape::train::metrics::Metric::value(&loss))
}
