//! Sums whose value does not depend on how rows were cut into batches.

/// A sum in twice the precision of f64: what each addition rounds off is summed too (Knuth's two-sum;
/// Ogita, Rump and Oishi's Sum2). The order of terms of one sign shows below 1e-15 only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    #[inline]
    pub(super) fn add(&mut self, x: f64) {
        let sum = self.high + x;
        let added = sum - self.high;
        self.low += (self.high - (sum - added)) + (x - added);
        self.high = sum;
    }

    /// The sum, rounded once. An infinite one has no low part.
    pub(super) fn value(&self) -> f64 {
        if self.high.is_finite() { self.high + self.low } else { self.high }
    }
}

/// A weighted mean.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    total: Sum,
    weight: Sum,
}

impl Mean {
    #[inline]
    pub(super) fn add(&mut self, x: f64, weight: f64) {
        self.add_total(x * weight, weight);
    }

    /// Of several elements: their weighted total and their weight.
    #[inline]
    pub(super) fn add_total(&mut self, total: f64, weight: f64) {
        self.total.add(total);
        self.weight.add(weight);
    }

    /// NaN without weight.
    pub(super) fn value(&self) -> f64 {
        self.total.value() / self.weight.value()
    }
}
