//! From an eager recording to a graph that runs at any batch size.

use std::panic::Location;

use rustc_hash::FxHashMap;

use super::collect::{collect, ids, tape_of};
use super::{Body, Graph, Kind};
use crate::error::{Error, ErrorKind, Result};
use crate::tape::{Fallback, PartialShape, PartialType, Tape, Var, Variable, variable};
use crate::tensor::Tensor;

/// An input of a graph to freeze: a name, a value, and the axis whose size is that of a batch, which
/// will vary.
///
/// A pair `("data", x)` is an input whose first axis is the batch.
#[derive(Clone, Debug)]
pub struct Input<V> {
    name: String,
    value: V,
    batch_axis: Option<usize>,
}

impl<V> Input<V> {
    /// An input whose first axis is the batch.
    pub fn new(name: impl Into<String>, value: V) -> Self {
        Input { name: name.into(), value, batch_axis: Some(0) }
    }

    /// Another batch axis; `None` for an input whose shape never varies.
    pub fn batch_axis(mut self, axis: Option<usize>) -> Self {
        self.batch_axis = axis;
        self
    }

    /// The same input with another value.
    fn holding<W>(&self, value: W) -> Input<W> {
        Input { name: self.name.clone(), value, batch_axis: self.batch_axis }
    }
}

impl<V> From<(&str, V)> for Input<V> {
    fn from((name, value): (&str, V)) -> Self {
        Input::new(name, value)
    }
}

impl From<(&str, &Tensor)> for Input<Tensor> {
    fn from((name, value): (&str, &Tensor)) -> Self {
        Input::new(name, value.clone())
    }
}

impl Tape {
    /// A graph of what this tape recorded between these inputs and outputs: the nodes that the outputs
    /// need, parameters as variables of their names, constants as they are. Storage types are fixed;
    /// shapes are inferred again for every batch size.
    ///
    /// A graph holds no weights: bind it to the parameters ([`Bind::params`](crate::Bind::params)), which
    /// tape, graphs and optimizer then share.
    ///
    /// ```
    /// use sparsetape::{Bind, Parameter, Params, Tape, Tensor};
    /// let w = Parameter::new("w", Tensor::full([4, 1], 0.5f32)?)?;
    /// let tape = Tape::new();
    /// let x = tape.constant(Tensor::csr([1, 4], vec![0, 1], vec![2], vec![2.0f32])?);
    /// let graph = tape.freeze([("x", x)], [x.dot(tape.parameter(&w)).sigmoid()])?;
    /// assert_eq!(graph.list_arguments(), ["x", "w"]);
    ///
    /// let two = Tensor::csr([2, 4], vec![0, 1, 1], vec![2], vec![2.0f32])?;
    /// let mut executor = graph.bind(Bind::new().params(&Params::new([&w])?).tensor("x", two))?;
    /// executor.forward(false)?;
    /// assert_eq!(executor.output(0)?.shape()[..], [2, 1]);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error on the way to an output; [`ErrorKind::State`] for a variable of the tape that is not
    /// among the inputs; [`ErrorKind::Fallback`] for a value made dense for want of a kernel, where the tape denies
    /// that by now; for an operator that holds the size of this batch, found by inferring all shapes for
    /// a second size, an error with the operator and its line. A size that went into a constant, or into an
    /// operator that takes any batch, as a slice up to it does, is not seen here: [`freeze_fn`] finds it.
    #[doc(alias = "hybridize")]
    #[doc(alias = "trace")]
    #[doc(alias = "export")]
    #[track_caller]
    pub fn freeze<'t>(
        &'t self,
        inputs: impl IntoIterator<Item = impl Into<Input<Var<'t>>>>,
        outputs: impl AsRef<[Var<'t>]>,
    ) -> Result<Graph> {
        let inputs: Vec<Input<Var<'t>>> = inputs.into_iter().map(Into::into).collect();
        freeze(self, &inputs, outputs.as_ref())
    }
}

