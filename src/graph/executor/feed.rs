//! Batches for an executor, of any size, from tensors or from borrowed slices.

use std::panic::Location;

use smallvec::SmallVec;

use super::super::bind::Argument;
use super::Executor;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::Value;
use crate::tensor::{Element, Stype, Tensor, row_len};

impl Executor {
    /// Binds variables to values of any shapes that go together, as another batch: where they differ
    /// from those before, [`Executor::reshape`] comes first.
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let graph = Graph::new(&[tape.symbol(variable("x")).exp()])?;
    /// let mut executor = graph.bind([("x", Tensor::full([2], 0.0f32)?)])?;
    /// for n in [2, 5, 2] {
    ///     executor.feed(&[("x", &Tensor::full([n], 0.0f32)?)])?;
    ///     executor.forward(false)?;
    ///     assert_eq!(executor.output(0)?.shape()[..], [n]);
    /// }
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Executor::set`] and [`Executor::reshape`].
    #[track_caller]
    pub fn feed(&mut self, values: &[(&str, &Tensor)]) -> Result<()> {
        let mut ids: SmallVec<[usize; 4]> = SmallVec::new();
        for (name, _) in values {
            ids.push(self.find_variable(name)?);
        }
        let types = &self.program.types;
        if ids.iter().zip(values).any(|(&id, (_, value))| types[id].shape != *value.shape()) {
            let known = ids.iter().zip(values).map(|(&id, (_, x))| self.of_shape(id, x.shape()));
            self.reshape_to(known.collect())?;
        }
        for (id, (_, value)) in ids.into_iter().zip(values) {
            self.put(id, Argument::Tensor((*value).clone()))?;
        }
        Ok(())
    }

    /// [`Executor::feed`] and [`Executor::forward`] as in prediction.
    ///
    /// # Errors
    /// As both.
    #[track_caller]
    pub fn run(&mut self, values: &[(&str, &Tensor)]) -> Result<()> {
        self.feed(values)?;
        self.forward(false)
    }

    /// Copies the rows of a csr variable from borrowed slices, as a request comes in, into memory of the
    /// executor, which is used again for the next: once warm, nothing is allocated. Any number of rows.
    ///
    /// ```
    /// use sparsetape::{Graph, Stype, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").stype(Stype::Csr));
    /// let w = tape.symbol(variable("w"));
    /// let graph = Graph::new(&[x.dot(w)])?;
    /// let w = Tensor::full([1_000_000, 1], 0.5f32)?;
    /// let mut executor = graph.bind([("x", &Tensor::zeros(Stype::Csr, [1, 1_000_000], w.dtype())?), ("w", &w)])?;
    /// let (ids, values) = ([7u32, 90_000], [1.0f32, 3.0]);
    /// executor.feed_csr("x", &[0, 2], &ids, &values)?;
    /// executor.forward(false)?;
    /// assert_eq!(executor.output(0)?.item::<f32>()?, 2.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a name that is not a variable's; [`ErrorKind::Stype`] or
    /// [`ErrorKind::DType`] if the variable is not csr of this element type; as [`Tensor::csr`] and
    /// [`Executor::reshape`].
    #[track_caller]
    pub fn feed_csr<T: Element>(
        &mut self,
        name: &str,
        indptr: &[usize],
        indices: &[u32],
        values: &[T],
    ) -> Result<()> {
        let id = self.find_variable(name)?;
        self.check_fed::<T>(id, Stype::Csr)?;
        let cols = self.program.types[id].shape[1];
        self.refill(id, |last| last.refill_csr(cols, indptr, indices, values))
    }

    /// Copies the values of a dense variable from a borrowed slice, as [`Executor::feed_csr`] does; the size of
    /// the first axis follows from their number.
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let graph = Graph::new(&[tape.symbol(variable("x")).sum_axes(&[1], false)])?;
    /// let mut executor = graph.bind([("x", Tensor::full([1, 2], 0.0f32)?)])?;
    /// executor.feed_dense("x", &[1.0f32, 2.0, 3.0, 4.0])?;
    /// executor.forward(false)?;
    /// assert_eq!(executor.output(0)?.values::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Executor::feed_csr`]; [`ErrorKind::Shape`] if the values are no whole number of rows.
    #[track_caller]
    pub fn feed_dense<T: Element>(&mut self, name: &str, values: &[T]) -> Result<()> {
        let id = self.find_variable(name)?;
        self.check_fed::<T>(id, Stype::Default)?;
        let mut shape: SmallVec<[usize; 4]> = self.program.types[id].shape[..].into();
        let row = row_len(&shape);
        if let Some(first) = shape.first_mut()
            && row > 0
        {
            *first = values.len() / row;
        }
        self.refill(id, |last| last.refill_dense(&shape, values))
    }

    #[track_caller]
    pub(super) fn check_fed<T: Element>(&self, id: usize, stype: Stype) -> Result<()> {
        let ty = &self.program.types[id];
        let kind = match () {
            _ if ty.stype != stype => ErrorKind::Stype,
            _ if ty.dtype != T::DTYPE => ErrorKind::DType,
            _ => return Ok(()),
        };
        let name = &self.program.body.nodes[id].name;
        let message = format!("variable {name:?} is {ty}, fed with {stype} {}", T::DTYPE);
        Err(Error::new(kind, message).operator("feed"))
    }

    /// Binds a variable to a value that is made in place of its last one.
    #[track_caller]
    fn refill(&mut self, id: usize, make: impl FnOnce(&mut Tensor) -> Result<()>) -> Result<()> {
        let at = Location::caller();
        self.unbound[id] = true;
        if !matches!(self.values[id], Value::Tensor(_)) {
            self.values[id] = Value::Tensor(Tensor::scalar(0.0f32));
            self.list_parameter(id);
        }
        let Value::Tensor(own) = &mut self.values[id] else { unreachable!("a tensor now") };
        let fed = make(own).and_then(|()| self.bind_fed(id));
        fed.or_else(|error| {
            // What was refused is no value.
            self.values[id] = Value::Symbol;
            self.fill_placeholders()?;
            Err(self.refused(id, error, at))
        })
    }

    /// An error in what a variable was fed with, at the caller's line.
    pub(super) fn refused(&self, id: usize, error: Error, at: &'static Location<'static>) -> Error {
        let named = error.operator("feed").at(at);
        match named.operand_types() {
            [] => named.operands([&self.program.body.nodes[id].name]),
            _ => named,
        }
    }

    /// Takes what stands in place of a variable's last value, of its storage and element type, for its value.
    fn bind_fed(&mut self, id: usize) -> Result<()> {
        let Value::Tensor(own) = &self.values[id] else { unreachable!("fed with a tensor") };
        if *own.shape() != self.program.types[id].shape {
            let known = vec![self.of_shape(id, own.shape())];
            let fed = std::mem::replace(&mut self.values[id], Value::Symbol);
            self.reshape_to(known)?;
            self.values[id] = fed;
        }
        self.bound(id);
        Ok(())
    }
}
