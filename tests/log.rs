//! `SPARSETAPE_LOG=info` prints what runs, with no code.

use std::process::Command;

use sparsetape::{Fallback, Tape, Tensor};

/// What the tests below run in a process of its own, with and without the variable.
#[test]
fn a_small_model() {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![3.0f32, 5.0]).unwrap();
    let w = tape.variable(Tensor::full([3, 1], 1.0f32).unwrap());
    let x = tape.constant(x);
    let y = x.dot(w).sum() + x.cos().sum();
    y.backward().unwrap();
    Tensor::scalar(1.0f32).exp().unwrap();
}

/// Lines of this crate on stderr, without the place that they name.
fn logged(variable: Option<&str>) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_small_model", "--exact", "--nocapture"]).env_remove("SPARSETAPE_LOG");
    command.envs(variable.map(|value| ("SPARSETAPE_LOG", value)));
    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    let own = text.lines().filter_map(|line| line.strip_prefix("sparsetape: "));
    own.map(|line| line.split_once(" at tests/log.rs:").expect("a place").0.to_owned()).collect()
}

#[test]
fn says_operator_storage_types_and_line() {
    let lines = logged(Some("info"));
    assert_eq!(
        lines[..7],
        [
            "dot(csr f32 (2, 3), default f32 (3, 1)) -> default f32 (2, 1)",
            "sum(default f32 (2, 1)) -> default f32 ()",
            "cast_storage(csr f32 (2, 3)) -> default f32 (2, 3)",
            "cos(default f32 (2, 3)) -> default f32 (2, 3)",
            "sum(default f32 (2, 3)) -> default f32 ()",
            "add(default f32 (), default f32 ()) -> default f32 ()",
            "ones_like(default f32 ()) -> default f32 ()",
        ]
    );
    let dot = lines.iter().position(|line| line == "backward of dot").unwrap();
    assert_eq!(lines[dot + 1], "dot(csr f32 (2, 3), default f32 (2, 1)) -> row_sparse f32 (3, 1)");
    assert_eq!(lines.last().unwrap(), "exp(default f32 ()) -> default f32 ()");
}

#[test]
fn says_nothing_unless_asked() {
    assert!(logged(None).is_empty());
    assert!(logged(Some("warn")).is_empty());
}
