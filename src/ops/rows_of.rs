//! Rows of a table at the columns that occur in a csr matrix.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::dot::sparse_sample;
use crate::case;
use crate::error::{ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::structural::rows_at;
use crate::tape::{Out, PartialShape, Scratch, Var, unify_dims};
use crate::tensor::{Real, Tensor, View};

/// `rows_of`: the rows of a table at a csr matrix's distinct columns, as a row-sparse value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowsOf;

methods! {
    /// The rows of this table at the distinct columns of the csr matrix `x`, row-sparse.
    ///
    /// Models that transform a table (v² in a factorization machine) work on these rows, so that a
    /// step costs what the batch touches and never what the table holds.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let v = tape.variable(Tensor::full([1000, 2], 3.0f32)?);
    /// let x = tape.constant(Tensor::csr([1, 1000], vec![0, 2], vec![7, 70], vec![1.0f32, 1.0])?);
    /// let squares = x.dot(v.rows_of(x).square());
    /// assert_eq!(squares.value()?.values::<f32>()?, [18.0, 18.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn rows_of(table, x) = RowsOf;
}

fn rows_of<T: Real>(_: &RowsOf, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let columns = &ins[1].csr()?.pattern.columns().distinct;
    rows_at::<T>(ins[0], columns, out.rows(columns.clone())?)
}

impl Op for RowsOf {
    const NAME: &'static str = "rows_of";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [table, x] = ins else { unreachable!("a table and a csr matrix") };
        x.set_rank(2)?;
        if table.rank() == Some(0) {
            table.set_dim(0, 1)?;
        }
        table.unify(out)?;
        if table.rank().is_some() {
            unify_dims((table, 0), (x, 1))?;
        }
        table.unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<RowsOf>; 2] = [
            case!([Default, Csr] => RowSparse, rows_of),
            case!([RowSparse, Csr] => RowSparse, rows_of),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::RowsOf(1) } else { Read::Pattern }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy);
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = || sparse_sample([3, 4], 2);
        let cube = Tensor::from_fn([4, 2, 2], |i| i as f64 + 1.0);
        vec![
            Sample::good(RowsOf, [sparse_sample([4, 2], 3), x()]),
            Sample::good(RowsOf, [cube, x()]),
            Sample::bad(RowsOf, [sparse_sample([3, 2], 3), x()], ErrorKind::Shape, "differ"),
        ]
    }
}