#[track_caller]
fn freeze(tape: &Tape, inputs: &[Input<Var<'_>>], outputs: &[Var<'_>]) -> Result<Graph> {
    let at = Location::caller();
    let fault = |why: String| Err(Error::new(ErrorKind::State, why).operator("freeze").at(at));
    if !std::ptr::eq(tape_of(outputs)?, tape) {
        return fault("an output is on another tape".to_owned());
    }
    let mut variables: FxHashMap<u32, Variable> = FxHashMap::default();
    for input in inputs {
        let value = input.value.ok()?;
        if !std::ptr::eq(value.tape(), tape) {
            return fault(format!("input {:?} is on another tape", input.name));
        }
        let mut own = variable(&input.name);
        own.ty = without_batch(value.partial_type()?, input)?;
        if variables.insert(value.index(), own).is_some() {
            return fault(format!("input {:?} is another input too", input.name));
        }
    }
    let mut body = collect(tape, &variables, &ids(outputs)?)?;
    if let Some(unused) = inputs.iter().find(|i| body.find_variable(&i.name).is_err()) {
        return fault(format!("no output needs input {:?}", unused.name));
    }
    if tape.fallback() == Fallback::Deny {
        body.refuse_fallbacks()?;
    }
    body.probe(inputs)?;
    body.forget_shapes();
    body.refine_types()?;
    body.check_free(inputs)?;
    Ok(Graph::from_body(body))
}

/// The type with a batch axis of unknown size.
#[track_caller]
fn without_batch(ty: PartialType, input: &Input<Var<'_>>) -> Result<PartialType> {
    let Some(axis) = input.batch_axis else { return Ok(ty) };
    let mut sizes = ty.shape.sizes().unwrap_or_default();
    match sizes.get_mut(axis) {
        Some(size) => *size = None,
        None => {
            let message = format!("input {:?} has no axis {axis} for a batch: {ty}", input.name);
            return Err(Error::new(ErrorKind::Shape, message).operator("freeze"));
        }
    }
    Ok(PartialType { shape: PartialShape::from(Some(sizes)), ..ty })
}

impl Body {
    /// An error for a value that was made dense for want of a kernel, under an earlier policy.
    fn refuse_fallbacks(&self) -> Result<()> {
        let mut fallbacks = self.dense_casts().into_iter().filter(|cast| cast.fallback.is_some());
        match fallbacks.next() {
            None => Ok(()),
            Some(cast) => {
                let message = "a sparse value is made dense for want of a kernel; `cast_storage` says \
                               that it is meant";
                Err(self.blame(cast.node, Error::new(ErrorKind::Fallback, message)))
            }
        }
    }

