//! Sums down to, and copies out to, the shape of another operand: each the other's backward rule.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::broadcast::{Broadcast, aligned, contiguous};
use crate::kernels::convert::scatter_rows;
use crate::kernels::gather::gather_compact;
use crate::kernels::merge::{intersect_rows, positions};
use crate::kernels::reduce::{sum, sum_axis};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Buffer, CsrView, Real, RowSparseView, Shape, Tensor, View, row_len, size_of};

/// Which axes a reduction runs over, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reduction {
    /// The axes; negative ones count from the last.
    pub axes: Axes,
    /// Whether reduced axes stay, with size 1.
    pub keepdims: bool,
    /// Whether the sum is divided by the number of elements that go into it, absent ones included.
    pub mean: bool,
}

/// The axes of a reduction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axes {
    /// All of them.
    #[default]
    All,
    /// These.
    List(SmallVec<[isize; 4]>),
    /// Those along which the smaller shape broadcasts to the larger, by numpy's rules.
    Broadcast,
}

impl Reduction {
    /// Which axes of a shape of rank `ndim` are reduced.
    fn reduced(&self, ndim: usize) -> Result<SmallVec<[bool; 4]>> {
        let mut reduced: SmallVec<[bool; 4]> = SmallVec::from_elem(self.axes == Axes::All, ndim);
        let Axes::List(axes) = &self.axes else { return Ok(reduced) };
        for &axis in axes {
            let from_front = if axis < 0 { axis + ndim as isize } else { axis };
            let flag = usize::try_from(from_front).ok().and_then(|i| reduced.get_mut(i));
            match flag {
                Some(flag) if !*flag => *flag = true,
                Some(_) => {
                    let message = format!("axis {axis} is named twice");
                    return Err(Error::new(ErrorKind::Shape, message));
                }
                None => {
                    let message = format!("axis {axis} is out of bounds for {ndim} axes");
                    return Err(Error::new(ErrorKind::Index, message));
                }
            }
        }
        Ok(reduced)
    }

    /// The shape of the result.
    pub(crate) fn result(&self, shape: &[usize]) -> Result<Shape> {
        let reduced = self.reduced(shape.len())?;
        let sizes = shape.iter().zip(&reduced);
        Ok(match self.keepdims {
            true => sizes.map(|(&n, &r)| if r { 1 } else { n }).collect(),
            false => sizes.filter(|(_, r)| !**r).map(|(&n, _)| n).collect(),
        })
    }

    /// Strides in the smaller shape for each axis of the larger: 0 where it is reduced.
    fn strides(&self, small: &[usize], large: &[usize]) -> Result<SmallVec<[usize; 4]>> {
        if self.axes == Axes::Broadcast {
            let fits = small.len() <= large.len()
                && small.iter().rev().zip(large.iter().rev()).all(|(s, l)| s == l || *s == 1);
            if fits {
                return Ok(aligned(small, large));
            }
        } else if self.result(large)?[..] == *small {
            let reduced = self.reduced(large.len())?;
            let mut own = contiguous(small).into_iter();
            let step = |&r: &bool| match r {
                true if self.keepdims => own.next().map_or(0, |_| 0),
                true => 0,
                false => own.next().unwrap_or(0),
            };
            return Ok(reduced.iter().map(step).collect());
        }
        let (small, large) = (Shape::from(small), Shape::from(large));
        let message = format!("shape {small} does not broadcast to {large} along these axes");
        Err(Error::new(ErrorKind::Shape, message))
    }

    fn count<T: Real>(&self, small: &[usize], large: &[usize]) -> Option<T> {
        let count = size_of(large) as f64 / size_of(small) as f64;
        self.mean.then(|| T::from_f64(count))
    }
}

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
}

