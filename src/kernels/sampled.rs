//! Products of two matrices, computed at the entries of a pattern only.

use super::columns::compact;
use super::dense_csr::Strided;
use super::memory::Temp;
use super::merge::positions;
use super::spmm::ABSENT;
use super::threads::for_each_part;
use super::vectorized::{Task, is_far, prefetch, vectorized};
use super::{CsrRef, Real};

/// Partial sums of a product of two dense rows: element `j` goes to sum `j % LANES`.
const LANES: usize = 16;

/// How many entries ahead a row of `b` is asked for.
const AHEAD: usize = 8;

/// The most elements of a row that are asked for; the processor then goes on by itself.
const FAR_ROW: usize = 128;

/// Products that are added one after another; the sums of more are added in double precision, so that
/// those of single-precision numbers do not drift.
const CHUNK: usize = 512;

/// A matrix by rows.
#[derive(Clone, Copy)]
pub(crate) enum RowsRef<'a, T> {
    Dense(Strided<'a, T>),
    /// Rows `ids` of length `k`; others are zeros.
    Rows {
        ids: &'a [u32],
        values: &'a [T],
        k: usize,
    },
    Csr(CsrRef<'a, T>),
}

/// `out[e] = Σⱼ a(r, j) · b(c, j)` for every entry `e` at `(r, c)` of a pattern.
pub(crate) fn sampled_dot<T: Real>(
    indptr: &[usize],
    indices: &[u32],
    a: RowsRef<T>,
    b: RowsRef<T>,
    out: &mut [T],
) {
    assert_eq!(out.len(), indices.len());
    let a_at = row_positions(a, indptr.len() - 1);
    let own = entry_positions(b, indices);
    let pairs = Pairs { indptr, a_at: &a_at, b_at: own.as_deref().map_or(indices, |at| at) };
    match (contiguous(a), contiguous(b)) {
        (Some(a), Some(b)) if a.k == b.k => dense(pairs, a, b, out),
        _ => general(pairs, a, b, out),
    }
}

/// Where the row of `a` of each pattern row, and the row of `b` of each entry, is.
#[derive(Clone, Copy)]
struct Pairs<'a> {
    indptr: &'a [usize],
    a_at: &'a [u32],
    b_at: &'a [u32],
}

impl Pairs<'_> {
    /// The pattern row of entry `e`.
    fn row_of(&self, e: usize) -> usize {
        self.indptr.partition_point(|&start| start - self.indptr[0] <= e) - 1
    }

    fn row_end(&self, row: usize) -> usize {
        self.indptr[row + 1] - self.indptr[0]
    }
}

fn row_positions<T>(a: RowsRef<T>, rows: usize) -> Temp<u32> {
    let all = Temp::collect((0..rows).map(|row| row as u32));
    match a {
        RowsRef::Rows { ids, .. } => positions(&all, ids),
        RowsRef::Dense(_) | RowsRef::Csr(_) => all,
    }
}

/// Where rows are not found by their ids.
fn entry_positions<T>(b: RowsRef<T>, indices: &[u32]) -> Option<Temp<u32>> {
    let RowsRef::Rows { ids, .. } = b else { return None };
    let cols = indices.iter().max().map_or(0, |&max| max as usize + 1);
    let (distinct, mut slots) = compact(indices, cols);
    let at = positions(&distinct, ids);
    slots.iter_mut().for_each(|slot| *slot = at[*slot as usize]);
    Some(slots)
}

/// Dense rows of length `k`, `stride` elements apart.
#[derive(Clone, Copy)]
struct Table<'a, T> {
    values: &'a [T],
    stride: usize,
    k: usize,
}

impl<'a, T> Table<'a, T> {
    #[inline(always)]
    fn row(&self, at: u32) -> &'a [T] {
        let start = at as usize * self.stride;
        debug_assert!(start + self.k <= self.values.len());
        // SAFETY: positions come from `positions` or are ids that the caller of the kernel
        // promises to be below the number of rows.
        unsafe { self.values.get_unchecked(start..start + self.k) }
    }
}

fn contiguous<T>(rows: RowsRef<T>) -> Option<Table<T>> {
    match rows {
        RowsRef::Dense(m) if m.col_stride == 1 || m.cols == 1 => {
            Some(Table { values: m.values, stride: m.row_stride, k: m.cols })
        }
        RowsRef::Rows { values, k, .. } => Some(Table { values, stride: k, k }),
        RowsRef::Dense(_) | RowsRef::Csr(_) => None,
    }
}

