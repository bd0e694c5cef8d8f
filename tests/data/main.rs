//! Laws of the reader, the writer and the batches.
#![cfg(all(feature = "data", feature = "gzip"))]

mod batches;
mod errors;
mod hashing;
mod hostile;
mod inputs;
mod npy;
#[cfg(feature = "npz")]
mod npz;
mod reading;
mod reference;
mod schema;
#[cfg(feature = "npz")]
mod scipy;
mod source;
mod streaming;
mod writing;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use sparsetape::data::{Batch, BatchSource, Dataset};
use sparsetape::{DType, Tensor};

/// A directory that is removed in the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("sparsetape-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A reader that always fails.
pub(crate) struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("cable pulled"))
    }
}

/// Writes other bytes in some places.
pub(crate) fn change(bytes: &mut [u8], changes: &[(prop::sample::Index, u8)]) {
    for (at, byte) in changes {
        bytes[at.index(bytes.len())] = *byte;
    }
}

/// A reader that gives a few bytes at a time.
pub(crate) struct Dribble<'a>(pub(crate) &'a [u8], pub(crate) usize);

impl Read for Dribble<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(to.len());
        self.0.read(&mut to[..n])
    }
}

pub(crate) fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Stored values as bits, NaN as one value.
pub(crate) fn bits(x: &Tensor) -> Vec<u64> {
    let bit = |v: f64| if v.is_nan() { u64::MAX } else { v.to_bits() };
    match x.dtype() {
        DType::F32 => x.values::<f32>().unwrap().iter().map(|&v| bit(v.into())).collect(),
        DType::F64 => x.values::<f64>().unwrap().iter().map(|&v| bit(v)).collect(),
        DType::I64 => x.values::<i64>().unwrap().iter().map(|&v| v as u64).collect(),
    }
}

/// Everything a tensor is: type, row lengths, column ids, values.
pub(crate) fn parts(x: &Tensor) -> (String, Vec<usize>, Vec<u32>, Vec<u64>) {
    let rows = x.indptr().unwrap_or(&[]).windows(2).map(|w| w[1] - w[0]).collect();
    (x.ty().to_string(), rows, x.indices().unwrap_or(&[]).to_vec(), bits(x))
}

pub(crate) fn assert_same(a: &Dataset, b: &Dataset) {
    assert_eq!(parts(&a.features), parts(&b.features));
    assert_eq!(parts(&a.labels), parts(&b.labels));
    assert_eq!(a.qids.as_ref().map(parts), b.qids.as_ref().map(parts));
    assert_eq!((a.schema, a.dropped), (b.schema, b.dropped));
}

/// The same rows with the same numbers.
#[track_caller]
pub(crate) fn assert_same_batches(a: &[Batch], b: &[Batch]) {
    let whole = |batch: &Batch| {
        let numbers: Vec<_> = (0..=batch.rows()).map(|i| batch.row_number(i)).collect();
        let qids = batch.qids.as_ref().map(parts);
        let inputs: Vec<_> = batch.inputs.iter().map(|(n, x)| (n.clone(), parts(x))).collect();
        let tensors = (parts(&batch.features), parts(&batch.labels), qids, inputs);
        (tensors, batch.first_row, batch.pad, numbers)
    };
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!(whole(a), whole(b));
    }
}

/// All batches of an epoch from one on.
#[track_caller]
pub(crate) fn all(source: &impl BatchSource, epoch: u64, skip: usize) -> Vec<Batch> {
    source.read(epoch, skip).unwrap().collect::<sparsetape::Result<_>>().unwrap()
}
