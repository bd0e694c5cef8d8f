//! Laws of the tape: errors wait for the exits and name the user's line, gradients stay sparse,
//! parameters are read in place and never stale.

use sparsetape::optim::{Sgd, Update, clip_global_norm};
use sparsetape::{
    DType, ErrorKind, Fallback, GradReq, Gradients, Loss, Parameter, Params, Stype, Tape, Tensor,
    assert_close,
};

fn csr() -> Tensor {
    Tensor::csr([3, 6], vec![0, 2, 2, 3], vec![1, 4, 4], vec![1.0f64, 2.0, 3.0]).unwrap()
}

fn full(shape: &[usize], x: f64) -> Tensor {
    Tensor::full(shape, x).unwrap()
}

fn parameter(name: &str, value: Tensor) -> Parameter {
    Parameter::new(name, value).unwrap()
}

#[test]
fn a_poisoned_variable_returns_its_first_error_at_every_exit() {
    let tape = Tape::new();
    let (x, w) = (tape.constant(csr()), tape.variable(full(&[5, 1], 1.0)));
    let line = line!() + 1;
    let bad = x.dot(w);
    let later = (bad + 1.0).exp().sum();
    let errors = [
        later.value().unwrap_err(),
        later.item::<f64>().unwrap_err(),
        later.shape().unwrap_err(),
        later.backward().unwrap_err(),
        tape.grad(later, &[w]).unwrap_err(),
        later.backward_with(&Tensor::scalar(1.0)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.operator_name()), (ErrorKind::Shape, Some("dot")));
        assert_eq!(error.operand_types(), ["csr f64 (3, 6)", "default f64 (5, 1)"]);
        let at = error.location().unwrap();
        assert!((at.file(), at.line()) == (file!(), line), "{error}");
    }
}

#[test]
fn variables_of_two_tapes_do_not_mix() {
    let (one, two) = (Tape::new(), Tape::new());
    let (a, b) = (one.constant(full(&[2], 1.0)), two.constant(full(&[2], 1.0)));
    assert_eq!((a + b).value().unwrap_err().kind(), ErrorKind::State);
}

#[test]
fn a_fallback_is_a_visible_cast_and_denied_at_the_users_line() {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let x = tape.variable(csr());
    let y = x.exp();
    assert_eq!(y.stype().unwrap(), Stype::Default);
    assert!(format!("{tape:?}").contains("= cast_storage(%0): default"));
    let gradients = y.sum().backward().unwrap();
    assert_eq!(gradients.wrt(x).unwrap().indices(), csr().indices());

    tape.set_fallback(Fallback::Deny);
    let line = line!() + 1;
    let error = x.exp().value().unwrap_err();
    assert_eq!((error.kind(), error.location().unwrap().line()), (ErrorKind::Fallback, line));
    assert!(error.message().contains("18 elements"), "{error}");
}

#[test]
fn errors_of_the_backward_pass_point_at_the_forward_line() {
    let tape = Tape::new();
    let x = tape.variable(full(&[2], 1.5));
    let line = line!() + 1;
    let y = x.digamma();
    let error = y.sum().backward().unwrap_err();
    assert_eq!(
        (error.kind(), error.operator_name()),
        (ErrorKind::NotDifferentiable, Some("digamma"))
    );
    assert_eq!(error.location().unwrap().line(), line);
}

#[test]
fn non_finite_values_are_reported_where_they_first_appear() {
    let tape = Tape::new();
    tape.detect_non_finite(true);
    let x = tape.variable(Tensor::dense([2], vec![0.0f64, 1.0]).unwrap());
    let line = line!() + 1;
    let bad = x.log();
    let error = (bad * 2.0).sum().value().unwrap_err();
    assert_eq!((error.kind(), error.operator_name()), (ErrorKind::NonFinite, Some("log")));
    assert_eq!(error.location().unwrap().line(), line);
    // In the backward pass: the square root is fine at 0, its slope is not.
    let line = line!() + 1;
    let root = x.sqrt();
    let error = root.sum().backward().unwrap_err();
    assert_eq!((error.kind(), error.location().unwrap().line()), (ErrorKind::NonFinite, line));
}

