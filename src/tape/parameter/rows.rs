//! Which rows of a row-sparse table are stored, and where.

use crate::kernels::memory::Temp;
use crate::kernels::merge::positions;
use crate::kernels::spmm::ABSENT;
use crate::tensor::Buffer;

/// Row ids by slot, and the way back.
///
/// Ascending ids are searched; once rows were added between others or removed, a hash table of slots finds them:
/// rows are only ever added at the end, so that no stored row moves.
#[derive(Clone, Debug)]
pub(crate) struct RowIndex {
    ids: Buffer<u32>,
    ascending: bool,
    /// Slot + 1 by hash of the id, 0 for none, linear probing; empty while the ids ascend and nothing
    /// was added between.
    slots: Vec<u32>,
}

impl RowIndex {
    /// Ascending ids.
    pub fn new(ids: Buffer<u32>) -> Self {
        RowIndex { ids, ascending: true, slots: Vec::new() }
    }

    /// Ids by slot, in any order; none if one is there twice.
    pub fn of(ids: Buffer<u32>) -> Option<Self> {
        if ids.is_sorted_by(|a, b| a < b) {
            return Some(RowIndex::new(ids));
        }
        let mut index = RowIndex { ids, ascending: false, slots: Vec::new() };
        index.reserve(0);
        // Of two, the first is found.
        let found = |(id, slot): (&u32, u32)| index.slot(*id) == slot;
        index.ids.iter().zip(0..).all(found).then_some(index)
    }

    /// Ids by slot.
    pub fn ids(&self) -> &Buffer<u32> {
        &self.ids
    }

    /// Whether ids ascend with their slots.
    pub fn is_ascending(&self) -> bool {
        self.ascending
    }

