//! Between storage types. An element is stored iff it is not equal to zero, so NaN is kept.

use std::ops::Range;

use super::blocks::for_each_block;
use super::memory::{Csr, Temp};
use super::spgemm::concat;
use super::threads::map_parts;
#[cfg(target_arch = "x86_64")]
use super::vectorized::{Level, level};
use super::vectorized::{Task, vectorized};
use super::{CsrRef, Number};

/// Elements that are passed over at once when all are zero.
const CHUNK: usize = 16;

/// The non-zeros of a row-major matrix.
pub(crate) fn dense_to_csr<T: Number>(rows: usize, cols: usize, dense: &[T]) -> Csr<T> {
    let parts = map_parts(rows, cols / 4 + 1, |rows| {
        let dense = &dense[rows.start * cols..rows.end * cols];
        vectorized(NonZeros { rows: rows.len(), cols, dense })
    });
    concat(rows, parts)
}

/// The non-zeros of rows.
struct NonZeros<'a, T> {
    rows: usize,
    cols: usize,
    dense: &'a [T],
}

impl<T: Number> Task for NonZeros<'_, T> {
    type Output = Csr<T>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let NonZeros { rows, cols, dense } = self;
        let mut part = Csr::growing();
        for i in 0..rows {
            push_row(&dense[i * cols..(i + 1) * cols], &mut part);
            part.indptr.push(part.values.len());
        }
        part
    }
}

#[inline(always)]
fn push_row<T: Number>(row: &[T], part: &mut Csr<T>) {
    let (chunks, rest) = row.as_chunks::<CHUNK>();
    push_chunks(chunks, part);
    push_nonzeros(rest, row.len() - rest.len(), part);
}

#[inline(always)]
fn push_chunks<T: Number>(chunks: &[[T; CHUNK]], part: &mut Csr<T>) {
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        part.indices.reserve(chunks.len() * CHUNK);
        part.values.reserve(chunks.len() * CHUNK);
        // SAFETY: the processor has these features, and there is room for all elements.
        return unsafe { avx512::push_chunks(chunks, &mut part.indices, &mut part.values) };
    }
    for (n, chunk) in chunks.iter().enumerate() {
        if holds_nonzero(chunk) {
            push_nonzeros(chunk, n * CHUNK, part);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use bytemuck::bytes_of;

    use super::{CHUNK, Number};

    /// Appends the non-zeros with their places, without a branch that depends on the elements.
    ///
    /// # Safety
    /// `indices` and `values` have room for all elements.
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    pub unsafe fn push_chunks<T: Number>(
        chunks: &[[T; CHUNK]],
        indices: &mut Vec<u32>,
        values: &mut Vec<T>,
    ) {
        let push = match size_of::<T>() {
            4 => push_words::<T>,
            _ => push_double_words::<T>,
        };
        let mut len = values.len();
        let mut ids = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for chunk in chunks {
            debug_assert!(len + CHUNK <= indices.capacity().min(values.capacity()));
            // SAFETY: before each chunk there is room for its elements.
            let (to, at) = unsafe { (values.as_mut_ptr().add(len), indices.as_mut_ptr().add(len)) };
            // SAFETY: as above.
            len += unsafe { push(chunk, ids, to, at) };
            ids = _mm512_add_epi32(ids, _mm512_set1_epi32(CHUNK as i32));
        }
        // SAFETY: that many have been written.
        unsafe {
            values.set_len(len);
            indices.set_len(len);
        }
    }

    /// # Safety
    /// `T` has 4 bytes; `to` and `at` have room for a chunk.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    unsafe fn push_words<T: Number>(
        chunk: &[T; CHUNK],
        ids: __m512i,
        to: *mut T,
        at: *mut u32,
    ) -> usize {
        // SAFETY: 16 words are read, and there is room for as many.
        unsafe {
            let x = _mm512_loadu_si512(chunk.as_ptr().cast());
            let mask = _mm512_test_epi32_mask(x, _mm512_set1_epi32(significant::<T>() as i32));
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi32(mask, x));
            _mm512_storeu_si512(at.cast(), _mm512_maskz_compress_epi32(mask, ids));
            mask.count_ones() as usize
        }
    }

    /// # Safety
    /// `T` has 8 bytes; `to` and `at` have room for a chunk.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    unsafe fn push_double_words<T: Number>(
        chunk: &[T; CHUNK],
        ids: __m512i,
        to: *mut T,
        at: *mut u32,
    ) -> usize {
        let significant = _mm512_set1_epi64(significant::<T>() as i64);
        // SAFETY: two times 8 double words are read, and there is room for as many.
        unsafe {
            let [low, high] =
                [0, 8].map(|first| _mm512_loadu_si512(chunk.as_ptr().add(first).cast()));
            let [few, more] = [low, high].map(|x| _mm512_test_epi64_mask(x, significant));
            let second = to.add(few.count_ones() as usize);
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi64(few, low));
            _mm512_storeu_si512(second.cast(), _mm512_maskz_compress_epi64(more, high));
            let mask = u16::from_le_bytes([few, more]);
            _mm512_storeu_si512(at.cast(), _mm512_maskz_compress_epi32(mask, ids));
            mask.count_ones() as usize
        }
    }

    /// The bits that tell a number from zero: all but the sign of a float.
    fn significant<T: Number>() -> u64 {
        let mut sign = [0; 8];
        sign[..size_of::<T>()].copy_from_slice(bytes_of(&-T::default()));
        !u64::from_le_bytes(sign)
    }
}

