//! Reading, batching and writing of sparse data sets.
//!
//! [`Libsvm`] reads libsvm / svmlight text into a [`Dataset`], whose [`Schema`] (id base and width)
//! is saved with the model and applied to later files. [`Dataset::batches`] cuts it into zero-copy
//! windows of rows; [`LibsvmWriter`] writes it back. Files that do not fit memory are cut into the same
//! batches while a thread parses ahead: [`Libsvm::stream_batches`]. Both are a [`BatchSource`], and so is what a
//! program draws itself.
//!
//! With [`Libsvm::hashed`] names of features take the place of ids; [`FeatureHasher`] does the same with
//! rows in memory. [`read_npy`] and `Npz` read what numpy and scipy wrote, [`write_npy`] and `NpzWriter` write it: any
//! csr tensor and its labels make a [`Dataset`].
//!
//! ```
//! use sparsetape::data::{LabelMap, LastBatch, Libsvm};
//! let text = "+1 1:0.5 3:2\n-1 2:1 # a comment\n+1 1:4\n";
//! let data = Libsvm::new().labels(LabelMap::PlusMinusOne).read_from(text.as_bytes())?;
//! assert_eq!(data.features.shape()[..], [3, 3]);
//! assert_eq!(data.labels.values::<f32>()?, [1.0, 0.0, 1.0]);
//!
//! let batches = data.batches(2).last(LastBatch::Pad).shuffle(7).build()?;
//! for epoch in 0..2 {
//!     for batch in batches.epoch(epoch) {
//!         assert_eq!(batch.features.shape()[..], [2, 3]);
//!     }
//! }
//! # Ok::<(), sparsetape::Error>(())
//! ```

mod ahead;
mod batches;
mod dataset;
mod hashing;
mod libsvm;
mod numpy;
mod order;
mod prefetch;
mod runs;
mod schema;
mod source;
mod streaming;
mod writer;

pub use batches::{Batch, BatchPlan, Batches, LastBatch};
pub use dataset::{Dataset, Dropped};
pub use hashing::FeatureHasher;
pub use libsvm::{Chunk, LabelMap, Libsvm, Repeated, Stream, Wider};
#[cfg(feature = "npz")]
pub use numpy::{Npz, NpzWriter};
pub use numpy::{read_npy, read_npy_from, write_npy, write_npy_to};
pub use prefetch::Prefetch;
pub use schema::{IdBase, Schema};
pub use source::{BatchIter, BatchSource};
pub use streaming::{StreamPlan, StreamedBatches};
pub use writer::LibsvmWriter;
pub(crate) use writer::write_number;

use std::path::Path;

use crate::error::{Error, ErrorKind};

/// A failed read or write of a named file.
fn io_error(name: impl std::fmt::Display, source: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, name.to_string()).nowhere().caused_by(source)
}

fn path_error(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |e| io_error(path.display(), e)
}
