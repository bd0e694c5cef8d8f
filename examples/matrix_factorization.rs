//! Matrix factorization for recommendations (Koren, Bell and Volinsky 2009): users' ratings of items from a vector for each
//! user u and each item i,
//!
//! ```text
//! r_ui = μ + b_u + b_i + p_u · q_i
//! ```
//!
//! where μ is the mean rating, biases say how generous the user and how good the item is, and the vectors what both are
//! like. A batch of ratings looks up its users and items: the gradients of the four tables are row-sparse, with the
//! users and items of the batch, so that a step costs what the batch holds however many users there are. Tables for large
//! ids hold the rows of those that were trained on (`Parameter::drawn`).
//!
//! The loss is half the squared error with an L2 penalty, the optimizer's weight decay. It shrinks *all* rows in each step, also
//! those that the batch does not have; `Update::Exact` makes up for the steps that a row missed when the row is next
//! read, which gives the result of the penalized loss for the work of a lazy update. (Lazy decay would shrink a row by
//! how often it occurs: popular items most, though they have the most data.)
//!
//! ```text
//! cargo run --release --example matrix_factorization
//! cargo run --release --example matrix_factorization -- ml-100k/u.data --epochs 30 --user 196
//! ```
//!
//! Files are in MovieLens' `u.data` format: lines of user, item, rating and time, separated by tabs, ids from 1. Without one,
//! ratings are drawn from planted vectors with noise of deviation 0.5: the error that no model can beat.

mod common;
#[path = "common/ratings.rs"]
pub(crate) mod ratings;
#[path = "common/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::process::ExitCode;

use common::{Options, wrong};
use ratings::{NOISE, Ratings};
use sparsetape::data::Batch;
use sparsetape::optim::{Sgd, Update};
use sparsetape::train::metrics::Rmse;
use sparsetape::train::{Fit, Model, Trainer};
use sparsetape::{Error, ErrorKind, Fallback, Init, Parameter, Params, Result};
use sparsetape::{Tape, Tensor, Var};
use table::table;

const USAGE: &str = "matrix_factorization [u.data]
    [--factors 4] [--epochs 20] [--batch 64] [--lr 0.02] [--decay 0.0007] [--user 1] [--top 5]
    [--threads 0] [--svg FILE]
    of data made here: [--users 600] [--items 300] [--ratings 60000]";

/// Of users, or of items.
struct Tables {
    ids: &'static str,
    factors: Parameter,
    bias: Parameter,
}

impl Tables {
    fn new(ids: &'static str, rows: usize, factors: usize, seed: u64) -> Result<Tables> {
        let name = |what: &str| format!("{ids}_{what}");
        let factors = table(&name("factors"), rows, factors, Init::Normal(0.1), seed)?;
        let bias = table(&name("bias"), rows, 1, Init::Constant(0.0), seed)?;
        Ok(Tables { ids, factors, bias })
    }

    /// The vectors and biases that the batch names: `(rows, factors)` and `(rows,)`.
    fn look_up<'t>(&self, tape: &'t Tape, batch: &Batch) -> (Var<'t>, Var<'t>) {
        let ids = batch.var(tape, self.ids);
        let bias = ids.embedding(tape.parameter(&self.bias)).reshape(&[-1]);
        (ids.embedding(tape.parameter(&self.factors)), bias)
    }
}

struct Factorization {
    mean: f64,
    users: Tables,
    items: Tables,
}

impl Factorization {
    fn ratings<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        let (p, user_bias) = self.users.look_up(tape, batch);
        let (q, item_bias) = self.items.look_up(tape, batch);
        (p * q).sum_axes(&[1], false) + user_bias + item_bias + self.mean
    }
}

impl Model for Factorization {
    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        self.loss_and_output(tape, batch).0
    }

    fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
        Some(self.ratings(tape, batch))
    }

    fn loss_and_output<'t>(&self, tape: &'t Tape, batch: &Batch) -> (Var<'t>, Option<Var<'t>>) {
        let ratings = self.ratings(tape, batch);
        (ratings.linear_regression_output(batch.var(tape, "label"), 1.0), Some(ratings))
    }
}

/// Errors on held-out ratings.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Of the mean rating, for everyone and everything.
    pub mean_rmse: f64,
    pub rmse: f64,
    /// Items, as in files, and their predicted ratings.
    pub top: Vec<(i64, f32)>,
}

