//! Sums of squares over axes.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::reduce::{Sum, reduction_cases};
use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::square_grad::square_grad;
use crate::kernels::threads::for_each_part;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::structural::{Folding, Reduction, Spread, rows_at, sum_mimic};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Real, Tensor, View, row_len};

/// `square_sum`: Σ x² over axes, in one pass. Storage as for `sum`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SquareSum(Reduction);

/// The gradient of a sum of squares: 2 · x · dy, where dy repeats along the axes that were summed over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SquareSumGrad(pub(super) Reduction);

methods! {
    /// Sums of squares over `axes` (negative ones count from the last), which go or stay with size 1.
    /// Storage as for [`Var::sum_axes`]. (MXNet: `_square_sum`, of row-sparse operands only.)
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::row_sparse([9, 2], vec![4], vec![3.0f32, -4.0])?);
    /// let y = x.square_sum(&[1], true).value()?;
    /// assert_eq!((y.stype(), y.values::<f32>()?), (Stype::RowSparse, &[25.0][..]));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "_square_sum")]
    fn square_sum(x; axes: &[isize], keepdims: bool) = SquareSum(Reduction::over(axes, keepdims));
}

fn square_sum<T: Real>(
    op: &SquareSum,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let folding = Folding::into_result(&op.0, ins[0], out)?;
    let sums = folding.result::<T>(out)?;
    folding.sum_squares(ins[0].typed()?, T::one(), sums, scratch);
    Ok(())
}

/// Elements that are computed at a time.
const BLOCK: usize = 512;

/// Of a row-sparse cotangent, block by block: what repeats never leaves the nearest cache.
fn of_rows<T: Real>(
    op: &SquareSumGrad,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (x, k) = (ins[0], row_len(ins[0].shape()).max(1));
    let dy = Spread::<T>::new(&op.0, ins[1], x)?;
    let mut gathered = Vec::new();
    let held = match x {
        View::RowSparse(v) if *v.rows == dy.rows => x.typed::<T>()?,
        _ => {
            gathered = scratch.take::<T>(dy.rows.len() * row_len(x.shape()));
            rows_at(x, &dy.rows, &mut gathered)?;
            &gathered
        }
    };
    let at_once = (BLOCK / k).max(1) * k;
    for_each_part(out.rows::<T>(dy.rows.clone())?, k, k / 4 + 2, |first, out| {
        for (n, out) in out.chunks_mut(at_once).enumerate() {
            let start = first * k + n * at_once;
            dy.fill(start, out);
            square_grad(&held[start..], out);
        }
    });
    scratch.give(gathered);
    Ok(())
}

/// Of a dense cotangent.
fn of_dense<T: Real>(
    op: &SquareSumGrad,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let folding = Folding::new(&op.0, ins[0], ins[1].shape(), false)?;
    let (x, to) = (ins[0].typed::<T>()?, out.like::<T>(&ins[0])?);
    folding.repeat(ins[1].typed()?, to);
    for_each_part(to, 1, 1, |first, to| square_grad(&x[first..], to));
    Ok(())
}

impl Op for SquareSum {
    const NAME: &'static str = "square_sum";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        self.0.refine(&mut ins[0], out)
    }

    fn variant(&self) -> Option<&'static str> {
        Some(self.0.variant())
    }

    fn cases(&self) -> &'static [Case<Self>] {
        reduction_cases!(SquareSum, square_sum, self.0)
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(SquareSumGrad(self.0.clone()), &[x[0], dy]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let small = self.0.result(ins[0].shape()).unwrap_or_default();
        sum_mimic(&self.0, &ins[0].mapv(|x| x * x), &small)
    }

    fn samples() -> Vec<Sample<Self>> {
        let over = |axes: &[isize], keepdims| SquareSum(Reduction::over(axes, keepdims));
        vec![
            Sample::good(SquareSum::default(), [value(&[3, 4])]),
            Sample::good(SquareSum::default(), [Tensor::scalar(-3.0)]),
            Sample::good(over(&[0], false), [value(&[3, 4])]),
            Sample::good(over(&[1], false), [value(&[3, 4])]),
            Sample::good(over(&[-1], true), [value(&[3, 8])]),
            Sample::good(over(&[0, 2], false), [value(&[2, 3, 2])]),
            Sample::good(over(&[1, 2], true), [value(&[2, 3, 2])]),
            Sample::good(over(&[-1], false), [value(&[5])]),
            Sample::good(over(&[0], false), [value(&[0, 3])]),
            Sample::good(over(&[1], false), [value(&[3, 0])]),
            Sample::bad(over(&[2], false), [value(&[3, 4])], ErrorKind::Index, "out of bounds"),
        ]
    }
}

impl Op for SquareSumGrad {
    const NAME: &'static str = "square_sum_grad";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        let [x, dy] = ins else { unreachable!("an operand and a cotangent") };
        self.0.refine(x, dy)?;
        x.unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<SquareSumGrad>; 5] = [
            case!([Default, Default] => Default, of_dense),
            case!([Csr, Default] => Csr, of_dense),
            case!([RowSparse, Default] => RowSparse, of_dense),
            case!([Default, RowSparse] => RowSparse, of_rows),
            case!([RowSparse, RowSparse] => RowSparse, of_rows),
        ];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(self.clone(), &[dy, x[1]]));
        grads.give(1, || Var::apply(Sum::new(self.0.clone()), &[dy * x[0] * 2.0]));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let kept = Reduction { keepdims: true, ..self.0.clone() };
        let small = kept.result(ins[0].shape()).unwrap_or_default();
        let dy = ArrayD::from_shape_vec(&small[..], ins[1].iter().copied().collect());
        dy.map_or_else(|_| ins[0].clone(), |dy| &ins[0] * &dy * 2.0)
    }

    fn samples() -> Vec<Sample<Self>> {
        let over = |axes: &[isize], keepdims| SquareSumGrad(Reduction::over(axes, keepdims));
        vec![
            Sample::good(over(&[1], true), [value(&[3, 4]), value(&[3, 1])]),
            Sample::good(over(&[1], false), [value(&[4, 2]), value(&[4])]),
            Sample::good(over(&[0], false), [value(&[3, 4]), value(&[4])]),
            Sample::good(over(&[-1], true), [value(&[5]), Tensor::from_fn([1], |_| 2.0)]),
            Sample::good(over(&[1, 2], false), [value(&[4, 2, 3]), value(&[4])]),
            Sample::bad(
                over(&[1], true),
                [value(&[3, 4]), value(&[2, 1])],
                ErrorKind::Shape,
                "differ",
            ),
        ]
    }
}

fn value(shape: &[usize]) -> Tensor {
    Tensor::from_fn(shape, |i| if i % 3 == 0 || i / 4 == 1 { 0.0 } else { i as f64 - 4.25 })
}
