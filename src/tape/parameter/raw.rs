//! Parameters as checkpoints hold them: as they are, rows that are behind included.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::changes::{self, Changes};
use super::draw::{Draw, Drawn};
use super::rows::RowIndex;
use super::state::{Column, Lag, State};
use super::table::unshared;
use super::{GradReq, Parameter, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::update::missed::Missed;
use crate::tensor::file::{Members, Raw, damaged};
use crate::tensor::{DType, Shape, Stype, Tensor, Type};

/// By what tables know an optimizer's states, and what these are called.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub owner: Arc<()>,
    pub states: &'static [&'static str],
}

/// A parameter, but for the numbers of its rows, which are tensors of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub name: String,
    #[serde(flatten)]
    pub ty: Type,
    updates: u64,
    grad_req: GradReq,
    grad_stype: Option<Stype>,
    /// Factors on learning rate and weight decay.
    multipliers: (f64, f64),
    draw: Option<Drawn>,
    /// Which update changed a row last, if that is tracked.
    changes: Option<changes::Record>,
    states: Vec<StateRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StateRecord {
    /// How the names of its tensors begin.
    label: String,
    /// Whether it is of the optimizer in the file, not of one that was gone before.
    own: bool,
    columns: Vec<ColumnRecord>,
    /// Whether it has rows of its own.
    rows: bool,
    missed: Option<MissedRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ColumnRecord {
    name: String,
    width: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct MissedRecord {
    kind: String,
    steps: u32,
    columns: usize,
}

impl Parameter {
    /// The parameter, whose table is locked; its numbers are listed where they are.
    #[track_caller]
    pub(crate) fn record<'a>(
        &self,
        table: &'a Table,
        owned: Option<&Owned>,
        raw: &mut Vec<Raw<'a>>,
    ) -> Result<Record> {
        let named = |part: &str| member(self.name(), part);
        let shape = stored_shape(self.ty(), table.stored());
        raw.push(Raw::values(named("values"), shape, table.values.as_slice()));
        if let Some(rows) = &table.rows {
            raw.push(Raw::ids(named("rows"), rows.ids()));
        }
        if !table.frozen.is_empty() {
            raw.push(Raw::ids(named("frozen"), &table.frozen));
        }
        let changes = table.changes.as_ref().map(|changes| {
            let (record, touched, removed) = changes.record();
            raw.push(Raw::numbers(named("touched"), Cow::Borrowed(touched)));
            raw.push(Raw::numbers(named("removed"), Cow::Owned(removed)));
            record
        });
        let mut states = Vec::with_capacity(table.states.len());
        for state in &table.states {
            let own = owned.filter(|owned| state.owner.as_ptr() == Arc::as_ptr(&owned.owner));
            let empty = state.columns.is_empty() && state.lag.is_none();
            if own.is_none() && state.owner.strong_count() > 0 && !empty {
                let message = format!(
                    "parameter {:?} has the state of another optimizer too, which the checkpoint \
                     would lose; drop that optimizer first",
                    self.name()
                );
                return Err(Error::new(ErrorKind::State, message).operator("checkpoint"));
            }
            // What a gone optimizer left counts as long as rows are behind.
            if own.is_some() || state.lag.is_some() {
                let label = match own {
                    None => format!("gone{}", states.len()),
                    Some(_) if state.rows.is_some() => "absent".to_owned(),
                    Some(_) => "state".to_owned(),
                };
                let names = own.map(|own| own.states);
                states.push(state.record(self.name(), label, names, table.stored(), raw));
            }
        }
        Ok(Record {
            name: self.name().to_owned(),
            ty: self.ty().clone(),
            updates: self.updates(),
            grad_req: self.grad_req(),
            grad_stype: self.grad_stype(),
            multipliers: self.multipliers(),
            draw: table.draw.as_ref().map(|draw| draw.stored(std::iter::empty())),
            changes,
            states,
        })
    }

    /// Takes over a table of this type from a file, and what stood beside it. Counts as an update.
    pub(crate) fn restore(
        &self,
        record: &Record,
        restored: Table,
        owned: Option<&Owned>,
        table: &mut Table,
    ) {
        *table = restored;
        let states = table.states.iter_mut().zip(&record.states);
        for (state, _) in states.filter(|(_, record)| record.own) {
            state.owner = owned.map_or_else(Weak::new, |owned| Arc::downgrade(&owned.owner));
        }
        // Never what it was: what was recorded before is stale.
        let updates = record.updates.max(self.updates() + 1);
        self.0.updates.store(updates, Ordering::Release);
        self.set_grad_req(record.grad_req);
        self.set_grad_stype(record.grad_stype);
        let (lr_mult, wd_mult) = record.multipliers;
        self.0.lr_mult.store(lr_mult.to_bits(), Ordering::Relaxed);
        self.0.wd_mult.store(wd_mult.to_bits(), Ordering::Relaxed);
    }
}

impl State {
    fn record<'a>(
        &'a self,
        parameter: &str,
        label: String,
        names: Option<&[&str]>,
        stored: usize,
        raw: &mut Vec<Raw<'a>>,
    ) -> StateRecord {
        let named = |part: &str| member(parameter, &format!("{label}.{part}"));
        let stored = self.rows.as_ref().map_or(stored, RowIndex::len);
        let mut columns = Vec::with_capacity(self.columns.len());
        for (i, Column { width, values }) in self.columns.iter().enumerate() {
            let name = names.and_then(|names| names.get(i));
            let name = name.map_or_else(|| i.to_string(), |&name| name.to_owned());
            raw.push(Raw::values(named(&name), [stored, *width].into(), values.as_slice()));
            columns.push(ColumnRecord { name, width: *width });
        }
        if let Some(rows) = &self.rows {
            raw.push(Raw::ids(named("rows"), rows.ids()));
        }
        let missed = self.lag.as_ref().map(|Lag { missed, at }| {
            raw.push(Raw::ids(named("at"), at));
            let columns = missed.columns();
            let count = columns.len();
            for (j, column) in columns.into_iter().enumerate() {
                raw.push(Raw::numbers(named(&format!("missed.{j}")), column));
            }
            let (kind, steps) = (missed.kind().to_owned(), missed.now());
            MissedRecord { kind, steps, columns: count }
        });
        StateRecord { own: names.is_some(), columns, rows: self.rows.is_some(), missed, label }
    }
}

