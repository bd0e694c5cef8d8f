//! That there are as many weights as they are weights of.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, unify_dims};
use crate::tensor::{Tensor, View};

/// `check_weights`: the first operand itself, a vector with as many elements as the second, which is
/// not read, has rows or classes; so that a vector of one element never broadcasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckWeights(pub(super) Weigh);

/// What there is a weight for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Weigh {
    /// Each row.
    Rows,
    /// Each element along the last axis.
    Classes,
    /// Each of two classes.
    Two,
}

fn itself(_: &CheckWeights, _: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    out.alias(0);
    Ok(())
}

impl Op for CheckWeights {
    const NAME: &'static str = "check_weights";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        let [weights, of] = ins else { unreachable!("weights, and what they are weights of") };
        weights.set_rank(1)?;
        match (self.0, of.rank()) {
            (Weigh::Two, _) => weights.set_dim(0, 2)?,
            (_, Some(0)) => {
                return Err(Error::new(ErrorKind::Shape, "a single number has no weights"));
            }
            (Weigh::Rows, Some(_)) => unify_dims((weights, 0), (of, 0))?,
            (Weigh::Classes, Some(rank)) => unify_dims((weights, 0), (of, rank - 1))?,
            (_, None) => {}
        }
        weights.unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<CheckWeights>; 6] = [
            case!(any [Default, Default] => Default, itself),
            case!(any [Default, Csr] => Default, itself),
            case!(any [Default, RowSparse] => Default, itself),
            case!(any [RowSparse, Default] => RowSparse, itself),
            case!(any [RowSparse, Csr] => RowSparse, itself),
            case!(any [RowSparse, RowSparse] => RowSparse, itself),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::View } else { Read::Shape }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy);
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let w = |n: usize| Tensor::from_fn([n], |i| i as f64 - 1.0);
        let of = || Tensor::from_fn([4, 3], |i| i as f64);
        let [rows, classes, two] = [Weigh::Rows, Weigh::Classes, Weigh::Two].map(CheckWeights);
        let bad = |op: &CheckWeights, inputs, message| {
            Sample::bad(op.clone(), inputs, ErrorKind::Shape, message)
        };
        vec![
            Sample::good(rows.clone(), [w(4), of()]),
            Sample::good(classes.clone(), [w(3), of()]),
            Sample::good(two.clone(), [w(2), of()]),
            bad(&rows, [w(1), of()], "differ: 1 and 4"),
            bad(&classes, [w(4), of()], "differ: 4 and 3"),
            bad(&classes, [of(), of()], "needs 1 axis"),
            bad(&rows, [w(1), Tensor::scalar(1.0)], "no weights"),
            bad(&two, [w(3), of()], "2 is needed"),
        ]
    }
}
