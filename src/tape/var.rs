//! Handles into a tape.

use std::fmt;
use std::panic::Location;

use super::dyn_op::OpRef;
use super::partial::PartialType;
use super::{POISON, Tape};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Element, Shape, Stype, Tensor, Type};

/// A value on a tape: a small `Copy` handle.
///
/// Operators never fail where they are called: a bad call gives a *poisoned* variable that carries
/// its error (operator, operand types, source line) through everything built on it, and every exit
/// ([`value`](Var::value), [`item`](Var::item), [`shape`](Var::shape), [`backward`](Var::backward),
/// [`Tape::grad`]) returns it. So arithmetic reads as it is written.
///
/// ```
/// use sparsetape::{Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.variable(Tensor::dense([2], vec![1.0f64, 2.0])?);
/// let y = (2.0 * x * x + 1.0).sum();
/// assert_eq!(y.item::<f64>()?, 12.0);
///
/// let bad = x.dot(x.reshape_like(y)) + x; // no error yet
/// assert!(bad.value().is_err());
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Var<'t> {
    pub(super) tape: &'t Tape,
    pub(super) id: u32,
}

impl<'t> Var<'t> {
    /// [`Tape::apply`] on the tape of the first operand.
    #[track_caller]
    pub(crate) fn apply(op: impl Into<OpRef>, operands: &[Var<'t>]) -> Var<'t> {
        operands[0].tape.apply_at(op.into(), operands, Location::caller())
    }

    /// A variable of this tape that carries the error, or the earlier one of this variable.
    pub(crate) fn poisoned(self, error: Error) -> Var<'t> {
        if self.ok().is_err() {
            return self;
        }
        self.tape.poison(match self.tape.at.get() {
            Some(line) => error.at(line),
            None => error,
        })
    }

    /// Whether it is of the same type as another one for certain.
    pub(crate) fn is_like(self, other: Var<'t>) -> bool {
        if (self.id | other.id) & POISON != 0 || !std::ptr::eq(self.tape, other.tape) {
            return false;
        }
        let nodes = &self.tape.recording.borrow().nodes;
        !self.tape.symbolic && nodes[self.id as usize].ty == nodes[other.id as usize].ty
    }

    /// The tape that this variable is on.
    pub fn tape(self) -> &'t Tape {
        self.tape
    }

