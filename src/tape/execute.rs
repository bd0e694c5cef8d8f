//! From operands to a result: refine shapes, find the table row, run its kernel.

use std::cell::RefCell;
use std::panic::Location;

use smallvec::SmallVec;

use super::dyn_op::{DynOp, OpRef};
use super::fallback::{self, Fallback};
use super::memory::{InPlace, Made, Out, Scratch, recycle};
use super::refine::PartialShape;
use super::structural::CastStorage;
use super::{Tape, Var, trace};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::memory::Arena;
use crate::tensor::construct::check_room;
use crate::tensor::{DType, Shape, Stype, Tensor, Type, View};

/// Operand types and the like, usually few.
pub(crate) type Few<T> = SmallVec<[T; 4]>;

/// Where and how an operator is going to run.
pub(crate) struct Plan {
    pub shape: Shape,
    pub stype: Stype,
    pub dtype: DType,
    pub row: usize,
    /// Operands that must be made dense first, because no row takes them as they are.
    pub densify: Few<usize>,
}

/// Infers the result's type and picks the table row: the one that takes the operands as they are,
/// else the first of those that are reached by making the fewest operands dense.
pub(crate) fn plan(op: &dyn DynOp, ins: &[Type]) -> Result<Plan> {
    if !op.takes(ins.len()) {
        let message = format!("does not take {} operands", ins.len());
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let mut shapes: Few<PartialShape> =
        ins.iter().map(|t| PartialShape::from(&t.shape[..])).collect();
    let mut out = PartialShape::unknown();
    op.refine(&mut shapes, &mut out)?;
    let shape = out.known().ok_or_else(|| {
        Error::new(ErrorKind::Shape, format!("the result's shape stays unknown: {out}"))
    })?;
    let dtypes: Few<DType> = ins.iter().map(|t| t.dtype).collect();
    let dtype = op.dtype(&dtypes)?;
    let mut stypes: Few<Stype> = ins.iter().map(|t| t.stype).collect();
    if let Some((row, stype)) = op.find_row(&stypes) {
        return Ok(Plan { shape, stype, dtype, row, densify: Few::new() });
    }
    let densify = fewest_casts(op, &stypes)
        .ok_or_else(|| Error::new(ErrorKind::Stype, no_row(op, &stypes)))?;
    densify.iter().for_each(|&i| stypes[i] = Stype::Default);
    match op.find_row(&stypes) {
        Some((row, stype)) => Ok(Plan { shape, stype, dtype, row, densify }),
        None => Err(Error::new(ErrorKind::Stype, no_row(op, &stypes))),
    }
}

fn fewest_casts(op: &dyn DynOp, stypes: &[Stype]) -> Option<Few<usize>> {
    let casts = |row: &Few<Stype>| -> Option<Few<usize>> {
        let differ = |&i: &usize| row[i] != stypes[i];
        let needed: Few<usize> = (0..stypes.len()).filter(differ).collect();
        needed.iter().all(|&i| row[i] == Stype::Default).then_some(needed)
    };
    let rows = op.rows(stypes.len());
    rows.iter().filter_map(|(row, _)| casts(row)).min_by_key(|needed| needed.len())
}

fn no_row(op: &dyn DynOp, stypes: &[Stype]) -> String {
    let list = |stypes: &[Stype]| {
        let names: Vec<String> = stypes.iter().map(Stype::to_string).collect();
        format!("({})", names.join(", "))
    };
    let rows: Vec<String> = op.rows(stypes.len()).iter().map(|(row, _)| list(row)).collect();
    format!("no kernel for {}; there are kernels for {}", list(stypes), rows.join(", "))
}

/// Memory that runs need, kept from one to the next.
#[derive(Default)]
pub(crate) struct Workspace {
    pub arena: Arena,
    pub scratch: Scratch,
}

impl Workspace {
    /// Runs the planned row on operands that have its storage types, in recycled memory; what
    /// `reuse` holds is recycled first, or is the result's.
    pub fn run(
        &mut self,
        op: &dyn DynOp,
        plan: &Plan,
        ins: &[View<'_>],
        at: &'static Location<'static>,
        reuse: Reuse,
    ) -> Result<Made> {
        check_room(&plan.shape, plan.stype, plan.dtype)?;
        let own = match reuse {
            Reuse::InPlace(own) => Some(own),
            Reuse::Tensor(dead) => {
                recycle(dead, &mut self.arena);
                None
            }
            Reuse::None => None,
        };
        let Workspace { arena, scratch } = self;
        let made = arena.during(|| {
            let mut out = Out::new((&plan.shape, plan.stype, plan.dtype), ins, own)?;
            op.run(plan.row, plan.dtype, ins, &mut out, scratch)?;
            out.finish()
        })?;
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
    /// That of an operand that dies, and that [`Op::in_place`](super::Op::in_place) allows.
    InPlace(InPlace),
}

/// Adds operator, operands and source line to an error from inside an operator.
pub(crate) fn explain(
    error: Error,
    op: &dyn DynOp,
    ins: &[Type],
    at: &'static Location<'static>,
) -> Error {
    let named = error.operator_name().is_some();
    let error = error.operator(op.label()).at(at);
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
    let types: Few<Type> = operands.iter().map(|t| t.ty()).collect();
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
    types: &[Type],
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
