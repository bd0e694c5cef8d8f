//! Collections of parameters.

use std::fmt;

use super::Parameter;
use crate::error::{Error, ErrorKind, Result};

/// An ordered, named collection of parameters; printing it gives a table.
///
/// ```
/// use sparsetape::{Parameter, Params, Tensor};
/// let w = Parameter::new("w", Tensor::full([4, 2], 0.5f32)?)?;
/// let b = Parameter::new("b", Tensor::full([2], 0.0f32)?)?;
/// let params = Params::new([&w, &b])?;
/// assert_eq!(params.get("b").map(|p| p.same(&b)), Some(true));
/// assert!(params.to_string().contains("(4, 2)"));
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[doc(alias = "state_dict")]
#[doc(alias = "ParameterDict")]
#[derive(Clone, Debug, Default)]
pub struct Params(pub(super) Vec<Parameter>);

impl Params {
    /// A collection of handles, in this order.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if two different parameters have the same name. The same parameter
    /// given twice (tied weights) counts once.
    #[track_caller]
    pub fn new<'a>(parameters: impl IntoIterator<Item = &'a Parameter>) -> Result<Params> {
        let mut params = Params::default();
        for parameter in parameters {
            params.push(parameter)?;
        }
        Ok(params)
    }

    /// Adds a handle.
    ///
    /// # Errors
    /// As [`Params::new`].
    #[track_caller]
    pub fn push(&mut self, parameter: &Parameter) -> Result<()> {
        match self.get(parameter.name()) {
            None => self.0.push(parameter.clone()),
            Some(held) if held.same(parameter) => {}
            Some(_) => {
                let message = format!("two parameters are named {:?}", parameter.name());
                return Err(Error::new(ErrorKind::State, message).operator("Params"));
            }
        }
        Ok(())
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|p| p.name() == name)
    }

    /// The parameters in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.0.iter()
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that all values and row ids take now.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while an update runs.
    #[track_caller]
    pub fn bytes(&self) -> Result<usize> {
        let mut bytes = 0;
        for parameter in self {
            bytes += parameter.bytes()?;
        }
        Ok(bytes)
    }
}

impl<'a> IntoIterator for &'a Params {
    type Item = &'a Parameter;
    type IntoIter = std::slice::Iter<'a, Parameter>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.iter().map(|p| p.name().len()).max().unwrap_or(0).max(4);
        writeln!(f, "{:width$}  {:10}  {:5}  {:>14}  shape", "name", "storage", "dtype", "bytes")?;
        for p in self {
            let bytes = p.bytes().map_or_else(|_| "busy".to_owned(), |b| b.to_string());
            let (stype, dtype, shape) = (p.stype(), p.dtype(), p.shape());
            writeln!(f, "{:width$}  {stype:10}  {dtype:5}  {bytes:>14}  {shape}", p.name())?;
        }
        Ok(())
    }
}
