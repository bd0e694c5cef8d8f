//! Single rows of parameters, and tables whose absent rows are drawn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sparsetape::optim::{Sgd, Update};
use sparsetape::random::{Popularity, Random};
use sparsetape::train::Checkpoint;
use sparsetape::{
    Bind, DType, ErrorKind, Graph, Init, Model, Parameter, Params, Stype, Tape, Tensor, variable,
};

const ROWS: usize = 60;
const K: usize = 3;
const SEED: u64 = 11;

/// A step whose gradient depends on the current weights: reading a stale row would show.
fn step(w: &Parameter, x: &Tensor, sgd: &mut Sgd) {
    let tape = Tape::new();
    let y = tape.constant(x.clone()).dot(tape.parameter(w));
    let loss = (y * 2.0).sin().sum() * 0.1 + y.square().sum() * 0.2;
    let gradients = loss.backward().unwrap();
    sgd.step(&Params::new([w]).unwrap(), &gradients).unwrap();
}

fn batches(seed: u64) -> impl Iterator<Item = Tensor> {
    let mut random = Random::new(seed);
    std::iter::repeat_with(move || {
        random.csr_rows::<f64>([2, ROWS], 2, Popularity::Uniform).unwrap()
    })
}

fn momentum(update: Update) -> Sgd {
    Sgd::new(0.05).momentum(0.9).weight_decay(0.02).update(update)
}

fn all(w: &Parameter) -> Tensor {
    w.rows(&(0..ROWS as u32).collect::<Vec<_>>()).unwrap()
}

fn values(x: &Tensor) -> &[f64] {
    x.values().unwrap()
}

#[track_caller]
fn close(a: &Tensor, b: &Tensor) {
    for (a, b) in values(a).iter().zip(values(b)) {
        assert!((a - b).abs() <= 1e-10 * b.abs().max(1.0), "{a} {b}");
    }
}

fn dense(seed: u64) -> Parameter {
    Parameter::new("w", Random::new(seed).dense::<f64>([ROWS, K]).unwrap()).unwrap()
}

fn drawn(init: Init) -> Parameter {
    Parameter::drawn("w", [ROWS, K], DType::F64, init, SEED).unwrap()
}

fn initialised(init: Init) -> Parameter {
    let values = init.tensor(Stype::Default, [ROWS, K], DType::F64, SEED).unwrap();
    Parameter::new("w", values).unwrap()
}

const INITS: [Init; 4] = [Init::Constant(0.5), Init::Uniform(0.1), Init::Normal(0.3), Init::Xavier];

fn row_sparse(rows: Vec<u32>, value: f64) -> Tensor {
    let values = vec![value; rows.len() * K];
    Tensor::row_sparse([ROWS, K], rows, values).unwrap()
}

#[test]
fn rows_are_up_to_date_and_reading_them_changes_nothing() {
    let [a, b] = [(); 2].map(|()| dense(1));
    let [mut with, mut without] = [(); 2].map(|()| momentum(Update::Exact));
    for x in batches(2).take(50) {
        step(&a, &x, &mut with);
        step(&b, &x, &mut without);
        assert_eq!(values(&all(&a)), values(&a.snapshot().unwrap()));
    }
    assert!(a.snapshot().unwrap().same_bits(&b.snapshot().unwrap()));
}

