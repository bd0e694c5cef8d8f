//! Files of numpy and scipy: `.npy` and `.npz`.
//!
//! `header` knows the text before the numbers, `array` turns numbers into tensors and back, `npz`
//! finds arrays in a zip archive, `sparse` makes a matrix of them.

mod array;
mod header;
mod npy;
#[cfg(feature = "npz")]
mod npz;
#[cfg(feature = "npz")]
mod sparse;

pub use npy::{read_npy, read_npy_from, write_npy, write_npy_to};
#[cfg(feature = "npz")]
pub use npz::{Npz, NpzWriter};
