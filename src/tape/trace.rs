//! `SPARSETAPE_LOG=info`: a line on stderr for every operator that runs, or is bound to run.

use std::fmt::{Arguments, Display};
use std::io::Write;
use std::panic::Location;
use std::sync::LazyLock;

use super::dyn_op::DynOp;
use super::execute::Plan;
use super::op::Op;
use super::structural::CastStorage;
use crate::error::Line;
use crate::tensor::{Type, View};

/// Read once.
static ON: LazyLock<bool> =
    LazyLock::new(|| std::env::var("SPARSETAPE_LOG").is_ok_and(|v| v == "info"));

/// Whether there is a line for every operator.
pub(super) fn is_on() -> bool {
    *ON
}

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

/// Says which operator is going to run under which name, on what, what will come out, and whose line
/// asked for it; also to whom `tracing` or `log` reports at that level.
pub(crate) fn bound<'a>(
    name: &str,
    op: &dyn DynOp,
    ins: impl Iterator<Item = &'a Type>,
    out: &Type,
    at: &Line,
) {
    let listens = tracing::enabled!(target: "sparsetape", tracing::Level::INFO)
        || log::log_enabled!(target: "sparsetape", log::Level::Info);
    if !*ON && !listens {
        return;
    }
    let ins: Vec<String> = ins.map(Type::to_string).collect();
    let mark = if op.name() == CastStorage::NAME { " [cast]" } else { "" };
    let text = format!("bind {name} = {}({}) -> {out}{mark} at {at}", op.label(), ins.join(", "));
    tracing::info!(target: "sparsetape", "{text}");
    if *ON {
        line(format_args!("{text}"));
    }
}

/// A closed stderr is no reason to stop.
fn line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "sparsetape: {text}");
}
