//! Sums down to, and copies out to, the shape of another operand: each the other's backward rule.

use ndarray::{ArrayD, Axis};

use super::folding::Folding;
use super::reduction::{Axes, Reduction, reduce, sum_mimic};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::kernels::broadcast::Broadcast;
use crate::kernels::convert::scatter_rows;
use crate::kernels::gather::gather_compact;
use crate::kernels::memory::Temp;
use crate::kernels::merge::{intersect_rows, positions};
use crate::kernels::threads::for_each_part;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Buffer, Real, Stype, Tensor, View, row_len, size_of};

/// `sum_like`: sums the first operand down to the shape of the second, which is not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SumLike(Reduction);

/// `broadcast_like`: repeats the first operand to the shape, storage type and pattern of the second,
/// whose values are not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BroadcastLike(Reduction);

impl SumLike {
    /// Sums along the axes that the reduction names.
    pub fn new(reduction: Reduction) -> Self {
        SumLike(reduction)
    }

    /// Whether equal shapes leave nothing to do.
    pub(crate) fn is_numpy(&self) -> bool {
        self.0 == numpy()
    }
}

impl BroadcastLike {
    /// Repeats along the axes that the reduction names; with `mean`, divided by how often.
    pub fn new(reduction: Reduction) -> Self {
        BroadcastLike(reduction)
    }

    /// Whether it repeats elements as numpy's broadcasting does; `number` says that the operand is a
    /// single one.
    pub(crate) fn repeats(&self, number: bool) -> bool {
        !self.0.mean && (number || self.0.axes == Axes::Broadcast)
    }

    /// Whether equal shapes leave nothing to do.
    pub(crate) fn is_numpy(&self) -> bool {
        self.0 == numpy()
    }
}

fn numpy() -> Reduction {
    Reduction { axes: Axes::Broadcast, ..Reduction::default() }
}

methods! {
    /// Sums this value down to the shape of `like`, along the axes where `like` would broadcast.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let like = tape.constant(Tensor::full([2], 0.0f32)?);
    /// assert_eq!(x.sum_like(like).value()?.values::<f32>()?, [4.0, 6.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn sum_like(x, like) = SumLike(numpy());
    /// Repeats this value to the shape of `like`; where `like` is sparse, to what it stores.
    /// (MXNet: `broadcast_like`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2], vec![1.0f32, 2.0])?);
    /// let like = tape.constant(Tensor::csr([1, 2], vec![0, 1], vec![1], vec![9.0f32])?);
    /// assert_eq!(x.broadcast_like(like).value()?.values::<f32>()?, [2.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn broadcast_like(x, like) = BroadcastLike(numpy());
}

fn sum_like<T: Real>(
    op: &SumLike,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    reduce::<T>(&op.0, ins[0], out, scratch)
}

/// A row-sparse value, repeated to the rows that another value stores.
pub(crate) struct Spread<'a, T: Real> {
    /// Rows of the result: where the value's own stay, those that it does not store stay absent.
    pub rows: Buffer<u32>,
    small: Small<'a, T>,
    steps: Broadcast,
}

/// The elements that repeat.
enum Small<'a, T: Real> {
    /// As they are stored.
    Held(&'a [T]),
    Made(Temp<T>),
}

impl<'a, T: Real> Spread<'a, T> {
    pub fn new(reduction: &Reduction, small: View<'a>, like: View<'a>) -> Result<Self> {
        let (v, large) = (small.row_sparse()?, like.shape());
        let strides = reduction.strides(v.shape, large)?;
        let (k, held) = (row_len(v.shape), v.values.typed::<T>()?);
        let stays = v.shape[0] == large[0] && (strides[0] == k || large[0] == 1);
        let rows: Buffer<u32> = match like {
            View::RowSparse(like) if v.rows == like.rows => v.rows.clone(),
            View::RowSparse(like) if stays => intersect_rows(&[v.rows, like.rows]).into(),
            View::RowSparse(like) => like.rows.clone(),
            _ if stays => v.rows.clone(),
            _ => Temp::collect((0..large[0]).map(|row| row as u32)).into(),
        };
        let (small, row_stride) = if stays && rows == *v.rows {
            (Small::Held(held), k)
        } else if stays {
            let mut small = Temp::unspecified(rows.len() * k);
            gather_compact(&positions(&rows, v.rows), held, k, &mut small);
            (Small::Made(small), k)
        } else {
            // The value's elements, dense: as many as it would have, and the same for all rows.
            let mut small = Temp::unspecified(size_of(v.shape));
            scatter_rows(v.rows, held, k, &mut small);
            (Small::Made(small), 0)
        };
        let mut shape: SmallVec<[usize; 4]> = large.into();
        shape[0] = rows.len();
        let mut steps = strides;
        steps[0] = row_stride;
        Ok(Spread { rows, small, steps: Broadcast::new(&shape, &steps) })
    }

