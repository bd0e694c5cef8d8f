//! What a symbolic recording knows of its values, and their names.

use std::panic::Location;

use rustc_hash::FxHashMap;

use super::infer::{Step, refine_all};
use super::partial::PartialType;
use super::variable::Variable;
use super::{POISON, Recording, Tape, Var};
use crate::error::{Error, ErrorKind, Result};

impl Recording {
    /// Whether a float leaf that wants a gradient is upstream.
    pub(super) fn wants_gradient(&self, id: u32) -> bool {
        self.nodes[id as usize].needs_grad && self.ty(id).dtypes.may_be_float()
    }
}

/// Names of values, each used once.
#[derive(Default)]
pub(super) struct Names {
    by_id: FxHashMap<u32, String>,
    by_name: FxHashMap<String, u32>,
}

impl Names {
    pub fn get(&self, id: u32) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Names a value, in place of its earlier name.
    pub fn insert(&mut self, id: u32, name: String) {
        if let Some(earlier) = self.by_id.insert(id, name.clone()) {
            self.by_name.remove(&earlier);
        }
        self.by_name.insert(name, id);
    }

    pub fn clear(&mut self) {
        self.by_id.clear();
        self.by_name.clear();
    }
}

impl Recording {
    fn steps(&self) -> impl DoubleEndedIterator<Item = Step<'_>> {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(|(out, node)| self.op(node).map(|op| Step { op, ins: self.ins(node), out }))
    }
}

impl Tape {
    /// Notes all that follows for the types, forwards and backwards.
    pub(crate) fn infer(&self) -> Result<()> {
        let mut recording = self.recording.borrow_mut();
        if !recording.learnt {
            return Ok(());
        }
        // A type for each node: this recording has symbols, which share none.
        let ids = 0..recording.nodes.len() as u32;
        let mut types: Vec<PartialType> = ids.map(|id| recording.ty(id).clone()).collect();
        refine_all(&mut types, || recording.steps()).map_err(|(at, error)| {
            let node = &recording.nodes[at];
            let label = recording.op(node).map_or("variable".into(), |op| op.label());
            error.operator(label).at(node.at)
        })?;
        (0..).zip(types).for_each(|(id, ty)| *recording.ty_mut(id) = ty);
        recording.learnt = false;
        Ok(())
    }

    /// The error for a type that does not follow from what was said: which variables are open.
    pub(super) fn unknown(&self, var: Var<'_>, what: &str) -> Error {
        let recording = self.recording.borrow();
        let mut upstream = vec![false; var.id as usize + 1];
        upstream[var.id as usize] = true;
        let mut open = Vec::new();
        for id in (0..=var.id).rev() {
            if !upstream[id as usize] {
                continue;
            }
            let node = &recording.nodes[id as usize];
            recording.ins(node).iter().for_each(|&i| upstream[i as usize] = true);
            let ty = recording.ty(id);
            if let (None, Some(name)) = (ty.known(), recording.names.get(id)) {
                open.push(format!("{name:?} is {ty}"));
            }
        }
        let node = &recording.nodes[var.id as usize];
        let message = format!(
            "the {what} is not known yet: {}; say more about a variable: {}",
            recording.ty(var.id),
            open.join(", ")
        );
        Error::new(ErrorKind::Shape, message).operator("infer").at(node.at)
    }

    pub(super) fn set_name<'t>(
        &'t self,
        var: Var<'t>,
        name: String,
        at: &'static Location<'static>,
    ) -> Var<'t> {
        if var.id & POISON != 0 {
            return var;
        }
        let held = self.recording.borrow().names.find(&name);
        if held.is_none_or(|id| id == var.id) {
            self.recording.borrow_mut().names.insert(var.id, name.clone());
            return self.show_named(var, &name);
        }
        let message = format!("another value of this recording is named {name:?}");
        self.poison(Error::new(ErrorKind::State, message).operator("named").at(at))
    }

    /// The variable of this name on a symbolic tape: the one that is there, or a new one.
    #[track_caller]
    pub(crate) fn symbol_once(&self, variable: &Variable) -> Result<Var<'_>> {
        let held = {
            let recording = self.recording.borrow();
            recording.names.find(&variable.name).filter(|id| recording.variables.contains_key(id))
        };
        let Some(id) = held else { return self.symbol(variable.clone()).ok() };
        let recording = &mut *self.recording.borrow_mut();
        recording.learnt = true;
        let own = recording.ty_mut(id);
        if own.stype != variable.ty.stype {
            let message = format!(
                "variable {:?} is {} here and {} there",
                variable.name, own.stype, variable.ty.stype
            );
            return Err(Error::new(ErrorKind::Stype, message).operator("symbol"));
        }
        own.unify(&mut variable.ty.clone())?;
        Ok(Var { tape: self, id })
    }

    /// Names a value, unless it has a name or the name is taken.
    pub(crate) fn name_if_free<'t>(&'t self, var: Var<'t>, name: &str) -> Var<'t> {
        let names = &mut self.recording.borrow_mut().names;
        if names.get(var.id).is_none() && names.find(name).is_none() {
            names.insert(var.id, name.to_owned());
        }
        var
    }

    pub(super) fn name_of(&self, var: Var<'_>) -> Option<String> {
        self.recording.borrow().names.get(var.id).map(str::to_owned)
    }
}
