//! What holds for every run.

use std::cell::RefCell;

use sparsetape::data::{Batch, BatchSource, Batches, Dataset, LastBatch, Libsvm, LibsvmWriter};
use sparsetape::optim::{Adam, Sgd};
use sparsetape::random::Random;
use sparsetape::train::metrics::{Auc, LogLoss, Mse};
use sparsetape::train::{
    Checkpoints, EarlyStopping, Fit, History, Model, Progress, Trainer, load, loss_fn,
};
use sparsetape::{
    Archive, ErrorKind, GradReq, Graph, Init, Parameter, Params, Result, Stype, Tape, Tensor, Var,
    variable,
};

pub const FEATURES: usize = 50;

/// Labels that a hidden linear model draws.
pub fn data(rows: usize) -> Result<Dataset> {
    let x = Random::new(7).csr::<f32>([rows, FEATURES], 0.1)?;
    let hidden = Random::new(8).dense::<f32>([FEATURES, 1])?;
    let y: Vec<f32> =
        x.dot(&hidden)?.values::<f32>()?.iter().map(|&z| f32::from(u8::from(z > 0.0))).collect();
    Dataset::new(x, Tensor::dense([rows], y)?)
}

pub fn weights() -> Result<Params> {
    let weight =
        Init::Normal(0.01).tensor(Stype::RowSparse, [FEATURES, 1], sparsetape::DType::F32, 3)?;
    let bias = Parameter::new("bias", Tensor::full([1], 0.0f32)?)?;
    Params::new([&Parameter::new("weight", weight)?, &bias])
}

/// Logistic regression that records itself.
pub struct Logistic(pub Params);

impl Logistic {
    fn logits<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        let [weight, bias] =
            ["weight", "bias"].map(|name| tape.parameter(self.0.get(name).unwrap()));
        batch.var(tape, "data").dot(weight) + bias
    }
}

impl Model for Logistic {
    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        let labels = batch.var(tape, "label").reshape(&[-1, 1]);
        self.logits(tape, batch).sigmoid_binary_cross_entropy(labels)
    }

    fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
        Some(self.logits(tape, batch).sigmoid())
    }
}

/// The same as a graph: a loss and a prediction, or an output of MXNet.
pub fn graph(mxnet: bool) -> Result<Graph> {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("data").stype(Stype::Csr).shape([None, Some(FEATURES)]));
    let label = tape.symbol(variable("label").shape([None, Some(1)]));
    let weight = tape.symbol(variable("weight").stype(Stype::RowSparse).shape([FEATURES, 1]));
    let logits = x.dot(weight) + tape.symbol(variable("bias").shape([1]));
    if mxnet {
        return Graph::new(&[logits.logistic_regression_output(label, 1.0)]);
    }
    Graph::new(&[logits.sigmoid_binary_cross_entropy(label), logits.sigmoid()])
}

pub fn quiet<'a>(mut trainer: Trainer<'a>) -> Trainer<'a> {
    trainer.set_progress(Progress::hidden());
    trainer
}

pub fn of_graph(mxnet: bool, params: &Params) -> Result<Trainer<'static>> {
    Ok(quiet(Trainer::from_graph(&graph(mxnet)?, params.clone(), Sgd::new(0.5).momentum(0.9))?))
}

pub fn bits(params: &Params) -> Result<Vec<u32>> {
    let mut bits = Vec::new();
    for parameter in params {
        bits.extend(parameter.snapshot()?.values::<f32>()?.iter().map(|x| x.to_bits()));
    }
    Ok(bits)
}

pub fn assert_near(a: &Params, b: &Params) -> Result<()> {
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a.snapshot()?, b.snapshot()?);
        for (a, b) in a.values::<f32>()?.iter().zip(b.values::<f32>()?) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
    Ok(())
}

/// All but the time it took.
pub fn measured(history: &History) -> History {
    let mut timeless = History::new();
    for record in history.records() {
        timeless.push(sparsetape::train::Record { seconds: 0.0, ..record.clone() });
    }
    timeless
}

