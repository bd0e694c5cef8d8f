//! A graph as a table.

use std::fmt;

use super::{Body, Graph, Kind, Node};
use crate::tape::PartialType;
use crate::tensor::{Stype, Tensor, View};

const HEADINGS: [&str; 8] = ["", "#", "node", "operator", "storage types", "type", "row", "bytes"];

/// Longer cells are cut.
const WIDEST: usize = 32;

/// A table of all nodes: operator and operands (by number), storage types in and out, type as far as it is
/// known, which row of the operator's table runs, and bytes. Casts of sparse values to dense are marked and
/// explained below: `!` for want of a kernel, `*` asked for. A sparse value's bytes are those of a
/// stored entry or row.
///
/// ```
/// use sparsetape::{Fallback, Graph, Stype, Tape, variable};
/// let tape = Tape::symbolic();
/// tape.set_fallback(Fallback::Allow);
/// let x = tape.symbol(variable("x").stype(Stype::Csr).shape([2, 50]));
/// println!("{}", Graph::new(&[x.exp().sum()])?);
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// prints
///
/// ```text
///   #  node           operator         storage types       type       row  bytes
///   0  x              variable         csr                 ? (2, 50)       ?
/// ! 1  cast_storage0  cast_storage(0)  csr -> default      ? (2, 50)  2/3  ?
///   2  exp0           exp(1)           default -> default  ? (2, 50)  1/1  ?
///   3  sum0           sum(2)           default -> default  ? ()       1/3  ?
///
/// outputs: sum0_output
/// ! cast_storage0 makes 100 elements dense: exp0 has no row for csr; at src/main.rs:5:28
/// 4 nodes: 1 variable, 3 operators; 1 fallback to dense
/// ```
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        let casts = body.dense_casts();
        let mark = |id: usize| match casts.iter().find(|cast| cast.node == id) {
            Some(cast) => {
                if cast.fallback.is_some() {
                    "!"
                } else {
                    "*"
                }
            }
            None => "",
        };
        let rows = (0..body.nodes.len()).map(|id| body.cells(id, mark(id)));
        write_table(f, &rows.collect::<Vec<_>>())?;
        writeln!(f, "\noutputs: {}", self.list_outputs().join(", "))?;
        if !body.gradients.is_empty() {
            let of = |name: &&str| Some(format!("{name} {}", self.gradient_stype(name)?));
            let all: Vec<String> = self.list_gradients().iter().filter_map(of).collect();
            writeln!(f, "gradients: {}", all.join(", "))?;
        }
        for cast in &casts {
            let node = &body.nodes[cast.node];
            let stype = body.nodes[node.ins[0] as usize].ty.stype;
            let count = elements(&node.ty).map_or("all".to_owned(), |n| n.to_string());
            let why = match cast.fallback {
                Some(user) => format!("{} has no row for {stype}", body.nodes[user].name),
                None => "as asked".to_owned(),
            };
            let (mark, name, line) = (mark(cast.node), &node.name, &node.line);
            writeln!(f, "{mark} {name} makes {count} elements dense: {why}; at {line}")?;
        }
        let fallbacks = casts.iter().filter(|cast| cast.fallback.is_some()).count();
        f.write_str(&body.totals(fallbacks))
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, rows: &[[String; 8]]) -> fmt::Result {
    let mut widths = HEADINGS.map(|heading| heading.chars().count());
    for row in rows {
        let cells = widths.iter_mut().zip(row);
        cells.for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let headings = HEADINGS.map(str::to_owned);
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (i, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let cell = if i == 1 { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line.push_str(if i == 0 {
                ""
            } else if i == 1 {
                " "
            } else {
                "  "
            });
            line.push_str(&cell);
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// On one line, and not too long.
pub(crate) fn cell(text: &str) -> String {
    cut(text, WIDEST)
}

/// On one line of so many letters at most.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let plain = |c: char| match c {
        // XML has none of these.
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    match text.chars().count() > most {
        false => text.chars().map(plain).collect(),
        true => text.chars().take(most - 1).map(plain).chain(['…']).collect(),
    }
}

/// The number of elements, were all of them stored.
fn elements(ty: &PartialType) -> Option<usize> {
    ty.shape.dims()?.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

impl Body {
    fn cells(&self, id: usize, mark: &str) -> [String; 8] {
        let node = &self.nodes[id];
        let row = self.row(node).map_or(String::new(), |(row, of)| format!("{}/{of}", row + 1));
        [
            mark.to_owned(),
            id.to_string(),
            cell(&node.name),
            cell(&self.call(node)),
            cell(&self.stypes(node)),
            cell(&format!("{} {}", node.ty.dtypes, node.ty.shape)),
            row,
            bytes(node),
        ]
    }

    /// The row of its table that the operator runs on, and the number of rows.
    pub fn row(&self, node: &Node) -> Option<(usize, usize)> {
        let op = node.op()?;
        let stypes: Vec<Stype> = self.operands(node).map(|operand| operand.ty.stype).collect();
        Some((op.find_row(&stypes)?.0, op.table().len()))
    }

    pub fn operands(&self, node: &Node) -> impl Iterator<Item = &Node> {
        node.ins.iter().map(|&i| &self.nodes[i as usize])
    }

    /// What makes the value: the operator and the numbers of its operands.
    fn call(&self, node: &Node) -> String {
        let ins: Vec<String> = node.ins.iter().map(u32::to_string).collect();
        match &node.kind {
            Kind::Variable(_) => "variable".to_owned(),
            Kind::Constant(_) => "constant".to_owned(),
            Kind::Op(op) => format!("{}({})", op.label(), ins.join(", ")),
        }
    }

    /// Storage types in and out; runs of the same are counted.
    pub fn stypes(&self, node: &Node) -> String {
        let own = node.ty.stype.to_string();
        if node.op().is_none() {
            return own;
        }
        let ins: Vec<Stype> = self.operands(node).map(|operand| operand.ty.stype).collect();
        let run = |same: &[Stype]| match same.len() {
            n @ 0..=2 => vec![same[0].to_string(); n].join(", "),
            n => format!("{n} {}", same[0]),
        };
        let runs: Vec<String> = ins.chunk_by(|a, b| a == b).map(run).collect();
        format!("{} -> {own}", runs.join(", "))
    }

    fn totals(&self, fallbacks: usize) -> String {
        let count = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            n => format!("{n} {what}s"),
        };
        let of = |kind: fn(&Kind) -> bool| self.nodes.iter().filter(|n| kind(&n.kind)).count();
        let kinds = [
            (of(|kind| matches!(kind, Kind::Variable(_))), "variable"),
            (of(|kind| matches!(kind, Kind::Constant(_))), "constant"),
            (of(|kind| matches!(kind, Kind::Op(_))), "operator"),
        ];
        let kinds = kinds.iter().filter(|(n, _)| *n > 0).map(|&(n, what)| count(n, what));
        let nodes = count(self.nodes.len(), "node");
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        match fallbacks {
            0 => format!("{nodes}: {kinds}; no fallback to dense"),
            1 => format!("{nodes}: {kinds}; 1 fallback to dense"),
            n => format!("{nodes}: {kinds}; {n} fallbacks to dense"),
        }
    }
}

/// Bytes of the values, or of what a sparse value stores for an entry or a row.
fn bytes(node: &Node) -> String {
    if let Kind::Constant(tensor) = &node.kind {
        return human(stored_bytes(tensor));
    }
    let known = || {
        let size = node.ty.dtypes.known()?.size();
        match node.ty.stype {
            Stype::Csr => Some(format!("{} an entry", size + size_of::<u32>())),
            Stype::Default => Some(human(elements(&node.ty)?.checked_mul(size)?)),
            Stype::RowSparse => {
                let rest = node.ty.shape.dims()?.get(1..)?;
                let row = rest.iter().try_fold(size, |n, &d| n.checked_mul(d))?;
                Some(human(row.checked_add(size_of::<u32>())?) + " a row")
            }
        }
    };
    known().unwrap_or_else(|| "?".to_owned())
}

fn stored_bytes(tensor: &Tensor) -> usize {
    let values = tensor.view().values().len() * tensor.dtype().size();
    match tensor.view() {
        View::Dense(_) => values,
        View::RowSparse(v) => values + size_of_val(&v.rows[..]),
        View::Csr(v) => {
            let (indptr, indices) = v.pattern.parts();
            values + size_of_val(indptr) + size_of_val(indices)
        }
    }
}

fn human(bytes: usize) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10_000 {
        return bytes.to_string();
    }
    let unit = ((bytes as f64).log10() / 3.0) as usize;
    format!("{:.1} {}", bytes as f64 / 1000f64.powi(unit as i32), UNITS[unit.clamp(1, 6) - 1])
}
