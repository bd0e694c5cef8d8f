//! Laws of tensors: construction, conversion, comparison, printing.
#![cfg(all(feature = "random", feature = "proptest"))]

use ndarray::{Array2, ArrayD, IxDyn, ShapeBuilder, arr0, arr1, array, s};
use proptest::prelude::*;
use proptest::sample::Index;
use sparsetape::random::Random;
use sparsetape::strategies::{csr, dense, exact, extent, row_sparse, shape, special, tensor};
use sparsetape::{
    Buffer, DType, Difference, ErrorKind, Result, Shape, Stype, Tensor, assert_close,
};
use sprs::{CsMat, CsMatI, TriMat};

/// The elements of any tensor, row-major: slow and obvious.
fn elements(x: &Tensor) -> Vec<f64> {
    let stored = x.cast(DType::F64);
    let values = stored.values::<f64>().unwrap();
    let mut all = vec![0.0; x.shape().size()];
    match x.stype() {
        Stype::Default => all.copy_from_slice(values),
        Stype::Csr => {
            let (indptr, indices) = (x.indptr().unwrap(), x.indices().unwrap());
            for i in 0..x.shape()[0] {
                for k in indptr[i] - indptr[0]..indptr[i + 1] - indptr[0] {
                    all[i * x.shape()[1] + indices[k] as usize] = values[k];
                }
            }
        }
        Stype::RowSparse => {
            let k: usize = x.shape()[1..].iter().product();
            for (n, &row) in x.rows().unwrap().iter().enumerate() {
                for j in 0..k {
                    all[row as usize * k + j] = values[n * k + j];
                }
            }
        }
    }
    all
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x == y || (x.is_nan() && y.is_nan()))
}

fn small() -> impl Strategy<Value = Tensor> {
    tensor(shape(0..=3, 0..=4), special::<f32>())
}

fn matrix() -> impl Strategy<Value = Tensor> {
    csr(0..=5usize, 0..=6usize, special::<f64>())
}

