//! What an executor runs: the operators of a graph in order, for variables of known types, and where
//! each value lives.

use std::panic::Location;

use smallvec::SmallVec;

use super::Body;
use super::memory::{Places, is_result, lifetimes};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{OpRef, PartialType, PerOperand, Plan, Read, explain, plan};
use crate::tensor::{Stype, Type};

/// Operators in order, all types known.
pub(super) struct Program {
    pub body: Body,
    /// By node.
    pub types: Vec<Type>,
    /// First those that outputs need, then the rest: the backward pass.
    pub steps: Vec<Step>,
    /// How many steps are of the forward pass.
    pub forward: usize,
    /// Where each node's result lives.
    pub place_of: Vec<u32>,
    /// How many results live at once, at most.
    pub places: usize,
    /// The results that are alive after a run.
    pub kept: Vec<u32>,
    /// By node: whether the forward pass reads more of it than its shape.
    pub forward_reads: Vec<bool>,
}

/// One operator to run.
pub(super) struct Step {
    pub op: OpRef,
    pub node: u32,
    pub ins: SmallVec<[u32; 4]>,
    pub plan: Plan,
    /// The operand that dies here and whose memory is the result's, if its kernels can do that.
    pub in_place: Option<usize>,
    /// The results that nobody needs after this step; what may be another's memory comes first.
    pub dead: SmallVec<[u32; 2]>,
}

impl Program {
    #[track_caller]
    pub fn new(body: Body) -> Result<Program> {
        let types = body.known_types()?;
        let of_forward = body.needed(body.outputs.iter().copied());
        let of_all = body.needed(body.roots());
        let backward = of_all.iter().zip(&of_forward).map(|(all, forward)| all & !forward);
        let mut steps = steps(&body, &types, of_forward.iter().copied())?;
        let forward = steps.len();
        steps.extend(self::steps(&body, &types, backward)?);
        let (place_of, places) = place(&body, &types, &mut steps);
        let mut kept = of_all;
        steps.iter().flat_map(|step| &step.dead).for_each(|&id| kept[id as usize] = false);
        let kept = (0..kept.len() as u32).filter(|&id| kept[id as usize] && is_result(&body, id));
        let kept = kept.collect();
        let forward_reads = reads(&body, &steps[..forward]);
        Ok(Program { body, types, steps, forward, place_of, places, kept, forward_reads })
    }

    /// An error of a step, with operator, operand types and the user's line.
    pub fn blame(&self, step: &Step, error: Error) -> Error {
        let ins: PerOperand<PartialType> =
            step.ins.iter().map(|&i| (&self.types[i as usize]).into()).collect();
        explain(error, &*step.op, &ins, self.body.nodes[step.node as usize].line.clone())
    }
}

/// What these steps read more of than its shape, and what is an output itself.
fn reads(body: &Body, steps: &[Step]) -> Vec<bool> {
    let mut reads = vec![false; body.nodes.len()];
    body.outputs.iter().for_each(|&id| reads[id as usize] = true);
    for step in steps {
        let read = step.ins.iter().enumerate().filter(|(i, _)| step.op.reads(*i) != Read::Shape);
        read.for_each(|(_, &id)| reads[id as usize] = true);
    }
    reads
}

fn steps(body: &Body, types: &[Type], which: impl Iterator<Item = bool>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for (id, _) in which.enumerate().filter(|(_, which)| *which) {
        let node = &body.nodes[id];
        let Some(op) = node.op() else { continue };
        let ins: SmallVec<[PartialType; 4]> =
            node.ins.iter().map(|&i| (&types[i as usize]).into()).collect();
        let plan = plan(&**op, &ins).map_err(|error| body.blame(id, error.operands(&ins)))?;
        if !plan.densify.is_empty() || plan.stype != node.ty.stype {
            let message = "no table row takes these storage types: the graph is of another version";
            let error = Error::new(ErrorKind::Stype, message).operands(&ins);
            return Err(body.blame(id, error));
        }
        let (op, ins) = (op.clone(), node.ins.clone());
        steps.push(Step { op, node: id as u32, ins, plan, in_place: None, dead: SmallVec::new() });
    }
    Ok(steps)
}

/// Gives every result a place, and notes which results are dead after each step.
fn place(body: &Body, types: &[Type], steps: &mut [Step]) -> (Vec<u32>, usize) {
    let ends = lifetimes(body, steps);
    let mut ending: Vec<SmallVec<[u32; 2]>> = vec![SmallVec::new(); steps.len()];
    for id in (0..body.nodes.len() as u32).rev().filter(|&id| is_result(body, id)) {
        if let Some(dead) = ending.get_mut(ends[id as usize]) {
            dead.push(id);
        }
    }
    let mut places = Places::default();
    let mut place_of = vec![u32::MAX; body.nodes.len()];
    for (step, dead) in steps.iter_mut().zip(ending) {
        let node = step.node as usize;
        step.in_place = in_place(step, &dead, types);
        let given = step.in_place.map(|i| step.ins[i]);
        place_of[node] = match given {
            Some(operand) => place_of[operand as usize],
            None => places.take(&types[node]),
        };
        let free = dead.iter().filter(|&&id| Some(id) != given);
        free.for_each(|&id| places.give(place_of[id as usize]));
        step.dead = dead;
    }
    (place_of, places.len())
}

/// The operand in whose memory the result can be.
fn in_place(step: &Step, dead: &[u32], types: &[Type]) -> Option<usize> {
    let ty = &types[step.node as usize];
    (0..step.ins.len()).find(|&i| {
        let operand = step.ins[i];
        let once = step.ins.iter().filter(|&&id| id == operand).count() == 1;
        let dense = ty.stype == Stype::Default && types[operand as usize] == *ty;
        once && dense && dead.contains(&operand) && step.op.in_place(i)
    })
}

impl Body {
    /// The types of all nodes.
    #[track_caller]
    fn known_types(&self) -> Result<Vec<Type>> {
        let at = Location::caller();
        let known: Option<Vec<Type>> = self.nodes.iter().map(|node| node.ty.known()).collect();
        known.ok_or_else(|| {
            let open = self.variables().filter(|(id, _)| self.nodes[*id].ty.known().is_none());
            let open: Vec<String> =
                open.map(|(id, v)| format!("{:?} is {}", v.name(), self.nodes[id].ty)).collect();
            let message =
                format!("types stay unknown: {}; bind values or give `shape`s", open.join(", "));
            Error::new(ErrorKind::Shape, message).operator("bind").at(at)
        })
    }
}
