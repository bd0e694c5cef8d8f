//! The same elements in another shape.

use std::borrow::Cow;

use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::case;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::memory::Temp;
use crate::kernels::{convert, prefix_sum};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, ranks_apart, unify_axes, unify_products};
use crate::tensor::cast::csr_ref;
use crate::tensor::construct::pointers;
use crate::tensor::{
    Buffer, Element, Layout, Pattern, Shape, Stype, Tensor, View, row_len, size_of,
};

/// `reshape` and its kin: the elements of the first operand in another shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reshape {
    /// The shape of the second operand, which is not read.
    Like,
    /// Sizes per axis: −1 (once) is what remains, 0 keeps the operand's size of that axis.
    To(SmallVec<[isize; 4]>),
    /// A new axis of size 1; a negative position counts from the last of the result.
    ExpandDims(isize),
    /// Without these axes of size 1, or, if none is named, without all of them.
    Squeeze(SmallVec<[isize; 4]>),
    /// The first axis stays, the others become one.
    Flatten,
    /// The same shape.
    Identity,
}

methods! {
    /// The same elements in the shape of `like`. A csr value keeps its storage where `like` is csr
    /// too, and is dense where `like` is. (MXNet: `reshape_like`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 2], 1.0f32)?);
    /// let like = tape.constant(Tensor::full([4], 0.0f32)?);
    /// assert_eq!(x.reshape_like(like).shape()?[..], [4]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn reshape_like(x, like) = Reshape::Like;
    /// The same elements in another shape; −1 (once) stands for what remains, 0 keeps the size of
    /// that axis. Nothing is copied, but rows of a row-sparse value whose first axis changes, and the
    /// ids of a csr matrix, which stays csr with two axes and must be cast for others. (MXNet:
    /// `reshape` with −1 and 0.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 3, 2], 1.0f32)?);
    /// assert_eq!(x.reshape(&[0, -1]).shape()?[..], [2, 6]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "view")]
    fn reshape(x; sizes: &[isize]) = Reshape::To(sizes.into());
    /// The same elements with a new axis of size 1 at `axis`; a negative one counts from the last axis
    /// of the result. Row-sparse stays row-sparse. (MXNet: `expand_dims`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 3], 1.0f32)?);
    /// assert_eq!(x.expand_dims(-1).shape()?[..], [2, 3, 1]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "unsqueeze")]
    fn expand_dims(x; axis: isize) = Reshape::ExpandDims(axis);
    /// The same elements without these axes, which must have size 1 (negative ones count from the
    /// last); with an empty list, without all axes of size 1. Row-sparse stays row-sparse. (MXNet:
    /// `squeeze`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([1, 3, 1], 1.0f32)?);
    /// assert_eq!(x.squeeze(&[-1]).shape()?[..], [1, 3]);
    /// assert_eq!(x.squeeze(&[]).shape()?[..], [3]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn squeeze(x; axes: &[isize]) = Reshape::Squeeze(axes.into());
    /// The same elements as a matrix: the first axis stays, the others become one. All storage types
    /// stay what they are. (MXNet: `flatten`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2, 3, 4], 1.0f32)?);
    /// assert_eq!(x.flatten().shape()?[..], [2, 12]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn flatten(x) = Reshape::Flatten;
    /// The value itself, in any storage type: nothing is copied. (MXNet: `identity`, `_copy`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::scalar(2.0f32));
    /// assert_eq!(x.identity().item::<f32>()?, 2.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "_copy")]
    fn identity(x) = Reshape::Identity;
}

