//! One thread's memory for a graph, and how the graph runs in it.

mod arguments;
mod feed;
mod gradients;
mod lend;
mod run;
mod slabs;
mod watch;

use std::panic::Location;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::bind::{Argument, Bind};
use super::program::{Plans, Program};
use super::{Graph, Kind};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{
    Fallback, Gradients, Observers, Params, PartialShape, PartialType, Value, Workspace,
};
use crate::tensor::Tensor;
use lend::Loan;
use slabs::Slabs;

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
    program: Arc<Program>,
    /// Programs for the shapes seen last, the latest at the end; the one that runs among them.
    programs: Vec<Arc<Program>>,
    /// By node.
    values: Vec<Value>,
    /// Results that are other values themselves, and by node whether it is one: their memory is not
    /// theirs.
    aliased: Vec<u32>,
    is_alias: Vec<bool>,
    /// The variables that are bound to parameters.
    parameters: Vec<u32>,
    /// Memory of dead results, by place.
    memory: Vec<Option<Tensor>>,
    /// What segments run in.
    slabs: Slabs,
    /// By node: variables without a value.
    unbound: Vec<bool>,
    workspace: Workspace,
    observers: Observers,
    fallback: Fallback,
    seed: u64,
    step: u64,
    /// Whether there is a forward pass to go back through.
    passed: bool,
    /// Whether what accumulates is where the next gradients are added to it.
    carried: bool,
    /// Whether there was a backward pass since the last step.
    unstepped: bool,
    params: Params,
    gradients: Gradients,
}

/// For so many different shapes an executor keeps programs.
const PROGRAMS: usize = 8;

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
            slabs: Slabs::new(&program.segments),
            unbound: vec![false; nodes],
            workspace: Workspace::default(),
            observers: Observers::default(),
            fallback: bind.fallback,
            seed: 0,
            step: 0,
            passed: false,
            carried: true,
            unstepped: false,
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
        self.pass(is_train, None)
    }

    #[track_caller]
    fn pass(&mut self, is_train: bool, loan: Option<&Loan<'_>>) -> Result<()> {
        let program = Arc::clone(&self.program);
        self.begin(&program, is_train);
        self.check_bound(0..program.forward, program.body.outputs.iter().copied())?;
        self.slabs.in_use = !self.is_watched();
        let ran = self.run_steps(&program, 0..program.forward, loan);
        self.passed = ran.is_ok();
        if ran.is_err() {
            self.forget_results(&program);
        }
        ran
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
        if !self.passed {
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
        let program = Arc::clone(&self.program);
        let steps = program.forward..program.steps.len();
        let gradients = self.program.body.gradients.iter();
        self.check_bound(steps.clone(), gradients.map(|slope| slope.gradient))?;
        self.passed = false;
        if self.is_watched() {
            self.leave_slabs()?;
        }
        let ran = self.run_steps(&program, steps, None);
        // A head cotangent serves one backward pass.
        given.into_iter().for_each(|id| self.unbound[id] = true);
        ran?;
        (self.carried, self.unstepped) = (false, true);
        Ok(())
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

    /// The numbers that random operators of the next training run are keyed by, beside their place; each
    /// training run counts one step on.
    pub fn set_seed(&mut self, seed: u64, step: u64) {
        (self.seed, self.step) = (seed, step);
    }

    /// The numbers that the next training run is keyed by, as a
    /// [checkpoint](crate::train::Checkpoint) keeps them.
    pub fn seed(&self) -> (u64, u64) {
        (self.seed, self.step)
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Executor of\n{:?}", self.graph())
    }
}