#[test]
fn bad_rows_are_refused() {
    let w = dense(1);
    let check = |error: sparsetape::Error, kind, text: &str| {
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(text), "{error}");
    };
    let index = "ids[1] = 60, but parameter \"w\" has 60 rows";
    check(w.rows(&[3, 60]).unwrap_err(), ErrorKind::Index, index);
    check(w.freeze_rows(&[3, 60]).unwrap_err(), ErrorKind::Index, index);
    check(w.unfreeze_rows(&[3, 60]).unwrap_err(), ErrorKind::Index, index);
    let scalar = Parameter::new("b", Tensor::scalar(1.0f64)).unwrap();
    let many =
        Parameter::new("w", Tensor::zeros(Stype::Default, [1 << 32, 0], DType::F32).unwrap());
    check(many.unwrap_err(), ErrorKind::Shape, "fewer than 2³² rows");
    check(scalar.rows(&[0]).unwrap_err(), ErrorKind::Shape, "no axes");
    check(w.set_rows(&w.snapshot().unwrap()).unwrap_err(), ErrorKind::Stype, "row-sparse");
    let other = Tensor::row_sparse([ROWS, K], vec![1], vec![0.0f32; K]).unwrap();
    check(w.set_rows(&other).unwrap_err(), ErrorKind::DType, "f64");
    let other = Tensor::row_sparse([ROWS, 1], vec![1], vec![0.0f64]).unwrap();
    check(w.set_rows(&other).unwrap_err(), ErrorKind::Shape, "(60, 1)");
    check(w.retain_rows(|_| true).unwrap_err(), ErrorKind::Stype, "dense");
    let untracked = w.rows_changed_since(0).unwrap_err();
    check(untracked, ErrorKind::State, "`track_changes`");
    w.set_rows(&row_sparse(vec![1], 2.0)).unwrap();
    w.track_changes().unwrap();
    check(w.rows_changed_since(0).unwrap_err(), ErrorKind::State, "since update 1");
    let later = "has seen 1 updates, not yet 2";
    check(w.rows_changed_since(2).unwrap_err(), ErrorKind::State, later);
    let absent = Parameter::new("w", row_sparse(vec![1], 2.0)).unwrap();
    absent.track_changes().unwrap();
    let error = absent.evict_rows_unchanged_since(1).unwrap_err();
    check(error, ErrorKind::State, "has seen 0 updates, not yet 1");
    assert_eq!(absent.stored_rows().unwrap(), [1]);
    assert_eq!(w.updates(), 1);
}

#[test]
fn what_was_recorded_before_rows_were_written_or_evicted_is_stale() {
    let w = Parameter::new("w", row_sparse(vec![3, 5], 1.0)).unwrap();
    let stale = |change: &dyn Fn(&Parameter)| {
        let tape = Tape::new();
        let leaf = tape.parameter(&w);
        change(&w);
        leaf.square().value().map(drop).map_err(|error| error.kind())
    };
    assert_eq!(stale(&|w| w.set_rows(&row_sparse(vec![4], 2.0)).unwrap()), Err(ErrorKind::Stale));
    assert_eq!(
        stale(&|w| assert_eq!(w.retain_rows(|id| id != 3).unwrap(), 1)),
        Err(ErrorKind::Stale)
    );
    assert_eq!(stale(&|w| assert_eq!(w.retain_rows(|_| true).unwrap(), 0)), Ok(()));
    assert_eq!(stale(&|w| w.freeze_rows(&[4]).unwrap()), Ok(()));
    assert_eq!(stale(&|w| w.unfreeze_rows(&[4]).unwrap()), Ok(()));
    assert_eq!(stale(&|w| w.track_changes().unwrap()), Ok(()));
    // A reshape that splits rows reads them.
    let tape = Tape::new();
    let leaf = tape.parameter(&w);
    w.set_rows(&row_sparse(vec![4], 3.0)).unwrap();
    let split = leaf.reshape(&[(ROWS * K) as isize, 1]).value();
    assert_eq!(split.unwrap_err().kind(), ErrorKind::Stale);
}

/// Rows written and frozen in mid-run: exact is dense.
#[test]
fn written_and_frozen_rows_are_exact() {
    let trained = [Update::Exact, Update::Dense].map(|update| {
        let (w, mut sgd) = (dense(3), momentum(update));
        for (i, x) in batches(4).take(300).enumerate() {
            step(&w, &x, &mut sgd);
            match i {
                50 => w.set_rows(&row_sparse(vec![0, 7, 31], 0.25)).unwrap(),
                90 => w.freeze_rows(&[31, 2, 9]).unwrap(),
                120 => w.set_rows(&row_sparse(vec![9], -0.5)).unwrap(),
                150 => w.unfreeze_rows(&[2, 9, 50]).unwrap(),
                200 => w.freeze_rows(&[2, 3]).unwrap(),
                _ => {}
            }
            if i == 91 || i == 149 {
                assert_eq!(w.frozen_rows().unwrap(), [2, 9, 31]);
            }
        }
        (w.snapshot().unwrap(), sgd.state_of(&w, "momentum").unwrap().unwrap())
    });
    close(&trained[0].0, &trained[1].0);
    close(&trained[0].1, &trained[1].1);
}

