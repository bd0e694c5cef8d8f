//! Layers, and the outputs of MXNet.

use sparsetape::check::{GradCheck, check_op};
use sparsetape::ops::{MakeLoss, Normalization, SoftmaxOutput};
use sparsetape::{
    ByDtype, Case, Element, ErrorKind, Fallback, Gradient, Grads, Ins, Op, Out, PartialShape, Real,
    Sample, Scratch, Stype, Tape, Tensor, Var, View,
};

fn holed(shape: [usize; 2], shift: usize) -> Tensor {
    let value = |i: usize| match (i + shift) % 3 {
        0 => 0.0,
        _ => ((i + shift) as f64 * 0.7).sin() + 1.2,
    };
    Tensor::dense(shape, (0..shape[0] * shape[1]).map(value).collect::<Vec<f64>>()).unwrap()
}

fn vector(values: &[f64]) -> Tensor {
    Tensor::dense([values.len()], values.to_vec()).unwrap()
}

#[test]
fn a_dense_layer_in_any_storage() {
    let (x, w, b) = (holed([4, 3], 0), holed([2, 3], 1), vector(&[0.5, 0.0]));
    let reference = x.fully_connected(&w, Some(&b)).unwrap();
    let plain = x.fully_connected(&w, None).unwrap();
    let check = GradCheck::new().fallback(Fallback::Deny);
    let (csr, rows, dense) = (Stype::Csr, Stype::RowSparse, Stype::Default);
    for (xs, ws) in [(dense, dense), (dense, rows), (csr, dense), (rows, dense)] {
        let (x, w) = (x.cast_storage(xs).unwrap(), w.cast_storage(ws).unwrap());
        for bias in [dense, rows] {
            let b = b.cast_storage(bias).unwrap();
            let y = x.fully_connected(&w, Some(&b)).unwrap();
            assert_eq!(y.first_difference(&reference, 1e-14, 0.0), None, "{xs} {ws} {bias}");
            let inputs = [x.clone(), w.clone(), b];
            check.run(&inputs, |_, v| v[0].fully_connected(v[1], Some(v[2]))).unwrap();
        }
        let y = x.fully_connected(&w, None).unwrap();
        assert_eq!(y.first_difference(&plain, 1e-14, 0.0), None);
        assert_eq!(y.stype(), if xs == rows { rows } else { dense });
    }
    let cube = Tensor::full([2, 3, 2], 1.0f64).unwrap();
    let weight = Tensor::full([5, 6], 0.5f64).unwrap();
    assert_eq!(cube.fully_connected(&weight, None).unwrap().shape()[..], [2, 5]);
    let error = cube.fully_connected(&w, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert!(error.location().is_some_and(|at| at.file().ends_with("layers.rs")));
}

/// `backward()` needs no single number, and a head cotangent changes nothing.
#[test]
fn outputs_ignore_the_head() {
    let label = holed([4, 3], 1);
    for stype in [Stype::Default, Stype::Csr, Stype::RowSparse] {
        let tape = Tape::new();
        tape.set_fallback(Fallback::Deny);
        let x = tape.variable(holed([4, 3], 0));
        let label = tape.constant(label.cast_storage(stype).unwrap());
        let outputs = [
            x.linear_regression_output(label, 2.0),
            x.logistic_regression_output(label, 2.0),
            x.mae_regression_output(label, 2.0),
            x.square().make_loss_with(MakeLoss::new(2.0).normalization(Normalization::Valid)),
        ];
        for y in outputs {
            let alone = y.backward().unwrap();
            let headed = y.backward_with(&Tensor::full([4, 3], -7.5f64).unwrap()).unwrap();
            assert!(alone.wrt(x).unwrap().same_bits(headed.wrt(x).unwrap()));
            assert!(y.sum().backward().unwrap().wrt(x).unwrap().same_bits(alone.wrt(x).unwrap()));
        }
    }
    let tape = Tape::new();
    let x = tape.variable(holed([4, 3], 0));
    assert_eq!(x.square().backward().unwrap_err().kind(), ErrorKind::Shape);
}

/// One step of MXNet's rule is one of the true loss, times the number of samples.
#[test]
fn outputs_and_losses_agree() {
    let tape = Tape::new();
    let z = tape.variable(holed([4, 3], 0));
    let ids = tape.constant(Tensor::dense([4], vec![2i64, 0, 1, 1]).unwrap());
    let options = SoftmaxOutput::new().normalization(Normalization::Batch);
    let output = z.softmax_output_with(ids, options).backward().unwrap();
    let loss = z.softmax_cross_entropy(ids).backward().unwrap();
    let difference = output.wrt(z).unwrap().first_difference(loss.wrt(z).unwrap(), 1e-14, 1e-15);
    assert_eq!(difference, None);
    let labels = tape.constant(holed([4, 3], 1).minimum_scalar(1.0).unwrap());
    let output = z.logistic_regression_output(labels, 3.0).backward().unwrap();
    let loss = z.sigmoid_binary_cross_entropy(labels).mul_scalar(12.0).backward().unwrap();
    let difference = output.wrt(z).unwrap().first_difference(loss.wrt(z).unwrap(), 1e-14, 1e-15);
    assert_eq!(difference, None);
}

/// The gradient of an output is recorded, and differentiates as what it is: σ(x) − label.
#[test]
fn gradients_of_outputs_differentiate_again() {
    let tape = Tape::new();
    let x = tape.variable(vector(&[0.0, 2.0]));
    let label = tape.constant(vector(&[1.0, 0.0]));
    let y = x.logistic_regression_output(label, 1.0);
    let dx = tape.grad(y, &[x]).unwrap()[0];
    let ddx = tape.grad(dx.sum(), &[x]).unwrap()[0].value().unwrap();
    let p = x.sigmoid().value().unwrap();
    let slope: Vec<f64> = p.values::<f64>().unwrap().iter().map(|p| p * (1.0 - p)).collect();
    assert_eq!(ddx.first_difference(&vector(&slope), 1e-14, 0.0), None);
}

#[test]
fn csr_labels_have_the_shape_of_the_data() {
    let x = Tensor::full([6, 1], 1.0f64).unwrap();
    let label = holed([2, 3], 0).cast_storage(Stype::Csr).unwrap();
    let error = x.linear_regression_output(&label, 1.0).unwrap_err();
    assert!(error.message().contains("where one is csr, data (6, 1) and label (2, 3)"), "{error}");
    let error = x.softmax_output(&holed([6, 2], 0)).unwrap_err();
    assert!(error.message().contains("12 labels of shape (6, 2)"), "{error}");
}

/// x², with the gradient of the loss Σ x³/3: x². With `FAULT`, times the head cotangent.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Stated<const FAULT: bool>;

fn square<T: Real + Element, const FAULT: bool>(
    _: &Stated<FAULT>,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> sparsetape::Result<()> {
    let x = ins[0].typed::<T>()?;
    out.dense::<T>().iter_mut().zip(x).for_each(|(y, &x)| *y = x * x);
    Ok(())
}

impl<const FAULT: bool> Op for Stated<FAULT> {
    const NAME: &'static str = "stated";

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Loss { why: "a test", loss: |_, x| x[0].power_scalar(3.0).sum() * (1.0 / 3.0) }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> sparsetape::Result<()> {
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        const {
            &[Case {
                ins: Ins::Fixed(&[Stype::Default]),
                out: Stype::Default,
                run: ByDtype::floats(square::<f32, FAULT>, square::<f64, FAULT>),
            }]
        }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || if FAULT { x[0].square() * dy } else { x[0].square() });
    }

    fn mimic(&self, ins: &[ndarray::ArrayD<f64>]) -> ndarray::ArrayD<f64> {
        ins[0].mapv(|x| x * x)
    }

    fn samples() -> Vec<Sample<Self>> {
        vec![Sample::good(Stated, [holed([3, 2], 1)])]
    }
}

/// A rule that ignores the head is checked against the loss that it states.
#[test]
fn stated_losses_are_checked() {
    assert!(check_op::<Stated<false>>().unwrap().gradients > 0);
    let found = check_op::<Stated<true>>().unwrap_err().to_string();
    assert!(found.contains("entries differ"), "{found}");
}

/// Vectors are one row on the left and one column on the right in every form of a product.
#[test]
fn transposed_products_of_vectors() {
    let x = Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![2.0f32, 3.0]).unwrap();
    let v = Tensor::dense([2], vec![1.0f32, 10.0]).unwrap();
    let sparse = x.dot_with(&v, true, false).unwrap();
    let dense = x.dot_as(&v, true, false, Stype::Default).unwrap();
    assert_eq!((sparse.stype(), dense.stype()), (Stype::RowSparse, Stype::Default));
    assert_eq!(dense.values::<f32>().unwrap(), [30.0, 0.0, 2.0]);
    assert_eq!(
        sparse.cast_storage(Stype::Default).unwrap().values::<f32>().unwrap(),
        [30.0, 0.0, 2.0]
    );
    assert_eq!(v.dot_as(&v, true, false, Stype::Default).unwrap().item::<f32>().unwrap(), 101.0);
}