impl BroadcastLike {
    /// Repeats along the axes that the reduction names; with `mean`, divided by how often.
    pub fn new(reduction: Reduction) -> Self {
        BroadcastLike(reduction)
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

/// Reduces `x` to the result's shape. (MXNet: `sum`, `mean`; a sparse operand is not made dense.)
pub(crate) fn reduce<T: Real>(
    reduction: &Reduction,
    x: View,
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (small, large) = (out.shape().clone(), x.shape());
    let strides = reduction.strides(&small, large)?;
    let count = reduction.count::<T>(&small, large);
    if x.dense().is_ok() && small[..] == *large && count.is_none_or(|n| n == T::one()) {
        out.alias(0);
        return Ok(());
    }
    let (values, sums) = (x.typed::<T>()?, out.dense::<T>());
    match x {
        View::Dense(_) => reduce_dense(values, large, &strides, sums, scratch),
        View::Csr(v) => reduce_csr(&v, values, &strides, sums),
        View::RowSparse(v) => reduce_rows(&v, values, &strides, sums, scratch),
    }
    if let Some(count) = count {
        sums.iter_mut().for_each(|x| *x = *x / count);
    }
    Ok(())
}

/// Sums over the axes of stride 0, the last ones first.
fn reduce_dense<T: Real>(
    values: &[T],
    shape: &[usize],
    strides: &[usize],
    sums: &mut [T],
    scratch: &mut Scratch,
) {
    let mut sizes: SmallVec<[usize; 4]> = shape.into();
    let mut partial: Option<Vec<T>> = None;
    for axis in (0..shape.len()).rev().filter(|&a| strides[a] == 0 && shape[a] != 1) {
        let (outer, inner) = (size_of(&sizes[..axis]), size_of(&sizes[axis + 1..]));
        let mut next = scratch.take::<T>(outer * inner);
        sum_axis(partial.as_deref().unwrap_or(values), outer, sizes[axis], inner, &mut next);
        partial.replace(next).into_iter().for_each(|used| scratch.give(used));
        sizes[axis] = 1;
    }
    sums.copy_from_slice(partial.as_deref().unwrap_or(values));
    partial.into_iter().for_each(|used| scratch.give(used));
}

fn reduce_csr<T: Real>(v: &CsrView, values: &[T], strides: &[usize], sums: &mut [T]) {
    let pattern = v.pattern;
    if strides == [0, 0] {
        sums.fill(sum(values));
        return;
    }
    sums.fill(T::zero());
    for row in 0..pattern.rows() {
        let range = pattern.row_range(row);
        if strides[1] == 0 {
            sums[row * strides[0]] = sum(&values[range]);
            continue;
        }
        for (&c, &x) in pattern.indices()[range.clone()].iter().zip(&values[range]) {
            let at = &mut sums[row * strides[0] + c as usize * strides[1]];
            *at = *at + x;
        }
    }
}

fn reduce_rows<T: Real>(
    v: &RowSparseView,
    values: &[T],
    strides: &[usize],
    sums: &mut [T],
    scratch: &mut Scratch,
) {
    let stored = v.rows.len();
    let inner: SmallVec<[usize; 4]> =
        v.shape[1..].iter().zip(&strides[1..]).map(|(&n, &s)| if s == 0 { 1 } else { n }).collect();
    let k = size_of(&inner);
    // Row by row first; a stride that is not 0 keeps the rows apart.
    let mut block_shape: SmallVec<[usize; 4]> = v.shape.into();
    let mut block_strides: SmallVec<[usize; 4]> = strides.into();
    (block_shape[0], block_strides[0]) = (stored, 1);
    let mut block = scratch.take::<T>(stored * k);
    reduce_dense(values, &block_shape, &block_strides, &mut block, scratch);
    if strides[0] == 0 {
        sum_axis(&block, 1, stored, k, sums);
    } else {
        sums.fill(T::zero());
        for (n, &r) in v.rows.iter().enumerate() {
            sums[r as usize * k..][..k].copy_from_slice(&block[n * k..][..k]);
        }
    }
    scratch.give(block);
}

/// A row-sparse operand: rows that it does not store stay absent, unless one row repeats for all.
fn broadcast_rows<T: Real>(
    op: &BroadcastLike,
    ins: &[View],
    out: &mut Out,
    scratch: &mut Scratch,
) -> Result<()> {
    let (v, large) = (ins[0].row_sparse()?, ins[1].shape());
    let strides = op.0.strides(v.shape, large)?;
    let (k, held) = (row_len(v.shape), v.values.typed::<T>()?);
    let count = op.0.count::<T>(v.shape, large).unwrap_or(T::one());
    let stays = v.shape[0] == large[0] && (strides[0] == k || large[0] == 1);
    let rows: Buffer<u32> = match ins[1] {
        View::RowSparse(like) if stays => intersect_rows(&[v.rows, like.rows]).into(),
        View::RowSparse(like) => like.rows.clone(),
        _ if stays => v.rows.clone(),
        _ => (0..large[0]).map(|row| row as u32).collect::<Vec<_>>().into(),
    };
    // The operand's own elements, dense: as many as it would have, where its rows mix.
    let (small, row_stride) = if stays {
        let mut small = scratch.take::<T>(rows.len() * k);
        gather_compact(&positions(&rows, v.rows), held, k, &mut small);
        (small, k)
    } else {
        let mut small = scratch.take::<T>(size_of(v.shape));
        small.fill(T::zero());
        scatter_rows(v.rows, held, k, &mut small);
        (small, strides[0])
    };
    let inner = Broadcast::new(&large[1..], &strides[1..]);
    let wide = row_len(large);
    let repeated = out.rows::<T>(rows.clone())?;
    for (n, (to, &r)) in repeated.chunks_exact_mut(wide.max(1)).zip(rows.iter()).enumerate() {
        let row = if stays { n } else { r as usize };
        inner.fill(&small[row * row_stride..], 0, to);
        to.iter_mut().for_each(|x| *x = *x / count);
    }
    scratch.give(small);
    Ok(())
}

fn broadcast_like<T: Real>(
    op: &BroadcastLike,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (small, large) = (ins[0].shape(), ins[1].shape());
    let strides = op.0.strides(small, large)?;
    let count = op.0.count::<T>(small, large);
    let same = small == large && count.is_none_or(|n| n == T::one());
    let (values, steps) = (ins[0].typed::<T>()?, Broadcast::new(large, &strides));
    let repeated = match ins[1] {
        View::Dense(_) if same => {
            out.alias(0);
            return Ok(());
        }
        View::Dense(_) => {
            let repeated = out.dense::<T>();
            steps.fill(values, 0, repeated);
            repeated
        }
        View::Csr(like) => {
            let repeated = out.csr_on::<T>(like.pattern)?;
            for row in 0..like.pattern.rows() {
                let range = like.pattern.row_range(row);
                let columns = &like.pattern.indices()[range.clone()];
                for (to, &c) in repeated[range].iter_mut().zip(columns) {
                    *to = values[row * strides[0] + c as usize * strides[1]];
                }
            }
            repeated
        }
        View::RowSparse(like) => {
            let k = row_len(like.shape);
            let repeated = out.rows::<T>(like.rows.clone())?;
            for (to, &r) in repeated.chunks_exact_mut(k.max(1)).zip(like.rows.iter()) {
                steps.fill(values, r as usize * k, to);
            }
            repeated
        }
    };
    if let Some(count) = count {
        repeated.iter_mut().for_each(|x| *x = *x / count);
    }
    Ok(())
}

impl Op for SumLike {
    const NAME: &'static str = "sum_like";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[1].unify(out)?;
        match (ins[0].known(), ins[1].known()) {
            (Some(large), Some(small)) => self.0.strides(&small, &large).map(|_| ()),
            _ => Ok(()),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<SumLike>; 9] = [
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
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::All } else { Read::Shape }
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
        let rows =
            Reduction { axes: Axes::List([0].into_iter().collect()), ..Reduction::default() };
        vec![
            Sample::good(op(), [matrix(3, 4), matrix(1, 4)]),
            Sample::good(op(), [matrix(3, 4), matrix(3, 1)]),
            Sample::good(op(), [matrix(3, 4), matrix(3, 4)]),
            Sample::good(op(), [matrix(3, 4), Tensor::scalar(0.0)]),
            Sample::good(op(), [cube(), Tensor::from_fn([3, 1], |i| i as f64)]),
            Sample::good(mean, [matrix(3, 4), matrix(1, 4)]),
            Sample::good(SumLike(rows), [matrix(3, 4), Tensor::from_fn([4], |i| i as f64)]),
            Sample::bad(op(), [matrix(3, 4), matrix(2, 4)], ErrorKind::Shape, "does not broadcast"),
        ]
    }
}

/// The definition of [`reduce`].
pub(crate) fn sum_mimic(reduction: &Reduction, x: &ArrayD<f64>, small: &[usize]) -> ArrayD<f64> {
    let missing = x.ndim().saturating_sub(small.len());
    let mut flags = reduction.reduced(x.ndim()).unwrap_or_default();
    if reduction.axes == Axes::Broadcast {
        for (axis, flag) in flags.iter_mut().enumerate() {
            *flag = axis < missing || small[axis - missing] == 1;
        }
    }
    let mut total = x.clone();
    for axis in (0..x.ndim()).filter(|&a| flags[a]) {
        total = total.sum_axis(Axis(axis)).insert_axis(Axis(axis));
    }
    let count = if reduction.mean { x.len() as f64 / total.len() as f64 } else { 1.0 };
    let sums: Vec<f64> = total.iter().map(|s| s / count).collect();
    ArrayD::from_shape_vec(small, sums).unwrap_or(total)
}

impl Op for BroadcastLike {
    const NAME: &'static str = "broadcast_like";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[1].unify(out)?;
        match (ins[0].known(), ins[1].known()) {
            (Some(small), Some(large)) => self.0.strides(&small, &large).map(|_| ()),
            _ => Ok(()),
        }
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
        let rows =
            Reduction { axes: Axes::List([0].into_iter().collect()), ..Reduction::default() };
        let mean = BroadcastLike(Reduction { mean: true, ..numpy() });
        vec![
            Sample::good(op(), [matrix(1, 4), matrix(3, 4)]),
            Sample::good(op(), [matrix(3, 1), matrix(3, 4)]),
            Sample::good(op(), [matrix(3, 4), matrix(3, 4)]),
            Sample::good(op(), [Tensor::scalar(2.0), cube()]),
            Sample::good(BroadcastLike(rows), [Tensor::from_fn([4], |i| i as f64), matrix(3, 4)]),
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
