//! What must not change a bit: the number of threads, the instruction set, the batch. And the accuracy
//! of long sums.

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::by_id::ById;
use super::super::columns::compact;
use super::super::convert::{csr_to_dense, dense_to_csr};
use super::super::dense_csr::{Strided, dense_csr, dense_csr_t};
use super::super::factor_sums::{factor_sums, factor_sums_grad};
use super::super::gather::gather_rows;
use super::super::gemm::gemm;
use super::super::merge::union_places;
use super::super::reduce::{Add, fold, fold_axis};
use super::super::sampled::{RowsRef, sampled_dot};
use super::super::side_by_side::{Entries, of_two};
use super::super::spgemm::{csr_csr, transpose};
use super::super::spmm::{csr_compact, csr_dense};
use super::super::sums::{Part, add_parts};
use super::super::transposed::{csr_t_dense, csr_t_dense_full, csr_t_rows};
use super::super::vectorized::{Level, limit};
use super::super::{CsrRef, Real};

/// Uneven numbers, so that the order of additions shows in the bits.
pub(super) fn uneven<T: Real>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / 1e5 - 83.0
    };
    (0..len).map(|_| T::from(next()).unwrap()).collect()
}

/// Large enough that every kernel uses threads.
struct Case<T> {
    cols: usize,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<T>,
}

fn case<T: Real>(rows: usize, cols: usize, per_row: usize) -> Case<T> {
    let (mut indptr, mut indices, mut state) = (vec![0], Vec::new(), 1u64);
    for i in 0..rows {
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let x = (state >> 11) as f64 / (1u64 << 53) as f64;
            (x * x * x * cols as f64) as u32
        };
        let row: BTreeSet<u32> = (0..per_row * (i % 4) / 2).map(|_| next()).collect();
        indices.extend(row);
        indptr.push(indices.len());
    }
    let values = uneven(indices.len(), 5);
    Case { cols, indptr, indices, values }
}

impl<T: Real> Case<T> {
    fn view(&self, rows: Range<usize>) -> CsrRef<'_, T> {
        let entries = self.indptr[rows.start]..self.indptr[rows.end];
        CsrRef {
            cols: self.cols,
            indptr: &self.indptr[rows.start..=rows.end],
            indices: &self.indices[entries.clone()],
            values: &self.values[entries],
        }
    }
}

/// The results of all kernels with sums, one after another.
fn results<T: Real>(case: &Case<T>) -> Vec<Vec<T>> {
    let a = case.view(0..case.indptr.len() - 1);
    let (rows, cols) = (a.rows(), a.cols);
    let (distinct, slots) = compact(a.indices, cols);
    let mut all = Vec::new();
    let mut keep = |len: usize, kernel: &dyn Fn(&mut [T])| {
        let mut out = vec![T::nan(); len];
        kernel(&mut out);
        all.push(out);
    };
    for k in [1, 9, 70] {
        let (b, table) = (uneven(rows * k, 1), uneven(cols * k, 2));
        let b_rows: Vec<u32> = (0..rows as u32).step_by(3).collect();
        let b_kept = uneven(b_rows.len() * k, 4);
        let values = uneven(slots.len() * k, 3);
        keep(rows * k, &|out| csr_dense(a, &table, k, out));
        keep(rows * k, &|out| csr_compact(a, &slots, &table, k, out));
        keep(distinct.len() * k, &|out| csr_t_dense(a, &slots, &b, k, out));
        keep(distinct.len() * k, &|out| csr_t_rows(a, &slots, &b_rows, &b_kept, k, out));
        keep(cols * k, &|out| csr_t_dense_full(a, &b, k, out));
        keep(rows * (k + 1), &|out| factor_sums(a, a.indices, &table, k, out));
        let of_rows = (&uneven::<T>(rows, 6)[..], &b[..]);
        keep(distinct.len() * k, &|out| {
            factor_sums_grad(a, &slots, of_rows, (&distinct, &table), k, out);
        });
        keep(distinct.len() * k, &|out| ById::new(a.indices, cols).sum(&values, k, out));
        keep(slots.len() * k, &|out| gather_rows(&table, k, a.indices, out));
        keep(k, &|out| fold_axis::<Add, _>(&values, (1, slots.len(), k), out));
        keep(slots.len(), &|out| fold_axis::<Add, _>(&values, (slots.len(), k, 1), out));
        keep(1, &|out| out[0] = fold::<Add, _>(&values));
        let (union, places) = union_places(&[&distinct, &b_rows]);
        let first = Part::Rows(&places[0], &values[..distinct.len() * k]);
        let parts = [first, Part::Rows(&places[1], &b_kept)];
        keep(union.len() * k, &|out| add_parts(&parts, None, k, out));
        let parts = [Part::Rows(&b_rows, &b_kept), Part::Dense(&b)];
        keep(rows * k, &|out| add_parts(&parts, None, k, out));
        let dense = |values, rows| {
            RowsRef::Dense(Strided { values, rows, cols: k, row_stride: k, col_stride: 1 })
        };
        let (x, y) = (dense(&b[..], rows), dense(&table[..], cols));
        keep(slots.len(), &|out| sampled_dot(a.indptr, a.indices, x, y, out));
        let left = Strided { values: &b, rows: k, cols: rows, row_stride: rows, col_stride: 1 };
        keep(k * cols, &|out| dense_csr(left, a, out));
        let left = Strided { values: &table, rows: k, cols, row_stride: cols, col_stride: 1 };
        keep(k * rows, &|out| dense_csr_t(left, a, out));
        let right = Strided { values: &b, rows, cols: k, row_stride: k, col_stride: 1 };
        let turned = Strided { values: &b, rows: k, cols: rows, row_stride: 1, col_stride: k };
        keep(k * k, &|out| gemm(turned, right, out));
    }
    let mirrored: Vec<u32> =
        (0..rows).flat_map(|i| a.row(i).0.iter().rev().map(|&c| cols as u32 - 1 - c)).collect();
    let other = CsrRef { indices: &mirrored, ..a };
    let add = |x: &[T], y: &[T], to: &mut [T]| {
        to.iter_mut().zip(x).zip(y).for_each(|((to, &x), &y)| *to = x + y);
    };
    all.push(of_two(a, other, Entries::Either, add).values.into());
    let few = case.view(0..rows.min(1100));
    let mut dense = vec![T::nan(); few.rows() * cols];
    csr_to_dense(few, &mut dense);
    all.push(dense_to_csr(few.rows(), cols, &dense).values.into());
    all.push(dense);
    all.push(csr_csr(transpose(a).view(rows), a).values.into());
    all
}

