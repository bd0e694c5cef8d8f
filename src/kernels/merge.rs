//! Set operations on sorted, unique row ids.

use super::Number;
use super::spmm::ABSENT;
use super::threads::for_each_part;

/// From this ratio of lengths on, searching beats walking both lists.
const GALLOP_RATIO: usize = 16;

/// Bytes of a block of rows that are summed while they stay in the nearest cache.
const BLOCK_BYTES: usize = 1 << 14;

/// The ids that are in any list.
pub(crate) fn union_rows(lists: &[&[u32]]) -> Vec<u32> {
    match lists {
        [] => Vec::new(),
        [one] => one.to_vec(),
        [first, rest @ ..] if rest.iter().all(|list| list == first) => first.to_vec(),
        [x, y] => union_two(x, y),
        _ => {
            let (left, right) = lists.split_at(lists.len() / 2);
            union_two(&union_rows(left), &union_rows(right))
        }
    }
}

/// The ids that are in every list.
pub(crate) fn intersect_rows(lists: &[&[u32]]) -> Vec<u32> {
    let Some((first, rest)) = lists.split_first() else { return Vec::new() };
    rest.iter().fold(first.to_vec(), |common, list| intersect_two(&common, list))
}

fn union_two(x: &[u32], y: &[u32]) -> Vec<u32> {
    let mut union = Vec::with_capacity(x.len() + y.len());
    extend_union(&mut union, x, y);
    union
}

/// Appends the union of `x` and `y`. No branch depends on the ids.
pub(super) fn extend_union(union: &mut Vec<u32>, x: &[u32], y: &[u32]) {
    let (mut i, mut j) = (0, 0);
    while i < x.len() && j < y.len() {
        let (a, b) = (x[i], y[j]);
        union.push(a.min(b));
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    union.extend_from_slice(&x[i..]);
    union.extend_from_slice(&y[j..]);
}

fn intersect_two(x: &[u32], y: &[u32]) -> Vec<u32> {
    if x == y {
        return x.to_vec();
    }
    let (few, many) = if x.len() <= y.len() { (x, y) } else { (y, x) };
    let at = positions(few, many);
    few.iter().zip(at).filter(|&(_, at)| at != ABSENT).map(|(&id, _)| id).collect()
}

/// For each id of sorted `of`, its position in sorted `in_sorted`, `u32::MAX` where absent.
pub(crate) fn positions(of: &[u32], in_sorted: &[u32]) -> Vec<u32> {
    let mut at = vec![ABSENT; of.len()];
    if of.len().saturating_mul(GALLOP_RATIO) < in_sorted.len() {
        gallop(of, in_sorted, &mut at);
    } else {
        walk(of, in_sorted, &mut at);
    }
    at
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

/// Sums row-sparse parts, in order and from 0 on, onto the rows `union`, which hold all theirs.
pub(crate) fn add_rows<T: Number>(
    parts: &[(&[u32], &[T])],
    k: usize,
    union: &[u32],
    out: &mut [T],
) {
    let block = (BLOCK_BYTES / size_of::<T>() / k.max(1)).max(1);
    for_each_part(out, block * k, parts.len() * BLOCK_BYTES / 16, |first, out| {
        for (n, out) in out.chunks_mut(block * k).enumerate() {
            let start = (first + n) * block;
            let ids = &union[start..start + out.len() / k];
            out.fill(T::default());
            parts.iter().for_each(|&(rows, values)| add_block(rows, values, k, ids, out));
        }
    });
}

/// Adds the rows that are among `ids` to the block of rows `ids`.
fn add_block<T: Number>(rows: &[u32], values: &[T], k: usize, ids: &[u32], out: &mut [T]) {
    let (Some(&low), Some(&high)) = (ids.first(), ids.last()) else { return };
    let start = lower_bound(rows, low);
    let len = rows[start..].partition_point(|&row| row <= high);
    let values = &values[start * k..(start + len) * k];
    if len == ids.len() {
        return add_slice(out, values);
    }
    let mut at = vec![ABSENT; len];
    walk(&rows[start..start + len], ids, &mut at);
    for (&at, row) in at.iter().zip(values.chunks_exact(k)) {
        add_slice(&mut out[at as usize * k..][..k], row);
    }
}

fn add_slice<T: Number>(out: &mut [T], x: &[T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = *out + x;
    }
}