#[test]
fn the_gradient_of_a_weight_holds_exactly_the_columns_of_the_batch() {
    let rows: Vec<u32> = vec![1, 4];
    let dense = full(&[6, 2], 0.5);
    let stored = Tensor::row_sparse([6, 2], vec![4, 5], vec![1.0f64; 4]).unwrap();
    for weight in [dense, stored] {
        let w = parameter("w", weight);
        let tape = Tape::new();
        tape.set_fallback(Fallback::Deny);
        let loss = tape.constant(csr()).dot(tape.parameter(&w)).square().sum();
        let gradients = loss.backward().unwrap();
        let dw = gradients.of(&w).unwrap();
        assert_eq!((dw.stype(), dw.rows()), (Stype::RowSparse, Some(&rows[..])));
    }
}

#[test]
fn fan_out_merges_row_sparse_gradients() {
    let w = parameter("w", full(&[6, 1], 0.5));
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let var = tape.parameter(&w);
    let other = Tensor::csr([1, 6], vec![0, 2], vec![0, 4], vec![1.0f64, 5.0]).unwrap();
    let ids = tape.constant(Tensor::dense([1], vec![2i64]).unwrap());
    let loss = tape.constant(csr()).dot(var).sum()
        + tape.constant(other).dot(var).sum()
        + var.take(ids).sum();
    let gradients = loss.backward().unwrap();
    let dw = gradients.of(&w).unwrap();
    assert_eq!(dw.rows(), Some(&[0, 1, 2, 4][..]));
    assert_eq!(dw.values::<f64>().unwrap(), [1.0, 1.0, 1.0, 10.0]);
}

#[test]
fn head_cotangents_take_any_storage_type() {
    let x = Tensor::dense([2, 2], vec![1.0f64, 2.0, 3.0, 4.0]).unwrap();
    let head = Tensor::dense([2, 2], vec![0.0f64, 0.0, 5.0, 0.0]).unwrap();
    for stype in Stype::ALL {
        let tape = Tape::new();
        let v = tape.variable(x.clone());
        let gradients = (v * v).backward_with(&head.cast_storage(stype).unwrap()).unwrap();
        let want = Tensor::dense([2, 2], vec![0.0f64, 0.0, 30.0, 0.0]).unwrap();
        assert_close(
            &gradients.wrt(v).unwrap().cast_storage(Stype::Default).unwrap(),
            &want,
            0.0,
            0.0,
        );
    }
    let tape = Tape::new();
    let v = tape.variable(x);
    let error = v.backward().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert!(error.message().contains("needs a single number"), "{error}");
    let error = v.backward_with(&full(&[2, 3], 1.0)).unwrap_err();
    assert!(error.to_string().contains("default f64 (2, 3)"), "{error}");
}

#[test]
fn grad_req_writes_adds_or_leaves_out() {
    let w = parameter("w", full(&[6, 1], 0.5));
    let mut gradients = Gradients::default();
    let run = |gradients: &mut Gradients| {
        let tape = Tape::new();
        let loss = tape.constant(csr()).dot(tape.parameter(&w)).sum();
        loss.backward_into(gradients)
    };
    run(&mut gradients).unwrap();
    run(&mut gradients).unwrap();
    assert_eq!(gradients.of(&w).unwrap().values::<f64>().unwrap(), [1.0, 5.0]);
    w.set_grad_req(GradReq::Add);
    run(&mut gradients).unwrap();
    let sum = gradients.of(&w).unwrap();
    assert_eq!((sum.stype(), sum.values::<f64>().unwrap()), (Stype::RowSparse, &[2.0, 10.0][..]));
    w.set_grad_req(GradReq::Null);
    let error = run(&mut gradients).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDifferentiable, "nothing wants a gradient");
}

