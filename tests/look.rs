//! What graphs look like: the table, the explanations, the pictures.

use std::path::Path;

use sparsetape::{DType, ErrorKind, Fallback, Graph, Result, Stype, Tape, Tensor, variable};

/// The linear classification network of the sparse tutorial.
fn linear_classification() -> Result<Graph> {
    let tape = Tape::symbolic();
    let data = variable("data").stype(Stype::Csr).shape([32, 10_000]).dtype(DType::F32);
    let weight = variable("weight").stype(Stype::RowSparse).shape([10_000, 2]);
    let (data, weight) = (tape.symbol(data), tape.symbol(weight));
    let bias = tape.symbol(variable("bias").shape([2]));
    let label = tape.symbol(variable("softmax_label").shape([32]).dtype(DType::F32));
    Graph::new(&[(data.dot(weight) + bias).softmax_output(label).named("softmax")])
}

/// `UPDATE_GOLDEN=1` writes the file anew.
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == golden, "{name} is out of date; now it is\n{text}");
}

/// Without what moves when this file is edited.
fn without_lines(text: &str) -> String {
    let cut = |line: &str| match line.find("tests/look.rs:") {
        Some(at) => format!("{}<line>\n", &line[..at]),
        None => format!("{line}\n"),
    };
    text.lines().map(cut).collect()
}

#[test]
fn the_table_of_linear_classification_is_that_of_the_golden_file() {
    let graph = linear_classification().unwrap();
    let trained = graph.with_gradients(&["weight", "bias"]).unwrap();
    assert_golden("linear_classification.txt", &format!("{graph}\n\n{trained}\n"));
    let widest = trained.to_string().lines().map(|line| line.chars().count()).max();
    assert!(widest.unwrap() <= 110, "{widest:?}");
}

#[test]
fn the_picture_of_linear_classification_is_that_of_the_golden_file() {
    let picture = linear_classification().unwrap().to_svg().unwrap();
    assert_golden("linear_classification.svg", &picture);
}

#[test]
fn fallbacks_and_casts_that_were_asked_for_are_told_apart() {
    let tape = Tape::symbolic();
    tape.set_fallback(Fallback::Allow);
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([2, 50]).dtype(DType::F64));
    let y = x.cast_storage(Stype::Default);
    let graph = Graph::new(&[y, x.exp()]).unwrap();
    let table = without_lines(&graph.to_string());
    assert!(table.contains("\n! 2  cast_storage1"), "{table}");
    assert!(table.contains("\n* 1  cast_storage0"), "{table}");
    let why = "! cast_storage1 makes 100 elements dense: exp0 has no row for csr; at <line>";
    assert!(table.contains(why), "{table}");
    assert!(table.contains("* cast_storage0 makes 100 elements dense: as asked"), "{table}");
    assert!(table.ends_with("1 fallback to dense\n"), "{table}");
    assert!(graph.explain("cast_storage1").unwrap().contains("a fallback, for exp0"));
    assert!(graph.explain("cast_storage0_output").unwrap().contains("asked for"));
    let picture = graph.to_svg().unwrap();
    assert_eq!(picture.matches("fill=\"#fbdcdc\"").count(), 2, "the legend and one node");
}

#[test]
fn an_explanation_says_why_each_row_does_not_run() {
    let graph = linear_classification().unwrap().with_gradients(&["weight"]).unwrap();
    let mut text = String::new();
    for name in ["dot0", "softmax", "weight", "dot1"] {
        text += &graph.explain(name).unwrap();
        text.push('\n');
    }
    assert_golden("explained.txt", &without_lines(&text));
    let error = graph.explain("nobody").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
}

#[test]
fn odd_names_are_escaped() {
    let tape = Tape::symbolic();
    let odd = "a\"b\\c\n<d>&\u{1}é日本 and so on, at a length that nobody reads";
    let x = tape.symbol(variable(odd));
    let c = tape.constant(Tensor::scalar(f64::INFINITY));
    let graph = Graph::new(&[(x * c).named("<&>"), x.sin().named("\u{202e}\u{ffff}\\")]).unwrap();
    let picture = graph.to_svg().unwrap();
    assert!(picture.contains("a&quot;b\\c\u{fffd}&lt;d&gt;&amp;\u{fffd}é日本"), "{picture}");
    let bad = |c: char| c.is_control() && c != '\n' || c == '\u{ffff}';
    assert!(!picture.contains(bad));
    let text = graph.to_dot();
    assert!(text.contains("a\\\"b\\\\c\u{fffd}<d>"), "{text}");
    assert!(graph.to_string().lines().count() < 12);
}

#[test]
fn large_graphs_are_left_to_other_tools() {
    let tape = Tape::symbolic();
    let mut y = tape.symbol(variable("x"));
    for _ in 0..600 {
        y = y.sin();
    }
    let graph = Graph::new(&[y]).unwrap();
    let error = graph.to_svg().unwrap_err();
    assert!(error.message().contains("601 nodes, pictures have 500 at most; use `to_dot`"));
    assert_eq!(graph.to_dot().matches(" -> ").count(), 601);
    assert_eq!(graph.to_string().lines().count(), 605);
}
