//! A factor, divided by a count that is taken when it runs.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::Result;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Real, Tensor, View, row_len, size_of};

/// `per_count`: the first operand times a factor, divided by a count of the second (at least 1), so
/// that no recording holds the size of its batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerCount {
    scale: f64,
    count: Count,
}

/// What [`PerCount`] counts of its second operand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// 1, whatever it is.
    One,
    /// Its rows.
    Rows,
    /// Its elements per row.
    PerRow,
    /// Its elements above this number, absent ones counted as zeros.
    Above(f64),
}

impl Count {
    fn of<T: Real>(self, x: &View) -> Result<usize> {
        let shape = x.shape();
        let count = match self {
            Count::One => 1,
            Count::Rows => shape.first().copied().unwrap_or(1),
            Count::PerRow => row_len(shape),
            Count::Above(bound) => {
                let stored = x.typed::<T>()?;
                let above = stored.iter().filter(|x| x.to_f64() > Some(bound)).count();
                let absent = if bound < 0.0 { size_of(shape) - stored.len() } else { 0 };
                above + absent
            }
        };
        Ok(count.max(1))
    }
}

impl PerCount {
    /// `x · scale / count(like)`
    #[track_caller]
    pub(super) fn of<'t>(x: Var<'t>, like: Var<'t>, scale: f64, count: Count) -> Var<'t> {
        Var::apply(PerCount { scale, count }, &[x, like])
    }
}

fn per_count<T: Real>(op: &PerCount, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let factor = op.scale / op.count.of::<T>(&ins[1])? as f64;
    if factor == 1.0 {
        out.alias(0);
        return Ok(());
    }
    let (values, factor) = (ins[0].typed::<T>()?, T::from_f64(factor));
    let scaled = out.like::<T>(&ins[0])?;
    scaled.iter_mut().zip(values).for_each(|(to, &x)| *to = x * factor);
    Ok(())
}

impl Op for PerCount {
    const NAME: &'static str = "per_count";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<PerCount>; 9] = [
            case!([Default, Default] => Default, per_count),
            case!([Default, Csr] => Default, per_count),
            case!([Default, RowSparse] => Default, per_count),
            case!([Csr, Default] => Csr, per_count),
            case!([Csr, Csr] => Csr, per_count),
            case!([Csr, RowSparse] => Csr, per_count),
            case!([RowSparse, Default] => RowSparse, per_count),
            case!([RowSparse, Csr] => RowSparse, per_count),
            case!([RowSparse, RowSparse] => RowSparse, per_count),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        match (i, self.count) {
            (0, _) | (_, Count::Above(_)) => Read::All,
            _ => Read::Shape,
        }
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(self.clone(), &[dy, x[1]]));
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let like = &ins[1];
        let rows = like.shape().first().copied().unwrap_or(1);
        let count = match self.count {
            Count::One => 1,
            Count::Rows => rows,
            Count::PerRow => like.shape().iter().skip(1).product(),
            Count::Above(bound) => like.iter().filter(|x| **x > bound).count(),
        };
        ins[0].mapv(|x| x * self.scale / count.max(1) as f64)
    }

    fn samples() -> Vec<Sample<Self>> {
        let value = |i: usize| if i.is_multiple_of(3) { 0.0 } else { i as f64 - 4.5 };
        let x = || Tensor::from_fn([3, 4], value);
        let op = |count| PerCount { scale: 2.5, count };
        vec![
            Sample::good(op(Count::One), [x(), x()]),
            Sample::good(op(Count::Rows), [x(), Tensor::from_fn([5, 2], value)]),
            Sample::good(op(Count::PerRow), [x(), Tensor::from_fn([2, 3, 2], value)]),
            Sample::good(op(Count::PerRow), [Tensor::scalar(2.0), Tensor::from_fn([0, 3], value)]),
            Sample::good(op(Count::Above(0.25)), [x(), Tensor::from_fn([5, 2], value)]),
            Sample::good(op(Count::Above(-0.75)), [x(), Tensor::from_fn([5, 2], value)]),
            Sample::good(PerCount { scale: 1.0, count: Count::One }, [x(), Tensor::scalar(1.0)]),
        ]
    }
}
