//! Every kernel against the obvious loop. Values are small integers, so sums are exact in any order.

mod bits;
mod shared;

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::CsrRef;
use super::by_id::ById;
use super::columns::compact;
use super::dense_csr::{Strided, dense_csr, dense_csr_t};
use super::gather::{gather_compact, gather_rows};
use super::gemm::gemm;
use super::memory::{self, Temp};
use super::merge::{intersect_rows, positions, union_places, union_rows};
use super::patterns::{entry_positions, intersect_patterns, union_patterns};
use super::reduce::{Add, fold, fold_axis};
use super::row_softmax::log_softmax_rows;
use super::sampled::{RowsRef, sampled_dot};
use super::side_by_side::{Entries, of_two};
use super::spgemm::{csr_csr, transpose};
use super::spmm::{ABSENT, csr_compact, csr_dense};
use super::sums::{Part, add_parts};
use super::transposed::{csr_t_dense, csr_t_dense_full, csr_t_rows};

/// An owned CSR matrix whose pointers start at some offset.
#[derive(Clone, Debug)]
struct Csr {
    cols: usize,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl Csr {
    fn new(cols: usize, offset: usize, rows: Vec<BTreeMap<u32, i8>>) -> Self {
        let mut csr = Csr { cols, indptr: vec![offset], indices: vec![], values: vec![] };
        for row in rows {
            csr.indices.extend(row.keys());
            csr.values.extend(row.values().map(|&x| f32::from(x)));
            csr.indptr.push(offset + csr.indices.len());
        }
        csr
    }

    fn of(cols: usize, csr: memory::Csr<f32>) -> Self {
        let memory::Csr { indptr, indices, values } = csr;
        Csr { cols, indptr: indptr.into(), indices: indices.into(), values: values.into() }
    }

    fn view(&self) -> CsrRef<'_, f32> {
        let Csr { cols, indptr, indices, values } = self;
        CsrRef { cols: *cols, indptr, indices, values }
    }

    fn pattern(&self) -> (&[usize], &[u32]) {
        (&self.indptr, &self.indices)
    }

    fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// `(row, column, value)` of every entry.
    fn entries(&self) -> Vec<(usize, usize, f32)> {
        let row = |i| {
            let (ids, values) = self.view().row(i);
            ids.iter().zip(values).map(move |(&j, &x)| (i, j as usize, x)).collect::<Vec<_>>()
        };
        (0..self.rows()).flat_map(row).collect()
    }
}

fn csr_of(rows: usize, cols: usize) -> impl Strategy<Value = Csr> {
    let most = cols.min(12);
    let row = btree_map(0..cols.max(1) as u32, -4i8..5, 0..=most);
    (0usize..3, vec(row, rows)).prop_map(move |(offset, rows)| Csr::new(cols, 7 * offset, rows))
}

fn csr() -> impl Strategy<Value = Csr> {
    (0usize..7, 0usize..40).prop_flat_map(|(rows, cols)| csr_of(rows, cols))
}

/// Few entries among 2^32 columns.
fn wide_csr() -> impl Strategy<Value = Csr> {
    let column = prop_oneof![0u32..4, (u32::MAX - 4)..=u32::MAX, any::<u32>()];
    vec(btree_map(column, -4i8..5, 0..5), 0..5).prop_map(|rows| Csr::new(1 << 32, 3, rows))
}

fn width() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..10, Just(16), Just(31), Just(64), Just(103)]
}

/// Small integers that depend on the seed and the position.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 9) as f32 - 4.0
    };
    (0..len).map(|_| next()).collect()
}

fn ids(max: u32, most: usize) -> impl Strategy<Value = Vec<u32>> {
    btree_set(0..max, 0..most).prop_map(|set| set.into_iter().collect())
}

/// What `kernel` writes to `len` elements that hold rubbish.
fn filled(len: usize, kernel: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut out = vec![f32::NAN; len];
    kernel(&mut out);
    out
}

/// What `add` adds to `len` zeros.
fn naive(len: usize, add: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut out = vec![0.0; len];
    add(&mut out);
    out
}

fn strided(values: &[f32], rows: usize, cols: usize, turned: bool) -> Strided<'_, f32> {
    let (row_stride, col_stride) = if turned { (1, rows) } else { (cols, 1) };
    Strided { values, rows, cols, row_stride, col_stride }
}

fn at(m: Strided<f32>, i: usize, j: usize) -> f32 {
    m.values[i * m.row_stride + j * m.col_stride]
}

