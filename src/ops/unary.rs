//! Element-wise functions of one operand.

use std::f64::consts::PI;
use std::sync::LazyLock;

use super::map::expr::Expr;
use super::map::program::Program;
use super::map::{Map, by_primitive};
use crate::error::{ErrorKind, Result};
use crate::kernels::elementwise::Unary;
use crate::tape::OpRef;
use crate::tape::methods::methods;
use crate::tape::op::Sample;
use crate::tape::{Var, evaluate};
use crate::tensor::Tensor;

fn function(name: &str, op: Unary) -> Map {
    let expr = Expr::build(1, |b| {
        let x = b.input(0);
        b.unary(op, x)
    });
    Map::named(name, expr)
}

/// Methods of [`Var`] and [`Tensor`]: documentation, name, other names to be found by, primitive, and
/// an example's argument and result. The list of all of them, for samples.
macro_rules! functions {
    ($($doc:literal $name:ident [$($alias:literal),*] = $op:ident,
        $at:literal => $value:literal;)*) => {
        #[expect(
            clippy::should_implement_trait,
            reason = "the traits are implemented too, by these very methods"
        )]
        impl<'t> Var<'t> {$(
            $(#[doc(alias = $alias)])*
            #[doc = $doc]
            ///
            #[doc = concat!("```\nuse sparsetape::{Tape, Tensor};\nlet tape = Tape::new();\n",
                "let x = tape.constant(Tensor::scalar(", $at, "f64));\n",
                "let y = x.", stringify!($name), "().item::<f64>()?;\n",
                "assert!((y - (", $value, "f64)).abs() < 1e-12);\n",
                "# Ok::<(), sparsetape::Error>(())\n```")]
            #[track_caller]
            pub fn $name(self) -> Var<'t> {
                Var::apply(operator(Unary::$op), &[self])
            }
        )*}

        impl Tensor {$(
            #[doc = concat!("Unrecorded [`Var::", stringify!($name), "`].")]
            ///
            /// # Errors
            /// What the recorded operator refuses, at once.
            #[track_caller]
            pub fn $name(&self) -> Result<Tensor> {
                evaluate(operator(Unary::$op), &[self])
            }
        )*}

        static FUNCTIONS: LazyLock<Vec<(Unary, Map)>> = LazyLock::new(|| {
            vec![$((Unary::$op, function(stringify!($name), Unary::$op))),*]
        });
    };
}

fn operator(op: Unary) -> OpRef {
    OpRef::from_static(named(op))
}

fn named(op: Unary) -> &'static Map {
    static BY_PRIMITIVE: LazyLock<Vec<&'static Map>> =
        LazyLock::new(|| by_primitive(&FUNCTIONS, |op| op as usize));
    BY_PRIMITIVE[op as usize]
}

