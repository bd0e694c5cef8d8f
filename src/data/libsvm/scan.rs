//! A cursor over bytes that reads ids and decimal numbers.

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
pub(super) trait Decimal: Real {
    /// This number, given as the correctly rounded `f64`, unless rounding twice might be wrong.
    fn from_rounded(x: f64) -> Option<Self>;

    /// Any usual notation, `inf` and `nan` included.
    fn parse(token: &[u8]) -> Option<Self>;
}

impl Decimal for f64 {
    fn from_rounded(x: f64) -> Option<Self> {
        Some(x)
    }

    fn parse(token: &[u8]) -> Option<Self> {
        fast_float2::parse(token).ok()
    }
}

impl Decimal for f32 {
    #[inline]
    fn from_rounded(x: f64) -> Option<Self> {
        // Halfway between two f32: the digits that f64 rounded away decide.
        let halfway = x.to_bits() & 0x1FFF_FFFF == 0x1000_0000;
        (!halfway).then_some(x as f32)
    }

    fn parse(token: &[u8]) -> Option<Self> {
        fast_float2::parse(token).ok()
    }
}

/// Powers of ten that `f64` holds exactly.
const POWERS: [f64; 20] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// Decimal digits that always fit `u64`.
const MAX_DIGITS: usize = 19;

#[derive(Clone)]
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

    /// Adds digits to `number` (wrapping) and returns how many there are.
    #[inline]
    fn digits(&mut self, number: &mut u64) -> usize {
        let start = self.at;
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                return self.at - start;
            }
            *number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
    }

    /// Digits and a colon, unless anything else is there.
    #[inline]
    pub fn id(&mut self) -> Option<u32> {
        let mut id = 0;
        let digits = self.digits(&mut id);
        if digits == 0 || digits > MAX_DIGITS || self.peek() != b':' {
            return None;
        }
        self.at += 1;
        u32::try_from(id).ok()
    }

    /// A number up to the end of the token or a comma. On failure the cursor stays.
    #[inline]
    pub fn number<T: Decimal>(&mut self) -> Option<T> {
        let start = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative || self.peek() == b'+');
        let mut mantissa = 0;
        let mut digits = self.digits(&mut mantissa);
        let mut decimals = 0;
        if self.peek() == b'.' {
            self.at += 1;
            decimals = self.digits(&mut mantissa);
            digits += decimals;
        }
        // Both operands are exact, so that the one division rounds correctly.
        let exact = digits > 0 && digits <= MAX_DIGITS && mantissa <= 1 << 53;
        if exact && ends_number(self.peek()) {
            let x = mantissa as f64 / POWERS[decimals];
            if let Some(x) = T::from_rounded(if negative { -x } else { x }) {
                return Some(x);
            }
        }
        self.at = start;
        self.any_number()
    }

    #[cold]
    fn any_number<T: Decimal>(&mut self) -> Option<T> {
        let token = self.token();
        let end = memchr::memchr(b',', token).unwrap_or(token.len());
        let x = T::parse(&token[..end])?;
        self.at += end;
        Some(x)
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
