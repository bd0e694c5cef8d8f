//! What the classifiers share: the logistic loss, training with it, and scores.

use sparsetape::data::{Batch, Dataset};
use sparsetape::train::metrics::Auc;
use sparsetape::train::{Fit, Model, Trainer, supervised};
use sparsetape::{Fallback, Result, Tape, Var};

use super::common::{Options, progress, wrong};

/// A model of one logit for each row, with the logistic loss; it predicts probabilities.
pub fn logistic(logits: impl for<'t> Fn(&'t Tape, &Batch) -> Var<'t>) -> impl Model {
    supervised(logits, |z, label| z.sigmoid_binary_cross_entropy(label), |z| z.sigmoid())
}

/// Training and held-out rows.
pub struct Split {
    pub train: Dataset,
    pub test: Dataset,
}

impl Split {
    pub fn new(train: Dataset, test: Dataset) -> Result<Split> {
        if train.rows() == 0 || test.rows() == 0 {
            return Err(wrong("there are too few rows to train on some and hold out others"));
        }
        println!("train: {}, test: {}", train.features.ty(), test.features.ty());
        Ok(Split { train, test })
    }

    /// The held-out log-loss of the share of ones as everyone's probability.
    pub fn base_rate(&self) -> Result<f64> {
        let labels = self.test.labels.values::<f32>()?;
        let share = labels.iter().map(|&y| f64::from(y)).sum::<f64>() / labels.len() as f64;
        let part = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
        Ok(part(share) + part(1.0 - share))
    }
}

/// Held-out log-loss, and area under the ROC curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    pub log_loss: f64,
    pub auc: f64,
}

/// Trains as the options `batch` and `epochs` say, and prints the history.
pub fn train(trainer: &mut Trainer, data: &Split, options: &Options) -> Result<Scores> {
    // Nothing may be made dense behind our back.
    trainer.set_fallback(Fallback::Deny);
    trainer.set_progress(progress());
    let held_out = data.test.batches(1024).build()?;
    let size = options.number("batch", 1, 1 << 32)?;
    let batches = data.train.batches(size).shuffle(17).build()?;
    let fit = Fit::epochs(options.number("epochs", 1, 1_000_000)?);
    let history = trainer.fit(&batches, fit.metric(Auc::new()).evaluate("test", &held_out))?;
    let last = |name: &str| history.last("test", name).unwrap_or(f64::NAN);
    Ok(Scores { log_loss: last("loss"), auc: last("auc") })
}

/// A line for each model, and for what is known to bound them.
pub fn print_scores(data: &Split, models: &[(&str, Scores)]) -> Result<()> {
    println!("\nheld out               log-loss   AUC");
    println!("base rate              {:8.4}", data.base_rate()?);
    for (name, scores) in models {
        println!("{name:21}  {:8.4}   {:.4}", scores.log_loss, scores.auc);
    }
    Ok(())
}
