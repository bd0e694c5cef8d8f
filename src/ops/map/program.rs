//! Expressions compiled to register code, and the rules that follow from them.

use std::fmt;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use super::Map;
use super::derivative::{Backward, backward};
use super::expr::{Expr, Id, Node};
use super::kernel;
use super::proof::{Support, support};
use crate::kernels::elementwise::{Binary, Unary};
use crate::kernels::slab::{Argument, Lanewise, Primitive};
use crate::tape::DynOp;
use crate::tape::op::{ByDtype, Case, Ins, Slope};
use crate::tensor::Stype;

/// An expression, compiled once and kept forever: each distinct one exists once. Recordings have few;
/// each graph that is optimized adds those that its fused chains make.
pub(crate) struct Program {
    /// For people: `sin`, or `sin'` for its backward rule.
    pub label: String,
    pub expr: Expr,
    /// Which input is a cotangent, if the expression is a backward rule.
    pub cotangent: Option<u8>,
    pub code: Vec<Instr>,
    pub registers: usize,
    /// What the code is, if it is one primitive on operands.
    pub lanewise: Option<Lanewise>,
    backward: Vec<OnceLock<Rule>>,
    /// The backward rules that are one primitive.
    slopes: Vec<OnceLock<Option<Slope>>>,
    rows: Mutex<KnownRows>,
    /// The operator, where there are no scalars and nothing broadcasts.
    plain: OnceLock<Map>,
    /// The table, where there are no scalars and nothing broadcasts.
    fixed: OnceLock<&'static Rows>,
}

