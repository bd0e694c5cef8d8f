//! Whether ids are sorted and in bounds: of a row-sparse value, or of all rows of a csr matrix at once.

use super::vectorized::{Task, vectorized};

/// Whether ids ascend in each row, none twice, and are below `cols`. Row pointers are monotone and span
/// all ids.
pub(crate) fn rows_ascend(indptr: &[usize], ids: &[u32], cols: usize) -> bool {
    let (descents, bounded) = vectorized(Scan { ids, cols });
    if !bounded {
        return false;
    }
    // The only places without an ascent are the ends of rows.
    let first = indptr.first().copied().unwrap_or(0);
    let mut last_end = 0;
    let mut ends = 0;
    for &end in indptr {
        let end = end - first;
        if end != last_end && end < ids.len() {
            ends += usize::from(end > 0 && ids[end - 1] >= ids[end]);
        }
        last_end = end;
    }
    descents == ends
}

/// Whether ids ascend, none twice.
pub(crate) fn ascend(ids: &[u32]) -> bool {
    vectorized(Scan { ids, cols: usize::MAX }).0 == 0
}

/// How many ids are followed by one that is not larger, and whether all are below `cols`.
struct Scan<'a> {
    ids: &'a [u32],
    cols: usize,
}

impl Task for Scan<'_> {
    type Output = (usize, bool);

    #[inline(always)]
    fn run(self) -> (usize, bool) {
        let next = self.ids.get(1..).unwrap_or_default();
        let (mut descents, mut largest) = (0, 0);
        // Blocks in which a count of 32 bits cannot overflow.
        for (ids, next) in self.ids.chunks(1 << 16).zip(next.chunks(1 << 16)) {
            let both = ids.iter().zip(next);
            descents += both.fold(0u32, |n, (a, b)| n + u32::from(a >= b)) as usize;
        }
        for &id in self.ids {
            largest = largest.max(id);
        }
        (descents, self.ids.is_empty() || (largest as usize) < self.cols)
    }
}

#[cfg(test)]
mod tests {
    use super::rows_ascend;

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
}
