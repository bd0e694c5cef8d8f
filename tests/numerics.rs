//! Long sums, extremes and special values.

use rayon::ThreadPoolBuilder;
use sparsetape::{Loss, NormOrder, Result, Stype, Tape, Tensor};

/// Terms of a long sum; fewer without optimisation, where 10^7 of them take some seconds each time.
const TERMS: usize = if cfg!(debug_assertions) { 4_000_000 } else { 10_000_000 };

fn dense(shape: &[usize]) -> Tensor {
    Tensor::full(shape, 0.1f32).unwrap()
}

/// A csr matrix that stores all of its elements.
fn csr(rows: usize, cols: usize) -> Tensor {
    let indptr: Vec<usize> = (0..=rows).map(|row| row * cols).collect();
    let indices: Vec<u32> = (0..rows).flat_map(|_| 0..cols as u32).collect();
    Tensor::csr([rows, cols], indptr, indices, vec![0.1f32; rows * cols]).unwrap()
}

fn row_sparse(rows: usize, cols: usize) -> Tensor {
    let ids: Vec<u32> = (0..rows as u32).collect();
    Tensor::row_sparse([rows, cols], ids, vec![0.1f32; rows * cols]).unwrap()
}

/// The largest relative error of sums of `terms` numbers, as many as that each.
fn error(sums: &Tensor, terms: usize) -> f64 {
    let exact = terms as f64 * f64::from(0.1f32);
    let errors = sums.values::<f32>().unwrap().iter().map(|&s| (f64::from(s) / exact - 1.0).abs());
    errors.fold(0.0, f64::max)
}

#[test]
fn long_sums_do_not_drift() -> Result<()> {
    let (n, half) = (TERMS, TERMS / 2);
    let sums = [
        ("whole", dense(&[n]).sum()?, n),
        ("first axis", dense(&[half, 2]).sum_axes(&[0], false)?, half),
        ("last axis", dense(&[2, half]).sum_axes(&[1], false)?, half),
        ("middle axis", dense(&[2, n / 4, 2]).sum_axes(&[1], false)?, n / 4),
        ("csr, whole", csr(1, n).sum()?, n),
        ("csr, row", csr(2, half).sum_axes(&[1], false)?, half),
        ("csr, column", csr(half, 2).sum_axes(&[0], false)?, half),
        ("row-sparse, whole", row_sparse(n, 1).sum()?, n),
        ("row-sparse, rows", row_sparse(half, 2).sum_axes(&[0], false)?, half),
        ("row-sparse, within rows", row_sparse(2, half).sum_axes(&[1], false)?, half),
        ("mean", dense(&[half, 2]).mean_axes(&[0], false)?, 1),
        ("csr, mean", csr(half, 2).mean_axes(&[0], false)?, 1),
    ];
    for (what, sums, terms) in sums {
        assert!(error(&sums, terms) < 1e-6, "{what}: {:.1e}", error(&sums, terms));
    }
    Ok(())
}

#[test]
fn long_products_of_rows_do_not_drift() -> Result<()> {
    let (n, ones) = (TERMS, Tensor::full([TERMS, 1], 1.0f32)?);
    let product = dense(&[1, n]).dot(&ones)?;
    assert!(error(&product, n) < 2e-6, "{:.1e}", error(&product, n));
    let at = Tensor::csr([1, 1], vec![0, 1], vec![0], vec![1.0f32])?;
    let product = at.sampled_dot(&dense(&[1, n]), &ones.reshape(&[1, -1])?)?;
    assert!(error(&product, n) < 2e-6, "{:.1e}", error(&product, n));
    Ok(())
}

/// Rows with many entries, columns in every row, one id over and over.
#[test]
fn long_sparse_products_do_not_drift() -> Result<()> {
    let n = TERMS / 4;
    let ones = |shape: [usize; 2]| Tensor::full(shape, 1.0f32);
    let ids = Tensor::dense([n], vec![1i64; n])?;
    let tape = Tape::new();
    let table = tape.variable(ones([2, 1])?);
    let looked_up = table.take(tape.constant(ids)).mul_scalar(f64::from(0.1f32)).sum();
    let sums = [
        ("csr · dense", csr(1, n).dot(&ones([n, 1])?)?),
        ("csrᵀ · dense", csr(n, 1).dot_with(&ones([n, 1])?, true, false)?),
        ("csrᵀ · dense, dense", csr(n, 1).dot_as(&ones([n, 1])?, true, false, Stype::Default)?),
        ("gradient of a look-up", looked_up.backward()?.wrt(table).unwrap().clone()),
    ];
    for (what, sums) in sums {
        assert!(error(&sums, n) < 1e-6, "{what}: {:.1e}", error(&sums, n));
    }
    Ok(())
}

