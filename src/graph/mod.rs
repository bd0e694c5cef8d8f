//! Symbolic graphs: composed from variables or frozen from a tape, bound to values, run.
//!
//! A [`Graph`] is plain data: nodes in topological order, names, types as far as they are known, no
//! weights. It comes from a [symbolic tape](crate::Tape::symbolic) by [`Graph::new`], or from an eager
//! one by [`Tape::freeze`](crate::Tape::freeze) and [`freeze_fn`]; both give the same kind of graph.
//! [`Graph::bind`] gives an [`Executor`], one thread's memory for it.
//!
//! It prints as a table, [explains](Graph::explain) its nodes and is [drawn](Graph::to_svg).
//! [`Graph::save`] writes it with its weights to one file, which is a [`Model`].

mod bind;
mod casts;
mod collect;
mod draw;
mod executor;
mod explain;
mod freeze;
mod gradient;
mod infer;
mod json;
mod memory;
mod model;
mod params;
mod passes;
mod program;
mod record;
mod segments;
mod summary;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use bind::{Argument, Bind};
pub use executor::Executor;
pub use freeze::{Input, freeze_fn};
pub use infer::Inferred;
pub use model::Model;
pub use passes::{Pass, Passes};
pub(crate) use summary::cell;
#[cfg(feature = "plot")]
pub(crate) use summary::cut;

use crate::error::{Error, ErrorKind, Line, Result};
use crate::tape::{OpRef, PartialType, Variable};
use crate::tensor::{Stype, Tensor};

/// A graph of operators over named variables; immutable, cheap to clone, shared between threads.
///
/// ```
/// use sparsetape::{Graph, Stype, Tape, Tensor, variable};
/// let tape = Tape::symbolic();
/// let a = tape.symbol(variable("a").stype(Stype::Csr));
/// let b = tape.symbol(variable("b"));
/// let graph = Graph::new(&[a.dot_with(b, true, false)])?;
/// assert_eq!(graph.list_arguments(), ["a", "b"]);
/// assert_eq!(graph.list_outputs(), ["dot0_output"]);
///
/// let a = Tensor::csr([1, 3], vec![0, 1], vec![0], vec![1.0f32])?;
/// let mut executor = graph.bind([("a", a), ("b", Tensor::full([1, 2], 1.0f32)?)])?;
/// executor.forward(false)?;
/// assert_eq!(executor.output(0)?.rows(), Some(&[0][..]));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[doc(alias = "Symbol")]
#[doc(alias = "symbol")]
#[derive(Clone)]
pub struct Graph(Arc<Body>);

/// The nodes of a graph and which of them are looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    /// In topological order.
    pub nodes: Vec<Node>,
    pub outputs: Vec<u32>,
    /// Of a graph with gradients.
    pub gradients: Vec<Slope>,
    /// Of a graph with gradients: outputs, by position, and the variables of their cotangents.
    pub heads: Vec<(usize, u32)>,
}

/// One value of a graph.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Unique in its graph.
    pub name: String,
    pub kind: Kind,
    pub ins: SmallVec<[u32; 4]>,
    pub ty: PartialType,
    /// The user's line that recorded it.
    pub line: Line,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Variable(Variable),
    Constant(Tensor),
    Op(OpRef),
}

/// The gradient of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slope {
    pub variable: u32,
    pub gradient: u32,
    /// The variable that holds what the gradient is added to, if it accumulates.
    pub before: Option<u32>,
}

impl Node {
    pub fn op(&self) -> Option<&OpRef> {
        match &self.kind {
            Kind::Op(op) => Some(op),
            _ => None,
        }
    }

    pub fn variable(&self) -> Option<&Variable> {
        match &self.kind {
            Kind::Variable(variable) => Some(variable),
            _ => None,
        }
    }

    /// The name of its value: MXNet's, `dot0_output` for the node `dot0`.
    pub fn output_name(&self) -> String {
        match self.kind {
            Kind::Op(_) => format!("{}_output", self.name),
            _ => self.name.clone(),
        }
    }
}

impl Body {
    /// All nodes that are looked at.
    pub fn roots(&self) -> impl Iterator<Item = u32> {
        self.outputs.iter().copied().chain(self.gradients.iter().map(|slope| slope.gradient))
    }

