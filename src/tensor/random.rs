//! Seeded random tensors and skewed ids, for tests, benchmarks and synthetic data.
//!
//! The generator (PCG XSL-RR 128/64 MCG) and every algorithm here are fixed: a seed gives the same
//! bits on every platform and in every release.

mod zipf;

use std::convert::Infallible;
use std::sync::Arc;

use rand::{Rng, TryRng};
use rand_pcg::Pcg64Mcg;
use rustc_hash::FxHashSet;

use super::construct::{check_row_sparse_shape, csr_shape, dense_len};
use super::dtype::{DType, Element};
use super::pattern::{Pattern, check_extent};
use super::{Layout, Shape, Stype, Tensor, row_len};
use crate::error::{Error, ErrorKind, Result};
pub use zipf::Zipf;
use zipf::unit;

/// What random values look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Gaussian, by mean and standard deviation.
    Normal(f64, f64),
    /// Evenly spread from the first (included) to the second bound.
    Uniform(f64, f64),
}

/// Which columns the entries of a random CSR row are in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popularity {
    /// All columns alike.
    Uniform,
    /// Column `j` with a probability proportional to `(j + 1)^-s`, for `s >= 0`: the first columns
    /// are the popular ones.
    PowerLaw(f64),
    /// The same, with popular columns anywhere: rank `r` of `n` is column `r * m mod n`, where `m`
    /// is the first number from `0.618 n` on that shares no divisor with `n`.
    ScatteredPowerLaw(f64),
}

/// A source of random tensors.
///
/// It is also a generator for the `rand` crate's traits.
///
/// ```
/// use sparsetape::random::{Distribution, Popularity, Random};
/// let mut random = Random::new(7).with_values(Distribution::Uniform(-1.0, 1.0));
/// let weights = random.dense::<f32>([100, 8])?;
/// let clicks = random.csr_rows::<f32>([32, 100], 5, Popularity::PowerLaw(1.1))?;
/// let update = random.row_sparse::<f32>([1 << 32, 8], 1e-9)?;
/// assert_eq!((weights.nnz(), clicks.nnz()), (800, 160));
/// assert!(update.nnz() < 800);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    generator: Pcg64Mcg,
    values: Distribution,
}

impl Random {
    /// A source whose values are standard normal until [`Random::with_values`] says otherwise.
    pub fn new(seed: u64) -> Self {
        let state = u128::from(split_mix(seed)) << 64 | u128::from(split_mix(!seed));
        Random { generator: Pcg64Mcg::new(state), values: Distribution::Normal(0.0, 1.0) }
    }

