//! Graphs as JSON. What comes from a file is checked in full: a graph that loads is one that could
//! have been composed.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Body, Graph, Kind, Node, Slope};
use crate::error::{Error, ErrorKind, Line, Result};
use crate::tape::{Init, PartialType, Registry, Variable};
use crate::tensor::file::within;
use crate::tensor::{Stype, Tensor};

/// Grows when an earlier build would misread what is written.
const VERSION: u64 = 1;

/// A graph as a file has it. Values of constants are not in it: they are tensors of the file, by the
/// names of their nodes.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    version: u64,
    nodes: Vec<StoredNode>,
    outputs: Vec<u32>,
    gradients: Vec<Slope>,
    heads: Vec<(usize, u32)>,
}

#[derive(Serialize, Deserialize)]
struct StoredNode {
    name: String,
    kind: StoredKind,
    ins: Vec<u32>,
    #[serde(rename = "type")]
    ty: PartialType,
    line: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    Variable { declared: PartialType, init: Option<Init>, lr_mult: f64, wd_mult: f64 },
    Constant,
    Operator { name: String, fields: Value },
}

fn damaged(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Parse, why).nowhere()
}

impl Graph {
    pub(super) fn to_stored(&self) -> Result<Stored> {
        let body = self.body();
        let node = |node: &Node| -> Result<StoredNode> {
            Ok(StoredNode {
                name: node.name.clone(),
                kind: kind(node)?,
                ins: node.ins.to_vec(),
                ty: node.ty.clone(),
                line: node.line.to_string(),
            })
        };
        Ok(Stored {
            version: VERSION,
            nodes: body.nodes.iter().map(node).collect::<Result<_>>()?,
            outputs: body.outputs.clone(),
            gradients: body.gradients.clone(),
            heads: body.heads.clone(),
        })
    }

    /// The graph that a file holds, with constants by the names of their nodes.
    pub(super) fn from_json(
        text: Value,
        constants: &mut FxHashMap<String, Tensor>,
        registry: &Registry,
    ) -> Result<Graph> {
        // The version comes first: the rest of a later one may be of any form.
        let version = text.get("version").and_then(Value::as_u64);
        match version {
            Some(1..=VERSION) => {}
            Some(later) => {
                let why = format!("version {later}; this build reads versions up to {VERSION}");
                return Err(damaged(why));
            }
            None => return Err(damaged("it has no version")),
        }
        let stored: Stored = serde_json::from_value(text)
            .map_err(|e| damaged("it is not of the form that is written").caused_by(e))?;
        let mut body = Body::default();
        let mut names = FxHashSet::default();
        for (id, node) in stored.nodes.into_iter().enumerate() {
            let place = format!("node {id}, {:?}", node.name);
            if node.name.is_empty() || !names.insert(node.name.clone()) {
                return Err(damaged(format!("{place}: a name is needed that no other node has")));
            }
            let node = node.load(&body, constants, registry).map_err(within(place))?;
            body.nodes.push(node);
        }
        (body.outputs, body.gradients) = (stored.outputs, stored.gradients);
        body.heads = stored.heads;
        body.check_roots()?;
        body.refine_types().map_err(within("types"))?;
        body.check_types()?;
        Ok(Graph::from_body(body))
    }
}

fn kind(node: &Node) -> Result<StoredKind> {
    Ok(match &node.kind {
        Kind::Constant(_) => StoredKind::Constant,
        Kind::Op(op) => StoredKind::Operator { name: op.name().to_owned(), fields: op.to_json()? },
        Kind::Variable(variable) => {
            let Variable { init, lr_mult, wd_mult, .. } = *variable;
            let declared = variable.ty.clone();
            let init_scale = match init {
                Some(Init::Constant(x) | Init::Uniform(x) | Init::Normal(x)) => x,
                _ => 0.0,
            };
            if ![lr_mult, wd_mult, init_scale].iter().all(|x| x.is_finite()) {
                let message = format!("variable {:?} has a factor that is not finite", node.name);
                return Err(Error::new(ErrorKind::Value, message).operator("save"));
            }
            StoredKind::Variable { declared, init, lr_mult, wd_mult }
        }
    })
}

