//! What tapes and executors measure of their operators, and show of their results.

mod counting;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};

use counting::Counting;
use sparsetape::Stype::{Csr, Default as Dense, RowSparse};
use sparsetape::{
    Bind, DType, Error, ErrorKind, Executor, GradReq, Graph, Observed, Parameter, Profile,
    ProfileRow, Result, Stype, Tape, Tensor, Var, variable,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count(_: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting { taken: count, freed: |_| {} };

/// How often this thread allocates in `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Two rows of three columns, with an entry each.
fn x() -> Tensor {
    Tensor::csr([2, 3], vec![0, 1, 2], vec![2, 0], vec![3.0f32, 5.0]).unwrap()
}

fn full(shape: &[usize]) -> Tensor {
    Tensor::full(shape, 0.5f32).unwrap()
}

fn model<'t>(x: Var<'t>, w: Var<'t>, v: Var<'t>) -> Var<'t> {
    x.dot(w).named("hidden").dot(v).sum()
}

fn train(tape: &Tape) -> Tensor {
    let (w, v) = (tape.variable(full(&[3, 1])), tape.variable(full(&[1, 4])));
    model(tape.constant(x()), w, v).backward().unwrap().wrt(w).unwrap().clone()
}

fn executor() -> Executor {
    let tape = Tape::symbolic();
    let csr = tape.symbol(variable("x").stype(Csr));
    let y = model(csr, tape.symbol(variable("w")), tape.symbol(variable("v")));
    let bind = Bind::from([("x", x()), ("w", full(&[3, 1])), ("v", full(&[1, 4]))]);
    let bind = bind.grad_req("w", GradReq::Add).grad_req("v", GradReq::Write);
    Graph::new(&[y]).unwrap().bind(bind).unwrap()
}

fn run(executor: &mut Executor) {
    executor.forward(true).unwrap();
    executor.backward().unwrap();
}

/// Calls, bytes read and bytes written of `dot` on these storage types.
fn dots(profile: &Profile, ins: [Stype; 2], out: Stype) -> (u64, usize, usize) {
    let own = |row: &&ProfileRow| row.operator == "dot" && row.ins == ins && row.out == out;
    let row = profile.rows().iter().find(own).unwrap();
    assert_eq!(row.dtype, DType::F32);
    (row.calls, row.read, row.written)
}

/// The csr matrix has 24 bytes of row pointers, 8 of column ids, 8 of values.
fn check_dots(profile: &Profile) {
    // Two ids look up a row of four bytes each.
    assert_eq!(dots(profile, [Csr, Dense], Dense), (1, 40 + 8, 8));
    // (2, 1)·(1, 4) forward; (1, 2)·(2, 4) and (2, 4)·(4, 1) backward.
    let (read, written) = (24 + 40 + 48, 32 + 16 + 8);
    assert_eq!(dots(profile, [Dense, Dense], Dense), (3, read, written));
    // Row ids and rows of the two columns that occur.
    assert_eq!(dots(profile, [Csr, Dense], RowSparse), (1, 40 + 8, 8 + 8));
}

#[test]
fn a_profile_counts_calls_and_bytes_by_table_row() {
    let mut tape = Tape::new();
    tape.start_profile();
    let gradient = train(&tape);
    check_dots(&tape.profile());
    tape.clear();
    train(&tape);
    assert_eq!(dots(&tape.profile(), [Dense, Dense], Dense).0, 6);
    tape.start_profile();
    assert_eq!(tape.stop_profile().calls(), 0);

    let mut executor = executor();
    run(&mut executor);
    executor.start_profile();
    run(&mut executor);
    check_dots(&executor.stop_profile());
    assert_eq!(executor.profile().calls(), 0);
    executor.zero_grad().unwrap();
    run(&mut executor);
    assert!(executor.grad("w").unwrap().same_bits(&gradient));
}

#[test]
fn bytes_are_those_that_move() {
    let tape = Tape::new();
    let a = tape.constant(x());
    tape.start_profile();
    a.square().sum();
    tape.constant(full(&[2, 3])).reshape(&[3, 2]).exp();
    full(&[9]).exp().unwrap();
    assert!(a.dot(a).ok().is_err());
    let profile = tape.profile();
    let of = |name: &str| profile.rows().iter().find(|row| row.operator == name).unwrap();
    let moved = |name: &str| (of(name).read, of(name).written);
    assert_eq!(moved("square"), (40, 8), "the pattern is shared");
    assert_eq!(moved("reshape"), (0, 0), "a view");
    assert_eq!((moved("exp"), of("exp").calls), ((24, 24), 1), "not that on a plain tensor");
    assert_eq!(profile.calls(), 4, "those that ran");
    assert!(profile.rows().is_sorted_by_key(|row| std::cmp::Reverse(row.time)));
    assert_eq!(profile.time(), profile.rows().iter().map(|row| row.time).sum());
}

