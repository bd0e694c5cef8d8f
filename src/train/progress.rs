//! How far it is.

use super::Record;

/// Shows how far a run is.
#[derive(Debug, Default)]
pub struct Progress;

impl Progress {
    /// A bar on stderr if that is a terminal, else one line per pass.
    pub fn new() -> Self {
        Progress
    }

    /// Shows nothing at all.
    pub fn hidden() -> Self {
        Progress
    }

    /// A pass over this many rows begins.
    pub fn begin(&mut self, _what: &str, _rows: Option<u64>) {}

    /// So many more rows are done, with their mean loss.
    pub fn advance(&mut self, _rows: u64, _loss: Option<f64>) {}

    /// The pass is over: its line.
    pub fn finish(&mut self, _record: &Record) {}

    /// The pass is over, without a line.
    pub fn clear(&mut self) {}
}

/// Four digits.
pub(super) fn brief(_value: f64) -> String {
    String::new()
}

/// A time.
pub(super) fn duration(_seconds: f64) -> String {
    String::new()
}
