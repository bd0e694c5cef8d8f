//! How steps run: operands as views, results in the memory of dead ones.

use std::ops::Range;

use super::super::program::{Program, Step};
use super::Executor;
use super::lend::Loan;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{InPlace, Lent, Made, Mode, Observed, PerOperand, Read, Reuse, Value, Workspace};
use crate::tensor::{Layout, Tensor, View};

impl Executor {
    /// Before a run: parameters as they are now, nothing left that shares memory to be written.
    pub(super) fn begin(&mut self, program: &Program, is_train: bool) {
        self.passed = false;
        self.forget_aliases();
        self.carry_gradients();
        program.kept.iter().for_each(|&id| self.release(program, id));
        for &id in &self.parameters {
            if let Value::Parameter(parameter, updates) = &mut self.values[id as usize] {
                *updates = parameter.updates();
            }
        }
        let mode = match is_train {
            true => Mode::Train { seed: self.seed, step: self.step },
            false => Mode::Predict,
        };
        self.step += is_train as u64;
        self.workspace.scratch.set_mode(mode);
        self.workspace.scratch.set_differentiated(is_train);
    }

    pub(super) fn forget_aliases(&mut self) {
        for id in self.aliased.drain(..) {
            self.values[id as usize] = Value::Symbol;
            self.is_alias[id as usize] = false;
        }
    }

    /// What accumulates becomes what the next gradients are added to.
    pub(super) fn carry_gradients(&mut self) {
        if std::mem::replace(&mut self.carried, true) {
            return;
        }
        for slope in &self.program.body.gradients {
            let Some(before) = slope.before else { continue };
            let sum = std::mem::replace(&mut self.values[slope.gradient as usize], Value::Symbol);
            if let Value::Tensor(_) = sum {
                let old = std::mem::replace(&mut self.values[before as usize], sum);
                self.values[slope.gradient as usize] = old;
            }
        }
    }

    pub(super) fn run_steps(
        &mut self,
        program: &Program,
        steps: Range<usize>,
        loan: Option<&Loan<'_>>,
    ) -> Result<()> {
        let mut at = steps.start;
        while at < steps.end {
            if let Some(segment) = program.segments.starting_at(at).filter(|_| self.slabs.in_use) {
                self.run_segment(program, segment)?;
                at = segment.steps.end;
                continue;
            }
            let step = &program.steps[at];
            let lent = loan.filter(|loan| step.ins.first() == Some(&loan.variable));
            let ran = match lent {
                Some(loan) => self.run_lent_step(program, step, loan),
                None => self.run_step(program, step),
            };
            if let Err(error) = ran {
                self.values[step.node as usize] = Value::Symbol;
                return Err(program.blame(step, error));
            }
            step.dead.iter().for_each(|&dead| self.release(program, dead));
            at += 1;
        }
        Ok(())
    }

    /// Forgets all results, those that stay from run to run, too.
    pub(super) fn forget_results(&mut self, program: &Program) {
        program.steps.iter().for_each(|step| self.release(program, step.node));
    }

    /// Forgets a result; its memory waits in its place.
    pub(super) fn release(&mut self, program: &Program, id: u32) {
        let value = std::mem::replace(&mut self.values[id as usize], Value::Symbol);
        if let Value::Tensor(memory) = value
            && !self.is_alias[id as usize]
        {
            let place = program.place_of[id as usize] as usize;
            if let Some(earlier) = self.memory[place].replace(memory) {
                self.workspace.recycle(earlier);
            }
        }
    }

    fn run_step(&mut self, program: &Program, step: &Step) -> Result<()> {
        let made = self.make(program, step)?;
        let node = step.node as usize;
        match (made, &mut self.values[node]) {
            (Made::Value(Layout::Dense, values), Value::Tensor(last)) => last.put_values(values),
            (Made::Value(layout, values), own) => {
                let shape = step.plan.shape.clone();
                *own = Value::Tensor(Tensor::from_parts(shape, layout, values));
            }
            (Made::Alias(i), _) => {
                self.aliased.push(step.node);
                self.is_alias[node] = true;
                self.values[node] = self.values[step.ins[i] as usize].alias(&step.plan.shape);
            }
        }
        if !self.observers.is_empty() {
            self.show(program, step)?;
        }
        Ok(())
    }

    fn make(&mut self, program: &Program, step: &Step) -> Result<Made> {
        let reuse = self.memory_for(program, step);
        let Executor { values, workspace, .. } = self;
        let lent = lend(workspace, program, step, values)?;
        // Pushed, not collected: that is what small steps spend their time on.
        let mut views: PerOperand<View<'_>> = PerOperand::new();
        for (i, &id) in step.ins.iter().enumerate() {
            let ty = &program.types[id as usize];
            views.push(match (&values[id as usize], &reuse) {
                (_, Reuse::InPlace(own)) if own.operand() == i => {
                    View::without_values(&ty.shape, ty.dtype)
                }
                (Value::Tensor(tensor), _) => tensor.view(),
                (value, _) => match &lent {
                    Some(lent) => value.view(i, &ty.shape, lent),
                    None => unreachable!("the parameters among the operands are lent"),
                },
            });
        }
        let line = &program.body.nodes[step.node as usize].line;
        let made = workspace.run(&*step.op, &step.plan, &views, line, reuse);
        drop(views);
        if let Some(lent) = lent {
            lent.end(&mut workspace.arena);
        }
        made
    }

