//! Text `id:value id:value ..` to ids and decimal numbers.
//!
//! A loop over bytes mispredicts where numbers end. Here all bytes of a window are compared at once with what ends
//! a number, and what was found gives the digits their places in a vector: there is no branch on the text but the
//! one that finds anything unusual.

#[cfg(target_arch = "x86_64")]
use super::vectorized::{Level, level};

/// A float that the nearest `f64` is rounded to.
pub trait Rounded: Copy {
    /// The nearest number to what `x` is the nearest `f64` of, unless that does not follow from `x`.
    fn rounded(x: f64) -> Option<Self>;
}

impl Rounded for f64 {
    #[inline(always)]
    fn rounded(x: f64) -> Option<Self> {
        Some(x)
    }
}

impl Rounded for f32 {
    #[inline(always)]
    fn rounded(x: f64) -> Option<Self> {
        // In the middle of two f32 the 29 bits that f32 does not have are 1000...: the number that
        // was rounded to `x` may be on either side.
        let between = x.to_bits() & 0x1FFF_FFFF;
        (between != 0x1000_0000).then_some(x as f32)
    }
}

/// Reads entries from byte `at` on up to a line end, to the end of `ids` and `values`, or to an entry that is not
/// plain: an id of up to 8 digits, a colon, an optional minus, up to 16 digits that may have a point among them, and
/// one space or the line end. How far it came, and how many entries there were.
///
/// May stop anywhere before that, too: after the first entry, or 96 bytes before the end of the text.
#[inline]
pub fn plain_entries<T: Rounded>(
    text: &[u8],
    at: usize,
    ids: &mut [u32],
    values: &mut [T],
) -> (usize, usize) {
    #[cfg(target_arch = "x86_64")]
    if level() != Level::Portable {
        // SAFETY: the processor has these features.
        return unsafe { avx2::plain_entries(text, at, ids, values) };
    }
    let _ = (text, ids, values);
    (at, 0)
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::Rounded;

    /// Bytes in which the ends of entries are looked for at once, and how many entries are read before
    /// the next look.
    const WINDOW: usize = 64;
    const ENTRIES: usize = 4;

    /// Bytes that may be read from the beginning of a window on.
    const REACH: usize = WINDOW + 32;

    /// Most digits of an id and of a value.
    const ID: u64 = 8;
    const VALUE: u64 = 16;

    /// Powers of ten by the number of decimals; for negative numbers negative.
    const POWERS: [[f64; VALUE as usize + 1]; 2] = {
        let mut powers = [[1.0, -1.0]; VALUE as usize + 1];
        let mut k = 1;
        while k < powers.len() {
            powers[k] = [powers[k - 1][0] * 10.0, powers[k - 1][1] * 10.0];
            k += 1;
        }
        let mut by_sign = [[0.0; VALUE as usize + 1]; 2];
        let mut k = 0;
        while k < powers.len() {
            (by_sign[0][k], by_sign[1][k]) = (powers[k][0], powers[k][1]);
            k += 1;
        }
        by_sign
    };

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn plain_entries<T: Rounded>(
        text: &[u8],
        mut at: usize,
        ids: &mut [u32],
        values: &mut [T],
    ) -> (usize, usize) {
        let room = ids.len().min(values.len());
        let mut n = 0;
        while n + ENTRIES <= room
            && let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<REACH>())
        {
            let (mut ends, points) = marks(window);
            let mut first = 0;
            for _ in 0..ENTRIES {
                let Some(entry) = Entry::find(window, first, ends, points) else { break };
                let Some((id, value)) = entry.read::<T>(window) else { break };
                (ids[n], values[n]) = (id, value);
                n += 1;
                if entry.ends_line {
                    return (at + entry.end as usize, n);
                }
                first = entry.end + 1;
                ends = entry.ends;
            }
            if first == 0 {
                break;
            }
            at += first as usize;
        }
        (at, n)
    }

    /// A bit for each byte of the window: those that end a number and are no digits, and points.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    #[inline]
    fn marks(window: &[u8; REACH]) -> (u64, u64) {
        let half = |at: usize| {
            // SAFETY: both halves of the window are within its reach.
            let bytes = unsafe { _mm256_loadu_si256(window.as_ptr().add(at).cast()) };
            let blank = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x20)), bytes);
            let colon = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b':' as i8));
            let point = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'.' as i8));
            let bits = |marked| u64::from(_mm256_movemask_epi8(marked) as u32);
            (bits(_mm256_or_si256(blank, colon)), bits(point))
        };
        let (low, high) = (half(0), half(WINDOW / 2));
        (low.0 | high.0 << 32, low.1 | high.1 << 32)
    }

    /// Where an entry's parts are in its window.
    struct Entry {
        first: u64,
        /// Number of digits of the id.
        id: u64,
        /// Where the value's digits begin.
        start: u64,
        negative: bool,
        /// The point, counted from there.
        point: u64,
        /// Bytes of the value up to the end, and for a point behind it if it has none.
        length: u64,
        end: u64,
        ends_line: bool,
        /// The ends of what comes behind.
        ends: u64,
    }

    impl Entry {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        #[inline]
        fn find(window: &[u8; REACH], first: u64, ends: u64, points: u64) -> Option<Entry> {
            let rest = ends & ends.wrapping_sub(1);
            if rest == 0 {
                return None;
            }
            let (colon, end) = (u64::from(ends.trailing_zeros()), u64::from(rest.trailing_zeros()));
            let negative = window[colon as usize + 1] == b'-';
            let start = colon + 1 + u64::from(negative);
            let point = u64::from(((points | rest) >> (start % 64)).trailing_zeros());
            let whole = u64::from(start + point == end);
            let length = end.wrapping_sub(start).wrapping_add(whole);
            let (id, last) = (colon - first, window[end as usize]);
            let plain = window[colon as usize] == b':'
                && id.wrapping_sub(1) < ID
                && length.wrapping_sub(2) < VALUE
                && (last == b' ' || last == b'\n');
            let ends = rest & rest.wrapping_sub(1);
            let ends_line = last == b'\n';
            plain.then_some(Entry {
                first,
                id,
                start,
                negative,
                point,
                length,
                end,
                ends_line,
                ends,
            })
        }

        /// Id and value; the digits of the id in the low half of a vector, those of the value in the high
        /// one, both at its end.
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        #[inline]
        fn read<T: Rounded>(&self, window: &[u8; REACH]) -> Option<(u32, T)> {
            let load = |at: u64| {
                let bytes = window[at as usize..].first_chunk::<16>()?;
                // SAFETY: these are 16 bytes.
                Some(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
            };
            let bytes = _mm256_set_m128i(load(self.start)?, load(self.first)?);
            let digits = _mm256_sub_epi8(bytes, _mm256_set1_epi8(b'0' as i8));
            let both = |low: u64, high: u64| {
                _mm256_set_m128i(_mm_set1_epi8(high as i8), _mm_set1_epi8(low as i8))
            };
            // Counted from the end: where a digit is. Those up to the point move to where it was, and
            // what comes before the first one is zero.
            #[rustfmt::skip]
            let from_end = _mm_setr_epi8(
                -16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1,
            );
            let places =
                _mm256_add_epi8(_mm256_broadcastsi128_si256(from_end), both(self.id, self.length));
            let behind = _mm256_cmpgt_epi8(places, both(0x80, self.point));
            let before = _mm256_sub_epi8(places, _mm256_set1_epi8(1));
            let digits = _mm256_shuffle_epi8(digits, _mm256_sub_epi8(before, behind));
            let largest = _mm256_max_epu8(digits, _mm256_set1_epi8(9));
            let digit = _mm256_cmpeq_epi8(largest, _mm256_set1_epi8(9));
            if _mm256_movemask_epi8(digit) != -1 {
                return None;
            }
            // Sums of two, four and eight neighbours.
            let tens = _mm256_maddubs_epi16(digits, _mm256_set1_epi16(0x010A));
            let hundreds = _mm256_madd_epi16(tens, _mm256_set1_epi32(0x0001_0064));
            let packed = _mm256_packus_epi32(hundreds, hundreds);
            let eights = _mm256_madd_epi16(packed, _mm256_set1_epi32(0x0001_2710));
            let id = _mm_cvtsi128_si64(_mm256_castsi256_si128(eights)) as u64 >> 32;
            let value = _mm_cvtsi128_si64(_mm256_extracti128_si256::<1>(eights)) as u64;
            let mantissa = (value & 0xFFFF_FFFF) * 100_000_000 + (value >> 32);
            // Both operands are exact, so that the quotient is rounded correctly.
            let decimals = (self.length - self.point - 1) as usize;
            let power = POWERS[usize::from(self.negative)][decimals];
            let number = T::rounded(mantissa as i64 as f64 / power)?;
            (mantissa <= 1 << 53).then_some((id as u32, number))
        }
    }
}
