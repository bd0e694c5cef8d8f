//! MXNet's tutorial "Train a Linear Regression Model with Sparse Symbols", section by section, with the
//! storage types and values that it states; and the example of its page on the sparse symbol API.

use std::process::Command;

use sparsetape::data::Dataset;
use sparsetape::optim::Sgd;
use sparsetape::random::{Distribution, Random};
use sparsetape::{
    Bind, ErrorKind, Fallback, Graph, Init, Result, SoftmaxOutput, Stype, Tape, Tensor, variable,
};

/// # Variables
///
/// Variables are placeholders. Their storage type is dense by default, or csr, or row-sparse.
#[test]
fn variable_storage_types() -> Result<()> {
    let tape = Tape::symbolic();
    let a = tape.symbol(variable("a"));
    let b = tape.symbol(variable("b").stype(Stype::Csr));
    let c = tape.symbol(variable("c").stype(Stype::RowSparse));
    assert_eq!((a.stype()?, b.stype()?), (Stype::Default, Stype::Csr));
    assert_eq!(c.stype()?, Stype::RowSparse);
    Ok(())
}

/// # Bind with sparse arrays
///
/// `simple_bind` makes zeros for all free variables, of their storage types.
#[test]
fn bind_with_sparse_arrays() -> Result<()> {
    let shape = [2, 2];
    let tape = Tape::symbolic();
    let b = Graph::new(&[tape.symbol(variable("b").stype(Stype::Csr))])?;
    let c = Graph::new(&[tape.symbol(variable("c").stype(Stype::RowSparse))])?;
    let mut b_exec = b.simple_bind(&[("b", &shape)])?;
    let mut c_exec = c.simple_bind(&[("c", &shape)])?;
    b_exec.forward(false)?;
    c_exec.forward(false)?;
    assert_eq!(b_exec.output(0)?.ty().to_string(), "csr f32 (2, 2)");
    assert_eq!(c_exec.output(0)?.ty().to_string(), "row_sparse f32 (2, 2)");
    assert_eq!((b_exec.output(0)?.nnz(), c_exec.output(0)?.nnz()), (0, 0));

    // New values are assigned by the variable's name.
    b_exec.set("b", Tensor::full(shape, 1.0f32)?.cast_storage(Stype::Csr)?)?;
    b_exec.forward(false)?;
    let eval_b = b_exec.output(0)?;
    assert_eq!(eval_b.stype(), Stype::Csr);
    assert_eq!(eval_b.values::<f32>()?, [1.0; 4]);
    Ok(())
}

/// # Symbol composition and storage type inference
///
/// Operators compose; the storage types of their results follow from those of their operands, before
/// anything runs.
#[test]
fn storage_type_inference() -> Result<()> {
    let shape: &[usize] = &[2, 2];
    let tape = Tape::symbolic();
    let a = tape.symbol(variable("a"));
    let b = tape.symbol(variable("b").stype(Stype::Csr));
    let c = tape.symbol(variable("c").stype(Stype::RowSparse));
    let (d, e, f) = (a + a, b + b, c + c);
    let negative = -b;
    let graph = Graph::new(&[d, e, f, negative])?;
    assert_eq!(graph.list_outputs(), ["add0_output", "add1_output", "add2_output", "neg0_output"]);
    let expected = [Stype::Default, Stype::Csr, Stype::RowSparse, Stype::Csr];
    assert_eq!(graph.output_stypes(), expected);

    let mut add_exec = graph.simple_bind(&[("a", shape), ("b", shape), ("c", shape)])?;
    add_exec.forward(false)?;
    let stypes: Vec<Stype> = add_exec.outputs()?.iter().map(Tensor::stype).collect();
    assert_eq!(stypes, expected);
    Ok(())
}