functions! {
    "−x. (MXNet: `negative`.)" neg ["negative"] = Neg, "1.5" => "-1.5";
    "|x|; the gradient at 0 is 0. (MXNet: `abs`.)" abs [] = Abs, "-1.5" => "1.5";
    "−1, 0 or 1, and 0 for NaN; the gradient is 0. (MXNet: `sign`.)" sign ["signum"] = Sign, "-1.5" => "-1.0";
    "√x. (MXNet: `sqrt`.)" sqrt [] = Sqrt, "2.25" => "1.5";
    "1/√x. (MXNet: `rsqrt`.)" rsqrt [] = Rsqrt, "4.0" => "0.5";
    "∛x. (MXNet: `cbrt`.)" cbrt [] = Cbrt, "27.0" => "3.0";
    "x². (MXNet: `square`.)" square [] = Square, "1.5" => "2.25";
    "1/x. (MXNet: `reciprocal`.)" reciprocal ["recip"] = Reciprocal, "4.0" => "0.25";
    "eˣ. (MXNet: `exp`.)" exp [] = Exp, "1.0" => "2.718281828459045";
    "eˣ − 1, exact near 0. (MXNet: `expm1`.)" expm1 ["exp_m1"] = Expm1, "1.0" => "1.718281828459045";
    "The natural logarithm. (MXNet: `log`.)" log ["ln"] = Ln, "2.0" => "0.6931471805599453";
    "The logarithm to base 2. (MXNet: `log2`.)" log2 [] = Log2, "8.0" => "3.0";
    "The logarithm to base 10. (MXNet: `log10`.)" log10 [] = Log10, "1000.0" => "3.0";
    "ln(1 + x), exact near 0. (MXNet: `log1p`.)" log1p ["ln_1p"] = Log1p, "1.0" => "0.6931471805599453";
    "The sine of radians. (MXNet: `sin`.)" sin [] = Sin, "0.5" => "0.479425538604203";
    "The cosine of radians. (MXNet: `cos`.)" cos [] = Cos, "0.5" => "0.8775825618903728";
    "The tangent of radians. (MXNet: `tan`.)" tan [] = Tan, "0.5" => "0.5463024898437905";
    "The arc sine in radians. (MXNet: `arcsin`.)" arcsin ["asin"] = Asin, "0.5" => "0.5235987755982989";
    "The arc cosine in radians. (MXNet: `arccos`.)" arccos ["acos"] = Acos, "0.5" => "1.0471975511965979";
    "The arc tangent in radians. (MXNet: `arctan`.)" arctan ["atan"] = Atan, "1.0" => "0.7853981633974483";
    "The hyperbolic sine. (MXNet: `sinh`.)" sinh [] = Sinh, "0.5" => "0.5210953054937474";
    "The hyperbolic cosine. (MXNet: `cosh`.)" cosh [] = Cosh, "0.5" => "1.1276259652063807";
    "The hyperbolic tangent. (MXNet: `tanh`.)" tanh [] = Tanh, "0.5" => "0.46211715726000973";
    "The inverse hyperbolic sine. (MXNet: `arcsinh`.)" arcsinh ["asinh"] = Asinh, "0.5" => "0.48121182505960347";
    "The inverse hyperbolic cosine. (MXNet: `arccosh`.)" arccosh ["acosh"] = Acosh, "2.0" => "1.3169578969248166";
    "The inverse hyperbolic tangent. (MXNet: `arctanh`.)" arctanh ["atanh"] = Atanh, "0.5" => "0.5493061443340548";
    "1/(1 + e⁻ˣ). (MXNet: `sigmoid`.)" sigmoid ["expit", "logistic"] = Sigmoid, "0.5" => "0.6224593312018546";
    "ln(1 + eˣ), stable. (MXNet: `softrelu` activation.)" softplus ["softrelu"] = Softplus, "0.5" => "0.9740769841801067";
    "The error function. (MXNet: `erf`.)" erf [] = Erf, "0.5" => "0.5204998778130465";
    "max(x, 0); the gradient at 0 is 0. (MXNet: `relu`.)" relu [] = Relu, "-1.5" => "0.0";
    "The next integer towards −∞; the gradient is 0. (MXNet: `floor`.)" floor [] = Floor, "-1.5" => "-2.0";
    "The next integer towards ∞; the gradient is 0. (MXNet: `ceil`.)" ceil [] = Ceil, "-1.5" => "-1.0";
    "The next integer towards 0; the gradient is 0. (MXNet: `trunc`, `fix`.)" trunc [] = Trunc, "-1.5" => "-1.0";
    "The nearest integer, halves away from 0; the gradient is 0. (MXNet: `round`.)" round [] = Round, "1.5" => "2.0";
    "The nearest integer, halves down; the gradient is 0. (MXNet: `rint`.)" rint [] = Rint, "1.5" => "1.0";
    "Γ(x). (MXNet: `gamma`.)" gamma ["tgamma"] = Gamma, "5.0" => "24.0";
    "ln |Γ(x)|. (MXNet: `gammaln`.)" gammaln ["lgamma", "ln_gamma"] = LnGamma, "5.0" => "3.1780538303479458";
    "ψ(x), the logarithmic derivative of Γ. Differentiation ends here." digamma ["psi"] = Digamma, "1.0" => "-0.5772156649015329";
}

static DEGREES: LazyLock<Map> = LazyLock::new(|| scaled("degrees", 180.0 / PI));
static RADIANS: LazyLock<Map> = LazyLock::new(|| scaled("radians", PI / 180.0));

fn scaled(name: &str, by: f64) -> Map {
    let expr = Expr::build(1, |b| {
        let (x, factor) = (b.input(0), b.constant(by));
        b.mul(x, factor)
    });
    Map::named(name, expr)
}

/// a·x² + b·x + c
static QUADRATIC: LazyLock<&'static Program> = LazyLock::new(|| {
    let expr = Expr::build(1, |b| {
        let (x, [second, first, constant]) = (b.input(0), [0, 1, 2].map(|i| b.scalar(i)));
        let square = b.unary(Unary::Square, x);
        let (square, linear) = (b.mul(second, square), b.mul(first, x));
        let sum = b.add_terms(square, linear);
        b.add_terms(sum, constant)
    });
    Program::intern("quadratic".to_owned(), expr, None)
});

