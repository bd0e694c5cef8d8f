//! Pictures of graphs: DOT text, and SVG.

mod dot;
mod layout;
mod svg;

use super::summary::cell;
use super::{Body, Kind, Node};
use crate::tensor::Stype;

/// Line and fill.
#[derive(Clone, Copy)]
struct Colours {
    line: &'static str,
    fill: &'static str,
}

const FALLBACK: Colours = Colours { line: "#cc1f2f", fill: "#fbdcdc" };

const STYPES: [Stype; 3] = [Stype::Default, Stype::Csr, Stype::RowSparse];

/// By storage type.
fn colours(stype: Stype) -> Colours {
    match stype {
        Stype::Default => Colours { line: "#4a6fa5", fill: "#e6edf8" },
        Stype::Csr => Colours { line: "#b8750a", fill: "#fdeecb" },
        Stype::RowSparse => Colours { line: "#2f8546", fill: "#dcf2e0" },
    }
}

/// What a picture says in a node: the variable, or the operator; then the name, if it is another.
fn lines(node: &Node) -> Vec<String> {
    let name = cell(&node.name);
    match &node.kind {
        Kind::Variable(_) => vec![name],
        Kind::Constant(tensor) if tensor.shape().is_empty() => {
            let text = format!("{}", tensor.view().values().get_f64(0));
            vec![cell(&text)]
        }
        Kind::Constant(_) => vec![name],
        Kind::Op(op) => {
            let label = cell(&op.label());
            match node.name.trim_end_matches(|c: char| c.is_ascii_digit()) == label {
                true => vec![label],
                false => vec![label, name],
            }
        }
    }
}

/// The type of a value, as an edge has it.
fn type_of(node: &Node) -> String {
    cell(&format!("{} {}", node.ty.dtypes, node.ty.shape).replace("? ", ""))
}

/// Values that leave the graph: node, and as what.
fn exits(body: &Body) -> Vec<(usize, String)> {
    let outputs = body.outputs.iter().map(|&id| (id as usize, "output".to_owned()));
    let gradients = body.gradients.iter().map(|slope| {
        let name = &body.nodes[slope.variable as usize].name;
        (slope.gradient as usize, cell(&format!("gradient of {name}")))
    });
    outputs.chain(gradients).collect()
}

/// The colours of every node.
fn painted(body: &Body) -> Vec<Colours> {
    let mut all: Vec<Colours> = body.nodes.iter().map(|node| colours(node.ty.stype)).collect();
    for cast in body.dense_casts().iter().filter(|cast| cast.fallback.is_some()) {
        all[cast.node] = FALLBACK;
    }
    all
}
