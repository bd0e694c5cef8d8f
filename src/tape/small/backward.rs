//! The backward sweep over primitives of small values. Unless someone may differentiate once more, it records
//! nothing: cotangents are small values that no node holds.

use std::panic::Location;

use super::super::dyn_op::{DynOp, OpRef};
use super::super::op::{Op, Slope};
use super::super::recording::{Held, Node, Recording};
use super::super::structural::Accumulate;
use super::super::{Tape, Var};
use super::record::Alike;
use crate::kernels::slab::Lanewise;

/// A value in the sweep: a node, or a small value at a place that no node holds. One number, since what is
/// written in pieces is slow to read as one.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) struct Term(u32);

/// A primitive, and the operator that it is recorded as.
type Primitive = (Option<&'static dyn DynOp>, &'static Lanewise);

/// The high bit of a term marks a place; there are fewer nodes, and fewer places.
const PLACE: u32 = 1 << 31;

impl Term {
    /// A sum of nothing.
    pub const NONE: Term = Term(u32::MAX);

    pub fn node(id: u32) -> Term {
        Term(id)
    }
}

impl Tape {
    /// Sweeps down from the nodes before `end`, over leaves and over all nodes of which the value, the
    /// operands and the cotangents are small and of one type, and each rule that is wanted is a primitive of
    /// them. The first other one that is wanted.
    pub(in super::super) fn sweep_small(
        &self,
        end: u32,
        wanted: &impl Fn(&Recording, u32) -> bool,
        sums: &mut [Term],
    ) -> Option<u32> {
        let (watched, recorded) = (self.is_watched(), self.no_grad.get() == 0);
        let recording = &mut *self.recording.borrow_mut();
        (0..end).rev().find(|&id| {
            let leaf = recording.nodes[id as usize].op.is_none();
            let due = sums[id as usize] != Term::NONE && !leaf && wanted(recording, id);
            due && (watched || recording.sweep_step(id, wanted, recorded, sums).is_none())
        })
    }

    /// What has come together of the cotangent of `x`, if there is anything, as a variable.
    pub(in super::super) fn sum_of<'t>(
        &'t self,
        x: Var<'t>,
        sum: Term,
        at: &'static Location<'static>,
    ) -> Option<Var<'t>> {
        match sum {
            Term::NONE => None,
            Term(place) if place & PLACE != 0 => {
                let ty = self.recording.borrow().nodes[x.id as usize].ty;
                let held = Held::small(place & !PLACE);
                Some(self.push(Node::leaf(ty, held, at), None, &[]))
            }
            Term(id) => Some(Var { tape: self, id }),
        }
    }
}

impl Recording {
    /// One step of the sweep: all rules are primitives, or nothing is done.
    #[inline]
    fn sweep_step(
        &mut self,
        id: u32,
        wanted: &impl Fn(&Recording, u32) -> bool,
        recorded: bool,
        sums: &mut [Term],
    ) -> Option<()> {
        let alike = self.alike(id)?;
        let add: Primitive = (Some(&Accumulate), Op::lanewise(&Accumulate)?);
        let node = &self.nodes[id as usize];
        let (op, at) = (self.op(node)?, recorded.then_some(node.at));
        let dy = sums[id as usize];
        // Rules number the operands, then the result, then its cotangent.
        let (values, n) = match *self.ins(node) {
            [x] => ([Term(x), Term(id), dy, dy], 1),
            [l, r] => ([Term(l), Term(r), Term(id), dy], 2),
            _ => return None,
        };
        for value in values {
            self.place_of_term(value, alike)?;
        }
        let (mut slopes, mut scalars) = ([None; 2], [0.0; 2]);
        for (slope, i) in slopes.iter_mut().zip(0..n) {
            let Term(x) = values[i];
            if wanted(self, x) {
                let before = sums[x as usize];
                self.place_of_term(if before == Term::NONE { dy } else { before }, alike)?;
                let own = op.slope(i)?;
                match own {
                    Slope::Primitive(None, ..) if recorded => return None,
                    Slope::Primitive(_, own, _) if own.takes_scalars => scalars = op.scalars(),
                    _ => {}
                }
                *slope = Some(own);
            }
        }
        let mut answers = [Term::NONE; 2];
        for (answer, slope) in answers.iter_mut().zip(slopes) {
            *answer = match slope {
                None => Term::NONE,
                Some(Slope::Value(k)) => values[*k as usize],
                Some(Slope::Primitive(op, lanewise, [a, b])) => {
                    let ins = [values[*a as usize], values[*b as usize]];
                    self.apply((*op, lanewise), scalars, ins, alike, at)?
                }
            };
        }
        for (value, dx) in values.into_iter().zip(answers).filter(|(_, dx)| *dx != Term::NONE) {
            let sum = &mut sums[value.0 as usize];
            *sum = match *sum {
                Term::NONE => dx,
                before => self.apply(add, scalars, [before, dx], alike, at)?,
            };
        }
        Some(())
    }

    /// Where a value is, if it is small and like these.
    #[inline(always)]
    fn place_of_term(&self, Term(term): Term, alike: Alike) -> Option<u32> {
        match term & PLACE {
            0 => self.place_of(term, alike),
            _ => Some(term & !PLACE),
        }
    }

    /// Computes a primitive; where there is a line, records it.
    #[inline(always)]
    fn apply(
        &mut self,
        (op, lanewise): Primitive,
        scalars: [f64; 2],
        [a, b]: [Term; 2],
        alike: Alike,
        at: Option<&'static Location<'static>>,
    ) -> Option<Term> {
        let places = [self.place_of_term(a, alike)?, self.place_of_term(b, alike)?];
        let place = self.compute(lanewise, scalars, places, alike);
        Some(match at.zip(op) {
            None => Term(place | PLACE),
            Some((at, op)) => {
                let ins = &[a.0, b.0][..lanewise.inputs];
                Term(self.push_small(&OpRef::forever(op), ins, place, true, at))
            }
        })
    }
}
