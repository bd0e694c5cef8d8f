//! Graphs written anew, node by node.

use smallvec::smallvec;

use super::super::{Body, Kind, Node};
use crate::error::Result;
use crate::ops::Reshape;
use crate::tape::OpRef;
use crate::tape::infer::Few;

/// What becomes of a node.
pub(super) enum Change {
    /// It has the value of another one.
    Value(u32),
    /// Another operator gives its value.
    Op(OpRef, Few<u32>),
    /// Its value is known.
    Constant(crate::Tensor),
}

/// The nodes written so far.
#[derive(Default)]
pub(super) struct Written {
    pub nodes: Vec<Node>,
    /// For each of them, the node of the graph that has its value.
    pub origins: Vec<u32>,
}

impl Written {
    fn push(&mut self, node: Node, origin: u32) -> u32 {
        self.nodes.push(node);
        self.origins.push(origin);
        (self.nodes.len() - 1) as u32
    }
}

/// Writes the graph anew. `change` is asked about each node, with its operands among those written.
pub(super) fn rewritten(
    mut body: Body,
    mut change: impl FnMut(&Written, &Node) -> Result<Option<Change>>,
) -> Result<Body> {
    let mut is_root = vec![false; body.nodes.len()];
    body.roots().for_each(|id| is_root[id as usize] = true);
    let mut written = Written::default();
    let mut places: Vec<u32> = Vec::with_capacity(body.nodes.len());
    for (id, mut node) in std::mem::take(&mut body.nodes).into_iter().enumerate() {
        node.ins.iter_mut().for_each(|i| *i = places[*i as usize]);
        let origin = id as u32;
        // Outputs and gradients keep their nodes, and with them their names.
        let place = match change(&written, &node)? {
            Some(Change::Value(value)) if !is_root[id] => value,
            Some(Change::Value(value)) if node.op().is_some() => {
                written.push(Node { ins: smallvec![value], ..identity(node) }, origin)
            }
            Some(Change::Op(op, ins)) => {
                written.push(Node { kind: Kind::Op(op), ins, ..node }, origin)
            }
            Some(Change::Constant(tensor)) => {
                let ins = Few::new();
                let name = if is_root[id] { String::new() } else { node.name.clone() };
                let known = Node { name, kind: Kind::Constant(tensor), ins, ..node.clone() };
                match (written.push(known, origin), is_root[id]) {
                    (value, true) => {
                        written.push(Node { ins: smallvec![value], ..identity(node) }, origin)
                    }
                    (value, false) => value,
                }
            }
            Some(Change::Value(_)) | None => written.push(node, origin),
        };
        places.push(place);
    }
    body.nodes = written.nodes;
    body.renumber(&places);
    body.name_all()?;
    Ok(body)
}

fn identity(node: Node) -> Node {
    Node { kind: Kind::Op(Reshape::Identity.into()), ..node }
}
