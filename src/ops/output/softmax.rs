//! Probabilities of classes, with the gradient of their cross-entropy.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::along::Along;
use super::softmax_residual::are_shares;
use super::{Normalization, SoftmaxResidual};
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::elementwise::{Unary, unary};
use crate::kernels::row_softmax::log_softmax_axis;
use crate::kernels::threads::for_each_part;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{DType, Real, Tensor, View, row_len, size_of};

/// `softmax_output`: probabilities of classes, with the gradient of their cross-entropy against
/// labels, whatever the head cotangent.
///
/// Each row of classes has a label: a class number, i64 or float (truncated). One that is no class
/// selects none; [`Var::softmax_cross_entropy`] refuses it. Labels of the data's own shape are
/// probabilities of the classes instead; as in MXNet, only `grad_scale` and `out_grad` apply to them.
/// Where a symbolic recording says nothing of the labels' shape, they are class numbers.
///
/// ```
/// use sparsetape::{Normalization, SoftmaxOutput, Tape, Tensor};
/// let tape = Tape::new();
/// let z = tape.variable(Tensor::full([2, 2], 0.0f64)?);
/// let labels = tape.constant(Tensor::dense([2], vec![1i64, -1])?);
/// let options = SoftmaxOutput::new().ignore_label(-1).normalization(Normalization::Valid);
/// let gradients = z.softmax_output_with(labels, options).backward()?;
/// assert_eq!(gradients.wrt(z).unwrap().values::<f64>()?, [0.5, -0.5, 0.0, 0.0]);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoftmaxOutput {
    pub(super) grad_scale: f64,
    pub(super) ignore_label: Option<i64>,
    pub(super) normalization: Normalization,
    pub(super) layout: SoftmaxLayout,
    pub(super) out_grad: bool,
    pub(super) smooth_alpha: f64,
}

/// Where the classes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftmaxLayout {
    /// In all axes but the first: one label per sample.
    #[default]
    Flat,
    /// In the last axis. (MXNet: `preserve_shape`.)
    LastAxis,
    /// In the second axis, with a label for each position in those after it, by whose number the
    /// gradient is divided, unless it is normalized by valid labels. (MXNet: `multi_output`.)
    SecondAxis,
}

impl Default for SoftmaxOutput {
    fn default() -> Self {
        SoftmaxOutput::new()
    }
}

impl SoftmaxOutput {
    /// MXNet's defaults: the gradient of the sum of all cross-entropies, one label per sample.
    pub fn new() -> Self {
        SoftmaxOutput {
            grad_scale: 1.0,
            ignore_label: None,
            normalization: Normalization::None,
            layout: SoftmaxLayout::Flat,
            out_grad: false,
            smooth_alpha: 0.0,
        }
    }

    /// A factor of the gradient.
    pub fn grad_scale(self, grad_scale: f64) -> Self {
        SoftmaxOutput { grad_scale, ..self }
    }

    /// Rows with this label have no gradient. (MXNet: `use_ignore` and `ignore_label`.)
    pub fn ignore_label(self, label: i64) -> Self {
        SoftmaxOutput { ignore_label: Some(label), ..self }
    }

    /// Divides the gradient by the number of samples (ignored ones count too), or of labels that are
    /// not ignored.
    pub fn normalization(self, normalization: Normalization) -> Self {
        SoftmaxOutput { normalization, ..self }
    }

    /// Where the classes are.
    pub fn layout(self, layout: SoftmaxLayout) -> Self {
        SoftmaxOutput { layout, ..self }
    }

    /// The gradient is multiplied, element by element, with the head cotangent, which is ignored
    /// otherwise. (MXNet 1.9.1 multiplies with the result instead.)
    pub fn out_grad(self, out_grad: bool) -> Self {
        SoftmaxOutput { out_grad, ..self }
    }

    /// The label's class has the target 1 − alpha, each other one alpha / (classes − 1).
    pub fn smooth_alpha(self, smooth_alpha: f64) -> Self {
        SoftmaxOutput { smooth_alpha, ..self }
    }

    fn check_rank(&self, axes: usize) -> Result<()> {
        let needed = if self.layout == SoftmaxLayout::SecondAxis { 2 } else { 1 };
        match axes >= needed {
            true => Ok(()),
            false => {
                let message = format!("needs at least {needed} axes, got {axes}");
                Err(Error::new(ErrorKind::Shape, message))
            }
        }
    }

    /// Rows of classes in data of this shape.
    pub(super) fn along(&self, shape: &[usize]) -> Result<Along> {
        self.check_rank(shape.len())?;
        Ok(match self.layout {
            SoftmaxLayout::Flat => Along { outer: shape[0], len: row_len(shape), inner: 1 },
            SoftmaxLayout::LastAxis => {
                let (last, others) = (shape[shape.len() - 1], &shape[..shape.len() - 1]);
                Along { outer: size_of(others), len: last, inner: 1 }
            }
            SoftmaxLayout::SecondAxis => {
                Along { outer: shape[0], len: shape[1], inner: size_of(&shape[2..]) }
            }
        })
    }

