//! Serves a saved classifier: libsvm rows in, probabilities out, one line for each row.
//!
//!     cargo run --release --example linear_classification -- --save model.safetensors --rows rows.svm
//!     cargo run --release --example deploy -- model.safetensors rows.svm --out probabilities.txt
//!
//! The graph comes with the model file, so nothing here knows how the model computes. Probabilities are
//! those of the training program, bit for bit; of two classes, that of class 1 alone. Labels in the
//! rows are skipped.
//!
//! Options: --one makes every row a request of its own; --batch N rows are read at a time, and without
//! --one predicted at once; --unknown error, ignore or bucket=ID says what becomes of ids that training
//! did not know; --map maps the model file instead of reading it; --threads N; --out FILE.
//! Without a file of rows, or with -, rows come from standard input.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sparsetape::data::{Chunk, Dataset, Libsvm, Schema, Stream, Wider};
use sparsetape::{Error, ErrorKind, Executor, Fallback, Model, Registry, Result, Stype};

/// A model that maps csr rows to class probabilities, and the memory that requests run in.
struct Classifier {
    executor: Executor,
    schema: Schema,
    /// What its file says of it.
    about: String,
}

impl Classifier {
    fn load(path: &str, mapped: bool) -> Result<Self> {
        let model = match mapped {
            // SAFETY: model files are replaced by renaming, as `Graph::save` does, never changed.
            true => unsafe { Model::map(path, &Registry::standard())? },
            false => Model::load(path)?,
        };
        Classifier::new(&model).map_err(|e| wrong(format!("{path} is no csr classifier: {e}")))
    }

    fn new(model: &Model) -> Result<Self> {
        let note = |name: &str| {
            let note = model.notes().get(name);
            note.ok_or_else(|| wrong(format!("its notes have no {name:?}")))
        };
        let schema: Schema = serde_json::from_str(note("schema")?)
            .map_err(|e| wrong("its schema".to_owned()).caused_by(e))?;
        let (classes, version) = (note("classes")?, note("version")?);
        let data = model.graph.variables().find(|variable| variable.name() == "data");
        if data.is_none_or(|data| data.ty().stype != Stype::Csr) {
            return Err(wrong("its graph has no csr variable \"data\"".to_owned()));
        }
        let bind = model.bind().shape("data", [1, schema.features()]).fallback(Fallback::Deny);
        let about = format!("{version}, classes {classes}, {} features", schema.features());
        let mut model = Classifier { executor: model.graph.bind(bind)?, schema, about };
        // A row without entries shows that all weights are there, and makes the first request fast.
        match (model.predict(&[0, 0], &[], &[])?.len(), classes.split(',').count()) {
            (1, 2) => Ok(model),
            (outputs, classes) if outputs == classes => Ok(model),
            (outputs, _) => Err(wrong(format!("{outputs} outputs for classes {classes}"))),
        }
    }

    /// One request: probabilities of borrowed rows. Once warm, nothing is allocated.
    fn predict(&mut self, indptr: &[usize], ids: &[u32], values: &[f32]) -> Result<&[f32]> {
        self.executor.run_csr("data", indptr, ids, values)?;
        self.executor.output(0)?.values()
    }
}

/// Counts of durations in buckets 1 % apart: any number of requests in little memory.
struct Latencies {
    counts: Vec<u64>,
    total: Duration,
}

impl Latencies {
    const GROWTH: f64 = 1.01;

    fn new() -> Self {
        Latencies { counts: Vec::new(), total: Duration::ZERO }
    }

    fn add(&mut self, taken: Duration) {
        let bucket = (taken.as_nanos().max(1) as f64).log(Self::GROWTH) as usize;
        self.counts.resize(self.counts.len().max(bucket + 1), 0);
        self.counts[bucket] += 1;
        self.total += taken;
    }

    fn requests(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What this fraction of the requests took at most.
    fn quantile(&self, fraction: f64) -> Duration {
        let mut left = (fraction * self.requests() as f64).ceil() as u64;
        let within = |count: &u64| {
            left = left.saturating_sub(*count);
            left == 0
        };
        let bucket = self.counts.iter().position(within);
        bucket.map_or(Duration::ZERO, |n| {
            Duration::from_nanos(Self::GROWTH.powi(n as i32 + 1) as u64)
        })
    }
}

#[derive(Clone, Copy)]
enum Unknown {
    Refuse,
    Ignore,
    /// An id, as files have it, that stands for all unknown ones.
    Bucket(u32),
}

impl Unknown {
    fn parse(text: &str) -> Result<Self> {
        match (text, text.strip_prefix("bucket=")) {
            ("error", _) => Ok(Unknown::Refuse),
            ("ignore", _) => Ok(Unknown::Ignore),
            (_, Some(id)) => Ok(Unknown::Bucket(number("--unknown bucket=", id)?)),
            _ => Err(wrong(format!("--unknown {text:?} is not error, ignore or bucket=ID"))),
        }
    }

    fn wider(self, schema: Schema) -> Result<Wider> {
        let first = schema.base().first_id();
        match self {
            Unknown::Refuse => Ok(Wider::Refuse),
            Unknown::Ignore => Ok(Wider::Drop),
            Unknown::Bucket(id) => {
                let column = id.checked_sub(first).filter(|&c| (c as usize) < schema.features());
                column.map(Wider::Bucket).ok_or_else(|| {
                    let last = schema.features() as u64 + u64::from(first);
                    wrong(format!("--unknown bucket={id}: ids are from {first} to {}", last - 1))
                })
            }
        }
    }

