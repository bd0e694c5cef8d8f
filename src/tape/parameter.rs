//! Named tables that outlive tapes.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::gather::gather_compact;
use crate::kernels::merge::{positions, union_rows};
use crate::tensor::{
    Buffer, DType, DenseView, Element, Layout, RowSparseView, Shape, Slice, Stype, Tensor, Type,
    Values, View, row_len,
};

/// What happens to a parameter's gradient when [`Gradients`](crate::Gradients) are filled again.
/// (MXNet: `grad_req`.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    stored: RwLock<Stored>,
    updates: AtomicU64,
    grad_req: AtomicU8,
    grad_stype: AtomicU8,
}

/// A parameter's own memory.
#[derive(Debug)]
pub(crate) struct Stored {
    shape: Shape,
    layout: StoredLayout,
    values: Values,
}

#[derive(Clone, Debug)]
enum StoredLayout {
    Dense,
    RowSparse(Buffer<u32>),
}

impl Stored {
    /// A view in another shape with the same rows (or, dense, the same size).
    pub(crate) fn view<'a>(&'a self, shape: &'a [usize]) -> View<'a> {
        let values = self.values.as_slice();
        match &self.layout {
            StoredLayout::Dense => View::Dense(DenseView { shape, values }),
            StoredLayout::RowSparse(rows) => View::RowSparse(RowSparseView { shape, rows, values }),
        }
    }

    /// Bytes of values and row ids.
    pub(crate) fn bytes(&self) -> usize {
        let ids = match &self.layout {
            StoredLayout::Dense => 0,
            StoredLayout::RowSparse(rows) => size_of_val(&rows[..]),
        };
        ids + self.values.len() * self.values.dtype().size()
    }

    /// A copy as a tensor.
    pub(crate) fn snapshot(&self) -> Tensor {
        let layout = match &self.layout {
            StoredLayout::Dense => Layout::Dense,
            StoredLayout::RowSparse(rows) => Layout::RowSparse(rows.clone()),
        };
        Tensor::from_parts(self.shape.clone(), layout, copied(self.values.as_slice()))
    }

    /// Zeros, stored where this is.
    pub(crate) fn zeros_like<T: Element>(&self) -> Stored {
        // Zeroed pages come from the system untouched: only what is written takes memory.
        let values = T::erase(vec![T::default(); self.values.len()].into());
        Stored { shape: self.shape.clone(), layout: self.layout.clone(), values }
    }

    /// All stored values, to be written.
    pub(crate) fn values_mut<T: Element>(&mut self) -> &mut [T] {
        let len = self.values.len();
        let values = T::unique_slice(&mut self.values);
        assert_eq!(values.len(), len, "a parameter owns its memory alone");
        values
    }

    /// Makes both store the same rows, where the storage is row-sparse: one of them may have been
    /// replaced or used elsewhere.
    pub(crate) fn match_rows<T: Element>(&mut self, other: &mut Stored) {
        let (StoredLayout::RowSparse(own), StoredLayout::RowSparse(others)) =
            (self.layout.clone(), other.layout.clone())
        else {
            return;
        };
        if own.is(&others) {
            return;
        }
        if own != others {
            self.insert_rows::<T>(&others);
            other.insert_rows::<T>(&own);
        }
        // Shared from here on, so that the next comparison is of addresses.
        self.layout = other.layout.clone();
    }

    /// Inserts all absent rows as zeros, where the storage is row-sparse.
    pub(crate) fn insert_all_rows<T: Element>(&mut self) {
        if let StoredLayout::RowSparse(_) = self.layout {
            let all: Vec<u32> = (0..self.shape[0]).map(|row| row as u32).collect();
            self.insert_rows::<T>(&all);
        }
    }

    /// Where rows are stored; absent ones are inserted first, as zeros.
    pub(crate) fn slots<'r, T: Element>(&mut self, ids: &'r [u32]) -> Cow<'r, [u32]> {
        self.insert_rows::<T>(ids);
        match &self.layout {
            StoredLayout::Dense => Cow::Borrowed(ids),
            StoredLayout::RowSparse(rows) => Cow::Owned(positions(ids, rows)),
        }
    }

    /// Inserts absent rows as zeros, where the storage is row-sparse. Costs a copy of the stored rows
    /// when there is something to insert, a search otherwise.
    pub(crate) fn insert_rows<T: Element>(&mut self, ids: &[u32]) {
        let StoredLayout::RowSparse(rows) = &self.layout else { return };
        if !positions(ids, rows).contains(&u32::MAX) {
            return;
        }
        let union = union_rows(&[rows, ids]);
        let slots = positions(&union, rows);
        let old = T::typed_slice(self.values.as_slice()).unwrap_or_default();
        let k = row_len(&self.shape);
        let mut values = vec![T::default(); union.len() * k];
        gather_compact(&slots, old, k, &mut values);
        self.values = T::erase(values.into());
        self.layout = StoredLayout::RowSparse(union.into());
    }
}

