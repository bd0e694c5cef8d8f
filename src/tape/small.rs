//! Small dense values of a tape, side by side: recording one takes no memory of its own.

use bytemuck::{Zeroable, cast_slice, cast_slice_mut};

use crate::kernels::memory::Temp;
use crate::kernels::slab::{Line, PAD, SMALL, Single};
use crate::tensor::{
    DType, DenseView, Element, Layout, Real, Shape, Slice, Stype, Tensor, Values, View, shape,
};

/// Lines in a chunk.
const CHUNK: usize = 1 << 10;

/// Small values, in chunks that never move. A place counts lines over all chunks.
#[derive(Default)]
pub(super) struct Small {
    chunks: Vec<Box<[Line]>>,
    /// Where the next value goes.
    end: usize,
}

/// How many lines a value takes: whole lanes.
#[inline]
fn lines(dtype: DType, len: usize) -> usize {
    len.next_multiple_of(PAD) * dtype.size() / size_of::<Line>()
}

impl Small {
    /// Whether a value is one of these.
    pub fn takes(tensor: &Tensor) -> bool {
        let small = (1..=SMALL).contains(&tensor.nnz());
        tensor.stype() == Stype::Default && tensor.dtype().is_float() && small
    }

    /// Where the next value goes.
    pub fn end(&self) -> u32 {
        self.end as u32
    }

    /// Forgets values from this place on.
    pub fn truncate(&mut self, end: u32) {
        self.end = end as usize;
    }

    /// Room for a value: its place.
    #[inline]
    fn take(&mut self, lines: usize) -> usize {
        if self.end % CHUNK + lines > CHUNK || self.end == self.chunks.len() * CHUNK {
            self.next_chunk();
        }
        self.end += lines;
        self.end - lines
    }

    #[cold]
    fn next_chunk(&mut self) {
        self.end = self.end.next_multiple_of(CHUNK);
        if self.end == self.chunks.len() * CHUNK {
            self.chunks.push(vec![Line::zeroed(); CHUNK].into());
        }
    }

    /// A value of `len` elements.
    pub fn slice(&self, place: u32, dtype: DType, len: usize) -> Slice<'_> {
        let place = place as usize;
        let lines = &self.chunks[place / CHUNK][place % CHUNK..][..lines(dtype, len)];
        match dtype {
            DType::F32 => Slice::F32(&cast_slice(lines)[..len]),
            DType::F64 => Slice::F64(&cast_slice(lines)[..len]),
            DType::I64 => Slice::I64(&cast_slice(lines)[..len]),
        }
    }

    /// What kernels see of a value.
    pub fn view<'a>(&'a self, place: u32, dtype: DType, shape: &'a [usize]) -> View<'a> {
        let values = self.slice(place, dtype, shape::size_of(shape));
        View::Dense(DenseView { shape, values })
    }

    /// A copy of its own.
    pub fn tensor(&self, place: u32, dtype: DType, shape: Shape) -> Tensor {
        let values = match self.slice(place, dtype, shape.size()) {
            Slice::F32(own) => Values::F32(Temp::copied(own).into()),
            Slice::F64(own) => Values::F64(Temp::copied(own).into()),
            Slice::I64(own) => Values::I64(Temp::copied(own).into()),
        };
        Tensor::from_parts(shape, Layout::Dense, values)
    }

    /// Takes in a copy: its place.
    pub fn push(&mut self, values: Slice<'_>) -> u32 {
        match values {
            Slice::F32(values) => self.copy(values),
            Slice::F64(values) => self.copy(values),
            Slice::I64(values) => self.copy(values),
        }
    }

    fn copy<T: Element>(&mut self, values: &[T]) -> u32 {
        let lines = lines(T::DTYPE, values.len());
        let place = self.take(lines);
        let to = &mut self.chunks[place / CHUNK][place % CHUNK..][..lines];
        cast_slice_mut(to)[..values.len()].copy_from_slice(values);
        place as u32
    }

    /// Computes a value from one or two others of as many elements: its place.
    #[inline]
    pub fn compute<T: Real>(&mut self, single: Single<T>, operands: [u32; 2], len: usize) -> u32 {
        let lines = lines(T::DTYPE, len);
        let place = self.take(lines);
        let (before, last) = self.chunks.split_at_mut(place / CHUNK);
        let (own, to) = last[0].split_at_mut(place % CHUNK);
        // Operands were there before: in an earlier chunk, or earlier in this one.
        let operand = |at: u32| {
            let chunk = before.get(at as usize / CHUNK).map_or(&*own, |chunk| chunk);
            cast_slice(&chunk[at as usize % CHUNK..][..lines])
        };
        let [a, b] = operands;
        single.run([operand(a), operand(b)], cast_slice_mut(&mut to[..lines]));
        place as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::elementwise::Binary;
    use crate::kernels::slab::{Lanewise, Primitive};

    #[test]
    fn values_stay_where_they_are() {
        let sum = Lanewise::of(Primitive::Binary(Binary::Add), &[0, 1]).unwrap();
        let mut small = Small::default();
        let one = small.push(Slice::F64(&[1.0; 3]));
        let other = small.push(Slice::F32(&[0.5; SMALL]));
        let (mut last, mut places) = (one, vec![one]);
        // Through several chunks.
        for _ in 0..3 * CHUNK / 2 {
            last = small.compute(sum.f64, [last, one], 3);
            places.push(last);
        }
        assert!(small.chunks.len() >= 3);
        for (n, &place) in places.iter().enumerate() {
            assert_eq!(small.slice(place, DType::F64, 3), Slice::F64(&[(n + 1) as f64; 3]));
        }
        assert_eq!(small.slice(other, DType::F32, SMALL), Slice::F32(&[0.5; SMALL]));
        let (end, chunks) = (places[9], small.chunks.len());
        small.truncate(end);
        assert_eq!(small.push(Slice::F32(&[2.0])), end);
        (0..3 * CHUNK / 2).for_each(|_| _ = small.push(Slice::F32(&[1.0])));
        assert_eq!(small.chunks.len(), chunks);
        let copy = small.tensor(end, DType::F32, Shape::from([1, 1]));
        assert_eq!(
            (&copy.shape()[..], copy.values::<f32>().unwrap()),
            (&[1, 1][..], &[2.0f32][..])
        );
    }
}
