//! Values of scikit-learn: `fixtures/make.py` made them.

use serde_json::Value;
use sparsetape::Tensor;
use sparsetape::train::metrics::{
    Accuracy, Auc, Average, F1, LogLoss, Mae, Metric, Mse, NdcgAtK, NormalizedEntropy, Precision,
    Recall, Rmse, Scored, TopKAccuracy,
};

use super::close;

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn tensor(values: &Value) -> Tensor {
    let values = numbers(values);
    Tensor::dense([values.len()], values).unwrap()
}

fn average(name: &str) -> Average {
    match name {
        "binary" => Average::Binary,
        "macro" => Average::Macro,
        "micro" => Average::Micro,
        "weighted" => Average::Weighted,
        _ => panic!("{name}"),
    }
}

macro_rules! of_confusion {
    ($metric:ident, $case:expr) => {{
        let metric = $metric::new().average(average($case["average"].as_str().unwrap()));
        match $case["threshold"].as_f64() {
            Some(threshold) => Box::new(metric.threshold(threshold)),
            None => Box::new(metric),
        }
    }};
}

fn metric(case: &Value) -> Box<dyn Metric> {
    let k = || case["k"].as_u64().unwrap() as usize;
    match case["metric"].as_str().unwrap() {
        "accuracy" => match case["threshold"].as_f64() {
            Some(threshold) => Box::new(Accuracy::new().threshold(threshold)),
            None => Box::new(Accuracy::new()),
        },
        "log-loss" => Box::new(LogLoss::new()),
        "normalized-entropy" => Box::new(NormalizedEntropy::new()),
        "auc" => Box::new(Auc::new()),
        "precision" => of_confusion!(Precision, case),
        "recall" => of_confusion!(Recall, case),
        "f1" => of_confusion!(F1, case),
        "top-k-accuracy" => Box::new(TopKAccuracy::new(k())),
        "mse" => Box::new(Mse::new()),
        "rmse" => Box::new(Rmse::new()),
        "mae" => Box::new(Mae::new()),
        "ndcg" => Box::new(NdcgAtK::new(k())),
        name => panic!("{name}"),
    }
}

#[test]
fn scikit_learn() {
    let held: Value = serde_json::from_str(include_str!("fixtures/reference.json")).unwrap();
    let mut values = 0;
    for table in held["tables"].as_array().unwrap() {
        let shape: Vec<usize> = numbers(&table["shape"]).iter().map(|&n| n as usize).collect();
        let single = table["dtype"] == "float32";
        let predictions = numbers(&table["predictions"]);
        let predictions = match single {
            true => {
                Tensor::dense(&shape[..], predictions.iter().map(|&p| p as f32).collect::<Vec<_>>())
            }
            false => Tensor::dense(&shape[..], predictions),
        };
        let predictions = predictions.unwrap();
        let labels = numbers(&table["labels"]);
        let per_row = labels.len() == shape[0];
        let labels = Tensor::dense(if per_row { &shape[..1] } else { &shape[..] }, labels).unwrap();
        let mut scored = Scored::new(&predictions, &labels);
        let weights = table.get("weights").map(tensor);
        let qids = table.get("qids").map(|ids| tensor(ids).cast(sparsetape::DType::I64));
        scored.weights = weights.as_ref();
        scored.qids = qids.as_ref();
        for case in table["values"].as_array().unwrap() {
            let mut metric = metric(case);
            metric.update(&scored).unwrap();
            // scikit-learn takes logarithms of f32 in f32.
            let tolerance = if single { 1e-6 } else { 1e-12 };
            let (value, wanted) = (metric.value(), case["value"].as_f64().unwrap());
            assert!(close(value, wanted, tolerance), "{value}: {case} of {table}");
            values += 1;
        }
    }
    assert_eq!(values, 162);
}
