//! The memory of a parameter: uniquely owned, read by views, written in place.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use super::absent::joined;
use super::changes::Changes;
use super::draw::Draw;
use super::read::Promised;
use super::rows::{RowIndex, grow, shrink};
use super::state::{Column, Lag, State, with_columns};
use crate::kernels::memory::Temp;
use crate::kernels::merge::union_rows;
use crate::kernels::pages::{is_table, zeroed_vec};
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
    /// Which update changed a row last, if that is tracked.
    pub(super) changes: Option<Changes>,
    /// What is to be settled before anything is written.
    pub(super) promised: Mutex<Promised>,
}

/// What an operator is about to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs<'a> {
    /// The ids of stored rows.
    Pattern,
    /// These rows; of a row-sparse table ascending, and whether absent ones are to be stored.
    Rows { ids: &'a [u32], insert: bool },
    /// Everything.
    All,
}

impl Table {
    pub fn new(shape: Shape, layout: Layout, values: Values) -> Self {
        let rows = match layout {
            Layout::RowSparse(rows) => Some(RowIndex::new(rows)),
            _ => None,
        };
        Table {
            shape,
            rows,
            values: unshared(values),
            draw: None,
            states: Vec::new(),
            frozen: Vec::new(),
            changes: None,
            promised: Mutex::default(),
        }
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
            Needs::All => self.is_ascending() && self.lags().all(|lag| lag.missed.now() == 0),
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

    pub(super) fn lags(&self) -> impl Iterator<Item = &Lag> {
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
                self.catch_up::<T>(&slots, None);
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
        self.bring_back::<T>(new.clone());
        let Some(rows) = &self.rows else { return };
        let ids = &rows.ids()[new.clone()];
        if let Some(changes) = &mut self.changes {
            changes.insert(ids);
        }
        let Some(draw) = &self.draw else { return };
        draw.rows(&self.shape, ids, &mut T::unique_slice(&mut self.values)[new.start * k..]);
        for state in &mut self.states {
            let Some(lag) = &state.lag else { continue };
            let w = T::unique_slice(&mut self.values);
            with_columns!(w, k, state.columns, rows => {
                lag.missed.begin(rows.split_at(new.start).1);
            });
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

    /// Brings the rows at these slots up to date; absent slots are left out. The state `moving` is of an
    /// optimizer that is about to move them, by a step that the others miss.
    pub fn catch_up<T: Real>(&mut self, slots: &[u32], moving: Option<usize>) {
        if self.states.iter().all(|state| state.lag.is_none()) {
            return;
        }
        let k = self.row_len();
        let (go, stay) = self.apart(slots);
        for (i, state) in self.states.iter_mut().enumerate() {
            let Some(Lag { missed, at }) = &mut state.lag else { continue };
            let next = missed.now() + (moving == Some(i)) as u32;
            let w = T::unique_slice(&mut self.values);
            with_columns!(w, k, state.columns, rows => missed.catch_up(rows, &go, at, next));
            stay.iter().for_each(|&slot| at[slot as usize] = next);
        }
    }

    /// The slots of rows that move, and of those that are frozen; absent ones are left out.
    fn apart<'s>(&self, slots: &'s [u32]) -> (Cow<'s, [u32]>, Vec<u32>) {
        if self.rows.is_none() && self.frozen.is_empty() {
            return (Cow::Borrowed(slots), Vec::new());
        }
        let stored = slots.iter().copied().filter(|&slot| slot != ABSENT);
        let (stay, go): (Vec<u32>, Vec<u32>) = stored.partition(|&slot| self.is_frozen(slot));
        (Cow::Owned(go), stay)
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
            self.catch_up::<T>(&Temp::collect(slots), None);
        }
        for lag in self.states.iter_mut().filter_map(|state| state.lag.as_mut()) {
            lag.missed.restart();
            lag.at.fill(0);
        }
    }

    /// Whether no optimizer moves the row at this slot.
    pub(super) fn is_frozen(&self, slot: u32) -> bool {
        !self.frozen.is_empty() && self.frozen.binary_search(&self.id(slot)).is_ok()
    }

    /// The id of the row at this slot.
    pub(super) fn id(&self, slot: u32) -> u32 {
        self.rows.as_ref().map_or(slot, |rows| rows.ids()[slot as usize])
    }

    /// Slots of the frozen rows that are stored, ascending.
    pub fn frozen_slots(&self) -> Temp<u32> {
        let mut slots = self.slots(&self.frozen);
        slots.retain(|&slot| slot != ABSENT);
        slots.sort_unstable();
        slots
    }

    /// Notes the update that changed these rows, or all, if that is tracked.
    pub fn note_changed(&mut self, slots: Option<&[u32]>, update: u64) {
        let behind = self.lags().next().is_some();
        let Some(changes) = &mut self.changes else { return };
        match slots {
            None => changes.touched_all(update),
            Some(slots) => changes.touched(slots, update),
        }
        if behind {
            changes.moved_all(update);
        }
    }

    /// Puts rows into the order of their ids.
    pub fn sort(&mut self) {
        if !self.is_ascending() {
            self.retain(|_, _| true);
        }
    }

    /// Keeps the rows of which this is true, by id and slot, in the order of their ids.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(u32, u32) -> bool) {
        let Some(rows) = &self.rows else { return };
        let by_slot = rows.ids().iter().zip(0u32..);
        let kept = by_slot.filter(|&(&id, slot)| keep(id, slot));
        let mut keys: Vec<u64> = kept.map(|(&id, slot)| (id as u64) << 32 | slot as u64).collect();
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
        if let Some(changes) = &mut self.changes {
            changes.keep(order);
        }
    }

