//! From a recording to a graph: the nodes that outputs need, named.

use std::panic::Location;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Body, Graph, Kind, Node};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Leaf, PartialType, Recorded, Tape, Var, Variable, variable};

impl Graph {
    /// The graph that computes these values of a symbolic tape.
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let (x, y) = (tape.symbol(variable("x")), tape.symbol(variable("y")));
    /// assert_eq!(Graph::new(&[x.exp()])?.list_arguments(), ["x"]);
    /// assert_eq!(Graph::new(&[x * y, x.sin()])?.list_outputs(), ["mul0_output", "sin0_output"]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error on the way to an output; [`ErrorKind::State`] without outputs, for outputs on
    /// several tapes, and for an eager tape, whose inputs [`Tape::freeze`] wants to know.
    #[doc(alias = "compose")]
    #[track_caller]
    pub fn new(outputs: &[Var<'_>]) -> Result<Graph> {
        let tape = tape_of(outputs)?;
        if !tape.is_symbolic() {
            let message = "the tape holds values: `Tape::freeze` makes a graph of it";
            return Err(Error::new(ErrorKind::State, message).operator("Graph"));
        }
        tape.infer()?;
        let body = collect(tape, &FxHashMap::default(), &ids(outputs)?)?;
        Ok(Graph::from_body(body))
    }
}

/// The one tape of these variables.
#[track_caller]
pub(super) fn tape_of<'t>(outputs: &[Var<'t>]) -> Result<&'t Tape> {
    let at = Location::caller();
    let fault = |why: &str| Err(Error::new(ErrorKind::State, why).operator("Graph").at(at));
    let [first, rest @ ..] = outputs else {
        return fault("a graph has at least one output");
    };
    match rest.iter().all(|var| std::ptr::eq(var.tape(), first.tape())) {
        true => Ok(first.tape()),
        false => fault("the outputs are on different tapes"),
    }
}

