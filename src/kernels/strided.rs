//! Copies between two layouts of the same elements: every slice, embedding, transpose and broadcast
//! of dense values is one.

use smallvec::SmallVec;

use super::Number;
use super::threads::for_each_part;

/// Side of a square that is transposed at once: lines of the cache are read and written whole.
const SQUARE: usize = 16;

/// Side of a block of squares, which covers few pages.
const BLOCK: usize = 64;

/// Where the elements of a shape are: index `i` at `base + Σ i[axis] · steps[axis]`.
#[derive(Clone, Debug)]
pub(crate) struct Strided {
    pub base: usize,
    pub steps: SmallVec<[isize; 4]>,
}

impl Strided {
    /// All of a row-major array.
    pub fn whole(shape: &[usize]) -> Self {
        if shape.contains(&0) {
            // Its other sizes may be too large for steps.
            return Strided { base: 0, steps: SmallVec::from_elem(0, shape.len()) };
        }
        let steps = super::broadcast::contiguous(shape);
        Strided { base: 0, steps: steps.into_iter().map(|step| step as isize).collect() }
    }
}

/// An axis of both layouts.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    from: isize,
    to: usize,
}

/// Copies the elements of a `shape` from one layout to another, whose places are distinct and
/// ascend by axis, as in a part of a row-major array.
pub(crate) fn copy<T: Number>(
    shape: &[usize],
    (from, source): (&[T], &Strided),
    (to, target): (&mut [T], &Strided),
) {
    if shape.contains(&0) {
        return;
    }
    let (axes, first, base) = merged(shape, source, target);
    let (outer, inner) = (axes[0], &axes[1..]);
    let (start, at) = (base / outer.to * outer.to, base % outer.to);
    let to = &mut to[start..];
    let len = to.len().min(outer.size * outer.to);
    let cost = inner.iter().map(|axis| axis.size).product::<usize>() / 4 + 1;
    for_each_part(&mut to[..len], outer.to, cost, |row, to| {
        let rows = Axis { size: to.len().div_ceil(outer.to), ..outer };
        let mut axes: SmallVec<[Axis; 4]> = SmallVec::from_slice(inner);
        axes.insert(0, rows);
        lines_last(&mut axes);
        walk(&axes, from, first + row as isize * outer.from, to, at);
    });
}

/// The fewest axes, at least one, and where both layouts start. Steps of the target are positive.
fn merged(
    shape: &[usize],
    source: &Strided,
    target: &Strided,
) -> (SmallVec<[Axis; 4]>, isize, usize) {
    let (mut first, mut base) = (source.base as isize, target.base as isize);
    let mut axes = SmallVec::<[Axis; 4]>::new();
    for (axis, &size) in shape.iter().enumerate().filter(|(_, size)| **size != 1) {
        let (mut from, mut to) = (source.steps[axis], target.steps[axis]);
        if to < 0 {
            first += (size as isize - 1) * from;
            base += (size as isize - 1) * to;
            (from, to) = (-from, -to);
        }
        match axes.last_mut() {
            Some(last) if (last.from, last.to) == (from * size as isize, to as usize * size) => {
                *last = Axis { size: last.size * size, from, to: to as usize };
            }
            _ => axes.push(Axis { size, from, to: to as usize }),
        }
    }
    if axes.is_empty() {
        axes.push(Axis { size: 1, from: 0, to: 1 });
    }
    (axes, first, base as usize)
}

/// Puts the axis of the source's lines next to that of the target's.
fn lines_last(axes: &mut SmallVec<[Axis; 4]>) {
    let last = axes.len() - 1;
    if let Some(lines) = axes[..last].iter().position(|axis| axis.from == 1)
        && axes[last].to == 1
    {
        axes[lines..last].rotate_left(1);
    }
}

fn walk<T: Number>(axes: &[Axis], from: &[T], first: isize, to: &mut [T], at: usize) {
    match *axes {
        [] => {}
        [line] => copy_line(line, from, first, to, at),
        [a, b] if a.from == 1 && b.to == 1 => transpose(a, b, from, first as usize, to, at),
        [outer, ..] => {
            for i in 0..outer.size {
                let first = first + i as isize * outer.from;
                walk(&axes[1..], from, first, to, at + i * outer.to);
            }
        }
    }
}

