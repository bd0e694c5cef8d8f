//! The values of an executor's variables, and their shapes.

use std::panic::Location;
use std::sync::Arc;

use super::super::Kind;
use super::super::bind::{Argument, fitting};
use super::super::program::Program;
use super::{Executor, PROGRAMS};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Params, PartialType, Value};
use crate::tensor::construct::check_room;
use crate::tensor::{Stype, Tensor, Type};

impl Executor {
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
    /// As [`Graph::bind`](crate::Graph::bind).
    #[track_caller]
    pub fn reshape(&mut self, shapes: &[(&str, &[usize])]) -> Result<()> {
        let mut known = Vec::new();
        for &(name, shape) in shapes {
            known.push(self.of_shape(self.find_variable(name)?, shape));
        }
        self.reshape_to(known)
    }

    /// A variable and its type, in another shape.
    pub(super) fn of_shape(&self, id: usize, shape: &[usize]) -> (usize, PartialType) {
        let ty = PartialType::from(&self.program.types[id]);
        (id, PartialType { shape: shape.into(), ..ty })
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
        // What does not fit into memory is refused before anything changes.
        for (id, _) in program.body.variables() {
            let ty = &program.types[id];
            check_room(&ty.shape, ty.stype, ty.dtype)?;
        }
        self.programs.push(Arc::clone(&program));
        if self.programs.len() > PROGRAMS {
            self.programs.remove(0);
        }
        self.adopt(program)
    }

    /// Takes the zeros that stand for variables without a value for their values; but for heads.
    pub(in crate::graph) fn take_zeros(&mut self) {
        let program = Arc::clone(&self.program);
        for (id, _) in program.body.variables() {
            let is_head = program.body.heads.iter().any(|(_, head)| *head as usize == id);
            if !is_head {
                self.unbound[id] = false;
            }
        }
    }

    /// Zeros to add to, where nothing was added up yet.
    pub(super) fn fill_accumulators(&mut self) -> Result<()> {
        let program = Arc::clone(&self.program);
        for id in program.body.gradients.iter().filter_map(|slope| slope.before) {
            if let Value::Symbol = self.values[id as usize] {
                self.bind_zeros(id as usize)?;
            }
        }
        Ok(())
    }

    pub(super) fn bind_zeros(&mut self, id: usize) -> Result<()> {
        self.values[id] = Value::Tensor(zeros(&self.program.types[id])?);
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
        self.bound(id);
        self.list_parameter(id);
        Ok(())
    }

    /// Notes that a variable has another value.
    pub(super) fn bound(&mut self, id: usize) {
        self.unbound[id] = false;
        // What the forward pass read is no longer there to go back through.
        if self.program.forward_reads[id] {
            self.passed = false;
        }
    }

    /// Notes whether the variable is a parameter now.
    pub(super) fn list_parameter(&mut self, id: usize) {
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
    pub(super) fn adopt(&mut self, program: Arc<Program>) -> Result<()> {
        self.forget_aliases();
        self.carry_gradients();
        let before = std::mem::replace(&mut self.program, Arc::clone(&program));
        self.forget_results(&before);
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
        self.slabs.fit(&program.segments);
        self.passed = false;
        self.fill_accumulators()?;
        self.fill_placeholders()
    }

    /// The cotangents of single numbers that none was given for.
    pub(super) fn start_heads(&mut self) -> Result<()> {
        for (_, id) in &self.program.body.heads {
            let (id, ty) = (*id as usize, &self.program.types[*id as usize]);
            // The gradient of a single number starts from 1.
            if self.unbound[id] && ty.shape.size() == 1 && ty.stype == Stype::Default {
                let one = Tensor::full(ty.shape.clone(), 1.0f64)?.cast(ty.dtype);
                self.values[id] = Value::Tensor(one);
                self.unbound[id] = false;
            }
        }
        Ok(())
    }

    /// Zeros stand for variables without a value, of which operators may read the shape; heads that
    /// start alone do so.
    pub(super) fn fill_placeholders(&mut self) -> Result<()> {
        for (id, _) in self.program.body.variables().filter(|(id, _)| self.unbound[*id]) {
            self.values[id] = Value::Tensor(zeros(&self.program.types[id])?);
        }
        self.start_heads()
    }
}

pub(super) fn zeros(ty: &Type) -> Result<Tensor> {
    Tensor::zeros(ty.stype, ty.shape.clone(), ty.dtype)
}
