//! What the absent rows of a drawn table are.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::super::init::Init;
use super::state::{Column, with_columns};
use crate::kernels::update::missed::Missed;
use crate::tensor::{Real, Shape, row_len};

/// Absent rows are drawn when they are first needed: what they are follows from the seed and their id,
/// and from the steps of optimizers that are gone.
#[derive(Debug)]
pub(crate) struct Draw {
    pub init: Init,
    pub seed: u64,
    /// What rows without a gradient went through, one optimizer after the other.
    pub past: Vec<Past>,
}

/// All steps of an optimizer that is gone.
#[derive(Debug)]
pub(crate) struct Past {
    missed: Missed,
    /// Of the states that it had.
    widths: SmallVec<[usize; 2]>,
}

/// A [`Draw`] in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Drawn {
    init: Init,
    seed: u64,
    /// Of the drawn values, one after the other, each product rounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    factors: Vec<f64>,
}

impl Draw {
    pub fn new(init: Init, seed: u64) -> Draw {
        Draw { init, seed, past: Vec::new() }
    }

    /// Writes the rows of these ids.
    pub fn rows<T: Real>(&self, shape: &Shape, ids: &[u32], out: &mut [T]) {
        let k = row_len(shape);
        for (&id, out) in ids.iter().zip(out.chunks_mut(k.max(1))) {
            self.init.fill(shape, self.seed, id as u64 * k as u64, out);
        }
        self.past.iter().for_each(|past| past.apply(k, out));
    }

    /// As a file holds it, after these steps of optimizers that are not gone; none if what they make of
    /// a row is not told in numbers.
    pub fn stored<'a>(&'a self, lasting: impl Iterator<Item = &'a Missed>) -> Option<Drawn> {
        let past = self.past.iter().map(|past| &past.missed).chain(lasting);
        let factors = past.map(Missed::factor).collect::<Option<Vec<f64>>>()?;
        Some(Drawn { init: self.init, seed: self.seed, factors })
    }
}

impl From<Drawn> for Draw {
    fn from(Drawn { init, seed, factors }: Drawn) -> Draw {
        let scaled =
            |&factor: &f64| Past { missed: Missed::scaled(factor), widths: SmallVec::new() };
        Draw { init, seed, past: factors.iter().map(scaled).collect() }
    }
}

impl Past {
    /// Of steps that all rows have made.
    pub fn of(missed: Missed, columns: &[Column]) -> Past {
        Past { missed, widths: columns.iter().map(|column| column.width).collect() }
    }

    /// Takes rows of `k` weights through the steps, with states of zeros.
    fn apply<T: Real>(&self, k: usize, w: &mut [T]) {
        let rows = w.len().checked_div(k).unwrap_or(0);
        let zeros = |&width: &usize| Column::zeros::<T>(width, rows);
        let mut columns: SmallVec<[Column; 2]> = self.widths.iter().map(zeros).collect();
        with_columns!(w, k, columns, rows => self.missed.begin(rows));
    }
}
