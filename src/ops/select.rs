//! A choice between two values, element by element or row by row.

use std::sync::LazyLock;

use super::map::expr::Expr;
use super::map::program::Program;
use super::map::{Map, stretched_of};
use crate::error::{ErrorKind, Result};
use crate::tape::op::Sample;
use crate::tape::{Var, compose};
use crate::tensor::{DType, Tensor};

/// The masks in the cotangents are selects too: what was not chosen does no harm, even if infinite.
static SELECT: LazyLock<&'static Program> = LazyLock::new(|| {
    let expr = Expr::build(3, |b| {
        let (condition, yes, no) = (b.input(0), b.input(1), b.input(2));
        b.select(condition, yes, no)
    });
    Program::intern("select".to_owned(), expr, None)
});

impl<'t> Var<'t> {
    /// `yes` where this condition is not 0 (NaN is not), else `no`. (MXNet: `where`.)
    ///
    /// Shapes broadcast by numpy's rules, but that a condition of one axis, beside choices of more,
    /// chooses rows. The condition is i64, or of the choices' element type.
    ///
    /// The result is sparse where both choices are, or where an absent condition chooses a sparse
    /// one; a csr condition of dense choices is not made dense. The condition has a zero gradient,
    /// and what was not chosen, even an infinity, does not reach a choice's; beside a csr condition
    /// that of `yes` is csr.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?);
    /// let rows = tape.constant(Tensor::dense([2], vec![0i64, 1])?);
    /// let y = rows.select(x, x.neg());
    /// assert_eq!(y.value()?.values::<f32>()?, [-1.0, -2.0, 3.0, 4.0]);
    /// let dx = y.sum().backward()?;
    /// assert_eq!(dx.wrt(x).unwrap().values::<f32>()?, [-1.0, -1.0, 1.0, 1.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "where")]
    #[doc(alias = "where_cond")]
    #[doc(alias = "mux")]
    #[track_caller]
    pub fn select(self, yes: Var<'t>, no: Var<'t>) -> Var<'t> {
        let condition = match (self.dtype(), yes.dtype()) {
            (Ok(DType::I64), Ok(dtype)) => self.cast(dtype),
            (Ok(DType::I64), Err(error)) => yes.poisoned(error),
            _ => self,
        };
        let operands = [condition.for_rows_of(yes, no), yes, no];
        Var::apply(Map::new(*SELECT, &[], stretched_of(&operands)), &operands)
    }

    /// With an axis of size 1 for each axis of the choices beyond the first, if there is one axis.
    #[track_caller]
    fn for_rows_of(self, yes: Var<'t>, no: Var<'t>) -> Var<'t> {
        let (own, chosen) = match (self.known_rank(), yes.rank().max(no.rank())) {
            (Ok(own), Some(chosen)) => (own, chosen),
            (Ok(1), None) => return yes.known_rank().map_or_else(|e| self.poisoned(e), |_| self),
            (Err(error), None | Some(2..)) => return self.poisoned(error),
            _ => return self,
        };
        if own != 1 || chosen < 2 {
            return self;
        }
        let mut sizes = vec![1; chosen];
        sizes[0] = -1;
        self.reshape(&sizes)
    }
}

impl Tensor {
    /// Unrecorded [`Var::select`].
    ///
    /// # Errors
    /// What the recorded operators refuse, at once.
    #[track_caller]
    pub fn select(&self, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        compose([self, yes, no], |[condition, yes, no]| condition.select(yes, no))
    }
}

pub(super) fn samples() -> Vec<Sample<Map>> {
    let map = |stretched| Map::new(*SELECT, &[], stretched);
    let x = |shape: &[usize], skip: usize| {
        let columns = shape.last().copied().unwrap_or(1);
        Tensor::from_fn(shape, move |i| match i {
            _ if i % skip == 0 || (i / columns) % 3 == 1 => 0.0,
            i => i as f64 - 5.5,
        })
    };
    let full = |shape: &[usize]| Tensor::from_fn(shape, |i| i as f64 - 2.3);
    vec![
        Sample::good(map(0), [x(&[3, 4], 2), x(&[3, 4], 3), x(&[3, 4], 5)]),
        Sample::good(map(0), [x(&[3, 4], 2), full(&[3, 4]), full(&[3, 4])]),
        Sample::good(map(0), [x(&[2, 1, 3], 2), full(&[2, 1, 3]), full(&[2, 1, 3])]),
        Sample::good(map(0), [x(&[1], 2), full(&[1]), full(&[1])]),
        Sample::good(map(0b001), [x(&[3, 1], 2), x(&[3, 4], 3), x(&[3, 4], 5)]),
        Sample::good(map(0b110), [x(&[3, 4], 2), full(&[4]), full(&[])]),
        Sample::bad(
            map(0),
            [x(&[3, 4], 2), x(&[3, 4], 3), x(&[3, 5], 3)],
            ErrorKind::Shape,
            "differ",
        ),
        Sample::bad(
            map(0b001),
            [x(&[2, 1], 2), x(&[3, 4], 3), x(&[3, 4], 3)],
            ErrorKind::Shape,
            "do not broadcast",
        ),
    ]
}
