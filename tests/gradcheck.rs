//! What `gradcheck` finds, and what it must not miss.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use sparsetape::check::{GradCheck, check_op, gradcheck};
use sparsetape::{
    ByDtype, Case, DType, ErrorKind, Fallback, Grads, Ins, Loss, Op, Out, PartialShape, Real,
    Result, Sample, Scratch, Stype, Tensor, Var, View,
};

/// A backward rule of `broken`, right or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Rule {
    Right,
    /// 2·x·dy instead of 3·x²·dy.
    Wrong,
    /// A zero that is none.
    Zero,
    /// Right, but of values that are off the recording.
    Detached,
    /// No answer.
    Silent,
    /// Computes cotangents whether wanted or not.
    Eager,
    /// Takes the shape from the value.
    Shaped,
}

/// x³, with a choice of backward rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cube<const RULE: usize>;

const RULES: [Rule; 7] =
    [Rule::Right, Rule::Wrong, Rule::Zero, Rule::Detached, Rule::Silent, Rule::Eager, Rule::Shaped];

fn cube<T: Real, const RULE: usize>(
    _: &Cube<RULE>,
    ins: &[View],
    out: &mut Out,
    _: &mut Scratch,
) -> Result<()> {
    let x = ins[0].typed::<T>()?;
    out.dense::<T>().iter_mut().zip(x).for_each(|(y, &x)| *y = x * x * x);
    Ok(())
}

impl<const RULE: usize> Op for Cube<RULE> {
    const NAME: &'static str = "cube";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        const {
            &[Case {
                ins: Ins::Fixed(&[Stype::Default]),
                out: Stype::Default,
                run: ByDtype::floats(cube::<f32, RULE>, cube::<f64, RULE>),
            }]
        }
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        let x = x[0];
        match RULES[RULE] {
            Rule::Right => grads.give(0, || 3.0 * x.square() * dy),
            Rule::Wrong => grads.give(0, || 2.0 * x * dy),
            Rule::Zero => grads.zero(0),
            Rule::Detached => grads.give(0, || 3.0 * x.detach().square() * dy),
            Rule::Silent => {}
            Rule::Eager => {
                let dx = 3.0 * x.square() * dy;
                grads.give(0, || dx);
            }
            Rule::Shaped => grads.give(0, || {
                let sizes: Vec<isize> =
                    x.shape().unwrap_or_default().iter().map(|&n| n as isize).collect();
                (3.0 * x.square() * dy).reshape(&sizes)
            }),
        }
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].mapv(|x| x * x * x)
    }

    fn samples() -> Vec<Sample<Self>> {
        vec![Sample::good(Cube, [dense([3, 2], 1)])]
    }
}

fn dense(shape: impl Into<sparsetape::Shape>, seed: usize) -> Tensor {
    let shape = shape.into();
    let value = |i: usize| ((i * 7 + seed) as f64 * 0.83).sin() * 1.4;
    Tensor::dense(shape.clone(), (0..shape.size()).map(value).collect::<Vec<f64>>()).unwrap()
}

/// With holes: every third element is zero, and the second row.
fn holed(shape: [usize; 2], seed: usize) -> Tensor {
    let x = dense(shape, seed);
    let mut values = x.values::<f64>().unwrap().to_vec();
    let zero = |i: usize| i % 3 == seed % 3 || i / shape[1] == 1;
    values.iter_mut().enumerate().filter(|(i, _)| zero(*i)).for_each(|(_, x)| *x = 0.0);
    Tensor::dense(shape, values).unwrap()
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Check, "{error}");
    error.to_string()
}

#[test]
fn a_right_rule_passes() {
    let report = gradcheck(&[dense([3, 2], 1)], |tape, x| tape.apply(Cube::<0>, x)).unwrap();
    // First order; then second order in the input and in the head.
    assert_eq!((report.compared, report.kinks.len()), (18, 0));
    check_op::<Cube<0>>().unwrap();
}

#[test]
fn a_wrong_rule_is_named_by_input_entry_and_values() {
    let inputs = [dense([2], 1), Tensor::dense([1, 2], vec![0.5f64, 2.0]).unwrap()];
    let wrong = message(gradcheck(&inputs, |tape, x| x[0] + tape.apply(Cube::<1>, &[x[1]])));
    assert!(wrong.contains("order 1, input 1, entry (0, 1): backward"), "{wrong}");
    assert!(!wrong.contains("input 0"), "{wrong}");
    assert!(wrong.contains(file!()), "the caller's line: {wrong}");
    message(check_op::<Cube<1>>());
}

#[test]
fn a_silent_zero_is_found() {
    let zero = message(gradcheck(&[dense([2], 1)], |tape, x| tape.apply(Cube::<2>, x)));
    assert!(zero.contains("backward 0.0, differences"), "{zero}");
    message(check_op::<Cube<2>>());
    // Also where the gradient is lost on the way.
    message(gradcheck(&[dense([2], 1)], |_, x| x[0].detach().square()));
}