pub(super) fn ids(vars: &[Var<'_>]) -> Result<Vec<u32>> {
    vars.iter().map(|var| Ok(var.ok()?.index())).collect()
}

/// The nodes that `outputs` need; `inputs` are cut off there and become variables.
pub(super) fn collect(
    tape: &Tape,
    inputs: &FxHashMap<u32, Variable>,
    outputs: &[u32],
) -> Result<Body> {
    let recorded = tape.nodes();
    let mut needed = vec![false; recorded.len()];
    outputs.iter().for_each(|&id| needed[id as usize] = true);
    for id in (0..recorded.len()).rev() {
        if needed[id] && !inputs.contains_key(&(id as u32)) {
            recorded[id].ins.iter().for_each(|&i| needed[i as usize] = true);
        }
    }
    let mut places: FxHashMap<u32, u32> = FxHashMap::default();
    let (mut nodes, mut parameters): (Vec<Node>, Vec<usize>) = (Vec::new(), Vec::new());
    for (id, value) in recorded.iter().enumerate().filter(|(id, _)| needed[*id]) {
        let input = inputs.get(&(id as u32));
        let node = match input {
            Some(input) => variable_node(input.clone(), value),
            None => node(value, &places)?,
        };
        let is_parameter = input.is_none() && matches!(&value.leaf, Some(Leaf::Parameter(_)));
        // A parameter recorded twice is one variable.
        let same = |&at: &usize| is_parameter && nodes[at].name == node.name;
        let place = parameters.iter().copied().find(same).unwrap_or(nodes.len());
        if place == nodes.len() {
            parameters.extend(is_parameter.then_some(place));
            nodes.push(node);
        }
        places.insert(id as u32, place as u32);
    }
    check_parameters(&recorded, &needed)?;
    let outputs = outputs.iter().map(|id| places[id]).collect();
    let mut body = Body { nodes, outputs, ..Body::default() };
    body.name_all()?;
    Ok(body)
}

fn node(value: &Recorded, places: &FxHashMap<u32, u32>) -> Result<Node> {
    let kind = match (&value.op, &value.leaf) {
        (Some(op), _) => Kind::Op(op.clone()),
        (None, Some(Leaf::Symbol(variable))) => return Ok(variable_node(variable.clone(), value)),
        (None, Some(Leaf::Parameter(parameter))) => {
            let mut own = variable(parameter.name());
            own.ty = parameter.ty().into();
            return Ok(variable_node(own, value));
        }
        (None, Some(Leaf::Constant(tensor))) => Kind::Constant(tensor.clone()),
        (None, _) => {
            let message = "a variable of the tape is neither among the inputs nor a parameter";
            let error = Error::new(ErrorKind::State, message).operator("freeze").at(value.at);
            return Err(error.operands([&value.ty]));
        }
    };
    Ok(Node {
        name: value.name.clone().unwrap_or_default(),
        kind,
        ins: value.ins.iter().map(|id| places[id]).collect(),
        ty: value.ty.clone(),
        line: value.at.into(),
    })
}

/// A variable: as it was declared, and of the type that the recording found out.
fn variable_node(variable: Variable, value: &Recorded) -> Node {
    let ty: PartialType = match value.leaf {
        Some(Leaf::Symbol(_)) => value.ty.clone(),
        _ => variable.ty.clone(),
    };
    let name = variable.name.clone();
    Node {
        name,
        kind: Kind::Variable(variable),
        ins: Default::default(),
        ty,
        line: value.at.into(),
    }
}

/// Two parameters of one name would be one variable.
fn check_parameters(recorded: &[Recorded], needed: &[bool]) -> Result<()> {
    let mut known: FxHashMap<&str, &crate::Parameter> = FxHashMap::default();
    for (value, _) in recorded.iter().zip(needed).filter(|(_, needed)| **needed) {
        let Some(Leaf::Parameter(parameter)) = &value.leaf else { continue };
        let held = known.entry(parameter.name()).or_insert(parameter);
        if !held.same(parameter) {
            let message = format!("two parameters are named {:?}", parameter.name());
            return Err(Error::new(ErrorKind::State, message).operator("freeze").at(value.at));
        }
    }
    Ok(())
}

impl Body {
    /// Gives names to nodes that have none: by operator, numbered in order.
    pub(super) fn name_all(&mut self) -> Result<()> {
        let mut taken: FxHashSet<String> = FxHashSet::default();
        for node in self.nodes.iter().filter(|node| !node.name.is_empty()) {
            if !taken.insert(node.name.clone()) {
                let message = format!("two values of the graph are named {:?}", node.name);
                let error = Error::new(ErrorKind::State, message).operator("graph");
                return Err(error.at_line(node.line.clone()));
            }
        }
        let mut next: FxHashMap<String, usize> = FxHashMap::default();
        for node in self.nodes.iter_mut().filter(|node| node.name.is_empty()) {
            let stem = stem(&node.kind);
            let number = next.entry(stem.clone()).or_default();
            node.name = loop {
                let name = format!("{stem}{number}");
                *number += 1;
                if taken.insert(name.clone()) {
                    break name;
                }
            };
        }
        Ok(())
    }

    /// Without the nodes that nothing looked at needs.
    pub(super) fn compacted(self) -> Body {
        let needed = self.needed(self.roots());
        self.keeping(&needed)
    }

    /// Without the other nodes.
    pub(super) fn keeping(mut self, needed: &[bool]) -> Body {
        let mut places = vec![u32::MAX; self.nodes.len()];
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let all = std::mem::take(&mut self.nodes).into_iter().enumerate();
        for (id, mut node) in all.filter(|(id, _)| needed[*id]) {
            places[id] = nodes.len() as u32;
            node.ins.iter_mut().for_each(|i| *i = places[*i as usize]);
            nodes.push(node);
        }
        self.nodes = nodes;
        self.renumber(&places);
        self.gradients.retain(|slope| slope.variable != u32::MAX);
        self.heads.retain(|(_, head)| *head != u32::MAX);
        self
    }

    /// What is looked at, at the new places of its nodes.
    pub(super) fn renumber(&mut self, places: &[u32]) {
        let at = |id: &mut u32| *id = places[*id as usize];
        self.outputs.iter_mut().for_each(at);
        self.heads.iter_mut().for_each(|(_, head)| at(head));
        for slope in &mut self.gradients {
            at(&mut slope.variable);
            at(&mut slope.gradient);
            slope.before.iter_mut().for_each(at);
        }
    }
}

/// The operator's name for people, as far as it is a word.
fn stem(kind: &Kind) -> String {
    let Kind::Op(op) = kind else { return "constant".to_owned() };
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    let label = op.label();
    let stem: String = label.chars().take_while(word).collect();
    let stem = if stem.is_empty() { op.name().to_owned() } else { stem };
    // Counting starts after the word: "log2" and a second "log" stay apart.
    if stem.ends_with(|c: char| c.is_ascii_digit()) { stem + "_" } else { stem }
}
