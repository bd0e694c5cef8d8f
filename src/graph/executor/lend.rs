//! Requests that are served from the caller's own slices.

use std::panic::Location;
use std::sync::Arc;

use super::super::program::{Program, Step};
use super::Executor;
use crate::error::Result;
use crate::tape::{PerOperand, Value};
use crate::tensor::construct::check_room;
use crate::tensor::{CsrSlices, Element, Stype, Tensor, View};

/// Rows that stand for a csr variable during a run.
#[derive(Clone, Copy)]
pub(super) struct Loan<'a> {
    pub variable: u32,
    pub rows: CsrSlices<'a>,
}

impl Executor {
    /// Predicts from borrowed rows of a csr variable: [`Executor::feed_csr`] and [`Executor::forward`] in one, where
    /// nothing is copied if all that reads the rows takes them as they are (the product with a dense tensor does).
    /// Any number of rows; once warm, nothing is allocated. Afterwards the variable has no value.
    ///
    /// ```
    /// use sparsetape::{Graph, Stype, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").stype(Stype::Csr));
    /// let w = tape.symbol(variable("w"));
    /// let graph = Graph::new(&[x.dot(w).sigmoid()])?;
    /// let w = Tensor::full([1_000_000, 1], 0.5f32)?;
    /// let mut executor = graph.bind([("x", &Tensor::zeros(Stype::Csr, [1, 1_000_000], w.dtype())?), ("w", &w)])?;
    /// // Two requests, the second of two rows.
    /// executor.run_csr("x", &[0, 2], &[7, 90_000], &[1.0f32, -1.0])?;
    /// assert_eq!(executor.output(0)?.values::<f32>()?, [0.5]);
    /// executor.run_csr("x", &[0, 0, 1], &[3], &[0.0f32])?;
    /// assert_eq!(executor.output(0)?.values::<f32>()?, [0.5; 2]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Executor::feed_csr`] and [`Executor::forward`]; the executor stays usable.
    #[track_caller]
    pub fn run_csr<T: Element>(
        &mut self,
        name: &str,
        indptr: &[usize],
        indices: &[u32],
        values: &[T],
    ) -> Result<()> {
        let id = self.find_variable(name)?;
        self.check_fed::<T>(id, Stype::Csr)?;
        let ran = match self.lends(id) {
            true => self.run_lent(id, indptr, indices, values),
            false => match self.feed_csr(name, indptr, indices, values) {
                Ok(()) => self.forward(false),
                refused => refused,
            },
        };
        // The rows are no value, there is nothing to go back through, and nothing is left of an earlier request.
        (self.unbound[id], self.passed) = (true, false);
        if ran.is_err() {
            let program = Arc::clone(&self.program);
            self.forget_results(&program);
        }
        ran
    }

    #[track_caller]
    fn run_lent<T: Element>(
        &mut self,
        id: usize,
        indptr: &[usize],
        indices: &[u32],
        values: &[T],
    ) -> Result<()> {
        let at = Location::caller();
        let cols = self.program.types[id].shape[1];
        let rows = CsrSlices::new(cols, indptr, indices, values)
            .map_err(|fault| self.refused(id, fault.operator("csr"), at))?;
        if rows.shape != self.program.types[id].shape[..] {
            self.reshape_to(vec![self.of_shape(id, &rows.shape)])?;
        }
        self.unbound[id] = false;
        let ran = self.pass(false, Some(&Loan { variable: id as u32, rows }));
        // The kernel that finds a fault in the rows does not know whose they are.
        ran.or_else(|error| {
            rows.check().map_err(|fault| self.refused(id, fault.operator("csr"), at))?;
            Err(error)
        })
    }

    /// Whether rows can stand for a variable: all kernels that read it take slices, and nobody looks at it.
    fn lends(&self, id: usize) -> bool {
        self.program.lendable[id] && self.parameters.is_empty() && !self.is_watched()
    }

    /// Runs a step on rows that are lent for its first operand: the others and the result are dense.
    pub(super) fn run_lent_step(
        &mut self,
        program: &Program,
        step: &Step,
        loan: &Loan<'_>,
    ) -> Result<()> {
        let Step { op, plan, node, ins, .. } = step;
        check_room(&plan.shape, plan.stype, plan.dtype)?;
        if !matches!(self.values[*node as usize], Value::Tensor(_)) {
            let waiting = self.memory[program.place_of[*node as usize] as usize].take();
            let memory = waiting.unwrap_or_else(|| Tensor::scalar(0.0f32));
            self.values[*node as usize] = Value::Tensor(memory);
        }
        // Operands come before results.
        let (operands, results) = self.values.split_at_mut(*node as usize);
        let Value::Tensor(result) = &mut results[0] else { unreachable!("a tensor now") };
        let mut others: PerOperand<View<'_>> = PerOperand::new();
        for &id in &ins[1..] {
            match &operands[id as usize] {
                Value::Tensor(tensor) => others.push(tensor.view()),
                _ => unreachable!(
                    "no parameter is bound where rows are lent, and what runs has values"
                ),
            }
        }
        self.workspace
            .arena
            .during(|| op.run_on_slices(plan.dtype, &loan.rows, &others, &plan.shape, result))
    }
}
