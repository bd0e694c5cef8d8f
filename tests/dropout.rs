//! Dropout: its mask by seed, step, place; the same for any threads, storage type, and backward.

use sparsetape::check::GradCheck;
use sparsetape::{ErrorKind, Fallback, Mode, Stype, Tape, Tensor};

const TRAIN: Mode = Mode::Train { seed: 11, step: 3 };

/// 0 where an element is dropped, else 1.
fn mask(n: usize, p: f64, mode: Mode) -> Vec<f64> {
    let y = Tensor::full([n], 1.0 - p).unwrap().dropout(p, mode).unwrap();
    y.values::<f64>().unwrap().iter().map(|y| y.round()).collect()
}

#[test]
fn the_mask_is_as_likely_as_p_says() {
    let n = 1_000_000;
    for p in [0.0, 0.1, 0.5, 0.9] {
        let x = Tensor::full([n], 3.0f64).unwrap();
        let y = x.dropout(p, TRAIN).unwrap();
        let y = y.values::<f64>().unwrap();
        assert!(
            y.iter()
                .all(|&y| y == 0.0 || y == 3.0 / (1.0 - p) || (y * (1.0 - p) - 3.0).abs() < 1e-14)
        );
        let kept = y.iter().filter(|y| **y != 0.0).count() as f64;
        let sigma = (n as f64 * p * (1.0 - p)).sqrt();
        assert!((kept - n as f64 * (1.0 - p)).abs() <= 5.0 * sigma, "{kept} kept for p = {p}");
        let mean = y.iter().sum::<f64>() / n as f64;
        let variance = y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n as f64;
        assert!((mean - 3.0).abs() < 0.06 && (variance - 9.0 * p / (1.0 - p)).abs() < 1.0);
    }
}

/// Neighbours, other steps, seeds and dropouts have nothing to do with each other.
#[test]
fn masks_are_independent() {
    let (n, first) = (1 << 16, mask(1 << 16, 0.5, TRAIN));
    let tape = Tape::new();
    tape.train(11, 3);
    let half = tape.constant(Tensor::full([n], 0.5f64).unwrap());
    let recorded: Vec<Tensor> = (0..2).map(|_| half.dropout(0.5).value().unwrap()).collect();
    assert_eq!(recorded[0].values::<f64>().unwrap(), first);
    let others = [
        mask(n, 0.5, Mode::Train { seed: 11, step: 4 }),
        mask(n, 0.5, Mode::Train { seed: 12, step: 3 }),
        mask(n, 0.5, Mode::Train { seed: 3, step: 11 }),
        recorded[1].values::<f64>().unwrap().to_vec(),
        [&first[1..], &first[..1]].concat(),
        [&first[256..], &first[..256]].concat(),
    ];
    for (i, other) in others.iter().enumerate() {
        let same = first.iter().zip(other).filter(|(a, b)| a == b).count() as f64;
        let sigma = (n as f64).sqrt() / 2.0;
        assert!((same - n as f64 / 2.0).abs() < 5.0 * sigma, "{i}: {same} of {n} are the same");
    }
}

#[test]
fn the_mask_is_the_same_for_any_threads() {
    let x = Tensor::dense([500, 400], (0..200_000).map(|i| i as f32 + 1.0).collect::<Vec<f32>>());
    let x = x.unwrap();
    for stype in Stype::ALL {
        let x = x.cast_storage(stype).unwrap();
        let y = x.dropout(0.3, TRAIN).unwrap();
        for threads in [1, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| x.dropout(0.3, TRAIN)).unwrap().same_bits(&y));
        }
    }
}

fn holed() -> Tensor {
    let value = |i: usize| if i.is_multiple_of(3) || i / 7 == 2 { 0.0 } else { i as f64 + 0.5 };
    Tensor::dense([9, 7], (0..63).map(value).collect::<Vec<f64>>()).unwrap()
}

/// A place has one mask, however it is stored; what is stored stays stored.
#[test]
fn the_mask_is_the_same_for_any_storage() {
    let x = holed();
    let dense = x.dropout(0.4, TRAIN).unwrap();
    for stype in Stype::ALL {
        let x = x.cast_storage(stype).unwrap();
        let y = x.dropout(0.4, TRAIN).unwrap();
        assert_eq!((y.stype(), y.nnz()), (stype, x.nnz()));
        assert_eq!((y.indices(), y.rows()), (x.indices(), x.rows()));
        assert_eq!(y.first_difference(&dense, 0.0, 0.0), None);
        let narrow = x.cast(sparsetape::DType::F32).dropout(0.4, TRAIN).unwrap();
        assert_eq!(narrow.cast(sparsetape::DType::F64).first_difference(&dense, 0.0, 1e-6), None);
    }
    let huge = Tensor::csr([2, 1 << 32], vec![0, 1, 2], vec![u32::MAX, 5], vec![1.0f64, 1.0]);
    assert_eq!(huge.unwrap().dropout(0.4, TRAIN).unwrap().nnz(), 2);
    // Dropped, not multiplied by zero.
    let nan = Tensor::full([1000], f64::NAN).unwrap().dropout(0.5, TRAIN).unwrap();
    assert!(nan.values::<f64>().unwrap().contains(&0.0));
}

#[test]
fn backward_has_the_same_mask_at_any_order() {
    let check = GradCheck::new().fallback(Fallback::Deny);
    for stype in Stype::ALL {
        let x = holed().cast_storage(stype).unwrap();
        let report = check.run(std::slice::from_ref(&x), |tape, v| {
            tape.train(5, 9);
            v[0].dropout(0.4).square().dropout(0.2)
        });
        report.unwrap();
        let tape = Tape::new();
        tape.train(5, 9);
        let leaf = tape.variable(x.ones_like().unwrap());
        let y = leaf.dropout(0.4);
        let gradients = y.sum().backward().unwrap();
        assert!(gradients.wrt(leaf).unwrap().same_bits(&y.value().unwrap()));
    }
}

#[test]
fn steps_and_recordings() {
    let mut tape = Tape::new();
    let x = Tensor::full([64], 1.0f64).unwrap();
    assert!(tape.constant(x.clone()).dropout(0.5).value().unwrap().same_bits(&x));
    let mut step = |step| {
        tape.clear();
        tape.train(1, step);
        let y = tape.constant(x.clone()).dropout(0.5).dropout(0.1).value();
        y.unwrap()
    };
    let (first, second, again) = (step(0), step(1), step(0));
    assert!(first.same_bits(&again) && !first.same_bits(&second));
    tape.predict();
    assert!(tape.constant(x.clone()).dropout(0.5).value().unwrap().same_bits(&x));
    assert!(x.dropout(0.0, TRAIN).unwrap().same_bits(&x));
    let error = x.dropout(1.0, Mode::Predict).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Value);
    assert!(error.to_string().contains("p is 1, but a probability"), "{error}");
}
