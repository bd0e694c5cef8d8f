//! Single rows of a parameter: read, written, frozen, followed, evicted.

use std::panic::Location;
use std::sync::RwLockWriteGuard;

use super::changes::Changes;
use super::state::State;
use super::table::reorder;
use super::{Needs, Parameter, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::columns::compact;
use crate::kernels::memory::Temp;
use crate::kernels::merge::union_rows;
use crate::tensor::{Element, Real, Slice, Stype, Tensor};

impl Parameter {
    /// The distinct rows among `ids`, in ascending order, as a row-sparse tensor: up to date, absent ones as
    /// they would be read (zeros, or drawn). Nothing is stored.
    ///
    /// ```
    /// use sparsetape::{Parameter, Tensor};
    /// let w = Parameter::new("w", Tensor::dense([3, 2], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?)?;
    /// let rows = w.rows(&[2, 0, 2])?;
    /// assert_eq!((rows.rows(), rows.values::<f32>()?), (Some(&[0, 2][..]), &[1.0, 2.0, 5.0, 6.0][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Index`] for an id that is no row's, [`ErrorKind::Shape`] for a parameter without axes,
    /// [`ErrorKind::Busy`] while an update runs.
    #[doc(alias = "row_sparse_pull")]
    #[track_caller]
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = self.distinct("rows", ids)?;
        Ok(self.read()?.rows_of(&ids, self.shape()))
    }

    /// Writes the rows that a row-sparse tensor stores; a row-sparse parameter stores those that were absent.
    /// What optimizers keep beside them stays. Counts as an update; frozen rows are written, too.
    ///
    /// ```
    /// use sparsetape::{DType, Parameter, Stype, Tensor};
    /// let w = Parameter::new("w", Tensor::zeros(Stype::RowSparse, [1_000_000_000, 2], DType::F32)?)?;
    /// w.set_rows(&Tensor::row_sparse([1_000_000_000, 2], vec![7], vec![0.5f32, 1.5])?)?;
    /// assert_eq!(w.stored_rows()?, [7]);
    /// assert_eq!(w.rows(&[7])?.values::<f32>()?, [0.5, 1.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`], [`ErrorKind::DType`] or [`ErrorKind::Stype`] for a tensor that is not
    /// row-sparse, or not of the parameter's shape and element type; [`ErrorKind::Busy`] while the parameter
    /// is read.
    #[track_caller]
    pub fn set_rows(&self, rows: &Tensor) -> Result<()> {
        let (ty, at) = (rows.ty(), Location::caller());
        let kind = match () {
            _ if ty.shape != *self.shape() => Some(ErrorKind::Shape),
            _ if ty.dtype != self.dtype() => Some(ErrorKind::DType),
            _ if ty.stype != Stype::RowSparse => Some(ErrorKind::Stype),
            _ => None,
        };
        if let Some(kind) = kind {
            let message = format!(
                "row-sparse rows of parameter {:?}, which is {}, got {ty}",
                self.name(),
                self.ty()
            );
            return Err(Error::new(kind, message).operator("set_rows").at(at));
        }
        let mut table = self.exclusive()?;
        let ids = rows.rows().unwrap_or_default();
        let slots = match rows.view().values() {
            Slice::F32(values) => table.write(ids, values),
            Slice::F64(values) => table.write(ids, values),
            Slice::I64(_) => unreachable!("a parameter holds floats"),
        };
        table.note_changed(Some(&slots), self.count_update());
        Ok(())
    }

    /// From now on no optimizer moves these rows or what it keeps beside them, in any mode, whatever their
    /// gradients.
    ///
    /// ```
    /// use sparsetape::{Parameter, Params, Tape, Tensor, optim::Sgd};
    /// let w = Parameter::new("w", Tensor::full([3, 1], 1.0f32)?)?;
    /// w.freeze_rows(&[1])?;
    /// let gradients = Tape::new().parameter(&w).sum().backward()?;
    /// Sgd::new(0.5).step(&Params::new([&w])?, &gradients)?;
    /// assert_eq!(w.snapshot()?.values::<f32>()?, [0.5, 1.0, 0.5]);
    /// w.unfreeze_rows(&[1])?;
    /// assert_eq!(w.frozen_rows()?, [0u32; 0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Parameter::rows`], and [`ErrorKind::Busy`] while the parameter is read.
    #[track_caller]
    pub fn freeze_rows(&self, ids: &[u32]) -> Result<()> {
        let ids = self.distinct("freeze_rows", ids)?;
        let mut table = self.exclusive()?;
        table.settle(Needs::Rows { ids: &ids, insert: true });
        table.frozen = union_rows(&[&table.frozen, &ids]).to_vec();
        Ok(())
    }

    /// Optimizers move these rows again; what happened meanwhile they have not missed.
    ///
    /// # Errors
    /// As [`Parameter::freeze_rows`].
    #[track_caller]
    pub fn unfreeze_rows(&self, ids: &[u32]) -> Result<()> {
        let ids = self.distinct("unfreeze_rows", ids)?;
        let mut table = self.exclusive()?;
        table.settle(Needs::Rows { ids: &ids, insert: false });
        table.frozen.retain(|id| ids.binary_search(id).is_err());
        Ok(())
    }

    /// The ids of the frozen rows, ascending.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while an update runs.
    #[track_caller]
    pub fn frozen_rows(&self) -> Result<Vec<u32>> {
        Ok(self.read()?.frozen.clone())
    }

    /// The ids of the rows that are stored, ascending; of a dense parameter all.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while an update runs.
    #[track_caller]
    pub fn stored_rows(&self) -> Result<Vec<u32>> {
        Ok(self.read()?.ids().into_owned())
    }

    /// The first stored row that holds NaN or infinity; of one that is behind, what is stored counts.
    #[cfg(feature = "data")]
    #[track_caller]
    pub(crate) fn find_non_finite(&self) -> Result<Option<u32>> {
        let table = self.read()?;
        let first = match table.values.as_slice() {
            Slice::F32(values) => values.iter().position(|x| !x.is_finite()),
            Slice::F64(values) => values.iter().position(|x| !x.is_finite()),
            Slice::I64(_) => None,
        };
        Ok(first.map(|i| table.id((i / table.row_len()) as u32)))
    }

    /// Remembers from now on, in 8 bytes for each row, which update changed it last: for
    /// [`Parameter::rows_changed_since`] and [`Parameter::evict_rows_unchanged_since`].
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while the parameter is used elsewhere.
    #[track_caller]
    pub fn track_changes(&self) -> Result<()> {
        let mut table = self.exclusive()?;
        if table.changes.is_none() {
            table.changes = Some(Changes::new(table.stored(), self.updates()));
        }
        Ok(())
    }

    /// The rows that changed after [`Parameter::updates`] was `update`, as they are now: what
    /// [`Parameter::set_rows`] needs to bring another copy of the model, say a loaded one, from there to here. An
    /// [`Archive`](crate::Archive) takes it there; a [`Model`](crate::Model) takes it in if its weights were
    /// [made into parameters](crate::Params::from_archive), which executors bound to them read in place.
    ///
    /// Where every row moves in every step (in [dense](crate::optim::Update::Dense) and
    /// [exact](crate::optim::Update::Exact) mode) these are all that are stored. Rows that were removed since then
    /// are given as what they are when absent.
    ///
    /// ```
    /// use sparsetape::{Parameter, Params, Tape, Tensor, optim::Sgd};
    /// let w = Parameter::new("w", Tensor::full([1000, 1], 1.0f32)?)?;
    /// w.track_changes()?;
    /// let (copy, then) = (Parameter::new("w", w.snapshot()?)?, w.updates());
    ///
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 1000], vec![0, 1], vec![42], vec![1.0f32])?);
    /// let gradients = x.dot(tape.parameter(&w)).sum().backward()?;
    /// Sgd::new(0.5).step(&Params::new([&w])?, &gradients)?;
    ///
    /// let delta = w.rows_changed_since(then)?;
    /// assert_eq!(delta.rows(), Some(&[42][..]));
    /// copy.set_rows(&delta)?;
    /// assert!(copy.snapshot()?.same_bits(&w.snapshot()?));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] if changes [are not tracked](Parameter::track_changes), or not since that update,
    /// or if it is yet to come; or if absent rows moved, too, which are drawn; [`ErrorKind::Shape`] for a
    /// parameter without axes; [`ErrorKind::Busy`] while an update runs.
    #[track_caller]
    pub fn rows_changed_since(&self, update: u64) -> Result<Tensor> {
        self.distinct("rows_changed_since", &[])?;
        let table = self.read()?;
        let changes = self.changes("rows_changed_since", &table, update)?;
        if table.has_drawn_absent_rows() && changes.absent_moved(update) {
            let message = format!(
                "absent rows of parameter {:?} moved, too, and no tensor holds them all; save it",
                self.name()
            );
            return Err(Error::new(ErrorKind::State, message).operator("rows_changed_since"));
        }
        let stored = table.by_slot().filter(|&(_, slot)| changes.is_changed(slot, update));
        let mut ids: Vec<u32> = stored.map(|(id, _)| id).collect();
        ids.extend(changes.removed_after(update));
        ids.sort_unstable();
        Ok(table.rows_of(&ids, self.shape()))
    }

    /// Keeps the stored rows for whose ids `keep` is true, asked in ascending order, and those that are frozen; the
    /// others become absent, and what optimizers keep beside them goes, too. How many did. If any, it counts as an
    /// update.
    ///
    /// An absent row is zero, or what is drawn for it and was never trained.
    ///
    /// ```
    /// use sparsetape::{Parameter, Tensor};
    /// let w = Parameter::new("w", Tensor::row_sparse([9, 1], vec![2, 5, 7], vec![1.0f32, 2.0, 3.0])?)?;
    /// assert_eq!(w.retain_rows(|id| id != 5)?, 1);
    /// assert_eq!(w.snapshot()?.rows(), Some(&[2, 7][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] for a dense parameter, [`ErrorKind::Busy`] while the parameter is read.
    #[track_caller]
    pub fn retain_rows(&self, keep: impl FnMut(u32) -> bool) -> Result<usize> {
        let table = self.row_sparse_exclusive("retain_rows")?;
        Ok(self.retain(table, keep))
    }

    /// Evicts the stored rows that nothing touched after [`Parameter::updates`] was `update`: no gradient,
    /// [`Parameter::set_rows`] nor [`Parameter::set`]. Otherwise as [`Parameter::retain_rows`].
    ///
    /// ```
    /// use sparsetape::{Parameter, Tensor};
    /// let w = Parameter::new("w", Tensor::row_sparse([9, 1], vec![2, 5], vec![1.0f32, 2.0])?)?;
    /// w.track_changes()?;
    /// w.set_rows(&Tensor::row_sparse([9, 1], vec![7], vec![3.0f32])?)?;
    /// assert_eq!(w.evict_rows_unchanged_since(0)?, 2);
    /// assert_eq!(w.stored_rows()?, [7]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Parameter::retain_rows`]; [`ErrorKind::State`] if changes
    /// [are not tracked](Parameter::track_changes), or not since that update, or if it is yet to come.
    #[track_caller]
    pub fn evict_rows_unchanged_since(&self, update: u64) -> Result<usize> {
        const NAME: &str = "evict_rows_unchanged_since";
        let table = self.row_sparse_exclusive(NAME)?;
        let changes = self.changes(NAME, &table, update)?;
        let touched = table.by_slot().filter(|&(_, slot)| changes.is_touched(slot, update));
        let mut recent: Vec<u32> = touched.map(|(id, _)| id).collect();
        recent.extend(changes.removed_after(update));
        recent.sort_unstable();
        Ok(self.retain(table, |id| recent.binary_search(&id).is_ok()))
    }

    fn retain(
        &self,
        mut table: RwLockWriteGuard<'_, Table>,
        mut keep: impl FnMut(u32) -> bool,
    ) -> usize {
        let frozen = |id: &u32| table.frozen.binary_search(id).is_ok();
        let mut evicted = table.ids_with_states();
        evicted.retain(|id| !keep(*id) && !frozen(id));
        if !evicted.is_empty() {
            table.evict(&evicted, self.count_update());
        }
        evicted.len()
    }

    /// The distinct ids, ascending, if all are rows'.
    #[track_caller]
    fn distinct(&self, operator: &str, ids: &[u32]) -> Result<Temp<u32>> {
        let Some(&rows) = self.shape().first() else {
            let message = format!("parameter {:?} has no rows: it has no axes", self.name());
            return Err(Error::new(ErrorKind::Shape, message).operator(operator));
        };
        if let Some((i, id)) = ids.iter().enumerate().find(|&(_, &id)| id as usize >= rows) {
            let message =
                format!("ids[{i}] = {id}, but parameter {:?} has {rows} rows", self.name());
            return Err(Error::new(ErrorKind::Index, message).operator(operator));
        }
        Ok(compact(ids, rows).0)
    }

    #[track_caller]
    fn row_sparse_exclusive(&self, operator: &str) -> Result<RwLockWriteGuard<'_, Table>> {
        if self.stype() != Stype::RowSparse {
            let message = format!("parameter {:?} is dense: all its rows are stored", self.name());
            return Err(Error::new(ErrorKind::Stype, message).operator(operator));
        }
        self.exclusive()
    }

    /// What changed, if it is known since that update.
    #[track_caller]
    fn changes<'t>(&self, operator: &str, table: &'t Table, update: u64) -> Result<&'t Changes> {
        let (name, now) = (self.name(), self.updates());
        let message = match &table.changes {
            Some(_) if update > now => {
                format!("parameter {name:?} has seen {now} updates, not yet {update}")
            }
            Some(changes) if changes.since <= update => return Ok(changes),
            Some(Changes { since, .. }) => {
                format!("changes of parameter {name:?} are tracked since update {since}")
            }
            None => format!(
                "changes of parameter {name:?} are not tracked; call `track_changes` before updates"
            ),
        };
        Err(Error::new(ErrorKind::State, message).operator(operator))
    }
}

