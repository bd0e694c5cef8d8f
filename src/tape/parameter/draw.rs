//! What the absent rows of a drawn table are.

use serde::{Deserialize, Serialize};

use super::super::init::Init;
use crate::kernels::update::missed::{Missed, narrow, wide};
use crate::tensor::{Real, Shape, row_len};

/// Absent rows are drawn when they are first needed: what they are follows from the seed and their id,
/// and from the steps of optimizers that are gone.
#[derive(Debug)]
pub(crate) struct Draw {
    pub init: Init,
    pub seed: u64,
    /// What a row without a gradient was multiplied by, one optimizer after the other.
    pub past: Vec<f64>,
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
        for &factor in &self.past {
            // As states of zeros, added, leave it: no zero is negative.
            out.iter_mut().for_each(|w| *w = narrow(factor * wide(*w) + 0.0));
        }
    }

    /// As a file holds it, after these steps of optimizers that are not gone.
    pub fn stored<'a>(&self, lasting: impl Iterator<Item = &'a Missed>) -> Drawn {
        let factors = self.past.iter().copied().chain(lasting.map(Missed::factor)).collect();
        Drawn { init: self.init, seed: self.seed, factors }
    }
}

impl From<Drawn> for Draw {
    fn from(Drawn { init, seed, factors }: Drawn) -> Draw {
        Draw { init, seed, past: factors }
    }
}
