//! The parameters of a graph.

use super::Graph;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Parameter, Params, PartialType};

impl Graph {
    /// New parameters for the variables that were declared with an initializer, of the shapes that follow
    /// from these. Each draws its own numbers, which follow from the seed and its name.
    ///
    /// ```
    /// use sparsetape::{Bind, Graph, Init, Stype, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let data = tape.symbol(variable("data").stype(Stype::Csr));
    /// let weight = tape.symbol(variable("weight").shape([None, Some(2)]).init(Init::Normal(0.01)));
    /// let graph = Graph::new(&[data.dot(weight)])?;
    /// let params = graph.init_params(42, &[("data", &[32, 1000])])?;
    /// assert_eq!(params.get("weight").unwrap().shape()[..], [1000, 2]);
    /// let executor = graph.bind(Bind::from(&params).shape("data", [32, 1000]))?;
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] for a shape that stays unknown; as [`Graph::infer_shape`].
    #[doc(alias = "initialize")]
    #[track_caller]
    pub fn init_params(&self, seed: u64, shapes: &[(&str, &[usize])]) -> Result<Params> {
        let mut body = self.body().clone();
        body.forget_shapes();
        for &(name, shape) in shapes {
            let id = body.find_variable(name)?;
            let ty = PartialType { shape: shape.into(), ..body.nodes[id].ty.clone() };
            body.learn(id, &ty)?;
        }
        body.choose_dtypes()?;
        let mut params = Params::default();
        for (id, variable) in body.variables() {
            let Some(init) = variable.initializer() else { continue };
            let ty = body.nodes[id].ty.known().ok_or_else(|| {
                let message =
                    format!("the type of {:?} stays unknown: {}", variable.name(), variable.ty());
                Error::new(ErrorKind::Shape, message).operator("init_params")
            })?;
            let own_seed = variable
                .name()
                .bytes()
                .fold(seed, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            let value = init.tensor(ty.stype, ty.shape, ty.dtype, own_seed)?;
            let parameter = Parameter::new(variable.name(), value)?;
            let (lr_mult, wd_mult) = variable.multipliers();
            parameter.set_multipliers(lr_mult, wd_mult)?;
            params.push(&parameter)?;
        }
        Ok(params)
    }
}