fn dense<T: Real>(pairs: Pairs, a: Table<T>, b: Table<T>, out: &mut [T]) {
    for_each_part(out, 1, 2 + a.k / 8, |first, out| match a.k {
        1 => vectorized(Dots::<T, 1> { pairs, a, b, first, out }),
        2 => vectorized(Dots::<T, 2> { pairs, a, b, first, out }),
        4 => vectorized(Dots::<T, 4> { pairs, a, b, first, out }),
        8 => vectorized(Dots::<T, 8> { pairs, a, b, first, out }),
        16 => vectorized(Dots::<T, 16> { pairs, a, b, first, out }),
        32 => vectorized(Dots::<T, 32> { pairs, a, b, first, out }),
        64 => vectorized(Dots::<T, 64> { pairs, a, b, first, out }),
        _ => vectorized(Dots::<T, 0> { pairs, a, b, first, out }),
    });
}

/// Entries from `first` on, for rows of length `K`, or any length if `K` is 0.
struct Dots<'a, T, const K: usize> {
    pairs: Pairs<'a>,
    a: Table<'a, T>,
    b: Table<'a, T>,
    first: usize,
    out: &'a mut [T],
}

impl<T: Real, const K: usize> Task for Dots<'_, T, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Dots { pairs, a, b, first, out } = self;
        let k = if K == 0 { a.k } else { K };
        let far = is_far::<T>(b.values.len());
        let end = first + out.len();
        let (mut row, mut e) = (pairs.row_of(first), first);
        while e < end {
            let row_end = pairs.row_end(row).min(end);
            let x = pairs.a_at[row];
            if x == ABSENT {
                out[e - first..row_end - first].fill(T::zero());
                e = row_end;
            }
            while e < row_end {
                if far && let Some(&at) = pairs.b_at.get(e + AHEAD) {
                    prefetch_row(b, at);
                }
                out[e - first] = match pairs.b_at[e] {
                    ABSENT => T::zero(),
                    y => dot_chunks(&a.row(x)[..k], &b.row(y)[..k]),
                };
                e += 1;
            }
            row += 1;
        }
    }
}

#[inline(always)]
fn prefetch_row<T>(table: Table<T>, at: u32) {
    let start = (at as usize).wrapping_mul(table.stride);
    for line in (0..table.k.min(FAR_ROW)).step_by(64 / size_of::<T>()) {
        prefetch::<T, 1>(table.values, start + line);
    }
}

/// `Σⱼ x[j] · y[j]`, in an order that depends on the length only.
pub(super) fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    vectorized(Dot { x, y })
}

struct Dot<'a, T> {
    x: &'a [T],
    y: &'a [T],
}

impl<T: Real> Task for Dot<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run(self) -> T {
        dot_chunks(self.x, self.y)
    }
}

#[inline(always)]
fn dot_chunks<T: Real>(x: &[T], y: &[T]) -> T {
    if x.len() <= CHUNK {
        return dot_lanes(x, y);
    }
    wide_sum(x.chunks(CHUNK).zip(y.chunks(CHUNK)).map(|(x, y)| dot_lanes(x, y)))
}

/// The sum in double precision.
fn wide_sum<T: Real>(parts: impl Iterator<Item = T>) -> T {
    let sum = parts.filter_map(|part| part.to_f64()).fold(0.0, |sum, part| sum + part);
    T::from(sum).unwrap_or_else(T::nan)
}

#[inline(always)]
fn dot_lanes<T: Real>(x: &[T], y: &[T]) -> T {
    let mut sums = [T::zero(); LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for l in 0..LANES {
            sums[l] = sums[l] + x[l] * y[l];
        }
    }
    for (sum, (&x, &y)) in sums.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *sum = *sum + x * y;
    }
    total(&sums)
}