    /// Writes what elements `start..start + out.len()` of the result's rows are.
    pub fn fill(&self, start: usize, out: &mut [T]) {
        let small = match &self.small {
            Small::Held(held) => held,
            Small::Made(made) => &made[..],
        };
        self.steps.fill(small, start, out);
    }
}

fn broadcast_rows<T: Real>(
    op: &BroadcastLike,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let spread = Spread::<T>::new(&op.0, ins[0], ins[1])?;
    let count = op.0.count::<T>(ins[0].shape(), ins[1].shape());
    let wide = row_len(ins[1].shape());
    let repeated = out.rows::<T>(spread.rows.clone())?;
    for_each_part(repeated, wide.max(1), wide / 8 + 2, |first, part| {
        spread.fill(first * wide, part);
        if let Some(count) = count {
            part.iter_mut().for_each(|x| *x = *x / count);
        }
    });
    Ok(())
}

fn broadcast_like<T: Real>(
    op: &BroadcastLike,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (small, large) = (ins[0].shape(), ins[1].shape());
    let folding = Folding::new(&op.0, ins[1], small, false)?;
    let count = op.0.count::<T>(small, large);
    let same = small == large && count.is_none_or(|n| n == T::one());
    if same && ins[1].stype() == Stype::Default {
        out.alias(0);
        return Ok(());
    }
    let repeated = out.like::<T>(&ins[1])?;
    folding.repeat(ins[0].typed::<T>()?, repeated);
    if let Some(count) = count {
        repeated.iter_mut().for_each(|x| *x = *x / count);
    }
    Ok(())
}

impl Op for SumLike {
    const NAME: &'static str = "sum_like";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[1].unify(out)?;
        self.0.relate(out, &mut ins[0])?;
        ins[1].unify(out)
    }

    fn variant(&self) -> Option<&'static str> {
        match self.0.axes {
            Axes::Broadcast => Some("the first axis may stay"),
            _ => Some(self.0.variant()),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static DENSE: [Case<SumLike>; 9] = [
            case!([Default, Default] => Default, sum_like),
            case!([Csr, Default] => Default, sum_like),
            case!([RowSparse, Default] => Default, sum_like),
            case!([Default, Csr] => Default, sum_like),
            case!([Csr, Csr] => Default, sum_like),
            case!([RowSparse, Csr] => Default, sum_like),
            case!([Default, RowSparse] => Default, sum_like),
            case!([Csr, RowSparse] => Default, sum_like),
            case!([RowSparse, RowSparse] => Default, sum_like),
        ];
        static ROWS: [Case<SumLike>; 9] = [
            case!([Default, Default] => Default, sum_like),
            case!([Csr, Default] => Default, sum_like),
            case!([RowSparse, Default] => Default, sum_like),
            case!([Default, Csr] => Default, sum_like),
            case!([Csr, Csr] => Default, sum_like),
            case!([RowSparse, Csr] => Default, sum_like),
            case!([Default, RowSparse] => Default, sum_like),
            case!([Csr, RowSparse] => Default, sum_like),
            case!([RowSparse, RowSparse] => RowSparse, sum_like),
        ];
        // Broadcasting, rows may stay: then a dense result would be as large as the table.
        let may_keep = self.0.keeps_rows() || self.0.axes == Axes::Broadcast;
        if may_keep { &ROWS } else { &DENSE }
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Shape }
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(BroadcastLike(self.0.clone()), &[dy, x[0]]));
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        sum_mimic(&self.0, &ins[0], ins[1].shape())
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = || SumLike(numpy());
        let mean = SumLike(Reduction { mean: true, ..numpy() });
        let rows = Reduction::over(&[0], false);
        vec![
            Sample::good(op(), [matrix(3, 4), matrix(1, 4)]),
            Sample::good(op(), [matrix(3, 4), matrix(3, 1)]),
            Sample::good(op(), [matrix(3, 4), matrix(3, 4)]),
            Sample::good(op(), [matrix(3, 4), Tensor::scalar(0.0)]),
            Sample::good(op(), [cube(), Tensor::from_fn([3, 1], |i| i as f64)]),
            Sample::good(mean, [matrix(3, 4), matrix(1, 4)]),
            Sample::good(SumLike(rows), [matrix(3, 4), Tensor::from_fn([4], |i| i as f64)]),
            Sample::good(SumLike(Reduction::over(&[0], true)), [matrix(3, 4), matrix(1, 4)]),
            Sample::good(SumLike(Reduction::over(&[-1], true)), [matrix(3, 4), matrix(3, 1)]),
            Sample::good(
                SumLike(Reduction::over(&[1], false)),
                [matrix(3, 4), Tensor::from_fn([3], |i| i as f64)],
            ),
            Sample::bad(op(), [matrix(3, 4), matrix(2, 4)], ErrorKind::Shape, "does not broadcast"),
        ]
    }
}

