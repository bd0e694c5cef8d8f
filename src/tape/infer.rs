//! Inference: which table row runs, what comes out, and what follows for the operands.

use smallvec::SmallVec;

use super::dyn_op::DynOp;
use super::partial::{DTypes, ORDER, PartialType};
use super::refine::PartialShape;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Stype};

/// Operand types and the like, usually few.
pub(crate) type Few<T> = SmallVec<[T; 4]>;

/// The table row that an operator runs on operands of some storage types.
pub(crate) struct Row {
    pub index: usize,
    /// The result's storage type.
    pub out: Stype,
    /// Operands that must be made dense first, because no row takes them as they are.
    pub densify: Few<usize>,
}

/// Picks the table row: the one that takes the operands as they are, else the first of those that are
/// reached by making the fewest operands dense. By storage types only, so that eager and symbolic
/// recordings agree.
pub(crate) fn choose_row(op: &dyn DynOp, stypes: impl Iterator<Item = Stype>) -> Result<Row> {
    let mut stypes: Few<Stype> = stypes.collect();
    if let Some((index, out)) = op.find_row(&stypes) {
        return Ok(Row { index, out, densify: Few::new() });
    }
    let none = || Error::new(ErrorKind::Stype, no_row(op, &stypes));
    let densify = fewest_casts(op, &stypes).ok_or_else(none)?;
    densify.iter().for_each(|&i| stypes[i] = Stype::Default);
    match op.find_row(&stypes) {
        Some((index, out)) => Ok(Row { index, out, densify }),
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

/// Refines shapes and element types of an operator's operands and result: facts flow both ways.
pub(crate) fn refine(op: &dyn DynOp, ins: &mut [PartialType], out: &mut PartialType) -> Result<()> {
    if !op.takes(ins.len()) {
        let message = format!("does not take {} operands", ins.len());
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let mut shapes: Few<PartialShape> =
        ins.iter_mut().map(|ty| std::mem::take(&mut ty.shape)).collect();
    let refined = op.refine(&mut shapes, &mut out.shape);
    ins.iter_mut().zip(shapes).for_each(|(ty, shape)| ty.shape = shape);
    refined?;
    refine_dtypes(op, ins, out)
}

/// Operands of unknown element type of which every combination is tried; of more, those in which they
/// all have the same.
const TRIED: usize = 4;

/// Keeps the element types with which the operator runs. The rule of an operator says what comes out
/// for given operands; tried on all candidates, it says what the operands can be.
fn refine_dtypes(op: &dyn DynOp, ins: &mut [PartialType], out: &mut PartialType) -> Result<()> {
    let mut dtypes: Few<DType> = ins.iter().filter_map(|ty| ty.dtypes.iter().next()).collect();
    let open: Few<usize> = (0..ins.len()).filter(|&i| ins[i].dtypes.known().is_none()).collect();
    if open.is_empty() {
        out.dtypes = out.dtypes.and(op.dtype(&dtypes)?.into());
        return contradiction(out);
    }
    let (mut possible, mut results) = (Few::from_elem(DTypes::NONE, ins.len()), DTypes::NONE);
    let mut refused = None;
    for choice in 0..ORDER.len().pow(open.len().min(TRIED) as u32) {
        for (k, &i) in open.iter().enumerate() {
            let digit =
                if open.len() > TRIED { choice } else { choice / ORDER.len().pow(k as u32) };
            dtypes[i] = ORDER[digit % ORDER.len()];
        }
        if open.iter().any(|&i| !ins[i].dtypes.contains(dtypes[i])) {
            continue;
        }
        match op.dtype(&dtypes) {
            Ok(dtype) if out.dtypes.contains(dtype) => {
                results = results.or(dtype.into());
                open.iter().for_each(|&i| possible[i] = possible[i].or(dtypes[i].into()));
            }
            Ok(_) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    if results.is_empty()
        && let Some(error) = refused
    {
        return Err(error);
    }
    open.iter().for_each(|&i| ins[i].dtypes = possible[i]);
    out.dtypes = results;
    contradiction(out)
}

fn contradiction(out: &PartialType) -> Result<()> {
    match out.dtypes.is_empty() {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::DType, "gives another element type than is asked for")),
    }
}

/// An operator, its operands and its result among a list of types.
pub(crate) struct Step<'a> {
    pub op: &'a dyn DynOp,
    pub ins: &'a [u32],
    pub out: usize,
}

/// Refines the types until nothing more follows. On a contradiction, says at which step.
pub(crate) fn refine_all<'a, S>(
    types: &mut [PartialType],
    steps: impl Fn() -> S,
) -> Result<(), (usize, Error)>
where
    S: DoubleEndedIterator<Item = Step<'a>>,
{
    let mut changed = true;
    while changed {
        changed = false;
        // What operands say reaches results in the first sweep; what results say reaches operands in
        // the second.
        for step in steps().chain(steps().rev()) {
            changed |= refine_step(types, &step).map_err(|error| (step.out, error))?;
        }
    }
    Ok(())
}

/// Refines the types around one step; whether anything new was learnt.
fn refine_step(types: &mut [PartialType], step: &Step<'_>) -> Result<bool> {
    let mut ins: Few<PartialType> = step.ins.iter().map(|&i| types[i as usize].clone()).collect();
    let mut out = types[step.out].clone();
    refine(step.op, &mut ins, &mut out)?;
    let mut changed = types[step.out] != out;
    types[step.out] = out;
    for (&i, mut ty) in step.ins.iter().zip(ins) {
        let own = &mut types[i as usize];
        let before = own.clone();
        // Unified, not replaced: an operand may be given twice.
        own.unify(&mut ty)?;
        changed |= *own != before;
    }
    Ok(changed)
}
