//! The distinct columns of a pattern.

/// The distinct `indices`, ascending, and for each index its position among them.
pub(crate) fn compact(indices: &[u32], _cols: usize) -> (Vec<u32>, Vec<u32>) {
    let mut distinct = indices.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let slots = indices.iter().map(|i| distinct.binary_search(i).unwrap_or(0) as u32).collect();
    (distinct, slots)
}
