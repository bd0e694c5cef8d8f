//! Set operations on CSR patterns: `(row pointers, columns)`, where pointers need not start at 0.

use smallvec::SmallVec;

use super::memory::Temp;
use super::merge::union_into;
use super::threads::map_parts;

/// Row pointers from 0 on, and columns.
type Pattern = (Temp<usize>, Temp<u32>);

fn range((indptr, _): (&[usize], &[u32]), row: usize) -> std::ops::Range<usize> {
    indptr[row] - indptr[0]..indptr[row + 1] - indptr[0]
}

fn row<'a>(pattern: (&'a [usize], &'a [u32]), i: usize) -> &'a [u32] {
    &pattern.1[range(pattern, i)]
}

/// The entries that are in any pattern.
pub(crate) fn union_patterns(parts: &[(&[usize], &[u32])]) -> Pattern {
    fold(parts, union_into)
}

/// The entries that are in every pattern.
pub(crate) fn intersect_patterns(parts: &[(&[usize], &[u32])]) -> Pattern {
    fold(parts, intersection_into)
}

/// Writes what one row of two patterns gives and returns its length.
type IntoRow = fn(&[u32], &[u32], &mut [u32]) -> usize;

/// Writes the ids that are in both `x` and `y` to the start of `common`, which has room for both.
/// No branch depends on the ids.
fn intersection_into(x: &[u32], y: &[u32], common: &mut [u32]) -> usize {
    let (mut i, mut j, mut len) = (0, 0, 0);
    while i < x.len() && j < y.len() {
        let (a, b) = (x[i], y[j]);
        common[len] = a;
        len += usize::from(a == b);
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    len
}

/// Combines patterns two by two, from the left.
fn fold(parts: &[(&[usize], &[u32])], into_row: IntoRow) -> Pattern {
    let Some((&first, rest)) = parts.split_first() else {
        return (Temp::filled(0, 1), Temp::with_capacity(0));
    };
    let base = first.0[0];
    let mut all = (Temp::collect(first.0.iter().map(|&p| p - base)), Temp::copied(first.1));
    for &other in rest {
        if !same((&all.0, &all.1), other) {
            all = combine((&all.0, &all.1), other, into_row);
        }
    }
    all
}

fn same(x: (&[usize], &[u32]), y: (&[usize], &[u32])) -> bool {
    let pointers = x.0.iter().zip(y.0);
    x.1.len() == y.1.len()
        && pointers.into_iter().all(|(&p, &q)| p - x.0[0] == q - y.0[0])
        && x.1 == y.1
}

fn combine(x: (&[usize], &[u32]), y: (&[usize], &[u32]), into_row: IntoRow) -> Pattern {
    let rows = x.0.len() - 1;
    let cost = 3 * (x.1.len() + y.1.len()) / rows.max(1) + 4;
    let parts = map_parts(rows, cost, |rows| -> Pattern {
        let room = (x.0[rows.end] - x.0[rows.start]) + (y.0[rows.end] - y.0[rows.start]);
        let (mut ends, mut columns) =
            (Temp::with_capacity(rows.len() + 1), Temp::unspecified(room));
        let mut len = 0;
        for i in rows {
            len += into_row(row(x, i), row(y, i), &mut columns[len..]);
            ends.push(len);
        }
        columns.truncate(len);
        (ends, columns)
    });
    join(rows, parts)
}

/// Joins parts whose row pointers are the ends of rows.
fn join(rows: usize, mut parts: SmallVec<[Pattern; 1]>) -> Pattern {
    if let [(ends, _)] = &mut parts[..] {
        ends.insert(0, 0);
        return parts.swap_remove(0);
    }
    let stored = parts.iter().map(|part| part.1.len()).sum();
    let (mut indptr, mut indices) = (Temp::with_capacity(rows + 1), Temp::with_capacity(stored));
    indptr.push(0);
    for (ends, columns) in parts {
        let start = indices.len();
        indptr.extend(ends.iter().map(|end| start + end));
        indices.extend_from_slice(&columns);
        ends.free();
        columns.free();
    }
    (indptr, indices)
}

/// For each entry of the pattern `onto`, its position among the entries of the first pattern,
/// `usize::MAX` where that has none.
pub(crate) fn entry_positions(
    indptr: &[usize],
    indices: &[u32],
    onto_indptr: &[usize],
    onto_indices: &[u32],
) -> Temp<usize> {
    if same((indptr, indices), (onto_indptr, onto_indices)) {
        return Temp::collect(0..indices.len());
    }
    let mut at = Temp::filled(usize::MAX, onto_indices.len());
    for i in 0..onto_indptr.len() - 1 {
        let onto = range((onto_indptr, onto_indices), i);
        let from = range((indptr, indices), i);
        let (x, y) = (&onto_indices[onto.clone()], &indices[from.clone()]);
        walk(x, y, from.start, &mut at[onto]);
    }
    at
}

/// Walks both rows; `y` starts at entry `start`. No branch depends on the ids.
fn walk(x: &[u32], y: &[u32], start: usize, at: &mut [usize]) {
    let (mut i, mut j) = (0, 0);
    while i < x.len() && j < y.len() {
        let (a, b) = (x[i], y[j]);
        at[i] = if a == b { start + j } else { usize::MAX };
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
}
