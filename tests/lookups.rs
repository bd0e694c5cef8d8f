//! Look-ups, bags, picks and the like: what holds beyond single operators, and at sizes where a dense
//! temporary would not fit.

use sparsetape::{
    BagReduction, DType, Embedding, EmbeddingBag, ErrorKind, OutOfRange, Result, Stype, Tape,
    Tensor,
};

fn given(values: &[i64]) -> Tensor {
    Tensor::dense([values.len()], values.to_vec()).unwrap()
}

#[test]
fn mxnet_modes_of_take() -> Result<()> {
    let table = Tensor::csr(
        [5, 4],
        vec![0, 2, 4, 6, 6, 9],
        vec![2, 3, 1, 2, 0, 2, 0, 1, 2],
        (1..10).map(|i| i as f32).collect::<Vec<_>>(),
    )?;
    let ids = given(&[0, 2, 2, -1, 9]);
    let clipped = table.take_with(&ids, OutOfRange::Clip)?;
    assert_eq!(clipped.indptr(), Some(&[0, 2, 4, 6, 8, 11][..]));
    assert_eq!(clipped.indices(), Some(&[2, 3, 0, 2, 0, 2, 2, 3, 0, 1, 2][..]));
    let wrapped = table.take_with(&ids, OutOfRange::Wrap)?;
    assert_eq!(wrapped.indptr(), Some(&[0, 2, 4, 6, 9, 12][..]));
    let error = table.take(&ids).unwrap_err();
    assert_eq!((error.kind(), error.operator_name()), (ErrorKind::Index, Some("take")));
    assert!(error.message().contains("ids[3] = -1, but the table has 5 rows"), "{error}");
    Ok(())
}

#[test]
fn integers_are_looked_up() -> Result<()> {
    let table = Tensor::dense([3, 1], vec![10i64, 20, 30])?;
    assert_eq!(table.take(&given(&[2, 0]))?.values::<i64>()?, [30, 10]);
    assert_eq!(table.pick(&given(&[0, 0, 0]))?.values::<i64>()?, [10, 20, 30]);
    assert_eq!(table.argmax(0)?.values::<i64>()?, [2]);
    Ok(())
}

/// The gradient of a row-sparse table is row-sparse also without `sparse_grad`: it holds the ids that
/// occur, stored in the table or not.
#[test]
fn storage_of_an_embeddings_gradient() -> Result<()> {
    for (stype, sparse_grad, wanted) in [
        (Stype::Default, true, Stype::RowSparse),
        (Stype::Default, false, Stype::Default),
        (Stype::RowSparse, true, Stype::RowSparse),
        (Stype::RowSparse, false, Stype::RowSparse),
    ] {
        let tape = Tape::new();
        let held =
            Tensor::row_sparse([6, 1], vec![1, 4], vec![1.0f64, 2.0])?.cast_storage(stype)?;
        let table = tape.variable(held);
        let how = Embedding { sparse_grad, ..Embedding::default() };
        let y = tape.constant(given(&[4, 0, 4])).embedding_with(table, how);
        let gradients = (y * y.sum()).sum().backward()?;
        let dx = gradients.wrt(table).unwrap();
        assert_eq!(dx.stype(), wanted);
        let dense = dx.cast_storage(Stype::Default)?;
        assert_eq!(dense.values::<f64>()?, [8.0, 0.0, 0.0, 0.0, 16.0, 0.0]);
        assert_eq!(dx.rows(), (wanted == Stype::RowSparse).then_some(&[0, 4][..]));
    }
    Ok(())
}

/// Repeated ids add up where their rows store something, to any order.
#[test]
fn second_order_through_rows_of_a_csr_table() -> Result<()> {
    let table = Tensor::csr([3, 4], vec![0, 2, 2, 3], vec![0, 3, 1], vec![2.0f64, 3.0, 5.0])?;
    sparsetape::check::gradcheck(&[table], |tape, x| {
        let rows = x[0].take(tape.constant(given(&[2, 0, 0, 1])));
        let once_more = rows.take(tape.constant(given(&[1, 0, 2])));
        (once_more * once_more).sum()
    })?;
    Ok(())
}

