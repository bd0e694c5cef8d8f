//! Whether the best rows of each query come first.

use super::sum::{Mean, Sum};
use super::{Metric, Scored};
use crate::error::{Error, ErrorKind, Result};

/// The rows of all queries.
#[derive(Clone, Debug)]
struct Ranking {
    k: usize,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    query: i64,
    score: f64,
    relevance: f64,
    weight: f64,
}

impl Ranking {
    #[track_caller]
    fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
        let (rows, queries) = scored.ranking()?;
        if self.k == 0 {
            return Err(Error::new(ErrorKind::Value, "the first 0 rows of a query"));
        }
        self.rows.extend(rows.counted().map(|row| Row {
            query: queries[row],
            score: rows.positive(row),
            relevance: rows.label(row),
            weight: rows.weight(row),
        }));
        Ok(())
    }

    /// The mean over queries of what `quality` gives for the rows of one, by descending score, and `k`.
    fn value(&self, mut quality: impl FnMut(&[Row], usize) -> f64) -> f64 {
        let mut rows = self.rows.clone();
        // By everything: nothing depends on the order that rows came in. Zeros tie whatever their sign.
        rows.sort_unstable_by(|a, b| {
            let score = (b.score + 0.0).total_cmp(&(a.score + 0.0));
            let rest = a.relevance.total_cmp(&b.relevance).then(a.weight.total_cmp(&b.weight));
            a.query.cmp(&b.query).then(score).then(rest)
        });
        let mut mean = Mean::default();
        for query in rows.chunk_by(|a, b| a.query == b.query) {
            if query.iter().all(|row| row.relevance == 0.0) {
                continue;
            }
            let mut weight = Mean::default();
            query.iter().for_each(|row| weight.add(row.weight, 1.0));
            mean.add(quality(query, self.k), weight.value());
        }
        mean.value()
    }
}

/// The sum over the first `k` ranks of `gain` times `discount`, where rows of one score share their ranks: the mean
/// over all orders that these may have.
fn discounted(
    rows: &[Row],
    k: usize,
    gain: impl Fn(&Row) -> f64,
    discount: impl Fn(usize) -> f64,
) -> f64 {
    let (mut total, mut rank) = (Sum::default(), 0);
    for tied in rows.chunk_by(|a, b| a.score == b.score) {
        let (mut gains, mut discounts) = (Sum::default(), Sum::default());
        tied.iter().for_each(|row| gains.add(gain(row)));
        (rank..k.min(rank + tied.len())).for_each(|rank| discounts.add(discount(rank)));
        total.add(gains.value() * discounts.value() / tied.len() as f64);
        rank += tied.len();
    }
    total.value()
}

/// The share of the relevant rows that are among the first `k`.
fn recall(rows: &[Row], k: usize) -> f64 {
    let relevant = |row: &Row| f64::from(row.relevance > 0.0);
    discounted(rows, k, relevant, |_| 1.0) / rows.iter().map(relevant).sum::<f64>()
}

fn gain(relevance: f64) -> f64 {
    libm::exp2(relevance) - 1.0
}

/// Of ranks from 0 on.
fn discount(rank: usize) -> f64 {
    1.0 / libm::log2(rank as f64 + 2.0)
}

/// The discounted gain over that of the best order.
fn ndcg(rows: &[Row], k: usize, relevances: &mut Vec<f64>) -> f64 {
    relevances.clear();
    relevances.extend(rows.iter().map(|row| row.relevance));
    relevances.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut ideal = Sum::default();
    for (rank, &relevance) in relevances.iter().take(k).enumerate() {
        ideal.add(gain(relevance) * discount(rank));
    }
    discounted(rows, k, |row| gain(row.relevance), discount) / ideal.value()
}

macro_rules! of_ranking {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $quality:expr;)*) => { $(
        $(#[$doc])*
        ///
        /// Predictions are scores of any scale, one per row; labels are relevances from 0 to 100, 0 for irrelevant
        /// rows. The rows of a query, those of one [id](Scored::qids), may be in any order and in several batches.
        /// Rows of one score come in any order: the value is the mean over all of them, as in scikit-learn. A query
        /// with fewer than `k` rows is taken as it is; queries without a relevant row are left out. A query's weight
        /// is the mean of its rows' weights; rows of weight 0 are left out.
        ///
        /// It keeps 32 bytes for each row of positive weight; [`value`](Metric::value) sorts a copy of them.
        ///
        /// # Errors
        /// Besides [those of all metrics](super#errors): [`ErrorKind::Value`] without query ids, for k = 0, or for a
        /// label that is no relevance; [`ErrorKind::DType`] for query ids that are not i64.
        #[derive(Clone, Debug)]
        pub struct $name {
            ranking: Ranking,
        }

        impl $name {
            /// Of the first `k` rows of each query; of no rows yet.
            pub fn new(k: usize) -> Self {
                $name { ranking: Ranking { k, rows: Vec::new() } }
            }
        }

        impl Metric for $name {
            fn name(&self) -> String {
                format!($text, self.ranking.k)
            }

            fn update(&mut self, scored: &Scored<'_>) -> Result<()> {
                self.ranking.update(scored).map_err(|e| scored.refused_by(self, e))
            }

            fn value(&self) -> f64 {
                self.ranking.value($quality)
            }

            fn reset(&mut self) {
                self.ranking.rows.clear();
            }

            fn larger_is_better(&self) -> bool {
                true
            }
        }
    )* };
}

of_ranking! {
    /// The share of a query's relevant rows that are among its `k` of the largest scores, as a mean over queries.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// use sparsetape::train::metrics::{Metric, RecallAtK, Scored};
    /// let mut recall = RecallAtK::new(1);
    /// let scores = Tensor::dense([3], vec![0.9f32, 0.4, 0.2])?;
    /// let relevances = Tensor::dense([3], vec![1i64, 1, 0])?;
    /// let queries = Tensor::dense([3], vec![7i64, 7, 7])?;
    /// recall.update(&Scored::new(&scores, &relevances).qids(&queries))?;
    /// assert_eq!((recall.name().as_str(), recall.value()), ("recall@1", 0.5));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    RecallAtK = "recall@{}", recall;

    /// The normalized discounted cumulative gain of the first `k` rows of each query, as a mean over queries: Σ (2^r −
    /// 1) / log₂(i + 1), over i = 1 .. k where r is the relevance of the i-th row by descending score, divided by
    /// what the best order gives.
    ///
    /// ```
    /// use sparsetape::Tensor;
    /// use sparsetape::train::metrics::{Metric, NdcgAtK, Scored};
    /// let mut ndcg = NdcgAtK::new(10);
    /// let scores = Tensor::dense([2], vec![0.9f32, 0.4])?;
    /// let relevances = Tensor::dense([2], vec![0i64, 2])?;
    /// let queries = Tensor::dense([2], vec![7i64, 7])?;
    /// ndcg.update(&Scored::new(&scores, &relevances).qids(&queries))?;
    /// assert!((ndcg.value() - 1.0 / 3f64.log2()).abs() < 1e-15);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    NdcgAtK = "ndcg@{}", {
        let mut relevances = Vec::new();
        move |rows: &[Row], k| ndcg(rows, k, &mut relevances)
    };
}
