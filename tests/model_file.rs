//! Graphs and weights in a file: what is loaded is what was saved, whatever it was, or an error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use sparsetape::ops::all_samples;
use sparsetape::{
    Archive, Bind, DType, ErrorKind, Fallback, Graph, Init, Model, OpRef, Parameter, Params,
    Registry, Result, Stype, Tape, Tensor, variable,
};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sparsetape-model-{}-{name}", std::process::id()))
}

fn model(graph: Graph) -> Model {
    Model { graph, weights: Archive::default() }
}

/// Operands in the storage types of each row of the operator's table that takes them.
fn stored_operands(op: &OpRef, inputs: &[Tensor]) -> Vec<Vec<Tensor>> {
    let rows = op.table().into_iter().filter(|row| row.ins.takes(inputs.len()));
    let cast = |ins: sparsetape::Ins| -> Result<Vec<Tensor>> {
        inputs.iter().enumerate().map(|(i, x)| x.cast_storage(ins.get(i))).collect()
    };
    rows.filter_map(|row| cast(row.ins).ok()).collect()
}

/// A graph of the one operator; the last operand is a constant if `constant`.
fn graph_of(op: &OpRef, operands: &[Tensor], constant: bool) -> Result<Graph> {
    let tape = Tape::symbolic();
    tape.set_fallback(Fallback::Deny);
    let operand = |(i, x): (usize, &Tensor)| match constant && i + 1 == operands.len() {
        true => tape.constant(x.clone()),
        false => tape.symbol(variable(format!("x{i}")).stype(x.stype()).dtype(x.dtype())),
    };
    let vars: Vec<_> = operands.iter().enumerate().map(operand).collect();
    Graph::new(&[tape.apply(op.clone(), &vars)])
}

fn outputs(graph: &Graph, operands: &[Tensor]) -> Result<Vec<Tensor>> {
    let names = graph.list_arguments();
    let bind = names.iter().fold(Bind::new(), |bind, name| {
        let value = name.strip_prefix('x').and_then(|i| operands.get(i.parse::<usize>().ok()?));
        value.map_or(bind.clone(), |value| bind.tensor(*name, value.clone()))
    });
    let mut executor = graph.bind(bind)?;
    executor.forward(false)?;
    executor.outputs()
}

/// Same types, same bits.
fn same(a: &Tensor, b: &Tensor) -> bool {
    let bits = |x: &Tensor| Archive::new([("x", x.clone())]).unwrap().to_bytes().unwrap();
    bits(a) == bits(b)
}

#[test]
fn every_operator_comes_back_and_computes_the_same_bits() {
    let mut count = 0;
    for (op, inputs) in all_samples() {
        for (k, operands) in stored_operands(&op, &inputs).into_iter().enumerate() {
            let Ok(graph) = graph_of(&op, &operands, k % 2 == 1) else { continue };
            let model = model(graph);
            let bytes = model.to_bytes().unwrap();
            let twin = Model::from_bytes(&bytes, &Registry::standard())
                .unwrap_or_else(|error| panic!("{op:?}: {error}"));
            assert_eq!(twin.to_bytes().unwrap(), bytes, "{op:?}");
            assert_eq!(format!("{:?}", twin.graph), format!("{:?}", model.graph));
            assert_eq!(twin.graph.to_string(), model.graph.to_string());
            let Ok(ours) = outputs(&model.graph, &operands) else { continue };
            let theirs = outputs(&twin.graph, &operands).unwrap();
            assert!(ours.iter().zip(&theirs).all(|(a, b)| same(a, b)), "{op:?}");
            count += 1;
        }
    }
    println!("{count} graphs");
    assert!(count > 1000, "{count}");
}

#[test]
fn gradients_of_every_operator_come_back() {
    let mut count = 0;
    for (op, inputs) in all_samples() {
        for operands in stored_operands(&op, &inputs) {
            let Ok(graph) = graph_of(&op, &operands, false) else { continue };
            for name in graph.list_arguments() {
                let Ok(trained) = graph.with_gradients(&[name]) else { continue };
                let model = model(trained);
                let bytes = model.to_bytes().unwrap();
                let twin = Model::from_bytes(&bytes, &Registry::standard())
                    .unwrap_or_else(|error| panic!("{op:?}, {name}: {error}"));
                assert_eq!(twin.to_bytes().unwrap(), bytes, "{op:?}");
                assert_eq!(twin.graph.list_gradients(), [name]);
                assert_eq!(
                    twin.graph.gradient_stype(name),
                    model.graph.gradient_stype(name),
                    "{op:?}"
                );
                count += 1;
            }
        }
    }
    println!("{count} training graphs");
    assert!(count > 500, "{count}");
}