impl Record {
    /// The table that this describes, from the file's numbers: nothing about either is trusted.
    pub fn table(&self, members: &mut Members) -> Result<Table> {
        let named = |part: &str| member(&self.name, part);
        let Type { stype, shape, dtype } = &self.ty;
        if *stype == Stype::Csr || !dtype.is_float() {
            return Err(damaged(format!("a parameter is not {}", self.ty)));
        }
        let (lr_mult, wd_mult) = self.multipliers;
        if !(lr_mult.is_finite() && wd_mult.is_finite()) {
            return Err(damaged("its multipliers are not finite"));
        }
        let rows_of_shape = shape.first().copied().unwrap_or(1);
        let rows = match stype {
            Stype::RowSparse => {
                // Checks the shape.
                Tensor::zeros(*stype, shape.clone(), *dtype)?;
                Some(index(members, &named("rows"), rows_of_shape)?)
            }
            _ => None,
        };
        if self.draw.is_some() && rows.is_none() {
            return Err(damaged("absent rows of a dense parameter"));
        }
        let stored = rows.as_ref().map_or(rows_of_shape, RowIndex::len);
        let values = members.values(&named("values"), *dtype, &stored_shape(&self.ty, stored))?;
        let frozen = members.optional(&named("frozen"), |members, name| {
            members.ids(name, rows_of_shape).and_then(|ids| ascending(name, ids))
        })?;
        let ends = [stored, rows_of_shape];
        let changes = self.changes.as_ref().map(|own| self.changes(own, members, named, ends));
        let states = self
            .states
            .iter()
            .map(|state| state.state(&self.name, *dtype, [stored, rows_of_shape], members));
        let states: Vec<State> = states.collect::<Result<_>>()?;
        Ok(Table {
            shape: shape.clone(),
            rows,
            values: unshared(values),
            draw: self.draw.clone().map(Draw::from),
            states,
            frozen: frozen.unwrap_or_default(),
            changes: changes.transpose()?,
            promised: Mutex::default(),
        })
    }

