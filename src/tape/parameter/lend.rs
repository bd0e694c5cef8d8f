//! Parameters as operands: brought up to date before they are read, locked while they are.

use std::borrow::Cow;
use std::sync::RwLockReadGuard;

use smallvec::SmallVec;

use super::super::Value;
use super::super::dyn_op::DynOp;
use super::super::memory::recycle;
use super::super::op::Read;
use super::Parameter;
use super::table::{Needs, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::columns::compact;
use crate::kernels::memory::Arena;
use crate::tensor::{DenseView, Slice, Stype, Tensor, View, row_len};

/// The parameters among an operator's operands, locked for reading.
pub(crate) struct Lent<'a> {
    guards: SmallVec<[(usize, RwLockReadGuard<'a, Table>); 2]>,
    /// By operand: copies of the rows that are read, of tables whose rows are in no order.
    gathered: SmallVec<[(usize, Tensor); 1]>,
}

impl<'a> Lent<'a> {
    /// Locks each distinct parameter among the operands once, for reading, after what the operator reads
    /// was brought up to date; `inserting` says of which operands absent rows are to be stored. A parameter
    /// whose values are going to be read must not have changed since it was recorded.
    pub fn new(
        op: &dyn DynOp,
        operands: &[&'a Value],
        shapes: &[&[usize]],
        inserting: impl Fn(usize) -> bool,
        arena: &mut Arena,
    ) -> Result<Self> {
        let mut lent = Lent { guards: SmallVec::new(), gathered: SmallVec::new() };
        lent.lock(operands)?;
        if lent.guards.iter().any(|(_, table)| !table.is_plain()) {
            lent.guards.clear();
            arena.during(|| lent.settle(op, operands, shapes, inserting))?;
        }
        for (i, operand) in operands.iter().enumerate() {
            let Value::Parameter(parameter, recorded) = operand else { continue };
            let reads = match op.reads(i) {
                Read::Shape | Read::View => false,
                Read::Pattern => parameter.stype() != Stype::Default,
                Read::RowsOf(_) | Read::All => true,
            };
            if reads && parameter.updates() != *recorded {
                let message = format!(
                    "parameter {:?} was updated after it was recorded; record it again",
                    parameter.name()
                );
                return Err(Error::new(ErrorKind::Stale, message));
            }
        }
        Ok(lent)
    }

    fn lock(&mut self, operands: &[&'a Value]) -> Result<()> {
        for operand in operands {
            let Value::Parameter(parameter, _) = operand else { continue };
            if self.guards.iter().all(|(key, _)| *key != parameter.key()) {
                self.guards.push((parameter.key(), parameter.read()?));
            }
        }
        Ok(())
    }

    /// Brings up to date what the operator reads, then locks.
    fn settle(
        &mut self,
        op: &dyn DynOp,
        operands: &[&'a Value],
        shapes: &[&[usize]],
        inserting: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let mut named: SmallVec<[Option<Cow<'_, [u32]>>; 4]> = SmallVec::new();
        for (i, operand) in operands.iter().enumerate() {
            let Value::Parameter(parameter, _) = operand else {
                named.push(None);
                continue;
            };
            let ids = match op.reads(i) {
                Read::RowsOf(j) => rows_named_by(operands[j], parameter.stype())
                    .map(|ids| in_rows_of(parameter, shapes[i], ids)),
                _ => None,
            };
            let needs = match (op.reads(i), &ids) {
                (Read::Shape | Read::View, _) => None,
                (Read::Pattern, _) if parameter.stype() == Stype::Default => None,
                (Read::Pattern, _) => Some(Needs::Pattern),
                (_, Some(ids)) => Some(Needs::Rows { ids, insert: inserting(i) }),
                (_, None) => Some(Needs::All),
            };
            if let Some(needs) = needs {
                parameter.settle(needs)?;
            }
            named.push(ids);
        }
        self.lock(operands)?;
        for (i, (operand, ids)) in operands.iter().zip(&named).enumerate() {
            let (Value::Parameter(parameter, _), Some(ids)) = (operand, ids) else { continue };
            let Some(table) = self.table(parameter).filter(|table| table.is_scattered()) else {
                continue;
            };
            let rows = table.gathered(ids, shapes[i]);
            self.gathered.push((i, rows));
        }
        Ok(())
    }

    fn table(&self, parameter: &Parameter) -> Option<&Table> {
        let held = self.guards.iter().find(|(key, _)| *key == parameter.key());
        held.map(|(_, guard)| &**guard)
    }

    /// What kernels see of a parameter that is operand `i`, in this shape.
    pub fn view<'s>(&'s self, i: usize, parameter: &Parameter, shape: &'s [usize]) -> View<'s> {
        if let Some((_, rows)) = self.gathered.iter().find(|(operand, _)| *operand == i) {
            return rows.view();
        }
        match self.table(parameter) {
            Some(table) => table.view(shape),
            None => unreachable!("every parameter among the operands is locked"),
        }
    }

    /// Gives memory back.
    pub fn end(self, arena: &mut Arena) {
        self.gathered.into_iter().for_each(|(_, rows)| recycle(rows, arena));
    }
}

/// Columns of a csr matrix, or ids, distinct and ascending if the table searches them; anything else names
/// all rows.
fn rows_named_by(value: &Value, table: Stype) -> Option<Cow<'_, [u32]>> {
    let Value::Tensor(tensor) = value else { return None };
    match tensor.view() {
        View::Csr(csr) => Some(Cow::Borrowed(&csr.pattern.columns().distinct)),
        View::Dense(DenseView { values: Slice::I64(ids), .. }) => {
            // The operator refuses what is no id.
            let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
            if table == Stype::Default {
                return Some(Cow::Owned(ids));
            }
            let end = ids.iter().max().map_or(0, |&id| id as usize + 1);
            Some(Cow::Owned(compact(&ids, end).0.into()))
        }
        _ => None,
    }
}

/// The parameter's own rows that hold these rows of it in another shape.
fn in_rows_of<'i>(parameter: &Parameter, shape: &[usize], ids: Cow<'i, [u32]>) -> Cow<'i, [u32]> {
    let (own, k) = (row_len(parameter.shape()), row_len(shape));
    let rows = parameter.shape().first().copied().unwrap_or(1);
    if own == k {
        return match ids.iter().all(|&id| (id as usize) < rows) {
            true => ids,
            false => ids.iter().copied().filter(|&id| (id as usize) < rows).collect(),
        };
    }
    let parts = |&id: &u32| {
        let first = id as usize * k;
        first / own.max(1)..(first + k).div_ceil(own.max(1)).min(rows)
    };
    let mut own_rows: Vec<u32> = ids.iter().flat_map(parts).map(|row| row as u32).collect();
    own_rows.dedup();
    Cow::Owned(own_rows)
}
