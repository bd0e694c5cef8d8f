//! Laws of files: round trips, what other tools write and read, and bytes that nobody should trust.

mod corpus;
mod counting;
mod damage;
#[cfg(feature = "mmap")]
mod maps;
mod parameters;
mod reading;
#[cfg(feature = "proptest")]
mod round_trips;
mod writing;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use sparsetape::{Archive, Tensor};

/// A directory that is removed in the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sparsetape-files-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One tensor of each storage and element type, with the odd values and shapes, and notes.
pub(crate) fn small() -> Archive {
    let csr =
        Tensor::csr([3, 1 << 32], vec![0, 2, 2, 3], vec![1, u32::MAX, 7], vec![1.5f32, 0., 3.]);
    let rows = Tensor::row_sparse([9, 2], vec![0, 8], vec![1.0f64, f64::NAN, -0.0, 4.0]);
    let mut archive = Archive::new([
        ("weights", Tensor::dense([2, 2], vec![0.5f32, f32::NEG_INFINITY, -0.0, 4.0]).unwrap()),
        ("csr", csr.unwrap()),
        ("rows", rows.unwrap()),
        ("classes", Tensor::dense([3], vec![0i64, i64::MIN, 7]).unwrap()),
        ("scale", Tensor::scalar(0.25f64)),
        ("none", Tensor::dense([0, 3], Vec::<f32>::new()).unwrap()),
    ])
    .unwrap();
    archive.notes.insert("model \"é\"".into(), "1\n2".into());
    archive
}

/// Bits of every tensor, their order, and the notes.
pub(crate) fn assert_same(a: &Archive, b: &Archive) {
    assert_eq!(a.notes, b.notes);
    assert_eq!(a.len(), b.len());
    for ((name, x), (other, y)) in a.iter().zip(b.iter()) {
        assert_eq!(name, other);
        assert!(x.same_bits(y), "{name}: {x} is not {y}");
    }
}
