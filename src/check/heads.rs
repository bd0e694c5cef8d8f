//! Cotangents of a result in storage types other than its own.

use super::places::{Entries, entries, replaced, weight};
use super::trial::{Trial, fault};
use crate::error::Result;
use crate::tape::{Fallback, Tape, Var};
use crate::tensor::{Stype, Tensor};

/// Seed of the weights.
const SEED: u64 = 3;

/// A sparse cotangent of a dense result counts as zeros where it is absent; what a cotangent of a
/// sparse result says about absent places counts for nothing.
pub(super) fn check(trial: &Trial, y: &Tensor) -> Result<()> {
    let own = replaced(y, |place, _| weight(SEED, place));
    let everywhere =
        replaced(&Tensor::full(y.shape().clone(), 1.0)?.cast(y.dtype()), |place, _| {
            weight(SEED, place)
        });
    for stype in Stype::ALL {
        let holed = replaced(&everywhere, |(row, at), x| match stype {
            Stype::Csr if (row + at) % 2 == 1 => 0.0,
            Stype::RowSparse if row % 2 == 1 => 0.0,
            _ => x,
        });
        let (reference, from) = match y.stype() {
            Stype::Default => (&holed, &holed),
            _ => (&own, &everywhere),
        };
        let Ok(head) = from.cast_storage(stype) else { continue };
        let (wanted, got) = (gradients(trial, reference)?, gradients(trial, &head)?);
        for (i, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
            same(i, &trial.inputs[i], stype, wanted, got)?;
        }
    }
    Ok(())
}

fn gradients(trial: &Trial, head: &Tensor) -> Result<Vec<Entries>> {
    let tape = Tape::new();
    tape.set_fallback(Fallback::Allow);
    let leaves: Vec<Var<'_>> = trial.inputs.iter().map(|x| tape.variable(x.clone())).collect();
    let found = Var::apply(trial.handle(), &leaves).backward_with(head)?;
    let gradient = |leaf: &Var<'_>| found.wrt(*leaf).map(entries).unwrap_or_default();
    Ok(leaves.iter().map(gradient).collect())
}

fn same(i: usize, x: &Tensor, stype: Stype, wanted: &Entries, got: &Entries) -> Result<()> {
    for place in entries(x).keys() {
        let at = |entries: &Entries| entries.get(place).copied().unwrap_or(0.0);
        let (want, got) = (at(wanted), at(got));
        let close = (want - got).abs() <= 1e-10 * (1.0 + want.abs());
        if !close && want.is_finite() {
            return fault(format!(
                "with a {stype} cotangent the gradient of operand {i} at {place:?} is {got:?}, \
                 with the result's own storage {want:?}"
            ));
        }
    }
    Ok(())
}
