//! How an operator gets onto a tape: plan, cast what must be dense, lock parameters, run, push.

use std::panic::Location;

use smallvec::SmallVec;

use super::execute::{Plan, Reuse, explain, plan};
use super::fallback;
use super::infer::{self, Few, choose_row};
use super::memory::Made;
use super::parameter::Lent;
use super::partial::PartialType;
use super::recording::{Held, Node};
use super::small::Small;
use super::structural::CastStorage;
use super::var::{Var, two_tapes};
use super::{OpRef, POISON, PartialShape, Tape, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Shape, Slice, Stype, Tensor, View};

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
        match self.apply_small(&op, operands, at) {
            Some(small) => small,
            None => self.apply_any(op, operands, at),
        }
    }

    /// Apart, so that what small values do not need costs them nothing.
    #[inline(never)]
    fn apply_any<'t>(
        &'t self,
        op: OpRef,
        operands: &[Var<'t>],
        at: &'static Location<'static>,
    ) -> Var<'t> {
        let mut ins: SmallVec<[u32; 4]> = operands.iter().map(|v| v.id).collect();
        let types: Few<PartialType> = operands.iter().map(|v| self.partial_type_of(*v)).collect();
        let recorded = match self.symbolic {
            false => self.record(&op, &mut ins, &types, at),
            true => self.record_symbol(&op, &mut ins, &types, at),
        };
        match recorded {
            Ok(node) => self.push(node, Some(&op), &ins),
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
        let held = self.held(value);
        Ok(self.node(ins, ty, held, at))
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
                recording.learnt |= recording.ty(id) != refined;
                recording.ty_mut(id).unify(refined)?;
            }
        }
        self.densify(op, ins, types, &row.densify, at)?;
        let held = self.recording.borrow_mut().hold(Value::Symbol, true);
        Ok(self.node(ins, ty, held, at))
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

    /// Takes in a result; a small one is copied to the others.
    fn held(&self, value: Value) -> Held {
        let recording = &mut *self.recording.borrow_mut();
        match value {
            Value::Tensor(tensor) if Small::takes(&tensor) => {
                let place = recording.small.push(tensor.view().values());
                self.recycle(tensor);
                Held::small(place)
            }
            value => recording.hold(value, true),
        }
    }

    /// A node of these operands, which it does not hold yet.
    fn node(
        &self,
        ins: &[u32],
        ty: PartialType,
        value: Held,
        at: &'static Location<'static>,
    ) -> Node {
        let recording = &mut *self.recording.borrow_mut();
        let upstream = |&id: &u32| recording.nodes[id as usize].needs_grad;
        let needs_grad =
            ty.dtypes.may_be_float() && self.no_grad.get() == 0 && ins.iter().any(upstream);
        let ty = recording.intern(ty, self.symbolic);
        Node { needs_grad, ..Node::leaf(ty, value, at) }
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
        let operands: Few<&Value> =
            nodes.iter().map(|node| recording.stored(node).unwrap_or(&Value::Symbol)).collect();
        let shapes: Few<&[usize]> =
            ins.iter().map(|&id| recording.ty(id).shape.dims().unwrap_or_default()).collect();
        let inserting = |i: usize| nodes[i].needs_grad && self.no_grad.get() == 0;
        let workspace = &mut *self.workspace.borrow_mut();
        workspace.scratch.set_differentiated((0..ins.len()).any(inserting));
        let lent =
            Lent::new(&**op, &operands, &shapes, &plan.shape, inserting, &mut workspace.arena)?;
        let mut views: Few<View<'_>> = Few::new();
        for (i, (node, shape)) in nodes.iter().zip(&shapes).enumerate() {
            views.push(match (recording.stored(node), node.small()) {
                (None, Some(place)) => {
                    let dtype = recording.types[node.ty as usize].dtypes.known();
                    recording.small.view(place, dtype.unwrap_or(DType::F32), shape)
                }
                _ => operands[i].view(i, shape, &lent),
            });
        }
        let made = workspace.run(&**op, plan, &views, at, Reuse::None);
        drop(views);
        lent.end(&mut workspace.arena);
        let made = made?;
        Ok(match made {
            Made::Value(layout, values) => {
                Value::Tensor(Tensor::from_parts(plan.shape.clone(), layout, values))
            }
            Made::Alias(i) => match (recording.stored(nodes[i]), nodes[i].small()) {
                (None, Some(place)) => {
                    let small = &recording.small;
                    let copy = || small.tensor(place, plan.dtype, plan.shape.clone());
                    Value::Tensor(workspace.arena.during(copy))
                }
                _ => operands[i].alias(&plan.shape),
            },
        })
    }

    /// The error for a result that is not finite: the fault may be a leaf's.
    fn blame(&self, found: String, ins: &[u32]) -> Error {
        let recording = self.recording.borrow();
        let leaf = ins.iter().map(|&id| &recording.nodes[id as usize]).find_map(|node| {
            let value = recording.stored(node).filter(|_| node.op.is_none())?;
            let why = non_finite(value)?;
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
