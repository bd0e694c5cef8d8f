//! Chains of element-wise operators, as one loop.

use super::super::{Body, Kind};
use super::facts::Facts;
use crate::ops::map::fuse::{Fusion, Places};
use crate::ops::{Accumulate, BroadcastLike, Map};
use crate::tensor::Stype;

/// With element-wise operators in the only one that uses their value. Fused operators compute the
/// same for each element and store it at the same places; that they do is proved, or they stay apart.
pub(super) fn fused(mut body: Body) -> Body {
    let facts = Facts::of(&body);
    let mut uses = Uses::of(&body);
    // From the last on: a value that two use which become one is used once.
    for id in (0..body.nodes.len() as u32).rev() {
        if let Some(fusion) = chain(&body, &facts, &mut uses, id) {
            let node = &mut body.nodes[id as usize];
            node.ins = fusion.operands().into();
            node.kind = Kind::Op(fusion.operator().into());
        }
    }
    body
}

/// The operator of a node with all others that fit into it, if there are any.
fn chain(body: &Body, facts: &Facts, uses: &mut Uses, id: u32) -> Option<Fusion> {
    let mut fusion = operator(body, facts, id).filter(|_| !uses.is_gone(id))?;
    let mut found = None;
    while let Some((value, inner, larger)) = fusion.operands().iter().find_map(|&value| {
        let inner = inner_operator(body, facts, value).filter(|_| uses.is_single(value))?;
        let larger = joined(body, facts, (id, &fusion), (value, &inner))?;
        Some((value, inner, larger))
    }) {
        uses.absorb(value, &inner, &fusion);
        fusion = larger;
        found = Some(fusion.clone());
    }
    found
}

/// The element-wise operator of a node; a sum of dense cotangents is one. Not one whose result is
/// stored at fewer places where operands that are the same value are one.
fn operator(body: &Body, facts: &Facts, id: u32) -> Option<Fusion> {
    let node = &body.nodes[id as usize];
    let op = node.op()?;
    let dense = node.ins.iter().all(|&i| body.nodes[i as usize].ty.stype == Stype::Default);
    match op.get::<Map>() {
        Some(map) => {
            let fusion = Fusion::of(map, &node.ins);
            let recorded = Fusion::recorded(map, &node.ins);
            (places(body, facts, &fusion) == places(body, facts, &recorded)).then_some(fusion)
        }
        None if op.get::<Accumulate>().is_some() && dense => {
            Some(Fusion::of(Map::sum(), &node.ins))
        }
        None => None,
    }
}

/// As [`operator`], for one that goes into another: repeated elements are what broadcasting is.
fn inner_operator(body: &Body, facts: &Facts, id: u32) -> Option<Fusion> {
    operator(body, facts, id).or_else(|| {
        let node = &body.nodes[id as usize];
        let small = *node.ins.first()?;
        let number = body.nodes[small as usize].ty.shape.rank() == Some(0);
        let op = node.op()?.get::<BroadcastLike>()?;
        let dense = node.ty.stype == Stype::Default
            && body.nodes[small as usize].ty.stype == Stype::Default;
        (dense && op.repeats(number)).then(|| Fusion::of(Map::repeated(), &[small]))
    })
}

/// The operator `outer` of node `id` with `inner`, that of its operand `value`, in it: if every
/// element that it stores is computed in both ways, and by the same arithmetic.
fn joined(
    body: &Body,
    facts: &Facts,
    (id, outer): (u32, &Fusion),
    (value, inner): (u32, &Fusion),
) -> Option<Fusion> {
    if outer.stretches(value) && !facts.same_shape(body, value, id) {
        return None;
    }
    let places = |fusion: &Fusion| places(body, facts, fusion);
    let apart = places(outer)?;
    // Where the inner value is absent, it is a zero that nobody computed.
    let computed = match places(inner)? {
        Places::Everywhere => true,
        _ => apart.within(facts.class(value)),
    };
    // Some operand has the shape of the result.
    let larger = outer.with(value, inner).filter(|larger| computed && larger.is_shaped())?;
    let same = |fusion: &Fusion| {
        let class =
            |own: Places| facts.combined(&own).is_some_and(|c| facts.combined(&apart) == Some(c));
        places(fusion).is_some_and(|own| own == apart || class(own))
    };
    // What no proof finds, an operand may have: the pattern.
    let stated = (0..larger.operands().len()).map(|k| larger.on(k));
    std::iter::once(larger.clone()).chain(stated).find(same)
}

/// Where the operator's result is stored.
fn places(body: &Body, facts: &Facts, fusion: &Fusion) -> Option<Places> {
    fusion.places(|id| body.nodes[id as usize].ty.stype, |id| facts.class(id))
}

/// How values are used.
pub(super) struct Uses {
    /// Nodes that read a value, each once; outputs and gradients are read from outside, too.
    readers: Vec<u32>,
    /// Nodes that went into others.
    gone: Vec<bool>,
}

impl Uses {
    pub fn of(body: &Body) -> Uses {
        let mut readers = vec![0; body.nodes.len()];
        body.roots().for_each(|id| readers[id as usize] += 2);
        for node in &body.nodes {
            for (k, &value) in node.ins.iter().enumerate() {
                readers[value as usize] += u32::from(!node.ins[..k].contains(&value));
            }
        }
        Uses { gone: vec![false; readers.len()], readers }
    }

    pub fn is_single(&self, value: u32) -> bool {
        self.readers[value as usize] == 1
    }

    fn is_gone(&self, id: u32) -> bool {
        self.gone[id as usize]
    }

    /// `value`, which `inner` computes, goes into `outer`.
    fn absorb(&mut self, value: u32, inner: &Fusion, outer: &Fusion) {
        self.gone[value as usize] = true;
        for &operand in inner.operands().iter().filter(|id| outer.operands().contains(id)) {
            self.readers[operand as usize] -= 1;
        }
    }
}