impl StoredNode {
    /// A node after those that are loaded.
    fn load(
        self,
        body: &Body,
        constants: &mut FxHashMap<String, Tensor>,
        registry: &Registry,
    ) -> Result<Node> {
        let StoredNode { name, kind, ins, ty, line } = self;
        if let Some(i) = ins.iter().find(|&&i| i as usize >= body.nodes.len()) {
            let count = body.nodes.len();
            return Err(damaged(format!("operand {i} is not among the {count} nodes before it")));
        }
        let leaf = !matches!(kind, StoredKind::Operator { .. });
        if leaf && !ins.is_empty() {
            return Err(damaged(format!("it has {} operands, but is no operator", ins.len())));
        }
        let kind = match kind {
            StoredKind::Variable { declared, init, lr_mult, wd_mult } => {
                if declared.stype != ty.stype || declared.clone().unify(&mut ty.clone()).is_err() {
                    return Err(damaged(format!("it is {ty}, but was declared {declared}")));
                }
                let name = name.clone();
                Kind::Variable(Variable { name, ty: declared, init, lr_mult, wd_mult })
            }
            StoredKind::Constant => {
                let tensor = constants.remove(&name);
                let tensor = tensor.ok_or_else(|| damaged("its values are not in the file"))?;
                let own = PartialType::from(tensor.ty());
                if own != ty {
                    return Err(damaged(format!("it is {ty}, but its values are {own}")));
                }
                Kind::Constant(tensor)
            }
            StoredKind::Operator { name, fields } => {
                let op = registry.load(&name, fields)?;
                let stypes: Vec<Stype> =
                    ins.iter().map(|&i| body.nodes[i as usize].ty.stype).collect();
                let row = if op.takes(ins.len()) { op.find_row(&stypes) } else { None };
                if row.map(|(_, out)| out) != Some(ty.stype) {
                    let ins: Vec<String> = stypes.iter().map(Stype::to_string).collect();
                    let why = format!("no row of {name} is {} -> {}", ins.join(", "), ty.stype);
                    return Err(damaged(why));
                }
                Kind::Op(op)
            }
        };
        Ok(Node { name, kind, ins: ins.into(), ty, line: Line::Text(line.into()) })
    }
}

impl Body {
    /// Outputs, gradients and head cotangents are nodes of their kinds.
    fn check_roots(&self) -> Result<()> {
        let node = |id: u32| {
            let why = || damaged(format!("there is no node {id}, only {}", self.nodes.len()));
            self.nodes.get(id as usize).ok_or_else(why)
        };
        let variable = |id: u32| match node(id)?.variable() {
            Some(_) => Ok(()),
            None => Err(damaged(format!("node {id} is no variable"))),
        };
        if self.outputs.is_empty() {
            return Err(damaged("it has no outputs"));
        }
        self.outputs.iter().try_for_each(|&id| node(id).map(|_| ()))?;
        let mut seen = FxHashSet::default();
        for slope in &self.gradients {
            variable(slope.variable)?;
            node(slope.gradient)?;
            slope.before.map_or(Ok(()), variable)?;
            if !seen.insert(slope.variable) {
                return Err(damaged(format!("variable {} has two gradients", slope.variable)));
            }
        }
        let mut seen = FxHashSet::default();
        for &(k, id) in &self.heads {
            variable(id)?;
            if k >= self.outputs.len() || !seen.insert(k) {
                return Err(damaged(format!(
                    "head {k} is of no output, or of one that has another"
                )));
            }
        }
        Ok(())
    }

    /// Variables have shapes that fit their storage types, gradients their variables, heads their outputs.
    fn check_types(&self) -> Result<()> {
        for (id, variable) in self.variables() {
            let ty = &self.nodes[id].ty;
            let fits = match (ty.stype, ty.shape.rank()) {
                (Stype::Default, _) | (_, None) => true,
                (Stype::Csr, Some(rank)) => rank == 2,
                (Stype::RowSparse, Some(rank)) => rank >= 1,
            };
            if !fits {
                return Err(damaged(format!("node {id}, {:?}, is {ty}", variable.name)));
            }
        }
        let outputs = &self.outputs;
        let heads = self.heads.iter().map(|&(k, id)| (outputs[k], id));
        let slopes = self.gradients.iter().map(|slope| (slope.variable, slope.gradient));
        for (a, b) in heads.chain(slopes) {
            let mut ty = self.nodes[b as usize].ty.clone();
            let same = self.nodes[a as usize].ty.clone().unify(&mut ty);
            same.map_err(within(format!("node {b} is the cotangent of node {a}")))?;
        }
        Ok(())
    }
}
