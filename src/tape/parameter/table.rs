//! The memory of a parameter: uniquely owned, read by views, written in place.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::super::init::Init;
use super::rows::{RowIndex, grow};
use super::state::{Column, Lag, State};
use crate::kernels::memory::Temp;
use crate::kernels::merge::union_rows;
use crate::kernels::spmm::ABSENT;
use crate::kernels::update::Rows;
use crate::kernels::update::missed::Missed;
use crate::tensor::dtype::each_dtype;
use crate::tensor::{
    Buffer, DType, DenseView, Element, Layout, Real, RowSparseView, Shape, Slice, Tensor, Values,
    View, row_len,
};

/// A parameter's own memory, and what optimizers keep beside it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) shape: Shape,
    /// The stored rows of a row-sparse table; a dense one has row r in slot r.
    pub(super) rows: Option<RowIndex>,
    pub(super) values: Values,
    /// What absent rows are, if not zero.
    pub(super) draw: Option<Draw>,
    pub(super) states: Vec<State>,
    /// Ids of rows that no optimizer moves, ascending.
    pub(super) frozen: Vec<u32>,
    /// By slot, if it is tracked: the update that changed a row last.
    pub(super) changed: Option<Vec<u64>>,
}

/// Absent rows are drawn when they are first needed: what they are follows from the seed and their id.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draw {
    pub init: Init,
    pub seed: u64,
}

/// What an operator is about to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs<'a> {
    /// The ids of stored rows.
    Pattern,
    /// These rows, ascending; whether absent ones are to be stored.
    Rows { ids: &'a [u32], insert: bool },
    /// Everything.
    All,
}

/// Runs the same code on the weights and the columns of a state, of which there are at most two.
macro_rules! with_columns {
    ($w:expr, $k:expr, $columns:expr, $rows:ident => $body:expr) => {
        match &mut $columns[..] {
            [] => {
                let $rows = Rows { w: $w, s: [], k: $k, widths: [] };
                $body
            }
            [one] => {
                let (s, widths) = ([T::unique_slice(&mut one.values)], [one.width]);
                let $rows = Rows { w: $w, s, k: $k, widths };
                $body
            }
            [one, two, ..] => {
                let widths = [one.width, two.width];
                let s = [T::unique_slice(&mut one.values), T::unique_slice(&mut two.values)];
                let $rows = Rows { w: $w, s, k: $k, widths };
                $body
            }
        }
    };
}

impl Table {
    pub fn new(shape: Shape, layout: Layout, values: Values) -> Self {
        let rows = match layout {
            Layout::RowSparse(rows) => Some(RowIndex::new(rows)),
            _ => None,
        };
        let (draw, states, frozen, changed) = (None, Vec::new(), Vec::new(), None);
        Table { shape, rows, values: unshared(values), draw, states, frozen, changed }
    }

    /// Elements of a row.
    pub fn row_len(&self) -> usize {
        row_len(&self.shape)
    }

    /// How many rows are stored.
    pub fn stored(&self) -> usize {
        match &self.rows {
            Some(rows) => rows.len(),
            None => self.shape.first().copied().unwrap_or(1),
        }
    }

    /// A view in another shape with the same rows (or, dense, the same size). Of a row-sparse table only
    /// while its ids ascend.
    pub fn view<'a>(&'a self, shape: &'a [usize]) -> View<'a> {
        let values = self.values.as_slice();
        match &self.rows {
            None => View::Dense(DenseView { shape, values }),
            Some(rows) => View::RowSparse(RowSparseView { shape, rows: rows.ids(), values }),
        }
    }

    /// Bytes of values and row ids.
    pub fn bytes(&self) -> usize {
        let ids = self.rows.as_ref().map_or(0, RowIndex::bytes);
        ids + self.values.len() * self.values.dtype().size()
    }

    /// A copy as a tensor, of a table that is settled.
    pub fn snapshot(&self) -> Tensor {
        let layout = match &self.rows {
            None => Layout::Dense,
            Some(rows) => Layout::RowSparse(rows.ids().clone()),
        };
        Tensor::from_parts(self.shape.clone(), layout, copied(self.values.as_slice()))
    }

