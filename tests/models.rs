//! The examples that train models, at small sizes: what they reach, and what they say to bad input.

// Each example is a program of its own with the modules that all share.
#![allow(clippy::duplicate_mod)]

use std::fs;
use std::path::PathBuf;

use rayon::ThreadPoolBuilder;
use sparsetape::check::gradcheck;
use sparsetape::{ErrorKind, Result, Stype, Tensor};

#[allow(dead_code)]
#[path = "../examples/factorization_machine.rs"]
mod factorization_machine;
#[allow(dead_code)]
#[path = "../examples/linear_classification.rs"]
mod linear_classification;
#[allow(dead_code)]
#[path = "../examples/linear_regression.rs"]
mod linear_regression;
#[allow(dead_code)]
#[path = "../examples/matrix_factorization.rs"]
mod matrix_factorization;
#[allow(dead_code)]
#[path = "../examples/wide_deep.rs"]
mod wide_deep;

fn args(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether a run gives the same with one thread and with three.
fn same_for_threads<T: PartialEq + Send>(run: impl Fn() -> Result<Option<T>> + Sync) -> bool {
    let [one, three] = [1, 3].map(|threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&run).unwrap().unwrap()
    });
    one == three
}

/// In batches that are large enough to be shared out.
#[test]
fn threads_change_no_bit() {
    let large = "--batch 8192 --epochs 2 --factors 16 --lr 0.002";
    assert!(same_for_threads(|| factorization_machine::run(args(&format!(
        "{large} --rows 12000"
    )))));
    assert!(same_for_threads(|| matrix_factorization::run(args(&format!(
        "{large} --ratings 12000"
    )))));
    let large = "--batch 8192 --epochs 2 --hidden 64 --rows 12000";
    assert!(same_for_threads(|| wide_deep::run(args(large))));
}

/// A file of a test's own.
fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("models-{name}"));
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// As MXNet's tutorial asks.
#[test]
fn linear_regression_ends_below_one() {
    let mse = linear_regression::run(Vec::new()).unwrap().unwrap();
    assert!(mse < 1.0, "{mse}");
    let bad = linear_regression::run(args("--epochs 0")).unwrap_err();
    assert!(bad.to_string().contains("--epochs \"0\" is not a number from 1"), "{bad}");
}

/// A class that weighs more is predicted more.
#[test]
fn classes_weigh_more_or_less() {
    let rows: String = (0..300)
        .map(|i| format!("{} {}:1 {}:0.5\n", u8::from(i % 5 == 0), 1 + i % 7, 8 + i % 3))
        .collect();
    let train = file("classes.svm", &rows);
    let mean = |weights: &str| -> f64 {
        let out = file("classes.txt", "");
        let text = format!("--train {train} --predict {out} --epochs 5 --class-weights {weights}");
        linear_classification::run(args(&text)).unwrap();
        let predicted = fs::read_to_string(out).unwrap();
        predicted.lines().map(|p| p.parse::<f64>().unwrap()).sum::<f64>() / 300.0
    };
    let (plain, heavy, balanced) = (mean("none"), mean("1,4"), mean("balanced"));
    assert!((plain - 0.2).abs() < 0.05, "{plain}");
    assert!((heavy - 0.5).abs() < 0.05 && (balanced - heavy).abs() < 0.01, "{heavy} {balanced}");
    let bad = format!("--train {train} --class-weights 1,2,3");
    let error = linear_classification::run(args(&bad)).unwrap_err();
    assert!(error.to_string().contains("1,2,3: not 2 numbers"), "{error}");
}

const FM: &str = "--rows 20000 --ids 20 --fields 6 --batch 128 --epochs 3";

#[test]
fn a_factorization_machine_beats_a_linear_model() {
    let outcome = factorization_machine::run(args(FM)).unwrap().unwrap();
    let (linear, machine, best) = (outcome.linear, outcome.machine, outcome.best.unwrap());
    assert!(machine.log_loss < linear.log_loss - 0.1, "{outcome:?}");
    assert!(machine.auc > linear.auc + 0.1, "{outcome:?}");
    // No model beats the planted one, this one by little.
    assert!(best < machine.log_loss && machine.log_loss < best + 0.05, "{outcome:?}");
}

