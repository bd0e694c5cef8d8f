//! Tensors from the members of a file. Nothing in the file is trusted: members are checked against
//! its length before memory is taken for them, and tensors are made by the checking constructors.

use std::collections::HashMap;
use std::ops::Range;

use super::header::{Dtype, Header, Member};
use super::index::{Entry, Index};
use super::little_endian::LittleEndian;
use super::source::Source;
use super::{Archive, damaged, within};
use crate::error::Result;
use crate::tensor::dtype::each_dtype;
use crate::tensor::{Buffer, Shape, Stype, Tensor, Values};

/// Everything in a file.
pub(super) fn archive(source: &mut impl Source) -> Result<Archive> {
    let (header, start) = Header::read(source)?;
    header.check(source.len()?.saturating_sub(start))?;
    let Index { tensors, notes, sections, .. } = Index::read(header.metadata)?;
    let mut archive = Archive { notes, sections, ..Archive::default() };
    let mut members = Members::new(source, start, header.members);
    for entry in tensors {
        let tensor = members.tensor(&entry).map_err(within(format!("tensor {:?}", entry.name)))?;
        archive.push(entry.name, tensor).map_err(within("its index is damaged"))?;
    }
    for name in members.unclaimed() {
        let tensor = members.dense(&name).map_err(within(format!("tensor {name:?}")))?;
        archive.push(name, tensor).map_err(within("its index is damaged"))?;
    }
    Ok(archive)
}

/// The members that no tensor has claimed yet.
struct Members<'s, S> {
    source: &'s mut S,
    /// Where the data starts.
    start: usize,
    left: HashMap<String, (usize, Member)>,
}

impl<'s, S: Source> Members<'s, S> {
    fn new(source: &'s mut S, start: usize, members: Vec<Member>) -> Self {
        let numbered = members.into_iter().enumerate();
        let left = numbered.map(|(i, m)| (m.name.clone(), (i, m))).collect();
        Members { source, start, left }
    }

    /// Names in the order of the header.
    fn unclaimed(&self) -> Vec<String> {
        let mut left: Vec<_> = self.left.values().collect();
        left.sort_unstable_by_key(|(i, _)| *i);
        left.into_iter().map(|(_, member)| member.name.clone()).collect()
    }

    fn claim(&mut self, name: &str) -> Result<Member> {
        let member = self.left.remove(name).map(|(_, member)| member);
        member.ok_or_else(|| damaged(format!("no member {name:?} is left for it")))
    }

    fn tensor(&mut self, entry: &Entry) -> Result<Tensor> {
        let Entry { name, stype, shape } = entry;
        match (stype, &shape[..]) {
            (Stype::Default, _) => {
                let tensor = self.dense(name)?;
                expect(name, tensor.shape(), shape)?;
                Ok(tensor)
            }
            (Stype::Csr, &[rows, cols]) => self.csr(name, [rows, cols]),
            (Stype::RowSparse, [_, rest @ ..]) => self.row_sparse(name, shape, rest),
            _ => Err(damaged(format!("{stype} storage of shape {shape}"))),
        }
    }

    fn dense(&mut self, name: &str) -> Result<Tensor> {
        let member = self.claim(name)?;
        let shape = member.shape.clone();
        each_dtype!(Values::self.values(member)?, v => Tensor::dense(shape, v))
    }

    fn csr(&mut self, name: &str, [rows, cols]: [usize; 2]) -> Result<Tensor> {
        let values = self.claim(&format!("{name}.data"))?;
        let indices = self.claim(&format!("{name}.indices"))?;
        let indptr = self.claim(&format!("{name}.indptr"))?;
        let stored = indices.shape.clone();
        expect(&indptr.name, &indptr.shape, &[rows.saturating_add(1)])?;
        expect(&values.name, &values.shape, &stored)?;
        let indptr = self.ids::<usize>(indptr, Dtype::I64)?;
        // Windows of a pattern may start elsewhere, but they are written from 0 on.
        if let Some(first) = indptr.first().filter(|&&first| first != 0) {
            return Err(damaged(format!("indptr[0] = {first}, not 0")));
        }
        let indices = self.ids::<u32>(indices, Dtype::U32)?;
        each_dtype!(Values::self.values(values)?, v => Tensor::csr([rows, cols], indptr, indices, v))
    }

    fn row_sparse(&mut self, name: &str, shape: &Shape, rest: &[usize]) -> Result<Tensor> {
        let values = self.claim(&format!("{name}.values"))?;
        let rows = self.claim(&format!("{name}.rows"))?;
        let stored: Vec<usize> = rows.shape.iter().chain(rest).copied().collect();
        expect(&values.name, &values.shape, &stored)?;
        let rows = self.ids::<u32>(rows, Dtype::U32)?;
        each_dtype!(Values::self.values(values)?, v => Tensor::row_sparse(shape, rows, v))
    }

    fn ids<T: LittleEndian>(&mut self, member: Member, dtype: Dtype) -> Result<Buffer<T>> {
        if member.shape.len() != 1 || member.dtype != dtype {
            let Member { name, dtype: is, shape, .. } = member;
            return Err(damaged(format!("{name:?} is {is:?} of shape {shape}, not {dtype:?} ids")));
        }
        self.source.elements(self.place(&member))
    }

    fn place(&self, member: &Member) -> Range<usize> {
        self.start + member.range.start..self.start + member.range.end
    }

    fn values(&mut self, member: Member) -> Result<Values> {
        let range = self.place(&member);
        let source = &mut *self.source;
        Ok(match member.dtype {
            Dtype::F32 => Values::F32(source.elements(range)?),
            Dtype::F64 => Values::F64(source.elements(range)?),
            Dtype::I64 => Values::I64(source.elements(range)?),
            Dtype::Bool | Dtype::U8 => integers(source.elements::<u8>(range)?)?,
            Dtype::I8 => integers(source.elements::<i8>(range)?)?,
            Dtype::U16 => integers(source.elements::<u16>(range)?)?,
            Dtype::I16 => integers(source.elements::<i16>(range)?)?,
            Dtype::U32 => integers(source.elements::<u32>(range)?)?,
            Dtype::I32 => integers(source.elements::<i32>(range)?)?,
            Dtype::U64 => integers(source.elements::<u64>(range)?)?,
        })
    }
}

fn expect(name: &str, shape: &[usize], wanted: &[usize]) -> Result<()> {
    if shape == wanted {
        return Ok(());
    }
    let (shape, wanted) = (Shape::from(shape), Shape::from(wanted));
    Err(damaged(format!("{name:?} is of shape {shape}, where {wanted} is needed")))
}

fn integers<T: LittleEndian + TryInto<i64>>(numbers: Buffer<T>) -> Result<Values> {
    let integers = numbers.iter().enumerate().map(|(i, &x)| {
        x.try_into().map_err(|_| damaged(format!("element {i} is 2^63 or more, too large for i64")))
    });
    let integers: Vec<i64> = integers.collect::<Result<_>>()?;
    Ok(Values::I64(integers.into()))
}
