//! The recording: operators, values and gradients, define-by-run.

mod backward;
mod dyn_op;
mod execute;
mod fallback;
mod gradients;
pub(crate) mod infer;
mod init;
mod inspect;
mod leaf;
mod memory;
pub(crate) mod methods;
mod observe;
pub(crate) mod op;
mod parameter;
mod partial;
mod profile;
mod read;
mod record;
mod recording;
mod refine;
mod registry;
mod small;
pub(crate) mod structural;
mod symbol;
pub(crate) mod trace;
mod var;
mod variable;

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

pub use dyn_op::{DynOp, OpRef};
pub use execute::evaluate;
pub(crate) use execute::{Plan, Reuse, Workspace, compose, compose_all, explain, plan};
pub use fallback::Fallback;
pub(crate) use fallback::warn;
pub use gradients::Gradients;
pub use init::Init;
pub(crate) use inspect::{Leaf, Recorded};
pub(crate) use memory::{InPlace, Made, PerOperand};
pub use memory::{Mode, Out, Scratch};
pub use observe::Observed;
pub(crate) use observe::Observers;
#[cfg(feature = "data")]
pub(crate) use observe::name_matches;
pub use op::{
    ByDtype, Case, Cotangent, Gradient, Grads, Ins, Kernel, LossOf, Op, Read, Sample, Surrogate,
    TableRow,
};
pub use parameter::{GradReq, Parameter, Params};
pub(crate) use parameter::{Lent, Owned, Record, Table, copied as unshared_copy, drawn_of};
pub use partial::{DTypes, PartialType};
pub use profile::{Profile, ProfileRow};
pub(crate) use recording::Value;
use recording::{Extent, Recording};
pub use refine::PartialShape;
pub(crate) use refine::{ranks_apart, unify_axes, unify_dims, unify_products, unify_ranks};
pub use registry::Registry;
pub use var::Var;
pub use variable::{Variable, variable};

use crate::error::Error;
use crate::tensor::{Shape, Tensor};

/// A recording of eager operations, and the memory that they run in.
///
/// Values live until [`Tape::clear`], which keeps the memory for the next step. A tape belongs to
/// one thread; parameters are shared between tapes by handle.
///
/// ```
/// use sparsetape::{Stype, Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.constant(Tensor::csr([2, 5], vec![0, 1, 2], vec![1, 4], vec![2.0f32, 3.0])?);
/// let w = tape.variable(Tensor::full([5, 1], 0.1f32)?);
/// let loss = x.dot(w).square().mean();
/// let gradients = loss.backward()?;
/// let dw = gradients.wrt(w).unwrap();
/// assert_eq!((dw.stype(), dw.rows()), (Stype::RowSparse, Some(&[1, 4][..])));
/// # Ok::<(), sparsetape::Error>(())
/// ```
pub struct Tape {
    recording: RefCell<Recording>,
    workspace: RefCell<Workspace>,
    observers: RefCell<Observers>,
    fallback: Cell<Fallback>,
    detect_non_finite: Cell<bool>,
    /// How many `no_grad` scopes are open.
    no_grad: Cell<usize>,
    /// While a backward rule runs: the line of the forward node.
    at: Cell<Option<&'static Location<'static>>>,
    /// While a composition of operators records: its name.
    within: Cell<Option<&'static str>>,
    /// Whether it holds types only.
    symbolic: bool,
    /// Tells tapes apart.
    number: u64,
}

/// The high bit of an id marks a poisoned variable; the rest is the index of its error.
const POISON: u32 = 1 << 31;

impl Tape {
    /// An empty tape, not training, with [`Fallback::Warn`].
    pub fn new() -> Self {
        Self::recording(false)
    }

