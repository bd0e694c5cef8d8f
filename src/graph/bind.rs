//! From a graph to an executor: values, shapes and gradient requests by name.

use std::panic::Location;

use rustc_hash::FxHashMap;

use super::executor::Executor;
use super::gradient::Request;
use super::{Body, Graph, Passes};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Fallback, GradReq, Parameter, Params, PartialShape, PartialType};
use crate::tensor::{DType, Shape, Stype, Tensor};

/// What a variable is bound to.
#[derive(Clone, Debug)]
pub enum Argument {
    /// Immutable values, shared with whoever else holds them.
    Tensor(Tensor),
    /// A parameter, read in place.
    Parameter(Parameter),
}

impl Argument {
    pub(super) fn shape_and_dtype(&self) -> (&Shape, DType) {
        match self {
            Argument::Tensor(tensor) => (tensor.shape(), tensor.dtype()),
            Argument::Parameter(parameter) => (parameter.shape(), parameter.dtype()),
        }
    }

    pub(super) fn ty(&self) -> PartialType {
        match self {
            Argument::Tensor(tensor) => tensor.ty().into(),
            Argument::Parameter(parameter) => parameter.ty().into(),
        }
    }
}

impl From<Tensor> for Argument {
    fn from(tensor: Tensor) -> Self {
        Argument::Tensor(tensor)
    }
}

impl From<&Tensor> for Argument {
    fn from(tensor: &Tensor) -> Self {
        Argument::Tensor(tensor.clone())
    }
}

impl From<&Parameter> for Argument {
    fn from(parameter: &Parameter) -> Self {
        Argument::Parameter(parameter.clone())
    }
}

/// What [`Graph::bind`] is told: values and shapes by variable, and which gradients are wanted (none,
/// unless it is said). An array of pairs of names and values will do where there is nothing else to say.
///
/// ```
/// use sparsetape::{Bind, Graph, GradReq, Parameter, Params, Tape, Tensor, variable};
/// let tape = Tape::symbolic();
/// let x = tape.symbol(variable("x"));
/// let w = tape.symbol(variable("w"));
/// let graph = Graph::new(&[(x * w).sum()])?;
///
/// let w = Parameter::new("w", Tensor::full([3], 2.0f32)?)?;
/// let x = Tensor::full([3], 5.0f32)?;
/// let bind = Bind::new().params(&Params::new([&w])?).tensor("x", x).train();
/// let mut executor = graph.bind(bind)?;
/// executor.forward(true)?;
/// executor.backward()?;
/// assert_eq!(executor.grad("w").unwrap().values::<f32>()?, [5.0; 3]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Bind {
    arguments: Vec<(String, Argument)>,
    params: Vec<Parameter>,
    shapes: Vec<(String, PartialShape)>,
    all: Option<GradReq>,
    of_params: bool,
    grad_reqs: Vec<(String, GradReq)>,
    losses: Vec<String>,
    heads: Vec<(String, Stype)>,
    zeros: bool,
    pub(super) fallback: Fallback,
    pub(super) passes: Passes,
}

impl Bind {
    /// Nothing bound, no gradients.
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds a variable to immutable values; to a variable of another storage type they are cast,
    /// visibly.
    pub fn tensor(mut self, name: impl Into<String>, value: impl Into<Tensor>) -> Self {
        self.arguments.push((name.into(), Argument::Tensor(value.into())));
        self
    }

    /// Binds the variable of its name to a parameter, which is read in place at every run.
    pub fn parameter(mut self, parameter: &Parameter) -> Self {
        self.arguments.push((parameter.name().to_owned(), Argument::from(parameter)));
        self
    }

    /// Binds the variables that these parameters are named as; parameters that the graph does not have
    /// are left out.
    pub fn params(mut self, params: &Params) -> Self {
        self.params.extend(params.iter().cloned());
        self
    }

    /// The shape of a variable, `None` where it follows from others.
    pub fn shape(mut self, name: impl Into<String>, shape: impl Into<PartialShape>) -> Self {
        self.shapes.push((name.into(), shape.into()));
        self
    }

    /// Binds every variable that is not bound otherwise to zeros, of its storage type, as
    /// [`Graph::simple_bind`] does.
    ///
    /// ```
    /// use sparsetape::{Bind, Graph, GradReq, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let (x, w) = (tape.symbol(variable("x")), tape.symbol(variable("w")));
    /// let bind = Bind::new().shape("x", [8, 3]).shape("w", [3, 1]).zeros();
    /// let executor = Graph::new(&[x.dot(w)])?.bind(bind.grad_req("w", GradReq::Add))?;
    /// assert_eq!(executor.arg("w")?.values::<f32>()?, [0.0; 3]);
    /// assert!(executor.grad("x").is_none());
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn zeros(mut self) -> Self {
        self.zeros = true;
        self
    }

