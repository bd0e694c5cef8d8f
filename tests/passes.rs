//! Optimized graphs: the same bits with less work.

use sparsetape::{
    Bind, DType, Fallback, Graph, Pass, Passes, Result, Stype, Tape, Tensor, Var, Variable,
    variable,
};

/// The graph of what `record` makes of variables.
fn graph<const N: usize>(
    variables: [Variable; N],
    record: impl for<'t> FnOnce(&'t Tape, [Var<'t>; N]) -> Vec<Var<'t>>,
) -> Graph {
    let tape = Tape::symbolic();
    tape.set_fallback(Fallback::Allow);
    let variables = variables.map(|own| tape.symbol(own));
    Graph::new(&record(&tape, variables)).unwrap()
}

fn matrix(name: &str, stype: Stype) -> Variable {
    variable(name).stype(stype).shape([3, 3]).dtype(DType::F32)
}

/// With this pass and the removal of what it replaces.
fn only(pass: Pass) -> Passes {
    Passes::none().with(Pass::DeadCode).with(pass)
}

/// The outputs for these values.
fn run(graph: &Graph, values: &[(&str, Tensor)]) -> Result<Vec<Tensor>> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    tape.train(7, 0);
    let leaves: Vec<(&str, Var<'_>)> =
        values.iter().map(|(name, value)| (*name, tape.constant(value.clone()))).collect();
    graph.record(&tape, &leaves)?.into_iter().map(Var::value).collect()
}

/// A value for each variable; sparse ones have an empty row, an explicit zero and a −0.
fn example(own: &Variable) -> Tensor {
    let salt: usize = own.name().bytes().map(usize::from).sum();
    let shape = own.ty().shape.known().unwrap_or([3, 3].into());
    let value = |i: usize| match (i + salt) % 5 {
        0 => 0.0,
        1 => -0.0,
        n => (i * n + salt) as f32 / 7.0 - 15.0,
    };
    match own.ty().stype {
        Stype::Default => {
            let values: Vec<f32> = (0..shape.size()).map(value).collect();
            Tensor::dense(shape, values).unwrap()
        }
        Stype::Csr => {
            let columns = vec![0, 2, salt as u32 % 3];
            Tensor::csr([3, 3], vec![0, 2, 2, 3], columns, vec![1.5f32, 0.0, -0.0]).unwrap()
        }
        Stype::RowSparse => {
            let rows = vec![salt as u32 % 2, 2];
            Tensor::row_sparse([3, 3], rows, (0..6).map(value).collect::<Vec<f32>>()).unwrap()
        }
    }
}

#[track_caller]
fn assert_same(graph: &Graph, optimized: &Graph, values: &[(&str, Tensor)]) {
    assert_eq!(graph.list_arguments(), optimized.list_arguments());
    assert_eq!(graph.list_outputs(), optimized.list_outputs());
    assert_eq!(graph.output_stypes(), optimized.output_stypes());
    let (plain, other) = (run(graph, values).unwrap(), run(optimized, values).unwrap());
    for (a, b) in plain.iter().zip(&other) {
        assert!(a.same_bits(b), "{a}\n{b}\n{graph:?}\n{optimized:?}");
    }
}

/// The labels of the operators that a pass leaves, after checking that it keeps all bits.
#[track_caller]
fn left(graph: &Graph, passes: Passes) -> Vec<String> {
    let optimized = graph.optimized(passes).unwrap();
    let values: Vec<_> = graph.variables().map(|own| (own.name(), example(own))).collect();
    assert_same(graph, &optimized, &values);
    let text = format!("{optimized:?}");
    let operator = |line: &str| {
        let label = line.split(" = ").nth(1)?.rsplit_once("): ")?.0.rsplit_once("(%")?.0.to_owned();
        Some(label)
    };
    text.lines().filter_map(operator).collect()
}

/// That the pass leaves these operators, and that all are there without it.
#[track_caller]
fn check(pass: Pass, graph: &Graph, expected: &[&str]) {
    let plain = left(graph, Passes::none().with(Pass::DeadCode));
    assert_ne!(plain, expected, "nothing to do");
    assert_eq!(left(graph, only(pass)), expected, "{graph:?}");
    assert_eq!(left(graph, Passes::none()), plain);
}

#[test]
fn common_sub_expressions_are_computed_once() {
    let g = graph([matrix("x", Stype::Csr)], |_, [x]| vec![x.sin() + x.sin(), x.sin()]);
    check(Pass::Common, &g, &["sin", "add", "identity"]);
    let g = graph([matrix("x", Stype::Default)], |tape, [x]| {
        let c = || tape.constant(Tensor::full([3, 3], 2.0f32).unwrap());
        vec![x * c() + x * c()]
    });
    check(Pass::Common, &g, &["mul", "add"]);
    // Another number, other fields, other random numbers.
    let g = graph([matrix("x", Stype::Default)], |_, [x]| {
        vec![x + 1.0 + (x + 2.0) + x.dropout(0.5) + x.dropout(0.5)]
    });
    let plain = left(&g, Passes::none());
    assert_eq!(left(&g, only(Pass::Common)), plain);
}

#[test]
fn constants_are_folded_if_they_stay_small() {
    let g = graph([matrix("x", Stype::Default)], |tape, [x]| {
        let c = tape.constant(Tensor::full([3], 2.0f32).unwrap());
        vec![x * c.exp().sin(), c.neg()]
    });
    check(Pass::Constants, &g, &["mul", "identity"]);
    let g = graph([matrix("x", Stype::Default)], |tape, [x]| {
        let c = tape.constant(Tensor::scalar(2.0f32));
        let wide = c.broadcast_to(&[1000, 1000]);
        vec![x * c, wide, c.dropout(0.5)]
    });
    let plain = left(&g, Passes::none());
    assert_eq!(left(&g, only(Pass::Constants)), plain);
}

#[test]
fn a_seed_is_a_constant() {
    let x = matrix("x", Stype::Default);
    let g = graph([x], |tape, [x]| tape.grad(x.sum(), &[x]).unwrap());
    check(Pass::Constants, &g, &["broadcast_like"]);
}

#[test]
fn algebra_leaves_nothing_of_there_and_back() {
    use Stype::{Csr, Default, RowSparse};
    let one = |stype, record: for<'t> fn(Var<'t>) -> Var<'t>, expected: &[&str]| {
        let g = graph([matrix("x", stype)], |_, [x]| vec![record(x) + 1.0]);
        check(Pass::Algebra, &g, expected);
    };
    one(Default, |x| x.identity(), &["add_scalar"]);
    one(Default, |x| -(-x), &["add_scalar"]);
    one(Csr, |x| (-(-x)).cast_storage(Default), &["cast_storage", "add_scalar"]);
    one(Default, |x| x.cast(DType::F64).cast(DType::F32), &["add_scalar"]);
    one(
        Default,
        |x| x.cast(DType::F64).cast(DType::I64).cast(DType::F32),
        &["cast", "cast", "add_scalar"],
    );
    one(Default, |x| x.cast(DType::F32), &["add_scalar"]);
    one(Csr, |x| x.cast_storage(RowSparse).cast_storage(Default), &["cast_storage", "add_scalar"]);
    one(Csr, |x| x.cast_storage(Csr).cast_storage(Default), &["cast_storage", "add_scalar"]);
    one(Default, |x| x.reshape(&[9]).reshape(&[-1, 1]), &["reshape", "add_scalar"]);
    one(Default, |x| x.reshape(&[9]).reshape(&[3, 3]), &["add_scalar"]);
    one(Default, |x| x.transpose(&[]).transpose(&[1, 0]), &["add_scalar"]);
    one(Default, |x| x.transpose(&[0, 1]), &["add_scalar"]);
    one(
        Csr,
        |x| x.transpose(&[]).transpose(&[]).cast_storage(Default),
        &["cast_storage", "add_scalar"],
    );
    one(Default, |x| x.project_like(x), &["add_scalar"]);
    one(Default, |x| x.sum_like(x.exp()), &["add_scalar"]);
    one(Default, |x| x.broadcast_like(x), &["add_scalar"]);
    one(
        RowSparse,
        |x| x.sin().project_like(x).cast_storage(Default),
        &["sin", "cast_storage", "add_scalar"],
    );
}