    /// This variable, or the error that it carries.
    ///
    /// # Errors
    /// The first error on the way here.
    pub fn ok(self) -> Result<Var<'t>> {
        self.tape.poison_of(self).map_or(Ok(self), Err)
    }

    /// The value. Cheap: it shares the tape's memory, or copies a few numbers.
    ///
    /// # Errors
    /// The first error on the way here; [`ErrorKind::State`] for a parameter (a tape reads
    /// parameters in place, [`Parameter::snapshot`](crate::Parameter::snapshot) copies).
    pub fn value(self) -> Result<Tensor> {
        self.tape.value_of(self.ok()?)
    }

    /// The only element.
    ///
    /// # Errors
    /// The first error on the way here, and those of [`Tensor::item`].
    #[track_caller]
    pub fn item<T: Element>(self) -> Result<T> {
        self.value()?.item()
    }

    /// Storage type, shape and element type.
    ///
    /// # Errors
    /// The first error on the way here.
    pub fn ty(self) -> Result<Type> {
        self.tape.inferred(self.ok()?, "type", PartialType::known)
    }

    /// What is known of the type: all of it, unless the tape is [symbolic](Tape::symbolic).
    ///
    /// # Errors
    /// The first error on the way here.
    pub fn partial_type(self) -> Result<PartialType> {
        Ok(self.tape.partial_type_of(self.ok()?))
    }

    /// What is known of the type, also from what was recorded after it.
    pub(crate) fn inferred_type(self) -> Result<PartialType> {
        self.tape.inferred_type(self.ok()?)
    }

    /// Number of axes, if it is known.
    pub(crate) fn rank(self) -> Option<usize> {
        self.known_rank().ok()
    }

    /// Number of axes.
    ///
    /// # Errors
    /// The first error on the way here; [`ErrorKind::Shape`] where it is unknown.
    pub(crate) fn known_rank(self) -> Result<usize> {
        self.tape.inferred(self.ok()?, "number of axes", |ty| ty.shape.rank())
    }

    /// Sizes per axis.
    ///
    /// # Errors
    /// The first error on the way here.
    pub fn shape(self) -> Result<Shape> {
        self.tape.inferred(self.ok()?, "shape", |ty| ty.shape.known())
    }

    /// The storage type.
    ///
    /// # Errors
    /// The first error on the way here.
    pub fn stype(self) -> Result<Stype> {
        Ok(self.tape.stype_of(self.ok()?))
    }

    /// The element type.
    ///
    /// # Errors
    /// The first error on the way here.
    pub fn dtype(self) -> Result<DType> {
        self.tape.inferred(self.ok()?, "element type", |ty| ty.dtypes.known())
    }

    /// This value under a name: that of its node in a [`Graph`](crate::Graph), stable and unique.
    /// Values without one are numbered by operator: `dot0`, `dot1`.
    ///
    /// ```
    /// use sparsetape::{Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x"));
    /// let y = x.exp().named("likelihood");
    /// assert_eq!(y.name()?.as_deref(), Some("likelihood"));
    /// assert!(x.sin().named("x").ok().is_err()); // taken
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn named(self, name: impl Into<String>) -> Var<'t> {
        self.tape.set_name(self, name.into(), Location::caller())
    }

    /// The name that [`Var::named`] gave, or that of a variable.
    ///
    /// # Errors
    /// The first error on the way here.
    pub fn name(self) -> Result<Option<String>> {
        Ok(self.tape.name_of(self.ok()?))
    }

    /// What computed it, unless it is a leaf.
    #[cfg(feature = "data")]
    pub(crate) fn operator(self) -> Option<OpRef> {
        self.tape.operation(self.id).map(|(op, ..)| op)
    }

    /// Its place on the tape.
    pub(crate) fn index(self) -> u32 {
        self.id
    }

    /// The line of user code that recorded this value.
    ///
    /// # Errors
    /// The first error on the way here.
    pub fn location(self) -> Result<&'static Location<'static>> {
        Ok(self.tape.location_of(self.ok()?))
    }

    /// Asks for this leaf's gradient in a storage type: the backward pass ends with a visible cast.
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 3], vec![0, 1], vec![2], vec![1.0f32])?);
    /// let w = tape.variable(Tensor::full([3, 1], 0.5f32)?).with_grad_stype(Stype::Default);
    /// let gradients = x.dot(w).sum().backward()?;
    /// assert_eq!(gradients.wrt(w).unwrap().stype(), Stype::Default);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn with_grad_stype(self, stype: Stype) -> Var<'t> {
        self.tape.set_grad_stype(self, stype)
    }
}

impl fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partial_type() {
            Ok(ty) => write!(f, "%{}: {ty}", self.id),
            Err(error) => write!(f, "poisoned: {error}"),
        }
    }
}

/// The value; its type where the tape holds none (a parameter); the error of a poisoned variable.
///
/// ```
/// use sparsetape::{Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.constant(Tensor::scalar(2.5f32));
/// assert_eq!((2 * x).to_string(), Tensor::scalar(5.0f32).to_string());
/// assert!(x.dot(x).to_string().starts_with("poisoned: dot"));
/// # Ok::<(), sparsetape::Error>(())
/// ```
impl fmt::Display for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Ok(value) => value.fmt(f),
            Err(_) => fmt::Debug::fmt(self, f),
        }
    }
}

/// Variables of two tapes met.
pub(super) fn two_tapes() -> Error {
    Error::new(ErrorKind::State, "the operands are on different tapes")
}