    /// The same source with values of another distribution.
    ///
    /// ```
    /// use sparsetape::random::{Distribution, Random};
    /// let ids = Random::new(1).with_values(Distribution::Uniform(0.0, 10.0)).dense::<i64>([50])?;
    /// assert!(ids.values::<i64>()?.iter().all(|id| (0..10).contains(id)));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn with_values(mut self, values: Distribution) -> Self {
        self.values = values;
        self
    }

    /// A dense tensor.
    ///
    /// ```
    /// use sparsetape::random::Random;
    /// let x = Random::new(1).dense::<f64>([2, 3])?;
    /// assert!(x.same_bits(&Random::new(1).dense::<f64>([2, 3])?));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if there is no memory for the shape.
    #[track_caller]
    pub fn dense<T: Element>(&mut self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        let size = dense_len::<T>(&shape)?;
        Tensor::dense(shape, self.fill::<T>(size))
    }

    /// A CSR matrix that stores each entry with probability `density`.
    ///
    /// ```
    /// use sparsetape::random::Random;
    /// let mut random = Random::new(1);
    /// assert!((800..1200).contains(&random.csr::<f32>([100, 1000], 0.01)?.nnz()));
    /// assert_eq!(random.csr::<f32>([5, 6], 1.0)?.nnz(), 30);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] for more than 2^32 rows or columns, [`ErrorKind::Value`] if the density
    /// is not within 0..=1.
    #[track_caller]
    pub fn csr<T: Element>(&mut self, shape: [usize; 2], density: f64) -> Result<Tensor> {
        check_density(density)?;
        self.csr_of::<T>(shape, |random, ids| {
            let cols = random.thin(shape[1], density);
            ids.extend(cols.map(|j| j as u32));
        })
    }

    /// A CSR matrix with `per_row` entries in each row.
    ///
    /// ```
    /// use sparsetape::random::{Popularity, Random};
    /// let x = Random::new(3).csr_rows::<f32>([1000, 1 << 32], 4, Popularity::PowerLaw(1.2))?;
    /// let popular = x.indices().into_iter().flatten().filter(|&&j| j < 10).count();
    /// assert!(popular > 1000);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] for more than 2^32 rows or columns, [`ErrorKind::Value`] if a row has
    /// fewer than `per_row` columns or the power law's exponent is negative or not finite.
    #[track_caller]
    pub fn csr_rows<T: Element>(
        &mut self,
        shape: [usize; 2],
        per_row: usize,
        popularity: Popularity,
    ) -> Result<Tensor> {
        let cols = shape[1];
        check_extent("columns", cols)?;
        if per_row > cols {
            let message = format!("{per_row} entries a row, but there are {cols} columns");
            return Err(Error::new(ErrorKind::Value, message).operator("csr_rows"));
        }
        if per_row == 0 {
            return self.csr_of::<T>(shape, |_, _| ());
        }
        match popularity {
            Popularity::Uniform => self.csr_of::<T>(shape, |random, ids| {
                random.distinct(cols, per_row, ids);
            }),
            Popularity::PowerLaw(s) => {
                let zipf = Zipf::new(cols, s)?;
                self.csr_of::<T>(shape, |random, ids| zipf.distinct(per_row, random, ids))
            }
            Popularity::ScatteredPowerLaw(s) => {
                let (zipf, step) = (Zipf::new(cols, s)?, scatter_step(cols as u64));
                self.csr_of::<T>(shape, |random, ids| {
                    let start = ids.len();
                    zipf.distinct(per_row, random, ids);
                    let scatter = |id: &mut u32| *id = (u64::from(*id) * step % cols as u64) as u32;
                    ids[start..].iter_mut().for_each(scatter);
                })
            }
        }
    }

    /// A row-sparse tensor that stores each row with probability `density`.
    ///
    /// ```
    /// use sparsetape::random::Random;
    /// let x = Random::new(1).row_sparse::<f32>([10, 4], 1.0)?;
    /// assert_eq!(x.nnz(), 40);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] for a 0-d shape or more than 2^32 rows, [`ErrorKind::Value`] if the
    /// density is not within 0..=1.
    #[track_caller]
    pub fn row_sparse<T: Element>(
        &mut self,
        shape: impl Into<Shape>,
        density: f64,
    ) -> Result<Tensor> {
        let shape = shape.into();
        check_density(density)?;
        check_row_sparse_shape(&shape)?;
        let rows: Vec<u32> = self.thin(shape[0], density).map(|i| i as u32).collect();
        let stored = dense_len::<T>(&[rows.len(), row_len(&shape)].into())?;
        let values = self.fill::<T>(stored);
        Tensor::row_sparse(shape, rows, values)
    }

    /// A tensor of any storage type. Dense ones are zero except where an element is drawn, which
    /// happens with probability `density`.
    ///
    /// ```
    /// use sparsetape::{Stype, random::Random};
    /// for stype in Stype::ALL {
    ///     let x = Random::new(5).tensor::<f32>(stype, [20, 3], 0.5)?;
    ///     assert_eq!((x.stype(), &x.shape()[..]), (stype, &[20, 3][..]));
    /// }
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Random::dense`], [`Random::csr`] and [`Random::row_sparse`].
    #[track_caller]
    pub fn tensor<T: Element>(
        &mut self,
        stype: Stype,
        shape: impl Into<Shape>,
        density: f64,
    ) -> Result<Tensor> {
        let shape = shape.into();
        match stype {
            Stype::Csr => self.csr::<T>(csr_shape(&shape)?, density),
            Stype::RowSparse => self.row_sparse::<T>(shape, density),
            Stype::Default => {
                check_density(density)?;
                let mut values = vec![T::default(); dense_len::<T>(&shape)?];
                let places: Vec<usize> = self.thin(values.len(), density).collect();
                let drawn = self.fill::<T>(places.len());
                places.iter().zip(drawn).for_each(|(&at, x)| values[at] = x);
                Tensor::dense(shape, values)
            }
        }
    }

    /// A draw from `0..n`, even to within `n / 2^64`.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    fn fill<T: Element>(&mut self, len: usize) -> Vec<T> {
        let mut values = Vec::with_capacity(len);
        while values.len() < len {
            let pair = self.pair();
            let left = len - values.len();
            values.extend(pair.into_iter().take(left).map(|x| match T::DTYPE {
                DType::I64 => T::from_f64(x.floor()),
                _ => T::from_f64(x),
            }));
        }
        values
    }

    /// Two draws of a value. Box and Muller's method makes normal ones in pairs.
    fn pair(&mut self) -> [f64; 2] {
        let (u, v) = (unit(self), unit(self));
        match self.values {
            Distribution::Uniform(low, high) => [u, v].map(|u| low + (high - low) * u),
            Distribution::Normal(mean, deviation) => {
                let radius = (-2.0 * libm::log1p(-u)).sqrt();
                let angle = std::f64::consts::TAU * v;
                [libm::cos(angle), libm::sin(angle)].map(|x| mean + deviation * (radius * x))
            }
        }
    }

    /// The members of `0..n` that stay when each does with probability `density`: skips of
    /// geometric length, so the cost is that of the members.
    fn thin(&mut self, n: usize, density: f64) -> impl Iterator<Item = usize> {
        let scale = libm::log1p(-density); // -inf for 1: then all skips are 0
        let mut next = 0usize;
        std::iter::from_fn(move || {
            if density == 0.0 || next >= n {
                return None;
            }
            let skip = (libm::log1p(-unit(self)) / scale) as usize; // saturates
            let at = next.saturating_add(skip);
            next = at.saturating_add(1);
            (at < n).then_some(at)
        })
    }

    /// `k` distinct members of `0..n`, all subsets alike (Floyd's algorithm: `k` draws).
    fn distinct(&mut self, n: usize, k: usize, ids: &mut Vec<u32>) {
        let mut chosen = FxHashSet::default();
        for last in n - k..n {
            let drawn = self.below(last + 1) as u32;
            let id = if chosen.insert(drawn) { drawn } else { last as u32 };
            chosen.insert(id);
            ids.push(id);
        }
    }

    /// A CSR matrix whose rows' ids a function appends in any order.
    #[track_caller]
    fn csr_of<T: Element>(
        &mut self,
        shape: [usize; 2],
        mut row: impl FnMut(&mut Self, &mut Vec<u32>),
    ) -> Result<Tensor> {
        let [rows, cols] = shape;
        check_extent("rows", rows)?;
        check_extent("columns", cols)?;
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for _ in 0..rows {
            let start = indices.len();
            row(self, &mut indices);
            indices[start..].sort_unstable();
            indptr.push(indices.len());
        }
        let values = self.fill::<T>(indices.len());
        let pattern = Pattern::new(cols, indptr.into(), indices.into());
        let layout = Layout::Csr(Arc::new(pattern));
        Ok(Tensor::from_parts(shape.into(), layout, T::erase(values.into())))
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.generator.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.generator.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.generator.try_fill_bytes(bytes)
    }
}

/// One step of the SplitMix64 generator.
fn split_mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The first number from `0.618 n` on that shares no divisor with `n`.
fn scatter_step(n: u64) -> u64 {
    let shares_none = |&step: &u64| {
        let (mut a, mut b) = (step, n);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    (n * 618 / 1000..).find(shares_none).unwrap_or(1)
}

#[track_caller]
fn check_density(density: f64) -> Result<()> {
    if (0.0..=1.0).contains(&density) {
        return Ok(());
    }
    let message = format!("density {density} is not within 0..=1");
    Err(Error::new(ErrorKind::Value, message))
}
