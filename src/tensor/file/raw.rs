//! Members that belong to a section: slices with names, borrowed when they are written.

use std::borrow::Cow;
use std::collections::HashMap;

use super::damaged;
use crate::error::Result;
use crate::tensor::{Archive, DType, Element, Shape, Slice, Tensor, Values};

/// A slice with a name and a shape.
#[derive(Debug)]
pub(crate) struct Raw<'a> {
    pub name: String,
    pub shape: Shape,
    pub numbers: Numbers<'a>,
}

#[derive(Debug)]
pub(crate) enum Numbers<'a> {
    Values(Slice<'a>),
    Own(Values),
    Ids(&'a [u32]),
}

impl<'a> Raw<'a> {
    pub fn values(name: String, shape: Shape, values: Slice<'a>) -> Raw<'a> {
        Raw { name, shape, numbers: Numbers::Values(values) }
    }

    pub fn numbers<T: Element>(name: String, numbers: Cow<'a, [T]>) -> Raw<'a> {
        let shape = [numbers.len()].into();
        let numbers = match numbers {
            Cow::Borrowed(numbers) => Numbers::Values(T::erase_slice(numbers)),
            Cow::Owned(numbers) => Numbers::Own(T::erase(numbers.into())),
        };
        Raw { name, shape, numbers }
    }

    pub fn ids(name: String, ids: &'a [u32]) -> Raw<'a> {
        Raw { name, shape: [ids.len()].into(), numbers: Numbers::Ids(ids) }
    }
}

/// The tensors of a file that was read, to be taken one by one.
#[derive(Debug)]
pub(crate) struct Members(HashMap<String, Tensor>);

impl Members {
    pub fn new(archive: Archive) -> Members {
        Members(archive.into_iter().collect())
    }

    /// A tensor that must be there.
    pub fn take(&mut self, name: &str) -> Result<Tensor> {
        self.0.remove(name).ok_or_else(|| damaged(format!("there is no tensor {name:?}")))
    }

    /// What may be there.
    pub fn optional<R>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Result<R>,
    ) -> Result<Option<R>> {
        self.0.contains_key(name).then(|| read(self, name)).transpose()
    }

    /// Dense values of this type.
    pub fn values(&mut self, name: &str, dtype: DType, shape: &[usize]) -> Result<Values> {
        let (own, _, values) = self.take(name)?.into_parts();
        if own[..] != *shape || values.dtype() != dtype {
            let (is, own, shape) = (values.dtype(), &own, Shape::from(shape));
            let message = format!("tensor {name:?} is {is} of shape {own}, not {dtype} {shape}");
            return Err(damaged(message));
        }
        Ok(values)
    }

    /// All numbers of a tensor of this element type.
    pub fn numbers<T: Element>(&mut self, name: &str) -> Result<Vec<T>> {
        let (_, _, values) = self.take(name)?.into_parts();
        let dtype = values.dtype();
        let numbers = T::into_buffer(values)
            .ok_or_else(|| damaged(format!("tensor {name:?} is {dtype}, not {}", T::DTYPE)))?;
        Ok(numbers.into_vec())
    }

    /// Ids below `end`.
    pub fn ids(&mut self, name: &str, end: usize) -> Result<Vec<u32>> {
        let wide = self.numbers::<i64>(name)?;
        let mut ids = Vec::with_capacity(wide.len());
        for (i, &id) in wide.iter().enumerate() {
            let narrow = u32::try_from(id).ok().filter(|&id| (id as usize) < end);
            ids.push(
                narrow.ok_or_else(|| {
                    damaged(format!("{name}[{i}] = {id}, but there are {end} rows"))
                })?,
            );
        }
        Ok(ids)
    }

    /// An error if something is left.
    pub fn finish(self) -> Result<()> {
        match self.0.keys().min() {
            None => Ok(()),
            Some(name) => Err(damaged(format!("tensor {name:?} belongs to nothing"))),
        }
    }
}
