//! A model recorded anew for each batch.

use super::{Head, Pass, Runner, mean, no_forward_pass, no_output};
use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Graph;
use crate::tape::{Fallback, Gradients, Tape, Var};
use crate::tensor::Tensor;
use crate::train::Model;

pub(in crate::train) struct Eager<'a> {
    model: &'a dyn Model,
    tape: Tape,
    /// Places on the tape.
    loss: Option<u32>,
    output: Option<u32>,
    head: Head,
    rows: usize,
    trains: bool,
}

impl<'a> Eager<'a> {
    pub fn new(model: &'a dyn Model) -> Self {
        let (tape, head) = (Tape::new(), Head::Loss);
        Eager { model, tape, loss: None, output: None, head, rows: 0, trains: false }
    }
}

impl Runner for Eager<'_> {
    fn forward(&mut self, batch: &Batch, pass: Pass) -> Result<()> {
        self.tape.clear();
        (self.loss, self.output, self.trains) = (None, None, false);
        let (loss, output) = record(self.model, &self.tape, batch, pass)?;
        self.head = loss
            .and_then(|loss| loss.operator())
            .and_then(|op| Head::of(&op))
            .unwrap_or(Head::Loss);
        self.loss = loss.map(Var::index);
        self.output = match self.head {
            Head::Output => output.or(loss),
            Head::Loss => output,
        }
        .map(Var::index);
        self.rows = batch.rows();
        self.trains = matches!(pass, Pass::Train { .. });
        Ok(())
    }

    fn loss(&self) -> Result<Option<f64>> {
        match self.loss {
            Some(loss) if self.head == Head::Loss => Ok(Some(mean(&self.tape.var(loss).value()?))),
            _ => Ok(None),
        }
    }

    fn outputs(&self) -> Result<Vec<Tensor>> {
        match self.output {
            Some(output) => Ok(vec![self.tape.var(output).value()?]),
            None => Ok(Vec::new()),
        }
    }

    fn summed_rows(&self) -> usize {
        let operator = self.loss.and_then(|loss| self.tape.var(loss).operator());
        if operator.is_some_and(|op| op.ignores_head()) { self.rows } else { 0 }
    }

    fn backward(&mut self, gradients: &mut Gradients) -> Result<()> {
        let Some(loss) = self.loss.filter(|_| self.trains) else { return Err(no_forward_pass()) };
        self.trains = false;
        if gradients.iter().next().is_none() {
            return self.tape.var(loss).backward_into(gradients);
        }
        let more = self.tape.var(loss).backward()?;
        for (parameter, gradient) in more.iter() {
            gradients.add(parameter, gradient.clone())?;
        }
        Ok(())
    }

    fn restart(&mut self, gradients: &mut Gradients) -> Result<()> {
        gradients.begin(&self.tape);
        gradients.clear();
        Ok(())
    }

    fn prediction_graph(&self, batch: &Batch) -> Result<Graph> {
        let tape = Tape::symbolic();
        tape.set_fallback(self.tape.fallback());
        let Some(output) = self.model.output(&tape, batch) else { return Err(no_output()) };
        let graph = Graph::new(&[output])?;
        let fed = graph.list_arguments().into_iter().any(|name| batch.input(name).is_ok());
        if !fed {
            let message = "the output reads no input of the batch by `Batch::var`: the graph would \
                           predict the same for every batch";
            return Err(Error::new(ErrorKind::State, message).operator("prediction_graph"));
        }
        Ok(graph)
    }

    fn feed_from(&mut self, variable: &str, _: &str) -> Result<()> {
        let message = format!("a model that records itself has no variable {variable:?} to feed");
        Err(Error::new(ErrorKind::State, message).operator("trainer"))
    }

    fn set_fallback(&mut self, policy: Fallback) {
        self.tape.set_fallback(policy);
    }

    fn find_non_finite(&mut self, batch: &Batch, pass: Pass) -> Option<Error> {
        let tape = Tape::new();
        tape.set_fallback(self.tape.fallback());
        tape.detect_non_finite(true);
        let found = record(self.model, &tape, batch, pass).err();
        found.filter(|error| error.kind() == ErrorKind::NonFinite)
    }
}

/// Loss and output of a batch, as far as they are wanted.
#[track_caller]
fn record<'t>(
    model: &dyn Model,
    tape: &'t Tape,
    batch: &Batch,
    pass: Pass,
) -> Result<(Option<Var<'t>>, Option<Var<'t>>)> {
    let (loss, output) = match pass {
        Pass::Train { seed, step, outputs } => {
            tape.train(seed, step);
            let (loss, output) = match outputs {
                true => model.loss_and_output(tape, batch),
                false => (model.loss(tape, batch), None),
            };
            (Some(loss), output)
        }
        Pass::Score => {
            tape.predict();
            let _scope = tape.no_grad_scope();
            let (loss, output) = model.loss_and_output(tape, batch);
            (Some(loss), output)
        }
        Pass::Predict => {
            tape.predict();
            let _scope = tape.no_grad_scope();
            (None, model.output(tape, batch))
        }
    };
    for var in [output, loss].into_iter().flatten() {
        if !tape.is_own(var.ok()?) {
            let message = "the model recorded on another tape than the one it was given";
            return Err(Error::new(ErrorKind::State, message).operator("trainer"));
        }
    }
    Ok((loss, output))
}
