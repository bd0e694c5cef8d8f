//! Losses: weights, reductions, labels outside the domain, shapes.

use sparsetape::check::GradCheck;
use sparsetape::{ErrorKind, Fallback, Loss, Result, Stype, Tape, Tensor};

fn vector(values: &[f64]) -> Tensor {
    Tensor::dense([values.len()], values.to_vec()).unwrap()
}

fn matrix<const N: usize>(rows: &[[f64; N]]) -> Tensor {
    Tensor::dense([rows.len(), N], rows.concat()).unwrap()
}

fn ids(values: &[i64]) -> Tensor {
    Tensor::dense([values.len()], values.to_vec()).unwrap()
}

fn logits() -> Tensor {
    matrix(&[[0.3, -1.2, 2.0], [1.5, 0.1, -0.4], [-0.7, 0.9, 0.2], [0.0, 0.0, 0.0]])
}

fn close(got: &Tensor, want: &[f64]) {
    let got = got.values::<f64>().unwrap();
    assert_eq!(got.len(), want.len());
    let same = got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1e-13 * (1.0 + w.abs()));
    assert!(same, "{got:?}, not {want:?}");
}

/// −ln softmax, row by row.
fn log_losses(z: &Tensor) -> Vec<Vec<f64>> {
    let rows = z.values::<f64>().unwrap().chunks(z.shape()[1]);
    let of_row = |row: &[f64]| {
        let total: f64 = row.iter().map(|z| z.exp()).sum();
        row.iter().map(|z| total.ln() - z).collect()
    };
    rows.map(of_row).collect()
}

#[test]
fn softmax_weights() {
    let (z, y) = (logits(), [2i64, 0, 1, 1]);
    let (samples, classes) = ([1.0, 2.0, 0.5, 3.0], [0.3, 1.0, 2.5]);
    let table = log_losses(&z);
    let losses: Vec<f64> = (0..4).map(|i| table[i][y[i] as usize]).collect();
    let weights: Vec<f64> = (0..4).map(|i| samples[i] * classes[y[i] as usize]).collect();
    let weighted: Vec<f64> = (0..4).map(|i| weights[i] * losses[i]).collect();
    let total: f64 = weighted.iter().sum();
    let run = |loss: Loss<Tensor>| z.softmax_cross_entropy_with(&ids(&y), &loss).unwrap();
    let both =
        |loss: Loss<Tensor>| loss.sample_weights(vector(&samples)).class_weights(vector(&classes));
    close(&z.softmax_cross_entropy(&ids(&y)).unwrap(), &[losses.iter().sum::<f64>() / 4.0]);
    close(&run(Loss::per_row()), &losses);
    close(&run(both(Loss::per_row())), &weighted);
    close(&run(both(Loss::sum())), &[total]);
    close(&run(both(Loss::mean())), &[total / weights.iter().sum::<f64>()]);
    let column = Tensor::dense([4, 1], y.to_vec()).unwrap();
    let columns = z.softmax_cross_entropy_with(&column, &both(Loss::per_row())).unwrap();
    close(&columns, &weighted);
}

/// A label that is shared between classes is as many labels, each with its share for a weight.
#[test]
fn shared_labels_are_weighted_labels() {
    let z = logits();
    let shares = [[0.2, 0.8, 0.0], [1.0, 0.0, 0.0], [0.1, 0.4, 0.5], [0.0, 0.0, 1.0]];
    let (samples, classes) = ([1.0, 2.0, 0.5, 3.0], [0.3, 1.0, 2.5]);
    let table = log_losses(&z);
    let sum = |i: usize, f: &dyn Fn(usize) -> f64| {
        (0..3).map(|c| samples[i] * classes[c] * shares[i][c] * f(c)).sum::<f64>()
    };
    let weighted: Vec<f64> = (0..4).map(|i| sum(i, &|c| table[i][c])).collect();
    let weight: f64 = (0..4).map(|i| sum(i, &|_| 1.0)).sum();
    let loss =
        |loss: Loss<Tensor>| loss.sample_weights(vector(&samples)).class_weights(vector(&classes));
    let y = matrix(&shares);
    close(&z.softmax_cross_entropy_with(&y, &loss(Loss::per_row())).unwrap(), &weighted);
    let mean = z.softmax_cross_entropy_with(&y, &loss(Loss::mean())).unwrap();
    close(&mean, &[weighted.iter().sum::<f64>() / weight]);
    let sparse = y.cast_storage(Stype::Csr).unwrap();
    let plain = z.softmax_cross_entropy(&y).unwrap();
    close(&z.softmax_cross_entropy(&sparse).unwrap(), plain.values::<f64>().unwrap());
}

