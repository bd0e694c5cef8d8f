//! Named tables that outlive tapes.

mod absent;
mod changes;
mod draw;
mod edit;
mod file;
mod lend;
mod params;
mod raw;
mod read;
mod rows;
mod state;
mod table;

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use draw::Draw;
pub(crate) use file::drawn_of;
pub(crate) use lend::Lent;
pub use params::Params;
pub(crate) use raw::{Owned, Record};
pub(crate) use table::{Needs, Table, copied};

use serde::{Deserialize, Serialize};

use super::init::Init;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Shape, Stype, Tensor, Type};

/// What happens to a parameter's gradient when [`Gradients`](crate::Gradients) are filled again.
/// (MXNet: `grad_req`.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradReq {
    /// The new gradient replaces the old one.
    #[default]
    Write,
    /// The new gradient is added to the old one; row-sparse stays row-sparse.
    Add,
    /// No gradient is computed.
    Null,
}

/// A named table of weights, dense or row-sparse, that outlives tapes.
///
/// A cloneable handle over uniquely owned storage: tapes read it in place, optimizers write it in
/// place, and only [`Parameter::snapshot`] copies. Reading while an update runs, or the other way
/// round, is an error, never a wait.
///
/// ```
/// use sparsetape::{Parameter, Tape, Tensor};
/// let w = Parameter::new("w", Tensor::dense([2], vec![1.0f32, 2.0])?)?;
/// let tape = Tape::new();
/// let loss = tape.parameter(&w).square().sum();
/// let gradients = loss.backward()?;
/// assert_eq!(gradients.of(&w).unwrap().values::<f32>()?, [2.0, 4.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone)]
pub struct Parameter(Arc<Inner>);

struct Inner {
    name: String,
    ty: Type,
    table: RwLock<Table>,
    updates: AtomicU64,
    /// How many threads are bringing rows up to date, or how often that was done: readers wait for them.
    settling: AtomicU32,
    settled: AtomicU64,
    grad_req: AtomicU8,
    grad_stype: AtomicU8,
    /// Bits of the factors on learning rate and weight decay.
    lr_mult: AtomicU64,
    wd_mult: AtomicU64,
}

