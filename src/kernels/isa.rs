//! Which instruction set the element-wise loops run on.

use std::sync::OnceLock;

/// An instruction set with its own instantiation of every element-wise loop.
///
/// All of them give the same bits; they differ in speed alone. The order is by width, so the
/// smaller of two is one that both allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// One element at a time, in plain Rust; runs everywhere.
    Portable,
    /// 256-bit AVX2 lanes.
    Avx2,
    /// 512-bit AVX-512 lanes (F and DQ).
    Avx512,
}

impl Isa {
    /// The widest set this CPU has; looked up once per process.
    #[inline]
    pub fn detected() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(detect)
    }

    /// Every set this CPU can run, narrowest first.
    #[cfg(test)]
    pub fn available() -> impl Iterator<Item = Self> {
        [Self::Portable, Self::Avx2, Self::Avx512]
            .into_iter()
            .filter(|&isa| isa <= Self::detected())
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    if !is_x86_feature_detected!("avx2") {
        return Isa::Portable;
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
        return Isa::Avx512;
    }
    Isa::Avx2
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Portable
}
