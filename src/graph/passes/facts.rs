//! Equal shapes and equal patterns, whatever the batch.

use rustc_hash::FxHashMap;

use super::super::{Body, Node};
use crate::ops::map::fuse::{Fusion, Places};
use crate::ops::{
    BroadcastLike, Cast, CastStorage, Dropout, Map, OnesLike, Project, Reshape, SampledDot,
    StopGradient,
};
use crate::tape::infer::Few;
use crate::tape::{OpRef, PartialShape};
use crate::tensor::Stype;

/// What is known of the values of a graph, by node.
pub(super) struct Facts {
    /// Union-find: values of equal shape have one root.
    shapes: Vec<u32>,
    /// Sparse values of the same class have equal patterns (or rows).
    classes: Vec<u32>,
    /// The classes of patterns that are unions or intersections.
    combined: FxHashMap<Places, u32>,
}

/// Sizes that no graph has by chance, of axes as far as they are tried.
const ODD: [usize; 6] = [1009, 1013, 1019, 1021, 1031, 1033];

impl Facts {
    pub fn of(body: &Body) -> Facts {
        let ids = 0..body.nodes.len() as u32;
        let mut facts =
            Facts { shapes: ids.collect(), classes: Vec::new(), combined: FxHashMap::default() };
        for (id, node) in body.nodes.iter().enumerate() {
            if let Some(op) = node.op() {
                let alike = |k: &usize| keeps_shape(op, node, *k);
                (0..node.ins.len()).filter(alike).for_each(|k| facts.unite(node.ins[k], id as u32));
            }
            let class = facts.class_of(body, node).unwrap_or(id as u32);
            facts.classes.push(class);
        }
        facts
    }

    /// Whether two values have equal shapes whenever the graph runs.
    pub fn same_shape(&self, body: &Body, a: u32, b: u32) -> bool {
        let known = |id: u32| body.nodes[id as usize].ty.shape.dims();
        self.root(a) == self.root(b) || known(a).is_some_and(|shape| known(b) == Some(shape))
    }

    /// The class of a sparse value's pattern.
    pub fn class(&self, id: u32) -> u32 {
        self.classes[id as usize]
    }

    /// The class of a pattern that comes from others.
    pub fn combined(&self, places: &Places) -> Option<u32> {
        match places {
            Places::Everywhere => None,
            Places::Like(class) => Some(*class),
            places => self.combined.get(places).copied(),
        }
    }

    fn root(&self, mut id: u32) -> u32 {
        while self.shapes[id as usize] != id {
            id = self.shapes[id as usize];
        }
        id
    }

    fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.shapes[a.max(b) as usize] = a.min(b);
    }

    /// The class of the node's pattern, if it is that of others.
    fn class_of(&mut self, body: &Body, node: &Node) -> Option<u32> {
        let stype = |id: u32| body.nodes[id as usize].ty.stype;
        let op = node.op().filter(|_| node.ty.stype != Stype::Default)?;
        if let Some(map) = op.get::<Map>() {
            let fusion = Fusion::recorded(map, &node.ins);
            let places = fusion.places(stype, |id| self.classes[id as usize])?;
            let next = self.classes.len() as u32;
            return match &places {
                Places::Everywhere => None,
                Places::Like(class) => Some(*class),
                _ => Some(*self.combined.entry(places).or_insert(next)),
            };
        }
        let from = pattern_operand(op, node, stype)?;
        (stype(node.ins[from]) == node.ty.stype).then(|| self.classes[node.ins[from] as usize])
    }
}

/// The operand that has the pattern of the result, if that has the operand's storage type.
fn pattern_operand(op: &OpRef, node: &Node, stype: impl Fn(u32) -> Stype) -> Option<usize> {
    let keeps = op.get::<OnesLike>().is_some()
        || op.get::<Cast>().is_some()
        || op.get::<CastStorage>().is_some()
        || op.get::<StopGradient>().is_some()
        || op.get::<Dropout>().is_some()
        || op.get::<SampledDot>().is_some()
        || op.get::<Reshape>().is_some_and(|op| *op == Reshape::Identity);
    let dense_first = stype(node.ins[0]) == Stype::Default;
    match keeps {
        true => Some(0),
        false if op.get::<BroadcastLike>().is_some() && dense_first => Some(1),
        false if op.get::<Project>().is_some() => {
            Some(usize::from(stype(node.ins[1]) != Stype::Default))
        }
        false => None,
    }
}

/// Whether the result always has the shape of operand `k`: the operator's own refinement, told an odd
/// shape of the result, gives it to the operand.
fn keeps_shape(op: &OpRef, node: &Node, k: usize) -> bool {
    if let Some(map) = op.get::<Map>() {
        return !map.stretches(k);
    }
    let Some(odd) = node.ty.shape.rank().and_then(|rank| ODD.get(..rank)) else { return false };
    let mut ins: Few<PartialShape> = node.ins.iter().map(|_| PartialShape::unknown()).collect();
    let refined = op.refine(&mut ins, &mut PartialShape::from(odd));
    refined.is_ok() && ins[k].dims() == Some(odd)
}
