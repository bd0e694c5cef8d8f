//! Whether ids are sorted and in bounds: of a row-sparse value, or of all rows of a csr matrix at once.

use super::vectorized::{Task, vectorized};

/// Ids that are looked at while they are in the nearest cache.
const BLOCK: usize = 1 << 12;

/// Whether ids ascend in each row, none twice, and are below `cols`. Row pointers are monotone and span
/// all ids. `each` is given all ids, block by block, as they are read.
pub(crate) fn rows_ascend(
    indptr: &[usize],
    ids: &[u32],
    cols: usize,
    mut each: impl FnMut(&[u32]),
) -> bool {
    let (mut descents, mut largest) = (0, 0);
    for first in (0..ids.len()).step_by(BLOCK) {
        let (end, last) = (ids.len().min(first + BLOCK), ids.len().min(first + BLOCK + 1));
        each(&ids[first..end]);
        let (found, most) = vectorized(Scan { ids: &ids[first..end], next: &ids[first + 1..last] });
        (descents, largest) = (descents + found as usize, most.max(largest));
    }
    if !ids.is_empty() && largest as usize >= cols {
        return false;
    }
    // The only places without an ascent are the ends of rows.
    let base = indptr.first().copied().unwrap_or(0);
    let mut last_end = 0;
    let mut ends = 0;
    for &end in indptr {
        let end = end - base;
        if end != last_end && end < ids.len() {
            ends += usize::from(end > 0 && ids[end - 1] >= ids[end]);
        }
        last_end = end;
    }
    descents == ends
}

/// How many ids are followed by one that is not larger, and the largest.
struct Scan<'a> {
    ids: &'a [u32],
    next: &'a [u32],
}

impl Task for Scan<'_> {
    type Output = (u32, u32);

    #[inline(always)]
    fn run(self) -> (u32, u32) {
        let last = self.ids.last().copied().unwrap_or(0);
        let both = self.ids.iter().zip(self.next);
        both.fold((0, last), |(n, most), (&a, &b)| (n + u32::from(a >= b), most.max(a)))
    }
}

#[cfg(test)]
mod tests {
    use super::BLOCK;

    fn rows_ascend(indptr: &[usize], ids: &[u32], cols: usize) -> bool {
        let mut seen = Vec::new();
        let ascend = super::rows_ascend(indptr, ids, cols, |block| seen.extend_from_slice(block));
        assert_eq!(seen, ids);
        ascend
    }

    #[test]
    fn each_row_ascends_by_itself() {
        assert!(rows_ascend(&[0, 2, 2, 4], &[1, 5, 0, 9], 10));
        assert!(rows_ascend(&[7, 9, 11], &[1, 5, 6, 9], 10));
        assert!(rows_ascend(&[0], &[], 0) && rows_ascend(&[3, 3], &[], 0));
        for (indptr, ids) in [
            (&[0, 2, 4][..], [5u32, 1, 6, 9]),
            (&[0, 2, 4], [1, 5, 9, 9]),
            (&[0, 4], [1, 5, 0, 9]),
            (&[0, 0, 3, 4], [1, 5, 0, 9]),
            (&[0, 2, 4], [1, 5, 0, 10]),
        ] {
            assert!(!rows_ascend(indptr, &ids, 10), "{indptr:?} {ids:?}");
        }
    }

    #[test]
    fn descents_between_blocks_are_seen() {
        let mut ids: Vec<u32> = (0..2 * BLOCK as u32 + 3).collect();
        let n = ids.len();
        assert!(rows_ascend(&[0, n], &ids, n));
        assert!(!rows_ascend(&[0, n], &ids, n - 1));
        ids[BLOCK] = 0;
        assert!(!rows_ascend(&[0, n], &ids, n));
        assert!(rows_ascend(&[0, BLOCK, n], &ids, n));
    }
}