    /// Whether every row can be read as it is, in order, and absent ones are zero.
    pub fn is_plain(&self) -> bool {
        !self.is_scattered() && self.states.iter().all(|state| state.lag.is_none())
    }

    /// Whether operators that name rows see copies of them: stored rows are in no order, or absent ones drawn.
    pub fn is_scattered(&self) -> bool {
        self.draw.is_some() || !self.is_ascending()
    }

    /// Whether what is needed can be read as it is.
    pub fn is_settled(&self, needs: Needs<'_>) -> bool {
        match needs {
            Needs::Pattern => self.is_ascending(),
            Needs::All => {
                self.is_ascending()
                    && self.lags().all(|lag| lag.at.iter().all(|&at| at == lag.missed.now()))
            }
            Needs::Rows { ids, insert } => {
                let slots = self.slots(ids);
                let missing = insert && self.draw.is_some() && slots.contains(&ABSENT);
                let current = |lag: &Lag| {
                    let at = |&&slot: &&u32| slot != ABSENT;
                    slots.iter().filter(at).all(|&s| lag.at[s as usize] == lag.missed.now())
                };
                !missing && self.lags().all(current)
            }
        }
    }

    fn lags(&self) -> impl Iterator<Item = &Lag> {
        self.states.iter().filter_map(|state| state.lag.as_ref())
    }

    /// Makes what is needed readable: rows up to date, drawn ones stored, ids in order.
    pub fn settle(&mut self, needs: Needs<'_>) {
        match self.values.dtype() {
            DType::F32 => self.settle_as::<f32>(needs),
            _ => self.settle_as::<f64>(needs),
        }
    }

    fn settle_as<T: Real>(&mut self, needs: Needs<'_>) {
        match needs {
            Needs::Pattern => self.sort(),
            Needs::All => {
                self.catch_up_all::<T>();
                self.sort();
            }
            Needs::Rows { ids, insert } => {
                let slots = match insert && self.draw.is_some() {
                    true => self.insert::<T>(ids),
                    false => self.slots(ids),
                };
                self.catch_up::<T>(&slots);
            }
        }
    }

    /// Where rows are stored.
    pub fn slots(&self, ids: &[u32]) -> Temp<u32> {
        match &self.rows {
            None => Temp::copied(ids),
            Some(rows) => rows.find(ids),
        }
    }

    /// Where rows are stored; absent ones are stored first, as what they are.
    pub fn insert<T: Real>(&mut self, ids: &[u32]) -> Temp<u32> {
        let Some(rows) = &mut self.rows else { return Temp::copied(ids) };
        let before = rows.len();
        let slots = rows.insert(ids);
        let after = rows.len();
        if after > before {
            self.fill_new::<T>(before..after);
        }
        slots
    }

    /// Room, and what absent rows are, for rows just added.
    fn fill_new<T: Real>(&mut self, new: std::ops::Range<usize>) {
        let (k, more) = (self.row_len(), new.len());
        lengthen::<T>(&mut self.values, more * k);
        for state in self.states.iter_mut().filter(|state| state.rows.is_none()) {
            for column in &mut state.columns {
                lengthen::<T>(&mut column.values, more * column.width);
            }
            if let Some(Lag { missed, at }) = &mut state.lag {
                // Zero weights at rest stay; drawn ones have gone through all steps.
                let from = if self.draw.is_some() { 0 } else { missed.now() };
                grow(at, more);
                at.resize(new.end, from);
            }
        }
        if let Some(changed) = &mut self.changed {
            grow(changed, more);
            changed.resize(new.end, 0);
        }
        if let (Some(draw), Some(rows)) = (self.draw, &self.rows) {
            let w = &mut T::unique_slice(&mut self.values)[new.start * k..];
            draw.rows(&self.shape, &rows.ids()[new.clone()], w);
            for state in &mut self.states {
                let Some(lag) = &state.lag else { continue };
                let w = T::unique_slice(&mut self.values);
                with_columns!(w, k, state.columns, rows => {
                    lag.missed.begin(rows.split_at(new.start).1);
                });
            }
        }
    }

