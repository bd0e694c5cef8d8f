//! A model that is a graph.

use std::panic::Location;

use smallvec::SmallVec;

use super::{Head, Pass, Runner, mean, no_forward_pass, no_output};
use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Bind, Executor, Graph, Passes};
use crate::tape::{Fallback, GradReq, Gradients, Params, Variable};
use crate::tensor::{Stype, Tensor};

pub(in crate::train) struct Frozen {
    /// With all outputs, for training and scoring; with those that are predictions.
    whole: Graph,
    predicting: Graph,
    /// Positions among the outputs of the whole graph.
    heads: Vec<(usize, Head)>,
    predictions: Vec<usize>,
    inputs: Vec<Input>,
    params: Params,
    fallback: Fallback,
    /// Bound to the first batch of each pass.
    trainer: Option<Executor>,
    /// What the trainer was bound with: which gradients are wanted, and how.
    requests: Vec<(GradReq, Option<Stype>)>,
    scorer: Option<Executor>,
    predictor: Option<Executor>,
    last: Option<Pass>,
    /// Rows of the last batch in training.
    rows: usize,
    /// Whether there is a forward pass in training to go back through.
    trains: bool,
}

/// A variable that batches are fed to.
struct Input {
    variable: String,
    /// The part of the batch that it takes.
    from: String,
    /// Number of axes, if the graph knows.
    rank: Option<usize>,
    /// Whether predictions need it.
    predicts: bool,
}

impl Input {
    fn is_label(&self) -> bool {
        matches!(&self.from[..], "label" | "labels") || self.from.ends_with("_label")
    }
}

impl Frozen {
    #[track_caller]
    pub fn new(graph: &Graph, params: &Params) -> Result<Frozen> {
        let at = Location::caller();
        let fault = |why: String| Err(Error::new(ErrorKind::State, why).operator("trainer").at(at));
        let arguments = graph.list_arguments();
        if let Some(other) = params.iter().find(|p| !arguments.contains(&p.name())) {
            let (name, all) = (other.name(), arguments.join(", "));
            return fault(format!(
                "parameter {name:?} is no variable of the graph, which has {all}"
            ));
        }
        let heads = heads(graph);
        if heads.is_empty() {
            return fault(
                "no output of the graph starts a backward pass: a loss is a single number, or an \
                 output of MXNet like softmax_output"
                    .to_owned(),
            );
        }
        let outputs = graph.list_outputs();
        let is_loss = |k: &usize| heads.contains(&(*k, Head::Loss));
        let predictions: Vec<usize> = (0..outputs.len()).filter(|k| !is_loss(k)).collect();
        let names: Vec<&str> = predictions.iter().map(|&k| &outputs[k][..]).collect();
        let predicting = if names.is_empty() { graph.clone() } else { graph.internal(&names)? };
        let fed = graph.variables().filter(|variable| params.get(variable.name()).is_none());
        let input = |variable: &Variable| {
            let id = graph.body().find_variable(variable.name())?;
            Ok(Input {
                variable: variable.name().to_owned(),
                from: variable.name().to_owned(),
                rank: graph.body().nodes[id].ty.shape.rank(),
                predicts: predicting.body().find_variable(variable.name()).is_ok(),
            })
        };
        let inputs = fed.map(input).collect::<Result<_>>()?;
        Ok(Frozen {
            whole: graph.clone(),
            predicting,
            heads,
            predictions,
            inputs,
            params: params.clone(),
            fallback: Fallback::default(),
            trainer: None,
            requests: Vec::new(),
            scorer: None,
            predictor: None,
            last: None,
            rows: 0,
            trains: false,
        })
    }

