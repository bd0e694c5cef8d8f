//! Runs that end early, fail, or are done by parts.

use std::cell::RefCell;

use sparsetape::data::{BatchIter, BatchSource, Batches, LastBatch};
use sparsetape::optim::{Optimizer, Sgd};
use sparsetape::train::metrics::Mse;
use sparsetape::train::{Checkpoints, EarlyStopping, Fit, History, Trainer, load};
use sparsetape::{Error, ErrorKind, Gradients, Params, Result, Stype, Tape};

use super::laws::{assert_near, bits, data, graph, measured, of_graph, quiet, weights};

#[test]
fn a_resumed_run_is_the_same_run() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("sparsetape-trainer-{}", std::process::id()));
    let batches = data(60)?.batches(8).shuffle(5).build()?;
    let fit = |epochs| Fit::epochs(epochs).metric(Mse::new()).evaluate("test", &batches);
    let whole = weights()?;
    let mut uninterrupted = of_graph(false, &whole)?;
    uninterrupted.fit(&batches, fit(4))?;

    let mut checkpoints = Checkpoints::new(&dir).every(3);
    // Stops in the middle of the second epoch.
    let mut first = of_graph(false, &weights()?)?;
    let stopping = fit(4).checkpoints(&mut checkpoints).on_batch(|moment| {
        if moment.step() == 12 {
            moment.stop();
        }
        Ok(())
    });
    first.fit(&batches, stopping)?;
    assert_eq!((first.run().epoch, first.run().batch, first.run().step), (1, 4, 12));

    let resumed = weights()?;
    let mut second = of_graph(false, &resumed)?;
    assert!(second.resume_latest(&mut checkpoints)?);
    assert_eq!(second.run().batch, 4);
    second.fit(&batches, fit(4).checkpoints(&mut checkpoints))?;
    assert_eq!(bits(&resumed)?, bits(&whole)?);
    // A third finds the run at its end.
    let mut third = of_graph(false, &weights()?)?;
    assert!(third.resume_latest(&mut checkpoints)?);
    assert_eq!(third.history(), second.history());
    third.fit(&batches, fit(4))?;
    assert_eq!(third.run().step, 32);
    let last = |trainer: &Trainer<'_>| trainer.history().last("test", "mse");
    assert_eq!(last(&second), last(&uninterrupted));
    std::fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

#[test]
fn a_resumed_run_that_is_over_does_not_begin_again() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("sparsetape-over-{}", std::process::id()));
    let batches = data(40)?.batches(8).build()?;
    let fit = || {
        let early = EarlyStopping::new("train", "loss").patience(2).min_delta(1.0);
        Fit::epochs(20).early_stopping(early)
    };
    let mut checkpoints = Checkpoints::new(&dir);
    let mut trainer = of_graph(false, &weights()?)?;
    trainer.fit(&batches, fit().checkpoints(&mut checkpoints))?;
    assert_eq!(trainer.run().epoch, 3);
    let mut resumed = of_graph(false, &weights()?)?;
    assert!(resumed.resume_latest(&mut checkpoints)?);
    resumed.fit(&batches, fit())?;
    assert_eq!(resumed.run().epoch, 3);
    // Called again, it is meant.
    resumed.fit(&batches, Fit::epochs(4))?;
    assert_eq!(resumed.run().epoch, 4);
    std::fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

/// What was learned is back after an early end, but a run that goes on does so from where it was.
#[test]
fn the_best_comes_back_beside_the_run() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("sparsetape-beside-{}", std::process::id()));
    let (best, batches) = (dir.join("best"), data(40)?.batches(8).build()?);
    // Another run's file, which no epoch of this one has written yet.
    std::fs::create_dir_all(&dir).unwrap();
    weights()?.save(&best, &[("epoch".to_owned(), "7".to_owned())].into())?;
    let mut checkpoints = Checkpoints::new(dir.join("run"));
    let params = weights()?;
    let mut trainer = of_graph(false, &params)?;
    let early = || EarlyStopping::new("train", "loss").restore_best(&best);
    let in_the_first_epoch = Fit::epochs(2).early_stopping(early()).on_batch(|moment| {
        moment.stop();
        Ok(())
    });
    trainer.fit(&batches, in_the_first_epoch)?;
    assert_ne!(bits(&params)?, bits(&weights()?)?);

    // The last epoch throws the weights about.
    let last = RefCell::new(Vec::new());
    let fit = Fit::epochs(4)
        .early_stopping(early())
        .checkpoints(&mut checkpoints)
        .on_batch(|moment| moment.set_learning_rate(if moment.epoch() < 3 { 0.5 } else { 50.0 }))
        .on_epoch(|_| {
            *last.borrow_mut() = bits(&params)?;
            Ok(())
        });
    trainer.fit(&batches, fit)?;
    let resumed = weights()?;
    assert!(of_graph(false, &resumed)?.resume_latest(&mut checkpoints)?);
    assert_eq!(bits(&resumed)?, *last.borrow());
    assert_ne!(bits(&params)?, *last.borrow());
    load(&resumed, &best)?;
    assert_eq!(bits(&params)?, bits(&resumed)?);
    std::fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

