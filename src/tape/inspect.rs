//! What checks and freezing see of a recording.

use std::panic::Location;

use smallvec::SmallVec;

use super::dyn_op::OpRef;
use super::op::{Cotangent, Grads, Read};
use super::partial::PartialType;
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
}

impl Tape {
    /// The values recorded so far, by id.
    pub(crate) fn nodes(&self) -> Vec<Recorded> {
        let recording = self.recording.borrow();
        let node = |n: &super::Node| Recorded {
            op: n.op.clone(),
            ins: n.ins.clone(),
            ty: n.ty.clone(),
            at: n.at,
        };
        recording.nodes.iter().map(node).collect()
    }

    /// The values that name the rows of this leaf that operators read.
    pub(crate) fn row_names(&self, leaf: Var<'_>) -> Vec<Tensor> {
        let recording = self.recording.borrow();
        let mut naming = Vec::new();
        for node in &recording.nodes {
            let Some(op) = &node.op else { continue };
            for (i, _) in node.ins.iter().enumerate().filter(|(_, id)| **id == leaf.id) {
                let Read::RowsOf(j) = op.reads(i) else { continue };
                if let Value::Tensor(names) = &recording.nodes[node.ins[j] as usize].value {
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
        let (op, ins) = {
            let node = &self.recording.borrow().nodes[y.ok()?.id as usize];
            let op = node
                .op
                .clone()
                .ok_or_else(|| Error::new(ErrorKind::State, "a leaf has no backward rule"))?;
            (op, node.ins.clone())
        };
        let x: SmallVec<[Var<'t>; 4]> = ins.iter().map(|&id| Var { tape: self, id }).collect();
        let mut grads = Grads::new(want.into());
        op.vjp(&x, y, dy, &mut grads);
        Ok(grads.answers)
    }
}
