//! Set operations on sorted, unique row ids.

use smallvec::SmallVec;

use super::memory::Temp;
use super::ranks::Ranks;
use super::spmm::ABSENT;
use super::vectorized::{Task, vectorized};

/// From this ratio of lengths on, searching beats walking both lists.
const GALLOP_RATIO: usize = 16;

/// Bitmap words per id up to which a bitmap beats walking lists.
const WORDS_PER_ID: usize = 8;

/// The ids that are in any list.
pub(crate) fn union_rows(lists: &[&[u32]]) -> Temp<u32> {
    let Some((first, rest)) = lists.split_first() else { return Temp::with_capacity(0) };
    if rest.iter().all(|list| list == first) {
        return Temp::copied(first);
    }
    let len = lists.iter().map(|list| list.len()).sum();
    match ranks_end(len, lists.iter().copied()) {
        Some(end) => vectorized(Union { lists, len, end }),
        None => union_by_halves(lists),
    }
}

/// The end of all ids if a bitmap of them costs less than walking the lists, which hold `len` ids.
fn ranks_end<'a>(len: usize, lists: impl Iterator<Item = &'a [u32]>) -> Option<usize> {
    let end = lists.filter_map(|list| list.last()).max().map_or(0, |&id| id as usize + 1);
    (Ranks::words(end) <= len.saturating_mul(WORDS_PER_ID)).then_some(end)
}

/// The positions of ids, one for each list.
pub(crate) type Places = SmallVec<[Temp<u32>; 8]>;

/// The ids that are in any list, and where among them each list's are.
pub(crate) fn union_places(lists: &[&[u32]]) -> (Temp<u32>, Places) {
    let len = lists.iter().map(|list| list.len()).sum();
    match ranks_end(len, lists.iter().copied()) {
        Some(end) => vectorized(UnionPlaces(Union { lists, len, end })),
        None => {
            let union = union_by_halves(lists);
            let places = lists.iter().map(|list| positions(list, &union)).collect();
            (union, places)
        }
    }
}

struct Union<'a> {
    lists: &'a [&'a [u32]],
    len: usize,
    end: usize,
}

impl Union<'_> {
    #[inline(always)]
    fn ranked(&self) -> (Temp<u32>, Ranks) {
        let mut ranks = Ranks::new(self.end);
        let mut union = Temp::with_capacity(self.len + Ranks::SPARE);
        self.lists.iter().for_each(|list| ranks.insert(list));
        ranks.list(self.len, &mut union);
        (union, ranks)
    }
}

impl Task for Union<'_> {
    type Output = Temp<u32>;

    #[inline(always)]
    fn run(self) -> Temp<u32> {
        self.ranked().0
    }
}

struct UnionPlaces<'a>(Union<'a>);

impl Task for UnionPlaces<'_> {
    type Output = (Temp<u32>, Places);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let (union, ranks) = self.0.ranked();
        let mut places = Places::new();
        for list in self.0.lists {
            let mut own = Temp::unspecified(list.len());
            ranks.rank_all(list, &mut own);
            places.push(own);
        }
        (union, places)
    }
}

fn union_by_halves(lists: &[&[u32]]) -> Temp<u32> {
    match lists {
        [] => Temp::with_capacity(0),
        [one] => Temp::copied(one),
        [x, y] => union_two(x, y),
        _ => {
            let (left, right) = lists.split_at(lists.len() / 2);
            union_two(&union_by_halves(left), &union_by_halves(right))
        }
    }
}

/// The ids that are in every list.
pub(crate) fn intersect_rows(lists: &[&[u32]]) -> Temp<u32> {
    let shortest = lists.iter().min_by_key(|list| list.len());
    let mut common = Temp::copied(shortest.unwrap_or(&&[][..]));
    for list in lists {
        if common[..] != **list {
            let at = positions(&common, list);
            let mut at = at.iter();
            common.retain(|_| at.next() != Some(&ABSENT));
        }
    }
    common
}

fn union_two(x: &[u32], y: &[u32]) -> Temp<u32> {
    let mut union = Temp::unspecified(x.len() + y.len());
    let len = union_into(x, y, &mut union);
    union.truncate(len);
    union
}

/// Writes the union of `x` and `y` to the start of `union`, which has room for both, and returns its
/// length. No branch depends on the ids.
pub(super) fn union_into(x: &[u32], y: &[u32], union: &mut [u32]) -> usize {
    let (mut i, mut j, mut len) = (0, 0, 0);
    while i < x.len() && j < y.len() {
        let (a, b) = (x[i], y[j]);
        union[len] = a.min(b);
        len += 1;
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    for rest in [&x[i..], &y[j..]] {
        union[len..len + rest.len()].copy_from_slice(rest);
        len += rest.len();
    }
    len
}

/// For each id of sorted `of`, its position in sorted `in_sorted`, `u32::MAX` where absent.
pub(crate) fn positions(of: &[u32], in_sorted: &[u32]) -> Temp<u32> {
    let mut at = Temp::filled(ABSENT, of.len());
    if of.len().saturating_mul(GALLOP_RATIO) < in_sorted.len() {
        gallop(of, in_sorted, &mut at);
    } else if let Some(end) = ranks_end(of.len() + in_sorted.len(), [of, in_sorted].into_iter()) {
        vectorized(Positions { of, in_sorted, end, at: &mut at });
    } else {
        walk(of, in_sorted, &mut at);
    }
    at
}

struct Positions<'a> {
    of: &'a [u32],
    in_sorted: &'a [u32],
    end: usize,
    at: &'a mut [u32],
}

impl Task for Positions<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        Ranks::of_sorted(self.in_sorted, self.end).find_all(self.of, self.at);
    }
}

/// Walks both lists. No branch depends on the ids.
fn walk(of: &[u32], in_sorted: &[u32], at: &mut [u32]) {
    let (mut i, mut j) = (0, 0);
    while i < of.len() && j < in_sorted.len() {
        let (a, b) = (of[i], in_sorted[j]);
        at[i] = if a == b { j as u32 } else { ABSENT };
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
}

/// Searches for each id in steps that double from where the last one was.
fn gallop(of: &[u32], in_sorted: &[u32], at: &mut [u32]) {
    let mut start = 0;
    for (&id, at) in of.iter().zip(at) {
        start += lower_bound(&in_sorted[start..], id);
        if in_sorted.get(start) == Some(&id) {
            *at = start as u32;
        }
    }
}

/// The number of ids below `id`, in time logarithmic in it.
pub(super) fn lower_bound(sorted: &[u32], id: u32) -> usize {
    let mut step = 1;
    while step < sorted.len() && sorted[step] < id {
        step *= 2;
    }
    let (low, high) = (step / 2, (step + 1).min(sorted.len()));
    low + sorted[low..high].partition_point(|&x| x < id)
}
