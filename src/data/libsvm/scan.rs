//! A cursor over bytes that reads ids and decimal numbers.

use crate::kernels::entries::Rounded;
use crate::tensor::Real;

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub message: String,
}

impl Fault {
    pub fn new(at: usize, message: String) -> Self {
        Fault { at, message }
    }
}

/// A float that decimal text converts to, correctly rounded.
pub(super) trait Decimal: Real + Rounded {
    /// `mantissa * 10^scale` for up to [`MAX_DIGITS`] digits and `|scale| <= EXACT_POWER`, unless
    /// rounding that correctly takes more than `f64` has.
    fn from_decimal(mantissa: u64, scale: i32) -> Option<Self>;

    /// Any usual notation, `inf` and `nan` included.
    fn parse(token: &[u8]) -> Option<Self>;
}

impl Decimal for f64 {
    #[inline(always)]
    fn from_decimal(mantissa: u64, scale: i32) -> Option<Self> {
        // Both operands are exact, so that the one operation rounds correctly.
        let (exact, power) = (mantissa as i64 as f64, power_of_ten(scale.abs()));
        let x = if scale <= 0 { exact / power } else { exact * power };
        (mantissa <= 1 << 53).then_some(x)
    }

    fn parse(token: &[u8]) -> Option<Self> {
        fast_float2::parse(token).ok()
    }
}

impl Decimal for f32 {
    #[inline(always)]
    fn from_decimal(mantissa: u64, scale: i32) -> Option<Self> {
        // Three roundings make an error of three units in the last place of f64 at most. It matters
        // only near the middle between two f32, where the bits that f32 does not have are 1000...
        let x = mantissa as i64 as f64 * power_of_ten(scale);
        let below = x.to_bits() as u32 & 0x1FFF_FFFF;
        (below.wrapping_sub(0x1000_0000 - 4) > 8).then_some(x as f32)
    }

    fn parse(token: &[u8]) -> Option<Self> {
        fast_float2::parse(token).ok()
    }
}

/// Up to this exponent, `f64` holds powers of ten exactly.
const EXACT_POWER: usize = 22;

#[rustfmt::skip]
const POWERS: [f64; 2 * EXACT_POWER + 1] = [
    1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11,
    1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1,
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10,
    1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The nearest `f64` to `10^exponent`, for `-EXACT_POWER..=EXACT_POWER`.
#[inline(always)]
fn power_of_ten(exponent: i32) -> f64 {
    POWERS[(exponent + EXACT_POWER as i32) as usize]
}

/// Decimal digits that always fit `i64`, which converts faster than `u64`.
const MAX_DIGITS: usize = 18;

const INTEGER_POWERS: [u64; 9] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// How many of these bytes are digits before another byte comes, and their number. Eight bytes are
/// worked on at once: loops over digits are mispredicted once per number.
#[inline(always)]
fn leading_digits(bytes: [u8; 8]) -> (usize, u64) {
    let offsets = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    // Bytes above 9 set their top bit; a carry reaches only bytes after the first such byte.
    let others = (offsets.wrapping_add(0x7676_7676_7676_7676) | offsets) & 0x8080_8080_8080_8080;
    let digits = others.trailing_zeros() as usize / 8;
    // What is no digit is shifted out; zeros come in before the first digit.
    let units = offsets.checked_shl(64 - 8 * digits as u32).unwrap_or(0);
    // Sums of two, then of four and eight neighbours.
    let pairs = units.wrapping_mul(10).wrapping_add(units >> 8);
    const MASK: u64 = 0x0000_00FF_0000_00FF;
    let high = (pairs & MASK).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & MASK).wrapping_mul(1 + (10_000 << 32));
    (digits, high.wrapping_add(low) >> 32)
}

/// Small enough to be copied: a cursor that nobody else can see stays in registers.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub text: &'a [u8],
    pub at: usize,
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// Whether a number may end before this byte.
#[inline]
fn ends_number(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'#' | b',')
}

