//! MXNet's operators and their parameters as methods.

use serde_json::Value;
use sparsetape::ops::{MakeLoss, Normalization, SliceRange, SoftmaxLayout, SoftmaxOutput};
use sparsetape::{DType, Embedding, NormOrder, OutOfRange, Stype, Var};

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

    fn optional(self, name: &str) -> Option<isize> {
        self.0[name].as_i64().map(|number| number as isize)
    }

    /// The axes named, or all of them.
    fn all_axes(self, name: &str, x: Var<'_>) -> Vec<isize> {
        match self.axes(name)[..] {
            [] => (0..x.shape().map_or(0, |shape| shape.len() as isize)).collect(),
            ref axes => axes.to_vec(),
        }
    }

    /// `begin`, `end` and `step` by axis.
    fn ranges(self) -> Vec<SliceRange> {
        let number = |name: &str, axis: usize| self.0[name][axis].as_i64().map(|x| x as isize);
        let axes = self.0["begin"].as_array().map_or(0, Vec::len);
        let range = |axis| {
            let step = number("step", axis).unwrap_or(1);
            SliceRange::new(number("begin", axis), number("end", axis)).step(step)
        };
        (0..axes).map(range).collect()
    }

    fn normalization(self) -> Normalization {
        match self.0["normalization"].as_str() {
            Some("batch") => Normalization::Batch,
            Some("valid") => Normalization::Valid,
            _ => Normalization::None,
        }
    }

    fn softmax_output(self) -> SoftmaxOutput {
        let layout = match (self.flag("multi_output"), self.flag("preserve_shape")) {
            (true, _) => SoftmaxLayout::SecondAxis,
            (_, true) => SoftmaxLayout::LastAxis,
            _ => SoftmaxLayout::Flat,
        };
        let options = SoftmaxOutput::new()
            .grad_scale(self.number("grad_scale", 1.0))
            .normalization(self.normalization())
            .layout(layout)
            .out_grad(self.flag("out_grad"))
            .smooth_alpha(self.number("smooth_alpha", 0.0));
        match self.flag("use_ignore") {
            true => options.ignore_label(self.number("ignore_label", -1.0) as i64),
            false => options,
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
        // Where the first operand stores something.
        "_scatter_plus_scalar" => x[0] + x[0].ones_like() * scalar,
        "_scatter_minus_scalar" => x[0] - x[0].ones_like() * scalar,
        "_scatter_elemwise_div" => (x[0] / x[1]).project_like(x[0]),
        "_equal" | "broadcast_equal" => x[0].equal(x[1]),
        "_not_equal" | "broadcast_not_equal" => x[0].not_equal(x[1]),
        "_greater" | "broadcast_greater" => x[0].greater(x[1]),
        "_greater_equal" | "broadcast_greater_equal" => x[0].greater_equal(x[1]),
        "_lesser" | "broadcast_lesser" => x[0].lesser(x[1]),
        "_lesser_equal" | "broadcast_lesser_equal" => x[0].lesser_equal(x[1]),

        "dot" => match (p.flag("transpose_a"), p.flag("transpose_b")) {
            (true, false) if p.asked_stype() == Some(Stype::Default) => {
                x[0].dot_as(x[1], true, false, Stype::Default)
            }
            (ta, tb) => x[0].dot_with(x[1], ta, tb),
        },
        "add_n" => x[0].tape().add_n(x),
        "where" => x[0].select(x[1], x[2]),
        "sum" => reduce(x[0], p, Var::sum_axes, Var::sum_except),
        "mean" => reduce(x[0], p, Var::mean_axes, Var::mean_except),
        "_square_sum" => reduce(x[0].square(), p, Var::sum_axes, Var::sum_except),
        "max" => x[0].max_axes(&p.all_axes("axis", x[0]), p.flag("keepdims")),
        "min" => x[0].min_axes(&p.all_axes("axis", x[0]), p.flag("keepdims")),
        "norm" => {
            let order = if p.axis("ord", 2) == 1 { NormOrder::L1 } else { NormOrder::L2 };
            x[0].norm_axes(order, &p.all_axes("axis", x[0]), p.flag("keepdims"))
        }
        "softmax" => x[0].softmax_axis(p.axis("axis", -1)),
        "log_softmax" => x[0].log_softmax_axis(p.axis("axis", -1)),

        "_copy" => x[0].identity(),
        "reshape" | "Reshape" => x[0].reshape(&p.axes("shape")),
        "flatten" | "Flatten" => x[0].flatten(),
        "expand_dims" => x[0].expand_dims(p.axis("axis", 0)),
        "squeeze" => x[0].squeeze(&p.axes("axis")),
        "transpose" => x[0].transpose(&p.axes("axes")),
        "broadcast_to" => x[0].broadcast_to(&p.axes("shape")),
        "slice" => x[0].slice(p.ranges()),
        "slice_axis" => {
            let (begin, end) = (p.optional("begin"), p.optional("end"));
            x[0].slice_axis(p.axis("axis", 0), SliceRange::new(begin, end))
        }
        "concat" | "Concat" => x[0].tape().concat(x, p.axis("dim", 1)),
        "stack" => x[0].tape().stack(x, p.axis("axis", 0)),
        "retain" | "_sparse_retain" => x[0].retain(ids(x[1])),

        "take" => {
            let mode = match p.0["mode"].as_str() {
                Some("wrap") => OutOfRange::Wrap,
                Some("raise") => OutOfRange::Error,
                _ => OutOfRange::Clip,
            };
            x[0].take_with(ids(x[1]), mode)
        }
        "Embedding" => {
            // With a row-sparse table, MXNet refuses ids out of range.
            let clips = x[1].stype().is_ok_and(|stype| stype == Stype::Default);
            let out_of_range = if clips { OutOfRange::Clip } else { OutOfRange::Error };
            let how = Embedding { sparse_grad: p.flag("sparse_grad"), out_of_range };
            ids(x[0]).embedding_with(x[1], how)
        }
        "getnnz" => x[0].getnnz(p.optional("axis")),

        "FullyConnected" => {
            let data = if p.0["flatten"] == false { x[0] } else { x[0].flatten() };
            let bias = x.get(2).copied().filter(|_| !p.flag("no_bias"));
            data.fully_connected(x[1], bias)
        }
        "Dropout" => x[0].dropout(p.number("p", 0.5)),
        "LinearRegressionOutput" => {
            x[0].linear_regression_output(x[1], p.number("grad_scale", 1.0))
        }
        "LogisticRegressionOutput" => {
            x[0].logistic_regression_output(x[1], p.number("grad_scale", 1.0))
        }
        "MAERegressionOutput" => x[0].mae_regression_output(x[1], p.number("grad_scale", 1.0)),
        "SoftmaxOutput" => x[0].softmax_output_with(x[1], p.softmax_output()),
        "make_loss" => x[0].make_loss(1.0),
        "MakeLoss" => {
            let loss = MakeLoss::new(p.number("grad_scale", 1.0)).normalization(p.normalization());
            x[0].make_loss_with(loss.threshold(p.number("valid_thresh", 0.0)))
        }
        _ => return None,
    })
}

type Over<'t> = fn(Var<'t>, &[isize], bool) -> Var<'t>;

/// A reduction over `axis`, over all axes if there is none, or over all but those (`exclude`).
fn reduce<'t>(x: Var<'t>, p: Params<'_>, over: Over<'t>, except: Over<'t>) -> Var<'t> {
    match p.flag("exclude") {
        true => except(x, &p.axes("axis"), p.flag("keepdims")),
        false => over(x, &p.all_axes("axis", x), p.flag("keepdims")),
    }
}