#[test]
fn second_order_finds_a_detached_rule() {
    let x = [dense([2, 2], 1)];

    GradCheck::new().order(1).run(&x, |tape, x| tape.apply(Cube::<3>, x)).unwrap();
    let detached = message(gradcheck(&x, |tape, x| tape.apply(Cube::<3>, x)));
    assert!(detached.contains("order 2, input 0"), "{detached}");
    message(check_op::<Cube<3>>());
}

#[test]
fn an_operator_must_answer_and_only_when_asked() {
    assert!(message(check_op::<Cube<4>>()).contains("gives no answer for operand 0"));
    assert!(message(check_op::<Cube<5>>()).contains("nobody wants"));
}

#[test]
fn a_rule_with_a_shape_inside_is_found() {
    let shaped = message(check_op::<Cube<6>>());
    assert!(shaped.contains("another batch size records other operators"), "{shaped}");
}

#[test]
fn nothing_compared_is_a_failure() {
    let ids = Tensor::dense([3], vec![1i64, 0, 2]).unwrap();
    let table = Tensor::dense([3, 1], vec![1.0f64, 2.0, 3.0]).unwrap();
    let none = message(gradcheck(&[ids], |tape, x| tape.constant(table.clone()).take(x[0])));
    assert!(none.contains("nothing was compared"), "{none}");
    let empty = Tensor::zeros(Stype::Csr, [2, 3], DType::F64).unwrap();
    message(gradcheck(&[empty], |_, x| x[0].square()));
    let origin = Tensor::dense([1], vec![0.0f64]).unwrap();
    assert!(message(gradcheck(&[origin], |_, x| x[0].relu())).contains("kinks only"));
}

type Named = (&'static str, fn(Var<'_>) -> Var<'_>);

#[test]
fn kinks_and_steps_are_reported_apart() {
    let x = Tensor::dense([4], vec![-1.5f64, 0.0, 0.75, 2.0]).unwrap();
    let check = GradCheck::new().order(1);
    let functions: [Named; 7] = [
        ("relu", |x| x.relu()),
        ("abs", |x| x.abs()),
        ("sign", |x| x.sign()),
        ("floor", |x| x.floor()),
        ("maximum", |x| x.maximum_scalar(0.0)),
        ("clip", |x| x.clip(0.0, 5.0)),
        ("cbrt", |x| x.cbrt()),
    ];
    for (name, function) in functions {
        let report = check.run(std::slice::from_ref(&x), |_, x| function(x[0])).unwrap();
        let at: Vec<usize> = report.kinks.iter().map(|kink| kink.index[0]).collect();
        let wanted: &[usize] = if name == "floor" { &[1, 3] } else { &[1] };
        assert_eq!(at, wanted, "{name}: {:?}", report.kinks);
        assert_eq!(report.compared, 4 - wanted.len(), "{name}");
    }
    // At the kink itself a slope that is none of the two sides' is still an error.
    let steep = message(check.run(&[x], |_, x| x[0].relu() + 2.0 * x[0].detach() - 2.0 * x[0]));
    assert!(steep.contains("entry (1,)"), "{steep}");
}

#[test]
fn sparse_inputs_are_perturbed_where_they_are_stored() {
    let x = holed([4, 6], 0).cast_storage(Stype::Csr).unwrap();
    let w = dense([6, 2], 2);
    let entries = x.nnz();
    let check = GradCheck::new().order(1).fallback(Fallback::Deny);
    let report = check.run(std::slice::from_ref(&x), |tape, v| v[0].dot(tape.constant(w.clone())));
    assert_eq!(report.unwrap().compared, entries);
    // An addressed row that is absent is inserted: all rows that x has columns for.
    let table = Tensor::row_sparse([6, 1], vec![1, 5], vec![0.5f64, -2.0]).unwrap();
    let columns = x.pattern().unwrap().columns().distinct.len();
    let report = check.run(&[table], |tape, v| tape.constant(x.clone()).dot(v[0]));
    assert_eq!(report.unwrap().compared, columns);
}

#[test]
fn a_sample_of_the_entries_will_do() {
    let x = dense([40, 30], 3);
    let check = GradCheck::new().order(1).sample(25, 9);
    let report = check.run(std::slice::from_ref(&x), |_, x| x[0].tanh().sum()).unwrap();
    assert_eq!(report.compared, 25);
    let again = check.run(&[x], |_, x| x[0].tanh().sum()).unwrap();
    assert_eq!(report.max_error, again.max_error);
}

#[test]
fn single_precision_has_its_own_tolerance() {
    let x = dense([3, 2], 1).cast(DType::F32);
    gradcheck(std::slice::from_ref(&x), |_, x| x[0].tanh()).unwrap();
    message(gradcheck(&[x], |_, x| x[0].tanh() + 0.2 * x[0].detach()));
    // A cast to f32 on the way is enough.
    gradcheck(&[dense([3, 2], 1)], |_, x| x[0].cast(DType::F32).sigmoid()).unwrap();
}

