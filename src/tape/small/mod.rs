//! Small dense values of a tape, side by side: recording one takes no memory of its own.

mod backward;
mod record;

use bytemuck::{Zeroable, cast_slice, cast_slice_mut};

pub(super) use self::backward::Term;
use crate::kernels::memory::Temp;
use crate::kernels::slab::{Line, PAD, SMALL, Single};
use crate::tensor::{
    DType, DenseView, Element, Layout, Real, Shape, Slice, Stype, Tensor, Values, View, shape,
};

/// Small values, one after the other. A place counts lines.
#[derive(Default)]
pub(super) struct Small {
    lines: Vec<Line>,
    /// Where the next value goes.
    end: usize,
    /// Values of one number, by its bits and type, in their order.
    numbers: Vec<((u64, DType), u32)>,
}

/// So many numbers back one is looked for that is there already.
const RECENT: usize = 8;

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
    #[inline]
    pub fn end(&self) -> u32 {
        self.end as u32
    }

    /// Forgets values from this place on.
    pub fn truncate(&mut self, end: u32) {
        self.end = end as usize;
        let kept = self.numbers.partition_point(|(_, place)| *place < end);
        self.numbers.truncate(kept);
    }

    /// Room for a value, between those before and after it.
    #[inline]
    fn take(&mut self, lines: usize) -> (&[Line], &mut [Line]) {
        let at = self.end;
        self.end += lines;
        if self.end > self.lines.len() {
            self.grow();
        }
        let (before, rest) = self.lines.split_at_mut(at);
        (before, &mut rest[..lines])
    }

    #[cold]
    fn grow(&mut self) {
        self.lines.resize(2 * self.end.next_power_of_two(), Line::zeroed());
    }

    /// A value of `len` elements.
    pub fn slice(&self, place: u32, dtype: DType, len: usize) -> Slice<'_> {
        let lines = &self.lines[place as usize..][..lines(dtype, len)];
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
        let place = self.end();
        let (_, to) = self.take(lines(T::DTYPE, values.len()));
        cast_slice_mut(to)[..values.len()].copy_from_slice(values);
        place
    }

    /// A value of as many elements as any has, all of them this number: its place.
    ///
    /// Out of line: most operators take none.
    #[inline(never)]
    pub fn number(&mut self, x: f64, dtype: DType) -> u32 {
        let own = (x.to_bits(), dtype);
        let known = self.numbers.iter().rev().take(RECENT).find(|(number, _)| *number == own);
        if let Some((_, place)) = known {
            return *place;
        }
        let place = match dtype {
            DType::F32 => self.copy(&[f32::from_f64(x); SMALL]),
            _ => self.copy(&[x; SMALL]),
        };
        self.numbers.push((own, place));
        place
    }

    /// Computes a value from one or two others of as many elements: its place.
    #[inline]
    pub fn compute<T: Real>(&mut self, single: Single<T>, operands: [u32; 2], len: usize) -> u32 {
        let (place, lines) = (self.end(), lines(T::DTYPE, len));
        let (before, to) = self.take(lines);
        let [a, b] = operands.map(|at| cast_slice(&before[at as usize..][..lines]));
        single.run([a, b], cast_slice_mut(to));
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::elementwise::Binary;
    use crate::kernels::slab::{Argument, Lanewise, Primitive};

    #[test]
    fn values_keep_their_places() {
        let sum =
            Lanewise::of(Primitive::Binary(Binary::Add), &[0, 1].map(Argument::Operand)).unwrap();
        let mut small = Small::default();
        let one = small.push(Slice::F64(&[1.0; 3]));
        let other = small.push(Slice::F32(&[0.5; SMALL]));
        let (mut last, mut places) = (one, vec![one]);
        // Through several moves.
        for _ in 0..3000 {
            last = small.compute(sum.f64, [last, one], 3);
            places.push(last);
        }
        for (n, &place) in places.iter().enumerate() {
            assert_eq!(small.slice(place, DType::F64, 3), Slice::F64(&[(n + 1) as f64; 3]));
        }
        assert_eq!(small.slice(other, DType::F32, SMALL), Slice::F32(&[0.5; SMALL]));
        let (end, room) = (places[9], small.lines.len());
        small.truncate(end);
        assert_eq!(small.push(Slice::F32(&[2.0])), end);
        (0..3000).for_each(|_| _ = small.push(Slice::F32(&[1.0])));
        assert_eq!(small.lines.len(), room);
        let copy = small.tensor(end, DType::F32, Shape::from([1, 1]));
        assert_eq!(
            (&copy.shape()[..], copy.values::<f32>().unwrap()),
            (&[1, 1][..], &[2.0f32][..])
        );
    }

    #[test]
    fn numbers_are_made_once_and_forgotten_with_their_places() {
        let mut small = Small::default();
        let before = small.push(Slice::F32(&[1.0]));
        let two = small.number(2.0, DType::F32);
        assert_eq!(small.number(2.0, DType::F32), two);
        assert_ne!(small.number(2.0, DType::F64), two);
        assert_eq!(small.slice(two, DType::F32, SMALL), Slice::F32(&[2.0; SMALL]));
        small.truncate(two);
        assert_eq!(small.number(-2.0, DType::F32), two);
        assert_eq!(small.slice(two, DType::F32, 1), Slice::F32(&[-2.0]));
        assert_eq!(small.slice(before, DType::F32, 1), Slice::F32(&[1.0]));
    }
}
