//! The header of an array: magic bytes, a version, the length of what follows, and a Python dict
//! with element type, order and shape.

use std::io::{self, Read, Write};

use super::array::unread;
use crate::error::Result;
use crate::tensor::Shape;
use crate::tensor::file::damaged;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read. Those of numbers have about a hundred bytes; the longest are those
/// of records with named fields.
const LONGEST: usize = 1 << 16;

/// The longest element type, to be shown in errors.
const LONGEST_TYPE: usize = 20;

/// The most axes that an array of numpy has. The header of so many fits version 1.0.
pub(super) const MOST_AXES: usize = 64;

/// Where the text of a header of version 1.0 begins.
const START: usize = 10;

/// Numbers start at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// numpy leaves room for the first axis to grow to this many digits.
const GROWTH_DIGITS: usize = 21;

/// What stands before the numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub descr: Descr,
    /// Whether the first axis varies fastest, not the last.
    pub fortran_order: bool,
    pub shape: Shape,
}

/// The type of an element, as in `<f4`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Descr {
    pub big_endian: bool,
    /// numpy's letter of the kind, with the size: `f4`.
    pub kind: String,
}

impl Header {
    pub fn read(from: &mut dyn Read) -> Result<Header> {
        let text = text(from)?;
        let mut literal = Literal { text: &text, at: 0 };
        literal.header().ok_or_else(|| {
            let shown = String::from_utf8_lossy(&text[..text.len().min(200)]);
            damaged(format!("byte {} of its header is damaged: {:?}", literal.at, shown.trim_end()))
        })?
    }

    /// Writes the header as numpy 2 does.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let Header { descr, shape, .. } = self;
        let mut text =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let spare = shape.first().map_or(0, |n| GROWTH_DIGITS.saturating_sub(n.to_string().len()));
        text.extend(std::iter::repeat_n(' ', spare));
        // With the line end, and, as in numpy, a full block of blanks where none is needed.
        let end = START + text.len() + 1;
        let length = end + ALIGNMENT - end % ALIGNMENT - START;
        to.write_all(MAGIC)?;
        to.write_all(&[1, 0])?;
        to.write_all(&(length as u16).to_le_bytes())?;
        writeln!(to, "{text:<0$}", length - 1)
    }
}

/// The text of the header.
fn text(from: &mut dyn Read) -> Result<Vec<u8>> {
    let mut start = [0; 8];
    from.read_exact(&mut start).map_err(unread)?;
    let [magic @ .., major, minor] = start;
    if magic != *MAGIC {
        return Err(damaged(format!(
            "not a .npy array: it begins with \"{}\"",
            magic.escape_ascii()
        )));
    }
    let mut length = [0; 4];
    let width = match (major, minor) {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        _ => {
            let why = format!("format {major}.{minor} of .npy; 1.0, 2.0 and 3.0 are read");
            return Err(damaged(why));
        }
    };
    from.read_exact(&mut length[..width]).map_err(unread)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(damaged(format!("a header of {length} bytes, of at most {LONGEST}")));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text).map_err(unread)?;
    Ok(text)
}

/// A cursor over a Python literal.
struct Literal<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Literal<'a> {
    /// The dict, unless it is damaged; an error if its array is of a kind that is not read.
    fn header(&mut self) -> Option<Result<Header>> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.token(b'{')?;
        while !self.is_next(b'}') {
            let key = self.string()?;
            self.token(b':')?;
            match key {
                b"descr" if !matches!(self.peek(), Some(b'\'' | b'"')) => {
                    return Some(Err(records()));
                }
                b"descr" => descr = Some(self.string()?),
                b"fortran_order" => fortran_order = Some(self.boolean()?),
                b"shape" => shape = Some(self.shape()?),
                _ => return None,
            }
            if !self.is_next(b',') && self.peek() != Some(b'}') {
                return None;
            }
        }
        if self.peek().is_some() {
            return None;
        }
        let (fortran_order, shape) = (fortran_order?, shape?);
        Some(Descr::parse(descr?).map(|descr| Header { descr, fortran_order, shape }))
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Whether this byte is next; then it is used up.
    fn is_next(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn token(&mut self, byte: u8) -> Option<()> {
        self.is_next(byte).then_some(())
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let quote = self.peek().filter(|b| matches!(b, b'\'' | b'"'))?;
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().position(|&b| b == quote)?;
        self.at += length + 2;
        Some(&rest[..length])
    }

    /// A run of letters and digits.
    fn word(&mut self) -> &'a [u8] {
        self.peek();
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn boolean(&mut self) -> Option<bool> {
        match self.word() {
            b"True" => Some(true),
            b"False" => Some(false),
            _ => None,
        }
    }

    fn shape(&mut self) -> Option<Shape> {
        let mut shape = Vec::new();
        self.token(b'(')?;
        while !self.is_next(b')') {
            // Python 2 wrote long integers as `3L`.
            let digits = str::from_utf8(self.word()).ok()?.trim_end_matches('L');
            shape.push(digits.parse().ok()?);
            let goes_on = self.is_next(b',') || self.peek() == Some(b')');
            if !goes_on || shape.len() > MOST_AXES {
                return None;
            }
        }
        Some(shape.into())
    }
}

fn records() -> crate::Error {
    damaged("records with named fields are not read: save each field as an array")
}

impl Descr {
    fn parse(text: &[u8]) -> Result<Descr> {
        if text.len() > LONGEST_TYPE {
            return Err(damaged(format!("an element type of {} characters", text.len())));
        }
        let (order, kind) = match text {
            [order @ (b'<' | b'>' | b'|' | b'='), kind @ ..] => (*order, kind),
            kind => (b'=', kind),
        };
        let big_endian = order == b'>' || order == b'=' && cfg!(target_endian = "big");
        Ok(Descr { big_endian, kind: String::from_utf8_lossy(kind).into_owned() })
    }

    /// An element of this kind, as it is written.
    pub fn of(kind: &str) -> Descr {
        Descr { big_endian: false, kind: kind.into() }
    }
}

/// numpy's notation; a single byte has no order.
impl std::fmt::Display for Descr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let single = matches!(self.kind.as_bytes(), [b'S', ..] | [b'b' | b'i' | b'u', b'1']);
        let order = match (single, self.big_endian) {
            (true, _) => '|',
            (false, true) => '>',
            (false, false) => '<',
        };
        write!(f, "{order}{}", self.kind)
    }
}
