//! Gradients of an executor: what adds up over backward passes, and steps that move by it.

use std::panic::Location;
use std::sync::Arc;

use super::super::Slope;
use super::Executor;
use super::arguments::zeros;
use crate::error::{Error, ErrorKind, Result};
use crate::optim::Optimizer;
use crate::tape::{Gradients, Mode, Value};
use crate::tensor::dtype::each_dtype;
use crate::tensor::{Layout, Tensor};

impl Executor {
    /// [`Executor::forward`] in training mode, [`Executor::backward`] and [`Executor::step`].
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
    /// As all three.
    #[track_caller]
    pub fn backward_into(&mut self, optimizer: &mut (impl Optimizer + ?Sized)) -> Result<()> {
        if !self.passed || self.workspace.scratch.mode() == Mode::Predict {
            self.forward(true)?;
        }
        self.backward()?;
        self.step(optimizer)
    }

    /// A step of the optimizer on the bound parameters, with the gradients of the backward passes since the
    /// last step: their sum where [`GradReq::Add`](crate::GradReq::Add) was asked for, which starts again from nothing
    /// (row-sparse: from no rows), else that of the last pass. If the optimizer refuses, the gradients stay.
    ///
    /// So a batch goes through in parts: memory follows the part, the step is the whole batch's.
    ///
    /// ```
    /// use sparsetape::{Bind, GradReq, Graph, Parameter, Stype, Tape, Tensor, optim::Sgd, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(1000)]));
    /// let graph = Graph::new(&[x.dot(tape.symbol(variable("w"))).sum()])?;
    /// let w = Parameter::new("w", Tensor::full([1000, 1], 1.0f32)?)?;
    /// w.set_grad_req(GradReq::Add);
    /// let parts = [vec![[(7, 1.0f32)], [(20, 2.0)]], vec![[(7, 4.0)]]];
    /// let bind = Bind::new().parameter(&w).tensor("x", Tensor::from_rows(1000, &parts[0])?);
    /// let mut executor = graph.bind(bind.train())?;
    /// for part in &parts {
    ///     executor.feed(&[("x", &Tensor::from_rows(1000, part)?)])?;
    ///     executor.forward(true)?;
    ///     executor.backward()?;
    /// }
    /// assert_eq!(executor.grad("w").unwrap().rows(), Some(&[7, 20][..]));
    /// executor.step(&mut Sgd::new(0.125))?;
    /// assert_eq!(w.snapshot()?.values::<f32>()?[7], 1.0 - 0.125 * (1.0 + 4.0));
    /// assert_eq!(executor.grad("w").unwrap().nnz(), 0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the optimizer refuses; [`ErrorKind::State`] if there was no backward pass since the last step, if a
    /// gradient that does not add up is gone with a later forward pass, or if there is no parameter to move.
    #[doc(alias = "gradient_accumulation")]
    #[track_caller]
    pub fn step(&mut self, optimizer: &mut (impl Optimizer + ?Sized)) -> Result<()> {
        let mut gradients = std::mem::take(&mut self.gradients);
        let stepped = self.step_along(optimizer, &mut gradients);
        // The gradients' memory is the next run's.
        gradients.clear();
        self.gradients = gradients;
        stepped?;
        self.unstepped = false;
        let program = Arc::clone(&self.program);
        for slope in &program.body.gradients {
            if let Value::Parameter(..) = self.values[slope.variable as usize] {
                self.restart(slope)?;
            }
        }
        Ok(())
    }

    #[track_caller]
    fn step_along(
        &mut self,
        optimizer: &mut (impl Optimizer + ?Sized),
        gradients: &mut Gradients,
    ) -> Result<()> {
        self.add_to(gradients)?;
        for (parameter, _) in gradients.iter() {
            self.params.push(parameter)?;
        }
        let at = Location::caller();
        optimizer.step(&self.params, gradients).map_err(|error| error.at(at))
    }