fn quadratic(a: f64, b: f64, c: f64) -> Map {
    Map::new(*QUADRATIC, &[a, b, c], 0)
}

methods! {
    /// Radians as degrees. (MXNet: `degrees`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::scalar(std::f64::consts::PI));
    /// assert_eq!(x.degrees().item::<f64>()?, 180.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "to_degrees")]
    #[doc(alias = "rad2deg")]
    fn degrees(x) = OpRef::from_static(&*DEGREES);
    /// Degrees as radians. (MXNet: `radians`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::scalar(180.0f64));
    /// assert_eq!(x.radians().item::<f64>()?, std::f64::consts::PI);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "to_radians")]
    #[doc(alias = "deg2rad")]
    fn radians(x) = OpRef::from_static(&*RADIANS);
    /// [`Var::trunc`] by its other name. (MXNet: `fix`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::scalar(-1.5f64));
    /// assert_eq!(x.fix().item::<f64>()?, -1.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn fix(x) = operator(Unary::Trunc);
    /// a·x² + b·x + c. The result is sparse iff c = 0 and a, b are finite. (MXNet: `quadratic`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::scalar(3.0f64));
    /// assert_eq!(x.quadratic(0.5, -1.0, 2.0).item::<f64>()?, 3.5);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn quadratic(x; a: f64, b: f64, c: f64) = quadratic(a, b, c);
}

/// Arguments within the domain, away from kinks and steps.
fn domain(op: Unary) -> (f64, f64) {
    match op {
        Unary::Sqrt | Unary::Rsqrt | Unary::Ln | Unary::Log2 | Unary::Log10 => (0.3, 3.0),
        Unary::Gamma | Unary::LnGamma | Unary::Digamma => (0.6, 3.5),
        Unary::Acosh => (1.2, 3.0),
        Unary::Asin | Unary::Acos | Unary::Atanh => (-0.85, 0.85),
        _ => (-2.3, 2.4),
    }
}

/// Whether 0 is in the domain and not a kink, a pole or a step.
fn smooth_at_zero(op: Unary) -> bool {
    let steps = [Unary::Abs, Unary::Sign, Unary::Relu, Unary::Floor, Unary::Ceil];
    let poles = [Unary::Reciprocal, Unary::Cbrt, Unary::Sqrt];
    !steps.contains(&op) && !poles.contains(&op) && domain(op).0 < 0.0
}

pub(super) fn samples() -> Vec<Sample<Map>> {
    let mut samples = Vec::new();
    for (op, map) in FUNCTIONS.iter() {
        let (lo, hi) = domain(*op);
        let spread =
            move |i: usize| lo + (hi - lo) * ((i as f64 * 0.37 + 0.13).fract() * 0.97 + 0.01);
        let keeps_zero = [Unary::Abs, Unary::Sign, Unary::Relu, Unary::Sqrt, Unary::Cbrt];
        let zeros =
            smooth_at_zero(*op) || keeps_zero.contains(op) || *op as usize >= Unary::Floor as usize;
        let zeros = zeros && !matches!(op, Unary::Gamma | Unary::LnGamma | Unary::Digamma);
        let matrix = Tensor::from_fn([3, 4], |i| match i {
            _ if zeros && (i % 3 == 0 || i / 4 == 1) => 0.0,
            i => spread(i),
        });
        samples.push(Sample::good(map.clone(), [matrix]));
        samples.push(Sample::good(map.clone(), [Tensor::from_fn([2, 1, 3], spread)]));
    }
    let matrix = || Tensor::from_fn([3, 4], |i| if i % 3 == 0 { 0.0 } else { i as f64 - 5.5 });
    let quadratics = [quadratic(0.5, 2.0, 0.0), quadratic(1.0, -1.0, 0.5)];
    let others = quadratics.into_iter().chain([DEGREES.clone(), RADIANS.clone()]);
    samples.extend(others.map(|map| Sample::good(map, [matrix()])));
    let exp = named(Unary::Exp);
    let ids = Tensor::from_fn([2], |i| i as i64);
    samples.push(Sample::bad(exp.clone(), [ids], ErrorKind::DType, "does not take i64"));
    samples
}
