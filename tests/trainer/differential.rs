//! The trainer against a loop written by hand: the same bits, whatever interrupts the run.

use std::cell::Cell;
use std::path::PathBuf;

use proptest::prelude::*;
use sparsetape::data::{Batch, BatchSource, Dataset, LastBatch, Libsvm, LibsvmWriter};
use sparsetape::optim::{Optimizer, Sgd, Update};
use sparsetape::train::metrics::Mse;
use sparsetape::train::{Checkpoints, Fit, History, Model, Trainer};
use sparsetape::{Error, ErrorKind, Gradients, Graph, Params, Result, Stype, Tape, Var, variable};

use super::laws::{FEATURES, bits, data, measured, quiet, weights};

const SEED: u64 = 11;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Records itself; a mean over the rows.
    Eager,
    /// Records itself; an output of MXNet.
    EagerOutput,
    Graph,
    GraphOutput,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Memory,
    Prefetched,
    Streamed,
}

/// How a run ends before its time, once this step is done, and where it goes on.
#[derive(Clone, Copy, Debug)]
struct Break {
    step: u64,
    fails: bool,
    saves: bool,
    anew: bool,
}

#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    source: Source,
    rows: usize,
    size: usize,
    last: LastBatch,
    shuffle: Option<u64>,
    accumulate: usize,
    update: Update,
    every: u64,
    slows: u64,
    breaks: Vec<Break>,
}

const EPOCHS: u64 = 3;

fn cases() -> impl Strategy<Value = Case> {
    let of = |all: &[Kind]| prop::sample::select(all.to_vec());
    let kind = of(&[Kind::Eager, Kind::EagerOutput, Kind::Graph, Kind::GraphOutput]);
    let source = prop::sample::select(vec![Source::Memory, Source::Prefetched, Source::Streamed]);
    let last = prop::sample::select(vec![LastBatch::Keep, LastBatch::Drop, LastBatch::Pad]);
    let update = prop::sample::select(vec![Update::Lazy, Update::Exact, Update::Dense]);
    let shuffle = prop::option::of(0..9u64);
    let stop = (1..30u64, any::<bool>(), any::<bool>(), any::<bool>());
    let stop = stop.prop_map(|(step, fails, saves, anew)| Break { step, fails, saves, anew });
    let breaks = prop::collection::vec(stop, 0..4);
    let sizes = (8..30usize, 1..8usize, 1..4usize, 1..7u64, 1..20u64);
    (kind, source, last, update, shuffle, breaks, sizes).prop_map(
        |(kind, source, last, update, shuffle, mut breaks, sizes)| {
            let (rows, size, accumulate, every, slows) = sizes;
            breaks.sort_by_key(|stop| stop.step);
            Case {
                kind,
                source,
                rows,
                size,
                last,
                shuffle,
                accumulate,
                update,
                every,
                slows,
                breaks,
            }
        },
    )
}

/// Weights with dropout, and a bias.
fn logits<'t>(x: Var<'t>, weight: Var<'t>, bias: Var<'t>) -> Var<'t> {
    x.dot(weight).dropout(0.3) + bias
}

fn loss<'t>(kind: Kind, logits: Var<'t>, labels: Var<'t>) -> Var<'t> {
    match kind {
        Kind::Eager | Kind::Graph => logits.sigmoid_binary_cross_entropy(labels),
        _ => logits.logistic_regression_output(labels, 1.0),
    }
}

struct Logistic(Kind, Params);

impl Logistic {
    fn logits<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        let of = |name| tape.parameter(self.1.get(name).unwrap());
        logits(batch.var(tape, "data"), of("weight"), of("bias"))
    }
}

impl Model for Logistic {
    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch) -> Var<'t> {
        self.loss_and_output(tape, batch).0
    }

    fn output<'t>(&self, tape: &'t Tape, batch: &Batch) -> Option<Var<'t>> {
        Some(self.logits(tape, batch).sigmoid())
    }

    fn loss_and_output<'t>(&self, tape: &'t Tape, batch: &Batch) -> (Var<'t>, Option<Var<'t>>) {
        let logits = self.logits(tape, batch);
        let labels = batch.var(tape, "label").reshape(&[-1, 1]);
        (loss(self.0, logits, labels), Some(logits.sigmoid()))
    }
}

fn graph(kind: Kind) -> Result<Graph> {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("data").stype(Stype::Csr).shape([None, Some(FEATURES)]));
    let label = tape.symbol(variable("label").shape([None, Some(1)]));
    let weight = tape.symbol(variable("weight").stype(Stype::RowSparse).shape([FEATURES, 1]));
    let logits = logits(x, weight, tape.symbol(variable("bias").shape([1])));
    match kind {
        Kind::GraphOutput => Graph::new(&[loss(kind, logits, label)]),
        _ => Graph::new(&[loss(kind, logits, label), logits.sigmoid()]),
    }
}

impl Case {
    fn optimizer(&self) -> Sgd {
        Sgd::new(0.5).momentum(0.9).weight_decay(0.01).update(self.update)
    }

