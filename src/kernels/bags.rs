//! Bags of ids as rows of a CSR matrix.

use super::memory::{Csr, Temp};
use super::spgemm::concat;
use super::threads::{for_each_part, map_parts};
use super::{CsrRef, Real};

/// Ids in bags: bag `i` holds the ids `bounds[i]..bounds[i + 1]` of the list, but those that equal
/// `padding`.
#[derive(Clone, Copy)]
pub(crate) struct BagsRef<'a> {
    pub ids: &'a [i64],
    pub bounds: &'a [usize],
    pub padding: Option<i64>,
}

/// The matrix whose row `i` adds up, at the column of each id of bag `i`, `weights` at the id's
/// position, or ones without weights; with `mean`, divided by the number of ids in the bag.
pub(crate) fn bags_csr<T: Real>(bags: BagsRef, weights: Option<&[T]>, mean: bool) -> Csr<T> {
    let rows = bags.bounds.len() - 1;
    let cost = 16 * (bags.ids.len() / rows.max(1) + 1);
    let parts = map_parts(rows, cost, |part| {
        let room = bags.bounds[part.end] - bags.bounds[part.start];
        let mut own = Csr::with_capacity(part.len(), room);
        let Csr { indptr: ends, indices: columns, values } = &mut own;
        let length = |bag: usize| bags.bounds[bag + 1] - bags.bounds[bag];
        let mut keys = Temp::with_capacity(part.clone().map(length).max().unwrap_or(0));
        for bag in part {
            let start = columns.len();
            bags.sorted(bag, &mut keys);
            for &key in keys.iter() {
                let (column, n) = ((key >> 32) as u32, bags.bounds[bag] + key as u32 as usize);
                let weight = weights.map_or(T::one(), |weights| weights[n]);
                if columns[start..].last() == Some(&column) {
                    let last = values.len() - 1;
                    values[last] = values[last] + weight;
                } else {
                    columns.push(column);
                    values.push(weight);
                }
            }
            if mean {
                let count = T::from(keys.len()).unwrap_or(T::one());
                values[start..].iter_mut().for_each(|x: &mut T| *x = *x / count);
            }
            ends.push(columns.len());
        }
        own
    });
    concat(rows, parts)
}

/// The entry of `csr` at the bag and id of each position of the list; 0 where there is none, and
/// for padding.
pub(crate) fn pick_bags<T: Real>(bags: BagsRef, csr: CsrRef<T>, out: &mut [T]) {
    for_each_part(out, 1, 16, |first, out| {
        let mut bag = bags.bounds.partition_point(|&end| end <= first) - 1;
        for (n, out) in (first..).zip(out) {
            while bags.bounds[bag + 1] <= n {
                bag += 1;
            }
            let (columns, values) = csr.row(bag);
            let is_padding = bags.padding == Some(bags.ids[n]);
            let at = columns.binary_search(&(bags.ids[n] as u32)).ok().filter(|_| !is_padding);
            *out = at.map_or(T::zero(), |at| values[at]);
        }
    });
}

impl BagsRef<'_> {
    /// The ids of a bag, ascending, each above its position in the bag: equal ids stay in order.
    fn sorted(&self, bag: usize, keys: &mut Vec<u64>) {
        let ids = &self.ids[self.bounds[bag]..self.bounds[bag + 1]];
        keys.clear();
        let held = ids.iter().enumerate().filter(|(_, id)| self.padding != Some(**id));
        keys.extend(held.map(|(n, &id)| (id as u64) << 32 | n as u64));
        keys.sort_unstable();
    }
}
