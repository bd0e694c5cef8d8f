//! The header of a safetensors file: its length (u64, little-endian), then a JSON object with the
//! type, shape and place of each tensor and a map of strings. Data follows, without gaps.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::source::Source;
use super::{damaged, refuse};
use crate::error::Result;
use crate::tensor::Shape;

/// The name of the map of strings, which no tensor can have.
pub(super) const METADATA: &str = "__metadata__";

/// Bytes of the header's length.
pub(super) const PREFIX: usize = 8;

/// Data starts at a multiple of this many bytes, as cache lines and vector registers like it.
const ALIGNMENT: usize = 64;

/// The longest header that readers of the format take.
const LONGEST: usize = 100_000_000;

/// Element types of the format that fit the crate's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 => 1,
            Dtype::U16 | Dtype::I16 => 2,
            Dtype::U32 | Dtype::I32 | Dtype::F32 => 4,
            Dtype::U64 | Dtype::I64 | Dtype::F64 => 8,
        }
    }
}

/// A tensor of the file: a slice with a shape.
#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Shape,
    /// Bytes, counted from the start of the data.
    pub range: Range<usize>,
}

/// What stands before the data.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub members: Vec<Member>,
    pub metadata: BTreeMap<String, String>,
}

impl Header {
    /// Reads the header and nothing else; also says where the data starts. What it claims about
    /// the data is not checked.
    pub fn read(source: &mut impl Source) -> Result<(Header, usize)> {
        let len = source.len()?;
        if len < PREFIX {
            return Err(damaged(format!("not a safetensors file: {len} bytes")));
        }
        let claim = source.elements::<u64>(0..PREFIX)?[0];
        let room = len - PREFIX;
        let size = usize::try_from(claim).ok().filter(|&size| size <= room.min(LONGEST));
        let size = size.ok_or_else(|| {
            let bound = format!("of {room} that follow and at most {LONGEST}");
            damaged(format!("not a safetensors file: a header of {claim} bytes, {bound}"))
        })?;
        let text = source.elements::<u8>(PREFIX..PREFIX + size)?;
        let header = serde_json::from_slice(&text)
            .map_err(|e| damaged("its header is damaged").caused_by(e))?;
        Ok((header, PREFIX + size))
    }

    /// Checks names, and that the members fill `len` bytes of data: in any order, but without gap
    /// or overlap.
    pub fn check(&self, len: usize) -> Result<()> {
        let mut names = HashSet::with_capacity(self.members.len());
        if let Some(twice) = self.members.iter().find(|m| !names.insert(&m.name)) {
            return Err(damaged(format!("two tensors are named {:?}", twice.name)));
        }
        let mut places: Vec<&Member> = self.members.iter().collect();
        places.sort_by_key(|m| (m.range.start, m.range.end));
        let mut end = 0;
        for member in places {
            member.check(end)?;
            end = member.range.end;
        }
        if end != len {
            return Err(damaged(format!("its tensors take {end} bytes, but {len} are there")));
        }
        Ok(())
    }

    /// The header as it stands in a file, the length in front.
    #[track_caller]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; PREFIX];
        serde_json::to_writer(&mut bytes, self)
            .map_err(|e| refuse("cannot write the header").caused_by(e))?;
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), b' ');
        let size = bytes.len() - PREFIX;
        if size > LONGEST {
            let why = format!("names, notes and sections take {size} bytes, of {LONGEST} at most");
            return Err(refuse(why));
        }
        bytes[..PREFIX].copy_from_slice(&(size as u64).to_le_bytes());
        Ok(bytes)
    }
}

impl Member {
    /// Checks that the bytes start where the previous ones end, and suffice for the shape.
    fn check(&self, start: usize) -> Result<()> {
        let Member { name, dtype, shape, range } = self;
        let size = shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d));
        let size = if shape.contains(&0) { Some(0) } else { size };
        if range.start == start && size.is_some() && range.end.checked_sub(start) == size {
            return Ok(());
        }
        let at = format!("bytes {} to {}", range.start, range.end);
        let why = if range.start == start {
            format!("tensor {name:?} is {dtype:?} of shape {shape}, but has {at}")
        } else {
            format!("tensor {name:?} has {at}, but the one before ends at {start}")
        };
        Err(damaged(why))
    }
}

/// A member as the header's JSON has it.
#[derive(Serialize, Deserialize)]
struct Info<D> {
    dtype: D,
    shape: Shape,
    data_offsets: (usize, usize),
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(METADATA, &self.metadata)?;
        for member in &self.members {
            let data_offsets = (member.range.start, member.range.end);
            let info = Info { dtype: member.dtype, shape: member.shape.clone(), data_offsets };
            map.serialize_entry(&member.name, &info)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut members, mut metadata) = (Vec::new(), None);
        while let Some(name) = map.next_key::<String>()? {
            if name != METADATA {
                let info = map.next_value::<Info<String>>();
                let info = info.map_err(|e| A::Error::custom(format!("tensor {name:?}: {e}")))?;
                members.push(info.member(name)?);
            } else if metadata.replace(map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(METADATA));
            }
        }
        Ok(Header { members, metadata: metadata.unwrap_or_default() })
    }
}

impl Info<String> {
    fn member<E: serde::de::Error>(self, name: String) -> Result<Member, E> {
        let Info { dtype, shape, data_offsets: (start, end) } = self;
        let known = Dtype::deserialize(serde::de::value::StrDeserializer::<E>::new(&dtype));
        let dtype = known.map_err(|_| {
            E::custom(format!("tensor {name:?} is {dtype}; F32, F64 and integers are read"))
        })?;
        Ok(Member { name, dtype, shape, range: start..end })
    }
}
