//! Metrics that keep sums alone allocate nothing in an update.

use std::cell::Cell;

use sparsetape::Tensor;
use sparsetape::train::metrics::{
    Accuracy, Average, Calibration, F1, LogLoss, Metric, Mse, NormalizedEntropy, Scored,
    TopKAccuracy,
};

use super::counting::Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting { taken: |_| COUNT.set(COUNT.get() + 1), freed: |_| {} };

fn allocations(metric: &mut dyn Metric, scored: &Scored) -> usize {
    metric.update(scored).unwrap();
    let before = COUNT.get();
    metric.update(scored).unwrap();
    COUNT.get() - before
}

#[test]
fn updates_allocate_nothing() {
    let labels = Tensor::dense([1000], (0..1000).map(|i| i % 2).collect::<Vec<i64>>()).unwrap();
    let one = Tensor::full([1000], 0.25f32).unwrap();
    let two = Tensor::full([1000, 2], 0.5f32).unwrap();
    let (one, two) = (Scored::new(&one, &labels), Scored::new(&two, &labels));
    let of_one: [&mut dyn Metric; 4] = [
        &mut LogLoss::new(),
        &mut NormalizedEntropy::new(),
        &mut Calibration::new(),
        &mut Mse::new(),
    ];
    for metric in of_one {
        assert_eq!(allocations(metric, &one), 0, "{}", metric.name());
    }
    let of_two: [&mut dyn Metric; 4] = [
        &mut Accuracy::new(),
        &mut TopKAccuracy::new(2),
        &mut F1::new().average(Average::Macro),
        &mut LogLoss::new(),
    ];
    for metric in of_two {
        assert_eq!(allocations(metric, &two), 0, "{}", metric.name());
    }
}