/// The page on the sparse symbol API: dot(csr.T, dense) is row-sparse.
#[test]
fn dot_of_a_transposed_csr_is_row_sparse() -> Result<()> {
    let tape = Tape::symbolic();
    let a = tape.symbol(variable("a").stype(Stype::Csr));
    let b = tape.symbol(variable("b"));
    let c = Graph::new(&[a.dot_with(b, true, false)])?;
    assert_eq!(c.infer_stype(&[])?.get("dot0_output"), Some(&Stype::RowSparse));

    let a = Tensor::dense([1, 3], vec![1.0f32, 0.0, 0.0])?.cast_storage(Stype::Csr)?;
    let mut e = c.bind([("a", a), ("b", Tensor::full([1, 2], 1.0f32)?)])?;
    e.forward(false)?;
    let y = e.output(0)?;
    assert_eq!(y.ty().to_string(), "row_sparse f32 (3, 2)");
    assert_eq!(y.rows(), Some(&[0][..]));
    let dense = y.cast_storage(Stype::Default)?;
    assert_eq!(dense.values::<f32>()?, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    Ok(())
}

/// # Storage type fallback
///
/// Where no kernel takes the storage types, operands are made dense, and a warning says so. Here they
/// are: `log` of csr, csr + row-sparse. `log` of a dense variable needs none.
#[test]
fn storage_type_fallback() -> Result<()> {
    let shape: &[usize] = &[2, 2];
    let tape = Tape::symbolic();
    let a = tape.symbol(variable("a"));
    let b = tape.symbol(variable("b").stype(Stype::Csr));
    let c = tape.symbol(variable("c").stype(Stype::RowSparse));
    let dense_log = a.log();
    let csr_log = b.log();
    let csr_rsp_add = b + c;
    let graph = Graph::new(&[csr_rsp_add, csr_log, dense_log])?;
    assert_eq!(graph.output_stypes(), [Stype::Default; 3]);

    let mut fallback_exec = graph.simple_bind(&[("a", shape), ("b", shape), ("c", shape)])?;
    fallback_exec.forward(false)?;
    let outputs = fallback_exec.outputs()?;
    assert_eq!(outputs[0].values::<f32>()?, [0.0; 4]);
    assert_eq!(outputs[1].values::<f32>()?, [f32::NEG_INFINITY; 4]);
    assert_eq!(outputs[2].values::<f32>()?, [f32::NEG_INFINITY; 4]);
    Ok(())
}

/// The warnings of the test above, run in a process of its own.
#[test]
fn fallbacks_are_visible() {
    let itself = std::env::current_exe().unwrap();
    let run = Command::new(itself)
        .args(["--exact", "storage_type_fallback", "--nocapture"])
        .env_remove("SPARSETAPE_LOG")
        .output()
        .unwrap();
    assert!(run.status.success());
    let text = String::from_utf8(run.stderr).unwrap();
    let warnings: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("sparsetape: ")).collect();
    let recorded = |what: &str| warnings.iter().filter(|w| w.starts_with(what)).count();
    assert_eq!(recorded("log(csr"), 1, "{text}");
    assert_eq!(recorded("add(csr"), 1, "{text}");
    assert_eq!(recorded("log(default"), 0, "{text}");
    assert!(warnings.iter().all(|w| w.contains(file!())), "{text}");
}

