//! What a tape says of its values.

use std::panic::Location;

use super::partial::PartialType;
use super::recording::{Recording, Value};
use super::{Tape, Var};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Stype, Tensor, Type};

impl Tape {
    pub(super) fn value_of(&self, var: Var<'_>) -> Result<Tensor> {
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
    pub(super) fn tensor_of(&self, recording: &Recording, id: u32) -> Tensor {
        let Some(place) = recording.nodes[id as usize].small() else {
            unreachable!("what is not small is stored")
        };
        let Some(Type { shape, dtype, .. }) = recording.ty(id).known() else {
            unreachable!("what was computed has a type")
        };
        let arena = &mut self.workspace.borrow_mut().arena;
        arena.during(|| recording.small.tensor(place, dtype, shape))
    }

    /// What is known of a value's type where it was recorded.
    pub(super) fn partial_type_of(&self, var: Var<'_>) -> PartialType {
        self.recording.borrow().ty(var.id).clone()
    }

    pub(super) fn stype_of(&self, var: Var<'_>) -> Stype {
        self.recording.borrow().ty(var.id).stype
    }

    /// All that is known of a value's type, also from what was recorded after it, if `enough`.
    pub(super) fn inferred<T>(
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
    pub(super) fn inferred_type(&self, var: Var<'_>) -> Result<PartialType> {
        let ty = self.partial_type_of(var);
        if ty.known().is_some() {
            return Ok(ty);
        }
        self.infer()?;
        Ok(self.partial_type_of(var))
    }

    pub(super) fn location_of(&self, var: Var<'_>) -> &'static Location<'static> {
        self.recording.borrow().nodes[var.id as usize].at
    }
}