/// Nothing moves a frozen row, nor its momentum, in any mode.
#[test]
fn frozen_rows_stay() {
    for update in [Update::Lazy, Update::Exact, Update::Dense] {
        let (w, mut sgd) = (dense(5), momentum(update));
        let ids: Vec<u32> = (0..ROWS as u32).step_by(3).collect();
        let mut batches = batches(6);
        batches.by_ref().take(40).for_each(|x| step(&w, &x, &mut sgd));
        w.freeze_rows(&ids).unwrap();
        let state = |sgd: &Sgd| sgd.state_of(&w, "momentum").unwrap().unwrap();
        let (before, momenta) = (w.rows(&ids).unwrap(), state(&sgd));
        batches.by_ref().take(40).for_each(|x| step(&w, &x, &mut sgd));
        let dense = Tape::new().parameter(&w).square().sum().backward().unwrap();
        sgd.step(&Params::new([&w]).unwrap(), &dense).unwrap();
        assert!(w.rows(&ids).unwrap().same_bits(&before), "{update:?}");
        for (row, (was, is)) in
            values(&momenta).chunks(K).zip(values(&state(&sgd)).chunks(K)).enumerate()
        {
            assert_eq!(was == is, row % 3 == 0, "{update:?} {row}");
        }
    }
}

#[test]
fn a_drawn_table_is_the_dense_one_bit_for_bit() {
    for init in INITS {
        let (a, b) = (drawn(init), initialised(init));
        let [mut one, mut two] = [(); 2].map(|()| momentum(Update::Lazy));
        for x in batches(7).take(40) {
            step(&a, &x, &mut one);
            step(&b, &x, &mut two);
        }
        assert!(values(&all(&a)) == values(&all(&b)), "{init:?}");
        assert!(a.stored_rows().unwrap().len() < ROWS || init == Init::Constant(0.0));
    }
}

/// Also after histories were restarted, and optimizers gave way to others.
#[test]
fn a_drawn_table_is_exact() {
    for init in INITS {
        for nesterov in [false, true] {
            let (a, b) = (drawn(init), initialised(init));
            let pairs = |lr: f64| {
                let sgd = |update| momentum(update).nesterov(nesterov);
                let mut pair = [sgd(Update::Exact), sgd(Update::Dense)];
                pair.iter_mut().for_each(|sgd| sgd.set_learning_rate(lr));
                pair
            };
            let mut batches = batches(8);
            for (phase, lr) in [0.05, 0.1, 0.02].into_iter().enumerate() {
                let [mut exact, mut dense] = pairs(lr);
                for (i, x) in batches.by_ref().take(12).enumerate() {
                    if i == 5 {
                        // The state is up to date: what was missed is forgotten.
                        exact.state_of(&a, "momentum").unwrap();
                    }
                    step(&a, &x, &mut exact);
                    step(&b, &x, &mut dense);
                    close(&all(&a), &all(&b));
                }
                assert!(phase > 0 || a.stored_rows().unwrap().len() < ROWS);
            }
        }
    }
}

#[test]
fn only_training_reads_store_rows_and_only_those_they_name() {
    let w = drawn(Init::Normal(1.0));
    let look = |tape: &Tape, ids: &[i64]| {
        let ids = tape.constant(Tensor::dense([ids.len()], ids.to_vec()).unwrap());
        tape.parameter(&w).take(ids).value().unwrap()
    };
    let stored = || w.stored_rows().unwrap();
    let tape = Tape::new();
    let seen = tape.no_grad(|| look(&tape, &[9, 4, 9]));
    assert_eq!(stored(), [0u32; 0]);
    w.set_grad_req(sparsetape::GradReq::Null);
    look(&tape, &[9, 4]);
    assert_eq!(stored(), [0u32; 0]);
    w.set_grad_req(sparsetape::GradReq::Write);
    assert!(look(&tape, &[9, 4, 9]).same_bits(&seen));
    assert_eq!(stored(), [4, 9]);
    look(&tape, &[3, 9]);
    assert_eq!(stored(), [3, 4, 9]);

    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(ROWS)]));
    let own = tape.symbol(variable("w").stype(Stype::RowSparse));
    let graph = Graph::new(&[x.dot(own).square().sum()]).unwrap();
    let x = Tensor::csr([1, ROWS], vec![0, 2], vec![5, 6], vec![1.0f64, 1.0]).unwrap();
    let mut executor = graph.bind(Bind::new().tensor("x", x).parameter(&w).train()).unwrap();
    executor.forward(false).unwrap();
    assert_eq!(stored(), [3, 4, 9]);
    let predicted = executor.output(0).unwrap().item::<f64>().unwrap();
    executor.forward(true).unwrap();
    assert_eq!(stored(), [3, 4, 5, 6, 9]);
    assert_eq!(executor.output(0).unwrap().item::<f64>().unwrap(), predicted);
}

