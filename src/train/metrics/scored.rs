//! Rows with their predictions and labels, and what of them is checked.

use std::fmt::Display;

use super::Metric;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::dtype::each_dtype;
use crate::tensor::{DType, Element, Slice, Tensor, View, row_len};

/// Values that are looked at at once.
const BLOCK: usize = 64;

/// Rows with their predictions: what a metric is updated with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Scored<'a> {
    /// What the model says, dense floats: `(rows,)`, `(rows, 1)` or `(rows, classes)`.
    pub predictions: &'a Tensor,
    /// What is true, dense, of any element type: `(rows,)` or `(rows, 1)`; for regressions the shape
    /// of the predictions.
    pub labels: &'a Tensor,
    /// The query that each row belongs to, i64, `(rows,)` or `(rows, 1)`.
    pub qids: Option<&'a Tensor>,
    /// How much each row counts, finite and not negative, `(rows,)` or `(rows, 1)`; 1 without.
    pub weights: Option<&'a Tensor>,
}

impl<'a> Scored<'a> {
    /// Rows without query ids, which all count the same.
    pub fn new(predictions: &'a Tensor, labels: &'a Tensor) -> Self {
        Scored { predictions, labels, qids: None, weights: None }
    }

    /// The same rows, each with the query that it belongs to.
    pub fn qids(self, qids: &'a Tensor) -> Self {
        Scored { qids: Some(qids), ..self }
    }

    /// The same rows, each with how much it counts. A row of weight 2 is the row twice, one of weight 0
    /// is left out: rows that only [pad](crate::data::LastBatch::Pad) a batch, say.
    pub fn weights(self, weights: &'a Tensor) -> Self {
        Scored { weights: Some(weights), ..self }
    }

    /// The error with which a metric refuses these rows, complete.
    pub(super) fn refused_by(&self, metric: &dyn Metric, error: Error) -> Error {
        error.operator(metric.name()).operands([self.predictions, self.labels].map(Tensor::ty))
    }

    /// Labels are 0 or 1; there are one or two columns of predictions.
    #[track_caller]
    pub(super) fn binary(&self) -> Result<Rows<'a>> {
        let rows = self.one_label_per_row()?;
        if rows.columns > 2 {
            let message = format!(
                "{} columns of predictions; a binary metric takes 1, or 2 with the positive class's last",
                rows.columns
            );
            return Err(Error::new(ErrorKind::Shape, message));
        }
        rows.check_labels(ErrorKind::Value, "is not 0 or 1", |y| y == 0.0 || y == 1.0)?;
        Ok(rows)
    }

    /// Labels are numbers of classes: of the columns of predictions, or 0 and 1 if there is one column.
    #[track_caller]
    pub(super) fn classes(&self) -> Result<Rows<'a>> {
        let rows = self.one_label_per_row()?;
        rows.check_labels(ErrorKind::Value, "is not the number of a class", |y| y.trunc() == y)?;
        let classes = rows.classes();
        rows.check_labels(
            ErrorKind::Index,
            format_args!("is not one of {classes} classes, from 0 on"),
            |y| 0.0 <= y && y < classes as f64,
        )?;
        Ok(rows)
    }

    /// Labels have the shape of the predictions.
    #[track_caller]
    pub(super) fn regression(&self) -> Result<Rows<'a>> {
        let rows = self.rows()?;
        if column(self.labels.shape()) != column(self.predictions.shape()) {
            let (labels, predictions) = (self.labels.shape(), self.predictions.shape());
            let message = format!("labels are {labels}, but predictions are {predictions}");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        check_finite("label", rows.labels, rows.columns)?;
        Ok(rows)
    }

    /// Labels are relevances, which 2 to the power of does not overflow; the rows' queries.
    #[track_caller]
    pub(super) fn ranking(&self) -> Result<(Rows<'a>, &'a [i64])> {
        let rows = self.one_label_per_row()?;
        if rows.columns != 1 {
            let message = format!("{} columns of predictions; a ranking takes 1", rows.columns);
            return Err(Error::new(ErrorKind::Shape, message));
        }
        let outside = "is not a relevance, from 0 to 100";
        rows.check_labels(ErrorKind::Value, outside, |y| (0.0..=100.0).contains(&y))?;
        let Some(qids) = self.qids else {
            let message = "there are no query ids: `Dataset::with_qids`, or `Scored::qids`";
            return Err(Error::new(ErrorKind::Value, message));
        };
        match per_row("query ids", qids, rows.len)? {
            Slice::I64(qids) => Ok((rows, qids)),
            other => {
                let message = format!("query ids are {}, not i64; use `cast`", other.dtype());
                Err(Error::new(ErrorKind::DType, message))
            }
        }
    }

    #[track_caller]
    fn one_label_per_row(&self) -> Result<Rows<'a>> {
        let rows = self.rows()?;
        if self.predictions.ndim() > 2 || rows.columns == 0 {
            let shape = self.predictions.shape();
            let message = format!("predictions are {shape}, not (rows,) or (rows, columns)");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        per_row("labels", self.labels, rows.len)?;
        Ok(rows)
    }

    /// Finite predictions, labels, and weights that can be such.
    #[track_caller]
    fn rows(&self) -> Result<Rows<'a>> {
        let scores = dense("predictions", self.predictions)?;
        let labels = dense("labels", self.labels)?;
        let shape = self.predictions.shape();
        let Some(&len) = shape.first() else {
            return Err(Error::new(ErrorKind::Shape, "predictions are a scalar, without rows"));
        };
        if scores.dtype() == DType::I64 {
            return Err(Error::new(
                ErrorKind::DType,
                "predictions are i64, not floats; use `cast`",
            ));
        }
        let columns = row_len(shape);
        check_finite("prediction", scores, columns)?;
        let weights = match self.weights {
            Some(weights) => Some(checked_weights(weights, len)?),
            None => None,
        };
        Ok(Rows { scores, columns, labels, weights, len })
    }
}

