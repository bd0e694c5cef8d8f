//! CSR times CSR, and the transpose.

use std::mem::take;

use smallvec::SmallVec;

use super::assemble::{Part, assemble};
use super::memory::{Csr, Temp};
use super::ranks::Ranks;
use super::{CsrRef, Number, Real, prefix_sum};

/// Products in a part of the rows, per column of the result, from which on a row is summed in a
/// dense accumulator; below, products are sorted.
const COLUMNS_PER_PRODUCT: usize = 32;

/// `a · b`. An entry is stored wherever a product exists, even if the sum is 0.
pub(crate) fn csr_csr<T: Real>(a: CsrRef<T>, b: CsrRef<T>) -> Csr<T> {
    let mut total = 0;
    let mut starts = Temp::with_capacity(a.rows() + 1);
    starts.push(0);
    for i in 0..a.rows() {
        let products = products(a, b, i);
        total += products;
        // No more entries than places, however many products meet in one.
        let end = starts[i] + products.min(b.cols);
        starts.push(end);
    }
    let cost = 8 * (total / a.rows().max(1) + 1);
    assemble(
        a.rows(),
        cost,
        |row| starts[row],
        |part| {
            let products: usize = part.rows.clone().map(|i| products(a, b, i)).sum();
            if b.cols <= products.saturating_mul(COLUMNS_PER_PRODUCT) {
                dense_rows(a, b, part)
            } else {
                sorted_rows(a, b, part)
            }
        },
    )
}

/// Joins parts whose row pointers are the ends of rows.
pub(super) fn concat<T: Number>(rows: usize, mut parts: SmallVec<[Csr<T>; 1]>) -> Csr<T> {
    if let [only] = &mut parts[..] {
        only.indptr.insert(0, 0);
        return parts.swap_remove(0);
    }
    let mut all = Csr::with_capacity(rows, parts.iter().map(|part| part.indices.len()).sum());
    all.indptr.push(0);
    for part in parts {
        let start = all.indices.len();
        all.indptr.extend(part.indptr.iter().map(|end| start + end));
        all.indices.extend_from_slice(&part.indices);
        all.values.extend_from_slice(&part.values);
        part.free();
    }
    all
}

/// Sums of one row over all columns; everything is 0 between rows.
struct Accumulator<T: Number> {
    sums: Temp<T>,
    seen: Ranks,
}

impl<T: Real> Accumulator<T> {
    fn new(cols: usize) -> Self {
        Accumulator { sums: Temp::filled(T::zero(), cols), seen: Ranks::new(cols) }
    }

    #[inline]
    fn add(&mut self, column: u32, x: T) {
        let sum = &mut self.sums[column as usize];
        *sum = *sum + x;
    }

    /// The sums of a row, in ascending order of columns, which are then 0 again. Few new columns are sorted;
    /// many are found where they are marked.
    fn row(
        &mut self,
        (a, b, i): (CsrRef<T>, CsrRef<T>, usize),
        columns: &mut Temp<u32>,
        values: &mut [T],
    ) {
        columns.clear();
        let products = products(a, b, i);
        if products > Ranks::words(self.sums.len()) / 8 {
            each_product(a, b, i, |column, x| {
                self.add(column, x);
                self.seen.insert_new(column);
            });
            self.seen.list(products, columns);
        } else {
            columns.resize(products, 0);
            let mut len = 0;
            each_product(a, b, i, |column, x| {
                self.add(column, x);
                // No branch depends on whether the column is new.
                columns[len] = column;
                len += usize::from(self.seen.insert_new(column));
            });
            columns.truncate(len);
            columns.sort_unstable();
        }
        for (value, &column) in values.iter_mut().zip(columns.iter()) {
            *value = take(&mut self.sums[column as usize]);
        }
        self.seen.clear(columns);
    }
}

fn dense_rows<T: Real>(a: CsrRef<T>, b: CsrRef<T>, part: Part<T>) -> usize {
    let mut sums = Accumulator::new(b.cols);
    let mut columns = Temp::with_capacity(b.cols + Ranks::SPARE);
    let mut len = 0;
    for (i, end) in part.rows.zip(part.ends) {
        sums.row((a, b, i), &mut columns, &mut part.values[len..]);
        part.indices[len..len + columns.len()].copy_from_slice(&columns);
        len += columns.len();
        *end = len;
    }
    len
}

/// Sums in the same order as [`dense_rows`]: products of one column stay in order. There are fewer
/// than columns, so `u32` counts them.
fn sorted_rows<T: Real>(a: CsrRef<T>, b: CsrRef<T>, part: Part<T>) -> usize {
    let (mut order, mut products, mut len) = (Temp::growing(), Temp::growing(), 0);
    for (i, end) in part.rows.zip(part.ends) {
        order.clear();
        products.clear();
        each_product(a, b, i, |column, x| {
            order.push((column, products.len() as u32));
            products.push(x);
        });
        order.sort_unstable();
        for same in order.chunk_by(|x, y| x.0 == y.0) {
            let sum = same.iter().fold(T::zero(), |sum, &(_, n)| sum + products[n as usize]);
            (part.indices[len], part.values[len]) = (same[0].0, sum);
            len += 1;
        }
        *end = len;
    }
    len
}

fn products<T: Real>(a: CsrRef<T>, b: CsrRef<T>, i: usize) -> usize {
    a.row(i).0.iter().map(|&j| b.range(j as usize).len()).sum()
}

#[inline(always)]
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
    let stored = a.indices.len();
    let mut indptr = Temp::filled(0, a.cols + 2);
    let (mut indices, mut values) = (Temp::unspecified(stored), Temp::unspecified(stored));
    a.indices.iter().for_each(|&column| indptr[column as usize + 2] += 1);
    prefix_sum(&mut indptr);
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
    Csr { indptr, indices, values }
}
