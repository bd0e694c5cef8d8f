//! What gradient checks report.

use std::fmt;

use super::differences::Verdict;
use crate::tensor::Shape;

/// One entry of a gradient.
///
/// ```
/// use sparsetape::Tensor;
/// let x = Tensor::dense([1], vec![0.0f64])?;
/// let error = sparsetape::check::gradcheck(&[x], |_, v| v[0].detach() * 2.0).unwrap_err();
/// assert!(error.message().contains("input 0, entry (0,): backward 0.0, differences"));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// 1, or 2 for the gradient of a gradient.
    pub order: usize,
    /// Which input; at second order, one more than there are for the weights of the result.
    pub input: usize,
    /// The position in the input, one index per axis.
    pub index: Shape,
    /// From the backward pass.
    pub analytic: f64,
    /// From central differences.
    pub numeric: f64,
    /// The slope a little to the left.
    pub left: f64,
    /// The slope a little to the right.
    pub right: f64,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { order, input, index, analytic, numeric, left, right } = self;
        write!(
            f,
            "order {order}, input {input}, entry {index}: backward {analytic:?}, differences \
             {numeric:?} (left {left:.6}, right {right:.6})"
        )
    }
}

/// What [`gradcheck`](super::gradcheck) found.
///
/// ```
/// use sparsetape::Tensor;
/// let x = Tensor::dense([2], vec![0.0f64, 3.0])?;
/// let report = sparsetape::check::gradcheck(&[x], |_, v| v[0].abs())?;
/// assert!(report.max_error < 1.0);
/// assert!(report.kinks.iter().all(|kink| kink.index[..] == [0]));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Entries that agree, over all orders.
    pub compared: usize,
    /// Entries without a derivative: kinks, steps, poles, edges of the domain. They are not compared.
    pub kinks: Vec<Entry>,
    /// The largest error, as a part of what is allowed.
    pub max_error: f64,
    /// The order that is being compared.
    pub(super) order: usize,
    pub(super) first_order: usize,
    differing: Vec<(f64, Entry)>,
}

impl Report {
    pub(super) fn of_first_order() -> Self {
        Report { order: 1, ..Report::default() }
    }

    pub(super) fn count(&mut self, entry: Entry, verdict: Verdict, error: f64) {
        match verdict {
            Verdict::Agree => {
                self.compared += 1;
                self.max_error = self.max_error.max(error);
            }
            Verdict::Kink => self.kinks.push(entry),
            Verdict::Differ => self.differing.push((error, entry)),
        }
    }

    /// The worst entries that differ, if any do.
    pub(super) fn fault(&self) -> Option<String> {
        let mut worst: Vec<&(f64, Entry)> = self.differing.iter().collect();
        // NaN is worst of all.
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        let lines: Vec<String> = worst.iter().take(5).map(|(_, e)| format!("\n  {e}")).collect();
        let (bad, all) = (worst.len(), worst.len() + self.compared);
        (bad > 0).then(|| format!("{bad} of {all} entries differ, the worst: {}", lines.concat()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (compared, kinks, error) = (self.compared, self.kinks.len(), self.max_error);
        write!(
            f,
            "{compared} entries compared, {kinks} kinks, largest error {error:.1e} of allowed"
        )
    }
}