#[test]
fn algebra_keeps_what_matters() {
    use Stype::{Csr, Default};
    let kept = |stype, record: for<'t> fn(Var<'t>) -> Var<'t>| {
        let g = graph([matrix("x", stype)], |_, [x]| vec![record(x)]);
        assert_eq!(left(&g, only(Pass::Algebra)), left(&g, Passes::none()));
    };
    // Explicit zeros and −0 would go, or stay.
    kept(Csr, |x| x.cast_storage(Default).cast_storage(Csr));
    kept(Default, |x| x.cast_storage(Csr).cast_storage(Default));
    kept(Default, |x| x.cast(DType::I64).cast(DType::F32));
    kept(Default, |x| x * 0.0 + 0.0);
    kept(Default, |x| x.stop_gradient());
    kept(Stype::RowSparse, |x| x.reshape(&[9]).reshape(&[1, 9]));
}

#[test]
fn a_matrix_product_transposes_where_bits_stay() {
    use Stype::{Csr, Default};
    let both = |a, b, expected: &[&str]| {
        let g = graph([matrix("a", a), matrix("b", b)], |_, [a, b]| {
            vec![
                a.transpose(&[]).dot(b),
                a.dot(b.transpose(&[])),
                a.transpose(&[]).dot_with(b.transpose(&[]), true, false),
            ]
        });
        check(Pass::Algebra, &g, expected);
    };
    both(Default, Default, &["dot", "dot", "dot"]);
    both(Csr, Csr, &["dot", "dot", "dot"]);
    // csr · dense sums in another order than csrᵀ · dense.
    let g =
        graph([matrix("a", Csr), matrix("b", Default)], |_, [a, b]| vec![a.transpose(&[]).dot(b)]);
    assert_eq!(left(&g, only(Pass::Algebra)), ["transpose", "dot"]);
}