#[inline(always)]
fn holds_nonzero<T: Number>(x: &[T; CHUNK]) -> bool {
    x.iter().fold(false, |any, &x| any | (x != T::default()))
}

#[inline(always)]
fn push_nonzeros<T: Number>(x: &[T], first: usize, part: &mut Csr<T>) {
    debug_assert!(x.len() <= CHUNK);
    let mut mask = 0u32;
    for (j, &x) in x.iter().enumerate() {
        mask |= u32::from(x != T::default()) << j;
    }
    while mask != 0 {
        let j = mask.trailing_zeros() as usize;
        part.indices.push((first + j) as u32);
        part.values.push(x[j]);
        mask &= mask - 1;
    }
}

/// Writes `csr` into row-major memory.
pub(crate) fn csr_to_dense<T: Number>(csr: CsrRef<T>, out: &mut [T]) {
    let cost = csr.indices.len() / csr.rows().max(1) + csr.cols / 8 + 4;
    for_each_block(
        out,
        csr.cols,
        cost,
        |_| (),
        |_, first, out| {
            out.fill(T::default());
            for (i, out) in out.chunks_exact_mut(csr.cols).enumerate() {
                let (ids, values) = csr.row(first + i);
                for (&j, &x) in ids.iter().zip(values) {
                    out[j as usize] = x;
                }
            }
        },
    );
}

/// Ids of the rows of length `k` that hold a non-zero.
pub(crate) fn nonzero_rows<T: Number>(rows: usize, k: usize, dense: &[T]) -> Temp<u32> {
    let mut parts = map_parts(rows, k / 16 + 1, |rows| vectorized(NonZeroRows { rows, k, dense }));
    if let [_] = parts[..] {
        return parts.swap_remove(0);
    }
    let mut all = Temp::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        all.extend_from_slice(&part);
        part.free();
    }
    all
}

struct NonZeroRows<'a, T> {
    rows: Range<usize>,
    k: usize,
    dense: &'a [T],
}

impl<T: Number> Task for NonZeroRows<'_, T> {
    type Output = Temp<u32>;

    #[inline(always)]
    fn run(self) -> Temp<u32> {
        let mut ids = Temp::growing();
        for i in self.rows {
            let (chunks, rest) = self.dense[i * self.k..(i + 1) * self.k].as_chunks::<CHUNK>();
            if chunks.iter().any(holds_nonzero) || rest.iter().any(|&x| x != T::default()) {
                ids.push(i as u32);
            }
        }
        ids
    }
}

/// Ids of the rows that store an entry.
pub(crate) fn nonempty_rows(indptr: &[usize]) -> Temp<u32> {
    let occupied = (0..indptr.len() - 1).filter(|&i| indptr[i] < indptr[i + 1]);
    Temp::collect(occupied.map(|i| i as u32))
}

/// Writes rows of length `k` to their places in row-major memory, and zeros everywhere else.
pub(crate) fn scatter_rows<T: Number>(ids: &[u32], values: &[T], k: usize, out: &mut [T]) {
    out.fill(T::default());
    for (n, &i) in ids.iter().enumerate() {
        out[i as usize * k..][..k].copy_from_slice(&values[n * k..][..k]);
    }
}
