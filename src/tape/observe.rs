//! Functions that see values as they are computed.

use std::fmt;
use std::panic::Location;

use super::execute::Plan;
use super::parameter::Parameter;
use super::{OpRef, Tape, Value, Var};
use crate::error::{Line, Result};
use crate::tensor::{Tensor, Type};

/// A value that was just computed, as functions given to [`Tape::observe`] and
/// [`Executor::observe`](crate::Executor::observe) see it.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    pub(crate) name: &'a str,
    pub(crate) operator: &'a str,
    pub(crate) ty: &'a Type,
    pub(crate) value: &'a Value,
    pub(crate) line: &'a Line,
}

impl<'a> Observed<'a> {
    /// The name that the pattern matched.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The [label](crate::Op::label) of the operator that computed it.
    pub fn operator(&self) -> &'a str {
        self.operator
    }

    /// Storage type, shape and element type.
    pub fn ty(&self) -> &'a Type {
        self.ty
    }

    /// The value; a clone of it shares its memory, which is then not written again. `None` for a view of
    /// a [parameter](Observed::parameter).
    pub fn value(&self) -> Option<&'a Tensor> {
        match self.value {
            Value::Tensor(tensor) => Some(tensor),
            Value::Parameter(..) | Value::Symbol => None,
        }
    }

    /// The parameter that the value is a view of, if it is one: nothing is copied, and
    /// [`Parameter::snapshot`] may.
    pub fn parameter(&self) -> Option<&'a Parameter> {
        match self.value {
            Value::Parameter(parameter, _) => Some(parameter),
            Value::Tensor(_) | Value::Symbol => None,
        }
    }

    /// The line of user code that recorded the operator; `None` where it is not of this program, but of
    /// the one that made a file.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        match self.line {
            Line::Code(location) => Some(location),
            Line::Text(_) => None,
        }
    }
}

impl fmt::Debug for Observed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}  [{}]", self.name, self.operator, self.ty, self.line)
    }
}

