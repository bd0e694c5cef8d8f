//! Passes: from a graph to one that computes the same bits with less work.
//!
//! Each is a function `Body -> Body` in a file of its own. Variables stay, with their names and order;
//! so do outputs and gradients, with theirs. Where the value of one is found elsewhere, it becomes the
//! `identity` of that.

mod algebra;
mod common;
mod constants;
mod dead_code;
mod facts;
mod fuse;
mod layers;
mod rewrite;

use super::{Body, Graph};
use crate::error::Result;

/// A pass over a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Leaves out what no output and no gradient needs. What other passes replace stays, and runs, as
    /// long as this one is off.
    DeadCode,
    /// Simplifies what others make of nothing: casts and transposes there and back, `identity`,
    /// projections onto patterns that are there, sums and broadcasts between equal shapes, transposes
    /// that a matrix product does on the way.
    Algebra,
    /// Runs operators on constants once, beforehand, unless that takes more memory.
    Constants,
    /// Computes equal sub-expressions once.
    Common,
    /// Makes one loop of chains of element-wise operators.
    Fuse,
    /// Makes one operator of a matrix product and what follows element by element: bias and link of a layer.
    FuseDot,
}

/// In the order in which they run.
const ALL: [Pass; 6] =
    [Pass::DeadCode, Pass::Algebra, Pass::Constants, Pass::Common, Pass::Fuse, Pass::FuseDot];

/// Which passes run: by default all.
///
/// ```
/// use sparsetape::{Pass, Passes};
/// assert_eq!(Passes::default(), Passes::all());
/// assert_eq!(Passes::all().without(Pass::Fuse).with(Pass::Fuse), Passes::all());
/// assert!(!Passes::none().contains(Pass::Fuse));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes(u8);

impl Default for Passes {
    fn default() -> Self {
        Passes::all()
    }
}

impl Passes {
    /// Every pass.
    pub fn all() -> Passes {
        ALL.into_iter().fold(Passes::none(), Passes::with)
    }

    /// No pass: the graph as it was recorded.
    pub fn none() -> Passes {
        Passes(0)
    }

    /// These and that one.
    pub fn with(self, pass: Pass) -> Passes {
        Passes(self.0 | 1 << pass as u8)
    }

    /// These but not that one.
    pub fn without(self, pass: Pass) -> Passes {
        Passes(self.0 & !(1 << pass as u8))
    }

    /// Whether this one runs.
    pub fn contains(self, pass: Pass) -> bool {
        self.0 & 1 << pass as u8 != 0
    }
}

/// What comes after the passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Anything: the graph may be differentiated.
    Any,
    /// Runs only: what matters to gradients alone goes, too.
    Run,
}

impl Graph {
    /// The graph that computes the same with less work: the same bits, in the same storage types and
    /// patterns. [`Graph::bind`] does this by itself; here is what it makes of a graph. More follows
    /// from known types, so shapes and element types are best inferred first.
    ///
    /// ```
    /// use sparsetape::{Graph, Pass, Passes, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x"));
    /// let graph = Graph::new(&[x.exp().neg().sin()])?;
    /// let fused = graph.optimized(Passes::all())?;
    /// assert_eq!(fused.list_internals(), ["x", "sin0_output"]);
    /// let plain = graph.optimized(Passes::all().without(Pass::Fuse))?;
    /// assert_eq!(plain.list_internals(), ["x", "exp0_output", "neg0_output", "sin0_output"]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where operators' fields cannot be written, as for saving.
    pub fn optimized(&self, passes: Passes) -> Result<Graph> {
        Ok(Graph::from_body(self.body().clone().optimized(passes, Purpose::Any)?))
    }
}

impl Body {
    /// What the passes make of it.
    pub(crate) fn optimized(mut self, passes: Passes, purpose: Purpose) -> Result<Body> {
        for pass in ALL.into_iter().filter(|&pass| passes.contains(pass)) {
            self = match pass {
                Pass::DeadCode => self,
                Pass::Algebra => algebra::simplified(self, purpose)?,
                Pass::Constants => constants::folded(self)?,
                Pass::Common => common::merged(self)?,
                Pass::Fuse => fuse::fused(self),
                Pass::FuseDot => layers::fused(self),
            };
            if passes.contains(Pass::DeadCode) {
                self = dead_code::removed(self);
            }
        }
        Ok(self)
    }
}