#[test]
fn a_drawn_table_is_not_read_as_a_whole() {
    let w = drawn(Init::Normal(1.0));
    let tape = Tape::new();
    let leaf = tape.parameter(&w);
    let whole = [
        w.snapshot().map(drop),
        leaf.value().map(drop),
        leaf.square().sum().value().map(drop),
        leaf.cast_storage(Stype::Default).value().map(drop),
        leaf.ones_like().value().map(drop),
        leaf.reshape(&[-1, 1]).value().map(drop),
        leaf.norm().value().map(drop),
    ];
    for (i, read) in whole.into_iter().enumerate() {
        assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::State), "{i}");
    }
    let error = momentum(Update::Dense).step(&Params::new([&w]).unwrap(), &Default::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::State);
    // Once all rows are stored, there is a whole.
    let stored = w.rows(&(0..ROWS as u32).collect::<Vec<_>>()).unwrap();
    w.set_rows(&stored).unwrap();
    assert!(w.snapshot().unwrap().same_bits(&stored));
}

#[test]
fn every_u32_names_a_row() {
    for init in [Init::Constant(0.0), Init::Uniform(1.0)] {
        let w = Parameter::drawn("w", [1 << 32, 2], DType::F64, init, SEED).unwrap();
        let ids = [0, 1 << 31, u32::MAX];
        let first = w.rows(&ids).unwrap();
        let mut sgd = momentum(Update::Exact);
        for _ in 0..3 {
            let tape = Tape::new();
            let at = tape.constant(Tensor::dense([2], vec![u32::MAX as i64, 0]).unwrap());
            let loss = (tape.parameter(&w).take(at) + 1.0).square().sum();
            sgd.step(&Params::new([&w]).unwrap(), &loss.backward().unwrap()).unwrap();
        }
        assert_eq!(w.stored_rows().unwrap(), [0, u32::MAX]);
        let now = w.rows(&ids).unwrap();
        let moved = values(&first).iter().zip(values(&now)).map(|(a, b)| a != b);
        let decays = init != Init::Constant(0.0);
        assert_eq!(moved.collect::<Vec<_>>(), [true, true, decays, decays, true, true]);
    }
}

/// Slots are in the order in which rows were first seen; results are not.
#[test]
fn results_do_not_depend_on_the_order_of_slots() {
    for update in [Update::Lazy, Update::Exact] {
        let trained = [vec![], vec![40, 3, 59], (0..ROWS as u32).rev().collect()].map(|seen| {
            let (w, mut sgd) = (drawn(Init::Normal(0.3)), momentum(update));
            let tape = Tape::new();
            for id in seen {
                let ids = Tensor::dense([1], vec![i64::from(id)]).unwrap();
                tape.parameter(&w).take(tape.constant(ids)).value().unwrap();
            }
            for x in batches(9).take(60) {
                step(&w, &x, &mut sgd);
            }
            all(&w)
        });
        assert!(
            trained[0].same_bits(&trained[1]) && trained[0].same_bits(&trained[2]),
            "{update:?}"
        );
    }
}