#[test]
fn what_has_no_derivative_says_so() {
    let x = dense([2], 1);
    let error = gradcheck(&[x], |_, x| x[0].square().add_scalar(1.0).digamma()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDifferentiable);
    assert_eq!(error.operator_name(), Some("digamma"));
}

/// `x` in every storage type, `w` too, a bias or none.
fn models(check: impl Fn(&str, &[Tensor])) {
    let (x, w) = (holed([4, 6], 0), holed([6, 3], 1));
    let b = dense([1, 3], 5);
    for xs in [Stype::Default, Stype::Csr] {
        for ws in [Stype::Default, Stype::RowSparse] {
            if (xs, ws) == (Stype::Default, Stype::RowSparse) {
                continue;
            }
            let pair = [x.cast_storage(xs).unwrap(), w.cast_storage(ws).unwrap()];
            let with_bias = [&pair[..], std::slice::from_ref(&b)].concat();
            check(&format!("{xs} {ws}"), &pair);
            check(&format!("{xs} {ws} bias"), &with_bias);
        }
    }
}

fn logits<'t>(v: &[Var<'t>]) -> Var<'t> {
    let product = v[0].dot(v[1]);
    if v.len() > 2 { product + v[2] } else { product }
}

#[test]
fn logistic_regression() {
    let y = Tensor::dense([4, 3], (0..12).map(|i| f64::from(i % 2)).collect::<Vec<f64>>()).unwrap();
    let check = GradCheck::new().fallback(Fallback::Deny);
    for reduction in [Loss::mean, Loss::sum, Loss::per_row] {
        models(|name, inputs| {
            let report = check.run(inputs, |tape, v| {
                logits(v).sigmoid_binary_cross_entropy_with(tape.constant(y.clone()), &reduction())
            });
            let report = report.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(report.kinks.is_empty() && report.compared > 40, "{name}: {report}");
        });
    }
}

#[test]
fn softmax_regression() {
    let ids = Tensor::dense([4], vec![2i64, 0, 1, 2]).unwrap();
    let shares = Tensor::full([4, 3], 1.0f64 / 3.0).unwrap();
    let check = GradCheck::new().fallback(Fallback::Deny);
    for labels in [ids, shares] {
        models(|name, inputs| {
            let report = check.run(inputs, |tape, v| {
                let labels = tape.constant(labels.clone());
                logits(v).softmax_cross_entropy(labels)
            });
            let report = report.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(report.kinks.is_empty() && report.compared > 40, "{name}: {report}");
        });
    }
}

/// Second-order interactions by rows of a table: (x·v)² − x²·v².
#[test]
fn factorization_machine() {
    let x = holed([4, 6], 0).cast_storage(Stype::Csr).unwrap();
    let check = GradCheck::new().fallback(Fallback::Deny);
    for stype in [Stype::Default, Stype::RowSparse] {
        let v = holed([6, 3], 1).cast_storage(stype).unwrap();
        let report = check.run(&[x.clone(), v], |_, v| {
            let (x, v) = (v[0], v[1].rows_of(v[0]));
            let square = x.dot(v).square() - x.square().dot(v.square());
            square.sum_axes(&[-1], false).sigmoid()
        });
        let report = report.unwrap_or_else(|e| panic!("{stype}: {e}"));
        assert!(report.kinks.is_empty(), "{stype}: {report}");
    }
}

/// A sparse cotangent of a dense value, and rows that only a later product addresses.
#[test]
fn cotangents_in_unusual_storage() {
    let check = GradCheck::new();
    let x = holed([4, 6], 0).cast_storage(Stype::Csr).unwrap();
    let other = holed([4, 6], 1).cast_storage(Stype::Csr).unwrap();
    let labels = holed([3, 4], 0).cast_storage(Stype::Csr).unwrap();
    let few = Tensor::row_sparse([6, 2], vec![4], vec![1.0f64, 1.0]).unwrap();
    let ids = Tensor::dense([2], vec![3i64, 3]).unwrap();

    // csr · log softmax: the cotangent of the dense log softmax is csr.
    check
        .run(&[dense([3, 4], 2)], |tape, v| tape.constant(labels.clone()) * v[0].log_softmax())
        .unwrap();
    // Its cotangent is row-sparse, in one dimension and in two.
    for shape in [vec![5], vec![5, 3]] {
        check
            .run(&[dense(&shape[..], 2)], |tape, v| {
                v[0].log_softmax().take(tape.constant(ids.clone()))
            })
            .unwrap();
    }
    for table in [dense([6, 2], 3), holed([6, 2], 3).cast_storage(Stype::RowSparse).unwrap()] {
        check
            .run(&[table], |tape, v| {
                let rows = v[0].rows_of(tape.constant(x.clone()));
                tape.constant(other.clone()).dot(rows)
            })
            .unwrap();
    }
    check
        .run(&[dense([1, 2], 3)], |tape, v| {
            let rows = v[0].broadcast_like(tape.constant(few.clone()));
            tape.constant(other.clone()).dot(rows)
        })
        .unwrap();
}
