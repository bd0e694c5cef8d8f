//! Operators as tapes hold them: the object-safe twin of [`Op`], and handles to it.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use super::memory::{Out, Scratch};
use super::op::{Case, Gradient, Grads, Op, Read, Slope, TableRow};
use super::refine::PartialShape;
use super::var::Var;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::slab::Lanewise;
use crate::tensor::{CsrSlices, DType, Shape, Stype, Tensor, View};

/// The object-safe twin of [`Op`]: what tapes hold.
pub trait DynOp: Debug + Send + Sync {
    /// See [`Op::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Op::label`].
    fn label(&self) -> Cow<'_, str>;
    /// See [`Op::refine`].
    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()>;
    /// See [`Op::dtype`].
    fn dtype(&self, ins: &[DType]) -> Result<DType>;
    /// Whether any row takes `n` operands.
    fn takes(&self, n: usize) -> bool;
    /// The index and result type of the row for these storage types.
    fn find_row(&self, ins: &[Stype]) -> Option<(usize, Stype)>;
    /// All rows that take `n` operands, as storage types in and out.
    fn rows(&self, n: usize) -> Vec<(SmallVec<[Stype; 4]>, Stype)>;
    /// All rows.
    fn table(&self) -> Vec<TableRow>;
    /// Runs the kernel of a row.
    fn run(
        &self,
        row: usize,
        dtype: DType,
        ins: &[View<'_>],
        out: &mut Out<'_>,
        scratch: &mut Scratch,
    ) -> Result<()>;
    /// Whether there is a kernel [on slices](Op::on_slices) for results of this element type.
    #[doc(hidden)]
    fn takes_slices(&self, dtype: DType) -> bool;
    /// Runs it.
    #[doc(hidden)]
    fn run_on_slices(
        &self,
        dtype: DType,
        first: &CsrSlices<'_>,
        others: &[View<'_>],
        shape: &Shape,
        out: &mut Tensor,
    ) -> Result<()>;
    /// See [`Op::reads`].
    fn reads(&self, i: usize) -> Read;
    /// See [`Op::may_alias`].
    fn may_alias(&self, i: usize) -> bool;
    /// See [`Op::in_place`].
    fn in_place(&self, i: usize) -> bool;
    /// See [`Op::lanewise`].
    #[doc(hidden)]
    fn lanewise(&self) -> Option<&'static Lanewise>;
    /// See [`Op::scalars`].
    #[doc(hidden)]
    fn scalars(&self) -> [f64; 2];
    /// See [`Op::slope`].
    #[doc(hidden)]
    fn slope(&self, i: usize) -> Option<&'static Slope>;
    /// See [`Op::vjp`].
    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>);
    /// What the backward rule is the derivative of, where it is not the operator's own.
    fn why_stated(&self) -> Option<&'static str>;
    /// Whether the backward rule takes no notice of the head cotangent: [`Gradient::Loss`].
    fn ignores_head(&self) -> bool;
    /// The operator's fields.
    fn to_json(&self) -> Result<serde_json::Value>;
    /// See [`Op::depends_on_mode`].
    fn depends_on_mode(&self) -> bool;
    /// The operator itself, for those who know its type.
    fn as_any(&self) -> &dyn Any;
}

impl<O: Op> DynOp for O {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn label(&self) -> Cow<'_, str> {
        Op::label(self)
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        Op::refine(self, ins, out)
    }

    fn dtype(&self, ins: &[DType]) -> Result<DType> {
        Op::dtype(self, ins)
    }

    fn takes(&self, n: usize) -> bool {
        self.cases().iter().any(|case| case.ins.takes(n))
    }

    fn find_row(&self, ins: &[Stype]) -> Option<(usize, Stype)> {
        let cases = self.cases();
        let row = cases.iter().position(|case| case.ins.matches(ins))?;
        Some((row, cases[row].out))
    }

    fn rows(&self, n: usize) -> Vec<(SmallVec<[Stype; 4]>, Stype)> {
        let fitting = self.cases().iter().filter(|case| case.ins.takes(n));
        fitting.map(|case| ((0..n).map(|i| case.ins.get(i)).collect(), case.out)).collect()
    }

