//! `SPARSETAPE_LOG=info` prints what runs, with no code.

use std::process::Command;
use std::sync::{Arc, Mutex};

use sparsetape::{Fallback, Graph, Stype, Tape, Tensor, variable};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

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

/// The same for a graph, and a logger that prints what it gets.
#[test]
fn a_bound_graph() {
    if let Ok(level) = std::env::var("TEST_LOGGER") {
        log::set_logger(&Printing).unwrap();
        log::set_max_level(level.parse().unwrap());
    }
    bind();
}

fn bind() {
    let tape = Tape::symbolic();
    tape.set_fallback(Fallback::Allow);
    let x = tape.symbol(variable("x").stype(Stype::Csr));
    let w = tape.symbol(variable("w").shape([3, 1]));
    let y = x.dot(w).named("y").sum() + x.cos().sum();
    let graph = Graph::new(&[y]).unwrap().with_gradients(&["w"]).unwrap();
    let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![3.0f32, 5.0]).unwrap();
    graph.bind([("x", x)]).unwrap();
}

struct Printing;

impl log::Log for Printing {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        if record.target() == "sparsetape" {
            eprintln!("{}: {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

/// What this test, in a process with these variables, prints on stderr after this prefix, without the
/// place that it names.
fn printed(test: &str, variables: &[(&str, &str)], prefix: &str) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]);
    command.env_remove("SPARSETAPE_LOG").env_remove("TEST_LOGGER");
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    let own = text.lines().filter_map(|line| line.strip_prefix(prefix));
    own.map(|line| line.split_once(" at tests/log.rs:").expect("a place").0.to_owned()).collect()
}

fn logged(level: Option<&str>) -> Vec<String> {
    let level = level.map(|level| ("SPARSETAPE_LOG", level));
    printed("a_small_model", level.as_slice(), "sparsetape: ")
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

const BOUND: [&str; 6] = [
    "y = dot(csr f32 (2, 3), default f32 (3, 1)) -> default f32 (2, 1)",
    "sum0 = sum(default f32 (2, 1)) -> default f32 ()",
    "cast_storage0 = cast_storage(csr f32 (2, 3)) -> default f32 (2, 3) [cast]",
    "cos0 = cos(default f32 (2, 3)) -> default f32 (2, 3)",
    "sum1 = sum(default f32 (2, 3)) -> default f32 ()",
    "add0 = add(default f32 (), default f32 ()) -> default f32 ()",
];

fn check_bound(lines: &[String]) {
    assert_eq!(lines[..BOUND.len()], BOUND);
    let dw = "dot(csr f32 (2, 3), default f32 (2, 1)) -> row_sparse f32 (3, 1)";
    assert!(lines[BOUND.len()..].iter().any(|line| line.ends_with(dw)), "{lines:?}");
}

#[test]
fn a_bound_graph_says_what_will_run() {
    let test = "a_bound_graph";
    check_bound(&printed(test, &[("SPARSETAPE_LOG", "info")], "sparsetape: bind "));
    check_bound(&printed(test, &[("TEST_LOGGER", "info")], "INFO: bind "));
    assert!(printed(test, &[("TEST_LOGGER", "warn")], "INFO: bind ").is_empty());
    assert!(printed(test, &[], "sparsetape: bind ").is_empty());
}

/// Keeps the messages of its level and those above.
struct Keeping(tracing::Level, Arc<Mutex<Vec<String>>>);

impl Subscriber for Keeping {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.0
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        assert_eq!(event.metadata().target(), "sparsetape");
        event.record(&mut Message(&self.1));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Message<'a>(&'a Mutex<Vec<String>>);

impl Visit for Message<'_> {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        let (what, _) = text.split_once(" at tests/log.rs:").expect("a place");
        let what = what.strip_prefix("bind ").expect("of a bind");
        self.0.lock().unwrap().push(what.to_owned());
    }
}

#[test]
fn subscribers_hear_what_will_run() {
    for (level, hears) in [(tracing::Level::INFO, true), (tracing::Level::WARN, false)] {
        let lines = Arc::default();
        tracing::subscriber::with_default(Keeping(level, Arc::clone(&lines)), bind);
        let lines = lines.lock().unwrap();
        assert_eq!(lines.is_empty(), !hears);
        if hears {
            check_bound(&lines);
        }
    }
}