#[test]
fn element_wise_chains_become_one() {
    use Stype::{Csr, Default, RowSparse};
    for stype in [Default, Csr, RowSparse] {
        let g = graph([matrix("x", stype)], |_, [x]| vec![((x * 2.0).sin().square() - x).neg()]);
        check(Pass::Fuse, &g, &["neg(sub, square, sin, mul_scalar)"]);
    }
    let bias = variable("b").shape([3]).dtype(DType::F32);
    let g = graph([matrix("x", Default), bias], |_, [x, b]| vec![(x + b).sigmoid()]);
    check(Pass::Fuse, &g, &["sigmoid(add)"]);
    // A row of the shape (3,) is computed once, not for each row.
    let bias = variable("b").shape([3]).dtype(DType::F32);
    let g = graph([matrix("x", Default), bias], |_, [x, b]| vec![x + b.exp()]);
    assert_eq!(left(&g, only(Pass::Fuse)), ["exp", "add"]);
    // Two uses which become one.
    let g = graph([matrix("x", Default)], |_, [x]| {
        let y = x.exp();
        vec![y.sin() * y]
    });
    check(Pass::Fuse, &g, &["mul(sin, exp)"]);
    // Used outside, too.
    let g = graph([matrix("x", Default)], |_, [x]| vec![x.exp().sin(), x.exp()]);
    let both = only(Pass::Fuse).with(Pass::Common);
    assert_eq!(left(&g, both), ["exp", "sin", "identity"]);
}

#[test]
fn fused_operators_store_what_the_chain_stores() {
    use Stype::{Csr, Default};
    let two = |record: for<'t> fn([Var<'t>; 3]) -> Var<'t>| {
        let variables = [matrix("a", Csr), matrix("b", Csr), matrix("d", Default)];
        let g = graph(variables, |_, x| vec![record(x)]);
        left(&g, only(Pass::Fuse))
    };
    // Where both are stored, where either is.
    assert_eq!(two(|[a, b, _]| (a * b).sin()), ["sin(mul)"]);
    assert_eq!(two(|[a, b, _]| (a + b).sin()), ["sin(add)"]);
    assert_eq!(two(|[a, b, _]| a.sin() * b.sin()), ["mul(sin, sin)"]);
    assert_eq!(two(|[a, _, d]| a * d.exp()), ["mul(exp)"]);
    // What is absent of one operand of a union is a zero that the chain does not compute.
    assert_eq!(two(|[a, b, d]| a * d + b), ["mul", "add"]);
    // A product may overflow, and infinity times an absent entry is not 0 by arithmetic.
    assert_eq!(two(|[a, b, d]| (a * d) * (b * d)), ["mul", "mul", "mul"]);
    assert_eq!(two(|[a, _, d]| (a * d).cos()).len(), 3);
}