#[test]
fn a_profile_prints_as_a_table() {
    let tape = Tape::new();
    tape.start_profile();
    train(&tape);
    let text = tape.profile().to_string();
    let lines: Vec<&str> = text.lines().collect();
    let head: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(head.join(" "), "operator storage types calls time mean share read written GB/s");
    let row = |types: &str| *lines.iter().find(|line| line.contains(types)).unwrap();
    let sparse = row("csr, default -> row_sparse f32");
    assert!(sparse.starts_with("dot "), "{text}");
    let words: Vec<&str> = sparse.split_whitespace().collect();
    assert!(words.join(" ").contains(" % 48 B 16 B "), "{text}");
    let width = |line: &&str| line.chars().count();
    assert!(lines[..lines.len() - 1].iter().all(|line| width(line) == width(&lines[0])), "{text}");
    assert!(lines.last().unwrap().starts_with(&format!("{} calls, ", tape.profile().calls())));
}

#[test]
fn what_is_off_costs_nothing() {
    let mut executor = executor();
    (0..3).for_each(|_| run(&mut executor));
    let never = allocations(|| run(&mut executor));
    let before = executor.grad("w").unwrap().clone();
    executor.start_profile();
    executor.observe("*", |_| Ok(()));
    run(&mut executor);
    executor.stop_profile();
    executor.unobserve("*");
    (0..3).for_each(|_| run(&mut executor));
    drop(before);
    run(&mut executor);
    assert_eq!(allocations(|| run(&mut executor)), never);

    let mut tape = Tape::new();
    let step = |tape: &mut Tape| {
        tape.clear();
        allocations(|| drop(train(tape)))
    };
    (0..3).for_each(|_| _ = step(&mut tape));
    let never = step(&mut tape);
    tape.start_profile();
    tape.observe("*", |_| Ok(()));
    step(&mut tape);
    tape.stop_profile();
    tape.unobserve("*");
    step(&mut tape);
    assert_eq!(step(&mut tape), never);
}

type Note = (String, String, Option<Tensor>);

/// An observer, and what it saw.
fn notes() -> (impl FnMut(&Observed<'_>) -> Result<()> + Send + 'static, Receiver<Note>) {
    let (send, seen) = channel();
    let note = move |seen: &Observed<'_>| {
        assert!(seen.value().is_none_or(|value| value.ty() == *seen.ty()));
        assert!(seen.location().unwrap().file().ends_with("profile.rs"));
        let note = (seen.name().to_owned(), seen.operator().to_owned(), seen.value().cloned());
        send.send(note).map_err(|_| Error::new(ErrorKind::State, "no one listens"))
    };
    (note, seen)
}

fn names(seen: &Receiver<Note>) -> Vec<String> {
    seen.try_iter().map(|(name, ..)| name).collect()
}

#[test]
fn executors_show_named_nodes_in_order() {
    let mut executor = executor();
    let (note, seen) = notes();
    executor.observe("*", note);
    executor.forward(true).unwrap();
    let forward: Vec<Note> = seen.try_iter().collect();
    let order: Vec<&str> = forward.iter().map(|(name, ..)| &name[..]).collect();
    assert_eq!(order, ["hidden", "dot0", "sum0"]);
    assert_eq!(forward[1].1, "dot");
    let loss = forward[2].2.as_ref().unwrap();
    assert!(loss.same_bits(executor.output(0).unwrap()));
    let hidden = forward[0].2.as_ref().unwrap();
    assert_eq!(hidden.values::<f32>().unwrap(), [1.5, 2.5]);
    executor.backward().unwrap();
    let backward: Vec<Note> = seen.try_iter().collect();
    let gradient = executor.grad("w").unwrap();
    let same = |(.., value): &Note| value.as_ref().is_some_and(|value| value.same_bits(gradient));
    assert!(backward.iter().any(same));
    assert_eq!(hidden.values::<f32>().unwrap(), [1.5, 2.5], "held, so not written over");

    executor.unobserve("hidden");
    executor.forward(true).unwrap();
    assert_eq!(names(&seen).len(), 3, "another pattern");
    executor.unobserve("*");
    run(&mut executor);
    assert!(names(&seen).is_empty());
    let (note, seen) = notes();
    executor.observe("d?t*", note);
    executor.forward(true).unwrap();
    assert_eq!(names(&seen), ["dot0"]);
}

#[test]
fn tapes_show_results_by_label_and_by_name() {
    let mut tape = Tape::new();
    let (note, seen) = notes();
    tape.observe("*", note);
    train(&tape);
    let all = names(&seen);
    assert_eq!(all[..4], ["dot", "dot", "sum", "ones_like"], "{all:?}");
    tape.unobserve("*");

    tape.clear();
    let (note, seen) = notes();
    tape.observe("hid*", note);
    train(&tape);
    let hidden: Vec<Note> = seen.try_iter().collect();
    assert_eq!(hidden.len(), 1);
    assert_eq!((&hidden[0].0[..], &hidden[0].1[..]), ("hidden", "dot"));
    assert_eq!(hidden[0].2.as_ref().unwrap().values::<f32>().unwrap(), [1.5, 2.5]);
    tape.clear();
    tape.constant(full(&[2])).named("hidden leaf");
    assert!(names(&seen).is_empty());
    tape.constant(full(&[2])).exp().named("hidden");
    assert_eq!(names(&seen), ["hidden"], "clearing keeps observers");
}

