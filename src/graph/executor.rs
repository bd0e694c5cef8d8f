//! One thread's memory for a graph, and how the graph runs in it.

use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::bind::{Argument, Bind, fitting};
use super::program::{Plans, Program, Step};
use super::{Graph, Kind};
use crate::error::{Error, ErrorKind, Result};
use crate::optim::Optimizer;
use crate::tape::{
    Fallback, Gradients, InPlace, Made, Mode, Observed, Observers, Params, PartialShape,
    PartialType, PerOperand, Read, Reuse, Value, Workspace, lock_parameters,
};
use crate::tensor::{Stype, Tensor, Type, View};

/// Runs a graph: bound values, results, and the memory for both. Made by [`Graph::bind`].
///
/// The graph is shared and immutable; an executor belongs to one thread at a time. After the first run at
/// given shapes, further runs use the same memory again. Results that the caller still holds are never
/// written over.
///
/// ```
/// use sparsetape::{Graph, Tape, Tensor, variable};
/// let tape = Tape::symbolic();
/// let x = tape.symbol(variable("x"));
/// let graph = Graph::new(&[x.square().sum()])?.with_gradients(&["x"])?;
/// let mut executor = graph.bind([("x", Tensor::dense([2], vec![1.0f32, 3.0])?)])?;
/// executor.forward(true)?;
/// executor.backward()?;
/// assert_eq!(executor.output(0)?.item::<f32>()?, 10.0);
/// assert_eq!(executor.grad("x").unwrap().values::<f32>()?, [2.0, 6.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
pub struct Executor {
    plans: Plans,
    pub(super) program: Arc<Program>,
    /// Programs for the shapes seen last, the latest at the end; the one that runs among them.
    programs: Vec<Arc<Program>>,
    /// By node.
    pub(super) values: Vec<Value>,
    /// Results that are other values themselves, and by node whether it is one: their memory is not
    /// theirs.
    aliased: Vec<u32>,
    is_alias: Vec<bool>,
    /// The variables that are bound to parameters.
    parameters: Vec<u32>,
    /// Memory of dead results, by place.
    memory: Vec<Option<Tensor>>,
    /// By node: variables without a value.
    pub(super) unbound: Vec<bool>,
    pub(super) workspace: Workspace,
    pub(super) observers: Observers,
    fallback: Fallback,
    seed: u64,
    step: u64,
    /// How far this run is: whether there are outputs, and gradients.
    done: Done,
    /// Whether what accumulates is where the next gradients are added to it.
    carried: bool,
    params: Params,
    gradients: Gradients,
}

/// For so many different shapes an executor keeps programs.
const PROGRAMS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Done {
    Nothing,
    Forward,
    Backward,
}

impl Executor {
    #[track_caller]
    pub(super) fn new(
        graph: Graph,
        arguments: FxHashMap<usize, Argument>,
        shapes: &[(usize, PartialShape)],
        bind: &Bind,
    ) -> Result<Executor> {
        let mut known: Vec<(usize, PartialType)> =
            arguments.iter().map(|(&id, argument)| (id, argument.ty())).collect();
        for (id, shape) in shapes {
            let ty = &graph.body().nodes[*id].ty;
            known.push((*id, PartialType { shape: shape.clone(), ..ty.clone() }));
        }
        let plans = Plans::new(&graph, &known, bind.passes)?;
        for (id, _) in &mut known {
            *id = plans.place(*id)?;
        }
        let program = Arc::new(plans.program(&known, &[])?);
        let nodes = program.body.nodes.len();
        let mut executor = Executor {
            values: vec![Value::Symbol; nodes],
            aliased: Vec::new(),
            is_alias: vec![false; nodes],
            parameters: Vec::new(),
            memory: vec![None; program.places],
            unbound: vec![false; nodes],
            workspace: Workspace::default(),
            observers: Observers::default(),
            fallback: bind.fallback,
            seed: 0,
            step: 0,
            done: Done::Nothing,
            carried: true,
            params: Params::default(),
            gradients: Gradients::default(),
            plans,
            programs: vec![Arc::clone(&program)],
            program,
        };
        for id in 0..nodes {
            let node = &executor.program.body.nodes[id];
            executor.unbound[id] = node.variable().is_some();
            if let Kind::Constant(tensor) = &node.kind {
                executor.values[id] = Value::Tensor(tensor.clone());
            }
        }
        for (id, argument) in arguments {
            executor.assign(executor.plans.place(id)?, argument)?;
        }
        executor.fill_accumulators()?;
        executor.fill_placeholders()?;
        executor.program.log();
        Ok(executor)
    }

