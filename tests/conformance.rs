//! Replays reference vectors computed by MXNet 1.9.1: values, storage types, gradients, updates.
//!
//! Each case is *equal*, *explained* by one of the [`RULES`] (a difference that is wanted, with its
//! reason), or *unexplained*, which fails. A directory named by `SPARSETAPE_VECTORS` is replayed too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sparsetape::optim::Sgd;
use sparsetape::{DType, Fallback, Gradients, Parameter, Params, Stype, Tape, Tensor, Var};

/// Differences that are wanted.
const RULES: [(&str, &str); 7] = [
    (
        "dense",
        "dot(default, csr) is dense: every row meets every column; `forward_stype` asks for csr",
    ),
    ("sparser", "where MXNet falls back to dense or returns dense, a sparse kernel is used"),
    ("pattern", "a gradient of a sparse value lives on what it stores, not on all elements"),
    ("mathematical", "MXNet's value is wrong; the vector carries the right one, and ours is that"),
    ("accepted", "MXNet refuses operands that are well-defined"),
    (
        "momentum",
        "momentum is stored as its parameter is; MXNet keeps it dense for standard updates",
    ),
    ("ignored", "an absent entry annihilates: no arithmetic happens there"),
];

#[derive(Default)]
struct Tally {
    cases: usize,
    equal: usize,
    explained: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Tally {
    fn add(&mut self, id: &str, outcome: Result<Option<&'static str>, String>) {
        self.cases += 1;
        match outcome {
            Ok(None) => self.equal += 1,
            Ok(Some(rule)) => *self.explained.entry(rule).or_default() += 1,
            Err(why) => self.unexplained.push(format!("{id}: {why}")),
        }
    }

    fn close(&self, title: &str) {
        let explained: usize = self.explained.values().sum();
        for (rule, count) in &self.explained {
            let reason = RULES.iter().find(|(name, _)| name == rule).map_or("", |(_, why)| why);
            println!("  {count:4} {rule}: {reason}");
        }
        self.unexplained.iter().take(20).for_each(|line| println!("  {line}"));
        println!(
            "{title}: {} cases, {} equal, {explained} explained, {} unexplained",
            self.cases,
            self.equal,
            self.unexplained.len()
        );
        assert!(self.cases > 0, "nothing was replayed");
        assert!(self.unexplained.is_empty(), "unexplained differences");
    }
}

fn directories() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    std::iter::once(own).chain(std::env::var_os("SPARSETAPE_VECTORS").map(PathBuf::from)).collect()
}

fn cases(file: &str) -> Vec<Value> {
    let read = |dir: PathBuf| match std::fs::read_to_string(dir.join(file)) {
        Ok(text) => serde_json::from_str::<Vec<Value>>(&text).expect("an array of cases"),
        Err(_) => Vec::new(),
    };
    directories().into_iter().flat_map(read).collect()
}

fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("nan") => f64::NAN,
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        _ => value.as_f64().expect("a number"),
    }
}

fn integers<T: TryFrom<u64>>(value: &Value) -> Vec<T>
where
    T::Error: std::fmt::Debug,
{
    let one = |v: &Value| T::try_from(v.as_u64().expect("an id")).expect("in range");
    value.as_array().expect("ids").iter().map(one).collect()
}

fn tensor(array: &Value) -> Tensor {
    let shape: Vec<usize> = integers(&array["shape"]);
    let data: Vec<f64> = array["data"].as_array().expect("data").iter().map(number).collect();
    let exact = match array["stype"].as_str() {
        Some("default") => Tensor::dense(shape, data),
        Some("csr") => csr([shape[0], shape[1]], array, data),
        _ => Tensor::row_sparse(shape, integers::<u32>(&array["indices"]), data),
    };
    let dtype = if array["dtype"] == "float32" { DType::F32 } else { DType::F64 };
    exact.expect("a valid array").cast(dtype)
}

