//! Evaluation of programs on operands of any storage type, block by block.
//!
//! The result's stored values are one run of positions. Each operand says what it has at a range of
//! positions: a slice of itself where it is stored alike, else a gathered block. Then the program's
//! primitives run over the blocks.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Map;
use super::program::{Instr, Program, Source, Target};
use super::proof::Support;
use crate::error::Result;
use crate::kernels::CsrRef;
use crate::kernels::broadcast::{Broadcast, aligned};
use crate::kernels::elementwise::{Arg, binary, select, unary};
use crate::kernels::memory::Temp;
use crate::kernels::merge::{intersect_rows, positions, union_rows};
use crate::kernels::patterns::{entry_positions, intersect_patterns, union_patterns};
use crate::kernels::side_by_side::{Entries, of_two};
use crate::kernels::threads::for_each_part;
use crate::tape::{Out, Scratch};
use crate::tensor::cast::csr_ref;
use crate::tensor::{
    Buffer, CsrView, Element, Pattern, Real, RowSparseView, Shape, Stype, View, row_len,
};

/// Positions in a block: small enough that registers stay in the L1 cache.
const BLOCK: usize = 512;

/// Numbers that a block may need in memory of the stack.
const FEW: usize = 64;

type Operands<T> = SmallVec<[T; 4]>;

pub(super) fn run<T: Real>(op: &Map, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let shape = out.shape();
    match out.stype() {
        Stype::Default => {
            let own = out.in_place();
            let columns = columns(ins.len(), |i| match Some(i) == own {
                true => Ok(Column::Own),
                false => on_dense::<T>(&ins[i], shape),
            })?;
            evaluate(op, &columns, Places::Dense, out.dense());
        }
        Stype::Csr => {
            if let Some((x, y, entries)) = two_patterns::<T>(op, ins)? {
                let csr = of_two(x, y, entries, |x: &[T], y: &[T], to: &mut [T]| {
                    let columns = [Column::Same(x), Column::Same(y)];
                    evaluate(op, &columns, Places::Dense, to);
                });
                out.set_csr(csr);
                return Ok(());
            }
            let pattern = support_pattern(op, ins)?;
            let columns = columns(ins.len(), |i| on_csr::<T>(ins[i], &pattern, shape))?;
            evaluate(op, &columns, Places::Csr(&pattern), out.csr_on(&pattern)?);
        }
        Stype::RowSparse => {
            let rows = support_rows(op, ins)?;
            let columns = columns(ins.len(), |i| on_rows::<T>(ins[i], &rows, shape))?;
            let places = Places::Rows(&rows, row_len(shape));
            evaluate(op, &columns, places, out.rows(rows.clone())?);
        }
    }
    Ok(())
}

/// A column for each operand. A loop, because collecting results moves each column several times, which
/// is what small values spend their time on.
fn columns<'a, T>(
    n: usize,
    column: impl Fn(usize) -> Result<Column<'a, T>>,
) -> Result<Operands<Column<'a, T>>> {
    let mut columns = Operands::new();
    for i in 0..n {
        columns.push(column(i)?);
    }
    Ok(columns)
}

/// Evaluates on a dense value, the first operand, in its own memory; all others are dense.
pub(super) fn run_on<T: Real>(
    op: &Map,
    others: &[View],
    shape: &Shape,
    value: &mut [T],
) -> Result<()> {
    let columns = columns(others.len() + 1, |i| match i.checked_sub(1) {
        None => Ok(Column::Own),
        Some(i) => on_dense::<T>(&others[i], shape),
    })?;
    evaluate(op, &columns, Places::Dense, value);
    Ok(())
}