    #[track_caller]
    pub(super) fn find_variable(&self, name: &str) -> Result<usize> {
        self.program.body.find_variable(name)
    }

    /// The graph that runs, with its gradients, [optimized](Graph::optimized).
    pub fn graph(&self) -> &Graph {
        self.plans.graph()
    }

    /// Runs the graph up to its outputs; `is_train` says whether operators like dropout train.
    ///
    /// # Errors
    /// [`ErrorKind::State`] naming a variable that has no value; what the operators find in the values,
    /// with operator, operand types and the user's line; [`ErrorKind::Busy`] while a parameter is updated.
    #[track_caller]
    pub fn forward(&mut self, is_train: bool) -> Result<()> {
        self.begin(is_train);
        let program = Arc::clone(&self.program);
        self.check_bound(0..program.forward, program.body.outputs.iter().copied())?;
        self.run_steps(0..program.forward)?;
        self.done = Done::Forward;
        Ok(())
    }

    /// Runs the backward pass of the last [`Executor::forward`], for a graph whose gradients start
    /// alone.
    ///
    /// # Errors
    /// [`ErrorKind::State`] before a forward pass, for a graph without gradients, and for an output that
    /// needs a head cotangent, which [`Executor::backward_with`] takes; [`ErrorKind::Stale`] for a parameter
    /// that was updated in between.
    #[track_caller]
    pub fn backward(&mut self) -> Result<()> {
        self.backward_with(&[])
    }

    /// Runs the backward pass from these head cotangents, by name of output, of any storage type.
    ///
    /// # Errors
    /// As [`Executor::backward`]; [`ErrorKind::Shape`] or [`ErrorKind::DType`] for one that does not fit.
    #[track_caller]
    pub fn backward_with(&mut self, heads: &[(&str, &Tensor)]) -> Result<()> {
        let at = Location::caller();
        let fault = |why: &str| Err(Error::new(ErrorKind::State, why).operator("backward").at(at));
        if self.program.body.gradients.is_empty() {
            return fault(
                "the graph has no gradients; `with_gradients` or `Bind::train` gives them",
            );
        }
        if self.done != Done::Forward {
            return fault(
                "there is no forward pass to go back through: each serves one backward pass",
            );
        }
        let mut given: SmallVec<[usize; 4]> = SmallVec::new();
        for (output, head) in heads {
            let position = self.graph().find_output(output)?;
            let own = self.program.body.heads.iter().find(|(k, _)| *k == position);
            let Some(&(_, id)) = own else {
                let message = format!("the gradient of {output:?} starts alone: it takes no head");
                return fault(&message);
            };
            self.assign(id as usize, Argument::Tensor((*head).clone()))?;
            given.push(id as usize);
        }
        self.start_heads()?;
        let steps = self.program.forward..self.program.steps.len();
        let gradients = self.program.body.gradients.iter();
        self.check_bound(steps.clone(), gradients.map(|slope| slope.gradient))?;
        self.done = Done::Nothing;
        let ran = self.run_steps(steps);
        // A head cotangent serves one backward pass.
        given.into_iter().for_each(|id| self.unbound[id] = true);
        ran?;
        self.done = Done::Backward;
        self.carried = false;
        Ok(())
    }

    /// The cotangents of single numbers that none was given for.
    fn start_heads(&mut self) -> Result<()> {
        for (_, id) in &self.program.body.heads {
            let (id, ty) = (*id as usize, &self.program.types[*id as usize]);
            if self.unbound[id] && starts_alone(ty) {
                self.values[id] = Value::Tensor(placeholder(ty, true)?);
                self.unbound[id] = false;
            }
        }
        Ok(())
    }

