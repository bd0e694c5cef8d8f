//! The same by hand: into memory that is there already, in one pass where one is enough.

use std::hint::select_unpredictable;
use std::ops::Range;

use sparsetape::Tensor;

#[derive(Clone, Default)]
pub struct Csr {
    pub cols: usize,
    pub indptr: Vec<usize>,
    pub indices: Vec<u32>,
    pub values: Vec<f32>,
}

impl Csr {
    pub fn of(x: &Tensor) -> Csr {
        Csr {
            cols: x.shape()[1],
            indptr: x.indptr().unwrap().to_vec(),
            indices: x.indices().unwrap().to_vec(),
            values: x.values().unwrap().to_vec(),
        }
    }

    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[i]..self.indptr[i + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Memory for so many entries, and no rows.
    fn room(&mut self, cols: usize, entries: usize) {
        self.cols = cols;
        self.indptr.clear();
        self.indptr.push(0);
        self.indices.resize(entries.max(self.indices.len()), 0);
        self.values.resize(entries.max(self.values.len()), 0.0);
    }
}

pub struct Rows {
    pub ids: Vec<u32>,
    values: Vec<f32>,
}

impl Rows {
    pub fn of(x: &Tensor) -> Rows {
        Rows { ids: x.rows().unwrap().to_vec(), values: x.values().unwrap().to_vec() }
    }
}

/// Merges rows by a loop in which only its end depends on the entries: an id is there before it is
/// known whether it comes next.
fn merge(a: &Csr, b: &Csr, out: &mut Csr, union: bool, op: impl Fn(f32, f32) -> f32) {
    out.room(a.cols, a.indices.len() + b.indices.len());
    let mut n = 0;
    for row in 0..a.rows() {
        let ((x, xs), (y, ys)) = (a.row(row), b.row(row));
        let (mut i, mut j) = (0, 0);
        let first = |ids: &[u32]| ids.first().copied().unwrap_or(0);
        let (mut c, mut d) = (first(x), first(y));
        while i < x.len() && j < y.len() {
            // SAFETY: `i` and `j` are in bounds; what lies past a row's end is read, but not used; there is room
            // for all entries of both.
            unsafe {
                let next = (*x.as_ptr().wrapping_add(i + 1), *y.as_ptr().wrapping_add(j + 1));
                let (left, right) = (c <= d, d <= c);
                // As bits: a choice among floats would be a branch.
                let or_zero = |held, x: &f32| select_unpredictable(held, x.to_bits(), 0);
                let (x, y) =
                    (or_zero(left, xs.get_unchecked(i)), or_zero(right, ys.get_unchecked(j)));
                *out.indices.get_unchecked_mut(n) = c.min(d);
                *out.values.get_unchecked_mut(n) = op(f32::from_bits(x), f32::from_bits(y));
                n += usize::from(union | (left & right));
                i += usize::from(left);
                j += usize::from(right);
                (c, d) =
                    (select_unpredictable(left, next.0, c), select_unpredictable(right, next.1, d));
            }
        }
        if union {
            for (ids, xs) in [(&x[i..], &xs[i..]), (&y[j..], &ys[j..])] {
                for (&id, &x) in ids.iter().zip(xs) {
                    (out.indices[n], out.values[n]) = (id, op(x, 0.0));
                    n += 1;
                }
            }
        }
        out.indptr.push(n);
    }
}

pub fn add(a: &Csr, b: &Csr, out: &mut Csr) {
    merge(a, b, out, true, |x, y| x + y);
}

pub fn multiply(a: &Csr, b: &Csr, out: &mut Csr) {
    merge(a, b, out, false, |x, y| x * y);
}

/// Sums each row in `sums`, which is zero between rows, and sorts its columns.
pub fn product(a: &Csr, b: &Csr, sums: &mut [f32], out: &mut Csr) {
    let most = a.indices.iter().map(|&j| b.indptr[j as usize + 1] - b.indptr[j as usize]).sum();
    out.room(b.cols, most);
    let (mut n, mut seen) = (0, vec![0u64; b.cols.div_ceil(64)]);
    for row in 0..a.rows() {
        let (ids, xs) = a.row(row);
        for (&j, &x) in ids.iter().zip(xs) {
            let (columns, ys) = b.row(j as usize);
            for (&column, &y) in columns.iter().zip(ys) {
                sums[column as usize] += x * y;
                seen[column as usize / 64] |= 1 << (column % 64);
            }
        }
        for (at, word) in seen.iter_mut().enumerate() {
            while *word != 0 {
                let column = at * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                out.indices[n] = column as u32;
                out.values[n] = std::mem::take(&mut sums[column]);
                n += 1;
            }
        }
        out.indptr.push(n);
    }
}

pub fn to_csr(x: &[f32], cols: usize, out: &mut Csr) {
    out.room(cols, out.indices.len());
    let mut n = 0;
    for row in x.chunks_exact(cols) {
        let most = n + cols + 16;
        if out.indices.len() < most {
            out.indices.resize(2 * most, 0);
            out.values.resize(2 * most, 0.0);
        }
        n = row_to_csr(row, out, n);
        out.indptr.push(n);
    }
}

fn row_to_csr(row: &[f32], out: &mut Csr, n: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has it; there is room for a row and 16 more.
        return unsafe { compress(row, out, n) };
    }
    push_nonzeros(row, 0, out, n)
}