#[test]
fn bias_and_link_go_into_the_matrix_product() {
    use Stype::{Csr, Default, RowSparse};
    for (a, b) in [(Default, Default), (Csr, Default), (Csr, RowSparse), (Default, Csr)] {
        let bias = variable("c").shape([3]).dtype(DType::F32);
        let g = graph([matrix("a", a), matrix("b", b), bias], |_, [a, b, c]| {
            vec![(a.dot(b) + c).sigmoid()]
        });
        check(Pass::FuseDot, &g, &["dot, add", "sigmoid"]);
        assert_eq!(left(&g, Passes::all()), ["dot, sigmoid(add)"]);
    }
    // A batch of any size; the weights are transposed on the way.
    let x = variable("x").stype(Csr).shape([None, Some(3)]).dtype(DType::F32);
    let g = graph([x, matrix("w", Default)], |_, [x, w]| vec![x.dot_with(w, false, true).relu()]);
    let values = [("x", example(&matrix("x", Csr))), ("w", example(&matrix("w", Default)))];
    let layer = g.optimized(Passes::all()).unwrap();
    assert_eq!(layer.list_internals(), ["x", "w", "relu0_output"]);
    assert_same(&g, &layer, &values);
    // The product is read elsewhere, or is not dense.
    let g = graph([matrix("a", Default), matrix("b", Default)], |_, [a, b]| {
        let y = a.dot(b);
        vec![y.exp(), y]
    });
    assert_eq!(left(&g, only(Pass::FuseDot)), ["dot", "exp"]);
    let g = graph([matrix("a", Csr), matrix("b", Csr)], |_, [a, b]| vec![a.dot(b).sin()]);
    assert_eq!(left(&g, only(Pass::FuseDot)), ["dot", "sin"]);
}

#[test]
fn variables_outputs_and_gradients_stay() {
    let plain = graph([matrix("x", Stype::Csr), matrix("w", Stype::Default)], |_, [x, w]| {
        let y = x.dot(w).sigmoid().named("y");
        vec![(y - 1.0).square().sum().named("loss"), y]
    });
    let training = plain.with_gradients(&["w", "x"]).unwrap();
    let optimized = training.optimized(Passes::all()).unwrap();
    assert_eq!(optimized.list_arguments(), training.list_arguments());
    assert_eq!(optimized.list_outputs(), ["loss_output", "y_output"]);
    assert_eq!(optimized.list_gradients(), ["w", "x"]);
    assert_eq!(optimized.gradient_stype("w"), Some(Stype::RowSparse));
    assert_eq!(optimized.gradient_stype("x"), Some(Stype::Csr));
    assert!(
        optimized.list_internals().len() < training.list_internals().len(),
        "{training:?}{optimized:?}"
    );
    let text = format!("{optimized:?}");
    assert!(text.contains("sigmoid'(accumulate, square', broadcast_like)("), "{text}");
    // An optimized graph is differentiated like the plain one.
    let held = graph([matrix("x", Stype::Default)], |_, [x]| vec![(x * x.stop_gradient()).sum()]);
    let held = held.optimized(Passes::all()).unwrap().with_gradients(&["x"]).unwrap();
    assert!(format!("{held:?}").contains("stop_gradient"));
}

#[cfg(feature = "proptest")]
mod random {
    use proptest::prelude::*;
    use sparsetape::strategies::{csr, dense, row_sparse, special};
    use sparsetape::{Bind, GradReq};

    use super::*;

    /// A step: which operator, on which values so far, with which parameter.
    type Step = (u8, u8, u8, u8);