/// A model with everything in it.
fn linear() -> Result<(Graph, Params)> {
    let tape = Tape::symbolic();
    let data = variable("data").stype(Stype::Csr).shape([None, Some(6)]).dtype(DType::F32);
    let weight = variable("weight").stype(Stype::RowSparse).init(Init::Normal(0.1)).lr_mult(0.3);
    let (data, weight) = (tape.symbol(data), tape.symbol(weight.shape([6, 2])));
    let bias = tape.symbol(variable("bias").shape([2]).wd_mult(0.0));
    let scale = Tensor::csr([1, 2], vec![0, 2], vec![0, 1], vec![f32::MIN_POSITIVE, -0.0])?;
    let rows = Tensor::row_sparse([3, 2], vec![1], vec![f32::NAN, 1.5])?;
    let shift = tape.constant(scale).cast_storage(Stype::Default);
    let rows = tape.constant(rows).sum();
    let logits = data.dot(weight) * 0.1 + bias + shift;
    let label = tape.symbol(variable("label"));
    let out = logits.softmax_output(label).named("softmax");
    let weight = Tensor::row_sparse([6, 2], vec![1, 4], vec![0.1f32, 0.2, 0.3, 0.4])?;
    let bias = Tensor::dense([2], vec![0.5f32, -0.5])?;
    let params = [Parameter::new("weight", weight)?, Parameter::new("bias", bias)?];
    Ok((Graph::new(&[out, rows])?, Params::new(&params)?))
}

fn saved(name: &str) -> (PathBuf, Graph) {
    let (graph, params) = linear().unwrap();
    let notes = BTreeMap::from([("classes".to_owned(), "a \"b\"".to_owned())]);
    let path = path(name);
    graph.save(&path, &params, &notes).unwrap();
    (path, graph)
}

#[test]
fn a_model_is_its_file() {
    let (path, graph) = saved("whole");
    let bytes = std::fs::read(&path).unwrap();
    let model = Model::load(&path).unwrap();
    assert_eq!(model.to_bytes().unwrap(), bytes);
    model.save(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(Model::read_notes(&path).unwrap()["classes"], "a \"b\"");
    assert_eq!(model.notes()["classes"], "a \"b\"");
    let names: Vec<&str> = model.weights.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["weight", "bias"]);
    let weight = model.graph.variables().find(|v| v.name() == "weight").unwrap();
    assert_eq!(weight.multipliers(), (0.3, 1.0));
    assert_eq!(weight.initializer(), Some(Init::Normal(0.1)));
    assert_eq!(weight.ty().to_string(), "row_sparse ? (6, 2)");
    assert_eq!(format!("{graph:?}"), format!("{:?}", model.graph));
    assert!(model.graph.explain("dot0").unwrap().contains("from tests/model_file.rs:"));

    let x = Tensor::csr([2, 6], vec![0, 1, 2], vec![4, 0], vec![2.0f32, 1.0]).unwrap();
    let label = Tensor::dense([2], vec![0.0f32, 1.0]).unwrap();
    let run = |model: &Model| {
        let bind = model.bind().tensor("data", x.clone()).tensor("label", label.clone());
        let mut executor = model.graph.bind(bind).unwrap();
        executor.forward(false).unwrap();
        executor.output(0).unwrap().clone()
    };
    let ours = run(&model);
    let params = Params::from_archive(model.weights.clone()).unwrap();
    let bind = Bind::new().params(&params).tensor("data", x.clone()).tensor("label", label.clone());
    let mut executor = graph.bind(bind).unwrap();
    executor.forward(false).unwrap();
    assert!(same(&ours, executor.output(0).unwrap()));
    #[cfg(feature = "mmap")]
    {
        // SAFETY: nobody else knows the file.
        let mapped = unsafe { Model::map(&path, &Registry::standard()).unwrap() };
        assert!(same(&ours, &run(&mapped)));
        assert_eq!(mapped.to_bytes().unwrap(), bytes);
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_does_not_fit_is_not_saved() {
    let (graph, _) = linear().unwrap();
    let save = |name: &str, value: Tensor| {
        let params = Params::new([&Parameter::new(name, value).unwrap()]).unwrap();
        graph.save(path("never"), &params, &BTreeMap::new()).unwrap_err()
    };
    let error = save("bias", Tensor::full([3], 0.0f32).unwrap());
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert!(error.message().contains("weight \"bias\" is default f32 (3,)"), "{error}");
    let error = save("bias", Tensor::full([2], 0.0f64).unwrap());
    assert_eq!(error.kind(), ErrorKind::DType);
    let error = save("constant:x", Tensor::full([2], 0.0f64).unwrap());
    assert!(error.message().contains("rename it"), "{error}");
    let tape = Tape::symbolic();
    let odd = Graph::new(&[tape.symbol(variable("x").lr_mult(f64::NAN)).exp()]).unwrap();
    assert_eq!(model(odd).to_bytes().unwrap_err().kind(), ErrorKind::Value);
    let bare = path("bare");
    Archive::default().save(&bare).unwrap();
    let error = Model::load(&bare).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse);
    assert!(error.to_string().contains("there is no graph in the file"), "{error}");
    std::fs::remove_file(&bare).unwrap();
}

/// The file with its graph changed.
fn with_graph(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    let entry = &mut header["__metadata__"]["sparsetape"];
    let mut index: Value = serde_json::from_str(entry.as_str().unwrap()).unwrap();
    change(&mut index["sections"]["graph"]);
    *entry = Value::String(index.to_string());
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&bytes[8 + size..]);
    file
}