type See = Box<dyn FnMut(&Observed<'_>) -> Result<()> + Send>;

/// Who sees which values.
#[derive(Default)]
pub(crate) struct Observers(Vec<(String, See)>);

impl Observers {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(
        &mut self,
        pattern: impl Into<String>,
        f: impl FnMut(&Observed<'_>) -> Result<()> + Send + 'static,
    ) {
        self.0.push((pattern.into(), Box::new(f)));
    }

    pub fn remove(&mut self, pattern: &str) {
        self.0.retain(|(own, _)| own != pattern);
    }

    /// Shows a value to those whose pattern matches its name.
    pub fn show(&mut self, seen: &Observed<'_>) -> Result<()> {
        self.show_if(seen, |_| true)
    }

    fn show_if(&mut self, seen: &Observed<'_>, wants: impl Fn(&str) -> bool) -> Result<()> {
        let matching = |pattern: &str| name_matches(pattern, seen.name) && wants(pattern);
        let mut matching = self.0.iter_mut().filter(|(pattern, _)| matching(pattern));
        matching.try_for_each(|(_, f)| f(seen))
    }
}

impl Tape {
    /// Calls `f` after each operator whose name matches: when it has run, under the operator's
    /// [label](crate::Op::label) (`dot`), and when [`Var::named`] names the result, under that name, where
    /// the label did not match already. Operators that backward rules record are seen, leaves are not.
    /// (MXNet: `Monitor`.)
    ///
    /// In the pattern `*` stands for any characters, also none, `?` for any one; all others stand for
    /// themselves. (MXNet takes a regular expression.) Clearing the tape keeps the observers;
    /// [`Tape::unobserve`] ends them. An error of `f` poisons the variable: nothing that is computed from it
    /// runs. What `f` itself records on this tape is not observed.
    ///
    /// ```
    /// use sparsetape::{Error, ErrorKind, Tape, Tensor};
    /// let mut tape = Tape::new();
    /// tape.observe("hidden?", |seen| {
    ///     let large = seen.value().is_some_and(|value| value.values::<f32>().unwrap()[0] > 3.0);
    ///     match large {
    ///         true => Err(Error::new(ErrorKind::Value, format!("{} is large", seen.name()))),
    ///         false => Ok(()),
    ///     }
    /// });
    /// let x = tape.constant(Tensor::scalar(2.0f32));
    /// let y = (x + 1.0).named("hidden1").square().named("hidden2").sum();
    /// assert!(y.value().unwrap_err().to_string().contains("hidden2 is large"));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    #[doc(alias = "Monitor")]
    #[doc(alias = "register_forward_hook")]
    pub fn observe(
        &mut self,
        pattern: impl Into<String>,
        f: impl FnMut(&Observed<'_>) -> Result<()> + Send + 'static,
    ) {
        self.observers.get_mut().add(pattern, f);
    }

    /// Ends what [`Tape::observe`] began with this pattern.
    pub fn unobserve(&mut self, pattern: &str) {
        self.observers.get_mut().remove(pattern);
    }

    /// Shows a result that was just computed.
    pub(super) fn show(
        &self,
        op: &OpRef,
        plan: &Plan,
        value: &Value,
        at: &'static Location<'static>,
    ) -> Result<()> {
        let Ok(mut observers) = self.observers.try_borrow_mut() else { return Ok(()) };
        if observers.is_empty() {
            return Ok(());
        }
        let label = &*op.label();
        let ty = &Type { stype: plan.stype, shape: plan.shape.clone(), dtype: plan.dtype };
        observers.show(&Observed { name: label, operator: label, ty, value, line: &at.into() })
    }

    /// Shows a result that was just named.
    pub(super) fn show_named<'t>(&'t self, var: Var<'t>, name: &str) -> Var<'t> {
        let Ok(mut observers) = self.observers.try_borrow_mut() else { return var };
        if observers.is_empty() {
            return var;
        }
        let (op, ty, value, at) = {
            let recording = self.recording.borrow();
            let node = &recording.nodes[var.id as usize];
            let value = match recording.stored(node) {
                Some(value) => value.clone(),
                None => Value::Tensor(self.tensor_of(&recording, var.id)),
            };
            (recording.op_ref(node), recording.ty(var.id).known(), value, node.at)
        };
        let (Some(op), Some(ty), false) = (op, ty, self.symbolic) else { return var };
        let label = &*op.label();
        let (ty, value, line) = (&ty, &value, &Line::from(at));
        let seen = Observed { name, operator: label, ty, value, line };
        match observers.show_if(&seen, |pattern| !name_matches(pattern, label)) {
            Ok(()) => var,
            Err(error) => self.poison(error.operator(label).at(at)),
        }
    }
}

/// Whether the pattern matches the whole name.
pub(crate) fn name_matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // After the last `*`: what follows it, and the part of the name that it did not take yet.
    let mut after_star = None;
    loop {
        let rest = name.clone();
        match (pattern.next(), name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                after_star = Some((pattern.clone(), rest.clone()));
                name = rest;
            }
            (Some('?'), Some(_)) => {}
            (Some(own), Some(other)) if own == other => {}
            _ => {
                let Some((after, rest)) = &mut after_star else { return false };
                if rest.next().is_none() {
                    return false;
                }
                (pattern, name) = (after.clone(), rest.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::name_matches as matches;

    #[test]
    fn patterns() {
        let good = ["dot0", "d*", "*0", "*", "d?t0", "*o*", "????", "d**0", "dot0*", "*dot0"];
        let bad = ["", "dot", "dot00", "?", "d*1", "???", "?????", "ot0", "DOT0", "[d]ot0"];
        good.iter().for_each(|pattern| assert!(matches(pattern, "dot0"), "{pattern}"));
        bad.iter().for_each(|pattern| assert!(!matches(pattern, "dot0"), "{pattern}"));
        assert!(matches("", "") && matches("*", "") && !matches("?", ""));
        assert!(matches("*ab*ab", "aababab") && !matches("*ab*ab", "xab"));
        assert!(matches("?ber", "über"));
    }
}
