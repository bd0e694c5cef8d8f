//! What probabilities of classes differ from their labels.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::Normalization;
use super::along::Along;
use super::softmax::{NO_LABEL_GRADIENT, SoftmaxOutput, data_dtype, samples};
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::threads::for_each_part;
use crate::tape::op::{Case, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{DType, Real, Slice, Stype, View, size_of};

/// `softmax_residual`: `(p − target) · weight` for probabilities p and labels; or `p · weight`, its
/// derivative. Target and weight of a row follow from its label and the options of a
/// [`SoftmaxOutput`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoftmaxResidual {
    options: SoftmaxOutput,
    /// Whether targets are left out.
    weights_only: bool,
}

impl SoftmaxResidual {
    /// `p` is arranged: classes in its last axis, or in the second.
    #[track_caller]
    pub(super) fn of<'t>(options: &SoftmaxOutput, p: Var<'t>, label: Var<'t>) -> Var<'t> {
        let op = SoftmaxResidual { options: options.clone(), weights_only: false };
        Var::apply(op, &[p, label])
    }

    #[track_caller]
    pub(super) fn weights<'t>(options: &SoftmaxOutput, p: Var<'t>, label: Var<'t>) -> Var<'t> {
        let op = SoftmaxResidual { options: options.clone(), weights_only: true };
        Var::apply(op, &[p, label])
    }
}

/// What the gradient is divided by.
fn divisor(options: &SoftmaxOutput, along: Along, labels: Slice) -> f64 {
    let valid = |&i: &usize| !ignored(options, labels.get_f64(i));
    let count = match options.normalization {
        Normalization::None => along.inner,
        Normalization::Batch => along.outer * along.inner,
        Normalization::Valid => (0..labels.len()).filter(valid).count(),
    };
    count.max(1) as f64
}

/// Targets of the label's class and of each other class.
fn targets(alpha: f64, classes: usize) -> (f64, f64) {
    (1.0 - alpha, alpha / (classes.max(2) - 1) as f64)
}

/// Labels are truncated; NaN is no class.
fn class(label: f64) -> Option<i64> {
    (!label.is_nan()).then_some(label as i64)
}

fn ignored(options: &SoftmaxOutput, label: f64) -> bool {
    options.ignore_label.is_some() && class(label) == options.ignore_label
}

fn residual<T: Real>(
    op: &SoftmaxResidual,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (options, p, labels) = (&op.options, ins[0].typed::<T>()?, ins[1].values());
    let (along, result) = (options.along(ins[0].shape())?, out.dense::<T>());
    if are_shares(ins, along)? {
        let scale = T::from_f64(options.grad_scale);
        p.iter().zip(&mut *result).for_each(|(&p, to)| *to = p * scale);
        if !op.weights_only {
            subtract_shares(&ins[1], scale, result);
        }
        return Ok(());
    }
    let scale = T::from_f64(options.grad_scale / divisor(options, along, labels));
    let (own, other) = match op.weights_only {
        true => (0.0, 0.0),
        false => targets(options.smooth_alpha, along.len),
    };
    let block = along.len * along.inner;
    for_each_part(result, block, 2 * block, |first, result| {
        for (row, to) in (first * along.inner..).zip(0..result.len() / along.len) {
            let label = labels.get_f64(row);
            let ignored = ignored(options, label);
            let own_class = class(label).and_then(|c| usize::try_from(c).ok());
            for step in 0..along.len {
                let target = T::from_f64(if own_class == Some(step) { own } else { other });
                let (from, to) = (p[along.at(row, step)], along.at(to, step));
                result[to] = if ignored { T::zero() } else { (from - target) * scale };
            }
        }
    });
    Ok(())
}

/// Whether there is a label for each element: a share of its class.
pub(super) fn are_shares(ins: &[View], along: Along) -> Result<bool> {
    let (data, labels) = (ins[0].shape(), ins[1].shape());
    let count = size_of(labels);
    match ins[1].stype() {
        Stype::Csr if count != along.size() => {
            let message = "csr labels are probabilities, in the shape of the data";
            Err(Error::new(ErrorKind::Shape, message))
        }
        Stype::Csr => Ok(true),
        _ => Ok(count != along.rows() || (along.len == 1 && labels == data)),
    }
}

fn subtract_shares<T: Real>(labels: &View, scale: T, result: &mut [T]) {
    let share = |i: usize| T::from_f64(labels.values().get_f64(i)) * scale;
    match labels {
        View::Csr(v) => {
            for row in 0..v.pattern.rows() {
                for at in v.pattern.row_range(row) {
                    let to = &mut result[row * v.pattern.cols() + v.pattern.indices()[at] as usize];
                    *to = *to - share(at);
                }
            }
        }
        _ => result.iter_mut().enumerate().for_each(|(i, to)| *to = *to - share(i)),
    }
}

impl Op for SoftmaxResidual {
    const NAME: &'static str = "softmax_residual";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        match ins[0].known() {
            Some(data) => self.options.check_shapes(ins, self.options.along(&data)?),
            None => Ok(()),
        }
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        data_dtype(ins)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<SoftmaxResidual>; 2] = [
            case!([Default, Default] => Default, residual),
            case!([Default, Csr] => Default, residual),
        ];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || SoftmaxResidual::weights(&self.options, dy, x[1]));
        grads.not_differentiable(1, NO_LABEL_GRADIENT);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let Ok(along) = self.options.along(ins[0].shape()) else { return ins[0].clone() };
        let (p, labels): (Vec<f64>, Vec<f64>) =
            (ins[0].iter().copied().collect(), ins[1].iter().copied().collect());
        let o = &self.options;
        let keep = if self.weights_only { 0.0 } else { 1.0 };
        let mut y = p.clone();
        let shares = along.len > 1 || ins[0].shape() == ins[1].shape();
        if labels.len() == p.len() && shares {
            y.iter_mut().zip(&labels).for_each(|(y, l)| *y = (*y - keep * l) * o.grad_scale);
        } else {
            let valid = |l: &f64| o.ignore_label != Some(l.trunc() as i64);
            let divisor = match o.normalization {
                Normalization::None => along.inner,
                Normalization::Batch => along.inner * along.outer,
                Normalization::Valid => labels.iter().filter(|l| valid(l)).count(),
            };
            let weight = o.grad_scale / divisor.max(1) as f64;
            let others = o.smooth_alpha / (along.len.max(2) - 1) as f64;
            for (row, step) in (0..along.rows()).flat_map(|r| (0..along.len).map(move |s| (r, s))) {
                let own = labels[row].trunc() == step as f64;
                let target = if own { 1.0 - o.smooth_alpha } else { others };
                let weight = if valid(&labels[row]) { weight } else { 0.0 };
                y[along.at(row, step)] = (p[along.at(row, step)] - keep * target) * weight;
            }
        }
        ArrayD::from_shape_vec(ins[0].raw_dim(), y).unwrap_or_else(|_| ins[0].clone())
    }

    fn samples() -> Vec<Sample<Self>> {
        let of = |weights_only| move |options| SoftmaxResidual { options, weights_only };
        samples(of(false), of(true))
    }
}