    /// Asks for the gradients of the bound parameters, as each one's [`GradReq`] says.
    pub fn train(mut self) -> Self {
        self.of_params = true;
        self
    }

    /// Asks for the gradients of all variables that have one. (MXNet: `grad_req` as one word.)
    pub fn gradients(mut self, grad_req: GradReq) -> Self {
        self.all = Some(grad_req);
        self
    }

    /// Asks for the gradient of one variable, or says that it is not wanted.
    #[doc(alias = "requires_grad")]
    pub fn grad_req(mut self, name: impl Into<String>, grad_req: GradReq) -> Self {
        self.grad_reqs.push((name.into(), grad_req));
        self
    }

    /// Asks for the gradients of this output alone, or of the outputs named so in several calls: others are
    /// results beside the loss.
    ///
    /// ```
    /// use sparsetape::{Bind, Graph, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x"));
    /// let (loss, square) = (x.sum().named("loss"), x.square().named("square"));
    /// let graph = Graph::new(&[loss, square])?;
    /// let bind = Bind::from([("x", Tensor::full([2], 3.0f32)?)]).loss("loss");
    /// let mut executor = graph.bind(bind.grad_req("x", Default::default()))?;
    /// executor.forward(true)?;
    /// executor.backward()?;
    /// assert_eq!(executor.output(1)?.values::<f32>()?, [9.0; 2]);
    /// assert_eq!(executor.grad("x").unwrap().values::<f32>()?, [1.0; 2]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn loss(mut self, output: impl Into<String>) -> Self {
        self.losses.push(output.into());
        self
    }

    /// The storage type of the head cotangent of an output, which then starts from it; left out, it is
    /// that of the output.
    pub fn head_stype(mut self, output: impl Into<String>, stype: Stype) -> Self {
        self.heads.push((output.into(), stype));
        self
    }

    /// What happens where the backward pass, or a bound value, must be made dense.
    pub fn fallback(mut self, policy: Fallback) -> Self {
        self.fallback = policy;
        self
    }

    /// Which optimization passes run first; all, unless it is said. The bits are the same.
    pub fn passes(mut self, passes: Passes) -> Self {
        self.passes = passes;
        self
    }
}

impl<const N: usize, S: Into<String>, A: Into<Argument>> From<[(S, A); N]> for Bind {
    fn from(arguments: [(S, A); N]) -> Self {
        let arguments = arguments.into_iter().map(|(name, value)| (name.into(), value.into()));
        Bind { arguments: arguments.collect(), ..Bind::default() }
    }
}

impl From<&Params> for Bind {
    fn from(params: &Params) -> Self {
        Bind::new().params(params)
    }
}

impl Graph {
    /// An executor of this graph with values for its variables. What is not bound may be
    /// [set](Executor::set) later; it is an error to run what needs it before. A label that only the backward
    /// pass reads may stay unbound where only [`Executor::forward`] runs.
    ///
    /// ```
    /// use sparsetape::{Graph, Stype, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let a = tape.symbol(variable("a").stype(Stype::Csr));
    /// let b = tape.symbol(variable("b").stype(Stype::Csr));
    /// let graph = Graph::new(&[a + b])?;
    /// let x = Tensor::csr([1, 3], vec![0, 1], vec![2], vec![1.0f32])?;
    /// let mut executor = graph.bind([("a", &x), ("b", &x)])?;
    /// executor.forward(false)?;
    /// assert_eq!(executor.output(0)?.stype(), Stype::Csr);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a name that is not a variable's, or bound twice; [`ErrorKind::Shape`] or
    /// [`ErrorKind::DType`] for values that do not fit, or a shape that stays unknown, naming the variables to
    /// say more about; [`ErrorKind::NotDifferentiable`] for a gradient that there is not.
    #[track_caller]
    pub fn bind(&self, bind: impl Into<Bind>) -> Result<Executor> {
        let bind = bind.into();
        let graph = self.with_requested(&bind)?;
        let mut arguments: FxHashMap<usize, Argument> = FxHashMap::default();
        for (name, argument) in &bind.arguments {
            let id = graph.body().find_variable(name)?;
            if arguments.insert(id, argument.clone()).is_some() {
                let message = format!("variable {name:?} is bound twice");
                return Err(Error::new(ErrorKind::State, message).operator("bind"));
            }
        }
        for parameter in &bind.params {
            let Ok(id) = graph.body().find_variable(parameter.name()) else { continue };
            arguments.entry(id).or_insert_with(|| parameter.into());
        }
        let mut shapes = Vec::new();
        for (name, shape) in &bind.shapes {
            shapes.push((graph.body().find_variable(name)?, shape.clone()));
        }
        let mut executor = Executor::new(graph, arguments, &shapes, &bind)?;
        if bind.zeros {
            executor.take_zeros();
        }
        Ok(executor)
    }

