//! Runs that diverge: which operator, which rows, which parameter.

use super::runner::{Pass, Runner, is_finite};
use super::trainer::Trainer;
use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};

/// So many rows at fault are named.
const NAMED: usize = 5;

impl Trainer<'_> {
    /// An error for a loss that is not finite, or a prediction where there is no loss.
    #[track_caller]
    pub(super) fn check_finite(&mut self, batch: &Batch, loss: Option<f64>) -> Result<()> {
        if is_good(&*self.runner, loss)? { Ok(()) } else { Err(self.diagnose(batch, loss)) }
    }

    #[track_caller]
    fn diagnose(&mut self, batch: &Batch, loss: Option<f64>) -> Error {
        let what = loss
            .map_or("a prediction is not finite".to_owned(), |loss| format!("the loss is {loss}"));
        let (epoch, number) = (self.run.epoch, self.run.batch);
        let pass = self.training_pass(true);
        let found = self.runner.find_non_finite(batch, pass);
        let first = found.as_ref().map_or(String::new(), |first| {
            let name = first.operator_name().unwrap_or("a value");
            format!("; it began in {name}: {}", first.message())
        });
        let cause = self.cause(batch);
        let message = format!("epoch {epoch}, batch {number}: {what}{first}; {cause}");
        let error = Error::new(ErrorKind::NonFinite, message);
        match found {
            Some(found) => {
                let error = error.operator(found.operator_name().unwrap_or("fit"));
                let error = error.operands(found.operand_types());
                match found.location() {
                    Some(at) => error.at(at),
                    None => error,
                }
            }
            None => error.operator("fit"),
        }
    }

    /// A parameter that is not finite, or rows that alone give what the batch gave.
    fn cause(&mut self, batch: &Batch) -> String {
        if let Ok(Some(parameter)) = self.find_non_finite() {
            return parameter;
        }
        let mut rows = Vec::new();
        for row in 0..batch.rows() - batch.pad {
            let alone = batch.rows_window(row, row + 1);
            let ran = alone.and_then(|alone| self.runner.forward(&alone, Pass::Score));
            match ran.and_then(|()| is_good(&*self.runner, self.runner.loss()?)) {
                Ok(true) => {}
                Ok(false) => rows.extend(batch.row_number(row)),
                Err(_) => return "which rows give it is not known: none runs alone".to_owned(),
            }
        }
        let named: Vec<String> = rows.iter().take(NAMED).map(|row| row.to_string()).collect();
        let named = named.join(", ");
        match rows.len() {
            0 => "no row of the batch gives it alone; is the learning rate too large?".to_owned(),
            1 => format!("row {named} of the data gives it"),
            n if n <= NAMED => format!("rows {named} of the data give it"),
            n => format!("{n} rows of the data give it: {named}, ..."),
        }
    }

    /// An error for a parameter that is not finite.
    #[track_caller]
    pub(super) fn check_parameters(&self) -> Result<()> {
        let Some(parameter) = self.find_non_finite()? else { return Ok(()) };
        let message = format!("epoch {}, batch {}: {parameter}", self.run.epoch, self.run.batch);
        Err(Error::new(ErrorKind::NonFinite, message).operator("fit"))
    }

    #[track_caller]
    fn find_non_finite(&self) -> Result<Option<String>> {
        for parameter in &self.params {
            if let Some(row) = parameter.find_non_finite()? {
                let name = parameter.name();
                return Ok(Some(format!(
                    "row {row} of parameter {name:?} is not finite; is the learning rate too large?"
                )));
            }
        }
        Ok(None)
    }
}

/// Whether the loss of the last forward pass is finite, or what it predicted where there is no loss.
#[track_caller]
fn is_good(runner: &dyn Runner, loss: Option<f64>) -> Result<bool> {
    match loss {
        Some(loss) => Ok(loss.is_finite()),
        None => Ok(runner.outputs()?.iter().all(is_finite)),
    }
}
