//! Storage tables, as printed in the documentation.

use std::fmt::Write;

use serde_json::Value;

use crate::tape::{DynOp, Op};
use crate::tensor::Stype;

/// One table, and the operators that have it.
struct Table {
    names: Vec<String>,
    rows: Vec<String>,
}

/// Writes the storage tables of an operator, in Markdown: which storage types go in, which comes out.
///
/// Operators with the same table share it. Where operators of one name differ, the fields that make
/// the difference are named.
///
/// ```
/// let mut text = String::new();
/// sparsetape::check::write_table::<sparsetape::ops::RowsOf>(&mut text);
/// assert!(text.contains("| default, csr | row_sparse |"));
/// ```
pub fn write_table<O: Op>(text: &mut String) {
    let mut tables: Vec<Table> = Vec::new();
    for (name, rows) in named_tables::<O>() {
        match tables.iter_mut().find(|table| table.rows == rows) {
            Some(table) if table.names.contains(&name) => {}
            Some(table) => table.names.push(name),
            None => tables.push(Table { names: vec![name], rows }),
        }
    }
    let heading = format!("## {}\n\n", O::NAME);
    let tables: Vec<String> = tables.iter().map(Table::markdown).collect();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{heading}{}", tables.join("\n"));
}

impl Table {
    fn markdown(&self) -> String {
        let (names, rows) = (self.names.join(", "), self.rows.join("\n"));
        format!("{names}\n\n| operands | result |\n|---|---|\n{rows}\n")
    }
}

/// Name and rows of every sampled operator.
fn named_tables<O: Op>() -> Vec<(String, Vec<String>)> {
    let good = O::samples().into_iter().filter(|sample| sample.error.is_none());
    let ops: Vec<(O, usize)> = good.map(|sample| (sample.op, sample.inputs.len())).collect();
    let rows: Vec<Vec<String>> = ops.iter().map(|(op, n)| rows(op, *n)).collect();
    let fields: Vec<Value> =
        ops.iter().map(|(op, _)| op.to_json().unwrap_or(Value::Null)).collect();
    let name = |i: usize| {
        let label = ops[i].0.label();
        let namesakes: Vec<usize> = (0..ops.len()).filter(|&j| ops[j].0.label() == label).collect();
        if namesakes.iter().all(|&j| rows[j] == rows[i]) {
            return format!("`{label}`");
        }
        if let Some(variant) = ops[i].0.variant() {
            return format!("`{label}` ({variant})");
        }
        let others: Vec<&Value> = namesakes.iter().map(|&j| &fields[j]).collect();
        format!("`{label}` ({})", distinguishing(&fields[i], &others))
    };
    (0..ops.len()).map(|i| (name(i), rows[i].clone())).collect()
}

fn rows<O: Op>(op: &O, operands: usize) -> Vec<String> {
    let list =
        |stypes: &[Stype]| stypes.iter().map(Stype::to_string).collect::<Vec<_>>().join(", ");
    let rows = DynOp::rows(op, operands);
    rows.iter().map(|(ins, out)| format!("| {} | {out} |", list(ins))).collect()
}

/// The fields that are not the same for all.
fn distinguishing(fields: &Value, all: &[&Value]) -> String {
    let Value::Object(fields) = fields else { return fields.to_string() };
    let differs = |key: &str, value: &Value| all.iter().any(|other| other.get(key) != Some(value));
    let named = fields.iter().filter(|(key, value)| differs(key, value));
    let texts: Vec<String> = named.map(|(key, value)| format!("{key}: {value}")).collect();
    texts.join(", ")
}
