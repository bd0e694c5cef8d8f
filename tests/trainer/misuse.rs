//! What cannot be trained is told, at the line that asked for it.

use sparsetape::data::{Batch, Dataset, LastBatch};
use sparsetape::optim::Sgd;
use sparsetape::train::metrics::{Metric, Mse, NdcgAtK};
use sparsetape::train::{EarlyStopping, Fit, Model, Trainer, loss_fn, supervised};
use sparsetape::{GradReq, Graph, Parameter, Params, Result, Tape, Tensor, Var, variable};

use super::laws::{FEATURES, data, graph, of_graph, quiet, weights};

#[test]
fn misuse_is_told() -> Result<()> {
    let params = weights()?;
    let batches = data(8)?.batches(4).build()?;
    let batch = batches.epoch(0).next().unwrap();
    let told = |error: sparsetape::Error, part: &str| {
        assert!(error.to_string().contains(part), "{part}: {error}");
        // Never a line of the library.
        assert!(error.location().unwrap().file().ends_with("misuse.rs"), "{error}");
    };
    let mut trainer = of_graph(false, &params)?;
    told(trainer.loss().unwrap_err(), "no forward pass");
    told(trainer.outputs().unwrap_err(), "no forward pass");
    told(trainer.backward().unwrap_err(), "no forward pass in training");
    told(trainer.update().unwrap_err(), "no backward pass since the last update");
    trainer.forward(&batch, false)?;
    told(trainer.backward().unwrap_err(), "no forward pass in training");
    trainer.forward(&batch, true)?;
    trainer.backward()?;
    told(trainer.backward().unwrap_err(), "no forward pass in training");
    told(trainer.fit(&batches, Fit::epochs(1).accumulate(0)).unwrap_err(), "at least 1");
    told(trainer.feed("weight", "x").unwrap_err(), "only to data, label");
    trainer.feed("data", "nothing")?;
    told(trainer.forward(&batch, true).unwrap_err(), "there is no input \"nothing\"");
    told(trainer.predict(&batches).unwrap_err(), "there is no input \"nothing\"");
    trainer.feed("data", "label")?;
    told(trainer.score(&batches, &mut []).unwrap_err(), "got default f32 (4, 1)");
    let forgotten = Params::new([params.get("weight").unwrap()])?;
    let mut forgetful = quiet(Trainer::from_graph(&graph(false)?, forgotten, Sgd::new(0.1))?);
    let error = forgetful.fit(&batches, Fit::epochs(1)).unwrap_err();
    told(error, "variable \"bias\" is none of the parameters");
    let mut diverging =
        quiet(Trainer::from_graph(&graph(false)?, params.clone(), Sgd::new(f64::NAN))?);
    told(diverging.fit(&batches, Fit::epochs(1)).unwrap_err(), "the learning rate is NaN");
    let mut trainer = of_graph(false, &params)?;
    let early = |split, name| Fit::epochs(1).early_stopping(EarlyStopping::new(split, name));
    told(trainer.fit(&batches, early("test", "loss")).unwrap_err(), "only train");
    told(trainer.fit(&batches, early("train", "auc")).unwrap_err(), "no metric \"auc\", only loss");
    let impatient =
        early("train", "loss").early_stopping(EarlyStopping::new("train", "loss").patience(0));
    told(trainer.fit(&batches, impatient).unwrap_err(), "the patience is 0");
    let no_queries = Fit::epochs(1).metric(NdcgAtK::new(5));
    told(trainer.fit(&batches, no_queries).unwrap_err(), "there are no query ids");
    let twice = Fit::epochs(1).evaluate("train", &batches);
    told(trainer.fit(&batches, twice).unwrap_err(), "two splits \"train\"");
    let twice = Fit::epochs(1).metric(Mse::new()).metric(Mse::new());
    told(trainer.fit(&batches, twice).unwrap_err(), "two metrics \"mse\"");
    trainer.freeze("*")?;
    told(trainer.fit(&batches, Fit::epochs(1)).unwrap_err(), "all are frozen");
    params.iter().for_each(|p| p.set_grad_req(GradReq::Write));

    let other = Parameter::new("other", Tensor::full([1], 0.0f32)?)?;
    let with_other = Params::new(params.iter().chain([&other]))?;
    let error = Trainer::from_graph(&graph(false)?, with_other, Sgd::new(0.1)).unwrap_err();
    told(error, "parameter \"other\" is no variable of the graph");
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("data").shape([None, Some(2)]));
    let graph = Graph::new(&[x.exp()])?;
    let error = Trainer::from_graph(&graph, Params::default(), Sgd::new(0.1)).unwrap_err();
    told(error, "no output of the graph starts a backward pass");

    let only_loss = loss_fn(|tape, batch| batch.var(tape, "label").mean());
    let mut trainer = quiet(Trainer::new(&only_loss, Params::default(), Sgd::new(0.1)));
    told(trainer.fit(&batches, Fit::epochs(1)).unwrap_err(), "no parameter to train");
    let mut trainer = quiet(Trainer::new(&only_loss, params.clone(), Sgd::new(0.1)));
    told(trainer.fit(&batches, Fit::epochs(1).metric(Mse::new())).unwrap_err(), "has no output");
    told(trainer.fit(&batches, Fit::epochs(1)).unwrap_err(), "no gradient");
    told(trainer.outputs().map(|_| trainer.update().unwrap_err())?, "no backward pass");
    told(trainer.predict(&batches).unwrap_err(), "has no output");
    told(trainer.prediction_graph(&batch).unwrap_err(), "has no output");
    let mut metric = Mse::new();
    told(trainer.update_metric(&mut metric, &batch).unwrap_err(), "has no output");
    assert!(metric.value().is_nan());
    let rowwise = loss_fn(|tape, batch| {
        let weight = tape.parameter(params.get("weight").unwrap());
        batch.var(tape, "data").dot(weight).square()
    });
    let mut trainer = quiet(Trainer::new(&rowwise, params.clone(), Sgd::new(0.1)));
    told(trainer.fit(&batches, Fit::epochs(1)).unwrap_err(), "needs a single number");
    let elsewhere = loss_fn(|_, batch| batch.var(Box::leak(Box::new(Tape::new())), "label").mean());
    let mut trainer = quiet(Trainer::new(&elsewhere, params.clone(), Sgd::new(0.1)));
    told(trainer.fit(&batches, Fit::epochs(1)).unwrap_err(), "recorded on another tape");
    Ok(())
}

