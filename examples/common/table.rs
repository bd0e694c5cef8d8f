//! Tables of embeddings and the like.

use sparsetape::{DType, Init, Parameter, Result, Stype};

/// A table of f32 with a row for each of so many ids. Gradients are row-sparse, values the same bits whichever way it is
/// kept: dense, which is the fastest by some times, or if that takes more than 128 MiB by the rows that training meets,
/// so that memory does not follow the largest id.
pub fn table(name: &str, rows: usize, width: usize, init: Init, seed: u64) -> Result<Parameter> {
    const LARGEST: usize = 1 << 25;
    let shape = [rows, width];
    if rows.saturating_mul(width) > LARGEST {
        return Parameter::drawn(name, shape, DType::F32, init, seed);
    }
    Parameter::new(name, init.tensor(Stype::Default, shape, DType::F32, seed)?)
}