    /// The values of the variables for this batch, of the ranks that the graph asks for.
    #[track_caller]
    fn values<'s>(&'s self, batch: &Batch, pass: Pass) -> Result<SmallVec<[(&'s str, Tensor); 4]>> {
        let needed = |input: &&Input| pass != Pass::Predict || input.predicts && !input.is_label();
        let mut values = SmallVec::new();
        for input in self.inputs.iter().filter(needed) {
            let value = match batch.input(&input.from) {
                Ok(value) => value,
                Err(error) => return Err(not_fed(input, &error)),
            };
            let value = match (input.rank, value.shape().len()) {
                (Some(2), 1) => value.reshape(&[-1, 1])?,
                (Some(1), 2) if value.shape()[1] == 1 => value.reshape(&[-1])?,
                _ => value.clone(),
            };
            values.push((&input.variable[..], value));
        }
        Ok(values)
    }

    #[track_caller]
    fn bind(&self, values: &[(&str, Tensor)], pass: Pass, passes: Passes) -> Result<Executor> {
        let mut bind = Bind::from(&self.params).fallback(self.fallback).passes(passes);
        for (name, value) in values {
            bind = bind.tensor(*name, value);
        }
        match pass {
            Pass::Predict => self.predicting.bind(bind),
            Pass::Score => self.whole.bind(bind),
            Pass::Train { .. } => {
                let outputs = self.whole.list_outputs();
                for (k, _) in &self.heads {
                    bind = bind.loss(&outputs[*k]);
                }
                self.whole.bind(bind.train())
            }
        }
    }

    /// Forgets the executor that was bound when other gradients were wanted.
    fn drop_outdated(&mut self) {
        let wanted = self.params.iter().map(|p| (p.grad_req(), p.grad_stype()));
        if !wanted.clone().eq(self.requests.iter().copied()) {
            (self.requests, self.trainer) = (wanted.collect(), None);
        }
    }

    fn place(&mut self, pass: Pass) -> &mut Option<Executor> {
        match pass {
            Pass::Train { .. } => &mut self.trainer,
            Pass::Score => &mut self.scorer,
            Pass::Predict => &mut self.predictor,
        }
    }

    #[track_caller]
    fn executor(&self) -> Result<&Executor> {
        let executor = match self.last {
            Some(Pass::Train { .. }) => &self.trainer,
            Some(Pass::Score) => &self.scorer,
            Some(Pass::Predict) => &self.predictor,
            None => &None,
        };
        match executor {
            Some(executor) => Ok(executor),
            None => {
                let message = "there was no forward pass yet";
                Err(Error::new(ErrorKind::State, message).operator("trainer"))
            }
        }
    }
}

/// The error for a variable without values.
#[track_caller]
fn not_fed(input: &Input, error: &Error) -> Error {
    let message =
        format!("variable {:?} is none of the parameters, and {}", input.variable, error.message());
    Error::new(error.kind(), message).operator("trainer")
}

/// The outputs at which the backward pass starts.
fn heads(graph: &Graph) -> Vec<(usize, Head)> {
    let body = graph.body();
    let node = |&id: &u32| &body.nodes[id as usize];
    let of_mxnet = |id: &u32| node(id).op().and_then(Head::of);
    // Sizes that are known may be those of one batch: a number has no axes.
    let number = |id: &u32| (node(id).ty.shape.rank() == Some(0)).then_some(Head::Loss);
    let outputs = body.outputs.iter().enumerate();
    let starts = |(k, id)| Some((k, of_mxnet(id).or_else(|| number(id))?));
    let mut heads: Vec<(usize, Head)> = outputs.filter_map(starts).collect();
    if heads.is_empty()
        && let [only] = &body.outputs[..]
    {
        let single = node(only).ty.shape.known().is_some_and(|shape| shape.size() == 1);
        heads.extend(single.then_some((0, Head::Loss)));
    }
    heads
}

impl Runner for Frozen {
    fn forward(&mut self, batch: &Batch, pass: Pass) -> Result<()> {
        self.last = None;
        if pass == Pass::Predict && self.predictions.is_empty() {
            return Ok(());
        }
        if matches!(pass, Pass::Train { .. }) {
            (self.trains, self.rows) = (false, batch.rows());
            self.drop_outdated();
        }
        let mut executor = self.place(pass).take();
        let values = self.values(batch, pass)?;
        match &mut executor {
            Some(executor) => {
                let fed: SmallVec<[(&str, &Tensor); 4]> =
                    values.iter().map(|(name, value)| (*name, value)).collect();
                executor.feed(&fed)?;
            }
            None => executor = Some(self.bind(&values, pass, Passes::default())?),
        }
        drop(values);
        let executor = self.place(pass).insert(executor.expect("just bound"));
        if let Pass::Train { seed, step, .. } = pass {
            executor.set_seed(seed, step);
        }
        let trains = matches!(pass, Pass::Train { .. });
        executor.forward(trains)?;
        self.last = Some(pass);
        self.trains |= trains;
        Ok(())
    }

