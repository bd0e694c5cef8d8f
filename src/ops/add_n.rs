//! The sum of any number of operands.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::CsrRef;
use crate::kernels::convert::nonempty_rows;
use crate::kernels::memory::{Csr, Temp};
use crate::kernels::merge::union_places;
use crate::kernels::patterns::union_patterns;
use crate::kernels::sums::{Part, add_csr, add_parts};
use crate::tape::op::{ByDtype, Case, Grads, Ins, Kernel, Op, Sample};
use crate::tape::{Out, PartialShape, PerOperand, Scratch, Tape, Var, evaluate};
use crate::tensor::{Buffer, CsrView, Real, Stype, Tensor, View, row_len};

/// `add_n`: the sum of any number of operands of one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddN;

impl Tape {
    /// The sum of these operands, at least one, of one shape; added in their order, in one pass.
    /// (MXNet: `add_n`, `ElementWiseSum`.)
    ///
    /// The result is csr where all operands are, row-sparse where all are row-sparse or csr, else
    /// dense; nothing else is made dense.
    ///
    /// ```
    /// use sparsetape::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.variable(Tensor::full([2], 1.5f32)?);
    /// let y = tape.add_n(&[x, x, tape.constant(Tensor::full([2], 1.0f32)?)]);
    /// assert_eq!(y.value()?.values::<f32>()?, [4.0, 4.0]);
    /// assert_eq!(y.sum().backward()?.wrt(x).unwrap().values::<f32>()?, [2.0, 2.0]);
    /// assert!(tape.add_n(&[]).value().unwrap_err().message().contains("needs an operand"));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "element_wise_sum")]
    #[doc(alias = "ElementWiseSum")]
    #[track_caller]
    pub fn add_n<'t>(&'t self, operands: &[Var<'t>]) -> Var<'t> {
        self.apply(AddN, operands)
    }
}

impl Tensor {
    /// Unrecorded [`Tape::add_n`].
    ///
    /// # Errors
    /// What the recorded operator refuses, at once.
    #[track_caller]
    pub fn add_n(operands: &[&Tensor]) -> Result<Tensor> {
        evaluate(AddN, operands)
    }
}

fn csr_ref<'a, T: Real>(v: &CsrView<'a>) -> Result<CsrRef<'a, T>> {
    let (indptr, indices) = v.pattern.parts();
    Ok(CsrRef { cols: v.pattern.cols(), indptr, indices, values: v.values.typed()? })
}

fn part<'a, T: Real>(x: &View<'a>) -> Result<Part<'a, T>> {
    Ok(match x {
        View::Dense(v) => Part::Dense(v.values.typed()?),
        View::Csr(v) => Part::Csr(csr_ref(v)?),
        View::RowSparse(v) => Part::Rows(v.rows, v.values.typed()?),
    })
}

fn dense<T: Real>(_: &AddN, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let parts: PerOperand<Part<T>> = ins.iter().map(part).collect::<Result<_>>()?;
    // Without sparse operands, one run of elements.
    let is_dense = ins.iter().all(|x| x.stype() == Stype::Default);
    let k = if is_dense { 1 } else { row_len(out.shape()) };
    add_parts(&parts, None, k, out.dense());
    Ok(())
}

fn rows<T: Real>(_: &AddN, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let mut occupied: PerOperand<Temp<u32>> = PerOperand::new();
    for x in ins {
        occupied.push(match x {
            View::Csr(v) => nonempty_rows(v.pattern.indptr()),
            _ => Temp::with_capacity(0),
        });
    }
    let lists: PerOperand<&[u32]> =
        ins.iter().zip(&occupied).map(|(x, occupied)| x.rows().unwrap_or(occupied)).collect();
    let (ids, places) = union_places(&lists);
    let ids: Buffer<u32> = ids.into();
    let mut parts: PerOperand<Part<T>> = PerOperand::new();
    for (x, places) in ins.iter().zip(&places) {
        parts.push(match part(x)? {
            Part::Rows(_, values) => Part::Rows(places, values),
            part => part,
        });
    }
    let k = row_len(out.shape());
    add_parts(&parts, Some(&ids), k, out.rows(ids.clone())?);
    Ok(())
}

