//! A process that is killed at any moment loses at most one interval.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sparsetape::DType;
use sparsetape::optim::{Schedule, Update};
use sparsetape::train::{Checkpoint, Checkpoints};

use super::Scratch;
use super::program::{How, MAKERS, Program, Setup, begin};

const DIR: &str = "SPARSETAPE_TEST_KILLED_DIR";
const EVERY: u64 = 5;
const STEPS: u64 = 2000;
const KILLS: u64 = 20;

fn setup() -> Setup {
    Setup {
        optimizer: MAKERS[1].1,
        schedule: Schedule::cosine(0.1, STEPS).warm_up(10),
        update: Update::Exact,
        dtype: DType::F32,
        how: How::Eager,
    }
}

/// Goes on from the newest checkpoint to step `until`, telling of every step that is done.
fn train(dir: &Path, until: u64) -> (Program, Checkpoint) {
    let mut program = Program::new(&setup());
    let mut checkpoints = Checkpoints::new(dir).every(EVERY).keep(2);
    let resumed = checkpoints.resume(&program.params, &mut *program.optimizer).unwrap();
    let mut run = resumed.unwrap_or_else(begin);
    println!("step {}", run.step);
    program.train(&mut run, until, |run, program| {
        checkpoints.save_if_due(run, &program.params, &*program.optimizer).unwrap();
        println!("step {}", run.step);
        std::io::stdout().flush().unwrap();
    });
    (program, run)
}

/// What the parent starts and kills.
#[test]
fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        train(Path::new(&dir), STEPS);
    }
}

/// Starts a child, kills it some time after its first step; the last step that it said was done.
fn killed(dir: &Path, after: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["killed::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The harness may have begun the line.
    let mut steps = lines.filter_map(|line| line.rsplit_once("step ")?.1.parse::<u64>().ok());
    let first = steps.next().expect("the child resumes");
    std::thread::sleep(after);
    child.kill().unwrap();
    let last = steps.last().unwrap_or(first);
    child.wait().unwrap();
    last
}

#[test]
fn a_killed_run_loses_at_most_one_interval() {
    let scratch = Scratch::new();
    let dir = scratch.path("run");
    let mut reached = 0;
    for kill in 0..KILLS {
        // From right at the start to some intervals later, in no pattern with the steps.
        let done = killed(&dir, Duration::from_micros(kill * 7919 % 20 * 5003));
        let (mut program, mut checkpoints) = (Program::new(&setup()), Checkpoints::new(&dir));
        let latest = checkpoints.latest().unwrap();
        let run = checkpoints.resume(&program.params, &mut *program.optimizer).unwrap();
        assert_eq!(run.is_some(), latest.is_some());
        let kept = run.map_or(0, |run| run.step);
        assert!(kept.is_multiple_of(EVERY) && done < kept + EVERY, "at {done}, kept {kept}");
        assert!(kept >= reached, "a checkpoint was lost");
        reached = kept;
    }
    println!("{KILLS} kills, up to step {reached}");
    assert!(reached > 0 && reached + 20 < STEPS);

    let until = reached + 20;
    let (resumed, run) = train(&dir, until);
    let (mut program, mut own) = (Program::new(&setup()), begin());
    program.train(&mut own, until, |_, _| {});
    assert_eq!(run, own);
    // The parameter that is never updated counts how often it was resumed.
    for (a, b) in resumed.params.iter().zip(&program.params) {
        assert_eq!(a.stored_rows().unwrap(), b.stored_rows().unwrap());
        // Of a table whose absent rows are drawn, these too.
        let ids: Vec<u32> = (0..a.shape()[0] as u32).collect();
        assert!(a.rows(&ids).unwrap().same_bits(&b.rows(&ids).unwrap()));
    }
    let names = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name());
    assert!(names.count() <= 2, "what was left of killed writers is gone");
}
