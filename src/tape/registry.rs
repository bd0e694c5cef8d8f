//! Operators by name: how files find them again.

use std::collections::BTreeMap;
use std::fmt;

use super::dyn_op::OpRef;
use super::op::Op;
use crate::error::{Error, ErrorKind, Result};

type Load = fn(serde_json::Value) -> Result<OpRef>;

/// Operators by name, for loading.
///
/// ```
/// use sparsetape::Registry;
/// let registry = Registry::standard();
/// let dot = registry.load("dot", serde_json::json!({"transpose_a": true, "transpose_b": false}))?;
/// assert_eq!(dot.name(), "dot");
/// assert!(registry.load("dott", serde_json::Value::Null).is_err());
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<&'static str, Load>);

impl Registry {
    /// No operators at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operator.
    pub fn add<O: Op>(&mut self) -> &mut Self {
        self.0.insert(O::NAME, load::<O>);
        self
    }

    /// The names held.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// An operator from its name and fields.
    ///
    /// # Errors
    /// [`ErrorKind::Parse`] for an unknown name or fields that do not fit.
    pub fn load(&self, name: &str, fields: serde_json::Value) -> Result<OpRef> {
        let load = self.0.get(name).ok_or_else(|| {
            Error::new(ErrorKind::Parse, format!("there is no operator {name:?} in the registry"))
        })?;
        load(fields)
    }
}

fn load<O: Op>(fields: serde_json::Value) -> Result<OpRef> {
    let op: O = serde_json::from_value(fields).map_err(|e| {
        let message = "the fields do not fit the operator";
        Error::new(ErrorKind::Parse, message).operator(O::NAME).caused_by(e)
    })?;
    Ok(op.into())
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
