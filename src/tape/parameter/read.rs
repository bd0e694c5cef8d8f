//! Reading what is not settled: copies that are, while others read the table itself.

use std::borrow::Cow;
use std::sync::PoisonError;

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::state::{Column, Lag, with_columns};
use super::table::{Needs, Table, copied};
use crate::kernels::memory::Temp;
use crate::kernels::spmm::ABSENT;
use crate::tensor::{Buffer, DType, Layout, Real, Tensor, Values};

/// Rows that were read as copies: as nobody wrote them, they are settled in the table before anything is
/// written. So the table does not depend on who else read it at that time.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    rows: FxHashSet<u32>,
    /// Those among them that are to be stored.
    stored: FxHashSet<u32>,
    all: bool,
}

/// Rows that are copied at a time.
const AT_ONCE: usize = 1 << 12;

impl Table {
    /// What an operator may see of these needs in the table's place, if it must not see the table itself:
    /// a copy of this shape, settled, with the rows that are needed. Named rows that `were_settled` are so
    /// still: whatever moves them counts as an update.
    pub fn copy_for(
        &self,
        needs: Needs<'_>,
        were_settled: bool,
        shape: &[usize],
    ) -> Option<Tensor> {
        let named = matches!(needs, Needs::Rows { .. });
        let settled = (named && were_settled) || self.is_settled(needs);
        if !settled {
            self.promise(needs);
        }
        match needs {
            Needs::Rows { ids, .. } if self.rows.is_some() => {
                (!settled || self.is_scattered()).then(|| self.rows_of(ids, shape))
            }
            Needs::Rows { ids, .. } => (!settled).then(|| self.rows_in_place(ids, shape)),
            Needs::Pattern | Needs::All => (!settled).then(|| self.whole(shape)),
        }
    }

    /// These rows, ascending, as a row-sparse tensor of this shape.
    pub fn rows_of(&self, ids: &[u32], shape: &[usize]) -> Tensor {
        let values = match self.values.dtype() {
            DType::F32 => self.gathered::<f32>(ids),
            _ => self.gathered::<f64>(ids),
        };
        Tensor::from_parts(shape.into(), Layout::RowSparse(Temp::copied(ids).into()), values)
    }

    /// All stored rows in the order of their ids; one copy, where they can be read as they are.
    pub fn whole(&self, shape: &[usize]) -> Tensor {
        let settled = self.is_settled(Needs::All);
        match &self.rows {
            None if settled => {
                Tensor::from_parts(shape.into(), Layout::Dense, copied(self.values.as_slice()))
            }
            None => self.rows_in_place(&self.ids(), shape),
            Some(_) => self.rows_of(&self.ids(), shape),
        }
    }

    /// A dense tensor with these rows alone: its other pages come from the system as zeros, untouched.
    fn rows_in_place(&self, ids: &[u32], shape: &[usize]) -> Tensor {
        let values = match self.values.dtype() {
            DType::F32 => self.in_place::<f32>(ids),
            _ => self.in_place::<f64>(ids),
        };
        Tensor::from_parts(shape.into(), Layout::Dense, values)
    }

    fn in_place<T: Real>(&self, ids: &[u32]) -> Values {
        let k = self.row_len();
        let mut values = vec![T::default(); self.values.len()];
        let mut rows = Temp::filled(T::default(), ids.len().min(AT_ONCE) * k);
        for ids in ids.chunks(AT_ONCE) {
            let rows = &mut rows[..ids.len() * k];
            self.gather(ids, rows);
            for (&id, row) in ids.iter().zip(rows.chunks(k.max(1))) {
                values[id as usize * k..][..k].copy_from_slice(row);
            }
        }
        T::erase(values.into())
    }

    fn gathered<T: Real>(&self, ids: &[u32]) -> Values {
        let k = self.row_len();
        let mut values = Temp::filled(T::default(), ids.len() * k);
        for (ids, out) in ids.chunks(AT_ONCE).zip(values.chunks_mut((AT_ONCE * k).max(1))) {
            self.gather(ids, out);
        }
        T::erase(Buffer::from(values))
    }

