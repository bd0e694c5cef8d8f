//! What a tape holds: values, with what computed them.
//!
//! A recording of small values is bound by how fast nodes are written: so a node is plain data of one cache
//! line, and what few nodes need lies beside them.

use std::fmt;
use std::panic::Location;

use rustc_hash::FxHashMap;

use super::dyn_op::{DynOp, OpRef};
use super::memory;
use super::parameter::Parameter;
use super::partial::PartialType;
use super::small::Small;
use super::symbol::Names;
use super::variable::Variable;
use super::{POISON, Tape, Var};
use crate::error::{Error, ErrorKind};
use crate::tensor::{DType, Stype, Tensor};

#[derive(Default)]
pub(super) struct Recording {
    pub nodes: Vec<Node>,
    /// The operands of all nodes, in their order.
    operands: Vec<u32>,
    /// The operators of nodes, but for those that live forever, in their order.
    operators: Vec<OpRef>,
    /// What nodes hold that is not small, in their order, and whether an operator computed it.
    values: Vec<(Value, bool)>,
    pub small: Small,
    /// Types of nodes; values of one type share it, as long as they are no symbols.
    pub types: Vec<PartialType>,
    /// Element type and number of elements of each type, where they are known.
    pub sizes: Vec<Option<(DType, usize)>>,
    pub errors: Vec<Error>,
    /// How many recordings this tape has forgotten.
    pub cleared: u64,
    /// How many random operators were recorded.
    pub ordinals: u64,
    /// What [`Var::named`] gave.
    pub names: Names,
    /// Whether something was learnt of values since it was inferred what follows.
    pub learnt: bool,
    /// The variables of a symbolic recording.
    pub variables: FxHashMap<u32, Variable>,
}

#[derive(Clone, Copy)]
pub(super) struct Node {
    /// `None` for leaves.
    pub op: Option<Operator>,
    /// Where its operands begin among all.
    pub first: usize,
    pub operands: u32,
    /// Among the types of the recording. All of it is known, unless that is symbolic.
    pub ty: u32,
    /// Its place among the small values, or [`NOWHERE`].
    pub small: u32,
    /// Where it is among the other values, or [`NOWHERE`]; small leaves are both.
    pub stored: u32,
    pub at: &'static Location<'static>,
    /// Whether a leaf that wants a gradient is upstream.
    pub needs_grad: bool,
    /// For leaves: the storage type that the gradient shall have.
    pub grad_stype: Option<Stype>,
}

impl Node {
    /// What is no operator's result, and wants no gradient.
    #[inline(always)]
    pub fn leaf(ty: u32, Held { small, stored }: Held, at: &'static Location<'static>) -> Node {
        let (op, grad_stype) = (None, None);
        Node { op, first: 0, operands: 0, ty, small, stored, at, needs_grad: false, grad_stype }
    }

    /// Its place among the small values, if it is one.
    #[inline(always)]
    pub fn small(&self) -> Option<u32> {
        (self.small != NOWHERE).then_some(self.small)
    }
}

/// The operator of a node.
#[derive(Clone, Copy)]
pub(super) enum Operator {
    Static(&'static dyn DynOp),
    /// Among those of the recording.
    Listed(u32),
}

/// Where the value of a node is: as its node says.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub small: u32,
    pub stored: u32,
}

impl Held {
    /// Among the small values only.
    #[inline(always)]
    pub fn small(place: u32) -> Held {
        Held { small: place, stored: NOWHERE }
    }
}

/// Where no value is.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone)]
pub(crate) enum Value {
    Tensor(Tensor),
    /// A reference to a parameter, with its update count when it was recorded.
    Parameter(Parameter, u64),
    /// A symbolic recording holds no values.
    Symbol,
}

/// So many types back one is looked for that is there already.
const RECENT: usize = 8;

/// How much there is of each.
#[derive(Clone, Copy, Default)]
pub(super) struct Extent {
    nodes: usize,
    operands: usize,
    operators: usize,
    values: usize,
    small: u32,
}

impl Recording {
    /// The operator of a node; `None` for a leaf.
    #[inline]
    pub fn op(&self, node: &Node) -> Option<&dyn DynOp> {
        Some(match node.op? {
            Operator::Static(op) => op,
            Operator::Listed(at) => &*self.operators[at as usize],
        })
    }

    /// A handle to the operator of a node; `None` for a leaf.
    pub fn op_ref(&self, node: &Node) -> Option<OpRef> {
        Some(match node.op? {
            Operator::Static(op) => OpRef::forever(op),
            Operator::Listed(at) => self.operators[at as usize].clone(),
        })
    }