/// Sums lanes by halves.
#[inline(always)]
fn total<T: Real>(sums: &[T; LANES]) -> T {
    // Scalar code here makes the compiler cut the products into pairs, too.
    #[cfg(target_arch = "x86_64")]
    if let Some(sums) = as_f32(sums) {
        return T::from(total_f32(sums)).unwrap_or_else(T::nan);
    }
    let sums: [T; 8] = add_halves(sums);
    let sums: [T; 4] = add_halves(&sums);
    let sums: [T; 2] = add_halves(&sums);
    sums[0] + sums[1]
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn as_f32<T: Real>(sums: &[T; LANES]) -> Option<&[f32; LANES]> {
    (sums as &dyn std::any::Any).downcast_ref()
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn total_f32(sums: &[f32; LANES]) -> f32 {
    use std::arch::x86_64::*;
    // SAFETY: every x86-64 has SSE; four lanes are read at 0, 4, 8 and 12.
    unsafe {
        let [a, b, c, d] = [0, 4, 8, 12].map(|l| _mm_loadu_ps(sums.as_ptr().add(l)));
        let four = _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

#[inline(always)]
fn add_halves<T: Real, const N: usize>(sums: &[T]) -> [T; N] {
    let mut halves = [T::zero(); N];
    for l in 0..N {
        halves[l] = sums[l] + sums[l + N];
    }
    halves
}

/// A row of any kind of matrix.
#[derive(Clone, Copy)]
enum Row<'a, T> {
    Absent,
    /// `len` elements; element `j` is at `j * stride`.
    Dense {
        values: &'a [T],
        stride: usize,
        len: usize,
    },
    Sparse(&'a [u32], &'a [T]),
}

fn row_at<T: Real>(rows: RowsRef<T>, at: u32) -> Row<T> {
    match rows {
        _ if at == ABSENT => Row::Absent,
        RowsRef::Dense(m) => {
            Row::Dense { values: m.row(at as usize), stride: m.col_stride, len: m.cols }
        }
        RowsRef::Rows { values, k, .. } => {
            Row::Dense { values: &values[at as usize * k..][..k], stride: 1, len: k }
        }
        RowsRef::Csr(m) => {
            let (ids, values) = m.row(at as usize);
            Row::Sparse(ids, values)
        }
    }
}

fn general<T: Real>(pairs: Pairs, a: RowsRef<T>, b: RowsRef<T>, out: &mut [T]) {
    for_each_part(out, 1, 64, |first, out| {
        let mut row = pairs.row_of(first);
        for (n, out) in out.iter_mut().enumerate() {
            while pairs.row_end(row) <= first + n {
                row += 1;
            }
            *out = dot_rows(row_at(a, pairs.a_at[row]), row_at(b, pairs.b_at[first + n]));
        }
    });
}

fn dot_rows<T: Real>(x: Row<T>, y: Row<T>) -> T {
    match (x, y) {
        (Row::Absent, _) | (_, Row::Absent) => T::zero(),
        (Row::Dense { values: x, stride: p, len }, Row::Dense { values: y, stride: q, .. }) => {
            dot_strided(len, x, p, y, q)
        }
        (Row::Sparse(ids, x), Row::Dense { values, stride, .. })
        | (Row::Dense { values, stride, .. }, Row::Sparse(ids, x)) => {
            dot_sparse(ids, x, values, stride)
        }
        (Row::Sparse(ids, x), Row::Sparse(others, y)) => dot_merge(ids, x, others, y),
    }
}

fn dot_strided<T: Real>(len: usize, x: &[T], p: usize, y: &[T], q: usize) -> T {
    let chunk = |start: usize| {
        let mut sums = [T::zero(); LANES];
        for j in start..(start + CHUNK).min(len) {
            sums[j % LANES] = sums[j % LANES] + x[j * p] * y[j * q];
        }
        total(&sums)
    };
    wide_sum((0..len).step_by(CHUNK).map(chunk))
}

fn dot_sparse<T: Real>(ids: &[u32], x: &[T], y: &[T], stride: usize) -> T {
    let product = |(&j, &x): (&u32, &T)| x * y[j as usize * stride];
    let chunk = |(ids, x): (&[u32], &[T])| {
        ids.iter().zip(x).map(product).fold(T::zero(), |sum, product| sum + product)
    };
    wide_sum(ids.chunks(CHUNK).zip(x.chunks(CHUNK)).map(chunk))
}

/// Adds where both rows store an element.
fn dot_merge<T: Real>(ids: &[u32], x: &[T], others: &[u32], y: &[T]) -> T {
    let (mut n, mut m, mut sum) = (0, 0, T::zero());
    while n < ids.len() && m < others.len() {
        let (i, j) = (ids[n], others[m]);
        let product = x[n] * y[m];
        sum = sum + if i == j { product } else { T::zero() };
        n += usize::from(i <= j);
        m += usize::from(j <= i);
    }
    sum
}