/// What the positions of the result are.
#[derive(Clone, Copy)]
enum Places<'a> {
    /// Elements, row-major.
    Dense,
    /// Entries of a pattern.
    Csr(&'a Pattern),
    /// Elements of these rows, each so long.
    Rows(&'a [u32], usize),
}

/// How an operand is read at the positions of the result.
enum Column<'a, T> {
    /// As it is stored.
    Same(&'a [T]),
    /// In the memory of the result, which replaces it.
    Own,
    /// One number.
    Splat(T),
    /// A dense operand, by position in the dense result.
    Broadcast(&'a [T], Broadcast),
    /// A dense operand at csr entries, by strides of row and column.
    Entries(&'a [T], usize, usize),
    /// A csr operand by entry, `usize::MAX` where it has none.
    Positions(&'a [T], Temp<usize>),
    /// A row-sparse operand by row of the result, `u32::MAX` where it has none.
    Slots(&'a [T], Temp<u32>),
    /// A csr operand in a dense result.
    Scatter(CsrView<'a>, &'a [T]),
    /// A row-sparse operand in a dense result.
    ScatterRows(RowSparseView<'a>, &'a [T]),
}

fn on_dense<'a, T: Real>(v: &View<'a>, shape: &Shape) -> Result<Column<'a, T>> {
    let values = v.typed::<T>()?;
    Ok(match *v {
        View::Dense(v) => dense_column(v.shape, values, shape),
        View::Csr(v) => Column::Scatter(v, values),
        View::RowSparse(v) => Column::ScatterRows(v, values),
    })
}

fn dense_column<'a, T: Real>(own: &[usize], values: &'a [T], shape: &Shape) -> Column<'a, T> {
    match values {
        _ if own == &shape[..] => Column::Same(values),
        [x] => Column::Splat(*x),
        _ => {
            let steps = Broadcast::new(shape, &aligned(own, shape));
            if steps.is_identity() {
                Column::Same(values)
            } else {
                Column::Broadcast(values, steps)
            }
        }
    }
}

fn on_csr<'a, T: Real>(v: View<'a>, pattern: &Pattern, shape: &Shape) -> Result<Column<'a, T>> {
    let values = v.typed::<T>()?;
    Ok(match v {
        View::Csr(v) if v.pattern.same_entries(pattern) => Column::Same(values),
        View::Csr(v) => {
            let ((own_ptr, own), (ptr, ids)) = (v.pattern.parts(), pattern.parts());
            Column::Positions(values, entry_positions(own_ptr, own, ptr, ids))
        }
        v => match (values, &aligned(v.shape(), shape)[..]) {
            ([x], _) => Column::Splat(*x),
            (_, &[rows, cols]) => Column::Entries(values, rows, cols),
            _ => Column::Entries(values, 0, 0),
        },
    })
}

fn on_rows<'a, T: Real>(v: View<'a>, rows: &Buffer<u32>, shape: &Shape) -> Result<Column<'a, T>> {
    let values = v.typed::<T>()?;
    Ok(match v {
        View::RowSparse(v) if v.rows == rows => Column::Same(values),
        View::RowSparse(v) => Column::Slots(values, positions(rows, v.rows)),
        v => match values {
            [x] => Column::Splat(*x),
            _ => Column::Broadcast(values, Broadcast::new(shape, &aligned(v.shape(), shape))),
        },
    })
}

/// The operands of one sparse storage type, with the support that the proof gives them.
fn sparse_operands(op: &Map, ins: &[View]) -> (Support, SmallVec<[usize; 4]>) {
    let is_sparse = |i: &usize| ins[*i].stype() != Stype::Default;
    let sparse: SmallVec<[usize; 4]> = (0..ins.len()).filter(is_sparse).collect();
    let support = op.rows().support(sparse.iter().map(|i| 1 << i).sum());
    let required = |i: &usize| match support {
        Support::All(required) => required & (1 << i) != 0,
        _ => true,
    };
    (support, sparse.into_iter().filter(required).collect())
}

/// The operands, if they are two csr ones of different patterns, and which of their entries the result
/// has.
#[expect(clippy::type_complexity, reason = "a pair and a word")]
fn two_patterns<'a, T: Real>(
    op: &Map,
    ins: &[View<'a>],
) -> Result<Option<(CsrRef<'a, T>, CsrRef<'a, T>, Entries)>> {
    let &[View::Csr(x), View::Csr(y)] = ins else { return Ok(None) };
    let (support, operands) = sparse_operands(op, ins);
    if operands.len() < 2 || x.pattern.same_entries(y.pattern) {
        return Ok(None);
    }
    let entries = match support {
        Support::All(_) => Entries::Both,
        _ => Entries::Either,
    };
    Ok(Some((csr_ref(&x, x.values.typed()?), csr_ref(&y, y.values.typed()?), entries)))
}

fn support_pattern(op: &Map, ins: &[View]) -> Result<Arc<Pattern>> {
    let (support, operands) = sparse_operands(op, ins);
    let patterns: Operands<&Arc<Pattern>> =
        operands.iter().map(|&i| ins[i].csr().map(|v| v.pattern)).collect::<Result<_>>()?;
    let first = patterns[0];
    if patterns.iter().all(|p| p.same_entries(first)) {
        return Ok(first.clone());
    }
    let parts: Operands<_> = patterns.iter().map(|p| p.parts()).collect();
    let (indptr, indices) = match support {
        Support::All(_) => intersect_patterns(&parts),
        _ => union_patterns(&parts),
    };
    Ok(Pattern::new(first.cols(), indptr.into(), indices.into()).share())
}

