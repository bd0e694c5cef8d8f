//! Lines to rows.

use std::ops::Range;

use rustc_hash::FxHashSet;

use super::hashed;
use super::scan::{Cursor, Decimal, Fault, is_blank, quote};
use super::{LabelMap, Repeated, Wider};
use crate::data::hashing::FeatureHasher;
use crate::data::schema::IdBase;
use crate::kernels::entries::plain_entries;

/// What lines must look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar {
    /// What ids count from, if that is known.
    pub base: Option<IdBase>,
    /// Number of columns, if that is known.
    pub features: Option<usize>,
    pub wider: Wider,
    pub repeated: Repeated,
    /// Makes columns of names; ids are numbers otherwise.
    pub hasher: Option<FeatureHasher>,
    pub labels: LabelCount,
    pub map: LabelMap,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum LabelCount {
    Exactly(usize),
    /// Any number of labels, which are not kept.
    Ignored,
}

impl Grammar {
    /// What ids are taken to count from, until all were seen.
    pub fn first_id(&self) -> u32 {
        self.base.unwrap_or(IdBase::One).first_id()
    }

    /// The smallest id in the file that may be too large.
    fn limit(&self) -> u64 {
        match (self.wider, self.features) {
            (Wider::Refuse, Some(n)) => {
                (n as u64).saturating_add(u64::from(self.base.map_or(0, IdBase::first_id)))
            }
            _ => u64::MAX,
        }
    }
}

/// An id that is too large for certain, or that is if ids count from 0.
#[derive(Debug)]
pub(super) struct TooWide<E> {
    pub if_zero_based: bool,
    pub error: E,
}

/// Where entries are written to: room for [`most_entries`], in the order of the file.
pub(super) struct Room<'a, T> {
    pub ids: &'a mut [u32],
    pub values: &'a mut [T],
}

/// How many entries a text may have. One has a colon and takes four bytes or more.
pub(super) fn most_entries(text: &[u8]) -> usize {
    memchr::memchr_iter(b':', text).count().min(text.len() / 4 + 1)
}

/// The rows of a run of lines, without the entries that were written elsewhere.
#[derive(Debug)]
pub(super) struct Part<T> {
    /// For each row, where its entries end.
    pub ends: Vec<usize>,
    pub labels: Vec<T>,
    pub qids: Vec<i64>,
    pub max_id: Option<u32>,
    pub has_zero: bool,
    /// Where the first row is in the text.
    pub first_row: usize,
    /// The first id of either kind, when the base is not known yet.
    pub too_wide: Vec<TooWide<Fault>>,
}

