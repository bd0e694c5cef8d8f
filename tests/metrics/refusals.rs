//! Bad rows are errors that say where, and leave the metric as it was.

use sparsetape::train::metrics::{
    self, Accuracy, Auc, Average, Calibration, F1, LogLoss, Metric, Mse, NdcgAtK, RecallAtK,
    Scored, TopKAccuracy,
};
use sparsetape::{Element, ErrorKind, Stype, Tensor};

fn vector<T: Element>(values: &[T]) -> Tensor {
    Tensor::dense([values.len()], values.to_vec()).unwrap()
}

fn matrix<const N: usize>(rows: &[[f64; N]]) -> Tensor {
    Tensor::dense([rows.len(), N], rows.concat()).unwrap()
}

/// The update is refused with this text, and the metric's value stays.
#[track_caller]
fn refused(metric: &mut dyn Metric, scored: &Scored, kind: ErrorKind, text: &str) {
    let before = metric.value();
    let error = metric.update(scored).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    assert_eq!(error.operator_name(), Some(&metric.name()[..]));
    assert!(metric.value() == before || metric.value().is_nan() && before.is_nan());
}

#[test]
fn bad_values() {
    let (p, y) = (vector(&[0.25f32, 0.75, 0.5]), vector(&[0i64, 1, 1]));
    let mut loss = LogLoss::new();
    loss.update(&Scored::new(&p, &y)).unwrap();

    let scores = vector(&[0.5, f64::NAN, 0.1]);
    let text =
        "log-loss(default f64 (3,), default i64 (3,)): prediction NaN in row 1 is not finite";
    refused(&mut loss, &Scored::new(&scores, &y), ErrorKind::NonFinite, text);
    let scores = matrix(&[[0.5, 0.5], [0.5, f64::INFINITY]]);
    let text = "prediction inf in row 1, column 1 is not finite";
    refused(
        &mut Accuracy::new(),
        &Scored::new(&scores, &vector(&[0i64, 1])),
        ErrorKind::NonFinite,
        text,
    );
    let mut many = vec![0.5f32; 3000];
    many[2007] = f32::NEG_INFINITY;
    let many = Tensor::dense([1000, 3], many).unwrap();
    let text = "prediction -inf in row 669, column 0 is not finite";
    refused(&mut Mse::new(), &Scored::new(&many, &many), ErrorKind::NonFinite, text);
    let scores = vector(&[0.5f32, 0.1, 1.5]);
    let text = "prediction 1.5 in row 2 is not a probability";
    refused(&mut loss, &Scored::new(&scores, &y), ErrorKind::Value, text);
    refused(&mut Calibration::new(), &Scored::new(&scores, &y), ErrorKind::Value, text);

    let text = "label -1 in row 2 is not 0 or 1";
    let signs = vector(&[0.0f32, 1.0, -1.0]);
    refused(&mut Auc::new(), &Scored::new(&p, &signs), ErrorKind::Value, text);
    let text = "label -1 in row 2 is not one of 2 classes, from 0 on";
    refused(&mut loss, &Scored::new(&p, &signs), ErrorKind::Index, text);
    let text = "label 0.5 in row 1 is not the number of a class";
    refused(&mut loss, &Scored::new(&p, &vector(&[0.0, 0.5, 7.0])), ErrorKind::Value, text);
    let text = "label NaN in row 1 is not finite";
    refused(
        &mut Mse::new(),
        &Scored::new(&p, &vector(&[0.0, f64::NAN, 0.0])),
        ErrorKind::NonFinite,
        text,
    );

    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        let weights = vector(&[1.0, 1.0, weight]);
        let text = format!("weight {weight} in row 2 is not finite and at least 0");
        refused(&mut loss, &Scored::new(&p, &y).weights(&weights), ErrorKind::Value, &text);
    }
}

