//! The casts to dense in a graph: asked for, or for want of a kernel.

use super::{Body, Node};
use crate::tape::Op;
use crate::tape::infer::choose_row;
use crate::tape::structural::CastStorage;
use crate::tensor::Stype;

/// A node that makes a sparse value dense.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DenseCast {
    pub node: usize,
    /// The node that has no kernel for the value as it is; `None` if the cast was asked for.
    pub fallback: Option<usize>,
}

impl Body {
    /// All casts of sparse values to dense, in order.
    pub(super) fn dense_casts(&self) -> Vec<DenseCast> {
        let mut casts: Vec<DenseCast> = (0..self.nodes.len())
            .filter(|&node| self.uncast(node).is_some())
            .map(|node| DenseCast { node, fallback: None })
            .collect();
        for (user, node) in self.nodes.iter().enumerate() {
            for i in self.fallbacks(node) {
                if let Ok(at) = casts.binary_search_by_key(&i, |cast| cast.node) {
                    casts[at].fallback.get_or_insert(user);
                }
            }
        }
        casts
    }

    /// The sparse storage type that this node makes dense.
    fn uncast(&self, id: usize) -> Option<Stype> {
        let node = &self.nodes[id];
        let is_cast = node.op().is_some_and(|op| op.name() == CastStorage::NAME);
        let from = self.nodes[*node.ins.first().filter(|_| is_cast)? as usize].ty.stype;
        (node.ty.stype == Stype::Default && from != Stype::Default).then_some(from)
    }

    /// The operands of a node that had to be made dense for it: by casts of its own line, without which
    /// no row would have taken them.
    fn fallbacks(&self, node: &Node) -> impl Iterator<Item = usize> {
        let own = |&i: &u32| {
            let uncast = self.uncast(i as usize)?;
            (self.nodes[i as usize].line == node.line).then_some(uncast)
        };
        let before: Vec<Option<Stype>> = node.ins.iter().map(own).collect();
        let stypes = node.ins.iter().zip(&before);
        let stypes = stypes.map(|(&i, own)| own.unwrap_or(self.nodes[i as usize].ty.stype));
        let cast = before.iter().any(Option::is_some);
        let row = node.op().filter(|_| cast).and_then(|op| choose_row(&**op, stypes).ok());
        let densified = row.map(|row| row.densify).unwrap_or_default();
        densified.into_iter().map(|i| node.ins[i] as usize)
    }
}
