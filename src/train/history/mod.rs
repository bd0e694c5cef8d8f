//! What a run measured: records, by epoch and split.

mod save;
mod stored;
mod table;

use serde::{Deserialize, Serialize};

use stored::Version;

/// What one pass over one split of the data measured.
///
/// ```
/// use sparsetape::train::Record;
/// let record = Record { epoch: 2, rows: 500, seconds: 0.5, ..Record::new("train") }.with("loss", 0.25);
/// assert_eq!((record.value("loss"), record.value("auc")), (Some(0.25), None));
/// assert_eq!(record.rows_per_second(), 1000.0);
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The epoch, from 0.
    pub epoch: u64,
    /// How many batches the run had trained by then.
    pub step: u64,
    /// Which rows: `"train"`, `"test"`, or a name of your own.
    pub split: String,
    /// How many rows were read.
    pub rows: u64,
    /// How long it took.
    #[serde(with = "stored::number")]
    pub seconds: f64,
    /// The learning rate of the last step, before multipliers; `None` where nothing was trained.
    #[serde(with = "stored::optional")]
    pub learning_rate: Option<f64>,
    /// By name: the loss first if there is one, then metrics.
    #[serde(with = "stored::values")]
    pub values: Vec<(String, f64)>,
}

impl Record {
    /// Of a split, with nothing measured yet.
    pub fn new(split: impl Into<String>) -> Self {
        Record { split: split.into(), ..Record::default() }
    }

    /// The same record with one more value.
    pub fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        self.values.push((name.into(), value));
        self
    }

    /// The value of this name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|&(_, value)| value)
    }

    /// Rows by seconds; NaN if neither was counted.
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }
}

/// NaN equals NaN.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
        let rates = match (self.learning_rate, other.learning_rate) {
            (Some(a), Some(b)) => same(a, b),
            (a, b) => a == b,
        };
        let pairs = || self.values.iter().zip(&other.values);
        (self.epoch, self.step, self.rows, &self.split)
            == (other.epoch, other.step, other.rows, &other.split)
            && same(self.seconds, other.seconds)
            && rates
            && self.values.len() == other.values.len()
            && pairs().all(|((a, x), (b, y))| a == b && same(*x, *y))
    }
}

/// The records of a run, in order; MXNet prints them and keeps none.
///
/// ```
/// use sparsetape::train::{History, Record};
/// let mut history = History::new();
/// for (epoch, loss) in [0.7, 0.5, 0.6].into_iter().enumerate() {
///     let epoch = epoch as u64;
///     history.push(Record { epoch, ..Record::new("train") }.with("loss", loss - 0.1));
///     history.push(Record { epoch, ..Record::new("test") }.with("loss", loss).with("auc", 0.5));
/// }
/// assert_eq!(history.column("test", "loss"), [(0, 0.7), (1, 0.5), (2, 0.6)]);
/// assert_eq!(history.best("test", "loss", false).map(|record| record.epoch), Some(1));
///
/// let path = std::env::temp_dir().join("sparsetape-doc-history.json");
/// history.save_json(&path)?;
/// assert_eq!(History::load_json(&path)?, history);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    version: Version,
    records: Vec<Record>,
}

impl History {
    /// Without records.
    pub fn new() -> Self {
        History::default()
    }

    /// Adds a record after all others.
    pub fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    /// All of them, in the order they were added.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Records of one split.
    pub(super) fn of<'h>(&'h self, split: &str) -> impl DoubleEndedIterator<Item = &'h Record> {
        self.records.iter().filter(move |record| record.split == split)
    }

    /// The names of all splits, in order of first appearance.
    pub fn splits(&self) -> Vec<&str> {
        distinct(self.records.iter().map(|record| &*record.split))
    }

    /// The names of all values, in order of first appearance.
    pub fn names(&self) -> Vec<&str> {
        distinct(self.records.iter().flat_map(|r| &r.values).map(|(name, _)| &**name))
    }

    /// One value over the epochs: epoch and value of each record of the split that has it.
    pub fn column(&self, split: &str, name: &str) -> Vec<(u64, f64)> {
        self.of(split).filter_map(|record| Some((record.epoch, record.value(name)?))).collect()
    }

    /// The newest value of this name in the split.
    pub fn last(&self, split: &str, name: &str) -> Option<f64> {
        self.of(split).rev().find_map(|record| record.value(name))
    }

    /// The record of the split with the best value of this name: the first of equals; NaN is never the best.
    pub fn best(&self, split: &str, name: &str, larger_is_better: bool) -> Option<&Record> {
        let better = |a: f64, b: f64| if larger_is_better { a > b } else { a < b };
        let valued = self.of(split).filter_map(|record| Some((record, record.value(name)?)));
        let best = valued.filter(|(_, value)| !value.is_nan());
        best.reduce(|best, next| if better(next.1, best.1) { next } else { best }).map(|b| b.0)
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    names.for_each(|name| {
        if !all.contains(&name) {
            all.push(name);
        }
    });
    all
}
