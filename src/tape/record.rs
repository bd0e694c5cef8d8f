//! How an operator gets onto a tape: plan, cast what must be dense, lock parameters, run, push.

use std::panic::Location;

use smallvec::SmallVec;

use super::execute::{Plan, Reuse, explain, plan};
use super::fallback;
use super::infer::{self, Few, choose_row};
use super::memory::Made;
use super::parameter::Lent;
use super::partial::PartialType;
use super::structural::CastStorage;
use super::var::{Var, two_tapes};
use super::{Node, OpRef, POISON, PartialShape, Tape, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Shape, Slice, Stype, Tensor, View};

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
        let types: Few<PartialType> = operands.iter().map(|v| self.partial_type_of(*v)).collect();
        let recorded = match self.symbolic {
            false => self.record(&op, &mut ins, &types, at),
            true => self.record_symbol(&op, &mut ins, &types, at),
        };
        match recorded {
            Ok(node) => self.push(Node { op: Some(op), ..node }),
            Err(error) => self.poison(explain(error, &*op, &types, at)),
        }
    }

    fn record(
        &self,
        op: &OpRef,
        ins: &mut SmallVec<[u32; 4]>,
        types: &[PartialType],
        at: &'static Location<'static>,
    ) -> Result<Node> {
        let plan = plan(&**op, types)?;
        self.densify(op, ins, types, &plan.densify, at)?;
        let value = self.run(op, &plan, ins, at)?;
        if self.detect_non_finite.get()
            && let Some(found) = non_finite(&value)
        {
            return Err(self.blame(found, ins));
        }
        self.show(op, &plan, &value, at)?;
        let shape = PartialShape::from(&plan.shape);
        let ty = PartialType { stype: plan.stype, shape, dtypes: plan.dtype.into() };
        Ok(self.node(ins, ty, value, at))
    }

    /// Records types; what they say of the operands is noted there.
    fn record_symbol(
        &self,
        op: &OpRef,
        ins: &mut SmallVec<[u32; 4]>,
        types: &[PartialType],
        at: &'static Location<'static>,
    ) -> Result<Node> {
        let (mut refined, mut ty) = (Few::from(types), PartialType::unknown());
        infer::refine(&**op, &mut refined, &mut ty)?;
        let row = choose_row(&**op, types.iter().map(|ty| ty.stype))?;
        ty.stype = row.out;
        ty.refine_rank()?;
        infer::refine(&**op, &mut refined, &mut ty)?;
        {
            let recording = &mut *self.recording.borrow_mut();
            for (&id, refined) in ins.iter().zip(&mut refined) {
                let own = &mut recording.nodes[id as usize].ty;
                recording.learnt |= own != refined;
                own.unify(refined)?;
            }
        }
        self.densify(op, ins, types, &row.densify, at)?;
        Ok(self.node(ins, ty, Value::Symbol, at))
    }

    /// Casts the operands `which` to dense, if the policy lets it.
    fn densify(
        &self,
        op: &OpRef,
        ins: &mut [u32],
        types: &[PartialType],
        which: &[usize],
        at: &'static Location<'static>,
    ) -> Result<()> {
        for &i in which {
            fallback::report(self.fallback.get(), &**op, types, i, at)?;
            let cast = OpRef::from(CastStorage::to(Stype::Default));
            ins[i] = self.apply_at(cast, &[Var { tape: self, id: ins[i] }], at).ok()?.id;
        }
        Ok(())
    }

    fn node(
        &self,
        ins: &[u32],
        ty: PartialType,
        value: Value,
        at: &'static Location<'static>,
    ) -> Node {
        let recording = self.recording.borrow();
        let upstream = |&id: &u32| recording.nodes[id as usize].needs_grad;
        let needs_grad =
            ty.dtypes.may_be_float() && self.no_grad.get() == 0 && ins.iter().any(upstream);
        Node { op: None, ins: ins.into(), ty, value, at, needs_grad, grad_stype: None }
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
        let operands: Few<&Value> = nodes.iter().map(|node| &node.value).collect();
        let shapes: Few<&[usize]> =
            nodes.iter().map(|node| node.ty.shape.dims().unwrap_or_default()).collect();
        let inserting = |i: usize| nodes[i].needs_grad && self.no_grad.get() == 0;
        let workspace = &mut *self.workspace.borrow_mut();
        workspace.scratch.set_differentiated((0..ins.len()).any(inserting));
        let lent =
            Lent::new(&**op, &operands, &shapes, &plan.shape, inserting, &mut workspace.arena)?;
        let views: Few<View<'_>> = operands
            .iter()
            .zip(&shapes)
            .enumerate()
            .map(|(i, (value, shape))| value.view(i, shape, &lent))
            .collect();
        let made = workspace.run(&**op, plan, &views, at, Reuse::None);
        drop(views);
        lent.end(&mut workspace.arena);
        let made = made?;
        Ok(match made {
            Made::Value(layout, values) => {
                Value::Tensor(Tensor::from_parts(plan.shape.clone(), layout, values))
            }
            Made::Alias(i) => operands[i].alias(&plan.shape),
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

impl Value {
    /// What kernels see of operand `i`, in this shape; of a parameter, what is lent.
    pub(crate) fn view<'a>(&'a self, i: usize, shape: &'a [usize], lent: &'a Lent<'_>) -> View<'a> {
        match self {
            Value::Tensor(tensor) => tensor.view(),
            Value::Parameter(parameter, _) => lent.view(i, parameter, shape),
            Value::Symbol => unreachable!("what runs has values"),
        }
    }

    /// The result that is this operand itself, in another shape.
    pub(crate) fn alias(&self, shape: &Shape) -> Value {
        match self {
            Value::Tensor(tensor) => Value::Tensor(tensor.in_shape(shape.clone())),
            other => other.clone(),
        }
    }
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
        Value::Symbol => None,
    }
}
