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
        (x.to_bits() & 0x1FFF_FFFF != 0x1000_0000).then_some(x as f32)
    }
}

/// Reads entries from byte `at` on up to a line end, to the end of `ids` and `values`, or to an entry that is not
/// plain: an id of up to 8 digits, a colon, an optional minus, up to 15 digits that may have a point among them, and
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

    /// Most digits of an id.
    const ID: u64 = 8;

    /// Most digits of a value, which `f64` holds exactly.
    const DIGITS: usize = 15;

    /// Powers of ten; those for negative numbers are negative.
    const POWERS: [[f64; DIGITS + 1]; 2] = {
        let mut powers = [[1.0; DIGITS + 1], [-1.0; DIGITS + 1]];
        let mut k = 1;
        while k <= DIGITS {
            powers[0][k] = powers[0][k - 1] * 10.0;
            powers[1][k] = -powers[0][k];
            k += 1;
        }
        powers
    };

    /// From which bytes the digits of a number come that end a vector; nothing comes before the first one. By the
    /// length of the number and the point in it, which is left out: what comes before it moves up.
    const PLACES: [[[u8; 16]; 16]; 17] = {
        let mut places = [[[0x80; 16]; 16]; 17];
        let mut k = 0;
        while k < 17 * 16 * 16 {
            let (length, point, place) = (k / 256, k / 16 % 16, k % 16);
            let before = 16 - place;
            if before < length && length - before > point {
                places[length][point][place] = (length - before) as u8;
            } else if before < length {
                places[length][point][place] = (length - before - 1) as u8;
            }
            k += 1;
        }
        places
    };

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn plain_entries<T: Rounded>(
        text: &[u8],
        mut at: usize,
        ids: &mut [u32],
        values: &mut [T],
    ) -> (usize, usize) {
        let mut n = 0;
        while let (Some(window), Some(ids), Some(values)) = (
            text.get(at..).and_then(|rest| rest.first_chunk()),
            ids.get_mut(n..).and_then(|rest| rest.first_chunk_mut()),
            values.get_mut(n..).and_then(|rest| rest.first_chunk_mut()),
        ) {
            let (read, end, ends_line) = plain_window(window, ids, values);
            (at, n) = (at + end, n + read);
            if ends_line || read == 0 {
                break;
            }
        }
        (at, n)
    }

    /// How many entries of the window there are, where they end, and whether a line does there.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    #[inline]
    fn plain_window<T: Rounded>(
        window: &[u8; REACH],
        ids: &mut [u32; ENTRIES],
        values: &mut [T; ENTRIES],
    ) -> (usize, usize, bool) {
        let (mut ends, points) = marks(window);
        let mut first = 0;
        for n in 0..ENTRIES {
            let Some(entry) = Entry::find(window, first, ends, points) else {
                return (n, first as usize, false);
            };
            let Some((id, value)) = entry.read::<T>(window) else {
                return (n, first as usize, false);
            };
            (ids[n], values[n]) = (id, value);
            if entry.ends_line {
                return (n + 1, entry.end as usize, true);
            }
            (first, ends) = (entry.end + 1, entry.ends);
        }
        (ENTRIES, first as usize, false)
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
                && length.wrapping_sub(2) < DIGITS as u64
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
            let places = |length: u64, point: u64| {
                let places = PLACES.get(length as usize)?.get(point as usize)?;
                // SAFETY: these are 16 bytes.
                Some(unsafe { _mm_loadu_si128(places.as_ptr().cast()) })
            };
            let places =
                _mm256_set_m128i(places(self.length, self.point)?, places(self.id + 1, self.id)?);
            let digits = _mm256_shuffle_epi8(digits, places);
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
            let decimals = (self.length - self.point - 1) as usize;
            // Both operands are exact, so that the quotient is rounded correctly.
            let power = POWERS[usize::from(self.negative)][decimals % POWERS[0].len()];
            Some((id as u32, T::rounded(mantissa as i64 as f64 / power)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts of entries, most of them plain.
    fn text() -> impl Strategy<Value = String> {
        let decimals = ("-?[0-9]{1,9}", "(\\.[0-9]{0,8})?").prop_map(|(a, b)| a + &b);
        let value = prop_oneof![
            12 => decimals,
            2 => any::<f32>().prop_map(|x| x.to_string()),
            2 => any::<f64>().prop_map(|x| x.to_string()),
            2 => (-9i32..9, 1u64..1 << 40).prop_map(|(k, n)| (n as f64 / 2f64.powi(k)).to_string()),
            1 => "[-+0-9.:e ]{0,20}",
        ];
        let id = prop_oneof![20 => "[0-9]{1,8}", 1 => "[0-9:.-]{0,12}"];
        let end =
            prop_oneof![20 => Just(" "), 1 => "[ \t\r\n#]{0,3}".prop_map(|s: String| &*s.leak())];
        let entry = (id, value, end).prop_map(|(id, value, end)| format!("{id}:{value}{end}"));
        prop::collection::vec(entry, 0..40).prop_map(|entries| entries.concat())
    }

    /// What is read agrees with what the standard library makes of the same bytes.
    fn check<T: Rounded + Default + std::str::FromStr + std::fmt::Debug>(
        text: &str,
        room: usize,
        bits: fn(&T) -> u64,
    ) {
        let (mut ids, mut values) = (vec![0; room], vec![T::default(); room]);
        let padded = format!("{text}{}", "x".repeat(100));
        let (end, n) = plain_entries(padded.as_bytes(), 0, &mut ids, &mut values);
        assert!(n <= room && end <= text.len());
        let parts: Vec<&str> = text[..end].split(' ').filter(|part| !part.is_empty()).collect();
        assert_eq!(parts.len(), n, "{:?}", &text[..end]);
        for (k, part) in parts.into_iter().enumerate() {
            let (id, value) = part.split_once(':').unwrap();
            assert_eq!(ids[k], id.parse::<u32>().unwrap());
            let expected = value.parse::<T>().ok().unwrap();
            assert_eq!(bits(&values[k]), bits(&expected), "{part}");
        }
    }

    proptest! {
        #[test]
        fn entries_are_those_of_the_standard_library(text in text(), room in 0usize..50) {
            check::<f32>(&text, room, |x| x.to_bits().into());
            check::<f64>(&text, room, |x| x.to_bits());
        }
    }

    #[test]
    fn plain_text_is_read_to_the_end_of_its_line() {
        let text = "1:0.5 12345678:-123456.789012345 3:7 4:.5 5:5. 6:-0\n7:1";
        let padded = format!("{text}{}", " ".repeat(100));
        let (mut ids, mut values) = ([0; 16], [0.0f64; 16]);
        let (end, n) = plain_entries(padded.as_bytes(), 0, &mut ids, &mut values);
        if n > 0 {
            assert_eq!((end, n), (text.find('\n').unwrap(), 6));
            assert_eq!(ids[..6], [1, 12345678, 3, 4, 5, 6]);
            assert_eq!(values[..5], [0.5, -123456.789012345, 7.0, 0.5, 5.0]);
            assert_eq!(values[5].to_bits(), (-0.0f64).to_bits());
        }
    }
}