impl Table {
    /// Writes rows, up to date from then on; their slots.
    fn write<T: Real + Element>(&mut self, ids: &[u32], values: &[T]) -> Temp<u32> {
        let (slots, k) = (self.insert::<T>(ids), self.row_len());
        self.catch_up::<T>(&slots, None);
        let w = T::unique_slice(&mut self.values);
        for (&slot, row) in slots.iter().zip(values.chunks(k.max(1))) {
            w[slot as usize * k..][..k].copy_from_slice(row);
        }
        slots
    }

    /// Ids and slots of the stored rows.
    fn by_slot(&self) -> impl Iterator<Item = (u32, u32)> {
        let id = |slot: u32| self.rows.as_ref().map_or(slot, |rows| rows.ids()[slot as usize]);
        (0..self.stored() as u32).map(move |slot| (id(slot), slot))
    }

    /// Ids, ascending, of the rows that are stored or that an optimizer keeps something of.
    fn ids_with_states(&self) -> Vec<u32> {
        let own = self.states.iter().filter_map(|state| state.rows.as_ref());
        let mut ids = self.ids().into_owned();
        own.for_each(|rows| ids.extend(&rows.ids()[..]));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Removes these rows, ascending, and what optimizers keep of them.
    fn evict(&mut self, ids: &[u32], update: u64) {
        let stays = |id: u32| ids.binary_search(&id).is_err();
        if let Some(changes) = &mut self.changes {
            changes.removed(ids.iter().copied(), update);
        }
        self.retain(|id, _| stays(id));
        self.states.iter_mut().for_each(|state| state.retain(stays));
    }
}

impl State {
    /// Keeps the rows of an order of their own for which this is true.
    fn retain(&mut self, stays: impl Fn(u32) -> bool) {
        let Some(rows) = &mut self.rows else { return };
        let by_slot = rows.ids().iter().copied().zip(0u32..);
        let mut kept: Vec<(u32, u32)> = by_slot.filter(|&(id, _)| stays(id)).collect();
        kept.sort_unstable();
        let (ids, order): (Vec<u32>, Vec<u32>) = kept.into_iter().unzip();
        rows.replace(ids.into());
        for column in &mut self.columns {
            reorder(&mut column.values, column.width, &order);
        }
    }
}
