//! Wide & deep (Cheng et al. 2016): a linear model of crossed categorical features, which remembers what occurs together, beside
//! a dense network on embeddings, which generalizes to what never did, trained as one model of one logit:
//!
//! ```text
//! z = b + w · [values, crossed values] + W₂ relu(W₁ [e(value 1) … e(value n)] + b₁) + b₂,   p = 1 / (1 + e⁻ᶻ)
//! ```
//!
//! Values are hashed to the columns of a csr matrix (wide) and to the rows of a table of embeddings (deep). The gradients of
//! both tables are row-sparse, those of the layers dense; one optimizer moves them all, of the tables the rows that occur in
//! the batch and no others, so that the tables may be as large as one likes. At the end the trained model is frozen to a
//! graph, which gives the trainer's probabilities bit for bit and can be saved for `sparsetape::Model::load`. The wide and the
//! deep part are also trained alone, for comparison.
//!
//! ```text
//! cargo run --release --example wide_deep
//! cargo run --release --example wide_deep -- clicks.tsv --cross 1x2,4x7 --save model.safetensors
//! ```
//!
//! Files have lines of a label, 0 or 1, and any values, separated by tabs or commas, of which an empty one is a value too.
//! Without one, the label is drawn from a table of random crosses of two fields and a smooth function of the others.

#[path = "common/categories.rs"]
pub(crate) mod categories;
mod common;
#[path = "common/logistic.rs"]
mod logistic;
#[path = "common/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::process::ExitCode;

use categories::Rows;
use common::{Options, wrong};
use logistic::{Scores, Split, logistic, print_scores, train};
use sparsetape::data::{Batch, Dataset};
use sparsetape::optim::AdaGrad;
use sparsetape::train::Trainer;
use sparsetape::{Bind, DType, Error, ErrorKind, Init, Parameter, Params};
use sparsetape::{Result, Stype, Tape, Tensor, Var};
use table::table;

const USAGE: &str = "wide_deep [file.tsv]
    [--cross 1x2] (or none) [--bits 16] (of the hashes) [--width 8] (of an embedding) [--hidden 32]
    [--epochs 6] [--batch 256] [--lr 0.05] [--threads 0] [--svg FILE] [--save FILE]
    of data made here: [--rows 100000]";

struct Deep {
    embedding: Parameter,
    layers: [(Parameter, Parameter); 2],
}

impl Deep {
    fn new(rows: usize, fields: usize, width: usize, hidden: usize) -> Result<Deep> {
        let layer = |n: u64, outputs: usize, inputs: usize| {
            let weight = Init::Xavier.tensor(Stype::Default, [outputs, inputs], DType::F32, n)?;
            let bias = Tensor::zeros(Stype::Default, [outputs], DType::F32)?;
            let name = |what: &str| format!("{what}_{n}");
            Ok((Parameter::new(name("weight"), weight)?, Parameter::new(name("bias"), bias)?))
        };
        Ok(Deep {
            embedding: table("embedding", rows, width, Init::Normal(0.1), 3)?,
            layers: [layer(1, hidden, fields * width)?, layer(2, 1, hidden)?],
        })
    }

    fn logits<'t>(&self, tape: &'t Tape, ids: Var<'t>) -> Var<'t> {
        let [hidden, last] = &self.layers;
        let layer = |x: Var<'t>, (weight, bias): &(Parameter, Parameter)| {
            x.fully_connected(tape.parameter(weight), Some(tape.parameter(bias)))
        };
        let embedded = ids.embedding(tape.parameter(&self.embedding));
        layer(layer(embedded, hidden).relu(), last)
    }
}

/// One part or both.
struct Network {
    bias: Parameter,
    wide: Option<Parameter>,
    deep: Option<Deep>,
}

impl Network {
    fn params(&self) -> Result<Params> {
        let mut params = Params::new([&self.bias].into_iter().chain(&self.wide))?;
        if let Some(deep) = &self.deep {
            params.push(&deep.embedding)?;
            deep.layers.iter().flat_map(|(w, b)| [w, b]).try_for_each(|p| params.push(p))?;
        }
        Ok(params)
    }

    fn logits<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        let wide = |weight: &Parameter| batch.var(tape, "data").dot(tape.parameter(weight));
        let deep = |deep: &Deep| deep.logits(tape, batch.var(tape, "ids"));
        let (wide, deep) = (self.wide.as_ref().map(wide), self.deep.as_ref().map(deep));
        let bias = tape.parameter(&self.bias);
        wide.into_iter().chain(deep).fold(bias, |sum, part| sum + part)
    }
}