    /// Infers all shapes for batches twice as large: an operator that holds the size of a batch cannot
    /// take both.
    fn probe(&self, inputs: &[Input<Var<'_>>]) -> Result<()> {
        let mut probed = self.clone();
        probed.forget_shapes();
        for input in inputs {
            let Some(axis) = input.batch_axis else { continue };
            let id = self.find_variable(&input.name)?;
            let size = input.value.shape()?[axis];
            probed.nodes[id].ty.shape.set_dim(axis, if size == 0 { 1 } else { 2 * size })?;
        }
        probed.refine_types().map_err(|error| {
            let message = format!(
                "holds the batch size: with batches twice as large, {}; `size_of`, `reshape` with -1 or 0, \
                 `broadcast_like` and the like follow the batch",
                error.message()
            );
            let named = Error::new(error.kind(), message);
            let named = named.operator(error.operator_name().unwrap_or("freeze"));
            let named = named.operands(error.operand_types());
            match error.location() {
                Some(at) => named.at(at),
                None => named,
            }
        })
    }

    /// Types as they were before anything was inferred: those of variables and constants stay.
    pub(super) fn forget_shapes(&mut self) {
        for node in &mut self.nodes {
            match &node.kind {
                Kind::Variable(variable) => node.ty = variable.ty.clone(),
                Kind::Constant(_) => {}
                Kind::Op(_) => node.ty.shape = PartialShape::unknown(),
            }
        }
    }

    /// An error for an operator that fixes the size of a batch axis.
    fn check_free(&self, inputs: &[Input<Var<'_>>]) -> Result<()> {
        for input in inputs {
            let Some(axis) = input.batch_axis else { continue };
            let node = &self.nodes[self.find_variable(&input.name)?];
            if let Some(size) = node.ty.shape.dim(axis) {
                let message = format!(
                    "the graph runs only where axis {axis} of input {:?} has size {size}; \
                     `batch_axis(None)` says that this is meant",
                    input.name
                );
                let error = Error::new(ErrorKind::Shape, message).operator("freeze");
                return Err(error.at_line(node.line.clone()));
            }
        }
        Ok(())
    }
}

/// Records `record` twice, on the given examples and on batches twice as large, compares the recordings node
/// by node, and freezes the first. So a batch size that went into an operator or a constant, as in
/// `x * (1.0 / 32.0)`, is found; [`Var::size_of`](crate::Var::size_of) is the operator to use instead.
///
/// ```
/// use sparsetape::{Tensor, freeze_fn};
/// let x = Tensor::full([8, 2], 1.0f32)?;
/// let graph = freeze_fn([("x", x.clone())], |_, x| vec![x[0].sum() / x[0].size_of(0)])?;
/// assert_eq!(graph.list_arguments(), ["x"]);
///
/// let error = freeze_fn([("x", x)], |_, x| vec![x[0].sum() * (1.0 / x[0].shape().unwrap()[0] as f64)]);
/// assert!(error.unwrap_err().to_string().contains("differs between batch sizes"));
/// # Ok::<(), sparsetape::Error>(())
/// ```
///
/// # Errors
/// As [`Tape::freeze`]; [`ErrorKind::State`] for a node that differs between the batch sizes, with its operator
/// and source line; [`ErrorKind::Shape`] for an example whose batch is empty.
#[doc(alias = "trace")]
#[doc(alias = "make_fx")]
#[track_caller]
pub fn freeze_fn(
    examples: impl IntoIterator<Item = impl Into<Input<Tensor>>>,
    record: impl for<'t> Fn(&'t Tape, &[Var<'t>]) -> Vec<Var<'t>>,
) -> Result<Graph> {
    let examples: Vec<Input<Tensor>> = examples.into_iter().map(Into::into).collect();
    let at = Location::caller();
    let doubled = examples.iter().map(|input| doubled(input, at)).collect::<Result<Vec<_>>>()?;
    let (first, second) = (Tape::new(), Tape::new());
    let graph = frozen(&first, &examples, &record)?;
    frozen(&second, &doubled, &record)?;
    compare(&first, &second, examples.len()).map_err(|error| match error.location() {
        Some(_) => error,
        None => error.at(at),
    })?;
    Ok(graph)
}

#[track_caller]
fn frozen<'t>(
    tape: &'t Tape,
    examples: &[Input<Tensor>],
    record: &impl Fn(&'t Tape, &[Var<'t>]) -> Vec<Var<'t>>,
) -> Result<Graph> {
    let inputs: Vec<Var<'t>> =
        examples.iter().map(|input| tape.constant(input.value.clone())).collect();
    let outputs = record(tape, &inputs);
    let named = examples.iter().zip(&inputs).map(|(input, &value)| input.holding(value));
    freeze(tape, &named.collect::<Vec<_>>(), &outputs)
}

fn doubled(input: &Input<Tensor>, at: &'static Location<'static>) -> Result<Input<Tensor>> {
    let value = match input.batch_axis {
        None => input.value.clone(),
        Some(axis) if input.value.shape().get(axis).is_some_and(|&size| size > 0) => {
            Tensor::concat(&[&input.value, &input.value], axis as isize)?
        }
        Some(axis) => {
            let message = format!(
                "input {:?} is {}: there is no batch along axis {axis} to be made twice as large",
                input.name,
                input.value.ty()
            );
            return Err(Error::new(ErrorKind::Shape, message).operator("freeze_fn").at(at));
        }
    };
    Ok(input.holding(value))
}

/// The two recordings are the same, but for the inputs, which come first.
fn compare(first: &Tape, second: &Tape, inputs: usize) -> Result<()> {
    let (first, second) = (first.nodes(), second.nodes());
    for (one, two) in first.iter().zip(&second).skip(inputs) {
        let differs = |what: &str| {
            let label = one.op.as_ref().map_or("constant".into(), |op| op.label());
            let message = format!(
                "{what} differs between batch sizes, at {} and {}; `size_of(x, axis)` is the size of a \
                 batch as an operator",
                one.ty, two.ty
            );
            Err(Error::new(ErrorKind::State, message).operator(label).at(one.at))
        };
        match (&one.op, &two.op) {
            (Some(a), Some(b)) if a.name() != b.name() => return differs("the operator"),
            (Some(a), Some(b)) if a.to_json()? != b.to_json()? => {
                return differs("what the operator holds");
            }
            (Some(_), Some(_)) if one.ins != two.ins => return differs("what the operator reads"),
            (Some(_), Some(_)) => {}
            (None, None) if one.same_leaf(two) => {}
            (None, None) => return differs("a constant"),
            _ => return differs("the recording"),
        }
    }
    if first.len() != second.len() {
        let message = format!(
            "the recordings differ: {} values, and {} for batches twice as large",
            first.len(),
            second.len()
        );
        return Err(Error::new(ErrorKind::State, message).operator("freeze_fn").nowhere());
    }
    Ok(())
}