fn push_nonzeros(x: &[f32], first: usize, out: &mut Csr, mut n: usize) -> usize {
    for (j, &x) in x.iter().enumerate() {
        (out.indices[n], out.values[n]) = ((first + j) as u32, x);
        n += usize::from(x != 0.0);
    }
    n
}

/// # Safety
/// `out` has room for a row and 16 entries more from `n` on.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,popcnt")]
unsafe fn compress(row: &[f32], out: &mut Csr, mut n: usize) -> usize {
    use std::arch::x86_64::*;
    let (chunks, rest) = row.as_chunks::<16>();
    let mut ids = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for chunk in chunks {
        // SAFETY: a chunk is one vector, and the caller promises room.
        unsafe {
            let x = _mm512_loadu_ps(chunk.as_ptr());
            let mask = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, _mm512_setzero_ps());
            let (to, at) = (out.values.as_mut_ptr().add(n), out.indices.as_mut_ptr().add(n));
            _mm512_storeu_ps(to, _mm512_maskz_compress_ps(mask, x));
            _mm512_storeu_si512(at.cast(), _mm512_maskz_compress_epi32(mask, ids));
            n += mask.count_ones() as usize;
        }
        ids = _mm512_add_epi32(ids, _mm512_set1_epi32(16));
    }
    push_nonzeros(rest, row.len() - rest.len(), out, n)
}

/// Each row in the nearest cache, then past the caches: its lines need not be read before.
pub fn to_dense(x: &Csr, out: &mut [f32]) {
    let mut held = vec![0.0; x.cols];
    for (i, out) in out.chunks_exact_mut(x.cols).enumerate() {
        let (ids, xs) = x.row(i);
        for (&j, &x) in ids.iter().zip(xs) {
            held[j as usize] = x;
        }
        stream(&held, out);
        ids.iter().for_each(|&j| held[j as usize] = 0.0);
    }
}

/// Copies past the caches.
fn stream(from: &[f32], to: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_loadu_ps, _mm_sfence, _mm_stream_ps};
        let head = to.as_ptr().align_offset(16).min(to.len());
        let (first, rest) = to.split_at_mut(head);
        first.copy_from_slice(&from[..head]);
        let (vectors, last) = rest.as_chunks_mut::<4>();
        let whole = from[head..].as_chunks::<4>().0;
        for (to, from) in vectors.iter_mut().zip(whole) {
            // SAFETY: four floats each; `to` is aligned.
            unsafe { _mm_stream_ps(to.as_mut_ptr(), _mm_loadu_ps(from.as_ptr())) };
        }
        last.copy_from_slice(&from[from.len() - last.len()..]);
        // SAFETY: every x86-64 processor has it.
        unsafe { _mm_sfence() };
    }
    #[cfg(not(target_arch = "x86_64"))]
    to.copy_from_slice(from);
}