/// A delta brings another copy up to date, whatever happened.
#[test]
fn deltas_apply_to_copies() {
    for update in [Update::Lazy, Update::Exact, Update::Dense] {
        for stype in [Stype::Default, Stype::RowSparse] {
            let start = dense(12).snapshot().unwrap().cast_storage(stype).unwrap();
            let start = if stype == Stype::RowSparse { row_sparse(vec![3, 9], 0.5) } else { start };
            let (w, mut sgd) = (Parameter::new("w", start).unwrap(), momentum(update));
            w.track_changes().unwrap();
            let copy = Parameter::new("w", w.snapshot().unwrap()).unwrap();
            let mut known = w.updates();
            for (i, x) in batches(13).take(30).enumerate() {
                step(&w, &x, &mut sgd);
                match i {
                    8 => w.set_rows(&row_sparse(vec![3], 4.0)).unwrap(),
                    15 if stype == Stype::RowSparse => {
                        assert!(w.retain_rows(|id| id % 4 != 1).unwrap() > 0);
                    }
                    20 => w.set(w.snapshot().unwrap()).unwrap(),
                    _ => {}
                }
                if i % 3 == 2 {
                    let delta = w.rows_changed_since(known).unwrap();
                    let few = update == Update::Lazy && i != 20;
                    assert!(delta.rows().unwrap().len() <= if few { 13 + 60 } else { ROWS });
                    copy.set_rows(&delta).unwrap();
                    known = w.updates();
                    assert!(w.rows_changed_since(known).unwrap().rows().unwrap().is_empty());
                    assert!(values(&all(&copy)) == values(&all(&w)), "{update:?} {stype:?} {i}");
                }
            }
        }
    }
}

#[test]
fn evicted_rows_are_absent_and_begin_anew() {
    let w = drawn(Init::Normal(0.5));
    w.track_changes().unwrap();
    let start = all(&w);
    let mut sgd = Sgd::new(0.1).momentum(0.9);
    let mut batches = batches(14);
    batches.by_ref().take(10).for_each(|x| step(&w, &x, &mut sgd));
    let (then, old) = (w.updates(), w.stored_rows().unwrap());
    batches.by_ref().take(5).for_each(|x| step(&w, &x, &mut sgd));
    let recent = w.rows_changed_since(then).unwrap().rows().unwrap().to_vec();
    let gone: Vec<u32> = old.iter().copied().filter(|id| !recent.contains(id)).collect();
    w.freeze_rows(&gone[..1]).unwrap();
    let bytes = w.bytes().unwrap();
    assert_eq!(w.evict_rows_unchanged_since(then).unwrap(), gone.len() - 1);
    assert!(w.bytes().unwrap() < bytes);
    let mut kept = [&recent[..], &gone[..1]].concat();
    kept.sort_unstable();
    assert_eq!(w.stored_rows().unwrap(), kept);
    for &id in &gone[1..] {
        assert_eq!(values(&w.rows(&[id]).unwrap()), &values(&start)[id as usize * K..][..K]);
    }
    let momenta = sgd.state_of(&w, "momentum").unwrap().unwrap();
    assert_eq!(momenta.rows().unwrap(), kept);
    // Trained again, an evicted row starts without momentum.
    let id = gone[1];
    let x = Tensor::csr([1, ROWS], vec![0, 1], vec![id], vec![1.0]).unwrap();
    step(&w, &x, &mut sgd);
    let fresh = drawn(Init::Normal(0.5));
    step(&fresh, &x, &mut Sgd::new(0.1).momentum(0.9));
    assert!(w.rows(&[id]).unwrap().same_bits(&fresh.rows(&[id]).unwrap()));
}

fn path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("sparsetape-rows-{name}-{}", std::process::id()))
}

/// What is loaded is the same table, absent rows included, whatever moved them.
#[test]
fn drawn_tables_are_saved_and_loaded() {
    for update in [Update::Lazy, Update::Exact] {
        let w = drawn(Init::Normal(0.5));
        let mut batches = batches(15);
        for _ in 0..2 {
            let mut sgd = momentum(update);
            batches.by_ref().take(9).for_each(|x| step(&w, &x, &mut sgd));
        }
        let (params, path) = (Params::new([&w]).unwrap(), path(&format!("{update:?}")));
        params.save(&path, &BTreeMap::new()).unwrap();
        let loaded = [
            Params::load(&path).unwrap().0,
            Params::from_archive(params.to_archive().unwrap()).unwrap(),
        ];
        for loaded in &loaded {
            let own = loaded.get("w").unwrap();
            assert_eq!(own.stored_rows().unwrap(), w.stored_rows().unwrap());
            assert!(all(own).same_bits(&all(&w)), "{update:?}");
            assert!(own.snapshot().is_err());
        }

        let tape = Tape::symbolic();
        let x = tape.symbol(variable("x").stype(Stype::Csr).shape([None, Some(ROWS)]));
        let own = tape.symbol(variable("w").stype(Stype::RowSparse));
        let graph = Graph::new(&[x.dot(own)]).unwrap();
        graph.save(&path, &params, &BTreeMap::new()).unwrap();
        let model = Model::load(&path).unwrap();
        let rows: Vec<[(usize, f64); 1]> = (0..ROWS).map(|id| [(id, 1.0)]).collect();
        let x = Tensor::from_rows(ROWS, &rows).unwrap();
        let mut executor = model.graph.bind(model.bind().tensor("x", x)).unwrap();
        executor.forward(false).unwrap();
        assert!(executor.output(0).unwrap().values::<f64>().unwrap() == values(&all(&w)));
        assert_eq!(model.to_bytes().unwrap(), std::fs::read(&path).unwrap());
        let again = Params::from_archive(model.weights).unwrap();
        assert!(all(again.get("w").unwrap()).same_bits(&all(&w)));
        std::fs::remove_file(&path).unwrap();
    }
}

