//! From operands to a result: refine shapes, find the table row, run its kernel.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::time::Instant;

use super::dyn_op::{DynOp, OpRef};
use super::fallback::{self, Fallback};
use super::infer::{self, Few, choose_row};
use super::memory::{InPlace, Made, Out, Scratch, recycle, recycle_layout};
use super::partial::PartialType;
use super::profile::Profile;
use super::structural::CastStorage;
use super::{Tape, Var, trace};
use crate::error::{Error, ErrorKind, Line, Result};
use crate::kernels::memory::Arena;
use crate::tensor::construct::check_room;
use crate::tensor::{DType, Shape, Stype, Tensor, Values, View};

/// Where and how an operator is going to run.
pub(crate) struct Plan {
    pub shape: Shape,
    pub stype: Stype,
    pub dtype: DType,
    pub row: usize,
    /// Operands that must be made dense first, because no row takes them as they are.
    pub densify: Few<usize>,
}

/// Infers the result's type and picks the table row.
pub(crate) fn plan(op: &dyn DynOp, ins: &[PartialType]) -> Result<Plan> {
    let (mut refined, mut out) = (Few::from(ins), PartialType::unknown());
    infer::refine(op, &mut refined, &mut out)?;
    let unknown = |what: &str| {
        Error::new(ErrorKind::Shape, format!("the result's {what} stays unknown: {out}"))
    };
    let shape = out.shape.known().ok_or_else(|| unknown("shape"))?;
    let dtype = out.dtypes.known().ok_or_else(|| unknown("element type"))?;
    let row = choose_row(op, ins.iter().map(|ty| ty.stype))?;
    Ok(Plan { shape, stype: row.out, dtype, row: row.index, densify: row.densify })
}

/// Memory that runs need, kept from one to the next.
#[derive(Default)]
pub(crate) struct Workspace {
    pub arena: Arena,
    pub scratch: Scratch,
    /// While it is on: what ran.
    pub(super) profile: Option<Profile>,
}

impl Workspace {
    /// Whether someone looks at the operators that run.
    pub fn is_watched(&self) -> bool {
        self.profile.is_some() || trace::is_on()
    }

    /// Takes back the memory of a dead tensor, as far as nobody shares it.
    pub fn recycle(&mut self, dead: Tensor) {
        recycle(dead, &mut self.arena);
    }

    /// Runs the planned row on operands that have its storage types, in recycled memory; what
    /// `reuse` holds is recycled first, or is the result's.
    pub fn run(
        &mut self,
        op: &dyn DynOp,
        plan: &Plan,
        ins: &[View<'_>],
        at: impl fmt::Display,
        reuse: Reuse,
    ) -> Result<Made> {
        check_room(&plan.shape, plan.stype, plan.dtype)?;
        let (own, spare) = match reuse {
            Reuse::InPlace(own) => (Some(own), None),
            Reuse::Tensor(dead) => (None, Some(recycle_layout(dead, &mut self.arena))),
            Reuse::Values(dead) => (None, Some(dead)),
            Reuse::None => (None, None),
        };
        let Workspace { arena, scratch, profile } = self;
        let began = profile.is_some().then(Instant::now);
        let made = arena.during(|| {
            let mut out = Out::new((&plan.shape, plan.stype, plan.dtype), ins, own, spare)?;
            op.run(plan.row, plan.dtype, ins, &mut out, scratch)?;
            out.finish()
        })?;
        if let (Some(profile), Some(began)) = (profile, began) {
            profile.count(op, plan, ins, &made, began);
        }
        if let Made::Alias(i) = made
            && !op.may_alias(i)
        {
            let message = format!("the kernel aliases operand {i} without saying so");
            return Err(Error::new(ErrorKind::State, message));
        }
        trace::executed(op, ins, plan, at);
        Ok(made)
    }
}

/// Memory to be used for a result.
pub(crate) enum Reuse {
    /// What waits in the arena.
    None,
    /// A tensor that is dead, such as an earlier result, as far as nobody shares it.
    Tensor(Tensor),
    /// The values of such a tensor.
    Values(Values),
    /// That of an operand that dies, and that [`Op::in_place`](super::Op::in_place) allows.
    InPlace(InPlace),
}

/// Adds operator, operands and source line to an error from inside an operator.
pub(crate) fn explain(
    error: Error,
    op: &dyn DynOp,
    ins: &[PartialType],
    at: impl Into<Line>,
) -> Error {
    let named = error.operator_name().is_some();
    let error = error.operator(op.label()).at_line(at.into());
    if named { error } else { error.operands(ins) }
}

thread_local! {
    static UNRECORDED: RefCell<Workspace> = RefCell::default();
}

/// Runs an operator on plain tensors, unrecorded. Storage fallbacks warn, unless
/// [`Fallback::during`] says otherwise.
///
/// # Errors
/// What the operator refuses, located at the caller.
#[track_caller]
pub fn evaluate(op: impl Into<OpRef>, operands: &[&Tensor]) -> Result<Tensor> {
    let (op, at) = (op.into(), Location::caller());
    let types: Few<PartialType> = operands.iter().map(|t| t.ty().into()).collect();
    evaluate_at(&*op, operands, &types, at).map_err(|e| explain(e, &*op, &types, at))
}

/// Runs a composition of operators on plain tensors, unrecorded.
#[track_caller]
pub(crate) fn compose<const N: usize>(
    operands: [&Tensor; N],
    work: impl for<'t> FnOnce([Var<'t>; N]) -> Var<'t>,
) -> Result<Tensor> {
    let tape = unrecorded();
    let leaves = operands.map(|x| tape.constant(x.clone()));
    tape.at_line(Location::caller(), || work(leaves)).value()
}

/// [`compose`] for any number of operands.
#[track_caller]
pub(crate) fn compose_all(
    operands: &[&Tensor],
    work: impl for<'t> FnOnce(&'t Tape, &[Var<'t>]) -> Var<'t>,
) -> Result<Tensor> {
    let tape = unrecorded();
    let leaves: Vec<Var<'_>> = operands.iter().map(|&x| tape.constant(x.clone())).collect();
    tape.at_line(Location::caller(), || work(&tape, &leaves)).value()
}

/// A tape for what only looks recorded.
fn unrecorded() -> Tape {
    let tape = Tape::new();
    tape.set_fallback(Fallback::unrecorded());
    tape
}

fn evaluate_at(
    op: &dyn DynOp,
    operands: &[&Tensor],
    types: &[PartialType],
    at: &'static Location<'static>,
) -> Result<Tensor> {
    let plan = plan(op, types)?;
    let mut owned: Few<Tensor> = operands.iter().map(|&t| t.clone()).collect();
    for &i in &plan.densify {
        fallback::report(Fallback::unrecorded(), op, types, i, at)?;
        let dense = CastStorage::to(Stype::Default);
        owned[i] = evaluate_at(&dense, &[&owned[i].clone()], &types[i..=i], at)?;
    }
    let views: Few<View<'_>> = owned.iter().map(Tensor::view).collect();
    // Taken, not borrowed: a kernel may wait for other threads' work, and run some meanwhile.
    let mut workspace = UNRECORDED.take();
    let made = workspace.run(op, &plan, &views, at, Reuse::None);
    UNRECORDED.set(workspace);
    Ok(match made? {
        Made::Value(layout, values) => Tensor::from_parts(plan.shape, layout, values),
        Made::Alias(i) => owned[i].in_shape(plan.shape),
    })
}
