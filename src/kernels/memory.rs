//! Memory that is used again: what is given back waits on a shelf, and who needs memory looks there
//! first.
//!
//! Each thread has an [`Arena`]. Whoever runs kernels puts an own one in its place meanwhile
//! ([`Arena::during`]), so that memory stays with a tape or an executor and goes with it.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::mem::{swap, take};
use std::ops::{Deref, DerefMut};

use super::CsrRef;
use crate::tensor::Buffer;

/// What waits on a shelf.
pub(crate) trait Reusable: Send + 'static {
    /// Elements that there is room for.
    fn room(&self) -> usize;
}

impl<T: Send + 'static> Reusable for Vec<T> {
    fn room(&self) -> usize {
        self.capacity()
    }
}

/// Memory that waits to be used again: a shelf for each type, by ascending room.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    shelves: Vec<(TypeId, Box<dyn Any + Send>)>,
}

/// At most so many wait on a shelf; the smallest are freed first.
const WAITING: usize = 1024;

/// Memory with room for more than so many times what is needed is left to others.
const ROOMIEST: usize = 4;

/// Elements that any memory has room for.
const SMALL: usize = 16;

fn fits(room: usize, len: usize) -> bool {
    room / ROOMIEST <= len.max(SMALL)
}

impl Arena {
    fn shelf<R: Reusable>(&mut self) -> &mut Vec<R> {
        let id = TypeId::of::<R>();
        let at = self.shelves.iter().position(|(own, _)| *own == id).unwrap_or_else(|| {
            self.shelves.push((id, Box::new(Vec::<R>::new())));
            self.shelves.len() - 1
        });
        match self.shelves[at].1.downcast_mut() {
            Some(shelf) => shelf,
            None => unreachable!("a shelf holds the type that it is found by"),
        }
    }

    /// The least roomy memory that has room for `len`, but not far too much. Where there is none, the
    /// next smaller is freed: it is outgrown, unless it is of another order of size.
    fn take<R: Reusable>(&mut self, len: usize) -> Option<R> {
        let shelf = self.shelf::<R>();
        let at = shelf.partition_point(|held| held.room() < len);
        if let Some(room) = shelf.get(at).map(R::room).filter(|&room| fits(room, len)) {
            // The last one of its room: fewest others move up.
            let alike = shelf[at..].partition_point(|held| held.room() == room);
            return Some(shelf.remove(at + alike - 1));
        }
        if at > 0 && fits(len, shelf[at - 1].room()) {
            shelf.remove(at - 1);
        }
        None
    }

    /// The roomiest memory.
    fn roomiest<R: Reusable>(&mut self) -> Option<R> {
        self.shelf::<R>().pop()
    }

    /// Takes memory back.
    pub fn give<R: Reusable>(&mut self, held: R) {
        let shelf = self.shelf::<R>();
        let at = shelf.partition_point(|other| other.room() <= held.room());
        shelf.insert(at, held);
        if shelf.len() > WAITING {
            shelf.remove(0);
        }
    }

    /// Does `work` with this arena in the thread's place.
    pub fn during<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let _placed = Placed::new(self);
        work()
    }
}

/// An arena that is the thread's for as long as this lives.
struct Placed<'a>(&'a mut Arena);

impl<'a> Placed<'a> {
    fn new(arena: &'a mut Arena) -> Self {
        with(|own| swap(own, arena));
        Placed(arena)
    }
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        with(|own| swap(own, self.0));
    }
}

thread_local! {
    static OWN: RefCell<Arena> = const { RefCell::new(Arena { shelves: Vec::new() }) };
}

fn with<R>(work: impl FnOnce(&mut Arena) -> R) -> R {
    OWN.with_borrow_mut(work)
}

/// Gives the memory of a buffer to the thread's arena, if nobody shares it.
pub(crate) fn give_back<T: Send + Sync>(buffer: Buffer<T>) {
    with(|arena| buffer.recycle(arena));
}

/// Memory with room for `len` elements from the thread's arena.
pub(crate) fn recycled<R: Reusable>(len: usize) -> Option<R> {
    with(|arena| arena.take(len))
}

/// A vector in recycled memory, which goes back to the arena when it is dropped.
#[derive(Debug)]
pub(crate) struct Temp<T: Send + 'static>(Vec<T>);

impl<T: Copy + Send + 'static> Temp<T> {
    /// No elements, with room for as many.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut vec = recycled(capacity).unwrap_or_else(|| Vec::with_capacity(padded(capacity)));
        vec.clear();
        Temp(vec)
    }

    /// As many elements, all alike.
    pub fn filled(value: T, len: usize) -> Self {
        let Some(mut vec) = recycled::<Vec<T>>(len) else { return Temp(fresh(value, len)) };
        vec.clear();
        vec.resize(len, value);
        Temp(vec)
    }

    /// As many elements with unspecified contents.
    pub fn unspecified(len: usize) -> Self
    where
        T: Default,
    {
        if len == 0 {
            return Temp(Vec::new());
        }
        let Some(mut vec) = recycled::<Vec<T>>(len) else { return Temp(fresh(T::default(), len)) };
        vec.resize(len, T::default());
        Temp(vec)
    }

    /// A copy.
    pub fn copied(elements: &[T]) -> Self {
        let mut temp = Temp::with_capacity(elements.len());
        temp.extend_from_slice(elements);
        temp
    }

    /// These elements; they are counted first, if their number is not known.
    pub fn collect(elements: impl Iterator<Item = T> + Clone) -> Self {
        let count = match elements.size_hint() {
            (least, Some(most)) if least == most => least,
            _ => elements.clone().count(),
        };
        let mut temp = Temp::with_capacity(count);
        temp.extend(elements);
        temp
    }

    /// These elements, or the first error.
    pub fn try_collect<E>(
        mut elements: impl ExactSizeIterator<Item = Result<T, E>>,
    ) -> Result<Self, E> {
        let mut temp = Temp::with_capacity(elements.len());
        elements.try_for_each(|element| element.map(|element| temp.push(element)))?;
        Ok(temp)
    }

    /// Frees the memory, which another thread has taken: this one's arena would only grow.
    pub fn free(mut self) {
        drop(take(&mut self.0));
    }

    /// No elements, in the roomiest memory that waits: for when counting costs more than growing.
    pub fn growing() -> Self {
        let roomiest: Option<Vec<T>> = with(Arena::roomiest);
        let mut vec = roomiest.unwrap_or_else(|| Vec::with_capacity(SMALL));
        vec.clear();
        Temp(vec)
    }
}

