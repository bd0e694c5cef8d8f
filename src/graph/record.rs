//! From a graph back to a recording, eager or symbolic.

use super::{Graph, Kind};
use crate::error::{Error, ErrorKind, Line, Result};
use crate::tape::{Tape, Var};

impl Graph {
    /// Records the graph on a tape, eager or symbolic, with these values for its variables, and
    /// returns its outputs. On a symbolic tape, other variables become variables of the tape (the
    /// same one, if it has one of that name); on an eager tape all must be given. (MXNet: calling a
    /// symbol composes it.)
    ///
    /// ```
    /// use sparsetape::{Graph, Tape, Tensor, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x"));
    /// let tower = Graph::new(&[x.exp()])?;
    ///
    /// let other = Tape::symbolic();
    /// let y = tower.record(&other, &[("x", other.symbol(variable("left")).sin())])?[0];
    /// assert_eq!(Graph::new(&[y])?.list_arguments(), ["left"]);
    ///
    /// let eager = Tape::new();
    /// let y = tower.record(&eager, &[("x", eager.constant(Tensor::scalar(0.0f64)))])?[0];
    /// assert_eq!(y.item::<f64>()?, 1.0);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`] for a name that is not a variable's, or a variable without a value on an
    /// eager tape; what the operators refuse.
    #[doc(alias = "compose")]
    #[track_caller]
    pub fn record<'t>(&self, tape: &'t Tape, values: &[(&str, Var<'t>)]) -> Result<Vec<Var<'t>>> {
        for (name, _) in values {
            self.body().find_variable(name)?;
        }
        let vars = self.record_nodes(tape, values)?;
        Ok(self.body().outputs.iter().map(|&id| vars[id as usize]).collect())
    }

    /// All nodes of the graph, recorded.
    #[track_caller]
    pub(super) fn record_nodes<'t>(
        &self,
        tape: &'t Tape,
        values: &[(&str, Var<'t>)],
    ) -> Result<Vec<Var<'t>>> {
        let mut vars: Vec<Var<'t>> = Vec::with_capacity(self.body().nodes.len());
        for (id, node) in self.body().nodes.iter().enumerate() {
            let given = |name: &str| values.iter().find(|(own, _)| *own == name).map(|(_, v)| *v);
            let var = match &node.kind {
                Kind::Variable(variable) => match given(variable.name()) {
                    Some(var) => var,
                    None if tape.is_symbolic() => tape.symbol_once(variable)?,
                    None => {
                        let message = format!("variable {:?} has no value", variable.name());
                        return Err(Error::new(ErrorKind::State, message).operator("record"));
                    }
                },
                Kind::Constant(tensor) => tape.constant(tensor.clone()),
                Kind::Op(op) => {
                    let ins: Vec<Var<'t>> = node.ins.iter().map(|&i| vars[i as usize]).collect();
                    let apply = || tape.apply(op.clone(), &ins);
                    match node.line {
                        Line::Code(at) => tape.at_line(at, apply),
                        Line::Text(_) => apply(),
                    }
                }
            };
            let var = var.ok().map_err(|error| self.body().blame(id, error))?;
            vars.push(tape.name_if_free(var, &node.name));
        }
        Ok(vars)
    }
}
