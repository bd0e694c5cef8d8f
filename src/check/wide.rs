//! Samples stretched to sizes at which nothing dense fits.

use super::forward::result;
use super::subject::{AnySample, good_samples};
use super::trial::Trial;
use crate::error::Result;
use crate::tape::{Op, OpRef, TableRow};
use crate::tensor::{Buffer, DType, Layout, Pattern, Shape, Stype, Tensor};

/// An operator, and operands with a very long axis and few stored entries.
///
/// See [`wide_samples`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wide {
    /// The operator.
    pub op: OpRef,
    /// The storage types of the table row.
    pub row: Vec<Stype>,
    /// Operands in these storage types.
    pub inputs: Vec<Tensor>,
}

/// For each table row with a sparse result, good samples with one of their sizes replaced by
/// `size`, wherever it stands: columns of csr operands and rows of row-sparse ones, of which the same
/// few stay stored, the last at the far end. What a step takes for them must not grow with `size`.
///
/// Sizes that also stand where each unit costs memory (rows of a csr matrix, axes of a dense
/// operand) stay as they are; a row of the table without any other has no entry.
///
/// ```
/// use sparsetape::{check::wide_samples, evaluate, ops::RowsOf};
/// for wide in wide_samples::<RowsOf>(1 << 32) {
///     let operands: Vec<_> = wide.inputs.iter().collect();
///     assert_eq!(evaluate(wide.op.clone(), &operands)?.shape()[0], 1 << 32);
/// }
/// # Ok::<(), sparsetape::Error>(())
/// ```
pub fn wide_samples<O: Op>(size: usize) -> Vec<Wide> {
    wide(&good_samples::<O>(), size)
}

fn wide(samples: &[AnySample], size: usize) -> Vec<Wide> {
    let mut all = Vec::new();
    for sample in samples {
        for (row, TableRow { out, .. }) in sample.op.table().into_iter().enumerate() {
            if out == Stype::Default {
                continue;
            }
            let Some(trial) = Trial::new(0, sample, row, DType::F64) else { continue };
            if result(&trial, &trial.inputs).is_err() {
                continue;
            }
            all.extend(sizes(&trial).into_iter().filter_map(|old| widened(&trial, old, size)));
        }
    }
    all
}

/// Axes that may be long at no cost.
fn free_axis(stype: Stype) -> Option<usize> {
    match stype {
        Stype::Default => None,
        Stype::Csr => Some(1),
        Stype::RowSparse => Some(0),
    }
}

fn stands_free(shape: &Shape, stype: Stype, size: usize) -> bool {
    shape.iter().enumerate().all(|(axis, &n)| n != size || Some(axis) == free_axis(stype))
}

/// Sizes that stand in free places only.
fn sizes(trial: &Trial) -> Vec<usize> {
    let all = trial.inputs.iter().flat_map(|x| x.shape().iter().copied());
    let free = |size: &usize| {
        *size > 1 && trial.inputs.iter().all(|x| stands_free(x.shape(), x.stype(), *size))
    };
    let mut sizes: Vec<usize> = all.filter(free).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn widened(trial: &Trial, old: usize, size: usize) -> Option<Wide> {
    let inputs: Vec<Tensor> = trial.inputs.iter().map(|x| longer(x, old, size)).collect();
    let out: Result<Option<Shape>> = trial.shape(&inputs);
    let fits = |shape: &Shape| stands_free(shape, trial.row.out, size);
    out.ok().flatten().filter(fits)?;
    let row = inputs.iter().map(Tensor::stype).collect();
    Some(Wide { op: trial.handle(), row, inputs })
}

/// The operand with `size` for `old`; its last column or row moves to the new end.
fn longer(x: &Tensor, old: usize, size: usize) -> Tensor {
    if !x.shape().contains(&old) {
        return x.clone();
    }
    let (shape, layout, values) = x.clone().into_parts();
    let moved = |ids: &[u32]| -> Buffer<u32> {
        let far = |&id: &u32| if id as usize + 1 == old { (size - 1) as u32 } else { id };
        ids.iter().map(far).collect::<Vec<u32>>().into()
    };
    let layout = match layout {
        Layout::Dense => Layout::Dense,
        Layout::RowSparse(rows) => Layout::RowSparse(moved(&rows)),
        Layout::Csr(pattern) => {
            let indptr = pattern.indptr().to_vec();
            Layout::Csr(Pattern::new(size, indptr.into(), moved(pattern.indices())).into())
        }
    };
    let shape = shape.iter().map(|&n| if n == old { size } else { n }).collect();
    Tensor::from_parts(shape, layout, values)
}

/// The storage types of the table rows of an operator's good samples whose operands and result are
/// all sparse.
pub fn sparse_rows<O: Op>() -> Vec<Vec<Stype>> {
    all_sparse(&good_samples::<O>())
}

fn all_sparse(samples: &[AnySample]) -> Vec<Vec<Stype>> {
    let mut all: Vec<Vec<Stype>> = Vec::new();
    for sample in samples {
        for (ins, out) in sample.op.rows(sample.inputs.len()) {
            let sparse = ins.iter().chain([&out]).all(|&stype| stype != Stype::Default);
            if sparse && !all.contains(&ins.to_vec()) {
                all.push(ins.to_vec());
            }
        }
    }
    all
}
