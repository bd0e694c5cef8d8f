//! How far a pass over data is, for people who wait for it.

#[cfg_attr(not(feature = "progress"), path = "no_bar.rs")]
mod bar;
mod figures;
mod line;

use std::fmt;
use std::io::Write;
use std::time::Instant;

use super::Record;
use crate::graph::cell;
pub(super) use figures::{brief, time};
use line::Columns;

/// Shows people how far a long run is, on stderr: while a pass over data lasts a bar, when it is over one line.
///
/// ```text
/// epoch 2/10  train  loss 0.4512               1.2M rows/s  8.3 s
/// epoch 2/10  test   loss 0.4600  auc 0.7811   3.1M rows/s  0.9 s
/// epoch 3/10 [============>               ]  45%  1.2M rows/s  loss 0.4312  ETA 0:05
/// ```
///
/// Epochs count from 1 here, from 0 in a [`History`](super::History). The bar (feature `progress`) is drawn on
/// terminals only, other than those with `TERM=dumb`; it appears when a pass has taken half a second, is
/// redrawn ten times a second at most, and goes away. What does not fit into the terminal's width is left
/// out. Where the number of rows is not known, it counts them. The loss is the mean so far.
///
/// In a loop of your own:
///
/// ```
/// use sparsetape::train::{History, Progress, Record};
/// let mut progress = Progress::new();
/// let mut history = History::new();
/// for epoch in 0..3 {
///     progress.begin(&format!("epoch {}/3", epoch + 1), Some(1000));
///     let mut record = Record { epoch, ..Record::new("train") };
///     for batch in 0..10 {
///         let loss = 1.0 / (batch + 1) as f64; // a step on 100 rows
///         record.rows += 100;
///         progress.advance(100, Some(loss));
///     }
///     progress.finish(&record);
///     history.push(record);
/// }
/// ```
///
/// What cannot be written (stderr is closed, say) is lost without an error.
pub struct Progress {
    /// Where lines go, if anywhere.
    to: Option<Box<dyn Write + Send>>,
    bar: Option<bar::Bar>,
    pass: Pass,
    columns: Columns,
}

/// What is known of a pass that has begun.
struct Pass {
    what: String,
    total: Option<u64>,
    rows: u64,
    /// Sum over the rows that a loss was told of, and their number.
    loss: (f64, u64),
    begun: Instant,
}

impl Progress {
    /// A bar on stderr if that is a terminal, and a line per pass.
    pub fn new() -> Self {
        Progress { bar: bar::Bar::on_stderr(), ..Progress::to(std::io::stderr()) }
    }

    /// No bar; a line per pass to this writer, a log file for example.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Progress { to: Some(Box::new(writer)), ..Progress::hidden() }
    }

    /// Nothing at all.
    pub fn hidden() -> Self {
        Progress { to: None, bar: None, pass: Pass::new("", None), columns: Columns::default() }
    }

    /// A pass begins: what it is ("epoch 3/10", "scoring"), and over how many rows, if that is known.
    pub fn begin(&mut self, what: &str, rows: Option<u64>) {
        self.clear();
        self.pass = Pass::new(what, rows);
    }

    /// So many more rows are done; their mean loss, if there is one.
    #[inline]
    pub fn advance(&mut self, rows: u64, loss: Option<f64>) {
        self.pass.advance(rows, loss);
        if let Some(bar) = &mut self.bar {
            bar.show(&self.pass);
        }
    }

    /// The pass is over: its bar goes, its line is printed. Rows, time and values are those of the record.
    pub fn finish(&mut self, record: &Record) {
        self.clear();
        let width = self.bar.as_ref().map_or(usize::MAX, bar::Bar::width);
        let line = self.columns.line(&self.pass.what, record, width);
        self.print(&line);
    }

    /// The pass is over, and its bar goes without a line. Dropping this does the same.
    pub fn clear(&mut self) {
        if let Some(bar) = &mut self.bar {
            bar.clear();
        }
    }

    /// Prints a line of your own, above the bar if there is one: printed otherwise it would end up in the bar.
    pub fn print(&mut self, line: &str) {
        let Some(to) = &mut self.to else { return };
        let mut print = || {
            // Nobody is left to read what cannot be written.
            let _ = writeln!(to, "{line}").and_then(|()| to.flush());
        };
        match &self.bar {
            Some(bar) => bar.suspended(print),
            None => print(),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pass { what, total, rows, begun, .. } = &self.pass;
        f.debug_struct("Progress")
            .field("what", what)
            .field("rows", rows)
            .field("of", total)
            .field("elapsed", &begun.elapsed())
            .finish_non_exhaustive()
    }
}

impl Pass {
    fn new(what: &str, total: Option<u64>) -> Self {
        Pass { what: cell(what), total, rows: 0, loss: (0.0, 0), begun: Instant::now() }
    }

    fn advance(&mut self, rows: u64, loss: Option<f64>) {
        self.rows = self.rows.saturating_add(rows);
        // The mean of no rows is NaN.
        if let Some(loss) = loss.filter(|_| rows > 0) {
            self.loss.0 += loss * rows as f64;
            self.loss.1 = self.loss.1.saturating_add(rows);
        }
    }
}
