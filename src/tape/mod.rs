//! The recording: operators, values and gradients, define-by-run.

mod backward;
mod dyn_op;
mod execute;
mod fallback;
mod gradients;
pub(crate) mod infer;
mod init;
mod inspect;
mod memory;
pub(crate) mod methods;
mod observe;
pub(crate) mod op;
mod parameter;
mod partial;
mod profile;
mod record;
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

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

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
pub use refine::PartialShape;
pub(crate) use refine::{ranks_apart, unify_axes, unify_dims, unify_products, unify_ranks};
pub use registry::Registry;
use small::Small;
use symbol::Names;
pub use var::Var;
pub use variable::{Variable, variable};

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Shape, Stype, Tensor, Type};

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

#[derive(Default)]
struct Recording {
    nodes: Vec<Node>,
    /// What nodes hold that is not small, in their order, and whether an operator computed it.
    values: Vec<(Value, bool)>,
    small: Small,
    /// Types of nodes; values of one type share it, as long as they are no symbols.
    types: Vec<PartialType>,
    errors: Vec<Error>,
    /// How many recordings this tape has forgotten.
    cleared: u64,
    /// How many random operators were recorded.
    ordinals: u64,
    /// What [`Var::named`] gave.
    names: Names,
    /// Whether something was learnt of values since it was inferred what follows.
    learnt: bool,
    /// The variables of a symbolic recording.
    variables: FxHashMap<u32, Variable>,
}

struct Node {
    /// `None` for leaves.
    op: Option<OpRef>,
    ins: SmallVec<[u32; 4]>,
    /// Among the types of the recording. All of it is known, unless that is symbolic.
    ty: u32,
    value: Held,
    at: &'static Location<'static>,
    /// Whether a leaf that wants a gradient is upstream.
    needs_grad: bool,
    /// For leaves: the storage type that the gradient shall have.
    grad_stype: Option<Stype>,
}

impl Node {
    /// What is no operator's result, and wants no gradient.
    #[inline(always)]
    fn leaf(ty: u32, value: Held, at: &'static Location<'static>) -> Node {
        let ins = SmallVec::new();
        Node { op: None, ins, ty, value, at, needs_grad: false, grad_stype: None }
    }
}

/// Where the value of a node is.
#[derive(Clone, Copy)]
enum Held {
    /// Among the small values, at this place.
    Small(u32),
    /// Among the other values.
    Stored(u32),
    /// A small leaf: among the other values, and a copy at this place.
    Both(u32, u32),
}

impl Held {
    #[inline]
    fn small(self) -> Option<u32> {
        match self {
            Held::Small(place) | Held::Both(_, place) => Some(place),
            Held::Stored(_) => None,
        }
    }
}

/// So many types back one is looked for that is there already.
const RECENT: usize = 8;

impl Recording {
    /// What is known of a node's type.
    #[inline]
    fn ty(&self, id: u32) -> &PartialType {
        &self.types[self.nodes[id as usize].ty as usize]
    }

    /// What is known of a node's type, to be learnt more of.
    fn ty_mut(&mut self, id: u32) -> &mut PartialType {
        &mut self.types[self.nodes[id as usize].ty as usize]
    }

    /// A type among those that there are.
    fn intern(&mut self, ty: PartialType, symbolic: bool) -> u32 {
        let first = self.types.len().saturating_sub(RECENT);
        let known = self.types[first..].iter().rposition(|own| *own == ty).filter(|_| !symbolic);
        let at = known.map_or(self.types.len(), |at| first + at);
        if at == self.types.len() {
            self.types.push(ty);
        }
        at as u32
    }

    /// What a node holds, unless it is small and was computed.
    fn stored(&self, node: &Node) -> Option<&Value> {
        match node.value {
            Held::Stored(at) | Held::Both(at, _) => Some(&self.values[at as usize].0),
            Held::Small(_) => None,
        }
    }

    /// Takes in the value of the next node.
    fn hold(&mut self, value: Value, computed: bool) -> Held {
        self.values.push((value, computed));
        Held::Stored(self.values.len() as u32 - 1)
    }
}

#[derive(Clone)]
pub(crate) enum Value {
    Tensor(Tensor),
    /// A reference to a parameter, with its update count when it was recorded.
    Parameter(Parameter, u64),
    /// A symbolic recording holds no values.
    Symbol,
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
        self.truncate((0, 0));
        let recording = self.recording.get_mut();
        recording.types.clear();
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

