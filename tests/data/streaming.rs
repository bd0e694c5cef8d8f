//! Streamed batches are those of the files read as a whole, in the memory given.

use std::path::PathBuf;

use proptest::prelude::*;
use sparsetape::data::{
    Batch, BatchSource, IdBase, LastBatch, Libsvm, StreamPlan, StreamedBatches,
};
use sparsetape::{DType, ErrorKind};

use super::{Scratch, all, assert_same_batches, gz, reference};

fn last_batch() -> impl Strategy<Value = LastBatch> {
    prop_oneof![Just(LastBatch::Keep), Just(LastBatch::Drop), Just(LastBatch::Pad)]
}

fn part() -> impl Strategy<Value = (usize, usize)> {
    (1usize..5).prop_flat_map(|n| (0..n, Just(n)))
}

/// From a block for every line to one for every file.
fn memory() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..100, 100usize..5000, Just(1 << 20)]
}

/// The file, compressed or not.
fn written(scratch: &Scratch, name: &str, text: &str, packed: bool) -> PathBuf {
    if packed { scratch.file(name, gz(text.as_bytes())) } else { scratch.file(name, text) }
}

proptest! {
    #[test]
    fn equal_those_from_memory(
        texts in prop::collection::vec((reference::file(1, 0, 9, false), any::<bool>()), 1..4),
        size in 1usize..9, last in last_batch(), (k, n) in part(), memory in memory(), skip in 0usize..9, wide: bool)
    {
        let scratch = Scratch::new();
        let single = texts.len() == 1;
        let path = |(i, (text, packed)): (usize, &(String, bool))| {
            let text = if single { text.clone() } else { text.replace(" qid:", "#") };
            written(&scratch, &i.to_string(), &text, *packed)
        };
        let paths: Vec<_> = texts.iter().enumerate().map(path).collect();
        let reader = Libsvm::new().dtype(if wide { DType::F64 } else { DType::F32 });
        let reader = reader.schema(Libsvm::new().find_schema(&paths).unwrap());
        let whole = reader.read_files(&paths).unwrap().part(k, n).unwrap();
        let expected = whole.batches(size).last(last).build().unwrap();
        let source = reader.stream_batches(&paths, size).last(last).part(k, n).memory(memory).build().unwrap();
        prop_assert_eq!((source.len(), source.rows()), (expected.len(), expected.rows()));
        for (epoch, skip) in [(0, 0), (1, skip)] {
            assert_same_batches(&all(&source, epoch, skip), &all(&expected, epoch, skip));
        }
    }

    #[test]
    fn separate_labels_too(
        text in reference::file(2, 0, 9, false), noise in prop::collection::vec(0usize..3, 20), packed: (bool, bool),
        size in 1usize..9, last in last_batch(), memory in memory(), entries: bool, seed in any::<Option<u64>>())
    {
        let scratch = Scratch::new();
        let path = written(&scratch, "rows", &text, packed.0);
        let rows = Libsvm::new().skip_labels().read(&path).unwrap();
        let line = |i: usize| format!("{}{i} {}:1 4:{i}\n", "# none\n\n".repeat(noise[i % 20]), i % 4);
        let text: String = (0..rows.rows()).map(line).collect();
        let text = if entries { text } else { text.replace(':', " ") };
        let labels = written(&scratch, "labels", &text, packed.1);
        let reader = Libsvm::new().schema(rows.schema).base(IdBase::Zero).features(10);
        let reader = match entries {
            true => reader.label_entries(labels, 5),
            false => reader.label_columns(5).label_file(labels),
        };
        let whole = reader.read(&path).unwrap();
        let plan = reader.stream_batches(&[path], size).last(last).memory(memory);
        let Some(seed) = seed else {
            let expected = whole.batches(size).last(last).build().unwrap();
            assert_same_batches(&all(&plan.build().unwrap(), 0, 0), &all(&expected, 0, 0));
            return Ok(());
        };
        for batch in all(&plan.shuffle(seed).build().unwrap(), 0, 0) {
            assert_rows_are_those_of(&whole, &batch);
        }
    }

    #[test]
    fn shuffled_rows_are_all_rows(rows in 0usize..60, packed: bool, size in 1usize..9, last in last_batch(),
        (k, n) in part(), memory in memory(), seed: u64, epoch: u64, skip in 0usize..9)
    {
        let scratch = Scratch::new();
        let path = written(&scratch, "x", &numbered(rows), packed);
        let (reader, whole) = (reader(), reader().read(&path).unwrap().part(k, n).unwrap());
        let plan = reader.stream_batches(&[path], size).last(last).part(k, n).memory(memory).shuffle(seed);
        let source = plan.build().unwrap();
        let batches = all(&source, epoch, 0);
        prop_assert_eq!(batches.len(), source.len());
        let mut seen = Vec::new();
        for batch in &batches {
            assert_rows_are_those_of(&whole, batch);
            let numbers: Vec<_> = (0..batch.rows()).map(|i| batch.row_number(i).unwrap()).collect();
            let (own, padded) = numbers.split_at(batch.rows() - batch.pad);
            prop_assert_eq!((own[0], batch.row_number(batch.rows())), (batch.first_row, None));
            prop_assert!(last == LastBatch::Keep || numbers.len() == size);
            prop_assert!(padded.iter().copied().eq((0..whole.rows()).cycle().take(batch.pad)));
            seen.extend_from_slice(own);
        }
        seen.sort();
        seen.dedup();
        prop_assert_eq!(Some(seen.len()), source.rows());
        let kept = if last == LastBatch::Drop { whole.rows() / size * size } else { whole.rows() };
        prop_assert_eq!(seen.len(), kept);
        let rest = batches.get(skip..).unwrap_or_default();
        assert_same_batches(&all(&source, epoch, skip), rest);
        assert_same_batches(&all(&plan.build().unwrap(), epoch, skip), rest);
    }
}

