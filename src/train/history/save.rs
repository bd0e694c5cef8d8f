//! Histories as CSV and JSON.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use super::History;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::display::is_plain;
use crate::tensor::file::atomic;

const COLUMNS: [&str; 6] = ["epoch", "step", "split", "rows", "seconds", "learning_rate"];

impl History {
    /// Writes a table of comma-separated values (RFC 4180, lines end in `\n`): a line of names, then one line
    /// per record. Columns are `epoch`, `step`, `split`, `rows`, `seconds`, `learning_rate`, then all names of values;
    /// a cell is empty where the record has none. Numbers have the fewest digits that identify them,
    /// others are `NaN`, `inf` and `-inf`. The file is complete or not there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] naming the path.
    pub fn save_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), |file| self.write_csv(file))
    }

    fn write_csv(&self, to: &mut impl Write) -> io::Result<()> {
        let names = self.names();
        let headings = COLUMNS.iter().chain(&names).map(|name| quoted(name));
        writeln!(to, "{}", headings.collect::<Vec<_>>().join(","))?;
        for record in &self.records {
            let (split, rate) = (quoted(&record.split), cell(record.learning_rate));
            write!(to, "{},{},{split},{}", record.epoch, record.step, record.rows)?;
            write!(to, ",{},{rate}", cell(Some(record.seconds)))?;
            for name in &names {
                write!(to, ",{}", cell(record.value(name)))?;
            }
            writeln!(to)?;
        }
        Ok(())
    }

    /// Writes an object with `version` and `records`, one record per line, which [`History::load_json`]
    /// reads back bit for bit (NaN as NaN). Numbers that JSON does not have are the strings `"NaN"`, `"inf"` and
    /// `"-inf"`. The file is complete or not there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] naming the path.
    pub fn save_json(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), |file| self.write_json(file))
    }

    fn write_json(&self, to: &mut impl Write) -> io::Result<()> {
        write!(to, "{{\"version\":{},\"records\":[", serde_json::to_string(&self.version)?)?;
        for (k, record) in self.records.iter().enumerate() {
            let end = if k == 0 { "\n" } else { ",\n" };
            write!(to, "{end}{}", serde_json::to_string(record)?)?;
        }
        writeln!(to, "\n]}}")
    }

    /// Reads what [`History::save_json`] wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] naming the path if it cannot be read; [`ErrorKind::Parse`] naming path, line and column
    /// if it is damaged, of a later version, or something else.
    pub fn load_json(path: impl AsRef<Path>) -> Result<History> {
        let path = path.as_ref();
        let fault = |kind, what| Error::new(kind, format!("{}: {what}", path.display())).nowhere();
        let text =
            std::fs::read(path).map_err(|e| fault(ErrorKind::Io, "cannot read it").caused_by(e))?;
        serde_json::from_slice(&text)
            .map_err(|e| fault(ErrorKind::Parse, "not a history").caused_by(e))
    }
}

/// The shortest number that reads back as this one.
fn cell(value: Option<f64>) -> String {
    let Some(value) = value else { return String::new() };
    match is_plain(value.abs()) {
        true => format!("{value}"),
        false => format!("{value:e}"),
    }
}

fn quoted(name: &str) -> Cow<'_, str> {
    match name.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")).into(),
        false => name.into(),
    }
}