    /// The gradients of the bound parameters, by parameter, that [`Executor::step`] would step with, for who
    /// [reduces](Gradients::reduce) those of several executors and steps once. They share the executor's memory:
    /// nothing is copied, and once they are dropped, its next runs use that again.
    ///
    /// Gradients that add up stay: after the step, [`Executor::zero_grad`] starts them again.
    ///
    /// ```
    /// use sparsetape::{Bind, Gradients, Graph, Parameter, Params, Result, Tape, Tensor, optim::Sgd, variable};
    /// let tape = Tape::symbolic();
    /// let (x, w) = (tape.symbol(variable("x")), tape.symbol(variable("w")));
    /// let graph = Graph::new(&[(x * w).sum()])?;
    /// let w = Parameter::new("w", Tensor::full([2], 1.0f32)?)?;
    /// // Each of them may be another thread's.
    /// let worker = |x: f32| {
    ///     let bind = Bind::new().parameter(&w).tensor("x", Tensor::full([2], x)?).train();
    ///     let mut executor = graph.bind(bind)?;
    ///     executor.forward(true)?;
    ///     executor.backward()?;
    ///     executor.gradients()
    /// };
    /// let reduced = Gradients::reduce(&[worker(1.0)?, worker(3.0)?])?;
    /// Sgd::new(0.125).step(&Params::new([&w])?, &reduced)?;
    /// assert_eq!(w.snapshot()?.values::<f32>()?, [0.5; 2]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] as [`Executor::step`].
    #[track_caller]
    pub fn gradients(&self) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        self.add_to(&mut gradients)?;
        Ok(gradients)
    }

    /// The gradient of a variable, if it is one of the graph's: from the last backward pass, until the next
    /// forward pass; one that accumulates stays.
    pub fn grad(&self, name: &str) -> Option<&Tensor> {
        let body = &self.program.body;
        let own = |slope: &&Slope| body.nodes[slope.variable as usize].name == name;
        match self.held(body.gradients.iter().find(own)?)? {
            Value::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Zeros in place of every gradient that accumulates.
    #[track_caller]
    pub fn zero_grad(&mut self) -> Result<()> {
        let program = Arc::clone(&self.program);
        program.body.gradients.iter().try_for_each(|slope| self.restart(slope))
    }

    /// The gradient that there is now.
    fn held(&self, slope: &Slope) -> Option<&Value> {
        let last = (!self.carried).then_some(slope.gradient);
        let mut held = last.into_iter().chain(slope.before).map(|id| &self.values[id as usize]);
        held.find(|value| !matches!(value, Value::Symbol))
    }

    /// Adds the gradients of the bound parameters to these.
    #[track_caller]
    pub(crate) fn add_to(&self, gradients: &mut Gradients) -> Result<()> {
        let at = Location::caller();
        let fault = |why: String| Err(Error::new(ErrorKind::State, why).operator("step").at(at));
        if !self.unstepped {
            return fault("there was no backward pass since the last step".to_owned());
        }
        for slope in &self.program.body.gradients {
            let Value::Parameter(own, _) = &self.values[slope.variable as usize] else { continue };
            let gradient = match self.held(slope) {
                Some(Value::Tensor(gradient)) => gradient.clone(),
                // A backward rule may answer with an operand.
                Some(Value::Parameter(other, _)) => {
                    let shape = &self.program.types[slope.gradient as usize].shape;
                    other.snapshot()?.in_shape(shape.clone())
                }
                _ => {
                    return fault(format!(
                        "the gradient of {:?} is gone, a forward pass or another shape came after \
                         its backward pass; `GradReq::Add` keeps it",
                        own.name()
                    ));
                }
            };
            gradients.add(own, gradient)?;
        }
        if gradients.iter().next().is_none() {
            return fault(
                "no variable of which there is a gradient is bound to a parameter: `Bind::params` \
                 binds parameters"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Starts what adds up again from nothing, in the memory that it has.
    fn restart(&mut self, slope: &Slope) -> Result<()> {
        let Some(before) = slope.before else { return Ok(()) };
        let [sum, before] = [slope.gradient, before].map(|id| id as usize);
        if let Value::Tensor(sum) = std::mem::replace(&mut self.values[sum], Value::Symbol) {
            self.workspace.recycle(sum);
        }
        let last = std::mem::replace(&mut self.values[before], Value::Symbol);
        self.values[before] = Value::Tensor(match last {
            Value::Tensor(last) => self.nothing_like(last)?,
            _ => zeros(&self.program.types[before])?,
        });
        self.unbound[before] = false;
        Ok(())
    }

    /// No rows or entries; zeros in the same memory, if nobody shares it.
    fn nothing_like(&mut self, last: Tensor) -> Result<Tensor> {
        let ty = last.ty();
        let (shape, layout, mut values) = last.into_parts();
        let own = each_dtype!(Values::&mut values, buffer => {
            let own = buffer.unique().filter(|_| matches!(layout, Layout::Dense));
            own.map(|own| own.fill(Default::default())).is_some()
        });
        let last = Tensor::from_parts(shape, layout, values);
        if own {
            return Ok(last);
        }
        self.workspace.recycle(last);
        self.workspace.arena.during(|| zeros(&ty))
    }
}