impl Parameter {
    /// A parameter that takes over `value` (copied only if other handles share its memory).
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] for CSR, which gradients cannot extend; [`ErrorKind::DType`] for
    /// integers; [`ErrorKind::Shape`] for a dense one with 2³² rows or more.
    #[track_caller]
    pub fn new(name: impl Into<String>, value: Tensor) -> Result<Parameter> {
        let (name, ty, at) = (name.into(), value.ty(), Location::caller());
        let refuse = |kind, why: &str| {
            let error = Error::new(kind, why).at(at);
            Err(error.operator(format!("parameter {name:?}")).operands([&ty]))
        };
        if ty.stype == Stype::Csr {
            return refuse(ErrorKind::Stype, "a parameter is dense or row-sparse");
        }
        if !ty.dtype.is_float() {
            return refuse(ErrorKind::DType, "a parameter holds f32 or f64");
        }
        if ty.stype == Stype::Default
            && ty.shape.first().is_some_and(|&rows| rows > u32::MAX as usize)
        {
            return refuse(
                ErrorKind::Shape,
                "a dense parameter has fewer than 2³² rows; reshape it",
            );
        }
        let (shape, layout, values) = value.into_parts();
        Ok(Parameter::of_table(name, ty, Table::new(shape, layout, values)))
    }

    /// A row-sparse parameter of this shape that holds no row yet: an absent row is what `init` draws for it
    /// from the seed and its id, whatever else is drawn, the same as in [`Init::tensor`]. Operators that
    /// look rows up, by the columns of a csr matrix or by ids, store them when they are going to be trained (of
    /// a leaf that wants a gradient, outside of [`Tape::no_grad`](crate::Tape::no_grad), in an executor's
    /// training runs) and draw them in passing otherwise; to read the table as a whole is an error. Memory
    /// follows the rows that were trained.
    ///
    /// ```
    /// use sparsetape::{DType, Init, Parameter, Tape, Tensor};
    /// let v = Parameter::drawn("v", [1_000_000_000, 16], DType::F32, Init::Normal(0.01), 7)?;
    /// let tape = Tape::new();
    /// let ids = tape.constant(Tensor::dense([2], vec![5i64, 999_999_999])?);
    /// let rows = tape.parameter(&v).take(ids).value()?;
    /// assert!(rows.values::<f32>()?.iter().all(|x| *x != 0.0 && x.abs() < 0.1));
    /// assert!(v.bytes()? < 1000);
    /// assert!(v.snapshot().is_err());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] without a first axis, or for more rows than 32-bit ids name;
    /// [`ErrorKind::DType`] for integers.
    #[track_caller]
    pub fn drawn(
        name: impl Into<String>,
        shape: impl Into<Shape>,
        dtype: DType,
        init: Init,
        seed: u64,
    ) -> Result<Parameter> {
        let empty = Tensor::zeros(Stype::RowSparse, shape, dtype)?;
        let parameter = Parameter::new(name, empty)?;
        if init != Init::Constant(0.0) {
            parameter.exclusive()?.draw = Some(Draw::new(init, seed));
        }
        Ok(parameter)
    }

    fn of_table(name: String, ty: Type, table: Table) -> Parameter {
        Parameter(Arc::new(Inner {
            name,
            ty,
            table: RwLock::new(table),
            updates: AtomicU64::new(0),
            settling: AtomicU32::new(0),
            settled: AtomicU64::new(0),
            grad_req: AtomicU8::new(0),
            grad_stype: AtomicU8::new(0),
            lr_mult: AtomicU64::new(1f64.to_bits()),
            wd_mult: AtomicU64::new(1f64.to_bits()),
        }))
    }

    /// The name, as in files and summaries.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Storage type, shape and element type.
    pub fn ty(&self) -> &Type {
        &self.0.ty
    }

    /// Sizes per axis.
    pub fn shape(&self) -> &Shape {
        &self.0.ty.shape
    }

    /// The storage type.
    pub fn stype(&self) -> Stype {
        self.0.ty.stype
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.0.ty.dtype
    }

    /// Bytes that the values and row ids take now.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while an update runs.
    #[track_caller]
    pub fn bytes(&self) -> Result<usize> {
        Ok(self.read()?.bytes())
    }

    /// How many updates the parameter has seen.
    pub fn updates(&self) -> u64 {
        self.0.updates.load(Ordering::Acquire)
    }

    /// What happens to this parameter's gradient.
    pub fn grad_req(&self) -> GradReq {
        match self.0.grad_req.load(Ordering::Relaxed) {
            0 => GradReq::Write,
            1 => GradReq::Add,
            _ => GradReq::Null,
        }
    }

    /// Sets what happens to this parameter's gradient; holds for all handles.
    pub fn set_grad_req(&self, grad_req: GradReq) {
        self.0.grad_req.store(grad_req as u8, Ordering::Relaxed);
    }

    /// The storage type asked for this parameter's gradient; `None` takes it as it comes.
    pub fn grad_stype(&self) -> Option<Stype> {
        match self.0.grad_stype.load(Ordering::Relaxed) {
            0 => None,
            n => Stype::ALL.get(n as usize - 1).copied(),
        }
    }

    /// Asks for a gradient in this storage type: the backward pass ends with a visible cast.
    pub fn set_grad_stype(&self, stype: Option<Stype>) {
        let code = stype.map_or(0, |s| s as u8 + 1);
        self.0.grad_stype.store(code, Ordering::Relaxed);
    }

    /// The factors that optimizers put on the learning rate and the weight decay for this parameter; 1
    /// unless set. (MXNet: `lr_mult`, `wd_mult`.)
    pub fn multipliers(&self) -> (f64, f64) {
        let get = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
        (get(&self.0.lr_mult), get(&self.0.wd_mult))
    }

    /// Sets the factors on learning rate and weight decay; holds for all handles.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] for one that is not finite.
    #[track_caller]
    pub fn set_multipliers(&self, lr_mult: f64, wd_mult: f64) -> Result<()> {
        if !(lr_mult.is_finite() && wd_mult.is_finite()) {
            let message = format!("the multipliers are {lr_mult} and {wd_mult}");
            return Err(Error::new(ErrorKind::Value, message).operator("set_multipliers"));
        }
        self.0.lr_mult.store(lr_mult.to_bits(), Ordering::Relaxed);
        self.0.wd_mult.store(wd_mult.to_bits(), Ordering::Relaxed);
        Ok(())
    }

    /// A copy of the current values.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while an update runs; [`ErrorKind::State`] while rows are absent that are
    /// drawn when they are first needed.
    #[track_caller]
    pub fn snapshot(&self) -> Result<Tensor> {
        self.refuse_whole().map_err(|error| error.operator("snapshot"))?;
        Ok(self.read()?.whole(self.shape()))
    }

    /// Replaces the values. Counts as an update.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`], [`ErrorKind::Stype`] or [`ErrorKind::DType`] if the type differs,
    /// [`ErrorKind::Busy`] while the parameter is read.
    #[track_caller]
    pub fn set(&self, value: Tensor) -> Result<()> {
        let (ty, name, at) = (value.ty(), self.name(), Location::caller());
        let refuse = |kind, ty: &Type| {
            let message = format!("parameter {name:?} is {}, got {ty}", self.ty());
            Err(Error::new(kind, message).operator("set").at(at))
        };
        match self.ty() {
            own if own.shape != ty.shape => return refuse(ErrorKind::Shape, &ty),
            own if own.dtype != ty.dtype => return refuse(ErrorKind::DType, &ty),
            own if own.stype != ty.stype => return refuse(ErrorKind::Stype, &ty),
            _ => {}
        }
        let (_, layout, values) = value.into_parts();
        let mut table = self.exclusive()?;
        let update = self.count_update();
        match self.dtype() {
            DType::F32 => table.replace::<f32>(layout, values, update),
            _ => table.replace::<f64>(layout, values, update),
        }
        Ok(())
    }

    /// Whether both are handles to the same parameter.
    pub fn same(&self, other: &Parameter) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// The table as it is, rows that are behind included.
    #[track_caller]
    pub(crate) fn read(&self) -> Result<RwLockReadGuard<'_, Table>> {
        let mut patience = Patience::default();
        loop {
            let settled = self.0.settled.load(Ordering::SeqCst);
            match self.0.table.try_read() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            // Whoever settles counts at the end before it leaves: one of both shows who was in the way.
            let settles = self.0.settling.load(Ordering::SeqCst) > 0
                || self.0.settled.load(Ordering::SeqCst) != settled;
            if !settles || patience.ends() {
                return Err(self.busy("is being updated"));
            }
        }
    }

    /// The table with all stored rows up to date and in order.
    #[track_caller]
    pub(crate) fn read_settled(&self) -> Result<RwLockReadGuard<'_, Table>> {
        let mut patience = Patience::default();
        loop {
            self.settle(Needs::All)?;
            let table = self.read()?;
            if table.is_settled(Needs::All) {
                return Ok(table);
            }
            drop(table);
            if patience.ends() {
                return Err(self.busy("is being read"));
            }
        }
    }

    /// Exclusive access, say for an update.
    #[track_caller]
    pub(crate) fn exclusive(&self) -> Result<RwLockWriteGuard<'_, Table>> {
        let mut table = match self.0.table.try_write() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return Err(self.busy("is being read")),
        };
        table.keep_promises();
        Ok(table)
    }

    /// Counts an update: what was recorded before is stale.
    pub(crate) fn count_update(&self) -> u64 {
        self.0.updates.fetch_add(1, Ordering::Release) + 1
    }

    /// A copy of a column of an optimizer's state, up to date.
    #[track_caller]
    pub(crate) fn state_column(&self, owner: &Arc<()>, i: usize) -> Result<Option<Tensor>> {
        Ok(self.read_settled()?.state_column(owner, i))
    }

    /// Makes what is needed readable in the table itself, if nobody else reads it now: it has the same
    /// values as before, but they may not have been written yet. Whether nobody did.
    #[track_caller]
    pub(crate) fn settle(&self, needs: Needs<'_>) -> Result<bool> {
        if self.read()?.is_plain() {
            return Ok(true);
        }
        self.0.settling.fetch_add(1, Ordering::SeqCst);
        let exclusive = self.exclusive().map(|mut table| table.settle(needs));
        self.0.settled.fetch_add(1, Ordering::SeqCst);
        self.0.settling.fetch_sub(1, Ordering::SeqCst);
        Ok(exclusive.is_ok())
    }

    /// An error where the whole of a table is read whose absent rows are not zero.
    #[track_caller]
    pub(crate) fn refuse_whole(&self) -> Result<()> {
        if !self.read()?.has_drawn_absent_rows() {
            return Ok(());
        }
        let message = format!(
            "parameter {:?} is read as a whole, but its absent rows are drawn when they are \
             first needed; look rows up, by the columns of a csr matrix or by ids",
            self.name()
        );
        Err(Error::new(ErrorKind::State, message))
    }

    #[track_caller]
    fn busy(&self, how: &str) -> Error {
        Error::new(ErrorKind::Busy, format!("parameter {:?} {how} elsewhere", self.name()))
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({:?}: {})", self.name(), self.ty())
    }
}

