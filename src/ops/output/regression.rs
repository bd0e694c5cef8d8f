//! Outputs of regressions.

use std::borrow::Cow;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::{Count, PerCount};
use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::elementwise::{Unary, unary};
use crate::kernels::threads::for_each_part;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Read, Sample};
use crate::tape::structural::Accumulate;
use crate::tape::{Out, PartialShape, Scratch, Var, unify_products};
use crate::tensor::{Real, Stype, Tensor, View};

/// `regression_output`: a prediction, whose gradient is that of its loss against a label, times
/// `grad_scale`, divided by the number of outputs per sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionOutput {
    /// Which regression.
    pub regression: Regression,
    /// A factor of the gradient.
    pub grad_scale: f64,
}

/// Which prediction, and which loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regression {
    /// The operand itself; half its squared distance to the label.
    Linear,
    /// Its sigmoid; the cross-entropy.
    Logistic,
    /// The operand itself; its distance to the label.
    Mae,
}

methods! {
    /// This very value, with the gradient `(x − label) · grad_scale / m` whatever the head cotangent,
    /// with m the number of outputs per sample (of elements per row; not the batch size).
    /// `backward()` starts here whatever the shape.
    ///
    /// The label (default, csr or row-sparse) has this shape, or as many elements in another one
    /// (unless one of the two is csr); where a symbolic recording says nothing of it, this shape, or (n,)
    /// for (n, 1). It gets the gradient of the same loss, which MXNet leaves out. The gradient of a
    /// sparse operand lives on what it stores. (MXNet: `LinearRegressionOutput`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([2, 1], vec![1.0f64, 4.0])?);
    /// let label = tape.constant(Tensor::dense([2], vec![0.0f64, 5.0])?);
    /// let gradients = x.linear_regression_output(label, 1.0).backward()?;
    /// assert_eq!(gradients.wrt(x).unwrap().values::<f64>()?, [1.0, -1.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "LinearRegressionOutput")]
    fn linear_regression_output(x, label; grad_scale: f64) =
        RegressionOutput { regression: Regression::Linear, grad_scale };
    /// The sigmoid, with the gradient `(σ(x) − label) · grad_scale / m` whatever the head cotangent;
    /// all else as in [`Var::linear_regression_output`]. Labels are not checked:
    /// [`Var::sigmoid_binary_cross_entropy`] does that. (MXNet: `LogisticRegressionOutput`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([1, 1], vec![0.0f64])?);
    /// let label = tape.constant(Tensor::dense([1], vec![1.0f64])?);
    /// let p = x.logistic_regression_output(label, 1.0);
    /// assert_eq!(p.value()?.values::<f64>()?, [0.5]);
    /// assert_eq!(p.backward()?.wrt(x).unwrap().values::<f64>()?, [-0.5]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "LogisticRegressionOutput")]
    fn logistic_regression_output(x, label; grad_scale: f64) =
        RegressionOutput { regression: Regression::Logistic, grad_scale };
    /// This very value, with the gradient `sign(x − label) · grad_scale / m` whatever the head
    /// cotangent, −1 for the sign of 0; all else as in [`Var::linear_regression_output`]. (MXNet:
    /// `MAERegressionOutput`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([3], vec![1.0f64, 4.0, 5.0])?);
    /// let label = tape.constant(Tensor::dense([3], vec![0.0f64, 5.0, 5.0])?);
    /// let gradients = x.mae_regression_output(label, 2.0).backward()?;
    /// assert_eq!(gradients.wrt(x).unwrap().values::<f64>()?, [2.0, -2.0, -2.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "MAERegressionOutput")]
    fn mae_regression_output(x, label; grad_scale: f64) =
        RegressionOutput { regression: Regression::Mae, grad_scale };
}

impl RegressionOutput {
    #[track_caller]
    fn scaled<'t>(&self, gradient: Var<'t>, x: Var<'t>) -> Var<'t> {
        PerCount::of(gradient, x, self.grad_scale, Count::PerRow)
    }

    /// The loss, not scaled. On what `x` stores, where that is sparse.
    #[track_caller]
    fn loss<'t>(&self, x: Var<'t>, label: Var<'t>) -> Var<'t> {
        match self.regression {
            Regression::Linear => difference(x, label).square().sum() * 0.5,
            Regression::Logistic => x.softplus().sum() - (label * x).sum(),
            Regression::Mae => difference(x, label).abs().sum(),
        }
    }
}

