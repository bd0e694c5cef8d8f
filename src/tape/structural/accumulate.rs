//! Sums of cotangents, where a value is used more than once.

use std::sync::LazyLock;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::elementwise::Binary;
use crate::kernels::side_by_side::{Entries, of_two};
use crate::kernels::slab::{Argument, Lanewise, Primitive};
use crate::kernels::sums::{Part, add_parts};
use crate::kernels::threads::for_each_part;
use crate::kernels::{convert, elementwise, merge};
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::cast::csr_ref;
use crate::tensor::{Buffer, CsrView, Real, RowSparseView, Stype, Tensor, View, row_len};

/// `accumulate`: the sum of two cotangents of one value, in whatever storage types they arose.
/// Two row-sparse ones merge; nothing is made dense that a dense cotangent does not already cover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accumulate;

fn dense<T: Real>(_: &Accumulate, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let own = out.in_place();
    let first = own.unwrap_or(usize::from(ins[0].stype() != Stype::Default));
    let (a, b, sum) = (ins[first], ins[1 - first], out.dense::<T>());
    match (own, b) {
        (None, View::Dense(b)) => {
            add_all(a.typed()?, b.values.typed()?, sum);
            return Ok(());
        }
        (None, _) => sum.copy_from_slice(a.typed()?),
        (Some(_), _) => {}
    }
    match b {
        View::RowSparse(b) => add_rows(&b, b.values.typed()?, sum),
        View::Csr(b) => add_entries(&b, b.values.typed()?, sum),
        View::Dense(b) => add_elements(b.values.typed()?, sum),
    }
    Ok(())
}

/// The sum of values stored alike, shared among threads.
fn add_all<T: Real>(a: &[T], b: &[T], sum: &mut [T]) {
    for_each_part(sum, 1, 1, |first, sum| {
        elementwise::add(&a[first..][..sum.len()], &b[first..][..sum.len()], sum);
    });
}

/// Adds all elements to a dense sum.
fn add_elements<T: Real>(values: &[T], sum: &mut [T]) {
    for_each_part(sum, 8, 2, |first, sum| {
        sum.iter_mut().zip(&values[8 * first..]).for_each(|(s, &x)| *s = *s + x);
    });
}

/// Adds the stored rows to a dense sum.
fn add_rows<T: Real>(rows: &RowSparseView, values: &[T], sum: &mut [T]) {
    let k = row_len(rows.shape);
    for (row, &r) in values.chunks_exact(k.max(1)).zip(rows.rows.iter()) {
        let to = &mut sum[r as usize * k..][..k];
        to.iter_mut().zip(row).for_each(|(s, &x)| *s = *s + x);
    }
}

/// Adds csr entries to a dense sum.
fn add_entries<T: Real>(csr: &CsrView, values: &[T], sum: &mut [T]) {
    let pattern = csr.pattern;
    for row in 0..pattern.rows() {
        let range = pattern.row_range(row);
        if range.is_empty() {
            continue;
        }
        let first = row * pattern.cols();
        for (&c, &v) in pattern.indices()[range.clone()].iter().zip(&values[range]) {
            let at = &mut sum[first + c as usize];
            *at = *at + v;
        }
    }
}

fn rows<T: Real>(_: &Accumulate, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].row_sparse()?, ins[1].row_sparse()?);
    let (left, right) = (a.values.typed::<T>()?, b.values.typed::<T>()?);
    if a.rows == b.rows {
        add_all(left, right, out.rows::<T>(a.rows.clone())?);
        return Ok(());
    }
    let (union, places) = merge::union_places(&[a.rows, b.rows]);
    let parts = [Part::Rows(&places[0], left), Part::Rows(&places[1], right)];
    add_parts(&parts, None, row_len(a.shape), out.rows(union)?);
    Ok(())
}

fn csr<T: Real>(_: &Accumulate, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].csr()?, ins[1].csr()?);
    let (left, right) = (a.values.typed::<T>()?, b.values.typed::<T>()?);
    if a.pattern.same_entries(b.pattern) {
        add_all(left, right, out.csr_on::<T>(a.pattern)?);
        return Ok(());
    }
    let (a, b) = (csr_ref(a, left), csr_ref(b, right));
    out.set_csr(of_two(a, b, Entries::Either, elementwise::add));
    Ok(())
}

fn csr_and_rows<T: Real>(
    _: &Accumulate,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (csr, rows) = match (ins[0], ins[1]) {
        (View::Csr(csr), rows) => (csr, *rows.row_sparse()?),
        (rows, csr) => (*csr.csr()?, *rows.row_sparse()?),
    };
    let occupied = convert::nonempty_rows(csr.pattern.indptr());
    let (union, places) = merge::union_places(&[rows.rows, &occupied]);
    let union: Buffer<u32> = union.into();
    let entries = csr_ref(&csr, csr.values.typed::<T>()?);
    let parts = [Part::Rows(&places[0], rows.values.typed()?), Part::Csr(entries)];
    add_parts(&parts, Some(&union), row_len(rows.shape), out.rows(union.clone())?);
    Ok(())
}

impl Op for Accumulate {
    const NAME: &'static str = "accumulate";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        ins[1].unify(out)?;
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Accumulate>; 9] = [
            case!([Default, Default] => Default, dense),
            case!([RowSparse, RowSparse] => RowSparse, rows),
            case!([Csr, Csr] => Csr, csr),
            case!([Default, RowSparse] => Default, dense),
            case!([RowSparse, Default] => Default, dense),
            case!([Default, Csr] => Default, dense),
            case!([Csr, Default] => Default, dense),
            case!([Csr, RowSparse] => RowSparse, csr_and_rows),
            case!([RowSparse, Csr] => RowSparse, csr_and_rows),
        ];
        &CASES
    }

    fn in_place(&self, _: usize) -> bool {
        true
    }

    fn lanewise(&self) -> Option<&'static Lanewise> {
        static SUM: LazyLock<Option<Lanewise>> = LazyLock::new(|| {
            Lanewise::of(Primitive::Binary(Binary::Add), &[0, 1].map(Argument::Operand))
        });
        SUM.as_ref()
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy);
        grads.give(1, || dy);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        &ins[0] + &ins[1]
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = |rows, skip: usize| {
            let value =
                move |i: usize| if i.is_multiple_of(skip) || i / 4 == 1 { 0.0 } else { i as f64 };
            Tensor::from_fn([rows, 4], value)
        };
        vec![
            Sample::good(Accumulate, [x(3, 3), x(3, 2)]),
            Sample::good(Accumulate, [x(3, 2), x(3, 2)]),
            Sample::good(Accumulate, [x(2, 2), x(2, 1)]),
            Sample::bad(Accumulate, [x(3, 3), x(2, 3)], ErrorKind::Shape, "differ"),
        ]
    }
}
