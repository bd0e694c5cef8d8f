//! Element-wise functions of two operands, or of one and a number.

use std::ops;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::map::expr::Expr;
use super::map::program::Program;
use super::map::{Map, Named, by_primitive, stretched, stretched_of};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::elementwise::Binary;
use crate::tape::OpRef;
use crate::tape::op::Sample;
use crate::tape::{PartialShape, Var, evaluate};
use crate::tensor::Tensor;

fn operator(name: &str, op: Binary) -> Named {
    let expr = Expr::build(2, |b| {
        let (l, r) = (b.input(0), b.input(1));
        b.binary(op, l, r)
    });
    Named::new(name, expr)
}

/// `x op s`, or `s op x`. The scalar is not part of the program: each is compiled once.
fn with_scalar(op: Binary, scalar: f64, reversed: bool) -> Map {
    Map::new(SCALAR_PROGRAMS[&(op, reversed)], &[scalar], 0)
}

fn scalar_program(name: &str, op: Binary, reversed: bool) -> &'static Program {
    let expr = Expr::build(1, |b| {
        let (x, s) = (b.input(0), b.scalar(0));
        if reversed { b.binary(op, s, x) } else { b.binary(op, x, s) }
    });
    Program::intern(name.to_owned(), expr, None)
}

/// Methods of [`Var`] and [`Tensor`] for two operands and for a number on either side:
/// documentation, names, MXNet's names and others to be found by, primitive, and an example's operands
/// and result.
macro_rules! operators {
    ($($doc:literal $name:ident [$($alias:literal),*],
        $scalar:ident $mxnet:literal [$($scalar_alias:literal),*]
        $(, $reversed:ident $mxnet_reversed:literal [$($reversed_alias:literal),*])? = $op:ident,
        $l:literal, $r:literal => $value:literal;)*) => {
        #[expect(
            clippy::should_implement_trait,
            reason = "the traits are implemented too, by these very methods"
        )]
        impl<'t> Var<'t> {$(
            $(#[doc(alias = $alias)])*
            #[doc = concat!($doc, " Shapes broadcast by numpy's rules. A dense operand that \
                broadcasts meets only what a sparse one stores where the result is sparse; a sparse \
                operand that broadcasts is made dense first, as a fallback.")]
            ///
            #[doc = concat!("```\nuse sparsetape::{Tape, Tensor};\nlet tape = Tape::new();\n",
                "let (l, r) = (Tensor::scalar(", $l, "f64), Tensor::scalar(", $r, "f64));\n",
                "let y = tape.constant(l).", stringify!($name), "(tape.constant(r));\n",
                "assert_eq!(y.item::<f64>()?, ", $value, ");\n",
                "# Ok::<(), sparsetape::Error>(())\n```")]
            #[track_caller]
            pub fn $name(self, other: Var<'t>) -> Var<'t> {
                let map = named(Binary::$op).stretching(stretched_of(&[self, other]));
                Var::apply(OpRef::from_static(map), &[self, other])
            }

            #[doc(alias = $mxnet)]
            $(#[doc(alias = $scalar_alias)])*
            #[doc = concat!("[`Var::", stringify!($name), "`] with the same number everywhere. The \
                result is sparse iff it is 0 for an absent entry. (MXNet: `", $mxnet, "`.)")]
            ///
            #[doc = concat!("```\nuse sparsetape::{Tape, Tensor};\nlet tape = Tape::new();\n",
                "let x = tape.constant(Tensor::scalar(", $l, "f64));\n",
                "let y = x.", stringify!($scalar), "(", $r, "_f64);\n",
                "assert_eq!(y.item::<f64>()?, ", $value, ");\n",
                "# Ok::<(), sparsetape::Error>(())\n```")]
            #[track_caller]
            pub fn $scalar(self, scalar: f64) -> Var<'t> {
                Var::apply(with_scalar(Binary::$op, scalar, false), &[self])
            }

            $(
            #[doc(alias = $mxnet_reversed)]
            $(#[doc(alias = $reversed_alias)])*
            #[doc = concat!("[`Var::", stringify!($name), "`] with the number on the left. (MXNet: \
                `", $mxnet_reversed, "`.)")]
            ///
            #[doc = concat!("```\nuse sparsetape::{Tape, Tensor};\nlet tape = Tape::new();\n",
                "let x = tape.constant(Tensor::scalar(", $r, "f64));\n",
                "let y = x.", stringify!($reversed), "(", $l, "_f64);\n",
                "assert_eq!(y.item::<f64>()?, ", $value, ");\n",
                "# Ok::<(), sparsetape::Error>(())\n```")]
            #[track_caller]
            pub fn $reversed(self, scalar: f64) -> Var<'t> {
                Var::apply(with_scalar(Binary::$op, scalar, true), &[self])
            }
            )?
        )*}

        impl Tensor {$(
            #[doc = concat!("Unrecorded [`Var::", stringify!($name), "`].")]
            ///
            /// # Errors
            /// What the recorded operator refuses, at once.
            #[track_caller]
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                let map = for_tensors(named(Binary::$op), self, other);
                evaluate(OpRef::from_static(map), &[self, other])
            }

            #[doc = concat!("Unrecorded [`Var::", stringify!($scalar), "`].")]
            ///
            /// # Errors
            /// What the recorded operator refuses, at once.
            #[track_caller]
            pub fn $scalar(&self, scalar: f64) -> Result<Tensor> {
                evaluate(with_scalar(Binary::$op, scalar, false), &[self])
            }

            $(
            #[doc = concat!("Unrecorded [`Var::", stringify!($reversed), "`].")]
            ///
            /// # Errors
            /// What the recorded operator refuses, at once.
            #[track_caller]
            pub fn $reversed(&self, scalar: f64) -> Result<Tensor> {
                evaluate(with_scalar(Binary::$op, scalar, true), &[self])
            }
            )?
        )*}

        static OPERATORS: LazyLock<Vec<(Binary, Named)>> = LazyLock::new(|| {
            vec![$((Binary::$op, operator(stringify!($name), Binary::$op))),*]
        });

        /// The forms with a number, on the right or (true) on the left.
        static SCALAR_PROGRAMS: LazyLock<FxHashMap<(Binary, bool), &'static Program>> =
            LazyLock::new(|| {
                let right = [$((stringify!($scalar), Binary::$op, false)),*];
                let left = [$($((stringify!($reversed), Binary::$op, true),)?)*];
                let all = right.into_iter().chain(left);
                all.map(|(name, op, left)| ((op, left), scalar_program(name, op, left))).collect()
            });
    };
}

