//! Symbolic recordings: types without values.

use sparsetape::{
    BagReduction, DType, Embedding, EmbeddingBag, ErrorKind, Fallback, Loss, NormOrder, OutOfRange,
    PartialShape, SliceRange, SoftmaxLayout, SoftmaxOutput, Stype, Tape, Tensor, Var, variable,
};

#[test]
fn facts_flow_both_ways() {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr).shape([Some(32), Some(1000)]));
    let weight = tape.symbol(variable("weight").stype(Stype::RowSparse).shape([None, Some(2)]));
    let bias = tape.symbol(variable("bias").shape([2]).dtype(DType::F64));
    let out = data.dot(weight) + bias;
    let label = tape.symbol(variable("label").shape([32, 2]));
    let loss = (out - label).square().sum();
    assert_eq!(loss.ty().unwrap().to_string(), "default f64 ()");
    assert_eq!(data.dtype().unwrap(), DType::F64);
}

#[test]
fn an_unknown_shape_names_the_variable() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").shape([None, Some(3)]));
    let error = x.exp().shape().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert!(error.to_string().contains("\"x\" is default ? (?, 3)"), "{error}");
}

#[test]
fn contradictions_are_found_where_they_are_recorded() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").shape([2, 3]));
    let y = tape.symbol(variable("y").shape([4, 5]));
    let error = x.dot(y).ok().unwrap_err();
    assert_eq!((error.kind(), error.operator_name()), (ErrorKind::Shape, Some("dot")));
    tape.set_fallback(Fallback::Deny);
    let s = tape.symbol(variable("s").stype(Stype::Csr));
    assert_eq!(s.exp().ok().unwrap_err().kind(), ErrorKind::Fallback);
    let f = tape.symbol(variable("f").dtype(DType::F32));
    let d = tape.symbol(variable("d").dtype(DType::F64));
    assert_eq!((f * d).ok().unwrap_err().kind(), ErrorKind::DType);
}

#[test]
fn gradients_are_recorded_too() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([4, 9]));
    let w = tape.symbol(variable("w").shape([9, 1]));
    let loss = x.dot(w).square().mean();
    let dw = tape.grad(loss, &[w]).unwrap()[0];
    assert_eq!(dw.partial_type().unwrap().to_string(), "row_sparse ? (9, 1)");
    assert!(loss.item::<f32>().is_err());
    let c = tape.constant(Tensor::scalar(2.0f64));
    assert_eq!((loss * c).dtype().unwrap(), DType::F64);
}

/// A variable by words: a storage type, an element type, and sizes with `?` for unknown ones, or
/// nothing for an unknown rank (`()` for a rank of 0).
fn symbol<'t>(tape: &'t Tape, words: &str) -> Var<'t> {
    let (mut symbol, mut sizes) = (variable(format!("v{}", tape.len())), None::<Vec<_>>);
    for word in words.split_whitespace() {
        match word {
            "csr" => symbol = symbol.stype(Stype::Csr),
            "rows" => symbol = symbol.stype(Stype::RowSparse),
            "f32" => symbol = symbol.dtype(DType::F32),
            "f64" => symbol = symbol.dtype(DType::F64),
            "i64" => symbol = symbol.dtype(DType::I64),
            "()" => sizes = Some(Vec::new()),
            size => sizes.get_or_insert_default().push(size.parse().ok()),
        }
    }
    tape.symbol(symbol.shape(PartialShape::from(sizes)))
}

/// Says what the shape is, after the value was recorded.
fn told(y: Var<'_>, sizes: &str) {
    y.project_like(symbol(y.tape(), sizes)).ok().unwrap();
}

/// What is known of the shape, from all that was recorded.
fn shape(x: Var<'_>) -> String {
    let _ = x.shape();
    x.partial_type().unwrap().shape.to_string()
}

/// What a test records on variables.
type Record = for<'t> fn(&[Var<'t>]) -> Var<'t>;

/// Records an operator on variables; says the result's shape, if any; what is known then of operands
/// and result.
fn inferred(operands: &[&str], result: &str, record: Record) -> String {
    let tape = Tape::symbolic();
    let x: Vec<Var<'_>> = operands.iter().map(|words| symbol(&tape, words)).collect();
    let y = record(&x).ok().unwrap();
    if !result.is_empty() {
        told(y, result);
    }
    let shapes: Vec<String> = x.iter().map(|x| shape(*x)).collect();
    format!("{} -> {}", shapes.join(" "), shape(y))
}

