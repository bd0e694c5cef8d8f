//! A history as a table.

use std::fmt;

use super::{History, Record};
use crate::graph::cell;
use crate::train::progress::{brief, time};

/// A table with a line per epoch, the splits beside each other, and the time that all of them took.
///
/// ```
/// use sparsetape::train::{History, Record};
/// let mut history = History::new();
/// for (epoch, loss) in [0.6931, 0.4312].into_iter().enumerate() {
///     let (epoch, step) = (epoch as u64, 10 * (epoch as u64 + 1));
///     let train = Record { epoch, step, seconds: 2.0, ..Record::new("train") };
///     let test = Record { epoch, step, seconds: 0.5, ..Record::new("test") };
///     history.push(train.with("loss", loss));
///     history.push(test.with("loss", loss + 0.01).with("auc", 0.8));
/// }
/// assert_eq!(
///     history.to_string(),
///     "epoch  step  train loss  test loss  test auc   time
///     0    10      0.6931     0.7031    0.8000  2.5 s
///     1    20      0.4312     0.4412    0.8000  2.5 s
/// "
/// );
/// ```
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let mut columns = vec![
            column("epoch", &lines, |line| Some(line.last()?.epoch.to_string())),
            column("step", &lines, |line| Some(line.last()?.step.to_string())),
        ];
        if self.records.iter().any(|record| record.learning_rate.is_some()) {
            let rate = |line: &[Record]| line.iter().find_map(|r| r.learning_rate).map(brief);
            columns.push(column("learning rate", &lines, rate));
        }
        for split in self.splits() {
            let of = |record: &&Record| record.split == split;
            for name in self.names() {
                if self.of(split).any(|record| record.value(name).is_some()) {
                    let value = |line: &[Record]| line.iter().find(of)?.value(name).map(brief);
                    columns.push(column(&format!("{} {}", cell(split), cell(name)), &lines, value));
                }
            }
        }
        let seconds = |line: &[Record]| Some(time(line.iter().map(|record| record.seconds).sum()));
        columns.push(column("time", &lines, seconds));
        for row in 0..=lines.len() {
            let cells: Vec<&str> = columns.iter().map(|column| &*column[row]).collect();
            writeln!(f, "{}", cells.join("  "))?;
        }
        Ok(())
    }
}

impl History {
    /// Records that belong together: of one epoch, each of another split.
    fn lines(&self) -> Vec<&[Record]> {
        let mut lines = Vec::new();
        let mut rest = &self.records[..];
        while let Some(first) = rest.first() {
            let ends = |k: &usize| {
                let (record, before) = (&rest[*k], &rest[..*k]);
                record.epoch != first.epoch || before.iter().any(|r| r.split == record.split)
            };
            let (line, others) = rest.split_at((1..rest.len()).find(ends).unwrap_or(rest.len()));
            lines.push(line);
            rest = others;
        }
        lines
    }
}

/// Heading and cells, aligned on the right.
fn column(
    heading: &str,
    lines: &[&[Record]],
    cell: impl Fn(&[Record]) -> Option<String>,
) -> Vec<String> {
    let cells = lines.iter().map(|line| cell(line).unwrap_or_default());
    let all: Vec<String> = std::iter::once(heading.to_owned()).chain(cells).collect();
    let width = all.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    all.iter().map(|cell| format!("{cell:>width$}")).collect()
}
