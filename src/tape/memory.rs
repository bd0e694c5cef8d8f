//! Recycled memory for results and temporaries.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::construct::dense_len_of;
use crate::tensor::{
    Buffer, DType, Element, Layout, Pattern, Shape, Stype, Tensor, Values, View, row_len, size_of,
};

/// Values waiting to be used again: per element type, by ascending capacity.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    waiting: [Vec<Values>; 3],
}

/// At most this many buffers wait per element type; the smallest are freed first.
const WAITING: usize = 64;

fn class(dtype: DType) -> usize {
    match dtype {
        DType::F32 => 0,
        DType::F64 => 1,
        DType::I64 => 2,
    }
}

impl Pool {
    /// `len` elements with unspecified contents.
    fn take<T: Element>(&mut self, len: usize) -> Vec<T> {
        let waiting = &mut self.waiting[class(T::DTYPE)];
        let at = waiting.partition_point(|v| v.capacity() < len);
        let fits = waiting.get(at).is_some_and(|v| v.capacity() / 4 <= len.max(64));
        let recycled = (fits && len > 0).then(|| T::into_buffer(waiting.remove(at))).flatten();
        let mut vec = recycled.and_then(|b| b.try_into_vec().ok()).unwrap_or_default();
        vec.resize(len, T::default());
        vec
    }

    /// Takes back the memory of values that nobody shares.
    pub(crate) fn recycle(&mut self, values: Values) {
        let waiting = &mut self.waiting[class(values.dtype())];
        let unshared = match values {
            Values::F32(b) => b.try_into_vec().map(|v| Values::F32(v.into())).ok(),
            Values::F64(b) => b.try_into_vec().map(|v| Values::F64(v.into())).ok(),
            Values::I64(b) => b.try_into_vec().map(|v| Values::I64(v.into())).ok(),
        };
        let Some(values) = unshared.filter(|v| v.capacity() > 0) else { return };
        let at = waiting.partition_point(|v| v.capacity() < values.capacity());
        waiting.insert(at, values);
        if waiting.len() > WAITING {
            waiting.remove(0);
        }
    }
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
    pool: Pool,
    pub(super) mode: Mode,
}

impl Scratch {
    /// Whether to train, and the numbers that random ones are keyed by.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// `len` elements with unspecified contents.
    pub fn take<T: Element>(&mut self, len: usize) -> Vec<T> {
        self.pool.take(len)
    }

    /// Takes back what [`Scratch::take`] gave.
    pub fn give<T: Element>(&mut self, vec: Vec<T>) {
        self.pool.recycle(T::erase(vec.into()));
    }
}

/// Where a kernel puts its result: recycled memory in the result's layout, or an operand itself.
///
/// Methods that lend memory return it with *unspecified contents* unless they say otherwise.
#[derive(Debug)]
pub struct Out<'a> {
    shape: &'a Shape,
    stype: Stype,
    dtype: DType,
    ins: &'a [View<'a>],
    pool: &'a mut Pool,
    made: Option<Made>,
}

/// What a kernel made.
#[derive(Debug)]
pub(crate) enum Made {
    Value(Layout, Values),
    Alias(usize),
}

impl<'a> Out<'a> {
    pub(crate) fn new(
        (shape, stype, dtype): (&'a Shape, Stype, DType),
        ins: &'a [View<'a>],
        pool: &'a mut Pool,
    ) -> Self {
        Out { shape, stype, dtype, ins, pool, made: None }
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
        self.fill(Layout::Dense, self.shape.size())
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
        self.csr_on(&Arc::new(pattern))
    }

    /// A finished CSR result from parts that are valid by construction.
    pub(crate) fn set_csr<T: Element>(&mut self, (indptr, indices, values): CsrParts<T>) {
        let pattern = Pattern::new(self.shape[1], indptr.into(), indices.into());
        self.made = Some(Made::Value(Layout::Csr(Arc::new(pattern)), T::erase(values.into())));
    }

    /// Memory for a row-sparse result with the given ascending, unique rows.
    ///
    /// # Errors
    /// As [`Tensor::row_sparse`].
    pub fn rows<T: Element>(&mut self, rows: impl Into<Buffer<u32>>) -> Result<&mut [T]> {
        let rows = rows.into();
        let sorted = rows.windows(2).all(|w| w[0] < w[1]);
        let bound = self.shape.first().copied().unwrap_or(0);
        let bounded = rows.last().is_none_or(|&r| (r as usize) < bound);
        if self.shape.is_empty() || !sorted || !bounded {
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
        let values = T::erase(self.pool.take::<T>(len).into());
        let made = self.made.insert(Made::Value(layout, values));
        match made {
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
    pub(crate) fn finish(mut self) -> Result<Made> {
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

/// Row pointers, column ids and values of a CSR matrix.
pub(crate) type CsrParts<T> = (Vec<usize>, Vec<u32>, Vec<T>);