    /// Writes what these rows are now: stored ones up to date, absent ones as they would be stored.
    fn gather<T: Real>(&self, ids: &[u32], out: &mut [T]) {
        let (slots, k) = (self.slots(ids), self.row_len());
        let table = T::typed_slice(self.values.as_slice()).unwrap_or_default();
        for ((&slot, id), row) in slots.iter().zip(ids).zip(out.chunks_mut(k.max(1))) {
            match (slot, &self.draw) {
                (ABSENT, None) => row.fill(T::default()),
                (ABSENT, Some(draw)) => draw.rows(&self.shape, std::slice::from_ref(id), row),
                (slot, _) => row.copy_from_slice(&table[slot as usize * k..][..k]),
            }
        }
        for state in &self.states {
            if let Some(lag) = &state.lag {
                self.catch_up_copies(lag, &state.columns, &slots, out);
            }
        }
    }

    /// Takes copies of the rows at these slots to now, with copies of their states; absent ones from the
    /// beginning, if they are drawn.
    fn catch_up_copies<T: Real>(&self, lag: &Lag, states: &[Column], slots: &[u32], out: &mut [T]) {
        let (k, now) = (self.row_len(), lag.missed.now());
        let mut at = Temp::collect(slots.iter().map(|&slot| match slot {
            ABSENT => 0,
            slot if self.is_frozen(slot) => now,
            slot => lag.at[slot as usize],
        }));
        let drawn = |&i: &u32| slots[i as usize] == ABSENT && self.draw.is_some();
        let behind = |&i: &u32| slots[i as usize] != ABSENT && at[i as usize] != now;
        let every = 0..slots.len() as u32;
        let moving = Temp::collect(every.clone().filter(|i| drawn(i) || behind(i)));
        if moving.is_empty() {
            return;
        }
        let copied = |column: &Column| {
            let width = column.width;
            let from = T::typed_slice(column.values.as_slice()).unwrap_or_default();
            let mut values = vec![T::default(); slots.len() * width];
            for &i in moving.iter().filter(|i| behind(i)) {
                let slot = slots[i as usize] as usize;
                let own = &mut values[i as usize * width..][..width];
                own.copy_from_slice(&from[slot * width..][..width]);
            }
            Column { width, values: T::erase(values.into()) }
        };
        let mut columns: SmallVec<[Column; 2]> = states.iter().map(copied).collect();
        for i in moving.iter().filter(|i| drawn(i)) {
            with_columns!(out, k, columns, rows => {
                lag.missed.begin(rows.split_at(*i as usize).1.split_at(1).0);
            });
        }
        with_columns!(out, k, columns, rows => lag.missed.catch_up(rows, &moving, &mut at, now));
    }

    /// Promises to settle what is needed before anything is written.
    fn promise(&self, needs: Needs<'_>) {
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        match needs {
            Needs::Pattern => {}
            Needs::All => promised.all = true,
            Needs::Rows { ids, insert } => {
                promised.rows.extend(ids);
                if insert {
                    promised.stored.extend(ids);
                }
            }
        }
    }

    /// Settles what was promised.
    pub fn keep_promises(&mut self) {
        let promised = self.promised.get_mut().unwrap_or_else(PoisonError::into_inner);
        if promised.rows.is_empty() && !promised.all {
            return;
        }
        let Promised { rows, stored, all } = std::mem::take(promised);
        for (ids, insert) in [(stored, true), (rows, false)] {
            let mut ids: Vec<u32> = ids.into_iter().collect();
            ids.sort_unstable();
            self.settle(Needs::Rows { ids: &ids, insert });
        }
        if all {
            self.settle(Needs::All);
        }
    }

    /// Rows by id, ascending.
    pub fn ids(&self) -> Cow<'_, [u32]> {
        match &self.rows {
            None => Cow::Owned((0..self.stored() as u32).collect()),
            Some(rows) if rows.is_ascending() => Cow::Borrowed(rows.ids()),
            Some(rows) => {
                let mut ids = rows.ids().to_vec();
                ids.sort_unstable();
                Cow::Owned(ids)
            }
        }
    }
}
