//! Equal sub-expressions, computed once.

use rustc_hash::FxHashMap;

use super::super::{Body, Kind, Node};
use super::rewrite::{Change, Written, rewritten};
use crate::error::Result;
use crate::tape::infer::Few;

/// Each distinct operator on the same operands once. An operator's fields say all that its result
/// depends on, apart from the operands; a random one carries its number.
pub(super) fn merged(body: Body) -> Result<Body> {
    let mut operators: FxHashMap<(&'static str, String, Few<u32>), u32> = FxHashMap::default();
    let mut constants: FxHashMap<String, Vec<u32>> = FxHashMap::default();
    rewritten(body, |written, node| {
        let next = written.nodes.len() as u32;
        Ok(match &node.kind {
            Kind::Variable(_) => None,
            Kind::Op(op) => {
                let key = (op.name(), op.to_json()?.to_string(), node.ins.clone());
                let first = *operators.entry(key).or_insert(next);
                (first != next).then_some(Change::Value(first))
            }
            Kind::Constant(_) => {
                let alike = constants.entry(node.ty.to_string()).or_default();
                let first = alike.iter().find(|&&id| same_constant(written, id, node)).copied();
                if first.is_none() {
                    alike.push(next);
                }
                first.map(Change::Value)
            }
        })
    })
}

fn same_constant(written: &Written, id: u32, node: &Node) -> bool {
    match (&written.nodes[id as usize].kind, &node.kind) {
        (Kind::Constant(a), Kind::Constant(b)) => a.same_bits(b),
        _ => false,
    }
}
