//! Where kernels put results and temporaries: in recycled memory.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::ascending::rows_ascend;
use crate::kernels::memory::{Arena, Csr, Temp, give_back};
use crate::tensor::construct::dense_len_of;
use crate::tensor::dtype::each_dtype;
use crate::tensor::{
    Buffer, DType, Element, Layout, Pattern, Shape, Stype, Tensor, Values, View, row_len, size_of,
};

/// Something of each operand of an operator that takes any number of them; of more it takes memory.
pub(crate) type PerOperand<T> = SmallVec<[T; 8]>;

/// Takes back the memory of a tensor, as far as nobody shares it.
pub(crate) fn recycle(tensor: Tensor, arena: &mut Arena) {
    let values = recycle_layout(tensor, arena);
    each_dtype!(Values::values, buffer => buffer.recycle(arena));
}

/// Takes back the memory of patterns and ids; the values are left.
pub(super) fn recycle_layout(tensor: Tensor, arena: &mut Arena) -> Values {
    let (_, layout, values) = tensor.into_parts();
    match layout {
        Layout::Dense => {}
        Layout::Csr(pattern) => Pattern::recycle(pattern, arena),
        Layout::RowSparse(rows) => rows.recycle(arena),
    }
    values
}

/// Whether operators that differ between training and prediction (dropout) are to train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They do what they do in prediction.
    #[default]
    Predict,
    /// They train, with random numbers that follow from these two.
    Train {
        /// Of the whole training.
        seed: u64,
        /// The step; each has other random numbers.
        step: u64,
    },
}

/// What a kernel runs in: temporaries, taken for a call, given back, used again by the next; and the
/// mode.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) mode: Mode,
    differentiated: bool,
}

impl Scratch {
    /// Whether to train, and the numbers that random ones are keyed by.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Whether gradients of operands may be asked for later: then what the backward pass needs of a pattern, too,
    /// is worth to be computed now.
    pub(crate) fn is_differentiated(&self) -> bool {
        self.differentiated
    }

    pub(crate) fn set_differentiated(&mut self, differentiated: bool) {
        self.differentiated = differentiated;
    }

    /// `len` elements of any plain type with unspecified contents.
    pub fn take<T: Copy + Default + Send + 'static>(&mut self, len: usize) -> Vec<T> {
        Temp::unspecified(len).into()
    }

    /// Takes back what [`Scratch::take`] gave.
    pub fn give<T: Copy + Send + 'static>(&mut self, vec: Vec<T>) {
        drop(Temp::from(vec));
    }
}

/// Where a kernel puts its result: recycled memory in the result's layout, or an operand itself.
///
/// Methods that lend memory return it with *unspecified contents* unless they say otherwise. Ids and
/// pointers in vectors from [`Scratch::take`] are recycled memory, too.
#[derive(Debug)]
pub struct Out<'a> {
    shape: &'a Shape,
    stype: Stype,
    dtype: DType,
    ins: &'a [View<'a>],
    own: Option<InPlace>,
    /// Memory of a dead result, used before any other.
    spare: Option<Values>,
    made: Option<Made>,
}

/// The memory of an operand that dies here, for the result.
#[derive(Debug)]
pub(crate) struct InPlace {
    operand: usize,
    values: Values,
}

impl InPlace {
    /// That of `dead`, dense, of the result's shape and element type, and operand `operand` alone, where
    /// its view is [`View::without_values`]; or the operand, if its memory is shared after all.
    #[expect(clippy::result_large_err, reason = "moved to the caller, who puts it back")]
    pub fn of(operand: usize, dead: Tensor) -> Result<Self, Tensor> {
        let (shape, layout, mut values) = dead.into_parts();
        match each_dtype!(Values::&mut values, buffer => buffer.unique().is_some()) {
            true => Ok(InPlace { operand, values }),
            false => Err(Tensor::from_parts(shape, layout, values)),
        }
    }

    pub fn operand(&self) -> usize {
        self.operand
    }
}