operators! {
    "l + r. (MXNet: `elemwise_add`, `broadcast_add`.)"
        add ["elemwise_add", "broadcast_add", "broadcast_plus", "_plus"],
        add_scalar "_plus_scalar" []
        = Add, "2.5", "1.0" => "3.5";
    "l − r. (MXNet: `elemwise_sub`, `broadcast_sub`.)"
        sub ["elemwise_sub", "broadcast_sub", "broadcast_minus", "_minus"],
        sub_scalar "_minus_scalar" [],
        rsub_scalar "_rminus_scalar" []
        = Sub, "2.5", "1.0" => "1.5";
    "l · r. (MXNet: `elemwise_mul`, `broadcast_mul`.)"
        mul ["elemwise_mul", "broadcast_mul", "_mul"],
        mul_scalar "_mul_scalar" []
        = Mul, "2.5", "2.0" => "5.0";
    "l / r. (MXNet: `elemwise_div`, `broadcast_div`.)"
        div ["elemwise_div", "broadcast_div", "_div"],
        div_scalar "_div_scalar" [],
        rdiv_scalar "_rdiv_scalar" []
        = Div, "2.5", "2.0" => "1.25";
    "The greater; the gradient of a tie goes to the left. (MXNet: `maximum`.)"
        maximum ["broadcast_maximum", "_maximum"],
        maximum_scalar "_maximum_scalar" []
        = Max, "2.5", "2.0" => "2.5";
    "The smaller; the gradient of a tie goes to the left. (MXNet: `minimum`.)"
        minimum ["broadcast_minimum", "_minimum"],
        minimum_scalar "_minimum_scalar" []
        = Min, "2.5", "2.0" => "2.0";
    "l to the power r. (MXNet: `power`.)"
        power ["pow", "powf", "broadcast_power", "_power"],
        power_scalar "_power_scalar" ["powi"],
        rpower_scalar "_rpower_scalar" ["exp2"]
        = Pow, "2.5", "2.0" => "6.25";
    "√(l² + r²). (MXNet: `hypot`.)"
        hypot ["broadcast_hypot", "_hypot"],
        hypot_scalar "_hypot_scalar" []
        = Hypot, "3.0", "4.0" => "5.0";
    "The remainder of l / r with the sign of r, and 0 for r = 0. (MXNet: `mod`.)"
        modulo ["mod", "rem", "rem_euclid", "broadcast_mod", "_mod"],
        modulo_scalar "_mod_scalar" [],
        rmodulo_scalar "_rmod_scalar" []
        = Mod, "-2.5", "2.0" => "1.5";
    "1 where l = r, else 0. (MXNet: `equal`.)"
        equal ["eq", "broadcast_equal", "_equal"],
        equal_scalar "_equal_scalar" []
        = Eq, "2.5", "2.0" => "0.0";
    "1 where l ≠ r, else 0. (MXNet: `not_equal`.)"
        not_equal ["ne", "broadcast_not_equal", "_not_equal"],
        not_equal_scalar "_not_equal_scalar" []
        = Ne, "2.5", "2.0" => "1.0";
    "1 where l > r, else 0. (MXNet: `greater`.)"
        greater ["gt", "broadcast_greater", "_greater"],
        greater_scalar "_greater_scalar" []
        = Gt, "2.5", "2.0" => "1.0";
    "1 where l ≥ r, else 0. (MXNet: `greater_equal`.)"
        greater_equal ["ge", "broadcast_greater_equal", "_greater_equal"],
        greater_equal_scalar "_greater_equal_scalar" []
        = Ge, "2.5", "2.0" => "1.0";
    "1 where l < r, else 0. (MXNet: `lesser`.)"
        lesser ["lt", "less", "broadcast_lesser", "_lesser"],
        lesser_scalar "_lesser_scalar" []
        = Lt, "2.5", "2.0" => "0.0";
    "1 where l ≤ r, else 0. (MXNet: `lesser_equal`.)"
        lesser_equal ["le", "less_equal", "broadcast_lesser_equal", "_lesser_equal"],
        lesser_equal_scalar "_lesser_equal_scalar" []
        = Le, "2.5", "2.0" => "0.0";
}

