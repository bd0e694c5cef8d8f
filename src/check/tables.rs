//! Storage tables, as printed in the documentation.

use std::fmt::Write;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::subject::{AnySample, Subject, good_samples};
use crate::tape::{Ins, Op, TableRow};
use crate::tensor::Stype;

/// One table, and the operators that have it.
struct Table {
    names: Vec<String>,
    rows: Vec<Row>,
}

/// Storage types in and out, and MXNet's answer for the same operands.
#[derive(Clone, PartialEq)]
struct Row {
    ins: String,
    out: Stype,
    mxnet: &'static str,
}

/// What MXNet 1.9.1 does with operators that have some fields.
#[derive(Deserialize)]
struct Reference {
    operator: String,
    fields: Map<String, Value>,
    rows: Map<String, Value>,
}

static MXNET: LazyLock<Vec<Reference>> = LazyLock::new(|| {
    let text = include_str!("../../tests/golden/mxnet_stypes.json");
    serde_json::from_str(text).unwrap_or_default()
});

/// Where a result is dense and MXNet's is sparse: operator, operands, reason.
const DENSER: [(&str, &str, &str); 1] = [(
    "dot",
    "default, csr",
    "every row of the dense operand meets every stored column; ask for csr by `cast_storage`",
)];

/// Writes the storage tables of an operator, in Markdown: which storage types go in, which comes out,
/// and what comes out in MXNet 1.9.1.
///
/// Operators with the same table share it. Where operators of one name differ, the fields that make
/// the difference are named.
///
/// ```
/// let mut text = String::new();
/// sparsetape::check::write_table::<sparsetape::ops::RowsOf>(&mut text);
/// assert!(text.contains("| default, csr | row_sparse | - |"));
/// ```
pub fn write_table<O: Op>(text: &mut String) {
    write_tables(text, O::NAME, good_samples::<O>());
}

fn write_tables(text: &mut String, name: &str, samples: Vec<AnySample>) {
    let heading = format!("## {name}\n\n");
    let mut tables: Vec<Table> = Vec::new();
    for (name, rows) in named_tables(samples) {
        match tables.iter_mut().find(|table| table.rows == rows) {
            Some(table) => table.names.push(name),
            None => tables.push(Table { names: vec![name], rows }),
        }
    }
    let tables: Vec<String> = tables.iter().map(Table::markdown).collect();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{heading}{}", tables.join("\n"));
}

/// Writes which results of an operator are dense where MXNet's are sparse, and why.
///
/// ```
/// let mut text = String::new();
/// sparsetape::check::write_denser::<sparsetape::ops::Dot>(&mut text);
/// assert!(text.contains("(default, csr)"));
/// ```
pub fn write_denser<O: Op>(text: &mut String) {
    write_reasons(text, O::NAME, good_samples::<O>());
}

fn write_reasons(text: &mut String, operator: &str, samples: Vec<AnySample>) {
    let sparse = |row: &Row| row.mxnet.starts_with("csr") || row.mxnet.starts_with("row_sparse");
    for (name, rows) in named_tables(samples) {
        for row in rows.iter().filter(|row| row.out == Stype::Default && sparse(row)) {
            let own = |(op, ins, _): &&(&str, &str, &str)| *op == operator && *ins == row.ins;
            let why = DENSER.iter().find(own).map_or("no reason is given", |(_, _, why)| why);
            let (ins, mxnet) = (&row.ins, row.mxnet);
            let _ = writeln!(text, "- {name} of ({ins}), in MXNet {mxnet}: {why}.");
        }
    }
}

impl Table {
    fn markdown(&self) -> String {
        let line = |row: &Row| format!("| {} | {} | {} |\n", row.ins, row.out, row.mxnet);
        let (names, rows) = (self.names.join(", "), self.rows.iter().map(line));
        let rows: String = rows.collect();
        format!("{names}\n\n| operands | result | MXNet 1.9.1 |\n|---|---|---|\n{rows}")
    }
}

/// Name and rows of every sampled operator; those of one name and the same rows once.
fn named_tables(samples: Vec<AnySample>) -> Vec<(String, Vec<Row>)> {
    type Seen = (Box<dyn Subject>, Value, Vec<Row>);
    let mut seen: Vec<Seen> = Vec::new();
    for sample in samples {
        let fields = sample.op.to_json().unwrap_or_default();
        let rows = rows(&*sample.op, &fields, sample.inputs.len());
        let known = |(op, _, known): &Seen| {
            op.label() == sample.op.label()
                && (*known == rows || (unanswered(&rows) && alike(known, &rows)))
        };
        if !seen.iter().any(known) {
            seen.push((sample.op, fields, rows));
        }
    }
    let name = |(op, fields, _): &Seen| {
        let label = op.label();
        let namesakes: Vec<&Value> =
            seen.iter().filter(|(o, ..)| o.label() == label).map(|(_, fields, _)| fields).collect();
        match (op.variant(), distinguishing(fields, &namesakes)) {
            (_, alike) if alike.is_empty() => format!("`{label}`"),
            (Some(variant), _) => format!("`{label}` ({variant})"),
            (None, fields) => format!("`{label}` ({fields})"),
        }
    };
    let names: Vec<String> = seen.iter().map(name).collect();
    names.into_iter().zip(seen).map(|(name, (_, _, rows))| (name, rows)).collect()
}

fn unanswered(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.mxnet == "-")
}

/// The same, but for MXNet's answers.
fn alike(a: &[Row], b: &[Row]) -> bool {
    a.iter().map(|row| (&row.ins, row.out)).eq(b.iter().map(|row| (&row.ins, row.out)))
}

fn rows(op: &dyn Subject, fields: &Value, operands: usize) -> Vec<Row> {
    let has = |r: &&Reference| {
        r.operator == op.label()
            && r.fields.iter().all(|(key, value)| fields.get(key) == Some(value))
    };
    let reference = MXNET.iter().find(has);
    let fits = |ins: &Ins| !matches!(ins, Ins::Fixed(stypes) if stypes.len() != operands);
    let row = |case: TableRow| {
        // Of any number of operands, two show the row.
        let n = match case.ins {
            Ins::Fixed(stypes) | Ins::Mix(stypes) => stypes.len(),
            Ins::All(_) | Ins::First(..) => 2,
        };
        let stypes = (0..n).map(|i| case.ins.get(i).to_string());
        let key = stypes.collect::<Vec<String>>().join(", ");
        let answer = reference.and_then(|r| r.rows.get(&key)?.as_str());
        Row { ins: case.ins.to_string(), out: case.out, mxnet: answer.unwrap_or("-") }
    };
    op.table().into_iter().filter(|case| fits(&case.ins)).map(row).collect()
}

/// The fields that are not the same for all.
fn distinguishing(fields: &Value, all: &[&Value]) -> String {
    if all.iter().all(|other| *other == fields) {
        return String::new();
    }
    let Value::Object(fields) = fields else { return fields.to_string() };
    let differs = |key: &str, value: &Value| all.iter().any(|other| other.get(key) != Some(value));
    let named = fields.iter().filter(|(key, value)| differs(key, value));
    let texts: Vec<String> = named.map(|(key, value)| format!("{key}: {value}")).collect();
    // Not a link.
    texts.join(", ").replace('[', r"\[")
}