impl<T: Decimal> Part<T> {
    /// Parses whole lines; columns are written, as the [first id](Grammar::first_id) says.
    pub fn parse(text: &[u8], grammar: &Grammar, mut room: Room<T>) -> Result<Self, Fault> {
        let mut part = Part {
            ends: Vec::new(),
            labels: Vec::new(),
            qids: Vec::new(),
            max_id: None,
            has_zero: false,
            first_row: 0,
            too_wide: Vec::new(),
        };
        let mut cursor = Cursor { text, at: 0 };
        while !cursor.done() {
            cursor.skip_blanks();
            if !cursor.line_is_over() {
                part.row(&mut cursor, grammar, &mut room)?;
            }
            cursor.next_line();
        }
        Ok(part)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn row(
        &mut self,
        cursor: &mut Cursor,
        grammar: &Grammar,
        room: &mut Room<T>,
    ) -> Result<(), Fault> {
        let line = cursor.at;
        if self.ends.is_empty() {
            self.first_row = line;
        }
        match grammar.labels {
            LabelCount::Exactly(count) => self.labels(cursor, count, grammar.map)?,
            LabelCount::Ignored => while label::<T>(cursor, LabelMap::Keep)?.is_some() {},
        }
        self.qid(cursor, line)?;
        let first = self.len();
        let (mut end, repeated) = match &grammar.hasher {
            None => (entries(cursor, room, first)?, grammar.repeated),
            Some(hasher) => (hashed::entries(cursor, room, first, hasher)?, Repeated::Sum),
        };
        let text = &cursor.text[..cursor.at];
        let ids = &room.ids[first..end];
        let later = ids.get(1..).unwrap_or_default();
        if ids.iter().zip(later).fold(false, |any, (id, later)| any | (id >= later)) {
            end = order_row(room, first..end, repeated, text, line)?;
        }
        let ids = &mut room.ids[first..end];
        self.check_ids(ids, grammar, text, line)?;
        let first_id = grammar.first_id();
        ids.iter_mut().for_each(|id| *id = id.wrapping_sub(first_id));
        self.ends.push(end);
        Ok(())
    }

    fn labels(&mut self, cursor: &mut Cursor, count: usize, map: LabelMap) -> Result<(), Fault> {
        for n in 0..count {
            let at = cursor.at;
            let Some(x) = label(cursor, map)? else {
                let found = match cursor.token() {
                    [] => "the line ends".to_string(),
                    token => format!("got {}", quote(token)),
                };
                let message = format!("label {} of {count} is missing: {found}", n + 1);
                return Err(Fault::new(at, message));
            };
            self.labels.push(x);
        }
        if { *cursor }.id().is_some() {
            return Ok(());
        }
        let (at, token) = (cursor.at, cursor.token());
        match label::<T>(cursor, LabelMap::Keep)? {
            None => Ok(()),
            Some(_) => {
                let message = format!(
                    "{} is beyond the {count} label(s) expected; a feature is written id:value",
                    quote(token)
                );
                Err(Fault::new(at, message))
            }
        }
    }

    /// Reads the query id, which all rows have or none.
    fn qid(&mut self, cursor: &mut Cursor, line: usize) -> Result<(), Fault> {
        let had_qids = !self.qids.is_empty();
        let digits = match cursor.peek() {
            b'q' => cursor.token().strip_prefix(b"qid:"),
            _ => None,
        };
        if !self.ends.is_empty() && digits.is_some() != had_qids {
            return Err(qid_mismatch(cursor.text, line, digits.is_some()));
        }
        let Some(digits) = digits else { return Ok(()) };
        let start = cursor.at + b"qid:".len();
        let Some(qid) = str::from_utf8(digits).ok().and_then(|t| t.parse().ok()) else {
            let message = format!("query id {} is not a 64-bit integer", quote(digits));
            return Err(Fault::new(start, message));
        };
        self.qids.push(qid);
        cursor.at = start + digits.len();
        cursor.skip_blanks();
        Ok(())
    }

    /// Checks the sorted ids of a row.
    fn check_ids(
        &mut self,
        ids: &[u32],
        grammar: &Grammar,
        text: &[u8],
        line: usize,
    ) -> Result<(), Fault> {
        let (Some(&lowest), Some(&highest)) = (ids.first(), ids.last()) else { return Ok(()) };
        self.has_zero |= lowest == 0;
        self.max_id = self.max_id.max(Some(highest));
        if lowest == 0 && grammar.base == Some(IdBase::One) {
            let zero = entries_of(text, line).find(|&(_, id)| id == 0);
            let at = zero.map_or(line, |(at, _)| at);
            let message = format!("feature id {}, but ids count from 1", quote(id_text(text, at)));
            return Err(Fault::new(at, message));
        }
        let excess = u64::from(highest).checked_sub(grammar.limit());
        let noted = |kind| self.too_wide.iter().any(|w| w.if_zero_based == kind);
        match excess {
            None => Ok(()),
            // Common where ids count from 1: the last column, again.
            Some(0) if noted(true) => Ok(()),
            Some(_) if noted(true) && noted(false) => Ok(()),
            Some(_) => self.widen(grammar, text, line),
        }
    }

    /// Reports the row's first id that is too large, or notes it until the base is known.
    #[cold]
    fn widen(&mut self, grammar: &Grammar, text: &[u8], line: usize) -> Result<(), Fault> {
        let (limit, features) = (grammar.limit(), grammar.features.unwrap_or(0));
        for (at, id) in entries_of(text, line).filter(|&(_, id)| id >= limit) {
            let if_zero_based = grammar.base.is_none() && id == limit;
            let from = match grammar.base {
                Some(base) => format!(", counted from {}", base.first_id()),
                None if if_zero_based => ", counted from 0".to_string(),
                None => String::new(),
            };
            let shown = quote(id_text(text, at));
            let message = format!("feature id {shown}, but there are {features} features{from}");
            let error = Fault::new(at, message);
            if grammar.base.is_some() {
                return Err(error);
            }
            if self.too_wide.iter().all(|w| w.if_zero_based != if_zero_based) {
                self.too_wide.push(TooWide { if_zero_based, error });
            }
        }
        Ok(())
    }
}

/// Reads entries to the end of the line or a comment, and returns where they end in the room.
#[inline]
fn entries<T: Decimal>(
    outer: &mut Cursor,
    room: &mut Room<T>,
    mut n: usize,
) -> Result<usize, Fault> {
    let mut cursor = *outer;
    loop {
        let (ids, values) = (&mut room.ids[n..], &mut room.values[n..]);
        let (at, read) = plain_entries(cursor.text, cursor.at, ids, values);
        (cursor.at, n) = (at, n + read);
        cursor.skip_blanks();
        if cursor.line_is_over() {
            break;
        }
        let Some(id) = cursor.id() else { return Err(bad_id(cursor.text, at)) };
        let at = cursor.at;
        let Some(value) = cursor.number() else { return Err(bad_value(cursor.text, at, id)) };
        (room.ids[n], room.values[n]) = (id, value);
        n += 1;
        cursor.skip_blanks();
    }
    *outer = cursor;
    Ok(n)
}

/// Sorts a row's entries, sums or refuses repeated ids, and returns where the row ends then.
#[cold]
fn order_row<T: Decimal>(
    room: &mut Room<T>,
    range: Range<usize>,
    repeated: Repeated,
    text: &[u8],
    line: usize,
) -> Result<usize, Fault> {
    let mut row: Vec<(u32, T)> = range.clone().map(|k| (room.ids[k], room.values[k])).collect();
    // Stable: repeated ids are summed in the order of the file.
    row.sort_by_key(|entry| entry.0);
    let mut end = range.start;
    for (id, value) in row {
        if end > range.start && room.ids[end - 1] == id {
            if repeated == Repeated::Refuse {
                return Err(first_repeated(text, line));
            }
            room.values[end - 1] = room.values[end - 1] + value;
            continue;
        }
        (room.ids[end], room.values[end]) = (id, value);
        end += 1;
    }
    Ok(end)
}

/// The next number without a colon, if there is one before the query id and the entries.
fn label<T: Decimal>(cursor: &mut Cursor, map: LabelMap) -> Result<Option<T>, Fault> {
    let mut behind = *cursor;
    let x = behind.number::<T>().and_then(|x| map.apply(x));
    if x.is_none() || behind.peek() == b',' {
        return label_in_list(cursor, map);
    }
    behind.skip_blanks();
    *cursor = behind;
    Ok(x)
}

/// The same where a comma may follow, or no label is at all.
fn label_in_list<T: Decimal>(cursor: &mut Cursor, map: LabelMap) -> Result<Option<T>, Fault> {
    let token = cursor.token();
    if token.is_empty() || memchr::memchr(b':', token).is_some() {
        return Ok(None);
    }
    let at = cursor.at;
    let Some(x) = cursor.number::<T>().and_then(|x| map.apply(x)) else {
        let end = memchr::memchr(b',', token).unwrap_or(token.len());
        let message = format!("label {} is not {}", quote(&token[..end]), map.wanted());
        return Err(Fault::new(at, message));
    };
    cursor.at += 1;
    if cursor.token().is_empty() {
        return Err(Fault::new(at, format!("no label follows the comma in {}", quote(token))));
    }
    Ok(Some(x))
}

/// Says that this row has a query id and others do not, or the other way round.
pub(super) fn qid_mismatch(text: &[u8], at: usize, has_qid: bool) -> Fault {
    let line = Cursor { text, at }.token();
    let (this, others) = if has_qid { ("a", "none") } else { ("no", "one") };
    let message = format!(
        "the row that begins {} has {this} query id, but rows before have {others}",
        quote(line)
    );
    Fault::new(at, message)
}

#[cold]
fn bad_id(text: &[u8], at: usize) -> Fault {
    let token = Cursor { text, at }.token();
    let Some(colon) = memchr::memchr(b':', token) else {
        return Fault::new(at, format!("{} is not an `id:value` entry", quote(token)));
    };
    let id = &token[..colon];
    let message = if !id.is_empty() && id.iter().all(u8::is_ascii_digit) {
        format!("feature id {} is over 4294967295", quote(id))
    } else {
        format!("feature id {} is not a number", quote(id))
    };
    Fault::new(at, message)
}

#[cold]
fn bad_value(text: &[u8], at: usize, id: u32) -> Fault {
    let token = Cursor { text, at }.token();
    Fault::new(at, format!("value {} of feature {id} is not a number", quote(token)))
}

/// The entries of a line that was parsed already, with their positions.
fn entries_of(text: &[u8], line: usize) -> impl Iterator<Item = (usize, u64)> {
    let tokens = text[line..].split(|&b| is_blank(b));
    let placed = tokens.scan(line, |at, token| {
        let start = *at;
        *at += token.len() + 1;
        Some((start, token))
    });
    placed.filter_map(|(at, token)| {
        let digits = &token[..memchr::memchr(b':', token)?];
        Some((at, str::from_utf8(digits).ok()?.parse().ok()?))
    })
}

fn id_text(text: &[u8], at: usize) -> &[u8] {
    let rest = &text[at..];
    &rest[..memchr::memchr(b':', rest).unwrap_or(rest.len())]
}

#[cold]
fn first_repeated(text: &[u8], line: usize) -> Fault {
    let mut seen = FxHashSet::default();
    let again = entries_of(text, line).find(|&(_, id)| !seen.insert(id));
    let at = again.map_or(line, |(at, _)| at);
    let message = format!("feature id {} is repeated in this row", quote(id_text(text, at)));
    Fault::new(at, message)
}