/// What a kernel made.
#[derive(Debug)]
pub(crate) enum Made {
    Value(Layout, Values),
    Alias(usize),
}

impl<'a> Out<'a> {
    #[inline]
    pub(crate) fn new(
        (shape, stype, dtype): (&'a Shape, Stype, DType),
        ins: &'a [View<'a>],
        own: Option<InPlace>,
        spare: Option<Values>,
    ) -> Result<Self> {
        if let Some(InPlace { operand, values }) = &own
            && (Stype::Default, values.dtype(), values.len()) != (stype, dtype, shape.size())
        {
            let message = format!("the memory of operand {operand} is none for {shape} {stype}");
            return Err(Error::new(ErrorKind::State, message));
        }
        Ok(Out { shape, stype, dtype, ins, own, spare, made: None })
    }

    /// The operand whose values are in the memory that [`Out::dense`] lends, for the result to
    /// replace them: an operand that dies here, and that [`Op::in_place`](crate::Op::in_place)
    /// allows. Its view has a shape, but no values.
    pub fn in_place(&self) -> Option<usize> {
        self.own.as_ref().map(InPlace::operand)
    }

    /// The result's shape.
    pub fn shape(&self) -> &'a Shape {
        self.shape
    }

    /// The result's storage type, from the table row that runs.
    pub fn stype(&self) -> Stype {
        self.stype
    }

    /// The result's element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Memory for a dense result.
    pub fn dense<T: Element>(&mut self) -> &mut [T] {
        match self.own.take() {
            Some(InPlace { values, .. }) => self.store(Layout::Dense, values),
            None => self.fill(Layout::Dense, self.shape.size()),
        }
    }

    /// The values made so far, for what comes on top of them.
    pub(crate) fn made<T: Element>(&mut self) -> &mut [T] {
        match &mut self.made {
            Some(Made::Value(_, values)) => T::unique_slice(values),
            _ => &mut [],
        }
    }

    /// Zeroed memory for a dense result.
    pub fn zeros<T: Element>(&mut self) -> &mut [T] {
        let values = self.dense();
        values.fill(T::default());
        values
    }

    /// Memory for values wherever `view`, of the result's shape, stores some: all elements of a dense
    /// one, else the same pattern or rows.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] or [`ErrorKind::Index`] if the view is not of the result's shape.
    pub fn like<T: Element>(&mut self, view: &View<'_>) -> Result<&mut [T]> {
        match view {
            View::Dense(_) => Ok(self.dense()),
            View::Csr(v) => self.csr_on(v.pattern),
            View::RowSparse(v) => self.rows(v.rows.clone()),
        }
    }

    /// Memory for values on a CSR pattern, which is shared.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if the pattern is not of the result's shape.
    pub fn csr_on<T: Element>(&mut self, pattern: &Arc<Pattern>) -> Result<&mut [T]> {
        if self.shape[..] != [pattern.rows(), pattern.cols()] {
            let (rows, cols) = (pattern.rows(), pattern.cols());
            let message = format!("a pattern of ({rows}, {cols}) for a result of {}", self.shape);
            return Err(Error::new(ErrorKind::Shape, message));
        }
        Ok(self.fill(Layout::Csr(pattern.clone()), pattern.nnz()))
    }

    /// Memory for a CSR result with a new pattern, which is checked.
    ///
    /// # Errors
    /// As [`Tensor::csr`].
    pub fn csr<T: Element>(
        &mut self,
        indptr: impl Into<Buffer<usize>>,
        indices: impl Into<Buffer<u32>>,
    ) -> Result<&mut [T]> {
        let &[rows, cols] = &self.shape[..] else {
            return Err(Error::new(
                ErrorKind::Shape,
                format!("csr result of shape {}", self.shape),
            ));
        };
        let pattern = Pattern::checked(rows, cols, indptr.into(), indices.into())?;
        self.csr_on(&pattern.share())
    }

    /// A finished CSR result from parts that are valid by construction.
    pub(crate) fn set_csr<T: Element>(&mut self, csr: Csr<T>) {
        let pattern = Pattern::new(self.shape[1], csr.indptr.into(), csr.indices.into());
        self.store::<T>(Layout::Csr(pattern.share()), T::erase(csr.values.into()));
    }

    /// Memory for a row-sparse result with the given ascending, unique rows.
    ///
    /// # Errors
    /// As [`Tensor::row_sparse`].
    pub fn rows<T: Element>(&mut self, rows: impl Into<Buffer<u32>>) -> Result<&mut [T]> {
        let rows = rows.into();
        let bound = self.shape.first().copied().unwrap_or(0);
        if self.shape.is_empty() || !rows_ascend(&[0, rows.len()], &rows, bound, |_| {}) {
            let message =
                format!("rows of a result of shape {} out of order or bounds", self.shape);
            return Err(Error::new(ErrorKind::Index, message));
        }
        let block: Shape = [rows.len()].iter().chain(&self.shape[1..]).copied().collect();
        let stored = dense_len_of(&block, T::DTYPE)?;
        Ok(self.fill(Layout::RowSparse(rows), stored))
    }

    /// The result is operand `i` itself (in the result's shape): nothing is computed or copied.
    pub fn alias(&mut self, i: usize) {
        self.made = Some(Made::Alias(i));
    }

    /// The result is a finished tensor; only its layout and values are kept.
    pub(crate) fn set(&mut self, tensor: Tensor) {
        let (_, layout, values) = tensor.into_parts();
        self.made = Some(Made::Value(layout, values));
    }

    fn fill<T: Element>(&mut self, layout: Layout, len: usize) -> &mut [T] {
        let values = self.spare.take().unwrap_or_else(|| T::erase(Buffer::default()));
        match self.made.insert(Made::Value(layout, values)) {
            Made::Value(_, values) => T::buffer_mut(values).overwritten(len),
            Made::Alias(_) => &mut [],
        }
    }

    fn store<T: Element>(&mut self, layout: Layout, values: Values) -> &mut [T] {
        match self.made.insert(Made::Value(layout, values)) {
            Made::Value(_, values) => T::unique_slice(values),
            Made::Alias(_) => &mut [],
        }
    }

    /// Operand `i`, if its values are those of a result of this shape.
    fn aliased(&self, i: usize) -> Result<View<'a>> {
        let fault = |why| Err(Error::new(ErrorKind::State, why));
        let Some(&view) = self.ins.get(i) else {
            return fault(format!("the kernel aliases operand {i}, which there is not"));
        };
        let fits = match view {
            View::Dense(v) => size_of(v.shape) == self.shape.size(),
            View::Csr(v) => v.shape == &self.shape[..],
            View::RowSparse(v) => {
                v.shape.first() == self.shape.first() && row_len(v.shape) == row_len(self.shape)
            }
        };
        match fits {
            true => Ok(view),
            false => fault(format!("operand {i}, {}, aliased in shape {}", view.ty(), self.shape)),
        }
    }

    /// What the kernel made, after checking that it is what the row promises.
    #[inline]
    pub(crate) fn finish(mut self) -> Result<Made> {
        if let Some(spare) = self.spare.take() {
            each_dtype!(Values::spare, buffer => give_back(buffer));
        }
        let made = self
            .made
            .take()
            .ok_or_else(|| Error::new(ErrorKind::State, "the kernel returned without a result"))?;
        let (stype, dtype) = match &made {
            Made::Alias(i) => {
                let view = self.aliased(*i)?;
                (view.stype(), view.dtype())
            }
            Made::Value(Layout::Dense, values) => (Stype::Default, values.dtype()),
            Made::Value(Layout::Csr(_), values) => (Stype::Csr, values.dtype()),
            Made::Value(Layout::RowSparse(_), values) => (Stype::RowSparse, values.dtype()),
        };
        if (stype, dtype) != (self.stype, self.dtype) {
            let (s, d) = (self.stype, self.dtype);
            let message = format!("the kernel made {stype} {dtype}, its table row says {s} {d}");
            return Err(Error::new(ErrorKind::State, message));
        }
        Ok(made)
    }
}
