//! Operators on constants, run beforehand.

use super::super::{Body, Kind, Node};
use super::rewrite::{Change, Written, rewritten};
use crate::error::Result;
use crate::tape::{OpRef, Read, evaluate};
use crate::tensor::{DType, Tensor};

/// A result may be so large, or as large as the operands together.
const SMALL: usize = 1 << 16;

/// With constants in place of what follows from them.
pub(super) fn folded(body: Body) -> Result<Body> {
    rewritten(body, |written, node| {
        let Some(op) = node.op().filter(|op| !node.ins.is_empty() && !op.depends_on_mode()) else {
            return Ok(None);
        };
        let operand = |(i, &id): (usize, &u32)| known(written, op, i, id);
        let operands: Option<Vec<Tensor>> = node.ins.iter().enumerate().map(operand).collect();
        Ok(operands.and_then(|operands| result(op, node, &operands)).map(Change::Constant))
    })
}

/// The operand, if it is a constant; anything of its type if only its type is read. A single number
/// has one storage type.
fn known(written: &Written, op: &OpRef, i: usize, id: u32) -> Option<Tensor> {
    let node = &written.nodes[id as usize];
    if let Kind::Constant(tensor) = &node.kind {
        return Some(tensor.clone());
    }
    let ty = node.ty.known().filter(|ty| ty.shape.is_empty())?;
    matches!(op.reads(i), Read::Shape | Read::Pattern).then(|| match ty.dtype {
        DType::F32 => Tensor::scalar(0.0f32),
        DType::F64 => Tensor::scalar(0.0f64),
        DType::I64 => Tensor::scalar(0i64),
    })
}

/// What the operator gives, if that is small. An error is left to the run, which knows the line.
fn result(op: &OpRef, node: &Node, operands: &[Tensor]) -> Option<Tensor> {
    let most = SMALL.max(operands.iter().map(Tensor::bytes).sum());
    let ty = node.ty.known()?;
    let dense = ty.stype == crate::Stype::Default;
    if dense && ty.shape.size().saturating_mul(ty.dtype.size()) > most {
        return None;
    }
    let operands: Vec<&Tensor> = operands.iter().collect();
    let result = evaluate(op.clone(), &operands).ok()?;
    // As it would be stored: the storage types of constants are those of the graph.
    (result.ty() == ty && result.bytes() <= most).then_some(result)
}
