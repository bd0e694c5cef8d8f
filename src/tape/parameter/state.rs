//! What optimizers keep beside a table's rows.

use std::sync::Weak;

use smallvec::SmallVec;

use super::rows::RowIndex;
use crate::kernels::update::missed::Missed;
use crate::tensor::Values;

/// What one optimizer keeps of one parameter.
#[derive(Debug)]
pub(crate) struct State {
    /// Whose it is: an optimizer that is gone needs no state.
    pub owner: Weak<()>,
    pub columns: SmallVec<[Column; 2]>,
    /// Rows with an order of their own; without, a row's state has the slot of its weights.
    pub rows: Option<RowIndex>,
    /// In exact mode: how far behind rows are.
    pub lag: Option<Lag>,
}

/// Numbers for every row.
#[derive(Debug)]
pub(crate) struct Column {
    /// How many for a row.
    pub width: usize,
    pub values: Values,
}

/// Rows that are behind, and what they have missed.
#[derive(Debug)]
pub(crate) struct Lag {
    pub missed: Missed,
    /// By slot: the step that a row is at.
    pub at: Vec<u32>,
}

impl State {
    /// Bytes of all columns, own row ids and steps.
    pub fn bytes(&self) -> usize {
        let column = |c: &Column| c.values.len() * c.values.dtype().size();
        let columns: usize = self.columns.iter().map(column).sum();
        let lag = |lag: &Lag| lag.missed.bytes() + size_of_val(&lag.at[..]);
        columns + self.rows.as_ref().map_or(0, RowIndex::bytes) + self.lag.as_ref().map_or(0, lag)
    }
}