#[test]
fn a_model_and_its_graph_train_alike() -> Result<()> {
    let batches = data(60)?.batches(8).build()?;
    let run = |trainer: &mut Trainer<'_>| {
        let fit = Fit::epochs(4).metric(LogLoss::new()).metric(Auc::new());
        Ok(measured(trainer.fit(&batches, fit.evaluate("test", &batches))?))
    };
    let (eager, frozen) = (weights()?, weights()?);
    let model = Logistic(eager.clone());
    let sgd = Sgd::new(0.5).momentum(0.9);
    let eager_history = run(&mut quiet(Trainer::new(&model, eager.clone(), sgd)))?;
    let frozen_history = run(&mut of_graph(false, &frozen)?)?;
    assert_eq!(bits(&eager)?, bits(&frozen)?);
    assert_eq!(eager_history, frozen_history);
    assert_eq!(eager_history.records().len(), 8);
    // What the loss and the metric say is the same: the loss is the mean over the rows.
    let [loss, log_loss] =
        ["loss", "log-loss"].map(|name| eager_history.last("test", name).unwrap());
    assert!((loss - log_loss).abs() < 1e-6 && loss < 0.6, "{loss} {log_loss}");
    Ok(())
}

/// The gradients of MXNet's outputs are sums; rescaled, the run is that of the mean.
#[test]
fn outputs_of_mxnet_are_rescaled() -> Result<()> {
    let batches = data(64)?.batches(16).build()?;
    let (sum, mean) = (weights()?, weights()?);
    of_graph(true, &sum)?.fit(&batches, Fit::epochs(3))?;
    of_graph(false, &mean)?.fit(&batches, Fit::epochs(3))?;
    assert_near(&sum, &mean)?;
    // Unless the optimizer was told otherwise.
    let own = weights()?;
    let sgd = Sgd::new(0.5 * 16.0).momentum(0.9).rescale_grad(1.0 / 256.0);
    quiet(Trainer::from_graph(&graph(true)?, own.clone(), sgd)?).fit(&batches, Fit::epochs(3))?;
    assert_near(&own, &sum)
}

#[test]
fn a_batch_may_go_through_in_parts() -> Result<()> {
    let data = data(30)?;
    for eager in [true, false] {
        let (parts, whole) = (weights()?, weights()?);
        let fit = |params: &Params, size: usize, fit: Fit<'_>| -> Result<()> {
            let batches = data.batches(size).build()?;
            let model = Logistic(params.clone());
            let mut trainer = match eager {
                true => {
                    // A sum over the rows adds up.
                    let sum = loss_fn(|tape, batch| {
                        let labels = batch.var(tape, "label").reshape(&[-1, 1]);
                        let logits = model.logits(tape, batch);
                        logits.logistic_regression_output(labels, 1.0)
                    });
                    let mut trainer = quiet(Trainer::new(&sum, params.clone(), Sgd::new(0.5)));
                    return trainer.fit(&batches, fit).map(drop);
                }
                false => of_graph(true, params)?,
            };
            trainer.fit(&batches, fit).map(drop)
        };
        fit(&parts, 4, Fit::epochs(3).accumulate(3))?;
        fit(&whole, 12, Fit::epochs(3))?;
        assert_near(&parts, &whole)?;
    }
    // Parameters that accumulate by themselves do not count twice.
    let (own, whole) = (weights()?, weights()?);
    own.iter().for_each(|p| p.set_grad_req(GradReq::Add));
    of_graph(true, &own)?.fit(&data.batches(4).build()?, Fit::epochs(2).accumulate(3))?;
    of_graph(true, &whole)?.fit(&data.batches(12).build()?, Fit::epochs(2))?;
    assert_near(&own, &whole)
}