/// Columns are not always sorted in MXNet's results.
fn csr(shape: [usize; 2], array: &Value, data: Vec<f64>) -> sparsetape::Result<Tensor> {
    let (indptr, indices): (Vec<usize>, Vec<usize>) =
        (integers(&array["indptr"]), integers(&array["indices"]));
    let row = |i: usize| (indptr[i]..indptr[i + 1]).map(|e| (indices[e], data[e])).collect();
    let rows: Vec<Vec<(usize, f64)>> = (0..shape[0]).map(row).collect();
    Tensor::from_rows(shape[1], &rows)
}

fn dense(x: &Tensor) -> Vec<f64> {
    let dense = x.cast_storage(Stype::Default).expect("dense").cast(DType::F64);
    dense.values::<f64>().expect("f64").to_vec()
}

/// Which elements of the dense tensor are stored.
fn stored(x: &Tensor) -> Vec<bool> {
    let ones = x.ones_like().expect("ones");
    dense(&ones).into_iter().map(|one| one == 1.0).collect()
}

fn close(got: f64, want: f64, dtype: DType) -> bool {
    let (relative, absolute) = if dtype == DType::F32 { (2e-4, 2e-5) } else { (1e-9, 1e-12) };
    got == want
        || (got.is_nan() && want.is_nan())
        || (got - want).abs() <= absolute + relative * want.abs()
}

/// The first element of `got` that is not `want`, among those in `mask`.
fn differs(got: &Tensor, want: &[f64], mask: Option<&[bool]>) -> Option<String> {
    let dtype = got.dtype();
    let got = dense(got);
    assert_eq!(got.len(), want.len(), "sizes");
    let wrong = |&i: &usize| mask.is_none_or(|mask| mask[i]) && !close(got[i], want[i], dtype);
    let first = (0..want.len()).find(wrong)?;
    Some(format!("element {first} is {}, not {}", got[first], want[first]))
}

fn apply<'t>(case: &Value, x: &[Var<'t>]) -> Var<'t> {
    let flag = |name: &str| case["params"][name].as_bool().unwrap_or(false);
    match case["op"].as_str().expect("an operator") {
        "dot" => {
            let (ta, tb) = (flag("transpose_a"), flag("transpose_b"));
            match asked_stype(case) {
                Some(Stype::Default) if ta && !tb => x[0].dot_transposed_dense(x[1]),
                _ => x[0].dot_with(x[1], ta, tb),
            }
        }
        "elemwise_add" => x[0] + x[1],
        "elemwise_sub" => x[0] - x[1],
        "elemwise_mul" => x[0] * x[1],
        "elemwise_div" => x[0] / x[1],
        "_maximum" => x[0].maximum(x[1]),
        "_minimum" => x[0].minimum(x[1]),
        "_hypot" => x[0].hypot(x[1]),
        "_equal" => x[0].equal(x[1]),
        other => panic!("no operator {other}"),
    }
}

/// The storage type asked for the result: a cast after the operator. Gradients start before it, since
/// the cotangent of a cast result lives on what that stores, and MXNet's on all elements.
fn asked_stype(case: &Value) -> Option<Stype> {
    case["params"]["forward_stype"].as_str().map(stype)
}

fn stype(name: &str) -> Stype {
    match name {
        "default" => Stype::Default,
        "csr" => Stype::Csr,
        _ => Stype::RowSparse,
    }
}

