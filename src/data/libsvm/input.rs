//! Where text comes from: mapped files, and streams cut into blocks of whole lines.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::data::{io_error, path_error};
use crate::error::{Error, ErrorKind, Result};

/// The longest line that a stream may hold: 64 MiB.
const LONGEST_LINE: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// A file or reader that is not open yet.
pub(super) enum Input<'a> {
    File(PathBuf),
    Reader(Box<dyn Read + Send + 'a>),
}

/// Whole lines of a named text.
pub(super) struct Block<'a> {
    pub name: &'a str,
    /// 1-based number of the first line.
    pub first_line: usize,
    pub text: &'a [u8],
}

impl Block<'_> {
    /// The first byte after a byte order mark.
    pub fn start(&self) -> usize {
        let marked = self.first_line == 1 && self.text.starts_with(BYTE_ORDER_MARK);
        if marked { BYTE_ORDER_MARK.len() } else { 0 }
    }

    /// An error at byte `at`, with file, line and column.
    pub fn locate(&self, at: usize, message: &str) -> Error {
        let before = &self.text[..at.min(self.text.len())];
        let line = self.first_line + memchr::memchr_iter(b'\n', before).count();
        // The first line begins after a byte order mark, as editors show it.
        let first = memchr::memrchr(b'\n', before).map_or(self.start(), |n| n + 1);
        let column = before.len().saturating_sub(first) + 1;
        let message = format!("{}:{line}:{column}: {message}", self.name);
        Error::new(ErrorKind::Parse, message).nowhere()
    }
}

/// A file in memory, or a stream.
pub(super) enum Opened<'a> {
    Mapped(String, Mmap),
    Stream(Lines<'a>),
}

impl<'a> Input<'a> {
    /// Maps a plain file; anything else is read as a stream.
    pub fn open(self) -> Result<Opened<'a>> {
        match self {
            Input::Reader(_) => Ok(Opened::Stream(self.lines()?)),
            Input::File(path) => {
                let file = File::open(&path).map_err(path_error(&path))?;
                match map(&file) {
                    Some(text) => Ok(Opened::Mapped(path.display().to_string(), text)),
                    None => Ok(Opened::Stream(Lines::new(path.display().to_string(), file)?)),
                }
            }
        }
    }

    /// The lines, read as a stream.
    pub fn lines(self) -> Result<Lines<'a>> {
        match self {
            Input::Reader(reader) => Lines::new("<reader>".to_string(), reader),
            Input::File(path) => {
                let file = File::open(&path).map_err(path_error(&path))?;
                Lines::new(path.display().to_string(), file)
            }
        }
    }
}

/// The lines of a file that can be read again later.
pub(super) fn lines_of_file(path: &Path) -> Result<Lines<'static>> {
    if !path.metadata().map_err(path_error(path))?.is_file() {
        let message = "only a regular file is read again for every epoch";
        return Err(path_error(path)(std::io::Error::other(message)));
    }
    Input::File(path.to_path_buf()).lines()
}

/// A file whose text is read range by range.
pub(super) enum Ranges {
    Plain(File),
    /// What decompresses, and how much it has given.
    Compressed(Box<dyn Read + Send>, u64),
}

impl Ranges {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(path_error(path))?;
        let again = file.try_clone().map_err(path_error(path))?;
        let (reader, compressed) = decompressed(&path.display().to_string(), file)?;
        Ok(if compressed { Ranges::Compressed(reader, 0) } else { Ranges::Plain(again) })
    }

    /// Whether a range is read without what is before it.
    pub fn reaches(&self, start: u64) -> bool {
        match self {
            Ranges::Plain(_) => true,
            Ranges::Compressed(_, done) => *done <= start,
        }
    }

    /// Reads `length` bytes from `start` on, or to the end of the text.
    pub fn read(&mut self, start: u64, length: usize, buffer: &mut Vec<u8>) -> std::io::Result<()> {
        buffer.clear();
        buffer.reserve_exact(length);
        match self {
            Ranges::Plain(file) => {
                file.seek(SeekFrom::Start(start))?;
                file.take(length as u64).read_to_end(buffer)?;
            }
            Ranges::Compressed(reader, done) => {
                std::io::copy(&mut reader.take(start - *done), &mut std::io::sink())?;
                reader.take(length as u64).read_to_end(buffer)?;
                *done = start + buffer.len() as u64;
            }
        }
        Ok(())
    }
}

