//! What an executor runs: the operators of a graph in order, for variables of known types, and where
//! each value lives.

use std::panic::Location;

use smallvec::SmallVec;

use super::memory::{Places, is_result, lifetimes};
use super::passes::Purpose;
use super::segments::Segments;
use super::{Body, Graph, Passes};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{OpRef, PartialType, PerOperand, Plan, Read, explain, plan, trace};
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
    /// The steps that run together.
    pub segments: Segments,
    /// Where each node's result lives.
    pub place_of: Vec<u32>,
    /// How many results live at once, at most.
    pub places: usize,
    /// The results that are alive after a run, and make room for others in the next one.
    pub kept: Vec<u32>,
    /// By node: whether the forward pass reads more of it than its shape.
    pub forward_reads: Vec<bool>,
    /// By node: whether all steps that the forward pass reads it with take slices in its place.
    pub lendable: Vec<bool>,
}

/// A graph as it was recorded, which types are inferred with, and as it runs.
pub(super) struct Plans {
    recorded: Body,
    run: Graph,
}

impl Plans {
    /// With passes that know the element types of the recorded graph's variables: those stay, while shapes
    /// may change.
    #[track_caller]
    pub fn new(recorded: &Graph, known: &[(usize, PartialType)], passes: Passes) -> Result<Plans> {
        let recorded = recorded.body().clone();
        let typed = recorded.with_types(known.iter().cloned())?;
        let mut run = recorded.clone();
        for (node, typed) in run.nodes.iter_mut().zip(typed.nodes) {
            node.ty.dtypes = typed.ty.dtypes;
        }
        let run = Graph::from_body(run.optimized(passes, Purpose::Run)?);
        Ok(Plans { recorded, run })
    }

    /// The graph that runs.
    pub fn graph(&self) -> &Graph {
        &self.run
    }

    /// Where a variable of the recorded graph is in the one that runs.
    pub fn place(&self, id: usize) -> Result<usize> {
        self.run.body().find_variable(&self.recorded.nodes[id].name)
    }

    /// A program for variables, of the graph that runs, of these types. Where nothing follows for a
    /// variable, it is of the type that it had before, by node.
    #[track_caller]
    pub fn program(&self, known: &[(usize, PartialType)], before: &[Type]) -> Result<Program> {
        let run = self.run.body();
        let recorded = |id: usize| self.recorded.find_variable(&run.nodes[id].name);
        let known: Vec<(usize, PartialType)> =
            known.iter().map(|(id, ty)| Ok((recorded(*id)?, ty.clone()))).collect::<Result<_>>()?;
        let mut typed = self.recorded.declaring(known.into_iter())?;
        typed.refine_types()?;
        for (id, _) in run.variables().filter(|_| !before.is_empty()) {
            typed.suppose(recorded(id)?, (&before[id]).into());
        }
        typed.choose_dtypes()?;
        let types = typed.variables().map(|(id, _)| typed.nodes[id].ty.clone());
        let own = self.run.body().variables().map(|(id, _)| id);
        Program::new(self.run.body().with_types(own.zip(types))?)
    }
}

/// One operator to run.
pub(super) struct Step {
    pub op: OpRef,
    pub node: u32,
    pub ins: SmallVec<[u32; 4]>,
    pub plan: Plan,
    /// The operand that dies here and whose memory is the result's, if its kernels can do that.
    pub in_place: Option<usize>,
    /// The results that nobody needs after this step and that make room for others; what may be another's memory
    /// comes first.
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
        let stay = staying(&steps, &place_of, places);
        for step in &mut steps {
            step.dead.iter().for_each(|&id| kept[id as usize] = false);
            step.dead.retain(|id| !stay[*id as usize]);
        }
        let makes_room =
            |&id: &u32| kept[id as usize] && is_result(&body, id) && !stay[id as usize];
        let kept = (0..kept.len() as u32).filter(makes_room).collect();
        let segments = Segments::of(&body, &types, &steps, forward);
        let forward_reads = reads(&body, &steps[..forward]);
        let lendable = lendable(&body, &types, &steps[..forward]);
        Ok(Program {
            body,
            types,
            steps,
            forward,
            segments,
            place_of,
            places,
            kept,
            forward_reads,
            lendable,
        })
    }

    /// Says, at log level INFO, what is going to run on which types.
    pub fn log(&self) {
        for step in &self.steps {
            let (node, out) =
                (&self.body.nodes[step.node as usize], &self.types[step.node as usize]);
            let ins = step.ins.iter().map(|&i| &self.types[i as usize]);
            trace::bound(&node.name, &*step.op, ins, out, &node.line);
        }
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

/// What these steps read as their first operand, csr beside dense ones, with kernels that take slices; and no other
/// step.
fn lendable(body: &Body, types: &[Type], steps: &[Step]) -> Vec<bool> {
    let dense = |id: u32| types[id as usize].stype == Stype::Default;
    let mut lendable: Vec<bool> = types.iter().map(|ty| ty.stype == Stype::Csr).collect();
    let mut read = vec![false; types.len()];
    for step in steps {
        let all_dense = step.ins.iter().skip(1).chain([&step.node]).all(|&id| dense(id));
        let takes = all_dense && step.op.takes_slices(types[step.node as usize].dtype);
        for (i, &id) in step.ins.iter().enumerate() {
            read[id as usize] = true;
            lendable[id as usize] &= takes && i == 0;
        }
    }
    body.outputs.iter().for_each(|&id| read[id as usize] = false);
    lendable.iter().zip(read).map(|(lendable, read)| lendable & read).collect()
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
    let mut results: Vec<u32> = steps.iter().map(|step| step.node).collect();
    results.sort_unstable();
    for id in results.into_iter().rev() {
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

/// By node: whether a result stays where it is until the next run writes over it. It has its place for itself, and
/// is never another value.
fn staying(steps: &[Step], place_of: &[u32], places: usize) -> Vec<bool> {
    let mut living = vec![0; places];
    steps.iter().for_each(|step| living[place_of[step.node as usize] as usize] += 1);
    let mut stay = vec![false; place_of.len()];
    for step in steps {
        let own = (0..step.ins.len()).all(|i| !step.op.may_alias(i));
        stay[step.node as usize] = own && living[place_of[step.node as usize] as usize] == 1;
    }
    stay
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
    /// All that follows for variables of these types, and types of elements where they stay open.
    #[track_caller]
    fn with_types(&self, known: impl Iterator<Item = (usize, PartialType)>) -> Result<Body> {
        let mut body = self.declaring(known)?;
        body.choose_dtypes()?;
        Ok(body)
    }

    /// Before anything is inferred, for variables of these types.
    #[track_caller]
    fn declaring(&self, known: impl Iterator<Item = (usize, PartialType)>) -> Result<Body> {
        let mut body = self.clone();
        body.forget_shapes();
        for (id, ty) in known {
            body.learn(id, &ty)?;
        }
        Ok(body)
    }

    /// Takes a variable of unknown type for one of this type, if it may be.
    fn suppose(&mut self, id: usize, mut ty: PartialType) {
        let mut own = self.nodes[id].ty.clone();
        if own.known().is_none() && own.unify(&mut ty).is_ok() {
            let mut supposed = self.clone();
            supposed.nodes[id].ty = own;
            if supposed.refine_types().is_ok() {
                *self = supposed;
            }
        }
    }

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