#[test]
fn a_run_stops_when_it_does_not_get_better() -> Result<()> {
    let best = std::env::temp_dir().join(format!("sparsetape-best-{}", std::process::id()));
    let batches = data(40)?.batches(8).build()?;
    let params = weights()?;
    let mut trainer = of_graph(false, &params)?;
    let at_best = RefCell::new((f64::INFINITY, Vec::new()));
    let early = EarlyStopping::new("test", "log-loss").patience(2).restore_best(&best);
    // From the fourth epoch on the run is thrown about.
    let fit = Fit::epochs(50)
        .metric(LogLoss::new())
        .evaluate("test", &batches)
        .early_stopping(early)
        .on_epoch(|moment| {
            let loss = moment.value("test", "log-loss").unwrap();
            if loss < at_best.borrow().0 {
                *at_best.borrow_mut() = (loss, bits(&params)?);
            }
            moment.set_learning_rate(if moment.epoch() < 3 { 0.5 } else { 500.0 })
        });
    let history = trainer.fit(&batches, fit)?;
    let best_epoch = history.best("test", "log-loss", false).unwrap().epoch;
    assert_eq!(history.records().last().unwrap().epoch, best_epoch + 2);
    assert_eq!(bits(&params)?, at_best.borrow().1);
    std::fs::remove_file(&best).unwrap();

    let unknown = Fit::epochs(1).early_stopping(EarlyStopping::new("test", "auc"));
    let error = trainer.fit(&batches, unknown).unwrap_err();
    assert!(error.to_string().contains("there is no split \"test\", only train"), "{error}");
    Ok(())
}

/// A metric of a larger-is-better kind is watched the right way round.
#[test]
fn better_is_what_the_metric_says() -> Result<()> {
    let batches = data(60)?.batches(8).build()?;
    let mut trainer = of_graph(false, &weights()?)?;
    let early = EarlyStopping::new("train", "auc").patience(1).min_delta(1e-3);
    let history =
        trainer.fit(&batches, Fit::epochs(30).metric(Auc::new()).early_stopping(early))?;
    let aucs: Vec<f64> = history.column("train", "auc").into_iter().map(|(_, auc)| auc).collect();
    assert!(aucs.len() > 2 && aucs[1] > aucs[0] + 1e-3, "{aucs:?}");
    Ok(())
}

#[test]
fn padded_rows_do_not_count() -> Result<()> {
    let data = data(21)?;
    let params = weights()?;
    let mut trainer = of_graph(false, &params)?;
    let mut score = |last| -> Result<(u64, Option<f64>, Vec<u32>)> {
        let batches = data.batches(8).last(last).build()?;
        let mut auc = Auc::new();
        let record = trainer.score(&batches, &mut [&mut auc])?;
        let predictions = trainer.predict(&batches)?;
        assert_eq!(predictions.shape()[..], [record.rows as usize, 1]);
        let bits = predictions.values::<f32>()?.iter().map(|x| x.to_bits()).collect();
        Ok((record.rows, record.value("auc"), bits))
    };
    let kept = score(LastBatch::Keep)?;
    assert_eq!(kept.0, 21);
    assert_eq!(score(LastBatch::Pad)?, kept);
    assert_eq!(score(LastBatch::Drop)?.0, 16);

    let mut text = Vec::new();
    let batches = data.batches(8).last(LastBatch::Pad).build()?;
    assert_eq!(trainer.predict_to(&batches, &mut text)?, 21);
    let read: Vec<u32> = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| line.parse::<f32>().unwrap().to_bits())
        .collect();
    assert_eq!(read, kept.2);
    Ok(())
}

#[test]
fn frozen_parameters_stay() -> Result<()> {
    let batches = data(40)?.batches(8).build()?;
    for eager in [true, false] {
        let params = weights()?;
        let model = Logistic(params.clone());
        let mut trainer = match eager {
            true => quiet(Trainer::new(&model, params.clone(), Adam::new(0.1))),
            false => quiet(Trainer::from_graph(&graph(false)?, params.clone(), Adam::new(0.1))?),
        };
        trainer.fit(&batches, Fit::epochs(1))?;
        let [weight, bias] = ["weight", "bias"].map(|name| params.get(name).unwrap().snapshot());
        assert_eq!(trainer.freeze("wei*")?, 1);
        trainer.fit(&batches, Fit::epochs(2))?;
        assert!(params.get("weight").unwrap().snapshot()?.same_bits(&weight?));
        assert!(!params.get("bias").unwrap().snapshot()?.same_bits(&bias?));
        assert_eq!(trainer.freeze("x?").unwrap_err().kind(), ErrorKind::State);
        // Whoever holds the parameter may want its gradient again, and another one no more.
        let before = bits(&params)?;
        params.get("weight").unwrap().set_grad_req(GradReq::Write);
        params.get("bias").unwrap().set_grad_req(GradReq::Null);
        trainer.fit(&batches, Fit::epochs(3))?;
        let after = bits(&params)?;
        assert!(before[..FEATURES] != after[..FEATURES] && before[FEATURES..] == after[FEATURES..]);
    }
    Ok(())
}