fn suits(stype: Stype, axes: usize) -> bool {
    match stype {
        Stype::Default => true,
        Stype::Csr => axes == 2,
        Stype::RowSparse => axes > 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn storage_casts_keep_every_element(x in small()) {
        for stype in Stype::ALL {
            let cast = x.cast_storage(stype);
            prop_assert_eq!(cast.is_ok(), suits(stype, x.ndim()));
            let Ok(y) = cast else { continue };
            prop_assert_eq!((y.stype(), y.shape(), y.dtype()), (stype, x.shape(), x.dtype()));
            prop_assert!(same(&elements(&x), &elements(&y)), "{x}\nbecame {y}");
            let keeps_zeros = x.stype() != Stype::Default;
            prop_assert!(!keeps_zeros || y.nnz() >= x.nnz(), "explicit zeros were lost");
        }
    }

    #[test]
    fn casts_from_dense_store_what_is_not_zero(x in dense(shape(2..=2, 0..=4), special::<f32>())) {
        let nonzero = elements(&x).iter().filter(|&&v| v != 0.0).count();
        prop_assert_eq!(x.cast_storage(Stype::Csr)?.nnz(), nonzero);
    }

    #[test]
    fn element_casts_are_those_of_rust(x in small()) {
        let values = x.values::<f32>()?;
        let doubles: Vec<f64> = values.iter().map(|&v| v as f64).collect();
        let ids: Vec<i64> = values.iter().map(|&v| v as i64).collect();
        prop_assert!(same(x.cast(DType::F64).values()?, &doubles));
        let cast = x.cast(DType::I64);
        prop_assert_eq!(cast.values::<i64>()?, &ids[..]);
        prop_assert!(x.cast(DType::F64).cast(DType::F32).same_bits(&x));
    }

    #[test]
    fn ndarray_and_back(x in dense(shape(0..=4, 0..=3), special::<f64>())) {
        let view = x.as_ndarray::<f64>()?;
        prop_assert!(Tensor::from(x.to_ndarray::<f64>()?).same_bits(&x));
        prop_assert!(Tensor::from(view.clone()).same_bits(&x));
        prop_assert!(Tensor::from(x.clone().into_ndarray::<f64>()?).same_bits(&x));
        let logical: Vec<f64> = view.t().iter().copied().collect();
        prop_assert!(same(&elements(&Tensor::from(view.reversed_axes())), &logical));
    }

    #[test]
    fn sprs_and_back(x in matrix()) {
        let owned = x.to_sprs::<f64>()?;
        prop_assert!(Tensor::try_from(owned.clone())?.same_bits(&x));
        prop_assert!(Tensor::try_from(x.as_sprs::<f64>()?)?.same_bits(&x));
        prop_assert!(Tensor::try_from(owned.to_csc())?.same_bits(&x));
        let wide: CsMatI<f64, u64, i32> = owned.to_other_types();
        prop_assert!(Tensor::try_from(wide.view())?.same_bits(&x));
        prop_assert!(Tensor::try_from(wide.to_csc())?.same_bits(&x));
        prop_assert!(Tensor::try_from(wide)?.same_bits(&x));
    }

    #[test]
    fn windows_are_rows(x in small(), a in 0..5usize, b in 0..5usize) {
        let (start, end) = (a.min(b), a.max(b));
        let Ok(window) = x.rows_window(start, end) else {
            prop_assert!(x.shape().first().is_none_or(|&rows| end > rows));
            return Ok(());
        };
        let k: usize = x.shape()[1..].iter().product();
        let expected = &elements(&x)[start * k..end * k];
        prop_assert!(same(&elements(&window), expected));
        for stype in Stype::ALL {
            let Ok(cast) = window.cast_storage(stype) else { continue };
            prop_assert!(same(&elements(&cast), expected));
        }
        if x.stype() == Stype::Csr {
            prop_assert!(Tensor::try_from(window.as_sprs::<f32>()?)?.same_bits(&window));
            prop_assert!(Tensor::try_from(window.to_sprs::<f32>()?)?.same_bits(&window));
        }
    }

    #[test]
    fn triplets_are_summed(
        triplets in prop::collection::vec((0..4usize, 0..5usize, exact::<f64>()), 0..20)
    ) {
        let (mut all, mut rows) = (vec![0.0; 20], vec![Vec::new(); 4]);
        for &(i, j, v) in &triplets {
            all[i * 5 + j] += v;
            rows[i].push((j, v));
        }
        let x = Tensor::from_triplets([4, 5], &triplets)?;
        prop_assert!(same(&elements(&x), &all));
        prop_assert!(Tensor::from_rows(5, &rows)?.same_bits(&x));
        let (indptr, indices) = (x.indptr().unwrap().to_vec(), x.indices().unwrap().to_vec());
        let again = Tensor::csr([4, 5], indptr, indices, x.values::<f64>()?.to_vec())?;
        prop_assert!(again.same_bits(&x));
    }

    #[test]
    fn tensors_differ_iff_elements_do(x in small(), y in small()) {
        let equal = x.shape() == y.shape() && same(&elements(&x), &elements(&y));
        prop_assert_eq!(x.first_difference(&y, 0.0, 0.0).is_none(), equal);
        prop_assert_eq!(y.first_difference(&x, 0.0, 0.0).is_none(), equal);
        prop_assert_eq!(approx::relative_eq!(x, y), approx::relative_eq!(y, x));
        prop_assert_eq!(approx::ulps_eq!(x, y), approx::ulps_eq!(y, x));
        prop_assert!(equal || !x.same_bits(&y));
        prop_assert!(equal || x != y);
    }

    #[test]
    fn one_changed_element_is_named(
        x in tensor(shape(0..=3, 1..=4), exact::<f32>()), at in any::<Index>()
    ) {
        let (mut changed, at) = (elements(&x), at.index(x.shape().size()));
        changed[at] += 0.25;
        let y = Tensor::dense(x.shape(), changed.clone())?.cast(DType::F32);
        let positions = ndarray::indices(&x.shape()[..]).into_iter();
        let index = positions.map(|i| Shape::from(ndarray::Dimension::slice(&i))).nth(at).unwrap();
        let (left, right) = (elements(&x)[at], changed[at]);
        let expected = Difference::Element { index, left, right };
        prop_assert_eq!(x.first_difference(&y, 0.0, 0.0), Some(expected));
        prop_assert!(approx::abs_diff_eq!(x, y, epsilon = 0.25));
        prop_assert!(approx::abs_diff_ne!(x, y, epsilon = 0.2));
        prop_assert!(!x.same_bits(&y));
    }

    #[test]
    fn printing_stays_small(
        x in tensor(shape(0..=5, 0..=9), special::<f32>()), decimals in 0..20usize
    ) {
        let small = |text: &str| {
            text.lines().count() < 50 && text.lines().all(|line| line.chars().count() <= 100)
        };
        prop_assert!(small(&x.to_string()), "{x}");
        prop_assert!(small(&x.cast(DType::I64).to_string()));
        let (rounded, debug) = (format!("{x:.decimals$}"), format!("{x:?}"));
        prop_assert!(rounded.lines().count() < 50);
        prop_assert!(x.to_string().starts_with(&x.ty().to_string()));
        prop_assert!(debug.lines().count() == 1 && debug.len() < 200);
    }

    #[test]
    fn huge_extents_work(
        x in csr(1..=3usize, extent(), exact::<f32>()),
        y in row_sparse(extent().prop_map(|n| [n, 2].into()), exact::<f64>()),
    ) {
        prop_assert_eq!(x.first_difference(&x.clone(), 0.0, 0.0), None);
        let zero = y.values::<f64>()?.iter().all(|&v| v == 0.0);
        prop_assert_eq!(y.first_difference(&y.zeros_like(), 0.0, 0.0).is_none(), zero);
        prop_assert!(y.to_string().lines().count() < 12 && x.to_string().lines().count() < 12);
        let end = y.rows_window(y.shape()[0].saturating_sub(9), y.shape()[0])?;
        prop_assert!(end.nnz() <= y.nnz());
        prop_assert_eq!(end.cast_storage(Stype::Csr)?.nnz(), end.nnz());
    }
}

#[test]
fn tables_beyond_two_to_the_31() -> Result<()> {
    let n = 1usize << 32;
    let values: Vec<f64> = (0..8).map(f64::from).collect();
    let x = Tensor::row_sparse([n, 4], vec![0, u32::MAX], values)?;
    assert_eq!((x.shape().size(), x.nnz(), x.bytes()), (1 << 34, 8, 72));
    assert_eq!(x.rows_window(n - 1, n)?.values::<f64>()?, [4.0, 5.0, 6.0, 7.0]);
    assert_close(&x, &x.cast(DType::F32).cast(DType::F64), 0.0, 0.0);
    assert_eq!(Tensor::zeros(Stype::RowSparse, [n, n], DType::F32)?.nnz(), 0);
    assert_eq!(Tensor::zeros(Stype::Csr, [1, n], DType::F32)?.shape()[..], [1, n]);
    let wide = Tensor::csr([1, n], vec![0, 1], vec![u32::MAX], vec![1i64])?;
    assert!(wide.to_string().ends_with("0: 4294967295=1"));
    let error = Tensor::zeros(Stype::Default, [n, n], DType::F32).unwrap_err();
    assert_eq!(error.message(), "no memory for a dense block of shape (4294967296, 4294967296)");
    Ok(())
}

/// The error's kind and text, without the source line, which must be in this file.
fn fault(result: Result<Tensor>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    let text = error.to_string();
    let (message, line) = text.rsplit_once(" (at ").unwrap();
    assert!(line.starts_with(file!()), "{text}");
    (error.kind(), message.to_string())
}

macro_rules! faults {
    ($($result:expr => $kind:ident, $message:literal;)*) => {
        $(assert_eq!(fault($result), (ErrorKind::$kind, $message.to_string()));)*
    };
}

#[test]
fn constructors_say_which_entry_and_what_bound() {
    let csr = |indptr: &[usize], indices: &[u32]| {
        Tensor::csr([2, 3], indptr.to_vec(), indices.to_vec(), vec![0.5f32; indices.len()])
    };
    let rows = |rows: &[u32]| Tensor::row_sparse([5, 1], rows.to_vec(), vec![0i64; rows.len()]);
    let many = (1usize << 32) + 1;
    let none = || Vec::<i64>::new();
    faults! {
        Tensor::dense([2, 2], vec![0i64; 3]) =>
            Shape, "dense: a dense tensor of shape (2, 2) needs 4 values, got 3";
        csr(&[0, 1], &[0]) => Shape, "csr: 2 rows need 3 row pointers, got 2";
        csr(&[0, 2, 1], &[0, 1]) => Index, "csr: indptr[2] = 1 is less than indptr[1] = 2";
        csr(&[0, 1, 3], &[0, 1]) =>
            Shape, "csr: indptr spans 3 entries, but there are 2 indices";
        csr(&[0, 1, 2], &[0, 3]) =>
            Index, "csr: indices[1] = 3 in row 1, but there are 3 columns";
        csr(&[0, 2, 2], &[2, 1]) =>
            Index, "csr: indices[1] = 1 in row 0 follows the larger column 2";
        csr(&[0, 0, 2], &[1, 1]) => Index, "csr: indices[1] = 1 in row 1 repeats column 1";
        Tensor::csr([1, 1], vec![0, 1], vec![0], vec![0i64; 2]) =>
            Shape, "csr: a csr matrix with 1 indices needs 1 values, got 2";
        Tensor::csr([1, many], vec![0, 0], vec![], none()) =>
            Shape, "csr: 4294967297 columns, but sparse ids are 32-bit: at most 4294967296 (2^32)";
        rows(&[1, 5]) => Index, "row_sparse: rows[1] = 5, but there are 5 rows";
        rows(&[3, 3]) => Index, "row_sparse: rows[1] = 3 does not follow rows[0] = 3";
        Tensor::row_sparse([3, 2], vec![0], vec![1.0f32]) => Shape,
            "row_sparse: a row-sparse tensor of shape (3, 2) with 1 rows needs 2 values, got 1";
        Tensor::row_sparse([many, 4], vec![], none()) => Shape,
            "row_sparse: 4294967297 rows, but sparse ids are 32-bit: at most 4294967296 (2^32)";
        Tensor::row_sparse([], vec![], none()) =>
            Shape, "row_sparse: row-sparse storage needs a first axis, but the shape is ()";
        Tensor::from_triplets([2, 2], &[(0, 0, 1i64), (1, 2, 1)]) =>
            Index, "from_triplets: triplet 1 is at (1, 2), outside of (2, 2)";
    }
}

#[test]
fn conversions_say_what_to_do() -> Result<()> {
    let dense = Tensor::dense([2], vec![1.0f32, 2.0])?;
    let sparse = Tensor::row_sparse([5, 1], vec![1], vec![2i64])?;
    let many = (1usize << 32) + 1;
    faults! {
        dense.cast_storage(Stype::Csr) => Shape,
            "cast_storage(default f32 (2,)): csr storage has two axes, but the shape is (2,)";
        dense.values::<i64>().map(|_| dense.clone()) =>
            DType, "values are f32, not i64; `cast` converts";
        dense.as_sprs::<f32>().map(|_| dense.clone()) => Stype,
            "as_sprs(default f32 (2,)): not csr; call cast_storage(Stype::Csr) first to make it so";
        sparse.to_ndarray::<i64>().map(|_| dense.clone()) => Stype,
            "to_ndarray(row_sparse i64 (5, 1)): not dense; call cast_storage(Stype::Default) first \
             to make it so";
        dense.rows_window(1, 3) => Index, "rows_window: rows 1..3 of default f32 (2,)";
        Tensor::try_from(arr1(&[3u64, u64::MAX])) => Value,
            "element 1 is 18446744073709551615, but i64 ends at 9223372036854775807";
        Tensor::try_from(CsMat::<f32>::zero((1, many))) =>
            Shape, "4294967297 columns, but sparse ids are 32-bit: at most 4294967296 (2^32)";
        Random::new(0).csr::<f32>([1, 1], 1.5) => Value, "density 1.5 is not within 0..=1";
    }
    Ok(())
}

#[test]
fn dense_memory_is_shared_or_moved() -> Result<()> {
    let vec = vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let start = vec.as_ptr();
    let x = Tensor::dense([3, 2], vec)?;
    assert_eq!(x.values::<f32>()?.as_ptr(), start);
    assert_eq!(x.clone().values::<f32>()?.as_ptr(), start);
    assert_eq!(x.rows_window(1, 3)?.values::<f32>()?.as_ptr(), start.wrapping_add(2));
    assert_eq!(x.as_ndarray::<f32>()?.as_ptr(), start);
    let array = x.into_ndarray::<f32>()?;
    assert_eq!(array.as_ptr(), start);
    let x = Tensor::from(array.slice_move(s![1.., ..]));
    assert_eq!((x.values::<f32>()?.as_ptr(), x.nnz()), (start.wrapping_add(2), 4));
    let shared = x.clone();
    assert_ne!(x.into_ndarray::<f32>()?.as_ptr(), shared.values::<f32>()?.as_ptr());
    // SAFETY: an array lends the same slice each time.
    let lent = unsafe { Buffer::foreign(std::sync::Arc::new([1i64, 2])) };
    let lent = Tensor::dense([2], lent)?;
    assert_eq!(lent.into_ndarray::<i64>()?, arr1(&[1, 2]).into_dyn());
    Ok(())
}

#[test]
fn csr_memory_is_shared_or_moved() -> Result<()> {
    let (indptr, indices, values) = (vec![0, 1, 3], vec![1u32, 0, 2], vec![1.0f64, 2.0, 3.0]);
    let starts = (indptr.as_ptr(), indices.as_ptr(), values.as_ptr());
    let matrix: CsMatI<f64, u32, usize> = CsMatI::new((2, 3), indptr, indices, values);
    let x = Tensor::try_from(matrix)?;
    let (indptr, indices) = (x.indptr().unwrap(), x.indices().unwrap());
    assert_eq!((indptr.as_ptr(), indices.as_ptr(), x.values::<f64>()?.as_ptr()), starts);
    let second = x.rows_window(1, 2)?;
    let view = second.as_sprs::<f64>()?;
    assert_eq!(view.indices().as_ptr(), starts.1.wrapping_add(1));
    assert_eq!(view.data().as_ptr(), starts.2.wrapping_add(1));
    assert_eq!((view.get(0, 2), view.get(0, 1)), (Some(&3.0), None));
    assert_eq!((second.nnz(), second.bytes()), (2, 2 * 8 + 2 * 4 + 2 * 8));
    drop(second);
    let (indptr, indices, values) = x.into_sprs::<f64>()?.into_raw_storage();
    assert_eq!((indptr.as_ptr(), indices.as_ptr(), values.as_ptr()), starts);
    Ok(())
}

#[test]
fn arrays_of_every_kind() -> Result<()> {
    let fortran = Array2::from_shape_vec((2, 2).f(), vec![1.0f32, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(Tensor::from(fortran).values::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    let mut reversed = arr1(&[1i64, 2, 3]);
    reversed.invert_axis(ndarray::Axis(0));
    assert_eq!(Tensor::from(reversed).values::<i64>()?, [3, 2, 1]);
    assert_eq!(Tensor::from(array![[true], [false]]).values::<i64>()?, [1, 0]);
    assert_eq!(Tensor::from(arr1(&[-1i32, 7]).view()).values::<i64>()?, [-1, 7]);
    assert_eq!(Tensor::try_from(arr1(&[5usize]))?.values::<i64>()?, [5]);
    assert_eq!(Tensor::from(arr0(2.5f64)).item::<f64>()?, 2.5);
    let empty = ArrayD::<f32>::zeros(IxDyn(&[0, 3]));
    assert_eq!(Tensor::from(empty.clone()).into_ndarray::<f32>()?, empty);
    let transposed = Tensor::from(array![[1i64, 2], [3, 4]].into_shared().reversed_axes());
    assert_eq!(transposed.values::<i64>()?, [1, 3, 2, 4]);
    Ok(())
}

#[test]
fn sprs_traps() -> Result<()> {
    let mut triplets = TriMat::new((3, 3));
    triplets.add_triplet(1, 2, f32::NAN);
    triplets.add_triplet(2, 0, 0.0);
    let csc: CsMat<f32> = triplets.to_csc();
    let x = Tensor::try_from(csc)?; // explicit zeros and NaN stay
    assert_eq!((x.indptr(), x.indices()), (Some(&[0, 0, 1, 2][..]), Some(&[2, 0][..])));
    assert!(x.values::<f32>()?[0].is_nan());
    let window = x.rows_window(1, 3)?.rows_window(1, 2)?; // row pointers that do not start at 0
    assert_eq!(window.indptr(), Some(&[1, 2][..]));
    assert_eq!(window.into_sprs::<f32>()?.indptr().raw_storage(), [0, 1]);
    let all = Tensor::zeros(Stype::Csr, [1, 1 << 32], DType::F32)?; // one column too many
    assert_eq!(all.as_sprs::<f32>().unwrap_err().kind(), ErrorKind::Shape);
    Ok(())
}

#[test]
fn comparison() -> Result<()> {
    let ids = |x: i64| Tensor::dense([1], vec![x]);
    assert!(ids(1 << 53)?.first_difference(&ids((1 << 53) + 1)?, 0.0, 0.0).is_some());
    assert!(ids(i64::MIN)?.first_difference(&ids(i64::MAX)?, 1.0, 0.0).is_some());
    let float = |x: f32| Tensor::dense([1], vec![x]);
    assert!(float(f32::INFINITY)?.first_difference(&float(f32::MAX)?, 0.0, 0.5).is_some());
    assert!(float(f32::NAN)?.first_difference(&float(f32::NAN)?, 0.0, 0.0).is_none());
    assert!(float(f32::NAN)?.same_bits(&float(f32::from_bits(0xffc0_1234))?));
    let difference = float(1.0)?.first_difference(&ids(1)?, 0.0, 0.0).map(|d| d.to_string());
    assert_eq!(difference.as_deref(), Some("default f32 (1,) against default i64 (1,)"));
    let rounded = ids((1 << 53) + (1 << 29) + 1)?.cast(DType::F32).item::<f32>()?;
    assert_eq!(rounded, 9007200328482816.0); // rounded once; by way of f64 it is 2^53
    Ok(())
}

#[test]
#[should_panic(expected = "element (1, 0): 0.0 against 3.0")]
fn assert_close_names_the_element() {
    let x = Tensor::row_sparse([2, 2], vec![0], vec![1.0f32, 2.0]).unwrap();
    let y = Tensor::dense([2, 2], vec![1.0f32, 2.0, 3.0, 0.0]).unwrap();
    assert_close(&x, &y, 1e-6, 0.0);
}
