//! Parameters as operands: brought up to date before they are read, locked while they are.

use std::ops::Deref;
use std::sync::RwLockReadGuard;

use smallvec::SmallVec;

use super::super::Value;
use super::super::dyn_op::DynOp;
use super::super::memory::recycle;
use super::super::op::Read;
use super::{Needs, Parameter, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::columns::compact;
use crate::kernels::memory::{Arena, Temp};
use crate::tensor::{DenseView, Slice, Stype, Tensor, View, row_len};

/// The parameters among an operator's operands, locked for reading.
pub(crate) struct Lent<'a> {
    guards: SmallVec<[(usize, RwLockReadGuard<'a, Table>); 2]>,
    /// By operand: copies of the rows that are read, of tables whose rows are in no order.
    gathered: SmallVec<[(usize, Tensor); 1]>,
}

impl<'a> Lent<'a> {
    /// Locks each distinct parameter among the operands once, for reading, after what the operator reads
    /// was brought up to date; `result` is the shape of what it computes, `inserting` says of which operands
    /// absent rows are to be stored. A parameter whose values are going to be read must not have changed since
    /// it was recorded.
    pub fn new(
        op: &dyn DynOp,
        operands: &[&'a Value],
        shapes: &[&[usize]],
        result: &[usize],
        inserting: impl Fn(usize) -> bool,
        arena: &mut Arena,
    ) -> Result<Self> {
        let mut lent = Lent { guards: SmallVec::new(), gathered: SmallVec::new() };
        if !operands.iter().any(|operand| matches!(operand, Value::Parameter(..))) {
            return Ok(lent);
        }
        lent.lock(operands)?;
        let reads = |i: usize, parameter: &Parameter| match (op.reads(i), parameter.stype()) {
            // Rows of another length are no view of these.
            (Read::View, Stype::RowSparse) if !same_rows(shapes[i], result) => Read::All,
            (Read::Pattern, Stype::Default) => Read::Shape,
            (read, _) => read,
        };
        if lent.guards.iter().any(|(_, table)| !table.is_plain()) {
            lent.guards.clear();
            arena.during(|| lent.settle(reads, operands, shapes, inserting))?;
        }
        for (i, operand) in operands.iter().enumerate() {
            let Value::Parameter(parameter, recorded) = operand else { continue };
            let is_read = !matches!(reads(i, parameter), Read::Shape | Read::View);
            if is_read && parameter.updates() != *recorded {
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

    /// Brings up to date what the operator reads, then locks; what could not be, as others read it, or is in
    /// no order, is copied.
    fn settle(
        &mut self,
        reads: impl Fn(usize, &Parameter) -> Read,
        operands: &[&'a Value],
        shapes: &[&[usize]],
        inserting: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let mut named: SmallVec<[Named<'_>; 4]> = SmallVec::new();
        for (i, operand) in operands.iter().enumerate() {
            let Value::Parameter(parameter, _) = operand else { continue };
            let (ids, all) = match reads(i, parameter) {
                Read::Shape | Read::View => continue,
                Read::Pattern => (None, Needs::Pattern),
                Read::All => (None, Needs::All),
                Read::RowsOf(j) => {
                    let ids = rows_named_by(operands[j], parameter.stype());
                    (ids.map(|ids| in_rows_of(parameter, shapes[i], ids)), Needs::All)
                }
            };
            let insert = inserting(i);
            let mut own = Named { operand: i, parameter, ids, all, insert, settled: false };
            if own.ids.is_none() {
                parameter.refuse_whole()?;
            }
            own.settled = parameter.settle(own.needs())?;
            named.push(own);
        }
        self.lock(operands)?;
        for own in &named {
            let Some(table) = self.table(own.parameter) else { continue };
            if let Some(copy) = table.copy_for(own.needs(), own.settled, shapes[own.operand]) {
                self.gathered.push((own.operand, copy));
            }
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

    /// Gives memory back, but for that of copies as large as a table.
    pub fn end(self, arena: &mut Arena) {
        let rows = self.gathered.into_iter().filter(|(_, copy)| copy.rows().is_some());
        rows.for_each(|(_, rows)| recycle(rows, arena));
    }
}

/// What is read of an operand that is a parameter.
struct Named<'a> {
    operand: usize,
    parameter: &'a Parameter,
    /// Rows, if these alone are read.
    ids: Option<Ids<'a>>,
    /// What is needed if not.
    all: Needs<'static>,
    insert: bool,
    /// Whether the table itself was settled. An update since then makes what is read stale.
    settled: bool,
}

impl Named<'_> {
    fn needs(&self) -> Needs<'_> {
        match &self.ids {
            Some(ids) => Needs::Rows { ids, insert: self.insert },
            None => self.all,
        }
    }
}

/// Rows that are read.
enum Ids<'a> {
    Held(&'a [u32]),
    Listed(Temp<u32>),
}

impl Deref for Ids<'_> {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Ids::Held(ids) => ids,
            Ids::Listed(ids) => ids,
        }
    }
}

/// Whether a row-sparse value of the one shape is one of the other as it is.
fn same_rows(one: &[usize], other: &[usize]) -> bool {
    one.first() == other.first() && row_len(one) == row_len(other)
}

/// Columns of a csr matrix, or ids, distinct and ascending if the table searches them; anything else names
/// all rows.
fn rows_named_by(value: &Value, table: Stype) -> Option<Ids<'_>> {
    let Value::Tensor(tensor) = value else { return None };
    match tensor.view() {
        View::Csr(csr) => Some(Ids::Held(&csr.pattern.columns().distinct)),
        View::Dense(DenseView { values: Slice::I64(named), .. }) => {
            let mut ids = Temp::with_capacity(named.len());
            // The operator refuses what is no id.
            ids.extend(named.iter().filter_map(|&id| u32::try_from(id).ok()));
            if table == Stype::Default {
                return Some(Ids::Listed(ids));
            }
            let end = ids.iter().max().map_or(0, |&id| id as usize + 1);
            Some(Ids::Listed(compact(&ids, end).0))
        }
        _ => None,
    }
}

/// The parameter's own rows that hold these rows of it in another shape.
fn in_rows_of<'i>(parameter: &Parameter, shape: &[usize], ids: Ids<'i>) -> Ids<'i> {
    let (own, k) = (row_len(parameter.shape()), row_len(shape));
    let rows = parameter.shape().first().copied().unwrap_or(1);
    if own == k {
        return match ids.iter().all(|&id| (id as usize) < rows) {
            true => ids,
            false => {
                Ids::Listed(Temp::collect(ids.iter().copied().filter(|&id| (id as usize) < rows)))
            }
        };
    }
    let parts = |&id: &u32| {
        let first = id as usize * k;
        first / own.max(1)..(first + k).div_ceil(own.max(1)).min(rows)
    };
    let mut own_rows = Temp::collect(ids.iter().flat_map(parts).map(|row| row as u32));
    own_rows.dedup();
    Ids::Listed(own_rows)
}
