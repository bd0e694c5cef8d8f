//! Entries whose ids are names, hashed to columns.

use super::Libsvm;
use super::parse::Room;
use super::scan::{Cursor, Decimal, Fault, quote};
use crate::data::hashing::FeatureHasher;
use crate::data::schema::IdBase;
use crate::error::{Error, ErrorKind, Result};

impl Libsvm {
    /// Takes what stands before the *last* colon of an entry as the name of a feature, and hashes it
    /// to a column: a number of any size or any text without blanks and `#`, as `country=fr:1` or
    /// `user:7:0.5`. `7` and `07` are different names. See [`FeatureHasher`] for the hash and its
    /// signs, and for the same with rows in memory.
    ///
    /// Entries of a row that fall on one column are summed, whatever [`repeated`](Libsvm::repeated)
    /// says. There is nothing to find out: the schema counts from 0 and has the hasher's
    /// [`features`](FeatureHasher::features), in streams too. After the labels, `qid:` still begins a
    /// query id. Ids of [`label_entries`](Libsvm::label_entries) are not hashed and count from 0.
    ///
    /// ```
    /// use sparsetape::data::{FeatureHasher, Libsvm};
    /// let hasher = FeatureHasher::new(20)?;
    /// let text = "1 country=fr:1 12345678901234567890:0.5\n0 user:7:2 user:7:1\n";
    /// let data = Libsvm::new().hashed(hasher).read_from(text.as_bytes())?;
    /// let rows = [vec![("country=fr", 1.0f32), ("12345678901234567890", 0.5)], vec![("user:7", 3.0)]];
    /// assert_eq!(data.features, hasher.transform(&rows)?);
    /// # Ok::<(), sparsetape::Error>(())
    /// ```
    ///
    /// # Errors
    /// Reading gives [`ErrorKind::State`] if another base or number of features is stated besides.
    pub fn hashed(mut self, hasher: FeatureHasher) -> Self {
        self.hasher = Some(hasher);
        self
    }

    /// What ids count from and how many columns there are, as far as that is stated.
    #[track_caller]
    pub(super) fn base_and_features(&self) -> Result<(Option<IdBase>, Option<usize>)> {
        let Some(hasher) = self.hasher else { return Ok((self.base, self.features)) };
        let (base, features) = (IdBase::Zero, hasher.features());
        let stated = (self.base.unwrap_or(base), self.features.unwrap_or(features));
        match stated == (base, features) {
            true => Ok((Some(base), Some(features))),
            false => Err(not_hashed(stated, features)),
        }
    }
}

/// Base and number of features are stated, but not those of hashed ids.
#[track_caller]
fn not_hashed((base, features): (IdBase, usize), hashed: usize) -> Error {
    let message = format!(
        "ids are hashed to {hashed} columns, counted from 0, \
         but {features} features, counted from {}, are stated",
        base.first_id()
    );
    Error::new(ErrorKind::State, message).operator("libsvm")
}

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