#[test]
fn what_is_not_finite_stops_the_run() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("sparsetape-finite-{}", std::process::id()));
    let mut data = data(40)?;
    let mut values = data.features.values::<f32>()?.to_vec();
    let indptr = data.features.indptr().unwrap().to_vec();
    values[indptr[29]] = f32::NAN;
    let (shape, ids) = (data.features.shape().clone(), data.features.indices().unwrap().to_vec());
    data.features = Tensor::csr([shape[0], shape[1]], indptr, ids, values)?;
    let batches = data.batches(8).build()?;
    for eager in [true, false] {
        let params = weights()?;
        let model = Logistic(params.clone());
        let mut trainer = match eager {
            true => quiet(Trainer::new(&model, params.clone(), Sgd::new(0.5).momentum(0.9))),
            false => of_graph(false, &params)?,
        };
        let mut checkpoints = Checkpoints::new(&dir).every(1);
        let before = RefCell::new(Vec::new());
        let fit = Fit::epochs(3).checkpoints(&mut checkpoints).on_batch(|_| {
            *before.borrow_mut() = bits(&params)?;
            Ok(())
        });
        let error = trainer.fit(&batches, fit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NonFinite);
        let text = error.to_string();
        for part in
            ["epoch 0, batch 3", "the loss is NaN", "row 29 of the data gives it", "laws.rs"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(error.operator_name(), Some("dot"));
        assert_eq!(bits(&params)?, *before.borrow());
        assert_eq!(trainer.run().step, 3);
        let last = weights()?;
        let mut resumed = of_graph(false, &last)?;
        assert!(resumed.resume_latest(&mut checkpoints)?);
        assert_eq!(bits(&last)?, *before.borrow());
        std::fs::remove_dir_all(&dir).unwrap();
    }
    Ok(())
}

/// A graph of one batch size does not run on the rows at fault alone.
#[test]
fn rows_that_do_not_run_alone_are_not_accused() -> Result<()> {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("data").shape([4, 1]));
    let loss = (x * tape.symbol(variable("weight").shape([1]))).mean();
    let weight = Parameter::new("weight", Tensor::full([1], 1.0f32)?)?;
    let graph = Graph::new(&[loss])?;
    let mut trainer = quiet(Trainer::from_graph(&graph, Params::new([&weight])?, Sgd::new(0.1))?);
    let x = Tensor::dense([4, 1], vec![1.0f32, f32::NAN, 1.0, 1.0])?;
    let data = Dataset::new(x, Tensor::full([4], 0.0f32)?)?;
    let error = trainer.fit(&data.batches(4).build()?, Fit::epochs(1)).unwrap_err();
    assert!(error.to_string().contains("none runs alone"), "{error}");
    Ok(())
}

/// Weights that are not finite are not saved, and named.
#[test]
fn a_run_that_diverges_keeps_its_last_good_checkpoint() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("sparsetape-diverged-{}", std::process::id()));
    let batches = data(40)?.batches(8).build()?;
    let params = weights()?;
    let mut trainer = of_graph(false, &params)?;
    let mut checkpoints = Checkpoints::new(&dir).every(1);
    let fit = Fit::epochs(3).checkpoints(&mut checkpoints).on_batch(|moment| {
        if moment.step() == 2 {
            moment.set_learning_rate(1e39)?;
        }
        Ok(())
    });
    let error = trainer.fit(&batches, fit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NonFinite);
    let told = "epoch 0, batch 3: row 1 of parameter \"weight\" is not finite";
    assert!(error.to_string().contains(told), "{error}");
    let last = weights()?;
    let mut resumed = of_graph(false, &last)?;
    assert!(resumed.resume_latest(&mut checkpoints)?);
    assert!(bits(&last)?.iter().all(|&x| f32::from_bits(x).is_finite()));
    std::fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