    /// Stores all rows.
    pub fn insert_all<T: Real>(&mut self) {
        if self.rows.is_some() && self.stored() < self.shape[0] {
            let all: Vec<u32> = (0..self.shape[0]).map(|row| row as u32).collect();
            self.insert::<T>(&all);
        }
        self.sort();
    }

    /// Whether slots ascend with the ids of rows.
    pub fn is_ascending(&self) -> bool {
        self.rows.as_ref().is_none_or(RowIndex::is_ascending)
    }

    /// Makes the slots of frozen rows absent ones; whether there are any frozen rows.
    pub fn drop_frozen(&self, ids: &[u32], slots: &mut [u32]) -> bool {
        if self.frozen.is_empty() {
            return false;
        }
        let frozen = |id: &u32| self.frozen.binary_search(id).is_ok();
        let both = ids.iter().zip(slots).filter(|(id, _)| frozen(id));
        both.for_each(|(_, slot)| *slot = ABSENT);
        true
    }

    /// Brings the rows at these slots up to date; absent slots are left out.
    pub fn catch_up<T: Real>(&mut self, slots: &[u32]) {
        if self.states.iter().all(|state| state.lag.is_none()) {
            return;
        }
        let (k, frozen) = (self.row_len(), self.frozen_slots());
        let stays = |slot: &u32| frozen.binary_search(slot).is_ok();
        let stored = slots.iter().copied().filter(|&slot| slot != ABSENT);
        let moving = Temp::collect(stored.clone().filter(|slot| !stays(slot)));
        for state in &mut self.states {
            let Some(Lag { missed, at }) = &mut state.lag else { continue };
            let w = T::unique_slice(&mut self.values);
            with_columns!(w, k, state.columns, rows => missed.catch_up(rows, &moving, at));
            stored.clone().filter(stays).for_each(|slot| at[slot as usize] = missed.now());
        }
    }

    /// Brings all rows up to date, and forgets what they missed.
    pub fn catch_up_all<T: Real>(&mut self) {
        const AT_ONCE: usize = 1 << 12;
        if self.lags().all(|lag| lag.missed.now() == 0) {
            return;
        }
        let stored = self.stored();
        for first in (0..stored).step_by(AT_ONCE) {
            let slots = first as u32..(first + AT_ONCE).min(stored) as u32;
            self.catch_up::<T>(&Temp::collect(slots));
        }
        for lag in self.states.iter_mut().filter_map(|state| state.lag.as_mut()) {
            lag.missed.restart();
            lag.at.fill(0);
        }
    }

    /// Slots of the frozen rows that are stored, ascending.
    pub fn frozen_slots(&self) -> Temp<u32> {
        let mut slots = self.slots(&self.frozen);
        slots.retain(|&slot| slot != ABSENT);
        slots.sort_unstable();
        slots
    }

    /// Notes the update that changed these rows, if that is tracked.
    pub fn note_changed(&mut self, slots: Option<&[u32]>, update: u64) {
        let Some(changed) = &mut self.changed else { return };
        match slots {
            None => changed.fill(update),
            Some(slots) => {
                let stored = slots.iter().filter(|&&slot| slot != ABSENT);
                stored.for_each(|&slot| changed[slot as usize] = update);
            }
        }
    }

    /// Puts rows into the order of their ids.
    pub fn sort(&mut self) {
        let Some(rows) = self.rows.as_ref().filter(|rows| !rows.is_ascending()) else { return };
        let keys = rows.ids().iter().zip(0u64..).map(|(&id, slot)| (id as u64) << 32 | slot);
        let mut keys: Vec<u64> = keys.collect();
        keys.sort_unstable();
        let order: Vec<u32> = keys.iter().map(|&key| key as u32).collect();
        let ids: Vec<u32> = keys.iter().map(|&key| (key >> 32) as u32).collect();
        drop(keys);
        self.keep(&order, ids.into());
    }

    /// Keeps the rows at these slots, in this order, under these ids.
    pub(super) fn keep(&mut self, order: &[u32], ids: Buffer<u32>) {
        let Some(rows) = &mut self.rows else { return };
        rows.replace(ids);
        let k = row_len(&self.shape);
        reorder(&mut self.values, k, order);
        for state in self.states.iter_mut().filter(|state| state.rows.is_none()) {
            for column in &mut state.columns {
                reorder(&mut column.values, column.width, order);
            }
            if let Some(lag) = &mut state.lag {
                lag.at = picked(&lag.at, 1, order);
            }
        }
        if let Some(changed) = &mut self.changed {
            *changed = picked(changed, 1, order);
        }
    }

