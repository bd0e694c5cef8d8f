//! What happens when an operand must be made dense.

use std::cell::Cell;
use std::collections::HashSet;
use std::panic::Location;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::Scope;
use super::dyn_op::DynOp;
use super::partial::PartialType;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::size_of;

/// What to do when no row of an operator's table takes an operand's storage type, so that the operand
/// would have to be made dense.
///
/// A warning goes through `tracing`, once per source line; where no subscriber and no logger
/// listens it goes to stderr.
///
/// ```
/// use sparsetape::{ErrorKind, Fallback, Stype, Tape, Tensor};
/// let x = Tensor::csr([1, 2], vec![0, 1], vec![0], vec![3.0f32])?;
/// let tape = Tape::new();
/// tape.set_fallback(Fallback::Deny);
/// let error = tape.constant(x).exp().value().unwrap_err(); // exp(0) is not 0
/// assert_eq!(error.kind(), ErrorKind::Fallback);
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Make it dense, by a recorded cast.
    Allow,
    /// As `Allow`, and say so.
    #[default]
    Warn,
    /// Return an error.
    Deny,
}

thread_local! {
    static UNRECORDED: Cell<Fallback> = const { Cell::new(Fallback::Warn) };
}

impl Fallback {
    /// Runs `work` with this policy for operators on plain [`Tensor`](crate::Tensor)s on this thread;
    /// a tape has its own ([`Tape::set_fallback`](crate::Tape::set_fallback)).
    ///
    /// ```
    /// use sparsetape::{ErrorKind, Fallback, Tensor};
    /// let x = Tensor::csr([1, 2], vec![0, 1], vec![0], vec![3.0f32])?;
    /// let error = Fallback::Deny.during(|| x.exp()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Fallback);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    pub fn during<R>(self, work: impl FnOnce() -> R) -> R {
        UNRECORDED.with(|policy| {
            let _scope = Scope::enter(policy, self);
            work()
        })
    }

    /// The policy for operators on plain tensors.
    pub(super) fn unrecorded() -> Fallback {
        UNRECORDED.get()
    }
}

/// Applies the policy to one operand that is about to be made dense.
pub(crate) fn report(
    policy: Fallback,
    op: &dyn DynOp,
    ins: &[PartialType],
    operand: usize,
    at: &'static Location<'static>,
) -> Result<()> {
    let what = || {
        let ty = &ins[operand];
        let elements = match ty.shape.dims() {
            Some(dims) => size_of(dims).to_string(),
            None => "all".to_owned(),
        };
        format!("no kernel takes operand {operand} as {}: {elements} elements", ty.stype)
    };
    let told = || {
        let types: Vec<String> = ins.iter().map(PartialType::to_string).collect();
        format!("{}({}): {} are made dense", op.label(), types.join(", "), what())
    };
    let denied = || {
        let what = what();
        format!("{what} would be made dense; cast the operand with `cast_storage`, or allow it")
    };
    policy.apply(at, told, denied)
}

impl Fallback {
    /// Warns, once per source line, or refuses, in these words.
    pub(crate) fn apply(
        self,
        at: &'static Location<'static>,
        told: impl Fn() -> String,
        denied: impl Fn() -> String,
    ) -> Result<()> {
        match self {
            Fallback::Deny => return Err(Error::new(ErrorKind::Fallback, denied()).at(at)),
            Fallback::Warn if first_time(at) => warn(&format!(
                "{} (at {at}); `Fallback::Allow` silences this, `Fallback::Deny` makes it an error",
                told()
            )),
            Fallback::Warn | Fallback::Allow => {}
        }
        Ok(())
    }
}

fn first_time(at: &'static Location<'static>) -> bool {
    static SEEN: LazyLock<Mutex<HashSet<&'static Location<'static>>>> =
        LazyLock::new(Mutex::default);
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(at)
}

/// Warns whoever listens, or on stderr.
pub(crate) fn warn(message: &str) {
    let logger = log::max_level() != log::LevelFilter::Off;
    if tracing::dispatcher::has_been_set() || logger {
        tracing::warn!("{message}");
    } else {
        eprintln!("sparsetape: {message}");
    }
}
