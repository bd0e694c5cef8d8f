use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use sparsetape::{
    Case, Columns, ErrorKind, Grads, Op, Out, PartialShape, Read, Real, Result, Sample, Scratch,
    Tensor, Var, View, case,
};

/// `y[i, j] = x[i, j] · w[j]`: each column of a matrix times a weight of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScaleColumns;

/// Each column of a matrix times a weight of its own. The gradient of the weights has the columns of a csr matrix as
/// rows.
#[track_caller]
pub fn scale_columns<'t>(x: Var<'t>, w: Var<'t>) -> Var<'t> {
    x.tape().apply(ScaleColumns, &[x, w])
}

/// Dense and row-sparse matrices: rows of all columns.
fn dense<T: Real>(_: &ScaleColumns, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (x, w) = (ins[0].typed::<T>()?, ins[1].typed::<T>()?);
    let y = out.like::<T>(&ins[0])?; // recycled memory, in the layout of the operand
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(w.iter().cycle()) {
        *y = x * w;
    }
    Ok(())
}

/// Csr matrices: the weights of the distinct columns, then one look-up an entry.
fn csr<T: Real>(
    _: &ScaleColumns,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (x, pattern) = (ins[0].typed::<T>()?, ins[0].csr()?.pattern());
    let Columns { distinct, slots } = pattern.columns(); // sorted once, kept with the matrix
    let w = ins[1].typed::<T>()?;
    let weight = |column: u32| match ins[1] {
        View::RowSparse(stored) => {
            stored.rows().binary_search(&column).map_or(T::zero(), |slot| w[slot])
        }
        _ => w[column as usize],
    };
    let mut weights = scratch.take::<T>(distinct.len());
    weights.iter_mut().zip(&distinct[..]).for_each(|(to, &column)| *to = weight(column));
    let y = out.csr_on::<T>(pattern)?; // the same pattern, shared
    for ((y, &x), &slot) in y.iter_mut().zip(x).zip(&slots[..]) {
        *y = x * weights[slot as usize];
    }
    scratch.give(weights);
    Ok(())
}

impl Op for ScaleColumns {
    const NAME: &'static str = "scale_columns";

    /// `(n, m)` and `(m,)` give `(n, m)`.
    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [x, w] = ins else { unreachable!("a matrix and weights") };
        x.set_rank(2)?;
        w.set_rank(1)?;
        x.unify(out)?;
        if let Some(columns) = w.dim(0) {
            x.set_dim(1, columns)?;
        }
        if let Some(columns) = x.dim(1) {
            w.set_dim(0, columns)?;
        }
        x.unify(out)
    }

    /// One row per combination of storage types that has a kernel.
    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<ScaleColumns>; 4] = [
            case!([Default, Default] => Default, dense),
            case!([Csr, Default] => Csr, csr),
            case!([Csr, RowSparse] => Csr, csr),
            case!([RowSparse, Default] => RowSparse, dense),
        ];
        &CASES
    }

    /// Of the weights, those of the columns that the matrix has.
    fn reads(&self, i: usize) -> Read {
        if i == 1 { Read::RowsOf(0) } else { Read::All }
    }

    /// In recorded operators, so that it can be differentiated again.
    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let (matrix, w) = (x[0], x[1]);
        grads.give(0, || scale_columns(dy, w));
        grads.give(1, || {
            // Sums of columns, (dy · x)ᵀ · 1: of a csr matrix they are row-sparse.
            let products = dy * matrix;
            let ones = products.sum_axes(&[1], false).ones_like();
            products.dot_with(ones, true, false)
        });
    }

    /// The definition, slow and obvious.
    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        &ins[0] * &ins[1]
    }

    fn samples() -> Vec<Sample<Self>> {
        // Zeros, a row and a column of them too, are what sparse patterns leave out.
        let value = |i: usize| if i.is_multiple_of(3) || i / 4 == 1 { 0.0 } else { i as f64 - 4.5 };
        let matrix = |rows: usize| {
            let values: Vec<f64> = (0..rows * 4).map(value).collect();
            Tensor::dense([rows, 4], values).expect("rows of 4")
        };
        let weights =
            |values: &[f64]| Tensor::dense([values.len()], values.to_vec()).expect("a vector");
        let short = "axis 1 has size 4, but 3 is needed";
        vec![
            Sample::good(ScaleColumns, [matrix(3), weights(&[0.5, -2.0, 0.0, 3.0])]),
            Sample::good(ScaleColumns, [matrix(1), weights(&[1.0, 0.25, 4.0, -1.0])]),
            Sample::good(ScaleColumns, [matrix(0), weights(&[1.0; 4])]),
            Sample::bad(ScaleColumns, [matrix(2), weights(&[1.0; 3])], ErrorKind::Shape, short),
        ]
    }
}
