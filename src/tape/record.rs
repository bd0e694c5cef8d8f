//! How an operator gets onto a tape: plan, cast what must be dense, lock parameters, run, push.

use std::panic::Location;
use std::sync::RwLockReadGuard;

use smallvec::SmallVec;

use super::execute::{Few, Plan, Reuse, explain, plan};
use super::fallback;
use super::memory::Made;
use super::op::Read;
use super::stored::Stored;
use super::structural::CastStorage;
use super::var::{Var, two_tapes};
use super::{Node, OpRef, POISON, Tape, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Slice, Stype, Tensor, Type, View};

impl Tape {
    /// Records an operator on these operands. This is how operators' methods are written, also outside
    /// this crate; `tests/custom_op.rs` holds an example.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor, ops::Dot};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 2], 1.0f32)?);
    /// let y = tape.apply(Dot::new(true, false), &[x, x]);
    /// assert_eq!(y.value()?.values::<f32>()?, [2.0; 4]);
    /// assert!(tape.apply(Dot::new(true, false), &[x]).value().is_err());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn apply<'t>(&'t self, op: impl Into<OpRef>, operands: &[Var<'t>]) -> Var<'t> {
        self.apply_at(op.into(), operands, Location::caller())
    }

    /// The single point where operators are recorded.
    pub(super) fn apply_at<'t>(
        &'t self,
        op: OpRef,
        operands: &[Var<'t>],
        at: &'static Location<'static>,
    ) -> Var<'t> {
        let at = self.at.get().unwrap_or(at);
        if let Some(&poisoned) = operands.iter().find(|v| v.id & POISON != 0) {
            return poisoned;
        }
        if operands.iter().any(|v| !std::ptr::eq(v.tape, self)) {
            return self.poison(two_tapes().operator(op.label()).at(at));
        }
        let mut ins: SmallVec<[u32; 4]> = operands.iter().map(|v| v.id).collect();
        let types: Few<Type> = operands.iter().map(|v| self.type_of(*v)).collect();
        match self.record(&op, &mut ins, &types, at) {
            Ok(node) => self.push(Node { op: Some(op), ..node }),
            Err(error) => self.poison(explain(error, &*op, &types, at)),
        }
    }

    fn record(
        &self,
        op: &OpRef,
        ins: &mut SmallVec<[u32; 4]>,
        types: &[Type],
        at: &'static Location<'static>,
    ) -> Result<Node> {
        let plan = plan(&**op, types)?;
        for &i in &plan.densify {
            fallback::report(self.fallback.get(), &**op, types, i, at)?;
            let cast = OpRef::from(CastStorage::to(Stype::Default));
            ins[i] = self.apply_at(cast, &[Var { tape: self, id: ins[i] }], at).ok()?.id;
        }
        let value = self.run(op, &plan, ins, at)?;
        if self.detect_non_finite.get()
            && let Some(found) = non_finite(&value)
        {
            return Err(self.blame(found, ins));
        }
        let recording = self.recording.borrow();
        let upstream = |&id: &u32| recording.nodes[id as usize].needs_grad;
        let needs_grad =
            plan.dtype.is_float() && self.no_grad.get() == 0 && ins.iter().any(upstream);
        let ty = Type { stype: plan.stype, shape: plan.shape, dtype: plan.dtype };
        Ok(Node { op: None, ins: ins.clone(), ty, value, at, needs_grad, grad_stype: None })
    }

    fn run(
        &self,
        op: &OpRef,
        plan: &Plan,
        ins: &[u32],
        at: &'static Location<'static>,
    ) -> Result<Value> {
        let recording = self.recording.borrow();
        let nodes: Few<&Node> = ins.iter().map(|&id| &recording.nodes[id as usize]).collect();
        let guards = lock_parameters(op, &nodes)?;
        let views: Few<View<'_>> = nodes.iter().map(|node| node.view(&guards)).collect();
        let made = self.workspace.borrow_mut().run(&**op, plan, &views, at, Reuse::None)?;
        Ok(match made {
            Made::Value(layout, values) => {
                Value::Tensor(Tensor::from_parts(plan.shape.clone(), layout, values))
            }
            Made::Alias(i) => match &nodes[i].value {
                Value::Tensor(tensor) => Value::Tensor(tensor.in_shape(plan.shape.clone())),
                Value::Parameter(parameter, updates) => {
                    Value::Parameter(parameter.clone(), *updates)
                }
            },
        })
    }

    /// The error for a result that is not finite: the fault may be a leaf's.
    fn blame(&self, found: String, ins: &[u32]) -> Error {
        let recording = self.recording.borrow();
        let leaf = ins.iter().map(|&id| &recording.nodes[id as usize]).find_map(|node| {
            let why = node.op.is_none().then(|| non_finite(&node.value)).flatten()?;
            Some(format!("; in an operand already, recorded at {}, {why}", node.at))
        });
        let message = format!("in the result, {found}{}", leaf.unwrap_or_default());
        Error::new(ErrorKind::NonFinite, message)
    }
}

impl Node {
    fn view<'a>(&'a self, guards: &'a Guards<'_>) -> View<'a> {
        match &self.value {
            Value::Tensor(tensor) => tensor.view(),
            Value::Parameter(parameter, _) => {
                let held = guards.iter().find(|(key, _)| *key == parameter.key());
                match held {
                    Some((_, stored)) => stored.view(&self.ty.shape),
                    None => unreachable!("every parameter among the operands is locked"),
                }
            }
        }
    }
}

type Guards<'a> = SmallVec<[(usize, RwLockReadGuard<'a, Stored>); 2]>;

/// Locks each distinct parameter among the operands once, for reading. A parameter whose values
/// are going to be read must not have changed since it was recorded.
fn lock_parameters<'a>(op: &OpRef, nodes: &[&'a Node]) -> Result<Guards<'a>> {
    let mut guards = Guards::new();
    for (i, node) in nodes.iter().enumerate() {
        let Value::Parameter(parameter, recorded) = &node.value else { continue };
        if guards.iter().all(|(key, _)| *key != parameter.key()) {
            guards.push((parameter.key(), parameter.read()?));
        }
        let reads = match op.reads(i) {
            Read::Shape | Read::View => false,
            Read::Pattern => node.ty.stype != Stype::Default,
            Read::RowsOf(_) | Read::All => true,
        };
        if reads && parameter.updates() != *recorded {
            let message = format!(
                "parameter {:?} was updated after it was recorded at {}; record it again",
                parameter.name(),
                node.at
            );
            return Err(Error::new(ErrorKind::Stale, message));
        }
    }
    Ok(guards)
}

/// The first stored value that is NaN or infinite, in words.
fn non_finite(value: &Value) -> Option<String> {
    let first = |slice: Slice<'_>| {
        let at = match slice {
            Slice::F32(s) => s.iter().position(|x| !x.is_finite()),
            Slice::F64(s) => s.iter().position(|x| !x.is_finite()),
            Slice::I64(_) => None,
        };
        at.map(|i| format!("stored value {i} is {}", slice.get_f64(i)))
    };
    match value {
        Value::Tensor(tensor) => first(tensor.view().values()),
        Value::Parameter(parameter, _) => {
            let stored = parameter.read().ok()?;
            first(stored.view(parameter.shape()).values())
        }
    }
}