#[test]
fn a_leaf_may_ask_for_its_gradients_storage_type() {
    let w = parameter("w", full(&[6, 1], 0.5));
    for stype in [Stype::Default, Stype::RowSparse, Stype::Csr] {
        w.set_grad_stype(Some(stype));
        let tape = Tape::new();
        let gradients = tape.constant(csr()).dot(tape.parameter(&w)).sum().backward().unwrap();
        assert_eq!(gradients.of(&w).unwrap().stype(), stype);
    }
    let tape = Tape::new();
    let product = tape.variable(csr()) * 2.0;
    assert!(product.with_grad_stype(Stype::Default).value().is_err());
}

#[test]
fn a_parameter_is_not_read_after_an_update_it_did_not_record() {
    let w = parameter("w", full(&[6, 1], 0.5));
    let params = Params::new([&w]).unwrap();
    let tape = Tape::new();
    let var = tape.parameter(&w);
    let y = tape.constant(csr()).dot(var);
    let loss = y.square().sum();
    let before = loss.item::<f64>().unwrap();
    let gradients = loss.backward().unwrap();
    Sgd::new(0.1).step(&params, &gradients).unwrap();
    // Computed values stay readable; gradients that need no old weights too; new reads do not.
    assert_eq!(loss.item::<f64>().unwrap(), before);
    assert!(loss.backward().is_ok());
    let error = tape.constant(csr()).dot(var).value().unwrap_err();
    assert_eq!((error.kind(), error.operator_name()), (ErrorKind::Stale, Some("dot")));
    assert!(tape.constant(csr()).dot(tape.parameter(&w)).value().is_ok());
}

#[test]
fn a_parameters_memory_is_its_own() {
    let shared = full(&[4], 1.0);
    let w = parameter("w", shared.clone());
    let params = Params::new([&w]).unwrap();
    let snapshot = w.snapshot().unwrap();
    let tape = Tape::new();
    let gradients = tape.parameter(&w).sum().backward().unwrap();
    Sgd::new(1.0).step(&params, &gradients).unwrap();
    for unchanged in [shared, snapshot] {
        assert_eq!(unchanged.values::<f64>().unwrap(), [1.0; 4]);
    }
    assert_eq!(w.snapshot().unwrap().values::<f64>().unwrap(), [0.0; 4]);
    let error = tape.parameter(&w).value().unwrap_err();
    assert!(error.message().contains("snapshot"), "{error}");
}

#[test]
fn parameters_and_their_gradients_must_fit() {
    let error = Parameter::new("x", csr()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stype);
    let w = parameter("w", full(&[4], 1.0));
    let error = w.set(full(&[5], 1.0)).unwrap_err();
    assert!(error.to_string().contains("default f64 (4,)"), "{error}");
    let other = parameter("w", full(&[4], 1.0));
    assert!(Params::new([&w, &other]).is_err());
    assert_eq!(Params::new([&w, &w]).unwrap().len(), 1);
    let mut gradients = Gradients::default();
    gradients.set(&w, full(&[5], 1.0));
    let error = Sgd::new(0.1).step(&Params::new([&w]).unwrap(), &gradients).unwrap_err();
    assert!(error.to_string().contains("its gradient default f64 (5,)"), "{error}");
    assert!(Sgd::new(f64::NAN).step(&Params::new([&w]).unwrap(), &Gradients::default()).is_err());
}

#[test]
fn clear_forgets_values_and_gradients_of_the_recording() {
    let mut tape = Tape::new();
    let gradients = {
        let x = tape.variable(full(&[2], 3.0));
        x.square().sum().backward().unwrap()
    };
    tape.clear();
    assert!(tape.is_empty());
    let x = tape.variable(full(&[2], 3.0));
    assert!(gradients.wrt(x).is_none(), "a gradient of another recording");
}

#[test]
fn no_grad_and_integers_have_no_gradient() {
    let tape = Tape::new();
    let x = tape.variable(full(&[2], 3.0));
    let constant = tape.no_grad(|| x.square());
    assert_eq!(constant.sum().backward().unwrap_err().kind(), ErrorKind::NotDifferentiable);
    assert!((constant + x * 0.0).sum().backward().unwrap().wrt(x).is_some());
    let ids = tape.variable(Tensor::dense([1], vec![1i64]).unwrap());
    let loss = x.take(ids).sum();
    let gradients = loss.backward().unwrap();
    assert!(gradients.wrt(ids).is_none());
    assert_eq!(gradients.wrt(x).unwrap().rows(), Some(&[1][..]));
    let error = tape.grad(loss, &[ids]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDifferentiable);
}

