//! dfdx and candle: operators on sixteen numbers, recorded, forward and backward.

use std::hint::black_box;

use candle_core::{Device, Result, Tensor, Var};
use dfdx::prelude::*;

use crate::workloads::Case;

/// Numbers in a value.
const WIDTH: usize = 16;

type Sixteen<T = NoneTape> = dfdx::prelude::Tensor<Rank1<WIDTH>, f32, Cpu, T>;

/// The numbers that operators begin with: h, w and b.
fn leaf(k: usize) -> [f32; WIDTH] {
    let [mean, spread] = [[0.5, 0.01], [0.999, 1e-4], [1e-3, 1e-5]][k];
    std::array::from_fn(|i| mean + spread * i as f32)
}

/// The cases of the workload `tape`, found by their names.
pub fn beside(case: Case) -> Case {
    let n = case.count;
    match &case.name[..] {
        "tape, mul, add" => case
            .with("dfdx", move || dfdx_run(n / 2, |h, w, b| h * w.clone() + b.clone()))
            .with("candle", move || candle_run(n / 2, |h, w, b| (h * w)? + b)),
        "tape, transcendentals" => case
            .with("dfdx", move || dfdx_run(n / 10, dfdx_transcendentals))
            .with("candle", move || candle_run(n / 10, candle_transcendentals)),
        _ => case,
    }
}

type Traced = Sixteen<OwnedTape<f32, Cpu>>;

fn dfdx_transcendentals(h: Traced, w: &Sixteen, b: &Sixteen) -> Traced {
    let first = h.retaped::<NoneTape>();
    let g = h.tanh().sigmoid().exp() * b.clone() + first.clone();
    (g.tanh().exp() * b.clone() + first) * w.clone()
}

fn dfdx_run(cycles: usize, cycle: impl Fn(Traced, &Sixteen, &Sixteen) -> Traced) {
    let device = Cpu::default();
    let [h, w, b] = [0, 1, 2].map(|k| device.tensor(leaf(k)));
    let start = h.leaky_trace();
    let last = (0..cycles).fold(start, |h, _| cycle(h, &w, &b));
    drop(black_box(last.sum().backward()));
}

/// There is no sigmoid among candle's operators: 1 / (1 + exp(−x)).
fn candle_transcendentals(h: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let sigmoid = (h.tanh()?.neg()?.exp()? + 1.0)?.recip()?;
    let g = ((sigmoid.exp()? * b)? + h)?;
    ((g.tanh()?.exp()? * b)? + h)? * w
}

fn candle_run(cycles: usize, cycle: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>) {
    let run = || -> Result<()> {
        let leaf = |k| Var::from_slice(&leaf(k), WIDTH, &Device::Cpu);
        let (h, w, b) = (leaf(0)?, leaf(1)?, leaf(2)?);
        let mut last = h.as_tensor().clone();
        for _ in 0..cycles {
            last = cycle(&last, &w, &b)?;
        }
        drop(black_box(last.sum_all()?.backward()?));
        Ok(())
    };
    run().expect("gradients");
}