    fn table(&self) -> Vec<TableRow> {
        let row =
            |case: &Case<O>| TableRow { ins: case.ins, out: case.out, dtypes: case.run.taken() };
        self.cases().iter().map(row).collect()
    }

    fn run(
        &self,
        row: usize,
        dtype: DType,
        ins: &[View<'_>],
        out: &mut Out<'_>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let kernels = &self.cases()[row].run;
        match kernels.get(dtype) {
            Some(kernel) => kernel(self, ins, out, scratch),
            None => {
                let taken: Vec<String> =
                    kernels.taken().iter().map(|dtype| dtype.to_string()).collect();
                let message =
                    format!("does not take {dtype}, only {}; use `cast`", taken.join(" and "));
                Err(Error::new(ErrorKind::DType, message))
            }
        }
    }

    fn takes_slices(&self, dtype: DType) -> bool {
        self.on_slices(dtype).is_some()
    }

    fn run_on_slices(
        &self,
        dtype: DType,
        first: &CsrSlices<'_>,
        others: &[View<'_>],
        shape: &Shape,
        out: &mut Tensor,
    ) -> Result<()> {
        match self.on_slices(dtype) {
            Some(kernel) => kernel(self, first, others, shape, out),
            None => Err(Error::new(ErrorKind::DType, format!("takes no slices of {dtype}"))),
        }
    }

    fn reads(&self, i: usize) -> Read {
        Op::reads(self, i)
    }

    fn may_alias(&self, i: usize) -> bool {
        Op::may_alias(self, i)
    }

    fn in_place(&self, i: usize) -> bool {
        Op::in_place(self, i)
    }

    fn lanewise(&self) -> Option<&'static Lanewise> {
        Op::lanewise(self)
    }

    fn scalars(&self) -> [f64; 2] {
        Op::scalars(self)
    }

    fn slope(&self, i: usize) -> Option<&'static Slope> {
        Op::slope(self, i)
    }

    fn vjp<'t>(&self, x: &[Var<'t>], y: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        Op::vjp(self, x, y, dy, grads)
    }

    fn why_stated(&self) -> Option<&'static str> {
        match self.gradient() {
            Gradient::True => None,
            Gradient::Stated { why, .. } | Gradient::Loss { why, .. } => Some(why),
        }
    }

    fn ignores_head(&self) -> bool {
        matches!(self.gradient(), Gradient::Loss { .. })
    }

    fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|e| {
            Error::new(ErrorKind::Parse, "cannot write the operator's fields").caused_by(e)
        })
    }

    fn depends_on_mode(&self) -> bool {
        Op::depends_on_mode(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A handle to an operator on a tape. Operators without fields take no memory.
#[derive(Clone, Debug)]
pub struct OpRef(Handle);

#[derive(Clone, Debug)]
enum Handle {
    Static(&'static dyn DynOp),
    Shared(Arc<dyn DynOp>),
}

impl OpRef {
    /// A handle to an operator that lives forever.
    pub fn from_static(op: &'static impl Op) -> Self {
        OpRef::forever(op)
    }

    /// [`OpRef::from_static`] of any operator.
    pub(super) fn forever(op: &'static dyn DynOp) -> Self {
        OpRef(Handle::Static(op))
    }

    /// The operator, if it lives forever.
    #[inline]
    pub(super) fn as_static(&self) -> Option<&'static dyn DynOp> {
        match self.0 {
            Handle::Static(op) => Some(op),
            Handle::Shared(_) => None,
        }
    }

    /// The operator, if it is of this type.
    pub(crate) fn get<O: Op>(&self) -> Option<&O> {
        self.as_any().downcast_ref()
    }
}

impl<O: Op> From<O> for OpRef {
    fn from(op: O) -> Self {
        if size_of::<O>() == 0 {
            // A box of a zero-sized type owns no memory: leaking it leaks nothing.
            return OpRef(Handle::Static(Box::leak(Box::new(op))));
        }
        OpRef(Handle::Shared(Arc::new(op)))
    }
}

impl Deref for OpRef {
    type Target = dyn DynOp;

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Handle::Static(op) => *op,
            Handle::Shared(op) => &**op,
        }
    }
}