    /// The place of an optimizer's state; made of zeros, with these widths, if there is none yet. What gone optimizers left is
    /// dropped.
    pub fn state_of<T: Real>(
        &mut self,
        owner: &Arc<()>,
        widths: &[usize],
        missed: impl Fn() -> Option<Missed>,
    ) -> usize {
        if let Some(at) = self.find_state(owner) {
            let own = &self.states[at];
            let fits = own.columns.iter().map(|column| column.width).eq(widths.iter().copied());
            let missed = missed();
            if fits && own.lag.is_some() == missed.is_some() {
                return at;
            }
            // Its settings were changed.
            self.drop_states::<T>(|state| state.owner.as_ptr() == Arc::as_ptr(owner));
        }
        self.drop_states::<T>(|state| state.owner.strong_count() == 0);
        let stored = self.stored();
        let column = |&width: &usize| Column {
            width,
            // Zeroed pages come from the system untouched: only what is written takes memory.
            values: T::erase(vec![T::default(); stored * width].into()),
        };
        let lag = missed().map(|missed| Lag { missed, at: vec![0; stored] });
        let columns: SmallVec<[Column; 2]> = widths.iter().map(column).collect();
        self.states.push(State { owner: Arc::downgrade(owner), columns, rows: None, lag });
        self.states.len() - 1
    }

    /// Drops states, after the steps that rows have missed.
    fn drop_states<T: Real>(&mut self, which: impl Fn(&State) -> bool) {
        if self.states.iter().any(&which) {
            self.catch_up_all::<T>();
            self.states.retain(|state| !which(state));
        }
    }

    fn find_state(&self, owner: &Arc<()>) -> Option<usize> {
        self.states.iter().position(|state| state.owner.as_ptr() == Arc::as_ptr(owner))
    }

    /// A copy of one column of an optimizer's state, of a table that is settled.
    pub fn state_column(&self, owner: &Arc<()>, i: usize) -> Option<Tensor> {
        let state = &self.states[self.find_state(owner)?];
        let column = state.columns.get(i)?;
        let mut shape = self.shape.clone();
        if column.width != self.row_len() {
            shape = [self.stored(), column.width].into();
        }
        let layout = match state.rows.as_ref().or(self.rows.as_ref()) {
            None => Layout::Dense,
            Some(rows) => Layout::RowSparse(rows.ids().clone()),
        };
        Some(Tensor::from_parts(shape, layout, copied(column.values.as_slice())))
    }

    /// Bytes that an optimizer keeps beside the weights.
    pub fn state_bytes(&self, owner: &Arc<()>) -> usize {
        self.find_state(owner).map_or(0, |at| self.states[at].bytes())
    }

    /// One step of an optimizer in exact mode went by, in which it moved the rows at these slots, or all.
    pub fn note_step<T: Real>(
        &mut self,
        state: usize,
        moved: Option<&[u32]>,
        miss: impl FnOnce(&mut Missed),
    ) {
        let bytes = self.values.len() * self.values.dtype().size();
        let Some(Lag { missed, at }) = &mut self.states[state].lag else { return };
        miss(missed);
        let now = missed.now();
        match moved {
            Some(slots) => {
                let stored = slots.iter().filter(|&&slot| slot != ABSENT);
                stored.for_each(|&slot| at[slot as usize] = now);
            }
            None => {
                missed.restart();
                at.fill(0);
            }
        }
        if missed.is_long(bytes) {
            self.catch_up_all::<T>();
        }
    }

