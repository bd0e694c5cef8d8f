//! Streamed batches keep to their memory, whatever the size and the shape of the files.
//!
//! What counts are the bytes that the allocator has given out, beyond those before: pages of mapped files are not
//! among them, and none are mapped here.

mod counting;
#[path = "counting/peak.rs"]
mod peak;

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use peak::{LIVE, MEASURING, PEAK};
use sparsetape::data::{Batch, BatchSource, IdBase, Libsvm, Wider};
use sparsetape::optim::Sgd;
use sparsetape::{Gradients, Parameter, Params, Tape, Tensor};

/// What work gives, and the bytes at its peak beyond those before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    (result, PEAK.load(Relaxed) - before)
}

/// A file that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sparsetape-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

const FEATURES: usize = 1 << 15;

/// Rows of few common features and many rare ones, with labels of a planted model.
fn power_law(bytes: usize) -> String {
    power_law_of(bytes, FEATURES, 40)
}

fn power_law_of(bytes: usize, features: usize, most: usize) -> String {
    let (mut random, mut text) = (Random(7), String::with_capacity(bytes + 1000));
    while text.len() < bytes {
        let mut ids: Vec<usize> = (0..1 + (random.next() * most as f64) as usize)
            .map(|_| (features as f64 * random.next().powi(4)) as usize)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let sum: f64 = ids.iter().map(|id| ((id * 37) % 11) as f64 - 5.0).sum();
        text += if sum + random.next() > 0.0 { "1" } else { "0" };
        for id in ids {
            text += &format!(" {id}:{:.3}", 0.5 + random.next());
        }
        text += "\n";
    }
    text
}

fn reader() -> Libsvm {
    reader_of(FEATURES)
}

fn reader_of(features: usize) -> Libsvm {
    Libsvm::new().base(IdBase::Zero).features(features)
}

/// The bits of a logistic model's weights after an epoch of lazy SGD.
fn trained(source: &impl BatchSource) -> Vec<u32> {
    trained_for(1, FEATURES, source)
}

fn trained_for(epochs: u64, features: usize, source: &impl BatchSource) -> Vec<u32> {
    let weights = Parameter::new("w", Tensor::full([features, 1], 0.0f32).unwrap()).unwrap();
    let params = Params::new([&weights]).unwrap();
    let (mut sgd, mut tape, mut gradients) = (Sgd::new(0.5), Tape::new(), Gradients::default());
    for batch in (0..epochs).flat_map(|epoch| source.read(epoch, 0).unwrap()) {
        let batch = batch.unwrap();
        tape.clear();
        let logits = tape.constant(batch.features).dot(tape.parameter(&weights));
        let loss = logits.sigmoid_binary_cross_entropy(tape.constant(batch.labels));
        loss.backward_into(&mut gradients).unwrap();
        sgd.step(&params, &gradients).unwrap();
    }
    drop((tape, gradients));
    weights.snapshot().unwrap().values::<f32>().unwrap().iter().map(|w| w.to_bits()).collect()
}

#[test]
fn training_on_five_times_the_memory_keeps_to_it_and_gives_the_same_weights() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    const MEMORY: usize = 4 << 20;
    let file = Scratch::new("power-law", &power_law(5 * MEMORY));
    let whole =
        || reader().read(&file.0).unwrap().batches(256).keep_windows(false).build().unwrap();
    let (expected, in_memory) = peak(|| trained(&whole()));
    let plan = reader().stream_batches(&[&file.0], 256).memory(MEMORY);
    let (weights, streamed) = peak(|| trained(&plan.build().unwrap()));
    let (_, shuffled) = peak(|| trained(&plan.clone().shuffle(1).build().unwrap()));
    println!("bytes at the peak: {in_memory} in memory, {streamed} streamed, {shuffled} shuffled");
    assert!(weights == expected, "streamed training gives other weights");
    assert!(weights.iter().filter(|&&w| w != 0).count() > FEATURES / 2);
    assert!(streamed <= MEMORY && shuffled <= MEMORY && in_memory > 2 * MEMORY);
}

#[test]
fn a_job_in_memory_takes_little_beyond_its_data() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = Scratch::new("job", &power_law(8 << 20));
    let (data, reading) = peak(|| reader().read(&file.0).unwrap());
    // Values and columns; where rows end, and labels.
    let stored = data.features.nnz();
    let bytes = 8 * stored + 12 * data.rows();
    let plan = data.batches(1024);
    let (_, training) = peak(|| trained(&plan.clone().keep_windows(false).build().unwrap()));
    let (_, keeping) = peak(|| trained(&plan.build().unwrap()));
    println!(
        "{bytes} bytes of data; at the peak {reading} to read, {training} or {keeping} to train"
    );
    let parameters = 4 * FEATURES;
    assert!(reading <= bytes * 5 / 4);
    assert!(training <= bytes / 2 + 2 * parameters);
    // The order of columns of every window.
    assert!(keeping <= training + 8 * stored);
}

