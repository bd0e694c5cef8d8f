//! Types of a graph, as far as they follow from what is known.

use std::fmt;
use std::panic::Location;

use super::{Body, Graph};
use crate::error::{Error, Result};
use crate::tape::infer::{Step, refine_all};
use crate::tape::{PartialShape, PartialType, Variable};
use crate::tensor::{DType, Stype};

/// What was inferred, by name: for the variables and for the outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred<T> {
    /// In the order of [`Graph::list_arguments`].
    pub arguments: Vec<(String, T)>,
    /// In the order of [`Graph::list_outputs`].
    pub outputs: Vec<(String, T)>,
}

impl<T> Inferred<T> {
    /// Of a variable or an output.
    pub fn get(&self, name: &str) -> Option<&T> {
        let all = self.arguments.iter().chain(&self.outputs);
        all.into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

impl<T: fmt::Display> fmt::Display for Inferred<T> {
    /// A line for each: its name, and what was inferred.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.arguments.iter().chain(&self.outputs);
        let width = all().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        all().try_for_each(|(name, value)| writeln!(f, "{name:<width$}  {value}"))
    }
}

impl Body {
    /// Notes all that follows for the types of the nodes.
    pub(super) fn refine_types(&mut self) -> Result<()> {
        let mut types: Vec<PartialType> = self.nodes.iter().map(|node| node.ty.clone()).collect();
        let steps = || {
            self.nodes.iter().enumerate().filter_map(|(out, node)| {
                node.op().map(|op| Step { op: &**op, ins: &node.ins, out })
            })
        };
        loop {
            refine_all(&mut types, steps).map_err(|(id, error)| {
                let ins = self.nodes[id].ins.iter().map(|&i| &types[i as usize]);
                self.blame(id, error.operands(ins))
            })?;
            if !self.refine_heads(&mut types)? {
                break;
            }
        }
        self.nodes.iter_mut().zip(types).for_each(|(node, ty)| node.ty = ty);
        Ok(())
    }

    /// A head cotangent has its output's shape and element type; whether that was new.
    fn refine_heads(&self, types: &mut [PartialType]) -> Result<bool> {
        let mut changed = false;
        for &(k, head) in &self.heads {
            let (head, output) = (head as usize, self.outputs[k] as usize);
            let (mut own, before) = (types[output].clone(), types[head].clone());
            types[head].unify(&mut own).map_err(|error| self.blame(head, error))?;
            changed |= types[head] != before;
            types[output] = own;
        }
        Ok(changed)
    }
}

impl Graph {
    /// Storage types of variables and outputs, were these variables of these storage types. (MXNet:
    /// `infer_storage_type`.)
    ///
    /// ```
    /// use sparsetape::{Graph, Stype, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let a = tape.symbol(variable("a").shape([4, 2]));
    /// let b = tape.symbol(variable("b").shape([4, 2]));
    /// let graph = Graph::new(&[(a + b).named("sum")])?;
    /// let both = [("a", Stype::RowSparse), ("b", Stype::RowSparse)];
    /// assert_eq!(graph.infer_stype(&both)?.get("sum_output"), Some(&Stype::RowSparse));
    /// assert_eq!(graph.infer_stype(&[])?.get("sum_output"), Some(&Stype::Default));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind::State) for a name that is not a variable's; what operators refuse.
    #[doc(alias = "infer_storage_type")]
    #[track_caller]
    pub fn infer_stype(&self, known: &[(&str, Stype)]) -> Result<Inferred<Stype>> {
        Ok(self.with_stypes(known)?.inferred(|ty| ty.stype))
    }

    /// This graph for variables of other storage types: inferred and recorded anew.
    ///
    /// # Errors
    /// As [`Graph::infer_stype`].
    #[track_caller]
    pub fn with_stypes(&self, stypes: &[(&str, Stype)]) -> Result<Graph> {
        let tape = crate::Tape::symbolic();
        for (name, _) in stypes {
            self.body().find_variable(name)?;
        }
        let symbol = |own: &Variable| {
            let stype = stypes.iter().find(|(name, _)| *name == own.name());
            tape.symbol(own.clone().stype(stype.map_or(own.ty().stype, |(_, stype)| *stype)))
        };
        let symbols: Vec<_> = self.variables().map(|own| (own.name(), symbol(own))).collect();
        Graph::new(&self.record(&tape, &symbols)?)
    }