fn support_rows(op: &Map, ins: &[View]) -> Result<Buffer<u32>> {
    let (support, operands) = sparse_operands(op, ins);
    let rows: Operands<&Buffer<u32>> =
        operands.iter().map(|&i| ins[i].row_sparse().map(|v| v.rows)).collect::<Result<_>>()?;
    if rows.iter().all(|r| *r == rows[0]) {
        return Ok(rows[0].clone());
    }
    let lists: Operands<&[u32]> = rows.iter().map(|r| &r[..]).collect();
    Ok(match support {
        Support::All(_) => intersect_rows(&lists),
        _ => union_rows(&lists),
    }
    .into())
}

/// About how many nanoseconds one position takes, in 1/8: so that small work stays on one thread.
fn cost(program: &Program) -> usize {
    program.code.len().max(1)
}

fn evaluate<T: Real>(op: &Map, columns: &[Column<T>], places: Places, out: &mut [T]) {
    let program = op.program;
    let scalars: SmallVec<[T; 4]> = op.scalars.iter().map(|&x| Element::from_f64(x)).collect();
    // Parts of a few blocks: a row of the partition is 8 positions.
    let rows = out.len() / 8 * 8;
    let (bulk, rest) = out.split_at_mut(rows);
    for_each_part(bulk, 8, cost(program), |first, part| {
        evaluate_part(program, &scalars, columns, places, first * 8, part);
    });
    if !rest.is_empty() {
        evaluate_part(program, &scalars, columns, places, rows, rest);
    }
}

fn evaluate_part<T: Real>(
    program: &Program,
    scalars: &[T],
    columns: &[Column<T>],
    places: Places,
    start: usize,
    part: &mut [T],
) {
    let size = part.len().min(BLOCK);
    let gathered = |c: &&Column<T>| !matches!(c, Column::Same(_) | Column::Splat(_));
    let blocks = columns.iter().filter(gathered).count();
    let needed = size * (program.registers + blocks);
    // A few numbers are not worth the way to recycled memory.
    let (mut few, mut many);
    let memory = match needed <= FEW {
        true => {
            few = [T::zero(); FEW];
            &mut few[..needed]
        }
        false => {
            many = Temp::unspecified(needed);
            &mut many[..]
        }
    };
    let (gather, registers) = memory.split_at_mut(size * blocks);
    for (n, block) in part.chunks_mut(BLOCK).enumerate() {
        let range = start + n * BLOCK..start + n * BLOCK + block.len();
        let mut free = gather.chunks_exact_mut(size.max(1));
        let args: Operands<Arg<T>> = columns
            .iter()
            .map(|column| match column {
                Column::Same(values) => Arg::Slice(&values[range.clone()]),
                Column::Splat(x) => Arg::Splat(*x),
                column => {
                    let to = free.next().map_or(&mut [][..], |b| &mut b[..range.len()]);
                    column.gather(places, range.clone(), block, to);
                    Arg::Slice(to)
                }
            })
            .collect();
        execute(program, scalars, &args, registers, size, block);
    }
}

/// Runs the code over one block.
fn execute<T: Real>(
    program: &Program,
    scalars: &[T],
    inputs: &[Arg<T>],
    registers: &mut [T],
    size: usize,
    out: &mut [T],
) {
    let len = out.len();
    for instr in &program.code {
        let target = match instr {
            Instr::Unary(.., t)
            | Instr::Binary(.., t)
            | Instr::Select(.., t)
            | Instr::Copy(_, t) => *t,
        };
        // The target is never a source, so the registers split around it.
        let (before, to, after) = match target {
            Target::Output => (&*registers, &mut *out, &[][..]),
            Target::Register(r) => {
                let (before, rest) = registers.split_at_mut(r as usize * size);
                let (to, after) = rest.split_at_mut(size);
                (&*before, &mut to[..len], &*after)
            }
        };
        let at = |source: Source| match source {
            Source::Input(i) => inputs[i as usize],
            Source::Scalar(i) => Arg::Splat(scalars[i as usize]),
            Source::Constant(x) => Arg::Splat(<T as Element>::from_f64(x)),
            Source::Register(r) => {
                let start = r as usize * size;
                Arg::Slice(match start.checked_sub(before.len() + size) {
                    Some(start) if target != Target::Output => &after[start..][..len],
                    _ => &before[start..][..len],
                })
            }
        };
        match *instr {
            Instr::Binary(op, l, r, _) => binary(op, at(l), at(r), to),
            Instr::Select(c, yes, no, _) => select(at(c), at(yes), at(no), to),
            Instr::Unary(op, a, _) => match at(a) {
                Arg::Slice(x) => unary(op, x, to),
                Arg::Splat(x) => {
                    let mut y = [T::zero()];
                    unary(op, &[x], &mut y);
                    to.fill(y[0]);
                }
            },
            Instr::Copy(a, _) => match at(a) {
                Arg::Slice(x) => to.copy_from_slice(x),
                Arg::Splat(x) => to.fill(x),
            },
        }
    }
}

