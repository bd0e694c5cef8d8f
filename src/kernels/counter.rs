//! Random numbers by counter: a number follows from a key and a position alone, so from no order of
//! evaluation.

/// The golden ratio, as SplitMix64 steps by it.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A sequence of random bits, addressed by position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter(u64);

impl Counter {
    /// The key is made of numbers of any size.
    pub fn new(keys: &[u64]) -> Self {
        Counter(keys.iter().fold(0, |key: u64, &part| mix(key.wrapping_add(STEP) ^ part)))
    }

    /// 64 bits.
    #[inline]
    pub fn bits(self, position: u64) -> u64 {
        mix(self.0.wrapping_add(position.wrapping_add(1).wrapping_mul(STEP)))
    }

    /// Uniform in [0, 1).
    pub fn uniform(self, position: u64) -> f64 {
        (self.bits(position) >> 11) as f64 * 2f64.powi(-53)
    }

    /// Standard normal, by Box and Muller (1958).
    pub fn normal(self, position: u64) -> f64 {
        let (u, v) = (self.uniform(2 * position), self.uniform(2 * position + 1));
        (-2.0 * libm::log(1.0 - u)).sqrt() * libm::cos(2.0 * std::f64::consts::PI * v)
    }
}