    /// The place of an optimizer's state; made of zeros, with these widths, if there is none yet. In exact mode
    /// rows have `missed` steps. What gone optimizers left is dropped.
    pub fn state_of<T: Real>(
        &mut self,
        owner: &Arc<()>,
        widths: &[usize],
        missed: Option<fn() -> Missed>,
    ) -> usize {
        let exact = missed.is_some();
        if exact
            && self.states.iter().any(|s| s.owner.as_ptr() != Arc::as_ptr(owner) && s.is_behind())
        {
            // Steps of two optimizers do not commute.
            self.catch_up_all::<T>();
        }
        if let Some(at) = self.find_state(owner) {
            let stored = self.stored();
            let own = &mut self.states[at];
            if own.columns.iter().map(|column| column.width).eq(widths.iter().copied()) {
                // In another mode before, it missed nothing; what it missed in exact mode, it still makes.
                let lag = || Some(Lag { missed: missed?(), at: zeroed_vec(stored) });
                own.lag = own.lag.take().or_else(lag);
                return at;
            }
            // Its settings were changed.
            self.drop_states::<T>(|state| state.owner.as_ptr() == Arc::as_ptr(owner));
        }
        self.drop_states::<T>(|state| state.owner.strong_count() == 0);
        let stored = self.stored();
        let lag = missed.map(|missed| Lag { missed: missed(), at: zeroed_vec(stored) });
        let columns = widths.iter().map(|&width| Column::zeros::<T>(width, stored)).collect();
        self.states.push(State { owner: Arc::downgrade(owner), columns, rows: None, lag });
        self.states.len() - 1
    }

    /// Drops states, after the steps that rows have missed.
    fn drop_states<T: Real>(&mut self, which: impl Fn(&State) -> bool) {
        // Only for those: files do not hold what else is gone, and must not change when rows catch up.
        if self.states.iter().any(|state| which(state) && state.lag.is_some()) {
            self.catch_up_all::<T>();
        }
        for gone in self.states.extract_if(.., |state| which(state)) {
            if let (Some(draw), Some(lag)) = (&mut self.draw, gone.lag) {
                draw.past.push(lag.missed.factor());
            }
        }
    }

    fn find_state(&self, owner: &Arc<()>) -> Option<usize> {
        let own = |s: &State| s.owner.as_ptr() == Arc::as_ptr(owner) && s.rows.is_none();
        self.states.iter().position(own)
    }

    /// A copy of one column of an optimizer's state, of a table that is settled; also of rows whose weights are
    /// absent.
    pub fn state_column(&self, owner: &Arc<()>, i: usize) -> Option<Tensor> {
        let at = self.find_state(owner)?;
        let column = self.states[at].columns.get(i)?;
        let mut shape = self.shape.clone();
        if column.width != self.row_len() {
            shape = [shape.first().copied().unwrap_or(1), column.width].into();
        }
        let Some(rows) = &self.rows else {
            let values = copied(column.values.as_slice());
            return Some(Tensor::from_parts(shape, Layout::Dense, values));
        };
        let aside = self.aside(at).map(|aside| &self.states[aside]);
        let (ids, values) = match aside.and_then(|s| Some((s.rows.as_ref()?, s.columns.get(i)?))) {
            None => (rows.ids().clone(), copied(column.values.as_slice())),
            Some(aside) if self.values.dtype() == DType::F32 => {
                joined::<f32>((rows, column), aside)
            }
            Some(aside) => joined::<f64>((rows, column), aside),
        };
        Some(Tensor::from_parts(shape, Layout::RowSparse(ids), values))
    }

