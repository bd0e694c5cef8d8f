//! Values, types and determinism of one run.

use std::sync::LazyLock;

use ndarray::ArrayD;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::places::{entries, replaced};
use super::trial::{Checked, Trial, fault};
use crate::error::{ErrorKind, Result};
use crate::tape::{Fallback, Read, Tape, Var, evaluate};
use crate::tensor::approx::index_of;
use crate::tensor::{DType, Stype, Tensor, row_len};

/// The result, if the operator takes the operands.
pub(super) fn check(trial: &Trial, checked: &mut Checked) -> Result<Option<Tensor>> {
    let y = match result(trial, &trial.inputs) {
        // Some shapes suit dense operands only: sparse ones do not broadcast.
        Err(e) if e.kind() == ErrorKind::Shape && is_sparse(trial) => return Ok(None),
        y => y?,
    };
    let shape = trial.shape(&trial.inputs)?;
    let dtypes: Vec<DType> = trial.inputs.iter().map(Tensor::dtype).collect();
    let dtype = trial.op.dtype(&dtypes)?;
    if shape.as_ref() != Some(y.shape()) || y.dtype() != dtype || y.stype() != trial.row.out {
        return fault(format!("the result is {}, inferred is another type", y.ty()));
    }
    checked.compared += against_definition(trial, &trial.inputs, &y)?;
    let explicit: Vec<Tensor> = trial.inputs.iter().map(with_zeros).collect::<Result<_>>()?;
    checked.compared += against_definition(trial, &explicit, &result(trial, &explicit)?)?;
    recorded(trial, &y)?;
    saved(trial, &y)?;
    repeated(trial, &y)?;
    Ok(Some(y))
}

/// A sparse tensor with more zeros stored: in its even rows, or all rows.
fn with_zeros(x: &Tensor) -> Result<Tensor> {
    let dense = x.cast_storage(Stype::Default)?;
    let odd = x.stype() == Stype::Csr;
    let full = replaced(&dense, |(row, _), x| if odd && row % 2 == 1 { x } else { 1.0 });
    let held = entries(x);
    let value = |place, _| held.get(&place).copied().unwrap_or(0.0);
    Ok(replaced(&full.cast_storage(x.stype())?, value))
}

fn is_sparse(trial: &Trial) -> bool {
    trial.inputs.iter().any(|x| x.stype() != Stype::Default)
}

pub(super) fn result(trial: &Trial, inputs: &[Tensor]) -> Result<Tensor> {
    let operands: Vec<&Tensor> = inputs.iter().collect();
    evaluate(trial.handle(), &operands)
}

/// The definition's result. Where the pattern alone is read, the definition is given that: ones at
/// what is stored.
pub(super) fn definition(trial: &Trial, inputs: &[Tensor]) -> Result<ArrayD<f64>> {
    let dense = |(i, x): (usize, &Tensor)| {
        let pattern = trial.op.reads(i) == Read::Pattern;
        let x = if pattern { replaced(x, |_, _| 1.0) } else { x.clone() };
        x.cast_storage(Stype::Default)?.cast(DType::F64).to_ndarray::<f64>()
    };
    let arrays: Vec<ArrayD<f64>> = inputs.iter().enumerate().map(dense).collect::<Result<_>>()?;
    Ok(trial.op.mimic(&arrays))
}

/// Relative errors that are allowed, of an element or of the largest one, the operands' included (sums
/// cancel). Kernels are within a few units in the last place; Γ and its kin lose some more digits.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 2e-11,
        DType::F32 => 1e-5,
        DType::I64 => 0.0,
    }
}

/// Compares with the definition; how many elements were compared.
pub(super) fn against_definition(trial: &Trial, inputs: &[Tensor], y: &Tensor) -> Result<usize> {
    let wanted = definition(trial, inputs)?;
    if wanted.shape() != &y.shape()[..] {
        return fault(format!("the result is {}, the definition's {:?}", y.ty(), wanted.shape()));
    }
    let operands = inputs.iter().map(|x| x.view().values());
    let operands = operands.flat_map(|held| (0..held.len()).map(move |i| held.get_f64(i)));
    let finite = wanted.iter().copied().chain(operands).filter(|x| x.is_finite());
    let largest = finite.fold(0.0, |m: f64, x| m.max(x.abs()));
    let allowed = tolerance(y.dtype());
    let by_pattern = (0..inputs.len()).any(|i| trial.op.reads(i) == Read::Pattern);
    let (stored, k) = (entries(y), row_len(y.shape()));
    let mut compared = 0;
    for (i, &want) in wanted.iter().enumerate() {
        let place = (i / k.max(1), i % k.max(1));
        let same = match stored.get(&place) {
            Some(&got) => {
                compared += 1;
                let margin = allowed * (want.abs() + largest.min(1.0));
                got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= margin
            }
            None => by_pattern || want == 0.0 || !want.is_finite(),
        };
        if !same {
            let (index, got) = (index_of(place, y.shape()), stored.get(&place));
            let got = got.map_or("absent".to_owned(), |x| format!("{x:?}"));
            return fault(format!("element {index} is {got}, the definition gives {want:?}"));
        }
    }
    Ok(compared)
}

/// The recorded result is the same, and nothing is made dense on the way.
fn recorded(trial: &Trial, y: &Tensor) -> Result<()> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Deny);
    let leaves: Vec<Var<'_>> = trial.inputs.iter().map(|x| tape.variable(x.clone())).collect();
    let value = Var::apply(trial.handle(), &leaves).value()?;
    match value.same_bits(y) {
        true => Ok(()),
        false => fault(format!("recorded it gives {value}, unrecorded {y}")),
    }
}

/// Written and read again, the operator does the same.
fn saved(trial: &Trial, y: &Tensor) -> Result<()> {
    let fields = trial.op.to_json()?;
    let loaded = trial.op.loaded(fields.clone())?;
    let operands: Vec<&Tensor> = trial.inputs.iter().collect();
    match evaluate(loaded, &operands)?.same_bits(y) {
        true => Ok(()),
        false => fault(format!("loaded from {fields} it gives something else")),
    }
}

/// A second run, and runs on 1 and 3 threads, give the same bits.
fn repeated(trial: &Trial, y: &Tensor) -> Result<()> {
    static POOLS: LazyLock<Vec<ThreadPool>> = LazyLock::new(|| {
        let pool = |n| ThreadPoolBuilder::new().num_threads(n).build().ok();
        [1, 3].into_iter().filter_map(pool).collect()
    });
    if !result(trial, &trial.inputs)?.same_bits(y) {
        return fault("a second run gives other bits");
    }
    for pool in POOLS.iter() {
        if !pool.install(|| result(trial, &trial.inputs))?.same_bits(y) {
            let threads = pool.current_num_threads();
            return fault(format!("with {threads} threads it gives other bits"));
        }
    }
    Ok(())
}
