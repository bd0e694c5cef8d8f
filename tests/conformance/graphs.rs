//! Graphs of several operators, recorded node by node.

use std::collections::HashMap;

use serde_json::Value;
use sparsetape::{Fallback, Stype, Tape, Tensor, Var};

use crate::arrays::{operand, stype};
use crate::operator_cases::{Wanted, compare_gradient, compare_result, compare_stypes, head};
use crate::operators::{Params, apply};
use crate::report::{Needed, Outcome};

/// Names of a graph's nodes, and MXNet's own for the same operators.
const ALIASES: [(&str, &str); 5] = [
    ("stop_gradient", "BlockGrad"),
    ("concat", "Concat"),
    ("retain", "_sparse_retain"),
    ("reshape", "Reshape"),
    ("flatten", "Flatten"),
];

pub type Values<'a, 't> = HashMap<&'a str, Var<'t>>;

/// Records the nodes of a graph; `values` holds its arguments, and all values afterwards.
pub fn record<'a, 't>(graph: &'a Value, values: &mut Values<'a, 't>) -> Result<(), String> {
    for node in graph["nodes"].as_array().expect("nodes") {
        let x: Vec<Var> = names(&node["inputs"]).map(|name| values[name]).collect();
        let op = text(&node["op"]);
        let y = apply(op, Params(&node["params"]), &x)
            .ok_or_else(|| format!("no such operator: {op}"))?;
        values.insert(text(&node["name"]), y);
    }
    Ok(())
}

pub fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(text)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a name")
}

pub fn replay(case: &Value) -> Outcome {
    let fault = |e: sparsetape::Error| e.to_string();
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let constant: Vec<&str> = names(&case["no_grad"]).collect();
    let (mut args, mut values) = (HashMap::new(), Values::new());
    for (name, array) in case["args"].as_object().expect("arguments") {
        let x = operand(array).map_err(fault)?;
        let wanted = x.dtype().is_float() && !constant.contains(&&name[..]);
        let leaf = if wanted { tape.variable(x.clone()) } else { tape.constant(x.clone()) };
        args.insert(&name[..], (x, leaf));
        values.insert(&name[..], leaf);
    }
    record(&case["graph"], &mut values)?;
    let mut needed = Needed::default();
    let outputs: Vec<Var> = names(&case["graph"]["outputs"]).map(|name| values[name]).collect();
    if !case["error"].is_null() {
        let refused = outputs.iter().any(|y| y.value().is_err());
        return Ok((!refused).then_some("accepted"));
    }
    storage(case, &values, &mut needed)?;
    let inputs: Vec<Tensor> = args.values().map(|(x, _)| x.clone()).collect();
    for (i, y) in outputs.iter().enumerate() {
        let got = y.value().map_err(fault)?;
        compare_result("graph", &inputs, &got, &Wanted::of(case, "outputs", i), &mut needed)?;
    }
    let Some(grads) = case["grads"].as_object() else { return Ok(needed.first()) };
    let mut losses = Vec::new();
    for (i, &y) in outputs.iter().enumerate() {
        let head = head(&case["head_grads"][i], y).map_err(fault)?;
        losses.push((y * tape.constant(head)).sum());
    }
    let loss = losses.into_iter().reduce(|l, r| l + r).ok_or("no outputs")?;
    let gradients = loss.backward().map_err(|e| format!("backward: {e}"))?;
    for (name, array) in grads.iter().filter(|(_, array)| array.is_object()) {
        let (x, leaf) = &args[&name[..]];
        let mathematical = &case["math_grads"][name];
        let wanted = Wanted { array, mathematical, single: false };
        compare_gradient(x, gradients.wrt(*leaf), &wanted, &mut needed)
            .map_err(|why| format!("gradient of {name}: {why}"))?;
    }
    Ok(needed.first())
}

/// Compares the storage types of all nodes. MXNet lists them in the order in which its outputs
/// need them.
fn storage(case: &Value, values: &Values, needed: &mut Needed) -> Result<(), String> {
    let mut order = Vec::new();
    names(&case["graph"]["outputs"]).for_each(|name| visit(&case["graph"], name, &mut order));
    for (node, listed) in order.iter().zip(case["storage"].as_array().into_iter().flatten()) {
        let op = text(&node["op"]);
        let ty = |name: &str| values[name].stype().map_err(|e| e.to_string());
        let ins: Vec<Stype> = names(&node["inputs"]).map(ty).collect::<Result<_, _>>()?;
        let listed_op = text(&listed["op"]);
        if listed_op != op && !ALIASES.contains(&(op, listed_op)) {
            return Err(format!("node {op} stands where MXNet has {listed_op}"));
        }
        let own = ty(text(&node["name"]))?;
        compare_stypes(op, &ins, own, stype(&listed["out"][0]), needed)
            .map_err(|why| format!("{}: {why}", node["name"]))?;
    }
    Ok(())
}

/// The nodes upstream of this one, then itself, each once.
fn visit<'a>(graph: &'a Value, name: &str, order: &mut Vec<&'a Value>) {
    let nodes = graph["nodes"].as_array().expect("nodes");
    let Some(node) = nodes.iter().find(|node| node["name"] == name) else { return };
    if !order.iter().any(|seen| seen["name"] == name) {
        names(&node["inputs"]).for_each(|input| visit(graph, input, order));
        order.push(node);
    }
}
