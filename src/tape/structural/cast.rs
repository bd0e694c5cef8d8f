//! Storage types and element types, changed visibly.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::case;
use crate::error::{ErrorKind, Result};
use crate::tape::methods::methods;
use crate::tape::op::{Case, Gradient, Grads, Op, Sample};
use crate::tape::{Out, PartialShape, Scratch, Var};
use crate::tensor::cast::{cast_view, cast_view_dtype, write_dense};
use crate::tensor::dtype::each_dtype;
use crate::tensor::{DType, Stype, Tensor, View};

/// `cast_storage`: the same values in another storage type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CastStorage {
    stype: Stype,
}

impl CastStorage {
    /// A cast to `stype`.
    pub fn to(stype: Stype) -> Self {
        CastStorage { stype }
    }

    /// The storage type that it gives.
    pub(crate) fn stype(&self) -> Stype {
        self.stype
    }
}

static CASES: [[Case<CastStorage>; 3]; 3] = [
    [
        case!(any [Default] => Default, cast_storage),
        case!(any [Csr] => Default, cast_storage),
        case!(any [RowSparse] => Default, cast_storage),
    ],
    [
        case!(any [Default] => Csr, cast_storage),
        case!(any [Csr] => Csr, cast_storage),
        case!(any [RowSparse] => Csr, cast_storage),
    ],
    [
        case!(any [Default] => RowSparse, cast_storage),
        case!(any [Csr] => RowSparse, cast_storage),
        case!(any [RowSparse] => RowSparse, cast_storage),
    ],
];

fn cast_storage(op: &CastStorage, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    if ins[0].stype() == op.stype {
        out.alias(0);
        return Ok(());
    }
    match op.stype {
        Stype::Default => each_dtype!(Slice::ins[0].values(), values => {
            write_dense(&ins[0], values, out.dense());
        }),
        sparse => out.set(cast_view(ins[0], sparse)?),
    }
    Ok(())
}

methods! {
    /// The same values in another storage type. From dense, zeros (rows of zeros) are left out; from
    /// a sparse type everything stored stays stored. (MXNet: `cast_storage`.)
    ///
    /// The gradient of a cast *to* a sparse type holds the pattern fixed.
    ///
    /// ```
    /// use sparsetape::{Stype, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::dense([2, 2], vec![0.0f32, 1.0, 0.0, 0.0])?);
    /// assert_eq!(x.cast_storage(Stype::Csr).value()?.nnz(), 1);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "tostype")]
    #[doc(alias = "to_dense")]
    var fn cast_storage(x; stype: Stype) = CastStorage { stype };
    /// The same values as another element type; the gradient is cast back. Floats become i64 cut
    /// towards 0, within its range, NaN as 0. (MXNet: `cast`.)
    ///
    /// ```
    /// use sparsetape::{DType, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::scalar(1.5f32));
    /// let gradients = x.cast(DType::F64).square().backward()?;
    /// assert_eq!(gradients.wrt(x).unwrap().item::<f32>()?, 3.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "astype")]
    var fn cast(x; dtype: DType) = Cast { dtype };
}

impl Op for CastStorage {
    const NAME: &'static str = "cast_storage";

    fn gradient(&self) -> Gradient<Self> {
        if self.stype == Stype::Default {
            return Gradient::True;
        }
        Gradient::Stated {
            why: "the pattern is held fixed: a zero that is not stored gets no gradient",
            function: Some(|op, x, held| x[0].project_like(held[0].cast_storage(op.stype))),
        }
    }

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if self.stype == Stype::Csr {
            ins[0].set_rank(2)?;
        }
        ins[0].unify(out)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        match self.stype {
            Stype::Default => &CASES[0],
            Stype::Csr => &CASES[1],
            Stype::RowSparse => &CASES[2],
        }
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, _: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || dy);
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = || {
            Tensor::from_fn([3, 4], |i| if i % 3 == 0 || i / 4 == 1 { 0.0 } else { i as f64 - 5.5 })
        };
        let cube = || Tensor::from_fn([2, 3, 2], |i| i as f64 + 1.0);
        let good = |stype| Sample::good(CastStorage { stype }, [x()]);
        vec![
            good(Stype::Default),
            good(Stype::Csr),
            good(Stype::RowSparse),
            Sample::good(CastStorage { stype: Stype::RowSparse }, [cube()]),
            Sample::bad(CastStorage { stype: Stype::Csr }, [cube()], ErrorKind::Shape, "2 axes"),
        ]
    }
}

/// `cast`: the same values as another element type, in the same storage type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cast {
    dtype: DType,
}

impl Cast {
    /// A cast to `dtype`.
    pub fn to(dtype: DType) -> Self {
        Cast { dtype }
    }

    /// The element type that it gives.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }
}

fn cast(op: &Cast, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    if ins[0].dtype() == op.dtype {
        out.alias(0);
    } else {
        out.set(cast_view_dtype(ins[0], op.dtype));
    }
    Ok(())
}

impl Op for Cast {
    const NAME: &'static str = "cast";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        ins[0].unify(out)
    }

    fn dtype(&self, _: &[DType]) -> Result<DType> {
        Ok(self.dtype)
    }

    fn cases(&self) -> &'static [Case<Self>] {
        static CASES: [Case<Cast>; 3] = [
            case!(any [Default] => Default, cast),
            case!(any [Csr] => Csr, cast),
            case!(any [RowSparse] => RowSparse, cast),
        ];
        &CASES
    }

    fn may_alias(&self, i: usize) -> bool {
        i == 0
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        grads.give(0, || match x[0].dtype() {
            Ok(own) => dy.cast(own),
            Err(error) => dy.poisoned(error),
        });
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[0].mapv(|x| match self.dtype {
            DType::F32 => x as f32 as f64,
            DType::F64 => x,
            DType::I64 => x.trunc(),
        })
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = || {
            Tensor::from_fn([3, 4], |i| if i % 3 == 0 || i / 4 == 1 { 0.0 } else { i as f64 - 5.5 })
        };
        vec![
            Sample::good(Cast { dtype: DType::F64 }, [x()]),
            Sample::good(Cast { dtype: DType::F32 }, [x()]),
            Sample::good(Cast { dtype: DType::I64 }, [x()]),
        ]
    }
}