impl Op for BroadcastLike {
    const NAME: &'static str = "broadcast_like";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[1].unify(out)?;
        self.0.relate(&mut ins[0], out)?;
        ins[1].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<BroadcastLike>; 5] = [
            case!([Default, Default] => Default, broadcast_like),
            case!([Default, Csr] => Csr, broadcast_like),
            case!([Default, RowSparse] => RowSparse, broadcast_like),
            case!([RowSparse, Default] => RowSparse, broadcast_rows),
            case!([RowSparse, RowSparse] => RowSparse, broadcast_rows),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Pattern }
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || Var::apply(SumLike(self.0.clone()), &[dy, x[0]]));
        grads.zero(1);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let mut small = ins[0].clone();
        if let (Ok(reduced), false) = (self.0.reduced(ins[1].ndim()), self.0.keepdims) {
            for axis in (0..reduced.len()).filter(|&a| reduced[a]) {
                small = small.insert_axis(Axis(axis));
            }
        }
        let count = if self.0.mean { ins[1].len() as f64 / ins[0].len() as f64 } else { 1.0 };
        small.broadcast(ins[1].shape()).map_or_else(|| small.clone(), |b| b.mapv(|x| x / count))
    }

    fn samples() -> Vec<Sample<Self>> {
        let op = || BroadcastLike(numpy());
        let rows = Reduction::over(&[0], false);
        let mean = BroadcastLike(Reduction { mean: true, ..numpy() });
        vec![
            Sample::good(op(), [matrix(1, 4), matrix(3, 4)]),
            Sample::good(op(), [matrix(3, 1), matrix(3, 4)]),
            Sample::good(op(), [matrix(3, 4), matrix(3, 4)]),
            Sample::good(op(), [Tensor::scalar(2.0), cube()]),
            Sample::good(BroadcastLike(rows), [Tensor::from_fn([4], |i| i as f64), matrix(3, 4)]),
            Sample::good(
                BroadcastLike(Reduction::over(&[1], false)),
                [Tensor::from_fn([3], |i| i as f64), matrix(3, 4)],
            ),
            Sample::good(
                BroadcastLike(Reduction::over(&[-1], true)),
                [Tensor::from_fn([1], |_| 2.0), Tensor::from_fn([3], |i| i as f64)],
            ),
            Sample::good(mean, [matrix(1, 4), matrix(3, 4)]),
            Sample::bad(op(), [matrix(2, 4), matrix(3, 4)], ErrorKind::Shape, "does not broadcast"),
        ]
    }
}

fn matrix(rows: usize, cols: usize) -> Tensor {
    let zero = |i: usize| i.is_multiple_of(3) || (rows > 2 && i / cols == 1);
    Tensor::from_fn([rows, cols], |i| if zero(i) { 0.0 } else { i as f64 - 4.5 })
}

fn cube() -> Tensor {
    Tensor::from_fn([2, 3, 2], |i| if i % 4 == 0 { 0.0 } else { i as f64 - 6.5 })
}