#[test]
fn bad_types() {
    let (p, y) = (vector(&[0.25f32, 0.75]), vector(&[0i64, 1]));
    let sparse = Tensor::zeros(Stype::Csr, [2, 1], sparsetape::DType::F32).unwrap();
    let mut mse = Mse::new();
    refused(
        &mut mse,
        &Scored::new(&sparse, &p),
        ErrorKind::Stype,
        "predictions are csr, not dense",
    );
    refused(&mut mse, &Scored::new(&p, &sparse), ErrorKind::Stype, "labels are csr, not dense");
    refused(&mut mse, &Scored::new(&y, &y), ErrorKind::DType, "predictions are i64, not floats");
    let scalar = Tensor::scalar(0.5f32);
    refused(&mut mse, &Scored::new(&scalar, &scalar), ErrorKind::Shape, "without rows");
    let one = vector(&[1i64]);
    refused(
        &mut mse,
        &Scored::new(&p, &one),
        ErrorKind::Shape,
        "labels are (1,), but predictions are (2,)",
    );

    let mut accuracy = Accuracy::new();
    refused(
        &mut accuracy,
        &Scored::new(&p, &one),
        ErrorKind::Shape,
        "labels are (1,), but there are 2 rows",
    );
    let weighted = Scored::new(&p, &y).weights(&one);
    refused(&mut accuracy, &weighted, ErrorKind::Shape, "weights are (1,), but there are 2 rows");
    let cube = Tensor::full([2, 1, 1], 0.5f32).unwrap();
    refused(
        &mut accuracy,
        &Scored::new(&cube, &y),
        ErrorKind::Shape,
        "predictions are (2, 1, 1), not",
    );
    let none = Tensor::full([2, 0], 0.5f32).unwrap();
    refused(
        &mut accuracy,
        &Scored::new(&none, &y),
        ErrorKind::Shape,
        "predictions are (2, 0), not",
    );
    let three = matrix(&[[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]]);
    refused(
        &mut Auc::new(),
        &Scored::new(&three, &y),
        ErrorKind::Shape,
        "3 columns of predictions",
    );
}

#[test]
fn bad_settings() {
    let (p, y) = (vector(&[0.25f32, 0.75]), vector(&[0i64, 1]));
    let three = matrix(&[[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]]);
    let (one, three) = (Scored::new(&p, &y), Scored::new(&three, &y));
    refused(
        &mut Accuracy::new().threshold(f64::NAN),
        &one,
        ErrorKind::Value,
        "the threshold is NaN",
    );
    let mut binary = Accuracy::new().threshold(0.5);
    refused(&mut binary, &three, ErrorKind::Value, "a threshold of 0.5, but there are 3 classes");
    refused(&mut F1::new(), &three, ErrorKind::Value, "3 classes: choose Average::Macro");
    let mut f1 = F1::new().average(Average::Macro);
    f1.update(&one).unwrap();
    refused(&mut f1, &three, ErrorKind::Shape, "3 classes, but 2 before");
    for k in [0, 4] {
        let text = format!("the {k} best of 3 columns");
        refused(&mut TopKAccuracy::new(k), &three, ErrorKind::Value, &text);
    }
    refused(&mut TopKAccuracy::new(1), &one, ErrorKind::Value, "the 1 best of 1 columns");
}

