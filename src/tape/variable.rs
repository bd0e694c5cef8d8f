//! Named variables of symbolic recordings and graphs.

use serde::{Deserialize, Serialize};

use super::init::Init;
use super::partial::PartialType;
use super::refine::PartialShape;
use crate::tensor::{DType, Stype};

/// A named variable of a graph: storage type, and whatever is known of shape and element type. Made
/// by [`variable`].
#[doc(alias = "placeholder")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    pub(crate) name: String,
    pub(crate) ty: PartialType,
    pub(crate) init: Option<Init>,
    pub(crate) lr_mult: f64,
    pub(crate) wd_mult: f64,
}

/// A named variable for [`Tape::symbol`](crate::Tape::symbol): dense, of unknown shape and element
/// type until something is said about them. (MXNet: `sym.Variable`.)
///
/// ```
/// use sparsetape::{Init, Stype, Tape, variable};
/// let tape = Tape::symbolic();
/// let data = tape.symbol(variable("data").stype(Stype::Csr).shape([None, Some(100)]));
/// let weight = tape.symbol(variable("weight").init(Init::Normal(0.01)).lr_mult(2.0));
/// let y = data.dot(weight);
/// assert_eq!(weight.partial_type()?.to_string(), "default ? (100, ?)");
/// # Ok::<(), sparsetape::Error>(())
/// ```
#[doc(alias = "placeholder")]
pub fn variable(name: impl Into<String>) -> Variable {
    let (name, ty) = (name.into(), PartialType::unknown());
    Variable { name, ty, init: None, lr_mult: 1.0, wd_mult: 1.0 }
}

impl Variable {
    /// The storage type; default is dense.
    pub fn stype(mut self, stype: Stype) -> Self {
        self.ty.stype = stype;
        self
    }

    /// The sizes per axis, `None` where unknown; or all of them.
    pub fn shape(mut self, shape: impl Into<PartialShape>) -> Self {
        self.ty.shape = shape.into();
        self
    }

    /// The element type. Left out, it follows from what the variable meets, and is `f32` where nothing
    /// says otherwise.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.ty.dtypes = dtype.into();
        self
    }

    /// How its values start: it is a parameter of [`Graph::init_params`](crate::Graph::init_params).
    pub fn init(mut self, init: Init) -> Self {
        self.init = Some(init);
        self
    }

    /// A factor on the learning rate of this parameter. (MXNet: `lr_mult`.)
    pub fn lr_mult(mut self, factor: f64) -> Self {
        self.lr_mult = factor;
        self
    }

    /// A factor on the weight decay of this parameter. (MXNet: `wd_mult`.)
    pub fn wd_mult(mut self, factor: f64) -> Self {
        self.wd_mult = factor;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known of the type.
    pub fn ty(&self) -> &PartialType {
        &self.ty
    }

    /// How the values start, if anything was said.
    pub fn initializer(&self) -> Option<Init> {
        self.init
    }

    /// The factors on learning rate and weight decay.
    pub fn multipliers(&self) -> (f64, f64) {
        (self.lr_mult, self.wd_mult)
    }
}
