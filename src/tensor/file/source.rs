//! Where the bytes of a file come from.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use super::little_endian::LittleEndian;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Buffer;
use crate::tensor::construct::dense_len;

/// A file's bytes, to be taken as numbers.
pub(super) trait Source {
    /// Number of bytes.
    fn len(&mut self) -> Result<usize>;

    /// The numbers stored in these bytes, which are within the file.
    fn elements<T: LittleEndian>(&mut self, range: Range<usize>) -> Result<Buffer<T>>;
}

/// A file, or bytes in memory: numbers are copied out of it.
pub(super) struct Stream<R>(pub R);

impl<R: Read + Seek> Source for Stream<R> {
    fn len(&mut self) -> Result<usize> {
        let len = self.0.seek(SeekFrom::End(0)).map_err(unread)?;
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn elements<T: LittleEndian>(&mut self, range: Range<usize>) -> Result<Buffer<T>> {
        let len = dense_len::<T>(&[range.len() / size_of::<T>()].into())?;
        self.0.seek(SeekFrom::Start(range.start as u64)).map_err(unread)?;
        let mut read = Ok(());
        let numbers = Buffer::table(len, |numbers: &mut [T]| {
            read = self.0.read_exact(bytemuck::cast_slice_mut(numbers));
            numbers.iter_mut().for_each(|x| *x = x.to_le());
        });
        read.map_err(unread)?;
        Ok(numbers)
    }
}

fn unread(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot read it").nowhere().caused_by(e)
}

#[cfg(feature = "mmap")]
pub(super) use mapped::Mapped;

#[cfg(feature = "mmap")]
mod mapped {
    use std::fs::File;
    use std::io::Cursor;
    use std::marker::PhantomData;
    use std::sync::Arc;

    use memmap2::Mmap;

    use super::*;

    /// A file in memory: numbers are windows into it.
    pub struct Mapped(Arc<Mmap>);

    impl Mapped {
        /// # Safety
        /// Nobody changes the file while the map, or a buffer into it, lives.
        pub unsafe fn new(file: &File) -> Result<Mapped> {
            // SAFETY: the caller's promise is passed on.
            let map = unsafe { Mmap::map(file) }.map_err(unread)?;
            Ok(Mapped(Arc::new(map)))
        }
    }

    impl Source for Mapped {
        fn len(&mut self) -> Result<usize> {
            Ok(self.0.len())
        }

        fn elements<T: LittleEndian>(&mut self, range: Range<usize>) -> Result<Buffer<T>> {
            let bytes = &self.0[range.clone()];
            if cfg!(target_endian = "big") || bytemuck::try_cast_slice::<u8, T>(bytes).is_err() {
                return Stream(Cursor::new(bytes)).elements(0..bytes.len());
            }
            let window = Window { map: Arc::clone(&self.0), range, number: PhantomData };
            // SAFETY: the file stays as it is, as was promised when it was mapped, so the same
            // bytes are lent each time.
            Ok(unsafe { Buffer::foreign(Arc::new(window)) })
        }
    }

    /// Numbers in a mapped file, which they keep mapped.
    struct Window<T> {
        map: Arc<Mmap>,
        range: Range<usize>,
        number: PhantomData<T>,
    }

    impl<T: LittleEndian> AsRef<[T]> for Window<T> {
        fn as_ref(&self) -> &[T] {
            bytemuck::cast_slice(&self.map[self.range.clone()])
        }
    }
}
