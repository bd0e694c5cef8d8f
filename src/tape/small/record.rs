//! Recording primitives of small values: nothing can fail, and nobody looks, so that there is nothing to
//! plan, to lock or to find memory for.

use std::panic::Location;

use super::super::dyn_op::OpRef;
use super::super::recording::{Held, Node, Recording};
use super::super::{POISON, Tape, Var};
use crate::kernels::slab::{Argument, Lanewise};
use crate::tensor::DType;

/// Nodes, and lines of small values, that a step adds at most, after it was seen that there is room.
const ROOM: usize = 256;

/// What small values have in common that meet in primitives.
#[derive(Clone, Copy)]
pub(super) struct Alike {
    ty: u32,
    dtype: DType,
    len: usize,
}

impl Tape {
    /// Records an operator that is one primitive on small values of one type.
    #[inline]
    pub(in super::super) fn apply_small<'t>(
        &'t self,
        op: &OpRef,
        operands: &[Var<'t>],
        at: &'static Location<'static>,
    ) -> Option<Var<'t>> {
        let lanewise = op.lanewise()?;
        if operands.len() != lanewise.inputs || self.is_watched() {
            return None;
        }
        let recording = &mut *self.recording.borrow_mut();
        let ins = [operands[0].id, operands[operands.len() - 1].id];
        let alike = recording.alike(ins[0])?;
        let places = [recording.place_of(ins[0], alike)?, recording.place_of(ins[1], alike)?];
        let scalars = if lanewise.takes_scalars { op.scalars() } else { [0.0; 2] };
        let place = recording.compute(lanewise, scalars, places, alike);
        let differentiated = self.no_grad.get() == 0;
        let id = recording.push_small(op, &ins[..lanewise.inputs], place, differentiated, at);
        Some(Var { tape: self, id })
    }

    /// Whether someone looks at single operators.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.detect_non_finite.get()
            || self.workspace.borrow().is_watched()
            || !self.observers.try_borrow().is_ok_and(|observers| observers.is_empty())
    }
}

impl Recording {
    /// What there is to know of values like this one, if it is small and there is room for more.
    #[inline(always)]
    pub(super) fn alike(&self, id: u32) -> Option<Alike> {
        let node = &self.nodes[id as usize];
        let room = self.nodes.len().max(self.small.end() as usize) < POISON as usize - ROOM;
        node.small().filter(|_| room)?;
        let (dtype, len) = self.sizes[node.ty as usize]?;
        Some(Alike { ty: node.ty, dtype, len })
    }

    /// Where a value is, if it is small and like these.
    #[inline(always)]
    pub(super) fn place_of(&self, id: u32, alike: Alike) -> Option<u32> {
        let node = &self.nodes[id as usize];
        node.small().filter(|_| node.ty == alike.ty)
    }

    /// Computes a primitive of one value, named twice, or of two, and of numbers: its place.
    #[inline(always)]
    pub(super) fn compute(
        &mut self,
        lanewise: &Lanewise,
        scalars: [f64; 2],
        operands: [u32; 2],
        Alike { dtype, len, .. }: Alike,
    ) -> u32 {
        let mut arguments = [0; 2];
        for (place, argument) in arguments.iter_mut().zip(lanewise.arguments) {
            *place = match argument {
                Argument::Operand(k) => operands[(k != 0) as usize],
                Argument::Scalar(k) => self.small.number(scalars[(k != 0) as usize], dtype),
                Argument::Constant(x) => self.small.number(x, dtype),
            };
        }
        match dtype {
            DType::F32 => self.small.compute(lanewise.f32, arguments, len),
            _ => self.small.compute(lanewise.f64, arguments, len),
        }
    }

    /// Adds a node for what was computed from nodes of the same type.
    #[inline]
    pub(super) fn push_small(
        &mut self,
        op: &OpRef,
        ins: &[u32],
        place: u32,
        differentiated: bool,
        at: &'static Location<'static>,
    ) -> u32 {
        let upstream = |&id: &u32| self.nodes[id as usize].needs_grad;
        let needs_grad = differentiated && ins.iter().any(upstream);
        let ty = self.nodes[ins[0] as usize].ty;
        self.push(Node { needs_grad, ..Node::leaf(ty, Held::small(place), at) }, Some(op), ins)
    }
}