/// The formula against its definition, a sum over pairs, and its gradients against differences.
#[test]
fn pairs_of_features() -> Result<()> {
    let x = Tensor::csr([3, 5], vec![0, 3, 3, 4], vec![0, 2, 4, 1], vec![1.0, -2.0, 0.5, 3.0])?;
    let v = Tensor::dense([5, 2], (0..10).map(|i| (f64::from(i) * 0.7).sin()).collect::<Vec<_>>())?;
    let sums = gradcheck(&[x.clone(), v.clone()], |_, v| v[0].pair_interactions(v[1]))?;
    assert!(sums.compared > 14);
    let tape = sparsetape::Tape::new();
    let own = tape.constant(x.clone()).pair_interactions(tape.constant(v.clone())).value()?;
    let dense = x.cast_storage(Stype::Default)?.pair_interactions(&v)?;
    approx::assert_abs_diff_eq!(own, dense, epsilon = 1e-12);
    let v = v.values::<f64>()?;
    let dot = |i: usize, j: usize| v[2 * i] * v[2 * j] + v[2 * i + 1] * v[2 * j + 1];
    let first = -2.0 * dot(0, 2) + 0.5 * dot(0, 4) - dot(2, 4);
    let own = own.values::<f64>()?;
    assert!((own[0] - first).abs() < 1e-12 && own[1..].iter().all(|z| z.abs() < 1e-12), "{own:?}");
    Ok(())
}

#[test]
fn a_factorization_machine_reads_files() {
    let rows: String = (0..200)
        .map(|i| format!("{} {}:1 {}:0.5\n", i % 2 * 2 - 1, 1 + i % 2, 3 + i % 7))
        .collect();
    let train = file("fm.svm", &rows);
    let run = |text: String| factorization_machine::run(args(&text));
    let outcome = run(format!("{train} --batch 10 --epochs 20")).unwrap().unwrap();
    assert!(outcome.machine.auc == 1.0 && outcome.machine.log_loss < 0.1, "{outcome:?}");
    let wide = file("wide.svm", "1 1:1 99:1\n");
    let error = run(format!("{train} {wide}")).unwrap_err();
    assert!(error.to_string().contains("99"), "{error}");
    let error = run(file("bad.svm", "3 1:1\n")).unwrap_err();
    assert!(error.to_string().contains("label"), "{error}");
}

const MF: &str = "--users 120 --items 60 --ratings 16000 --epochs 10";

#[test]
fn matrix_factorization_reaches_the_noise() {
    let outcome = matrix_factorization::run(args(MF)).unwrap().unwrap();
    let noise = matrix_factorization::ratings::NOISE;
    assert!(outcome.rmse < 1.1 * noise && outcome.mean_rmse > 1.5 * noise, "{outcome:?}");
    assert_eq!(outcome.top.len(), 5);
    assert!(outcome.top.is_sorted_by(|a, b| a.1 >= b.1));
}

#[test]
fn matrix_factorization_reads_ratings() {
    use matrix_factorization::ratings::Ratings;
    let ratings =
        Ratings::parse("u.data", "196\t242\t3\t881250949\n\n1\t4294967296\t2.5\t0\n").unwrap();
    assert_eq!((&ratings.users[..], &ratings.items[..]), (&[195, 0][..], &[241, 4294967295][..]));
    assert_eq!(ratings.ratings, [3.0, 2.5]);
    let cases = [
        ("1\t2\t3\t4\n0\t2\t3\t4\n", "u.data, line 2, column 1: user \"0\" is not an id from 1"),
        ("17\tx\t3\n", "u.data, line 1, column 4: item \"x\" is not an id"),
        ("17\t4294967297\t3\n", "to 4294967296"),
        ("1\t2\tnan\n", "column 5: rating \"nan\" is not a finite number"),
        ("1 2 3\n", "user \"1 2 3\" is not"),
        ("1\t2\n", "line 1, column 5: there is no rating"),
    ];
    for (text, message) in cases {
        let error = Ratings::parse("u.data", text).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.kind(), ErrorKind::Parse);
    }
    // A huge id costs nothing.
    let rows: String =
        (0..100).map(|i| format!("{}\t4000000000\t{}\t0\n", 1 + i % 10, i % 5)).collect();
    let path = file("u.data", &rows);
    let run = |text: String| matrix_factorization::run(args(&text));
    assert!(run(format!("{path} --epochs 1")).unwrap().unwrap().top.is_empty());
    let empty = run(file("empty.data", "")).unwrap_err();
    assert!(empty.to_string().contains("too few ratings"), "{empty}");
    assert!(run(format!("{path} --user 11")).unwrap_err().to_string().contains("from 1 to 10"));
}