    /// Which nodes these need.
    pub fn needed(&self, roots: impl Iterator<Item = u32>) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        roots.for_each(|id| needed[id as usize] = true);
        for id in (0..self.nodes.len()).rev() {
            if needed[id] {
                self.nodes[id].ins.iter().for_each(|&i| needed[i as usize] = true);
            }
        }
        needed
    }

    pub fn variables(&self) -> impl Iterator<Item = (usize, &Variable)> {
        self.nodes.iter().enumerate().filter_map(|(id, node)| Some((id, node.variable()?)))
    }

    /// The variable of this name.
    #[track_caller]
    pub fn find_variable(&self, name: &str) -> Result<usize> {
        let at = Location::caller();
        let found = self.variables().find(|(_, variable)| variable.name() == name);
        found.map(|(id, _)| id).ok_or_else(|| {
            let all: Vec<&str> = self.variables().map(|(_, v)| v.name()).collect();
            let message = format!("there is no variable {name:?}, only {}", all.join(", "));
            Error::new(ErrorKind::State, message).operator("graph").at(at)
        })
    }

    /// The value of this name, or of the node of this name.
    #[track_caller]
    pub fn find_value(&self, name: &str) -> Result<usize> {
        let at = Location::caller();
        let named = |own: fn(&Node) -> String| self.nodes.iter().position(|node| own(node) == name);
        named(Node::output_name).or_else(|| named(|node| node.name.clone())).ok_or_else(|| {
            let message = format!("there is no value {name:?}; `list_internals` lists all");
            Error::new(ErrorKind::State, message).operator("graph").at(at)
        })
    }

    /// An error in a node, with its line.
    pub fn blame(&self, id: usize, error: Error) -> Error {
        let node = &self.nodes[id];
        let label = node.op().map_or(node.name.clone().into(), |op| op.label());
        let error = error.operator(label);
        if error.operand_types().is_empty() {
            let ins = node.ins.iter().map(|&i| &self.nodes[i as usize].ty);
            return error.operands(ins).at_line(node.line.clone());
        }
        error.at_line(node.line.clone())
    }
}

impl Graph {
    pub(crate) fn from_body(body: Body) -> Graph {
        Graph(Arc::new(body))
    }

    pub(crate) fn body(&self) -> &Body {
        &self.0
    }

    /// Names of the variables, in the order in which they were recorded. (MXNet: `list_arguments`, in the order of a
    /// depth-first walk.)
    #[doc(alias = "list_inputs")]
    pub fn list_arguments(&self) -> Vec<&str> {
        self.0.variables().map(|(_, variable)| variable.name()).collect()
    }

    /// Names of the outputs. (MXNet: `list_outputs`.)
    pub fn list_outputs(&self) -> Vec<String> {
        self.0.outputs.iter().map(|&id| self.0.nodes[id as usize].output_name()).collect()
    }

    /// Names of all values, inner ones too, in topological order: each is an output that
    /// [`Graph::internal`] takes. (MXNet: `get_internals`.)
    #[doc(alias = "get_internals")]
    pub fn list_internals(&self) -> Vec<String> {
        self.0.nodes.iter().map(Node::output_name).collect()
    }

    /// The part of the graph that computes the values of these names, with them as outputs. The name of
    /// a node will do: `dot0` for `dot0_output`. (MXNet: `get_internals()[..]`.)
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x"));
    /// let y = x.exp().named("hidden").sin();
    /// let graph = Graph::new(&[y])?;
    /// assert_eq!(graph.list_internals(), ["x", "hidden_output", "sin0_output"]);
    /// assert_eq!(graph.internal(&["hidden_output"])?.list_internals(), ["x", "hidden_output"]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a name that there is not, and without any.
    #[doc(alias = "get_internals")]
    #[track_caller]
    pub fn internal(&self, names: &[&str]) -> Result<Graph> {
        if names.is_empty() {
            let message = "a graph has at least one output";
            return Err(Error::new(ErrorKind::State, message).operator("internal"));
        }
        let mut outputs = Vec::with_capacity(names.len());
        for name in names {
            outputs.push(self.0.find_value(name)? as u32);
        }
        let body = Body { outputs, nodes: self.0.nodes.clone(), ..Body::default() };
        Ok(Graph::from_body(body.compacted()))
    }

    /// One graph with the outputs of all. Variables of the same name are the same variable. (MXNet:
    /// `Group`.)
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x"));
    /// let both = Graph::group(&[&Graph::new(&[x.exp()])?, &Graph::new(&[x.sin()])?])?;
    /// assert_eq!(both.list_arguments(), ["x"]);
    /// assert_eq!(both.list_outputs(), ["exp0_output", "sin0_output"]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`], [`ErrorKind::DType`] or [`ErrorKind::Stype`] if variables of one name have
    /// types that contradict each other.
    #[doc(alias = "Group")]
    #[track_caller]
    pub fn group(graphs: &[&Graph]) -> Result<Graph> {
        let tape = crate::Tape::symbolic();
        let mut outputs = Vec::new();
        for graph in graphs {
            outputs.extend(graph.record(&tape, &[])?);
        }
        Graph::new(&outputs)
    }

    /// The variables, with what is known of their types.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.variables().map(|(_, variable)| variable)
    }

    /// The storage type of each output.
    pub fn output_stypes(&self) -> Vec<Stype> {
        self.0.outputs.iter().map(|&id| self.0.nodes[id as usize].ty.stype).collect()
    }

    /// The variables that this graph gives the gradients of, see [`Graph::with_gradients`].
    pub fn list_gradients(&self) -> Vec<&str> {
        let name = |slope: &Slope| &self.0.nodes[slope.variable as usize].name[..];
        self.0.gradients.iter().map(name).collect()
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.0.nodes.iter().enumerate() {
            let ins: Vec<String> = node.ins.iter().map(|id| format!("%{id}")).collect();
            let what = match &node.kind {
                Kind::Variable(_) => "variable".into(),
                Kind::Constant(_) => "constant".into(),
                Kind::Op(op) => op.label(),
            };
            writeln!(
                f,
                "%{id} {} = {what}({}): {}  [{}]",
                node.name,
                ins.join(", "),
                node.ty,
                node.line
            )?;
        }
        Ok(())
    }
}