    /// The bits of the weights after a loop of tape and optimizer, without trainer.
    fn by_hand(&self, source: &dyn BatchSource) -> Result<Vec<u32>> {
        let params = weights()?;
        let (model, mut sgd) = (Logistic(self.kind, params.clone()), self.optimizer());
        let mut step = 0;
        for epoch in 0..EPOCHS {
            let batches = source.read(epoch, 0)?.collect::<Result<Vec<Batch>>>()?;
            for group in batches.chunks(self.accumulate) {
                let (mut sum, mut rows) = (Gradients::default(), 0);
                for (i, batch) in group.iter().enumerate() {
                    let tape = Tape::new();
                    tape.train(SEED, step);
                    let gradients = model.loss(&tape, batch).backward()?;
                    for (parameter, gradient) in gradients.iter() {
                        let held = sum.of(parameter).map(|held| held.add(gradient)).transpose()?;
                        sum.set(parameter, held.unwrap_or(gradient.clone()));
                    }
                    rows += batch.rows();
                    step += 1;
                    // Who calls `fit` does not know that an epoch ends before the update is due.
                    if step == self.slows && i + 1 < self.accumulate {
                        sgd.set_learning_rate(0.1);
                    }
                }
                if matches!(self.kind, Kind::EagerOutput | Kind::GraphOutput) {
                    sgd.default_rescale_grad(1.0 / rows as f64);
                }
                sgd.step(&params, &sum)?;
                if step == self.slows {
                    sgd.set_learning_rate(0.1);
                }
            }
            // In exact mode rows catch up when they are read.
            for batch in &batches {
                let tape = Tape::new();
                tape.predict();
                tape.no_grad(|| model.loss(&tape, batch).value())?;
            }
        }
        bits(&params)
    }

    fn by_trainer(
        &self,
        source: &dyn BatchSource,
        breaks: &[Break],
    ) -> Result<(Vec<u32>, History)> {
        let dir = Directory::new();
        let mut checkpoints = Checkpoints::new(&dir.0).every(self.every);
        let mut breaks = breaks.iter().peekable();
        let mut params = weights()?;
        'anew: loop {
            let model = Logistic(self.kind, params.clone());
            let sgd = self.optimizer();
            let mut trainer = quiet(match self.kind {
                Kind::Eager | Kind::EagerOutput => Trainer::new(&model, params.clone(), sgd),
                kind => Trainer::from_graph(&graph(kind)?, params.clone(), sgd)?,
            });
            trainer.set_seed(SEED);
            trainer.resume_latest(&mut checkpoints)?;
            loop {
                let next = breaks.next().copied();
                let failed = Cell::new(false);
                let fit = Fit::epochs(EPOCHS)
                    .accumulate(self.accumulate)
                    .metric(Mse::new())
                    .evaluate("test", source)
                    .checkpoints(&mut checkpoints)
                    .on_batch(|moment| {
                        if moment.step() == self.slows {
                            moment.set_learning_rate(0.1)?;
                        }
                        let Some(stop) = next.filter(|stop| stop.step == moment.step()) else {
                            return Ok(());
                        };
                        if stop.saves {
                            moment.save_checkpoint(dir.0.join("own"))?;
                        }
                        failed.set(stop.fails);
                        match stop.fails {
                            true => Err(Error::new(ErrorKind::Value, "enough")),
                            false => {
                                moment.stop();
                                Ok(())
                            }
                        }
                    });
                match trainer.fit(source, fit).map(drop) {
                    Err(error) if !failed.get() => return Err(error),
                    _ if trainer.run().epoch < EPOCHS => {}
                    _ => return Ok((bits(&params)?, measured(trainer.history()))),
                }
                let Some(stop) = next else { continue };
                if stop.saves && dir.0.join("own").exists() && stop.anew {
                    // Somewhere else, where there is nothing but the file.
                    trainer.resume(dir.0.join("own"))?;
                } else if stop.anew {
                    params = weights()?;
                    continue 'anew;
                }
            }
        }
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("sparsetape-differential-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn check(case: &Case) -> Result<()> {
    let dir = Directory::new();
    let data: Dataset = data(case.rows)?;
    let plan = data.batches(case.size).last(case.last);
    let plan = match case.shuffle {
        Some(seed) => plan.shuffle(seed),
        None => plan,
    };
    let memory = plan.build()?;
    let path = dir.0.join("data.svm");
    LibsvmWriter::new().save(&path, &data)?;
    let reader = Libsvm::new().schema(data.schema);
    let streamed = reader.stream_batches(&[&path], case.size).last(case.last).memory(2000);
    let (prefetched, streamed) = (memory.clone().prefetched(2), streamed.build()?);
    let source: &dyn BatchSource = match case.source {
        Source::Memory => &memory,
        Source::Prefetched => &prefetched,
        Source::Streamed => &streamed,
    };
    let order: &dyn BatchSource = match case.source {
        Source::Streamed => &streamed,
        _ => &memory,
    };
    let by_hand = case.by_hand(order)?;
    let (whole, history) = case.by_trainer(source, &[])?;
    assert!(whole == by_hand, "{case:?}");
    let (broken, broken_history) = case.by_trainer(source, &case.breaks)?;
    assert!(broken == by_hand, "interrupted: {case:?}");
    // Every epoch is scored once, and alike; its training is recorded in parts.
    let tests = |history: &History| {
        let all = history.records().iter().filter(|record| record.split == "test");
        all.cloned().collect::<Vec<_>>()
    };
    assert_eq!(tests(&broken_history), tests(&history), "{case:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn an_interrupted_run_is_the_loop_by_hand(case in cases()) {
        prop_assume!(case.last != LastBatch::Drop || case.rows >= case.size);
        let checked = check(&case);
        prop_assert!(checked.is_ok(), "{checked:?}");
    }
}