/// Runs a loop, which is inlined, with the widest vectors.
fn widest<R>(task: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn avx512<R>(task: impl FnOnce() -> R) -> R {
            task()
        }
        if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512dq") {
            // SAFETY: the processor has what has these.
            return unsafe { avx512(task) };
        }
    }
    task()
}

/// These columns of sorted rows are consecutive.
pub fn cut(x: &Csr, columns: Range<u32>, out: &mut Csr) {
    out.room(columns.len(), x.indices.len());
    let mut n = 0;
    for row in 0..x.rows() {
        let (ids, xs) = x.row(row);
        let below = |end: u32| ids.iter().map(|&id| usize::from(id < end)).sum::<usize>();
        let own = below(columns.start)..below(columns.end);
        let len = own.len();
        out.values[n..n + len].copy_from_slice(&xs[own.clone()]);
        for (to, id) in out.indices[n..n + len].iter_mut().zip(&ids[own]) {
            *to = id - columns.start;
        }
        n += len;
        out.indptr.push(n);
    }
}

/// Rows of a sum that are in the nearest cache at once.
const BLOCK: usize = 64;

/// A sum of row-sparse parts: the rows' union by a bitmap, blocks of it while they stay in the cache.
pub struct Sum {
    /// Low half: which of 32 rows are there; high half: how many come before them.
    words: Vec<u64>,
    ids: Vec<u32>,
    values: Vec<f32>,
    block: Vec<f32>,
    k: usize,
}

impl Sum {
    pub fn new(rows: usize, most: usize, k: usize) -> Sum {
        let (ids, values) = (Vec::with_capacity(most), vec![0.0; most * k]);
        Sum { words: vec![0; rows.div_ceil(32)], ids, values, block: vec![0.0; BLOCK * k], k }
    }

    pub fn of(&mut self, parts: &[Rows]) {
        widest(|| self.add(parts));
    }

    #[inline(always)]
    fn add(&mut self, parts: &[Rows]) {
        self.words.fill(0);
        for &id in parts.iter().flat_map(|part| &part.ids) {
            self.words[id as usize / 32] |= 1 << (id % 32);
        }
        self.ids.clear();
        for (at, word) in self.words.iter_mut().enumerate() {
            let mut bits = *word as u32;
            *word |= (self.ids.len() as u64) << 32;
            while bits != 0 {
                self.ids.push(32 * at as u32 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
        let (k, mut next) = (self.k, vec![0; parts.len()]);
        let values = &mut self.values[..self.ids.len() * k];
        for (n, out) in values.chunks_mut(BLOCK * k).enumerate() {
            let last = self.ids[(n * BLOCK + BLOCK).min(self.ids.len()) - 1];
            let sum = &mut self.block[..out.len()];
            sum.fill(0.0);
            for (part, next) in parts.iter().zip(&mut next) {
                while part.ids.get(*next).is_some_and(|&id| id <= last) {
                    let id = part.ids[*next];
                    let word = self.words[id as usize / 32];
                    let before = word as u32 & ((1 << (id % 32)) - 1);
                    let place = (word >> 32) as usize + before.count_ones() as usize - n * BLOCK;
                    let row = &part.values[*next * k..][..k];
                    let sum = &mut sum[place * k..][..k];
                    sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                    *next += 1;
                }
            }
            stream(sum, out);
        }
    }
}

pub fn sum_rows(x: &Csr, out: &mut [f32]) {
    out.fill(0.0);
    for (&j, &x) in x.indices.iter().zip(&x.values) {
        out[j as usize] += x;
    }
}

pub fn sum_columns(x: &Csr, out: &mut [f32]) {
    widest(|| {
        for (out, ends) in out.iter_mut().zip(x.indptr.windows(2)) {
            *out = add_up::<16>(&x.values[ends[0]..ends[1]]);
        }
    });
}

pub fn sum(x: &[f32]) -> f32 {
    widest(|| add_up::<128>(x))
}

#[inline(always)]
fn add_up<const LANES: usize>(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
    }
    sums.iter_mut().zip(rest).for_each(|(sum, x)| *sum += x);
    let mut half = LANES / 2;
    while half > 0 {
        (0..half).for_each(|l| sums[l] += sums[l + half]);
        half /= 2;
    }
    sums[0]
}