    /// Whatever the numbers say; a step that cannot be is left out.
    fn apply<'t>(tape: &'t Tape, (op, a, b, k): Step, values: &[Var<'t>]) -> Var<'t> {
        let at = |i: u8| values[i as usize % values.len()];
        let (x, y) = (at(a), at(b));
        let scalar = [0.0, 1.0, -2.0, 0.5, f64::INFINITY][k as usize % 5];
        let stype = Stype::ALL[k as usize % 3];
        let flags = (k & 1 == 1, k & 2 == 2);
        match op % 48 {
            0 => x.exp(),
            1 | 2 => x.neg(),
            3 => x.sin(),
            4 => x.abs(),
            5 => x.square(),
            6 => x.relu(),
            7 => x.sigmoid(),
            8 => x.tanh(),
            9 => x.sqrt(),
            10 => x.reciprocal(),
            11 => x.add_scalar(scalar),
            12 | 13 => x.mul_scalar(scalar),
            14 => x.div_scalar(scalar),
            15..=17 => x.add(y),
            18 => x.sub(y),
            19..=21 => x.mul(y),
            22 => x.div(y),
            23 => x.maximum(y),
            24 => x.clip(-1.0, scalar.max(0.0)),
            25 => x.cast(DType::F64).cast(DType::F32),
            26 => x.cast(DType::I64).cast(DType::F32),
            27 | 28 => x.cast_storage(stype),
            29..=31 => x.transpose(&[]),
            32 | 33 => x.dot_with(y, flags.0, flags.1),
            34 => x.sum_axes(&[1], true),
            35 => x.sum_axes(&[0], flags.0),
            36 => x.mean(),
            37 => x.stop_gradient(),
            38 => x.identity(),
            39 => x.project_like(y),
            40 => x.sum_like(y),
            41 => x.broadcast_like(y),
            42 => x.ones_like(),
            43 => x.reshape(&[-1]),
            44 => x.reshape(&[-1, 1]).reshape(&[0, 1]),
            45 => x.dropout(0.25),
            46 => tape.constant(Tensor::full([1, 1], scalar as f32).unwrap()),
            _ => tape.constant(Tensor::full([1, 3], scalar as f32).unwrap()).transpose(&[]),
        }
    }

    const NAMES: [&str; 6] = ["d", "e", "a", "b", "r", "v"];

    fn operands(n: usize) -> impl Strategy<Value = [Tensor; 6]> {
        let value = special::<f32>;
        (
            dense(Just([n, n].into()), value()),
            dense(Just([n, n].into()), value()),
            csr(Just(n), Just(n), value()),
            csr(Just(n), Just(n), value()),
            row_sparse(Just([n, n].into()), value()),
            dense(Just([1, n].into()), value()),
        )
            .prop_map(|(d, e, a, b, r, v)| [d, e, a, b, r, v])
    }

    /// The graph of the steps: some values, the last one, and its gradients where there are any. Shapes
    /// that are not known yet may turn out to contradict each other.
    fn record(steps: &[Step], values: &[Tensor; 6], known: bool) -> Option<Graph> {
        let tape = Tape::symbolic();
        tape.set_fallback(Fallback::Allow);
        let symbol = |(name, value): (&&str, &Tensor)| {
            let own = variable(*name).stype(value.stype()).dtype(DType::F32);
            let sizes: Vec<Option<usize>> = value
                .shape()
                .iter()
                .enumerate()
                .map(|(i, &n)| (known || i > 0).then_some(n))
                .collect();
            tape.symbol(own.shape(Some(sizes)))
        };
        let leaves: Vec<Var<'_>> = NAMES.iter().zip(values).map(symbol).collect();
        let mut vars = leaves.clone();
        for &step in steps {
            let next = apply(&tape, step, &vars);
            if next.ok().is_ok() && next.dtype().is_ok_and(DType::is_float) {
                vars.push(next);
            }
        }
        let last = vars[vars.len() - 1];
        let mut outputs = vec![last, vars[vars.len() / 2]];
        let gradients = tape.grad(last.sum(), &leaves[..4]);
        outputs.extend(gradients.into_iter().flatten());
        Graph::new(&outputs).or_else(|_| Graph::new(&outputs[..1])).ok()
    }

    fn all_passes() -> Vec<Passes> {
        let one = [
            Pass::DeadCode,
            Pass::Algebra,
            Pass::Constants,
            Pass::Common,
            Pass::Fuse,
            Pass::FuseDot,
        ];
        let mut all = vec![Passes::all(), Passes::all().without(Pass::DeadCode)];
        all.extend(one.map(|pass| Passes::none().with(pass)));
        all.extend(one.map(only));
        all
    }

    /// The output and all gradients of a bound graph that trains.
    fn train(
        graph: &Graph,
        values: &[(&str, Tensor)],
        passes: Passes,
    ) -> Result<Vec<Option<Tensor>>> {
        let mut bind =
            Bind::new().gradients(GradReq::Write).fallback(Fallback::Allow).passes(passes);
        for (name, value) in values {
            bind = bind.tensor(*name, value.clone());
        }
        let mut executor = graph.bind(bind)?;
        executor.forward(true)?;
        let mut all = vec![Some(executor.output(0)?.clone())];
        if !executor.graph().list_gradients().is_empty() {
            executor.backward()?;
            all.extend(values.iter().map(|(name, _)| executor.grad(name).cloned()));
        }
        Ok(all)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn passes_keep_all_bits(
            values in (1..=4usize).prop_flat_map(operands),
            steps in prop::collection::vec(any::<Step>(), 1..14),
            known in any::<bool>(),
        ) {
            let Some(graph) = record(&steps, &values, known) else { return Ok(()) };
            let bound: Vec<(&str, Tensor)> = NAMES.into_iter().zip(values)
                .filter(|(name, _)| graph.list_arguments().contains(name)).collect();
            let Ok(plain) = run(&graph, &bound) else { return Ok(()) };
            for passes in all_passes() {
                let optimized = graph.optimized(passes).unwrap();
                prop_assert_eq!(graph.list_arguments(), optimized.list_arguments());
                prop_assert_eq!(graph.list_outputs(), optimized.list_outputs());
                let other = run(&optimized, &bound).unwrap();
                for (a, b) in plain.iter().zip(&other) {
                    prop_assert!(a.same_bits(b), "{a}\n{b}\n{graph:?}\n{optimized:?}");
                }
            }
        }

        #[test]
        fn executors_keep_all_bits(
            values in (1..=4usize).prop_flat_map(operands),
            steps in prop::collection::vec(any::<Step>(), 1..14),
            known in any::<bool>(),
        ) {
            let Some(graph) = record(&steps, &values, known) else { return Ok(()) };
            let tape = Tape::symbolic();
            let outputs = graph.record(&tape, &[]).unwrap();
            let Ok(graph) = Graph::new(&[outputs[0].sum()]) else { return Ok(()) };
            let bound: Vec<(&str, Tensor)> = NAMES.into_iter().zip(values)
                .filter(|(name, _)| graph.list_arguments().contains(name)).collect();
            let Ok(plain) = train(&graph, &bound, Passes::none()) else { return Ok(()) };
            let other = train(&graph, &bound, Passes::all()).unwrap();
            for (a, b) in plain.iter().zip(&other) {
                let same = match (a, b) {
                    (Some(a), Some(b)) => a.same_bits(b),
                    (a, b) => a.is_none() && b.is_none(),
                };
                prop_assert!(same, "{a:?}\n{b:?}\n{graph:?}");
            }
        }
    }
}

#[test]
fn what_is_replaced_but_stays_has_no_place_in_memory() {
    let g = graph([matrix("x", Stype::Default)], |_, [x]| vec![(-(-x.sin())).exp()]);
    for pass in [Pass::Algebra, Pass::Common, Pass::Constants, Pass::Fuse, Pass::FuseDot] {
        let x = Tensor::full([3, 3], 0.5f32).unwrap();
        let bind = Bind::from([("x", x.clone())]).passes(Passes::none().with(pass));
        let mut executor = g.bind(bind).unwrap();
        executor.forward(false).unwrap();
        assert!(executor.output(0).unwrap().same_bits(&run(&g, &[("x", x)]).unwrap()[0]));
    }
}

#[test]
fn an_operand_given_twice_is_stored_where_two_would_be() {
    // Entries of the condition alone are stored, as zeros.
    let both = [matrix("c", Stype::Csr), matrix("x", Stype::Csr)];
    let chosen = graph(both.clone(), |_, [c, x]| vec![c.select(x, x).sin()]);
    let chosen_once = graph(both.clone(), |_, [c, x]| vec![c.select(x.sin(), x.sin())]);
    let gradient = graph(both, |_, [c, x]| vec![c.select(x, x).sum()]);
    let gradient = gradient.with_gradients(&["x"]).unwrap();
    let csr = |columns: Vec<u32>| {
        let n = columns.len();
        Tensor::csr([3, 3], vec![0, n, n, n], columns, vec![1.5f32; n]).unwrap()
    };
    let values = [("c", csr(vec![0, 1])), ("x", csr(vec![1, 2]))];
    for g in [chosen, chosen_once] {
        assert_same(&g, &g.optimized(Passes::all()).unwrap(), &values);
        assert_eq!(run(&g, &values).unwrap()[0].nnz(), 3);
    }
    let mut executor = gradient.bind(values).unwrap();
    executor.forward(true).unwrap();
    executor.backward().unwrap();
    assert_eq!(executor.grad("x").unwrap().nnz(), 2);
}