/// What MXNet has no word for: that there be no fallback.
#[test]
fn fallbacks_can_be_denied() {
    let tape = Tape::symbolic();
    tape.set_fallback(Fallback::Deny);
    let b = tape.symbol(variable("b").stype(Stype::Csr));
    let error = Graph::new(&[b.log()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fallback);
    assert_eq!(error.operator_name(), Some("log"));
}

/// # Inspecting storage types of the symbol graph
///
/// The tutorial's linear classification network.
fn linear_classification() -> Result<Graph> {
    let tape = Tape::symbolic();
    let data = tape.symbol(variable("data").stype(Stype::Csr).shape([32, 10000]));
    let weight = tape.symbol(variable("weight").stype(Stype::RowSparse).shape([10000, 2]));
    let bias = tape.symbol(variable("bias").shape([2]));
    let label = tape.symbol(variable("label"));
    let pred = data.dot(weight) + bias;
    Graph::new(&[pred.softmax_output_with(label, SoftmaxOutput::new()).named("output")])
}

/// Printed, a graph shows the storage type of every value; the label's shape follows from the head.
#[test]
fn inspecting_storage_types() -> Result<()> {
    let graph = linear_classification()?;
    assert_eq!(graph.list_arguments(), ["data", "weight", "bias", "label"]);
    let shapes = graph.infer_shape(&[])?;
    assert_eq!(shapes.get("label").unwrap().to_string(), "(32,)");
    let printed = graph.to_string();
    println!("{printed}");
    for (node, stypes) in [
        ("data", "csr"),
        ("weight", "row_sparse"),
        ("bias", "default"),
        ("label", "default"),
        ("dot0", "csr, row_sparse -> default"),
        ("add0", "default, default -> default"),
        ("output", "default, default -> default"),
    ] {
        let of_node = |line: &&str| line.split_whitespace().nth(1) == Some(node);
        let line = printed.lines().find(of_node).expect(node);
        assert!(line.contains(&format!("  {stypes}  ")), "{stypes} in\n{line}");
    }

    let mut executor = graph.simple_bind(&[])?;
    executor.forward(true)?;
    assert_eq!(executor.output(0)?.values::<f32>()?, [0.5; 64]);
    executor.backward()?;
    assert_eq!(executor.grad("weight").unwrap().stype(), Stype::RowSparse);
    assert_eq!(executor.grad("bias").unwrap().values::<f32>()?, [-16.0, 16.0]);
    assert!(executor.grad("label").is_none());
    Ok(())
}

/// What a program run under `SPARSETAPE_LOG=info` says of every operator.
#[test]
fn logging_storage_types() {
    let itself = std::env::current_exe().unwrap();
    let run = Command::new(itself)
        .args(["--exact", "inspecting_storage_types", "--nocapture"])
        .env("SPARSETAPE_LOG", "info")
        .output()
        .unwrap();
    let text = String::from_utf8(run.stderr).unwrap();
    for line in [
        // Bound, the product and the sum are one kernel.
        "dot, add(csr f32 (32, 10000), row_sparse f32 (10000, 2), default f32 (2,)) -> default f32 (32, 2)",
        "softmax_output(default f32 (32, 2), default f32 (32,)) -> default f32 (32, 2)",
        "-> row_sparse f32 (10000, 2)",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

/// # Training
///
/// y = x₁ + 2x₂ + … + 100x₁₀₀, from a thousand random rows of which one element in a hundred is stored.
#[test]
fn linear_regression() -> Result<()> {
    let features = 100;
    let mut random = Random::new(42).with_values(Distribution::Uniform(0.0, 1.0));
    let train_data = random.csr::<f32>([1000, features], 0.01)?;
    let target_weight =
        Tensor::dense([features, 1], (1..=features).map(|i| i as f32).collect::<Vec<_>>())?;
    let train_label = train_data.dot(&target_weight)?;

    let tape = Tape::symbolic();
    let x = tape.symbol(variable("data").stype(Stype::Csr));
    let y = tape.symbol(variable("label").shape([None, Some(1)]));
    let weight = variable("weight").stype(Stype::RowSparse).shape([features, 1]);
    let weight = tape.symbol(weight.init(Init::Normal(0.01)));
    let bias = tape.symbol(variable("bias").shape([1]).init(Init::Constant(0.0)));
    let pred = x.dot(weight) + bias;
    let lro = Graph::new(&[pred.linear_regression_output(y, 1.0).named("lro")])?;

    let batch_size = 1;
    let batch: &[(&str, &[usize])] =
        &[("data", &[batch_size, features]), ("label", &[batch_size, 1])];
    let params = lro.init_params(42, batch)?;
    let mut bind = Bind::from(&params).train();
    for &(name, shape) in batch {
        bind = bind.shape(name, shape);
    }
    let mut executor = lro.bind(bind)?;
    let mut sgd = Sgd::new(0.05).rescale_grad(1.0 / batch_size as f64).momentum(0.9);
    let batches = Dataset::new(train_data, train_label)?.batches(batch_size).build()?;
    let mut mse = f64::INFINITY;
    for epoch in 0..10 {
        let mut squares = 0.0;
        for batch in batches.epoch(epoch) {
            executor.set("data", &batch.features)?;
            executor.set("label", &batch.labels)?;
            executor.forward(true)?;
            let error = executor.output(0)?.item::<f32>()? - batch.labels.item::<f32>()?;
            squares += f64::from(error * error);
            executor.backward_into(&mut sgd)?;
        }
        mse = squares / batches.len() as f64;
    }
    eprintln!("Epoch 9, MSE = {mse}");
    assert!(mse < 1.0, "achieved MSE {mse} is larger than expected");
    assert_eq!(params.get("weight").unwrap().stype(), Stype::RowSparse);
    Ok(())
}
