//! Numbers as files hold them: little-endian.

use std::borrow::Cow;

use bytemuck::Pod;

/// A number with a little-endian form in files.
pub(crate) trait LittleEndian: Pod + Default + Send + Sync {
    /// The number whose bytes in memory are those of `self` in a file, and the other way round.
    fn to_le(self) -> Self;
}

macro_rules! little_endian {
    ($($t:ty),*) => {$(
        impl LittleEndian for $t {
            fn to_le(self) -> Self {
                <$t>::from_ne_bytes(self.to_le_bytes())
            }
        }
    )*};
}
little_endian!(u8, i8, u16, i16, u32, i32, u64, i64, usize, f32, f64);

// Row pointers are 64 bits wide in files and windows of them are used in place.
const _: () = assert!(size_of::<usize>() == 8, "64-bit platforms only");

/// The bytes of `numbers` in a file; borrowed where memory has the same order.
pub(crate) fn bytes_of<T: LittleEndian>(numbers: Cow<'_, [T]>) -> Cow<'_, [u8]> {
    match numbers {
        Cow::Borrowed(slice) if cfg!(target_endian = "little") => {
            Cow::Borrowed(bytemuck::cast_slice(slice))
        }
        numbers => {
            let swapped: Vec<T> = numbers.iter().map(|x| x.to_le()).collect();
            Cow::Owned(bytemuck::cast_slice(&swapped).to_vec())
        }
    }
}