#[test]
fn results_follow_from_operands_that_are_partly_known() {
    let is = |operands: &[&str], record: Record, wanted: &str| {
        let all = inferred(operands, "", record);
        assert_eq!(all.split_once(" -> ").unwrap().1, wanted, "{operands:?}");
    };
    is(&[""], |x| x[0].sum(), "()");
    is(&[""], |x| x[0].size_of(0), "()");
    is(&[""], |x| x[0].getnnz(None), "()");
    is(&["? 5"], |x| x[0].sum_axes(&[0], false), "(5,)");
    is(&[""], |x| x[0].sum_except(&[0, 1], false), "(?, ?)");
    is(&["? 5"], |x| x[0].mean_axes(&[-1], true), "(?, 1)");
    is(&["? 5"], |x| x[0].norm_axes(NormOrder::L2, &[1], false), "(?,)");
    is(&["? 5 ?"], |x| x[0].max_axes(&[0], false), "(5, ?)");
    is(&["? 5"], |x| x[0].argmax(-1), "(?,)");
    is(&["? 5"], |x| x[0].transpose(&[]), "(5, ?)");
    is(&["? 3 4"], |x| x[0].reshape(&[0, -1]), "(?, 12)");
    is(&[""], |x| x[0].reshape(&[-1, 3]), "(?, 3)");
    is(&["? 3 4"], |x| x[0].flatten(), "(?, 12)");
    is(&[""], |x| x[0].flatten(), "(?, ?)");
    is(&["? 3"], |x| x[0].expand_dims(1), "(?, 1, 3)");
    is(&["? ? 3"], |x| x[0].squeeze(&[1]), "(?, 3)");
    is(&["? 6"], |x| x[0].split(1, 2)[1], "(?, 3)");
    is(&["? 6"], |x| x[0].slice((.., 1..3)), "(?, 2)");
    is(&["? 6"], |x| x[0].slice_axis(-1, SliceRange::from(..).step(2)), "(?, 3)");
    is(&["? 6"], |x| x[0].top_k(2).1, "(?, 2)");
    is(&["i64 ?"], |x| x[0].one_hot(7, DType::F32), "(?, 7)");
    is(&["100 8", "i64 ? 3"], |x| x[0].take(x[1]), "(?, 3, 8)");
    is(&["? 5", "i64 ?"], |x| x[0].pick(x[1]), "(?,)");
    is(&["? 2", "? 3"], |x| x[0].tape().concat(x, 1), "(?, 5)");
    is(&["4 2", "? ?"], |x| x[0].tape().concat(x, 0), "(?, 2)");
    is(&["? 2", "? 2"], |x| x[0].tape().stack(x, 0), "(2, ?, 2)");
    is(&["? 5", "5"], |x| x[0] + x[1], "(?, 5)");
    is(&["? 5", "? 1"], |x| x[0] * x[1], "(?, 5)");
    is(&["", "()"], |x| x[0] * x[1], "(..)");
    is(&["?", "3 1"], |x| x[0] * x[1], "(3, ?)");
    is(&["? 1"], |x| x[0].broadcast_to(&[0, 4]), "(?, 4)");
    is(&["? 2 3", "? 3 ?"], |x| x[0].batch_dot(x[1], false, false), "(?, 2, ?)");
}

