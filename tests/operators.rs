//! Every operator against its definition, and the printed storage tables.

use std::path::Path;

use sparsetape::ops::{check_all, storage_tables};

#[test]
fn every_operator_keeps_its_promises() {
    let mut faults = Vec::new();
    for (name, result) in check_all() {
        match result {
            Ok(checked) => println!("{checked}"),
            Err(error) => faults.push(format!("{name}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Operators whose results are absent where their definition is not 0, and why.
#[cfg(feature = "proptest")]
const ON_PATTERNS: [(&str, &str); 1] =
    [("ties", "shares of a cotangent, which lives on the rows that are stored")];

#[cfg(feature = "proptest")]
fn is_on_pattern(name: &str) -> bool {
    ON_PATTERNS.iter().any(|(own, _)| *own == name)
}

/// Random shapes and patterns against the definitions.
#[cfg(feature = "proptest")]
#[test]
fn every_operator_is_its_definition_for_any_pattern() {
    let mut faults = Vec::new();
    for (name, result) in sparsetape::ops::check_all_patterns(256) {
        match result {
            Ok(taken) => println!("{name}: {taken} random cases"),
            Err(error) if error.message().contains("is absent") && is_on_pattern(name) => {}
            Err(error) => faults.push(format!("{name}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `UPDATE_GOLDEN=1` writes the file anew.
#[test]
fn storage_tables_are_those_of_the_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/storage_tables.md");
    let tables = storage_tables();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &tables).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let line = tables.lines().zip(golden.lines()).position(|(a, b)| a != b);
    let unexplained = tables.lines().find(|line| line.contains("no reason is given"));
    assert_eq!(unexplained, None, "denser than in MXNet");
    assert!(tables == golden, "storage_tables.md is out of date, first at line {line:?}");
}

/// Kernels against definitions for any shape and pattern: empty rows, no entries, one row, no rows or
/// columns, explicit zeros, ids at the end of what u32 holds. Values are halves, so that sums are
/// exact.
#[cfg(feature = "proptest")]
mod patterns {
    use ndarray::ArrayD;
    use proptest::prelude::*;
    use proptest::sample::select;
    use sparsetape::ops::{Accumulate, Project, RowsOf, Take, TakeGrad};
    use sparsetape::strategies::{csr, dense, exact, row_sparse, special};
    use sparsetape::{DType, DynOp, Op, Shape, Stype, Tensor, evaluate};

    const HUGE: usize = 1 << 32;

    fn stored(stype: Stype, shape: impl Into<Shape>) -> BoxedStrategy<Tensor> {
        let shape = shape.into();
        match stype {
            Stype::Default => dense(Just(shape), exact::<f64>()).boxed(),
            Stype::Csr => csr(Just(shape[0]), Just(shape[1]), exact::<f64>()).boxed(),
            Stype::RowSparse => row_sparse(Just(shape), exact::<f64>()).boxed(),
        }
    }

    fn stype() -> impl Strategy<Value = Stype> {
        select(Stype::ALL.as_slice())
    }

    fn ids(shape: impl Into<Shape>, bound: usize) -> impl Strategy<Value = Tensor> {
        let shape = shape.into();
        let ids = prop::collection::vec(0..bound as i64, shape.size());
        ids.prop_map(move |ids| Tensor::dense(shape.clone(), ids).unwrap())
    }

    /// Halves, NaN and infinities.
    fn odd() -> impl Strategy<Value = f64> + Clone {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        prop_oneof![4 => exact::<f64>(), 1 => select(odd.to_vec())]
    }

    fn array(x: &Tensor) -> ArrayD<f64> {
        let dense = x.cast(DType::F64).cast_storage(Stype::Default).unwrap();
        dense.to_ndarray::<f64>().unwrap()
    }

    /// Ones where `x` stores something.
    fn mask(x: &Tensor) -> ArrayD<f64> {
        array(&x.ones_like().unwrap())
    }

    /// In the storage type that the table says, equal to the definition; where nothing is stored, the
    /// definition gives 0.
    fn agrees<O: Op>(op: &O, inputs: &[&Tensor]) -> std::result::Result<Tensor, TestCaseError> {
        let y = evaluate(op.clone(), inputs)?;
        let arrays: Vec<ArrayD<f64>> = inputs.iter().map(|x| array(x)).collect();
        prop_assert_eq!(&array(&y), &op.mimic(&arrays));
        let stypes: Vec<Stype> = inputs.iter().map(|x| x.stype()).collect();
        prop_assert_eq!(Some(y.stype()), op.find_row(&stypes).map(|(_, stype)| stype));
        Ok(y)
    }

    /// Two or more operands of one shape, all in any storage type.
    fn alike(shape: impl Strategy<Value = [usize; 2]>) -> impl Strategy<Value = [Tensor; 2]> {
        (shape, stype(), stype())
            .prop_flat_map(|(shape, a, b)| (stored(a, shape), stored(b, shape)))
            .prop_map(|(a, b)| [a, b])
    }

    fn matrices() -> impl Strategy<Value = [usize; 2]> {
        (0..=5usize, 0..=5usize).prop_map(|(n, m)| [n, m])
    }

    /// An id far away, in the same order: some stay at the front, some go to the very end.
    fn far(id: u32) -> u32 {
        if id < 3 { id } else { u32::MAX - 6 + id }
    }

    fn far_columns(x: &Tensor) -> Tensor {
        let indices: Vec<u32> = x.indices().unwrap().iter().map(|&c| far(c)).collect();
        let (indptr, values) = (x.indptr().unwrap().to_vec(), x.values::<f64>().unwrap().to_vec());
        Tensor::csr([x.shape()[0], HUGE], indptr, indices, values).unwrap()
    }

    fn far_rows(x: &Tensor) -> Tensor {
        let rows: Vec<u32> = x.rows().unwrap().iter().map(|&r| far(r)).collect();
        Tensor::row_sparse([HUGE, x.shape()[1]], rows, x.values::<f64>().unwrap().to_vec()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A smaller operand repeats, on either side; what is multiplied stays sparse.
        /// What a sparse operand does not store annihilates, even NaN and infinities.
        #[test]
        fn absent_entries_annihilate(
            (x, d) in (matrices(), select(&[Stype::Csr, Stype::RowSparse][..])).prop_flat_map(
                |(shape, stype)| (stored(stype, shape), dense(Just(shape.into()), special::<f64>()))
            )
        ) {
            let y = x.mul(&d)?;
            prop_assert_eq!(y.stype(), x.stype());
            let wanted = (&array(&x) * &array(&d)).into_iter().zip(mask(&x)).map(
                |(product, stored)| if stored == 1.0 { product } else { 0.0 }
            );
            let wanted = Tensor::dense(x.shape().clone(), wanted.collect::<Vec<f64>>())?;
            prop_assert_eq!(y.first_difference(&wanted, 0.0, 0.0), None);
        }

        /// In a product too: only stored entries are multiplied, and only rows that they address.
        #[test]
        fn unaddressed_rows_do_not_matter(
            (x, d, w) in (0..=4usize, 0..=5usize, 0..=3usize).prop_flat_map(|(n, k, m)| (
                stored(Stype::Csr, [n, k]),
                dense(Just([k, m].into()), odd()),
                row_sparse(Just([k, m].into()), odd()),
            ))
        ) {
            for w in [d, w] {
                let y = x.dot(&w)?;
                let (entries, table, there) = (array(&x), array(&w), mask(&w));
                let stored = mask(&x);
                let wanted = ArrayD::from_shape_fn(array(&y).raw_dim(), |at| {
                    let at = |k| (entries[[at[0], k]], table[[k, at[1]]], stored[[at[0], k]] * there[[k, at[1]]]);
                    let terms = (0..x.shape()[1]).map(at).filter(|term| term.2 == 1.0);
                    terms.fold(0.0, |sum, (a, b, _)| sum + a * b)
                });
                let wanted = Tensor::dense(y.shape().clone(), wanted.into_raw_vec_and_offset().0)?;
                prop_assert_eq!(y.first_difference(&wanted, 0.0, 0.0), None);
            }
        }

        #[test]
        fn project([x, like] in alike(matrices())) {
            let y = evaluate(Project, &[&x, &like])?;
            prop_assert_eq!(array(&y), array(&x) * mask(&like));
            // A dense value stores everything: nothing to restrict, in whatever storage type.
            let to = if like.stype() == Stype::Default { &x } else { &like };
            prop_assert_eq!((y.stype(), y.rows()), (to.stype(), to.rows()));
            prop_assert_eq!((y.indptr(), y.indices()), (to.indptr(), to.indices()));
        }

        #[test]
        fn take(
            (table, ids) in (1..=6usize, 0..=3usize, 0..=5usize, any::<bool>()).prop_flat_map(
                |(rows, columns, n, sparse)| {
                    let stype = if sparse { Stype::RowSparse } else { Stype::Default };
                    (stored(stype, [rows, columns]), ids([n], rows))
                }
            )
        ) {
            let y = agrees(&Take::default(), &[&table, &ids])?;
            let dy = agrees(&TakeGrad::default(), &[&y, &ids, &table])?;
            let mut distinct: Vec<u32> = ids.values::<i64>()?.iter().map(|&id| id as u32).collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(dy.rows(), Some(&distinct[..]));
        }

        #[test]
        fn rows_of(
            (table, x) in (0..=5usize, 0..=5usize, 0..=3usize, any::<bool>()).prop_flat_map(
                |(n, rows, columns, sparse)| {
                    let stype = if sparse { Stype::RowSparse } else { Stype::Default };
                    (stored(stype, [rows, columns]), stored(Stype::Csr, [n, rows]))
                }
            )
        ) {
            let y = evaluate(RowsOf, &[&table, &x])?;
            let columns = &x.pattern().unwrap().columns().distinct;
            prop_assert_eq!(y.rows(), Some(&columns[..]));
            prop_assert_eq!(array(&y), array(&table) * mask(&y));
        }

        /// Ids near 2^32 give what the same pattern gives with small ids.
        #[test]
        fn huge_ids(
            (x, v, w) in (0..=4usize, 0..=3usize).prop_flat_map(|(n, k)| (
                stored(Stype::Csr, [n, 6]),
                stored(Stype::RowSparse, [6, k]),
                stored(Stype::RowSparse, [6, k]),
            ))
        ) {
            let (far_x, far_v, far_w) = (far_columns(&x), far_rows(&v), far_rows(&w));
            let product = x.dot(&v)?;
            prop_assert!(far_x.dot(&far_v)?.same_bits(&product));
            for (near, there) in [
                (x.dot_with(&product, true, false)?, far_x.dot_with(&product, true, false)?),
                (v.rows_of(&x)?, far_v.rows_of(&far_x)?),
                (evaluate(Accumulate, &[&v, &w])?, evaluate(Accumulate, &[&far_v, &far_w])?),
                (v.mul(&w)?, far_v.mul(&far_w)?),
                (Tensor::add_n(&[&v, &w, &v])?, Tensor::add_n(&[&far_v, &far_w, &far_v])?),
                (v.project_like(&w)?, far_v.project_like(&far_w)?),
            ] {
                prop_assert!(there.same_bits(&far_rows(&near)));
            }
            prop_assert!(far_v.sum()?.same_bits(&v.sum()?));
            let twice = evaluate(Accumulate, &[&x, &x])?;
            let far_twice = evaluate(Accumulate, &[&far_x, &far_x])?;
            prop_assert!(far_twice.same_bits(&far_columns(&twice)));
            let column = product.sum_axes(&[1], true)?;
            prop_assert!(far_x.mul(&column)?.same_bits(&far_columns(&x.mul(&column)?)));
        }
    }
}