fn check_compact(indices: &[u32], cols: usize) -> Result<(), TestCaseError> {
    let (distinct, slots) = compact(indices, cols);
    let expected: BTreeSet<u32> = indices.iter().copied().collect();
    prop_assert!(distinct.iter().eq(&expected));
    let back: Vec<u32> = slots.iter().map(|&slot| distinct[slot as usize]).collect();
    prop_assert_eq!(back, indices);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn columns_of_many_spans_are_compacted(seed: u64, popular in 1u32..100_000) {
        let cols = 3 << 20;
        let mut state = seed;
        let mut draw = |below: u32| {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            (state >> 33) as u32 % below
        };
        let columns: Vec<u32> =
            (0..70_000).map(|n| draw(if n % 3 == 0 { cols } else { popular })).collect();
        for threads in [1, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| check_compact(&columns, cols as usize))?;
        }
    }
}

proptest! {
    #[test]
    fn columns_are_compacted(a in prop_oneof![csr(), wide_csr()]) {
        check_compact(&a.indices, a.cols)?;
    }

    #[test]
    fn many_wide_columns_are_compacted(columns in vec(any::<u32>(), 0..2000), few in 0u32..999) {
        check_compact(&columns, 1 << 32)?;
        let repeated: Vec<u32> = columns.iter().map(|c| c % (few + 1) * 4_000_000).collect();
        check_compact(&repeated, 1 << 32)?;
    }

    #[test]
    fn csr_times_dense(a in csr(), k in width(), seed: u64) {
        let b = numbers(a.cols * k, seed);
        let expected = naive(a.rows() * k, |out| for (i, j, x) in a.entries() {
            for l in 0..k { out[i * k + l] += x * b[j * k + l]; }
        });
        let out = filled(a.rows() * k, |out| csr_dense(a.view(), &b, k, out));
        prop_assert_eq!(&out, &expected);
        let out = filled(a.rows() * k, |out| csr_compact(a.view(), &a.indices, &b, k, out));
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn absent_rows_add_nothing(a in prop_oneof![csr(), wide_csr()], k in width(), seed: u64) {
        let (distinct, slots) = compact(&a.indices, a.cols);
        let kept: Vec<u32> = distinct.iter().copied().step_by(2).collect();
        let at = positions(&distinct, &kept);
        let slots: Vec<u32> = slots.iter().map(|&slot| at[slot as usize]).collect();
        let b = numbers(kept.len() * k, seed);
        let mut a = a;
        a.values.iter_mut().zip(&slots).filter(|x| *x.1 == ABSENT).for_each(|x| *x.0 = f32::NAN);
        let expected = naive(a.rows() * k, |out| {
            for ((i, _, x), &slot) in a.entries().into_iter().zip(&slots) {
                for l in 0..if slot == ABSENT { 0 } else { k } {
                    out[i * k + l] += x * b[slot as usize * k + l];
                }
            }
        });
        let out = filled(a.rows() * k, |out| csr_compact(a.view(), &slots, &b, k, out));
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn transposed_csr_times_rows(a in csr(), k in width(), seed: u64, half: bool) {
        let b = numbers(a.rows() * k, seed);
        let step = if half { 2 } else { 1 };
        let b_rows: Vec<u32> = (0..a.rows() as u32).step_by(step).collect();
        let expected = naive(a.cols * k, |out| for (i, j, x) in a.entries() {
            for l in 0..if i % step == 0 { k } else { 0 } { out[j * k + l] += x * b[i * k + l]; }
        });
        let (distinct, slots) = compact(&a.indices, a.cols);
        let compacted: Vec<f32> =
            distinct.iter().flat_map(|&j| &expected[j as usize * k..][..k]).copied().collect();
        let b_kept = filled(b_rows.len() * k, |out| gather_rows(&b, k, &b_rows, out));
        let len = distinct.len() * k;
        let out = filled(len, |out| csr_t_rows(a.view(), &slots, &b_rows, &b_kept, k, out));
        prop_assert_eq!(&out, &compacted);
        if !half {
            let out = filled(len, |out| csr_t_dense(a.view(), &slots, &b, k, out));
            prop_assert_eq!(&out, &compacted);
            let out = filled(a.cols * k, |out| csr_t_dense_full(a.view(), &b, k, out));
            prop_assert_eq!(&out, &expected);
        }
    }

    #[test]
    fn dense_times_csr(b in csr(), m in 0usize..40, turned: bool, seed: u64) {
        let (n, p) = (b.rows(), b.cols);
        let values = numbers(m * n, seed);
        let a = strided(&values, m, n, turned);
        let expected = naive(m * p, |out| for (r, j, x) in b.entries() {
            for i in 0..m { out[i * p + j] += at(a, i, r) * x; }
        });
        prop_assert_eq!(filled(m * p, |out| dense_csr(a, b.view(), out)), expected);

        let values = numbers(m * p, seed);
        let a = strided(&values, m, p, turned);
        let expected = naive(m * n, |out| for (r, j, x) in b.entries() {
            for i in 0..m { out[i * n + r] += at(a, i, j) * x; }
        });
        prop_assert_eq!(filled(m * n, |out| dense_csr_t(a, b.view(), out)), expected);
    }

    #[test]
    fn dense_times_dense(
        (m, k, n) in (0usize..40, 0usize..40, 0usize..40), s: bool, t: bool, seed: u64,
    ) {
        let (x, y) = (numbers(m * k, seed), numbers(k * n, !seed));
        let (a, b) = (strided(&x, m, k, s), strided(&y, k, n, t));
        let expected = naive(m * n, |out| for i in 0..m { for j in 0..n {
            out[i * n + j] = (0..k).map(|l| at(a, i, l) * at(b, l, j)).sum();
        }});
        prop_assert_eq!(filled(m * n, |out| gemm(a, b, out)), expected);
    }

    #[test]
    fn csr_times_csr((a, b) in (csr(), 0usize..300).prop_flat_map(|(a, cols)| {
        let rows = a.cols;
        (Just(a), csr_of(rows, cols))
    }), wide: bool) {
        // Among many columns, products are sorted.
        let b = Csr { cols: if wide { 1 << 32 } else { b.cols }, ..b };
        let mut expected = BTreeMap::new();
        for (i, j, x) in a.entries() {
            let (ids, values) = b.view().row(j);
            for (&c, &y) in ids.iter().zip(values) {
                *expected.entry((i, c as usize)).or_insert(0.0) += x * y;
            }
        }
        let product = Csr::of(b.cols, csr_csr(a.view(), b.view()));
        prop_assert_eq!(product.rows(), a.rows());
        let entries: Vec<_> = product.entries().iter().map(|&(i, j, x)| ((i, j), x)).collect();
        prop_assert_eq!(entries, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn transposes(a in csr()) {
        let turned = Csr::of(a.rows(), transpose(a.view()));
        let mut entries: Vec<_> = turned.entries().iter().map(|&(j, i, x)| (i, j, x)).collect();
        entries.sort_by_key(|&(i, j, _)| (i, j));
        prop_assert_eq!((turned.rows(), entries), (a.cols, a.entries()));
    }

    #[test]
    fn sampled_products(
        pattern in csr(), k in width(), kinds in (0usize..4, 0usize..4), seed: u64,
        (x, y) in (csr_of(7, 40), csr_of(40, 40)),
    ) {
        let k = if kinds.0 == 3 || kinds.1 == 3 { 40 } else { k };
        let (m, n) = (pattern.rows(), pattern.cols);
        let (a, b) = (numbers(m * k, seed), numbers(n * k, !seed));
        let a_ids: Vec<u32> = (0..m as u32).filter(|i| i % 3 != 1).collect();
        let b_ids: Vec<u32> = (0..n as u32).filter(|i| i % 3 != 2).collect();
        let a_rows = filled(a_ids.len() * k, |out| gather_rows(&a, k, &a_ids, out));
        let b_rows = filled(b_ids.len() * k, |out| gather_rows(&b, k, &b_ids, out));
        let a_ref = match kinds.0 {
            0 | 1 => RowsRef::Dense(strided(&a, m, k, kinds.0 == 1)),
            2 => RowsRef::Rows { ids: &a_ids, values: &a_rows, k },
            _ => RowsRef::Csr(x.view()),
        };
        let b_ref = match kinds.1 {
            0 | 1 => RowsRef::Dense(strided(&b, n, k, kinds.1 == 1)),
            2 => RowsRef::Rows { ids: &b_ids, values: &b_rows, k },
            _ => RowsRef::Csr(y.view()),
        };
        let expected: Vec<f32> = pattern.entries().iter().map(|&(r, c, _)| {
            (0..k).map(|j| element(a_ref, r, j) * element(b_ref, c, j)).sum::<f32>() + 0.0
        }).collect();
        let (indptr, indices) = pattern.pattern();
        let out = filled(indices.len(), |out| sampled_dot(indptr, indices, a_ref, b_ref, out));
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn row_sets(x in ids(60, 30), y in ids(60, 3), z in ids(2000, 200), w in 0usize..5) {
        let lists: &[&[u32]] = &[&x[..], &y, &z, &x][..w];
        let set = |list: &[u32]| list.iter().copied().collect::<BTreeSet<_>>();
        let union: BTreeSet<u32> = lists.iter().flat_map(|list| set(list)).collect();
        prop_assert_eq!(Vec::from(union_rows(lists)), union.iter().copied().collect::<Vec<_>>());
        let common = lists.iter().map(|list| set(list)).reduce(|a, b| &a & &b).unwrap_or_default();
        prop_assert_eq!(Vec::from(intersect_rows(lists)), common.into_iter().collect::<Vec<_>>());
        for (of, into) in [(&x, &z), (&z, &x), (&y, &z), (&y, &y)] {
            let expected: Vec<u32> =
                of.iter().map(|id| into.binary_search(id).map_or(ABSENT, |n| n as u32)).collect();
            prop_assert_eq!(Vec::from(positions(of, into)), expected);
        }
    }

    #[test]
    fn rows_are_added(x in ids(60, 30), y in ids(60, 3), z in ids(2000, 900), k in width()) {
        let lists = [&x[..], &y, &z];
        let (union, places) = union_places(&lists);
        prop_assert_eq!(&union[..], &union_rows(&lists)[..]);
        for (list, places) in lists.iter().zip(&places) {
            prop_assert_eq!(&positions(list, &union)[..], &places[..]);
        }
        let values = [x.len(), y.len(), z.len()].map(|len| numbers(len * k, len as u64));
        let parts: Vec<(&[u32], &[f32])> =
            [&x, &y, &z].into_iter().zip(&values).map(|(ids, v)| (&ids[..], &v[..])).collect();
        let expected = naive(union.len() * k, |out| for (ids, values) in &parts {
            for (n, id) in ids.iter().enumerate() {
                let at = union.binary_search(id).unwrap();
                for l in 0..k { out[at * k + l] += values[n * k + l]; }
            }
        });
        let onto: Vec<Part<f32>> =
            places.iter().zip(&values).map(|(places, v)| Part::Rows(places, v)).collect();
        prop_assert_eq!(filled(union.len() * k, |out| add_parts(&onto, None, k, out)), expected);
    }

    #[test]
    fn two_side_by_side((x, y) in (0usize..9, 0usize..40).prop_flat_map(|(rows, cols)| {
        (csr_of(rows, cols), csr_of(rows, cols))
    })) {
        let map = |m: &Csr| -> BTreeMap<(usize, usize), f32> {
            m.entries().into_iter().map(|(i, j, x)| ((i, j), x)).collect()
        };
        let (left, right) = (map(&x), map(&y));
        for entries in [Entries::Either, Entries::Both] {
            let mut expected: BTreeMap<_, _> = left.clone();
            expected.extend(right.iter().map(|(&at, &x)| (at, x)));
            if entries == Entries::Both {
                expected.retain(|at, _| left.contains_key(at) && right.contains_key(at));
            }
            for (at, value) in &mut expected {
                let held = |m: &BTreeMap<_, f32>| m.get(at).copied().unwrap_or(0.0);
                *value = 10.0 * held(&left) + held(&right);
            }
            let f = |x: &[f32], y: &[f32], to: &mut [f32]| {
                for ((to, &x), &y) in to.iter_mut().zip(x).zip(y) { *to = 10.0 * x + y; }
            };
            let out = Csr::of(x.cols, of_two(x.view(), y.view(), entries, f));
            prop_assert_eq!(out.rows(), x.rows());
            prop_assert_eq!(map(&out), expected);
        }
    }

    #[test]
    fn pattern_sets((x, y, z) in (0usize..7, 0usize..40).prop_flat_map(|(rows, cols)| {
        (csr_of(rows, cols), csr_of(rows, cols), csr_of(rows, cols))
    }), n in 1usize..5) {
        let parts = &[x.pattern(), y.pattern(), z.pattern(), x.pattern()][..n];
        let sets: Vec<BTreeSet<_>> = [&x, &y, &z, &x][..n].iter()
            .map(|m| m.entries().iter().map(|&(i, j, _)| (i, j)).collect()).collect();
        for (all, pattern) in [
            (sets.iter().flatten().copied().collect(), union_patterns(parts)),
            (sets.iter().cloned().reduce(|a, b| &a & &b).unwrap(), intersect_patterns(parts)),
        ] {
            let (indptr, indices) = pattern;
            let values = Temp::filled(0.0, indices.len());
            let m = Csr::of(x.cols, memory::Csr { indptr, indices, values });
            prop_assert_eq!(m.indptr[0], 0);
            prop_assert_eq!(m.rows(), x.rows());
            let entries: BTreeSet<_> = m.entries().iter().map(|&(i, j, _)| (i, j)).collect();
            prop_assert_eq!(entries, all);
            let at = entry_positions(&x.indptr, &x.indices, &m.indptr, &m.indices);
            let mine: Vec<_> = x.entries().iter().map(|&(i, j, _)| (i, j)).collect();
            let expected: Vec<usize> = m.entries().iter()
                .map(|&(i, j, _)| mine.binary_search(&(i, j)).unwrap_or(usize::MAX)).collect();
            prop_assert_eq!(Vec::from(at), expected);
        }
    }

    #[test]
    fn rows_are_gathered_and_scattered(
        rows in 1usize..30, k in width(), ids in vec(any::<u32>(), 0..90), seed: u64,
    ) {
        let ids: Vec<u32> = ids.iter().map(|id| id % rows as u32).collect();
        let table = numbers(rows * k, seed);
        let expected: Vec<f32> =
            ids.iter().flat_map(|&i| &table[i as usize * k..][..k]).copied().collect();
        let len = ids.len() * k;
        prop_assert_eq!(&filled(len, |out| gather_rows(&table, k, &ids, out)), &expected);
        let holes: Vec<u32> = ids.iter().map(|&i| if i % 3 == 0 { ABSENT } else { i }).collect();
        let with_zeros: Vec<f32> = holes.iter().flat_map(|&i| (0..k).map(move |l| (i, l)))
            .map(|(i, l)| if i == ABSENT { 0.0 } else { table[i as usize * k + l] }).collect();
        prop_assert_eq!(filled(len, |out| gather_compact(&holes, &table, k, out)), with_zeros);
        let sums = naive(rows * k, |out| for (n, &i) in ids.iter().enumerate() {
            for l in 0..k { out[i as usize * k + l] += expected[n * k + l]; }
        });
        let by_id = ById::new(&ids, rows);
        let expected = filled(by_id.distinct.len() * k, |out| by_id.sum(&expected, k, out));
        let kept = filled(expected.len(), |out| gather_rows(&sums, k, &by_id.distinct, out));
        prop_assert_eq!(expected, kept);
    }

    #[test]
    fn sums((outer, axis, inner) in (0usize..5, 0usize..700, 0usize..70), seed: u64) {
        let x = numbers(outer * axis * inner, seed);
        prop_assert_eq!(fold::<Add, _>(&x), x.iter().sum::<f32>() + 0.0);
        let expected = naive(outer * inner, |out| for o in 0..outer { for a in 0..axis {
            for i in 0..inner { out[o * inner + i] += x[(o * axis + a) * inner + i]; }
        }});
        let out = filled(outer * inner, |out| fold_axis::<Add, _>(&x, (outer, axis, inner), out));
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn log_softmax(rows in 0usize..5, classes in 0usize..20, seed: u64) {
        let x: Vec<f32> = numbers(rows * classes, seed).iter().map(|x| 300.0 + x).collect();
        let out = filled(x.len(), |out| log_softmax_rows(&x, classes, out));
        for (x, out) in x.chunks(classes.max(1)).zip(out.chunks(classes.max(1))) {
            let total: f64 = x.iter().map(|&x| f64::from(x - 300.0).exp()).sum();
            for (x, out) in x.iter().zip(out) {
                prop_assert!((f64::from(x - 300.0) - total.ln() - f64::from(*out)).abs() < 1e-5);
            }
        }
    }
}

/// Element `(i, j)`; absent rows and entries are zeros.
fn element(rows: RowsRef<f32>, i: usize, j: usize) -> f32 {
    match rows {
        RowsRef::Dense(m) => at(m, i, j),
        RowsRef::Rows { ids, values, k } => {
            ids.binary_search(&(i as u32)).map_or(0.0, |n| values[n * k + j])
        }
        RowsRef::Csr(m) => {
            let (ids, values) = m.row(i);
            ids.binary_search(&(j as u32)).map_or(0.0, |n| values[n])
        }
    }
}
