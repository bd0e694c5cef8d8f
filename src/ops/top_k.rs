//! The largest elements of each row.

use ndarray::{ArrayD, Axis, IxDyn};
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::top_k::{top_k, top_k_sparse};
use crate::tape::op::{Case, Gradient, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, evaluate, unify_axes, unify_ranks};
use crate::tensor::cast::csr_ref;
use crate::tensor::dtype::each_dtype;
use crate::tensor::{DType, Element, RowSparseView, Tensor, View, row_len};

/// `top_k`: the columns of the `k` largest elements along the last axis, in descending order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    k: usize,
}

impl<'t> Var<'t> {
    /// The `k` largest elements along the last axis, in descending order, and their columns (i64):
    /// both have `k` in place of that axis. Of equal ones the first comes first; NaN comes before
    /// all. Absent elements of a sparse value count as zeros; it is not made dense. The values are
    /// differentiable: each cotangent goes to the element that was chosen. (MXNet: `topk` with
    /// `ret_typ="both"`; PyTorch: `topk`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([4], vec![1.0f32, 7.0, 3.0, 7.0])?);
    /// let (values, ids) = x.top_k(3);
    /// assert_eq!(values.value()?.values::<f32>()?, [7.0, 7.0, 3.0]);
    /// assert_eq!(ids.value()?.values::<i64>()?, [1, 3, 2]);
    /// let gradients = values.sum().backward()?;
    /// assert_eq!(gradients.wrt(x).unwrap().values::<f32>()?, [0.0, 1.0, 1.0, 1.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "topk")]
    #[track_caller]
    pub fn top_k(self, k: usize) -> (Var<'t>, Var<'t>) {
        let ids = Var::apply(TopK { k }, &[self]);
        (self.pick(ids), ids)
    }
}

impl Tensor {
    /// Unrecorded [`Var::top_k`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn top_k(&self, k: usize) -> Result<(Tensor, Tensor)> {
        let ids = evaluate(TopK { k }, &[self])?;
        Ok((self.pick(&ids)?, ids))
    }
}

fn columns(op: &TopK, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    each_dtype!(Slice::ins[0].values(), values => columns_of(op.k, ins[0], values, out.dense()));
    Ok(())
}

fn columns_of<T: Element>(k: usize, x: View, values: &[T], out: &mut [i64]) {
    let cols = x.shape().last().copied().unwrap_or(0);
    match x {
        View::Dense(_) => top_k(values, cols, k, out),
        View::Csr(v) => {
            let csr = csr_ref(&v, values);
            let cost = 4 * (values.len() / csr.rows().max(1) + k);
            top_k_sparse(|i| csr.row(i), cols, (k, cost), out);
        }
        View::RowSparse(v) if v.shape.len() == 1 => {
            top_k_sparse(|_| (&v.rows[..], values), cols, (k, v.rows.len()), out);
        }
        View::RowSparse(v) => in_rows(k, &v, values, cols, out),
    }
}

/// Rows that are absent hold equal elements only: the first come first.
fn in_rows<T: Element>(k: usize, v: &RowSparseView, values: &[T], cols: usize, out: &mut [i64]) {
    out.chunks_exact_mut(k.max(1))
        .for_each(|out| out.iter_mut().zip(0..).for_each(|(x, i)| *x = i));
    let (each, len) = (row_len(v.shape) / cols.max(1) * k, row_len(v.shape));
    for (&r, row) in v.rows.iter().zip(values.chunks(len.max(1))) {
        top_k(row, cols, k, &mut out[r as usize * each..][..each]);
    }
}

impl Op for TopK {
    const NAME: &'static str = "top_k";

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Stated { why: "columns are integers", function: None }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let Some(rank) = unify_ranks(&mut ins[0], out)? else { return Ok(()) };
        let last = rank.checked_sub(1);
        match last.filter(|&last| ins[0].dim(last).is_none_or(|cols| self.k <= cols)) {
            Some(last) => {
                out.set_dim(last, self.k)?;
                unify_axes(&mut ins[0], out, (0..last).map(|axis| (axis, axis)))
            }
            None => {
                let message =
                    format!("there are no {} elements along the last axis of {}", self.k, ins[0]);
                Err(Error::new(ErrorKind::Shape, message))
            }
        }
    }

    fn dtype(&self, _: &[DType]) -> Result<DType> {
        Ok(DType::I64)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<TopK>; 3] = [
            case!(any [Default] => Default, columns),
            case!(any [Csr] => Default, columns),
            case!(any [RowSparse] => Default, columns),
        ];
        &CASES
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let (last, mut chosen) = (Axis(ins[0].ndim() - 1), Vec::new());
        for lane in ins[0].lanes(last) {
            let rank = |x: f64| if x.is_nan() { f64::INFINITY } else { x };
            let mut order: Vec<usize> = (0..lane.len()).collect();
            // Stable: of equal ones the first stays first.
            order.sort_by(|&i, &j| {
                let nan_first = lane[j].is_nan().cmp(&lane[i].is_nan());
                nan_first.then(rank(lane[j]).partial_cmp(&rank(lane[i])).unwrap_or(nan_first))
            });
            chosen.extend(order[..self.k].iter().map(|&i| i as f64));
        }
        let mut shape = ins[0].shape().to_vec();
        shape[last.0] = self.k;
        ArrayD::from_shape_vec(IxDyn(&shape), chosen).unwrap_or_default()
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = |k| TopK { k };
        let value = |i: usize| match i % 7 {
            6 => f64::NAN,
            at => [0.0, -3.0, 2.0, 0.0, 2.0, -1.0][at],
        };
        let matrix = || Tensor::from_fn([5, 6], move |i| if i / 6 == 2 { 0.0 } else { value(i) });
        let cube = || Tensor::from_fn([3, 2, 3], move |i| if i / 6 == 1 { 0.0 } else { value(i) });
        vec![
            Sample::good(op(0), [matrix()]),
            Sample::good(op(1), [matrix()]),
            Sample::good(op(4), [matrix()]),
            Sample::good(op(6), [matrix()]),
            Sample::good(op(2), [cube()]),
            Sample::good(op(3), [Tensor::from_fn([5], value)]),
            Sample::good(op(3), [Tensor::from_fn([5], |i| -(i as f64))]),
            Sample::good(op(0), [Tensor::from_fn([3, 0], value)]),
            Sample::bad(op(7), [matrix()], ErrorKind::Shape, "no 7 elements"),
            Sample::bad(op(1), [Tensor::scalar(2.0)], ErrorKind::Shape, "no 1 elements"),
        ]
    }
}
