//! One table of all workloads.

use std::time::Duration;

use rayon::ThreadPool;

use super::{Case, EAGER, FLOOR, FROZEN, Run, Size, Workload, pool, size, time};

/// How long a contender runs before it is the next one's turn.
const BLOCK: Duration = Duration::from_millis(40);

/// How often each contender has its turn.
const ROUNDS: usize = 9;

/// Runs the workloads that the arguments name (all, if they name none), and prints a line for each case.
///
/// A time is the median of blocks that alternate with those of the other contenders, a ratio the median of
/// the ratios to the floor's neighbouring block.
pub fn report(workloads: &[(&str, Workload)]) {
    let size = size();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let named = |name: &str| wanted.is_empty() || wanted.iter().any(|a| a == name);
    let pools = [pool(1), pool(0)];
    println!(
        "| workload | floor, ns | eager | frozen | eager, 2 threads | frozen, 2 threads | others |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (_, workload) in workloads.iter().filter(|(name, _)| named(name)) {
        workload(size, &mut |case| print(case, size, &pools));
    }
}

/// A contender on one thread or on all.
struct Turn {
    name: &'static str,
    threads: Threads,
    run: usize,
    times: u64,
    /// Nanoseconds a unit, one for each round.
    blocks: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Threads {
    One,
    All,
}

fn print(mut case: Case, size: Size, pools: &[ThreadPool; 2]) {
    let mut turns: Vec<Turn> = Vec::new();
    for (run, contender) in case.contenders.iter().enumerate() {
        let shared = [EAGER, FROZEN].contains(&contender.name);
        for threads in [Threads::One, Threads::All] {
            if threads == Threads::One || shared {
                let (name, blocks) = (contender.name, Vec::new());
                turns.push(Turn { name, threads, run, times: 1, blocks });
            }
        }
    }
    let rounds = if size == Size::Test { 1 } else { ROUNDS };
    for turn in &mut turns {
        let run = &mut case.contenders[turn.run].run;
        timed(run, turn.threads, pools, 1);
        let once = timed(run, turn.threads, pools, 1).max(Duration::from_nanos(100));
        if size == Size::Full {
            turn.times = (BLOCK.as_nanos() / once.as_nanos()).max(1) as u64;
        }
    }
    for _ in 0..rounds {
        for turn in &mut turns {
            let run = &mut case.contenders[turn.run].run;
            let took = timed(run, turn.threads, pools, turn.times).as_secs_f64() * 1e9;
            turn.blocks.push(took / turn.times as f64 / case.count as f64);
        }
    }
    println!("{}", line(&case, &turns));
}

fn timed(run: &mut Run, threads: Threads, pools: &[ThreadPool; 2], times: u64) -> Duration {
    pools[threads as usize].install(|| time(run, times))
}

fn line(case: &Case, turns: &[Turn]) -> String {
    let find = |name: &str, threads| {
        turns.iter().find(|turn| turn.name == name && turn.threads == threads)
    };
    let floor = find(FLOOR, Threads::One);
    // Against the floor, or else as a time.
    let told = |turn: &Turn| match floor {
        Some(floor) => format!("{:.2}", ratio(turn, floor)),
        None => format!("{} ns", rounded(median(&turn.blocks))),
    };
    let of = |name| find(name, Threads::One).map_or("–".into(), told);
    // How many times faster.
    let gain = |name| match (find(name, Threads::One), find(name, Threads::All)) {
        (Some(one), Some(all)) => format!("× {:.2}", ratio(one, all)),
        _ => "–".into(),
    };
    let others = turns.iter().filter(|turn| ![FLOOR, EAGER, FROZEN].contains(&turn.name));
    let others: Vec<String> = others.map(|o| format!("{} {}", o.name, told(o))).collect();
    let floor = floor.map_or("–".into(), |f| rounded(median(&f.blocks)));
    format!(
        "| {} | {floor} / {} | {} | {} | {} | {} | {} |",
        case.name,
        case.unit,
        of(EAGER),
        of(FROZEN),
        gain(EAGER),
        gain(FROZEN),
        others.join(", ")
    )
}

/// The median ratio of neighbouring blocks.
fn ratio(x: &Turn, to: &Turn) -> f64 {
    median(&x.blocks.iter().zip(&to.blocks).map(|(x, to)| x / to).collect::<Vec<f64>>())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// To two digits after the point, or three digits in all.
fn rounded(x: f64) -> String {
    if x < 100.0 { format!("{x:.2}") } else { format!("{x:.0}") }
}