/// The operator for the shapes of two tensors.
fn for_tensors(named: &'static Named, l: &Tensor, r: &Tensor) -> &'static Map {
    let shapes = [l, r].map(|x| PartialShape::from(x.shape()));
    named.stretching(stretched(&shapes, |_| true))
}

/// The operator for operands of which these (a bit each) broadcast.
pub(super) fn stretching(op: Binary, stretched: u32) -> OpRef {
    OpRef::from_static(named(op).stretching(stretched))
}

fn named(op: Binary) -> &'static Named {
    static BY_PRIMITIVE: LazyLock<Vec<&'static Named>> =
        LazyLock::new(|| by_primitive(&OPERATORS, |op| op as usize));
    BY_PRIMITIVE[op as usize]
}

/// select(x < lo, lo, select(x > hi, hi, x)): the gradient passes at both bounds.
static CLIP: LazyLock<&'static Program> = LazyLock::new(|| {
    let expr = Expr::build(1, |b| {
        let (x, lo, hi) = (b.input(0), b.scalar(0), b.scalar(1));
        let (below, above) = (b.binary(Binary::Lt, x, lo), b.binary(Binary::Gt, x, hi));
        let capped = b.select(above, hi, x);
        b.select(below, lo, capped)
    });
    Program::intern("clip".to_owned(), expr, None)
});

#[track_caller]
fn clip(lo: f64, hi: f64) -> Result<Map> {
    if lo <= hi {
        return Ok(Map::new(*CLIP, &[lo, hi], 0));
    }
    let message = format!("the bounds are {lo} and {hi}: the first must not be above the second");
    Err(Error::new(ErrorKind::Value, message).operator("clip"))
}

impl<'t> Var<'t> {
    /// `lo` where the value is less, `hi` where it is more; the gradient passes at both bounds.
    /// The result is sparse iff 0 is within the bounds. (MXNet: `clip`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([3], vec![-2.0f32, 0.5, 2.0])?);
    /// assert_eq!(x.clip(-1.0, 1.0).value()?.values::<f32>()?, [-1.0, 0.5, 1.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "clamp")]
    #[track_caller]
    pub fn clip(self, lo: f64, hi: f64) -> Var<'t> {
        match clip(lo, hi) {
            Ok(map) => Var::apply(map, &[self]),
            Err(error) => self.poisoned(error),
        }
    }
}

impl Tensor {
    /// Unrecorded [`Var::clip`].
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn clip(&self, lo: f64, hi: f64) -> Result<Tensor> {
        evaluate(clip(lo, hi)?, &[self])
    }
}

/// `+ - * /` between variables, and with numbers on either side. Whole numbers too, but one float type
/// only: with two, a literal's type would be open, and `(x * 2.0).sum()` would not compile.
macro_rules! infix {
    ($($trait:ident $name:ident $scalar:ident $left:ident;)*) => {$(
        impl<'t> ops::$trait for Var<'t> {
            type Output = Var<'t>;

            #[track_caller]
            fn $name(self, other: Var<'t>) -> Var<'t> {
                Var::$name(self, other)
            }
        }

        infix! { f64: $trait $name $scalar $left }
        infix! { i32: $trait $name $scalar $left }
    )*};
    ($number:ident: $trait:ident $name:ident $scalar:ident $left:ident) => {
        impl<'t> ops::$trait<$number> for Var<'t> {
            type Output = Var<'t>;

            #[track_caller]
            fn $name(self, scalar: $number) -> Var<'t> {
                self.$scalar(scalar.into())
            }
        }

        impl<'t> ops::$trait<Var<'t>> for $number {
            type Output = Var<'t>;

            #[track_caller]
            fn $name(self, x: Var<'t>) -> Var<'t> {
                x.$left(self.into())
            }
        }
    };
}

infix! {
    Add add add_scalar add_scalar;
    Sub sub sub_scalar rsub_scalar;
    Mul mul mul_scalar mul_scalar;
    Div div div_scalar rdiv_scalar;
}

impl<'t> ops::Neg for Var<'t> {
    type Output = Var<'t>;

    #[track_caller]
    fn neg(self) -> Var<'t> {
        Var::neg(self)
    }
}

