//! MXNet's operators and their parameters as methods.

use serde_json::Value;
use sparsetape::{DType, Stype, Var};

use crate::arrays::stype;

/// Parameters by name.
#[derive(Clone, Copy)]
pub struct Params<'a>(pub &'a Value);

impl Params<'_> {
    fn flag(self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or(false)
    }

    fn number(self, name: &str, default: f64) -> f64 {
        self.0[name].as_f64().unwrap_or(default)
    }

    fn axis(self, name: &str, default: isize) -> isize {
        self.0[name].as_i64().map_or(default, |axis| axis as isize)
    }

    /// One number or a list; nothing is an empty list.
    fn axes(self, name: &str) -> Vec<isize> {
        let one = |x: &Value| x.as_i64().expect("an axis") as isize;
        match &self.0[name] {
            Value::Null => Vec::new(),
            Value::Array(list) => list.iter().map(one).collect(),
            axis => vec![one(axis)],
        }
    }

    /// The storage type asked for the result: a cast after the operator.
    pub fn asked_stype(self) -> Option<Stype> {
        self.0.get("forward_stype").filter(|name| name.is_string()).map(stype)
    }
}

/// Element numbers, which MXNet keeps as floats.
fn ids(x: Var<'_>) -> Var<'_> {
    x.cast(DType::I64)
}

/// The operator on these operands; `None` if there is none of this name.
pub fn apply<'t>(op: &str, p: Params<'_>, x: &[Var<'t>]) -> Option<Var<'t>> {
    let scalar = p.number("scalar", 0.0);
    Some(match op {
        "zeros_like" => x[0].zeros_like(),
        "ones_like" => x[0].ones_like(),
        "stop_gradient" => x[0].stop_gradient(),
        "cast_storage" => x[0].cast_storage(stype(&p.0["stype"])),

        "negative" => -x[0],
        "abs" => x[0].abs(),
        "sign" => x[0].sign(),
        "sqrt" => x[0].sqrt(),
        "rsqrt" => x[0].rsqrt(),
        "cbrt" => x[0].cbrt(),
        "square" => x[0].square(),
        "reciprocal" => x[0].reciprocal(),
        "exp" => x[0].exp(),
        "expm1" => x[0].expm1(),
        "log" => x[0].log(),
        "log2" => x[0].log2(),
        "log10" => x[0].log10(),
        "log1p" => x[0].log1p(),
        "sin" => x[0].sin(),
        "cos" => x[0].cos(),
        "tan" => x[0].tan(),
        "arcsin" => x[0].arcsin(),
        "arccos" => x[0].arccos(),
        "arctan" => x[0].arctan(),
        "sinh" => x[0].sinh(),
        "cosh" => x[0].cosh(),
        "tanh" => x[0].tanh(),
        "arcsinh" => x[0].arcsinh(),
        "arccosh" => x[0].arccosh(),
        "arctanh" => x[0].arctanh(),
        "sigmoid" => x[0].sigmoid(),
        "erf" => x[0].erf(),
        "relu" => x[0].relu(),
        "floor" => x[0].floor(),
        "ceil" => x[0].ceil(),
        "trunc" => x[0].trunc(),
        "round" => x[0].round(),
        "rint" => x[0].rint(),
        "fix" => x[0].fix(),
        "degrees" => x[0].degrees(),
        "radians" => x[0].radians(),
        "_contrib_round_ste" => x[0].round_ste(),
        "_contrib_sign_ste" => x[0].sign_ste(),
        "quadratic" => x[0].quadratic(p.number("a", 0.0), p.number("b", 0.0), p.number("c", 0.0)),
        "gamma" => x[0].gamma(),
        "gammaln" => x[0].gammaln(),

        "clip" => x[0].clip(p.number("a_min", f64::MIN), p.number("a_max", f64::MAX)),
        "_plus_scalar" => x[0] + scalar,
        "_minus_scalar" => x[0] - scalar,
        "_rminus_scalar" => scalar - x[0],
        "_mul_scalar" => x[0] * scalar,
        "_div_scalar" => x[0] / scalar,
        "_rdiv_scalar" => scalar / x[0],
        "_power_scalar" => x[0].power_scalar(scalar),
        "_rpower_scalar" => x[0].rpower_scalar(scalar),
        "_mod_scalar" => x[0].modulo_scalar(scalar),
        "_rmod_scalar" => x[0].rmodulo_scalar(scalar),
        "_hypot_scalar" => x[0].hypot_scalar(scalar),
        "_maximum_scalar" => x[0].maximum_scalar(scalar),
        "_minimum_scalar" => x[0].minimum_scalar(scalar),
        "_equal_scalar" => x[0].equal_scalar(scalar),
        "_not_equal_scalar" => x[0].not_equal_scalar(scalar),
        "_greater_scalar" => x[0].greater_scalar(scalar),
        "_greater_equal_scalar" => x[0].greater_equal_scalar(scalar),
        "_lesser_scalar" => x[0].lesser_scalar(scalar),
        "_lesser_equal_scalar" => x[0].lesser_equal_scalar(scalar),

        "elemwise_add" | "broadcast_add" => x[0] + x[1],
        "elemwise_sub" | "broadcast_sub" => x[0] - x[1],
        "elemwise_mul" | "broadcast_mul" => x[0] * x[1],
        "elemwise_div" | "broadcast_div" => x[0] / x[1],
        "_power" | "broadcast_power" => x[0].power(x[1]),
        "_mod" | "broadcast_mod" => x[0].modulo(x[1]),
        "_maximum" | "broadcast_maximum" => x[0].maximum(x[1]),
        "_minimum" | "broadcast_minimum" => x[0].minimum(x[1]),
        "_hypot" | "broadcast_hypot" => x[0].hypot(x[1]),
        "_equal" | "broadcast_equal" => x[0].equal(x[1]),
        "_not_equal" | "broadcast_not_equal" => x[0].not_equal(x[1]),
        "_greater" | "broadcast_greater" => x[0].greater(x[1]),
        "_greater_equal" | "broadcast_greater_equal" => x[0].greater_equal(x[1]),
        "_lesser" | "broadcast_lesser" => x[0].lesser(x[1]),
        "_lesser_equal" | "broadcast_lesser_equal" => x[0].lesser_equal(x[1]),

        "dot" => match (p.flag("transpose_a"), p.flag("transpose_b")) {
            (true, false) if p.asked_stype() == Some(Stype::Default) => {
                x[0].dot_transposed_dense(x[1])
            }
            (ta, tb) => x[0].dot_with(x[1], ta, tb),
        },
        "add_n" => x[0].tape().add_n(x),
        "where" => x[0].select(x[1], x[2]),
        "sum" => reduce(x[0], p, Var::sum_axes),
        "mean" => reduce(x[0], p, Var::mean_axes),
        _ => return None,
    })
}

/// A reduction over `axis`, over all axes if there is none.
fn reduce<'t>(x: Var<'t>, p: Params<'_>, over: fn(Var<'t>, &[isize], bool) -> Var<'t>) -> Var<'t> {
    let all = || (0..x.shape().map_or(0, |shape| shape.len() as isize)).collect();
    let axes = if p.0["axis"].is_null() { all() } else { p.axes("axis") };
    over(x, &axes, p.flag("keepdims"))
}