const WD: &str = "--rows 16000 --bits 12 --width 4 --hidden 16 --epochs 4 --lr 0.1";

#[test]
fn wide_and_deep_beats_its_parts() {
    let outcome = wide_deep::run(args(WD)).unwrap().unwrap();
    let both = outcome.both;
    for part in [outcome.wide, outcome.deep] {
        assert!(both.log_loss < part.log_loss - 0.04 && both.auc > part.auc + 0.05, "{outcome:?}");
    }
    let [trainer, frozen] = &outcome.predicted;
    assert!(trainer.len() == 3 && trainer == frozen, "{outcome:?}");
}

#[test]
fn wide_and_deep_reads_files() {
    use wide_deep::categories::Rows;
    let rows = Rows::parse("a.tsv", "1\tx\ty\n0\ty,\n").unwrap();
    assert_eq!((rows.fields, &rows.labels[..]), (2, &[1.0, 0.0][..]));
    // A value in another field is another value.
    assert_ne!(rows.hashes[1], rows.hashes[2]);
    for (text, message) in [
        ("1,a\n2,b\n", "a.tsv, line 2: column 1: label \"2\" is not 0 or 1"),
        ("1,a\n1,a,b\n", "line 2: 2 values, but the first line has 1"),
        ("1\n", "line 1: there are no values after the label"),
        ("", "a.tsv: no rows"),
    ] {
        let error = Rows::parse("a.tsv", text).err().unwrap();
        assert!(error.to_string().contains(message), "{error}");
    }
    let text: String = (0..100).map(|i| format!("{},{},{}\n", i % 2, i % 3, i % 5)).collect();
    let (path, model) = (file("a.csv", &text), file("model", ""));
    let run = |options: &str| wide_deep::run(args(&format!("{path} {options}")));
    assert!(run(&format!("--epochs 1 --save {model}")).is_ok());
    let model = sparsetape::Model::load(&model).unwrap();
    assert_eq!(model.graph.list_outputs().len(), 1);
    assert!(run("--epochs 1 --cross none").is_ok());
    let error = run("--cross 1x3").err().unwrap();
    assert!(error.to_string().contains("\"1x3\" is not a pair of fields from 1 to 2"), "{error}");
}

#[test]
fn options() {
    let run = |text: &str| factorization_machine::run(args(text));
    assert!(run("--help").unwrap().is_none());
    for (text, message) in [
        ("--epoch 3", "there is no option --epoch"),
        ("--epochs", "--epochs of what?"),
        ("--epochs 0", "--epochs \"0\" is not a number from 1 to"),
        ("--lr nan", "--lr \"nan\" is not a number"),
        ("a b c", "one file too many: c"),
        ("not-there.svm", "not-there.svm"),
    ] {
        let error = run(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let picture = file("picture.svg", "");
    let drawn = run(&format!("--rows 100 --epochs 2 --svg {picture}"));
    #[cfg(not(feature = "plot"))]
    assert!(drawn.unwrap_err().to_string().contains("feature plot"));
    #[cfg(feature = "plot")]
    assert!(drawn.is_ok() && fs::read_to_string(picture).unwrap().contains("<svg"));
}
