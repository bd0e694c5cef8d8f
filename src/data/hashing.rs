//! Names of features to columns, without a dictionary.

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Real, Tensor};

/// Hashes names of features to `2^bits` columns: models on features that nobody has counted, in memory
/// that is known beforehand. Two names may share a column; with enough columns few do.
///
/// It is the hash of scikit-learn's `FeatureHasher`, and fixed for ever: the MurmurHash3 (x86, 32
/// bits, seed 0) of the name's UTF-8 bytes, as a signed number `h`. The column is `|h| mod 2^bits`;
/// with [`alternate_sign`](FeatureHasher::alternate_sign), the default there as well, values are negated where
/// `h < 0`, so that names that share a column cancel out on average instead of adding up.
///
/// [`Libsvm::hashed`](super::Libsvm::hashed) reads files with it.
///
/// ```
/// use sparsetape::data::FeatureHasher;
/// let hasher = FeatureHasher::new(10)?;
/// let rows = [vec![("dog", 1.0f32), ("cat", 2.0), ("elephant", 4.0)], vec![("dog", 2.0), ("run", 5.0)]];
/// let x = hasher.transform(&rows)?; // FeatureHasher(1024).transform([{"dog": 1, ..}, ..])
/// assert_eq!(x.shape()[..], [2, 1024]);
/// assert_eq!(x.nnz(), 5);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeatureHasher {
    bits: u32,
    alternate_sign: bool,
}

/// |h| of 32 bits takes 31.
const MOST_BITS: u32 = 31;

impl FeatureHasher {
    /// A hasher to `2^bits` columns, with alternating signs.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] for more than 31 bits.
    #[track_caller]
    pub fn new(bits: u32) -> Result<Self> {
        if bits > MOST_BITS {
            let message = format!("2^{bits} columns, but hashes have {MOST_BITS} bits");
            return Err(Error::new(ErrorKind::Value, message).operator("FeatureHasher"));
        }
        Ok(FeatureHasher { bits, alternate_sign: true })
    }

    /// Whether half of the names negate their values; otherwise all values stay as they are.
    ///
    /// ```
    /// use sparsetape::data::FeatureHasher;
    /// let counts = FeatureHasher::new(1)?.alternate_sign(false);
    /// let x = counts.transform(&[[("a", 1.0f32), ("b", 1.0), ("c", 1.0), ("d", 1.0)]])?;
    /// assert_eq!(x.values::<f32>()?.iter().sum::<f32>(), 4.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn alternate_sign(mut self, alternate_sign: bool) -> Self {
        self.alternate_sign = alternate_sign;
        self
    }

    /// Number of columns: `2^bits`.
    pub fn features(&self) -> usize {
        1 << self.bits
    }

    /// Rows of names and values as a csr tensor, `(rows, 2^bits)`. Names may repeat; entries of a row
    /// that share a column are summed in their order. Zeros stay stored.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] for more than 2^32 rows.
    #[track_caller]
    pub fn transform<N, T, R>(&self, rows: &[R]) -> Result<Tensor>
    where
        N: AsRef<str>,
        T: Real,
        R: AsRef<[(N, T)]>,
    {
        let entry = |(name, x): &(N, T)| {
            let (column, negative) = self.place(name.as_ref().as_bytes());
            (column as usize, if negative { -*x } else { *x })
        };
        let hashed: Vec<Vec<(usize, T)>> =
            rows.iter().map(|row| row.as_ref().iter().map(entry).collect()).collect();
        Tensor::from_rows(self.features(), &hashed)
    }

    /// The column of a name, and whether its values are negated.
    pub(super) fn place(&self, name: &[u8]) -> (u32, bool) {
        let hash = murmur3(name) as i32;
        let column = hash.unsigned_abs() & ((1 << self.bits) - 1);
        (column, self.alternate_sign && hash < 0)
    }
}

/// MurmurHash3_x86_32 with seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |k: u32| k.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = 0u32;
    for &block in blocks {
        hash = (hash ^ scramble(u32::from_le_bytes(block))).rotate_left(13);
        hash = hash.wrapping_mul(5).wrapping_add(0xE654_6B64);
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    hash ^= scramble(u32::from_le_bytes(last));
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ hash >> 13).wrapping_mul(0xC2B2_AE35);
    hash ^ hash >> 16
}
