//! Precision, recall and their mean.

use super::decision::Decision;
use super::sum::Sum;
use super::{Metric, Scored};
use crate::error::{Error, ErrorKind, Result};

/// Of which classes [`Precision`], [`Recall`] and [`F1`] are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Average {
    /// Of class 1, the positive one of two.
    #[default]
    Binary,
    /// The mean over the classes that rows have or are put into.
    Macro,
    /// Of all classes' counts together; then all three are the accuracy.
    Micro,
    /// The mean over classes, each weighted by its rows.
    Weighted,
}

/// The weight of a class's rows.
#[derive(Clone, Debug, Default)]
struct Class {
    /// Of the class and put into it.
    hits: Sum,
    /// Put into it.
    predicted: Sum,
    /// Of the class.
    actual: Sum,
}

/// Rows by the class that they have and the one that they are put into.
#[derive(Clone, Debug, Default)]
struct Confusion {
    decision: Decision,
    average: Average,
    classes: Vec<Class>,
}

impl Confusion {
    fn name(&self, metric: &str) -> String {
        match self.average {
            Average::Binary => metric.into(),
            Average::Macro => format!("{metric}-macro"),
            Average::Micro => format!("{metric}-micro"),
            Average::Weighted => format!("{metric}-weighted"),
        }
    }

    #[track_caller]
    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let rows = scored.classes()?;
        self.decision.check(&rows)?;
        let classes = rows.classes();
        if self.average == Average::Binary && classes > 2 {
            let message = format!("{classes} classes: choose Average::Macro, Micro or Weighted");
            return Err(Error::new(ErrorKind::Value, message));
        }
        if !self.classes.is_empty() && self.classes.len() != classes {
            let message = format!("{classes} classes, but {} before", self.classes.len());
            return Err(Error::new(ErrorKind::Shape, message));
        }
        self.classes.resize_with(classes, Class::default);
        for row in rows.counted() {
            let (actual, predicted) = (rows.class(row), self.decision.class(&rows, row));
            let weight = rows.weight(row);
            self.classes[actual].actual.add(weight);
            self.classes[predicted].predicted.add(weight);
            if actual == predicted {
                self.classes[actual].hits.add(weight);
            }
        }
        Ok(())
    }

    /// The average of a ratio of counts: hits, predicted, actual.
    fn value(&self, ratio: impl Fn([f64; 3]) -> f64) -> f64 {
        let counts = |class: &Class| [&class.hits, &class.predicted, &class.actual].map(Sum::value);
        let sum = |f: &dyn Fn([f64; 3]) -> f64| {
            let mut sum = Sum::default();
            self.classes.iter().for_each(|class| sum.add(f(counts(class))));
            sum.value()
        };
        let rows = sum(&|[_, _, actual]| actual);
        if rows == 0.0 {
            return f64::NAN;
        }
        match self.average {
            Average::Binary => ratio(counts(&self.classes[1])),
            Average::Micro => ratio([0, 1, 2].map(|i| sum(&|counts| counts[i]))),
            Average::Weighted => sum(&|counts| counts[2] * ratio(counts)) / rows,
            Average::Macro => {
                let seen = |[_, predicted, actual]: [f64; 3]| predicted + actual > 0.0;
                // The ratio of a class that is not seen is 0.
                sum(&ratio) / sum(&|counts| f64::from(seen(counts)))
            }
        }
    }
}

/// 0 where there is nothing to divide by.
fn over(hits: f64, of: f64) -> f64 {
    if of == 0.0 { 0.0 } else { hits / of }
}

macro_rules! of_confusion {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $ratio:expr;)*) => { $(
        $(#[$doc])*
        ///
        /// Of class 1, unless an [average](Self::average) over classes is chosen. Predictions and labels are those of
        /// [`Accuracy`](super::Accuracy). As in scikit-learn, the value of a class is 0 where there is nothing to
        /// divide by, and NaN is left to no rows at all.
        ///
        /// # Errors
        /// Besides [those of all metrics](super#errors): [`ErrorKind::Index`] for a label that is none of the classes,
        /// [`ErrorKind::Value`] for one that is no whole number, for more than two classes with
        /// [`Average::Binary`] or a threshold, [`ErrorKind::Shape`] for another number of classes than
        /// before.
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            confusion: Confusion,
        }

        impl $name {
            /// Of class 1, above 0.5; of no rows yet.
            pub fn new() -> Self {
                $name::default()
            }

            /// The finite number that the prediction must exceed for class 1, of two columns the second:
            /// [as in `Accuracy`](super::Accuracy::threshold).
            pub fn threshold(mut self, threshold: f64) -> Self {
                self.confusion.decision.threshold = Some(threshold);
                self
            }

            /// Of which classes it is.
            pub fn average(mut self, average: Average) -> Self {
                self.confusion.average = average;
                self
            }
        }

        impl Metric for $name {
            fn name(&self) -> String {
                self.confusion.name($text)
            }

            fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
                self.confusion.update(scored).map_err(|e| scored.refused_by(self, e))
            }

            fn value(&self) -> f64 {
                self.confusion.value($ratio)
            }

            fn reset(&mut self) {
                self.confusion.classes.clear();
            }

            fn larger_is_better(&self) -> bool {
                true
            }
        }
    )* };
}

of_confusion! {
    /// The share of the rows put into a class that are of it.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// use sparsetape::train::metrics::{Metric, Precision, Scored};
    /// let mut precision = Precision::new().threshold(0.3);
    /// let p = Tensor::dense([4], vec![0.9f32, 0.4, 0.2, 0.1])?;
    /// precision.update(&Scored::new(&p, &Tensor::dense([4], vec![1i64, 0, 1, 0])?))?;
    /// assert_eq!(precision.value(), 0.5);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    Precision = "precision", |[hits, predicted, _]| over(hits, predicted);

    /// The share of a class's rows that are put into it.
    Recall = "recall", |[hits, _, actual]| over(hits, actual);

    /// The harmonic mean of [`Precision`] and [`Recall`]. (MXNet: `metric.F1` with `average="micro"`; its
    /// default is a mean over batches.)
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// use sparsetape::train::metrics::{Average, F1, Metric, Scored};
    /// let mut f1 = F1::new().average(Average::Macro);
    /// let scores = Tensor::dense([2, 3], vec![0.1f32, 0.7, 0.2, 0.4, 0.3, 0.3])?;
    /// f1.update(&Scored::new(&scores, &Tensor::dense([2], vec![1i64, 2])?))?;
    /// assert_eq!((f1.name().as_str(), f1.value()), ("f1-macro", 1.0 / 3.0));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    F1 = "f1", |[hits, predicted, actual]| over(2.0 * hits, predicted + actual);
}
