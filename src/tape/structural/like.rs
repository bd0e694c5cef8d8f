//! Ones and zeros in the shape and pattern of an operand.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::Result;
use crate::kernels::memory::Csr;
use crate::tape::methods::methods;
use crate::tape::op::{Case, Grads, Op, Read, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::{Buffer, Real, Tensor, View};

/// `ones_like`: 1 wherever the operand stores a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnesLike;

/// `zeros_like`: zeros in the operand's shape and storage; a sparse result stores nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZerosLike;

methods! {
    /// Ones of the same shape, storage and pattern. (MXNet: `ones_like`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 9], vec![0, 1], vec![4], vec![2.5f32])?);
    /// assert_eq!(x.ones_like().value()?.values::<f32>()?, [1.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    fn ones_like(x) = OnesLike;
    /// Zeros of the same shape and storage; a sparse result stores nothing. (MXNet: `zeros_like`.)
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::full([2], 3.0f64)?);
    /// assert_eq!(x.zeros_like().value()?.values::<f64>()?, [0.0, 0.0]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    var fn zeros_like(x) = ZerosLike;
}

fn fill<T: Real>(x: View, out: &mut Out, with: T) -> Result<()> {
    out.like(&x)?.fill(with);
    Ok(())
}

fn ones<T: Real>(_: &OnesLike, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    fill(ins[0], out, T::one())
}

fn zeros<T: Real>(_: &ZerosLike, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    match ins[0] {
        View::Dense(_) => fill(ins[0], out, T::zero()),
        View::Csr(v) => {
            let mut empty = Csr::<T>::with_capacity(v.pattern.rows(), 0);
            empty.indptr.resize(v.pattern.rows() + 1, 0);
            out.set_csr(empty);
            Ok(())
        }
        View::RowSparse(_) => out.rows::<T>(Buffer::default()).map(|_| ()),
    }
}

fn samples<O: Clone>(op: O) -> Vec<Sample<O>> {
    let x = Tensor::from_fn([3, 4], |i| if i % 3 == 0 { 0.0 } else { i as f64 });
    vec![
        Sample::good(op.clone(), [x]),
        Sample::good(op.clone(), [Tensor::from_fn([2, 1, 3], |i| i as f64)]),
        Sample::good(op, [Tensor::scalar(3.0)]),
    ]
}

/// Both read nothing but where values are, and depend on none.
macro_rules! constants {
    ($($op:ident $name:literal $kernel:ident $value:literal;)*) => {
        $(
            impl Op for $op {
                const NAME: &'static str = $name;

                fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
                    ins[0].unify(out)
                }

                fn cases(&self) -> &'static [Case<Self>] {
                    static CASES: [Case<$op>; 3] = [
                        case!([Default] => Default, $kernel),
                        case!([Csr] => Csr, $kernel),
                        case!([RowSparse] => RowSparse, $kernel),
                    ];
                    &CASES
                }

                fn reads(&self, _: usize) -> Read {
                    Read::Pattern
                }

                fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, _: Var<'t>, grads: &mut Grads<'t>) {
                    grads.zero(0);
                }

                fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
                    ins[0].mapv(|_| $value)
                }

                fn samples() -> Vec<Sample<Self>> {
                    samples($op)
                }
            }
        )*
    };
}

constants! {
    OnesLike "ones_like" ones 1.0;
    ZerosLike "zeros_like" zeros 0.0;
}
