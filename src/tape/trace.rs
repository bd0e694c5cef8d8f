//! `SPARSETAPE_LOG=info`: a line on stderr for every operator that runs.

use std::fmt::{Arguments, Display};
use std::io::Write;
use std::panic::Location;
use std::sync::LazyLock;

use super::dyn_op::DynOp;
use super::execute::Plan;
use crate::tensor::{Type, View};

/// Read once.
static ON: LazyLock<bool> =
    LazyLock::new(|| std::env::var("SPARSETAPE_LOG").is_ok_and(|v| v == "info"));

/// Says which operator ran, on what, what came out, and whose line asked for it.
#[inline]
pub(super) fn executed(op: &dyn DynOp, ins: &[View<'_>], plan: &Plan, at: impl Display) {
    if *ON {
        let ins: Vec<String> = ins.iter().map(|view| view.ty().to_string()).collect();
        let out = Type { stype: plan.stype, shape: plan.shape.clone(), dtype: plan.dtype };
        line(format_args!("{}({}) -> {out} at {at}", op.label(), ins.join(", ")));
    }
}

/// Says whose backward rule records the operators that follow.
#[inline]
pub(super) fn backward(op: &dyn DynOp, at: &'static Location<'static>) {
    if *ON {
        line(format_args!("backward of {} at {at}", op.label()));
    }
}

/// A closed stderr is no reason to stop.
fn line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "sparsetape: {text}");
}