pub(super) fn samples() -> Vec<Sample<Map>> {
    let value = |i: usize, shift: f64| ((i as f64 + shift) * 0.77).sin() * 1.9;
    let matrix = |skip: usize, shift: f64, positive: bool| {
        Tensor::from_fn([3, 4], move |i| match i {
            _ if i % skip == 0 || i / 4 == 1 => 0.0,
            _ if positive => value(i, shift).abs() + 0.4,
            _ => value(i, shift),
        })
    };
    let full = |shape: &[usize], positive: bool| {
        Tensor::from_fn(shape, move |i| {
            if positive { value(i, 0.4).abs() + 0.5 } else { value(i, 0.4) + 2.5 }
        })
    };
    let with = |named: &'static Named, l: Tensor, r: Tensor| {
        Sample::good(for_tensors(named, &l, &r).clone(), [l, r])
    };
    let mut samples = Vec::new();
    for (op, named) in OPERATORS.iter() {
        let positive = *op == Binary::Pow;
        let left = if positive { full(&[3, 4], true) } else { matrix(3, 0.0, false) };
        samples.push(with(named, left, full(&[3, 4], true)));
        // Not finite, or with a slope that jumps, at (0, 0).
        if !matches!(op, Binary::Div | Binary::Pow | Binary::Mod | Binary::Hypot) {
            samples.push(with(named, matrix(3, 0.0, false), matrix(2, 5.0, false)));
        }
        let larger = || if positive { full(&[3, 4], true) } else { matrix(3, 0.0, false) };
        for vector in [&[4][..], &[1, 4], &[3, 1], &[1, 1], &[1], &[]] {
            samples.push(with(named, larger(), full(vector, true)));
        }
        samples.push(with(named, full(&[4], true), full(&[3, 4], true)));
        for (l, r) in
            [(&[2, 1, 3][..], &[4, 1][..]), (&[2, 3, 2], &[3, 1]), (&[2, 3, 2], &[2, 1, 1])]
        {
            samples.push(with(named, full(l, positive), full(r, positive)));
        }
    }
    let mut forms: Vec<_> = SCALAR_PROGRAMS.keys().copied().collect();
    forms.sort_by_key(|(op, left)| (*op as usize, *left));
    for (op, left) in forms {
        samples.push(Sample::good(with_scalar(op, 1.7, left), [full(&[3, 4], true)]));
        if !left && op != Binary::Pow {
            samples.push(Sample::good(with_scalar(op, 1.5, false), [matrix(3, 0.3, false)]));
        }
        if !left && !matches!(op, Binary::Div | Binary::Mod | Binary::Hypot) {
            samples.push(Sample::good(with_scalar(op, 0.0, false), [matrix(3, 0.3, false)]));
        }
    }
    samples.push(Sample::good(with_scalar(Binary::Pow, 2.0, false), [matrix(3, 0.3, false)]));
    for (lo, hi) in [(-1.0, 1.1), (0.5, 1.5), (0.0, f64::INFINITY)] {
        let map = Map::new(*CLIP, &[lo, hi], 0);
        samples.push(Sample::good(map, [matrix(3, 0.3, false)]));
    }
    let add = named(Binary::Add);
    let (equal, stretched) = (add.equal(), add.stretching(3));
    let (wide, vector) =
        (|| Tensor::from_fn([3, 5], |i| i as f64), Tensor::from_fn([4], |i| i as f64));
    let narrow = Tensor::from_fn([3, 4], |i| i as f32);
    let pair = || matrix(3, 0.0, false);
    let mut bad = |map: &Map, r, kind, text| {
        samples.push(Sample::bad(map.clone(), [pair(), r], kind, text));
    };
    bad(equal, wide(), ErrorKind::Shape, "differ");
    bad(equal, vector, ErrorKind::Shape, "differ");
    bad(stretched, wide(), ErrorKind::Shape, "do not broadcast");
    bad(equal, narrow, ErrorKind::DType, "use `cast`");
    samples
}