    /// [`Executor::forward`] in training mode, [`Executor::backward`] and a step of the optimizer on the bound
    /// parameters.
    ///
    /// ```
    /// use sparsetape::{Bind, Graph, Parameter, Tape, Tensor, optim::Sgd, variable};
    /// let tape = Tape::symbolic();
    /// let (x, w) = (tape.symbol(variable("x")), tape.symbol(variable("w")));
    /// let graph = Graph::new(&[(x * w).sum()])?;
    /// let w = Parameter::new("w", Tensor::full([2], 1.0f32)?)?;
    /// let bind = Bind::new().parameter(&w).tensor("x", Tensor::full([2], 4.0f32)?).train();
    /// let mut executor = graph.bind(bind)?;
    /// executor.backward_into(&mut Sgd::new(0.125))?;
    /// assert_eq!(w.snapshot()?.values::<f32>()?, [0.5; 2]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Executor::forward`] and [`Executor::backward`], and what the optimizer refuses.
    #[track_caller]
    pub fn backward_into(&mut self, optimizer: &mut impl Optimizer) -> Result<()> {
        if self.done != Done::Forward {
            self.forward(true)?;
        }
        self.backward()?;
        for slope in &self.program.body.gradients {
            let bound =
                (&self.values[slope.variable as usize], &self.values[slope.gradient as usize]);
            if let (Value::Parameter(parameter, _), Value::Tensor(gradient)) = bound {
                self.params.push(parameter)?;
                self.gradients.add(parameter, gradient.clone())?;
            }
        }
        let stepped = optimizer.step(&self.params, &self.gradients);
        // The gradients' memory is the next run's.
        self.gradients.clear();
        self.done = Done::Nothing;
        stepped
    }

    /// An output of the last forward pass.
    ///
    /// # Errors
    /// [`ErrorKind::State`] before a forward pass; [`ErrorKind::Index`] if there is no such output.
    #[track_caller]
    pub fn output(&self, i: usize) -> Result<&Tensor> {
        let at = Location::caller();
        let fault = |kind, why: String| Err(Error::new(kind, why).operator("output").at(at));
        let Some(&id) = self.program.body.outputs.get(i) else {
            let n = self.program.body.outputs.len();
            return fault(ErrorKind::Index, format!("output {i}, but there are {n}"));
        };
        match &self.values[id as usize] {
            Value::Tensor(tensor) => Ok(tensor),
            Value::Parameter(parameter, _) => {
                let name = parameter.name();
                fault(ErrorKind::State, format!("the output is parameter {name:?}: `snapshot` it"))
            }
            Value::Symbol => fault(ErrorKind::State, "there was no forward pass yet".to_owned()),
        }
    }

    /// All outputs of the last forward pass.
    ///
    /// # Errors
    /// As [`Executor::output`].
    #[track_caller]
    pub fn outputs(&self) -> Result<Vec<Tensor>> {
        (0..self.program.body.outputs.len()).map(|i| self.output(i).cloned()).collect()
    }

    /// What a variable is bound to; of a parameter, a copy.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a name that is not a variable's, or a variable without a value.
    #[track_caller]
    pub fn arg(&self, name: &str) -> Result<Tensor> {
        let id = self.find_variable(name)?;
        match &self.values[id] {
            Value::Tensor(tensor) if !self.unbound[id] => Ok(tensor.clone()),
            Value::Parameter(parameter, _) => parameter.snapshot(),
            _ => {
                let message = format!("variable {name:?} has no value");
                Err(Error::new(ErrorKind::State, message).operator("arg"))
            }
        }
    }

    /// The gradient of a variable, if it is one of the graph's: from the last backward pass, until the next
    /// forward pass; one that accumulates stays.
    pub fn grad(&self, name: &str) -> Option<&Tensor> {
        let body = &self.program.body;
        let own = |slope: &&super::Slope| body.nodes[slope.variable as usize].name == name;
        let slope = body.gradients.iter().find(own)?;
        let held = [Some(slope.gradient), slope.before].into_iter().flatten();
        held.map(|id| &self.values[id as usize]).find_map(|value| match value {
            Value::Tensor(tensor) => Some(tensor),
            _ => None,
        })
    }

