//! Gradients as a graph: the backward pass, recorded symbolically.

use rustc_hash::FxHashMap;

use super::collect::{collect, ids};
use super::{Graph, Slope};
use crate::error::Result;
use crate::tape::structural::Accumulate;
use crate::tape::{Cotangent, Fallback, GradReq, Tape, Var, variable};
use crate::tensor::Stype;

/// Which gradients, from which head cotangents.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// By node of the variable.
    pub wrt: Vec<(usize, GradReq)>,
    /// The outputs whose gradients they are; all, if there are none.
    pub losses: Vec<usize>,
    /// Storage types of head cotangents, by output; others have that of their output.
    pub heads: FxHashMap<usize, Stype>,
    pub fallback: Fallback,
}

impl Request {
    /// The outputs, by position, at which the backward pass starts: one listed again counts once.
    fn starts(&self, outputs: &[Var<'_>]) -> Vec<usize> {
        let is_loss = |k: &usize| self.losses.is_empty() || self.losses.contains(k);
        let mut starts: Vec<usize> = Vec::new();
        for k in (0..outputs.len()).filter(is_loss) {
            if starts.iter().all(|&j| outputs[j].index() != outputs[k].index()) {
                starts.push(k);
            }
        }
        starts
    }
}

impl Graph {
    /// The training graph: this one, with the backward pass to these variables.
    ///
    /// Outputs of a single number, and those that ignore their head cotangent (`softmax_output` and the
    /// like), start the backward pass alone; every other output gets a variable for its head cotangent, named
    /// as the output with `_head` in place of `_output`. The gradients of several outputs are summed; an output
    /// listed twice counts once.
    ///
    /// ```
    /// use sparsetape::{Graph, Stype, Tape, variable};
    /// let tape = Tape::symbolic();
    /// let x = tape.symbol(variable("x").stype(Stype::Csr));
    /// let w = tape.symbol(variable("w").shape([None, Some(1)]));
    /// let graph = Graph::new(&[x.dot(w).square().sum()])?.with_gradients(&["w"])?;
    /// assert_eq!(graph.list_gradients(), ["w"]);
    /// assert_eq!(graph.gradient_stype("w"), Some(Stype::RowSparse));
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind::State) for a name that is not a variable's;
    /// [`ErrorKind::NotDifferentiable`](crate::ErrorKind::NotDifferentiable) with operator and line where there
    /// is no derivative.
    #[track_caller]
    pub fn with_gradients(&self, wrt: &[&str]) -> Result<Graph> {
        let mut request = Request::default();
        for name in wrt {
            request.wrt.push((self.body().find_variable(name)?, GradReq::Write));
        }
        self.differentiated(&request)
    }

    /// The storage type of the gradient of a variable, if the graph gives it.
    pub fn gradient_stype(&self, name: &str) -> Option<Stype> {
        let body = self.body();
        let own = |slope: &&Slope| body.nodes[slope.variable as usize].name == name;
        let slope = body.gradients.iter().find(own)?;
        Some(body.nodes[slope.gradient as usize].ty.stype)
    }

    #[track_caller]
    pub(super) fn differentiated(&self, request: &Request) -> Result<Graph> {
        let tape = Tape::symbolic();
        tape.set_fallback(request.fallback);
        let vars = self.record_nodes(&tape, &[])?;
        tape.infer()?;
        let outputs: Vec<Var<'_>> =
            self.body().outputs.iter().map(|&id| vars[id as usize]).collect();
        let xs: Vec<Var<'_>> = request.wrt.iter().map(|&(id, _)| vars[id]).collect();
        let starts = request.starts(&outputs);
        let heads = self.heads(&tape, &outputs, &starts, request)?;
        let seeds: Vec<_> = starts.into_iter().map(|k| (outputs[k], heads[k])).collect();
        let mut slopes = Vec::new();
        for ((&x, &(id, grad_req)), dx) in
            xs.iter().zip(&request.wrt).zip(tape.grad_of_all(&seeds, &xs)?)
        {
            let name = &self.body().nodes[id].name;
            slopes.push(match grad_req {
                GradReq::Add => accumulated(&tape, name, x, dx)?,
                // A head cotangent is gone after the backward pass; the gradient, if it is one, stays.
                _ if heads.iter().flatten().any(|head| head.index() == dx.index()) => {
                    (x, dx.identity().ok()?, None)
                }
                _ => (x, dx, None),
            });
        }
        tape.infer()?;
        training_graph(&tape, &outputs, &heads, &slopes)
    }