#[test]
fn binary_weights() {
    let (z, y) = (vector(&[0.3, -2.0, 50.0, -800.0]), [0.0, 1.0, 0.25, 0.0]);
    let (samples, classes) = ([1.0, 2.0, 0.5, 3.0], [0.3, 2.5]);
    let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
    let z_of = z.values::<f64>().unwrap();
    let part = |i: usize, of_zero: f64, of_one: f64| {
        samples[i] * ((1.0 - y[i]) * classes[0] * of_zero + y[i] * classes[1] * of_one)
    };
    let weighted: Vec<f64> =
        (0..4).map(|i| part(i, softplus(z_of[i]), softplus(-z_of[i]))).collect();
    let weight: f64 = (0..4).map(|i| part(i, 1.0, 1.0)).sum();
    let loss =
        |loss: Loss<Tensor>| loss.sample_weights(vector(&samples)).class_weights(vector(&classes));
    let run = |l| z.sigmoid_binary_cross_entropy_with(&vector(&y), &loss(l)).unwrap();
    close(&run(Loss::per_row()), &weighted);
    close(&run(Loss::mean()), &[weighted.iter().sum::<f64>() / weight]);
    let ones = Loss::per_row().class_weights(vector(&[1.0, 1.0]));
    let plain = z.sigmoid_binary_cross_entropy_with(&vector(&y), &Loss::per_row()).unwrap();
    let weighted = z.sigmoid_binary_cross_entropy_with(&vector(&y), &ones).unwrap();
    close(&weighted, plain.values::<f64>().unwrap());
}

#[test]
fn hinge_and_l2_weights() {
    let (z, y) = (vector(&[0.5, -2.0, 3.0]), vector(&[-1.0, 1.0, 1.0]));
    close(&z.hinge_with(&y, &Loss::per_row()).unwrap(), &[1.5, 3.0, 0.0]);
    let loss = Loss::mean().class_weights(vector(&[4.0, 1.0]));
    close(&z.hinge_with(&y, &loss).unwrap(), &[(6.0 + 3.0) / 6.0]);
    let wide = matrix(&[[1.0, 2.0], [3.0, 5.0]]);
    let rows = Loss::mean().sample_weights(vector(&[1.0, 3.0]));
    let zeros = Tensor::full([2, 2], 0.0f64).unwrap();
    close(&wide.l2_loss_with(&zeros, &rows).unwrap(), &[(2.5 + 3.0 * 17.0) / 8.0]);
    let each = Loss::sum().sample_weights(matrix(&[[0.0, 1.0], [2.0, 0.0]]));
    close(&wide.l2_loss_with(&zeros, &each).unwrap(), &[11.0]);
}

#[test]
fn gradients_flow_to_logits_labels_and_weights() {
    let (samples, two) = (vector(&[1.0, 2.0, 0.5, 3.0]), vector(&[0.3, 2.5]));
    let three = vector(&[0.3, 1.0, 2.5]);
    let check = GradCheck::new().fallback(Fallback::Deny);
    for reduction in [Loss::mean, Loss::sum, Loss::per_row] {
        let inputs = [logits(), samples.clone(), three.clone()];
        let report = check.run(&inputs, |tape, v| {
            let loss = reduction().sample_weights(v[1]).class_weights(v[2]);
            v[0].softmax_cross_entropy_with(tape.constant(ids(&[2, 0, 1, 1])), &loss)
        });
        report.unwrap();
        let shares = matrix(&[[0.2, 0.8, 0.1], [0.9, 0.1, 0.1], [0.1, 0.4, 0.5], [0.2, 0.3, 0.5]]);
        let inputs = [logits(), samples.clone(), three.clone(), shares];
        let report = check.run(&inputs, |_, v| {
            let loss = reduction().sample_weights(v[1]).class_weights(v[2]);
            v[0].softmax_cross_entropy_with(v[3], &loss)
        });
        report.unwrap();
        let z = Tensor::dense([4, 1], vec![0.3, -1.0, 0.8, 2.0]).unwrap();
        let inputs = [z, samples.clone(), two.clone(), vector(&[0.2, 0.9, 0.5, 0.7])];
        let report = check.run(&inputs, |_, v| {
            let loss = reduction().sample_weights(v[1]).class_weights(v[2]);
            v[0].sigmoid_binary_cross_entropy_with(v[3], &loss)
        });
        report.unwrap();
        let inputs = [vector(&[0.3, -1.2, 0.8, 2.0]), samples.clone(), two.clone()];
        let report = check.run(&inputs, |tape, v| {
            let loss = reduction().sample_weights(v[1]).class_weights(v[2]);
            v[0].hinge_with(tape.constant(vector(&[-1.0, 1.0, 1.0, -1.0])), &loss)
        });
        report.unwrap();
    }
}

fn refused(result: Result<Tensor>, kind: ErrorKind, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error} does not say {text:?}");
    assert!(error.location().is_some_and(|at| at.file().ends_with("losses.rs")), "{error}");
}

