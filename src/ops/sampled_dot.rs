//! The product of two matrices at the entries of a csr pattern.

use ndarray::{ArrayD, Ix2};
use serde::{Deserialize, Serialize};

use super::dot::{matrix, sparse_sample};
use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::sampled::{RowsRef, sampled_dot};
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, compose, unify_dims};
use crate::tensor::cast::csr_ref;
use crate::tensor::{Real, Tensor, View};

/// `sampled_dot`: op(l) · op(r)ᵀ where the first operand stores an entry; no dense temporary.
///
/// It is the gradient of a csr operand of a matrix product. (SDDMM.)
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampledDot {
    transpose_l: bool,
    transpose_r: bool,
}

impl SampledDot {
    #[track_caller]
    pub(super) fn of<'t>(
        like: Var<'t>,
        (l, transpose_l): (Var<'t>, bool),
        (r, transpose_r): (Var<'t>, bool),
    ) -> Var<'t> {
        Var::apply(SampledDot { transpose_l, transpose_r }, &[like, l, r])
    }
}

impl<'t> Var<'t> {
    /// l · rᵀ where this csr value stores an entry: entry (i, j) is the dot product of row i of `l`
    /// and row j of `r`. This value's own values are not read.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let at = tape.constant(Tensor::csr([1, 3], vec![0, 1], vec![2], vec![1.0f32])?);
    /// let l = tape.constant(Tensor::dense([1, 2], vec![2.0f32, 3.0])?);
    /// let r = tape.constant(Tensor::dense([3, 2], vec![0.0f32, 0.0, 0.0, 0.0, 10.0, 1.0])?);
    /// assert_eq!(at.sampled_dot(l, r).value()?.values::<f32>()?, [23.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[track_caller]
    pub fn sampled_dot(self, l: Var<'t>, r: Var<'t>) -> Var<'t> {
        SampledDot::of(self, (l, false), (r, false))
    }
}

impl Tensor {
    /// Unrecorded [`Var::sampled_dot`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn sampled_dot(&self, l: &Tensor, r: &Tensor) -> Result<Tensor> {
        compose([self, l, r], |[like, l, r]| like.sampled_dot(l, r))
    }
}

fn rows<'a, T: Real>(v: &View<'a>, transpose: bool) -> Result<RowsRef<'a, T>> {
    let values = v.typed::<T>()?;
    let shape = [v.shape()[0], v.shape()[1]];
    Ok(match v {
        View::Dense(_) => RowsRef::Dense(matrix(values, shape, transpose)),
        View::Csr(v) => RowsRef::Csr(csr_ref(v, values)),
        View::RowSparse(v) => RowsRef::Rows { ids: v.rows, values, k: shape[1] },
    })
}

fn sampled<T: Real>(op: &SampledDot, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let pattern = ins[0].csr()?.pattern;
    let (l, r) = (rows::<T>(&ins[1], op.transpose_l)?, rows(&ins[2], op.transpose_r)?);
    sampled_dot(pattern.indptr(), pattern.indices(), l, r, out.csr_on(pattern)?);
    Ok(())
}

impl Op for SampledDot {
    const NAME: &'static str = "sampled_dot";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [like, l, r] = ins else { unreachable!("sampled_dot has three operands") };
        [&mut *like, &mut *l, &mut *r].into_iter().try_for_each(|s| s.set_rank(2))?;
        let (l_row, l_inner) = if self.transpose_l { (1, 0) } else { (0, 1) };
        let (r_row, r_inner) = if self.transpose_r { (1, 0) } else { (0, 1) };
        unify_dims((l, l_inner), (r, r_inner))?;
        like.unify(out)?;
        unify_dims((like, 0), (l, l_row))?;
        unify_dims((like, 1), (r, r_row))?;
        like.unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        // Columns of a sparse operand are not at hand: transposed operands are dense.
        static BOTH: [Case<SampledDot>; 9] = [
            case!([Csr, Default, Default] => Csr, sampled),
            case!([Csr, Default, RowSparse] => Csr, sampled),
            case!([Csr, RowSparse, Default] => Csr, sampled),
            case!([Csr, RowSparse, RowSparse] => Csr, sampled),
            case!([Csr, Csr, Csr] => Csr, sampled),
            case!([Csr, Default, Csr] => Csr, sampled),
            case!([Csr, Csr, Default] => Csr, sampled),
            case!([Csr, RowSparse, Csr] => Csr, sampled),
            case!([Csr, Csr, RowSparse] => Csr, sampled),
        ];
        static LEFT_TURNED: [Case<SampledDot>; 3] = [
            case!([Csr, Default, Default] => Csr, sampled),
            case!([Csr, Default, RowSparse] => Csr, sampled),
            case!([Csr, Default, Csr] => Csr, sampled),
        ];
        static RIGHT_TURNED: [Case<SampledDot>; 3] = [
            case!([Csr, Default, Default] => Csr, sampled),
            case!([Csr, RowSparse, Default] => Csr, sampled),
            case!([Csr, Csr, Default] => Csr, sampled),
        ];
        static NONE: [Case<SampledDot>; 1] = [case!([Csr, Default, Default] => Csr, sampled)];
        match (self.transpose_l, self.transpose_r) {
            (false, false) => &BOTH,
            (true, false) => &LEFT_TURNED,
            (false, true) => &RIGHT_TURNED,
            (true, true) => &NONE,
        }
    }

    fn reads(&self, i: usize) -> Read {
        match i {
            0 => Read::Pattern,
            2 if !self.transpose_r => Read::RowsOf(0),
            _ => Read::All,
        }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let (l, r, tl, tr) = (x[1], x[2], self.transpose_l, self.transpose_r);
        grads.zero(0);
        // dy lives on the pattern: d op(l) = dy·op(r), d op(r) = dyᵀ·op(l).
        grads.give(1, || match tl {
            false => dy.dot_with(r, false, tr),
            true => r.dot_with(dy, !tr, true),
        });
        grads.give(2, || match tr {
            false => dy.dot_with(l, true, tl),
            true => l.dot_with(dy, !tl, false),
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let turned = |x: &ArrayD<f64>, t: bool| if t { x.t().to_owned() } else { x.clone() };
        let (l, r) = (turned(&ins[1], self.transpose_l), turned(&ins[2], self.transpose_r));
        let (n, m, inner) = (l.shape()[0], r.shape()[0], l.shape()[1]);
        let entry = |(i, j): (usize, usize)| (0..inner).map(|k| l[[i, k]] * r[[j, k]]).sum();
        ndarray::Array::<f64, Ix2>::from_shape_fn((n, m), entry).into_dyn()
    }

    fn samples() -> Vec<Sample<Self>> {
        let like = || sparse_sample([3, 4], 3);
        let l = |t: bool| sparse_sample(if t { [2, 3] } else { [3, 2] }, 4);
        let r = |t: bool| sparse_sample(if t { [2, 4] } else { [4, 2] }, 5);
        let mut samples = Vec::new();
        for (tl, tr) in [(false, false), (true, false), (false, true), (true, true)] {
            let op = SampledDot { transpose_l: tl, transpose_r: tr };
            samples.push(Sample::good(op, [like(), l(tl), r(tr)]));
        }
        let wrong: Tensor = sparse_sample([4, 3], 5);
        let op = SampledDot::default();
        samples.push(Sample::bad(op, [like(), l(false), wrong], ErrorKind::Shape, "differ"));
        samples
    }
}
