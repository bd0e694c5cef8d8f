//! Element-wise operators put into one another.

use std::sync::LazyLock;

use smallvec::SmallVec;

use super::Map;
use super::expr::{Builder, Expr, Id, Node};
use super::program::{MAX_SPARSE, Program};
use super::proof::{Support, support};
use crate::tape::infer::Few;
use crate::tensor::Stype;

/// Element-wise operators as one, over values of a graph; each value is one input.
#[derive(Clone)]
pub(crate) struct Fusion {
    /// Of the operators, the last one first.
    labels: SmallVec<[&'static str; 4]>,
    expr: Expr,
    cotangent: Option<u8>,
    scalars: SmallVec<[f64; 2]>,
    operands: Few<u32>,
    /// A bit for each operand that broadcasts.
    stretched: u32,
}

/// So large fused operators become: enough to save most of the memory traffic, few enough for the
/// registers of a block to stay in cache.
const MAX_NODES: usize = 64;
const MAX_OPERANDS: usize = 12;
const MAX_SCALARS: usize = 16;

/// Where the result of an element-wise operator is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Places {
    Everywhere,
    /// Where values with patterns of this class are.
    Like(u32),
    /// Where values of any of these classes, in ascending order, are.
    Any(Few<u32>),
    /// Where values of all of these classes are.
    All(Few<u32>),
}

impl Places {
    /// Whether values of this class are stored at all of these places.
    pub fn within(&self, class: u32) -> bool {
        match self {
            Places::Everywhere | Places::Any(_) => false,
            Places::Like(own) => *own == class,
            Places::All(classes) => classes.contains(&class),
        }
    }
}

impl Map {
    /// The sum of two operands of one shape.
    pub(crate) fn sum() -> &'static Map {
        static SUM: LazyLock<Map> = LazyLock::new(|| {
            let sum = |b: &mut Builder| {
                let (l, r) = (b.input(0), b.input(1));
                b.add_terms(l, r)
            };
            Map::named("accumulate", Expr::build(2, sum))
        });
        &SUM
    }

    /// The operand, repeated.
    pub(crate) fn repeated() -> &'static Map {
        static REPEATED: LazyLock<Map> = LazyLock::new(|| {
            let expr = Expr::build(1, |b| b.input(0));
            Map::new(Program::intern("broadcast_like".into(), expr, None), &[], 1)
        });
        &REPEATED
    }
}

impl Fusion {
    /// The operator as it runs: an operand given twice is two inputs, of which the proof knows less.
    pub fn recorded(map: &Map, operands: &[u32]) -> Fusion {
        Fusion {
            labels: SmallVec::from_slice(&[&map.program.label[..]]),
            expr: map.program.expr.clone(),
            cotangent: map.program.cotangent,
            scalars: map.scalars.clone(),
            operands: operands.into(),
            stretched: map.stretched,
        }
    }

    /// The operator on these operands.
    pub fn of(map: &Map, operands: &[u32]) -> Fusion {
        let mut distinct: Few<u32> = Few::new();
        let mut at: SmallVec<[u8; 6]> = SmallVec::new();
        let mut stretched = 0;
        for (k, &id) in operands.iter().enumerate() {
            let place = position(&mut distinct, id);
            // Given twice, it has the result's shape if it does once.
            let first = at.iter().all(|&seen| seen != place);
            at.push(place);
            match map.stretches(k) {
                true if first => stretched |= 1 << place,
                false => stretched &= !(1u32 << place),
                true => {}
            }
        }
        let program = map.program;
        let mut builder = Builder::default();
        let root = builder.substitute(&program.expr, |builder, leaf| match leaf {
            Node::Input(k) => builder.input(at[k as usize]),
            leaf => builder.add(leaf),
        });
        Fusion {
            labels: SmallVec::from_slice(&[&program.label[..]]),
            expr: builder.finish(distinct.len() as u8, root),
            cotangent: program.cotangent.map(|k| at[k as usize]),
            scalars: map.scalars.clone(),
            operands: distinct,
            stretched,
        }
    }

    pub fn operands(&self) -> &[u32] {
        &self.operands
    }

    /// Whether the value, an operand, may broadcast.
    pub fn stretches(&self, value: u32) -> bool {
        let mut listed = self.operands.iter().enumerate();
        listed.any(|(k, &id)| id == value && self.stretched & 1 << k != 0)
    }

    /// Whether an operand is known to have the shape of the result.
    pub fn is_shaped(&self) -> bool {
        self.stretched.count_ones() < self.operands.len() as u32
    }

    /// With `value`, an operand of the result's shape, as the first one.
    pub fn starting_with(&self, value: u32) -> Fusion {
        let mut operands: Few<u32> = Few::from_slice(&[value]);
        self.operands.iter().for_each(|&id| _ = position(&mut operands, id));
        let at: SmallVec<[u8; 6]> =
            self.operands.iter().map(|&id| position(&mut operands, id)).collect();
        let mut builder = Builder::default();
        let root = builder.substitute(&self.expr, |builder, leaf| match leaf {
            Node::Input(k) => builder.input(at[k as usize]),
            leaf => builder.add(leaf),
        });
        let stretches = |&k: &usize| operands[k] != value && self.stretches(operands[k]);
        Fusion {
            labels: self.labels.clone(),
            expr: builder.finish(operands.len() as u8, root),
            cotangent: self.cotangent.map(|k| at[k as usize]),
            scalars: self.scalars.clone(),
            stretched: (0..operands.len()).filter(stretches).map(|k| 1 << k).sum(),
            operands,
        }
    }

