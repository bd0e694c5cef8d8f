//! Programs that a checkpoint does not fit, and files that are taken for one another.

use sparsetape::optim::{Optimizer, Schedule, Sgd};
use sparsetape::train::Checkpoint;
use sparsetape::{
    Archive, DType, Error, ErrorKind, Gradients, Init, Model, Parameter, Params, Result, Stype,
    Tape, Tensor,
};

use super::Scratch;

fn parameter(name: &str, shape: &[usize]) -> Parameter {
    Parameter::new(name, Tensor::full(shape, 1.0f32).unwrap()).unwrap()
}

fn params(parameters: &[Parameter]) -> Params {
    Params::new(parameters).unwrap()
}

/// One step of all parameters.
fn step(params: &Params, optimizer: &mut dyn Optimizer) -> Result<()> {
    let tape = Tape::new();
    let sums: Vec<_> = params.iter().map(|p| tape.parameter(p).square().sum()).collect();
    optimizer.step(params, &tape.add_n(&sums).backward()?)
}

/// The error at this file's line; parameters and optimizer are as before.
#[track_caller]
fn refused(bytes: &[u8], params: &Params, optimizer: &mut dyn Optimizer) -> Error {
    let state = |optimizer: &dyn Optimizer| {
        let values: Vec<_> = params.iter().map(|p| (p.updates(), p.snapshot().unwrap())).collect();
        (values, optimizer.save_state().map(|state| format!("{state:?}")).ok())
    };
    let before = state(optimizer);
    let error = Checkpoint::resume_from_bytes(bytes, params, optimizer).unwrap_err();
    assert_eq!(before, state(optimizer));
    assert!(error.location().is_some_and(|at| at.file() == file!()), "{error}");
    error
}

#[test]
fn missing_extra_and_different_parameters_are_listed() {
    let saved = params(&[parameter("a", &[2]), parameter("b", &[3]), parameter("c", &[4])]);
    let mut sgd = Sgd::new(0.1).momentum(0.9);
    step(&saved, &mut sgd).unwrap();
    let bytes = Checkpoint::default().to_bytes(&saved, &sgd).unwrap();
    let rows = Tensor::zeros(Stype::RowSparse, [4], DType::F32).unwrap();
    let other = params(&[
        parameter("d", &[1]),
        parameter("b", &[5]),
        Parameter::new("c", rows).unwrap(),
        parameter("e", &[1]),
    ]);
    let error = refused(&bytes, &other, &mut sgd);
    assert_eq!(error.kind(), ErrorKind::State);
    assert_eq!(
        error.message(),
        "the checkpoint does not fit: parameter \"b\" is default f32 (5,), in the file default f32 (3,); \
         parameter \"c\" is row_sparse f32 (4,), in the file default f32 (4,); the file lacks the \
         parameters \"d\", \"e\"; the program lacks the file's parameters \"a\""
    );
    Checkpoint::resume_from_bytes(&bytes, &saved, &mut sgd).unwrap();
}

/// Another kind of optimizer, without states of its own.
struct Plain {
    silent: bool,
}

impl Optimizer for Plain {
    fn step(&mut self, params: &Params, gradients: &Gradients) -> Result<()> {
        for p in params {
            if let Some(g) = gradients.of(p) {
                p.set(p.snapshot()?.sub(&g.mul_scalar(0.1)?)?)?;
            }
        }
        Ok(())
    }

    fn save_state(&self) -> Result<sparsetape::optim::OptimizerState> {
        sparsetape::optim::OptimizerState::new("plain", &self.silent)
    }

    fn load_state(&mut self, state: &sparsetape::optim::OptimizerState) -> Result<()> {
        self.silent = state.settings("plain")?;
        Ok(())
    }
}

struct Unsaved;

impl Optimizer for Unsaved {
    fn step(&mut self, _: &Params, _: &Gradients) -> Result<()> {
        Ok(())
    }
}

#[test]
fn optimizers_of_other_kinds_are_refused() {
    let params = params(&[parameter("a", &[2])]);
    let (mut sgd, mut plain) = (Sgd::new(0.1), Plain { silent: true });
    step(&params, &mut plain).unwrap();
    let bytes = Checkpoint::default().to_bytes(&params, &plain).unwrap();
    let error = refused(&bytes, &params, &mut sgd);
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("that of \"plain\", not of \"Sgd\""), "{error}");
    plain.silent = false;
    Checkpoint::resume_from_bytes(&bytes, &params, &mut plain).unwrap();
    assert!(plain.silent);

    let mut momentum = Sgd::new(0.1).momentum(0.9);
    step(&params, &mut momentum).unwrap();
    let bytes = Checkpoint::default().to_bytes(&params, &momentum).unwrap();
    let error = refused(&bytes, &params, &mut plain);
    assert!(error.message().contains("states of \"Sgd\""), "{error}");

    let error = Checkpoint::default().to_bytes(&params, &Unsaved).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("`Optimizer::save_state`"), "{error}");
}