impl<'t> Var<'t> {
    /// [`Var::reshape_like`], where a row-sparse value may become a single number, which has no rows.
    #[track_caller]
    pub(super) fn in_shape_of(self, like: Var<'t>) -> Var<'t> {
        match self.stype() {
            Ok(Stype::RowSparse) if like.rank() == Some(0) => {
                self.cast_storage(Stype::Default).reshape_like(like)
            }
            _ => self.reshape_like(like),
        }
    }
}

fn reshape(_: &Reshape, _: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    out.alias(0);
    Ok(())
}

/// The rows of the new shape that hold a stored element; where the first axis stays, the same ones.
fn reshape_rows<T: Element>(
    _: &Reshape,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let (v, shape) = (ins[0].row_sparse()?, out.shape());
    let (own, new) = (row_len(v.shape), row_len(shape));
    if v.shape.first() == shape.first() && own == new {
        out.alias(0);
        return Ok(());
    }
    if shape.is_empty() {
        let message = "a row-sparse value keeps at least one axis; cast it to dense first";
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let held = v.values.typed::<T>()?;
    let most = v.rows.len().saturating_mul(own / new.max(1) + 2);
    let mut rows = Temp::with_capacity(most.min(held.len()));
    for &r in v.rows.iter().filter(|_| own > 0) {
        let first = r as usize * own;
        let touched = first / new..=(first + own - 1) / new;
        let again = rows.last().is_some_and(|&last| last as usize == *touched.start());
        rows.extend(touched.skip(usize::from(again)).map(|row| row as u32));
    }
    let rows = Buffer::from(rows);
    let values = out.rows::<T>(rows.clone())?;
    values.fill(T::default());
    let mut at = 0;
    for (&r, row) in v.rows.iter().zip(held.chunks_exact(own.max(1))) {
        for (j, &x) in row.iter().enumerate() {
            let flat = r as usize * own + j;
            while rows[at] as usize != flat / new {
                at += 1;
            }
            values[at * new + flat % new] = x;
        }
    }
    Ok(())
}

/// The entries of a csr matrix in the order of their rows, with other row and column ids.
fn reshape_csr(_: &Reshape, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let (v, fault) = (ins[0].csr()?, |message| Err(Error::new(ErrorKind::Shape, message)));
    let &[rows, cols] = &out.shape()[..] else {
        return fault("a csr value has two axes; cast it to dense first".into());
    };
    let (pattern, own) = (v.pattern, v.shape[1]);
    if *v.shape == [rows, cols] {
        out.alias(0);
        return Ok(());
    }
    if size_of(v.shape) == usize::MAX {
        return fault(format!("shape {} has more than 2^64 elements", Shape::from(v.shape)));
    }
    let mut indptr = pointers(rows)?;
    let mut indices = Temp::with_capacity(pattern.nnz());
    for row in 0..pattern.rows() {
        for &column in &pattern.indices()[pattern.row_range(row)] {
            let place = row * own + column as usize;
            indptr[place / cols + 1] += 1;
            indices.push((place % cols) as u32);
        }
    }
    prefix_sum(&mut indptr);
    let layout = Layout::Csr(Pattern::new(cols, indptr.into(), indices.into()).share());
    out.set(Tensor::from_parts(out.shape().clone(), layout, v.owner.clone()));
    Ok(())
}

/// The entries of a csr matrix in a dense value.
fn csr_to_dense<T: Element>(
    _: &Reshape,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let v = ins[0].csr()?;
    convert::csr_to_dense(csr_ref(v, v.values.typed::<T>()?), out.dense());
    Ok(())
}

/// An axis from the front of `ndim` axes; a negative one counts from the last.
pub(super) fn axis_of(axis: isize, ndim: usize) -> Result<usize> {
    let from_front = if axis < 0 { axis.saturating_add(ndim as isize) } else { axis };
    usize::try_from(from_front).ok().filter(|&axis| axis < ndim).ok_or_else(|| {
        let message = format!("axis {axis} is out of bounds for {ndim} axes");
        Error::new(ErrorKind::Index, message)
    })
}

/// The axes that are not squeezed.
fn squeezed(own: &[usize], axes: &[isize]) -> Result<Shape> {
    let mut goes: SmallVec<[bool; 4]> =
        own.iter().map(|&size| axes.is_empty() && size == 1).collect();
    for &named in axes {
        let axis = axis_of(named, own.len())?;
        if own[axis] != 1 {
            return Err(cannot_go(named, own[axis]));
        }
        goes[axis] = true;
    }
    Ok(own.iter().zip(goes).filter(|(_, goes)| !goes).map(|(&size, _)| size).collect())
}

impl Reshape {
    /// The shape of the result, if the operand's own says it.
    fn wanted(&self, own: &[usize]) -> Result<Option<Shape>> {
        Ok(Some(match self {
            Reshape::Like => return Ok(None),
            Reshape::To(sizes) => resolve(own, sizes)?,
            Reshape::ExpandDims(axis) => {
                let axis = axis_of(*axis, own.len() + 1)?;
                own[..axis].iter().chain(&[1]).chain(&own[axis..]).copied().collect()
            }
            Reshape::Squeeze(axes) => squeezed(own, axes)?,
            Reshape::Flatten if own.is_empty() => {
                return Err(Error::new(ErrorKind::Shape, "there is no first axis to keep"));
            }
            Reshape::Flatten => Shape::from([own[0], row_len(own)]),
            Reshape::Identity => own.into(),
        }))
    }

    /// What follows where some of the operand's sizes are unknown.
    fn refine_partly(&self, own: &mut PartialShape, out: &mut PartialShape) -> Result<()> {
        match self {
            Reshape::Like | Reshape::Identity => unify_all(own, out),
            Reshape::To(sizes) => {
                out.set_rank(sizes.len())?;
                let named = |(axis, &size): (usize, &isize)| {
                    usize::try_from(size).ok().filter(|&size| size > 0).map(|size| (axis, size))
                };
                let mut sized = sizes.iter().enumerate().filter_map(named);
                sized.try_for_each(|(axis, size)| out.set_dim(axis, size))?;
                kept_axes(own, out, |axis| sizes.get(axis) == Some(&0), sizes.contains(&-1))
            }
            Reshape::Flatten => {
                out.set_rank(2)?;
                match own.rank() {
                    Some(0) => self.wanted(&[]).map(|_| ()),
                    _ => kept_axes(own, out, |axis| axis == 0, true),
                }
            }
            Reshape::ExpandDims(axis) => {
                let Some(rank) = ranks_apart(own, out, 1)? else { return Ok(()) };
                let axis = axis_of(*axis, rank + 1)?;
                out.set_dim(axis, 1)?;
                unify_axes(own, out, (0..rank).map(|at| (at, at + usize::from(at >= axis))))
            }
            Reshape::Squeeze(axes) => refine_squeezed(axes, own, out),
        }
    }
}

/// Unifies the axes that are kept, and the number of elements along the others. It is the same
/// `always`, or only where the kept axes have elements.
fn kept_axes(
    own: &mut PartialShape,
    out: &mut PartialShape,
    kept: impl Fn(usize) -> bool,
    always: bool,
) -> Result<()> {
    let (Some(n), Some(m)) = (own.rank(), out.rank()) else { return Ok(()) };
    if let Some(axis) = (n..m).find(|&axis| kept(axis)) {
        let message = format!("there is no axis {axis} to keep in {own}");
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let both = (0..n.min(m)).filter(|&axis| kept(axis));
    unify_axes(own, out, both.clone().map(|axis| (axis, axis)))?;
    let filled = own.product(both).is_some_and(|elements| elements > 0);
    let others = |axes: usize| (0..axes).filter(|&axis| !kept(axis));
    if always || filled {
        unify_products((own, others(n)), (out, others(m)))?;
    }
    Ok(())
}

/// What follows for axes that are named, and so have size 1.
fn refine_squeezed(axes: &[isize], own: &mut PartialShape, out: &mut PartialShape) -> Result<()> {
    if let ([_], Some(rank)) = (axes, out.rank()) {
        own.set_rank(rank + 1)?;
    }
    let Some(rank) = own.rank().filter(|_| !axes.is_empty()) else { return Ok(()) };
    let mut goes: SmallVec<[bool; 4]> = SmallVec::from_elem(false, rank);
    for &named in axes {
        let axis = axis_of(named, rank)?;
        match own.dim(axis) {
            Some(size) if size != 1 => return Err(cannot_go(named, size)),
            _ => own.set_dim(axis, 1)?,
        }
        goes[axis] = true;
    }
    let stay = (0..rank).filter(|&axis| !goes[axis]);
    out.set_rank(stay.clone().count())?;
    unify_axes(own, out, stay.enumerate().map(|(to, from)| (from, to)))
}

fn cannot_go(axis: isize, size: usize) -> Error {
    Error::new(ErrorKind::Shape, format!("axis {axis} has size {size}, only 1 can go"))
}

/// As many elements in all.
fn unify_all(own: &mut PartialShape, out: &mut PartialShape) -> Result<()> {
    match (own.rank(), out.rank()) {
        (Some(n), Some(m)) => unify_products((own, 0..n), (out, 0..m)),
        _ => Ok(()),
    }
}

/// Number of elements; saturates far beyond what [`size_of`] counts to.
fn elements(shape: &[usize]) -> u128 {
    let product = |n: u128, &size: &usize| n.saturating_mul(size as u128);
    if shape.contains(&0) { 0 } else { shape.iter().fold(1, product) }
}

/// The sizes of those axes that `sizes` do not keep by a 0.
fn not_kept(shape: &[usize], sizes: &[isize]) -> SmallVec<[usize; 4]> {
    let kept = |axis: usize| sizes.get(axis) == Some(&0);
    shape.iter().enumerate().filter(|(axis, _)| !kept(*axis)).map(|(_, &size)| size).collect()
}

/// The shape that `sizes` ask for.
fn resolve(own: &[usize], sizes: &[isize]) -> Result<Shape> {
    let fault = || {
        let message = format!("{} elements do not fit shape {sizes:?}", elements(own));
        Error::new(ErrorKind::Shape, message)
    };
    let known = |(axis, &size): (usize, &isize)| match size {
        0 => own.get(axis).copied().ok_or_else(fault),
        -1 => Ok(1),
        size => usize::try_from(size).map_err(|_| fault()),
    };
    let mut shape: SmallVec<[usize; 4]> =
        sizes.iter().enumerate().map(known).collect::<Result<_>>()?;
    let mut open = sizes.iter().enumerate().filter(|(_, s)| **s == -1).map(|(axis, _)| axis);
    if let Some(axis) = open.next() {
        // Axes that are kept say nothing about the others: a batch of no rows keeps its columns.
        let (total, rest) = (elements(&not_kept(own, sizes)), elements(&not_kept(&shape, sizes)));
        if open.next().is_some() || rest == 0 || !total.is_multiple_of(rest) {
            return Err(fault());
        }
        shape[axis] = usize::try_from(total / rest).map_err(|_| fault())?;
    }
    match elements(&shape) == elements(own) {
        true => Ok(shape.into_iter().collect()),
        false => Err(fault()),
    }
}

impl Op for Reshape {
    const NAME: &'static str = "reshape";

    fn label(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Reshape::Like => "reshape_like",
            Reshape::To(_) => "reshape",
            Reshape::ExpandDims(_) => "expand_dims",
            Reshape::Squeeze(_) => "squeeze",
            Reshape::Flatten => "flatten",
            Reshape::Identity => "identity",
        })
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if *self == Reshape::Identity {
            return ins[0].unify(out);
        }
        if *self == Reshape::Like {
            ins[1].unify(out)?;
        }
        let Some(own) = ins[0].known() else { return self.refine_partly(&mut ins[0], out) };
        let wanted = self.wanted(&own)?.or_else(|| out.known());
        match wanted {
            Some(wanted) if elements(&own) == elements(&wanted) => out.set(&wanted),
            Some(wanted) => {
                let message = format!("{} elements do not fit shape {wanted}", elements(&own));
                Err(Error::new(ErrorKind::Shape, message))
            }
            None => unify_all(&mut ins[0], out),
        }
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static LIKE: [Case<Reshape>; 8] = [
            case!(any [Default, Default] => Default, reshape),
            case!(any [Default, Csr] => Default, reshape),
            case!(any [Default, RowSparse] => Default, reshape),
            case!(each [Csr, Default] => Default, csr_to_dense),
            case!(any [Csr, Csr] => Csr, reshape_csr),
            case!(each [RowSparse, Default] => RowSparse, reshape_rows),
            case!(each [RowSparse, Csr] => RowSparse, reshape_rows),
            case!(each [RowSparse, RowSparse] => RowSparse, reshape_rows),
        ];
        static TO: [Case<Reshape>; 3] = [
            case!(any [Default] => Default, reshape),
            case!(each [RowSparse] => RowSparse, reshape_rows),
            case!(any [Csr] => Csr, reshape_csr),
        ];
        match self {
            Reshape::Like => &LIKE,
            // Not two axes, or nothing to do.
            Reshape::ExpandDims(_) | Reshape::Squeeze(_) => &TO[..2],
            Reshape::To(_) | Reshape::Flatten | Reshape::Identity => &TO,
        }
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::View } else { Read::Shape }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy.in_shape_of(x[0]));
        if x.len() > 1 {
            grads.zero(1);
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        let like = || Shape::from(ins[1].shape());
        let shape = self.wanted(ins[0].shape()).unwrap_or_default().unwrap_or_else(like);
        ins[0].to_shape(IxDyn(&shape)).map_or(ins[0].clone(), |x| x.to_owned())
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = || Tensor::from_fn([3, 4], |i| i as f64 - 5.5);
        let sparse = || super::dot::sparse_sample([3, 4], 2);
        let cube = || Tensor::from_fn([3, 2, 2], |i| if i % 3 == 0 { 0.0 } else { i as f64 });
        let empty = |rows: usize| Tensor::from_fn([rows, 0], |i| i as f64);
        let to = |sizes: &[isize]| Reshape::To(sizes.into());
        let squeeze = |axes: &[isize]| Reshape::Squeeze(axes.into());
        let bad = |op, kind, message| Sample::bad(op, [x()], kind, message);
        vec![
            Sample::good(Reshape::Like, [x(), Tensor::from_fn([2, 6], |i| i as f64)]),
            Sample::good(to(&[-1]), [x()]),
            Sample::good(to(&[0, 2, -1]), [x()]),
            Sample::good(Reshape::Like, [x(), Tensor::from_fn([3, 2, 2], |i| i as f64)]),
            Sample::good(Reshape::Like, [x(), Tensor::from_fn([3, 4], |i| i as f64)]),
            Sample::good(to(&[]), [Tensor::from_fn([1, 1], |_| 2.0)]),
            Sample::good(to(&[2, 6]), [x()]),
            Sample::good(to(&[6, 2]), [sparse()]),
            Sample::good(to(&[0, 0]), [sparse()]),
            Sample::good(to(&[-1, 3]), [Tensor::from_fn([0, 5], |i| i as f64)]),
            Sample::good(to(&[0, -1]), [Tensor::from_fn([0, 3, 2], |i| i as f64)]),
            Sample::good(to(&[0, 0, -1]), [Tensor::from_fn([2, 0, 3, 2], |i| i as f64)]),
            Sample::good(Reshape::Like, [sparse(), Tensor::from_fn([2, 6], |i| i as f64)]),
            Sample::good(to(&[6, 2]), [cube()]),
            Sample::good(Reshape::Like, [empty(3), empty(5)]),
            Sample::good(Reshape::Like, [cube(), Tensor::from_fn([4, 3], |i| i as f64)]),
            Sample::good(Reshape::ExpandDims(0), [x()]),
            Sample::good(Reshape::ExpandDims(-1), [x()]),
            Sample::good(Reshape::ExpandDims(1), [Tensor::from_fn([3], |i| i as f64)]),
            Sample::good(Reshape::ExpandDims(0), [Tensor::scalar(2.0)]),
            Sample::good(squeeze(&[]), [Tensor::from_fn([3, 1, 2, 1], |i| i as f64)]),
            Sample::good(squeeze(&[-1, 1]), [Tensor::from_fn([3, 1, 2, 1], |i| i as f64)]),
            Sample::good(squeeze(&[0]), [Tensor::from_fn([1, 3], |i| i as f64)]),
            Sample::good(Reshape::Flatten, [sparse()]),
            Sample::good(Reshape::Flatten, [cube()]),
            Sample::good(Reshape::Flatten, [Tensor::from_fn([3], |i| i as f64)]),
            Sample::good(Reshape::Identity, [sparse()]),
            Sample::good(Reshape::Identity, [cube()]),
            bad(Reshape::ExpandDims(3), ErrorKind::Index, "axis 3 is out of bounds for 3 axes"),
            bad(squeeze(&[1]), ErrorKind::Shape, "axis 1 has size 4, only 1 can go"),
            bad(squeeze(&[-3]), ErrorKind::Index, "axis -3 is out of bounds for 2 axes"),
            Sample::bad(Reshape::Flatten, [Tensor::scalar(1.0)], ErrorKind::Shape, "no first axis"),
            Sample::bad(to(&[5, -1]), [x()], ErrorKind::Shape, "12 elements do not fit"),
            Sample::bad(to(&[-1, -1]), [x()], ErrorKind::Shape, "do not fit"),
            Sample::bad(
                Reshape::Like,
                [x(), Tensor::from_fn([5], |i| i as f64)],
                ErrorKind::Shape,
                "do not fit shape (5,)",
            ),
        ]
    }
}