    /// The weights and one optimizer's state of them, slot by slot, to be written.
    pub fn rows_mut<T: Real, const N: usize>(&mut self, state: usize) -> Rows<'_, T, N> {
        let k = row_len(&self.shape);
        let mut widths = [0; N];
        let mut s: [&mut [T]; N] = std::array::from_fn(|_| Default::default());
        for (i, column) in self.states[state].columns.iter_mut().enumerate().take(N) {
            (widths[i], s[i]) = (column.width, T::unique_slice(&mut column.values));
        }
        Rows { w: T::unique_slice(&mut self.values), s, k, widths }
    }

    /// What an operator may see of these rows, ascending: copies in the order of their ids, absent ones drawn.
    pub fn gathered(&self, ids: &[u32], shape: &[usize]) -> Tensor {
        match self.values.dtype() {
            DType::F32 => self.gathered_as::<f32>(ids, shape),
            _ => self.gathered_as::<f64>(ids, shape),
        }
    }

    fn gathered_as<T: Real>(&self, ids: &[u32], shape: &[usize]) -> Tensor {
        let (slots, k) = (self.slots(ids), self.row_len());
        let table = T::typed_slice(self.values.as_slice()).unwrap_or_default();
        let mut values = Temp::filled(T::default(), ids.len() * k);
        for ((&slot, id), row) in slots.iter().zip(ids).zip(values.chunks_mut(k.max(1))) {
            match (slot, self.draw) {
                (ABSENT, None) => {}
                (ABSENT, Some(draw)) => {
                    draw.rows(&self.shape, std::slice::from_ref(id), row);
                    self.lags().for_each(|lag| lag.missed.from_the_beginning(row));
                }
                (slot, _) => row.copy_from_slice(&table[slot as usize * k..][..k]),
            }
        }
        let layout = Layout::RowSparse(Temp::copied(ids).into());
        Tensor::from_parts(shape.into(), layout, T::erase(values.into()))
    }

    /// Whether an absent row is anything but zero.
    pub fn has_drawn_absent_rows(&self) -> bool {
        self.draw.is_some() && self.stored() < self.shape.first().copied().unwrap_or(1)
    }

    /// All rows of another tensor of this type in place of these; states stay with their rows.
    pub fn replace<T: Real>(&mut self, layout: Layout, values: Values) {
        self.settle_as::<T>(Needs::All);
        if let Layout::RowSparse(ids) = layout {
            let all = match &self.rows {
                Some(rows) => union_rows(&[rows.ids(), &ids]),
                None => Temp::copied(&ids),
            };
            self.insert::<T>(&all);
            let order = self.slots(&ids);
            self.keep(&order, ids);
        }
        self.values = unshared(values);
    }
}

impl Draw {
    /// Writes the rows of these ids.
    pub fn rows<T: Real>(self, shape: &Shape, ids: &[u32], out: &mut [T]) {
        let k = row_len(shape);
        for (&id, out) in ids.iter().zip(out.chunks_mut(k.max(1))) {
            self.init.fill(shape, self.seed, id as u64 * k as u64, out);
        }
    }
}

/// Appends zeros.
fn lengthen<T: Element>(values: &mut Values, more: usize) {
    let taken = std::mem::replace(values, T::erase(Buffer::default()));
    let mut own = T::into_buffer(taken).unwrap_or_default().into_vec();
    grow(&mut own, more);
    own.resize(own.len() + more, T::default());
    *values = T::erase(own.into());
}

fn reorder(values: &mut Values, k: usize, order: &[u32]) {
    *values = each_dtype!(Values::&*values, own => Element::erase(picked(own, k, order).into()));
}

/// Rows of `k` in this order.
fn picked<T: Copy + Default>(from: &[T], k: usize, order: &[u32]) -> Vec<T> {
    let mut out = Vec::with_capacity(order.len() * k);
    order.iter().for_each(|&slot| out.extend_from_slice(&from[slot as usize * k..][..k]));
    out
}

/// Values in a `Vec` that no one else holds.
pub(super) fn unshared(values: Values) -> Values {
    match values {
        Values::F32(b) => Values::F32(b.into_vec().into()),
        Values::F64(b) => Values::F64(b.into_vec().into()),
        Values::I64(b) => Values::I64(b.into_vec().into()),
    }
}

/// A copy that nobody shares.
pub(crate) fn copied(slice: Slice<'_>) -> Values {
    match slice {
        Slice::F32(s) => Values::F32(s.to_vec().into()),
        Slice::F64(s) => Values::F64(s.to_vec().into()),
        Slice::I64(s) => Values::I64(s.to_vec().into()),
    }
}
