//! What optimizers keep beside a table's rows.

use std::sync::Weak;

use smallvec::SmallVec;

use super::rows::RowIndex;
use super::table::{edit, swap_remove};
use crate::kernels::update::missed::Missed;
use crate::tensor::{Real, Values};

/// What one optimizer keeps of one parameter, beside its weights or of rows whose weights are absent.
#[derive(Debug)]
pub(crate) struct State {
    /// Whose it is: an optimizer that is gone needs no state.
    pub owner: Weak<()>,
    pub columns: SmallVec<[Column; 2]>,
    /// Rows whose weights are absent; without, a row's state has the slot of its weights.
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
    /// Removes the rows at these slots, ascending; the last ones take their places.
    pub fn remove<T: Real>(&mut self, slots: &[u32]) {
        for column in &mut self.columns {
            edit::<T>(&mut column.values, |values| swap_remove(values, column.width, slots));
        }
        if let Some(rows) = &mut self.rows {
            slots.iter().rev().for_each(|&slot| rows.swap_remove(slot));
        }
        if let Some(lag) = &mut self.lag {
            swap_remove(&mut lag.at, 1, slots);
        }
    }

    /// Bytes of all columns, own row ids and steps.
    pub fn bytes(&self) -> usize {
        let column = |c: &Column| c.values.len() * c.values.dtype().size();
        let columns: usize = self.columns.iter().map(column).sum();
        let lag = |lag: &Lag| lag.missed.bytes() + size_of_val(&lag.at[..]);
        columns + self.rows.as_ref().map_or(0, RowIndex::bytes) + self.lag.as_ref().map_or(0, lag)
    }
}