    fn counted(self, entries: usize) -> String {
        match self {
            Unknown::Bucket(id) => format!("{entries} unknown ids counted as {id}"),
            _ => format!("{entries} unknown ids left out"),
        }
    }
}

const USAGE: &str = "deploy MODEL [ROWS] [--one] [--batch N] [--unknown error|ignore|bucket=ID] \
    [--map] [--threads N] [--out FILE]";

struct Options {
    model: String,
    /// From standard input if there is none.
    rows: Option<String>,
    out: Option<String>,
    one: bool,
    map: bool,
    batch: usize,
    threads: usize,
    unknown: Unknown,
}

impl Options {
    fn parse(args: Vec<String>) -> Result<Self> {
        let (mut files, mut out, mut one, mut map) = (Vec::new(), None, false, false);
        let (mut batch, mut threads, mut unknown) = (1024, 0, Unknown::Refuse);
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| wrong(format!("{arg}? {USAGE}")));
            match &arg[..] {
                "--one" => one = true,
                "--map" => map = true,
                "--out" => out = Some(value()?),
                "--batch" => batch = number(&arg, &value()?)?,
                "--threads" => threads = number(&arg, &value()?)?,
                "--unknown" => unknown = Unknown::parse(&value()?)?,
                option if option.starts_with("--") => {
                    return Err(wrong(format!("{option}? {USAGE}")));
                }
                _ => files.push(arg),
            }
        }
        let mut files = files.into_iter();
        match (files.next(), files.next(), files.next()) {
            (Some(model), rows, None) if batch > 0 && threads <= 1024 => {
                let rows = rows.filter(|path| path != "-");
                Ok(Options { model, rows, out, one, map, batch, threads, unknown })
            }
            _ => Err(wrong(USAGE.to_owned())),
        }
    }

    fn open_rows(&self, schema: Schema) -> Result<Stream<'static>> {
        let reader = Libsvm::new().schema(schema).skip_labels().wider(self.unknown.wider(schema)?);
        match &self.rows {
            Some(path) => reader.stream(&[path], Chunk::Rows(self.batch)),
            None => reader.stream_from(std::io::stdin(), Chunk::Rows(self.batch)),
        }
    }

    fn open_out(&self) -> Result<Output> {
        let (name, to): (_, Box<dyn Write>) = match &self.out {
            Some(path) => (&path[..], Box::new(File::create(path).map_err(io(path))?)),
            None => ("<stdout>", Box::new(std::io::stdout().lock())),
        };
        Ok(Output { name: name.to_owned(), to: BufWriter::new(to) })
    }
}

struct Output {
    name: String,
    to: BufWriter<Box<dyn Write>>,
}

impl Output {
    /// A line for each row, with the fewest digits that identify the numbers.
    fn write(&mut self, probabilities: &[f32], rows: usize) -> Result<()> {
        for row in probabilities.chunks_exact(probabilities.len() / rows) {
            for (k, p) in row.iter().enumerate() {
                let space = if k > 0 { " " } else { "" };
                let digits = format!("{p:?}");
                let digits = digits.trim_end_matches(".0");
                write!(self.to, "{space}{digits}").map_err(io(&self.name))?;
            }
            writeln!(self.to).map_err(io(&self.name))?;
        }
        Ok(())
    }

    /// Whoever waits for an answer has it after each batch.
    fn flush(&mut self) -> Result<()> {
        self.to.flush().map_err(io(&self.name))
    }
}

fn io(name: &str) -> impl Fn(std::io::Error) -> Error {
    move |e| Error::new(ErrorKind::Io, name).nowhere().caused_by(e)
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| wrong(format!("{name} {text:?} is not a whole number, 0 or more")))
}

/// An error in what was typed or read, not in code.
fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Value, message).nowhere()
}

pub(crate) fn run(args: Vec<String>) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let options = Options::parse(args)?;
    // Fails only if the pool exists already, which it does not.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global();
    let mut model = Classifier::load(&options.model, options.map)?;
    eprintln!("{}: {}", options.model, model.about);

    serve(&options, &mut model)
}

fn serve(options: &Options, model: &mut Classifier) -> Result<()> {
    let started = Instant::now();
    let (mut out, mut latencies) = (options.open_out()?, Latencies::new());
    let (mut total, mut unknown) = (0, 0);
    for chunk in options.open_rows(model.schema)? {
        let chunk = chunk?;
        let request = if options.one { 1 } else { chunk.rows() };
        answer(model, &chunk, request, &mut out, &mut latencies)?;
        out.flush()?;
        total += chunk.rows();
        unknown += chunk.dropped.entries;
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = |seconds: f64| total as f64 / seconds.max(1e-9);
    eprintln!(
        "{total} rows in {seconds:.3} s: {:.2e} rows/s read, predicted and written; {}",
        rate(seconds),
        options.unknown.counted(unknown)
    );
    eprintln!(
        "{} requests: {:.2e} rows/s, p50 {:.3?}, p99 {:.3?}",
        latencies.requests(),
        rate(latencies.total.as_secs_f64()),
        latencies.quantile(0.5),
        latencies.quantile(0.99)
    );
    Ok(())
}

/// Predicts so many rows of the chunk at a time, and writes what comes out.
fn answer(
    model: &mut Classifier,
    chunk: &Dataset,
    request: usize,
    out: &mut Output,
    latencies: &mut Latencies,
) -> Result<()> {
    let ends = chunk.features.indptr().unwrap_or_default();
    let ids = chunk.features.indices().unwrap_or_default();
    let values = chunk.features.values::<f32>()?;
    for first in (0..chunk.rows()).step_by(request) {
        let ends = &ends[first..=first + request];
        let entries = ends[0]..ends[request];
        let clock = Instant::now();
        let probabilities = model.predict(ends, &ids[entries.clone()], &values[entries])?;
        latencies.add(clock.elapsed());
        out.write(probabilities, request)?;
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