    /// Binds a variable to other values, of its shape and element type. Those of another storage type are
    /// cast, visibly; a parameter takes them over.
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a name that is not a variable's; [`ErrorKind::Shape`] (see
    /// [`Executor::reshape`]) or [`ErrorKind::DType`] for values that do not fit; [`ErrorKind::Fallback`] where
    /// a cast is denied.
    #[track_caller]
    pub fn set(&mut self, name: &str, value: impl Into<Argument>) -> Result<()> {
        let id = self.find_variable(name)?;
        self.put(id, value.into())
    }

    /// Values for a variable; a parameter takes them over.
    #[track_caller]
    pub(super) fn put(&mut self, id: usize, value: Argument) -> Result<()> {
        match (value, &self.values[id]) {
            (Argument::Tensor(tensor), Value::Parameter(parameter, _)) => {
                let name = parameter.name();
                let fits = fitting(tensor, name, parameter.stype(), self.fallback)?;
                parameter.clone().set(fits)
            }
            (argument, _) => self.assign(id, argument),
        }
    }

    /// Other shapes for these variables, say another batch size; the others follow. Values that still fit stay
    /// bound. (MXNet: `reshape`.)
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let graph = Graph::new(&[tape.symbol(variable("x")).exp()])?;
    /// let mut executor = graph.bind([("x", Tensor::full([2], 0.0f32)?)])?;
    /// executor.reshape(&[("x", &[3])])?;
    /// executor.set("x", Tensor::full([3], 0.0f32)?)?;
    /// executor.forward(false)?;
    /// assert_eq!(executor.output(0)?.values::<f32>()?, [1.0; 3]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Graph::bind`].
    #[track_caller]
    pub fn reshape(&mut self, shapes: &[(&str, &[usize])]) -> Result<()> {
        let mut known = Vec::new();
        for &(name, shape) in shapes {
            let id = self.find_variable(name)?;
            let ty = PartialType::from(&self.program.types[id]);
            known.push((id, PartialType { shape: shape.into(), ..ty }));
        }
        self.reshape_to(known)
    }

    #[track_caller]
    pub(super) fn reshape_to(&mut self, mut known: Vec<(usize, PartialType)>) -> Result<()> {
        for &id in &self.parameters {
            let id = id as usize;
            if known.iter().all(|(own, _)| *own != id) {
                known.push((id, (&self.program.types[id]).into()));
            }
        }
        let fits = |program: &Arc<Program>| {
            known
                .iter()
                .all(|(id, ty)| ty.shape.known().as_ref() == Some(&program.types[*id].shape))
        };
        let program = match self.programs.iter().rposition(fits) {
            Some(at) => self.programs.remove(at),
            None => Arc::new(self.plans.program(&known, &self.program.types)?),
        };
        self.programs.push(Arc::clone(&program));
        if self.programs.len() > PROGRAMS {
            self.programs.remove(0);
        }
        self.adopt(program)
    }

    /// The numbers that random operators of the next training run are keyed by, beside their place; each
    /// training run counts one step on.
    pub fn set_seed(&mut self, seed: u64, step: u64) {
        (self.seed, self.step) = (seed, step);
    }

    /// Zeros in place of every gradient that accumulates.
    #[track_caller]
    pub fn zero_grad(&mut self) -> Result<()> {
        let program = Arc::clone(&self.program);
        for slope in &program.body.gradients {
            if let Some(before) = slope.before {
                self.values[slope.gradient as usize] = Value::Symbol;
                self.bind_zeros(before as usize)?;
            }
        }
        Ok(())
    }

    /// Takes the zeros that stand for variables without a value for their values; but for heads.
    pub(super) fn take_zeros(&mut self) {
        let program = Arc::clone(&self.program);
        for (id, _) in program.body.variables() {
            let is_head = program.body.heads.iter().any(|(_, head)| *head as usize == id);
            if !is_head {
                self.unbound[id] = false;
            }
        }
    }

