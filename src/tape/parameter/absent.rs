//! Rows whose weights became zero are not stored; what an optimizer keeps of them is.

use std::ops::Range;

use super::rows::{RowIndex, grow};
use super::state::{Column, State};
use super::table::{Table, edit, picked, swap_remove};
use crate::kernels::memory::Temp;
use crate::kernels::spmm::ABSENT;
use crate::tensor::{Buffer, Real, Values};

impl Table {
    /// Removes those of the rows at these slots, or of all, whose weights are all zero after an update and
    /// whose first states are within a bound, by which weights follow from them as zeros; if absent rows are zero.
    pub fn drop_zero_rows<T: Real>(
        &mut self,
        state: usize,
        bound: T,
        slots: Option<&[u32]>,
        update: u64,
    ) {
        let Some(rows) = self.rows.as_ref().filter(|_| self.draw.is_none()) else { return };
        let (k, w) = (self.row_len(), T::typed_slice(self.values.as_slice()).unwrap_or_default());
        let first = self.states[state].columns.first().map(|column| column.values.as_slice());
        let z = first.and_then(T::typed_slice).unwrap_or_default();
        let is_zero = |&slot: &u32| {
            let row = slot as usize * k;
            slot != ABSENT
                && w[row..][..k].iter().all(|w| w.is_zero())
                && z[row..][..k].iter().all(|z| z.abs() <= bound)
                && !self.is_kept_by_another::<T>(state, slot as usize)
        };
        let mut zero: Vec<u32> = match slots {
            Some(slots) => slots.iter().copied().filter(is_zero).collect(),
            None => (0..rows.len() as u32).filter(is_zero).collect(),
        };
        if zero.is_empty() {
            return;
        }
        zero.sort_unstable_by_key(|&slot| rows.ids()[slot as usize]);
        let ids = Temp::collect(zero.iter().map(|&slot| rows.ids()[slot as usize]));
        self.set_aside::<T>(state, &zero, &ids);
        if let Some(changes) = &mut self.changes {
            changes.removed(ids.iter().copied(), update);
        }
        zero.sort_unstable();
        self.remove::<T>(&zero);
    }

    /// Whether another optimizer keeps anything but zeros of the row at this slot: it will move, or its steps
    /// depend on what was.
    fn is_kept_by_another<T: Real>(&self, state: usize, slot: usize) -> bool {
        let own = self.states[state].owner.as_ptr();
        let other =
            |s: &&State| s.rows.is_none() && s.owner.as_ptr() != own && s.owner.strong_count() > 0;
        self.states.iter().filter(other).flat_map(|state| &state.columns).any(|column| {
            let values = T::typed_slice(column.values.as_slice()).unwrap_or_default();
            !values[slot * column.width..][..column.width].iter().all(|x| x.is_zero())
        })
    }

    /// Copies an optimizer's state of these rows, ids ascending, to its rows whose weights are absent.
    fn set_aside<T: Real>(&mut self, state: usize, slots: &[u32], ids: &[u32]) {
        let aside = self.aside(state).unwrap_or_else(|| {
            let own = &self.states[state];
            let empty = |c: &Column| Column { width: c.width, values: T::erase(Buffer::default()) };
            let (owner, columns) = (own.owner.clone(), own.columns.iter().map(empty).collect());
            let rows = Some(RowIndex::new(Buffer::default()));
            self.states.push(State { owner, columns, rows, lag: None });
            self.states.len() - 1
        });
        let Ok([own, aside]) = self.states.get_disjoint_mut([state, aside]) else { return };
        for (from, to) in own.columns.iter().zip(&mut aside.columns) {
            let (k, from) =
                (from.width, T::typed_slice(from.values.as_slice()).unwrap_or_default());
            edit::<T>(&mut to.values, |to| {
                grow(to, slots.len() * k);
                slots.iter().for_each(|&s| to.extend_from_slice(&from[s as usize * k..][..k]));
            });
        }
        if let Some(rows) = &mut aside.rows {
            rows.insert(ids);
        }
    }

    /// Brings back what optimizers keep of the rows that were just stored in these slots.
    pub(super) fn bring_back<T: Real>(&mut self, new: Range<usize>) {
        let Some(rows) = &self.rows else { return };
        let ids = &rows.ids()[new.clone()];
        for own in 0..self.states.len() {
            let Some(aside) = self.aside(own) else { continue };
            let Ok([own, aside]) = self.states.get_disjoint_mut([own, aside]) else { continue };
            let Some(mut found) = aside.rows.as_ref().map(|rows| rows.find(ids)) else { continue };
            for (from, to) in aside.columns.iter().zip(&mut own.columns) {
                let (k, from) = (from.width, T::typed_slice(from.values.as_slice()));
                let (from, to) = (from.unwrap_or_default(), T::unique_slice(&mut to.values));
                for (&slot, to) in found.iter().zip(to[new.start * k..].chunks_mut(k.max(1))) {
                    if slot != ABSENT {
                        to.copy_from_slice(&from[slot as usize * k..][..k]);
                    }
                }
            }
            found.retain(|&slot| slot != ABSENT);
            found.sort_unstable();
            aside.remove::<T>(&found);
        }
    }

    /// Where the rows without weights are of the optimizer whose state this is.
    pub(super) fn aside(&self, state: usize) -> Option<usize> {
        let owner = Some(&self.states[state]).filter(|own| own.rows.is_none())?.owner.as_ptr();
        self.states.iter().position(|s| s.owner.as_ptr() == owner && s.rows.is_some())
    }

    /// Removes the rows at these slots, ascending; the last ones take their places.
    fn remove<T: Real>(&mut self, slots: &[u32]) {
        let k = self.row_len();
        let Some(rows) = &mut self.rows else { return };
        slots.iter().rev().for_each(|&slot| rows.swap_remove(slot));
        edit::<T>(&mut self.values, |w| swap_remove(w, k, slots));
        let beside = self.states.iter_mut().filter(|state| state.rows.is_none());
        beside.for_each(|state| state.remove::<T>(slots));
        if let Some(changes) = &mut self.changes {
            changes.swap_remove(slots);
        }
    }
}

/// A column of an optimizer's state with that of rows whose weights are absent, in the order of ids.
pub(super) fn joined<T: Real>(
    (rows, column): (&RowIndex, &Column),
    (other_rows, other): (&RowIndex, &Column),
) -> (Buffer<u32>, Values) {
    let mut order: Vec<(u32, u32)> =
        rows.ids().iter().chain(&other_rows.ids()[..]).copied().zip(0..).collect();
    order.sort_unstable();
    let [own, other] =
        [column, other].map(|c| T::typed_slice(c.values.as_slice()).unwrap_or_default());
    let (ids, slots): (Vec<u32>, Vec<u32>) = order.into_iter().unzip();
    (ids.into(), T::erase(picked(&[own, other].concat(), column.width, &slots).into()))
}
