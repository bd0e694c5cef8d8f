//! Element-wise operators on a matrix product, in its memory.

use super::super::{Body, Kind};
use super::facts::Facts;
use super::fuse::Uses;
use crate::ops::map::fuse::Fusion;
use crate::ops::{Dot, DotMap, MAX_OTHERS, Map};
use crate::tape::infer::Few;
use crate::tensor::Stype;

/// With bias and link in the matrix product, where nothing else reads that.
pub(super) fn fused(mut body: Body) -> Body {
    let (facts, uses) = (Facts::of(&body), Uses::of(&body));
    for id in 0..body.nodes.len() as u32 {
        if let Some((op, ins)) = layer(&body, &facts, &uses, id) {
            let node = &mut body.nodes[id as usize];
            (node.kind, node.ins) = (Kind::Op(op.into()), ins);
        }
    }
    body
}

/// The operator that computes the node from the factors of a product among its operands: of several,
/// the last.
fn layer(body: &Body, facts: &Facts, uses: &Uses, id: u32) -> Option<(DotMap, Few<u32>)> {
    let node = &body.nodes[id as usize];
    let fusion = Fusion::of(node.op()?.get::<Map>()?, &node.ins);
    let dense = |&id: &u32| body.nodes[id as usize].ty.stype == Stype::Default;
    let operands = fusion.operands();
    if operands.len() > MAX_OTHERS + 1 || !dense(&id) || !operands.iter().all(dense) {
        return None;
    }
    let fits = |&&value: &&u32| {
        let whole = !fusion.stretches(value) || facts.same_shape(body, value, id);
        uses.is_single(value)
            && whole
            && body.nodes[value as usize].op().is_some_and(|op| op.get::<Dot>().is_some())
    };
    let value = *operands.iter().filter(fits).max()?;
    let product = &body.nodes[value as usize];
    let fusion = fusion.starting_with(value);
    let mut ins = product.ins.clone();
    ins.extend_from_slice(&fusion.operands()[1..]);
    Some((DotMap::new(product.op()?.get::<Dot>()?.clone(), fusion.operator()), ins))
}