fn sample_bytes() -> Vec<u8> {
    let (graph, params) = linear().unwrap();
    let graph = graph.internal(&["softmax_output", "sum0_output"]).unwrap();
    let weights = params.to_archive().unwrap();
    Model { graph, weights }.to_bytes().unwrap()
}

fn find(graph: &mut Value, is: impl Fn(&Value) -> bool) -> &mut Value {
    graph["nodes"].as_array_mut().unwrap().iter_mut().find(|node| is(node)).unwrap()
}

fn dot(graph: &mut Value) -> &mut Value {
    find(graph, |node| node["name"] == "dot0")
}

fn constant(graph: &mut Value) -> &mut Value {
    find(graph, |node| node["kind"] == "constant")
}

#[test]
fn faults_in_the_graph_are_named() {
    let bytes = sample_bytes();
    let fault = |change: &dyn Fn(&mut Value), why: &str| {
        let file = with_graph(&bytes, |graph| change(graph));
        let error = Model::from_bytes(&file, &Registry::standard()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parse, "{error}");
        assert!(error.to_string().contains(why), "{error}\ninstead of {why}");
    };
    fault(&|g| g["version"] = json!(9), "version 9; this build reads versions up to 1");
    fault(&|g| *g = json!([1, 2]), "it has no version");
    fault(&|g| g["nodes"] = json!(3), "not of the form");
    fault(&|g| g["outputs"] = json!([]), "it has no outputs");
    fault(&|g| g["outputs"] = json!([99]), "there is no node 99");
    fault(&|g| g["outputs"] = json!([-1]), "not of the form");
    fault(&|g| g["heads"] = json!([[0, 99]]), "there is no node 99");
    fault(&|g| g["heads"] = json!([[7, 0]]), "head 7 is of no output");
    fault(&|g| g["gradients"] = json!([{"variable": 0, "gradient": 70, "before": null}]), "70");
    let slope = json!({"variable": 0, "gradient": 1, "before": null});
    fault(&|g| g["gradients"] = json!([slope]), "is the cotangent of node 0");
    let slope = json!({"variable": 0, "gradient": 0, "before": null});
    fault(&|g| g["gradients"] = json!([slope, slope]), "variable 0 has two gradients");
    fault(&|g| dot(g)["ins"] = json!([0, 5000]), "operand 5000 is not among");
    fault(&|g| dot(g)["ins"] = json!([0]), "no row of dot is csr -> default");
    fault(&|g| dot(g)["ins"] = json!(vec![0; 40]), "no row of dot");
    fault(&|g| dot(g)["type"]["stype"] = json!("csr"), "csr, row_sparse -> csr");
    fault(&|g| dot(g)["type"]["shape"] = json!([null, 3]), "types: ");
    fault(&|g| dot(g)["type"]["dtypes"] = json!([]), "no element type left");
    fault(&|g| dot(g)["type"]["dtypes"] = json!(["i64"]), "types: ");
    fault(&|g| dot(g)["name"] = json!("data"), "a name is needed");
    fault(&|g| dot(g)["name"] = json!(""), "a name is needed");
    fault(&|g| dot(g)["kind"] = json!("constant"), "it has 2 operands");
    fault(&|g| g["nodes"][0]["kind"] = json!("constant"), "its values are not in the file");
    fault(
        &|g| dot(g)["kind"]["operator"]["name"] = json!("magic"),
        "there is no operator \"magic\" in the registry",
    );
    fault(
        &|g| dot(g)["kind"]["operator"]["fields"] = json!({"transpose_a": 3}),
        "the fields do not fit the operator",
    );
    fault(&|g| g["nodes"][0]["type"]["shape"] = json!([1, 2, 3]), "but was declared csr");
    fault(
        &|g| g["nodes"][0]["kind"]["variable"]["declared"]["stype"] = json!("default"),
        "but was",
    );
    fault(&|g| constant(g)["type"]["shape"] = json!([9, 9]), "but its values are");
    fault(&|g| constant(g)["name"] = json!("other"), "its values are not in the file");
}