    fn loss(&self) -> Result<Option<f64>> {
        if self.last == Some(Pass::Predict) {
            return Ok(None);
        }
        let mut loss = None;
        for (k, _) in self.heads.iter().filter(|(_, head)| *head == Head::Loss) {
            *loss.get_or_insert(0.0) += mean(self.executor()?.output(*k)?);
        }
        Ok(loss)
    }

    fn outputs(&self) -> Result<Vec<Tensor>> {
        if self.predictions.is_empty() {
            return Ok(Vec::new());
        }
        let executor = self.executor()?;
        if self.last == Some(Pass::Predict) {
            return executor.outputs();
        }
        let mut outputs = Vec::with_capacity(self.predictions.len());
        for &k in &self.predictions {
            outputs.push(executor.output(k)?.clone());
        }
        Ok(outputs)
    }

    fn summed_rows(&self) -> usize {
        let body = self.whole.body();
        let op = |k: usize| body.nodes[body.outputs[k] as usize].op();
        let summed = self.heads.iter().any(|&(k, _)| op(k).is_some_and(|op| op.ignores_head()));
        if summed { self.rows } else { 0 }
    }

    fn backward(&mut self, gradients: &mut Gradients) -> Result<()> {
        let bound = if std::mem::take(&mut self.trains) { self.trainer.take() } else { None };
        let Some(mut executor) = bound else { return Err(no_forward_pass()) };
        executor.backward()?;
        executor.add_to(gradients)?;
        // What adds up in the executor itself was just added.
        if self.requests.iter().any(|(request, _)| *request == GradReq::Add) {
            executor.zero_grad()?;
        }
        // One that failed may hold part of what adds up.
        self.trainer = Some(executor);
        Ok(())
    }

    fn restart(&mut self, gradients: &mut Gradients) -> Result<()> {
        gradients.clear();
        Ok(())
    }

    fn prediction_graph(&self, _: &Batch) -> Result<Graph> {
        if self.predictions.is_empty() { Err(no_output()) } else { Ok(self.predicting.clone()) }
    }

    fn feed_from(&mut self, variable: &str, input: &str) -> Result<()> {
        let Some(own) = self.inputs.iter_mut().find(|own| own.variable == variable) else {
            let all: Vec<&str> = self.inputs.iter().map(|own| &own.variable[..]).collect();
            let message =
                format!("batches are not fed to {variable:?}, only to {}", all.join(", "));
            return Err(Error::new(ErrorKind::State, message).operator("trainer"));
        };
        own.from = input.to_owned();
        Ok(())
    }

    fn set_fallback(&mut self, policy: Fallback) {
        self.fallback = policy;
        (self.trainer, self.scorer, self.predictor) = (None, None, None);
    }

    fn find_non_finite(&mut self, batch: &Batch, pass: Pass) -> Option<Error> {
        let values = self.values(batch, pass).ok()?;
        // Every operator is to be seen.
        let mut executor = self.bind(&values, pass, Passes::none()).ok()?;
        if let Pass::Train { seed, step, .. } = pass {
            executor.set_seed(seed, step);
        }
        executor.observe("*", |seen| match seen.value() {
            Some(value) if !super::is_finite(value) => {
                let message = format!("{} is not finite", seen.name());
                let error = Error::new(ErrorKind::NonFinite, message).operator(seen.operator());
                Err(match seen.location() {
                    Some(at) => error.at(at),
                    None => error.nowhere(),
                })
            }
            _ => Ok(()),
        });
        let found = executor.forward(matches!(pass, Pass::Train { .. })).err();
        found.filter(|error| error.kind() == ErrorKind::NonFinite)
    }
}
