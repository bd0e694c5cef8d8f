//! Seeded permutations.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A permutation of `0..n` (Fisher-Yates) that depends on `n`, `seed` and `epoch` alone.
pub(super) fn permutation(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    // An odd multiplier keeps the epochs of one seed apart; the generator's seeding mixes the bits.
    let mixed = seed.wrapping_add(epoch.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut random = Pcg64::seed_from_u64(mixed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let below = u128::from(random.next_u64()) * (i as u128 + 1);
        order.swap(i, (below >> 64) as usize);
    }
    order
}