#[test]
fn second_order_gradients_of_a_sparse_model_stay_sparse() {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let w = tape.variable(full(&[6, 1], 0.5));
    let y = tape.constant(csr()).dot(w);
    let loss = (y * y * y).sum();
    let first = tape.grad(loss, &[w]).unwrap()[0];
    let second = tape.grad(first.square().sum(), &[w]).unwrap()[0];
    for gradient in [first, second] {
        let value = gradient.value().unwrap();
        assert_eq!((value.stype(), value.rows()), (Stype::RowSparse, Some(&[1, 4][..])));
    }
}

#[test]
fn clipping_by_global_norm_keeps_storage_types() {
    let (w, b) = (parameter("w", full(&[6, 1], 0.5)), parameter("b", full(&[1], 0.0)));
    let params = Params::new([&w, &b]).unwrap();
    let tape = Tape::new();
    let logits = tape.constant(csr()).dot(tape.parameter(&w)) + tape.parameter(&b);
    let mut gradients = logits.sum().backward().unwrap();
    // dw = (1, 5) at rows 1 and 4, db = 3.
    let norm = clip_global_norm(&params, &mut gradients, 1.0).unwrap();
    assert!((norm - 35f64.sqrt()).abs() < 1e-14);
    let dw = gradients.of(&w).unwrap();
    assert_eq!((dw.stype(), dw.rows()), (Stype::RowSparse, Some(&[1, 4][..])));
    assert!((dw.values::<f64>().unwrap()[1] - 5.0 / norm).abs() < 1e-15);
}

#[test]
fn labels_and_ids_out_of_range_name_their_row() {
    let tape = Tape::new();
    let logits = tape.variable(full(&[2, 3], 0.0));
    let labels = tape.constant(Tensor::dense([2], vec![0i64, 3]).unwrap());
    let loss = logits.softmax_cross_entropy(labels);
    let error = loss.value().unwrap_err();
    assert!(error.to_string().contains("label 3 in row 1"), "{error}");
}

