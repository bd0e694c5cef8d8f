//! Reverse mode: the sweep over the recording, from a result to the leaves.

use std::panic::Location;

use smallvec::SmallVec;

use super::dyn_op::OpRef;
use super::gradients::Gradients;
#[cfg(doc)]
use super::op::Gradient;
use super::op::{Cotangent, Grads, Read};
use super::parameter::Parameter;
use super::partial::PartialType;
use super::recording::{Recording, Value};
use super::small::Term;
use super::structural::{Accumulate, CastStorage, OnesLike, Project, ZerosLike};
use super::var::{Var, two_tapes};
use super::{Scope, Tape, trace};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Stype, Tensor};

impl<'t> Var<'t> {
    /// Gradients of this single number with respect to all leaves that want one; or of the loss that
    /// the operator states, for one that ignores the head cotangent ([`Gradient::Loss`]), whatever
    /// its shape.
    ///
    /// The backward recording is dropped when this returns; [`Tape::grad`] keeps it, for higher
    /// orders.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([2], vec![1.0f64, 3.0])?);
    /// let gradients = x.square().sum().backward()?;
    /// assert_eq!(gradients.wrt(x).unwrap().values::<f64>()?, [2.0, 6.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error on the way here; [`ErrorKind::Shape`] unless there is exactly one element,
    /// or the operator ignores the head cotangent;
    /// [`ErrorKind::NotDifferentiable`] naming the operator and line without a derivative, or if
    /// nothing upstream wants a gradient.
    #[track_caller]
    pub fn backward(self) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        self.backward_into(&mut gradients)?;
        Ok(gradients)
    }

    /// [`Var::backward`] into gradients of an earlier step, whose memory is used again. A parameter's
    /// [`GradReq`](crate::GradReq) says whether the new gradient replaces the old one or is added.
    ///
    /// # Errors
    /// As [`Var::backward`].
    #[track_caller]
    pub fn backward_into(self, gradients: &mut Gradients) -> Result<()> {
        self.tape.backward(self, None, gradients, Location::caller())
    }

    /// Gradients of `Σ dy · self`: the head cotangent `dy` has this variable's shape and element
    /// type, and any storage type.
    ///
    /// # Errors
    /// As [`Var::backward`]; [`ErrorKind::Shape`] or [`ErrorKind::DType`] if `dy` does not fit.
    #[track_caller]
    pub fn backward_with(self, dy: &Tensor) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        self.backward_with_into(dy, &mut gradients)?;
        Ok(gradients)
    }

    /// [`Var::backward_with`] into gradients of an earlier step, as [`Var::backward_into`].
    ///
    /// ```
    /// use sparsetape::{Gradients, Tape, Tensor};
    /// let (mut tape, mut gradients) = (Tape::new(), Gradients::default());
    /// for k in [1.0f32, 2.0] {
    ///     tape.clear();
    ///     let table = tape.variable(Tensor::full([9, 2], 0.5f32)?);
    ///     let rows = table.take(tape.constant(Tensor::dense([2], vec![7i64, 3])?));
    ///     rows.backward_with_into(&Tensor::full([2, 2], k)?, &mut gradients)?;
    ///     assert_eq!(gradients.wrt(table).unwrap().values::<f32>()?, [k; 4]);
    /// }
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Var::backward_with`].
    #[track_caller]
    pub fn backward_with_into(self, dy: &Tensor, gradients: &mut Gradients) -> Result<()> {
        self.tape.backward(self, Some(dy), gradients, Location::caller())
    }
}

impl Tape {
    /// Gradients of the single number `y` with respect to `xs`, recorded on this tape, so that they
    /// can be differentiated again.
    ///
    /// An input that `y` does not depend on has a zero gradient (without rows, where it is
    /// row-sparse).
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::scalar(2.0f64));
    /// let y = x * x * x;
    /// let first = tape.grad(y, &[x])?[0];
    /// let second = tape.grad(first, &[x])?[0];
    /// assert_eq!((first.item::<f64>()?, second.item::<f64>()?), (12.0, 12.0));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Var::backward`]; [`ErrorKind::NotDifferentiable`] for an integer, a constant or a value
    /// recorded under [`Tape::no_grad`] among `xs`; [`ErrorKind::State`] for another tape's variable.
    #[track_caller]
    pub fn grad<'t>(&'t self, y: Var<'t>, xs: &[Var<'t>]) -> Result<Vec<Var<'t>>> {
        let at = Location::caller();
        self.check_own(&[y], at)?;
        let dy = self.ones_head(y.ok()?, at)?;
        self.grad_recorded(&[(y, dy)], xs, at)
    }

    /// [`Tape::grad`] of `Σ dy · y` for a recorded head cotangent of any storage type.
    ///
    /// # Errors
    /// As [`Var::backward_with`].
    #[track_caller]
    pub fn grad_with<'t>(
        &'t self,
        y: Var<'t>,
        dy: Var<'t>,
        xs: &[Var<'t>],
    ) -> Result<Vec<Var<'t>>> {
        let at = Location::caller();
        self.check_own(&[y, dy], at)?;
        check_head(&y.partial_type()?, &dy.partial_type()?, at)?;
        let dy = self.in_cotangent_space(dy, y, Addressed::Beyond, at)?;
        self.grad_recorded(&[(y, dy)], xs, at)
    }

    /// Gradients of the sum of the results, each times its head cotangent; of one without, a head
    /// of ones.
    #[track_caller]
    pub(crate) fn grad_of_all<'t>(
        &'t self,
        heads: &[(Var<'t>, Option<Var<'t>>)],
        xs: &[Var<'t>],
    ) -> Result<Vec<Var<'t>>> {
        let at = Location::caller();
        let seed = |&(y, dy): &(Var<'t>, Option<Var<'t>>)| match dy {
            None => Ok((y, self.ones_head(y, at)?)),
            Some(dy) => Ok((y, self.in_cotangent_space(dy, y, Addressed::Beyond, at)?)),
        };
        let seeds = heads.iter().map(seed).collect::<Result<Vec<_>>>()?;
        self.grad_recorded(&seeds, xs, at)
    }

    /// Whether [`Tape::backward`] starts at this value without a head cotangent.
    pub(crate) fn needs_no_head(&self, y: Var<'_>) -> bool {
        self.operation(y.id).is_some_and(|(op, ..)| op.ignores_head())
            || y.shape().is_ok_and(|shape| shape.size() == 1)
    }

    fn grad_recorded<'t>(
        &'t self,
        seeds: &[(Var<'t>, Var<'t>)],
        xs: &[Var<'t>],
        at: &'static Location<'static>,
    ) -> Result<Vec<Var<'t>>> {
        self.check_own(xs, at)?;
        let last = seeds.iter().map(|(y, _)| y.id).max().unwrap_or(0);
        let mut reaches = vec![false; last as usize + 1];
        for x in xs {
            self.check_wants_gradient(x.ok()?, at)?;
            if let Some(reached) = reaches.get_mut(x.id as usize) {
                *reached = true;
            }
        }
        {
            let recording = self.recording.borrow();
            for (id, node) in recording.nodes[..reaches.len()].iter().enumerate() {
                let depends = recording.wants_gradient(id as u32)
                    && recording.ins(node).iter().any(|&i| reaches[i as usize]);
                reaches[id] |= depends;
            }
        }
        let sums = self.sweep(seeds, |_, id| reaches[id as usize])?;
        let one = |x: &Var<'t>| {
            let sum = sums.get(x.id as usize).and_then(|&sum| self.sum_of(*x, sum, at));
            let dx = sum.unwrap_or_else(|| self.apply_at(ZerosLike.into(), &[*x], at));
            self.in_grad_stype(x.id, dx.ok()?, at).ok()
        };
        xs.iter().map(one).collect()
    }

    fn backward(
        &self,
        y: Var<'_>,
        dy: Option<&Tensor>,
        gradients: &mut Gradients,
        at: &'static Location<'static>,
    ) -> Result<()> {
        self.check_own(&[y], at)?;
        self.check_wants_gradient(y.ok()?, at)?;
        let start = self.extent();
        let result = self.no_grad(|| {
            let dy = match dy {
                None => self.ones_head(y, at)?,
                Some(dy) => {
                    check_head(&y.partial_type()?, &dy.ty().into(), at)?;
                    self.in_cotangent_space(self.constant(dy.clone()), y, Addressed::Beyond, at)?
                }
            };
            let sums = self.sweep(&[(y, dy)], Recording::wants_gradient)?;
            self.collect(&sums, gradients, at)
        });
        self.truncate(start);
        result
    }

    fn ones_head<'t>(&'t self, y: Var<'t>, at: &'static Location<'static>) -> Result<Var<'t>> {
        let any = self.operation(y.id).is_some_and(|(op, ..)| op.ignores_head());
        if !any && y.shape()?.size() != 1 {
            let ty = y.partial_type()?;
            let message = format!(
                "a gradient without a head cotangent needs a single number, got {ty}; reduce it \
                 with `sum` or `mean`, or give the cotangent"
            );
            return Err(Error::new(ErrorKind::Shape, message).operator("backward").at(at));
        }
        self.apply_at(OnesLike.into(), &[y], at).ok()
    }

    /// Cotangents by node id, for the nodes that `wanted` names, down from results and their heads.
    fn sweep<'t>(
        &'t self,
        seeds: &[(Var<'t>, Var<'t>)],
        wanted: impl Fn(&Recording, u32) -> bool,
    ) -> Result<Vec<Term>> {
        let mut end = seeds.iter().map(|(y, _)| y.id + 1).max().unwrap_or(0);
        let mut sums = vec![Term::NONE; end as usize];
        for (y, dy) in seeds {
            self.add_to(&mut sums, *y, *dy, self.location_of(*y))?;
        }
        while let Some(id) = self.sweep_small(end, &wanted, &mut sums) {
            self.sweep_node(id, &wanted, &mut sums)?;
            end = id;
        }
        Ok(sums)
    }

    /// One step of the sweep, by the operator's backward rule.
    fn sweep_node<'t>(
        &'t self,
        id: u32,
        wanted: &impl Fn(&Recording, u32) -> bool,
        sums: &mut [Term],
    ) -> Result<()> {
        let Some((op, ins, at)) = self.operation(id) else { return Ok(()) };
        let _line = Scope::enter(&self.at, Some(at));
        let want: SmallVec<[bool; 4]> = {
            let recording = self.recording.borrow();
            ins.iter().map(|&i| wanted(&recording, i)).collect()
        };
        let var = |id: u32| Var { tape: self, id };
        let dy = self.sum_of(var(id), sums[id as usize], at).filter(|_| want.contains(&true));
        let Some(dy) = dy else { return Ok(()) };
        // What addressed other rows than a computed value has says nothing about its operands,
        // unless it is a view of one.
        let dy = self.in_cotangent_space(dy.ok()?, var(id), Addressed::through(op.reads(0)), at)?;
        let x: SmallVec<[Var<'t>; 4]> = ins.iter().map(|&i| var(i)).collect();
        let mut grads = Grads::new(want);
        trace::backward(&*op, at);
        op.vjp(&x, var(id), dy, &mut grads);
        for (i, x) in x.iter().enumerate().filter(|(i, _)| grads.want[*i]) {
            if let Some(dx) = self.answer(&op, i, *x, grads.answers[i], at)? {
                self.add_to(sums, *x, dx, at)?;
            }
        }
        Ok(())
    }

    /// Adds to the cotangent of `x`.
    fn add_to<'t>(
        &'t self,
        sums: &mut [Term],
        x: Var<'t>,
        dx: Var<'t>,
        at: &'static Location<'static>,
    ) -> Result<()> {
        let slot = &mut sums[x.id as usize];
        let sum = match self.sum_of(x, *slot, at) {
            Some(sum) => self.apply_at(Accumulate.into(), &[sum, dx], at),
            None => dx,
        };
        *slot = Term::node(sum.ok()?.id);
        Ok(())
    }

    pub(super) fn operation(
        &self,
        id: u32,
    ) -> Option<(OpRef, SmallVec<[u32; 4]>, &'static Location<'static>)> {
        let recording = self.recording.borrow();
        let node = &recording.nodes[id as usize];
        let op = recording.op_ref(node)?;
        Some((op, recording.ins(node).into(), node.at))
    }

    /// The cotangent of operand `i` in its cotangent space, from a backward rule's answer.
    fn answer<'t>(
        &'t self,
        op: &OpRef,
        i: usize,
        x: Var<'t>,
        answer: Option<Cotangent<'t>>,
        at: &'static Location<'static>,
    ) -> Result<Option<Var<'t>>> {
        let fault = |kind, message: String| {
            Error::new(kind, message)
                .operator(op.label())
                .operands([self.partial_type_of(x)])
                .at(at)
        };
        let dx = match answer {
            Some(Cotangent::Zero) => return Ok(None),
            Some(Cotangent::Var(dx)) => dx.ok()?,
            Some(Cotangent::NotDifferentiable(why)) => {
                let message = format!("no derivative with respect to operand {i}: {why}");
                return Err(fault(ErrorKind::NotDifferentiable, message));
            }
            None => {
                let message = format!("the backward rule gives no answer for operand {i}");
                return Err(fault(ErrorKind::NotDifferentiable, message));
            }
        };
        if dx.is_like(x) && self.stype_of(x) == Stype::Default {
            return Ok(Some(dx));
        }
        let (mut to, mut from) = (self.partial_type_of(x), self.partial_type_of(dx));
        if to.unify(&mut from).is_err() {
            let message = format!("the backward rule gives operand {i} a cotangent of type {from}");
            return Err(fault(ErrorKind::State, message));
        }
        let addressed = match op.reads(i) {
            Read::RowsOf(_) => Addressed::Beyond,
            read => Addressed::through(read),
        };
        self.in_cotangent_space(dx, x, addressed, at).map(Some)
    }

    fn check_own(&self, vars: &[Var<'_>], at: &'static Location<'static>) -> Result<()> {
        match vars.iter().all(|v| self.is_own(*v)) {
            true => Ok(()),
            false => Err(two_tapes().operator("grad").at(at)),
        }
    }

    /// Whether the variable is of this tape.
    pub(crate) fn is_own(&self, var: Var<'_>) -> bool {
        std::ptr::eq(var.tape, self)
    }

    fn check_wants_gradient(&self, x: Var<'_>, at: &'static Location<'static>) -> Result<()> {
        let recording = self.recording.borrow();
        let node = &recording.nodes[x.id as usize];
        let ty = recording.ty(x.id);
        let why = match recording.stored(node) {
            _ if !ty.dtypes.may_be_float() => "integers are not differentiable",
            _ if node.needs_grad => return Ok(()),
            Some(Value::Parameter(..)) => {
                "the parameter's `grad_req` is `Null`, or it is under `no_grad`"
            }
            _ => "it is a constant, or recorded under `no_grad`; `variable` wants one",
        };
        let error = Error::new(ErrorKind::NotDifferentiable, format!("no gradient: {why}"));
        Err(error.operator("grad").operands([ty]).at(at))
    }

    /// A cotangent of `x`, restricted to what a cotangent of its storage type may hold: for csr what
    /// `x` stores, for row-sparse its rows, or any rows where an operand addressed them.
    fn in_cotangent_space<'t>(
        &'t self,
        dx: Var<'t>,
        x: Var<'t>,
        addressed: Addressed,
        at: &'static Location<'static>,
    ) -> Result<Var<'t>> {
        match (self.stype_of(x), addressed, self.stype_of(dx)) {
            (Stype::Default, ..) => Ok(dx),
            (Stype::RowSparse, Addressed::Beyond, Stype::RowSparse) => Ok(dx),
            // A csr cotangent of addressed rows: those that hold an entry.
            (Stype::RowSparse, Addressed::Beyond, Stype::Csr) => {
                self.apply_at(CastStorage::to(Stype::RowSparse).into(), &[dx], at).ok()
            }
            _ => self.apply_at(Project.into(), &[dx, x], at).ok(),
        }
    }

    fn in_grad_stype<'t>(
        &'t self,
        leaf: u32,
        dx: Var<'t>,
        at: &'static Location<'static>,
    ) -> Var<'t> {
        let asked = self.recording.borrow().nodes[leaf as usize].grad_stype;
        match asked {
            Some(stype) if stype != self.stype_of(dx) => {
                self.apply_at(CastStorage::to(stype).into(), &[dx], at)
            }
            _ => dx,
        }
    }

    fn collect(
        &self,
        sums: &[Term],
        gradients: &mut Gradients,
        at: &'static Location<'static>,
    ) -> Result<()> {
        gradients.begin(self);
        let leaves: SmallVec<[(u32, Term, Option<Parameter>); 8]> = {
            let recording = self.recording.borrow();
            let leaf = |(leaf, &sum): (usize, &Term)| {
                let node = &recording.nodes[leaf];
                if sum == Term::NONE || node.op.is_some() || !node.needs_grad {
                    return None;
                }
                let parameter = match recording.stored(node) {
                    Some(Value::Parameter(parameter, _)) => Some(parameter.clone()),
                    _ => None,
                };
                Some((leaf as u32, sum, parameter))
            };
            sums.iter().enumerate().filter_map(leaf).collect()
        };
        for (leaf, sum, parameter) in leaves {
            let Some(dx) = self.sum_of(Var { tape: self, id: leaf }, sum, at) else { continue };
            let dx = self.in_grad_stype(leaf, dx, at).value()?;
            match parameter {
                Some(parameter) => {
                    let replaced = gradients.add(&parameter, dx)?;
                    replaced.into_iter().for_each(|held| self.recycle(held));
                }
                None => gradients.put(leaf, dx),
            }
        }
        Ok(())
    }
}

/// Which rows the cotangent of a row-sparse value may hold.
#[derive(Clone, Copy, PartialEq)]
enum Addressed {
    /// Those that the value stores.
    None,
    /// Also those that an operator addressed: columns of a csr operand, ids of a look-up.
    Beyond,
}

impl Addressed {
    /// Rows pass through views.
    fn through(read: Read) -> Self {
        if read == Read::View { Addressed::Beyond } else { Addressed::None }
    }
}

fn check_head(y: &PartialType, dy: &PartialType, at: &'static Location<'static>) -> Result<()> {
    y.clone().unify(&mut dy.clone()).map_err(|error| {
        let message = format!("the head cotangent is {dy}, the result {y}");
        Error::new(error.kind(), message).operator("backward").at(at)
    })
}
