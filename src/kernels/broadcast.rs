//! Reading an operand at the positions of a larger, broadcast shape.

use smallvec::SmallVec;

use super::vectorized::{Task, each_width, load_mut, vectorized};

/// Steps through a slice for each axis of a shape; a stride of 0 repeats.
///
/// Adjacent axes are merged where they can be, so that runs are long.
#[derive(Debug)]
pub(crate) struct Broadcast {
    /// `(size, stride)`, outermost first; never empty.
    dims: SmallVec<[(usize, usize); 4]>,
}

impl Broadcast {
    pub fn new(shape: &[usize], strides: &[usize]) -> Self {
        let mut dims = SmallVec::<[(usize, usize); 4]>::new();
        for (&size, &stride) in shape.iter().zip(strides).filter(|(size, _)| **size != 1) {
            match dims.last_mut() {
                Some(last) if last.1 == stride * size => *last = (last.0 * size, stride),
                _ => dims.push((size, stride)),
            }
        }
        if dims.is_empty() {
            dims.push((1, 0));
        }
        Broadcast { dims }
    }

    /// Whether position `i` reads element `i`.
    pub fn is_identity(&self) -> bool {
        matches!(self.dims[..], [(1, _)] | [(_, 1)])
    }

    /// Writes what positions `start..start + out.len()` read.
    pub fn fill<T: Copy>(&self, values: &[T], start: usize, out: &mut [T]) {
        let (size, stride) = self.dims[self.dims.len() - 1];
        if let [(_, 1), (len @ 1.., 0)] = self.dims[..]
            && start.is_multiple_of(len)
            && out.len().is_multiple_of(len)
        {
            return repeat_each(&values[start / len..], len, out);
        }
        let (mut row, mut col) = (start / size.max(1), start % size.max(1));
        let mut rest = out;
        while !rest.is_empty() {
            let (run, tail) = rest.split_at_mut((size - col).min(rest.len()));
            let first = self.offset(row) + col * stride;
            match stride {
                0 => run.fill(values[first]),
                1 => run.copy_from_slice(&values[first..first + run.len()]),
                _ => {
                    let strided = values[first..].iter().step_by(stride);
                    run.iter_mut().zip(strided).for_each(|(o, &v)| *o = v);
                }
            }
            (row, col, rest) = (row + 1, 0, tail);
        }
    }

    /// Where the run of the innermost axis with this number starts.
    fn offset(&self, mut row: usize) -> usize {
        let mut offset = 0;
        for &(size, stride) in self.dims[..self.dims.len() - 1].iter().rev() {
            offset += row % size * stride;
            row /= size;
        }
        offset
    }
}

/// Rows that share one pass over a chunk of columns.
const BLOCK: usize = 64;

/// Fills consecutive rows of length `len` with a value each.
fn repeat_each<T: Copy>(values: &[T], len: usize, out: &mut [T]) {
    for (values, out) in values.chunks(BLOCK).zip(out.chunks_mut(BLOCK * len)) {
        each_width!(len, at, C => {
            let out = &mut *out;
            vectorized(Repeat::<T, C> { values, len, at, out });
        });
    }
}

/// Columns `at..at + C` of the rows.
struct Repeat<'a, T, const C: usize> {
    values: &'a [T],
    len: usize,
    at: usize,
    out: &'a mut [T],
}

impl<T: Copy, const C: usize> Task for Repeat<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, &x) in self.out.chunks_exact_mut(self.len).zip(self.values) {
            // SAFETY: `at + C <= len`.
            *unsafe { load_mut::<T, C>(out, self.at) } = [x; C];
        }
    }
}

/// Row-major strides; saturated where an empty array's sizes are too large for them.
pub(crate) fn contiguous(shape: &[usize]) -> SmallVec<[usize; 4]> {
    let mut strides: SmallVec<[usize; 4]> = SmallVec::from_elem(1, shape.len());
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// Strides for reading an operand of shape `of` at the positions of `onto`, aligned at the last axis:
/// 0 where it repeats.
pub(crate) fn aligned(of: &[usize], onto: &[usize]) -> SmallVec<[usize; 4]> {
    let missing = onto.len() - of.len();
    let own = contiguous(of);
    let stride = |axis: usize| match axis.checked_sub(missing) {
        Some(i) if of[i] != 1 => own[i],
        _ => 0,
    };
    (0..onto.len()).map(stride).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(shape: &[usize], mut flat: usize) -> Vec<usize> {
        let mut at = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            (at[axis], flat) = (flat % shape[axis], flat / shape[axis]);
        }
        at
    }

    proptest! {
        #[test]
        fn fill_reads_what_the_index_says(
            axes in prop::collection::vec((1usize..5, any::<bool>()), 0..4),
            cut in 0usize..3,
            part in (0usize..200, 0usize..200),
        ) {
            let onto: Vec<usize> = axes.iter().map(|a| a.0).collect();
            let of: Vec<usize> =
                axes.iter().map(|&(n, keep)| if keep { n } else { 1 }).skip(cut).collect();
            let size: usize = onto.iter().product();
            let values: Vec<usize> = (0..of.iter().product()).collect();
            let strides = aligned(&of, &onto);
            let (start, len) = (part.0 % (size + 1), part.1);
            let len = len.min(size - start);
            let mut out = vec![usize::MAX; len];
            Broadcast::new(&onto, &strides).fill(&values, start, &mut out);
            for (k, got) in out.into_iter().enumerate() {
                let at = index(&onto, start + k);
                let flat: usize = at.iter().zip(&strides).map(|(i, s)| i * s).sum();
                prop_assert_eq!(got, values[flat]);
            }
        }
    }
}