/// Many threads read rows of one parameter that are behind, each through a tape of its own, and one all of it.
fn read_together(w: &Parameter, wanted: &Tensor, reads: usize, whole: bool) {
    let failed = AtomicUsize::new(0);
    let read = |i: usize| {
        let tape = Tape::new();
        let mut random = Random::new(i as u64);
        let x = random.csr_rows::<f64>([4, ROWS], 5, Popularity::Uniform).unwrap();
        let x = tape.constant(x);
        let y = match (whole, i % 4) {
            (true, 0) => {
                (tape.parameter(w) * 2.0).value().map(|y| (y, wanted.mul_scalar(2.0).unwrap()))
            }
            _ => x
                .dot(tape.parameter(w))
                .value()
                .map(|y| (y, x.value().unwrap().dot(wanted).unwrap())),
        };
        match y {
            Ok((y, wanted)) if y.same_bits(&wanted) => {}
            other => {
                eprintln!("{other:?}");
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    (0..reads).into_par_iter().with_max_len(1).for_each(read);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || (0..reads / 4).for_each(|i| read(4 * i + thread)));
        }
    });
    assert_eq!(failed.into_inner(), 0);
}

#[test]
fn threads_read_rows_that_are_behind_together() {
    for stype in [Stype::Default, Stype::RowSparse] {
        for whole in [false, true] {
            let start = dense(20).snapshot().unwrap().cast_storage(stype).unwrap();
            let (w, mut sgd) = (Parameter::new("w", start).unwrap(), momentum(Update::Exact));
            for round in 0..20 {
                batches(round).take(20).for_each(|x| step(&w, &x, &mut sgd));
                let wanted = w.snapshot().unwrap();
                read_together(&w, &wanted, 100, whole);
            }
        }
    }
}

/// What a table becomes does not depend on who read it how.
#[test]
fn readers_do_not_change_results() {
    let trained = [1, 4].map(|threads| {
        let (w, mut sgd) = (drawn(Init::Normal(0.5)), momentum(Update::Exact));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for (i, x) in batches(21).take(100).enumerate() {
            pool.install(|| {
                (0..8usize).into_par_iter().with_max_len(1).for_each(|thread| {
                    let mut random = Random::new((thread + 100 * i) as u64);
                    let x = random.csr_rows::<f64>([2, ROWS], 1, Popularity::Uniform).unwrap();
                    let tape = Tape::new();
                    tape.constant(x).dot(tape.parameter(&w)).value().unwrap();
                });
            });
            step(&w, &x, &mut sgd);
        }
        all(&w)
    });
    assert!(trained[0].same_bits(&trained[1]));
}

/// A thread that waits for the parts of its kernel takes up other tasks, which read the same parameter: the
/// table cannot be written then, and nobody waits.
#[test]
fn tasks_read_rows_that_are_behind_within_each_other() {
    const LARGE: usize = 20_000;
    let large = |seed: u64| {
        Random::new(seed).csr_rows::<f64>([1500, LARGE], 30, Popularity::Uniform).unwrap()
    };
    for stype in [Stype::Default, Stype::RowSparse] {
        let start = Random::new(30).dense::<f64>([LARGE, 8]).unwrap().cast_storage(stype).unwrap();
        let (w, mut sgd) = (Parameter::new("w", start).unwrap(), momentum(Update::Exact));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        for round in 0..3 {
            step(&w, &large(round), &mut sgd);
            let wanted = w.snapshot().unwrap();
            pool.install(|| {
                (0..16usize).into_par_iter().with_max_len(1).for_each(|i| {
                    let x = large(100 + i as u64);
                    let tape = Tape::new();
                    let y = tape.constant(x.clone()).dot(tape.parameter(&w)).value().unwrap();
                    assert!(y.same_bits(&x.dot(&wanted).unwrap()));
                });
            });
        }
    }
}