#[test]
fn bags_of_weighted_rows_to_second_order() -> Result<()> {
    let table = Tensor::dense([4, 2], (0..8).map(|i| (i as f64).sin()).collect::<Vec<_>>())?;
    let weights = Tensor::dense([5], vec![0.5f64, -1.0, 2.0, 1.5, 0.25])?;
    let how = EmbeddingBag { padding_idx: Some(2), ..EmbeddingBag::default() };
    sparsetape::check::gradcheck(&[table, weights], |tape, x| {
        let (ids, offsets) = (given(&[3, 1, 3, 2, 0]), given(&[0, 0, 3]));
        let y = x[0].embedding_bag(tape.constant(ids), tape.constant(offsets), Some(x[1]), how);
        (y * y).sum()
    })?;
    Ok(())
}

#[test]
fn means_leave_padding_and_empty_bags_out() -> Result<()> {
    let table = Tensor::dense([3, 1], vec![3.0f32, 9.0, 100.0])?;
    let how = EmbeddingBag { reduction: BagReduction::Mean, padding_idx: Some(-1) };
    let tape = Tape::new();
    let table = tape.variable(table);
    let (ids, offsets) = (given(&[0, -1, 1, -1, 1]), given(&[0, 3, 4]));
    let y = table.embedding_bag(tape.constant(ids), tape.constant(offsets), None, how);
    assert_eq!(y.value()?.values::<f32>()?, [6.0, 0.0, 9.0]);
    let gradients = y.sum().backward()?;
    let dx = gradients.wrt(table).unwrap();
    assert_eq!((dx.rows(), dx.values::<f32>()?), (Some(&[0, 1][..]), &[0.5, 1.5][..]));
    Ok(())
}