#[test]
fn the_state_of_another_optimizer_is_not_lost_silently() {
    let params = params(&[parameter("a", &[2])]);
    let (mut one, mut two) = (Sgd::new(0.1).momentum(0.9), Sgd::new(0.2).momentum(0.9));
    step(&params, &mut one).unwrap();
    step(&params, &mut two).unwrap();
    let error = Checkpoint::default().to_bytes(&params, &one).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("\"a\" has the state of another optimizer"), "{error}");
    drop(two);
    Checkpoint::default().to_bytes(&params, &one).unwrap();
}

/// What a gone optimizer left is part of the values as long as rows are behind.
#[test]
fn rows_that_a_gone_optimizer_left_behind_come_back() {
    use sparsetape::optim::Update;
    let w = parameter("w", &[6, 2]);
    let params = params(std::slice::from_ref(&w));
    let mut gone = Sgd::new(0.1).momentum(0.9).update(Update::Exact);
    for _ in 0..3 {
        let tape = Tape::new();
        let row = tape.constant(Tensor::dense([1], vec![2i64]).unwrap());
        let loss = tape.parameter(&w).take(row).square().sum();
        gone.step(&params, &loss.backward().unwrap()).unwrap();
        let tape = Tape::new();
        let row = tape.constant(Tensor::dense([1], vec![4i64]).unwrap());
        let loss = tape.parameter(&w).take(row).square().sum();
        gone.step(&params, &loss.backward().unwrap()).unwrap();
    }
    drop(gone);
    let other = Sgd::new(0.3);
    let bytes = Checkpoint::default().to_bytes(&params, &other).unwrap();
    let twin = parameter("w", &[6, 2]);
    let twins = Params::new([&twin]).unwrap();
    Checkpoint::resume_from_bytes(&bytes, &twins, &mut Sgd::new(0.1)).unwrap();
    assert!(Checkpoint::default().to_bytes(&twins, &other).unwrap() == bytes);
    assert!(w.snapshot().unwrap().same_bits(&twin.snapshot().unwrap()));
}

#[test]
fn closures_are_kept_from_the_program_and_must_be_the_same() {
    let params = params(&[parameter("a", &[2])]);
    let closure = |x: f64| Schedule::of(move |step| x / (step as f64 + 1.0)).warm_up(2);
    let mut sgd = Sgd::new(closure(0.5));
    for _ in 0..3 {
        step(&params, &mut sgd).unwrap();
    }
    let bytes = Checkpoint::default().to_bytes(&params, &sgd).unwrap();
    let mut same = Sgd::new(closure(0.5)).weight_decay(3.0);
    Checkpoint::resume_from_bytes(&bytes, &params, &mut same).unwrap();
    assert_eq!((same.steps(), same.learning_rate()), (3, 0.25));
    for mut other in [Sgd::new(closure(0.6)), Sgd::new(0.25)] {
        let error = refused(&bytes, &params, &mut other);
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.message().contains("at step 3 the saved one gave 0.25"), "{error}");
    }

    // Schedules that are data come from the file.
    let mut data = Sgd::new(Schedule::exponential(0.5, 0.5));
    step(&params, &mut data).unwrap();
    let bytes = Checkpoint::default().to_bytes(&params, &data).unwrap();
    let mut other = Sgd::new(closure(0.6));
    Checkpoint::resume_from_bytes(&bytes, &params, &mut other).unwrap();
    assert_eq!(other.learning_rate(), 0.25);
}

#[test]
fn what_cannot_be_read_back_is_not_saved() {
    let w = [parameter("a", &[2])];
    for sgd in [Sgd::new(f64::NAN), Sgd::new(0.1).momentum(f64::INFINITY)] {
        let error = Checkpoint::default().to_bytes(&params(&w), &sgd).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.message().contains("not finite"), "{error}");
    }
    let init = Init::Uniform(f64::INFINITY);
    let drawn = params(&[Parameter::drawn("w", [9, 1], DType::F32, init, 1).unwrap()]);
    let error = Checkpoint::default().to_bytes(&drawn, &Sgd::new(0.1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
}

#[test]
fn files_of_other_kinds_are_named() {
    let scratch = Scratch::new();
    let params = params(&[parameter("a", &[2])]);
    let mut sgd = Sgd::new(0.1);
    let (run, path) = (scratch.path("run.safetensors"), scratch.path("params.safetensors"));
    let begin = Checkpoint { notes: [("a".into(), "b".into())].into(), ..Checkpoint::default() };
    begin.save(&run, &params, &sgd).unwrap();
    params.save(&path, &[].into()).unwrap();
    assert_eq!(Archive::read_notes(&run).unwrap()["a"], "b");

    let error = Checkpoint::resume(&path, &params, &mut sgd).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse);
    assert!(error.to_string().ends_with("params.safetensors: it is no checkpoint"), "{error}");
    let error = Params::load(&run).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse);
    assert!(error.to_string().contains("`train::Checkpoint::resume`"), "{error}");
    let error = Params::from_archive(Archive::load(&run).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(Model::load(&run).unwrap_err().to_string().contains("no graph"));
    let error = Checkpoint::resume(scratch.path("none"), &params, &mut sgd).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
