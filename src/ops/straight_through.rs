//! Values of one function with the gradient of another: straight-through estimators.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var, compose};
use crate::tensor::{Tensor, View};

/// `straight_through`: the first operand, with the gradient going to the second, which is not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StraightThrough;

methods! {
    /// These very values; the gradient goes to `through`, of the same shape, as if they were its. So
    /// a function with steps can be trained through. Nothing is copied; the storage type is that of
    /// the values.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::scalar(2.6f64));
    /// let y = x.floor().straight_through(x);
    /// assert_eq!(y.item::<f64>()?, 2.0);
    /// assert_eq!(y.backward()?.wrt(x).unwrap().item::<f64>()?, 1.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn straight_through(values, through) = StraightThrough;
}

/// Methods of [`Var`] and [`Tensor`]: documentation, name, other name, function, argument and result.
macro_rules! estimators {
    ($($doc:literal $name:ident [$alias:literal] = $function:ident, $at:literal => $value:literal;)*)
    => {
        impl<'t> Var<'t> {$(
            #[doc(alias = $alias)]
            #[doc = concat!("[`Var::", stringify!($function), "`], with the gradient of the \
                identity. Storage types as there. ", $doc)]
            ///
            #[doc = concat!("```\nuse sparsetape::{Tape, Tensor};\nlet tape = Tape::new();\n",
                "let x = tape.variable(Tensor::scalar(", $at, "f64));\n",
                "let y = x.", stringify!($name), "();\n",
                "assert_eq!(y.item::<f64>()?, ", $value, ");\n",
                "assert_eq!(y.backward()?.wrt(x).unwrap().item::<f64>()?, 1.0);\n",
                "# Ok::<(), sparsetape::Error>(())\n```")]
            #[track_caller]
            pub fn $name(self) -> Var<'t> {
                self.$function().straight_through(self)
            }
        )*}

        impl Tensor {$(
            #[doc = concat!("Unrecorded [`Var::", stringify!($name), "`].")]
            ///
            /// # Errors
            /// What the recorded operators refuse, at once.
            #[track_caller]
            pub fn $name(&self) -> Result<Tensor> {
                compose([self], |[x]| x.$name())
            }
        )*}
    };
}

estimators! {
    "(MXNet: `_contrib_round_ste`.)" round_ste ["_contrib_round_ste"] = round, "1.5" => "2.0";
    "(MXNet: `_contrib_sign_ste`.)" sign_ste ["_contrib_sign_ste"] = sign, "-1.5" => "-1.0";
}

fn values(_: &StraightThrough, _: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    out.alias(0);
    Ok(())
}

impl Op for StraightThrough {
    const NAME: &'static str = "straight_through";

    fn gradient(&self) -> Gradient<Self> {
        Gradient::Stated {
            why: "the values count as those of the second operand",
            function: Some(|_, x, held| {
                let moved = [held[0], x[1], held[1].neg()];
                x[1].tape().add_n(&moved).project_like(held[0])
            }),
        }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)?;
        ins[1].unify(out)?;
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<StraightThrough>; 9] = [
            case!(any [Default, Default] => Default, values),
            case!(any [Csr, Csr] => Csr, values),
            case!(any [RowSparse, RowSparse] => RowSparse, values),
            case!(any [Default, Csr] => Default, values),
            case!(any [Csr, Default] => Csr, values),
            case!(any [Default, RowSparse] => Default, values),
            case!(any [RowSparse, Default] => RowSparse, values),
            case!(any [Csr, RowSparse] => Csr, values),
            case!(any [RowSparse, Csr] => RowSparse, values),
        ];
        &CASES
    }

    fn reads(&self, i: usize) -> Read {
        if i == 0 { Read::View } else { Read::Shape }
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.zero(0);
        grads.give(1, || dy);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = |columns: usize, skip: usize| {
            Tensor::from_fn([3, columns], move |i| if i % skip == 0 { 0.0 } else { i as f64 - 4.5 })
        };
        vec![
            Sample::good(StraightThrough, [x(4, 3), x(4, 3)]),
            Sample::good(StraightThrough, [Tensor::scalar(2.0), Tensor::scalar(2.5)]),
            Sample::bad(StraightThrough, [x(4, 3), x(5, 3)], ErrorKind::Shape, "differ"),
        ]
    }
}
