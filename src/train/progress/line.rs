//! The line of a pass that is over.

use super::figures::{brief, count, time};
use crate::graph::cell;
use crate::train::Record;

/// Widths by which the lines of all passes are aligned; they grow.
#[derive(Default)]
pub(super) struct Columns {
    what: usize,
    split: usize,
    values: Vec<(String, usize)>,
    rate: usize,
}

impl Columns {
    pub fn line(&mut self, what: &str, record: &Record, width: usize) -> String {
        for (name, _) in &record.values {
            if !self.values.iter().any(|(known, _)| known == name) {
                self.values.push((name.clone(), 0));
            }
        }
        let mut cells = vec![
            padded(what.to_owned(), &mut self.what),
            padded(cell(&record.split), &mut self.split),
        ];
        for (name, width) in &mut self.values {
            let value = record.value(name);
            let text = value.map_or(String::new(), |v| format!("{} {}", cell(name), brief(v)));
            cells.push(padded(text, width));
        }
        let rate = record.rows_per_second();
        let rate = if rate.is_normal() { format!("{} rows/s", count(rate)) } else { String::new() };
        // Aligned at the unit.
        self.rate = self.rate.max(rate.len());
        cells.push(format!("{rate:>width$}", width = self.rate));
        cells.push(time(record.seconds));
        wrapped(&cells, width)
    }
}

fn padded(text: String, width: &mut usize) -> String {
    *width = (*width).max(text.chars().count());
    format!("{text:<width$}", width = *width)
}

/// Cells of no width are columns that nobody uses.
fn wrapped(cells: &[String], width: usize) -> String {
    let used: Vec<&str> = cells.iter().map(|cell| &**cell).filter(|c| !c.is_empty()).collect();
    let line = used.join("  ").trim_end().to_owned();
    if line.chars().count() <= width {
        return line;
    }
    let mut lines: Vec<String> = Vec::new();
    for cell in used.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()) {
        match lines.last_mut() {
            None => lines.push(cell.to_owned()),
            Some(line) if line.chars().count() + 2 + cell.chars().count() <= width => {
                *line = format!("{line}  {cell}");
            }
            Some(_) => lines.push(format!("    {cell}")),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_where_they_fit_and_wrapped_between_cells_where_not() {
        let train = Record { rows: 1000, seconds: 0.01, ..Record::new("train") }.with("loss", 0.5);
        let test = Record { seconds: 75.0, ..Record::new("test") }.with("auc", 0.75);
        let mut columns = Columns::default();
        let mut at = |record, width| columns.line("epoch 1/3", record, width);
        assert_eq!(at(&train, 49), "epoch 1/3  train  loss 0.5000  100k rows/s  10 ms");
        assert_eq!(at(&test, 99), "epoch 1/3  test                auc 0.7500               1:15");
        assert_eq!(at(&train, 99), "epoch 1/3  train  loss 0.5000              100k rows/s  10 ms");
        assert_eq!(at(&train, 30), "epoch 1/3  train  loss 0.5000\n    100k rows/s  10 ms");
        assert_eq!(at(&test, 1), "epoch 1/3\n    test\n    auc 0.7500\n    1:15");
        let bare = Columns::default().line("", &Record::new("x"), 99);
        assert_eq!(bare, "x  0.0 ms");
    }
}