    /// How many rows are stored.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.ids[..]) + size_of_val(&self.slots[..])
    }

    /// Where these rows, ascending, are stored.
    pub fn find(&self, ids: &[u32]) -> Temp<u32> {
        match self.ascending {
            true => positions(ids, &self.ids),
            false => Temp::collect(ids.iter().map(|&id| self.slot(id))),
        }
    }

    /// Where these rows, ascending, are stored, those that are missing at the end.
    pub fn insert(&mut self, ids: &[u32]) -> Temp<u32> {
        let mut at = self.find(ids);
        let missing = at.iter().filter(|&&slot| slot == ABSENT).count();
        if missing == 0 {
            return at;
        }
        let first_missing = at.iter().position(|&slot| slot == ABSENT);
        let beyond = self.ids.last() < first_missing.map(|i| &ids[i]);
        if !(self.ascending && beyond) {
            self.ascending = false;
            self.reserve(self.ids.len() + missing);
        }
        let mut own = std::mem::take(&mut self.ids).into_vec();
        grow(&mut own, missing);
        for (&id, at) in ids.iter().zip(&mut at[..]).filter(|(_, at)| **at == ABSENT) {
            *at = own.len() as u32;
            own.push(id);
            if !self.ascending {
                enter(&mut self.slots, id, *at);
            }
        }
        self.ids = own.into();
        at
    }

    /// Removes a row: the last one takes its slot.
    pub fn swap_remove(&mut self, slot: u32) {
        self.ascending = false;
        self.reserve(0);
        let mut own = std::mem::take(&mut self.ids).into_vec();
        let hole = self.place(&own, own[slot as usize]);
        let moved = self.place(&own, own[own.len() - 1]);
        own.swap_remove(slot as usize);
        self.slots[moved] = slot + 1;
        self.vacate(&own, hole);
        shrink(&mut own);
        self.ids = own.into();
        if self.slots.len() > 8 * self.ids.len().max(16) {
            self.slots = Vec::new();
            self.reserve(0);
        }
    }

    /// Takes over other ids, ascending.
    pub fn replace(&mut self, ids: Buffer<u32>) {
        *self = RowIndex::new(ids);
    }

    fn slot(&self, id: u32) -> u32 {
        let mut at = start(&self.slots, id);
        loop {
            match self.slots[at] {
                0 => return ABSENT,
                slot if self.ids[slot as usize - 1] == id => return slot - 1,
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
    }

    /// Where the hash table names this stored id.
    fn place(&self, ids: &[u32], id: u32) -> usize {
        let mut at = start(&self.slots, id);
        while ids[self.slots[at] as usize - 1] != id {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }

    /// Empties a place, and moves up what was pushed past it.
    fn vacate(&mut self, ids: &[u32], mut hole: usize) {
        let mask = self.slots.len() - 1;
        let mut at = (hole + 1) & mask;
        while self.slots[at] != 0 {
            let home = start(&self.slots, ids_of(ids, self.slots[at]));
            // Whether the hole lies between home and where the entry is.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.slots[hole] = 0;
    }

    /// Room for so many rows, at most two thirds full.
    fn reserve(&mut self, rows: usize) {
        let rows = rows.max(self.ids.len());
        if 3 * rows <= 2 * self.slots.len() {
            return;
        }
        let places = (rows + rows / 2 + 1).next_power_of_two().max(16);
        self.slots = Vec::new();
        self.slots.resize(places, 0);
        for (slot, &id) in self.ids.iter().enumerate() {
            enter(&mut self.slots, id, slot as u32);
        }
    }
}

fn ids_of(ids: &[u32], entry: u32) -> u32 {
    ids[entry as usize - 1]
}

/// Where the search for an id begins: the high bits of a multiplication by 2³²/φ.
#[inline]
fn start(slots: &[u32], id: u32) -> usize {
    let bits = slots.len().trailing_zeros();
    ((id.wrapping_mul(0x9e37_79b1) as u64) >> (32 - bits.min(32))) as usize
}

fn enter(slots: &mut [u32], id: u32, slot: u32) {
    let mut at = start(slots, id);
    while slots[at] != 0 {
        at = (at + 1) & (slots.len() - 1);
    }
    slots[at] = slot + 1;
}

/// Room for `more` elements: doubling while it is small, an eighth more than needed when large, so that the
/// memory follows what is stored.
pub(crate) fn grow<T>(vec: &mut Vec<T>, more: usize) {
    const SMALL: usize = 1 << 20;
    let needed = vec.len() + more;
    if needed > vec.capacity() {
        let spare = if needed * size_of::<T>() < SMALL { needed } else { needed / 8 };
        vec.reserve_exact(more + spare);
    }
}

/// Gives back memory that is no longer needed, seldom enough for its cost.
pub(crate) fn shrink<T>(vec: &mut Vec<T>) {
    if vec.capacity() > 4 * vec.len().max(16) {
        vec.shrink_to(2 * vec.len());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_in_any_order_are_found_unless_one_is_there_twice() {
        let index = RowIndex::of(vec![7, 3, u32::MAX, 0].into()).unwrap();
        assert!(!index.is_ascending());
        assert_eq!(index.find(&[0, 1, 3, 7, u32::MAX])[..], [3, ABSENT, 1, 0, 2]);
        assert!(RowIndex::of(vec![1, 5, 9].into()).unwrap().is_ascending());
        assert!(RowIndex::of(vec![5, 9, 5].into()).is_none());
        assert!(RowIndex::of(vec![5, 5].into()).is_none());
        assert_eq!(RowIndex::of(Vec::new().into()).unwrap().len(), 0);
    }

    proptest! {
        /// Inserted and removed rows are found where a map says they are.
        #[test]
        fn is_a_map(steps in prop::collection::vec((prop::collection::btree_set(0u32..200, 0..12), any::<bool>()), 1..40)) {
            let mut index = RowIndex::new(vec![3, 50].into());
            let mut known: BTreeMap<u32, u32> = BTreeMap::from([(3, 0), (50, 1)]);
            for (ids, insert) in steps {
                let ids: Vec<u32> = ids.into_iter().collect();
                if insert {
                    let at = index.insert(&ids);
                    for (&id, &at) in ids.iter().zip(&at[..]) {
                        prop_assert_eq!(*known.entry(id).or_insert(at), at);
                        prop_assert_eq!(index.ids()[at as usize], id);
                    }
                } else {
                    for id in ids {
                        if known.remove(&id).is_none() {
                            continue;
                        }
                        let slot = index.find(&[id])[0];
                        index.swap_remove(slot);
                        if let Some(&moved) = index.ids().get(slot as usize) {
                            known.insert(moved, slot);
                        }
                    }
                }
                prop_assert_eq!(index.len(), known.len());
                let all: Vec<u32> = (0..200).collect();
                for (id, &at) in all.iter().zip(&index.find(&all)[..]) {
                    prop_assert_eq!(known.get(id).copied().unwrap_or(ABSENT), at);
                }
            }
        }
    }
}
