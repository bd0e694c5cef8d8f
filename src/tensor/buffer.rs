//! Shared, immutable runs of elements.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::kernels::memory::{Arena, Reusable, Temp, give_back, recycled};
use crate::kernels::pages::zeroed;

/// A cheap handle to a run of elements: an owner and a range of it.
///
/// Cloning shares the owner. The owner is a `Vec`, or anything that lends a slice: a memory map, an
/// `ndarray`, another crate's buffer.
pub struct Buffer<T: 'static> {
    owner: Owner<T>,
    range: Range<usize>,
}

enum Owner<T: 'static> {
    None,
    Vec(Arc<Vec<T>>),
    Foreign(Arc<dyn AsRef<[T]> + Send + Sync>),
}

// Derives would ask for `T: Clone`; handles clone whatever they hold.
impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let owner = match &self.owner {
            Owner::None => Owner::None,
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

    /// The elements, to be written, if this is the only handle to the `Vec` that they are in.
    pub(crate) fn unique(&mut self) -> Option<&mut [T]> {
        match &mut self.owner {
            Owner::Vec(vec) => Arc::get_mut(vec).map(|v| &mut v[self.range.clone()]),
            _ => None,
        }
    }

    /// The elements as a `Vec` if that needs no copy, else the buffer back.
    pub(crate) fn try_into_vec(self) -> Result<Vec<T>, Self> {
        let Buffer { owner, range } = self;
        match owner {
            Owner::None => Ok(Vec::new()),
            Owner::Vec(vec) if range == (0..vec.len()) => {
                Arc::try_unwrap(vec).map_err(|vec| Buffer { owner: Owner::Vec(vec), range })
            }
            owner => Err(Buffer { owner, range }),
        }
    }
}

impl<T: Send + Sync> Buffer<T> {
    /// Zeros; many of them in memory for a table, which the system gives when it is written.
    pub(crate) fn zeroed(len: usize) -> Self
    where
        T: Copy + Default,
    {
        let (vec, begin) = zeroed(len);
        Buffer { range: begin..begin + len, ..vec.into() }
    }

    /// So many elements, as `fill` makes them of zeros; where there are many, they begin at a cache line and ask
    /// for huge pages.
    pub(crate) fn table(len: usize, fill: impl FnOnce(&mut [T])) -> Self
    where
        T: Copy + Default,
    {
        let (mut vec, begin) = zeroed(len);
        let range = begin..begin + len;
        fill(&mut vec[range.clone()]);
        Buffer { range, ..vec.into() }
    }

    /// Becomes `len` elements of unspecified contents, to be written: in the same memory, if it has room for them and
    /// nobody shares it, or else in recycled memory.
    pub(crate) fn overwritten(&mut self, len: usize) -> &mut [T]
    where
        T: Copy + Default,
    {
        if !self.set_length(len) {
            give_back(std::mem::replace(self, Temp::unspecified(len).into()));
        }
        match &mut self.owner {
            // SAFETY: nobody shares what was made just now, or what `set_length` has found to be this handle's own.
            Owner::Vec(handle) => unsafe { &mut *Arc::as_ptr(handle).cast_mut() },
            _ => &mut [],
        }
    }

    /// Becomes `len` elements of unspecified contents, if this is the only handle to memory with room for them.
    fn set_length(&mut self, len: usize) -> bool
    where
        T: Copy + Default,
    {
        let Owner::Vec(handle) = &mut self.owner else { return false };
        let Some(vec) = Arc::get_mut(handle).filter(|vec| vec.capacity() >= len) else {
            return false;
        };
        vec.resize(len, T::default());
        self.range = 0..len;
        true
    }

    /// Becomes `len` elements that `write` appends to an empty vector, in this memory if nobody shares it.
    pub(crate) fn refill_with<R>(&mut self, len: usize, write: impl FnOnce(&mut Vec<T>) -> R) -> R {
        self.range = 0..len;
        if let Owner::Vec(handle) = &mut self.owner
            && let Some(vec) = Arc::get_mut(handle)
        {
            vec.clear();
            vec.reserve(len);
            return write(vec);
        }
        let mut vec = Vec::with_capacity(len);
        let made = write(&mut vec);
        *self = vec.into();
        made
    }

    /// Becomes a copy of these elements, in this memory if nobody shares it.
    pub(crate) fn refill(&mut self, from: &[T])
    where
        T: Copy,
    {
        self.refill_with(from.len(), |vec| vec.extend_from_slice(from));
    }

    /// Gives the memory to an arena, if nobody shares it.
    pub(crate) fn recycle(self, arena: &mut Arena) {
        let Owner::Vec(mut handle) = self.owner else { return };
        let Some(vec) = Arc::get_mut(&mut handle) else { return };
        if vec.capacity() > 0 {
            arena.give(std::mem::take(vec));
        }
        arena.give(handle);
    }
}

/// An empty handle waits for another `Vec`.
impl<T: Send + Sync + 'static> Reusable for Arc<Vec<T>> {
    fn room(&self) -> usize {
        0
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        let all = match &self.owner {
            Owner::None => &[],
            Owner::Vec(vec) => vec.as_slice(),
            Owner::Foreign(owner) => (**owner).as_ref(),
        };
        &all[self.range.clone()]
    }
}

impl<T: Send + Sync> From<Vec<T>> for Buffer<T> {
    fn from(vec: Vec<T>) -> Self {
        let range = 0..vec.len();
        let mut handle: Arc<Vec<T>> = recycled(0).unwrap_or_default();
        match Arc::get_mut(&mut handle) {
            Some(emptied) => *emptied = vec,
            None => unreachable!("nobody shares what is recycled"),
        }
        Buffer { owner: Owner::Vec(handle), range }
    }
}

impl<T: Send + Sync> From<Temp<T>> for Buffer<T> {
    fn from(temp: Temp<T>) -> Self {
        Vec::from(temp).into()
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Buffer { owner: Owner::None, range: 0..0 }
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