    fn changes(
        &self,
        record: &changes::Record,
        members: &mut Members,
        named: impl Fn(&str) -> String,
        ends: [usize; 2],
    ) -> Result<Changes> {
        let touched = members.numbers::<i64>(&named("touched"))?;
        let removed = members.numbers::<i64>(&named("removed"))?;
        Changes::restored(record, &touched, &removed, ends, self.updates)
            .ok_or_else(|| damaged(format!("{} does not fit the rows", named("touched"))))
    }

    /// Whether a state of the file's optimizer is in the table.
    pub fn has_state(&self) -> bool {
        self.states.iter().any(|state| state.own)
    }
}

impl StateRecord {
    fn state(
        &self,
        parameter: &str,
        dtype: DType,
        [stored, end]: [usize; 2],
        members: &mut Members,
    ) -> Result<State> {
        let named = |part: &str| member(parameter, &format!("{}.{part}", self.label));
        let rows = match self.rows {
            true => Some(index(members, &named("rows"), end)?),
            false => None,
        };
        let stored = rows.as_ref().map_or(stored, RowIndex::len);
        let mut columns = SmallVec::new();
        for ColumnRecord { name, width } in &self.columns {
            let values = members.values(&named(name), dtype, &[stored, *width])?;
            columns.push(Column { width: *width, values: unshared(values) });
        }
        let lag = self.missed.as_ref().map(|missed| missed.lag(members, stored, named));
        Ok(State { owner: Weak::new(), columns, rows, lag: lag.transpose()? })
    }
}

impl MissedRecord {
    fn lag(
        &self,
        members: &mut Members,
        stored: usize,
        named: impl Fn(&str) -> String,
    ) -> Result<Lag> {
        let MissedRecord { kind, steps, .. } = self;
        let at = members.ids(&named("at"), (*steps as usize).saturating_add(1))?;
        if at.len() != stored {
            let message = format!("{} has {} steps for {stored} rows", named("at"), at.len());
            return Err(damaged(message));
        }
        let mut columns = Vec::new();
        for j in 0..self.columns {
            columns.push(members.numbers::<f64>(&named(&format!("missed.{j}")))?);
        }
        let missed = Missed::from_columns(kind, *steps, &columns).ok_or_else(|| {
            damaged(format!("{} are not those of {steps} {kind} steps", named("missed")))
        })?;
        Ok(Lag { missed, at })
    }
}

/// Names end with what the tensor is, so those of two parameters never meet.
fn member(parameter: &str, part: &str) -> String {
    format!("{parameter}/{part}")
}

/// The shape of the stored rows.
fn stored_shape(ty: &Type, stored: usize) -> Shape {
    match ty.stype {
        Stype::RowSparse => [stored].iter().chain(&ty.shape[1..]).copied().collect(),
        _ => ty.shape.clone(),
    }
}

fn index(members: &mut Members, name: &str, end: usize) -> Result<RowIndex> {
    let ids = members.ids(name, end)?;
    RowIndex::of(ids.into()).ok_or_else(|| damaged(format!("{name} names a row twice")))
}

fn ascending(name: &str, ids: Vec<u32>) -> Result<Vec<u32>> {
    match ids.is_sorted_by(|a, b| a < b) {
        true => Ok(ids),
        false => Err(damaged(format!("{name} does not ascend"))),
    }
}