impl<'a> Cursor<'a> {
    /// The next byte; the text ends as if in a line end.
    #[inline]
    pub fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(b'\n')
    }

    pub fn done(&self) -> bool {
        self.at >= self.text.len()
    }

    #[inline]
    pub fn skip_blanks(&mut self) {
        while is_blank(self.peek()) {
            self.at += 1;
        }
    }

    /// Whether nothing but a comment is left on the line.
    #[inline]
    pub fn line_is_over(&self) -> bool {
        matches!(self.peek(), b'\n' | b'#')
    }

    /// Moves behind the line end.
    pub fn next_line(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
    }

    /// The bytes up to the next blank, line end or comment.
    pub fn token(&self) -> &'a [u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |&b: &u8| is_blank(b) || b == b'\n' || b == b'#';
        &rest[..rest.iter().position(ends).unwrap_or(rest.len())]
    }

    /// Appends digits to `number` (wrapping) and returns how many there are.
    #[inline(always)]
    fn digits(&mut self, number: &mut u64) -> usize {
        // Eight steps at known distances: unrolled, they need neither bounds nor counters.
        let Some(bytes) = self.next_eight() else { return self.last_digits(number) };
        for (k, byte) in bytes.into_iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                self.at += k;
                return k;
            }
            *number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        self.at += 8;
        8 + self.last_digits(number)
    }

    fn last_digits(&mut self, number: &mut u64) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            *number = number.wrapping_mul(10).wrapping_add(u64::from(self.peek() - b'0'));
            self.at += 1;
        }
        self.at - start
    }

    #[inline(always)]
    fn next_eight(&self) -> Option<[u8; 8]> {
        self.text.get(self.at..)?.first_chunk().copied()
    }

    /// The same, faster for many digits or unforeseeable numbers of them.
    #[inline(always)]
    fn many_digits(&mut self, number: &mut u64) -> usize {
        let start = self.at;
        while let Some(bytes) = self.next_eight() {
            let (digits, value) = leading_digits(bytes);
            *number = number.wrapping_mul(INTEGER_POWERS[digits]).wrapping_add(value);
            self.at += digits;
            if digits < 8 {
                return self.at - start;
            }
        }
        self.last_digits(number);
        self.at - start
    }

    /// Digits and a colon, unless anything else is there.
    #[inline(always)]
    pub fn id(&mut self) -> Option<u32> {
        let mut id = 0;
        let digits = self.digits(&mut id);
        if digits == 0 || digits > MAX_DIGITS || self.peek() != b':' {
            return None;
        }
        self.at += 1;
        u32::try_from(id).ok()
    }

    /// A number up to the end of the token or a comma.
    #[inline(always)]
    pub fn number<T: Decimal>(&mut self) -> Option<T> {
        let start = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative || self.peek() == b'+');
        let mut mantissa = 0;
        let mut digits = self.digits(&mut mantissa);
        let mut scale = 0;
        if self.peek() == b'.' {
            self.at += 1;
            let decimals = self.many_digits(&mut mantissa);
            digits += decimals;
            scale = -(decimals.min(EXACT_POWER + 1) as i32);
        }
        if matches!(self.peek(), b'e' | b'E') {
            scale += self.exponent();
        }
        let simple = digits.wrapping_sub(1) < MAX_DIGITS && ends_number(self.peek());
        if simple
            && scale.unsigned_abs() as usize <= EXACT_POWER
            && let Some(x) = T::from_decimal(mantissa, scale)
        {
            return Some(if negative { -x } else { x });
        }
        let (x, end) = Cursor { text: self.text, at: start }.any_number()?;
        self.at = end;
        Some(x)
    }

    /// Up to three digits behind `e`; what is more ends no number.
    #[inline(always)]
    fn exponent(&mut self) -> i32 {
        self.at += 1;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative || self.peek() == b'+');
        let (start, mut exponent) = (self.at, 0);
        while self.at < start + 3 && self.peek().is_ascii_digit() {
            exponent = 10 * exponent + i32::from(self.peek() - b'0');
            self.at += 1;
        }
        // No digits: a scale that nothing has.
        let exponent = if self.at == start { 1000 } else { exponent };
        if negative { -exponent } else { exponent }
    }

    /// The number and where it ends.
    #[cold]
    fn any_number<T: Decimal>(self) -> Option<(T, usize)> {
        let token = self.token();
        let end = memchr::memchr(b',', token).unwrap_or(token.len());
        Some((T::parse(&token[..end])?, self.at + end))
    }
}

/// The text at fault: quoted, at most 40 characters, escaped unless it is plain UTF-8.
pub(super) fn quote(text: &[u8]) -> String {
    const SHOWN: usize = 40;
    let ellipsis = |cut| if cut { "…" } else { "" };
    match str::from_utf8(text) {
        Ok(valid) => {
            let shown: String = valid.chars().take(SHOWN).collect();
            format!("{shown:?}{}", ellipsis(shown.len() < valid.len()))
        }
        Err(_) => {
            let shown = &text[..text.len().min(SHOWN)];
            format!("\"{}\"{}", shown.escape_ascii(), ellipsis(shown.len() < text.len()))
        }
    }
}