    /// A variable for each output whose gradient starts from a cotangent.
    #[track_caller]
    fn heads<'t>(
        &self,
        tape: &'t Tape,
        outputs: &[Var<'t>],
        starts: &[usize],
        request: &Request,
    ) -> Result<Vec<Option<Var<'t>>>> {
        let head = |(k, &y): (usize, &Var<'t>)| {
            let alone = tape.needs_no_head(y) && !request.heads.contains_key(&k);
            if alone || !starts.contains(&k) {
                return Ok(None);
            }
            let node = &self.body().nodes[self.body().outputs[k] as usize];
            let mut own = variable(format!("{}_head", node.name));
            own.ty = y.partial_type()?;
            own.ty.stype = request.heads.get(&k).copied().unwrap_or(own.ty.stype);
            tape.symbol(own).ok().map(Some)
        };
        outputs.iter().enumerate().map(head).collect()
    }

    /// The variables that may have a gradient: floats, but for labels and the like, of which every use
    /// says that there is none.
    pub(super) fn differentiable(&self) -> Result<Vec<usize>> {
        let tape = Tape::symbolic();
        tape.set_fallback(Fallback::Allow);
        let vars = self.record_nodes(&tape, &[])?;
        let mut asked = Vec::new();
        for (id, _) in self.body().variables() {
            let uses = self.body().nodes.iter().enumerate().filter_map(|(at, node)| {
                let place = node.ins.iter().position(|&i| i as usize == id)?;
                Some((at, place, node.ins.len()))
            });
            let mut refused = uses.map(|(at, place, n)| {
                let want: Vec<bool> = (0..n).map(|i| i == place).collect();
                let answers = tape.answers(vars[at], vars[at].ones_like(), &want)?;
                Ok(matches!(answers[place], Some(Cotangent::NotDifferentiable(_))))
            });
            let float = vars[id].partial_type()?.dtypes.may_be_float();
            let all_refuse = refused.try_fold(true, |all, one: Result<bool>| Ok(all && one?))?;
            let looked_at = self.body().outputs.contains(&(id as u32));
            if float && (looked_at || !all_refuse) {
                asked.push(id);
            }
        }
        Ok(asked)
    }
}

/// The gradient added to an earlier one, which is a variable.
#[track_caller]
fn accumulated<'t>(
    tape: &'t Tape,
    name: &str,
    x: Var<'t>,
    dx: Var<'t>,
) -> Result<(Var<'t>, Var<'t>, Option<Var<'t>>)> {
    let mut own = variable(format!("{name}_gradient"));
    own.ty = dx.partial_type()?;
    let before = tape.symbol(own).ok()?;
    let sum = tape.apply(Accumulate, &[before, dx]).ok()?;
    Ok((x, sum, Some(before)))
}

/// The nodes of a recording that outputs and gradients need.
fn training_graph(
    tape: &Tape,
    outputs: &[Var<'_>],
    heads: &[Option<Var<'_>>],
    slopes: &[(Var<'_>, Var<'_>, Option<Var<'_>>)],
) -> Result<Graph> {
    let mut roots = outputs.to_vec();
    roots.extend(heads.iter().flatten());
    for &(x, dx, before) in slopes {
        roots.extend([x, dx]);
        roots.extend(before);
    }
    let mut body = collect(tape, &FxHashMap::default(), &ids(&roots)?)?;
    let mut found = std::mem::take(&mut body.outputs).into_iter();
    let mut next = || found.next().unwrap_or(u32::MAX);
    body.outputs = outputs.iter().map(|_| next()).collect();
    for (k, _) in heads.iter().enumerate().filter(|(_, head)| head.is_some()) {
        body.heads.push((k, next()));
    }
    for (.., before) in slopes {
        let (variable, gradient) = (next(), next());
        body.gradients.push(Slope { variable, gradient, before: before.map(|_| next()) });
    }
    // What the gradients taught of an output holds for its cotangent.
    body.refine_types()?;
    Ok(Graph::from_body(body))
}