    /// A variable of a symbolic recording; names are unique.
    ///
    /// ```
    /// use sparsetape::{Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").shape([2, 3]));
    /// assert_eq!((x * 2.0).shape()?[..], [2, 3]);
    /// assert!(tape.symbol(variable("x")).ok().is_err());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn symbol(&self, variable: Variable) -> Var<'_> {
        let at = self.at.get().unwrap_or(Location::caller());
        let refuse = |why: &str| {
            let message = format!("variable {:?}: {why}", variable.name());
            self.poison(Error::new(ErrorKind::State, message).operator("symbol").at(at))
        };
        if !self.symbolic {
            return refuse("this tape holds values; `Tape::symbolic` makes one for variables");
        }
        if self.recording.borrow().names.find(variable.name()).is_some() {
            return refuse("another value of this recording has this name");
        }
        let mut ty = variable.ty().clone();
        if let Err(error) = ty.refine_rank() {
            return refuse(error.message());
        }
        let var = self.push_leaf(ty, Value::Symbol, true, None, at);
        let mut recording = self.recording.borrow_mut();
        recording.names.insert(var.id, variable.name().to_owned());
        recording.variables.insert(var.id, variable);
        drop(recording);
        var
    }

    /// A value without a gradient.
    #[track_caller]
    pub fn constant(&self, value: Tensor) -> Var<'_> {
        self.leaf(value, false)
    }

    /// A value with a gradient, which [`Gradients::wrt`] finds. Integers have none.
    #[track_caller]
    pub fn variable(&self, value: Tensor) -> Var<'_> {
        self.leaf(value, true)
    }

    /// A reference to a parameter: nothing is copied. Its gradient, unless its
    /// [`GradReq`] is `Null`, is found by [`Gradients::of`].
    #[track_caller]
    pub fn parameter(&self, parameter: &Parameter) -> Var<'_> {
        let wants = parameter.grad_req() != GradReq::Null;
        let value = Value::Parameter(parameter.clone(), parameter.updates());
        let ty = parameter.ty().into();
        self.push_leaf(ty, value, wants, parameter.grad_stype(), Location::caller())
    }

    #[track_caller]
    fn leaf(&self, value: Tensor, wants_grad: bool) -> Var<'_> {
        let wants = wants_grad && value.dtype().is_float();
        self.push_leaf(value.ty().into(), Value::Tensor(value), wants, None, Location::caller())
    }

    fn push_leaf(
        &self,
        ty: PartialType,
        value: Value,
        wants_grad: bool,
        grad_stype: Option<Stype>,
        at: &'static Location<'static>,
    ) -> Var<'_> {
        let needs_grad = wants_grad && self.no_grad.get() == 0;
        let at = self.at.get().unwrap_or(at);
        let (ty, value) = {
            let recording = &mut *self.recording.borrow_mut();
            let small = match &value {
                Value::Tensor(tensor) if Small::takes(tensor) => {
                    Some(recording.small.push(tensor.view().values()))
                }
                _ => None,
            };
            let held = match (recording.hold(value, false), small) {
                (Held::Stored(at), Some(place)) => Held::Both(at, place),
                (held, _) => held,
            };
            (recording.intern(ty, self.symbolic), held)
        };
        self.push(Node { needs_grad, grad_stype, ..Node::leaf(ty, value, at) })
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

    fn push(&self, node: Node) -> Var<'_> {
        let mut recording = self.recording.borrow_mut();
        let id = recording.nodes.len() as u32;
        if id >= POISON {
            drop(recording);
            let message = "the tape holds 2^31 values, its limit; clear it between steps";
            return self.poison(Error::new(ErrorKind::State, message));
        }
        recording.nodes.push(node);
        Var { tape: self, id }
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

    /// The variable of this name, made if there is none yet.
    #[cfg(feature = "data")]
    #[track_caller]
    pub(crate) fn symbol_of(&self, name: &str, make: impl FnOnce() -> Variable) -> Var<'_> {
        let found = self.recording.borrow().names.find(name);
        found.map_or_else(|| self.symbol(make()), |id| self.var(id))
    }

    /// The value at this place.
    #[cfg(feature = "data")]
    pub(crate) fn var(&self, id: u32) -> Var<'_> {
        Var { tape: self, id }
    }

    fn poison_of(&self, var: Var<'_>) -> Option<Error> {
        let index = (var.id & !POISON) as usize;
        (var.id & POISON != 0).then(|| self.recording.borrow().errors[index].clone())
    }

    fn value_of(&self, var: Var<'_>) -> Result<Tensor> {
        let recording = self.recording.borrow();
        let node = &recording.nodes[var.id as usize];
        let Some(value) = recording.stored(node) else {
            return Ok(self.tensor_of(&recording, var.id));
        };
        match value {
            Value::Tensor(tensor) => Ok(tensor.clone()),
            Value::Parameter(parameter, _) => {
                let name = parameter.name();
                let message = format!(
                    "this is parameter {name:?} itself, and values are never copied silently; \
                     `snapshot()` copies it"
                );
                Err(Error::new(ErrorKind::State, message).operator("value").at(node.at))
            }
            Value::Symbol => {
                let message = "a symbolic recording has no values; make a graph of it and bind it";
                Err(Error::new(ErrorKind::State, message).operator("value").at(node.at))
            }
        }
    }

    /// A copy of a small value that was computed.
    fn tensor_of(&self, recording: &Recording, id: u32) -> Tensor {
        let Held::Small(place) = recording.nodes[id as usize].value else {
            unreachable!("what is not small is stored")
        };
        let Some(Type { shape, dtype, .. }) = recording.ty(id).known() else {
            unreachable!("what was computed has a type")
        };
        let arena = &mut self.workspace.borrow_mut().arena;
        arena.during(|| recording.small.tensor(place, dtype, shape))
    }

    /// What is known of a value's type where it was recorded.
    fn partial_type_of(&self, var: Var<'_>) -> PartialType {
        self.recording.borrow().ty(var.id).clone()
    }

    fn stype_of(&self, var: Var<'_>) -> Stype {
        self.recording.borrow().ty(var.id).stype
    }

    /// All that is known of a value's type, also from what was recorded after it, if `enough`.
    fn inferred<T>(
        &self,
        var: Var<'_>,
        what: &str,
        enough: impl Fn(&PartialType) -> Option<T>,
    ) -> Result<T> {
        if let Some(known) = enough(&self.partial_type_of(var)) {
            return Ok(known);
        }
        enough(&self.inferred_type(var)?).ok_or_else(|| self.unknown(var, what))
    }

    /// What is known of a value's type, also from what was recorded after it.
    fn inferred_type(&self, var: Var<'_>) -> Result<PartialType> {
        let ty = self.partial_type_of(var);
        if ty.known().is_some() {
            return Ok(ty);
        }
        self.infer()?;
        Ok(self.partial_type_of(var))
    }

    fn location_of(&self, var: Var<'_>) -> &'static Location<'static> {
        self.recording.borrow().nodes[var.id as usize].at
    }

    #[track_caller]
    fn set_grad_stype<'t>(&'t self, var: Var<'t>, stype: Stype) -> Var<'t> {
        if var.id & POISON != 0 {
            return var;
        }
        if let node @ Node { op: None, .. } =
            &mut self.recording.borrow_mut().nodes[var.id as usize]
        {
            node.grad_stype = Some(stype);
            return var;
        }
        let message = "a gradient's storage type is asked for at a leaf; `cast_storage` casts";
        let error = Error::new(ErrorKind::State, message).operator("with_grad_stype");
        self.poison(error)
    }

    /// How many values there are, and where the next small one goes.
    fn extent(&self) -> (usize, u32) {
        let recording = self.recording.borrow();
        (recording.nodes.len(), recording.small.end())
    }

    /// Drops what was recorded since then; its memory is used again.
    fn truncate(&self, (len, small): (usize, u32)) {
        let recording = &mut *self.recording.borrow_mut();
        let arena = &mut self.workspace.borrow_mut().arena;
        let stored = |node: &Node| match node.value {
            Held::Stored(at) | Held::Both(at, _) => Some(at as usize),
            Held::Small(_) => None,
        };
        let first = recording.nodes[len..].iter().find_map(stored);
        for (value, computed) in
            recording.values.drain(first.unwrap_or(recording.values.len())..).rev()
        {
            // What a leaf held came from elsewhere: to keep that, too, would be to hoard.
            if let (Value::Tensor(tensor), true) = (value, computed) {
                memory::recycle(tensor, arena);
            }
        }
        recording.nodes.truncate(len);
        recording.small.truncate(small);
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

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let recording = self.recording.borrow();
        writeln!(f, "Tape of {} values", recording.nodes.len())?;
        for (id, node) in recording.nodes.iter().enumerate() {
            let name = match (&node.op, recording.stored(node)) {
                (Some(op), _) => op.label().into_owned(),
                (None, Some(Value::Parameter(parameter, _))) => {
                    format!("parameter {}", parameter.name())
                }
                (None, Some(Value::Symbol)) => {
                    format!("variable {}", recording.names.get(id as u32).unwrap_or_default())
                }
                (None, _) => "leaf".to_owned(),
            };
            let ty = recording.ty(id as u32);
            let ins: Vec<String> = node.ins.iter().map(|id| format!("%{id}")).collect();
            writeln!(f, "%{id} = {name}({}): {ty}  [{}]", ins.join(", "), node.at)?;
        }
        Ok(())
    }
}

impl Tensor {
    /// The same values in another shape (dense, or with the same rows).
    pub(crate) fn in_shape(&self, shape: Shape) -> Tensor {
        let (_, layout, values) = self.clone().into_parts();
        Tensor::from_parts(shape, layout, values)
    }
}