    /// Zeros to add to, where nothing was added up yet.
    fn fill_accumulators(&mut self) -> Result<()> {
        let program = Arc::clone(&self.program);
        for id in program.body.gradients.iter().filter_map(|slope| slope.before) {
            if let Value::Symbol = self.values[id as usize] {
                self.bind_zeros(id as usize)?;
            }
        }
        Ok(())
    }

    fn bind_zeros(&mut self, id: usize) -> Result<()> {
        let ty = &self.program.types[id];
        let zeros = Tensor::zeros(ty.stype, ty.shape.clone(), ty.dtype)?;
        self.values[id] = Value::Tensor(zeros);
        self.unbound[id] = false;
        Ok(())
    }

    #[track_caller]
    pub(super) fn assign(&mut self, id: usize, argument: Argument) -> Result<()> {
        let at = Location::caller();
        let (name, ty) = (&self.program.body.nodes[id].name, &self.program.types[id]);
        let (shape, dtype) = argument.shape_and_dtype();
        let refuse = |kind, hint: &str| {
            let message = format!("variable {name:?} is {ty}, got {}{hint}", argument.ty());
            Err(Error::new(kind, message).operator("bind").at(at))
        };
        if *shape != ty.shape {
            return refuse(ErrorKind::Shape, "; `reshape` changes the batch size");
        }
        if dtype != ty.dtype {
            return refuse(ErrorKind::DType, "; use `cast`");
        }
        self.values[id] = match argument {
            Argument::Tensor(tensor) => {
                Value::Tensor(fitting(tensor, name, ty.stype, self.fallback)?)
            }
            Argument::Parameter(parameter) if parameter.stype() == ty.stype => {
                let updates = parameter.updates();
                Value::Parameter(parameter, updates)
            }
            Argument::Parameter(_) => return refuse(ErrorKind::Stype, ""),
        };
        self.unbound[id] = false;
        // What the forward pass read is no longer there to go back through.
        if self.program.forward_reads[id] {
            self.done = Done::Nothing;
        }
        self.list_parameter(id);
        Ok(())
    }

    /// Notes whether the variable is a parameter now.
    fn list_parameter(&mut self, id: usize) {
        let listed = self.parameters.iter().position(|&own| own as usize == id);
        if let Some(at) = listed {
            self.parameters.swap_remove(at);
            self.params = Params::default();
        }
        if let Value::Parameter(..) = self.values[id] {
            self.parameters.push(id as u32);
        }
    }

    /// Takes over a program for other shapes: the same nodes.
    fn adopt(&mut self, program: Arc<Program>) -> Result<()> {
        self.forget_aliases();
        self.carry_gradients();
        let before = std::mem::replace(&mut self.program, Arc::clone(&program));
        before.kept.iter().for_each(|&id| self.release(&before, id));
        for (id, node) in program.body.nodes.iter().enumerate() {
            let fits = match &self.values[id] {
                Value::Tensor(tensor) => tensor.ty() == program.types[id],
                Value::Parameter(..) => true,
                Value::Symbol => false,
            };
            match &node.kind {
                Kind::Op(_) => self.values[id] = Value::Symbol,
                Kind::Variable(_) if !fits => {
                    self.values[id] = Value::Symbol;
                    self.unbound[id] = true;
                }
                _ => {}
            }
        }
        self.memory.resize(program.places, None);
        self.done = Done::Nothing;
        self.fill_accumulators()?;
        self.fill_placeholders()
    }

    /// Before a run: parameters as they are now, nothing left that shares memory to be written.
    fn begin(&mut self, is_train: bool) {
        self.done = Done::Nothing;
        self.forget_aliases();
        self.carry_gradients();
        let program = Arc::clone(&self.program);
        program.kept.iter().for_each(|&id| self.release(&program, id));
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
    }

    fn forget_aliases(&mut self) {
        for id in self.aliased.drain(..) {
            self.values[id as usize] = Value::Symbol;
            self.is_alias[id as usize] = false;
        }
    }