fn csr<T: Real>(_: &AddN, ins: &[View], out: &mut Out, _: &mut Scratch) -> Result<()> {
    let views: PerOperand<_> = ins.iter().map(View::csr).collect::<Result<_>>()?;
    let first = views[0].pattern;
    if views.iter().all(|v| v.pattern.same_entries(first)) {
        let values = views.iter().map(|v| Ok(Part::Dense(v.values.typed::<T>()?)));
        let parts: PerOperand<Part<T>> = values.collect::<Result<_>>()?;
        add_parts(&parts, None, 1, out.csr_on(first)?);
        return Ok(());
    }
    let patterns: PerOperand<_> = views.iter().map(|v| v.pattern.parts()).collect();
    let (indptr, indices) = union_patterns(&patterns);
    let parts: PerOperand<CsrRef<T>> = views.iter().map(|v| csr_ref(v)).collect::<Result<_>>()?;
    let mut values = Temp::unspecified(indices.len());
    add_csr(&parts, (&indptr, &indices), &mut values);
    out.set_csr::<T>(Csr { indptr, indices, values });
    Ok(())
}

const fn case(ins: Ins, out: Stype, f32: Kernel<AddN>, f64: Kernel<AddN>) -> Case<AddN> {
    Case { ins, out, run: ByDtype::floats(f32, f64) }
}

impl Op for AddN {
    const NAME: &'static str = "add_n";

    fn refine(&self, ins: &mut [PartialShape], out: &mut PartialShape) -> Result<()> {
        if ins.is_empty() {
            return Err(Error::new(ErrorKind::Shape, "needs an operand"));
        }
        // Twice, so that what the last one knows reaches the first.
        ins.iter_mut().try_for_each(|shape| shape.unify(out))?;
        ins.iter_mut().try_for_each(|shape| shape.unify(out))
    }

    fn cases(&self) -> &'static [Case<Self>] {
        use Stype::{Csr, Default, RowSparse};
        static CASES: [Case<AddN>; 7] = [
            case(Ins::All(Default), Default, dense::<f32>, dense::<f64>),
            case(Ins::All(Csr), Csr, csr::<f32>, csr::<f64>),
            case(Ins::All(RowSparse), RowSparse, rows::<f32>, rows::<f64>),
            case(Ins::Mix(&[Csr, RowSparse]), RowSparse, rows::<f32>, rows::<f64>),
            case(Ins::Mix(&[Default, Csr]), Default, dense::<f32>, dense::<f64>),
            case(Ins::Mix(&[Default, RowSparse]), Default, dense::<f32>, dense::<f64>),
            case(Ins::Mix(&[Default, Csr, RowSparse]), Default, dense::<f32>, dense::<f64>),
        ];
        &CASES
    }

    fn vjp<'t>(&self, x: &[Var<'t>], _: Var<'t>, dy: Var<'t>, grads: &mut Grads<'t>) {
        (0..x.len()).for_each(|i| grads.give(i, || dy));
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        ins[1..].iter().fold(ins[0].clone(), |sum, x| sum + x)
    }

    fn samples() -> Vec<Sample<Self>> {
        let x = |shape: &[usize], skip: usize| {
            let columns = shape.last().copied().unwrap_or(1).max(1);
            Tensor::from_fn(shape, move |i| match i {
                _ if i % skip == 0 || (i / columns) % 3 == skip % 3 => 0.0,
                i => i as f64 - 4.5,
            })
        };
        let all = |shape: &[usize], n: usize| (0..n).map(|i| x(shape, 2 + i)).collect::<Vec<_>>();
        vec![
            Sample::good(AddN, all(&[4, 3], 3)),
            Sample::good(AddN, all(&[4, 3], 5)),
            Sample::good(AddN, all(&[4, 3], 2)),
            Sample::good(AddN, all(&[4, 3], 1)),
            Sample::good(AddN, [x(&[4, 3], 2), x(&[4, 3], 2), x(&[4, 3], 2)]),
            Sample::good(AddN, all(&[4, 2, 2], 3)),
            Sample::good(AddN, all(&[4], 3)),
            Sample::good(AddN, all(&[], 3)),
            Sample::good(AddN, all(&[0, 3], 3)),
            Sample::good(AddN, all(&[3, 0], 3)),
            Sample::bad(AddN, [x(&[4, 3], 2), x(&[4, 2], 2)], ErrorKind::Shape, "differ"),
        ]
    }
}