/// Steps of two optimizers do not commute: neither's are put off past the other's.
#[test]
fn two_exact_optimizers_take_turns() {
    let trained = [Update::Exact, Update::Dense].map(|update| {
        let w = dense(40);
        let mut one = momentum(update);
        let mut two = Sgd::new(0.1).momentum(0.5).weight_decay(0.1).update(update);
        for (i, x) in batches(41).take(120).enumerate() {
            step(&w, &x, if i % 5 < 3 { &mut one } else { &mut two });
        }
        w.snapshot().unwrap()
    });
    close(&trained[0], &trained[1]);
    // What absent rows become would depend on both.
    let (w, x) = (drawn(Init::Normal(1.0)), batches(42).next().unwrap());
    let [mut one, mut two] = [(); 2].map(|()| momentum(Update::Exact));
    step(&w, &x, &mut one);
    let mut step_two = || two.step(&Params::new([&w]).unwrap(), &Default::default());
    let error = step_two().unwrap_err();
    assert!(error.kind() == ErrorKind::State && error.to_string().contains("drop it first"));
    drop(one);
    step_two().unwrap();
}

/// What an optimizer keeps stays when its mode is changed, and so does what absent rows are.
#[test]
fn modes_may_be_changed() {
    let trained = [Update::Exact, Update::Dense].map(|update| {
        let (w, mut sgd) = (dense(43), momentum(Update::Dense));
        for (i, x) in batches(44).take(60).enumerate() {
            step(&w, &x, &mut sgd);
            match i {
                20 => sgd = sgd.update(update),
                40 => sgd = sgd.update(Update::Lazy),
                _ => {}
            }
        }
        w.snapshot().unwrap()
    });
    close(&trained[0], &trained[1]);
    let (w, mut sgd) = (drawn(Init::Normal(1.0)), momentum(Update::Exact));
    batches(45).take(3).for_each(|x| step(&w, &x, &mut sgd));
    let absent = (0..ROWS as u32).find(|id| !w.stored_rows().unwrap().contains(id)).unwrap();
    let then = w.rows(&[absent]).unwrap();
    sgd = sgd.update(Update::Lazy);
    let mut gradients = sparsetape::Gradients::default();
    gradients.set(&w, row_sparse(vec![], 0.0));
    for _ in 0..3 {
        sgd.step(&Params::new([&w]).unwrap(), &gradients).unwrap();
        close(&w.rows(&[absent]).unwrap(), &then);
    }
}

/// What a checkpoint leaves out, states of optimizers that are gone, does not change when rows catch up.
#[test]
fn gone_lazy_optimizers_leave_no_trace() {
    let momenta = [(); 2].map(|()| {
        let (w, mut sgd) = (dense(46), momentum(Update::Exact));
        step(&w, &batches(48).next().unwrap(), &mut sgd);
        step(&w, &batches(47).next().unwrap(), &mut momentum(Update::Lazy));
        batches(48).take(40).for_each(|x| step(&w, &x, &mut sgd));
        (w, sgd)
    });
    let [(w, mut sgd), (twin, mut twin_sgd)] = momenta;
    let of = |w: &Parameter| Params::new([w]).unwrap();
    let bytes = Checkpoint::default().to_bytes(&of(&w), &sgd).unwrap();
    Checkpoint::resume_from_bytes(&bytes, &of(&twin), &mut twin_sgd).unwrap();
    for (w, sgd) in [(&w, &mut sgd), (&twin, &mut twin_sgd)] {
        step(w, &batches(49).next().unwrap(), &mut momentum(Update::Lazy));
        batches(50).take(40).for_each(|x| step(w, &x, sgd));
    }
    assert!(w.snapshot().unwrap().same_bits(&twin.snapshot().unwrap()));
}