#[test]
fn long_norms_and_softmax_are_right() -> Result<()> {
    let x = dense(&[TERMS]);
    let norm = f64::from(x.norm()?.item::<f32>()?);
    assert!((norm / ((TERMS as f64).sqrt() * f64::from(0.1f32)) - 1.0).abs() < 1e-6);
    let log = f64::from(x.log_sum_exp(&[0], false)?.item::<f32>()?);
    assert!((log / ((TERMS as f64).ln() + f64::from(0.1f32)) - 1.0).abs() < 1e-6);
    for axis in [0, 1] {
        let p = dense(if axis == 0 { &[1000, 2] } else { &[2, 1000] }).softmax_axis(axis)?;
        assert!(p.values::<f32>()?.iter().all(|p| (p * 1000.0 - 1.0).abs() < 1e-6));
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    let value = |i: usize| ((i * 7919 % 10007) as f32 * 0.37).sin();
    let values: Vec<f32> = (0..210_000).map(|i| if i % 3 == 0 { 0.0 } else { value(i) }).collect();
    let x = Tensor::dense([3000, 70], values)?;
    let all = || -> Result<Vec<Tensor>> {
        let mut results = Vec::new();
        for stype in Stype::ALL {
            let x = x.cast_storage(stype)?;
            for axes in [&[0][..], &[1], &[0, 1]] {
                results.push(x.sum_axes(axes, false)?);
                results.push(x.norm_axes(NormOrder::L2, axes, false)?);
                results.push(x.min_axes(axes, false)?);
                results.push(x.log_sum_exp(axes, false)?);
            }
        }
        results.push(x.log_softmax_axis(0)?);
        Ok(results)
    };
    let once = all()?;
    for threads in [1, 2, 3] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let there = pool.install(all)?;
        assert!(once.iter().zip(&there).all(|(a, b)| a.same_bits(b)), "{threads} threads");
    }
    Ok(())
}

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn row(x: &[f64]) -> Tensor {
    Tensor::dense([1, x.len()], x.to_vec()).unwrap()
}

fn assert_values(got: &Tensor, wanted: &[f64]) {
    let got = got.values::<f64>().unwrap();
    let same = |(a, b): (&f64, &f64)| (a.is_nan() && b.is_nan()) || a == b;
    assert!(
        got.len() == wanted.len() && got.iter().zip(wanted).all(same),
        "{got:?}, not {wanted:?}"
    );
}

#[test]
fn softmax_of_extremes() -> Result<()> {
    for (x, logs, shares) in [
        (&[1e4, -1e4][..], &[0.0, -2e4][..], &[1.0, 0.0][..]),
        (&[-1e4, -1e4 - 800.0], &[0.0, -800.0], &[1.0, 0.0]),
        (&[-INF, 3.0], &[-INF, 0.0], &[0.0, 1.0]),
        (&[NAN, 3.0], &[NAN, NAN], &[NAN, NAN]),
        // A difference of infinities has no value.
        (&[INF, 3.0], &[NAN, NAN], &[NAN, NAN]),
        (&[-INF, -INF], &[NAN, NAN], &[NAN, NAN]),
    ] {
        for (x, axis) in [(row(x), 1), (row(x).reshape(&[2, 1])?, 0)] {
            assert_values(&x.log_softmax_axis(axis)?, logs);
            assert_values(&x.softmax_axis(axis)?, shares);
        }
        let columns = Tensor::dense([2, 2], vec![x[0], x[0], x[1], x[1]])?;
        assert_values(&columns.log_softmax_axis(0)?, &[logs[0], logs[0], logs[1], logs[1]]);
    }
    let tape = Tape::new();
    let x = tape.variable(row(&[1e4, -1e4, -INF]));
    let first = x.softmax().square().sum().backward()?;
    assert_values(first.wrt(x).unwrap(), &[0.0, 0.0, 0.0]);
    Ok(())
}

#[test]
fn log_sum_exp_of_extremes() -> Result<()> {
    for (x, y) in [
        (&[1e4, 1e4][..], 1e4 + 2f64.ln()),
        (&[-1e4, -1e4], -1e4 + 2f64.ln()),
        (&[1e4, -1e4], 1e4),
        (&[-INF, -INF], -INF),
        (&[-INF, 3.0], 3.0),
        (&[INF, 3.0], INF),
        (&[INF, -INF], INF),
        (&[NAN, INF], NAN),
        (&[], -INF),
    ] {
        assert_values(&row(x).log_sum_exp(&[1], false)?, &[y]);
    }
    // Seven absent entries count as e⁰ each.
    let sparse = |x: f64| Tensor::csr([1, 8], vec![0, 1], vec![3], vec![x]).unwrap();
    for (x, y) in [(-1e4, 7f64.ln()), (-INF, 7f64.ln()), (1e4, 1e4), (INF, INF), (NAN, NAN)] {
        for axes in [&[1][..], &[0, 1]] {
            assert_values(&sparse(x).log_sum_exp(axes, false)?, &[y]);
        }
    }
    let tape = Tape::new();
    let x = tape.variable(sparse(-1e4));
    let gradients = x.log_sum_exp(&[0, 1], false).backward()?;
    assert_eq!(gradients.wrt(x).unwrap().stype(), Stype::Csr);
    assert_values(gradients.wrt(x).unwrap(), &[0.0]);
    Ok(())
}

