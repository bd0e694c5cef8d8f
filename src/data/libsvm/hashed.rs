//! Entries whose ids are names, hashed to columns.

use super::parse::Room;
use super::scan::{Cursor, Decimal, Fault, quote};
use crate::data::hashing::FeatureHasher;

/// Reads entries to the end of the line or a comment, and returns where they end in the room.
pub(super) fn entries<T: Decimal>(
    cursor: &mut Cursor,
    room: &mut Room<T>,
    mut n: usize,
    hasher: &FeatureHasher,
) -> Result<usize, Fault> {
    while !cursor.line_is_over() {
        let (start, token) = (cursor.at, cursor.token());
        let Some(colon) = memchr::memrchr(b':', token) else {
            return Err(Fault::new(start, format!("{} is not a `name:value` entry", quote(token))));
        };
        let (name, value) = (&token[..colon], &token[colon + 1..]);
        if name.is_empty() {
            return Err(Fault::new(start, format!("no feature name before {}", quote(token))));
        }
        cursor.at += colon + 1;
        let number = cursor.number::<T>().filter(|_| cursor.at == start + token.len());
        let Some(x) = number else {
            let message =
                format!("value {} of feature {} is not a number", quote(value), quote(name));
            return Err(Fault::new(start + colon + 1, message));
        };
        let (column, negative) = hasher.place(name);
        (room.ids[n], room.values[n]) = (column, if negative { -x } else { x });
        n += 1;
        cursor.skip_blanks();
    }
    Ok(n)
}