/// The tables proved so far, and for which scalars and broadcast operands the last ones were.
#[derive(Default)]
struct KnownRows {
    tables: Vec<&'static Rows>,
    recent: Vec<(SmallVec<[u64; 2]>, u32, &'static Rows)>,
}

/// So many proofs are remembered per program.
const RECENT: usize = 8;

/// The backward rule of one operand.
pub(crate) enum Rule {
    Zero,
    None(&'static str),
    /// The cotangent is this operand of the backward expression itself.
    Operand(u8),
    /// A program over the backward operands listed: `0..n` are the operands, `n` the result, `n + 1`
    /// its cotangent.
    Map(&'static Program, SmallVec<[u8; 6]>),
}

/// One primitive, block by block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instr {
    Unary(Unary, Source, Target),
    Binary(Binary, Source, Source, Target),
    Select(Source, Source, Source, Target),
    Copy(Source, Target),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Source {
    Input(u8),
    Scalar(u8),
    Constant(f64),
    Register(u16),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    Register(u16),
    Output,
}

/// The table of an element-wise operator, for scalars that prove the same supports.
#[derive(Debug)]
pub(crate) struct Rows {
    pub cases: Vec<Case<Map>>,
    /// Operands that broadcast, a bit each: no row has them sparse.
    stretched: u32,
    /// By sparse operands, a bit each; index 0 is unused.
    supports: Vec<Support>,
}

impl Rows {
    pub(super) fn support(&self, sparse: u8) -> Support {
        self.supports[sparse as usize]
    }
}

impl Program {
    /// The one program for this expression.
    pub fn intern(label: String, expr: Expr, cotangent: Option<u8>) -> &'static Program {
        type Known = FxHashMap<(Expr, Option<u8>, String), &'static Program>;
        static PROGRAMS: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
        programs.entry((expr, cotangent, label)).or_insert_with_key(|(expr, cotangent, label)| {
            let (code, registers) = compile(expr);
            let backward = (0..expr.inputs).map(|_| OnceLock::new()).collect();
            let slopes = (0..expr.inputs).map(|_| OnceLock::new()).collect();
            let lanewise = lanewise(&code, expr.inputs);
            Box::leak(Box::new(Program {
                label: label.clone(),
                expr: expr.clone(),
                cotangent: *cotangent,
                code,
                lanewise,
                plain: OnceLock::new(),
                registers,
                backward,
                slopes,
                rows: Mutex::default(),
                fixed: OnceLock::new(),
            }))
        })
    }

    /// The operator without scalars on operands of one shape.
    pub fn plain(&'static self) -> &'static Map {
        self.plain.get_or_init(|| Map::new(self, &[], 0))
    }

    /// The backward rule of operand `i`.
    pub fn rule(&self, i: usize) -> &Rule {
        self.backward[i].get_or_init(|| match backward(&self.expr, i as u8) {
            Backward::Zero => Rule::Zero,
            Backward::None(why) => Rule::None(why),
            Backward::Expr(expr) => self.compact(i, expr),
        })
    }

    /// The backward rule of operand `i` where nothing broadcasts, if it is one primitive.
    pub fn slope(&'static self, i: usize) -> Option<&'static Slope> {
        let slope = || match self.rule(i) {
            Rule::Zero | Rule::None(_) => None,
            Rule::Operand(k) => Some(Slope::Value(*k)),
            Rule::Map(program, values) => {
                let ends = [*values.first()?, *values.last()?];
                let op = (self.expr.scalars() == 0).then(|| program.plain() as &dyn DynOp);
                Some(Slope::Primitive(op, program.lanewise.as_ref()?, ends))
            }
        };
        self.slopes[i].get_or_init(slope).as_ref()
    }

    /// A rule that takes only the operands that its expression uses.
    fn compact(&self, i: usize, mut expr: Expr) -> Rule {
        let dy = self.expr.inputs + 1;
        let mut used: SmallVec<[u8; 6]> = SmallVec::new();
        for node in &mut expr.nodes {
            if let Node::Input(k) = node {
                let at = used.iter().position(|u| u == k).unwrap_or_else(|| {
                    used.push(*k);
                    used.len() - 1
                });
                *k = at as u8;
            }
        }
        if let [Node::Input(_)] = expr.nodes[..] {
            return Rule::Operand(used[0]);
        }
        expr.inputs = used.len() as u8;
        let cotangent = used.iter().position(|&u| u == dy).map(|at| at as u8);
        let label = match self.expr.inputs {
            1 => format!("{}'", self.label),
            _ => format!("{}'{i}", self.label),
        };
        Rule::Map(Program::intern(label, expr, cotangent), used)
    }

    /// The table for these scalars, where these operands (a bit each) broadcast.
    pub fn rows(&self, scalars: &[f64], stretched: u32) -> &'static Rows {
        if scalars.is_empty() && stretched == 0 {
            return self.fixed.get_or_init(|| self.prove(scalars, stretched, &mut Vec::new()));
        }
        let bits: SmallVec<[u64; 2]> = scalars.iter().map(|x| x.to_bits()).collect();
        let mut known = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let proved = known.recent.iter().find(|(b, s, _)| (b, *s) == (&bits, stretched));
        if let Some((.., rows)) = proved {
            return rows;
        }
        let rows = self.prove(scalars, stretched, &mut known.tables);
        if known.recent.len() == RECENT {
            known.recent.remove(0);
        }
        known.recent.push((bits, stretched, rows));
        rows
    }

    fn prove(
        &self,
        scalars: &[f64],
        stretched: u32,
        tables: &mut Vec<&'static Rows>,
    ) -> &'static Rows {
        let prove = |sparse| support(&self.expr, scalars, sparse, self.cotangent);
        let masks = 1..1 << self.expr.inputs.min(MAX_SPARSE);
        let everywhere = std::iter::once(Support::Everywhere);
        let supports: Vec<Support> = match self.expr.inputs {
            0..=MAX_SPARSE => everywhere.chain(masks.map(prove)).collect(),
            _ => Vec::new(),
        };
        let same = |rows: &&&Rows| (&rows.supports, rows.stretched) == (&supports, stretched);
        if let Some(rows) = tables.iter().find(same) {
            return rows;
        }
        let cases = cases(self.expr.inputs as usize, &supports, stretched);
        let rows = Box::leak(Box::new(Rows { cases, stretched, supports }));
        tables.push(rows);
        rows
    }
}

/// Up to so many operands there are rows for sparse ones: their number grows with 2^operands.
pub(super) const MAX_SPARSE: u8 = 6;

/// All rows: dense operands; then, for csr and for row-sparse, every choice of sparse operands that
/// is proved sparse, or that has a dense operand to make the result dense. An operand that broadcasts
/// is dense.
fn cases(n: usize, supports: &[Support], stretched: u32) -> Vec<Case<Map>> {
    let row = |ins: Vec<Stype>, out| Case {
        ins: Ins::Fixed(Vec::leak(ins)),
        out,
        run: ByDtype::floats(kernel::run::<f32>, kernel::run::<f64>),
    };
    let mut cases = vec![row(vec![Stype::Default; n], Stype::Default)];
    let mut masks: Vec<usize> =
        (1..supports.len()).filter(|mask| mask & stretched as usize == 0).collect();
    // Fewest dense operands first: ties between fallbacks go to the first row.
    masks.sort_by_key(|mask| std::cmp::Reverse(mask.count_ones()));
    for sparse in [Stype::Csr, Stype::RowSparse] {
        for &mask in &masks {
            let all = mask.count_ones() as usize == n;
            let out = match supports[mask] {
                Support::Everywhere if all => continue,
                Support::Everywhere => Stype::Default,
                _ => sparse,
            };
            let stype = |i: usize| if mask & 1 << i != 0 { sparse } else { Stype::Default };
            cases.push(row((0..n).map(stype).collect(), out));
        }
    }
    cases
}

/// Register code: registers are used again once their value is dead; a target is never a source.
fn compile(expr: &Expr) -> (Vec<Instr>, usize) {
    let mut last_use = vec![0usize; expr.nodes.len()];
    for (i, node) in expr.nodes.iter().enumerate() {
        node.operands().for_each(|a| last_use[a as usize] = i);
    }
    let mut code = Vec::new();
    let mut place: Vec<Source> = Vec::with_capacity(expr.nodes.len());
    let (mut free, mut registers) = (Vec::<u16>::new(), 0u16);
    for (i, node) in expr.nodes.iter().enumerate() {
        let at = |id: Id| place[id as usize];
        let leaf = match *node {
            Node::Input(k) => Some(Source::Input(k)),
            Node::Scalar(k) => Some(Source::Scalar(k)),
            Node::Constant(bits) => Some(Source::Constant(f64::from_bits(bits))),
            _ => None,
        };
        let is_root = i == expr.root() as usize;
        if let Some(leaf) = leaf {
            if is_root {
                code.push(Instr::Copy(leaf, Target::Output));
            }
            place.push(leaf);
            continue;
        }
        let target = if is_root {
            Target::Output
        } else {
            Target::Register(free.pop().unwrap_or_else(|| {
                registers += 1;
                registers - 1
            }))
        };
        code.push(match *node {
            Node::Unary(op, a) => Instr::Unary(op, at(a), target),
            Node::Binary(op, l, r) => Instr::Binary(op, at(l), at(r), target),
            Node::Select(c, yes, no) => Instr::Select(at(c), at(yes), at(no), target),
            Node::Input(_) | Node::Scalar(_) | Node::Constant(_) => continue,
        });
        let mut dead: SmallVec<[u16; 3]> = SmallVec::new();
        for a in node.operands().filter(|&a| last_use[a as usize] == i) {
            match at(a) {
                Source::Register(r) if !dead.contains(&r) => dead.push(r),
                _ => {}
            }
        }
        free.extend(dead);
        place.push(match target {
            Target::Register(r) => Source::Register(r),
            Target::Output => Source::Constant(0.0),
        });
    }
    (code, registers as usize)
}

/// The one primitive that the code is, on all operands and on numbers.
fn lanewise(code: &[Instr], inputs: u8) -> Option<Lanewise> {
    let (primitive, sources): (Primitive, SmallVec<[Source; 2]>) = match *code {
        [Instr::Unary(op, x, _)] => (Primitive::Unary(op), smallvec![x]),
        [Instr::Binary(op, l, r, _)] => (Primitive::Binary(op), smallvec![l, r]),
        _ => return None,
    };
    let argument = |source: &Source| match *source {
        Source::Input(k) => Some(Argument::Operand(k)),
        Source::Scalar(k) => (k < 2).then_some(Argument::Scalar(k)),
        Source::Constant(x) => Some(Argument::Constant(x)),
        Source::Register(_) => None,
    };
    let all = (0..inputs).all(|k| sources.contains(&Source::Input(k)));
    let arguments: SmallVec<[Argument; 2]> = sources.iter().map(argument).collect::<Option<_>>()?;
    Lanewise::of(primitive, &arguments).filter(|own| all && own.inputs > 0)
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.label, self.expr)
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}
