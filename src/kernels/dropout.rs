//! Random masks: whether an element is kept follows from a key and its position alone.

use super::Real;
use super::counter::Counter;
use super::threads::for_each_part;

/// Drops elements with a probability, and scales the others.
#[derive(Clone, Copy)]
pub(crate) struct Dropout<T> {
    counter: Counter,
    /// Elements are dropped whose 64 random bits are less.
    below: u64,
    scale: T,
}

impl<T: Real> Dropout<T> {
    /// With probability `p` in [0, 1); the key is made of numbers of any size.
    pub fn new(p: f64, scale: T, keys: [u64; 3]) -> Self {
        Dropout { counter: Counter::new(&keys), below: (p * 2f64.powi(64)) as u64, scale }
    }

    #[inline]
    fn element(&self, x: T, position: u64) -> T {
        if self.counter.bits(position) < self.below { T::zero() } else { x * self.scale }
    }

    /// Elements at consecutive positions from 0.
    pub fn dense(&self, x: &[T], out: &mut [T]) {
        assert_eq!(x.len(), out.len());
        for_each_part(out, 1, 2, |first, out| {
            for (i, (out, &x)) in out.iter_mut().zip(&x[first..]).enumerate() {
                *out = self.element(x, (first + i) as u64);
            }
        });
    }

    /// Rows of `k` elements, by row id.
    pub fn rows(&self, x: &[T], rows: &[u32], k: usize, out: &mut [T]) {
        assert!(x.len() == rows.len() * k && x.len() == out.len());
        for_each_part(out, k, 2 * k, |first, out| {
            for (n, out) in (first..).zip(out.chunks_exact_mut(k)) {
                let start = u64::from(rows[n]).wrapping_mul(k as u64);
                for (i, (out, &x)) in out.iter_mut().zip(&x[n * k..]).enumerate() {
                    *out = self.element(x, start.wrapping_add(i as u64));
                }
            }
        });
    }

    /// Entries of rows of `cols` elements, by column.
    pub fn csr(&self, x: &[T], (indptr, columns): (&[usize], &[u32]), cols: usize, out: &mut [T]) {
        assert!(x.len() == columns.len() && x.len() == out.len());
        let base = indptr[0];
        for_each_part(out, 1, 2, |first, out| {
            let mut row = indptr.partition_point(|&start| start - base <= first) - 1;
            for (at, out) in (first..).zip(out) {
                while indptr[row + 1] - base <= at {
                    row += 1;
                }
                let start = (row as u64).wrapping_mul(cols as u64);
                *out = self.element(x[at], start.wrapping_add(u64::from(columns[at])));
            }
        });
    }
}