/// How long threads wait for each other: what they wait for is short, but if a thread comes to wait for
/// itself, that is an error and no deadlock.
#[derive(Default)]
struct Patience(Option<Instant>);

impl Patience {
    fn ends(&mut self) -> bool {
        let since = *self.0.get_or_insert_with(Instant::now);
        std::thread::yield_now();
        since.elapsed() > Duration::from_secs(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An update is never waited for; what it holds is not read.
    #[test]
    fn readers_meet_a_running_update() {
        let w = Parameter::new("w", Tensor::full([4, 1], 1.0f32).unwrap()).unwrap();
        let update = w.exclusive().unwrap();
        let begun = Instant::now();
        let busy = [
            w.read().map(drop),
            w.snapshot().map(drop),
            w.rows(&[1]).map(drop),
            w.freeze_rows(&[1]),
            super::super::Tape::new().parameter(&w).square().value().map(drop),
        ];
        assert!(busy.iter().all(|read| read.as_ref().is_err_and(|e| e.kind() == ErrorKind::Busy)));
        assert!(begun.elapsed() < Duration::from_secs(1));
        drop(update);
        let reader = w.read().unwrap();
        assert_eq!(w.exclusive().map(drop).unwrap_err().kind(), ErrorKind::Busy);
        assert!(w.snapshot().is_ok() && w.rows(&[1]).is_ok());
        drop(reader);
        assert!(w.exclusive().is_ok());
    }
}
