//! What a symbolic recording knows of its values, and their names.

use std::panic::Location;

use super::infer::{Step, refine_all};
use super::partial::PartialType;
use super::{Node, POISON, Recording, Tape, Var};
use crate::error::{Error, ErrorKind, Result};

impl Node {
    /// Whether a float leaf that wants a gradient is upstream.
    pub(super) fn wants_gradient(&self) -> bool {
        self.needs_grad && self.ty.dtypes.may_be_float()
    }
}

impl Recording {
    fn steps(&self) -> impl DoubleEndedIterator<Item = Step<'_>> {
        self.nodes.iter().enumerate().filter_map(|(out, node)| {
            node.op.as_ref().map(|op| Step { op: &**op, ins: &node.ins, out })
        })
    }
}

impl Tape {
    /// Notes all that follows for the types, forwards and backwards.
    pub(super) fn infer(&self) -> Result<()> {
        let mut recording = self.recording.borrow_mut();
        if !recording.learnt {
            return Ok(());
        }
        let mut types: Vec<PartialType> =
            recording.nodes.iter().map(|node| node.ty.clone()).collect();
        refine_all(&mut types, || recording.steps()).map_err(|(at, error)| {
            let node = &recording.nodes[at];
            let label = node.op.as_ref().map_or("variable".into(), |op| op.label());
            error.operator(label).at(node.at)
        })?;
        recording.nodes.iter_mut().zip(types).for_each(|(node, ty)| node.ty = ty);
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
            node.ins.iter().for_each(|&i| upstream[i as usize] = true);
            if let (None, Some(name)) = (node.ty.known(), recording.names.get(&id)) {
                open.push(format!("{name:?} is {}", node.ty));
            }
        }
        let node = &recording.nodes[var.id as usize];
        let message = format!(
            "the {what} is not known yet: {}; say more about a variable: {}",
            node.ty,
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
        let of_another = |(&id, held): (&u32, &String)| *held == name && id != var.id;
        let taken = self.recording.borrow().names.iter().any(of_another);
        if !taken {
            self.recording.borrow_mut().names.insert(var.id, name);
            return var;
        }
        let message = format!("another value of this recording is named {name:?}");
        self.poison(Error::new(ErrorKind::State, message).operator("named").at(at))
    }

    pub(super) fn name_of(&self, var: Var<'_>) -> Option<String> {
        self.recording.borrow().names.get(&var.id).cloned()
    }
}