/// Rows that a metric takes: nothing of them needs to be checked any more.
pub(super) struct Rows<'a> {
    pub(super) scores: Slice<'a>,
    /// Of the predictions.
    pub(super) columns: usize,
    pub(super) len: usize,
    labels: Slice<'a>,
    weights: Option<Slice<'a>>,
}

impl Rows<'_> {
    /// How many classes the predictions tell apart: one column holds the scores of class 1.
    pub(super) fn classes(&self) -> usize {
        self.columns.max(2)
    }

    /// The score of the positive class.
    #[inline]
    pub(super) fn positive(&self, row: usize) -> f64 {
        self.scores.get_f64(row * self.columns + self.columns - 1)
    }

    /// Label `i`; there is one per row, or one per prediction.
    #[inline]
    pub(super) fn label(&self, i: usize) -> f64 {
        self.labels.get_f64(i)
    }

    #[inline]
    pub(super) fn class(&self, row: usize) -> usize {
        self.label(row) as usize
    }

    /// The rows of positive weight.
    #[inline]
    pub(super) fn counted(&self) -> impl Iterator<Item = usize> {
        (0..self.len).filter(|&row| self.weight(row) > 0.0)
    }

    #[inline]
    pub(super) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights.get_f64(row))
    }

    /// How many classes are before this one in descending order of scores. Of equal ones, the first
    /// comes first.
    #[inline]
    pub(super) fn rank(&self, row: usize, class: usize) -> usize {
        fn rank<T: Element>(scores: &[T], class: usize) -> usize {
            let own = scores[class];
            let before = scores[..class].iter().filter(|score| **score >= own).count();
            before + scores[class..].iter().filter(|score| **score > own).count()
        }
        let row = row * self.columns..(row + 1) * self.columns;
        each_dtype!(Slice::self.scores, scores => rank(&scores[row], class))
    }

    /// The class of the largest score, the first of equal ones.
    #[inline]
    pub(super) fn argmax(&self, row: usize) -> usize {
        fn argmax<T: Element>(scores: &[T]) -> usize {
            (1..scores.len()).fold(0, |best, c| if scores[c] > scores[best] { c } else { best })
        }
        let row = row * self.columns..(row + 1) * self.columns;
        each_dtype!(Slice::self.scores, scores => argmax(&scores[row]))
    }

    /// All predictions are probabilities.
    #[track_caller]
    pub(super) fn check_probabilities(&self) -> Result<()> {
        let probability = |p| (0.0..=1.0).contains(&p);
        let fault = (ErrorKind::Value, "is not a probability");
        check("prediction", self.scores, self.columns, fault, probability)
    }

    #[track_caller]
    fn check_labels(
        &self,
        kind: ErrorKind,
        fault: impl Display,
        good: impl Fn(f64) -> bool,
    ) -> Result<()> {
        check("label", self.labels, 1, (kind, fault), good)
    }
}

/// Refuses the first value that is not good, with where it is.
#[track_caller]
fn check(
    what: &str,
    values: Slice,
    columns: usize,
    (kind, fault): (ErrorKind, impl Display),
    good: impl Fn(f64) -> bool,
) -> Result<()> {
    let bad = each_dtype!(Slice::values, v => position(v, |x| !good(x.to_f64())));
    let Some(i) = bad else { return Ok(()) };
    let value = each_dtype!(Slice::values, v => v[i].to_string());
    let (row, column) = (i / columns, i % columns);
    let column = if columns == 1 { String::new() } else { format!(", column {column}") };
    Err(Error::new(kind, format!("{what} {value} in row {row}{column} {fault}")))
}

/// Where the first value is that is bad; without a branch for each that is not.
fn position<T: Copy>(values: &[T], bad: impl Fn(T) -> bool) -> Option<usize> {
    let any = |block: &[T]| block.iter().fold(false, |any, &x| any | bad(x));
    let start = BLOCK * values.chunks(BLOCK).position(any)?;
    Some(start + values[start..].iter().position(|&x| bad(x))?)
}

#[track_caller]
fn check_finite(what: &str, values: Slice, columns: usize) -> Result<()> {
    check(what, values, columns, (ErrorKind::NonFinite, "is not finite"), f64::is_finite)
}

#[track_caller]
fn checked_weights(weights: &Tensor, rows: usize) -> Result<Slice<'_>> {
    let weights = per_row("weights", weights, rows)?;
    let fault = (ErrorKind::Value, "is not finite and at least 0");
    check("weight", weights, 1, fault, |w| w.is_finite() && w >= 0.0)?;
    Ok(weights)
}

/// The values of a dense tensor that has one for each row.
#[track_caller]
fn per_row<'a>(what: &str, tensor: &'a Tensor, rows: usize) -> Result<Slice<'a>> {
    if column(tensor.shape()) != [rows] {
        let shape = tensor.shape();
        let message =
            format!("{what} are {shape}, but there are {rows} rows, with one number each");
        return Err(Error::new(ErrorKind::Shape, message));
    }
    dense(what, tensor)
}

#[track_caller]
fn dense<'a>(what: &str, tensor: &'a Tensor) -> Result<Slice<'a>> {
    match tensor.view() {
        View::Dense(dense) => Ok(dense.values()),
        _ => {
            let message = format!("{what} are {}, not dense; use `cast_storage`", tensor.stype());
            Err(Error::new(ErrorKind::Stype, message))
        }
    }
}

/// `(rows,)` for `(rows, 1)`.
fn column(shape: &[usize]) -> &[usize] {
    match shape {
        [_, 1] => &shape[..1],
        _ => shape,
    }
}
