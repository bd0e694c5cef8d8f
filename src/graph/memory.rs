//! The memory plan: which values live when, and which of them can live in the same place.

use super::program::Step;
use super::{Body, Kind};
use crate::tensor::Type;

/// For each node, the last step that needs its memory; `usize::MAX` for what is looked at afterwards.
///
/// A result that may be an operand itself keeps the operand's memory alive.
pub(super) fn lifetimes(body: &Body, steps: &[Step]) -> Vec<usize> {
    let mut ends = vec![0; body.nodes.len()];
    body.roots().for_each(|id| ends[id as usize] = usize::MAX);
    for (at, step) in steps.iter().enumerate().rev() {
        for (i, &operand) in step.ins.iter().enumerate() {
            let shared = if step.op.may_alias(i) { ends[step.node as usize] } else { 0 };
            let end = &mut ends[operand as usize];
            *end = (*end).max(at).max(shared);
        }
    }
    ends
}

/// Places for results; a place is used again when what lived there is dead. Only values of one element
/// and storage type share a place, so that its memory always fits.
#[derive(Default)]
pub(super) struct Places {
    /// The largest type of each place so far.
    types: Vec<Type>,
    free: Vec<u32>,
}

impl Places {
    /// The free place whose size is nearest, or a new one.
    pub fn take(&mut self, ty: &Type) -> u32 {
        let fits = |place: &u32| {
            let own = &self.types[*place as usize];
            (own.stype, own.dtype) == (ty.stype, ty.dtype)
        };
        let distance =
            |place: u32| self.types[place as usize].shape.size().abs_diff(ty.shape.size());
        let candidates = self.free.iter().enumerate().filter(|(_, place)| fits(place));
        let best = candidates.min_by_key(|(_, place)| distance(**place)).map(|(at, _)| at);
        let Some(at) = best else {
            self.types.push(ty.clone());
            return self.types.len() as u32 - 1;
        };
        let place = self.free.swap_remove(at);
        let own = &mut self.types[place as usize];
        if own.shape.size() < ty.shape.size() {
            *own = ty.clone();
        }
        place
    }

    pub fn give(&mut self, place: u32) {
        self.free.push(place);
    }

    pub fn len(&self) -> usize {
        self.types.len()
    }
}

/// Whether a node's memory is the executor's own.
pub(super) fn is_result(body: &Body, id: u32) -> bool {
    matches!(body.nodes[id as usize].kind, Kind::Op(_))
}
