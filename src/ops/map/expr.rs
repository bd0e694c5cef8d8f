//! Scalar expressions: what an element-wise operator computes for one element.

use std::fmt;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::elementwise::{Binary, Unary};

/// Index of a node in its expression.
pub(super) type Id = u16;

/// One step of an expression; operands come before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Node {
    /// An element of an operand.
    Input(u8),
    /// A number that the operator carries, the same for all elements.
    Scalar(u8),
    /// A literal, by its bits.
    Constant(u64),
    Unary(Unary, Id),
    Binary(Binary, Id, Id),
    /// The second where the first is not 0, else the third.
    Select(Id, Id, Id),
}

impl Node {
    pub fn operands(self) -> impl Iterator<Item = Id> {
        let (ids, n) = match self {
            Node::Input(_) | Node::Scalar(_) | Node::Constant(_) => ([0; 3], 0),
            Node::Unary(_, a) => ([a, 0, 0], 1),
            Node::Binary(_, a, b) => ([a, b, 0], 2),
            Node::Select(c, a, b) => ([c, a, b], 3),
        };
        ids.into_iter().take(n)
    }

    pub fn map_operands(self, f: impl Fn(Id) -> Id) -> Node {
        match self {
            Node::Unary(op, a) => Node::Unary(op, f(a)),
            Node::Binary(op, a, b) => Node::Binary(op, f(a), f(b)),
            Node::Select(c, a, b) => Node::Select(f(c), f(a), f(b)),
            leaf => leaf,
        }
    }
}

/// A scalar expression over up to [`MAX_INPUTS`] operands. The last node is the result; common
/// sub-expressions are shared, nothing is dead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub(crate) struct Expr {
    pub(super) inputs: u8,
    pub(super) nodes: Vec<Node>,
}

/// Each order of differentiation adds up to two inputs.
pub(super) const MAX_INPUTS: u8 = 32;

/// What a file holds, before it is checked.
#[derive(Deserialize)]
struct Parts {
    inputs: u8,
    nodes: Vec<Node>,
}

impl TryFrom<Parts> for Expr {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let fault = |why: String| Err(Error::new(ErrorKind::Parse, why).operator("map"));
        let Parts { inputs, nodes } = parts;
        if inputs == 0 || inputs > MAX_INPUTS || nodes.is_empty() || nodes.len() > 4096 {
            return fault(format!("{inputs} inputs and {} nodes", nodes.len()));
        }
        for (i, node) in nodes.iter().enumerate() {
            let input = matches!(node, Node::Input(k) if *k >= inputs);
            let scalar = matches!(node, Node::Scalar(k) if *k >= 16);
            if input || scalar || node.operands().any(|id| id as usize >= i) {
                return fault(format!("node {i}, {node:?}, refers to what is not there"));
            }
        }
        Ok(Expr { inputs, nodes })
    }
}

impl Expr {
    /// An expression over `inputs` operands, written with a [`Builder`].
    pub fn build(inputs: u8, write: impl FnOnce(&mut Builder) -> Id) -> Expr {
        let mut builder = Builder::default();
        let root = write(&mut builder);
        builder.finish(inputs, root)
    }

    /// How many scalars the operator carries.
    pub fn scalars(&self) -> usize {
        let used = |n: &Node| if let Node::Scalar(k) = n { *k as usize + 1 } else { 0 };
        self.nodes.iter().map(used).max().unwrap_or(0)
    }

    pub(super) fn root(&self) -> Id {
        (self.nodes.len() - 1) as Id
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn write(f: &mut fmt::Formatter<'_>, nodes: &[Node], id: Id) -> fmt::Result {
            match nodes[id as usize] {
                Node::Input(k) => write!(f, "x{k}"),
                Node::Scalar(k) => write!(f, "s{k}"),
                Node::Constant(bits) => write!(f, "{}", f64::from_bits(bits)),
                Node::Unary(op, a) => {
                    write!(f, "{op:?}(")?;
                    write(f, nodes, a)?;
                    f.write_str(")")
                }
                node => {
                    match node {
                        Node::Binary(op, ..) => write!(f, "{op:?}(")?,
                        _ => f.write_str("Select(")?,
                    }
                    for (i, a) in node.operands().enumerate() {
                        f.write_str(if i > 0 { ", " } else { "" })?;
                        write(f, nodes, a)?;
                    }
                    f.write_str(")")
                }
            }
        }
        write(f, &self.nodes, self.root())
    }
}

/// Collects nodes, each distinct one once.
#[derive(Default)]
pub(crate) struct Builder {
    nodes: Vec<Node>,
    known: FxHashMap<Node, Id>,
}

impl Builder {
    pub(super) fn add(&mut self, node: Node) -> Id {
        let next = self.nodes.len() as Id;
        *self.known.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            next
        })
    }

    pub fn input(&mut self, i: u8) -> Id {
        self.add(Node::Input(i))
    }

    pub fn scalar(&mut self, i: u8) -> Id {
        self.add(Node::Scalar(i))
    }

    pub fn constant(&mut self, x: f64) -> Id {
        self.add(Node::Constant(x.to_bits()))
    }

    pub fn unary(&mut self, op: Unary, a: Id) -> Id {
        match (op, self.nodes[a as usize]) {
            (Unary::Neg, Node::Unary(Unary::Neg, inner)) => inner,
            _ => self.add(Node::Unary(op, a)),
        }
    }

    pub fn binary(&mut self, op: Binary, a: Id, b: Id) -> Id {
        self.add(Node::Binary(op, a, b))
    }

    pub fn select(&mut self, condition: Id, yes: Id, no: Id) -> Id {
        self.add(Node::Select(condition, yes, no))
    }

    pub fn mul(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Mul, a, b)
    }

    pub fn add_terms(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Add, a, b)
    }

    pub fn sub(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Sub, a, b)
    }

    pub fn div(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Div, a, b)
    }

    pub fn neg(&mut self, a: Id) -> Id {
        self.unary(Unary::Neg, a)
    }

    /// Copies an expression, with `replace` for its root.
    pub(super) fn copy(&mut self, expr: &Expr, replace: Option<Id>) -> Vec<Id> {
        let mut ids: Vec<Id> = Vec::with_capacity(expr.nodes.len());
        for (i, node) in expr.nodes.iter().enumerate() {
            let id = match replace {
                Some(id) if i == expr.root() as usize => id,
                _ => self.add(node.map_operands(|a| ids[a as usize])),
            };
            ids.push(id);
        }
        ids
    }

    /// Keeps what `root` needs, in order.
    pub(super) fn finish(self, inputs: u8, root: Id) -> Expr {
        let mut live = vec![false; self.nodes.len()];
        live[root as usize] = true;
        for i in (0..=root as usize).rev() {
            if live[i] {
                self.nodes[i].operands().for_each(|a| live[a as usize] = true);
            }
        }
        let mut ids = vec![0; self.nodes.len()];
        let mut nodes = Vec::new();
        for (i, node) in self.nodes.iter().enumerate().take(root as usize + 1) {
            if live[i] {
                ids[i] = nodes.len() as Id;
                nodes.push(node.map_operands(|a| ids[a as usize]));
            }
        }
        Expr { inputs, nodes }
    }
}
