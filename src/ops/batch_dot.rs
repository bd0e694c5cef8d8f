//! Products of many matrices.

use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};

use super::dot::matrix;
use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::gemm::gemm_batches;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, unify_dims};
use crate::tensor::{Real, Tensor, View};

/// `batch_dot`: the products of the matrices of two batches, each transposed or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchDot {
    transpose_a: bool,
    transpose_b: bool,
}

methods! {
    /// The products of the matrices of this batch with those of another: (b, n, k) · (b, k, m) is
    /// (b, n, m), with the last two axes of an operand swapped where it is transposed. Both are
    /// dense. (MXNet: `batch_dot`; PyTorch: `bmm`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let a = tape.constant(Tensor::dense([2, 1, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let products = a.batch_dot(a, false, true);
    /// assert_eq!(products.value()?.values::<f32>()?, [5.0, 25.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "bmm")]
    #[doc(alias = "matmul")]
    fn batch_dot(a, b; transpose_a: bool, transpose_b: bool) = BatchDot { transpose_a, transpose_b };
}

fn products<T: Real>(op: &BatchDot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (a, b) = (ins[0].typed::<T>()?, ins[1].typed::<T>()?);
    let sizes = |i: usize| [ins[i].shape()[1], ins[i].shape()[2]];
    let ([n, k], [l, m]) = (sizes(0), sizes(1));
    let pair = |i: usize| {
        let (a, b) = (&a[i * n * k..][..n * k], &b[i * l * m..][..l * m]);
        (matrix(a, [n, k], op.transpose_a), matrix(b, [l, m], op.transpose_b))
    };
    let size = out.shape()[1] * out.shape()[2];
    gemm_batches(size, pair, out.dense());
    Ok(())
}

impl Op for BatchDot {
    const NAME: &'static str = "batch_dot";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [a, b] = ins else { unreachable!("batch_dot has two operands") };
        [&mut *a, &mut *b, &mut *out].into_iter().try_for_each(|s| s.set_rank(3))?;
        let (rows, inner_a) = if self.transpose_a { (2, 1) } else { (1, 2) };
        let (inner_b, cols) = if self.transpose_b { (2, 1) } else { (1, 2) };
        unify_dims((a, 0), (b, 0))?;
        unify_dims((a, 0), (out, 0))?;
        unify_dims((b, 0), (a, 0))?;
        unify_dims((a, inner_a), (b, inner_b))?;
        unify_dims((a, rows), (out, 1))?;
        unify_dims((b, cols), (out, 2))
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<BatchDot>; 1] = [case!([Default, Default] => Default, products)];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let (a, b, ta, tb) = (x[0], x[1], self.transpose_a, self.transpose_b);
        // y = op(a)·op(b), so d op(a) = dy·op(b)ᵀ and d op(b) = op(a)ᵀ·dy.
        grads.give(0, || match ta {
            false => dy.batch_dot(b, false, !tb),
            true => b.batch_dot(dy, tb, true),
        });
        grads.give(1, || match tb {
            false => a.batch_dot(dy, !ta, false),
            true => dy.batch_dot(a, true, ta),
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let turned = |x: &ArrayD<f64>, turn: bool| {
            let axes = if turn { [0, 2, 1] } else { [0, 1, 2] };
            x.clone().permuted_axes(IxDyn(&axes))
        };
        let (a, b) = (turned(&ins[0], self.transpose_a), turned(&ins[1], self.transpose_b));
        let (shape, inner) = ([a.shape()[0], a.shape()[1], b.shape()[2]], a.shape()[2]);
        ArrayD::from_shape_fn(IxDyn(&shape), |at| {
            (0..inner).map(|k| a[[at[0], at[1], k]] * b[[at[0], k, at[2]]]).sum()
        })
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = |shape: [usize; 3]| Tensor::from_fn(shape, |i| (i as f64 * 0.7).sin() + 0.5);
        let mut samples = Vec::new();
        for (transpose_a, transpose_b) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let a = x(if transpose_a { [2, 4, 3] } else { [2, 3, 4] });
            let b = x(if transpose_b { [2, 2, 4] } else { [2, 4, 2] });
            samples.push(Sample::good(BatchDot { transpose_a, transpose_b }, [a, b]));
        }
        let op = BatchDot::default;
        samples.extend([
            Sample::good(op(), [x([2, 3, 1]), x([2, 1, 1])]),
            Sample::good(op(), [x([0, 3, 4]), x([0, 4, 2])]),
            Sample::good(op(), [x([2, 3, 0]), x([2, 0, 2])]),
            Sample::good(op(), [x([2, 0, 4]), x([2, 4, 2])]),
            Sample::bad(op(), [x([2, 3, 4]), x([3, 4, 2])], ErrorKind::Shape, "differ: 2 and 3"),
            Sample::bad(op(), [x([2, 3, 4]), x([2, 3, 2])], ErrorKind::Shape, "differ: 4 and 3"),
            Sample::bad(
                op(),
                [Tensor::from_fn([3, 4], |i| i as f64), x([2, 4, 2])],
                ErrorKind::Shape,
                "needs 3 axes",
            ),
        ]);
        samples
    }
}