/// A run that stopped after the last batch of an epoch has trained it; what is left is to score it.
#[test]
fn an_epoch_is_recorded_once() -> Result<()> {
    let path = std::env::temp_dir().join(format!("sparsetape-once-{}", std::process::id()));
    let batches = data(24)?.batches(8).build()?;
    let fit = || Fit::epochs(2).metric(Mse::new()).evaluate("test", &batches);
    let whole = weights()?;
    let mut uninterrupted = of_graph(false, &whole)?;
    uninterrupted.fit(&batches, fit())?;
    let mut stopped = of_graph(false, &weights()?)?;
    let at_the_end = fit().on_batch(|moment| {
        if moment.step() == 3 {
            moment.stop();
        }
        Ok(())
    });
    stopped.fit(&batches, at_the_end)?;
    stopped.save_checkpoint(&path)?;
    let params = weights()?;
    let mut resumed = of_graph(false, &params)?;
    resumed.resume(&path)?;
    resumed.fit(&batches, fit())?;
    assert_eq!(measured(resumed.history()), measured(uninterrupted.history()));
    assert_eq!(bits(&params)?, bits(&whole)?);
    std::fs::remove_file(&path).unwrap();

    let none = data(5)?.batches(8).last(LastBatch::Drop).build()?;
    let error = of_graph(false, &params)?.fit(&none, Fit::epochs(1)).unwrap_err();
    assert!(error.to_string().contains("epoch 0: the source has no batches"), "{error}");
    let error = of_graph(false, &params)?.predict(&none).unwrap_err();
    assert!(error.to_string().contains("predict: the source has no batches"), "{error}");
    Ok(())
}

/// A source that fails when its turn comes.
struct Failing<'a> {
    source: &'a Batches,
    readings: RefCell<u32>,
    fails_at: u32,
}

impl BatchSource for Failing<'_> {
    fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>> {
        *self.readings.borrow_mut() += 1;
        if *self.readings.borrow() == self.fails_at {
            return Err(Error::new(ErrorKind::Io, "the disk is away"));
        }
        self.source.read(epoch, skip)
    }
}

#[test]
fn a_run_goes_on_after_a_failure() -> Result<()> {
    let batches = data(40)?.batches(8).build()?;
    let run = |fails_at, fails_in_training: bool| -> Result<(Vec<u32>, History)> {
        let failing = Failing { source: &batches, readings: RefCell::new(0), fails_at };
        let (train, test): (&dyn BatchSource, &dyn BatchSource) =
            if fails_in_training { (&failing, &batches) } else { (&batches, &failing) };
        let params = weights()?;
        let mut trainer = of_graph(false, &params)?;
        let mut failures = 0;
        loop {
            let fit = Fit::epochs(3).accumulate(2).metric(Mse::new());
            let fit = fit
                .evaluate("one", &batches)
                .evaluate("two", test)
                .on_epoch(|moment| moment.set_learning_rate(0.5 / (2.0 + moment.epoch() as f64)));
            match trainer.fit(train, fit) {
                Ok(history) => {
                    assert_eq!(failures, u32::from(fails_at > 0));
                    return Ok((bits(&params)?, measured(history)));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Io),
            }
            failures += 1;
        }
    };
    let whole = run(0, true)?;
    for fails_at in 1..4 {
        assert_eq!(run(fails_at, true)?, whole);
        assert_eq!(run(fails_at, false)?, whole);
    }
    Ok(())
}

/// Whatever runs in between, gradients are of the batch that they were asked for, and scaled once.
#[test]
fn plain_parts_mix() -> Result<()> {
    let (large, small) = (data(24)?.batches(12).build()?, data(9)?.batches(3).build()?);
    let run = |mixed: bool| -> Result<Vec<u32>> {
        let params = weights()?;
        let mut trainer = of_graph(true, &params)?;
        for batch in large.epoch(0) {
            trainer.forward(&batch, true)?;
            if mixed {
                trainer.score(&small, &mut [])?;
            }
            trainer.backward()?;
            if mixed {
                trainer.predict(&small)?;
            }
            trainer.update()?;
        }
        // Gradients that no update has used are not those of the next run.
        if mixed {
            trainer.forward(&small.epoch(0).next().unwrap(), true)?;
            trainer.backward()?;
        }
        trainer.fit(&large, Fit::epochs(1))?;
        bits(&params)
    };
    assert_eq!(run(true)?, run(false)?);
    Ok(())
}

/// An optimizer of somebody else's, which is busy now and then.
struct Descent {
    refuses: bool,
}

impl Optimizer for Descent {
    fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
        self.refuses = !self.refuses;
        if self.refuses {
            return Err(Error::new(ErrorKind::Busy, "not now"));
        }
        for parameter in params {
            let Some(gradient) = gradients.of(parameter) else { continue };
            let gradient = gradient.cast_storage(Stype::Default)?.mul_scalar(0.5)?;
            let values = parameter.snapshot()?.cast_storage(Stype::Default)?.sub(&gradient)?;
            parameter.set(values.cast_storage(parameter.stype())?)?;
        }
        Ok(())
    }
}

#[test]
fn any_optimizer_will_do() -> Result<()> {
    let batches = data(24)?.batches(8).build()?;
    let (theirs, ours) = (weights()?, weights()?);
    let mut trainer =
        Trainer::from_graph(&graph(true)?, theirs.clone(), Descent { refuses: false })?;
    for batch in batches.epoch(0) {
        trainer.forward(&batch, true)?;
        trainer.backward()?;
        assert_eq!(trainer.update().unwrap_err().kind(), ErrorKind::Busy);
        trainer.update()?;
    }
    let mut sgd = Sgd::new(0.5);
    quiet(Trainer::from_graph(&graph(true)?, ours.clone(), &mut sgd)?)
        .fit(&batches, Fit::epochs(1))?;
    assert_near(&theirs, &ours)?;
    // What was lent steps by whole gradients again.
    let (tape, bias) = (Tape::new(), ours.get("bias").unwrap());
    let before = bias.snapshot()?.item::<f32>()?;
    sgd.step(&ours, &tape.parameter(bias).sum().backward()?)?;
    assert_eq!(bias.snapshot()?.item::<f32>()?, before - 0.5);
    Ok(())
}