    /// An empty symbolic tape: its [variables](Tape::symbol) have names and types but no values,
    /// operators infer types and compute nothing. It is made into a [`Graph`](crate::Graph), which is
    /// bound to values and run.
    ///
    /// What is unknown of shapes follows from what variables meet, in both directions. Where both
    /// operands of an element-wise operator have an axis of unknown size, it is taken to be the same:
    /// axes of size 1, which broadcast, are declared.
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let a = tape.symbol(variable("a").stype(Stype::Csr));
    /// let b = tape.symbol(variable("b"));
    /// assert_eq!(a.dot_with(b, true, false).stype()?, Stype::RowSparse);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn symbolic() -> Self {
        Self::recording(true)
    }

    fn recording(symbolic: bool) -> Self {
        static TAPES: AtomicU64 = AtomicU64::new(1);
        let number = TAPES.fetch_add(1, Ordering::Relaxed);
        Tape {
            recording: RefCell::default(),
            workspace: RefCell::default(),
            observers: RefCell::default(),
            fallback: Cell::default(),
            detect_non_finite: Cell::default(),
            no_grad: Cell::default(),
            at: Cell::default(),
            within: Cell::default(),
            symbolic,
            number,
        }
    }

    /// Whether this tape holds types only.
    pub fn is_symbolic(&self) -> bool {
        self.symbolic
    }

    /// Sets what happens when an operand would have to be made dense.
    pub fn set_fallback(&self, policy: Fallback) {
        self.fallback.set(policy);
    }

    /// What happens when an operand would have to be made dense.
    pub fn fallback(&self) -> Fallback {
        self.fallback.get()
    }

    /// From now on operators that differ between training and prediction (dropout) train, with random
    /// numbers that follow from `seed` and `step`. A recording and its backward pass run in one mode;
    /// it stays when the tape is cleared.
    ///
    /// ```
    /// use sparsetape::{Mode, Tape, Tensor};
    /// let mut tape = Tape::new();
    /// for step in 0..3 {
    ///     tape.clear();
    ///     tape.train(42, step);
    ///     let x = tape.variable(Tensor::full([8], 1.0f32)?);
    ///     x.dropout(0.2).sum().backward()?;
    /// }
    /// tape.predict();
    /// assert_eq!(tape.mode(), Mode::Predict);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn train(&self, seed: u64, step: u64) {
        self.set_mode(Mode::Train { seed, step });
    }

    /// From now on operators that differ between training and prediction do what they do in
    /// prediction, as on a new tape.
    pub fn predict(&self) {
        self.set_mode(Mode::Predict);
    }

    /// Whether operators that differ between training and prediction train.
    pub fn is_train(&self) -> bool {
        self.mode() != Mode::Predict
    }

    /// Whether operators train, and by which numbers.
    pub fn mode(&self) -> Mode {
        self.workspace.borrow().scratch.mode
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.workspace.borrow_mut().scratch.mode = mode;
    }

    /// The number of the next random operator of this recording.
    pub(crate) fn next_ordinal(&self) -> u64 {
        let mut recording = self.recording.borrow_mut();
        recording.ordinals += 1;
        recording.ordinals - 1
    }

    /// Switches on (or off) a check of every result: the first NaN or infinity poisons the variable
    /// with an error that names operator and source line.
    ///
    /// ```
    /// use sparsetape::{ErrorKind, Tape, Tensor};
    /// let tape = Tape::new();
    /// tape.detect_non_finite(true);
    /// let x = tape.constant(Tensor::dense([2], vec![1.0f64, -1.0])?);
    /// let error = x.log().sum().value().unwrap_err();
    /// assert_eq!((error.kind(), error.operator_name()), (ErrorKind::NonFinite, Some("log")));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn detect_non_finite(&self, on: bool) {
        self.detect_non_finite.set(on);
    }

    /// Number of recorded values.
    pub fn len(&self) -> usize {
        self.recording.borrow().nodes.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the recording, but keeps its memory for the next one.
    pub fn clear(&mut self) {
        self.truncate(Extent::default());
        let recording = self.recording.get_mut();
        recording.types.clear();
        recording.sizes.clear();
        recording.errors.clear();
        recording.cleared += 1;
        recording.ordinals = 0;
        recording.names.clear();
        recording.variables.clear();
    }

    /// Tells this recording from those before it and from other tapes.
    fn recording_id(&self) -> (u64, u64) {
        (self.number, self.recording.borrow().cleared)
    }

    /// Runs `record` without gradients: nothing that it records is differentiated.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::scalar(3.0f64));
    /// let y = x * tape.no_grad(|| x * x);
    /// assert_eq!(y.backward()?.wrt(x).unwrap().item::<f64>()?, 9.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn no_grad<R>(&self, record: impl FnOnce() -> R) -> R {
        let _scope = self.no_grad_scope();
        record()
    }

    /// [`Tape::no_grad`] until the scope ends.
    pub(crate) fn no_grad_scope(&self) -> impl Sized {
        Scope::enter(&self.no_grad, self.no_grad.get() + 1)
    }

    /// Runs `record` with its operators located at this line.
    pub(crate) fn at_line<R>(
        &self,
        at: &'static Location<'static>,
        record: impl FnOnce() -> R,
    ) -> R {
        let _line = Scope::enter(&self.at, Some(at));
        record()
    }

    /// Runs `record` with its operators located at the caller's line and, in errors, named as parts of
    /// this composition, or of the one that is recording already.
    #[track_caller]
    pub(crate) fn composition<R>(&self, name: &'static str, record: impl FnOnce() -> R) -> R {
        let at = self.at.get().unwrap_or(Location::caller());
        let _name = Scope::enter(&self.within, self.within.get().or(Some(name)));
        self.at_line(at, record)
    }

    pub(crate) fn poison(&self, error: Error) -> Var<'_> {
        let error = match self.within.get() {
            Some(composition) => error.within(composition),
            None => error,
        };
        let errors = &mut self.recording.borrow_mut().errors;
        errors.push(error);
        Var { tape: self, id: POISON | (errors.len() - 1) as u32 }
    }

    fn poison_of(&self, var: Var<'_>) -> Option<Error> {
        let index = (var.id & !POISON) as usize;
        (var.id & POISON != 0).then(|| self.recording.borrow().errors[index].clone())
    }

    pub(crate) fn recycle(&self, tensor: Tensor) {
        memory::recycle(tensor, &mut self.workspace.borrow_mut().arena);
    }
}

/// Sets a cell for as long as the scope lives.
struct Scope<'c, T: Copy> {
    cell: &'c Cell<T>,
    before: T,
}

impl<'c, T: Copy> Scope<'c, T> {
    fn enter(cell: &'c Cell<T>, value: T) -> Self {
        Scope { cell, before: cell.replace(value) }
    }
}

impl<T: Copy> Drop for Scope<'_, T> {
    fn drop(&mut self) {
        self.cell.set(self.before);
    }
}

impl Default for Tape {
    fn default() -> Self {
        Tape::new()
    }
}

impl Tensor {
    /// The same values in another shape (dense, or with the same rows).
    pub(crate) fn in_shape(&self, shape: Shape) -> Tensor {
        let (_, layout, values) = self.clone().into_parts();
        Tensor::from_parts(shape, layout, values)
    }
}
