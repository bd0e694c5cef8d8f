//! Sources that are read ahead give the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;
use sparsetape::data::{BatchIter, BatchSource, Dataset, LastBatch};
use sparsetape::{Error, ErrorKind, Result, Tensor};

use super::{all, assert_same_batches};

fn data(rows: usize) -> Dataset {
    let numbers = Tensor::dense([rows], (0..rows).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    Dataset::from_labels(numbers.clone()).unwrap().with_input("x", numbers).unwrap()
}

proptest! {
    #[test]
    fn prefetched_batches_are_the_same(rows in 0usize..40, size in 1usize..9, ahead in 0usize..9, skip in 0usize..9,
        epoch: u64, seed in any::<Option<u64>>())
    {
        let (data, plan) = (data(rows), |data: &Dataset| {
            let plan = data.batches(size).last(LastBatch::Pad);
            seed.map_or(plan.clone(), |seed| plan.shuffle(seed)).build().unwrap()
        });
        let (plain, ahead) = (plan(&data), plan(&data).prefetched(ahead));
        prop_assert_eq!(ahead.rows(), plain.rows());
        assert_same_batches(&all(&ahead, epoch, skip), &all(&plain, epoch, skip));
        // Again, and read ahead twice.
        assert_same_batches(&all(&ahead.prefetched(2), epoch, skip), &all(&plain, epoch, skip));
    }
}

/// Ten batches, of which one may go wrong.
#[derive(Default)]
struct Drawn {
    read: Arc<AtomicUsize>,
    fails_at: Option<usize>,
    panics_at: Option<usize>,
}

impl BatchSource for Drawn {
    fn read(&self, epoch: u64, skip: usize) -> Result<BatchIter<'_>> {
        if epoch == 13 {
            return Err(Error::new(ErrorKind::Io, "no epoch 13"));
        }
        Ok(Box::new((skip..10).map(|i| {
            self.read.fetch_add(1, SeqCst);
            assert_ne!(Some(i), self.panics_at, "batch at fault");
            match self.fails_at == Some(i) {
                true => Err(Error::new(ErrorKind::Value, format!("batch {i}"))),
                false => Ok(data(10).batches(1).build()?.epoch(0).nth(i).expect("ten")),
            }
        })))
    }
}

#[test]
fn errors_come_in_their_place() {
    let source = Drawn { fails_at: Some(6), ..Drawn::default() }.prefetched(3);
    let results: Vec<_> = source.read(0, 2).unwrap().collect();
    assert_eq!(results.len(), 5);
    assert!(results[..4].iter().all(Result::is_ok));
    assert_eq!(results[4].as_ref().unwrap_err().message(), "batch 6");
    assert_eq!(source.read(13, 0).err().unwrap().message(), "no epoch 13");
}

#[test]
fn a_panic_is_not_lost() {
    let source = Drawn { panics_at: Some(3), ..Drawn::default() }.prefetched(2);
    let mut batches = source.read(0, 0).unwrap();
    assert_eq!(batches.by_ref().take(3).filter(Result::is_ok).count(), 3);
    let panic = catch_unwind(AssertUnwindSafe(|| batches.next())).err().unwrap();
    assert!(panic.downcast_ref::<String>().unwrap().contains("batch at fault"));
    assert!(batches.next().is_none());
    // Nobody waits for it.
    let unread = source.read(0, 0).unwrap();
    drop(unread);
}

#[test]
fn reads_ahead_as_far_as_it_is_told() {
    let read = Arc::new(AtomicUsize::new(0));
    let source = Drawn { read: read.clone(), ..Drawn::default() }.prefetched(3);
    let mut batches = source.read(0, 0).unwrap();
    for taken in 1..=3 {
        while read.load(SeqCst) < 2 + taken {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(read.load(SeqCst), 2 + taken);
        assert!(batches.next().unwrap().is_ok());
    }
    drop(batches);
    // The thread is gone: it held the source.
    let after = read.load(SeqCst);
    drop(source);
    assert_eq!((Arc::strong_count(&read), read.load(SeqCst)), (1, after));
}

/// A plan costs no more for many batches, and neither do those that are skipped.
#[test]
fn windows_are_cut_when_their_turn_comes() {
    let rows = 1 << 24;
    let data = Dataset::from_labels(Tensor::full([rows], 1.0f32).unwrap()).unwrap();
    let batches = data.batches(1).keep_windows(false).build().unwrap();
    assert_eq!(batches.len(), rows);
    let last = all(&batches, 0, rows - 1);
    assert_eq!((last.len(), last[0].first_row), (1, rows - 1));
    assert_eq!(batches.read(0, usize::MAX).unwrap().count(), 0);
}