/// Pairs of fields: `1x2,4x7`, counted from 1; or `none`.
fn crosses(text: &str, fields: usize) -> Result<Vec<[usize; 2]>> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let field = |text: &str| text.parse().ok().filter(|n| (1..=fields).contains(n));
    let pair = |text: &str| {
        let (a, b) = text.split_once('x')?;
        Some([field(a)? - 1, field(b)? - 1])
    };
    let fault =
        |text| wrong(format!("--cross {text:?} is not a pair of fields from 1 to {fields}"));
    text.split(',').map(|text| pair(text).ok_or_else(|| fault(text))).collect()
}

#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub wide: Scores,
    pub deep: Scores,
    pub both: Scores,
    /// Of the first held-out rows, by the trainer and by the frozen graph.
    pub predicted: [Vec<f32>; 2],
}

fn load(options: &Options) -> Result<Rows> {
    let Some(path) = options.files.first() else {
        return Rows::planted(options.number("rows", 10, 1 << 24)?);
    };
    let failed = |e| Error::new(ErrorKind::Io, path).nowhere().caused_by(e);
    Rows::parse(path, &std::fs::read_to_string(path).map_err(failed)?)
}

/// The same rows' probabilities by the trainer and by the graph of what it predicts, which may be saved.
fn deploy(trainer: &mut Trainer, rows: &Dataset, save: Option<&str>) -> Result<[Vec<f32>; 2]> {
    let batches = rows.batches(rows.rows()).build()?;
    let by_trainer = trainer.predict(&batches)?.values::<f32>()?.to_vec();
    let Some(batch) = batches.epoch(0).next() else { return Ok([by_trainer, Vec::new()]) };
    let graph = trainer.prediction_graph(&batch)?;
    let bind = Bind::new().params(trainer.params()).tensor("data", batch.input("data")?);
    let mut executor = graph.bind(bind.tensor("ids", batch.input("ids")?))?;
    executor.forward(false)?;
    let by_graph = executor.output(0)?.values::<f32>()?.to_vec();
    println!("\nfirst held-out rows, by the trainer {by_trainer:?}");
    println!("            and by its frozen graph {by_graph:?}");
    if let Some(path) = save {
        graph.save(path, trainer.params(), &BTreeMap::new())?;
        println!("saved {path}");
    }
    Ok([by_trainer, by_graph])
}

pub(crate) fn run(args: Vec<String>) -> Result<Option<Outcome>> {
    let Some(options) = Options::parse(USAGE, args)? else { return Ok(None) };
    let size = 1 << options.number("bits", 4, 31)?;
    let width = options.number("width", 1, 1024)?;
    let hidden = options.number("hidden", 1, 1 << 16)?;
    let lr: f64 = options.number("lr", 0.0, 1e6)?;
    let rows = load(&options)?;
    let crosses = crosses(options.text("cross").unwrap_or_default(), rows.fields)?;
    let (learned, held_out) = rows.dataset(&crosses, size)?.shuffled(1)?.split(0.8)?;
    let data = Split::new(learned, held_out)?;

    let network = |wide: bool, deep: bool| -> Result<Network> {
        let weight = || table("wide", size, 1, Init::Constant(0.0), 1);
        Ok(Network {
            bias: Parameter::new("bias", Tensor::full([1], 0.0f32)?)?,
            wide: wide.then(weight).transpose()?,
            deep: deep.then(|| Deep::new(size, rows.fields, width, hidden)).transpose()?,
        })
    };
    let alone = |name: &str, network: Network| {
        println!("\n{name}");
        let model = logistic(|tape, batch| network.logits(tape, batch));
        let mut trainer = Trainer::new(&model, network.params()?, AdaGrad::new(lr));
        train(&mut trainer, &data, &options)
    };
    let wide = alone("wide", network(true, false)?)?;
    let deep = alone("deep", network(false, true)?)?;
    println!("\nwide & deep");
    let network = network(true, true)?;
    let model = logistic(|tape, batch| network.logits(tape, batch));
    let mut trainer = Trainer::new(&model, network.params()?, AdaGrad::new(lr));
    let both = train(&mut trainer, &data, &options)?;
    common::print_memory(trainer.params());
    common::save_svg(&options, trainer.history(), "loss")?;
    print_scores(&data, &[("wide", wide), ("deep", deep), ("wide & deep", both)])?;
    let first = data.test.rows_window(0, data.test.rows().min(3))?;
    let predicted = deploy(&mut trainer, &first, options.text("save"))?;
    Ok(Some(Outcome { wide, deep, both, predicted }))
}

fn main() -> ExitCode {
    common::exit(run(std::env::args().skip(1).collect()))
}
