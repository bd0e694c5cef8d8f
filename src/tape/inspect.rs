//! What checks and freezing see of a recording.

use std::panic::Location;

use smallvec::SmallVec;

use super::dyn_op::OpRef;
use super::op::{Cotangent, Grads, Read};
use super::parameter::Parameter;
use super::partial::PartialType;
use super::recording::Node;
use super::variable::Variable;
use super::{Tape, Value, Var};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Tensor;

/// One recorded value.
pub(crate) struct Recorded {
    /// `None` for leaves.
    pub op: Option<OpRef>,
    pub ins: SmallVec<[u32; 4]>,
    pub ty: PartialType,
    pub at: &'static Location<'static>,
    /// For leaves: what they hold.
    pub leaf: Option<Leaf>,
    pub name: Option<String>,
}

/// What a leaf holds.
pub(crate) enum Leaf {
    /// A value without a gradient.
    Constant(Tensor),
    /// A value with a gradient.
    Variable,
    Parameter(Parameter),
    Symbol(Variable),
}

impl Recorded {
    /// Whether two leaves hold the same: bit for bit, or the same parameter.
    pub fn same_leaf(&self, other: &Recorded) -> bool {
        match (&self.leaf, &other.leaf) {
            (Some(Leaf::Constant(a)), Some(Leaf::Constant(b))) => a.same_bits(b),
            (Some(Leaf::Parameter(a)), Some(Leaf::Parameter(b))) => a.same(b),
            _ => false,
        }
    }
}

impl Tape {
    /// The values recorded so far, by id.
    pub(crate) fn nodes(&self) -> Vec<Recorded> {
        let recording = self.recording.borrow();
        let leaf = |id: u32, node: &Node| match recording.stored(node)? {
            _ if node.op.is_some() => None,
            Value::Tensor(_) if node.needs_grad => Some(Leaf::Variable),
            Value::Tensor(tensor) => Some(Leaf::Constant(tensor.clone())),
            Value::Parameter(parameter, _) => Some(Leaf::Parameter(parameter.clone())),
            Value::Symbol => recording.variables.get(&id).cloned().map(Leaf::Symbol),
        };
        let recorded = |(id, node): (usize, &Node)| Recorded {
            op: recording.op_ref(node),
            ins: recording.ins(node).into(),
            ty: recording.ty(id as u32).clone(),
            at: node.at,
            leaf: leaf(id as u32, node),
            name: recording.names.get(id as u32).map(str::to_owned),
        };
        recording.nodes.iter().enumerate().map(recorded).collect()
    }

    /// The values that name the rows of this leaf that operators read.
    pub(crate) fn row_names(&self, leaf: Var<'_>) -> Vec<Tensor> {
        let recording = self.recording.borrow();
        let mut naming = Vec::new();
        for node in &recording.nodes {
            let (Some(op), ins) = (recording.op(node), recording.ins(node)) else { continue };
            for (i, _) in ins.iter().enumerate().filter(|(_, id)| **id == leaf.id) {
                let Read::RowsOf(j) = op.reads(i) else { continue };
                let named_by = &recording.nodes[ins[j] as usize];
                if let Some(Value::Tensor(names)) = recording.stored(named_by) {
                    naming.push(names.clone());
                }
            }
        }
        naming
    }

    /// What the backward rule of `y` answers for the operands that `want` names.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a leaf.
    pub(crate) fn answers<'t>(
        &'t self,
        y: Var<'t>,
        dy: Var<'t>,
        want: &[bool],
    ) -> Result<SmallVec<[Option<Cotangent<'t>>; 4]>> {
        let leaf = || Error::new(ErrorKind::State, "a leaf has no backward rule");
        let (op, ins, _) = self.operation(y.ok()?.id).ok_or_else(leaf)?;
        let x: SmallVec<[Var<'t>; 4]> = ins.iter().map(|&id| Var { tape: self, id }).collect();
        let mut grads = Grads::new(want.into());
        op.vjp(&x, y, dy, &mut grads);
        Ok(grads.answers)
    }
}