    /// Bytes that an optimizer keeps beside the weights.
    pub fn state_bytes(&self, owner: &Arc<()>) -> usize {
        let own = |state: &&State| state.owner.as_ptr() == Arc::as_ptr(owner);
        self.states.iter().filter(own).map(State::bytes).sum()
    }

    /// One step of an optimizer went by that rows without a gradient miss; in it moved all rows, or those that
    /// were caught up for it.
    pub fn note_step<T: Real>(
        &mut self,
        state: usize,
        moved_all: bool,
        miss: impl FnOnce(&mut Missed),
    ) {
        let bytes = self.values.len() * self.values.dtype().size();
        let Some(Lag { missed, at }) = &mut self.states[state].lag else { return };
        miss(missed);
        if moved_all {
            missed.restart();
            at.fill(0);
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

    /// Whether an absent row is anything but zero.
    pub fn has_drawn_absent_rows(&self) -> bool {
        self.draw.is_some() && self.stored() < self.shape.first().copied().unwrap_or(1)
    }

    /// Whether absent rows that are drawn will make the steps of an optimizer that is not this one, nor gone.
    pub fn absent_rows_follow_another(&self, owner: &Arc<()>) -> bool {
        let other = |state: &State| {
            let live = state.owner.strong_count() > 0;
            live && state.lag.is_some() && state.owner.as_ptr() != Arc::as_ptr(owner)
        };
        self.has_drawn_absent_rows() && self.states.iter().any(other)
    }

    /// All rows of another tensor of this type in place of these; states stay with their rows.
    pub fn replace<T: Real>(&mut self, layout: Layout, values: Values, update: u64) {
        self.settle_as::<T>(Needs::All);
        if let Layout::RowSparse(ids) = layout {
            let all = match &self.rows {
                Some(rows) => union_rows(&[rows.ids(), &ids]),
                None => Temp::copied(&ids),
            };
            self.insert::<T>(&all);
            let order = self.slots(&ids);
            if let (Some(changes), Some(rows)) = (&mut self.changes, &self.rows) {
                let gone = rows.ids().iter().filter(|id| ids.binary_search(id).is_err());
                changes.removed(gone.copied(), update);
            }
            self.keep(&order, ids);
        }
        self.values = unshared(values);
        if self.draw.is_some() {
            let frozen = std::mem::take(&mut self.frozen);
            self.insert::<T>(&frozen);
            self.frozen = frozen;
        }
        self.note_changed(None, update);
    }
}

/// Appends zeros.
fn lengthen<T: Element>(values: &mut Values, more: usize) {
    edit::<T>(values, |own| {
        grow(own, more);
        own.resize(own.len() + more, T::default());
    });
}

/// Changes values as a `Vec`.
pub(super) fn edit<T: Element>(values: &mut Values, change: impl FnOnce(&mut Vec<T>)) {
    let taken = std::mem::replace(values, T::erase(Buffer::default()));
    let mut own = T::into_buffer(taken).unwrap_or_default().into_vec();
    change(&mut own);
    *values = T::erase(own.into());
}

/// Removes the rows of `k` at these slots, ascending; the last ones take their places.
pub(super) fn swap_remove<T: Copy>(own: &mut Vec<T>, k: usize, slots: &[u32]) {
    for &slot in slots.iter().rev() {
        let last = own.len() - k;
        own.copy_within(last.., slot as usize * k);
        own.truncate(last);
    }
    shrink(own);
}

pub(super) fn reorder(values: &mut Values, k: usize, order: &[u32]) {
    *values = each_dtype!(Values::&*values, own => Element::erase(picked(own, k, order).into()));
}

/// Rows of `k` in this order.
pub(super) fn picked<T: Copy>(from: &[T], k: usize, order: &[u32]) -> Vec<T> {
    let mut out = Vec::with_capacity(order.len() * k);
    order.iter().for_each(|&slot| out.extend_from_slice(&from[slot as usize * k..][..k]));
    out
}

/// Values in memory that no one else holds, laid out as a table.
pub(super) fn unshared(mut values: Values) -> Values {
    match each_dtype!(Values::&mut values, own => own.unique().is_some_and(|own| is_table(own))) {
        true => values,
        false => each_dtype!(Values::&values, own => Element::erase(in_table(own))),
    }
}

fn in_table<T: Element>(elements: &[T]) -> Buffer<T> {
    Buffer::table(elements.len(), |own| own.copy_from_slice(elements))
}

/// A copy that nobody shares.
pub(crate) fn copied(slice: Slice<'_>) -> Values {
    match slice {
        Slice::F32(s) => Values::F32(s.to_vec().into()),
        Slice::F64(s) => Values::F64(s.to_vec().into()),
        Slice::I64(s) => Values::I64(s.to_vec().into()),
    }
}