/// The best of the items that the user has not rated.
fn recommend(
    trainer: &mut Trainer,
    known: &Ratings,
    user: i64,
    top: usize,
) -> Result<Vec<(i64, f32)>> {
    let items_of = |all: bool| {
        let ratings = known.users.iter().zip(&known.items);
        let wanted = ratings.filter(|(u, _)| all || **u == user);
        wanted.map(|(_, i)| *i).collect::<BTreeSet<i64>>()
    };
    let items: Vec<i64> = items_of(true).difference(&items_of(false)).copied().collect();
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let (users, ratings) = (vec![user; items.len()], vec![0.0; items.len()]);
    let unrated = Ratings { users, items: items.clone(), ratings }.dataset()?;
    let predicted = trainer.predict(&unrated.batches(4096).build()?)?;
    let mut best: Vec<(i64, f32)> =
        items.iter().map(|i| i + 1).zip(predicted.values::<f32>()?.iter().copied()).collect();
    best.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    best.truncate(top);
    Ok(best)
}

fn rmse_of(constant: f64, labels: &Tensor) -> Result<f64> {
    let labels = labels.values::<f32>()?;
    let squares: f64 = labels.iter().map(|&r| (f64::from(r) - constant).powi(2)).sum();
    Ok((squares / labels.len() as f64).sqrt())
}

pub(crate) fn run(args: Vec<String>) -> Result<Option<Outcome>> {
    let Some(options) = Options::parse(USAGE, args)? else { return Ok(None) };
    let ratings = match options.files.first() {
        Some(path) => {
            let failed = |e| Error::new(ErrorKind::Io, path).nowhere().caused_by(e);
            Ratings::parse(path, &std::fs::read_to_string(path).map_err(failed)?)?
        }
        None => Ratings::planted(
            options.number("users", 1, 1 << 24)?,
            options.number("items", 1, 1 << 24)?,
            options.number("ratings", 10, 1 << 26)?,
        )?,
    };
    let width = |ids: &[i64]| ids.iter().max().map_or(0, |&last| last as usize + 1);
    let (users, items) = (width(&ratings.users), width(&ratings.items));
    let (train, test) = ratings.dataset()?.shuffled(1)?.split(0.9)?;
    if train.rows() == 0 || test.rows() == 0 {
        return Err(wrong("there are too few ratings to train on some and hold out others"));
    }
    let user = options.number("user", 1, users as i64)? - 1;
    let labels = train.labels.values::<f32>()?;
    let mean = labels.iter().map(|&r| f64::from(r)).sum::<f64>() / labels.len() as f64;
    println!("{} ratings to train on, {} held out; mean {mean:.3}", train.rows(), test.rows());

    let factors = options.number("factors", 1, 1024)?;
    let model = Factorization {
        mean,
        users: Tables::new("user", users, factors, 1)?,
        items: Tables::new("item", items, factors, 2)?,
    };
    let tables = [&model.users, &model.items];
    let params = Params::new(tables.into_iter().flat_map(|t| [&t.factors, &t.bias]))?;
    let size = options.number("batch", 1, 1 << 32)?;
    // The sum over the batch, not its mean: each rating moves its user and item as if it came alone.
    let sgd = Sgd::new(options.number("lr", 0.0, 1e6)?)
        .rescale_grad(1.0)
        .weight_decay(options.number("decay", 0.0, 1e6)?)
        .update(Update::Exact);
    let mut trainer = Trainer::new(&model, params, sgd);
    trainer.set_fallback(Fallback::Deny);
    trainer.set_progress(common::progress());

    let held_out = test.batches(1024).build()?;
    let epochs = options.number("epochs", 1, u64::MAX)?;
    let fit = Fit::epochs(epochs).metric(Rmse::new()).evaluate("test", &held_out);
    let history = trainer.fit(&train.batches(size).shuffle(17).build()?, fit)?;
    common::save_svg(&options, history, "rmse")?;
    let rmse = history.last("test", "rmse").unwrap_or(f64::NAN);
    let mean_rmse = rmse_of(mean, &test.labels)?;
    println!("held out: RMSE {rmse:.4}, of the mean rating {mean_rmse:.4}");
    if options.files.is_empty() {
        println!("noise: {NOISE:.4}, which no model can beat");
    }
    common::print_memory(trainer.params());

    let known = Ratings {
        users: train.inputs[0].1.values::<i64>()?.to_vec(),
        items: train.inputs[1].1.values::<i64>()?.to_vec(),
        ratings: Vec::new(),
    };
    let top = recommend(&mut trainer, &known, user, options.number("top", 0, usize::MAX)?)?;
    println!("\nfor user {}, of items not rated so far:", user + 1);
    top.iter().for_each(|(item, rating)| println!("item {item:6}  {rating:.2}"));
    Ok(Some(Outcome { mean_rmse, rmse, top }))
}

fn main() -> ExitCode {
    common::exit(run(std::env::args().skip(1).collect()))
}