    /// Shapes of variables and outputs, as far as they follow from these and from what the variables were
    /// declared with; facts flow both ways. (MXNet: `infer_shape`, `infer_shape_partial`.)
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let (x, w) = (tape.symbol(variable("x")), tape.symbol(variable("w")));
    /// let graph = Graph::new(&[x.dot(w).named("y")])?;
    /// let shapes = graph.infer_shape(&[("x", [32, 100].into()), ("w", [None, Some(2)].into())])?;
    /// assert_eq!(shapes.get("w").unwrap().to_string(), "(100, 2)");
    /// assert_eq!(shapes.get("y_output").unwrap().to_string(), "(32, 2)");
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) where shapes contradict each other, with operator and
    /// line; [`ErrorKind::State`](crate::ErrorKind::State) for a name that is not a variable's.
    #[doc(alias = "infer_shape_partial")]
    #[track_caller]
    pub fn infer_shape(&self, known: &[(&str, PartialShape)]) -> Result<Inferred<PartialShape>> {
        let mut body = self.body().clone();
        body.forget_shapes();
        for (name, shape) in known {
            let id = body.find_variable(name)?;
            let ty = PartialType { shape: shape.clone(), ..body.nodes[id].ty.clone() };
            body.learn(id, &ty)?;
        }
        body.refine_types()?;
        Ok(Graph::from_body(body).inferred(|ty| ty.shape.clone()))
    }

    /// Element types of variables and outputs, as they follow from these and from what the variables were
    /// declared with; `f32` where nothing says otherwise. (MXNet: `infer_type`.)
    ///
    /// ```
    /// use sparsetape::{DType, Graph, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let (x, w) = (tape.symbol(variable("x")), tape.symbol(variable("w")));
    /// let graph = Graph::new(&[x.dot(w)])?;
    /// assert_eq!(graph.infer_dtype(&[("x", DType::F64)])?.get("w"), Some(&DType::F64));
    /// assert_eq!(graph.infer_dtype(&[])?.get("w"), Some(&DType::F32));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::DType`](crate::ErrorKind::DType) where element types contradict each other, with operator
    /// and line; [`ErrorKind::State`](crate::ErrorKind::State) for a name that is not a variable's.
    #[doc(alias = "infer_type")]
    #[track_caller]
    pub fn infer_dtype(&self, known: &[(&str, DType)]) -> Result<Inferred<DType>> {
        let mut body = self.body().clone();
        for &(name, dtype) in known {
            let id = body.find_variable(name)?;
            let ty = PartialType { dtypes: dtype.into(), ..body.nodes[id].ty.clone() };
            body.learn(id, &ty)?;
        }
        body.choose_dtypes()?;
        let first = |ty: &PartialType| ty.dtypes.iter().next().unwrap_or(DType::F32);
        Ok(Graph::from_body(body).inferred(first))
    }

    fn inferred<T>(&self, of: impl Fn(&PartialType) -> T) -> Inferred<T> {
        let body = self.body();
        let outputs = body.outputs.iter().map(|&id| &body.nodes[id as usize]);
        let variables = body.nodes.iter().filter(|node| node.variable().is_some());
        Inferred {
            arguments: variables.map(|node| (node.name.clone(), of(&node.ty))).collect(),
            outputs: outputs.map(|node| (node.output_name(), of(&node.ty))).collect(),
        }
    }
}

impl Body {
    /// Notes what is said of the type of a variable.
    #[track_caller]
    pub(super) fn learn(&mut self, id: usize, ty: &PartialType) -> Result<()> {
        let (own, at) = (&mut self.nodes[id], Location::caller());
        own.ty.unify(&mut ty.clone()).map_err(|error| {
            let message = format!("variable {:?} is {}, got {ty}", own.name, own.ty);
            Error::new(error.kind(), message).operator("bind").at(at)
        })
    }

    /// Infers all types; element types that stay open are the first that is possible, `f32` if it is.
    pub(super) fn choose_dtypes(&mut self) -> Result<()> {
        self.refine_types()?;
        for id in 0..self.nodes.len() {
            let open = self.nodes[id].ty.dtypes;
            if open.known().is_some() || self.nodes[id].op().is_some() {
                continue;
            }
            if let Some(first) = open.iter().next() {
                self.nodes[id].ty.dtypes = first.into();
                self.refine_types()?;
            }
        }
        Ok(())
    }
}