/// 10^8 columns or rows, a handful of entries.
#[test]
fn huge_shapes_cost_what_they_store() -> Result<()> {
    const HUGE: usize = 100_000_000;
    let csr = Tensor::csr([2, HUGE], vec![0, 2, 2], vec![5, 99_999_999], vec![-1.0f32, 4.0])?;
    assert_eq!(csr.argmax(-1)?.values::<i64>()?, [99_999_999, 0]);
    assert_eq!(csr.argmin(-1)?.values::<i64>()?, [5, 0]);
    let (values, ids) = csr.top_k(3)?;
    assert_eq!(ids.values::<i64>()?, [99_999_999, 0, 1, 0, 1, 2]);
    assert_eq!(values.values::<f32>()?, [4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(csr.getnnz(Some(1))?.values::<i64>()?, [2, 0]);
    assert_eq!(csr.take(&given(&[1, 0]))?.indptr(), Some(&[0, 0, 2][..]));
    let hot = given(&[99_999_999]).one_hot_csr(HUGE, DType::F64)?;
    assert_eq!(hot.one_hot_like(&given(&[7]))?.indices(), Some(&[7][..]));

    let rows = Tensor::row_sparse([HUGE, 2], vec![3, 70_000_000], vec![1.0f64, 2.0, 3.0, 4.0])?;
    assert_eq!(rows.argmax(0)?.values::<i64>()?, [70_000_000, 70_000_000]);
    assert_eq!(rows.getnnz(Some(0))?.values::<i64>()?, [2, 2]);
    let (ids, offsets) = (given(&[70_000_000, 1, 3]), given(&[0, 2]));
    let sums = rows.embedding_bag(&ids, &offsets, None, EmbeddingBag::default())?;
    assert_eq!(sums.values::<f64>()?, [3.0, 4.0, 1.0, 2.0]);
    let last = rows.take_with(&given(&[-30_000_000]), OutOfRange::Wrap)?;
    assert_eq!(last.values::<f64>()?, [3.0, 4.0]);
    Ok(())
}

/// A few of a long row are those that a whole sort puts first.
#[test]
fn few_of_many() -> Result<()> {
    let value = |i: usize| ((i * 7919) % 613) as f64;
    let x = Tensor::dense([3, 2000], (0..6000).map(value).collect::<Vec<_>>())?;
    for x in [x.clone(), x.neg()?.cast_storage(Stype::Csr)?] {
        let (_, sorted) = x.top_k(2000)?;
        for k in [1, 2, 7, 100] {
            let (_, first) = x.top_k(k)?;
            let sorted = sorted.values::<i64>()?.chunks(2000).flat_map(|row| &row[..k]);
            assert!(first.values::<i64>()?.iter().eq(sorted));
        }
    }
    Ok(())
}

/// At sizes where threads share the work.
#[test]
fn the_same_for_any_number_of_threads() -> Result<()> {
    let mix = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 1000;
    let table = Tensor::dense([1000, 8], (0..8000).map(|i| (i as f32).sin()).collect::<Vec<_>>())?;
    let ids = given(&(0..60_000).map(|i| mix(i) as i64).collect::<Vec<_>>());
    let offsets = given(&(0..3_000).map(|i| i * 20).collect::<Vec<_>>());
    let weights: Vec<f32> = (0..60_000).map(|i| (i as f32).cos()).collect();
    let weights = Tensor::dense([60_000], weights)?;
    let wide = Tensor::dense([300, 1000], (0..300_000).map(|i| mix(i) as f32).collect::<Vec<_>>())?;
    let cubes =
        Tensor::dense([40, 40, 40], (0..64_000).map(|i| mix(i) as f32).collect::<Vec<_>>())?;
    let all = || -> Result<Vec<Tensor>> {
        let tape = Tape::new();
        let (x, w) = (tape.variable(table.clone()), tape.variable(weights.clone()));
        let (i, o) = (tape.constant(ids.clone()), tape.constant(offsets.clone()));
        let y = x.embedding_bag(i, o, Some(w), EmbeddingBag::default());
        let gradients = (y * y).sum().backward()?;
        let csr = wide.cast_storage(Stype::Csr)?;
        let (values, ids) = csr.top_k(30)?;
        let (dense_values, dense_ids) = wide.top_k(30)?;
        assert!(values.same_bits(&dense_values) && ids.same_bits(&dense_ids));
        assert!(csr.argmin(0)?.same_bits(&wide.argmin(0)?));
        let of = |v| gradients.wrt(v).unwrap().clone();
        let products = cubes.batch_dot(&cubes, true, false)?;
        Ok(vec![y.value()?, of(x), of(w), values, ids, csr.argmax(1)?, wide.argmax(0)?, products])
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let once = pool(1).install(all)?;
    for threads in [2, 5] {
        let again = pool(threads).install(all)?;
        assert!(once.iter().zip(&again).all(|(a, b)| a.same_bits(b)));
    }
    Ok(())
}

#[cfg(feature = "proptest")]
mod any_shape_and_pattern {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;
    use sparsetape::strategies::{csr, dense, exact, row_sparse};

    const STYPES: [Stype; 3] = Stype::ALL;

    fn stored(stype: Stype, [rows, cols]: [usize; 2]) -> BoxedStrategy<Tensor> {
        match stype {
            Stype::Default => dense(Just([rows, cols].into()), exact::<f64>()).boxed(),
            Stype::Csr => csr(Just(rows), Just(cols), exact::<f64>()).boxed(),
            Stype::RowSparse => row_sparse(Just([rows, cols].into()), exact::<f64>()).boxed(),
        }
    }

    fn matrix(least_cols: usize) -> impl Strategy<Value = Tensor> {
        let sizes = (select(&STYPES[..]), 0..=5usize, least_cols..=5);
        sizes.prop_flat_map(|(stype, rows, cols)| stored(stype, [rows, cols]))
    }

    fn ids(len: usize, range: std::ops::Range<i64>) -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(range, len)
    }

    fn values(x: &Tensor) -> Vec<f64> {
        x.cast_storage(Stype::Default).unwrap().values::<f64>().unwrap().to_vec()
    }

    /// A table, ids in bags of it, and weights.
    fn bags() -> impl Strategy<Value = (Tensor, Vec<i64>, Vec<i64>, Vec<f64>)> {
        (select(&STYPES[..]), 1..=5usize, 0..=3usize, 0..=8usize, 1..=4usize).prop_flat_map(
            |(stype, rows, cols, n, bags)| {
                let offsets = ids(bags - 1, 0..n as i64 + 1).prop_map(|mut offsets| {
                    offsets.sort_unstable();
                    offsets.insert(0, 0);
                    offsets
                });
                let weights = prop::collection::vec(exact::<f64>(), n);
                (stored(stype, [rows, cols]), ids(n, 0..rows as i64), offsets, weights)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn take(
            (table, ids) in (select(&STYPES[..]), 1..=5usize, 0..=4usize, 0..=6usize).prop_flat_map(
                |(stype, rows, cols, n)| (stored(stype, [rows, cols]), ids(n, -9..9))
            ),
            clip: bool,
        ) {
            let mode = if clip { OutOfRange::Clip } else { OutOfRange::Wrap };
            let (rows, cols, held) = (table.shape()[0] as i64, table.shape()[1], values(&table));
            let y = table.take_with(&given(&ids), mode)?;
            let row = |&id: &i64| if clip { id.clamp(0, rows - 1) } else { id.rem_euclid(rows) };
            let wanted = ids.iter().map(row).flat_map(|r| held[r as usize * cols..][..cols].to_vec());
            prop_assert_eq!(values(&y), wanted.collect::<Vec<f64>>());
            prop_assert_eq!(y.stype() == Stype::Csr, table.stype() == Stype::Csr);
        }

        /// Rows of a csr table, backwards: added up by id on the pattern of the table.
        #[test]
        fn rows_of_a_csr_table_backwards(
            (table, ids) in (1..=5usize, 0..=4usize, 0..=6usize).prop_flat_map(
                |(rows, cols, n)| (stored(Stype::Csr, [rows, cols]), ids(n, 0..rows as i64))
            )
        ) {
            let tape = Tape::new();
            let x = tape.variable(table.clone());
            let y = x.take(tape.constant(given(&ids)));
            let gradients = y.sum().backward()?;
            let dx = gradients.wrt(x).unwrap();
            prop_assert_eq!((dx.indptr(), dx.indices()), (table.indptr(), table.indices()));
            let pattern = table.pattern().unwrap();
            let count = |r: usize| ids.iter().filter(|&&id| id == r as i64).count() as f64;
            let wanted: Vec<f64> = (0..pattern.rows())
                .flat_map(|r| vec![count(r); pattern.row_range(r).len()])
                .collect();
            prop_assert_eq!(dx.values::<f64>()?, &wanted[..]);
        }

        /// Equal to the product with the implied matrix, and to its definition.
        #[test]
        fn embedding_bag((table, ids, offsets, weights) in bags(), weighted: bool, padding in -1..3i64) {
            let (bags, cols, held) = (offsets.len(), table.shape()[1], values(&table));
            let w = Tensor::dense([ids.len()], weights.clone())?;
            let how = EmbeddingBag { padding_idx: Some(padding), ..EmbeddingBag::default() };
            let (i, o) = (given(&ids), given(&offsets));
            let y = table.embedding_bag(&i, &o, weighted.then_some(&w), how)?;
            let mut wanted = vec![0.0; bags * cols];
            for (n, &id) in ids.iter().enumerate().filter(|(_, id)| **id != padding) {
                let bag = offsets.iter().filter(|&&start| start <= n as i64).count() - 1;
                let weight = if weighted { weights[n] } else { 1.0 };
                for j in 0..cols {
                    wanted[bag * cols + j] += weight * held[id as usize * cols + j];
                }
            }
            prop_assert_eq!(values(&y), wanted);
            // Means are sums over counts.
            let mean = EmbeddingBag { reduction: BagReduction::Mean, ..how };
            let (sums, means) = (
                table.embedding_bag(&i, &o, None, how)?,
                table.embedding_bag(&i, &o, None, mean)?,
            );
            let ends = offsets[1..].iter().copied().chain([ids.len() as i64]);
            let count = |(start, end): (&i64, i64)| {
                ids[*start as usize..end as usize].iter().filter(|&&id| id != padding).count()
            };
            let counts: Vec<usize> = offsets.iter().zip(ends).map(count).collect();
            for (n, (sum, mean)) in values(&sums).iter().zip(values(&means)).enumerate() {
                let wanted = sum / counts[n / cols].max(1) as f64;
                prop_assert!((mean - wanted).abs() <= 1e-12 * wanted.abs().max(1.0));
            }
        }

        #[test]
        fn pick(
            (x, ids) in (matrix(1), 0..=3usize).prop_flat_map(|(x, k)| {
                let [rows, cols] = [x.shape()[0], x.shape()[1]];
                (Just(x), ids(rows * k, 0..cols as i64))
            })
        ) {
            let ([rows, cols], held) = ([x.shape()[0], x.shape()[1]], values(&x));
            let k = ids.len() / rows.max(1);
            let named = Tensor::dense([rows, k], ids.clone())?;
            let tape = Tape::new();
            let leaf = tape.variable(x.clone());
            let y = leaf.pick(tape.constant(named));
            let at = |n: usize| n / k * cols + ids[n] as usize;
            let wanted: Vec<f64> = (0..ids.len()).map(|n| held[at(n)]).collect();
            prop_assert_eq!(values(&y.value()?), wanted);
            let gradients = y.sum().backward()?;
            let dx = gradients.wrt(leaf).unwrap();
            let mut counts = vec![0.0; rows * cols];
            (0..ids.len()).for_each(|n| counts[at(n)] += 1.0);
            let stored = values(&x.ones_like()?);
            let wanted: Vec<f64> = counts.iter().zip(stored).map(|(x, y)| x * y).collect();
            prop_assert_eq!(values(dx), wanted);
            prop_assert_eq!((dx.stype(), dx.nnz()), (x.stype(), x.nnz()));
        }

        /// Sparse and dense alike: the order by value, then column.
        #[test]
        fn top_k_and_arg(x in matrix(1), k in 0..=5usize) {
            let ([rows, cols], held) = ([x.shape()[0], x.shape()[1]], values(&x));
            let k = k.min(cols);
            let (best, ids) = x.top_k(k)?;
            let mut wanted = Vec::new();
            for row in held.chunks(cols) {
                let mut order: Vec<usize> = (0..cols).collect();
                order.sort_by(|&i, &j| row[j].total_cmp(&(row[i] + 0.0)).then(i.cmp(&j)));
                wanted.extend(order[..k].iter().map(|&i| i as i64));
            }
            prop_assert_eq!(ids.values::<i64>()?, &wanted[..]);
            let picked = wanted.iter().enumerate().map(|(n, &j)| held[n / k * cols + j as usize]);
            prop_assert_eq!(values(&best), picked.collect::<Vec<f64>>());
            for axis in [0, 1].into_iter().filter(|&axis| x.shape()[axis] > 0) {
                let dense = x.cast_storage(Stype::Default)?;
                prop_assert!(x.argmax(axis as isize)?.same_bits(&dense.argmax(axis as isize)?));
                prop_assert!(x.argmin(axis as isize)?.same_bits(&dense.argmin(axis as isize)?));
            }
            prop_assert_eq!(x.argmax(1)?.values::<i64>()?.len(), rows);
        }

        #[test]
        fn getnnz(x in matrix(0)) {
            let stored = x.ones_like()?;
            prop_assert_eq!(x.getnnz(None)?.item::<i64>()?, x.nnz() as i64);
            for axis in [0, 1] {
                let sums = stored.sum_axes(&[axis], false)?.cast_storage(Stype::Default)?;
                let counts = sums.cast(DType::I64);
                prop_assert!(x.getnnz(Some(axis))?.same_bits(&counts));
            }
        }

        #[test]
        fn batch_dot(
            (a, b) in (0..=3usize, 0..=3usize, 0..=3usize, 0..=3usize).prop_flat_map(
                |(batches, n, k, m)| (
                    dense(Just([batches, n, k].into()), exact::<f64>()),
                    dense(Just([batches, k, m].into()), exact::<f64>()),
                )
            )
        ) {
            let y = a.batch_dot(&b, false, false)?;
            let part = |x: &Tensor, i: usize| {
                let [rows, cols] = [x.shape()[1], x.shape()[2]];
                Tensor::dense([rows, cols], values(x)[i * rows * cols..][..rows * cols].to_vec())
            };
            for i in 0..a.shape()[0] {
                prop_assert_eq!(values(&part(&y, i)?), values(&part(&a, i)?.dot(&part(&b, i)?)?));
            }
        }
    }
}

/// Compositions are named in the errors of their parts, with the user's line.
#[test]
fn compositions_are_named() {
    let (table, far) = (Tensor::full([4, 2], 1.0f32).unwrap(), given(&[0, 9]));
    let tape = Tape::new();
    let (t, i) = (tape.constant(table.clone()), tape.constant(far.clone()));
    let line = line!() + 1;
    let error = i.embedding(t).value().unwrap_err();
    assert_eq!(error.location().map(|at| (at.file(), at.line())), Some((file!(), line)));
    let text = "take(default f32 (4, 2), default i64 (2,)) in embedding: ids[1] = 9";
    assert!(error.to_string().starts_with(text), "{error}");
    let line = line!() + 1;
    let error = Tensor::stack(&[&table, &far], 0).unwrap_err();
    assert_eq!(error.location().map(|at| at.line()), Some(line));
    assert!(error.to_string().contains(" in stack: "), "{error}");
    assert!(!table.take(&far).unwrap_err().to_string().contains(" in "));
}