/// A model that predicts something else than a row of numbers for each row.
struct Odd<'a>(&'a Output<'a>);

type Output<'a> = dyn for<'t> Fn(&'t Tape, &Batch) -> Var<'t> + 'a;

impl Model for Odd<'_> {
    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        batch.var(tape, "label").mean()
    }

    fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
        Some(self.0(tape, batch))
    }
}

/// Also where a closure of the model asked, in each of its passes.
#[test]
fn rows_without_labels_are_told_at_the_users_line() -> Result<()> {
    let w = Parameter::new("w", Tensor::full([2, 1], 0.0f32)?)?;
    let model = supervised(
        |tape, batch| batch.var(tape, "data").dot(tape.parameter(&w)),
        |logits, label| logits.sigmoid_binary_cross_entropy(label),
        |logits| logits.sigmoid(),
    );
    let mut trainer = quiet(Trainer::new(&model, Params::new([&w])?, Sgd::new(0.1)));
    let rows = Dataset::from_features(Tensor::full([4, 2], 1.0f32)?)?.batches(2).build()?;
    let fitted = trainer.fit(&rows, Fit::epochs(1)).unwrap_err();
    for error in [fitted, trainer.score(&rows, &mut []).unwrap_err()] {
        assert!(error.to_string().contains("the rows have no labels"), "{error}");
        assert!(error.location().unwrap().file().ends_with("misuse.rs"), "{error}");
    }
    assert_eq!(trainer.predict(&rows)?.shape()[..], [4, 1]);
    Ok(())
}

#[test]
fn predictions_are_of_rows() -> Result<()> {
    let batches = data(10)?.batches(4).last(LastBatch::Pad).build()?;
    let number = loss_fn(|tape, batch| batch.var(tape, "label").sum());
    let few = loss_fn(|tape, batch| {
        batch.var(tape, "data").dot(tape.constant(hidden())).sum_axes(&[0], false)
    });
    let sparse = loss_fn(|tape, batch| batch.var(tape, "data"));
    let cases: [(&Output<'_>, _); 3] = [
        (&number, "output is default f32 (), but the batch has 4 rows"),
        (&few, "output is default f32 (1,), but the batch has 4 rows"),
        (&sparse, "output is csr f32 (4, 50), but predictions are dense"),
    ];
    for (output, told) in cases {
        let odd = Odd(output);
        let mut trainer = quiet(Trainer::new(&odd, Params::default(), Sgd::new(0.1)));
        let mut text = Vec::new();
        for error in [
            trainer.predict(&batches).unwrap_err(),
            trainer.predict_to(&batches, &mut text).unwrap_err(),
            trainer.score(&batches, &mut [&mut Mse::new()]).unwrap_err(),
        ] {
            assert!(error.to_string().contains(told), "{error}");
        }
        assert!(text.is_empty());
    }
    Ok(())
}

fn hidden() -> Tensor {
    Tensor::full([FEATURES, 1], 1.0f32).expect("a shape")
}