#[test]
fn deep_nesting_is_an_error() {
    let file = with_graph(&sample_bytes(), |graph| {
        dot(graph)["kind"]["operator"]["fields"] = json!("deep");
    });
    let size = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&file[8..8 + size]).unwrap();
    let nest = "[".repeat(100_000) + &"]".repeat(100_000);
    let header = header.replace("\\\"deep\\\"", &nest);
    assert!(header.len() > 200_000);
    let mut deep = (header.len() as u64).to_le_bytes().to_vec();
    deep.extend_from_slice(header.as_bytes());
    deep.extend_from_slice(&file[8 + size..]);
    let error = Model::from_bytes(&deep, &Registry::standard()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse);
    assert!(error.to_string().contains("recursion limit"), "{error}");
}

/// Small numbers in a fixed order.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

/// How many values there are inside a value, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(all) => all.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// The value at a place, counted in depth first order.
fn nth<'v>(value: &'v mut Value, n: &mut usize) -> Option<&'v mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(all) => all.iter_mut().find_map(|inner| nth(inner, n)),
        Value::Object(all) => all.values_mut().find_map(|inner| nth(inner, n)),
        _ => None,
    }
}

/// Puts something else in a place of a graph.
fn disturb(graph: &mut Value, dice: &mut Dice) {
    let others = count(graph);
    let donor = nth(graph, &mut dice.below(others)).map(|value| value.clone());
    let Some(value) = nth(graph, &mut dice.below(others)) else { return };
    let numbers = [0, 1, 2, 3, 31, 255, 1 << 31, 1 << 32, u64::MAX >> 1, u64::MAX];
    *value = match dice.below(8) {
        0 => json!(numbers[dice.below(numbers.len())]),
        1 => json!(-(numbers[dice.below(9)] as i64)),
        2 => json!(null),
        3 => json!([]),
        4 => json!([numbers[dice.below(10)], numbers[dice.below(10)]]),
        5 => json!(1e300),
        _ => donor.unwrap_or_default(),
    };
}

/// Whatever stands in the graph: an error, or a graph that runs or says why not.
#[test]
fn hostile_graphs_are_errors() {
    let mut dice = Dice(7);
    let (mut loaded, mut refused) = (0, 0);
    for (op, inputs) in all_samples() {
        let operands = stored_operands(&op, &inputs);
        let Some(operands) = operands.get(dice.below(operands.len())) else { continue };
        let Ok(graph) = graph_of(&op, operands, false) else { continue };
        let bytes = model(graph).to_bytes().unwrap();
        for _ in 0..10 {
            let file = with_graph(&bytes, |graph| {
                let operator = graph["nodes"].as_array_mut().and_then(|nodes| nodes.last_mut());
                match operator.filter(|_| dice.below(3) > 0) {
                    Some(node) => disturb(&mut node["kind"]["operator"]["fields"], &mut dice),
                    None => disturb(&mut graph["nodes"], &mut dice),
                }
            });
            match Model::from_bytes(&file, &Registry::standard()) {
                Ok(model) => {
                    loaded += 1;
                    let _ = (model.graph.to_string(), model.graph.to_svg(), model.graph.to_dot());
                    let _ = outputs(&model.graph, operands);
                    let name = model.graph.list_arguments().first().map(|name| name.to_string());
                    let _ = name.map(|name| model.graph.with_gradients(&[&name]));
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.kind(), ErrorKind::Parse, "{error}");
                }
            }
        }
    }
    println!("{loaded} loaded, {refused} refused");
}

#[test]
fn damaged_bytes_are_errors() {
    let bytes = sample_bytes();
    for end in 0..bytes.len() {
        assert!(Model::from_bytes(&bytes[..end], &Registry::standard()).is_err());
    }
    let mut dice = Dice(1);
    for _ in 0..2000 {
        let mut bytes = bytes.clone();
        let (at, bit) = (dice.below(bytes.len()), dice.below(8));
        bytes[at] ^= 1 << bit;
        let _ = Model::from_bytes(&bytes, &Registry::standard());
    }
}