fn copy_line<T: Number>(line: Axis, from: &[T], first: isize, to: &mut [T], at: usize) {
    match (line.from, line.to) {
        (1, 1) => to[at..at + line.size].copy_from_slice(&from[first as usize..][..line.size]),
        (0, 1) => to[at..at + line.size].fill(from[first as usize]),
        _ => {
            for i in 0..line.size {
                to[at + i * line.to] = from[(first + i as isize * line.from) as usize];
            }
        }
    }
}

/// Lines of the source along `a` become lines of the target along `b`.
fn transpose<T: Number>(a: Axis, b: Axis, from: &[T], first: usize, to: &mut [T], at: usize) {
    let source = |i: usize, j: usize| (first as isize + j as isize * b.from) as usize + i;
    for i in (0..a.size).step_by(BLOCK) {
        for j in (0..b.size).step_by(BLOCK) {
            let (end_i, end_j) = ((i + BLOCK).min(a.size), (j + BLOCK).min(b.size));
            let (full_i, full_j) = (end_i - end_i % SQUARE, end_j - end_j % SQUARE);
            for j in (j..full_j).step_by(SQUARE) {
                for i in (i..full_i).step_by(SQUARE) {
                    square(|row| &from[source(i, j + row)..], &mut to[at + i * a.to + j..], a.to);
                }
            }
            let element = |i: usize, j: usize, to: &mut [T]| {
                to[at + i * a.to + j] = from[source(i, j)];
            };
            for i in i..end_i {
                let rest = if i < full_i { full_j } else { j };
                (rest..end_j).for_each(|j| element(i, j, to));
            }
        }
    }
}

#[inline(always)]
fn square<'a, T: Number>(line: impl Fn(usize) -> &'a [T], to: &mut [T], stride: usize) {
    let mut held = [[T::default(); SQUARE]; SQUARE];
    for (row, held) in held.iter_mut().enumerate() {
        held.copy_from_slice(&line(row)[..SQUARE]);
    }
    for column in 0..SQUARE {
        let to = &mut to[column * stride..][..SQUARE];
        for (to, held) in to.iter_mut().zip(&held) {
            *to = held[column];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every index of a shape, in row-major order.
    fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
        shape.iter().fold(vec![Vec::new()], |all, &size| {
            let extend = |at: &Vec<usize>| -> Vec<Vec<usize>> {
                (0..size).map(|i| [&at[..], &[i]].concat()).collect()
            };
            all.iter().flat_map(extend).collect()
        })
    }

    fn place(layout: &Strided, index: &[usize]) -> usize {
        let steps = index.iter().zip(&layout.steps).map(|(&i, &step)| i as isize * step);
        (layout.base as isize + steps.sum::<isize>()) as usize
    }

    /// A part of a row-major array, some axes backwards: its layout, and the array's size.
    fn part(shape: &[usize], cut: &[(usize, usize, usize, bool)]) -> (Strided, usize) {
        let of = |(axis, &size): (usize, &usize)| {
            let (before, step, after, _) = cut[axis];
            before + size.max(1) * step + after
        };
        let whole: Vec<usize> = shape.iter().enumerate().map(of).collect();
        let mut layout = Strided::whole(&whole);
        for (axis, &size) in shape.iter().enumerate() {
            let (before, step, _, back) = cut[axis];
            let first = if back { before + size.saturating_sub(1) * step } else { before };
            layout.base += first * layout.steps[axis] as usize;
            layout.steps[axis] *= if back { -(step as isize) } else { step as isize };
        }
        (layout, whole.iter().product())
    }

    fn cuts() -> impl Strategy<Value = Vec<(usize, usize, usize, bool)>> {
        prop::collection::vec((0usize..2, 1usize..3, 0usize..2, any::<bool>()), 4)
    }

    proptest! {
        #[test]
        fn every_element_gets_to_its_place(
            shape in prop_oneof![
                prop::collection::vec(0usize..5, 0..4),
                prop::collection::vec(1usize..40, 2..3),
            ],
            (source, target) in (cuts(), cuts()),
            turned: bool,
        ) {
            let (target, len) = part(&shape, &target);
            let mut own = shape.clone();
            if turned {
                own.reverse();
            }
            let (mut source, size) = part(&own, &source);
            if turned {
                source.steps.reverse();
            }
            let from: Vec<i64> = (1..=size as i64).collect();
            let mut to = vec![0; len];
            copy(&shape, (&from, &source), (&mut to, &target));
            let mut wanted = vec![0; len];
            for index in indices(&shape) {
                wanted[place(&target, &index)] = from[place(&source, &index)];
            }
            prop_assert_eq!(to, wanted);
        }
    }
}
