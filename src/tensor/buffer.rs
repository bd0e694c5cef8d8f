//! Shared, immutable runs of elements.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A cheap handle to a run of elements: an owner and a range of it.
///
/// Cloning shares the owner. The owner is a `Vec`, or anything that lends a slice: a memory map, an
/// `ndarray`, another crate's buffer.
pub struct Buffer<T: 'static> {
    owner: Owner<T>,
    range: Range<usize>,
}

enum Owner<T: 'static> {
    Vec(Arc<Vec<T>>),
    Foreign(Arc<dyn AsRef<[T]> + Send + Sync>),
}

// Derives would ask for `T: Clone`; handles clone whatever they hold.
impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let owner = match &self.owner {
            Owner::Vec(vec) => Owner::Vec(Arc::clone(vec)),
            Owner::Foreign(owner) => Owner::Foreign(Arc::clone(owner)),
        };
        Buffer { owner, range: self.range.clone() }
    }
}

impl<T: 'static> Buffer<T> {
    /// A buffer over memory that somebody else owns; nothing is copied.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use sparsetape::Buffer;
    /// // SAFETY: an array lends the same slice each time.
    /// let buffer = unsafe { Buffer::foreign(Arc::new([1.0f32, 2.0])) };
    /// assert_eq!(&buffer[..], &[1.0, 2.0]);
    /// ```
    ///
    /// # Safety
    /// `as_ref` must lend the same elements each time: ids are checked once, and kernels rely on it.
    pub unsafe fn foreign(owner: Arc<dyn AsRef<[T]> + Send + Sync>) -> Self {
        let range = 0..(*owner).as_ref().len();
        Buffer { owner: Owner::Foreign(owner), range }
    }

    /// The elements `range` of this buffer, sharing its owner.
    ///
    /// # Panics
    /// If the range is out of bounds, as slicing does.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len());
        let start = self.range.start;
        let whole = self.clone();
        Buffer { range: start + range.start..start + range.end, ..whole }
    }

    /// The elements as a `Vec`: moved out when this is the only handle to a whole `Vec`, else copied.
    pub fn into_vec(self) -> Vec<T>
    where
        T: Clone,
    {
        self.try_into_vec().unwrap_or_else(|shared| shared.to_vec())
    }

    /// Whether both are the same elements in memory.
    pub(crate) fn is(&self, other: &Buffer<T>) -> bool {
        std::ptr::eq(&**self, &**other)
    }

    /// Elements that the owner could hold, if it is a `Vec`.
    pub(crate) fn capacity(&self) -> usize {
        match &self.owner {
            Owner::Vec(vec) => vec.capacity(),
            Owner::Foreign(_) => 0,
        }
    }

    /// The elements, to be written, if this is the only handle to a whole `Vec`.
    pub(crate) fn unique(&mut self) -> Option<&mut [T]> {
        match &mut self.owner {
            Owner::Vec(vec) if self.range == (0..vec.len()) => {
                Arc::get_mut(vec).map(|v| &mut v[..])
            }
            _ => None,
        }
    }

    /// The elements as a `Vec` if that needs no copy, else the buffer back.
    pub(crate) fn try_into_vec(self) -> Result<Vec<T>, Self> {
        let Buffer { owner, range } = self;
        match owner {
            Owner::Vec(vec) if range == (0..vec.len()) => {
                Arc::try_unwrap(vec).map_err(|vec| Buffer { owner: Owner::Vec(vec), range })
            }
            owner => Err(Buffer { owner, range }),
        }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let all = match &self.owner {
            Owner::Vec(vec) => vec.as_slice(),
            Owner::Foreign(owner) => (**owner).as_ref(),
        };
        &all[self.range.clone()]
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(vec: Vec<T>) -> Self {
        let range = 0..vec.len();
        Buffer { owner: Owner::Vec(Arc::new(vec)), range }
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T: PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