fn bits<T: Real>(results: &[Vec<T>]) -> Vec<Vec<(u64, i16, i8)>> {
    results.iter().map(|x| x.iter().map(|x| x.integer_decode()).collect()).collect()
}

fn same_bits_on_threads<T: Real>() {
    let case = case::<T>(5000, 2000, 40);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        bits(&pool.install(|| results(&case)))
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        for (n, (x, y)) in one.iter().zip(run(threads)).enumerate() {
            assert!(*x == y, "result {n} on {threads} threads");
        }
    }
}

#[test]
fn threads_do_not_change_bits() {
    same_bits_on_threads::<f32>();
    same_bits_on_threads::<f64>();
}

fn same_bits_on_levels<T: Real>() {
    let case = case::<T>(60, 70, 20);
    let best = bits(&results(&case));
    #[cfg(target_arch = "x86_64")]
    let levels = [Level::Portable, Level::Avx2];
    #[cfg(not(target_arch = "x86_64"))]
    let levels = [Level::Portable];
    for level in levels {
        limit::set(Some(level));
        let other = bits(&results(&case));
        limit::set(None);
        for (n, (x, y)) in best.iter().zip(other).enumerate() {
            assert!(*x == y, "result {n} with {level:?}");
        }
    }
}

#[test]
fn instruction_sets_do_not_change_bits() {
    same_bits_on_levels::<f32>();
    same_bits_on_levels::<f64>();
}

/// A row of a product, computed alone, is its row in the batch.
fn rows_stand_alone<T: Real>() {
    let case = case::<T>(130, 90, 30);
    let all = case.view(0..130);
    for k in [1, 5, 16, 100] {
        let table = uneven::<T>(90 * k, 2);
        let x = uneven::<T>(130 * 90, 3);
        let whole = |rows| Strided { values: &x, rows, cols: 90, row_stride: 90, col_stride: 1 };
        let right = Strided { values: &table, rows: 90, cols: k, row_stride: k, col_stride: 1 };
        let (mut sparse, mut dense) = (vec![T::nan(); 130 * k], vec![T::nan(); 130 * k]);
        let (mut dense_sparse, mut alone) = (vec![T::nan(); 130 * 130], vec![T::nan(); k]);
        csr_dense(all, &table, k, &mut sparse);
        gemm(whole(130), right, &mut dense);
        dense_csr_t(whole(130), all, &mut dense_sparse);
        for i in 0..130 {
            csr_dense(case.view(i..i + 1), &table, k, &mut alone);
            assert!(alone == sparse[i * k..][..k]);
            let row = Strided { values: &x[i * 90..], ..whole(1) };
            gemm(row, right, &mut alone);
            assert!(alone == dense[i * k..][..k]);
            let mut alone = vec![T::nan(); 130];
            dense_csr_t(row, all, &mut alone);
            assert!(alone == dense_sparse[i * 130..][..130]);
        }
    }
}

#[test]
fn rows_do_not_depend_on_their_batch() {
    rows_stand_alone::<f32>();
    rows_stand_alone::<f64>();
}

#[test]
fn long_sums_are_right() {
    let x: Vec<f32> = (0..10_000_000).map(|i| (i % 1000) as f32 * 1e-3 + 0.1).collect();
    let exact: f64 = x.iter().map(|&x| f64::from(x)).sum();
    let relative = |sum: f32, exact: f64| (f64::from(sum) / exact - 1.0).abs();
    assert!(relative(fold::<Add, _>(&x), exact) < 1e-6);
    let mut columns = [0.0; 2];
    fold_axis::<Add, _>(&x, (1, 5_000_000, 2), &mut columns);
    assert!(relative(columns[0] + columns[1], exact) < 1e-6);
}
