//! Values by position, whatever the storage type.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::tensor::approx::merged;
use crate::tensor::dtype::each_dtype;
use crate::tensor::{Element, Layout, Shape, Slice, Tensor, Values, row_len};

/// A row, and a position in it.
pub(super) type Place = (usize, usize);

/// Stored values by place.
pub(super) type Entries = BTreeMap<Place, f64>;

pub(super) fn entries(x: &Tensor) -> Entries {
    x.stored().map(|(place, at)| (place, x.view().values().get_f64(at))).collect()
}

/// Adds the stored values of `x`.
pub(super) fn add_entries(sum: &mut Entries, x: &Tensor) {
    for (place, value) in entries(x) {
        *sum.entry(place).or_default() += value;
    }
}

fn values_from(slice: Slice<'_>, new: impl Fn(usize) -> f64) -> Values {
    fn typed<T: Element>(len: usize, new: impl Fn(usize) -> f64) -> Values {
        T::erase((0..len).map(|i| T::from_f64(new(i))).collect::<Vec<T>>().into())
    }
    match slice {
        Slice::F32(v) => typed::<f32>(v.len(), new),
        Slice::F64(v) => typed::<f64>(v.len(), new),
        Slice::I64(v) => typed::<i64>(v.len(), new),
    }
}

/// `x` with other stored values, from place and value.
pub(super) fn replaced(x: &Tensor, new: impl Fn(Place, f64) -> f64) -> Tensor {
    let held = x.view().values();
    let mut values = vec![0.0; held.len()];
    x.stored().for_each(|(place, at)| values[at] = new(place, held.get_f64(at)));
    let (shape, layout, _) = x.clone().into_parts();
    Tensor::from_parts(shape, layout, values_from(held, |i| values[i]))
}

/// `x` with `by` added at one place. An absent row of a row-sparse tensor is inserted.
pub(super) fn moved(x: &Tensor, place: Place, by: f64) -> Tensor {
    let x = with_row(x, place.0);
    replaced(&x, |at, value| if at == place { value + by } else { value })
}

fn with_row(x: &Tensor, row: usize) -> Tensor {
    let Some(rows) = x.rows() else { return x.clone() };
    let Err(at) = rows.binary_search(&(row as u32)) else { return x.clone() };
    let k = row_len(x.shape());
    let mut rows = rows.to_vec();
    rows.insert(at, row as u32);
    let held = x.view().values();
    let old = |i: usize| match i / k.max(1) {
        n if n < at => held.get_f64(i),
        n if n == at => 0.0,
        _ => held.get_f64(i - k),
    };
    let zeros = Values::zeros(x.dtype(), held.len() + k);
    let values = values_from(zeros.as_slice(), old);
    Tensor::from_parts(x.shape().clone(), Layout::RowSparse(rows.into()), values)
}

/// A sum, and the sum of its terms' magnitudes, which bounds its rounding error.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub value: f64,
    pub size: f64,
}

impl Sum {
    /// Adds `Σ weight · x` over the places of the weights that are not zero.
    pub fn add(&mut self, weights: &Tensor, x: &Tensor) {
        let (w, held) = (weights.view().values(), x.view().values());
        for (_, weight, at) in merged(weights.stored(), x.stored()) {
            let (Some(weight), Some(at)) = (weight, at) else { continue };
            let weight = w.get_f64(weight);
            if weight != 0.0 {
                let term = weight * held.get_f64(at);
                self.value += term;
                self.size += term.abs();
            }
        }
    }
}

/// A fixed number for a place: ±0.5 to ±1.5, exact in `f32`.
pub(super) fn weight(seed: u64, (row, offset): Place) -> f64 {
    let mixed = mix(mix(mix(seed) ^ row as u64) ^ offset as u64);
    let size = 0.5 + (mixed >> 44) as f64 / (1u64 << 20) as f64;
    if mixed & 1 == 0 { size } else { -size }
}

/// Weights where `x` stores finite values; 0 elsewhere, so that an infinity spoils its own entry only.
pub(super) fn weights(seed: u64, x: &Tensor) -> Tensor {
    replaced(x, |place, value| if value.is_finite() { weight(seed, place) } else { 0.0 })
}

/// The finaliser of splitmix64.
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A dense tensor twice, one copy after the other along the first axis.
pub(super) fn doubled(x: &Tensor) -> Result<Tensor> {
    let shape: Shape =
        x.shape().iter().enumerate().map(|(axis, &n)| if axis == 0 { 2 * n } else { n }).collect();
    each_dtype!(Slice::x.view().values(), v => Tensor::dense(shape, [v, v].concat()))
}

/// Distinct columns of a csr matrix, or ids; anything else names all rows.
pub(super) fn rows_named_by(x: &Tensor) -> Option<Vec<usize>> {
    if let Some(pattern) = x.pattern() {
        return Some(pattern.columns().distinct.iter().map(|&c| c as usize).collect());
    }
    let ids = x.values::<i64>().ok()?;
    Some(ids.iter().map(|&id| id as usize).collect())
}