#[test]
fn operands_follow_from_results() {
    let is = |operands: &[&str], result: &str, record: Record, wanted: &str| {
        assert_eq!(inferred(operands, result, record), wanted);
    };
    is(&["8 5", ""], "8 3", |x| x[0].dot(x[1]), "(8, 5) (5, 3) -> (8, 3)");
    is(&["8 5", ""], "8 3", |x| x[0].fully_connected(x[1], None), "(8, 5) (3, 5) -> (8, 3)");
    is(
        &["2 8 5", ""],
        "2 8 3",
        |x| x[0].batch_dot(x[1], false, true),
        "(2, 8, 5) (2, 3, 5) -> (2, 8, 3)",
    );
    is(&["", "i64 4"], "4 8", |x| x[0].take(x[1]), "(?, 8) (4,) -> (4, 8)");
    is(&["9 8", "i64"], "4 6 8", |x| x[0].take(x[1]), "(9, 8) (4, 6) -> (4, 6, 8)");
    is(&[""], "3 4", |x| x[0].transpose(&[]), "(4, 3) -> (3, 4)");
    is(&[""], "3 1 4", |x| x[0].expand_dims(1), "(3, 4) -> (3, 1, 4)");
    is(&[""], "3 4", |x| x[0].squeeze(&[0]), "(1, 3, 4) -> (3, 4)");
    is(&["? 3 4"], "5 12", |x| x[0].reshape(&[0, -1]), "(5, 3, 4) -> (5, 12)");
    is(&["? 4"], "10 2", |x| x[0].reshape(&[-1, 2]), "(5, 4) -> (10, 2)");
    is(&["? ?"], "5 2", |x| x[0].slice((.., 1..3)), "(5, ?) -> (5, 2)");
    is(&[""], "5 2", |x| x[0].split(1, 3)[0], "(5, 6) -> (5, 2)");
    is(&["5 2", ""], "5 9", |x| x[0].tape().concat(x, 1), "(5, 2) (5, 7) -> (5, 9)");
    is(&[""], "5", |x| x[0].sum_axes(&[1], false), "(5, ?) -> (5,)");
    is(&["i64"], "5 3", |x| x[0].one_hot(3, DType::F64), "(5,) -> (5, 3)");
    is(&["", "5"], "3 5", |x| x[0] + x[1], "(3, ?) (5,) -> (3, 5)");
    is(&["? 5", "1 5"], "3 5", |x| x[0] + x[1], "(3, 5) (1, 5) -> (3, 5)");
    is(&["? 5", "? 5"], "3 5", |x| x[0] * x[1], "(3, 5) (3, 5) -> (3, 5)");
    is(&[""], "1 4", |x| x[0].sum_axes(&[0], true), "(?, 4) -> (1, 4)");
    is(&["? ?", "? ?"], "3 4", |x| x[0].sum_axes(&[-1], true) * x[1], "(?, ?) (3, 4) -> (3, 4)");
}

#[test]
fn heads_give_their_labels_shapes() {
    let label = |data: &str, head: for<'t> fn(Var<'t>, Var<'t>) -> Var<'t>| {
        let tape = Tape::symbolic();
        let (x, label) = (symbol(&tape, data), symbol(&tape, ""));
        head(x, label).ok().unwrap();
        shape(label)
    };
    assert_eq!(label("32 3", |x, y| x.linear_regression_output(y, 1.0)), "(32, 3)");
    assert_eq!(label("? 1", |x, y| x.logistic_regression_output(y, 1.0)), "(?,)");
    assert_eq!(label("32 10", |x, y| x.softmax_output(y)), "(32,)");
    assert_eq!(
        label("? 10 7", |x, y| {
            x.softmax_output_with(y, SoftmaxOutput::new().layout(SoftmaxLayout::SecondAxis))
        }),
        "(?, 7)"
    );
    // A label that was declared is what it was declared to be.
    let tape = Tape::symbolic();
    let (x, y) = (symbol(&tape, "32 1"), symbol(&tape, "? 1"));
    x.linear_regression_output(y, 1.0).ok().unwrap();
    assert_eq!(shape(y), "(32, 1)");
}

/// Records a loss on a symbolic tape with an unknown batch axis: the types of its value and of the
/// gradient of its first variable, once the batch is known.
fn trained(operands: &[&str], record: impl for<'t> Fn(&[Var<'t>]) -> Var<'t>) -> (String, String) {
    let tape = Tape::symbolic();
    tape.set_fallback(Fallback::Deny);
    let x: Vec<Var<'_>> = operands.iter().map(|words| symbol(&tape, words)).collect();
    let loss = record(&x);
    let ty = loss.partial_type().unwrap().to_string();
    let dx = tape.grad(loss, &x[..1]).unwrap()[0];
    let _ = dx.shape();
    (ty, dx.partial_type().unwrap().to_string())
}