/// A file of 110 MB with a million features, for three epochs.
#[test]
#[ignore = "takes a minute without optimization: a smaller job runs always"]
fn a_large_job_keeps_to_its_memory() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    const MANY: usize = 1_000_000;
    let file = Scratch::new("large", &power_law_of(110_000_000, MANY, 80));
    let reader = reader_of(MANY);
    let (expected, in_memory) = peak(|| {
        let batches = reader.read(&file.0).unwrap().batches(1024).build().unwrap();
        trained_for(3, MANY, &batches)
    });
    let (weights, streamed) = peak(|| {
        let plan = reader.stream_batches(&[&file.0], 1024).memory(32 << 20);
        trained_for(3, MANY, &plan.build().unwrap())
    });
    println!("bytes at the peak: {in_memory} in memory, {streamed} streamed");
    assert!(weights == expected, "streamed training gives other weights");
    assert!(in_memory <= 160_000_000 && streamed <= 60_000_000);
}

#[test]
fn kept_windows_change_no_bit_and_take_little() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let data = reader().read_from(power_law(4 << 20).as_bytes()).unwrap();
    let plan = data.batches(256).shuffle(7);
    let [kept, passing] =
        [true, false].map(|keep| plan.clone().keep_windows(keep).build().unwrap());
    let first = |epoch| kept.epoch(epoch).next().unwrap().first_row;
    assert_ne!(first(0), first(1), "epochs differ in order");
    let expected = trained_for(3, FEATURES, &passing);
    let before = LIVE.load(Relaxed);
    let weights = trained_for(3, FEATURES, &kept);
    let held = LIVE.load(Relaxed) - before - size_of_val(&weights[..]);
    assert!(weights == expected, "kept windows train otherwise");
    let distinct =
        |batch: Batch| batch.features.pattern().map_or(0, |own| own.columns().distinct.len());
    let (entries, columns) = (data.features.nnz(), kept.epoch(0).map(distinct).sum::<usize>());
    println!("{held} bytes for {entries} entries, {columns} columns in {} windows", kept.len());
    assert!(held <= 8 * entries && held >= 4 * (entries + columns));
    // And the windows themselves.
    assert!(held <= 4 * (entries + columns) + 1500 * kept.len());
}

/// The peak while an epoch is read and no batch is kept.
fn read(reader: &Libsvm, path: &Path, size: usize, memory: usize) -> usize {
    let plan = reader.stream_batches(&[path], size).memory(memory);
    let (batches, peak) = peak(|| {
        let source = plan.build().unwrap();
        source.read(0, 0).unwrap().filter(Result::is_ok).count() == source.len()
    });
    assert!(batches, "not all batches came");
    peak
}

#[test]
fn blocks_of_any_shape_keep_to_the_memory() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    const MEMORY: usize = 1 << 19;
    let many = |line: &str| line.repeat(5 * MEMORY / line.len());
    let wide = (0..1000).map(|id| format!(" {id}:1")).collect::<String>() + "\n";
    let wide = format!("1{wide}");
    // Batches of rows of two blocks are copies: small beside a block.
    let texts = [
        ("empty rows", 64, many("1\n")),
        ("short rows", 64, many("1 1:1\n")),
        ("query ids", 64, many("1 qid:3 1:1\n")),
        ("wide rows", 1, many(&wide)),
        ("comments", 64, many(&format!("# {}\n1 3:2\n", "12:3 ".repeat(100)))),
    ];
    for (name, size, text) in &texts {
        let file = Scratch::new("shape", text);
        let peak = read(&reader(), &file.0, *size, MEMORY);
        println!("{name}: {peak} bytes");
        assert!(peak <= MEMORY, "{name}: {peak}");
    }
    // What is left out takes memory until it is.
    let file = Scratch::new("dropped", &many(&wide));
    let peak = read(&reader().features(1).wider(Wider::Drop), &file.0, 1, MEMORY);
    println!("dropped: {peak} bytes");
    assert!(peak <= MEMORY, "dropped: {peak}");
    // Labels may take more than the features.
    for (name, labels, rows) in [("narrow labels", "5 7:1\n", 100_000), ("wide labels", &wide, 500)]
    {
        let features = Scratch::new("features", &"1 3:2\n".repeat(rows));
        let labels = Scratch::new("labels", &labels.repeat(rows));
        let reader = reader().label_entries(&labels.0, 1000);
        let peak = read(&reader, &features.0, 1, MEMORY);
        println!("{name}: {peak} bytes");
        assert!(peak <= MEMORY, "{name}: {peak}");
    }
}