#[test]
fn callbacks_see_and_steer() -> Result<()> {
    let batches = data(40)?.batches(8).build()?;
    let params = weights()?;
    let mut trainer = of_graph(false, &params)?;
    let seen = RefCell::new(Vec::new());
    let fit = Fit::epochs(3)
        .metric(Mse::new())
        .on_batch(|moment| {
            let mse = moment.metrics();
            assert_eq!(mse[0].0, "mse");
            assert!(mse[0].1.is_finite() && moment.loss().unwrap().is_finite());
            seen.borrow_mut().push((moment.epoch(), moment.batch(), moment.learning_rate()));
            moment.set_learning_rate(0.25)
        })
        .on_epoch(|moment| {
            assert_eq!(moment.params().len(), 2);
            if moment.epoch() == 1 {
                moment.stop();
            }
            Ok(())
        });
    trainer.fit(&batches, fit)?;
    let seen = seen.into_inner();
    assert_eq!(seen.len(), 10);
    assert_eq!(seen[0], (0, 1, Some(0.5)));
    assert_eq!(seen[9], (1, 5, Some(0.25)));
    // An error of a callback is the run's.
    let stop = sparsetape::Error::new(ErrorKind::Value, "enough");
    let failed = trainer.fit(&batches, Fit::epochs(3).on_batch(|_| Err(stop.clone())));
    assert!(failed.unwrap_err().to_string().contains("enough"));
    Ok(())
}

#[test]
fn warm_starts_say_what_they_took() -> Result<()> {
    let path = std::env::temp_dir().join(format!("sparsetape-warm-{}", std::process::id()));
    let params = weights()?;
    let half = Tensor::full([FEATURES, 1], 0.5f64)?;
    Archive::new([("weight", half.clone()), ("other", half)])?.save(&path)?;
    let loaded = of_graph(false, &params)?.load(&path)?;
    assert_eq!(
        (loaded.loaded, loaded.missing, loaded.unused),
        (vec!["weight".to_owned()], vec!["bias".to_owned()], vec!["other".to_owned()])
    );
    // Of the parameter's own storage and element type.
    assert_eq!(params.get("weight").unwrap().snapshot()?.values::<f32>()?, [0.5; FEATURES]);

    let dir = std::env::temp_dir();
    sparsetape::data::write_npy(dir.join("bias.npy"), &Tensor::full([1], 7i64)?)?;
    assert_eq!(load(&params, dir.join("bias.npy"))?.loaded, ["bias"]);
    assert_eq!(params.get("bias").unwrap().snapshot()?.item::<f32>()?, 7.0);
    std::fs::remove_file(dir.join("bias.npy")).unwrap();
    params.get("bias").unwrap().set(Tensor::full([1], 0.0f32)?)?;

    let wrong = Tensor::full([3], 0.0f32)?;
    Archive::new([("weight", wrong.clone()), ("bias", Tensor::full([1], 9.0f32)?)])?.save(&path)?;
    let error = load(&params, &path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert_eq!(params.get("bias").unwrap().snapshot()?.item::<f32>()?, 0.0);
    Archive::new([("nothing", wrong)])?.save(&path)?;
    assert_eq!(load(&params, &path).unwrap_err().kind(), ErrorKind::State);
    std::fs::remove_file(&path).unwrap();
    Ok(())
}

#[test]
fn files_are_streamed_into_the_same_weights() -> Result<()> {
    let path = std::env::temp_dir().join(format!("sparsetape-trainer-{}.svm", std::process::id()));
    LibsvmWriter::new().save(&path, &data(100)?)?;
    let reader = Libsvm::new().schema(data(1)?.schema);
    let memory: Batches = reader.read(&path)?.batches(8).build()?;
    let streamed = reader.stream_batches(&[&path], 8).memory(2000).build()?;
    let train = |source: &dyn BatchSource| {
        let params = weights()?;
        let mut trainer = of_graph(true, &params)?;
        let history = trainer.fit(source, Fit::epochs(3).metric(Mse::new()))?;
        Ok((bits(&params)?, measured(history)))
    };
    let (a, b): (Result<_>, Result<_>) = (train(&memory), train(&streamed));
    assert_eq!(a?, b?);
    std::fs::remove_file(&path).unwrap();
    Ok(())
}
