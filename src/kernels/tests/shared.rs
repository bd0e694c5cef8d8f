//! Kernels that share work among threads: that they do, and that it does not show in what they give.

use super::super::CsrRef;
use super::super::arg::{arg_axis, arg_rows};
use super::super::bags::{BagsRef, bags_csr, pick_bags};
use super::super::blocks::scatter;
use super::super::columns::compact;
use super::super::concat::concat_dense;
use super::super::convert::{csr_to_dense, dense_to_csr, nonzero_rows};
use super::super::dense_csr::{Strided, dense_csr, dense_csr_t};
use super::super::dropout::Dropout;
use super::super::factor_sums::{factor_sums, factor_sums_grad};
use super::super::gather::{gather_compact, gather_rows};
use super::super::gemm::{gemm, gemm_batches};
use super::super::patterns::{intersect_patterns, union_patterns};
use super::super::reduce::{Add, Max, fold, fold_axis, fold_csr_rows};
use super::super::row_softmax::{log_softmax_axis, log_softmax_rows};
use super::super::sampled::{RowsRef, sampled_dot};
use super::super::side_by_side::{Entries, of_two};
use super::super::spgemm::{csr_csr, transpose};
use super::super::spmm::csr_dense;
use super::super::strided::{Strided as Layout, copy};
use super::super::sums::{Part, add_csr, add_parts};
use super::super::threads::SHARED;
use super::super::top_k::{top_k, top_k_sparse};
use super::super::transposed::csr_t_dense;
use super::super::update::sgd::SgdStep;
use super::super::update::{Rows, update_all, update_rows};
use super::bits::uneven;
use crate::kernels::by_id::ById;

/// Rows of a matrix, and the entries of each.
const ROWS: usize = 16_000;
const PER_ROW: usize = 50;

/// Columns that are looked up in one set, and those that are distributed among spans.
const COLUMNS: usize = 4000;
const MANY_COLUMNS: usize = (1 << 21) + 1;

/// What a kernel gave, and whether it shared its work.
struct Given {
    name: &'static str,
    bits: Vec<u64>,
    shared: bool,
}

#[derive(Default)]
struct All(Vec<Given>);

impl All {
    fn keep(&mut self, name: &'static str, kernel: impl FnOnce() -> Vec<u64>) {
        let before = SHARED.get();
        let bits = kernel();
        self.0.push(Given { name, bits, shared: SHARED.get() > before });
    }

    fn floats(&mut self, name: &'static str, len: usize, kernel: impl FnOnce(&mut [f32])) {
        self.keep(name, || {
            let mut out = vec![f32::NAN; len];
            kernel(&mut out);
            bits(&out)
        });
    }

    fn ids(&mut self, name: &'static str, len: usize, kernel: impl FnOnce(&mut [i64])) {
        self.keep(name, || {
            let mut out = vec![-1; len];
            kernel(&mut out);
            out.into_iter().map(|id| id as u64).collect()
        });
    }
}

fn bits(x: &[f32]) -> Vec<u64> {
    x.iter().map(|x| u64::from(x.to_bits())).collect()
}

fn wide(x: &[u32]) -> Vec<u64> {
    x.iter().map(|&x| x.into()).collect()
}

/// Ascending columns of each row, below `columns`.
fn indices(columns: usize) -> Vec<u32> {
    let place = columns / PER_ROW;
    let column = |i: usize, j: usize| (j * place + (i * 7919 + j * 104_729) % place) as u32;
    (0..ROWS).flat_map(|i| (0..PER_ROW).map(move |j| column(i, j))).collect()
}

fn dense(values: &[f32], rows: usize, cols: usize) -> Strided<'_, f32> {
    Strided { values, rows, cols, row_stride: cols, col_stride: 1 }
}

fn run() -> Vec<Given> {
    let mut all = All::default();
    let indptr: Vec<usize> = (0..=ROWS).map(|row| row * PER_ROW).collect();
    let (columns, values) = (indices(COLUMNS), uneven::<f32>(ROWS * PER_ROW, 1));
    let a = CsrRef { cols: COLUMNS, indptr: &indptr, indices: &columns, values: &values };
    let len = values.len();
    products(&mut all, a);
    of_csr(&mut all, a);
    of_dense(&mut all, &values);
    updates(&mut all, &values);
    let far = indices(MANY_COLUMNS);
    all.keep("spans", || {
        let (distinct, slots) = compact(&far, MANY_COLUMNS);
        [wide(&distinct), wide(&slots)].concat()
    });
    let by_id = ById::new(&columns, COLUMNS);
    all.floats("sums by id", COLUMNS, |out| {
        let sums = &mut out[..by_id.distinct.len()];
        by_id.sum(&values, 1, sums);
    });
    let ids: Vec<i64> = columns.iter().map(|&id| id.into()).collect();
    let bags = BagsRef { ids: &ids, bounds: &indptr, padding: Some(3) };
    all.keep("bags", || bits(&bags_csr::<f32>(bags, None, true).values));
    all.floats("picks of bags", len, |out| pick_bags(bags, a, out));
    all.0
}