    /// With the operator that computes `value`, of the result's shape, in place of that operand; not
    /// if it becomes too large.
    pub fn with(&self, value: u32, inner: &Fusion) -> Option<Fusion> {
        let mut operands: Few<u32> =
            self.operands.iter().copied().filter(|&id| id != value).collect();
        inner.operands.iter().for_each(|&id| _ = position(&mut operands, id));
        let scalars: SmallVec<[f64; 2]> =
            inner.scalars.iter().chain(&self.scalars).copied().collect();
        if operands.len() > MAX_OPERANDS || scalars.len() > MAX_SCALARS {
            return None;
        }
        let mut builder = Builder::default();
        let place = |id: u32| operands.iter().position(|&own| own == id).unwrap_or(0) as u8;
        let computed = builder.substitute(&inner.expr, |builder, leaf| match leaf {
            Node::Input(k) => builder.input(place(inner.operands[k as usize])),
            leaf => builder.add(leaf),
        });
        let root = builder.substitute(&self.expr, |builder, leaf| match leaf {
            Node::Input(k) if self.operands[k as usize] == value => computed,
            Node::Input(k) => builder.input(place(self.operands[k as usize])),
            Node::Scalar(k) => builder.scalar(k + inner.scalars.len() as u8),
            leaf => builder.add(leaf),
        });
        let expr = builder.finish(operands.len() as u8, root);
        let unstretched = |fusion: &Fusion, id: u32| {
            id != value && fusion.operands.contains(&id) && !fusion.stretches(id)
        };
        let stretches =
            |&k: &usize| !unstretched(self, operands[k]) && !unstretched(inner, operands[k]);
        let stretched = (0..operands.len()).filter(stretches).map(|k| 1 << k).sum();
        let labels = self.labels.iter().chain(&inner.labels).copied().collect();
        let small = expr.nodes.len() <= MAX_NODES;
        small.then_some(Fusion { labels, expr, cotangent: None, scalars, operands, stretched })
    }

    /// The same, with the pattern of a sparse operand stated rather than proved.
    pub fn on(&self, operand: usize) -> Fusion {
        Fusion { cotangent: Some(operand as u8), ..self.clone() }
    }

    /// Where the result is stored, for operands of these storage types whose patterns are of these
    /// classes; `None` if no row takes them.
    pub fn places(
        &self,
        stype: impl Fn(u32) -> Stype,
        class: impl Fn(u32) -> u32,
    ) -> Option<Places> {
        let sparse: Few<usize> = (0..self.operands.len())
            .filter(|&k| stype(self.operands[k]) != Stype::Default)
            .collect();
        let Some(&first) = sparse.first() else { return Some(Places::Everywhere) };
        let one = stype(self.operands[first]);
        let mixed = sparse.iter().any(|&k| stype(self.operands[k]) != one);
        if mixed || self.operands.len() > MAX_SPARSE as usize {
            return None;
        }
        let mask: u8 = sparse.iter().map(|&k| 1 << k).sum();
        if mask as u32 & self.stretched != 0 {
            return None;
        }
        let classes = |mask: u8| {
            let held = sparse.iter().filter(|&&k| mask & 1 << k != 0);
            let mut classes: Few<u32> = held.map(|&k| class(self.operands[k])).collect();
            classes.sort_unstable();
            classes.dedup();
            classes
        };
        let places = match support(&self.expr, &self.scalars, mask, self.cotangent) {
            Support::Everywhere if sparse.len() == self.operands.len() => return None,
            Support::Everywhere => return Some(Places::Everywhere),
            Support::Union => Places::Any(classes(mask)),
            Support::All(required) => Places::All(classes(required)),
        };
        Some(match &places {
            Places::Any(classes) | Places::All(classes) if classes.len() == 1 => {
                Places::Like(classes[0])
            }
            _ => places,
        })
    }

    /// The one operator.
    pub fn operator(&self) -> Map {
        let program = Program::intern(self.label(), self.expr.clone(), self.cotangent);
        Map::new(program, &self.scalars, self.stretched)
    }

    /// `sigmoid(add)`; of many, the first ones.
    fn label(&self) -> String {
        const SHOWN: usize = 4;
        let (last, inner) = (self.labels[0], &self.labels[1..]);
        if inner.is_empty() {
            return last.to_owned();
        }
        let mut shown: SmallVec<[&str; 5]> = inner.iter().copied().take(SHOWN).collect();
        if inner.len() > SHOWN {
            shown.push("..");
        }
        format!("{last}({})", shown.join(", "))
    }
}

/// Where the list has the value, which is added if need be.
fn position(list: &mut Few<u32>, value: u32) -> u8 {
    let at = list.iter().position(|&own| own == value).unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    });
    at as u8
}

impl Builder {
    /// Writes an expression with `leaf` in place of its leaves.
    fn substitute(&mut self, expr: &Expr, mut leaf: impl FnMut(&mut Builder, Node) -> Id) -> Id {
        let mut ids: Vec<Id> = Vec::with_capacity(expr.nodes.len());
        for &node in &expr.nodes {
            let id = match node {
                Node::Input(_) | Node::Scalar(_) | Node::Constant(_) => leaf(self, node),
                node => self.add(node.map_operands(|a| ids[a as usize])),
            };
            ids.push(id);
        }
        ids.last().copied().unwrap_or_default()
    }
}
