//! Labels are checked before they are used.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::op::{Case, Grads, Op, Read, Sample, same_dtype};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{DType, Real, Tensor, View, row_len};

use std::borrow::Cow;

/// `check_labels`: the operand itself, after its values are found to be labels that the loss takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckLabels(pub(super) Domain);

/// What labels a loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Domain {
    /// Ids of classes, as many as the last axis of a second operand has elements.
    Classes,
    /// Shares of classes: finite, not negative.
    Probabilities,
    /// From 0 to 1.
    Binary,
    /// −1 or 1.
    Signs,
}

impl Domain {
    fn holds<T: Real>(self, label: T) -> bool {
        let (zero, one) = (T::zero(), T::one());
        match self {
            Domain::Classes => false,
            Domain::Probabilities => label >= zero && label.is_finite(),
            Domain::Binary => label >= zero && label <= one,
            Domain::Signs => label == one || label == -one,
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Domain::Classes => "a class",
            Domain::Probabilities => "a probability: finite, 0 or more",
            Domain::Binary => "within 0 and 1",
            Domain::Signs => "-1 or 1",
        }
    }
}

fn classes(_: &CheckLabels, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let classes = ins[1].shape().last().copied().unwrap_or(0);
    let known = |&id: &i64| usize::try_from(id).is_ok_and(|id| id < classes);
    let ids = ins[0].typed::<i64>()?;
    if let Some(row) = ids.iter().position(|id| !known(id)) {
        let message = format!("label {} in row {row}, but there are {classes} classes", ids[row]);
        return Err(Error::new(ErrorKind::Index, message));
    }
    out.alias(0);
    Ok(())
}

fn values<T: Real>(op: &CheckLabels, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let labels = ins[0].typed::<T>()?;
    if let Some(at) = labels.iter().position(|&label| !op.0.holds(label)) {
        let (label, place) = (ins[0].values().get_f64(at), place(&ins[0], at));
        let message = format!("label {label} in {place} is not {}", op.0.wanted());
        return Err(Error::new(ErrorKind::Value, message));
    }
    out.alias(0);
    Ok(())
}

/// Row, and column where rows have several, of the stored value `at`.
fn place(x: &View, at: usize) -> String {
    let each = row_len(x.shape()).max(1);
    let (row, column) = match x {
        View::Dense(_) => (at / each, at % each),
        View::RowSparse(v) => (v.rows[at / each] as usize, at % each),
        View::Csr(v) => {
            let (indptr, indices) = v.pattern.parts();
            let row = indptr.partition_point(|&end| end - indptr[0] <= at) - 1;
            (row, indices[at] as usize)
        }
    };
    if each == 1 { format!("row {row}") } else { format!("row {row}, column {column}") }
}

impl Op for CheckLabels {
    const NAME: &'static str = "check_labels";

    fn label(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self.0 {
            Domain::Classes | Domain::Probabilities => "softmax_cross_entropy",
            Domain::Binary => "sigmoid_binary_cross_entropy",
            Domain::Signs => "hinge",
        })
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        match (self.0, ins[0]) {
            (Domain::Classes, DType::I64) => Ok(DType::I64),
            (Domain::Classes, floats) => {
                let message = format!("class ids are i64, got {floats}; use `cast`");
                Err(Error::new(ErrorKind::DType, message))
            }
            (_, DType::I64) => {
                let message = "labels are floats of the logits' type, got i64; use `cast`";
                Err(Error::new(ErrorKind::DType, message))
            }
            _ => same_dtype(ins),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static IDS: [Case<CheckLabels>; 1] = [case!(any [Default, Default] => Default, classes)];
        static VALUES: [Case<CheckLabels>; 3] = [
            case!([Default] => Default, values),
            case!([Csr] => Csr, values),
            case!([RowSparse] => RowSparse, values),
        ];
        match self.0 {
            Domain::Classes => &IDS,
            // An absent entry is 0, which they take.
            Domain::Probabilities | Domain::Binary => &VALUES,
            Domain::Signs => &VALUES[..1],
        }
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Shape }
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        match self.0 {
            Domain::Classes => {
                grads.zero(0);
                grads.zero(1);
            }
            Domain::Probabilities | Domain::Binary => grads.give(0, || dy),
            Domain::Signs => grads.not_differentiable(0, "a label is -1 or 1, nothing between"),
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let ids = |ids: &[i64]| Tensor::from_fn([ids.len()], |i| ids[i]);
        let logits = || Tensor::from_fn([3, 4], |i| i as f64);
        let matrix = |labels: [f64; 6]| Tensor::from_fn([3, 2], move |i| labels[i]);
        // Inside the domain: gradients are checked by differences.
        let shares = || matrix([0.2, 0.8, 0.1, 0.9, 0.7, 0.3]);
        let [of_class, share, binary, sign] =
            [Domain::Classes, Domain::Probabilities, Domain::Binary, Domain::Signs]
                .map(CheckLabels);
        let bad =
            |op: &CheckLabels, labels, kind, text| Sample::bad(op.clone(), [labels], kind, text);
        let far = [ids(&[0, 4, 1]), logits()];
        let below = [ids(&[0, 1, -1]), logits()];
        vec![
            Sample::good(of_class.clone(), [ids(&[3, 0, 3]), logits()]),
            Sample::bad(
                of_class.clone(),
                far,
                ErrorKind::Index,
                "label 4 in row 1, but there are 4",
            ),
            Sample::bad(of_class.clone(), below, ErrorKind::Index, "label -1 in row 2"),
            Sample::bad(of_class, [logits(), logits()], ErrorKind::DType, "class ids are i64"),
            Sample::good(share.clone(), [shares()]),
            bad(
                &share,
                matrix([0.2, 0.8, 0.0, -0.5, 0.7, 0.3]),
                ErrorKind::Value,
                "label -0.5 in row 1, column 1 is not a probability",
            ),
            bad(&share, matrix([f64::NAN; 6]), ErrorKind::Value, "label NaN in row 0, column 0"),
            bad(&share, ids(&[1]), ErrorKind::DType, "use `cast`"),
            Sample::good(binary.clone(), [shares()]),
            bad(
                &binary,
                Tensor::from_fn([3], |i| i as f64),
                ErrorKind::Value,
                "label 2 in row 2 is not within 0 and 1",
            ),
            Sample::good(sign.clone(), [matrix([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])]),
            bad(&sign, matrix([1.0, 0.0, 1.0, 1.0, 1.0, 1.0]), ErrorKind::Value, "is not -1 or 1"),
        ]
    }
}
