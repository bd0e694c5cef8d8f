//! What comes to nothing: rewrites that keep every bit.
//!
//! There is none of the usual `x · 0 → 0` and `x + 0 → x`: they are wrong for infinities, NaN and −0.

use smallvec::smallvec;

use super::super::{Body, Kind, Node};
use super::Purpose;
use super::facts::Facts;
use super::rewrite::{Change, Written, rewritten};
use crate::error::Result;
use crate::ops::{
    BroadcastLike, Cast, CastStorage, Dot, Map, Project, Reshape, StopGradient, StraightThrough,
    SumLike, Transpose,
};
use crate::tape::Op;
use crate::tape::infer::Few;
use crate::tensor::{DType, Stype};

/// With all rules applied, from operands to results.
pub(super) fn simplified(body: Body, purpose: Purpose) -> Result<Body> {
    let (facts, before) = (Facts::of(&body), body.clone());
    rewritten(body, |written, node| {
        let (mut node, mut found) = (node.clone(), None);
        loop {
            let at = At { written, node: &node, facts: &facts, body: &before, purpose };
            match RULES.iter().find_map(|rule| rule(&at)) {
                Some(Change::Op(op, ins)) => {
                    node = Node { kind: Kind::Op(op.clone()), ins: ins.clone(), ..node };
                    found = Some(Change::Op(op, ins));
                }
                Some(change) => return Ok(Some(change)),
                None => return Ok(found),
            }
        }
    })
}

type Rule = fn(&At) -> Option<Change>;

const RULES: [Rule; 10] = [
    view,
    negation,
    cast,
    cast_storage,
    reshape,
    transpose,
    transposed_operand,
    projection,
    sum,
    broadcast,
];

/// A node to simplify, and what is known.
struct At<'a> {
    written: &'a Written,
    node: &'a Node,
    facts: &'a Facts,
    /// The graph before this pass, which `facts` are about.
    body: &'a Body,
    purpose: Purpose,
}

impl<'a> At<'a> {
    fn op<O: Op>(&self) -> Option<&'a O> {
        self.node.op()?.get()
    }

    fn operand(&self, i: usize) -> &'a Node {
        &self.written.nodes[self.node.ins[i] as usize]
    }

    /// The operator that computes operand `i`, if it is of this type, and its first operand.
    fn inner<O: Op>(&self, i: usize) -> Option<(&'a O, u32)> {
        let node = self.operand(i);
        Some((node.op()?.get()?, *node.ins.first()?))
    }

    fn stype(&self, id: u32) -> Stype {
        self.written.nodes[id as usize].ty.stype
    }

    /// Whether operands `i` and `j` have equal shapes.
    fn same_shape(&self, i: usize, j: usize) -> bool {
        self.facts.same_shape(self.body, self.origin(i), self.origin(j))
    }

    fn origin(&self, i: usize) -> u32 {
        self.written.origins[self.node.ins[i] as usize]
    }

    /// The value, if it is stored like the node's.
    fn value(&self, id: u32) -> Option<Change> {
        (self.stype(id) == self.node.ty.stype).then_some(Change::Value(id))
    }

    /// An operator in place of the node's, if it runs on these operands as they are and gives the same
    /// storage type.
    fn operator(&self, op: impl Op, ins: Few<u32>) -> Option<Change> {
        let op = crate::OpRef::from(op);
        let stypes: Few<Stype> = ins.iter().map(|&id| self.stype(id)).collect();
        let row = op.find_row(&stypes)?;
        (row.1 == self.node.ty.stype).then_some(Change::Op(op, ins))
    }
}

/// identity(x) = x; so are values that only gradients pass by, where there will be none.
fn view(at: &At) -> Option<Change> {
    let identity = at.op::<Reshape>().is_some_and(|op| *op == Reshape::Identity);
    let constant = at.op::<StopGradient>().is_some() || at.op::<StraightThrough>().is_some();
    let gone = identity || constant && at.purpose == Purpose::Run;
    gone.then(|| Change::Value(at.node.ins[0]))
}

/// −(−x) = x
fn negation(at: &At) -> Option<Change> {
    let (outer, (inner, x)) = (at.op::<Map>()?, at.inner::<Map>(0)?);
    (outer.is_negation() && inner.is_negation()).then(|| at.value(x))?
}

