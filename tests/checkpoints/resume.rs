//! Resumed runs, and runs that were saved, give the bits of a run that was left alone.

use sparsetape::optim::{Sgd, Update};
use sparsetape::train::Checkpoint;
use sparsetape::{DType, Parameter, Params, Tape, Tensor};

use super::Scratch;
use super::counting::bytes_taken;
use super::program::{How, MAKERS, Program, Setup, begin, schedules};

const STEPS: u64 = 25;

/// All optimizers in all modes, with schedules, element types and drivers in turn.
fn setups() -> Vec<(String, Setup)> {
    let mut setups = Vec::new();
    for (name, optimizer) in MAKERS {
        for update in [Update::Lazy, Update::Exact, Update::Dense] {
            for how in [How::Eager, How::MicroBatches, How::Executor] {
                let schedule = schedules()[setups.len() % 3].clone();
                let dtype = [DType::F32, DType::F64][setups.len() / 3 % 2];
                let named = format!("{name} {update:?} {how:?} {dtype} {schedule:?}");
                let setup = Setup { optimizer: *optimizer, schedule, update, dtype, how };
                setups.push((named, setup));
            }
        }
    }
    setups
}

/// A run that has not begun. To resume counts as an update, also of a parameter that never has another.
fn beginning(setup: &Setup) -> Vec<u8> {
    Program::new(setup).bytes(&begin())
}

#[track_caller]
fn assert_same(a: &Program, b: &Program, name: &str) {
    for (a, b) in a.params.iter().zip(&b.params) {
        assert_eq!((a.updates(), a.multipliers()), (b.updates(), b.multipliers()), "{name}");
        match (a.snapshot(), b.snapshot()) {
            (Ok(a), Ok(b)) => assert!(a.same_bits(&b), "{name}"),
            // Rows are absent that are drawn when they are needed.
            (a, b) => assert!(a.is_err() && b.is_err(), "{name}"),
        }
    }
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    for (i, (name, setup)) in setups().into_iter().enumerate() {
        let (mut program, mut run) = Program::resume(&setup, &beginning(&setup));
        let losses = program.train(&mut run, STEPS, |_, _| {});
        assert!(losses.windows(2).any(|pair| pair[0] != pair[1]));

        let (mut first, mut started) = Program::resume(&setup, &beginning(&setup));
        let mut again = first.train(&mut started, [1, 6, 7, 12, 20][i % 5], |_, _| {});
        let bytes = first.bytes(&started);
        drop(first);
        let (mut second, mut resumed) = Program::resume(&setup, &bytes);
        assert_eq!(resumed, started, "{name}");
        assert!(second.bytes(&resumed) == bytes, "{name}");
        again.extend(second.train(&mut resumed, STEPS, |_, _| {}));
        assert_eq!(losses, again, "{name}");
        assert_eq!(resumed, run);
        assert!(program.bytes(&run) == second.bytes(&resumed), "{name}");
        assert_same(&program, &second, &name);
    }
}

#[test]
fn saving_changes_nothing() {
    for (name, setup) in setups() {
        let (mut left_alone, mut run) = (Program::new(&setup), begin());
        let losses = left_alone.train(&mut run, STEPS, |_, _| {});
        let (mut saved, mut own) = (Program::new(&setup), begin());
        let with_saves = saved.train(&mut own, STEPS, |run, program| {
            program.bytes(run);
        });
        assert_eq!(losses, with_saves, "{name}");
        assert!(left_alone.bytes(&run) == saved.bytes(&own), "{name}");
        assert_same(&left_alone, &saved, &name);
    }
}

#[test]
fn a_run_resumed_before_every_step_is_the_uninterrupted_one() {
    for (name, setup) in setups().into_iter().step_by(4) {
        let (mut program, mut run) = Program::resume(&setup, &beginning(&setup));
        program.train(&mut run, STEPS, |_, _| {});
        let mut bytes = beginning(&setup);
        for step in 1..=STEPS {
            let (mut program, mut run) = Program::resume(&setup, &bytes);
            program.train(&mut run, step, |_, _| {});
            bytes = program.bytes(&run);
        }
        assert!(program.bytes(&run) == bytes, "{name}");
        assert_same(&program, &Program::resume(&setup, &bytes).0, &name);
    }
}

/// Back to an earlier point within one process: after a loss that is not finite, say.
#[test]
fn a_program_goes_back() {
    let scratch = Scratch::new();
    for (name, setup) in setups().into_iter().step_by(5) {
        let (mut program, mut run) = (Program::new(&setup), begin());
        program.train(&mut run, 8, |_, _| {});
        let path = scratch.path("run.safetensors");
        run.save(&path, &program.params, &*program.optimizer).unwrap();
        assert!(std::fs::read(&path).unwrap() == program.bytes(&run));
        let losses = program.train(&mut run, STEPS, |_, _| {});
        let updates: Vec<u64> = program.params.iter().map(|p| p.updates()).collect();
        let mut back = Checkpoint::resume(&path, &program.params, &mut *program.optimizer).unwrap();
        assert_eq!(back.step, 8);
        // What was recorded before is stale, whatever the counts were.
        assert!(program.params.iter().zip(updates).all(|(p, before)| p.updates() > before));
        assert_eq!(program.train(&mut back, STEPS, |_, _| {}), losses, "{name}");
    }
}

#[test]
fn tables_are_written_from_where_they_are() {
    let w = Parameter::new("w", Tensor::full([1 << 16, 16], 1.0f32).unwrap()).unwrap();
    let params = Params::new([&w]).unwrap();
    let mut sgd = Sgd::new(0.1).momentum(0.9).update(Update::Exact);
    let tape = Tape::new();
    let ids = tape.constant(Tensor::dense([2], vec![5i64, 9]).unwrap());
    let loss = tape.parameter(&w).take(ids).square().sum();
    sgd.step(&params, &loss.backward().unwrap()).unwrap();
    let (scratch, run) = (Scratch::new(), Checkpoint::default());
    let path = scratch.path("run.safetensors");
    let taken = bytes_taken(|| run.save(&path, &params, &sgd).unwrap());
    let written = std::fs::metadata(&path).unwrap().len();
    assert!(written > (2 * 4) << 20, "{written}");
    assert!(taken < 100 << 10, "{taken} bytes taken to write {written}");
    // Read once, ids by way of 64 bits.
    let taken = bytes_taken(|| drop(Checkpoint::resume(&path, &params, &mut sgd).unwrap()));
    assert!(taken as u64 <= written + written / 4, "{taken} bytes taken of {written}");
}