/// A data or label gradient in the shape of the other; where one is csr they have one shape, as the
/// kernels check.
#[track_caller]
fn shaped_like<'t>(x: Var<'t>, ins: &[Var<'t>], like: usize) -> Var<'t> {
    let csr = ins.iter().any(|x| x.stype().is_ok_and(|s| s == Stype::Csr));
    if csr { x } else { x.in_shape_of(ins[like]) }
}

/// `x − y`, of any two storage types.
#[track_caller]
fn difference<'t>(x: Var<'t>, y: Var<'t>) -> Var<'t> {
    match (x.stype(), y.stype()) {
        (Ok(Stype::Csr), Ok(Stype::RowSparse)) | (Ok(Stype::RowSparse), Ok(Stype::Csr)) => {
            Var::apply(Accumulate, &[x, y.neg()])
        }
        _ => x - y,
    }
}

/// 1 where positive, else −1.
#[track_caller]
fn side(x: Var<'_>) -> Var<'_> {
    x.greater_scalar(0.0) * 2.0 - x.ones_like()
}

/// A label has as many elements as the data. Where nothing else is known of it, it has the data's
/// shape, but that one column of data has labels with one axis, as in MXNet.
fn refine_label(data: &mut PartialShape, label: &mut PartialShape) -> Result<()> {
    match (data.rank(), label.rank()) {
        (Some(n), Some(m)) => unify_products((data, 0..n), (label, 0..m)),
        (Some(2), None) if data.dim(1).is_none() => Ok(()),
        (Some(2), None) if data.dim(1) == Some(1) => {
            *label = [data.dim(0)].into();
            Ok(())
        }
        (Some(_), None) => label.unify(data),
        _ => Ok(()),
    }
}

fn check_label(ins: &[View]) -> Result<()> {
    let csr = ins.iter().any(|x| x.stype() == Stype::Csr);
    if csr && ins[0].shape() != ins[1].shape() {
        let (data, label) = (ins[0].ty().shape, ins[1].ty().shape);
        let message = format!("where one is csr, data {data} and label {label} have one shape");
        return Err(Error::new(ErrorKind::Shape, message));
    }
    Ok(())
}

fn itself(_: &RegressionOutput, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    check_label(ins)?;
    out.alias(0);
    Ok(())
}

fn sigmoid<T: Real>(
    _: &RegressionOutput,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    check_label(ins)?;
    let x = ins[0].typed::<T>()?;
    for_each_part(out.dense::<T>(), 1, 1, |first, out| {
        unary(Unary::Sigmoid, &x[first..][..out.len()], out);
    });
    Ok(())
}

impl Op for RegressionOutput {
    const NAME: &'static str = "regression_output";

    fn label(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self.regression {
            Regression::Linear => "linear_regression_output",
            Regression::Logistic => "logistic_regression_output",
            Regression::Mae => "mae_regression_output",
        })
    }

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Loss {
            why: "the gradient is that of the regression's loss",
            loss: |op, x| op.scaled(op.loss(x[0], shaped_like(x[1], x, 0)), x[0]),
        }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        match (ins[0].known(), ins[1].known()) {
            (None, _) | (_, None) => {
                let [data, label] = ins else { unreachable!("data and a label") };
                refine_label(data, label)?;
                data.unify(out)
            }
            (Some(data), Some(label)) if data.size() != label.size() => {
                let message = format!(
                    "{} labels of shape {label} for {} outputs of shape {data}",
                    label.size(),
                    data.size()
                );
                Err(Error::new(ErrorKind::Shape, message))
            }
            _ => Ok(()),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static ITSELF: [Case<RegressionOutput>; 9] = [
            case!(any [Default, Default] => Default, itself),
            case!(any [Default, Csr] => Default, itself),
            case!(any [Default, RowSparse] => Default, itself),
            case!(any [Csr, Default] => Csr, itself),
            case!(any [Csr, Csr] => Csr, itself),
            case!(any [Csr, RowSparse] => Csr, itself),
            case!(any [RowSparse, Default] => RowSparse, itself),
            case!(any [RowSparse, Csr] => RowSparse, itself),
            case!(any [RowSparse, RowSparse] => RowSparse, itself),
        ];
        static SIGMOID: [Case<RegressionOutput>; 3] = [
            case!([Default, Default] => Default, sigmoid),
            case!([Default, Csr] => Default, sigmoid),
            case!([Default, RowSparse] => Default, sigmoid),
        ];
        if self.regression == Regression::Logistic { &SIGMOID } else { &ITSELF }
    }

    fn reads(&self, i: usize) -> Read {
        match (i, self.regression) {
            (0, Regression::Logistic) => Read::All,
            (0, _) => Read::View,
            _ => Read::Shape,
        }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
        // In terms of `x`, never of the result: that would ignore the cotangent at the next order.
        let (data, label) = (x[0], || shaped_like(x[1], x, 0));
        let of_data = || match self.regression {
            Regression::Linear => difference(data, label()),
            Regression::Logistic => difference(data.sigmoid(), label()),
            Regression::Mae => side(difference(data, label())),
        };
        grads.give(0, || self.scaled(of_data(), data));
        grads.give(1, || {
            let gradient = match self.regression {
                Regression::Logistic => data,
                _ => of_data(),
            };
            shaped_like(self.scaled(gradient.neg(), data), x, 1)
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        match self.regression {
            Regression::Logistic => ins[0].mapv(|x| 1.0 / (1.0 + (-x).exp())),
            _ => ins[0].clone(),
        }
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |skip: usize, shift: f64| {
            move |i: usize| {
                if i.is_multiple_of(skip) { 0.0 } else { ((i as f64 + shift) * 0.77).sin() * 1.9 }
            }
        };
        let x = |shape: &[usize]| Tensor::from_fn(shape, value(3, 0.0));
        let label = |shape: &[usize]| Tensor::from_fn(shape, value(4, 2.5));
        let mut samples = Vec::new();
        for regression in [Regression::Linear, Regression::Logistic, Regression::Mae] {
            let op = |grad_scale| RegressionOutput { regression, grad_scale };
            samples.extend([
                Sample::good(op(1.0), [x(&[3, 4]), label(&[3, 4])]),
                Sample::good(op(2.5), [x(&[6, 1]), label(&[6])]),
                Sample::good(op(-1.0), [x(&[5]), label(&[5, 1])]),
                Sample::good(op(0.5), [x(&[2, 3, 2]), label(&[2, 6])]),
                Sample::good(op(0.5), [x(&[0, 2]), label(&[0])]),
                Sample::bad(
                    op(1.0),
                    [x(&[3, 2]), label(&[3])],
                    ErrorKind::Shape,
                    "3 labels of shape (3,) for 6 outputs",
                ),
            ]);
        }
        samples
    }
}