#[test]
fn softplus_and_cross_entropy_of_extremes() -> Result<()> {
    assert_values(&row(&[1e4, -1e4, INF, -INF, NAN]).softplus()?, &[1e4, 0.0, INF, 0.0, NAN]);
    let (z, y) = (row(&[1e4, 1e4, -1e4, -1e4, INF, NAN]), row(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0]));
    let losses = z.sigmoid_binary_cross_entropy_with(&y, &Loss::per_row())?;
    // A label of 0 times an infinite logit has no value; its gradient does.
    assert_values(&losses, &[0.0, 1e4, 1e4, 0.0, NAN, NAN]);
    let tape = Tape::new();
    let (z, y) = (tape.variable(z), tape.constant(y));
    let gradients = z.sigmoid_binary_cross_entropy_with(y, &Loss::sum()).backward()?;
    assert_values(gradients.wrt(z).unwrap(), &[0.0, 1.0, -1.0, 0.0, 1.0, NAN]);
    Ok(())
}

#[test]
fn special_values_where_they_are_stored() -> Result<()> {
    let sparse = |x: &[f64]| {
        let columns: Vec<u32> = (0..x.len() as u32).collect();
        Tensor::csr([1, 9], vec![0, x.len()], columns, x.to_vec()).unwrap()
    };
    for (x, sum, max, min) in [
        (&[INF, 1.0][..], INF, INF, 0.0),
        (&[INF, -INF], NAN, INF, -INF),
        (&[NAN, INF], NAN, NAN, NAN),
        (&[-2.0, NAN], NAN, NAN, NAN),
        (&[-2.0, -3.0], -5.0, 0.0, -3.0),
        (&[], 0.0, 0.0, 0.0),
    ] {
        let csr = sparse(x);
        for x in [csr.cast_storage(Stype::RowSparse)?, csr.cast_storage(Stype::Default)?, csr] {
            for axes in [&[1][..], &[0, 1]] {
                let dense = |y: Tensor| y.cast_storage(Stype::Default);
                assert_values(&dense(x.sum_axes(axes, true)?)?, &[sum]);
                assert_values(&dense(x.max_axes(axes, true)?)?, &[max]);
                assert_values(&dense(x.min_axes(axes, true)?)?, &[min]);
            }
        }
    }
    Ok(())
}

#[test]
fn norms_neither_overflow_nor_underflow() -> Result<()> {
    for scale in [1e300, 1e154, 1.0, 1e-160, 1e-300] {
        let norms = Tensor::dense([2, 2], vec![3.0 * scale, -4.0 * scale, 0.0, 0.0])?.norm_axes(
            NormOrder::L2,
            &[1],
            false,
        )?;
        let norms = norms.values::<f64>()?;
        assert!((norms[0] / scale - 5.0).abs() < 1e-14 && norms[1] == 0.0, "{norms:?}");
    }
    for scale in [1e38f32, 1e20, 1e-20, 1e-38] {
        let norm = Tensor::dense([2], vec![1.5 * scale, 2.0 * scale])?.norm()?.item::<f32>()?;
        assert!((norm / scale - 2.5).abs() < 1e-6, "{norm}");
    }
    let least = f64::from_bits(1);
    assert_values(&row(&[least, 0.0]).norm()?, &[least]);
    assert_values(&row(&[-INF, 1.0]).norm()?, &[INF]);
    assert_values(&row(&[NAN, INF]).norm()?, &[NAN]);
    Ok(())
}

/// Rows stay apart, so that a table's size does not matter.
#[test]
fn reductions_of_huge_tables_keep_their_rows() -> Result<()> {
    const ROWS: usize = 1 << 32;
    let tape = Tape::new();
    let values = vec![3.0f64, -4.0, 0.0, 0.0];
    let x = tape.variable(Tensor::row_sparse([ROWS, 2], vec![7, u32::MAX], values)?);
    for (y, wanted) in [
        (x.sum_axes(&[-1], true), [-1.0, 0.0]),
        (x.mean_axes(&[1], false), [-0.5, 0.0]),
        (x.sum_except(&[0], false), [-1.0, 0.0]),
        (x.square_sum(&[1], true), [25.0, 0.0]),
        (x.norm_axes(NormOrder::L1, &[1], true), [7.0, 0.0]),
        (x.norm_axes(NormOrder::L2, &[1], true), [5.0, 0.0]),
        (x.max_axes(&[1], true), [3.0, 0.0]),
        (x.min_axes(&[1], false), [-4.0, 0.0]),
    ] {
        let value = y.value()?;
        assert_eq!(value.rows(), Some(&[7, u32::MAX][..]));
        assert_values(&value, &wanted);
        let gradient = tape.grad(y.square().sum(), &[x])?[0];
        let second = tape.grad(gradient.square().sum(), &[x])?[0].value()?;
        assert_eq!((second.stype(), second.shape()), (Stype::RowSparse, &[ROWS, 2].into()));
    }
    let vector = tape.constant(Tensor::row_sparse([5], vec![1], vec![2.0f64])?);
    let message = vector.sum_axes(&[-1], false).value().unwrap_err().to_string();
    assert!(message.contains("name axis 0"), "{message}");
    Ok(())
}