/// The text, and whether it was compressed.
fn decompressed<'a>(
    name: &str,
    mut reader: impl Read + Send + 'a,
) -> Result<(Box<dyn Read + Send + 'a>, bool)> {
    let mut head = Vec::new();
    let magic = GZIP_MAGIC.len() as u64;
    reader.by_ref().take(magic).read_to_end(&mut head).map_err(|e| io_error(name, e))?;
    let compressed = head == GZIP_MAGIC;
    let whole = Cursor::new(head).chain(reader);
    Ok((if compressed { gunzip(name, whole)? } else { Box::new(whole) }, compressed))
}

/// The contents of a regular file that is not compressed, if the system maps it.
fn map(file: &File) -> Option<Mmap> {
    // Pipes cannot be mapped, and files of length 0 under /proc have contents all the same.
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return None;
    }
    // SAFETY: the map is only read, as bytes of any value. That nobody changes or truncates the
    // file meanwhile is what the documentation asks of callers.
    let text = unsafe { Mmap::map(file) }.ok()?;
    (!text.starts_with(&GZIP_MAGIC)).then_some(text)
}

/// A stream, cut into blocks of whole lines.
pub(super) struct Lines<'a> {
    name: String,
    reader: Box<dyn Read + Send + 'a>,
    compressed: bool,
    buffer: Vec<u8>,
    /// What is used of the buffer.
    used: usize,
    /// 1-based number of the line at `used`.
    line: usize,
    ended: bool,
}

impl<'a> Lines<'a> {
    fn new(name: String, reader: impl Read + Send + 'a) -> Result<Self> {
        let (reader, compressed) = decompressed(&name, reader)?;
        let buffer = Vec::new();
        Ok(Lines { name, reader, compressed, buffer, used: 0, line: 1, ended: false })
    }

    /// Whether this is decompressed while it is read.
    pub fn compressed(&self) -> bool {
        self.compressed
    }

    /// 1-based number of the next line.
    pub fn line(&self) -> usize {
        self.line
    }

    /// At most `lines` lines, and of these no more than end within the next `window` bytes; but
    /// at least one.
    pub fn next_block(&mut self, lines: usize, window: usize) -> Result<Option<Block<'_>>> {
        let Some(length) = self.find_lines(lines, window)? else { return Ok(None) };
        let (start, first_line) = (self.used, self.line);
        self.used += length;
        let text = &self.buffer[start..self.used];
        self.line += memchr::memchr_iter(b'\n', text).count();
        Ok(Some(Block { name: &self.name, first_line, text }))
    }

    fn find_lines(&mut self, lines: usize, mut window: usize) -> Result<Option<usize>> {
        loop {
            let rest = &self.buffer[self.used..];
            let seen = &rest[..rest.len().min(window)];
            if lines <= seen.len()
                && let Some(end) = memchr::memchr_iter(b'\n', seen).nth(lines - 1)
            {
                return Ok(Some(end + 1));
            }
            if self.ended && seen.len() == rest.len() {
                return Ok((!rest.is_empty()).then_some(rest.len()));
            }
            if seen.len() == window {
                if let Some(end) = memchr::memrchr(b'\n', seen) {
                    return Ok(Some(end + 1));
                }
                window = self.widen(window)?;
            }
            self.fill(window)?;
        }
    }

    fn widen(&self, window: usize) -> Result<usize> {
        if window < LONGEST_LINE {
            return Ok(LONGEST_LINE.min(2 * window));
        }
        let message =
            format!("{}:{}:1: a line of more than {LONGEST_LINE} bytes", self.name, self.line);
        Err(Error::new(ErrorKind::Parse, message).nowhere())
    }

    /// Reads until `window` unused bytes are there or the stream ends.
    fn fill(&mut self, window: usize) -> Result<()> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let missing = window.saturating_sub(self.buffer.len());
        let mut reader = self.reader.by_ref().take(missing as u64);
        let read = reader.read_to_end(&mut self.buffer).map_err(|e| io_error(&self.name, e))?;
        self.ended |= read < missing;
        Ok(())
    }
}

#[cfg(feature = "gzip")]
fn gunzip<'a>(_: &str, reader: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    Ok(Box::new(flate2::read::MultiGzDecoder::new(reader)))
}

#[cfg(not(feature = "gzip"))]
fn gunzip<'a>(name: &str, _: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let source = std::io::Error::other("compressed; build with the feature `gzip`");
    Err(io_error(name, source))
}