/// A cast after one that loses nothing; a cast to the type that is there.
fn cast(at: &At) -> Option<Change> {
    let to = at.op::<Cast>()?.dtype();
    let own = |id: u32| at.written.nodes[id as usize].ty.dtypes.known();
    if own(at.node.ins[0]) == Some(to) {
        return at.value(at.node.ins[0]);
    }
    let (inner, x) = at.inner::<Cast>(0)?;
    match (own(x)?, inner.dtype()) {
        (from, through) if from != through && (from, through) != (DType::F32, DType::F64) => None,
        (from, _) if from == to => at.value(x),
        _ => at.operator(Cast::to(to), smallvec![x]),
    }
}

/// A cast to the storage type that is there; sparse to sparse to dense. Others are no shorter: what is
/// cast from dense leaves zeros out, and −0 with them.
fn cast_storage(at: &At) -> Option<Change> {
    let to = at.op::<CastStorage>()?.stype();
    if at.stype(at.node.ins[0]) == to {
        return at.value(at.node.ins[0]);
    }
    let (_, x) = at.inner::<CastStorage>(0)?;
    let sparse = at.stype(x) != Stype::Default && at.stype(at.node.ins[0]) != Stype::Default;
    (sparse && to == Stype::Default).then(|| at.operator(CastStorage::to(to), smallvec![x]))?
}

/// A reshape to the shape that is there; two reshapes, of known shapes, of a dense value. (The rows of
/// a row-sparse one that are touched depend on the shape between.)
fn reshape(at: &At) -> Option<Change> {
    let op = at.op::<Reshape>()?;
    let shape = |node: &'_ Node| node.ty.shape.known();
    let own = shape(at.node)?;
    if shape(at.operand(0)) == Some(own) {
        return at.value(at.node.ins[0]);
    }
    let (_, x) = at.inner::<Reshape>(0).filter(|_| shape(at.operand(0)).is_some())?;
    let free = match op {
        Reshape::Like => true,
        Reshape::To(sizes) => !sizes.contains(&0),
        _ => false,
    };
    let dense = at.stype(x) == Stype::Default && at.node.ty.stype == Stype::Default;
    let mut ins = Few::from(&at.node.ins[..]);
    ins[0] = x;
    (free && dense && shape(&at.written.nodes[x as usize]).is_some())
        .then(|| at.operator(op.clone(), ins))?
}

/// Transposes one after the other; one that moves no axis.
fn transpose(at: &At) -> Option<Change> {
    let (outer, ndim) = (at.op::<Transpose>()?, at.node.ty.shape.rank());
    if outer.is_identity() {
        return at.value(at.node.ins[0]);
    }
    let (inner, x) = at.inner::<Transpose>(0)?;
    let both = inner.then(outer, ndim)?;
    match both {
        None => at.value(x),
        Some(both) if at.stype(x) == Stype::Default => at.operator(both, smallvec![x]),
        Some(_) => None,
    }
}

/// A matrix product that transposes by itself, where the bits are the same.
fn transposed_operand(at: &At) -> Option<Change> {
    let dot = at.op::<Dot>()?;
    let cols = at.node.ty.shape.dim(1);
    let turned = |i: usize| {
        let (_, x) = at.inner::<Transpose>(i).filter(|(op, _)| op.turns_matrix())?;
        let mut ins = Few::from(&at.node.ins[..]);
        ins[i] = x;
        let stypes = [at.stype(ins[0]), at.stype(ins[1])];
        let kept = stypes[i] == at.operand(i).ty.stype && dot.turns_freely(stypes, i, cols);
        kept.then(|| at.operator(dot.turned(i), ins))?
    };
    turned(0).or_else(|| turned(1))
}

/// A projection onto the whole value, or onto the pattern that is there.
fn projection(at: &At) -> Option<Change> {
    at.op::<Project>()?;
    let like = at.stype(at.node.ins[1]);
    let class = |i: usize| at.facts.class(at.origin(i));
    let nothing = like == Stype::Default || class(0) == class(1);
    nothing.then(|| at.value(at.node.ins[0]))?
}

/// A sum over no axis.
fn sum(at: &At) -> Option<Change> {
    let nothing = at.op::<SumLike>()?.is_numpy() && at.same_shape(0, 1);
    nothing.then(|| at.value(at.node.ins[0]))?
}

/// A broadcast along no axis, to a dense value.
fn broadcast(at: &At) -> Option<Change> {
    let nothing = at.op::<BroadcastLike>()?.is_numpy() && at.same_shape(0, 1);
    let dense = at.stype(at.node.ins[1]) == Stype::Default;
    (nothing && dense).then(|| at.value(at.node.ins[0]))?
}