/// The rules that a case needs; the first one counts.
#[derive(Default)]
struct Needed(Option<&'static str>);

impl Needed {
    fn rule(&mut self, name: &'static str) {
        assert!(RULES.iter().any(|(rule, _)| *rule == name));
        self.0.get_or_insert(name);
    }
}

fn operator_case(case: &Value) -> Result<Option<&'static str>, String> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let inputs: Vec<Tensor> =
        case["inputs"].as_array().expect("inputs").iter().map(tensor).collect();
    let requests = case["grad_request"].as_array();
    let leaf = |(i, x): (usize, &Tensor)| {
        let leaf = tape.variable(x.clone());
        match requests.and_then(|r| r[i].as_str()) {
            Some(asked) => leaf.with_grad_stype(stype(asked)),
            None => leaf,
        }
    };
    let x: Vec<Var> = inputs.iter().enumerate().map(leaf).collect();
    let y = apply(case, &x);
    let mut needed = Needed::default();
    if !case["error"].is_null() {
        return match y.value() {
            Ok(_) => Ok(Some("accepted")),
            Err(_) => Ok(None),
        };
    }
    let cast = asked_stype(case).map_or(y, |asked| y.cast_storage(asked));
    let got = cast.value().map_err(|e| e.to_string())?;
    forward(case, &inputs, &got, &mut needed)?;
    if let Some(grads) = case["grads"].as_array() {
        let head = case["head_grads"][0].is_object().then(|| tensor(&case["head_grads"][0]));
        let gradients = match &head {
            Some(head) => y.backward_with(head),
            None => y.backward(),
        }
        .map_err(|e| format!("backward: {e}"))?;
        for (i, want) in grads.iter().enumerate().filter(|(_, g)| g.is_object()) {
            gradient(case, i, (&inputs[i], x[i]), want, &gradients, &mut needed)
                .map_err(|why| format!("gradient {i}: {why}"))?;
        }
    }
    Ok(needed.0)
}

fn forward(
    case: &Value,
    inputs: &[Tensor],
    got: &Tensor,
    needed: &mut Needed,
) -> Result<(), String> {
    let want = tensor(&case["outputs"][0]);
    let reference = &case["math_outputs"][0];
    let values = if reference.is_object() { dense(&tensor(reference)) } else { dense(&want) };
    if got.stype() != want.stype() {
        if got.stype() == Stype::Default && case["op"] == "dot" {
            needed.rule("dense");
        } else if got.stype() == Stype::Default {
            return Err(format!("result is {}, MXNet's {}", got.stype(), want.stype()));
        } else {
            needed.rule("sparser");
        }
    }
    if let Some(why) = differs(got, &values, None) {
        // NaN of 0/0 or 0·∞ at entries that are absent here.
        let absent_only = got.stype() != Stype::Default
            && inputs.iter().any(|x| x.stype() != Stype::Default)
            && differs(got, &values, Some(&stored(got))).is_none();
        if !absent_only {
            return Err(format!("result: {why}"));
        }
        needed.rule("ignored");
    }
    Ok(())
}

fn gradient(
    case: &Value,
    i: usize,
    (input, leaf): (&Tensor, Var),
    want: &Value,
    gradients: &Gradients,
    needed: &mut Needed,
) -> Result<(), String> {
    let deviates = case["deviation"].as_array().is_some_and(|d| {
        d.iter().any(|text| text.as_str().is_some_and(|t| t.starts_with(&format!("grads[{i}]"))))
    });
    let reference = &case["math_grads"][i];
    let (held, stype) = (tensor(want), stype(want["stype"].as_str().expect("a storage type")));
    let values = if reference.is_object() { dense(&tensor(reference)) } else { dense(&held) };
    let Some(got) = gradients.wrt(leaf) else {
        return match values.iter().all(|g| *g == 0.0) {
            true => Ok(()),
            false => Err("there is none".to_owned()),
        };
    };
    if deviates {
        needed.rule("mathematical");
    }
    if got.stype() != stype {
        if got.stype() == Stype::Default {
            return Err(format!("it is {}, MXNet's {stype}", got.stype()));
        }
        needed.rule("sparser");
    }
    if let Some(why) = differs(got, &values, None) {
        let (mut mask, own) = (stored(input), stored(got));
        // 0/0 where the cotangent has no entry, so that nothing is computed.
        let annihilated = |(got, want): (f64, &f64)| got == 0.0 && want.is_nan();
        let defined: Vec<bool> =
            dense(got).into_iter().zip(&values).map(|p| !annihilated(p)).collect();
        if differs(got, &values, Some(&defined)).is_none() {
            needed.rule("ignored");
            return Ok(());
        }
        if input.stype() == Stype::RowSparse && got.stype() == Stype::RowSparse {
            mask.iter_mut().zip(own).for_each(|(m, o)| *m |= o);
        }
        mask.iter_mut().zip(defined).for_each(|(m, d)| *m &= d);
        if input.stype() == Stype::Default || differs(got, &values, Some(&mask)).is_some() {
            return Err(why);
        }
        needed.rule("pattern");
    }
    Ok(())
}