#[test]
fn bad_rankings() {
    let (p, y, q) = (vector(&[0.25f32, 0.75]), vector(&[0i64, 1]), vector(&[5i64, 5]));
    let scored = Scored::new(&p, &y);
    let mut ndcg = NdcgAtK::new(3);
    refused(&mut ndcg, &scored, ErrorKind::Value, "there are no query ids");
    refused(&mut ndcg, &scored.qids(&p), ErrorKind::DType, "query ids are f32, not i64");
    refused(&mut RecallAtK::new(0), &scored.qids(&q), ErrorKind::Value, "the first 0 rows");
    for label in [-1i64, 101] {
        let labels = vector(&[0, label]);
        let text = format!("label {label} in row 1 is not a relevance, from 0 to 100");
        refused(&mut ndcg, &Scored::new(&p, &labels).qids(&q), ErrorKind::Value, &text);
    }
    let two = matrix(&[[0.5, 0.5], [0.5, 0.5]]);
    refused(
        &mut ndcg,
        &Scored::new(&two, &y).qids(&q),
        ErrorKind::Shape,
        "2 columns of predictions",
    );
    // Relevances may be as large as is allowed.
    let best = vector(&[0i64, 100]);
    ndcg.update(&Scored::new(&p, &best).qids(&q)).unwrap();
    assert_eq!(ndcg.value(), 1.0);
}

#[test]
fn edges() {
    let labels = vector(&[1i64, 1]);
    let p = vector(&[0.0f32, 1.0]);
    // Probabilities of 0 and 1 are clipped.
    let mut loss = LogLoss::new();
    loss.update(&Scored::new(&p, &labels)).unwrap();
    let epsilon = f64::from(f32::EPSILON);
    assert!((loss.value() + (epsilon.ln() + (-epsilon).ln_1p()) / 2.0).abs() < 1e-14);
    // A threshold that nothing exceeds; one in f32 where 0.3 is above that in f64.
    let p = vector(&[0.3f32, 0.8]);
    let accuracy = |threshold| {
        let mut accuracy = Accuracy::new().threshold(threshold);
        accuracy.update(&Scored::new(&p, &labels)).unwrap();
        accuracy.value()
    };
    assert_eq!([2.0, 0.3, -1.0].map(accuracy), [0.0, 0.5, 1.0]);
    // Zeros tie whatever their sign.
    let mut auc = Auc::new();
    auc.update(&Scored::new(&vector(&[0.0f32, -0.0]), &vector(&[0i64, 1]))).unwrap();
    assert_eq!(auc.value(), 0.5);
    // Squares that overflow.
    let mut mse = Mse::new();
    mse.update(&Scored::new(&vector(&[1e200, 0.0]), &vector(&[0.0, 1.0]))).unwrap();
    assert_eq!(mse.value(), f64::INFINITY);
    // They are left out where the row's weight is 0.
    let mut mse = Mse::new();
    let weights = vector(&[0.0f32, 2.0]);
    mse.update(&Scored::new(&vector(&[1e200, 0.0]), &vector(&[0.0, 1.0])).weights(&weights))
        .unwrap();
    assert_eq!(mse.value(), 1.0);
}

/// The sum keeps what f64 alone rounds off.
#[test]
fn small_terms_are_not_lost() {
    let mut mae = metrics::Mae::new();
    let mut errors = vec![1e-4; 1 << 16];
    errors[0] = 1e12;
    mae.update(&Scored::new(&vector(&errors), &vector(&vec![0.0; 1 << 16]))).unwrap();
    let wanted = (1e12 + 65535.0 * 1e-4) / 65536.0;
    assert!((mae.value() / wanted - 1.0).abs() < 1e-15);
}

#[test]
fn closures() {
    let mut share = metrics::custom("share", |scored| {
        let values = scored.predictions.values::<f32>()?;
        Ok((values.iter().map(|&p| f64::from(p)).sum(), values.len() as f64))
    })
    .maximized();
    let (p, y) = (vector(&[0.25f32, 0.75]), vector(&[0i64, 1]));
    share.update(&Scored::new(&p, &y)).unwrap();
    share.update(&Scored::new(&vector(&[2.0f32]), &y)).unwrap();
    assert_eq!((share.value(), share.larger_is_better()), (1.0, true));
    let error = share.update(&Scored::new(&y, &y)).unwrap_err();
    assert_eq!((error.kind(), error.operator_name()), (ErrorKind::DType, Some("share")));
    assert_eq!(share.value(), 1.0);
    share.reset();
    assert!(share.value().is_nan());
}
