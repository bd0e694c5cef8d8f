//! Metrics: laws over random rows, values of scikit-learn, refusals, memory.

#[path = "../counting/mod.rs"]
mod counting;
mod laws;
mod memory;
mod obvious;
mod reference;
mod refusals;

use sparsetape::Tensor;
use sparsetape::train::metrics::{Metric, Scored};

/// Rows as numbers.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) columns: usize,
    pub(crate) scores: Vec<f64>,
    /// One per row, or as many as scores.
    pub(crate) label_columns: usize,
    pub(crate) labels: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    pub(crate) qids: Vec<i64>,
}

impl Table {
    pub(crate) fn rows(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn scores_of(&self, row: usize) -> &[f64] {
        &self.scores[row * self.columns..][..self.columns]
    }

    pub(crate) fn labels_of(&self, row: usize) -> &[f64] {
        &self.labels[row * self.label_columns..][..self.label_columns]
    }

    /// Label of a row that has one.
    pub(crate) fn label(&self, row: usize) -> f64 {
        self.labels_of(row)[0]
    }

    pub(crate) fn select(&self, rows: &[usize]) -> Table {
        Table {
            columns: self.columns,
            label_columns: self.label_columns,
            scores: rows.iter().flat_map(|&row| self.scores_of(row)).copied().collect(),
            labels: rows.iter().flat_map(|&row| self.labels_of(row)).copied().collect(),
            weights: rows.iter().map(|&row| self.weights[row]).collect(),
            qids: rows.iter().map(|&row| self.qids[row]).collect(),
        }
    }

    pub(crate) fn update(&self, metric: &mut dyn Metric) {
        let rows = self.rows();
        let scores = Tensor::dense([rows, self.columns], self.scores.clone()).unwrap();
        let labels = Tensor::dense([rows, self.label_columns], self.labels.clone()).unwrap();
        let weights = Tensor::dense([rows], self.weights.clone()).unwrap();
        let qids = Tensor::dense([rows, 1], self.qids.clone()).unwrap();
        metric.update(&Scored::new(&scores, &labels).weights(&weights).qids(&qids)).unwrap();
    }

    /// The metric's value of these rows alone.
    pub(crate) fn value(&self, metric: &mut dyn Metric) -> f64 {
        metric.reset();
        self.update(metric);
        metric.value()
    }
}

pub(crate) fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a.is_nan() && b.is_nan() || a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs())
}