#[test]
fn losses_are_recorded_before_the_batch_is_known() {
    let number = |operands: &[&str], record: Record| {
        let (loss, dz) = trained(operands, record);
        assert_eq!(loss, "default f64 ()", "{operands:?}");
        assert!(dz.starts_with("default f64 (?"), "{dz}");
    };
    for labels in ["i64 ?", "i64 ? 1", "f64 ? 5", "csr f64 ? 5", "?"] {
        number(&["f64 ? 5", labels], |x| x[0].softmax_cross_entropy(x[1]));
        number(&["f64 ? 5", labels, "f64 5", "f64 ?"], |x| {
            let loss = Loss::mean().class_weights(x[2]).sample_weights(x[3]);
            x[0].softmax_cross_entropy_with(x[1], &loss)
        });
    }
    for (z, y) in [("?", "?"), ("? 1", "?"), ("?", "? 1"), ("? 3", "? 3"), ("? 1", "csr ? 1")] {
        let z = format!("f64 {z}");
        number(&[&z, y], |x| x[0].sigmoid_binary_cross_entropy(x[1]));
        number(&[&z, y], |x| x[0].l2_loss(x[1]));
        if !y.starts_with("csr") {
            number(&[&z, y, "", "?"], |x| {
                let loss = Loss::mean().class_weights(x[2]).sample_weights(x[3]);
                x[0].sigmoid_binary_cross_entropy_with(x[1], &loss)
            });
            number(&[&z, y], |x| x[0].hinge(x[1]));
            number(&[&z, y, "", "?"], |x| {
                let loss = Loss::sum().class_weights(x[2]).sample_weights(x[3]);
                x[0].hinge_with(x[1], &loss)
            });
        }
    }
}

#[test]
fn models_are_recorded_before_the_batch_is_known() {
    let is = |operands: &[&str], record: Record, wanted: [&str; 2]| {
        let (y, dx) = trained(operands, |x| record(x).sum() * 1.0 + record(x).sum());
        assert_eq!((y.as_str(), dx.as_str()), (wanted[0], wanted[1]), "{operands:?}");
    };
    let number = "default f64 ()";
    let (table, x) = ("f64 100 8", "f64 ? 8");
    is(
        &["f64 3 8", x, "3"],
        |v| v[1].fully_connected(v[0], Some(v[2])),
        [number, "default f64 (3, 8)"],
    );
    is(
        &["f64 3 8", "csr ? 8", ""],
        |v| v[1].fully_connected(v[0], Some(v[2])),
        [number, "default f64 (3, 8)"],
    );
    is(
        &["f64 3", x, "3 8"],
        |v| v[1].fully_connected(v[2], Some(v[0])),
        [number, "default f64 (3,)"],
    );
    is(
        &["rows f64 3 24", "? 2 3 4"],
        |v| v[1].fully_connected(v[0], None),
        [number, "row_sparse f64 (3, 24)"],
    );
    is(&[table, "i64 ?"], |v| v[1].embedding(v[0]), [number, "row_sparse f64 (100, 8)"]);
    is(
        &[table, "i64 ? 4"],
        |v| {
            let how = Embedding { sparse_grad: false, out_of_range: OutOfRange::Clip };
            v[1].embedding_with(v[0], how)
        },
        [number, "default f64 (100, 8)"],
    );
    is(
        &[table, "i64", "i64 ?"],
        |v| v[0].embedding_bag(v[1], v[2], None, EmbeddingBag::default()),
        [number, "row_sparse f64 (100, 8)"],
    );
    is(
        &[table, "i64 ?", "i64", "?"],
        |v| {
            let how = EmbeddingBag { reduction: BagReduction::Sum, padding_idx: Some(0) };
            v[0].embedding_bag(v[1], v[2], Some(v[3]), how)
        },
        [number, "row_sparse f64 (100, 8)"],
    );
    is(&["f64 8", "csr ? 8"], |v| v[1].dot(v[0]), [number, "row_sparse f64 (8,)"]);
    is(&["f64 ?", "? 8"], |v| v[0].dot(v[1]), [number, "default f64 (?,)"]);
    is(&[x, "i64 ?"], |v| v[1].select(v[0], v[0].neg()), [number, "default f64 (?, 8)"]);
    is(
        &[x, "? 8"],
        |v| v[1].greater_scalar(0.0).select(v[0], v[0].neg()),
        [number, "default f64 (?, 8)"],
    );
    is(&[x, "8"], |v| v[0] + v[1], [number, "default f64 (?, 8)"]);
    is(&["f64 8", "? 8"], |v| v[0] * v[1], [number, "default f64 (8,)"]);
    is(&[x, "? 8"], |v| v[0] * v[1], [number, "default f64 (?, 8)"]);
    is(&["csr f64 ? 8", "? 8"], |v| v[0] * v[1], [number, "csr f64 (?, 8)"]);
    is(&["f64 ? 8", "csr ? 8"], |v| v[0] * v[1], [number, "csr f64 (?, 8)"]);
    is(&[x], |v| v[0].softmax(), [number, "default f64 (?, 8)"]);
    is(&[x], |v| v[0].sum_axes(&[0], false) / v[0].size_of(0), [number, "default f64 (?, 8)"]);
}

