//! Types that may be partly unknown: what a symbolic recording knows of a value.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::refine::PartialShape;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Stype, Type};

/// A set of element types: those that a value may still have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<DType>", into = "Vec<DType>")]
pub struct DTypes(u8);

/// Every element type, in the order in which an open choice is made, which is that of their bits.
pub(super) const ORDER: [DType; 3] = [DType::F32, DType::F64, DType::I64];

impl DTypes {
    /// Any element type.
    pub const ANY: DTypes = DTypes(0b111);

    pub(crate) const NONE: DTypes = DTypes(0);

    /// Whether `dtype` is among them.
    pub fn contains(self, dtype: DType) -> bool {
        self.0 & 1 << dtype as u8 != 0
    }

    /// The only one, if there is one left.
    #[inline]
    pub fn known(self) -> Option<DType> {
        self.0.is_power_of_two().then(|| ORDER[self.0.trailing_zeros() as usize])
    }

    /// Whether a float is among them.
    #[inline]
    pub(crate) fn may_be_float(self) -> bool {
        const FLOATS: u8 = 1 << DType::F32 as u8 | 1 << DType::F64 as u8;
        self.0 & FLOATS != 0
    }

    /// The element types in the order in which an open choice is made: `f32` first.
    pub fn iter(self) -> impl Iterator<Item = DType> {
        ORDER.into_iter().filter(move |&dtype| self.contains(dtype))
    }

    /// Those of both.
    pub(crate) fn and(self, other: DTypes) -> DTypes {
        DTypes(self.0 & other.0)
    }

    /// Those of either.
    pub(crate) fn or(self, other: DTypes) -> DTypes {
        DTypes(self.0 | other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self == DTypes::NONE
    }
}

impl TryFrom<Vec<DType>> for DTypes {
    type Error = &'static str;

    fn try_from(dtypes: Vec<DType>) -> Result<Self, &'static str> {
        let all = dtypes.into_iter().fold(DTypes::NONE, |all, dtype| all.or(dtype.into()));
        if all.is_empty() { Err("there is no element type left") } else { Ok(all) }
    }
}

impl From<DTypes> for Vec<DType> {
    fn from(dtypes: DTypes) -> Self {
        dtypes.iter().collect()
    }
}

impl From<DType> for DTypes {
    fn from(dtype: DType) -> Self {
        DTypes(1 << dtype as u8)
    }
}

impl From<Option<DType>> for DTypes {
    fn from(dtype: Option<DType>) -> Self {
        dtype.map_or(DTypes::ANY, DTypes::from)
    }
}

impl fmt::Display for DTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == DTypes::ANY {
            return f.pad("?");
        }
        let names: Vec<String> = self.iter().map(|dtype| dtype.to_string()).collect();
        f.pad(&names.join("|"))
    }
}

/// A [`Type`] of which shape and element type may be partly unknown; the storage type is always
/// known.
///
/// ```
/// use sparsetape::{PartialType, Stype, Tape, variable};
/// let tape = Tape::symbolic();
/// let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(10)]));
/// assert_eq!(x.partial_type()?.to_string(), "csr ? (?, 10)");
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialType {
    /// How the value is stored.
    pub stype: Stype,
    /// Sizes per axis, as far as known.
    pub shape: PartialShape,
    /// The element types that it may have.
    pub dtypes: DTypes,
}

impl PartialType {
    /// Of a dense value of which nothing else is known.
    pub(crate) fn unknown() -> Self {
        let shape = PartialShape::unknown();
        PartialType { stype: Stype::Default, shape, dtypes: DTypes::ANY }
    }

    /// States the rank of a csr value.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] if another one is known.
    pub(crate) fn refine_rank(&mut self) -> Result<()> {
        if self.stype == Stype::Csr { self.shape.set_rank(2) } else { Ok(()) }
    }

    /// The type, if all of it is known.
    pub fn known(&self) -> Option<Type> {
        let (shape, dtype) = (self.shape.known()?, self.dtypes.known()?);
        Some(Type { stype: self.stype, shape, dtype })
    }

    /// Makes shape and element type the same as those of `other`, with all that is known of either.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] or [`ErrorKind::DType`] if they contradict each other.
    pub(crate) fn unify(&mut self, other: &mut PartialType) -> Result<()> {
        self.shape.unify(&mut other.shape)?;
        let both = self.dtypes.and(other.dtypes);
        if both.is_empty() {
            let message = format!("element types {} and {} differ", self.dtypes, other.dtypes);
            return Err(Error::new(ErrorKind::DType, message));
        }
        (self.dtypes, other.dtypes) = (both, both);
        Ok(())
    }
}

impl From<&Type> for PartialType {
    fn from(ty: &Type) -> Self {
        let shape = PartialShape::from(&ty.shape[..]);
        PartialType { stype: ty.stype, shape, dtypes: ty.dtype.into() }
    }
}

impl From<Type> for PartialType {
    fn from(ty: Type) -> Self {
        PartialType::from(&ty)
    }
}

impl fmt::Display for PartialType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.stype, self.dtypes, self.shape)
    }
}
