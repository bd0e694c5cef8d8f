//! Values one after the other along an axis.

use super::memory::Csr;
use super::merge::positions;
use super::threads::for_each_part;
use super::{CsrRef, Number};

/// Dense parts side by side: each is its elements and how many of them follow each other in the
/// result.
pub(crate) fn concat_dense<T: Number>(parts: &[(&[T], usize)], out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    let width = parts.iter().map(|part| part.1).sum::<usize>();
    for_each_part(out, width, width / 4 + 1, |first, out| {
        for (n, out) in out.chunks_exact_mut(width).enumerate() {
            let mut at = 0;
            for &(values, own) in parts {
                out[at..at + own].copy_from_slice(&values[(first + n) * own..][..own]);
                at += own;
            }
        }
    });
}

/// Rows below each other.
pub(crate) fn concat_rows<T: Number>(parts: &[CsrRef<T>]) -> Csr<T> {
    let mut out = room(parts, parts.iter().map(|part| part.rows()).sum());
    for part in parts {
        let start = out.indices.len();
        out.indptr.extend(part.indptr[1..].iter().map(|end| start + end - part.indptr[0]));
        out.indices.extend_from_slice(part.indices);
        out.values.extend_from_slice(part.values);
    }
    out
}

/// Columns beside each other.
pub(crate) fn concat_columns<T: Number>(parts: &[CsrRef<T>]) -> Csr<T> {
    let rows = parts.first().map_or(0, |part| part.rows());
    let mut out = room(parts, rows);
    for row in 0..rows {
        let mut first = 0;
        for part in parts {
            let (ids, xs) = part.row(row);
            out.indices.extend(ids.iter().map(|&id| (first + id as usize) as u32));
            out.values.extend_from_slice(xs);
            first += part.cols;
        }
        out.indptr.push(out.indices.len());
    }
    out
}

fn room<T: Number>(parts: &[CsrRef<T>], rows: usize) -> Csr<T> {
    let mut out = Csr::with_capacity(rows, parts.iter().map(|part| part.indices.len()).sum());
    out.indptr.push(0);
    out
}

/// Copies stored rows into those of a union of rows: a row is `outer` runs of `own` elements, which
/// begin at `first` in runs of `width`.
pub(crate) fn place_rows<T: Number>(
    (rows, values, own): (&[u32], &[T], usize),
    union: &[u32],
    outer: usize,
    (out, width, first): (&mut [T], usize, usize),
) {
    if own == 0 {
        return;
    }
    let runs = values.chunks_exact(own);
    let places = positions(rows, union);
    let starts =
        places.iter().flat_map(|&place| (0..outer).map(move |n| place as usize * outer + n));
    for (run, start) in runs.zip(starts) {
        out[start * width + first..][..own].copy_from_slice(run);
    }
}