#[test]
fn labels_outside_the_domain() {
    let z = logits();
    let column = Tensor::full([4, 1], 0.5f64).unwrap();
    let far = ids(&[0, 1, 3, 0]);
    let text = "softmax_cross_entropy(default i64 (4,), default f64 (4, 3)): label 3 in row 2, but";
    refused(z.softmax_cross_entropy(&far), ErrorKind::Index, text);
    let shares = matrix(&[[0.5, 0.5, 0.0], [0.0, -0.1, 1.1], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]);
    let text = "label -0.1 in row 1, column 1 is not a probability";
    refused(z.softmax_cross_entropy(&shares), ErrorKind::Value, text);
    let sparse = shares.cast_storage(Stype::Csr).unwrap();
    refused(z.softmax_cross_entropy(&sparse), ErrorKind::Value, text);
    let rows = shares.cast_storage(Stype::RowSparse).unwrap();
    refused(z.softmax_cross_entropy(&rows), ErrorKind::Value, text);
    let labels = vector(&[0.0, 1.0, f64::NAN, 0.0]);
    let text = "label NaN in row 2 is not within 0 and 1";
    refused(column.sigmoid_binary_cross_entropy(&labels), ErrorKind::Value, text);
    let text = "label 0 in row 3 is not -1 or 1";
    refused(column.hinge(&vector(&[1.0, -1.0, 1.0, 0.0])), ErrorKind::Value, text);
    let tape = Tape::new();
    let y = tape.constant(labels).reshape(&[-1, 1]);
    let error = tape.constant(column).sigmoid_binary_cross_entropy(y).backward().unwrap_err();
    assert_eq!(error.operator_name(), Some("sigmoid_binary_cross_entropy"));
}

/// (n,) and (n, 1) stand for each other; they never become (n, n).
#[test]
fn shapes() {
    let (flat, column) = (vector(&[0.5, 0.25, 1.0]), matrix(&[[0.5], [0.25], [1.0]]));
    for (z, y) in [(&flat, &column), (&column, &flat)] {
        let weights = Loss::per_row().sample_weights(flat.clone());
        for loss in [Loss::per_row(), weights] {
            let losses = z.l2_loss_with(y, &loss).unwrap();
            assert_eq!(losses.shape(), z.shape());
            let losses = z.sigmoid_binary_cross_entropy_with(y, &loss).unwrap();
            assert_eq!(losses.shape(), z.shape());
        }
    }
    let wide = Tensor::full([3, 3], 1.0f64).unwrap();
    refused(wide.l2_loss(&flat), ErrorKind::Shape, "`reshape` the labels");
    refused(flat.hinge(&wide), ErrorKind::Shape, "labels of shape (3, 3) for predictions of");
    refused(column.l2_loss(&vector(&[0.0])), ErrorKind::Shape, "must be the same");
    let text = "class ids, i64 of shape (4,)";
    refused(logits().softmax_cross_entropy(&ids(&[1, 2])), ErrorKind::Shape, text);
    refused(logits().softmax_cross_entropy(&vector(&[1.0; 4])), ErrorKind::Shape, text);
    let loss = Loss::mean().class_weights(vector(&[1.0, 2.0]));
    refused(flat.l2_loss_with(&flat, &loss), ErrorKind::Value, "no classes");
    let four = ids(&[0, 1, 2, 0]);
    let text = "class weights have shape (3,)";
    refused(logits().softmax_cross_entropy_with(&four, &loss), ErrorKind::Shape, text);
    let loss = Loss::mean().sample_weights(vector(&[1.0, 2.0]));
    let text = "sample weights have shape (4,), one per row";
    refused(logits().softmax_cross_entropy_with(&four, &loss), ErrorKind::Shape, text);
    let empty = Tensor::full([0, 3], 1.0f64).unwrap();
    close(&empty.softmax_cross_entropy_with(&ids(&[]), &Loss::sum()).unwrap(), &[0.0]);
}

/// An error names the loss, or the operator and the loss that it is a part of, and the user's line.
#[test]
fn element_types() {
    let (z, narrow) = (matrix(&[[0.5], [0.25]]), Tensor::full([2], 1.0f32).unwrap());
    for labels in [narrow.clone(), ids(&[0, 1])] {
        let error = z.sigmoid_binary_cross_entropy(&labels).unwrap_err();
        let text = format!("sigmoid_binary_cross_entropy(default f64 (2, 1), {}): ", labels.ty());
        assert!(error.to_string().starts_with(&text), "{error}");
        refused(Err(error), ErrorKind::DType, "labels are f64, as predictions are; got");
    }
    let shares = Tensor::full([4, 3], 0.5f32).unwrap();
    let text = "labels are i64 ids or f64 probabilities, got f32";
    refused(logits().softmax_cross_entropy(&shares), ErrorKind::DType, text);
    let loss = Loss::mean().class_weights(narrow.clone());
    let text = "class weights are f64, as predictions are; got f32";
    refused(z.hinge_with(&vector(&[1.0, -1.0]), &loss), ErrorKind::DType, text);
    let tape = Tape::new();
    let x = tape.constant(z);
    let (y, weights) = (tape.constant(vector(&[0.0, 1.0])), tape.constant(narrow));
    let line = line!() + 1;
    let error = x.l2_loss_with(y, &Loss::sum().sample_weights(weights)).value().unwrap_err();
    assert_eq!(error.operator_name(), Some("l2_loss"));
    assert_eq!(error.location().map(|at| (at.file(), at.line())), Some((file!(), line)));
    refused(Err(error), ErrorKind::DType, "sample weights are f64, as losses are; got f32");
}