fn products(all: &mut All, a: CsrRef<f32>) {
    const K: usize = 32;
    let (b, table) = (uneven::<f32>(ROWS * K, 2), uneven::<f32>(COLUMNS * K, 3));
    let (distinct, slots) = compact(a.indices, COLUMNS);
    all.floats("csr · dense", ROWS * K, |out| csr_dense(a, &table, K, out));
    all.floats("csrᵀ · dense", distinct.len() * K, |out| csr_t_dense(a, &slots, &b, K, out));
    all.floats("factor sums", ROWS * (K + 1), |out| factor_sums(a, a.indices, &table, K, out));
    all.floats("gradient of factor sums", distinct.len() * K, |out| {
        factor_sums_grad(a, &slots, (&b[..ROWS], &b), (&distinct, &table), K, out);
    });
    let few = CsrRef { indptr: &a.indptr[..1001], ..a };
    let few = CsrRef { indices: &a.indices[..50_000], values: &a.values[..50_000], ..few };
    let (left, right) = (dense(&table, K, COLUMNS), dense(&b, K, 1000));
    all.floats("dense · csrᵀ", K * 1000, |out| dense_csr_t(left, few, out));
    all.floats("dense · csr", K * COLUMNS, |out| dense_csr(right, few, out));
    let (x, y) = (dense(&b, ROWS, K), dense(&table, COLUMNS, K));
    all.floats("dense · dense", ROWS * K, |out| gemm(x, dense(&table, K, K), out));
    all.floats("long dense · dense", 16 * ROWS, |out| {
        gemm_batches(ROWS, |_| (dense(&table, ROWS / K, K), dense(&b, K, K)), out);
    });
    let pairs = |a_rows, b_rows, out: &mut [f32]| {
        sampled_dot(a.indptr, a.indices, a_rows, b_rows, out);
    };
    let entries = a.indices.len();
    all.floats("sampled", entries, |out| pairs(RowsRef::Dense(x), RowsRef::Dense(y), out));
    let strided = Strided { row_stride: 1, col_stride: ROWS, ..x };
    all.floats("sampled, strided", entries, |out| {
        pairs(RowsRef::Dense(strided), RowsRef::Dense(y), out);
    });
    all.keep("csr · csr", || bits(&csr_csr(transpose(few).view(1000), few).values));
    all.floats("rows", entries, |out| gather_rows(&table, 1, a.indices, out));
    all.floats("compact rows", entries, |out| gather_compact(&slots, &table, 1, out));
}

fn of_csr(all: &mut All, a: CsrRef<f32>) {
    let mirrored: Vec<u32> = a
        .indices
        .chunks(PER_ROW)
        .flat_map(|row| row.iter().rev().map(|&c| COLUMNS as u32 - 1 - c))
        .collect();
    let other = CsrRef { indices: &mirrored, ..a };
    all.floats("sums of csr rows", ROWS, |out| fold_csr_rows::<Add, _>(a, out));
    let add = |x: &[f32], y: &[f32], to: &mut [f32]| {
        to.iter_mut().zip(x).zip(y).for_each(|((to, &x), &y)| *to = x + y);
    };
    all.keep("csr + csr", || bits(&of_two(a, other, Entries::Either, add).values));
    let patterns = [(a.indptr, a.indices), (other.indptr, other.indices)];
    let (ends, union) = union_patterns(&patterns);
    all.keep("union", || wide(&union_patterns(&patterns).1));
    all.keep("intersection", || wide(&intersect_patterns(&patterns).1));
    all.floats("sum of csr", union.len(), |out| add_csr(&[a, other], (&ends, &union), out));
    all.ids("largest of csr rows", ROWS, |out| {
        arg_rows::<f32, false>(|i| a.row(i), (COLUMNS, PER_ROW), out);
    });
    all.ids("few largest of csr rows", ROWS * 2, |out| {
        top_k_sparse(|i| a.row(i), COLUMNS, (2, 4 * PER_ROW), out);
    });
    let few = CsrRef { indptr: &a.indptr[..501], indices: &a.indices[..25_000], ..a };
    let few = CsrRef { values: &a.values[..25_000], ..few };
    let mut dense = vec![f32::NAN; 500 * COLUMNS];
    csr_to_dense(few, &mut dense);
    all.floats("csr as dense", dense.len(), |out| csr_to_dense(few, out));
    all.keep("dense as csr", || bits(&dense_to_csr(500, COLUMNS, &dense).values));
    all.keep("rows that are not 0", || wide(&nonzero_rows(dense.len() / 2, 2, &dense)));
    let places: Vec<u32> = (0..600_000).step_by(7).collect();
    all.floats("scatter", 600_000, |out| scatter(&places, |n| a.values[n], 0.5, out));
    let rows: Vec<u32> = (0..ROWS as u32).step_by(3).collect();
    let parts = [Part::Rows(&rows, &a.values[..rows.len() * PER_ROW]), Part::Dense(a.values)];
    all.floats("sum of rows", a.values.len(), |out| add_parts(&parts, None, PER_ROW, out));
    let drop = Dropout::new(0.3, 1.5, [1, 2, 3]);
    all.floats("dropout of csr", a.values.len(), |out| {
        drop.csr(a.values, (a.indptr, a.indices), COLUMNS, out);
    });
    all.floats("dropout of rows", rows.len() * PER_ROW, |out| {
        drop.rows(&a.values[..rows.len() * PER_ROW], &rows, PER_ROW, out);
    });
    all.floats("dropout", a.values.len(), |out| drop.dense(a.values, out));
}

