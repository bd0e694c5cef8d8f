//! CSR times CSR, and the transpose.

use std::mem::take;
use std::ops::Range;

use super::ranks::Ranks;
use super::threads::map_parts;
use super::{CsrRef, Number, Real, prefix_sum};

/// Products in a part of the rows, per column of the result, from which on a row is summed in a
/// dense accumulator; below, products are sorted.
const COLUMNS_PER_PRODUCT: usize = 32;

/// Row pointers, columns and values.
pub(super) type Csr<T> = (Vec<usize>, Vec<u32>, Vec<T>);

/// `a · b`. An entry is stored wherever a product exists, even if the sum is 0.
pub(crate) fn csr_csr<T: Real>(a: CsrRef<T>, b: CsrRef<T>) -> Csr<T> {
    let products = |i| a.row(i).0.iter().map(|&j| b.range(j as usize).len()).sum::<usize>();
    let total: usize = (0..a.rows()).map(products).sum();
    let cost = 8 * (total / a.rows().max(1) + 1);
    let parts = map_parts(a.rows(), cost, |rows| {
        let total: usize = rows.clone().map(products).sum();
        if b.cols <= total.saturating_mul(COLUMNS_PER_PRODUCT) {
            dense_rows(a, b, rows, total)
        } else {
            sorted_rows(a, b, rows, total)
        }
    });
    concat(a.rows(), parts)
}

/// Joins parts whose first element holds row lengths.
pub(super) fn concat<T: Copy>(rows: usize, mut parts: Vec<Csr<T>>) -> Csr<T> {
    if let [_] = parts[..]
        && let Some((mut lengths, indices, values)) = parts.pop()
    {
        lengths.insert(0, 0);
        prefix_sum(&mut lengths);
        return (lengths, indices, values);
    }
    let stored = parts.iter().map(|part| part.1.len()).sum();
    let mut indptr = Vec::with_capacity(rows + 1);
    let (mut indices, mut values) = (Vec::with_capacity(stored), Vec::with_capacity(stored));
    indptr.push(0);
    for part in parts {
        indptr.extend(part.0);
        indices.extend(part.1);
        values.extend(part.2);
    }
    prefix_sum(&mut indptr);
    (indptr, indices, values)
}

/// Sums of one row over all columns; everything is 0 between rows.
struct Accumulator<T> {
    sums: Vec<T>,
    seen: Ranks,
    /// The first `len` are the columns seen, in the order in which they came.
    columns: Vec<u32>,
    len: usize,
}

impl<T: Real> Accumulator<T> {
    fn new(cols: usize) -> Self {
        let (sums, columns) = (vec![T::zero(); cols], vec![0; cols + 1]);
        Accumulator { sums, seen: Ranks::new(cols), columns, len: 0 }
    }

    /// No branch depends on whether the column is new.
    #[inline]
    fn add(&mut self, column: u32, x: T) {
        let sum = &mut self.sums[column as usize];
        *sum = *sum + x;
        self.columns[self.len] = column;
        self.len += usize::from(self.seen.insert_new(column));
    }

    /// Appends the sums in ascending order of columns and clears them.
    fn drain(&mut self, indices: &mut Vec<u32>, values: &mut Vec<T>) {
        let start = indices.len();
        if self.len > Ranks::words(self.sums.len()) / 8 {
            indices.append(&mut self.seen.list(self.len));
        } else {
            self.columns[..self.len].sort_unstable();
            indices.extend_from_slice(&self.columns[..self.len]);
        }
        let columns = &indices[start..];
        values.extend(columns.iter().map(|&column| take(&mut self.sums[column as usize])));
        self.seen.clear(columns);
        self.len = 0;
    }
}

fn dense_rows<T: Real>(a: CsrRef<T>, b: CsrRef<T>, rows: Range<usize>, most: usize) -> Csr<T> {
    let mut sums = Accumulator::new(b.cols);
    // No more entries than places, however many products meet in one.
    let most = most.min(rows.len().saturating_mul(b.cols));
    let mut lengths = Vec::with_capacity(rows.len());
    let (mut indices, mut values) = (Vec::with_capacity(most), Vec::with_capacity(most));
    for i in rows {
        each_product(a, b, i, |column, x| sums.add(column, x));
        lengths.push(sums.len);
        sums.drain(&mut indices, &mut values);
    }
    indices.shrink_to_fit();
    values.shrink_to_fit();
    (lengths, indices, values)
}

/// Sums in the same order as [`dense_rows`]: the sort is stable.
fn sorted_rows<T: Real>(a: CsrRef<T>, b: CsrRef<T>, rows: Range<usize>, most: usize) -> Csr<T> {
    let mut lengths = Vec::with_capacity(rows.len());
    let (mut indices, mut values) = (Vec::with_capacity(most), Vec::with_capacity(most));
    let mut products = Vec::new();
    for i in rows {
        products.clear();
        each_product(a, b, i, |column, x| products.push((column, x)));
        products.sort_by_key(|&(column, _)| column);
        let start = indices.len();
        for same in products.chunk_by(|x, y| x.0 == y.0) {
            indices.push(same[0].0);
            values.push(same.iter().fold(T::zero(), |sum, &(_, x)| sum + x));
        }
        lengths.push(indices.len() - start);
    }
    indices.shrink_to_fit();
    values.shrink_to_fit();
    (lengths, indices, values)
}

fn each_product<T: Real>(a: CsrRef<T>, b: CsrRef<T>, i: usize, mut f: impl FnMut(u32, T)) {
    let (ids, values) = a.row(i);
    for (&j, &x) in ids.iter().zip(values) {
        let (columns, values) = b.row(j as usize);
        for (&column, &y) in columns.iter().zip(values) {
            f(column, x * y);
        }
    }
}

/// The transpose of `a`.
pub(crate) fn transpose<T: Number>(a: CsrRef<T>) -> Csr<T> {
    let mut indptr = vec![0; a.cols + 2];
    a.indices.iter().for_each(|&column| indptr[column as usize + 2] += 1);
    prefix_sum(&mut indptr);
    let mut indices = vec![0; a.indices.len()];
    let mut values = vec![T::default(); a.indices.len()];
    for i in 0..a.rows() {
        let (columns, xs) = a.row(i);
        for (&column, &x) in columns.iter().zip(xs) {
            // Pointer `column + 1` runs from the start of `column` to its end.
            let at = &mut indptr[column as usize + 1];
            indices[*at] = i as u32;
            values[*at] = x;
            *at += 1;
        }
    }
    indptr.pop();
    (indptr, indices, values)
}