fn replay(file: &str) {
    let mut tally = Tally::default();
    for case in cases(file) {
        tally.add(case["id"].as_str().unwrap_or("?"), operator_case(&case));
    }
    tally.close(file);
}

#[test]
fn dot() {
    replay("dot.json");
}

#[test]
fn elemwise() {
    replay("elemwise.json");
}

fn sgd(case: &Value) -> Sgd {
    let params = &case["params"];
    let get = |names: [&str; 2], default: f64| {
        names.iter().find_map(|name| params[*name].as_f64()).unwrap_or(default)
    };
    Sgd::new(get(["lr", "learning_rate"], 0.01))
        .momentum(get(["momentum", "momentum"], 0.0))
        .weight_decay(get(["wd", "wd"], 0.0))
        .rescale_grad(get(["rescale_grad", "rescale_grad"], 1.0))
        .clip_gradient(get(["clip_gradient", "clip_gradient"], -1.0))
        .lazy_update(params["lazy_update"].as_bool().unwrap_or(true) && states_allow_lazy(case))
}

/// MXNet updates lazily only if the states have the weight's storage type.
fn states_allow_lazy(case: &Value) -> bool {
    let states = case["states"].as_array().into_iter().flatten();
    states.into_iter().all(|state| state["stype"] == case["weight"]["stype"])
}

fn update_case(case: &Value) -> Result<Option<&'static str>, String> {
    let text = |e: sparsetape::Error| e.to_string();
    let weight = Parameter::new("weight", tensor(&case["weight"])).map_err(text)?;
    let params = Params::new([&weight]).map_err(text)?;
    let mut sgd = sgd(case);
    let mut needed = Needed::default();
    if !case["error"].is_null() {
        let gradient = weight.snapshot().map_err(text)?;
        let mut gradients = Gradients::default();
        gradients.set(&weight, gradient);
        sgd.step(&params, &gradients).map_err(text)?;
        return Ok(Some("accepted"));
    }
    for (n, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
        let mut gradients = Gradients::default();
        gradients.set(&weight, tensor(&step["grad"]));
        sgd.step(&params, &gradients).map_err(text)?;
        let (got, want) = (weight.snapshot().map_err(text)?, tensor(&step["weight"]));
        if got.stype() != want.stype() {
            return Err(format!("step {n}: weight is {}", got.stype()));
        }
        let compare = |got: &Tensor, want: &Tensor| {
            differs(got, &dense(want), None).map_or(Ok(()), |why| Err(format!("step {n}: {why}")))
        };
        compare(&got, &want)?;
        if let (Some(want), Some(got)) = (step["states"][0].as_object(), sgd.momentum_of(&weight)) {
            let want = tensor(&Value::Object(want.clone()));
            compare(&got, &want).map_err(|why| format!("momentum: {why}"))?;
            if got.stype() != want.stype() {
                needed.rule("momentum");
            }
        }
    }
    Ok(needed.0)
}

#[test]
fn sgd_updates() {
    let mut tally = Tally::default();
    for case in cases("optimizer.json") {
        if ["sgd_update", "sgd_mom_update", "SGD"].contains(&case["op"].as_str().unwrap_or("")) {
            tally.add(case["id"].as_str().unwrap_or("?"), update_case(&case));
        }
    }
    tally.close("optimizer.json (sgd)");
}