fn fresh<T: Clone>(value: T, len: usize) -> Vec<T> {
    let mut vec = vec![value; padded(len)];
    vec.truncate(len);
    vec
}

/// Lengths that are not far apart have room in the same memory.
fn padded(len: usize) -> usize {
    len.checked_next_multiple_of(SMALL).unwrap_or(len).max(SMALL)
}

impl<T: Send + 'static> From<Vec<T>> for Temp<T> {
    fn from(vec: Vec<T>) -> Temp<T> {
        Temp(vec)
    }
}

impl<T: Send + 'static> From<Temp<T>> for Vec<T> {
    /// The vector, to stay: in memory that fits.
    fn from(mut temp: Temp<T>) -> Vec<T> {
        if fits(temp.capacity(), temp.len()) {
            return take(&mut temp.0);
        }
        let len = temp.len();
        let mut fitting = recycled(len).unwrap_or_else(|| Vec::with_capacity(padded(len)));
        fitting.clear();
        fitting.append(&mut temp);
        fitting
    }
}

impl<'a, T: Send + 'static> IntoIterator for &'a Temp<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: Send + 'static> Deref for Temp<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Send + 'static> DerefMut for Temp<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: Send + 'static> Drop for Temp<T> {
    fn drop(&mut self) {
        if self.0.capacity() > 0 {
            // As a thread ends, its arena may be gone.
            let _ = OWN.try_with(|arena| arena.borrow_mut().give(take(&mut self.0)));
        }
    }
}

/// A csr matrix in recycled memory.
pub(crate) struct Csr<T: Send + 'static> {
    pub indptr: Temp<usize>,
    pub indices: Temp<u32>,
    pub values: Temp<T>,
}

impl<T: Copy + Send + 'static> Csr<T> {
    /// No row pointers, with room for so many rows and entries.
    pub fn with_capacity(rows: usize, entries: usize) -> Self {
        let indptr = Temp::with_capacity(rows + 1);
        Csr { indptr, indices: Temp::with_capacity(entries), values: Temp::with_capacity(entries) }
    }

    /// No row pointers, with room for as many rows and entries as ever were held.
    pub fn growing() -> Self {
        Csr { indptr: Temp::growing(), indices: Temp::growing(), values: Temp::growing() }
    }

    /// Frees the memory, which another thread has taken.
    pub fn free(self) {
        let Csr { indptr, indices, values } = self;
        indptr.free();
        indices.free();
        values.free();
    }

    /// The matrix, with so many columns.
    pub fn view(&self, cols: usize) -> CsrRef<'_, T> {
        CsrRef { cols, indptr: &self.indptr, indices: &self.indices, values: &self.values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(len: usize) -> *const u32 {
        Temp::<u32>::unspecified(len).as_ptr()
    }

    #[test]
    fn memory_is_used_again_where_it_fits() {
        let mut arena = Arena::default();
        arena.during(|| {
            let (small, large) = (address(10), address(1000));
            assert_eq!([address(16), address(1), address(4)], [small; 3]);
            assert_eq!([address(1000), address(300)], [large; 2]);
            let (first, second) = (Temp::<u32>::unspecified(900), Temp::filled(7u32, 900));
            assert_eq!(first.as_ptr(), large);
            assert_ne!(second.as_ptr(), large);
            assert_eq!(&second[..2], &[7, 7]);
        });
        // The thread's own arena has nothing of it.
        assert!(recycled::<Vec<u32>>(10).is_none());
        assert_eq!(arena.shelf::<Vec<u32>>().len(), 3);
    }

    #[test]
    fn outgrown_memory_is_freed() {
        let mut arena = Arena::default();
        arena.during(|| (100..200).for_each(|len| drop(Temp::<f32>::unspecified(len))));
        assert_eq!(arena.shelf::<Vec<f32>>().len(), 1);
    }

    #[test]
    fn what_stays_is_not_far_too_roomy() {
        Arena::default().during(|| {
            let mut long = Temp::<u32>::with_capacity(1000);
            long.push(5);
            let kept = Vec::from(long);
            assert!(kept == [5] && kept.capacity() < 100);
        });
    }

    #[test]
    fn an_arena_is_in_place_again_after_a_panic() {
        let mut arena = Arena::default();
        let work = || arena.during(|| -> Temp<u32> { panic!("{:?}", Temp::<u32>::unspecified(9)) });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
        assert!(recycled::<Vec<u32>>(9).is_none());
        assert_eq!(arena.shelf::<Vec<u32>>().len(), 1);
    }
}
