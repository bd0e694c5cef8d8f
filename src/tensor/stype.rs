//! Storage types, and the full type of a value.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::dtype::DType;
use super::shape::Shape;

/// How a tensor is stored. Part of a value's type: nothing changes it silently.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Stype {
    /// Dense, row-major, any number of axes.
    #[default]
    Default,
    /// Compressed rows, two axes. An absent entry is an exact zero.
    Csr,
    /// A sorted subset of the rows (first axis), each stored dense. An absent row is exactly zero.
    RowSparse,
}

impl Stype {
    /// All storage types.
    pub const ALL: [Stype; 3] = [Stype::Default, Stype::Csr, Stype::RowSparse];
}

impl fmt::Display for Stype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stype::Default => "default",
            Stype::Csr => "csr",
            Stype::RowSparse => "row_sparse",
        })
    }
}

/// Storage type, shape and element type of a value.
///
/// ```
/// use sparsetape::{DType, Stype, Tensor};
/// let x = Tensor::zeros(Stype::Csr, [2, 3], DType::F32)?;
/// assert_eq!(x.ty().to_string(), "csr f32 (2, 3)");
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Type {
    /// How the value is stored.
    pub stype: Stype,
    /// Sizes per axis.
    pub shape: Shape,
    /// Type of one element.
    pub dtype: DType,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.stype, self.dtype, self.shape)
    }
}
