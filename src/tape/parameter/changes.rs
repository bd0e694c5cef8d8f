//! Which update changed a row last.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::rows::grow;
use super::table::{picked, swap_remove};

/// The last update of each row since tracking began.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The update that tracking began after.
    pub since: u64,
    /// By slot: the last update that touched this row.
    touched: Vec<u64>,
    /// The last update that touched every row.
    touched_all: u64,
    /// The last update that moved rows which it did not touch.
    moved_all: u64,
    /// When rows were removed, by their ids.
    removed: FxHashMap<u32, u64>,
}

/// [`Changes`] in a file, but for the numbers of rows, which are tensors there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    since: u64,
    touched_all: u64,
    moved_all: u64,
}

impl Changes {
    /// For a file, with the updates by slot, and ids and updates of removed rows in pairs.
    pub(super) fn record(&self) -> (Record, &[i64], Vec<i64>) {
        let Changes { since, touched_all, moved_all, .. } = *self;
        let mut removed: Vec<_> =
            self.removed.iter().map(|(&id, &at)| [id as i64, at as i64]).collect();
        removed.sort_unstable();
        let record = Record { since, touched_all, moved_all };
        (record, bytemuck::cast_slice(&self.touched), removed.into_flattened())
    }

    /// From a file; none if the numbers do not fit so many rows and updates.
    pub(super) fn restored(
        record: &Record,
        touched: &[i64],
        removed: &[i64],
        [stored, end]: [usize; 2],
        updates: u64,
    ) -> Option<Changes> {
        let update = |&at: &i64| u64::try_from(at).ok().filter(|&at| at <= updates);
        let touched: Vec<u64> = touched.iter().map(update).collect::<Option<_>>()?;
        let (pairs, rest) = removed.as_chunks();
        let pair = |[id, at]: &[i64; 2]| {
            let id = u32::try_from(*id).ok().filter(|&id| (id as usize) < end)?;
            Some((id, update(at)?))
        };
        let removed: FxHashMap<u32, u64> = pairs.iter().map(pair).collect::<Option<_>>()?;
        let Record { since, touched_all, moved_all } = *record;
        let fits = touched.len() == stored && rest.is_empty();
        let known = since.max(touched_all).max(moved_all) <= updates;
        (fits && known).then_some(Changes { since, touched, touched_all, moved_all, removed })
    }

    /// Of so many rows, from now on.
    pub fn new(rows: usize, since: u64) -> Changes {
        let (touched, removed) = (vec![0; rows], FxHashMap::default());
        Changes { since, touched, touched_all: 0, moved_all: 0, removed }
    }

    /// Rows came into being at the end.
    pub fn insert(&mut self, ids: &[u32]) {
        grow(&mut self.touched, ids.len());
        let again = ids.iter().map(|id| self.removed.remove(id).unwrap_or(0));
        self.touched.extend(again);
    }

    /// An update touched the rows at these slots; absent ones are left out.
    pub fn touched(&mut self, slots: &[u32], update: u64) {
        for &slot in slots {
            if let Some(touched) = self.touched.get_mut(slot as usize) {
                *touched = update;
            }
        }
    }

    /// An update touched every row.
    pub fn touched_all(&mut self, update: u64) {
        self.touched_all = update;
    }

    /// An update moved rows that it did not touch.
    pub fn moved_all(&mut self, update: u64) {
        self.moved_all = update;
    }

    /// An update removed rows; they are still there.
    pub fn removed(&mut self, ids: impl IntoIterator<Item = u32>, update: u64) {
        self.removed.extend(ids.into_iter().map(|id| (id, update)));
    }

    /// The rows at these slots are kept, in this order.
    pub fn keep(&mut self, order: &[u32]) {
        self.touched = picked(&self.touched, 1, order);
    }

    /// The rows at these slots, ascending, are gone; the last ones take their places.
    pub fn swap_remove(&mut self, slots: &[u32]) {
        swap_remove(&mut self.touched, 1, slots);
    }

    /// Whether the row at this slot was touched after an update.
    pub fn is_touched(&self, slot: u32, after: u64) -> bool {
        self.touched[slot as usize].max(self.touched_all) > after
    }

    /// Whether its values may have changed.
    pub fn is_changed(&self, slot: u32, after: u64) -> bool {
        self.moved_all > after || self.is_touched(slot, after)
    }

    /// Whether absent rows may have moved.
    pub fn absent_moved(&self, after: u64) -> bool {
        self.moved_all > after
    }

    /// The rows that were removed after an update and are absent.
    pub fn removed_after(&self, after: u64) -> impl Iterator<Item = u32> {
        self.removed.iter().filter(move |&(_, &update)| update > after).map(|(&id, _)| id)
    }
}
