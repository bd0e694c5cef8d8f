//! Every metric once more: slow, by its definition.

use sparsetape::train::metrics::{
    Accuracy, Auc, Average, Calibration, F1, LogLoss, Mae, Metric, Mse, NdcgAtK, NormalizedEntropy,
    Precision, Recall, RecallAtK, Rmse, TopKAccuracy,
};

use super::Table;

/// A metric and its definition.
pub(crate) struct Subject(pub(crate) Box<dyn Metric>, pub(crate) Definition);

type Definition = Box<dyn Fn(&Table) -> f64>;

fn subject(metric: impl Metric + 'static, definition: impl Fn(&Table) -> f64 + 'static) -> Subject {
    Subject(Box::new(metric), Box::new(definition))
}

/// Those of classes, for this many columns of predictions.
pub(crate) fn of_classes(columns: usize) -> Vec<Subject> {
    let mut subjects = vec![
        subject(Accuracy::new(), |t| mean(t, |row| f64::from(class(t, row) == t.label(row)))),
        subject(LogLoss::new(), log_loss),
    ];
    for average in [Average::Binary, Average::Macro, Average::Micro, Average::Weighted] {
        if average == Average::Binary && columns > 2 {
            continue;
        }
        let of =
            move |ratio: fn(f64, f64, f64) -> f64| move |t: &Table| averaged(t, average, ratio);
        subjects.extend([
            subject(Precision::new().average(average), of(|hits, predicted, _| hits / predicted)),
            subject(Recall::new().average(average), of(|hits, _, actual| hits / actual)),
            subject(
                F1::new().average(average),
                of(|hits, predicted, actual| 2.0 * hits / (predicted + actual)),
            ),
        ]);
    }
    if columns > 1 {
        let among = |t: &Table, k| {
            mean(t, |row| f64::from(first_classes(t, row, k).contains(&t.label(row))))
        };
        subjects.extend((1..=columns).map(|k| subject(TopKAccuracy::new(k), move |t| among(t, k))));
    }
    if columns < 3 {
        subjects.extend([
            subject(Auc::new(), auc),
            subject(NormalizedEntropy::new(), |t| {
                let base = mean(t, |row| t.label(row));
                log_loss(t) / -(base * base.ln() + (1.0 - base) * (1.0 - base).ln())
            }),
            subject(Calibration::new(), |t| {
                let labels = mean(t, |row| t.label(row));
                if labels == 0.0 {
                    f64::NAN
                } else {
                    mean(t, |row| t.scores_of(row)[columns_of(t)]) / labels
                }
            }),
        ]);
    }
    subjects
}

pub(crate) fn of_numbers() -> Vec<Subject> {
    let errors = |t: &Table, f: fn(f64) -> f64| {
        mean(t, |row| {
            let errors = t.scores_of(row).iter().zip(t.labels_of(row)).map(|(p, y)| f(p - y));
            errors.sum::<f64>() / t.columns as f64
        })
    };
    vec![
        subject(Mse::new(), move |t| errors(t, |e| e * e)),
        subject(Rmse::new(), move |t| errors(t, |e| e * e).sqrt()),
        subject(Mae::new(), move |t| errors(t, f64::abs)),
    ]
}

pub(crate) fn of_rankings() -> Vec<Subject> {
    let ks = [1, 2, 3, 100];
    let recalls =
        ks.map(|k| subject(RecallAtK::new(k), move |t| over_queries(t, |r| recall(r, k))));
    let ndcgs = ks.map(|k| subject(NdcgAtK::new(k), move |t| over_queries(t, |r| ndcg(r, k))));
    recalls.into_iter().chain(ndcgs).collect()
}

fn columns_of(t: &Table) -> usize {
    t.columns - 1
}

fn mean(t: &Table, f: impl Fn(usize) -> f64) -> f64 {
    let total: f64 = (0..t.rows()).map(|row| t.weights[row] * f(row)).sum();
    total / t.weights.iter().sum::<f64>()
}

fn first_classes(t: &Table, row: usize, k: usize) -> Vec<f64> {
    let scores = t.scores_of(row);
    let mut classes: Vec<usize> = (0..t.columns).collect();
    classes.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    classes[..k].iter().map(|&c| c as f64).collect()
}

fn class(t: &Table, row: usize) -> f64 {
    match t.scores_of(row) {
        [p] => f64::from(*p > 0.5),
        _ => first_classes(t, row, 1)[0],
    }
}