fn of_dense(all: &mut All, values: &[f32]) {
    let wide = uneven::<f32>(1 << 21, 4);
    let vector = dense(&wide, 64, 1);
    all.floats("dense · vector", 1 << 15, |out| gemm(dense(&wide, 1 << 15, 64), vector, out));
    all.floats("sum", 1, |out| out[0] = fold::<Add, _>(&wide));
    all.floats("sums of rows", 1 << 15, |out| fold_axis::<Add, _>(&wide, (1 << 15, 64, 1), out));
    all.floats("sums of columns", 64, |out| fold_axis::<Add, _>(&wide, (1, 1 << 15, 64), out));
    all.floats("sums inside", 1 << 15, |out| fold_axis::<Max, _>(&wide, (1 << 9, 64, 64), out));
    all.floats("softmax of rows", values.len(), |out| log_softmax_rows(values, PER_ROW, out));
    all.floats("softmax of columns", values.len(), |out| {
        log_softmax_axis(values, (1, PER_ROW, ROWS), out);
    });
    all.ids("largest", ROWS, |out| arg_axis::<f32, true>(values, PER_ROW, 1, out));
    all.ids("few largest", ROWS * 3, |out| top_k(values, PER_ROW, 3, out));
    all.floats("side by side", 2 * values.len(), |out| {
        concat_dense(&[(values, PER_ROW), (values, PER_ROW)], out);
    });
    all.floats("turned", 1 << 21, |out| {
        let shape = [1 << 11, 1 << 10];
        let mut turned = Layout::whole(&[1 << 10, 1 << 11]);
        turned.steps.reverse();
        copy(&shape, (&wide, &turned), (out, &Layout::whole(&shape)));
    });
}

fn updates(all: &mut All, values: &[f32]) {
    let step =
        SgdStep { lr: 0.5f32, momentum: 0.9, nesterov: false, decay: 0.1, rescale: 2.0, clip: 3.0 };
    let slots: Vec<u32> = (0..ROWS as u32).filter(|slot| slot % 7 != 3).collect();
    let (k, mut m) = (PER_ROW, vec![0.25; values.len()]);
    all.floats("update", values.len(), |w| {
        w.copy_from_slice(values);
        update_all(&step, Rows { w, s: [&mut m], k, widths: [k] }, Some(values));
    });
    all.floats("update of rows", values.len(), |w| {
        w.copy_from_slice(values);
        let rows = Rows { w, s: [&mut m], k, widths: [k] };
        update_rows(&step, rows, &slots, &values[..slots.len() * k], true);
    });
}

#[test]
fn shared_work_gives_the_same_bits() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(run)
    };
    let one = on(1);
    for threads in [2, 3, 8] {
        let together = on(threads);
        let alone = together.iter().filter(|given| !given.shared).map(|given| given.name);
        assert_eq!(alone.collect::<Vec<_>>(), [""; 0], "kernels that did not share their work");
        for (one, many) in one.iter().zip(&together) {
            assert!(!one.shared && one.bits == many.bits, "{} on {threads} threads", one.name);
        }
    }
}