impl Parameter {
    /// A parameter that takes over `value` (copied only if other handles share its memory).
    ///
    /// # Errors
    /// [`ErrorKind::Stype`] for CSR, which gradients cannot extend; [`ErrorKind::DType`] for
    /// integers.
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
        let (shape, layout, values) = value.into_parts();
        let layout = match layout {
            Layout::RowSparse(rows) => StoredLayout::RowSparse(rows),
            _ => StoredLayout::Dense,
        };
        let stored = Stored { shape, layout, values: unshared(values) };
        Ok(Parameter(Arc::new(Inner {
            name,
            ty,
            stored: RwLock::new(stored),
            updates: AtomicU64::new(0),
            grad_req: AtomicU8::new(0),
            grad_stype: AtomicU8::new(0),
        })))
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

    /// A copy of the current values.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while an update runs.
    #[track_caller]
    pub fn snapshot(&self) -> Result<Tensor> {
        Ok(self.read()?.snapshot())
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
        let mut stored = self.write()?;
        let (_, layout, values) = value.into_parts();
        if let Layout::RowSparse(rows) = layout {
            stored.layout = StoredLayout::RowSparse(rows);
        }
        stored.values = unshared(values);
        Ok(())
    }

    /// Whether both are handles to the same parameter.
    pub fn same(&self, other: &Parameter) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    #[track_caller]
    pub(crate) fn read(&self) -> Result<RwLockReadGuard<'_, Stored>> {
        match self.0.stored.try_read() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => Err(self.busy("is being updated")),
        }
    }

    /// Exclusive access for an update, which is counted.
    #[track_caller]
    pub(crate) fn write(&self) -> Result<RwLockWriteGuard<'_, Stored>> {
        let guard = match self.0.stored.try_write() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return Err(self.busy("is being read")),
        };
        self.0.updates.fetch_add(1, Ordering::Release);
        Ok(guard)
    }

    #[track_caller]
    fn busy(&self, how: &str) -> Error {
        Error::new(ErrorKind::Busy, format!("parameter {:?} {how} elsewhere", self.name()))
    }
}

/// Values in a `Vec` that no one else holds.
fn unshared(values: Values) -> Values {
    match values {
        Values::F32(b) => Values::F32(b.into_vec().into()),
        Values::F64(b) => Values::F64(b.into_vec().into()),
        Values::I64(b) => Values::I64(b.into_vec().into()),
    }
}

fn copied(slice: Slice<'_>) -> Values {
    match slice {
        Slice::F32(s) => Values::F32(s.to_vec().into()),
        Slice::F64(s) => Values::F64(s.to_vec().into()),
        Slice::I64(s) => Values::I64(s.to_vec().into()),
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({:?}: {})", self.name(), self.ty())
    }
}

/// An ordered, named collection of parameters; printing it gives a table.
///
/// ```
/// use sparsetape::{Parameter, Params, Tensor};
/// let w = Parameter::new("w", Tensor::full([4, 2], 0.5f32)?)?;
/// let b = Parameter::new("b", Tensor::full([2], 0.0f32)?)?;
/// let params = Params::new([&w, &b])?;
/// assert_eq!(params.get("b").map(|p| p.same(&b)), Some(true));
/// assert!(params.to_string().contains("(4, 2)"));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<Parameter>);

impl Params {
    /// A collection of handles, in this order.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if two different parameters have the same name. The same parameter
    /// given twice (tied weights) counts once.
    #[track_caller]
    pub fn new<'a>(parameters: impl IntoIterator<Item = &'a Parameter>) -> Result<Params> {
        let mut params = Params::default();
        for parameter in parameters {
            params.push(parameter)?;
        }
        Ok(params)
    }

    /// Adds a handle.
    ///
    /// # Errors
    /// As [`Params::new`].
    #[track_caller]
    pub fn push(&mut self, parameter: &Parameter) -> Result<()> {
        match self.get(parameter.name()) {
            None => self.0.push(parameter.clone()),
            Some(held) if held.same(parameter) => {}
            Some(_) => {
                let message = format!("two parameters are named {:?}", parameter.name());
                return Err(Error::new(ErrorKind::State, message).operator("Params"));
            }
        }
        Ok(())
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|p| p.name() == name)
    }

    /// The parameters in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.0.iter()
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that all values and row ids take now.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while an update runs.
    #[track_caller]
    pub fn bytes(&self) -> Result<usize> {
        let mut bytes = 0;
        for parameter in self {
            bytes += parameter.bytes()?;
        }
        Ok(bytes)
    }
}

impl<'a> IntoIterator for &'a Params {
    type Item = &'a Parameter;
    type IntoIter = std::slice::Iter<'a, Parameter>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.iter().map(|p| p.name().len()).max().unwrap_or(0).max(4);
        writeln!(f, "{:width$}  {:10}  {:5}  {:>14}  shape", "name", "storage", "dtype", "bytes")?;
        for p in self {
            let bytes = p.bytes().map_or_else(|_| "busy".to_owned(), |b| b.to_string());
            let (stype, dtype, shape) = (p.stype(), p.dtype(), p.shape());
            writeln!(f, "{:width$}  {stype:10}  {dtype:5}  {bytes:>14}  {shape}", p.name())?;
        }
        Ok(())
    }
}
