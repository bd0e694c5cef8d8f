//! Leaves of a recording: constants, variables, parameters, symbols.

use std::panic::Location;

use super::parameter::{GradReq, Parameter};
use super::partial::PartialType;
use super::recording::{Held, Node, Value};
use super::small::Small;
use super::variable::Variable;
use super::{POISON, Tape, Var};
use crate::error::{Error, ErrorKind};
use crate::tensor::{Stype, Tensor};

impl Tape {
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

    /// A value with a gradient, which [`Gradients::wrt`](crate::Gradients::wrt) finds. Integers have none.
    #[track_caller]
    pub fn variable(&self, value: Tensor) -> Var<'_> {
        self.leaf(value, true)
    }

    /// A reference to a parameter: nothing is copied. Its gradient, unless its
    /// [`GradReq`] is `Null`, is found by [`Gradients::of`](crate::Gradients::of).
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
            let held = recording.hold(value, false);
            let held = Held { small: small.unwrap_or(held.small), ..held };
            (recording.intern(ty, self.symbolic), held)
        };
        self.push(Node { needs_grad, grad_stype, ..Node::leaf(ty, value, at) }, None, &[])
    }

    #[track_caller]
    pub(super) fn set_grad_stype<'t>(&'t self, var: Var<'t>, stype: Stype) -> Var<'t> {
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
}