#[test]
fn views_of_parameters_are_shown_without_a_copy() {
    let (send, seen) = channel();
    let see = move |seen: &Observed<'_>| {
        let view = seen.parameter().map(|p| (p.name().to_owned(), seen.ty().shape.to_vec()));
        assert!(seen.value().is_none());
        send.send(view).map_err(|_| Error::new(ErrorKind::State, "no one listens"))
    };
    let w = Parameter::new("w", full(&[2, 3])).unwrap();
    let mut tape = Tape::new();
    tape.observe("reshape", see.clone());
    tape.parameter(&w).reshape(&[3, 2]);
    let symbols = Tape::symbolic();
    let graph = Graph::new(&[symbols.symbol(variable("w")).reshape(&[3, 2])]).unwrap();
    let mut executor = graph.bind(Bind::new().parameter(&w)).unwrap();
    executor.observe("reshape0", see);
    executor.forward(false).unwrap();
    for _ in 0..2 {
        assert_eq!(seen.recv().unwrap(), Some(("w".to_owned(), vec![3, 2])));
    }
}

/// What an observer does, once each.
fn fail(seen: &Observed<'_>) -> Result<()> {
    Err(Error::new(ErrorKind::Value, format!("{} is not welcome", seen.name())))
}

#[test]
fn an_observers_error_stops_the_run() {
    let expected = |error: &Error, name: &str| {
        assert_eq!((error.kind(), error.operator_name()), (ErrorKind::Value, Some("dot")));
        assert_eq!(error.message(), format!("{name} is not welcome"));
        assert!(error.location().unwrap().file().ends_with("profile.rs"));
    };
    let mut tape = Tape::new();
    tape.observe("dot", fail);
    let (x, w) = (tape.constant(x()), tape.constant(full(&[3, 1])));
    expected(&x.dot(w).exp().value().unwrap_err(), "dot");
    tape.unobserve("dot");
    tape.observe("hid*", fail);
    let (x, w) = (tape.constant(self::x()), tape.constant(full(&[3, 1])));
    expected(&x.dot(w).named("hidden").value().unwrap_err(), "hidden");

    let mut executor = executor();
    executor.observe("hidden", fail);
    expected(&executor.forward(true).unwrap_err(), "hidden");
    assert_eq!(executor.backward().unwrap_err().kind(), ErrorKind::State);
}

/// Wherever an observer stops a run, by an error or a panic, what runs afterwards gives the same, also what
/// accumulates.
#[test]
fn a_stopped_executor_runs_as_before() {
    let mut calm = executor();
    (0..2).for_each(|_| run(&mut calm));
    let steps = {
        let (note, seen) = notes();
        calm.observe("*", note);
        run(&mut calm);
        names(&seen)
    };
    calm.unobserve("*");
    for stop in &steps {
        for panics in [false, true] {
            let mut shaken = executor();
            (0..2).for_each(|_| run(&mut shaken));
            shaken.observe(stop.clone(), move |seen| match panics {
                true => panic!("{}", seen.name()),
                false => fail(seen),
            });
            let mut attempt = || shaken.forward(true).and_then(|()| shaken.backward());
            assert!(!matches!(catch_unwind(AssertUnwindSafe(&mut attempt)), Ok(Ok(()))));
            shaken.unobserve(stop);
            // Where a value that the rest needs is gone, there is an error, and another run.
            if let Err(error) = shaken.backward() {
                assert_eq!(error.kind(), ErrorKind::State, "{error}");
                run(&mut shaken);
            }
            for name in ["w", "v"] {
                let (own, other) = (shaken.grad(name).unwrap(), calm.grad(name).unwrap());
                assert!(own.same_bits(other), "{name} after {stop}: {own} and {other}");
            }
        }
    }
}

#[test]
fn operands_that_become_the_result_are_read() {
    let tape = Tape::symbolic();
    let x = tape.symbol(variable("x").shape([100]));
    let mut executor = Graph::new(&[x.exp().exp().exp().sum()]).unwrap().simple_bind(&[]).unwrap();
    executor.start_profile();
    executor.forward(false).unwrap();
    let profile = executor.stop_profile();
    let exp = profile.rows().iter().find(|row| row.operator == "exp").unwrap();
    assert_eq!((exp.calls, exp.read, exp.written), (3, 1200, 1200));
}

#[test]
fn observed_executors_move_between_threads() {
    let (mut executor, (note, seen)) = (executor(), notes());
    executor.observe("sum0", note);
    std::thread::spawn(move || run(&mut executor)).join().unwrap();
    assert_eq!(names(&seen), ["sum0"]);
}
