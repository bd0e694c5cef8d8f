//! What optimizers keep beside a table's rows.

use std::sync::Weak;

use smallvec::SmallVec;

use super::rows::RowIndex;
use super::table::{edit, swap_remove};
use crate::kernels::update::missed::Missed;
use crate::tensor::{Real, Values};

/// Runs the same code on the weights and the columns of a state, of which there are at most two.
macro_rules! with_columns {
    ($w:expr, $k:expr, $columns:expr, $rows:ident => $body:expr) => {
        match &mut $columns[..] {
            [] => {
                let $rows = $crate::kernels::update::Rows { w: $w, s: [], k: $k, widths: [] };
                $body
            }
            [one] => {
                let (s, widths) =
                    ([<T as $crate::tensor::Element>::unique_slice(&mut one.values)], [one.width]);
                let $rows = $crate::kernels::update::Rows { w: $w, s, k: $k, widths };
                $body
            }
            [one, two, ..] => {
                let widths = [one.width, two.width];
                let s = [
                    <T as $crate::tensor::Element>::unique_slice(&mut one.values),
                    <T as $crate::tensor::Element>::unique_slice(&mut two.values),
                ];
                let $rows = $crate::kernels::update::Rows { w: $w, s, k: $k, widths };
                $body
            }
        }
    };
}
pub(super) use with_columns;

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

    /// Whether rows may have steps to make.
    pub fn is_behind(&self) -> bool {
        self.lag.as_ref().is_some_and(|lag| lag.missed.now() > 0)
    }

    /// Bytes of all columns, own row ids and steps.
    pub fn bytes(&self) -> usize {
        let column = |c: &Column| c.values.len() * c.values.dtype().size();
        let columns: usize = self.columns.iter().map(column).sum();
        let lag = |lag: &Lag| lag.missed.bytes() + size_of_val(&lag.at[..]);
        columns + self.rows.as_ref().map_or(0, RowIndex::bytes) + self.lag.as_ref().map_or(0, lag)
    }
}

impl Column {
    /// Zeros for so many rows.
    pub fn zeros<T: Real>(width: usize, rows: usize) -> Column {
        Column { width, values: Values::zeros(T::DTYPE, rows * width) }
    }
}
