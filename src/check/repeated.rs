//! Runs in memory that earlier runs have left.

use std::fmt;

use super::forward::result;
use super::subject::{AnySample, good_samples};
use super::trial::{Trial, fault};
use crate::error::Result;
use crate::tape::{
    InPlace, Made, Op, OpRef, PartialType, PerOperand, Plan, Reuse, Workspace, plan, unshared_copy,
};
use crate::tensor::{DType, Layout, Stype, Tensor, View};

/// An operator that runs on the same operands again and again, each time in the memory of the result
/// before, as an executor runs a frozen graph.
///
/// See [`repeated`].
pub struct Repeated {
    op: OpRef,
    operands: Vec<Tensor>,
    plan: Plan,
    workspace: Workspace,
    result: Option<Tensor>,
}

impl Repeated {
    fn new(op: OpRef, operands: &[Tensor]) -> Result<Self> {
        let types: Vec<PartialType> = operands.iter().map(|x| x.ty().into()).collect();
        let (plan, operands) = (plan(&*op, &types)?, operands.to_vec());
        Ok(Repeated { op, operands, plan, workspace: Workspace::default(), result: None })
    }

    /// Runs once more. From the third time on, small operands take no new memory.
    ///
    /// # Errors
    /// What the operator refuses.
    #[track_caller]
    pub fn run(&mut self) -> Result<&Tensor> {
        let reuse = self.result.take().map_or(Reuse::None, Reuse::Tensor);
        let result = self.run_in(reuse)?;
        Ok(self.result.insert(result))
    }

    #[track_caller]
    fn run_in(&mut self, reuse: Reuse) -> Result<Tensor> {
        let mut views: PerOperand<View<'_>> = self.operands.iter().map(Tensor::view).collect();
        if let Reuse::InPlace(own) = &reuse {
            let operand = &self.operands[own.operand()];
            views[own.operand()] = View::without_values(operand.shape(), operand.dtype());
        }
        let at = std::panic::Location::caller();
        let shape = self.plan.shape.clone();
        Ok(match self.workspace.run(&*self.op, &self.plan, &views, at, reuse)? {
            Made::Value(layout, values) => Tensor::from_parts(shape, layout, values),
            Made::Alias(i) => self.operands[i].in_shape(shape),
        })
    }

    /// The operands.
    pub fn operands(&self) -> &[Tensor] {
        &self.operands
    }

    /// The name of the operator.
    pub fn name(&self) -> &'static str {
        self.op.name()
    }
}

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<String> = self.operands.iter().map(|x| x.ty().to_string()).collect();
        write!(f, "{}({})", self.op.label(), types.join(", "))
    }
}

/// Every table row × good sample × element type of an operator, to run repeatedly.
///
/// ```
/// for mut repeated in sparsetape::check::repeated::<sparsetape::ops::RowsOf>() {
///     let first = repeated.run()?.clone();
///     assert_eq!(repeated.run()?.shape(), first.shape());
/// }
/// # Ok::<(), sparsetape::Error>(())
/// ```
pub fn repeated<O: Op>() -> Vec<Repeated> {
    of_samples(&good_samples::<O>())
}

fn of_samples(samples: &[AnySample]) -> Vec<Repeated> {
    let mut all = Vec::new();
    for (number, sample) in samples.iter().enumerate() {
        for row in 0..sample.op.table().len() {
            for dtype in [DType::F64, DType::F32, DType::I64] {
                let trial = Trial::new(number, sample, row, dtype);
                let taken = trial.filter(|trial| result(trial, &trial.inputs).is_ok());
                all.extend(taken.and_then(|t| Repeated::new(t.handle(), &t.inputs).ok()));
            }
        }
    }
    all
}

/// Used memory and the memory of an operand give the same as fresh memory.
pub(super) fn check(trial: &Trial, y: &Tensor) -> Result<()> {
    let mut repeated = Repeated::new(trial.handle(), &trial.inputs)?;
    for n in 1..=3 {
        if !repeated.run()?.same_bits(y) {
            return fault(format!("run {n} in recycled memory gives something else"));
        }
    }
    let replaceable = |x: &Tensor| x.stype() == Stype::Default && x.ty() == y.ty();
    for (i, x) in trial.inputs.iter().enumerate() {
        if trial.op.in_place(i) && replaceable(x) {
            let copy = unshared_copy(x.view().values());
            let dead = Tensor::from_parts(x.shape().clone(), Layout::Dense, copy);
            let reuse = InPlace::of(i, dead).map_or(Reuse::None, Reuse::InPlace);
            if !repeated.run_in(reuse)?.same_bits(y) {
                return fault(format!("in the memory of operand {i} it gives something else"));
            }
        }
    }
    Ok(())
}