#[test]
fn heads_are_recorded_before_the_batch_is_known() {
    let tape = Tape::symbolic();
    let z = symbol(&tape, "f32 ? 5");
    let outputs = [
        z.softmax_output(symbol(&tape, "")),
        z.softmax_output(symbol(&tape, "i64 ?")),
        z.softmax_output(symbol(&tape, "csr")),
        z.linear_regression_output(symbol(&tape, ""), 1.0),
        z.logistic_regression_output(symbol(&tape, "? 5"), 1.0),
    ];
    for y in outputs {
        assert_eq!(y.partial_type().unwrap().to_string(), "default f32 (?, 5)");
        let dz = tape.grad(y, &[z]).unwrap()[0];
        assert_eq!(dz.partial_type().unwrap().to_string(), "default f32 (?, 5)");
    }
}

#[test]
fn what_must_be_known_is_asked_for_by_name() {
    let tape = Tape::symbolic();
    let z = tape.symbol(variable("logits").shape([None, Some(5)]));
    let open = || symbol(&tape, "");
    let asked = |y: Var<'_>, of: &str| {
        let error = y.ok().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape);
        assert!(
            error.to_string().contains(of) && error.to_string().contains("say more"),
            "{error}"
        );
    };
    let label = tape.symbol(variable("label"));
    asked(z.softmax_cross_entropy(label), "\"label\"");
    asked(z.l2_loss(label), "\"label\"");
    asked(z.l2_loss_with(symbol(&tape, "? 5"), &Loss::sum().sample_weights(label)), "\"label\"");
    asked(
        z.softmax_cross_entropy(tape.symbol(variable("shares").shape([None, Some(5)]))),
        "\"shares\"",
    );
    let rows = symbol(&tape, "i64 ?");
    asked(rows.select(label.cast(DType::F32), open()), "\"label\"");
}

#[test]
fn what_does_not_fit_is_refused_when_it_is_known() {
    // Labels, and weights, of one element do not broadcast.
    let tape = Tape::symbolic();
    let (z, y, w) = (symbol(&tape, "f64 ? 3"), symbol(&tape, "i64 ?"), symbol(&tape, "?"));
    let loss = z.softmax_cross_entropy_with(y, &Loss::sum().class_weights(w));
    assert_eq!(shape(w), "(3,)");
    let w = symbol(&tape, "?");
    loss.ok().unwrap();
    z.softmax_cross_entropy_with(y, &Loss::sum().sample_weights(w)).ok().unwrap();
    told(z, "4 3");
    assert_eq!((shape(y), shape(w)), ("(4,)".into(), "(4,)".into()));
    let refused = |operands: &[&str], sizes: &[&str], record: Record, text: &str| {
        let tape = Tape::symbolic();
        let x: Vec<Var<'_>> = operands.iter().map(|words| symbol(&tape, words)).collect();
        record(&x).ok().unwrap();
        let like = x.iter().zip(sizes).map(|(x, sizes)| x.project_like(symbol(&tape, sizes)));
        // The shape of something unknown is looked for everywhere.
        let mut all = like.chain([symbol(&tape, "")]);
        let error = all.find_map(|x| x.ok().and_then(Var::shape).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::Shape);
        assert!(error.to_string().contains(text), "{error}");
    };
    let weighted: Record =
        |x| x[0].softmax_cross_entropy_with(x[1], &Loss::sum().class_weights(x[2]));
    refused(&["? ?", "i64 ?", "?"], &["4 3", "4", "1"], weighted, "differ: 1 and 3");
    let weighted: Record =
        |x| x[0].softmax_cross_entropy_with(x[1], &Loss::sum().sample_weights(x[2]));
    refused(&["? 3", "i64 ?", "?"], &["4 3", "4", "1"], weighted, "1");
    refused(&["? 3", "f64 ? 3"], &["4 3", "1 3"], |x| x[0].softmax_cross_entropy(x[1]), "differ");
    refused(&["?", "? ?"], &["6", "2 3"], |x| x[0].l2_loss(x[1]), "differ");
    refused(&["? ?", "?"], &["2 3", "6"], |x| x[0].l2_loss(x[1]), "differ");
    // Nor do values of unknown sizes: those with one element are declared.
    refused(&["? 5", "? 5"], &["1 5", "4 5"], |x| x[0] + x[1], "declare its axes of size 1");
}
