//! What holds for every metric.

use proptest::prelude::*;
use sparsetape::Tensor;
use sparsetape::train::metrics::Scored;

use super::obvious::{Subject, of_classes, of_numbers, of_rankings};
use super::{Table, close};

/// Some probabilities, so that many are the same.
fn probability() -> impl Strategy<Value = f64> {
    (0..8u8).prop_map(|i| f64::from(2 * i + 1) / 16.0)
}

fn weight() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![0.0, 0.1, 1.0, 1.0, 3.7])
}

/// Up to 20 rows of 4 queries, which are mixed.
fn table(
    columns: usize,
    label_columns: usize,
    label: impl Strategy<Value = f64> + Clone + 'static,
) -> impl Strategy<Value = Table> {
    (0..20usize).prop_flat_map(move |rows| {
        let scores = prop::collection::vec(probability(), rows * columns);
        let labels = prop::collection::vec(label.clone(), rows * label_columns);
        let weights = prop::collection::vec(weight(), rows);
        (scores, labels, weights).prop_map(move |(scores, labels, weights)| {
            let qids = (0..rows).map(|row| [7, -3, i64::MAX, 0][row % 4]).collect();
            Table { columns, label_columns, scores, labels, weights, qids }
        })
    })
}

fn class(classes: usize) -> impl Strategy<Value = f64> + Clone {
    (0..classes).prop_map(|class| class as f64)
}

fn table_of_classes() -> impl Strategy<Value = Table> {
    (1..5usize).prop_flat_map(|columns| table(columns, 1, class(columns.max(2))))
}

fn table_of_numbers() -> impl Strategy<Value = Table> {
    (1..4usize).prop_flat_map(|columns| table(columns, columns, -3.0..3.0f64))
}

fn table_of_rankings() -> impl Strategy<Value = Table> {
    table(1, 1, prop::sample::select(vec![0.0, 0.0, 1.0, 2.0, 2.5]))
}

/// An order of the rows, and where batches of them end.
fn cuts() -> impl Strategy<Value = (u64, Vec<usize>)> {
    (any::<u64>(), prop::collection::vec(0..8usize, 0..6))
}

fn shuffled(rows: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|&row| {
        (row as u64 + 1).wrapping_mul(seed | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    order
}

fn check(table: &Table, subjects: Vec<Subject>, (seed, sizes): &(u64, Vec<usize>)) {
    for Subject(mut metric, definition) in subjects {
        let name = metric.name();
        let value = table.value(&mut *metric);
        let wanted = definition(table);
        assert!(close(value, wanted, 1e-12), "{name} is {value}, not {wanted}: {table:?}");

        // Rows in another order, in batches of any size, some of no rows.
        metric.reset();
        assert!(metric.value().is_nan(), "{name} of no rows");
        let order = shuffled(table.rows(), *seed);
        let mut rest = &order[..];
        for size in sizes.iter().copied().chain([usize::MAX]) {
            let (batch, after) = rest.split_at(size.min(rest.len()));
            table.select(batch).update(&mut *metric);
            rest = after;
        }
        let batched = metric.value();
        assert!(close(value, batched, 1e-15), "{name} is {value}, by batches {batched}: {table:?}");
    }
}

/// Rows of weight 0 are as good as absent.
fn check_padding(table: &Table, subjects: Vec<Subject>) {
    let twice: Vec<usize> = (0..table.rows()).chain(0..table.rows()).collect();
    let mut padded = table.select(&twice);
    padded.weights[table.rows()..].fill(0.0);
    for Subject(mut metric, _) in subjects {
        let (value, other) = (table.value(&mut *metric), padded.value(&mut *metric));
        assert!(
            close(value, other, 0.0),
            "{} is {value}, padded {other}: {table:?}",
            metric.name()
        );
    }
}

/// A row of weight 2 is the row twice.
fn check_repeated(table: &Table, subjects: Vec<Subject>, seed: u64) {
    let again: Vec<usize> = (0..table.rows()).filter(|row| seed >> row & 1 == 1).collect();
    let all: Vec<usize> = (0..table.rows()).chain(again.iter().copied()).collect();
    let repeated = table.select(&all);
    let mut heavy = table.clone();
    again.iter().for_each(|&row| heavy.weights[row] *= 2.0);
    for Subject(mut metric, _) in subjects {
        let (value, other) = (heavy.value(&mut *metric), repeated.value(&mut *metric));
        assert!(close(value, other, 1e-14), "{} is {value}, of pairs {other}", metric.name());
    }
}

/// Element types and trailing axes of 1 change nothing.
fn check_types(table: &Table, subjects: Vec<Subject>) {
    let rows = table.rows();
    let shape = if table.columns == 1 { vec![rows] } else { vec![rows, table.columns] };
    let scores = table.scores.iter().map(|&p| p as f32).collect::<Vec<_>>();
    let scores = Tensor::dense(shape, scores).unwrap();
    let labels = table.labels.iter().map(|&y| y as i64).collect::<Vec<_>>();
    let labels = Tensor::dense([rows], labels).unwrap();
    let weights = Tensor::dense([rows, 1], table.weights.clone()).unwrap();
    for Subject(mut metric, _) in subjects {
        let value = table.value(&mut *metric);
        metric.reset();
        metric.update(&Scored::new(&scores, &labels).weights(&weights)).unwrap();
        assert!(close(value, metric.value(), 0.0), "{}", metric.name());
    }
}

proptest! {
    #[test]
    fn classes(table in table_of_classes(), cuts in cuts()) {
        check(&table, of_classes(table.columns), &cuts);
        check_padding(&table, of_classes(table.columns));
        check_repeated(&table, of_classes(table.columns), cuts.0);
        check_types(&table, of_classes(table.columns));
    }

    #[test]
    fn numbers(table in table_of_numbers(), cuts in cuts()) {
        check(&table, of_numbers(), &cuts);
        check_padding(&table, of_numbers());
        check_repeated(&table, of_numbers(), cuts.0);
    }

    #[test]
    fn rankings(table in table_of_rankings(), cuts in cuts()) {
        check(&table, of_rankings(), &cuts);
        check_padding(&table, of_rankings());
    }
}