fn log_loss(t: &Table) -> f64 {
    mean(t, |row| match (t.scores_of(row), t.label(row)) {
        ([p], 0.0) => -(1.0 - p).ln(),
        ([p], _) => -p.ln(),
        (scores, label) => -scores[label as usize].ln(),
    })
}

fn averaged(t: &Table, average: Average, ratio: fn(f64, f64, f64) -> f64) -> f64 {
    let weight = |pick: &dyn Fn(usize) -> bool| -> f64 {
        (0..t.rows()).filter(|&row| pick(row)).map(|row| t.weights[row]).sum()
    };
    let counts = |c: f64| {
        let hits = weight(&|row| class(t, row) == c && t.label(row) == c);
        [hits, weight(&|row| class(t, row) == c), weight(&|row| t.label(row) == c)]
    };
    let of = |[hits, predicted, actual]: [f64; 3]| {
        let value = ratio(hits, predicted, actual);
        if value.is_nan() { 0.0 } else { value }
    };
    let all: Vec<[f64; 3]> = (0..t.columns.max(2)).map(|c| counts(c as f64)).collect();
    let rows: f64 = t.weights.iter().sum();
    if rows == 0.0 {
        return f64::NAN;
    }
    match average {
        Average::Binary => of(all[1]),
        Average::Micro => of([0, 1, 2].map(|i| all.iter().map(|counts| counts[i]).sum())),
        Average::Weighted => all.iter().map(|&counts| counts[2] * of(counts)).sum::<f64>() / rows,
        Average::Macro => {
            let seen = all.iter().filter(|counts| counts[1] + counts[2] > 0.0);
            seen.clone().map(|&counts| of(counts)).sum::<f64>() / seen.count() as f64
        }
    }
}

/// Over all pairs.
fn auc(t: &Table) -> f64 {
    let score = |row| t.scores_of(row)[columns_of(t)];
    let (mut won, mut pairs) = (0.0, 0.0);
    for a in (0..t.rows()).filter(|&row| t.label(row) == 1.0) {
        for b in (0..t.rows()).filter(|&row| t.label(row) == 0.0) {
            let weight = t.weights[a] * t.weights[b];
            pairs += weight;
            won += weight * f64::from(score(a) > score(b))
                + 0.5 * weight * f64::from(score(a) == score(b));
        }
    }
    won / pairs
}

/// The weighted mean over queries, of relevances in all orders of descending scores.
fn over_queries(t: &Table, quality: impl Fn(&[f64]) -> f64) -> f64 {
    let (mut total, mut weights) = (0.0, 0.0);
    let mut queries = t.qids.clone();
    queries.sort();
    queries.dedup();
    for query in queries {
        let of_query = |row: &usize| t.qids[*row] == query && t.weights[*row] > 0.0;
        let rows: Vec<usize> = (0..t.rows()).filter(of_query).collect();
        if rows.iter().all(|&row| t.label(row) == 0.0) {
            continue;
        }
        let mut orders = Vec::new();
        permutations(&rows, &mut Vec::new(), &mut orders);
        orders.retain(|order| order.is_sorted_by(|&a, &b| t.scores[a] >= t.scores[b]));
        let relevances =
            |order: &Vec<usize>| order.iter().map(|&row| t.label(row)).collect::<Vec<_>>();
        let values: f64 = orders.iter().map(|order| quality(&relevances(order))).sum();
        let weight = rows.iter().map(|&row| t.weights[row]).sum::<f64>() / rows.len() as f64;
        total += weight * values / orders.len() as f64;
        weights += weight;
    }
    total / weights
}

fn permutations(rest: &[usize], chosen: &mut Vec<usize>, orders: &mut Vec<Vec<usize>>) {
    if rest.is_empty() {
        orders.push(chosen.clone());
    }
    for i in 0..rest.len() {
        chosen.push(rest[i]);
        permutations(&[&rest[..i], &rest[i + 1..]].concat(), chosen, orders);
        chosen.pop();
    }
}

fn recall(relevances: &[f64], k: usize) -> f64 {
    let relevant = |r: &[f64]| r.iter().filter(|r| **r > 0.0).count() as f64;
    relevant(&relevances[..k.min(relevances.len())]) / relevant(relevances)
}

fn ndcg(relevances: &[f64], k: usize) -> f64 {
    let gain = |r: &[f64]| -> f64 {
        r.iter()
            .take(k)
            .enumerate()
            .map(|(i, r)| (2f64.powf(*r) - 1.0) / (i as f64 + 2.0).log2())
            .sum()
    };
    let mut best = relevances.to_vec();
    best.sort_by(|a, b| b.total_cmp(a));
    gain(relevances) / gain(&best)
}