/// Pieces of rows, well-formed or not.
fn likely_text() -> impl Strategy<Value = String> {
    const PIECES: [&str; 15] = [
        "1", "-1", "qid:3", "2:0.5", "9:1", "x", "#", ",", ":", " ", " ", "\n", "\n", "\r\n",
        "\u{feff}",
    ];
    prop::collection::vec(prop::sample::select(&PIECES), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// The index counts the rows that there are, and what is wrong is told in the same words.
    #[test]
    fn any_text_is_read_or_refused_as_from_memory(text in likely_text(), packed: bool) {
        let scratch = Scratch::new();
        let path = written(&scratch, "x", &text, packed);
        let source = reader().stream_batches(&[&path], 1).build().unwrap();
        let streamed: sparsetape::Result<Vec<Batch>> = source.read(0, 0).unwrap().collect();
        match reader().read(&path) {
            Ok(whole) => assert_same_batches(&streamed.unwrap(), &all(&whole.batches(1).build().unwrap(), 0, 0)),
            Err(error) => prop_assert_eq!(streamed.unwrap_err().to_string(), error.to_string()),
        }
    }
}

/// Rows that can be told apart.
fn numbered(rows: usize) -> String {
    let line = |i: usize| {
        format!("{}{i} {}:{i}\n", if i.is_multiple_of(7) { "\n# a comment\n" } else { "" }, i % 10)
    };
    (0..rows).map(line).collect()
}

fn reader() -> Libsvm {
    Libsvm::new().base(IdBase::Zero).features(10)
}

/// Every row of the batch is the one that its number says.
#[track_caller]
fn assert_rows_are_those_of(whole: &sparsetape::data::Dataset, batch: &Batch) {
    for i in 0..batch.rows() {
        let number = batch.row_number(i).unwrap();
        let expected = whole.rows_window(number, number + 1).unwrap();
        let row = |x: &sparsetape::Tensor| super::parts(&x.rows_window(i, i + 1).unwrap());
        assert_eq!(row(&batch.features), super::parts(&expected.features));
        assert_eq!(row(&batch.labels), super::parts(&expected.labels));
    }
}

fn order(plan: &StreamPlan, epoch: u64) -> Vec<usize> {
    all(&plan.build().unwrap(), epoch, 0).iter().map(|batch| batch.first_row).collect()
}

#[test]
fn orders_differ_by_seed_and_epoch() {
    let scratch = Scratch::new();
    let path = scratch.file("x", numbered(100));
    // A block for every row, and one for all.
    for memory in [1, 1 << 20] {
        let plan = reader().stream_batches(&[&path], 1).memory(memory);
        assert_eq!(order(&plan, 3), (0..100).collect::<Vec<_>>());
        let seeded = |seed| plan.clone().shuffle(seed);
        assert_eq!(order(&seeded(1), 2), order(&seeded(1), 2));
        assert_ne!(order(&seeded(1), 2), order(&seeded(1), 3));
        assert_ne!(order(&seeded(1), 2), order(&seeded(2), 2));
        assert_ne!(order(&seeded(1), 2), order(&plan, 2));
    }
    // Fixed for ever: a saved seed means the same order in later versions.
    let plan = reader().stream_batches(&[&path], 1).shuffle(7);
    assert_eq!(order(&plan.clone().memory(1 << 20), 0)[..5], [84, 4, 13, 43, 40]);
    assert_eq!(order(&plan.memory(1), 0)[..5], [67, 36, 20, 92, 60]);
}

fn errors(source: &StreamedBatches, skip: usize) -> (usize, String) {
    let mut batches = source.read(0, skip).unwrap();
    let good = batches.by_ref().take_while(Result::is_ok).count();
    assert!(batches.next().is_none(), "nothing comes after an error");
    let error = source.read(0, skip).unwrap().last().unwrap().unwrap_err();
    (good, error.to_string())
}

#[test]
fn an_error_comes_after_the_batches_before_it() {
    let scratch = Scratch::new();
    let text = numbered(50).replace("\n40 ", "\n40 12x:1 ");
    for path in [scratch.file("plain", &text), scratch.file("packed", gz(text.as_bytes()))] {
        let message = reader().read(&path).unwrap_err().to_string();
        assert!(message.ends_with(":53:4: feature id \"12x\" is not a number"), "{message}");
        let plan = reader().stream_batches(&[&path], 3);
        let source = plan.clone().memory(1).build().unwrap();
        assert_eq!(errors(&source, 0), (13, message.clone()));
        assert_eq!(errors(&source, 5), (8, message.clone()));
        assert_eq!(errors(&plan.build().unwrap(), 0), (0, message.clone()));
        assert_eq!(errors(&plan.clone().shuffle(3).build().unwrap(), 0).1, message);
        // The other half has no errors.
        assert_eq!(all(&plan.clone().memory(1).part(0, 2).build().unwrap(), 0, 0).len(), 9);
    }
    let mixed = scratch.file("qids", "1 qid:3 1:1\n2 qid:3 1:1\n3 1:1\n");
    let message = reader().read(&mixed).unwrap_err().to_string();
    for memory in [1, 1 << 20] {
        // Wherever reading begins.
        let source = reader().stream_batches(&[&mixed], 1).memory(memory).build().unwrap();
        assert_eq!(errors(&source, 2), (0, message.clone()));
    }
}

#[test]
fn refusals() {
    let scratch = Scratch::new();
    let path = scratch.file("x", numbered(3));
    let plan = reader().stream_batches(&[&path], 2);
    let kind = |plan: StreamPlan| plan.build().unwrap_err().kind();
    assert_eq!(kind(Libsvm::new().features(3).stream_batches(&[&path], 2)), ErrorKind::State);
    assert_eq!(kind(reader().dtype(DType::I64).stream_batches(&[&path], 2)), ErrorKind::DType);
    assert_eq!(kind(reader().stream_batches(&[&path], 0)), ErrorKind::Value);
    assert_eq!(kind(plan.clone().memory(0)), ErrorKind::Value);
    assert_eq!(kind(plan.clone().part(2, 2)), ErrorKind::Value);
    assert_eq!(kind(plan.clone().part(0, 0)), ErrorKind::Value);
    let padded = reader().stream_batches(&[&path], usize::MAX).last(LastBatch::Pad);
    assert_eq!(kind(padded), ErrorKind::Shape);
    for missing in [scratch.path("missing"), scratch.path("")] {
        let error = reader().stream_batches(&[&missing], 2).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
    }
    let none: [PathBuf; 0] = [];
    assert!(reader().stream_batches(&none, 2).last(LastBatch::Pad).build().unwrap().is_empty());

    for (labels, message) in [
        ("1\n\n2\n", "labels: ends after row 2, but there are features of row 3"),
        ("1\n2\n3\n#\n4\n", "labels: labels of row 4, but the features end after row 3"),
    ] {
        let labels = scratch.file("labels", labels);
        let plan = reader().label_file(labels).stream_batches(&[&path], 2);
        for memory in [1, 1 << 20] {
            let error = plan.clone().memory(memory).build().unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        }
    }
}

#[test]
fn files_that_changed_are_errors() {
    let scratch = Scratch::new();
    let path = scratch.file("x", numbered(30));
    let source = reader().stream_batches(&[&path], 4).memory(1000).build().unwrap();
    let error = || source.read(0, 0).unwrap().last().unwrap().unwrap_err();
    scratch.file("x", numbered(20));
    let message = format!("{}: changed since its rows were counted", path.display());
    assert_eq!((error().kind(), error().to_string()), (ErrorKind::State, message));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(error().kind(), ErrorKind::Io);
}

/// Would not end if the thread that waits to hand out a block were forgotten.
#[test]
fn batches_may_be_left_unread() {
    let scratch = Scratch::new();
    let path = scratch.file("x", numbered(100));
    let source = reader().stream_batches(&[&path], 4).memory(1).build().unwrap();
    for taken in 0..30 {
        let mut batches = source.read(0, 0).unwrap();
        assert_eq!(batches.by_ref().take(taken).count(), taken.min(25));
    }
}
