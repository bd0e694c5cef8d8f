//! Restriction of a cotangent to its cotangent space.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::gather::{gather_compact, gather_rows};
use crate::kernels::merge::positions;
use crate::kernels::patterns::entry_positions;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{CsrView, Element, Real, Tensor, View, row_len};

/// `project_like`: the first operand's values where the second stores something.
///
/// The tape inserts it so that the cotangent of a sparse value lives on that value's pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Project;

methods! {
    /// This value's entries at the places that `like` stores (csr entries, rows of row-sparse); the
    /// values of `like` are not read.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([1, 3], vec![5.0f32, 6.0, 7.0])?);
    /// let like = tape.constant(Tensor::csr([1, 3], vec![0, 1], vec![2], vec![0.0f32])?);
    /// assert_eq!(x.project_like(like).value()?.values::<f32>()?, [7.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn project_like(x, like) = Project;
}

fn onto_csr<T: Real>(_: &Project, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let like = ins[1].csr()?;
    match ins[0] {
        View::Csr(x) if x.pattern.same_entries(like.pattern) => out.alias(0),
        View::Csr(x) => {
            let ((own_ptr, own), (ptr, ids)) = (x.pattern.parts(), like.pattern.parts());
            let at = entry_positions(own_ptr, own, ptr, ids);
            let (held, values) = (x.values.typed::<T>()?, out.csr_on::<T>(like.pattern)?);
            for (to, &p) in values.iter_mut().zip(&at) {
                *to = held.get(p).copied().unwrap_or(T::zero());
            }
        }
        View::Dense(x) => {
            let (dense, cols) = (x.values.typed::<T>()?, like.pattern.cols());
            each_entry(like, out.csr_on::<T>(like.pattern)?, |r, c| dense[r * cols + c]);
        }
        View::RowSparse(x) => {
            let (values, cols) = (x.values.typed::<T>()?, like.pattern.cols());
            let row = |r: usize| x.rows.binary_search(&(r as u32)).ok();
            each_entry(like, out.csr_on::<T>(like.pattern)?, |r, c| {
                row(r).map_or(T::zero(), |n| values[n * cols + c])
            });
        }
    }
    Ok(())
}

/// Sets each entry from its row and column.
fn each_entry<T>(like: &CsrView, values: &mut [T], at: impl Fn(usize, usize) -> T) {
    for row in 0..like.pattern.rows() {
        for entry in like.pattern.row_range(row) {
            values[entry] = at(row, like.pattern.indices()[entry] as usize);
        }
    }
}

fn onto_rows<T: Real>(_: &Project, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (rows, k) = (ins[1].row_sparse()?.rows, row_len(ins[1].shape()));
    match ins[0] {
        View::RowSparse(x) if x.rows == rows => out.alias(0),
        x @ (View::Dense(_) | View::RowSparse(_)) => {
            rows_at::<T>(x, rows, out.rows(rows.clone())?)?
        }
        View::Csr(x) => {
            let held: &[T] = x.values.typed()?;
            let values = out.rows::<T>(rows.clone())?;
            values.fill(T::zero());
            for (n, &r) in rows.iter().enumerate() {
                let range = x.pattern.row_range(r as usize);
                for (&c, &x) in x.pattern.indices()[range.clone()].iter().zip(&held[range]) {
                    values[n * k + c as usize] = x;
                }
            }
        }
    }
    Ok(())
}

/// Copies the rows `ids` of a dense or row-sparse value; absent ones are zeros.
pub(crate) fn rows_at<T: Element>(x: View, ids: &[u32], to: &mut [T]) -> Result<()> {
    let (held, k) = (x.typed::<T>()?, row_len(x.shape()));
    match x {
        View::RowSparse(v) => gather_compact(&positions(ids, v.rows), held, k, to),
        _ => {
            x.dense()?;
            gather_rows(held, k, ids, to);
        }
    }
    Ok(())
}

fn onto_dense(_: &Project, _: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    out.alias(0);
    Ok(())
}

impl Op for Project {
    const NAME: &'static str = "project_like";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        ins[1].unify(out)?;
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Project>; 9] = [
            case!(any [Default, Default] => Default, onto_dense),
            case!(any [Csr, Default] => Csr, onto_dense),
            case!(any [RowSparse, Default] => RowSparse, onto_dense),
            case!([Default, Csr] => Csr, onto_csr),
            case!([Csr, Csr] => Csr, onto_csr),
            case!([RowSparse, Csr] => Csr, onto_csr),
            case!([Default, RowSparse] => RowSparse, onto_rows),
            case!([Csr, RowSparse] => RowSparse, onto_rows),
            case!([RowSparse, RowSparse] => RowSparse, onto_rows),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Pattern }
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy.project_like(x[1]));
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = |skip: usize| {
            Tensor::from_fn([3, 4], move |i| if i % skip == 0 { 0.0 } else { i as f64 - 5.5 })
        };
        vec![
            Sample::good(Project, [x(3), x(2)]),
            Sample::good(Project, [x(2), x(2)]),
            Sample::bad(
                Project,
                [x(2), Tensor::from_fn([3, 5], |i| i as f64)],
                ErrorKind::Shape,
                "differ",
            ),
        ]
    }
}