    /// The operands of a node.
    #[inline]
    pub fn ins(&self, node: &Node) -> &[u32] {
        &self.operands[node.first..][..node.operands as usize]
    }

    /// Adds a node: its id.
    ///
    /// Inlined, so that it is written field by field: what was just written in pieces is slow to copy.
    #[inline(always)]
    pub fn push(&mut self, node: Node, op: Option<&OpRef>, ins: &[u32]) -> u32 {
        let op = op.map(|op| match op.as_static() {
            Some(op) => Operator::Static(op),
            None => {
                self.operators.push(op.clone());
                Operator::Listed(self.operators.len() as u32 - 1)
            }
        });
        let first = self.operands.len();
        ins.iter().for_each(|&id| self.operands.push(id));
        self.nodes.push(Node { op, first, operands: ins.len() as u32, ..node });
        self.nodes.len() as u32 - 1
    }

    /// What is known of a node's type.
    #[inline]
    pub fn ty(&self, id: u32) -> &PartialType {
        &self.types[self.nodes[id as usize].ty as usize]
    }

    /// What is known of a node's type, to be learnt more of.
    pub fn ty_mut(&mut self, id: u32) -> &mut PartialType {
        &mut self.types[self.nodes[id as usize].ty as usize]
    }

    /// A type among those that there are.
    pub fn intern(&mut self, ty: PartialType, symbolic: bool) -> u32 {
        let first = self.types.len().saturating_sub(RECENT);
        let known = self.types[first..].iter().rposition(|own| *own == ty).filter(|_| !symbolic);
        let at = known.map_or(self.types.len(), |at| first + at);
        if at == self.types.len() {
            self.sizes.push(ty.known().map(|ty| (ty.dtype, ty.shape.size())));
            self.types.push(ty);
        }
        at as u32
    }

    /// What a node holds, unless it is small and was computed.
    pub fn stored(&self, node: &Node) -> Option<&Value> {
        (node.stored != NOWHERE).then(|| &self.values[node.stored as usize].0)
    }

    /// Takes in the value of the next node.
    pub fn hold(&mut self, value: Value, computed: bool) -> Held {
        self.values.push((value, computed));
        Held { small: NOWHERE, stored: self.values.len() as u32 - 1 }
    }

    /// How much there is.
    pub fn extent(&self) -> Extent {
        Extent {
            nodes: self.nodes.len(),
            operands: self.operands.len(),
            operators: self.operators.len(),
            values: self.values.len(),
            small: self.small.end(),
        }
    }
}

impl Tape {
    pub(super) fn push(&self, node: Node, op: Option<&OpRef>, ins: &[u32]) -> Var<'_> {
        let mut recording = self.recording.borrow_mut();
        if recording.nodes.len() >= POISON as usize {
            drop(recording);
            let message = "the tape holds 2^31 values, its limit; clear it between steps";
            return self.poison(Error::new(ErrorKind::State, message));
        }
        let id = recording.push(node, op, ins);
        Var { tape: self, id }
    }

    /// How much there is.
    pub(super) fn extent(&self) -> Extent {
        self.recording.borrow().extent()
    }

    /// Drops what was recorded since then; its memory is used again.
    pub(super) fn truncate(&self, to: Extent) {
        let recording = &mut *self.recording.borrow_mut();
        let arena = &mut self.workspace.borrow_mut().arena;
        for (value, computed) in recording.values.drain(to.values..).rev() {
            // What a leaf held came from elsewhere: to keep that, too, would be to hoard.
            if let (Value::Tensor(tensor), true) = (value, computed) {
                memory::recycle(tensor, arena);
            }
        }
        recording.nodes.truncate(to.nodes);
        recording.operands.truncate(to.operands);
        recording.operators.truncate(to.operators);
        recording.small.truncate(to.small);
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recording = self.recording.borrow();
        writeln!(f, "Tape of {} values", recording.nodes.len())?;
        for (id, node) in recording.nodes.iter().enumerate() {
            let name = match (recording.op(node), recording.stored(node)) {
                (Some(op), _) => op.label().into_owned(),
                (None, Some(Value::Parameter(parameter, _))) => {
                    format!("parameter {}", parameter.name())
                }
                (None, Some(Value::Symbol)) => {
                    format!("variable {}", recording.names.get(id as u32).unwrap_or_default())
                }
                (None, _) => "leaf".to_owned(),
            };
            let ty = recording.ty(id as u32);
            let ins: Vec<String> = recording.ins(node).iter().map(|id| format!("%{id}")).collect();
            writeln!(f, "%{id} = {name}({}): {ty}  [{}]", ins.join(", "), node.at)?;
        }
        Ok(())
    }
}