    /// The rows of classes along one axis of a value, and that axis.
    #[track_caller]
    fn arranged<'t>(&self, x: Var<'t>) -> (Var<'t>, isize) {
        // Only of the rank, which does not change from run to run.
        let rank = x.rank();
        match self.layout {
            SoftmaxLayout::Flat if rank != Some(2) => (x.reshape(&[0, -1]), -1),
            SoftmaxLayout::Flat | SoftmaxLayout::LastAxis => (x, -1),
            SoftmaxLayout::SecondAxis if rank != Some(3) => (x.reshape(&[0, 0, -1]), 1),
            SoftmaxLayout::SecondAxis => (x, 1),
        }
    }

    /// `(softmax(x) − target) · weight`, in the arranged shape.
    #[track_caller]
    fn residual<'t>(&self, x: Var<'t>, label: Var<'t>) -> Var<'t> {
        let (z, axis) = self.arranged(x);
        SoftmaxResidual::of(self, z.softmax_axis(axis), label)
    }

    /// The loss of which [`SoftmaxOutput::residual`] is the gradient: `Σ weight · (ln Σ eᶻ − target·z)`.
    #[track_caller]
    fn loss<'t>(&self, x: Var<'t>, label: Var<'t>) -> Var<'t> {
        let (z, axis) = self.arranged(x);
        let targets = SoftmaxResidual::of(self, z.zeros_like(), label);
        let weights = SoftmaxResidual::weights(self, z.ones_like(), label);
        let log_sum = z - z.log_softmax_axis(axis);
        (weights * log_sum).mean_axes(&[axis], false).sum() + (targets * z).sum()
    }

    /// Class ids have the shape of the data without the classes, where nothing else is known of them.
    fn default_label(&self, ins: &mut [PartialShape]) -> Result<()> {
        let [data, label] = ins else { unreachable!("data and a label") };
        let Some(rank) = data.rank() else { return Ok(()) };
        self.check_rank(rank)?;
        let classes = match self.layout {
            SoftmaxLayout::Flat => 1..rank,
            SoftmaxLayout::LastAxis => rank - 1..rank,
            SoftmaxLayout::SecondAxis => 1..2,
        };
        let others = (0..rank).filter(|axis| !classes.contains(axis));
        let default: PartialShape = others.map(|axis| data.dim(axis)).collect();
        match label.sizes() {
            None => *label = default,
            // Known sizes may be those of probabilities: they stay.
            Some(sizes) if default.rank() == Some(sizes.len()) => {
                let both = sizes.iter().enumerate().map(|(axis, size)| size.or(default.dim(axis)));
                *label = both.collect();
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// One label for each row of classes, or one for each element.
    pub(super) fn check_shapes(&self, ins: &mut [PartialShape], along: Along) -> Result<()> {
        let Some(label) = ins[1].known() else { return Ok(()) };
        if label.size() == along.rows() || label.size() == along.size() {
            return Ok(());
        }
        let (rows, classes) = (along.rows(), along.len);
        let message = format!(
            "{} labels of shape {label}, but there are {rows} rows of {classes} classes",
            label.size()
        );
        Err(Error::new(ErrorKind::Shape, message))
    }
}

methods! {
    /// Softmax over the classes of each sample (all axes but the first), with the gradient
    /// `softmax(x) − one_hot(label)` whatever the head cotangent: divided by nothing, so that of a
    /// sum over samples. `backward()` starts here whatever the shape. Labels as in
    /// [`SoftmaxOutput`](crate::ops::SoftmaxOutput). (MXNet: `SoftmaxOutput`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let z = tape.variable(Tensor::full([1, 2], 0.0f64)?);
    /// let label = tape.constant(Tensor::dense([1], vec![1i64])?);
    /// let p = z.softmax_output(label);
    /// assert_eq!(p.backward()?.wrt(z).unwrap().values::<f64>()?, [0.5, -0.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "SoftmaxOutput")]
    fn softmax_output(x, label) = SoftmaxOutput::new();
    /// [`Var::softmax_output`] with options. (MXNet: `SoftmaxOutput` with its parameters.)
    ///
    /// ```
    /// use sparsetape::{SoftmaxOutput, Tape, Tensor};
    /// let tape = Tape::new();
    /// let z = tape.variable(Tensor::full([1, 2], 0.0f64)?);
    /// let label = tape.constant(Tensor::dense([1], vec![1i64])?);
    /// let p = z.softmax_output_with(label, SoftmaxOutput::new().grad_scale(4.0));
    /// assert_eq!(p.backward()?.wrt(z).unwrap().values::<f64>()?, [2.0, -2.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn softmax_output_with(x, label; options: SoftmaxOutput) = options;
}

fn softmax<T: Real>(
    op: &SoftmaxOutput,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (x, along) = (ins[0].typed::<T>()?, op.along(ins[0].shape())?);
    are_shares(ins, along)?;
    let mut logs = scratch.take::<T>(x.len());
    log_softmax_axis(x, (along.outer, along.len, along.inner), &mut logs);
    for_each_part(out.dense::<T>(), 1, 1, |first, out| {
        unary(Unary::Exp, &logs[first..][..out.len()], out);
    });
    scratch.give(logs);
    Ok(())
}

/// Float data, and labels of the same type or i64.
pub(super) fn data_dtype(ins: &[DType]) -> Result<DType> {
    if ins[1] == ins[0] || ins[1] == DType::I64 {
        return Ok(ins[0]);
    }
    let message = format!("labels are {} or i64, got {}; use `cast`", ins[0], ins[1]);
    Err(Error::new(ErrorKind::DType, message))
}

impl Op for SoftmaxOutput {
    const NAME: &'static str = "softmax_output";

    fn gradient(&self) -> Gradient<Self> {
        if self.out_grad {
            return Gradient::Stated {
                why: "the gradient of the cross-entropy, times the head cotangent",
                function: Some(|op, x, held| {
                    x[0] * op.residual(held[0], held[1]).reshape_like(held[0])
                }),
            };
        }
        Gradient::Loss {
            why: "the gradient is that of the cross-entropy",
            loss: |op, x| op.loss(x[0], x[1]),
        }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        self.default_label(ins)?;
        match ins[0].known() {
            Some(data) => self.check_shapes(ins, self.along(&data)?),
            None => Ok(()),
        }
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        data_dtype(ins)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<SoftmaxOutput>; 2] = [
            case!([Default, Default] => Default, softmax),
            case!([Default, Csr] => Default, softmax),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Shape }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        // In terms of `x`, never of the result: that would ignore the cotangent at the next order.
        grads.give(0, || {
            let dx = self.residual(x[0], x[1]).reshape_like(x[0]);
            if self.out_grad { dx * dy } else { dx }
        });
        grads.not_differentiable(1, NO_LABEL_GRADIENT);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let Ok(along) = self.along(ins[0].shape()) else { return ins[0].clone() };
        let x: Vec<f64> = ins[0].iter().copied().collect();
        let mut p = x.clone();
        for row in 0..along.rows() {
            let total: f64 = (0..along.len).map(|c| x[along.at(row, c)].exp()).sum();
            (0..along.len).for_each(|c| p[along.at(row, c)] = x[along.at(row, c)].exp() / total);
        }
        ArrayD::from_shape_vec(ins[0].raw_dim(), p).unwrap_or_else(|_| ins[0].clone())
    }

    fn samples() -> Vec<Sample<Self>> {
        samples(|op| op, |op| op.out_grad(true))
    }
}

pub(super) const NO_LABEL_GRADIENT: &str =
    "labels are data; `softmax_cross_entropy` differentiates with respect to probabilities";

/// Samples over all layouts and options, of an operator that has them.
pub(super) fn samples<O>(
    of: impl Fn(SoftmaxOutput) -> O,
    also: impl Fn(SoftmaxOutput) -> O,
) -> Vec<Sample<O>> {
    let x = |shape: &[usize]| Tensor::from_fn(shape, |i| (i as f64 * 1.3).sin() * 2.0);
    let ids = |shape: &[usize]| Tensor::from_fn(shape, |i| (i as i64 * 5 + 1) % 4 - 1);
    let numbers = |shape: &[usize]| Tensor::from_fn(shape, |i| [1.9, 0.0, 7.0, -2.0, 2.0][i % 5]);
    let shares = |shape: &[usize]| Tensor::from_fn(shape, |i| (i % 3) as f64 * 0.4);
    let new = SoftmaxOutput::new;
    let last = || new().layout(SoftmaxLayout::LastAxis);
    let second = || new().layout(SoftmaxLayout::SecondAxis);
    let valid = |options: SoftmaxOutput| {
        options.ignore_label(0).normalization(Normalization::Valid).grad_scale(1.5)
    };
    let batch = |options: SoftmaxOutput| {
        options.ignore_label(1).normalization(Normalization::Batch).smooth_alpha(0.1)
    };
    let good = |options, x, labels| Sample::good(of(options), [x, labels]);
    let (three, two) = (|| x(&[2, 3, 4]), || x(&[4, 3]));
    vec![
        good(new().grad_scale(2.0), two(), ids(&[4])),
        good(valid(new()), two(), ids(&[4])),
        good(batch(new()), two(), ids(&[4, 1])),
        good(new(), three(), ids(&[2])),
        good(new(), two(), numbers(&[4])),
        good(batch(new()), two(), shares(&[4, 3])),
        good(last(), three(), ids(&[2, 3])),
        good(valid(last()), x(&[3]), ids(&[])),
        good(second(), three(), ids(&[2, 4])),
        good(valid(second()), three(), ids(&[2, 4])),
        good(batch(second()), three(), ids(&[8])),
        good(batch(second()), x(&[2, 3, 2, 2]), ids(&[2, 2, 2])),
        Sample::good(also(valid(new())), [two(), ids(&[4])]),
        Sample::bad(of(new()), [two(), ids(&[3])], ErrorKind::Shape, "4 rows of 3 classes"),
        Sample::bad(of(second()), [x(&[3]), ids(&[3])], ErrorKind::Shape, "at least 2 axes"),
        Sample::bad(
            of(new()),
            [two(), Tensor::from_fn([4], |i| i as f32)],
            ErrorKind::DType,
            "use `cast`",
        ),
    ]
}