impl<T: Real> Column<'_, T> {
    /// Writes what the operand has at `range` of the result's positions; `own` is the result's memory
    /// there.
    fn gather(&self, places: Places, range: Range<usize>, own: &[T], to: &mut [T]) {
        match self {
            Column::Own => to.copy_from_slice(own),
            Column::Same(values) => to.copy_from_slice(&values[range]),
            Column::Splat(x) => to.fill(*x),
            Column::Broadcast(values, steps) => match places {
                Places::Rows(rows, k) => each_row(range, k, to, |n, j, to| {
                    steps.fill(values, rows[n] as usize * k + j, to);
                }),
                _ => steps.fill(values, range.start, to),
            },
            Column::Entries(values, row_stride, col_stride) => {
                let Places::Csr(pattern) = places else { return };
                each_csr_row(pattern, range, |row, entries, start| {
                    let columns = &pattern.indices()[entries.clone()];
                    let base = row * row_stride;
                    let to = &mut to[entries.start - start..entries.end - start];
                    for (to, &c) in to.iter_mut().zip(columns) {
                        *to = values[base + c as usize * col_stride];
                    }
                });
            }
            Column::Positions(values, at) => {
                for (to, &p) in to.iter_mut().zip(&at[range]) {
                    *to = values.get(p).copied().unwrap_or(T::zero());
                }
            }
            Column::Slots(values, at) => {
                let Places::Rows(_, k) = places else { return };
                each_row(range, k, to, |n, j, to| match at[n] {
                    u32::MAX => to.fill(T::zero()),
                    slot => to.copy_from_slice(&values[slot as usize * k + j..][..to.len()]),
                });
            }
            Column::Scatter(v, values) => scatter_entries(v.pattern, values, range, to),
            Column::ScatterRows(v, values) => scatter_rows(v, values, range, to),
        }
    }
}

/// Splits `range` at the ends of rows of length `k`; calls `f(row, first element, block)`.
fn each_row<T>(
    range: Range<usize>,
    k: usize,
    mut to: &mut [T],
    mut f: impl FnMut(usize, usize, &mut [T]),
) {
    let mut at = range.start;
    while at < range.end {
        let (n, j) = (at / k, at % k);
        let (run, rest) = to.split_at_mut((k - j).min(range.end - at));
        at += run.len();
        f(n, j, run);
        to = rest;
    }
}

/// Splits entries `range` at the ends of rows; calls `f(row, entries, start of the range)`.
fn each_csr_row(
    pattern: &Pattern,
    range: Range<usize>,
    mut f: impl FnMut(usize, Range<usize>, usize),
) {
    let indptr = pattern.indptr();
    let first = indptr[0] + range.start;
    let mut row = indptr.partition_point(|&p| p <= first) - 1;
    let mut at = range.start;
    while at < range.end {
        let end = pattern.row_range(row).end.min(range.end);
        f(row, at..end, range.start);
        (at, row) = (end, row + 1);
    }
}

/// A dense block of a csr operand.
fn scatter_entries<T: Real>(pattern: &Pattern, values: &[T], range: Range<usize>, to: &mut [T]) {
    let start = range.start;
    to.fill(T::zero());
    each_dense_row(range, pattern.cols(), |row, columns| {
        let entries = pattern.row_range(row);
        let ids = &pattern.indices()[entries.clone()];
        let lo = ids.partition_point(|&c| (c as usize) < columns.start);
        for (&c, &x) in ids[lo..].iter().zip(&values[entries][lo..]) {
            if c as usize >= columns.end {
                break;
            }
            to[row * pattern.cols() + c as usize - start] = x;
        }
    });
}

/// A dense block of a row-sparse operand.
fn scatter_rows<T: Real>(v: &RowSparseView, values: &[T], range: Range<usize>, to: &mut [T]) {
    let (start, k) = (range.start, row_len(v.shape));
    to.fill(T::zero());
    each_dense_row(range, k, |row, columns| {
        if let Ok(n) = v.rows.binary_search(&(row as u32)) {
            let from = &values[n * k..][columns.clone()];
            to[row * k + columns.start - start..][..from.len()].copy_from_slice(from);
        }
    });
}

/// The rows of length `k` that dense positions `range` touch, with the columns touched.
fn each_dense_row(range: Range<usize>, k: usize, mut f: impl FnMut(usize, Range<usize>)) {
    let mut at = range.start;
    while at < range.end {
        let (row, col) = (at / k, at % k);
        let end = k.min(col + range.end - at);
        f(row, col..end);
        at += end - col;
    }
}
