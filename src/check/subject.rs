//! Operators of any type as the checks see them, so that the checks are compiled once for all.

use std::fmt;

use ndarray::ArrayD;
use serde_json::Value;

use crate::error::{ErrorKind, Result};
use crate::tape::{DynOp, Gradient, Op, OpRef, Registry, Sample, Var};
use crate::tensor::Tensor;

/// What [`DynOp`] leaves out of an [`Op`].
pub(super) trait Subject: DynOp {
    fn handle(&self) -> OpRef;
    fn variant(&self) -> Option<&'static str>;
    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64>;
    fn stated(&self) -> Stated;
    /// The stated function of the operands and, held constant, the point of linearisation; or the
    /// loss.
    fn function<'t>(&self, x: &[Var<'t>], held: &[Var<'t>]) -> Var<'t>;
    /// The operator that a file gives for these fields.
    fn loaded(&self, fields: Value) -> Result<OpRef>;
}

/// What an operator states of its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stated {
    Own,
    Function,
    Loss,
    Nothing,
}

impl<O: Op> Subject for O {
    fn handle(&self) -> OpRef {
        self.clone().into()
    }

    fn variant(&self) -> Option<&'static str> {
        Op::variant(self)
    }

    fn mimic(&self, ins: &[ArrayD<f64>]) -> ArrayD<f64> {
        Op::mimic(self, ins)
    }

    fn stated(&self) -> Stated {
        match self.gradient() {
            Gradient::True => Stated::Own,
            Gradient::Loss { .. } => Stated::Loss,
            Gradient::Stated { function: Some(_), .. } => Stated::Function,
            Gradient::Stated { function: None, .. } => Stated::Nothing,
        }
    }

    fn function<'t>(&self, x: &[Var<'t>], held: &[Var<'t>]) -> Var<'t> {
        match self.gradient() {
            Gradient::Loss { loss, .. } => loss(self, x),
            Gradient::Stated { function: Some(function), .. } => function(self, x, held),
            _ => Var::apply(self.clone(), x),
        }
    }

    fn loaded(&self, fields: Value) -> Result<OpRef> {
        Registry::new().add::<O>().load(O::NAME, fields)
    }
}

/// A sample of an operator of any type.
pub(super) struct AnySample {
    pub op: Box<dyn Subject>,
    pub inputs: Vec<Tensor>,
    pub error: Option<(ErrorKind, &'static str)>,
}

/// All samples of an operator.
pub(super) fn samples<O: Op>() -> Vec<AnySample> {
    let any = |Sample { op, inputs, error }| AnySample {
        op: Box::new(op) as Box<dyn Subject>,
        inputs,
        error,
    };
    O::samples().into_iter().map(any).collect()
}

/// The good samples of an operator.
pub(super) fn good_samples<O: Op>() -> Vec<AnySample> {
    samples::<O>().into_iter().filter(|sample| sample.error.is_none()).collect()
}

impl fmt::Debug for AnySample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.op, self.inputs)
    }
}