    /// Shows a result that was just computed to those who observe it.
    pub(super) fn show(&mut self, program: &Program, step: &Step) -> Result<()> {
        let (id, operator) = (step.node as usize, &*step.op.label());
        let node = &program.body.nodes[id];
        let (name, line) = (&node.name, &node.line);
        let (ty, value) = (&program.types[id], &self.values[id]);
        self.observers.show(&Observed { name, operator, ty, value, line })
    }

    /// Memory for a result: that of an operand that dies here, of the last run, or of a dead result. Of a dense
    /// result of the last run, which is of the same type, its values alone: the rest waits for others.
    fn memory_for(&mut self, program: &Program, step: &Step) -> Reuse {
        if step.in_place.is_none()
            && let Value::Tensor(last) = &mut self.values[step.node as usize]
            && let Some(values) = last.take_values()
        {
            return Reuse::Values(values);
        }
        let take = |value: &mut Value| std::mem::replace(value, Value::Symbol);
        let earlier = take(&mut self.values[step.node as usize]);
        if let Some(i) = step.in_place {
            let operand = step.ins[i] as usize;
            // A view of a parameter is no memory of ours.
            self.values[operand] = match take(&mut self.values[operand]) {
                Value::Tensor(tensor) => match InPlace::of(i, tensor) {
                    Ok(own) => {
                        if let Value::Tensor(earlier) = earlier {
                            self.workspace.recycle(earlier);
                        }
                        return Reuse::InPlace(own);
                    }
                    Err(shared) => Value::Tensor(shared),
                },
                other => other,
            };
        }
        let place = program.place_of[step.node as usize] as usize;
        match earlier {
            Value::Tensor(earlier) => Reuse::Tensor(earlier),
            _ => self.memory[place].take().map_or(Reuse::None, Reuse::Tensor),
        }
    }

    /// A variable without a value has a shape: more must not be read of it.
    pub(super) fn check_bound(
        &self,
        steps: Range<usize>,
        mut looked_at: impl Iterator<Item = u32>,
    ) -> Result<()> {
        if !self.unbound.contains(&true) {
            return Ok(());
        }
        self.program.steps[steps].iter().try_for_each(|step| self.check_step(step))?;
        match looked_at.find(|&id| self.unbound[id as usize]) {
            Some(id) => Err(self.without_value(id)),
            None => Ok(()),
        }
    }

    pub(super) fn check_step(&self, step: &Step) -> Result<()> {
        let open = |i: usize, id: u32| self.unbound[id as usize] && step.op.reads(i) != Read::Shape;
        match step.ins.iter().enumerate().find(|&(i, &id)| open(i, id)) {
            Some((_, &id)) => {
                let line = self.program.body.nodes[step.node as usize].line.clone();
                Err(self.without_value(id).operator(step.op.label()).at_line(line))
            }
            None => Ok(()),
        }
    }

    pub(super) fn without_value(&self, id: u32) -> Error {
        let (body, ty) = (&self.program.body, &self.program.types[id as usize]);
        let node = &body.nodes[id as usize];
        let message = match body.heads.iter().find(|(_, head)| *head == id) {
            Some(&(k, _)) => format!(
                "output {:?} is no single number: `backward_with` takes its head cotangent",
                body.nodes[body.outputs[k] as usize].output_name()
            ),
            None => format!("variable {:?} ({ty}) has no value", node.name),
        };
        Error::new(ErrorKind::State, message).at_line(node.line.clone())
    }
}

/// Locks the parameters among the operands of a step, if there are any.
#[inline]
fn lend<'a>(
    workspace: &mut Workspace,
    program: &Program,
    step: &Step,
    values: &'a [Value],
) -> Result<Option<Lent<'a>>> {
    let is_parameter = |&id: &u32| matches!(values[id as usize], Value::Parameter(..));
    if !step.ins.iter().any(is_parameter) {
        return Ok(None);
    }
    let operands: PerOperand<&Value> = step.ins.iter().map(|&id| &values[id as usize]).collect();
    let shapes = step.ins.iter().map(|&id| &program.types[id as usize].shape[..]);
    let shapes: PerOperand<&[usize]> = shapes.collect();
    let Workspace { arena, scratch, .. } = workspace;
    let train = scratch.mode() != Mode::Predict;
    Lent::new(&*step.op, &operands, &shapes, &step.plan.shape, |_| train, arena).map(Some)
}