    /// What accumulates becomes what the next gradients are added to.
    fn carry_gradients(&mut self) {
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

    fn run_steps(&mut self, steps: Range<usize>) -> Result<()> {
        let program = Arc::clone(&self.program);
        for step in &program.steps[steps] {
            self.run_step(&program, step).map_err(|error| program.blame(step, error))?;
            step.dead.iter().for_each(|&dead| self.release(&program, dead));
        }
        Ok(())
    }

    /// Forgets a result; its memory waits in its place.
    fn release(&mut self, program: &Program, id: u32) {
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
        let reuse = self.memory_for(program, step);
        let made = {
            let operands: PerOperand<&Value> =
                step.ins.iter().map(|&i| &self.values[i as usize]).collect();
            let guards = lock_parameters(&*step.op, &operands)?;
            let types = step.ins.iter().map(|&i| &program.types[i as usize]);
            let mut views: PerOperand<View<'_>> = PerOperand::new();
            for (i, (value, ty)) in operands.iter().zip(types).enumerate() {
                views.push(match &reuse {
                    Reuse::InPlace(own) if own.operand() == i => {
                        View::without_values(&ty.shape, ty.dtype)
                    }
                    _ => value.view(&ty.shape, &guards),
                });
            }
            let line = &program.body.nodes[step.node as usize].line;
            self.workspace.run(&*step.op, &step.plan, &views, line, reuse)?
        };
        self.values[step.node as usize] = match made {
            Made::Value(layout, values) => {
                Value::Tensor(Tensor::from_parts(step.plan.shape.clone(), layout, values))
            }
            Made::Alias(i) => {
                self.aliased.push(step.node);
                self.is_alias[step.node as usize] = true;
                self.values[step.ins[i] as usize].alias(&step.plan.shape)
            }
        };
        if !self.observers.is_empty() {
            self.show(program, step)?;
        }
        Ok(())
    }

    /// Shows a result that was just computed to those who observe it.
    fn show(&mut self, program: &Program, step: &Step) -> Result<()> {
        let (id, operator) = (step.node as usize, &*step.op.label());
        let node = &program.body.nodes[id];
        let (name, line) = (&node.name, &node.line);
        let (ty, value) = (&program.types[id], &self.values[id]);
        self.observers.show(&Observed { name, operator, ty, value, line })
    }

    /// Memory for a result: that of an operand that dies here, of the last run, or of a dead result.
    fn memory_for(&mut self, program: &Program, step: &Step) -> Reuse {
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
    fn check_bound(
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

    fn check_step(&self, step: &Step) -> Result<()> {
        let open = |i: usize, id: u32| self.unbound[id as usize] && step.op.reads(i) != Read::Shape;
        match step.ins.iter().enumerate().find(|&(i, &id)| open(i, id)) {
            Some((_, &id)) => {
                let line = self.program.body.nodes[step.node as usize].line.clone();
                Err(self.without_value(id).operator(step.op.label()).at_line(line))
            }
            None => Ok(()),
        }
    }

    fn without_value(&self, id: u32) -> Error {
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

    /// Zeros stand for variables without a value, of which operators may read the shape.
    pub(super) fn fill_placeholders(&mut self) -> Result<()> {
        let program = Arc::clone(&self.program);
        for (id, _) in program.body.variables() {
            if !self.unbound[id] {
                continue;
            }
            let ty = &program.types[id];
            let head = program.body.heads.iter().any(|(_, head)| *head as usize == id);
            let start = head && starts_alone(ty);
            self.values[id] = Value::Tensor(placeholder(ty, start)?);
            self.unbound[id] = !start;
        }
        Ok(())
    }
}

/// The gradient of a single number starts from 1.
fn starts_alone(ty: &Type) -> bool {
    ty.shape.size() == 1 && ty.stype == Stype::Default
}

fn placeholder(ty: &Type, start: bool) -> Result<Tensor> {
    match start {
        true => Ok(Tensor::full(ty.shape.clone(), 1.0f64)?.cast(ty.dtype)),
        false => Tensor::zeros(ty.stype, ty.shape.clone(), ty.dtype),
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Executor of\n{:?}", self.graph())
    }
}