#[test]
fn parameters_survive_a_file_and_damaged_files_are_errors() {
    let dir = std::env::temp_dir().join(format!("sparsetape-tape-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("model.safetensors");
    let dense = parameter("dense", full(&[2, 3], 1.5));
    let rows = Tensor::row_sparse([9, 2], vec![2, 8], vec![1.0f32, f32::NAN, -0.0, 4.0]).unwrap();
    let sparse = parameter("rows", rows);
    let params = Params::new([&dense, &sparse]).unwrap();
    params.save(&path, &[("note".to_owned(), "text".to_owned())].into()).unwrap();
    let (loaded, notes) = Params::load(&path).unwrap();
    assert_eq!(notes["note"], "text");
    for parameter in &params {
        let twin = loaded.get(parameter.name()).unwrap();
        assert!(twin.snapshot().unwrap().same_bits(&parameter.snapshot().unwrap()));
    }
    let bytes = std::fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Params::load(&path).is_err(), "cut at {cut}");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        std::fs::write(&path, &damaged).unwrap();
        // Damage to values or names loads; whatever else is an error, never a panic.
        let _ = Params::load(&path);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn gradients_are_finite_where_a_rule_would_divide_zero_by_zero() {
    let zero = || full(&[2], 0.0);
    let tape = Tape::new();
    tape.detect_non_finite(true);
    let (x, y) = (tape.variable(zero()), tape.variable(zero()));
    let value = x.hypot(y) + x.power_scalar(0.0) + x.power_scalar(2.0) + x.modulo(y);
    let first = tape.grad(value.sum(), &[x, y]).unwrap();
    for gradient in &first {
        assert_eq!(gradient.value().unwrap().values::<f64>().unwrap(), [0.0, 0.0]);
    }
    // The second derivative of x² is 2, at 0 too.
    let square = tape.grad(x.power_scalar(2.0).sum(), &[x]).unwrap()[0];
    let second = tape.grad(square.sum(), &[x]).unwrap()[0];
    assert_eq!(second.value().unwrap().values::<f64>().unwrap(), [2.0, 2.0]);
}

#[test]
fn sparsity_is_proved_for_the_scalars_as_they_round() {
    let x = csr().cast(sparsetape::DType::F32);
    // 1e-60 is 0 in f32, and 0 = 0 holds for absent entries.
    for y in [x.equal_scalar(1e-60), x.power_scalar(1e-60), x.greater_equal_scalar(1e-60)] {
        assert_eq!(y.unwrap().stype(), Stype::Default);
    }
    assert_eq!(x.mul_scalar(2.0).unwrap().stype(), Stype::Csr);
}

#[test]
fn a_table_that_broadcasting_leaves_alone_keeps_its_row_sparse_gradient() {
    let (w, scale) = (parameter("w", full(&[6, 2], 0.5)), parameter("s", full(&[2], 2.0)));
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let scaled = tape.parameter(&w) * tape.parameter(&scale);
    let gradients = tape.constant(csr()).dot(scaled).sum().backward().unwrap();
    assert_eq!(gradients.of(&w).unwrap().rows(), Some(&[1, 4][..]));
    assert_eq!(gradients.of(&scale).unwrap().values::<f64>().unwrap(), [3.0, 3.0]);
}

#[test]
fn rows_that_nothing_addressed_get_no_gradient() {
    // √ has an infinite slope at absent rows, which a product addresses all the same.
    let w = parameter("w", Tensor::row_sparse([6, 1], vec![4], vec![4.0f64]).unwrap());
    let tape = Tape::new();
    tape.detect_non_finite(true);
    let gradients = tape.constant(csr()).dot(tape.parameter(&w).sqrt()).sum().backward().unwrap();
    let dw = gradients.of(&w).unwrap();
    assert_eq!((dw.rows(), dw.values::<f64>().unwrap()), (Some(&[4][..]), &[1.25][..]));
}

#[test]
fn gradients_are_refused_for_constants_and_other_tapes() {
    let (one, two) = (Tape::new(), Tape::new());
    let (a, b) = (one.variable(full(&[2], 1.0)), two.variable(full(&[2], 1.0)));
    let constant = one.constant(full(&[2], 1.0));
    let y = (a * constant).sum();
    assert_eq!(one.grad(y, &[constant]).unwrap_err().kind(), ErrorKind::NotDifferentiable);
    assert_eq!(one.grad(y, &[b]).unwrap_err().kind(), ErrorKind::State);
    assert_eq!(two.grad(y, &[b]).unwrap_err().kind(), ErrorKind::State);
}

#[test]
fn a_vector_weight_gets_a_row_sparse_gradient_too() {
    for weight in [full(&[6], 0.5), Tensor::row_sparse([6], vec![4], vec![2.0f64]).unwrap()] {
        let w = parameter("w", weight);
        let tape = Tape::new();
        tape.set_fallback(Fallback::Deny);
        let y = tape.constant(csr()).dot(tape.parameter(&w));
        assert_eq!(y.shape().unwrap()[..], [3]);
        let gradients = y.sum().backward().unwrap();
        let dw = gradients.of(&w).unwrap();
        assert_eq!((dw.stype(), &dw.shape()[..]), (Stype::RowSparse, &[6][..]));
        assert_eq!((dw.rows(), dw.values::<f64>().unwrap()), (Some(&[1, 4][..]), &[1.0, 5.0][..]));
    }
}

#[test]
fn momentum_follows_a_row_sparse_weight_that_was_replaced() {
    let rows = |rows: Vec<u32>| {
        let values = vec![1.0f64; rows.len()];
        Tensor::row_sparse([10, 1], rows, values).unwrap()
    };
    let w = parameter("w", rows(vec![1, 2]));
    let params = Params::new([&w]).unwrap();
    let mut sgd = Sgd::new(1.0).momentum(0.5);
    let mut gradients = Gradients::default();
    gradients.set(&w, rows(vec![1]));
    sgd.step(&params, &gradients).unwrap();
    w.set(rows(vec![5, 9])).unwrap();
    gradients.set(&w, rows(vec![5]));
    sgd.step(&params, &gradients).unwrap();
    let weight = w.snapshot().unwrap();
    let momentum = sgd.state_of(&w, "momentum").unwrap().unwrap();
    assert_eq!(weight.rows(), momentum.rows());
    let at = |x: &Tensor, row: u32| {
        let n = x.rows().unwrap().binary_search(&row).unwrap();
        x.values::<f64>().unwrap()[n]
    };
    assert_eq!([5, 9].map(|row| at(&weight, row)), [0.0, 1.0]);
    // Row 1 was stored no longer: its momentum went with it.
    assert_eq!([5, 9].map(|row| at(&momentum, row)), [-1.0, 0.0]);
}

#[test]
fn a_lazy_step_moves_the_rows_of_the_gradient_and_a_standard_one_all() {
    for update in [Update::Lazy, Update::Dense] {
        let w = parameter("w", full(&[4, 1], 1.0));
        let mut gradients = Gradients::default();
        // Row 2 is touched, though its gradient is 0.
        gradients.set(&w, Tensor::row_sparse([4, 1], vec![1, 2], vec![1.0f64, 0.0]).unwrap());
        let mut sgd = Sgd::new(0.5).weight_decay(0.1).update(update);
        sgd.step(&Params::new([&w]).unwrap(), &gradients).unwrap();
        let decayed = 1.0 - 0.5 * 0.1;
        let untouched = if update == Update::Lazy { 1.0 } else { decayed };
        let want = [untouched, 1.0 - 0.5 * 1.1, decayed, untouched];
        assert_close(
            &w.snapshot().unwrap(),
            &Tensor::dense([4, 1], want.to_vec()).unwrap(),
            1e-15,
            0.0,
        );
    }
}

#[test]
fn a_warning_goes_to_stderr_when_nobody_listens() {
    const CHILD: &str = "SPARSETAPE_TEST_WARNS";
    if std::env::var_os(CHILD).is_some() {
        let tape = Tape::new();
        let x = tape.constant(csr());
        for _ in 0..3 {
            x.exp();
        }
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let run = std::process::Command::new(itself)
        .args(["--exact", "a_warning_goes_to_stderr_when_nobody_listens", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stderr);
    let warnings: Vec<&str> = text.lines().filter(|l| l.starts_with("sparsetape: ")).collect();
    let [warning] = warnings[..] else { panic!("once per line, got {text}") };
    for part in ["exp(csr f64 (3, 6))", "18 elements", file!(), "Fallback::Allow"] {
        assert!(warning.contains(part), "{warning}");
    }
}

#[test]
fn unrecorded_operators_are_the_recorded_ones() {
    let (x, w) = (csr(), full(&[6, 2], 0.5));
    let labels = Tensor::dense([3], vec![0i64, 1, 0]).unwrap();
    let tape = Tape::new();
    let logits = tape.constant(x.clone()).dot(tape.constant(w.clone()));
    let loss = logits.softmax_cross_entropy_with(tape.constant(labels.clone()), &Loss::sum());
    let plain = x.dot(&w).unwrap();
    assert!(plain.same_bits(&logits.value().unwrap()));
    let plain_loss = plain.softmax_cross_entropy_with(&labels, &Loss::sum()).unwrap();
    assert!(plain_loss.same_bits(&loss.value().unwrap()));
    let line = line!() + 1;
    let error = x.dot(&labels).unwrap_err();
    assert_eq!(error.location().unwrap().line(), line, "{error}");
}

#[test]
fn unreasonable_sizes_are_errors() {
    let x = Tensor::zeros(Stype::Default, [0, 3], DType::F32).unwrap();
    let tape = Tape::new();
    for parts in [usize::MAX, usize::MAX / 32] {
        let refused = tape.constant(x.clone()).split(0, parts);
        assert_eq!(refused[0].value().unwrap_err().kind(), ErrorKind::Value);
        assert!(x.split(0, parts).unwrap_err().to_string().contains("no memory for"));
    }
    assert_eq!(tape.constant(x).split(1, 2).len(), 2);
    let wide = Tensor::zeros(Stype::Csr, [0, 1 << 32], DType::F64).unwrap();
    let y = Fallback::Allow.during(|| wide.softmax_axis(0)).unwrap();
    assert_eq!(y.nnz(), 0);
    let half = Tensor::row_sparse([1 << 31], vec![7], vec![1.0f64]).unwrap();
    assert_eq!(Tensor::concat(&[&half, &half], 0).unwrap().rows(), Some(&[7, (1 << 31) + 7][..]));
    let error = Tensor::concat(&[&half, &half, &half], 0).unwrap_err();
    assert!(error.to_string().contains("sparse ids are 32-bit"), "{error}");
    let tall = Tensor::zeros(Stype::Default, [1 << 40, 0], DType::F64).unwrap();
    assert_eq!(tall.cast_storage(Stype::Csr).unwrap_err().kind(), ErrorKind::Shape);
    let many = Tensor::zeros(Stype::Default, [1 << 32, 0], DType::F64).unwrap();
    assert_eq!(many.cast_storage(Stype::RowSparse).unwrap().rows(), Some(&[][..]));
    assert_eq!(tall.sum().unwrap().item::<f64>().unwrap(), 0.0);
    assert_eq!(tall.log_sum_exp(&[0, 1], false).unwrap().item::<f64>().unwrap(), f64::NEG_INFINITY);
}

#[test]
fn sparse_cotangents_reach_single_numbers() {
    let tape = Tape::new();
    let x = tape.variable(Tensor::scalar(3.0f64));
    let label = tape.constant(Tensor::row_sparse([1], vec![0], vec![1.0f64]).unwrap());
    let dx = x.linear_regression_output(label, 1.0).backward().unwrap();
    assert_eq!(dx.wrt(x).unwrap().item::<f64>().unwrap(), 2.0);
    let dy = Tensor::row_sparse([1], vec![0], vec![5.0f64]).unwrap();
    let dx = x.expand_dims(0).backward_with(&dy).unwrap();
    assert_eq!(dx.wrt(x).unwrap().item::<f64>().unwrap(), 5.0);
}

#[test]
fn row_sparse_vectors_have_a_product() {
    let tape = Tape::new();
    let x = tape.variable(Tensor::row_sparse([3], vec![1], vec![2.0f64]).unwrap());
    let y = tape.variable(Tensor::row_sparse([3], vec![0, 1], vec![5.0f64, 7.0]).unwrap());
    let product = x.dot(y);
    assert_eq!((product.item::<f64>().unwrap(), product.shape().unwrap().len()), (14.0, 0));
    let gradients = product.backward().unwrap();
    assert_eq!(gradients.wrt(x).unwrap().values::<f64>().unwrap(), [7.0]);
    let dense = tape.constant(full(&[3], 4.0));
    assert_eq!(x.dot(dense).item::<f64>().unwrap(), 8.0);
    let huge = Tensor::row_sparse([1 << 32], vec![1, u32::MAX], vec![2.0f64, 3.0]).unwrap();
    assert_eq!(huge.dot(&huge).unwrap().item::<f64>().unwrap(), 13.0);
}

#[test]
fn a_sampled_product_is_located_at_its_call() {
    let tape = Tape::new();
    let x = tape.constant(Tensor::full([2, 2], 1.0f32).unwrap());
    let wide = tape.constant(Tensor::full([2, 3], 1.0f32).unwrap());
    let error = x.sampled_dot(x, wide).value().unwrap_err();
    assert_eq!(error.location().unwrap().file(), file!());
}

#[test]
fn a_number_on_the_left_is_located_at_its_call() {
    let tape = Tape::new();
    let x = tape.constant(full(&[2], 3.0));
    let (sum, difference, product, quotient) = (1 + x, 1.0 - x, 2 * x, 2.0 / x);
    for y in [sum, difference, product, quotient] {
        assert_eq!(y.location().unwrap().line(), line!() - 2);
        assert_eq!(y.location().unwrap().file(), file!());
    }
}

#[test]
fn sparse_cotangents_of_a_table_take_no_memory_for_its_other_rows() {
    let tape = Tape::new();
    let table = Tensor::row_sparse([1 << 32, 2], vec![7], vec![1.0f64, 2.0]).unwrap();
    let table = tape.variable(table);
    let x = Tensor::csr([2, 1 << 32], vec![0, 1, 2], vec![7, 9], vec![1.0f64, 2.0]).unwrap();
    let y = tape.constant(x).dot(table);
    let dy = Tensor::csr([2, 2], vec![0, 1, 2], vec![0, 1], vec![3.0f64, 5.0]).unwrap();
    let gradients = y.backward_with(&dy).unwrap();
    let dx = gradients.wrt(table).unwrap();
    assert_eq!(
        (dx.rows(), dx.values::<f64>().unwrap()),
        (Some(&[7, 9][..]), &[3.0, 0.0, 0.0, 10.0][..])
    );
}

/// Values of a few numbers live side by side: hundreds of them, and their gradients, are those of a loop.
#[test]
fn a_long_chain_of_small_values_has_the_gradients_of_a_loop() {
    const N: usize = 300;
    let mut tape = Tape::new();
    let of = |from: f32, by: f32| (0..16).map(|i| from + by * i as f32).collect::<Vec<f32>>();
    let (start, factor, more) = (of(0.5, 0.01), of(0.999, 1e-4), of(1e-3, 1e-5));
    for _ in 0..2 {
        tape.clear();
        let leaf = |values: &Vec<f32>| tape.variable(Tensor::dense([16], values.clone()).unwrap());
        let [h, w, b] = [&start, &factor, &more].map(leaf);
        let last = (0..N).fold(h, |h, _| h * w + b);
        let gradients = last.backward_with(&Tensor::full([16], 1.0f32).unwrap()).unwrap();
        let of = |x| gradients.wrt(x).unwrap().values::<f32>().unwrap();
        for i in 0..16 {
            let mut values = vec![start[i]];
            (0..N).for_each(|k| values.push(values[k] * factor[i] + more[i]));
            let (mut dy, mut dw, mut db) = (1.0, 0.0, 0.0);
            for k in (0..N).rev() {
                (dw, db) = (dw + dy * values[k], db + dy);
                dy *= factor[i];
            }
            assert_eq!(last.value().unwrap().values::<f32>().unwrap()[i], values[N]);
            assert_eq!((of(h)[i], of(w)[i], of(b)[i]), (dy, dw, db), "{i}");
        }
    }
}

/// Small values take a shorter way, unless somebody looks: to the same bits, in every order.
#[test]
fn small_values_are_the_same_when_somebody_looks() {
    let run = |watched: bool| {
        let tape = Tape::new();
        if watched {
            tape.start_profile();
        }
        let leaf = |x: [f32; 3]| tape.variable(Tensor::dense([3], x.to_vec()).unwrap());
        let (x, w) = (leaf([0.5, -1.5, 2.0]), leaf([1.25, 0.75, -0.5]));
        let y = ((2.0 * x - 0.3) * w / 3.0 + (x.tanh() * (1.0 - x)).square()).exp() / (w + 7.0);
        let ones = tape.constant(Tensor::full([3], 1.0f32).unwrap());
        let gradients = y.backward_with(&Tensor::full([3], 1.0f32).unwrap()).unwrap();
        let first = tape.grad_with(y, ones, &[x, w]).unwrap();
        let second = tape.grad_with(first[0], ones, &[x, w]).unwrap();
        let computed = [y, first[0], first[1], second[0], second[1]].map(|y| y.value().unwrap());
        let swept = [x, w].map(|x| gradients.wrt(x).unwrap().clone());
        let all = computed.into_iter().chain(swept);
        all.flat_map(|y| y.values::<f32>().unwrap().to_vec()).map(f32::to_bits).collect::<Vec<_>>()
    };
    let bits = run(false);
    assert_eq!(bits, run(true));
    assert_eq!(bits[3..9], bits[15..21]);
}