    /// An executor with zeros, of each variable's storage type, for all variables, and the gradients of all
    /// that have one. The shapes that are not given must follow from those that are. With [`Bind::zeros`],
    /// [`Graph::bind`] does the same for gradients of some. (MXNet: `simple_bind`.)
    ///
    /// ```
    /// use sparsetape::{Graph, Stype, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let data = tape.symbol(variable("data").stype(Stype::Csr));
    /// let weight = tape.symbol(variable("weight").stype(Stype::RowSparse).shape([None, Some(2)]));
    /// let graph = Graph::new(&[data.dot(weight).sum()])?;
    /// let mut executor = graph.simple_bind(&[("data", &[32, 1000])])?;
    /// executor.forward(true)?;
    /// executor.backward()?;
    /// assert_eq!(executor.arg("weight")?.shape()[..], [1000, 2]);
    /// assert_eq!(executor.grad("weight").unwrap().stype(), Stype::RowSparse);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Graph::bind`].
    #[track_caller]
    pub fn simple_bind(&self, shapes: &[(&str, &[usize])]) -> Result<Executor> {
        let mut bind = Bind::new().gradients(GradReq::Write).zeros();
        for &(name, shape) in shapes {
            bind = bind.shape(name, shape);
        }
        self.bind(bind)
    }

    /// This graph, with the gradients that are asked for.
    #[track_caller]
    fn with_requested(&self, bind: &Bind) -> Result<Graph> {
        let asks = bind.all.is_some() || bind.of_params || !bind.grad_reqs.is_empty();
        if !asks {
            return Ok(self.clone());
        }
        let forward = Body { gradients: vec![], heads: vec![], ..self.body().clone() };
        let forward = Graph::from_body(forward.compacted());
        let mut wrt: Vec<(usize, GradReq)> = Vec::new();
        let mut ask = |id: usize, grad_req: GradReq| match wrt.iter_mut().find(|w| w.0 == id) {
            Some(asked) => asked.1 = grad_req,
            None => wrt.push((id, grad_req)),
        };
        if let Some(grad_req) = bind.all {
            forward.differentiable()?.into_iter().for_each(|id| ask(id, grad_req));
        }
        if bind.of_params {
            for parameter in bind.all_parameters() {
                let Ok(id) = forward.body().find_variable(parameter.name()) else { continue };
                ask(id, parameter.grad_req());
            }
        }
        for (name, grad_req) in &bind.grad_reqs {
            ask(forward.body().find_variable(name)?, *grad_req);
        }
        wrt.retain(|(_, grad_req)| *grad_req != GradReq::Null);
        let mut heads = FxHashMap::default();
        for (name, stype) in &bind.heads {
            heads.insert(forward.find_output(name)?, *stype);
        }
        let losses = bind.losses.iter().map(|name| forward.find_output(name));
        let losses = losses.collect::<Result<_>>()?;
        forward.differentiated(&Request { wrt, losses, heads, fallback: bind.fallback })
    }

    /// The place of an output among the outputs.
    #[track_caller]
    pub(super) fn find_output(&self, name: &str) -> Result<usize> {
        let at = Location::caller();
        let outputs = self.list_outputs();
        let nodes = self.body().outputs.iter().map(|&id| &self.body().nodes[id as usize].name);
        let of_node = || nodes.into_iter().position(|own| own == name);
        outputs.iter().position(|own| own == name).or_else(of_node).ok_or_else(|| {
            let message = format!("there is no output {name:?}, only {}", outputs.join(", "));
            Error::new(ErrorKind::State, message).operator("graph").at(at)
        })
    }
}

impl Bind {
    fn all_parameters(&self) -> impl Iterator<Item = &Parameter> {
        let bound = self.arguments.iter().filter_map(|(_, argument)| match argument {
            Argument::Parameter(parameter) => Some(parameter),
            Argument::Tensor(_) => None,
        });
        bound.chain(&self.params)
    }
}

/// Values for a variable, in its storage type.
#[track_caller]
pub(super) fn fitting(value: Tensor, name: &str, to: Stype, policy: Fallback) -> Result<Tensor> {
    if value.stype() == to {
        return Ok(value);
    }
    let what = || format!("variable {name:?} is {to}, the values given are {}", value.ty());
    let told = || format!("{}: they are cast", what());
    policy.apply(Location::caller(), told, what)?;
    value.cast_storage(to)
}
